//! What the driver is told, what it found, and why it could not start.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use crate::{Interface, WallClock};

/// Where the driver listens, and how it trades latency for work.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SocketConfig {
    /// Where data arrives. Default `0.0.0.0:0`: every IPv4 address, a free port. `[::]` takes IPv4 as well.
    pub listen: SocketAddr,
    /// The one interface to use for discovery, by name or address. Default `None`: every interface that is up, loopback
    /// included.
    pub interface: Option<String>,
    /// Where announcements arrive: a multicast group, or a unicast address. Default `239.192.137.1:27320`; `None`:
    /// nowhere.
    ///
    /// Besides a group, each interface address listens on the group's port; besides a unicast address nothing does.
    pub discovery_listen: Option<SocketAddr>,
    /// How often the interfaces are looked at where the kernel does not tell of changes, as in some sandboxes, and the clock
    /// everywhere. Default 1 s; at least [`SocketConfig::SHORTEST_CHECK`]. A look at the interfaces costs about 50 microseconds. Where the
    /// kernel tells, they are looked at when it does, and each tenth time.
    pub interface_check: Duration,
    /// Bytes asked for the data socket's receive buffer. Default 4 MiB; any value, the kernel caps it silently.
    /// [`Local::receive_buffer`] tells what it gave.
    pub receive_buffer: usize,
    /// How long a thread that calls in quick succession (see [`Driver::call`](super::Driver::call)) may gather before it
    /// sends. Default 50 microseconds; zero: every call sends at once. Longer means fuller datagrams and fewer system
    /// calls, and as much more latency under load; a thread that pauses is not affected. Flat out, messages of 64 bytes
    /// pass three times as fast with it (6.1 M/s against 2.0), those of 1 KiB 1.6 times, those of 8 KiB the same.
    pub gather: Duration,
    /// How long the receive thread looks for the next datagram before it sleeps, in the middle of an exchange: each time
    /// the application called, and something came back sooner than twice this. Default 150 microseconds; zero: it sleeps at once.
    /// Longer catches slower answers, and takes a core for as long when none comes; whoever else wants the core has it.
    pub linger: Duration,
}

impl SocketConfig {
    /// The multicast group of the reference implementation.
    pub const DISCOVERY_GROUP: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(239, 192, 137, 1), 27_320));
    /// Below this, [`SocketConfig::interface_check`] would eat a noticeable part of a core (0.5 %).
    pub const SHORTEST_CHECK: Duration = Duration::from_millis(10);
}

impl Default for SocketConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0)),
            interface: None,
            discovery_listen: Some(Self::DISCOVERY_GROUP),
            interface_check: Duration::from_secs(1),
            receive_buffer: 4 << 20,
            gather: Duration::from_micros(50),
            linger: Duration::from_micros(150),
        }
    }
}

/// What the driver found when it started.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Local {
    /// Where the data socket is bound. The IP is a wildcard if [`SocketConfig::listen`]'s is.
    pub data: SocketAddr,
    /// The addresses of the chosen interfaces. [`Driven::handle_interfaces`](super::Driven::handle_interfaces) tells of
    /// changes.
    pub interfaces: Vec<Interface>,
    /// The address from which the default route leaves, if there is one.
    pub default_address: Option<IpAddr>,
    /// Bytes that the kernel holds for the data socket, as it counts them. On loopback a datagram of 64 bytes counts 832, one
    /// of 1,200 counts 2,304, one of 8 KiB 16,640 and one of 65,507 counts 66,339; of a batch of 44 times 1,472, each
    /// counts 1,491.
    pub receive_buffer: usize,
    /// The wall clock at the start. [`Driven::handle_clock`](super::Driven::handle_clock) renews it.
    pub clock: WallClock,
}

/// Why the driver did not start. No thread runs and no socket stays open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// The data address can not be bound.
    #[error("can not listen for data on {address}: {source}")]
    Data {
        /// What was asked for.
        address: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// The discovery address can not be bound.
    #[error("can not listen for announcements on {address}: {source}")]
    Discovery {
        /// What was asked for.
        address: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// The system would not tell its interfaces.
    #[error("can not list the network interfaces: {0}")]
    Interfaces(io::Error),
    /// [`SocketConfig::interface_check`] is too short.
    #[error("an interface check every {interval:?} is too often; at least {:?}", SocketConfig::SHORTEST_CHECK)]
    InterfaceCheck {
        /// What was asked for.
        interval: Duration,
    },
    /// A thread or its wake-up pipe could not be made.
    #[error("can not start a thread: {0}")]
    Thread(io::Error),
    /// No interface that is up has this name or address.
    #[error("no interface that is up has the name or address `{interface}`; there are: {known}")]
    UnknownInterface {
        /// What was asked for.
        interface: String,
        /// Names and addresses of the interfaces that are up.
        known: String,
    },
}
