//! Engines and reference peers on one simulated network, and all that passes between them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use glue_endpoint::{Command, Config, Engine, Event};
use glue_net::{Chain, EndpointId, Incarnation, Instant, NetworkId, Node, Rng, Transmit, WallClock};
use glue_sim::{Context, DISCOVERY_GROUP, Fate, Host, NodeId, World};
use glue_topics::Item;

use crate::reference::{Classic, Codec, Container, Message, Setup};

/// A node of either kind.
#[derive(Debug)]
pub enum Party {
    /// Ours.
    Engine(Box<Engine>),
    /// The reference.
    Classic(Box<Classic>),
}

/// What a node tells.
#[derive(Clone, Debug)]
pub enum Told {
    /// Ours.
    Engine(Event),
    /// What the reference delivers.
    Classic(Message),
}

impl Party {
    /// Ours.
    ///
    /// # Panics
    /// If it is the reference.
    pub fn engine(&mut self) -> &mut Engine {
        if let Self::Engine(engine) = self { engine } else { panic!("a reference peer") }
    }

    /// The reference.
    ///
    /// # Panics
    /// If it is ours.
    pub fn classic(&mut self) -> &mut Classic {
        if let Self::Classic(classic) = self { classic } else { panic!("an engine") }
    }
}

impl Node for Party {
    type Command = Command;
    type Event = Told;

    fn handle_command(&mut self, now: Instant, command: Command) {
        self.engine().handle_command(now, command);
    }

    fn handle_datagram(&mut self, now: Instant, from: SocketAddr, datagram: Bytes) {
        match self {
            Self::Engine(engine) => engine.handle_datagram(now, from, datagram),
            Self::Classic(classic) => classic.handle_datagram(now, from, datagram),
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        match self {
            Self::Engine(engine) => engine.handle_timeout(now),
            Self::Classic(classic) => classic.handle_timeout(now),
        }
    }

    fn poll_transmit(&mut self, now: Instant, out: &mut Chain) -> Option<Transmit> {
        match self {
            Self::Engine(engine) => engine.poll_transmit(now, out),
            Self::Classic(classic) => classic.poll_transmit(now, out),
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Engine(engine) => engine.poll_timeout(),
            Self::Classic(classic) => classic.poll_timeout(),
        }
    }

    fn poll_event(&mut self) -> Option<Told> {
        match self {
            Self::Engine(engine) => engine.poll_event().map(Told::Engine),
            Self::Classic(classic) => classic.poll_event().map(Told::Classic),
        }
    }
}

/// A datagram, and what became of it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// When that was settled.
    pub at: Instant,
    /// Who sent it.
    pub sender: NodeId,
    /// Who was to get it.
    pub receiver: Option<NodeId>,
    /// Where it went.
    pub to: SocketAddr,
    /// What became of it.
    pub fate: Fate,
    /// The bytes.
    pub datagram: Bytes,
    /// What the reference reads in it; `None` if nothing, as in a native one.
    pub read: Option<(Codec, Container)>,
}

/// A message that a node delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// When.
    pub at: Instant,
    /// The publisher's name.
    pub from: String,
    /// The publisher's id.
    pub id: EndpointId,
    /// The topic.
    pub topic: String,
    /// Its type.
    pub topic_type: String,
    /// The message's number.
    pub sequence: i64,
    /// How long it lives.
    pub expiry: Duration,
    /// What was published.
    pub payload: Vec<u8>,
}

type Log = Rc<RefCell<Vec<Seen>>>;
type Classics = Rc<RefCell<BTreeMap<NodeId, SocketAddr>>>;

/// The network.
pub struct Mixed {
    /// The nodes.
    pub world: World<Party>,
    log: Log,
    /// Data addresses of the reference peers.
    classics: Classics,
    received: BTreeMap<NodeId, Vec<Received>>,
    /// What the engines told of their peers and topics.
    pub notices: Vec<(NodeId, Event)>,
}

impl std::fmt::Debug for Mixed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mixed").field("world", &self.world).finish_non_exhaustive()
    }
}

impl Mixed {
    /// An empty network, on which whatever reaches a socket of a reference peer that must not panics.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut world = World::new(seed);
        let (log, classics) = (Log::default(), Classics::default());
        let (kept, guarded) = (Rc::clone(&log), Rc::clone(&classics));
        world.trace(move |record| {
            let seen = Seen {
                at: record.at,
                sender: record.sender,
                receiver: record.receiver,
                to: record.to,
                fate: record.fate,
                datagram: Bytes::copy_from_slice(record.datagram),
                read: Container::read(record.datagram),
            };
            guard(&guarded.borrow(), &seen);
            kept.borrow_mut().push(seen);
        });
        Self { world, log, classics, received: BTreeMap::new(), notices: Vec::new() }
    }

    /// Adds an engine that announces itself to `targets` and subscribes to everything.
    pub fn engine(&mut self, name: &str, targets: &[SocketAddr]) -> NodeId {
        self.engine_with(Host::default(), name, targets, |_| {})
    }

    /// As [`Mixed::engine`], with another host and other settings.
    pub fn engine_with(
        &mut self,
        host: Host,
        name: &str,
        targets: &[SocketAddr],
        change: impl Fn(&mut Config) + 'static,
    ) -> NodeId {
        let (name, targets) = (name.to_owned(), targets.to_vec());
        self.world.add_node(host, move |context| {
            let id = EndpointId::from_integer(i64::try_from(context.id.index()).expect("small") + 1);
            let mut discovery = glue_discovery::Config::new(id, name.clone());
            discovery.incarnation = Incarnation(u64::from(context.restarts) + 1);
            discovery.targets.clone_from(&targets);
            discovery.data_port = context.data.port();
            let mut config = Config::new(discovery);
            change(&mut config);
            Party::Engine(Box::new(engine(config, context)))
        })
    }

    /// Adds a reference peer.
    pub fn classic(&mut self, host: Host, setup: Setup) -> NodeId {
        let node = self.world.add_node(host, move |context| Party::Classic(Box::new(Classic::new(&setup, &context))));
        self.classics.borrow_mut().insert(node, self.world.address(node));
        node
    }

    /// Adds a reference peer on the group that subscribes to everything.
    pub fn plain(&mut self, name: &str, codec: Codec) -> NodeId {
        self.classic(Host::default(), Setup::new(name, codec))
    }

    /// Lets `time` pass.
    pub fn run(&mut self, time: Duration) {
        self.world.run_for(time);
        self.collect();
    }

    /// A node publishes a message.
    ///
    /// # Panics
    /// If it is refused.
    pub fn publish(&mut self, node: NodeId, topic: &str, topic_type: &str, expiry: Duration, payload: &[u8]) {
        self.world.call(node, |party, now| match party {
            Party::Engine(engine) => {
                let publication = engine.publication(topic, topic_type).expect("a good topic");
                let number = engine.publish(now, publication, expiry, payload).expect("a good message");
                assert!(number.is_some(), "the queue is full");
                engine.release(publication);
            }
            Party::Classic(classic) => {
                classic.publish(now, topic, topic_type, expiry, payload);
            }
        });
        self.collect();
    }

    /// What a node delivered so far.
    #[must_use]
    pub fn received(&self, node: NodeId) -> &[Received] {
        self.received.get(&node).map_or(&[], |received| received)
    }

    /// All datagrams so far.
    #[must_use]
    pub fn log(&self) -> Vec<Seen> {
        self.log.borrow().clone()
    }

    /// The frames that a node sent, acks or data, with what became of them.
    #[must_use]
    pub fn frames(&self, sender: NodeId, acks: bool) -> Vec<(crate::reference::Frame, Seen)> {
        let frame = |seen: &Seen| Some((seen.read.clone()?.1.frame?, seen.clone()));
        let sent = self.log.borrow();
        sent.iter().filter(|s| s.sender == sender).filter_map(frame).filter(|(f, _)| f.is_ack == acks).collect()
    }

    /// The names that a reference peer knows.
    pub fn known(&mut self, classic: NodeId) -> Vec<String> {
        let known = self.world.call(classic, |party, _| party.classic().known().map(str::to_owned).collect());
        known.unwrap_or_default()
    }

    fn collect(&mut self) {
        for node in self.world.nodes() {
            for (at, told) in self.world.take_events(node) {
                match told {
                    Told::Engine(Event::Delivery(mut delivery)) => {
                        while let Some(item) = delivery.batch.next(at) {
                            let Item::Message(message) = item else { continue };
                            self.received.entry(node).or_default().push(Received {
                                at,
                                from: message.endpoint_name.to_string(),
                                id: message.endpoint_id,
                                topic: message.topic_name.to_string(),
                                topic_type: message.topic_type.to_string(),
                                sequence: message.sequence_number.cast_signed(),
                                expiry: message.expiry,
                                payload: message.payload.to_vec(),
                            });
                        }
                        if let Some(peer) = delivery.batch.from() {
                            let bytes = delivery.batch.bytes();
                            self.world.call(node, |party, _| party.engine().handle_taken(peer, bytes));
                        }
                    }
                    Told::Engine(event) => self.notices.push((node, event)),
                    Told::Classic(message) => self.received.entry(node).or_default().push(Received {
                        at,
                        from: message.endpoint_name,
                        id: EndpointId::from_bytes(message.endpoint_id),
                        topic: message.topic,
                        topic_type: message.topic_type,
                        sequence: message.sequence,
                        expiry: Duration::from_nanos(message.expiry.unsigned_abs()),
                        payload: message.payload.unwrap_or_default(),
                    }),
                }
            }
        }
    }
}

fn engine(config: Config, context: Context) -> Engine {
    let clock = WallClock::new(context.now, context.wall);
    let mut engine = Engine::new(context.now, config, clock, &mut Rng::new(context.seed)).expect("good settings");
    engine.handle_interfaces(context.now, context.interfaces);
    engine.subscribe("#", "").expect("a good filter");
    engine
}

/// Panics where a reference program would die of the socket that a datagram came to, or could not make sense of it.
fn guard(classics: &BTreeMap<NodeId, SocketAddr>, seen: &Seen) {
    let (Some(node), Fate::Delivered) = (seen.receiver, seen.fate) else { return };
    let (Some(data), Some((_, container))) = (classics.get(&node), &seen.read) else { return };
    let is_data_port = seen.to == *data;
    assert!(!is_data_port || container.announcement.is_none(), "{node} dies of an announcement at its data port");
    assert!(is_data_port || container.frame.is_none(), "{node} gets a frame at {}, data goes to {data}", seen.to);
}

/// The network that [`Config`] of an engine is on, as a change for [`Mixed::engine_with`].
pub fn on_network(network: i64) -> impl Fn(&mut Config) {
    move |config| config.discovery.network = NetworkId(network)
}

/// The group, as the only target.
pub const GROUP: &[SocketAddr] = &[DISCOVERY_GROUP];
