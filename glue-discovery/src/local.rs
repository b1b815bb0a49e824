//! Where we are: our interfaces, and what they say of an address.

use std::net::{IpAddr, SocketAddr};

use glue_net::{Interface, Via};

use crate::Config;

/// How near an address is; a nearer one is the better way to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Distance {
    /// On this host, by the loopback: no network card, and the largest datagrams.
    Loopback,
    /// On the network of one of our interfaces: no router.
    Network,
    /// Elsewhere.
    Far,
}

/// How an announcement to somebody leaves, and the addresses of ours that it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) listen: SocketAddr,
    pub(crate) discovery: Option<SocketAddr>,
    pub(crate) via: Via,
}

/// Our interfaces and our data socket.
#[derive(Debug)]
pub(crate) struct Local {
    interfaces: Vec<Interface>,
    data_port: u16,
    data_ip: Option<IpAddr>,
}

impl Local {
    pub(crate) const fn new(config: &Config) -> Self {
        Self { interfaces: Vec::new(), data_port: config.data_port, data_ip: config.data_ip }
    }

    /// Replaces the table; false if it was the same.
    pub(crate) fn replace(&mut self, interfaces: Vec<Interface>) -> bool {
        let changed = self.interfaces != interfaces;
        self.interfaces = interfaces;
        changed
    }

    /// Whether it is an address of this host.
    pub(crate) fn is_here(&self, ip: IpAddr) -> bool {
        ip.is_loopback() || self.interfaces.iter().any(|i| i.address == ip)
    }

    /// Whether it is our own data socket.
    pub(crate) fn is_ours(&self, data: SocketAddr) -> bool {
        data.port() == self.data_port && self.is_here(data.ip()) && self.data_ip.is_none_or(|ip| ip == data.ip())
    }

    pub(crate) fn distance(&self, ip: IpAddr) -> Distance {
        if ip.is_loopback() {
            Distance::Loopback
        } else if self.interfaces.iter().any(|i| i.contains(ip)) {
            Distance::Network
        } else {
            Distance::Far
        }
    }

    /// See [`Interface::towards`].
    pub(crate) fn towards(&self, to: IpAddr) -> Option<&Interface> {
        Interface::towards(&self.interfaces, to)
    }

    /// The ways to `to`: one for each interface to a multicast group, at most one to a unicast address.
    pub(crate) fn sources(&self, to: SocketAddr) -> Vec<Source> {
        if !to.ip().is_multicast() {
            return self.source(to.ip()).into_iter().collect();
        }
        let family = self.interfaces.iter().filter(|i| i.address.is_ipv4() == to.is_ipv4());
        family
            .filter(|i| i.multicast && !i.address.is_unspecified())
            .filter_map(|i| self.source_at(i, Via::Multicast { interface: i.index }))
            .collect()
    }

    /// The way to a unicast address.
    pub(crate) fn source(&self, to: IpAddr) -> Option<Source> {
        self.source_at(self.towards(to)?, Via::Discovery)
    }

    /// `None` if our data socket is bound to an address of the other family: nobody could reach it by this interface.
    fn source_at(&self, interface: &Interface, via: Via) -> Option<Source> {
        let ip = self.data_ip.unwrap_or(interface.address);
        let discovery = interface.discovery.filter(|d| !d.ip().is_unspecified());
        (ip.is_ipv4() == interface.address.is_ipv4()).then_some(Source {
            listen: SocketAddr::new(ip, self.data_port),
            discovery,
            via,
        })
    }
}
