//! Whole engines under any [`Scenario`], with every promise watched all the time.
//!
//! Each endpoint subscribes to everything, publishes to two topics of its own, of which one is brief, asks and answers requests,
//! holds a token and has a will; some of them cache. Three books are kept: [`Books`] of what was published and came, `presence` of
//! who is there, `calls` of requests. `reach` watches that what no fault touches goes on.

mod calls;
mod flaw;
mod presence;
mod reach;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use glue_endpoint::{Engine, Event};
use glue_net::{EndpointId, Incarnation, Instant, Rng, WallClock};
use glue_sim::{Change, Context, Fault, Host, Impairment, NodeId, Player, Recipe, Scenario, World};
use glue_topics::{Data, Gap, GapReason, Item, LastWill, Message, PublicationId};

use crate::books::{Books, Reader, Stream, payload};
use crate::scene::{self, ms, s};

use calls::Calls;
pub use flaw::Flaw;
use flaw::Tamper;
use presence::Presence;
use reach::Reach;

/// What a run has shown, when it has broken no promise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Messages that were delivered.
    pub delivered: u64,
    /// Messages that were told as missing, all of them since they had expired or their publisher had died.
    pub missed: u64,
    /// Requests that ended.
    pub ended: u64,
    /// Wills that came.
    pub wills: u64,
    /// Datagrams whose fate was sealed.
    pub datagrams: u64,
    /// The hash of the trace.
    pub hash: u64,
    /// The longest time that a message took between two whom no fault had touched for a while.
    pub slowest: Duration,
}

/// The scenario of a seed: 8 endpoints, 120 s, all faults that there are. Every other network is private, and has strangers and
/// altered datagrams too: elsewhere they could do what the sender could.
#[must_use]
pub fn scenario(seed: u64) -> Scenario {
    let mut recipe = Recipe::new(8, s(120))
        .setting("interval_ms", 300, 1_500)
        .setting("expiry_ms", 2_000, 90_000)
        .setting("caches", 0, 1);
    let is_private = seed % 2 == 1;
    recipe.guarded = is_private;
    let mut scenario = Scenario::generate(seed, &recipe);
    scenario.settings.insert("private".to_owned(), is_private.into());
    scenario
}

/// Runs a scenario.
///
/// # Panics
/// If a promise is broken.
#[must_use]
pub fn run(scenario: &Scenario) -> Outcome {
    run_with(scenario, None)
}

/// Runs a scenario in which what an engine tells is not told as it was, once.
///
/// # Panics
/// If a promise is broken, as it is by most flaws.
#[must_use]
pub fn run_with(scenario: &Scenario, flaw: Option<Flaw>) -> Outcome {
    Proof::new(scenario, flaw).run()
}

/// One endpoint.
struct Member {
    node: NodeId,
    id: EndpointId,
    life: u32,
    publications: [Option<PublicationId>; 2],
    publish_at: Instant,
    /// Its driver has yet to tell it of its interfaces and its wall clock.
    untold: bool,
}

type Told = Rc<RefCell<Vec<(NodeId, Event)>>>;

struct Proof {
    scenario: Scenario,
    world: World<Engine>,
    player: Player,
    members: Vec<Member>,
    told: Told,
    rng: Rng,
    books: Books,
    presence: Presence,
    calls: Calls,
    reach: Reach,
    tamper: Tamper,
    /// From which number on a reader was promised a stream.
    promised: BTreeMap<(Reader, Stream), u64>,
    /// Lives that have ended, and so may owe something.
    ended: BTreeSet<(EndpointId, u32)>,
    /// How long the network may hold a datagram, unseen.
    slack: Duration,
    interval: Duration,
    expiries: [Duration; 2],
}

impl Proof {
    fn new(scenario: &Scenario, flaw: Option<Flaw>) -> Self {
        let mut world = World::new(scenario.seed);
        let told = Told::default();
        let heard = Rc::clone(&told);
        world.observe(move |node, _, event: &Event| heard.borrow_mut().push((node, event.clone())));
        world.keep_events(false);
        let mut rng = Rng::new(scenario.seed ^ 0x9400f);
        let interval = ms(scenario.setting("interval_ms", 500).max(10));
        let settings = (scenario.setting("private", 0) == 1, scenario.setting("caches", 0));
        let member = |index: u32| {
            let id = EndpointId::from_integer(i64::from(index) + 1);
            let node = world.add_node(Host::default(), move |context| engine(id, settings, &context));
            let publish_at = Instant::ZERO + s(1) + interval.mul_f64(rng.below(1_000) as f64 / 1_000.0);
            Member { node, id, life: 0, publications: [None; 2], publish_at, untold: false }
        };
        let members: Vec<Member> = (0..scenario.nodes).map(member).collect();
        let slack = slack(scenario);
        let mut books = Books::default();
        // Two clocks, each 500 ppm off, over the longest expiry.
        let expiry = ms(scenario.setting("expiry_ms", 60_000));
        books.tolerance = ms(20) + expiry / 500;
        Self {
            player: Player::new(scenario, &world),
            reach: Reach::new(scenario),
            calls: Calls::new(slack),
            presence: Presence::new(members.len()),
            tamper: Tamper::new(flaw),
            promised: BTreeMap::new(),
            ended: BTreeSet::new(),
            expiries: [expiry, ms(300)],
            scenario: scenario.clone(),
            world,
            members,
            told,
            rng,
            books,
            slack,
            interval,
        }
    }

    fn run(mut self) -> Outcome {
        let end = self.player.end();
        let mut looked = Instant::ZERO;
        while self.world.now() < end {
            let slice = self.world.now() + SLICE;
            let at = self.player.next_at().map_or(slice, |at| at.min(slice)).min(end);
            self.world.run_until(at);
            self.keep_books();
            let changes = self.player.advance(&mut self.world);
            changes.into_iter().for_each(|change| self.follow(change));
            self.tell_drivers_news();
            self.publish_what_is_due();
            self.ask_sometimes();
            if self.world.now().since(looked) >= s(1) {
                looked = self.world.now();
                self.look();
            }
        }
        self.keep_books();
        self.conclude()
    }

    /// A fault began or ended at a node.
    fn follow(&mut self, change: Change) {
        match change {
            Change::Crashed(node) => {
                let member = &mut self.members[node.index()];
                self.ended.insert((member.id, member.life));
                member.publications = [None; 2];
                self.calls.forget(node);
                self.presence.forget(node.index());
            }
            Change::Restarted(node) => self.members[node.index()].life += 1,
            Change::Moved(node) | Change::WallSet(node) => self.members[node.index()].untold = true,
            _ => {}
        }
    }

    /// What a driver does at each look at the interfaces, as soon as its process runs.
    fn tell_drivers_news(&mut self) {
        for member in &mut self.members {
            if member.untold && self.world.is_running(member.node) {
                let node = member.node;
                let (interfaces, wall) = (self.world.interfaces(node), self.world.wall(node));
                self.world.call(node, |engine, now| {
                    engine.handle_clock(WallClock::new(now, wall));
                    engine.handle_interfaces(now, interfaces);
                });
                member.untold = false;
            }
        }
    }

    fn publish_what_is_due(&mut self) {
        let now = self.world.now();
        for index in 0..self.members.len() {
            if self.members[index].publish_at <= now {
                self.members[index].publish_at = now + self.interval;
                let is_brief = usize::from(self.rng.chance(0.2));
                let size =
                    if self.rng.chance(0.02) { 3_000 + self.rng.below(20_000) } else { 12 + self.rng.below(300) };
                self.publish(index, is_brief, usize::try_from(size).expect("small"));
            }
        }
    }

    fn publish(&mut self, index: usize, which: usize, size: usize) {
        let Member { node, life, publications, .. } = self.members[index];
        if !self.world.is_running(node) {
            return;
        }
        let (stream, expiry) = (self.stream(index, which), self.expiries[which]);
        let body = payload(life, self.books.count(&stream) + 1, size);
        let published = self.world.call(node, |engine, now| {
            let publication =
                publications[which].unwrap_or_else(|| engine.publication(&stream.2, "bytes").expect("a good topic"));
            let readers = engine.subscribers(publication).to_vec();
            let known = engine.peers().filter(|(peer, _)| readers.contains(peer));
            let readers: Vec<_> = known.map(|(_, info)| (info.id, info.incarnation)).collect();
            let sequence = engine.publish(now, publication, expiry, &body[..]).expect("a good message");
            (publication, readers, sequence)
        });
        let Some((publication, readers, sequence)) = published else { return };
        self.members[index].publications[which] = Some(publication);
        let Some(sequence) = sequence else { return };
        self.books.publish(stream.clone(), sequence, self.world.now(), expiry, body.len());
        for (id, incarnation) in readers {
            let is_it = |member: &Member| (member.id, incarnation_of(member)) == (id, incarnation);
            if let Some(reader) = self.members.iter().position(is_it) {
                let key = ((reader, self.members[reader].life), stream.clone());
                self.promised.entry(key).or_insert(sequence);
            }
        }
    }

    fn ask_sometimes(&mut self) {
        if self.rng.chance(SLICE.as_secs_f64() / 2.0) {
            let index = usize::try_from(self.rng.below(self.members.len() as u64)).expect("small");
            self.calls.ask(&mut self.world, self.members[index].node);
        }
    }

    /// Takes note of all that the engines have told, and gives back what it holds.
    fn keep_books(&mut self) {
        for member in &self.members {
            crate::assert_within(&self.world.node(member.node).map(Engine::memory).unwrap_or_default());
        }
        // Giving back may have more told, which is to be read before somebody crashes.
        loop {
            let told = std::mem::take(&mut *self.told.borrow_mut());
            if told.is_empty() {
                return;
            }
            told.into_iter().for_each(|(node, event)| self.read(node, event));
        }
    }

    fn read(&mut self, node: NodeId, event: Event) {
        match event {
            Event::Delivery(mut delivery) => {
                let local = self.world.local_now(node);
                while let Some(item) = delivery.batch.next(local) {
                    self.take(node.index(), item);
                }
                if let Some(peer) = delivery.batch.from() {
                    self.world.call(node, |engine, _| engine.handle_taken(peer, delivery.batch.bytes()));
                }
            }
            Event::Call(event) => self.calls.follow(&mut self.world, node, event, &mut self.tamper),
            Event::Discovery(event) => self.presence.peer(node.index(), &event),
            Event::Topics(glue_topics::Event::Token(event)) => {
                self.tamper.token(event).into_iter().for_each(|event| self.presence.token(node.index(), &event));
            }
            _ => {}
        }
    }

    fn take(&mut self, index: usize, item: Item) {
        if let Item::Message(message) = &item
            && message.is_will()
        {
            return self.presence.will(index, message);
        }
        let frozen = self.scenario.steps.iter().any(|step| matches!(step.fault, Fault::Freeze(_)));
        for item in self.tamper.item(index, item, frozen) {
            match item {
                Item::Message(message) => self.deliver(index, &message),
                Item::Gap(gap) => self.miss(index, &gap),
            }
        }
        for will in self.tamper.will(index) {
            self.presence.will(index, &will);
        }
    }

    fn deliver(&mut self, index: usize, message: &Message) {
        let at = self.world.now() + self.tamper.lateness(index);
        let reader = (index, self.members[index].life);
        self.books.deliver(reader, at, self.slack, message);
    }

    /// Nothing is missing but what has expired, what a life owes that has ended, and what was published before its publisher knew of the
    /// reader, of which a cache had a part. A reader that has not met that publisher takes it for gone.
    fn miss(&mut self, index: usize, gap: &Gap) {
        let of = (gap.source.endpoint_id, u32::try_from(gap.source.incarnation.0 - 1).expect("small"));
        let is_excused = gap.reason == GapReason::Expired
            || self.ended.contains(&of)
            || (matches!(gap.reason, GapReason::NotKept | GapReason::PublisherGone)
                && self.is_unpromised(index, of, gap));
        assert!(is_excused, "{gap:?} at {index}: neither expired nor of the dead");
        self.books.miss((index, self.members[index].life), self.world.now(), gap);
    }

    fn is_unpromised(&self, index: usize, (id, life): (EndpointId, u32), gap: &Gap) -> bool {
        let stream = (id, life, gap.source.topic_name.to_string());
        let promised = self.promised.get(&((index, self.members[index].life), stream));
        self.scenario.setting("caches", 0) == 1 && promised.is_none_or(|from| gap.to < *from)
    }

    /// Once a second: what no fault has touched for a while goes on, and requests end.
    fn look(&mut self) {
        let now = self.world.now();
        self.reach.note_faults(now);
        let running = |member: &Member| self.world.is_running(member.node);
        for (reader, publisher) in
            self.pairs().filter(|(a, b)| running(&self.members[*a]) && running(&self.members[*b]))
        {
            for which in 0..2 {
                let stream = self.stream(publisher, which);
                let key = ((reader, self.members[reader].life), stream);
                if let Some(from) = self.promised.get(&key) {
                    self.reach.check(now, (reader, publisher), &self.books, (&key, *from));
                }
            }
        }
        self.calls.check(&self.world);
    }

    /// After the calm at the end: all know all, and have all.
    fn conclude(self) -> Outcome {
        let is_calm = self.scenario.span.saturating_sub(self.calm_at()) >= self.reach.patience();
        if is_calm {
            self.assert_all_have_met();
            for (reader, publisher) in self.pairs() {
                for which in 0..2 {
                    let stream = self.stream(publisher, which);
                    let from = self.promised.get(&((reader, self.members[reader].life), stream.clone()));
                    let last = self.reach.due(self.world.now(), &self.books, &stream);
                    if let Some(from) = from.filter(|from| **from <= last) {
                        self.books.assert_has((reader, self.members[reader].life), &stream, *from, last);
                    }
                }
            }
            self.presence.conclude(
                &self.world,
                self.scenario.usual_link().loss,
                &self.members.iter().map(|m| (m.node, m.id, incarnation_of(m))).collect::<Vec<_>>(),
            );
        }
        Outcome {
            delivered: self.books.delivered,
            missed: self.books.missed,
            ended: self.calls.ended,
            wills: self.presence.wills,
            datagrams: self.world.stats().copies,
            hash: self.world.trace_hash(),
            slowest: self.reach.slowest,
        }
    }

    /// When the last fault was over, but for clocks that drift or are wrong all the time.
    fn calm_at(&self) -> Duration {
        let faults = self.scenario.steps.iter().filter(|step| !reach::is_harmless(&step.fault));
        faults.map(glue_sim::Step::end).max().unwrap_or_default()
    }

    fn assert_all_have_met(&self) {
        for (reader, publisher) in self.pairs() {
            let key = ((reader, self.members[reader].life), self.stream(publisher, 0));
            assert!(
                self.books.count(&key.1) == 0 || self.promised.contains_key(&key),
                "{publisher} has not found {reader} in the calm at the end"
            );
        }
    }

    fn pairs(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let count = self.members.len();
        (0..count).flat_map(move |a| (0..count).map(move |b| (a, b))).filter(|(a, b)| a != b)
    }

    fn stream(&self, index: usize, which: usize) -> Stream {
        let member = &self.members[index];
        (member.id, member.life, format!("{}/{index}", ["long", "brief"][which]))
    }
}

const fn incarnation_of(member: &Member) -> Incarnation {
    Incarnation(member.life as u64 + 1)
}

/// How long a datagram may be under way: what links take, and what buffers of sockets hold while processes stand still.
fn slack(scenario: &Scenario) -> Duration {
    let on_the_way = |it: &Impairment| match *it {
        Impairment::Latency(time)
        | Impairment::Jitter(time)
        | Impairment::Reorder(_, time)
        | Impairment::Rate(_, time) => time,
        _ => Duration::ZERO,
    };
    let of_step = |step: &glue_sim::Step| match &step.fault {
        Fault::Freeze(_) => step.last,
        Fault::Busy(_, time) => *time * 300,
        Fault::Link(_, it) => on_the_way(it),
        _ => Duration::ZERO,
    };
    s(1) + scenario.link.iter().map(on_the_way).sum::<Duration>() + scenario.steps.iter().map(of_step).sum::<Duration>()
}

fn engine(id: EndpointId, (is_private, caches): (bool, u64), context: &Context) -> Engine {
    let mut engine = scene::engine(id, context, |mut config| {
        if is_private {
            config.security = Some(scene::security(id, context));
        }
        config
    });
    engine.subscribe("#", "").expect("a good filter");
    engine.respond(calls::TOPIC, calls::TYPE).expect("a good topic");
    engine.hold_token(presence::TOKEN).expect("a good name");
    let payload = (u64::from(context.restarts) + 1).to_string();
    let payload = Data::Slice(payload.as_bytes());
    let will = LastWill { topic: "will", type_name: "", expiry: s(1), payload };
    engine.set_will(context.now, will).expect("a good will");
    if caches == 1 && context.id.index() % 3 == 1 {
        engine.cache("#", 4 << 20).expect("a good pattern");
    }
    engine
}

/// How often the books are kept: what comes is noted so late.
const SLICE: Duration = ms(20);
