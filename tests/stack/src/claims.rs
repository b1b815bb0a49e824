//! Endpoints that hold tokens and have wills, and what each of them is told of the others.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use glue_discovery::DownReason;
use glue_endpoint::{Engine, Event, TokenEvent};
use glue_net::{EndpointId, Incarnation, Instant, Rng};
use glue_sim::{Context, Host, NodeId, World};
use glue_topics::{Data, Filter, Item, LastWill, Message};

use crate::scene;

/// An endpoint in one of its lives.
type Life = (EndpointId, Incarnation);
/// What was told of a token: whose, and which.
type Held = (Life, String);

/// What one endpoint was told of the others, in one of its lives.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    peers: BTreeMap<EndpointId, Incarnation>,
    up: BTreeSet<Held>,
    /// Lives that are lost, and whose will may come now.
    lost: BTreeSet<Life>,
    /// How often each life was lost, and how many wills of it came.
    deaths: BTreeMap<Life, u32>,
    wills: BTreeMap<Life, u32>,
    /// The last number of each life's messages.
    last: BTreeMap<Life, u64>,
}

#[derive(Debug)]
struct Member {
    node: NodeId,
    id: EndpointId,
    life: u64,
    tokens: BTreeSet<String>,
    is_running: bool,
    view: View,
}

/// An observer and a peer, each in one of its lives, and what the one had got of the other.
#[derive(Clone, Copy, Debug)]
pub struct Acquaintance {
    index: usize,
    life: u64,
    peer: Life,
    deaths: u32,
    wills: u32,
}

/// What was told, until it is noted.
type Told = Rc<RefCell<Vec<(NodeId, Instant, Event)>>>;

/// Endpoints with tokens and wills, which all subscribe to everything.
pub struct Claims {
    /// The network.
    pub world: World<Engine>,
    members: Vec<Member>,
    told: Told,
    rng: Rng,
    /// Lives that ended with a goodbye.
    left: BTreeSet<Life>,
}

impl std::fmt::Debug for Claims {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Claims").field("members", &self.members).finish_non_exhaustive()
    }
}

impl Claims {
    /// `count` endpoints on a network whose randomness follows from `seed`.
    #[must_use]
    pub fn new(seed: u64, count: usize) -> Self {
        let mut world = World::new(seed);
        let told = Told::default();
        let heard = Rc::clone(&told);
        world.observe(move |node, now, event: &Event| heard.borrow_mut().push((node, now, event.clone())));
        world.keep_events(false);
        let members = (0..count)
            .map(|index| {
                let id = EndpointId::from_integer(i64::try_from(index).expect("small") + 1);
                let node = world.add_node(Host::default(), move |context| engine(id, &context));
                Member { node, id, life: 1, tokens: BTreeSet::new(), is_running: true, view: View::default() }
            })
            .collect();
        let mut claims = Self { world, members, told, rng: Rng::new(seed ^ 0xc1a1), left: BTreeSet::new() };
        (0..count).for_each(|index| claims.make_will(index));
        claims
    }

    /// How many endpoints there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// A random one.
    pub fn any(&mut self) -> usize {
        usize::try_from(self.rng.below(self.members.len() as u64)).expect("small")
    }

    /// Up to so many milliseconds.
    pub fn up_to_ms(&mut self, most: u64) -> Duration {
        Duration::from_millis(self.rng.below(most))
    }

    /// Its node.
    #[must_use]
    pub fn node(&self, index: usize) -> NodeId {
        self.members[index].node
    }

    /// Some endpoints take tokens, let go of tokens, and publish.
    pub fn stir(&mut self) {
        for _ in 0..self.members.len() {
            let (index, name) = (self.any(), self.rng.below(4).to_string());
            if !self.world.is_running(self.members[index].node) {
                continue;
            }
            let Member { node, tokens, .. } = &mut self.members[index];
            let is_held = !tokens.remove(&name);
            if is_held {
                tokens.insert(name.clone());
            }
            self.world.call(*node, |engine, now| {
                let token = engine.hold_token(&name).expect("a good name");
                if !is_held {
                    // Once for that, once for the time before.
                    engine.release_token(&token);
                    engine.release_token(&token);
                }
                let publication = engine.publication("t", "").expect("a good name");
                let sent = engine.publish(now, publication, Duration::from_secs(600), "alive").expect("a good message");
                assert!(sent.is_some());
            });
        }
        self.note();
    }

    /// Lets time pass.
    pub fn run(&mut self, time: Duration) {
        let end = self.world.now() + time;
        while self.world.now() < end {
            self.world.run_until((self.world.now() + Duration::from_millis(10)).min(end));
            self.note();
        }
    }

    /// Ends an endpoint without a goodbye.
    pub fn crash(&mut self, index: usize) {
        self.note();
        self.world.crash(self.members[index].node);
        let member = &mut self.members[index];
        (member.is_running, member.view) = (false, View::default());
        member.tokens.clear();
    }

    /// Starts an endpoint anew.
    pub fn restart(&mut self, index: usize) {
        self.crash(index);
        self.world.restart(self.members[index].node);
        let member = &mut self.members[index];
        (member.is_running, member.life) = (true, member.life + 1);
        self.make_will(index);
    }

    /// An endpoint leaves as it should: it takes its wills back, waits until all is acknowledged, says goodbye, and ends. Returns
    /// how many it could tell so.
    ///
    /// # Panics
    /// If one of them gets a will after that.
    pub fn leave(&mut self, index: usize) -> usize {
        let Member { node, id, life, .. } = self.members[index];
        self.world.call(node, |engine, now| engine.withdraw_wills(now));
        while !self.world.call(node, |engine, _| engine.is_settled()).expect("it runs") {
            self.run(Duration::from_millis(10));
        }
        let told: Vec<_> =
            self.world.call(node, |engine, _| engine.peers().map(|(_, info)| info.id).collect()).expect("it runs");
        let before = self.wills_of(id, &told);
        self.left.insert((id, Incarnation(life)));
        self.world.call(node, |engine, now| engine.leave(now));
        self.run(Duration::from_millis(500));
        self.crash(index);
        self.run(Duration::from_secs(4));
        assert_eq!(self.wills_of(id, &told), before, "wills after a goodbye");
        told.len()
    }

    /// Waits until every endpoint knows the truth, then checks it.
    ///
    /// # Panics
    /// If one does not within two minutes.
    pub fn converge(&mut self) {
        let end = self.world.now() + Duration::from_secs(120);
        let truth = self.truth();
        while !self.members.iter().filter(|member| member.is_running).all(|member| member.view.up == truth) {
            assert!(self.world.now() < end, "views differ from {truth:?}: {self:?}");
            self.run(Duration::from_millis(50));
        }
        for member in self.members.iter().filter(|member| member.is_running) {
            let filter = Filter::new("#", 64).expect("a good filter");
            let engine = self.world.node(member.node).expect("it runs");
            let seen: BTreeSet<Held> = engine.tokens(&filter).map(held).collect();
            assert_eq!(seen, member.view.up, "what is asked for and what was told");
        }
    }

    /// All pairs of lives that run. After [`Claims::converge`] each observer knows the peer's claims: each life holds a token, which
    /// is told together with its will.
    #[must_use]
    pub fn acquainted(&self) -> Vec<Acquaintance> {
        let running = || self.members.iter().enumerate().filter(|(_, member)| member.is_running);
        let pairs = running().flat_map(|one| running().map(move |other| (one, other)));
        pairs
            .filter(|((index, _), (other, _))| index != other)
            .map(|((index, observer), (_, peer))| {
                let peer = (peer.id, Incarnation(peer.life));
                let (deaths, wills) = observer.view.counts(peer);
                Acquaintance { index, life: observer.life, peer, deaths, wills }
            })
            .collect()
    }

    /// Checks that each of these observers got one will for each death of the peer since. Returns how many in all.
    ///
    /// # Panics
    /// If not.
    pub fn check_wills(&self, acquainted: &[Acquaintance]) -> u32 {
        let mut sum = 0;
        for Acquaintance { index, life, peer, deaths, wills } in acquainted {
            let observer = &self.members[*index];
            // Who misses the goodbye finds a death, but has no will any more.
            if !observer.is_running || observer.life != *life || self.left.contains(peer) {
                continue;
            }
            let (deaths_now, wills_now) = observer.view.counts(*peer);
            assert_eq!(deaths_now - deaths, wills_now - wills, "deaths and wills of {peer:?} at {:?}", observer.id);
            sum += wills_now - wills;
        }
        sum
    }

    /// How many wills of an endpoint came to these.
    fn wills_of(&self, id: EndpointId, to: &[EndpointId]) -> u32 {
        let of =
            |view: &View| view.wills.iter().filter(|((peer, _), _)| *peer == id).map(|(_, count)| count).sum::<u32>();
        self.members.iter().filter(|member| to.contains(&member.id)).map(|member| of(&member.view)).sum()
    }

    /// Makes its will, and takes a token to show that it lives.
    fn make_will(&mut self, index: usize) {
        let life = self.members[index].life.to_string();
        self.members[index].tokens.insert("alive".to_owned());
        self.world.call(self.members[index].node, |engine, now| {
            engine.hold_token("alive").expect("a good name");
            let payload = Data::Slice(life.as_bytes());
            let will = LastWill { topic: "t", type_name: "", expiry: Duration::from_secs(1), payload };
            engine.set_will(now, will).expect("a good will")
        });
    }

    fn truth(&self) -> BTreeSet<Held> {
        let running = self.members.iter().filter(|member| member.is_running);
        running
            .flat_map(|member| {
                let life = (member.id, Incarnation(member.life));
                member.tokens.iter().map(move |token| (life, token.clone()))
            })
            .collect()
    }

    fn note(&mut self) {
        let told = std::mem::take(&mut *self.told.borrow_mut());
        for (node, at, event) in told {
            let member = self.members.iter_mut().find(|member| member.node == node).expect("one of ours");
            match event {
                Event::Delivery(mut delivery) => {
                    while let Some(item) = delivery.batch.next(at) {
                        member.view.take(&item);
                    }
                    if let Some(peer) = delivery.batch.from() {
                        self.world.call(node, |engine, _| engine.handle_taken(peer, delivery.batch.bytes()));
                    }
                }
                Event::Discovery(event) => member.view.follow(&event),
                Event::Topics(glue_topics::Event::Token(event)) => member.view.turn(&event),
                _ => {}
            }
        }
    }
}

impl View {
    /// How often a life was lost, and how many wills of it came.
    fn counts(&self, life: Life) -> (u32, u32) {
        let of = |counts: &BTreeMap<Life, u32>| counts.get(&life).copied().unwrap_or_default();
        (of(&self.deaths), of(&self.wills))
    }

    /// Tokens that are up, and whose.
    pub(crate) const fn tokens(&self) -> &BTreeSet<Held> {
        &self.up
    }

    /// Whether it takes a life for one that goes on.
    pub(crate) fn is_up(&self, (id, life): Life) -> bool {
        self.peers.get(&id) == Some(&life)
    }

    pub(crate) fn follow(&mut self, event: &glue_discovery::Event) {
        match event {
            glue_discovery::Event::PeerUp { info, .. } => {
                self.lost.remove(&(info.id, info.incarnation));
                self.peers.insert(info.id, info.incarnation);
            }
            glue_discovery::Event::PeerDown { id, reason, .. } => {
                let life = (*id, self.peers.remove(id).expect("it was up"));
                if *reason != DownReason::Goodbye {
                    self.lost.insert(life);
                    *self.deaths.entry(life).or_default() += 1;
                }
            }
            _ => {}
        }
    }

    pub(crate) fn turn(&mut self, event: &TokenEvent) {
        let held = held(event.holder());
        let turned = match event {
            TokenEvent::Up(_) => self.up.insert(held),
            TokenEvent::Down(_) => self.up.remove(&held),
        };
        assert!(turned, "{event:?} twice");
    }

    fn take(&mut self, item: &Item) {
        let (source, from, to) = match item {
            Item::Gap(gap) => (&gap.source, gap.from, gap.to),
            Item::Message(message) if message.is_will() => return self.take_will(message),
            Item::Message(message) => (message.source(), message.sequence_number, message.sequence_number),
        };
        if let Some(before) = self.last.insert((source.endpoint_id, source.incarnation), to) {
            assert_eq!(from, before + 1, "in order, once, and no silent gap");
        }
    }

    pub(crate) fn take_will(&mut self, message: &Message) {
        let life = (message.endpoint_id, message.incarnation);
        assert!(self.lost.remove(&life), "{life:?} is not dead, or its will comes again");
        assert_eq!(*message.payload, *message.incarnation.0.to_string().as_bytes());
        *self.wills.entry(life).or_default() += 1;
    }
}

fn held(holder: &glue_topics::Holder) -> Held {
    ((holder.endpoint_id, holder.incarnation), holder.token.to_string())
}

fn engine(id: EndpointId, context: &Context) -> Engine {
    let mut engine = scene::engine(id, context, |config| config);
    engine.subscribe("t", "").expect("a good filter");
    engine
}
