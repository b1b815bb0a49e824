//! Subscribers that join late, leave and join again, while publishers publish, restart and are out of reach.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use glue_endpoint::{Engine, Event, History, Wish};
use glue_net::{EndpointId, Instant, Rng};
use glue_sim::{Context, Host, Link, NodeId, World};
use glue_topics::{GapReason, Item, PublicationId, SubscriptionId};

use crate::scene;

/// A publisher in one of its lives.
type Stream = (EndpointId, u64);
/// What members were told, until it is noted.
type Told = Rc<RefCell<Vec<(NodeId, Instant, Event)>>>;

/// How a run of joins and leaves goes.
#[derive(Clone, Copy, Debug)]
pub struct LatePlan {
    /// What the publishers keep.
    pub history: History,
    /// How many subscriptions are made.
    pub joins: usize,
    /// Whether publishers restart and members are out of reach for longer than they are remembered.
    pub rough: bool,
}

/// What a run has seen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Subscriptions made.
    pub joins: usize,
    /// Messages delivered.
    pub delivered: u64,
    /// Of them, published before the subscription was made.
    pub history: u64,
    /// Messages reported missing.
    pub missed: u64,
}

/// Three members on a network; the first two publish one topic each, and keep history of it.
pub struct Late {
    world: World<Engine>,
    plan: LatePlan,
    members: Vec<Member>,
    subscriptions: Vec<Sub>,
    published: BTreeMap<Stream, Vec<Entry>>,
    told: Told,
    rng: Rng,
    tally: Tally,
}

#[derive(Debug)]
struct Member {
    node: NodeId,
    id: EndpointId,
    life: u64,
    publication: Option<PublicationId>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    deadline: Instant,
    is_empty: bool,
}

/// A subscription of a member in one of its lives, and what it got.
#[derive(Debug)]
struct Sub {
    member: usize,
    life: u64,
    id: SubscriptionId,
    filter: String,
    wish: Wish,
    is_open: bool,
    /// How much was published when it was made.
    before: BTreeMap<Stream, u64>,
    got: BTreeMap<Stream, Vec<(u64, u64)>>,
}

impl std::fmt::Debug for Late {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Late")
            .field("plan", &self.plan)
            .field("subscriptions", &self.subscriptions)
            .finish_non_exhaustive()
    }
}

impl Late {
    /// A run whose randomness follows from `seed`, over links of this kind.
    #[must_use]
    pub fn new(seed: u64, link: Link, plan: LatePlan) -> Self {
        let mut world = World::new(seed);
        world.set_default_link(link);
        let told = Told::default();
        let heard = Rc::clone(&told);
        world.observe(move |node, now, event: &Event| heard.borrow_mut().push((node, now, event.clone())));
        world.keep_events(false);
        let members = (1..4).map(|number| {
            let id = EndpointId::from_integer(number);
            let node = world.add_node(Host::default(), move |context| engine(id, &context));
            Member { node, id, life: 1, publication: None }
        });
        let members = members.collect();
        let (rng, tally) = (Rng::new(seed ^ 0x1a7e), Tally::default());
        Self { world, plan, members, subscriptions: Vec::new(), published: BTreeMap::new(), told, rng, tally }
    }

    /// Runs until all have joined and all has come; checks what each subscription got.
    pub fn run(mut self) -> Tally {
        self.let_pass(Duration::from_secs(2));
        while self.tally.joins < self.plan.joins {
            self.act();
        }
        self.world.heal();
        self.let_pass(Duration::from_secs(20));
        self.let_meet();
        let last = [0, 1].map(|member| self.publish(member, Duration::from_secs(1_000), false));
        self.let_pass(Duration::from_secs(20));
        for sub in &self.subscriptions {
            self.check(sub, last);
        }
        self.tally
    }

    fn act(&mut self) {
        match self.rng.below(100) {
            0..40 => {
                let is_short = self.rng.chance(0.3);
                let expiry = Duration::from_millis(if is_short { 1 + self.rng.below(300) } else { 1_000_000 });
                let (member, is_empty) = (self.pick(2), self.rng.chance(0.1));
                self.publish(member, expiry, is_empty);
            }
            40..55 => self.join(),
            55..68 => self.leave(),
            68 if self.plan.rough => {
                let member = self.pick(3);
                self.world.isolate(self.members[member].node);
            }
            69..72 if self.plan.rough => self.world.heal(),
            72 if self.plan.rough && self.rng.chance(0.3) => {
                let wait = Duration::from_millis(500 + self.rng.below(12_000));
                self.let_pass(wait);
            }
            73 if self.plan.rough && self.rng.chance(0.3) => self.restart(),
            _ => {
                let wait = Duration::from_micros(self.rng.below(20_000));
                self.let_pass(wait);
            }
        }
    }

    fn pick(&mut self, below: u64) -> usize {
        usize::try_from(self.rng.below(below)).expect("small")
    }

    fn publish(&mut self, index: usize, expiry: Duration, is_empty: bool) -> u64 {
        let member = &mut self.members[index];
        let (stream, topic, history) = ((member.id, member.life), topic(index), self.plan.history);
        let count = self.published.get(&stream).map_or(0, Vec::len) as u64;
        let payload = if is_empty { Vec::new() } else { payload(member.life, count + 1) };
        let known = &mut member.publication;
        let published = self.world.call(member.node, |engine, now| {
            let id = known.get_or_insert_with(|| engine.publication_with(&topic, "n", history).expect("a good topic"));
            (now, engine.publish(now, *id, expiry, &payload[..]).expect("a good message").expect("no queue is full"))
        });
        let (now, sequence) = published.expect("it runs");
        assert_eq!(sequence, count + 1);
        self.published.entry(stream).or_default().push(Entry { deadline: now + expiry, is_empty });
        self.note();
        sequence
    }

    fn join(&mut self) {
        let wish = [Wish::None, Wish::All, Wish::All, Wish::Last(1), Wish::Last(5)][self.pick(5)];
        let filter = ["topic-0", "topic-1", "#"][self.pick(3)].to_owned();
        let member = self.pick(3);
        let (node, life) = (self.members[member].node, self.members[member].life);
        let type_name = if filter == "#" { "" } else { "n" };
        let id = self.world.call(node, |engine, now| engine.subscribe_from(now, &filter, type_name, wish));
        let id = id.expect("it runs").expect("a good topic");
        let before = self.published.iter().map(|(stream, entries)| (*stream, entries.len() as u64)).collect();
        let got = BTreeMap::new();
        self.subscriptions.push(Sub { member, life, id, filter, wish, is_open: true, before, got });
        self.tally.joins += 1;
        self.note();
    }

    fn leave(&mut self) {
        let open: Vec<_> = (0..self.subscriptions.len()).filter(|at| self.subscriptions[*at].is_open).collect();
        if open.is_empty() {
            return;
        }
        let sub = &mut self.subscriptions[open[usize::try_from(self.rng.below(open.len() as u64)).expect("small")]];
        sub.is_open = false;
        self.world.call(self.members[sub.member].node, |engine, _| engine.unsubscribe(sub.id));
    }

    fn restart(&mut self) {
        self.note();
        let index = self.pick(3);
        let member = &mut self.members[index];
        self.world.restart(member.node);
        (member.life, member.publication) = (member.life + 1, None);
        let (index, life) = (index, member.life);
        self.subscriptions.iter_mut().filter(|sub| sub.member == index && sub.life < life).for_each(|sub| {
            sub.is_open = false;
        });
    }

    fn let_pass(&mut self, time: Duration) {
        let end = self.world.now() + time;
        while self.world.now() < end {
            self.world.run_until((self.world.now() + Duration::from_millis(10)).min(end));
            self.note();
        }
    }

    /// Waits until all have seen each other for so long that sessions have begun and interest is known. At 40 % loss two
    /// that have nothing to say lose sight of each other now and then, and soon forget each other here: what is published
    /// meanwhile is for nobody who asks for no history.
    fn let_meet(&mut self) {
        let limit = self.world.now() + Duration::from_secs(300);
        let mut since = self.world.now();
        while self.world.now() < since + Duration::from_secs(5) {
            self.let_pass(Duration::from_millis(10));
            if !self.members.iter().all(|member| self.sees_all(member)) {
                since = self.world.now();
            }
            assert!(self.world.now() < limit, "they never meet");
        }
    }

    fn sees_all(&self, member: &Member) -> bool {
        let Some(engine) = self.world.node(member.node) else { return false };
        let seen: Vec<_> = engine.peers().map(|(_, info)| (info.id, info.incarnation.0)).collect();
        self.members.iter().filter(|other| other.id != member.id).all(|other| seen.contains(&(other.id, other.life)))
    }

    fn note(&mut self) {
        for member in &self.members {
            crate::assert_within(&self.world.node(member.node).map(Engine::memory).unwrap_or_default());
        }
        let told = std::mem::take(&mut *self.told.borrow_mut());
        for (node, at, event) in told {
            let Event::Delivery(delivery) = event else { continue };
            let member = self.members.iter().position(|member| member.node == node).expect("one of ours");
            for id in delivery.to.iter() {
                let mut batch = delivery.batch.clone();
                while let Some(item) = batch.next(at) {
                    self.note_item(member, *id, at, &item);
                }
            }
            if let Some(peer) = delivery.batch.from() {
                self.world.call(node, |engine, _| engine.handle_taken(peer, delivery.batch.bytes()));
            }
        }
    }

    fn note_item(&mut self, member: usize, id: SubscriptionId, at: Instant, item: &Item) {
        let life = self.members[member].life;
        let is_it = |sub: &&mut Sub| (sub.member, sub.life, sub.id) == (member, life, id);
        let Some(sub) = self.subscriptions.iter_mut().find(is_it) else { panic!("{id:?} was never made") };
        let (source, from, to) = match item {
            Item::Message(message) => (message.source(), message.sequence_number, message.sequence_number),
            Item::Gap(gap) => (&gap.source, gap.from, gap.to),
        };
        let stream = (source.endpoint_id, source.incarnation.0);
        let entries = &self.published[&stream];
        match item {
            Item::Message(message) => {
                let entry = entries[usize::try_from(from - 1).expect("small")];
                let expected = if entry.is_empty { Vec::new() } else { payload(stream.1, from) };
                assert!(*message.payload == expected[..], "{stream:?} {from} was changed");
                // The time on the way is not counted.
                assert!(at <= entry.deadline + Duration::from_secs(2), "{stream:?} {from} came after it expired");
                self.tally.delivered += 1;
                self.tally.history += u64::from(from <= sub.before.get(&stream).copied().unwrap_or(0));
            }
            Item::Gap(gap) => {
                let mut numbers = from..=to;
                match gap.reason {
                    GapReason::Expired => {
                        let expired = |n: u64| entries[usize::try_from(n - 1).expect("small")].deadline <= at;
                        assert!(numbers.all(expired), "{stream:?} {gap:?}: not expired");
                    }
                    GapReason::PublisherGone => assert!(self.plan.rough, "{gap:?}"),
                    _ => panic!("{gap:?}"),
                }
                self.tally.missed += gap.count();
            }
        }
        sub.got.entry(stream).or_default().push((from, to));
    }

    fn check(&self, sub: &Sub, last: [u64; 2]) {
        for (stream, spans) in &sub.got {
            // Without a wish it may first get the rest of what an earlier subscription has ended, and what follows when
            // a publisher is back is a new beginning.
            let follows = |pair: &[(u64, u64)]| match sub.wish {
                Wish::None => pair[0].1 < pair[1].0,
                _ => pair[0].1 + 1 == pair[1].0,
            };
            assert!(spans.windows(2).all(follows), "{stream:?} {sub:?}");
        }
        if !sub.is_open {
            return;
        }
        for (index, last) in last.into_iter().enumerate() {
            let stream = (self.members[index].id, self.members[index].life);
            if sub.filter != "#" && sub.filter != topic(index) {
                assert!(!sub.got.contains_key(&stream), "{sub:?}");
                continue;
            }
            let Some(spans) = sub.got.get(&stream) else { panic!("nothing of {stream:?}: {sub:?}") };
            assert_eq!(spans[spans.len() - 1].1, last, "{stream:?} {sub:?}");
            self.check_start(sub, &stream, spans[0].0, last);
        }
    }

    /// It began no later than it may have, had it joined at some moment since it was made; and not too early.
    fn check_start(&self, sub: &Sub, stream: &Stream, first: u64, last: u64) {
        let before = sub.before.get(stream).copied().unwrap_or(0);
        let is_own = stream.0 == self.members[sub.member].id;
        let joins: Vec<u64> = if is_own { vec![before] } else { (before..last).collect() };
        assert!(
            joins.iter().any(|joins| first <= self.begins(sub, stream, *joins)),
            "{stream:?} {first}, {before}: {sub:?}"
        );
        if is_own || sub.wish != Wish::None {
            let count = wished(sub.wish);
            assert!(first > before.saturating_sub(count), "{stream:?} {first}, {before}: {sub:?}");
        }
    }

    /// The first number that one gets who joins when so many were published, of what is alive even now.
    fn begins(&self, sub: &Sub, stream: &Stream, joins: u64) -> u64 {
        let entries = &self.published[stream][..usize::try_from(joins).expect("small")];
        let cleared = entries.iter().rposition(|entry| entry.is_empty).map_or(0, |at| at as u64 + 1);
        let kept = match self.plan.history {
            History::Last(count) => joins.saturating_sub(count),
            History::Retained => cleared.max(joins.saturating_sub(1)),
            History::All { .. } => 0,
            _ => joins,
        };
        let skip = usize::try_from(kept.max(joins.saturating_sub(wished(sub.wish)))).expect("small");
        let now = self.world.now();
        let alive = entries.iter().enumerate().skip(skip).find(|(_, entry)| entry.deadline > now);
        alive.map_or(joins + 1, |(at, _)| at as u64 + 1)
    }
}

const fn wished(wish: Wish) -> u64 {
    match wish {
        Wish::Last(count) => count,
        Wish::All => u64::MAX,
        _ => 0,
    }
}

fn topic(index: usize) -> String {
    format!("topic-{index}")
}

fn payload(life: u64, sequence: u64) -> Vec<u8> {
    let mut bytes = vec![7; usize::try_from(sequence % 200).expect("small")];
    bytes.extend(life.to_be_bytes());
    bytes.extend(sequence.to_be_bytes());
    bytes
}

fn engine(id: EndpointId, context: &Context) -> Engine {
    scene::engine(id, context, |mut config| {
        config.transport.socket_window_bytes = 100_000;
        // So that a peer is forgotten within a run.
        config.forget_after = Duration::from_secs(2);
        config
    })
}
