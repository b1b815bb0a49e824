//! Endpoints on a simulated network.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use glue_endpoint::{Config, Engine, Event, Memory, Pace, PeerStats, Report};
use glue_net::{EndpointId, Incarnation, Instant, PeerId, Rng};
use glue_sim::{Context, Host, NodeId, Receive, World};
use glue_topics::{Item, PublicationId, Receipt};

use crate::books::{Books, payload};
use crate::scene;

/// One endpoint.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its node.
    pub node: NodeId,
    /// Its id, the same in every life.
    pub id: EndpointId,
    /// Its life: 0, and one more after each restart.
    pub life: u32,
    publication: Option<PublicationId>,
}

/// What the endpoints do.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Time between two messages of one publisher.
    pub interval: Duration,
    /// How long a message lives.
    pub expiry: Duration,
    /// Messages are up to this long, in bytes.
    pub max_size: u64,
    /// Bytes of each endpoint's socket buffer.
    pub socket_bytes: usize,
    /// What each endpoint's interface says is the longest packet.
    pub interface_mtu: u32,
    /// Each endpoint's memory budget, in bytes.
    pub memory_bytes: usize,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            interval: Duration::from_millis(50),
            expiry: Duration::from_secs(60),
            max_size: 300,
            socket_bytes: 212_992,
            interface_mtu: 1_500,
            memory_bytes: Config::DEFAULT_MEMORY_BUDGET,
        }
    }
}

/// What a member was told, until the books have it.
type Told = Rc<RefCell<Vec<(NodeId, Instant, Event)>>>;

/// Endpoints that all subscribe to everything, each publishing to a topic of its own.
pub struct Cluster {
    /// The network.
    pub world: World<Engine>,
    /// The endpoints.
    pub members: Vec<Member>,
    /// What they published and got.
    pub books: Books,
    /// Changes among the peers that the members were told of.
    pub changes: Vec<(usize, glue_discovery::Event)>,
    /// Peers that took too little, and who told so.
    pub paces: Vec<(usize, EndpointId, Pace)>,
    /// What was told to members whose applications take nothing.
    unread: BTreeMap<usize, Vec<(NodeId, Event)>>,
    plan: Plan,
    told: Told,
    rng: Rng,
    slack: Duration,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("members", &self.members).field("plan", &self.plan).finish_non_exhaustive()
    }
}

impl Cluster {
    /// `count` endpoints that do as `plan` says, on a network whose randomness follows from `seed`.
    #[must_use]
    pub fn new(seed: u64, count: usize, plan: Plan) -> Self {
        let mut world = World::new(seed);
        let told = Told::default();
        let heard = Rc::clone(&told);
        world.observe(move |node, now, event: &Event| heard.borrow_mut().push((node, now, event.clone())));
        world.keep_events(false);
        let members = (0..count)
            .map(|index| {
                let id = EndpointId::from_integer(i64::try_from(index).expect("small") + 1);
                let receive = Receive { buffer_bytes: plan.socket_bytes, ..Receive::default() };
                let host = Host::default().receive(receive).mtu(plan.interface_mtu);
                let node = world.add_node(host, move |context| engine(id, &plan, &context));
                Member { node, id, life: 0, publication: None }
            })
            .collect();
        let slack = Duration::from_secs(2);
        let (books, rng) = (Books::default(), Rng::new(seed ^ 0x5eed));
        let (changes, paces, unread) = (Vec::new(), Vec::new(), BTreeMap::new());
        Self { world, members, books, changes, paces, unread, plan, told, rng, slack }
    }

    /// Runs until every endpoint has found that each other one wants what it publishes, or `limit` has passed.
    ///
    /// # Panics
    /// If it has passed.
    pub fn meet(&mut self, limit: Duration) {
        let end = self.world.now() + limit;
        let pairs = self.members.len() * (self.members.len() - 1);
        let mut met = BTreeSet::new();
        loop {
            // At a high loss peers come and go; what they have asked for stays.
            for index in 0..self.members.len() {
                met.extend(self.subscribers(index).into_iter().map(|other| (index, other)));
            }
            if met.len() == pairs {
                return;
            }
            assert!(self.world.now() < end, "not all have met within {limit:?}");
            self.run(Duration::from_millis(20));
        }
    }

    /// The other members, in their present lives, that get what this member publishes.
    pub fn subscribers(&mut self, index: usize) -> Vec<usize> {
        let Some(publication) = self.publication(index) else { return Vec::new() };
        let known = self.world.call(self.members[index].node, |engine, _| {
            let subscribers = engine.subscribers(publication);
            let known = engine.peers().filter(|(peer, _)| subscribers.contains(peer));
            known.map(|(_, info)| (info.id, info.incarnation)).collect::<Vec<_>>()
        });
        let is_known = |member: &Member| {
            let now = (member.id, Incarnation(u64::from(member.life) + 1));
            known.as_ref().is_some_and(|known| known.contains(&now))
        };
        self.members.iter().enumerate().filter(|(_, member)| is_known(member)).map(|(index, _)| index).collect()
    }

    /// Every running member publishes as planned for `time`.
    pub fn publish_for(&mut self, time: Duration) {
        let end = self.world.now() + time;
        while self.world.now() < end {
            for index in 0..self.members.len() {
                let size = 12 + self.rng.below(self.plan.max_size);
                self.publish(index, usize::try_from(size).expect("small"));
            }
            self.run(self.plan.interval);
        }
    }

    /// One member publishes one message of `size` bytes. Returns whether it was taken.
    pub fn publish(&mut self, index: usize, size: usize) -> bool {
        let Some(publication) = self.publication(index) else { return false };
        let (life, expiry) = (self.members[index].life, self.plan.expiry);
        let stream = self.stream(index);
        let sequence = self.books.count(&stream) + 1;
        let payload = payload(life, sequence, size);
        let published = self.world.call(self.members[index].node, |engine, now| {
            engine.publish(now, publication, expiry, &payload[..]).expect("a good message")
        });
        let Some(Some(got)) = published else { return false };
        self.books.publish(stream, got, self.world.now(), expiry, size.max(12));
        self.keep_books();
        true
    }

    /// As [`Cluster::publish`]; tells who gets the message.
    pub fn publish_confirmed(&mut self, index: usize, size: usize) -> Option<Receipt> {
        let publication = self.publication(index)?;
        let (life, expiry) = (self.members[index].life, self.plan.expiry);
        let stream = self.stream(index);
        let payload = payload(life, self.books.count(&stream) + 1, size);
        let receipt = self.world.call(self.members[index].node, |engine, now| {
            engine.publish_confirmed(now, publication, expiry, &payload[..]).expect("a good message")
        })??;
        self.books.publish(stream, receipt.sequence(), self.world.now(), expiry, size.max(12));
        self.keep_books();
        Some(receipt)
    }

    /// One member publishes messages of `size` bytes for `time`, as many as are taken.
    pub fn flood(&mut self, index: usize, size: usize, time: Duration) {
        let end = self.world.now() + time;
        while self.world.now() < end {
            while self.publish(index, size) {}
            self.run(Duration::from_millis(2));
        }
    }

    /// The application of a member takes nothing from now on.
    pub fn stop_reading(&mut self, index: usize) {
        self.unread.entry(index).or_default();
    }

    /// The application of a member takes what has come meanwhile, and goes on.
    pub fn go_on_reading(&mut self, index: usize) {
        let unread = self.unread.remove(&index).unwrap_or_default();
        let now = self.world.now();
        self.told.borrow_mut().extend(unread.into_iter().map(|(node, event)| (node, now, event)));
        self.keep_books();
    }

    /// Counters of a member.
    #[must_use]
    pub fn report(&self, index: usize) -> Report {
        self.world.node(self.members[index].node).map(Engine::report).unwrap_or_default()
    }

    /// Lets time pass, and keeps the books.
    pub fn run(&mut self, time: Duration) {
        let end = self.world.now() + time;
        while self.world.now() < end {
            self.world.run_until((self.world.now() + Duration::from_millis(10)).min(end));
            self.keep_books();
        }
    }

    /// Crashes a member and starts it anew.
    pub fn restart(&mut self, index: usize) {
        self.keep_books();
        self.world.restart(self.members[index].node);
        let member = &mut self.members[index];
        (member.life, member.publication) = (member.life + 1, None);
    }

    /// What a member has exchanged with another one.
    ///
    /// # Panics
    /// If they do not know each other.
    pub fn stats(&mut self, index: usize, other: usize) -> PeerStats {
        let id = self.members[other].id;
        let peers = self.world.call(self.members[index].node, |engine, _| engine.report_peers()).unwrap_or_default();
        peers.into_iter().find(|peer| peer.info.id == id).expect("a peer").stats
    }

    /// The name of what a member publishes in its present life.
    #[must_use]
    pub fn stream(&self, index: usize) -> (EndpointId, u32, String) {
        let member = &self.members[index];
        (member.id, member.life, topic(index))
    }

    /// A member as a reader, in its present life.
    #[must_use]
    pub fn reader(&self, index: usize) -> (usize, u32) {
        (index, self.members[index].life)
    }

    /// Asserts that each of `readers` saw everything of each of `publishers` from its sequence number on.
    ///
    /// # Panics
    /// If not.
    pub fn assert_complete(&self, readers: &[usize], publishers: &[(usize, u64)]) {
        for reader in readers {
            for (publisher, from) in publishers {
                self.books.assert_complete(self.reader(*reader), &self.stream(*publisher), *from);
            }
        }
    }

    fn publication(&mut self, index: usize) -> Option<PublicationId> {
        let member = &self.members[index];
        if member.publication.is_some() {
            return member.publication;
        }
        let publication = self.world.call(member.node, |engine, _| engine.publication(&topic(index), "bytes"));
        self.members[index].publication = publication.map(|made| made.expect("a good topic"));
        self.members[index].publication
    }

    fn keep_books(&mut self) {
        self.check_memory();
        let told = std::mem::take(&mut *self.told.borrow_mut());
        for (node, at, event) in told {
            let index = self.members.iter().position(|member| member.node == node).expect("one of ours");
            if let Some(unread) = self.unread.get_mut(&index) {
                unread.push((node, event));
                continue;
            }
            match event {
                Event::Delivery(mut delivery) => {
                    while let Some(item) = delivery.batch.next(at) {
                        self.note(index, at, &item);
                    }
                    if let Some(peer) = delivery.batch.from() {
                        self.give_back(index, peer, delivery.batch.bytes());
                    }
                }
                Event::Discovery(change) => self.changes.push((index, change)),
                Event::Pace { id, pace, .. } => self.paces.push((index, id, pace)),
                _ => {}
            }
        }
    }

    /// No endpoint ever holds more than it may.
    fn check_memory(&self) {
        for member in &self.members {
            let memory = self.world.node(member.node).map(Engine::memory).unwrap_or_default();
            assert_within(&memory);
        }
    }

    fn note(&mut self, index: usize, at: Instant, item: &Item) {
        let reader = self.reader(index);
        match item {
            Item::Message(message) => self.books.deliver(reader, at, self.slack, message),
            Item::Gap(gap) => self.books.miss(reader, at, gap),
        }
    }

    fn give_back(&mut self, index: usize, peer: PeerId, bytes: usize) {
        self.world.call(self.members[index].node, |engine, _| engine.handle_taken(peer, bytes));
    }
}

/// Asserts that what is held, and what was held at any time, is within the budget.
///
/// # Panics
/// If not.
pub fn assert_within(memory: &Memory) {
    assert!(memory.peak <= memory.budget, "{memory:?}");
    assert!(memory.bundles + memory.queues <= memory.budget / 8 * 3, "{memory:?}");
    assert!(
        memory.waiting + memory.lent + memory.own + memory.names + memory.cached + memory.joining
            <= memory.budget / 8 * 5,
        "{memory:?}"
    );
}

fn topic(index: usize) -> String {
    format!("topic-{index}")
}

fn engine(id: EndpointId, plan: &Plan, context: &Context) -> Engine {
    let mut engine = scene::engine(id, context, |config| {
        let mut config = config.with_memory_budget(plan.memory_bytes);
        config.transport.socket_window_bytes = plan.socket_bytes as u64 / 2;
        config
    });
    engine.subscribe("#", "").expect("a good filter");
    engine
}
