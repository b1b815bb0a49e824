//! Two endpoints that meet, publish and subscribe, and a network between them that does what the bytes say.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use glue_endpoint::{Config, Credentials, Engine, Event, History, Identity, NetworkKey, Random, Security, Wish};
use glue_net::{Chain, EndpointId, Incarnation, Instant, Interface, Node, Rng, Via, WallClock, WallTime};
use glue_topics::{Item, PublicationId, SubscriptionId};

/// Without a key.
pub(crate) fn clear(bytes: &[u8]) -> bool {
    Exchange::new(false).run(bytes)
}

/// With one.
pub(crate) fn private(bytes: &[u8]) -> bool {
    Exchange::new(true).run(bytes)
}

/// Each pair of bytes is something that happens, and how.
pub(crate) fn beginnings() -> Vec<Vec<u8>> {
    let calm = [TIME, 250, PUBLISH, 10, DELIVER, 20, SUBSCRIBE, 1, DELIVER, 20, TIME, 30, PUBLISH, 200, DELIVER, 20];
    let rough = [
        TIME,
        250,
        SUBSCRIBE,
        0,
        DELIVER,
        9,
        PUBLISH,
        255,
        DROP,
        0,
        DELIVER,
        3,
        TWICE,
        0,
        FLIP,
        77,
        DELIVER,
        5,
        CUT,
        30,
        PUBLISH,
        3,
        LATER,
        2,
        DELIVER,
        9,
        UNSUBSCRIBE,
        0,
        INJECT,
        6,
        0xc1,
        2,
        3,
        4,
        5,
        6,
        TIME,
        200,
        DELIVER,
        30,
    ];
    vec![calm.to_vec(), rough.to_vec(), [&calm[..], &rough, &calm].concat()]
}

const TIME: u8 = 0;
const DELIVER: u8 = 1;
const DROP: u8 = 2;
const TWICE: u8 = 3;
const FLIP: u8 = 4;
const CUT: u8 = 5;
const LATER: u8 = 6;
const PUBLISH: u8 = 7;
const SUBSCRIBE: u8 = 8;
const UNSUBSCRIBE: u8 = 9;
const INJECT: u8 = 10;
const KINDS: u8 = 11;

struct Exchange {
    now: Instant,
    /// The publisher and the subscriber.
    sides: [Side; 2],
    publication: PublicationId,
    /// What is on its way, and to whom.
    way: VecDeque<(usize, Bytes)>,
    subscriptions: Vec<SubscriptionId>,
    /// The last number that each subscription has seen.
    seen: BTreeMap<SubscriptionId, u64>,
    /// Somebody has changed bytes, so that anything may be said.
    is_forged: bool,
    is_private: bool,
}

pub(crate) struct Side {
    pub(crate) engine: Engine,
    pub(crate) address: SocketAddr,
}

impl Exchange {
    fn new(is_private: bool) -> Self {
        let now = Instant::from_nanos(1_000_000_000);
        let mut sides = [1, 2].map(|number| Side::new(now, number, is_private));
        let history = History::Last(4);
        let publication = sides[0].engine.publication_with("a/b", "text", history).expect("a good topic");
        let (way, subscriptions, seen) = (VecDeque::new(), Vec::new(), BTreeMap::new());
        Self { now, sides, publication, way, subscriptions, seen, is_forged: false, is_private }
    }

    /// Whether anything was delivered.
    fn run(mut self, bytes: &[u8]) -> bool {
        let mut bytes = bytes.iter().copied();
        while let (Some(kind), Some(how)) = (bytes.next(), bytes.next()) {
            self.act(kind % KINDS, how, &mut bytes);
            self.collect();
        }
        // The network is well again. What was forged in the clear may have ended anything, so nothing is promised then.
        self.pass(Duration::from_secs(8));
        if self.is_private || !self.is_forged {
            self.check();
        }
        !self.seen.is_empty()
    }

    fn act(&mut self, kind: u8, how: u8, bytes: &mut impl Iterator<Item = u8>) {
        match kind {
            TIME => self.advance(Duration::from_millis(4 * u64::from(how))),
            DELIVER => (0..=how).for_each(|_| self.deliver()),
            DROP => _ = self.way.pop_front(),
            TWICE => self.way.extend(self.way.front().cloned()),
            FLIP => self.change(|datagram| {
                let at = usize::from(how) % datagram.len().max(1);
                datagram.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << (how % 8));
            }),
            CUT => self.change(|datagram| datagram.truncate(how.into())),
            LATER => {
                let places = usize::from(how) % self.way.len().max(1);
                self.way.rotate_left(places);
            }
            PUBLISH => {
                let (engine, payload) = (&mut self.sides[0].engine, vec![how; usize::from(how) * 20]);
                engine.publish(self.now, self.publication, EXPIRY, &payload[..]).expect("a good message");
            }
            SUBSCRIBE => {
                let wish = if how.is_multiple_of(2) { Wish::None } else { Wish::All };
                let filter = if how & 2 == 0 { "a/b" } else { "#" };
                let id = self.sides[1].engine.subscribe_from(self.now, filter, "", wish);
                self.subscriptions.extend(id);
            }
            UNSUBSCRIBE if !self.subscriptions.is_empty() => {
                let id = self.subscriptions.swap_remove(usize::from(how) % self.subscriptions.len());
                self.sides[1].engine.unsubscribe(id);
            }
            _ => {
                let datagram: Bytes = bytes.take(usize::from(how)).collect();
                self.is_forged = true;
                self.way.push_front((usize::from(how % 2), datagram));
            }
        }
    }

    fn change(&mut self, change: impl FnOnce(&mut Vec<u8>)) {
        if let Some((_, datagram)) = self.way.front_mut() {
            let mut bytes = datagram.to_vec();
            change(&mut bytes);
            self.is_forged |= bytes != *datagram;
            *datagram = bytes.into();
        }
    }

    fn deliver(&mut self) {
        let Some((to, datagram)) = self.way.pop_front() else { return };
        let from = self.sides[1 - to].address;
        self.sides[to].engine.handle_datagram(self.now, from, datagram);
        self.collect();
    }

    /// Lets time pass in a network that is well.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.collect();
            while !self.way.is_empty() {
                self.deliver();
            }
            self.advance(Duration::from_millis(5));
        }
    }

    fn advance(&mut self, time: Duration) {
        self.now = self.now + time;
        for side in &mut self.sides {
            if side.engine.poll_timeout().is_some_and(|at| at <= self.now) {
                side.engine.handle_timeout(self.now);
            }
        }
    }

    /// Takes what both sides want to send and to tell.
    fn collect(&mut self) {
        for index in [0, 1] {
            let mut out = Chain::default();
            let mut sent = 0;
            while let Some(transmit) = self.sides[index].engine.poll_transmit(self.now, &mut out) {
                let bytes = out.to_vec();
                assert_eq!(bytes.len(), transmit.len);
                if transmit.via == Via::Data || transmit.to == GROUP {
                    self.way.push_back((1 - index, bytes.into()));
                }
                out.clear();
                sent += 1;
                assert!(sent < 10_000, "it never stops sending");
            }
            while let Some(event) = self.sides[index].engine.poll_event() {
                self.take(index, event);
            }
            let memory = self.sides[index].engine.memory();
            assert!(memory.peak <= memory.budget, "{memory:?}");
        }
        self.way.truncate(4_096);
    }

    fn take(&mut self, index: usize, event: Event) {
        let Event::Delivery(mut delivery) = event else { return };
        let peer = delivery.batch.from();
        let bytes = delivery.batch.bytes();
        while let Some(item) = delivery.batch.next(self.now) {
            let (from, to) = match &item {
                Item::Message(message) => (message.sequence_number, message.sequence_number),
                Item::Gap(gap) => (gap.from, gap.to),
            };
            let may_lie = self.may_lie();
            for id in delivery.to.iter() {
                let seen = self.seen.entry(*id).or_default();
                assert!(may_lie || from > *seen, "{id:?}: {from} after {seen}");
                *seen = to;
            }
        }
        if let Some(peer) = peer {
            self.sides[index].engine.handle_taken(peer, bytes);
        }
    }

    const fn may_lie(&self) -> bool {
        self.is_forged && !self.is_private
    }

    /// Whoever subscribes gets the message that is published now.
    fn check(&mut self) {
        let published = self.sides[0].engine.publish(self.now, self.publication, EXPIRY, &b"the last"[..]);
        let last = published.expect("a good message").expect("there is room");
        self.pass(Duration::from_secs(3));
        for id in &self.subscriptions {
            assert_eq!(self.seen.get(id), Some(&last), "{id:?} did not get the last");
        }
    }
}

impl Side {
    pub(crate) fn new(now: Instant, number: u8, is_private: bool) -> Self {
        let id = EndpointId::from_integer(number.into());
        let address = SocketAddr::from(([10, 0, 0, number], 40_000));
        let mut discovery = glue_discovery::Config::new(id, format!("endpoint-{number}"));
        discovery.incarnation = Incarnation(1);
        discovery.targets = vec![GROUP];
        discovery.data_port = address.port();
        let wall = WallClock::new(now, WallTime::from_unix_nanos(1_700_000_000_000_000_000));
        let mut config = Config::new(discovery);
        if is_private {
            let credentials = Credentials { key: KEY, identity: Identity::from_seed([number; 32]) };
            config.security = Some(Security { credentials, random: Random::new([number; 32]) });
        }
        let mut engine = Engine::new(now, config, wall, &mut Rng::new(number.into())).expect("good settings");
        let interface = Interface {
            index: 1,
            address: address.ip(),
            prefix: 24,
            discovery: Some(SocketAddr::new(address.ip(), GROUP.port())),
            multicast: true,
            mtu: Interface::ETHERNET_MTU,
        };
        engine.handle_interfaces(now, vec![interface]);
        Self { engine, address }
    }
}

pub(crate) const GROUP: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(239, 192, 137, 1)), 27_320);
/// Of both.
pub(crate) const KEY: NetworkKey = NetworkKey::from_bytes([7; 32]);
const EXPIRY: Duration = Duration::from_secs(600);
