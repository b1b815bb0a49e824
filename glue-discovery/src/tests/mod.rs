//! Behaviour of the whole crate: one endpoint that is told things ([`One`]), and several on a network ([`world::World`]).

use std::net::SocketAddr;
use std::time::Duration;

use glue_net::wire::classic::{Announcement, Body, Codec, Container, Native};
use glue_net::{EndpointId, Incarnation, Instant, Interface, NetworkId, PeerId, Rng, Via, WallClock, WallTime};

use crate::outbox::Outgoing;
use crate::{Config, Discovery, DownReason, Event};

mod announcing;
mod answering;
mod clashes;
mod forwarding;
mod hostile;
mod learning;
mod moving;
mod world;

const GROUP: &str = "239.192.137.1:27320";

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn socket(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// 10.0.0.1 on 10.0.0.0/24.
fn interface(index: u32, address: &str, prefix: u8) -> Interface {
    let address = address.parse().unwrap();
    let discovery = Some(SocketAddr::new(address, 27_320));
    Interface { index, address, prefix, discovery, multicast: true, mtu: Interface::ETHERNET_MTU }
}

fn config() -> Config {
    let mut config = Config::new(EndpointId::from_integer(1), "one");
    config.incarnation = Incarnation(10);
    config.targets = vec![socket(GROUP)];
    config.data_port = 40_000;
    config
}

/// An announcement of a classic peer on a group, as JSON's or MessagePack's decoder would give it.
fn classic(id: i64, name: &str, data: &str) -> Container {
    let data = socket(data);
    Container {
        sent_timestamp: WallTime::from_unix_nanos(1),
        last_sent_timestamp: WallTime::ZERO_TIME,
        sent_by: Some(data),
        sent_to: Some(socket(GROUP)),
        received_timestamp: WallTime::ZERO_TIME,
        received_from: None,
        received_by: None,
        network_id: NetworkId(1),
        source_endpoint_id: EndpointId::from_integer(id),
        source_endpoint_name: name.to_owned(),
        body: Body::Announcement(Announcement {
            sent_rate: ms(1_000),
            listen_port: data.port(),
            listen_addr: Some(data),
            discovery_listen_addr: Some(SocketAddr::new(data.ip(), 27_320)),
            discovery_target_addr: Some(socket(GROUP)),
            forwarded: false,
            native: None,
        }),
    }
}

fn native(id: i64, name: &str, data: &str) -> Container {
    with(classic(id, name, data), |a| a.native = Some(life(20)))
}

const fn life(incarnation: u64) -> Native {
    Native { version: 1, incarnation: Incarnation(incarnation), capabilities: 0, goodbye: false }
}

fn with(mut container: Container, change: impl FnOnce(&mut Announcement)) -> Container {
    if let Body::Announcement(announcement) = &mut container.body {
        change(announcement);
    }
    container
}

fn announcement(container: &Container) -> &Announcement {
    match &container.body {
        Body::Announcement(announcement) => announcement,
        Body::Frame(_) => panic!("a frame"),
    }
}

/// One endpoint, at 10.0.0.1 on 10.0.0.0/24, and a hand to feed it.
struct One {
    now: Instant,
    discovery: Discovery,
}

impl One {
    fn new(config: Config) -> Self {
        let mut one = Self::silent(config);
        one.discovery.handle_timeout(one.now);
        let _ = one.sent();
        one
    }

    /// Before its first announcement.
    fn silent(config: Config) -> Self {
        let now = Instant::ZERO + ms(5_000);
        let mut discovery = Discovery::new(config, Rng::new(7), now).unwrap();
        discovery.handle_clock(WallClock::new(now, WallTime::from_unix_nanos(1_795_224_787_000_000_000)));
        discovery.handle_interfaces(now, vec![interface(2, "10.0.0.1", 24)]);
        Self { now, discovery }
    }

    fn hear(&mut self, container: &Container) -> &mut Self {
        let ip = announcement(container).listen_addr.unwrap().ip();
        self.hear_from(SocketAddr::new(ip, 27_320), Codec::Json, container)
    }

    fn hear_from(&mut self, from: SocketAddr, codec: Codec, container: &Container) -> &mut Self {
        self.discovery.handle_announcement(self.now, from, codec, container.clone());
        self
    }

    /// Lets time pass, with all its timeouts.
    fn wait(&mut self, duration: Duration) -> &mut Self {
        let end = self.now + duration;
        while let Some(at) = self.discovery.poll_timeout().filter(|at| *at <= end) {
            assert!(at > self.now || self.discovery.poll_timeout().is_some(), "no progress");
            self.now = self.now.max(at);
            self.discovery.handle_timeout(self.now);
            let next = self.discovery.poll_timeout();
            assert!(next.is_none_or(|next| next > self.now), "a timeout that does not go away at {:?}", self.now);
        }
        self.now = end;
        self
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.discovery.poll_event()).collect()
    }

    fn sent(&mut self) -> Vec<Outgoing> {
        std::iter::from_fn(|| self.discovery.next_outgoing(self.now)).collect()
    }

    /// What was sent to one peer and not to a group.
    fn unicasts(&mut self) -> Vec<Outgoing> {
        self.sent().into_iter().filter(|o| o.via == Via::Discovery).collect()
    }

    fn names(&self) -> Vec<&str> {
        self.discovery.peers().map(|(_, info)| info.name.as_str()).collect()
    }
}

/// The events in short: `+name`, `-name reason`, `>name`, `!name`.
fn short(events: &[Event]) -> Vec<String> {
    let line = |event: &Event| match event {
        Event::PeerUp { peer, info } => format!("+{} {}", info.name, peer.0),
        Event::PeerDown { peer, name, reason, .. } => format!("-{name} {} {reason:?}", peer.0),
        Event::PeerMoved { peer, from, to, .. } => format!(">{} {from} {to}", peer.0),
        Event::Clash { kind, name, .. } => format!("!{name} {kind:?}"),
    };
    events.iter().map(line).collect()
}

fn downs(events: &[Event]) -> Vec<(PeerId, DownReason)> {
    let down = |event: &Event| match event {
        Event::PeerDown { peer, reason, .. } => Some((*peer, *reason)),
        _ => None,
    };
    events.iter().filter_map(down).collect()
}
