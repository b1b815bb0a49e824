//! Peers that keep to no limit: they send what fills memory, and take nothing of what they asked for.

use std::collections::BTreeMap;

use bytes::Bytes;
use glue_discovery::{Discovery, Event as Change};
use glue_endpoint::{Command, Config, Engine, Event};
use glue_net::wire::classic::Container;
use glue_net::wire::native::{Datagram, Hello};
use glue_net::wire::{put_bytes, put_varint};
use glue_net::{Chain, EndpointId, Incarnation, Instant, Node, PeerId, Rng, Transmit, WallClock};
use glue_sim::{Context, DISCOVERY_GROUP};
use glue_transport::{Local, Remote, Transport};

use crate::scene;

/// What a greedy peer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Greed {
    /// Sends beginnings of long messages, and never an end.
    Beginnings,
    /// Sends messages that wait for one before them, which never comes.
    Early,
    /// As `Early`, in many topics and as small as they can be, so that they cost more memory than bytes.
    Crumbs,
    /// Wants everything, claims room without end, and acknowledges nothing.
    Deaf,
    /// Wants a great many topics with long names.
    Wishes,
    /// As `Wishes`, but the first wish never comes, and all others wait for it.
    Hints,
}

/// An endpoint of ours, or a greedy one.
#[derive(Debug)]
pub enum Party {
    /// Ours.
    Engine(Box<Engine>),
    /// The other.
    Greedy(Box<Greedy>),
}

/// A greedy peer: our own discovery and transport, whose limits are taken off.
#[derive(Debug)]
pub struct Greedy {
    greed: Greed,
    discovery: Discovery,
    transport: Transport<Bytes>,
    /// And what was sent to each.
    peers: BTreeMap<PeerId, u64>,
    has_asked: bool,
}

impl Greedy {
    /// A greedy peer.
    ///
    /// # Panics
    /// If it can not be made.
    #[must_use]
    pub fn new(greed: Greed, id: i64, context: &Context) -> Self {
        let mut discovery = glue_discovery::Config::new(EndpointId::from_integer(id), format!("greedy-{id}"));
        discovery.incarnation = Incarnation(1);
        discovery.targets = vec![DISCOVERY_GROUP];
        discovery.data_port = context.data.port();
        let clock = WallClock::new(context.now, context.wall);
        let local = Local {
            network: discovery.network,
            id: discovery.id,
            name: discovery.name.clone(),
            incarnation: discovery.incarnation,
            clock,
        };
        let mut config = glue_transport::Config::default();
        (config.receive_window_bytes, config.initial_credit_bytes) = (ENDLESS, ENDLESS);
        config.socket_window_bytes = ENDLESS;
        let mut rng = Rng::new(context.seed);
        let transport = Transport::new(config, local, rng.fork());
        let mut discovery = Discovery::new(discovery, rng, context.now).expect("good settings");
        discovery.handle_clock(clock);
        discovery.handle_interfaces(context.now, context.interfaces.clone());
        Self { greed, discovery, transport, peers: BTreeMap::new(), has_asked: false }
    }

    /// Sends `count` payloads to each peer.
    pub fn push(&mut self, now: Instant, count: usize) {
        for peer in self.peers.keys().copied().collect::<Vec<_>>() {
            for _ in 0..count {
                let number = self.peers.get(&peer).copied().unwrap_or_default();
                let Some(payload) = self.payload(number) else { break };
                self.peers.insert(peer, number + 1);
                self.transport.send(now, peer, payload.into());
            }
        }
    }

    fn payload(&mut self, number: u64) -> Option<Vec<u8>> {
        let mut payload = Vec::new();
        match self.greed {
            Greed::Beginnings => {
                payload.push(1);
                put_varint(&mut payload, number % 1_000);
                put_varint(&mut payload, number / 1_000 * 1_000);
                put_varint(&mut payload, 4 << 20);
                if number < 1_000 {
                    put_bytes(&mut payload, &[1, 0, 1, 0]);
                }
                payload.resize(payload.len() + 1_000, 7);
            }
            Greed::Early => whole(&[1, 0, 1, 0], &bundle("early", number + 5, 1_000), &mut payload),
            Greed::Crumbs => whole(&[1, 0, 1, 0], &bundle(&format!("{}", number % 5_000), number + 5, 0), &mut payload),
            Greed::Deaf if self.has_asked => return None,
            Greed::Deaf => {
                self.has_asked = true;
                whole(&[0, 0], &subscribe("#"), &mut payload);
            }
            Greed::Wishes | Greed::Hints => {
                let mut head = vec![0];
                put_varint(&mut head, number + u64::from(self.greed == Greed::Hints));
                whole(&head, &subscribe(&format!("{number:01000}")), &mut payload);
            }
        }
        Some(payload)
    }

    fn follow(&mut self, now: Instant) {
        while let Some(change) = self.discovery.poll_event() {
            if let Change::PeerUp { peer, info } = change {
                let (id, incarnation, address) = (info.id, info.incarnation, info.data);
                self.transport.connect(
                    now,
                    peer,
                    &Remote { id, name: info.name, incarnation, address, classic: None, key: None },
                );
                self.peers.insert(peer, 0);
            }
        }
    }
}

impl Node for Greedy {
    type Command = Command;
    type Event = Event;

    fn handle_command(&mut self, _now: Instant, _command: Command) {}

    fn handle_datagram(&mut self, now: Instant, from: std::net::SocketAddr, datagram: Bytes) {
        match Datagram::decode(datagram.clone()) {
            Ok(Datagram::Hello { hello, .. }) => {
                let mut out = Vec::new();
                Hello { credit: ENDLESS, window: ENDLESS, ..hello }.encode(&mut out);
                self.transport.handle_native(now, from, out.into());
            }
            Ok(Datagram::Data { .. }) if self.greed == Greed::Deaf && self.has_asked => {}
            Ok(Datagram::Data { .. } | Datagram::PrivateData { .. }) => {
                self.transport.handle_native(now, from, datagram);
            }
            Err(_) => {
                if let Ok((codec, container)) = Container::decode(&datagram) {
                    self.discovery.handle_announcement(now, from, codec, container);
                }
            }
        }
        while self.transport.poll_payload().is_some() {}
        self.follow(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.discovery.handle_timeout(now);
        self.transport.handle_timeout(now);
        self.follow(now);
    }

    fn poll_transmit(&mut self, now: Instant, out: &mut Chain) -> Option<Transmit> {
        self.discovery.poll_transmit(now, out.written()).or_else(|| self.transport.poll_transmit(now, out))
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.discovery.poll_timeout().into_iter().chain(self.transport.poll_timeout()).min()
    }

    fn poll_event(&mut self) -> Option<Event> {
        None
    }
}

impl Party {
    /// Ours.
    ///
    /// # Panics
    /// If it is the other.
    pub fn engine(&mut self) -> &mut Engine {
        if let Self::Engine(engine) = self { engine } else { panic!("a greedy peer") }
    }

    /// The greedy one.
    ///
    /// # Panics
    /// If it is ours.
    pub fn greedy(&mut self) -> &mut Greedy {
        if let Self::Greedy(greedy) = self { greedy } else { panic!("an engine") }
    }

    /// An endpoint with a small memory budget that subscribes to `filter`.
    ///
    /// # Panics
    /// If it can not be made.
    #[must_use]
    pub fn ours(id: i64, filter: &str, context: &Context) -> Self {
        let id = EndpointId::from_integer(id);
        let least = |config: Config| config.with_memory_budget(Config::LEAST_MEMORY_BUDGET);
        let mut engine = scene::engine(id, context, least);
        engine.subscribe(filter, "").expect("a good filter");
        Self::Engine(Box::new(engine))
    }
}

impl Node for Party {
    type Command = Command;
    type Event = Event;

    fn handle_command(&mut self, now: Instant, command: Command) {
        match self {
            Self::Engine(engine) => engine.handle_command(now, command),
            Self::Greedy(greedy) => greedy.handle_command(now, command),
        }
    }

    fn handle_datagram(&mut self, now: Instant, from: std::net::SocketAddr, datagram: Bytes) {
        match self {
            Self::Engine(engine) => engine.handle_datagram(now, from, datagram),
            Self::Greedy(greedy) => greedy.handle_datagram(now, from, datagram),
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        match self {
            Self::Engine(engine) => engine.handle_timeout(now),
            Self::Greedy(greedy) => greedy.handle_timeout(now),
        }
    }

    fn poll_transmit(&mut self, now: Instant, out: &mut Chain) -> Option<Transmit> {
        match self {
            Self::Engine(engine) => engine.poll_transmit(now, out),
            Self::Greedy(greedy) => greedy.poll_transmit(now, out),
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Engine(engine) => engine.poll_timeout(),
            Self::Greedy(greedy) => greedy.poll_timeout(),
        }
    }

    fn poll_event(&mut self) -> Option<Event> {
        match self {
            Self::Engine(engine) => engine.poll_event(),
            Self::Greedy(greedy) => greedy.poll_event(),
        }
    }
}

/// A message that is not cut (PROTOCOL.md, section 5).
fn whole(head: &[u8], body: &[u8], out: &mut Vec<u8>) {
    out.push(0);
    put_bytes(out, head);
    out.extend_from_slice(body);
}

/// A bundle of one message (PROTOCOL.md, section 6).
fn bundle(topic: &str, first: u64, len: usize) -> Vec<u8> {
    let mut out = Vec::new();
    put_bytes(&mut out, topic.as_bytes());
    put_bytes(&mut out, b"");
    put_varint(&mut out, first);
    out.extend_from_slice(&[0; 8]);
    put_varint(&mut out, 1 << 40);
    put_varint(&mut out, len as u64);
    put_varint(&mut out, 0);
    out.resize(out.len() + len, 7);
    out
}

fn subscribe(filter: &str) -> Vec<u8> {
    let mut out = vec![1];
    put_bytes(&mut out, filter.as_bytes());
    put_bytes(&mut out, b"");
    out
}

const ENDLESS: u64 = 1 << 60;
