//! The seam between protocol and driver.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;

use crate::{Chain, Instant};

/// A protocol machine without clock, sockets or threads. The driver runs it on a real network, the simulator in
/// virtual time.
///
/// Any order of calls is legal. Outputs wait inside until they are polled; a late or repeated timeout does no harm.
pub trait Node {
    /// What the application asks for.
    type Command;
    /// What the application is told.
    type Event;

    /// Takes a command of the application.
    fn handle_command(&mut self, now: Instant, command: Self::Command);

    /// Takes one datagram as it came from the network, whoever sent it.
    fn handle_datagram(&mut self, now: Instant, from: SocketAddr, datagram: Bytes);

    /// Does what is due at `now`.
    fn handle_timeout(&mut self, now: Instant);

    /// Appends the next datagram to send to `out`, and says how long it is and where it goes. `None`: nothing to send
    /// now.
    #[must_use]
    fn poll_transmit(&mut self, now: Instant, out: &mut Chain) -> Option<Transmit>;

    /// When [`Node::handle_timeout`] wants to be called next.
    #[must_use]
    fn poll_timeout(&self) -> Option<Instant>;

    /// The next thing to tell the application.
    #[must_use]
    fn poll_event(&mut self) -> Option<Self::Event>;
}

/// One datagram to send; its bytes are the last [`Transmit::len`] of the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Where it goes: a peer, or a multicast group.
    pub to: SocketAddr,
    /// Bytes of the datagram.
    pub len: usize,
    /// The socket that sends it.
    pub via: Via,
}

/// Which socket sends a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// The data socket.
    Data,
    /// The unicast discovery socket.
    Discovery,
    /// The multicast socket, out of the interface with this index.
    Multicast {
        /// [`Interface::index`].
        interface: u32,
    },
}

/// An address of a local network interface that is up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// The operating system's number of the interface.
    pub index: u32,
    /// The address. An interface with several addresses appears once for each.
    pub address: IpAddr,
    /// Length of the network prefix, 0 to 32 (IPv4) or 128 (IPv6).
    pub prefix: u8,
    /// The address that others reach our unicast discovery socket at, as bound on this interface.
    pub discovery: Option<SocketAddr>,
    /// Whether the discovery group was joined here, so that announcements go out of it.
    pub multicast: bool,
    /// Longest IP packet that leaves by it, in bytes.
    pub mtu: u32,
}

impl Interface {
    /// [`Interface::mtu`] where nothing else is known.
    pub const ETHERNET_MTU: u32 = 1_500;

    /// The interface that `to`, a unicast address, is reached by: the one on its network; else, as the routes are not
    /// known here, the first one that is not the loopback; else the loopback.
    pub fn towards(all: &[Self], to: IpAddr) -> Option<&Self> {
        let family = || all.iter().filter(|i| i.address.is_ipv4() == to.is_ipv4() && !i.address.is_unspecified());
        family()
            .find(|i| i.contains(to))
            .or_else(|| family().find(|i| !i.address.is_loopback()))
            .or_else(|| family().next())
    }

    /// Whether `other` is on this interface's network.
    #[must_use]
    pub fn contains(&self, other: IpAddr) -> bool {
        match (self.address, other) {
            (IpAddr::V4(a), IpAddr::V4(b)) => same_prefix(a.octets(), b.octets(), self.prefix),
            (IpAddr::V6(a), IpAddr::V6(b)) => same_prefix(a.octets(), b.octets(), self.prefix),
            _ => false,
        }
    }
}

fn same_prefix<const N: usize>(a: [u8; N], b: [u8; N], prefix: u8) -> bool {
    let mut left = u32::from(prefix);
    a.iter().zip(b).all(|(x, y)| {
        let bits = left.min(8);
        left -= bits;
        bits == 0 || (x ^ y) >> (8 - bits) == 0
    })
}
