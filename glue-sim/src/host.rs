//! A node's place in the network.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use glue_net::{Instant, Interface, WallTime};

use crate::Nat;

/// The port of multicast and unicast discovery.
pub const DISCOVERY_PORT: u16 = 27320;

/// The group that a node hears unless its [`Host`] says otherwise.
pub const DISCOVERY_GROUP: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(239, 192, 137, 1)), DISCOVERY_PORT);

/// [`Interface::index`] of the one interface that each node has.
pub const INTERFACE: u32 = 1;

/// Names a node of a [`World`](crate::World): the first is 0, and so on in the order of
/// [`World::add_node`](crate::World::add_node). A node that crashed and came back is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(u32);

impl NodeId {
    /// In a trace, the sender of what no node sent: see [`World::inject`](crate::World::inject).
    pub const STRANGER: Self = Self(u32::MAX);

    /// The node added after `index` others.
    #[must_use]
    pub const fn new(index: u32) -> Self {
        Self(index)
    }

    /// How many nodes were added before it.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    pub(crate) const fn as_u64(self) -> u64 {
        self.0 as u64
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::STRANGER { f.write_str("a stranger") } else { write!(f, "node {}", self.0) }
    }
}

/// The machine that a node runs on: addresses, clocks, receive buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Host {
    /// The address. Default: generated, `10.<segment>.<high>.<low>`, where the last two count nodes from 1.
    /// Nodes with one address share a machine: the loopback link joins them.
    pub ip: Option<IpAddr>,
    /// Length of the network prefix. Default 16: a segment with generated addresses is one network.
    pub prefix: u8,
    /// Port of the data socket. Default 40000.
    pub data_port: u16,
    /// Port of the unicast discovery socket; `None` there is no such socket. Default [`DISCOVERY_PORT`].
    pub discovery_port: Option<u16>,
    /// The multicast groups that it hears. Default [`DISCOVERY_GROUP`] alone; empty: no multicast here, and the
    /// interface table says so.
    pub groups: Vec<SocketAddr>,
    /// Multicast stays on its segment, unicast goes everywhere. Default 0.
    pub segment: u8,
    /// What its interface says is the longest packet, in bytes with headers. Default 1500. What passes is up to
    /// [`Link::mtu`](crate::Link::mtu).
    pub mtu: u32,
    /// The translator of addresses that it is behind. Default `None`.
    pub nat: Option<Nat>,
    /// How it takes datagrams in.
    pub receive: Receive,
    /// What its monotonic clock shows at the start of the world. Default zero.
    pub clock_offset: Duration,
    /// How much its monotonic clock gains, in parts per million; -500,000 to 1,000,000. Default 0.
    pub drift_ppm: i32,
    /// How far its wall clock is ahead of the truth, in nanoseconds; negative: behind. Default 0.
    pub wall_offset_nanos: i64,
}

impl Host {
    /// Sets the address and the data port.
    #[must_use]
    pub const fn at(mut self, data: SocketAddr) -> Self {
        self.ip = Some(data.ip());
        self.data_port = data.port();
        self
    }

    /// Sets the port of unicast discovery, or that there is no such socket.
    #[must_use]
    pub const fn discovery_port(mut self, port: Option<u16>) -> Self {
        self.discovery_port = port;
        self
    }

    /// Hears no multicast.
    #[must_use]
    pub fn deaf(mut self) -> Self {
        self.groups.clear();
        self
    }

    /// Sets the multicast segment.
    #[must_use]
    pub const fn segment(mut self, segment: u8) -> Self {
        self.segment = segment;
        self
    }

    /// Sets what its interface says is the longest packet.
    #[must_use]
    pub const fn mtu(mut self, bytes: u32) -> Self {
        self.mtu = bytes;
        self
    }

    /// Stands behind a translator of addresses.
    #[must_use]
    pub const fn behind(mut self, nat: Nat) -> Self {
        self.nat = Some(nat);
        self
    }

    /// Sets how it takes datagrams in.
    #[must_use]
    pub const fn receive(mut self, receive: Receive) -> Self {
        self.receive = receive;
        self
    }

    /// Sets what the monotonic clock shows at the start of the world, and how fast it runs.
    #[must_use]
    pub const fn clock(mut self, offset: Duration, drift_ppm: i32) -> Self {
        self.clock_offset = offset;
        self.drift_ppm = drift_ppm;
        self
    }

    /// Sets how far the wall clock is ahead of the truth.
    #[must_use]
    pub const fn wall_offset_nanos(mut self, nanos: i64) -> Self {
        self.wall_offset_nanos = nanos;
        self
    }
}

impl Default for Host {
    fn default() -> Self {
        Self {
            ip: None,
            prefix: 16,
            data_port: 40_000,
            discovery_port: Some(DISCOVERY_PORT),
            groups: vec![DISCOVERY_GROUP],
            segment: 0,
            mtu: Interface::ETHERNET_MTU,
            nat: None,
            receive: Receive::default(),
            clock_offset: Duration::ZERO,
            drift_ppm: 0,
            wall_offset_nanos: 0,
        }
    }
}

/// How a node takes datagrams in: they wait in a bounded buffer while it is busy or frozen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receive {
    /// Size of the buffer; a datagram that finds it full is dropped. Each is charged as Linux does it: what its socket
    /// buffer takes in memory, 768 bytes for a datagram of 64 and 2,304 for one of 1,200. Default 212,992, which is
    /// Linux's.
    pub buffer_bytes: usize,
    /// Time that the node is busy with each datagram; the next ones wait, commands and timeouts do not. Default zero.
    pub busy: Duration,
}

impl Receive {
    /// What the buffer is charged for a datagram: 256 bytes and a power of two that holds it with 384 more; above 16 KiB
    /// its length and 1,280. Measured on Linux 6.18.
    pub(crate) const fn charge(len: usize) -> usize {
        if len + 384 <= 16 << 10 { 256 + (len + 384).next_power_of_two() } else { len + 1_280 }
    }
}

impl Default for Receive {
    fn default() -> Self {
        Self { buffer_bytes: 212_992, busy: Duration::ZERO }
    }
}

/// What a node is built from.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Context {
    /// The node.
    pub id: NodeId,
    /// How often it was started before: 0 at first, 1 after one restart.
    pub restarts: u32,
    /// A seed for its randomness; another one after each restart.
    pub seed: u64,
    /// What its monotonic clock shows.
    pub now: Instant,
    /// What its wall clock shows.
    pub wall: WallTime,
    /// Where others reach its data socket.
    pub data: SocketAddr,
    /// Its network interfaces.
    pub interfaces: Vec<Interface>,
}

/// Where a node is reached now.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) data: SocketAddr,
    discovery_port: Option<u16>,
    pub(crate) groups: Vec<SocketAddr>,
    pub(crate) segment: u8,
    prefix: u8,
    mtu: u32,
    pub(crate) nat: Option<Nat>,
}

impl Place {
    pub(crate) fn new(id: NodeId, host: &Host) -> Self {
        let generated = || {
            let [.., high, low] = (id.0 + 1).to_be_bytes();
            IpAddr::V4(Ipv4Addr::new(10, host.segment, high, low))
        };
        Self {
            data: SocketAddr::new(host.ip.unwrap_or_else(generated), host.data_port),
            discovery_port: host.discovery_port,
            groups: host.groups.clone(),
            segment: host.segment,
            prefix: host.prefix,
            mtu: host.mtu,
            nat: host.nat,
        }
    }

    pub(crate) fn discovery(&self) -> Option<SocketAddr> {
        self.discovery_port.map(|port| SocketAddr::new(self.data.ip(), port))
    }

    pub(crate) fn owns(&self, address: SocketAddr) -> bool {
        self.data == address || self.discovery() == Some(address)
    }

    pub(crate) fn hears(&self, group: SocketAddr) -> bool {
        self.groups.contains(&group)
    }

    pub(crate) fn interfaces(&self) -> Vec<Interface> {
        vec![Interface {
            index: INTERFACE,
            address: self.data.ip(),
            prefix: self.prefix,
            discovery: self.discovery(),
            multicast: !self.groups.is_empty(),
            mtu: self.mtu,
        }]
    }
}
