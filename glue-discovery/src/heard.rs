//! An announcement, checked once.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::sync::Arc;
use std::time::Duration;

use glue_net::wire::classic::{Announcement, Body, Codec, Container, Native};
use glue_net::wire::native::Member;
use glue_net::{EndpointId, Incarnation, NetworkId, WallTime};

use crate::Config;
use crate::event::Wire;
use crate::local::Local;
use crate::stats::Ignored;

/// How an announcement was addressed, which decides what it is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// To a multicast group; `None` from a peer too old to say which.
    Group(Option<SocketAddr>),
    /// To us, as one of the sender's targets: it wants to know of everybody.
    Target,
    /// To us, as a peer that the sender knows: a native endpoint names no target in answers and probes.
    Direct,
}

/// What an announcement says, in types that can not be wrong.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) id: EndpointId,
    /// Zero if the sender is classic.
    pub(crate) incarnation: Incarnation,
    pub(crate) wire: Wire,
    pub(crate) goodbye: bool,
    /// In [`Config::INTERVALS`].
    pub(crate) interval: Duration,
    pub(crate) codec: Codec,
    /// In a private network.
    pub(crate) member: Option<Member>,
    pub(crate) from: SocketAddr,
    /// Where the sender takes data: a specific unicast address that is reachable from here.
    pub(crate) data: SocketAddr,
    /// Where it takes unicast announcements, likewise.
    pub(crate) discovery: Option<SocketAddr>,
    pub(crate) reach: Reach,
    pub(crate) forwarded: bool,
    /// The container, ready to be passed on. Shared: it is kept with the peer, and came a moment ago.
    pub(crate) container: Arc<Container>,
}

/// Where and when an announcement arrived.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) wall: WallTime,
    pub(crate) from: SocketAddr,
    pub(crate) codec: Codec,
    pub(crate) member: Option<Member>,
}

impl Heard {
    pub(crate) fn check(
        arrival: Arrival,
        container: Container,
        network: NetworkId,
        local: &Local,
    ) -> Result<Self, Ignored> {
        let Body::Announcement(announcement) = &container.body else {
            return Err(Ignored::Frame);
        };
        if container.network_id != network {
            return Err(Ignored::Network);
        }
        let is_named = (1..=Config::MAX_NAME_BYTES).contains(&container.source_endpoint_name.len());
        let native = announcement.native;
        if !is_named || native.is_some_and(|n| n.version == 0) {
            return Err(Ignored::Malformed);
        }
        let arrival = Arrival { from: canonical(arrival.from), ..arrival };
        let way = Way::new(arrival.from, &container, announcement, local);
        let data = way.data(announcement, arrival.codec).ok_or(Ignored::Unreachable)?;
        let discovery = announcement.discovery_listen_addr.and_then(|a| way.resolve(a));
        Ok(Self {
            id: container.source_endpoint_id,
            incarnation: native.map_or_else(Incarnation::default, |n| n.incarnation),
            wire: wire(native, arrival.codec),
            goodbye: native.is_some_and(|n| n.goodbye),
            interval: announcement.sent_rate.clamp(*Config::INTERVALS.start(), *Config::INTERVALS.end()),
            codec: arrival.codec,
            member: arrival.member.filter(|_| native.is_some()),
            from: arrival.from,
            data,
            discovery,
            reach: reach(announcement),
            forwarded: announcement.forwarded,
            container: Arc::new(received(container, arrival, data, discovery, local)),
        })
    }

    /// Which of its announcements it is; 0 outside private networks.
    pub(crate) fn count(&self) -> u64 {
        self.member.map_or(0, |member| member.count)
    }

    pub(crate) fn name(&self) -> &str {
        &self.container.source_endpoint_name
    }

    pub(crate) const fn is_native(&self) -> bool {
        matches!(self.wire, Wire::Native { .. })
    }
}

/// The way that an announcement came, by which the addresses in it are read.
#[derive(Debug)]
struct Way<'a> {
    /// Who handed it to us.
    from: SocketAddr,
    /// Where the sender is, as the one who took it from the sender saw it.
    origin: IpAddr,
    forwarded: bool,
    local: &'a Local,
}

impl<'a> Way<'a> {
    fn new(from: SocketAddr, container: &Container, announcement: &Announcement, local: &'a Local) -> Self {
        let forwarded = announcement.forwarded;
        let seen = if forwarded { container.received_from } else { None };
        Self { from, origin: canonical(seen.unwrap_or(from)).ip(), forwarded, local }
    }

    /// The last JSON revision of the reference announces a port only; nil from others says that it can not be reached.
    fn data(&self, announcement: &Announcement, codec: Codec) -> Option<SocketAddr> {
        let port_only = || (codec == Codec::Json).then_some(SocketAddr::new(self.origin, announcement.listen_port));
        self.resolve(announcement.listen_addr.or_else(port_only)?)
    }

    /// The address, as seen from here; `None` if it is not one that a datagram can be sent to.
    fn resolve(&self, address: SocketAddr) -> Option<SocketAddr> {
        let mut address = canonical(address);
        if address.ip().is_unspecified() {
            address.set_ip(self.origin);
        }
        if address.ip().is_loopback() && !self.local.is_here(self.from.ip()) {
            // The loopback of another host. Who passed it on is on that host too, else it had not heard it.
            if !self.forwarded {
                return None;
            }
            address.set_ip(self.from.ip());
        }
        let ip = address.ip();
        let is_broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
        let is_usable = address.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !is_broadcast;
        is_usable.then(|| self.with_scope(address))
    }

    /// A link-local address means nothing without the link, which is the one that it was heard on.
    fn with_scope(&self, address: SocketAddr) -> SocketAddr {
        match (address, self.from) {
            (SocketAddr::V6(a), SocketAddr::V6(from)) if a.ip().is_unicast_link_local() && a.scope_id() == 0 => {
                SocketAddrV6::new(*a.ip(), a.port(), 0, from.scope_id()).into()
            }
            _ => address,
        }
    }
}

/// An IPv4 address in IPv6 clothes, as a dual-stack socket shows it, undressed.
fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(v4) => SocketAddr::new(v4.into(), address.port()),
        IpAddr::V6(_) => address,
    }
}

fn wire(native: Option<Native>, codec: Codec) -> Wire {
    native.map_or(Wire::Classic(codec), |n| Wire::Native { version: n.version, capabilities: n.capabilities })
}

fn reach(announcement: &Announcement) -> Reach {
    match announcement.discovery_target_addr {
        Some(target) if !target.ip().is_multicast() => Reach::Target,
        None if announcement.native.is_some() => Reach::Direct,
        group => Reach::Group(group),
    }
}

/// The container as we would pass it on: marked, with the addresses as we read them, and never with a nil where the
/// reference expects none.
fn received(
    mut container: Container,
    arrival: Arrival,
    data: SocketAddr,
    discovery: Option<SocketAddr>,
    local: &Local,
) -> Container {
    let received_by = local.source(arrival.from.ip()).map(|s| s.discovery.unwrap_or(s.listen));
    container.received_timestamp = arrival.wall;
    container.received_from = Some(arrival.from);
    container.received_by = received_by;
    if let Body::Announcement(announcement) = &mut container.body {
        announcement.listen_addr = Some(data);
        announcement.discovery_listen_addr = discovery;
        announcement.discovery_target_addr = announcement.discovery_target_addr.or(received_by).or(Some(arrival.from));
        announcement.forwarded = true;
    }
    container
}
