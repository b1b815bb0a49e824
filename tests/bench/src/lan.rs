//! One endpoint that publishes, the hub, and those that subscribe to it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use glue_endpoint::{Config, Engine, Event};
use glue_net::{Chain, EndpointId, Incarnation, Instant, Interface, Node, Rng, Transmit, WallClock, WallTime};
use glue_topics::{Item, PublicationId};

use crate::{EXPIRY, TOPIC, TYPE};

/// What joins the engines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// One host: datagrams of up to 65,507 bytes.
    Loopback,
    /// A network whose MTU is 1,228: datagrams of up to 1,200 bytes, so that there is nothing to search for.
    Network,
}

/// A hub and its subscribers. All time is virtual, all randomness seeded.
#[derive(Debug)]
pub struct Lan {
    /// The time.
    pub now: Instant,
    hosts: Vec<Host>,
    publication: PublicationId,
    most_bytes: usize,
    /// Bytes of all datagrams that were handed to [`Lan::deliver`].
    pub carried_bytes: usize,
    /// What [`Lan::transmit`] has written.
    out: Chain,
    sent: Vec<Transmit>,
}

/// A datagram on its way.
#[derive(Clone, Debug)]
pub struct Datagram {
    /// Who sent it.
    pub from: SocketAddr,
    /// Where it goes.
    pub to: SocketAddr,
    /// Its bytes.
    pub bytes: Bytes,
}

#[derive(Debug)]
struct Host {
    engine: Engine,
    data: SocketAddr,
}

impl Lan {
    /// A hub, and `subscribers` that it knows and that subscribe to its topic.
    ///
    /// # Panics
    /// If they do not find each other.
    #[must_use]
    pub fn new(subscribers: usize, path: Path) -> Self {
        Self::crowded(subscribers, path, &[], &[])
    }

    /// As [`Lan::new`], but the hub publishes other `topics` too, and each subscriber has these `filters` too.
    ///
    /// # Panics
    /// If they do not find each other, or a name is bad.
    #[must_use]
    pub fn crowded(subscribers: usize, path: Path, topics: &[String], filters: &[String]) -> Self {
        let now = Instant::from_nanos(1_000_000_000);
        let mut hosts: Vec<Host> = (0..=subscribers).map(|index| Host::new(now, index, path)).collect();
        let publication = hosts[HUB].engine.publication(TOPIC, TYPE).expect("a good topic");
        for topic in topics {
            hosts[HUB].engine.publication(topic, TYPE).expect("a good topic");
        }
        for host in hosts.iter_mut().skip(1) {
            host.engine.subscribe(TOPIC, TYPE).expect("a good topic");
            for filter in filters {
                host.engine.subscribe(filter, TYPE).expect("a good filter");
            }
        }
        let most_bytes = if path == Path::Loopback { 65_507 } else { 1_200 };
        let (out, sent) = (Chain::with_capacity(1 << 18), Vec::with_capacity(1_000));
        let mut lan = Self { now, hosts, publication, most_bytes, carried_bytes: 0, out, sent };
        for _ in 0..1_000 {
            lan.wait(Duration::from_millis(10));
            if lan.hosts[HUB].engine.subscribers(publication).len() == subscribers && lan.is_settled() {
                return lan;
            }
        }
        panic!("{subscribers} subscribers have not found the hub");
    }

    /// The hub publishes a message; time passes a little.
    #[inline]
    pub fn publish(&mut self, payload: &[u8]) {
        self.now = self.now + Duration::from_nanos(100);
        let published = self.hosts[HUB].engine.publish(self.now, self.publication, EXPIRY, payload);
        assert!(matches!(published, Ok(Some(_))), "{published:?}");
    }

    /// The hub writes all datagrams that it has to send, and keeps them for [`Lan::wait`]. Returns how many.
    #[inline]
    pub fn transmit(&mut self) -> usize {
        let before = self.sent.len();
        while let Some(transmit) = self.hosts[HUB].engine.poll_transmit(self.now, &mut self.out) {
            self.sent.push(transmit);
        }
        self.sent.len() - before
    }

    /// All that the hub has to send, or the subscribers: its datagrams.
    #[must_use]
    pub fn take(&mut self, from_hub: bool) -> Vec<Datagram> {
        let mut taken = Vec::new();
        let hosts = self.hosts.iter_mut().enumerate().filter(|(index, _)| (*index == HUB) == from_hub);
        for (_, Host { engine, data }) in hosts {
            let mut out = Chain::default();
            while let Some(transmit) = engine.poll_transmit(self.now, &mut out) {
                taken.push(Datagram { from: *data, to: transmit.to, bytes: out.to_vec().into() });
                out.clear();
            }
        }
        taken
    }

    /// Hands a datagram to the hosts that it goes to, and returns how many messages come out there.
    #[inline]
    pub fn deliver(&mut self, datagram: &Datagram) -> u64 {
        let hub = self.hosts[HUB].data;
        let to_hub = datagram.from != hub;
        let mut messages = 0;
        self.carried_bytes += datagram.bytes.len();
        if datagram.bytes.len() > self.most_bytes {
            return 0;
        }
        let hosts = if to_hub { &mut self.hosts[..=HUB] } else { &mut self.hosts[HUB + 1..] };
        // Subscribers do not hear each other: only the hub is looked at.
        for host in hosts.iter_mut().filter(|host| host.data.ip() == datagram.to.ip() || datagram.to == GROUP) {
            messages += host.handle(self.now, datagram);
        }
        messages
    }

    /// Lets `time` pass, or a little more until nothing is under way. What was written and what the hosts send then
    /// arrives; returns how many messages came out.
    pub fn wait(&mut self, time: Duration) -> u64 {
        let (end, mut messages) = (self.now + time, 0);
        let mut carried = self.take_written();
        loop {
            for Host { engine, .. } in &mut self.hosts {
                if engine.poll_timeout().is_some_and(|at| at <= self.now) {
                    engine.handle_timeout(self.now);
                }
            }
            carried.extend(self.take(true));
            carried.extend(self.take(false));
            if carried.is_empty() && self.now >= end {
                return messages;
            }
            self.now = self.now + HOP;
            messages += std::mem::take(&mut carried).iter().map(|datagram| self.deliver(datagram)).sum::<u64>();
        }
    }

    fn take_written(&mut self) -> Vec<Datagram> {
        let (from, written) = (self.hosts[HUB].data, self.out.to_vec());
        let mut rest = written.as_slice();
        let taken = self.sent.drain(..).map(|Transmit { to, len, .. }| {
            let (datagram, after) = rest.split_at(len);
            rest = after;
            Datagram { from, to, bytes: Bytes::copy_from_slice(datagram) }
        });
        let taken = taken.collect();
        self.out.clear();
        taken
    }

    /// Whether every subscriber has acknowledged everything.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.hosts[HUB].engine.is_settled()
    }
}

impl Host {
    fn new(now: Instant, index: usize, path: Path) -> Self {
        let number = u8::try_from(index + 1).expect("few hosts");
        let net = if path == Path::Loopback { 127 } else { 10 };
        let ip = IpAddr::V4(Ipv4Addr::new(net, 0, 0, number));
        let data = SocketAddr::new(ip, 40_000 + u16::from(number));
        let mut discovery = identity(number);
        discovery.targets = vec![GROUP];
        discovery.data_port = data.port();
        let mut config = Config::new(discovery);
        config.transport.socket_window_bytes = 4 << 20;
        let clock = WallClock::new(now, WallTime::from_unix_nanos(1_800_000_000_000_000_000));
        let mut engine = Engine::new(now, config, clock, &mut Rng::new(u64::from(number))).expect("good settings");
        let discovery = Some(SocketAddr::new(ip, 27_320));
        engine.handle_interfaces(
            now,
            vec![Interface { index: 1, address: ip, prefix: 8, mtu: 1_228, discovery, multicast: true }],
        );
        Self { engine, data }
    }

    #[inline]
    fn handle(&mut self, now: Instant, datagram: &Datagram) -> u64 {
        let mut messages = 0;
        self.engine.handle_datagram(now, datagram.from, datagram.bytes.clone());
        while let Some(event) = self.engine.poll_event() {
            let Event::Delivery(mut delivery) = event else { continue };
            while let Some(item) = delivery.batch.next(now) {
                messages += u64::from(matches!(std::hint::black_box(item), Item::Message(_)));
            }
            if let Some(peer) = delivery.batch.from() {
                self.engine.handle_taken(peer, delivery.batch.bytes());
            }
        }
        messages
    }
}

fn identity(number: u8) -> glue_discovery::Config {
    let id = EndpointId::from_integer(i64::from(number));
    let mut discovery = glue_discovery::Config::new(id, format!("endpoint-{number}"));
    discovery.incarnation = Incarnation(1);
    discovery
}

/// The index of the hub.
const HUB: usize = 0;
/// What a datagram takes from one to the other.
const HOP: Duration = Duration::from_micros(50);
const GROUP: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(239, 192, 137, 1)), 27_320);
