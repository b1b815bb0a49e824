//! A scripted peer that behaves as the reference implementation does on the wire: written from what was observed of it,
//! with codecs of its own, so that ours are not tested against themselves.
//!
//! It panics where the program would die, and where it is sent what only a mistake explains.

mod container;
mod json;
mod messagepack;
mod pack;

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use glue_net::wire::native::ENVELOPE;
use glue_net::{Chain, EndpointId, Instant, Node, Rng, Transmit, Via, WallClock, WallTime};
use glue_sim::{Context, DISCOVERY_GROUP, INTERFACE};

pub use container::{Announcement, Codec, Container, Frame, Message};

/// How a peer is set up.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Setup {
    /// Its name.
    pub name: String,
    /// Its revision.
    pub codec: Codec,
    /// Its network. Default 1.
    pub network: i64,
    /// Where it announces itself. Default [`DISCOVERY_GROUP`].
    pub target: SocketAddr,
    /// The topics that it subscribes to, and their types.
    pub topics: BTreeMap<String, String>,
}

impl Setup {
    /// A peer that subscribes to everything.
    #[must_use]
    pub fn new(name: &str, codec: Codec) -> Self {
        let topics = BTreeMap::from([("#".to_owned(), String::new())]);
        Self { name: name.to_owned(), codec, network: 1, target: DISCOVERY_GROUP, topics }
    }

    /// Sets where it announces itself.
    #[must_use]
    pub const fn target(mut self, target: SocketAddr) -> Self {
        self.target = target;
        self
    }

    /// Sets its network.
    #[must_use]
    pub const fn network(mut self, network: i64) -> Self {
        self.network = network;
        self
    }

    /// Sets the only topic that it subscribes to.
    #[must_use]
    pub fn topic(mut self, topic: &str, topic_type: &str) -> Self {
        self.topics = BTreeMap::from([(topic.to_owned(), topic_type.to_owned())]);
        self
    }
}

/// What it counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Datagrams of the other codec, or of none.
    pub unreadable: u64,
    /// Datagrams of another network.
    pub foreign: u64,
    /// Data frames that came.
    pub data: u64,
    /// Acks that came for frames that waited for one.
    pub acks: u64,
    /// Data frames whose source it does not know, and so could not acknowledge.
    pub unknown_source: u64,
    /// Messages whose type is not the subscription's.
    pub mismatched: u64,
    /// Frames sent again.
    pub resent: u64,
    /// Frames given up.
    pub given_up: u64,
}

/// A peer.
#[derive(Debug)]
pub struct Classic {
    setup: Setup,
    id: [u8; 20],
    data: SocketAddr,
    discovery: Option<SocketAddr>,
    clock: WallClock,
    rng: Rng,
    known: BTreeMap<String, Known>,
    sequences: BTreeMap<String, i64>,
    unacked: BTreeMap<[u8; 20], Unacked>,
    joins: BTreeMap<[u8; 20], BTreeMap<i64, Vec<u8>>>,
    out: VecDeque<(SocketAddr, Via, Vec<u8>)>,
    delivered: VecDeque<Message>,
    tick_at: Instant,
    counts: Counts,
}

#[derive(Clone, Debug)]
struct Known {
    id: [u8; 20],
    /// Where it takes data; nil gets nothing.
    listen: Option<SocketAddr>,
    heard: Instant,
    timeout: Duration,
    container: Container,
}

#[derive(Clone, Debug)]
struct Unacked {
    sent: Instant,
    to: SocketAddr,
    container: Container,
}

impl Classic {
    /// Starts: announces itself at once.
    #[must_use]
    pub fn new(setup: &Setup, context: &Context) -> Self {
        let mut rng = Rng::new(context.seed);
        let id = EndpointId::random(context.wall, &mut rng);
        Self {
            setup: setup.clone(),
            id: *id.as_bytes(),
            data: context.data,
            discovery: context.interfaces.first().and_then(|interface| interface.discovery),
            clock: WallClock::new(context.now, context.wall),
            rng,
            known: BTreeMap::new(),
            sequences: BTreeMap::new(),
            unacked: BTreeMap::new(),
            joins: BTreeMap::new(),
            out: VecDeque::new(),
            delivered: VecDeque::new(),
            tick_at: context.now,
            counts: Counts::default(),
        }
    }

    /// Publishes a message to all that it knows. Returns how many frames that took.
    pub fn publish(&mut self, now: Instant, topic: &str, topic_type: &str, expiry: Duration, payload: &[u8]) -> i64 {
        let next = self.sequences.entry(topic.to_owned()).or_insert(1);
        let message = Message {
            timestamp: Some(self.clock.wall(now)),
            expiry: nanos(expiry),
            endpoint_id: self.id,
            endpoint_name: self.setup.name.clone(),
            sequence: *next,
            topic: topic.to_owned(),
            topic_type: topic_type.to_owned(),
            message_type: STANDARD,
            payload: Some(payload.to_vec()),
        };
        let encoding = message.write(self.setup.codec);
        let cut = match self.setup.codec {
            Codec::Json => encoding.len(),
            Codec::MessagePack => FRAGMENT_BYTES,
        };
        let parts: Vec<&[u8]> = encoding.chunks(cut).collect();
        let count = i64::try_from(parts.len()).expect("few");
        let correlation = self.fresh_id(now);
        let peers: Vec<_> = self.known.iter().filter_map(|(name, k)| Some((name.clone(), k.id, k.listen?))).collect();
        let mut frames = 0;
        for (destination_name, destination_id, to) in peers {
            for (index, part) in (0..).zip(&parts) {
                let frame = Frame {
                    resend_period: nanos(RESEND_PERIOD),
                    resend_expiry: nanos(RESEND_EXPIRY),
                    id: self.fresh_id(now),
                    correlation,
                    count,
                    index,
                    destination_id,
                    destination_name: destination_name.clone(),
                    needs_ack: true,
                    is_ack: false,
                    payload: part.to_vec(),
                };
                self.send_frame(now, to, frame);
                frames += 1;
            }
        }
        *self.sequences.entry(topic.to_owned()).or_default() += frames;
        frames
    }

    /// The names that it knows.
    pub fn known(&self) -> impl Iterator<Item = &str> {
        self.known.keys().map(String::as_str)
    }

    /// What it counted.
    #[must_use]
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// Its id.
    #[must_use]
    pub const fn id(&self) -> EndpointId {
        EndpointId::from_bytes(self.id)
    }

    // ---- once a second ----

    fn tick(&mut self, now: Instant) {
        self.known.retain(|_, known| now.since(known.heard) <= known.timeout);
        self.announce(now);
        for (id, mut unacked) in std::mem::take(&mut self.unacked) {
            if now.since(unacked.sent) > RESEND_EXPIRY {
                self.counts.given_up += 1;
                continue;
            }
            self.counts.resent += 1;
            unacked.container.last_sent = Some(self.clock.wall(now));
            self.send(unacked.to, &unacked.container);
            self.unacked.insert(id, unacked);
        }
    }

    fn announce(&mut self, now: Instant) {
        let target = self.setup.target;
        let announcement = Announcement {
            sent_rate: nanos(RATE),
            listen_port: self.data.port(),
            listen: Some(self.data),
            discovery_listen: self.discovery,
            discovery_target: Some(target),
            forwarded: false,
        };
        let container = Container {
            last_sent: Some(WallTime::ZERO_TIME),
            sent_to: target.to_string(),
            announcement: Some(announcement),
            ..self.container(now)
        };
        let is_group = target.ip().is_multicast();
        let via = if is_group { Via::Multicast { interface: INTERFACE } } else { Via::Discovery };
        self.out.push_back((target, via, container.write(self.setup.codec)));
    }

    // ---- what comes ----

    fn hear(&mut self, now: Instant, from: SocketAddr, container: Container) {
        let Some(announcement) = &container.announcement else { return };
        if container.source_name == self.setup.name {
            return;
        }
        let rate = Duration::from_nanos(announcement.sent_rate.unsigned_abs());
        let (listen, target) = match self.setup.codec {
            Codec::Json => (Some(SocketAddr::new(from.ip(), announcement.listen_port)), None),
            Codec::MessagePack => {
                // It uses the target as it is.
                let target = announcement.discovery_target.expect("an announcement without a target address");
                (announcement.listen, Some(target))
            }
        };
        let name = container.source_name.clone();
        if self.known.get(&name).is_some_and(|known| known.id != container.source_id) {
            return;
        }
        if target.is_some_and(|target| !target.ip().is_multicast()) && !announcement.forwarded {
            self.introduce(now, from, &container);
        }
        let timeout = rate * TIMEOUT_MULTIPLIER;
        self.known.insert(name, Known { id: container.source_id, listen, heard: now, timeout, container });
    }

    /// Tells one who announces itself to us of all the others.
    fn introduce(&mut self, now: Instant, from: SocketAddr, to: &Container) {
        let Some(address) = to.announcement.as_ref().and_then(|a| a.discovery_listen) else { return };
        let others = self.known.iter().filter(|(name, _)| **name != to.source_name);
        for (_, known) in others {
            let mut container = known.container.clone();
            let Some(announcement) = container.announcement.as_mut().filter(|a| !a.forwarded) else { continue };
            announcement.forwarded = true;
            container.received = Some(self.clock.wall(now));
            container.received_from = from.to_string();
            container.received_by = self.setup.target.to_string();
            self.out.push_back((address, Via::Discovery, container.write(self.setup.codec)));
        }
    }

    fn handle_frame(&mut self, now: Instant, source: &str, frame: Frame) {
        if frame.is_ack {
            self.counts.acks += u64::from(self.unacked.remove(&frame.id).is_some());
            return;
        }
        self.counts.data += 1;
        if frame.needs_ack {
            self.acknowledge(now, source, &frame);
        }
        // Each copy counts, also of what was joined before: then it waits for the others for ever.
        let parts = self.joins.entry(frame.correlation).or_default();
        parts.insert(frame.index, frame.payload);
        if i64::try_from(parts.len()) != Ok(frame.count) {
            return;
        }
        let encoding = self.joins.remove(&frame.correlation).unwrap_or_default().into_values().flatten();
        let message = Message::read(self.setup.codec, &encoding.collect::<Vec<_>>()).expect("a message it can read");
        assert!(message.timestamp.is_some(), "a message with a nil timestamp");
        self.deliver(message);
    }

    fn acknowledge(&mut self, now: Instant, source: &str, frame: &Frame) {
        let Some((known, to)) = self.known.get(source).and_then(|known| Some((known, known.listen?))) else {
            self.counts.unknown_source += 1;
            return;
        };
        let ack = Frame {
            resend_period: 0,
            resend_expiry: 0,
            id: frame.id,
            correlation: frame.correlation,
            count: 1,
            index: 0,
            destination_id: known.id,
            destination_name: source.to_owned(),
            needs_ack: false,
            is_ack: true,
            payload: Vec::new(),
        };
        self.send_frame(now, to, ack);
    }

    fn deliver(&mut self, message: Message) {
        if !matches!(message.message_type, STANDARD | FORWARDED) {
            return;
        }
        let fits = match self.setup.topics.get(&message.topic) {
            Some(topic_type) => *topic_type == message.topic_type || message.topic_type == BRIDGE,
            None if self.setup.topics.contains_key("#") => true,
            None => return,
        };
        if fits {
            self.delivered.push_back(message);
        } else {
            self.counts.mismatched += 1;
        }
    }

    // ---- what goes ----

    fn send_frame(&mut self, now: Instant, to: SocketAddr, frame: Frame) {
        let (needs_ack, id) = (frame.needs_ack, frame.id);
        let container = Container {
            last_sent: Some(self.clock.wall(now)),
            sent_to: to.to_string(),
            frame: Some(frame),
            ..self.container(now)
        };
        self.send(to, &container);
        if needs_ack {
            self.unacked.insert(id, Unacked { sent: now, to, container });
        }
    }

    /// The source is not the address where data is taken, as with the reference: who answers to it is not heard.
    fn send(&mut self, to: SocketAddr, container: &Container) {
        self.out.push_back((to, Via::Discovery, container.write(self.setup.codec)));
    }

    fn container(&self, now: Instant) -> Container {
        Container {
            sent: Some(self.clock.wall(now)),
            last_sent: None,
            received: Some(WallTime::ZERO_TIME),
            sent_by: self.discovery.map_or_else(String::new, |address| address.to_string()),
            sent_to: String::new(),
            received_from: String::new(),
            received_by: String::new(),
            network: self.setup.network,
            source_id: self.id,
            source_name: self.setup.name.clone(),
            announcement: None,
            frame: None,
        }
    }

    fn fresh_id(&mut self, now: Instant) -> [u8; 20] {
        *EndpointId::random(self.clock.wall(now), &mut self.rng).as_bytes()
    }
}

impl Node for Classic {
    type Command = Infallible;
    type Event = Message;

    fn handle_command(&mut self, _: Instant, command: Infallible) {
        match command {}
    }

    /// # Panics
    /// Where the reference dies, and if it is sent a native datagram. (Sealed announcements come to a whole group; it can not
    /// read them, and goes on.)
    fn handle_datagram(&mut self, now: Instant, from: SocketAddr, datagram: Bytes) {
        let is_native = datagram.first() == Some(&0xc1) && !datagram.starts_with(&ENVELOPE);
        assert!(!is_native, "{} gets a native datagram", self.setup.name);
        let Some((_, container)) = Container::read(&datagram).filter(|(codec, _)| *codec == self.setup.codec) else {
            self.counts.unreadable += 1;
            return;
        };
        let times = [container.sent, container.last_sent, container.received];
        assert!(times.iter().all(Option::is_some), "{} dies of a nil timestamp", self.setup.name);
        let bodies = (container.announcement.is_some(), container.frame.is_some());
        assert!(bodies.0 || bodies.1, "{} dies of a container without a body", self.setup.name);
        assert!(!(bodies.0 && bodies.1), "{} gets two bodies in one container", self.setup.name);
        if container.network != self.setup.network {
            self.counts.foreign += 1;
            return;
        }
        if bodies.0 {
            return self.hear(now, from, container);
        }
        let Container { source_name, frame: Some(frame), .. } = container else { return };
        self.handle_frame(now, &source_name, frame);
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.tick_at <= now {
            self.tick_at = now + RATE;
            self.tick(now);
        }
    }

    fn poll_transmit(&mut self, _: Instant, out: &mut Chain) -> Option<Transmit> {
        let (to, via, datagram) = self.out.pop_front()?;
        out.put(&datagram);
        Some(Transmit { to, len: datagram.len(), via })
    }

    fn poll_timeout(&self) -> Option<Instant> {
        Some(self.tick_at)
    }

    fn poll_event(&mut self) -> Option<Message> {
        self.delivered.pop_front()
    }
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).expect("less than 292 years")
}

/// Of announcements; everything else that it does now and then, it does at the same times.
const RATE: Duration = Duration::from_secs(1);
const TIMEOUT_MULTIPLIER: u32 = 2;
const FRAGMENT_BYTES: usize = 8_192;
const RESEND_PERIOD: Duration = Duration::from_millis(100);
/// A frame that is older when the second is over is not sent again.
const RESEND_EXPIRY: Duration = Duration::from_millis(500);
const STANDARD: i64 = 1;
const FORWARDED: i64 = 2;
/// The type that every subscription takes.
const BRIDGE: &str = "__mqtt_to_glue_bridge__";
