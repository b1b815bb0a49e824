//! The sockets that announcements arrive at.
//!
//! Several endpoints of a host share the group's port. The multicast socket binds the group's *address*, with reuse: each
//! endpoint hears each announcement, and no unicast lands there by chance. Unicast goes to a socket for each interface
//! address, and the first endpoint of the host has the port there; a later one takes a free port, and announces it.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;

use socket2::{Domain, InterfaceIndexOrAddress, SockAddr, SockRef, Socket, Type};

use super::config::{BindError, SocketConfig};
use super::interfaces::{self, Found};
use crate::Interface;

/// The discovery sockets, and what they are bound to at present.
#[derive(Debug)]
pub(super) struct Discovery {
    listen: Option<SocketAddr>,
    wanted: Option<String>,
    group: Option<UdpSocket>,
    joined: BTreeSet<u32>,
    /// Interfaces that a warning was written for.
    refused: BTreeSet<u32>,
    unicast: Vec<Unicast>,
}

/// A socket for unicast announcements.
#[derive(Clone, Debug)]
pub(super) struct Unicast {
    pub(super) address: SocketAddr,
    pub(super) socket: Arc<UdpSocket>,
}

impl Discovery {
    /// Binds what is configured, and tells the interfaces.
    pub(super) fn bind(config: &SocketConfig) -> Result<(Self, Vec<Interface>), BindError> {
        let mut discovery = Self {
            listen: config.discovery_listen,
            wanted: config.interface.clone(),
            group: None,
            joined: BTreeSet::new(),
            refused: BTreeSet::new(),
            unicast: Vec::new(),
        };
        if let Some(address) = config.discovery_listen {
            let bound = discovery.bind_configured(address);
            bound.map_err(|source| BindError::Discovery { address, source })?;
        }
        let all = interfaces::list().map_err(BindError::Interfaces)?;
        let chosen = interfaces::choose(all.clone(), discovery.wanted.as_deref());
        if let (Some(interface), true) = (&discovery.wanted, chosen.is_empty()) {
            let (interface, known) = (interface.clone(), interfaces::describe(&all));
            return Err(BindError::UnknownInterface { interface, known });
        }
        let interfaces = discovery.follow(&chosen);
        if discovery.group.is_some() && discovery.joined.is_empty() {
            tracing::warn!("no interface takes part in multicast: peers are found by unicast addresses only");
        }
        Ok((discovery, interfaces))
    }

    /// Looks at the interfaces again, joins and leaves, binds and closes; tells how things are.
    pub(super) fn refresh(&mut self) -> io::Result<Vec<Interface>> {
        let chosen = interfaces::choose(interfaces::list()?, self.wanted.as_deref());
        Ok(self.follow(&chosen))
    }

    /// The sockets to receive from.
    pub(super) fn sockets(&self) -> impl Iterator<Item = &UdpSocket> {
        self.group.iter().chain(self.unicast.iter().map(|unicast| &*unicast.socket))
    }

    pub(super) fn unicast(&self) -> Vec<Unicast> {
        self.unicast.clone()
    }

    /// Binds what does not depend on the interfaces.
    fn bind_configured(&mut self, address: SocketAddr) -> io::Result<()> {
        if address.ip().is_multicast() {
            self.group = Some(bind_group(address)?);
        } else if !address.ip().is_unspecified() {
            self.unicast.push(bind_unicast(address)?);
        }
        Ok(())
    }

    fn follow(&mut self, chosen: &[Found]) -> Vec<Interface> {
        self.follow_memberships(chosen);
        self.follow_addresses(chosen);
        let mut announced = BTreeSet::new();
        let interface = |found: &Found| Interface {
            index: found.index,
            address: found.address,
            prefix: found.prefix,
            discovery: self.discovery_address(found),
            mtu: found.mtu,
            multicast: self.is_multicast(found) && announced.insert((found.index, found.address.is_ipv4())),
        };
        chosen.iter().map(interface).collect()
    }

    fn follow_memberships(&mut self, chosen: &[Found]) {
        let Some(group) = self.listen.map(|address| address.ip()).filter(IpAddr::is_multicast) else { return };
        let present: BTreeSet<_> = chosen.iter().map(|found| found.index).collect();
        let Some(socket) = &self.group else { return };
        for gone in self.joined.difference(&present) {
            // The kernel has forgotten a removed interface by itself.
            let _ = leave(socket, group, *gone);
        }
        self.joined.retain(|index| present.contains(index));
        self.refused.retain(|index| present.contains(index));
        for index in present {
            // Joined anew each time: an interface that was removed and made again between two looks has lost it.
            match join(socket, group, index) {
                Ok(()) => _ = self.joined.insert(index),
                Err(error) if error.kind() == ErrorKind::AddrInUse => _ = self.joined.insert(index),
                Err(error) => {
                    self.joined.remove(&index);
                    if self.refused.insert(index) {
                        tracing::warn!(interface = index, %group, %error, "can not join the discovery group");
                    }
                }
            }
        }
    }

    /// A socket for each address, unless one address is configured.
    fn follow_addresses(&mut self, chosen: &[Found]) {
        let Some(listen) = self.listen.filter(|address| address.ip().is_multicast() || address.ip().is_unspecified())
        else {
            return;
        };
        let wanted = |ip: IpAddr| chosen.iter().any(|found| found.address == ip);
        self.unicast.retain(|unicast| wanted(unicast.address.ip()));
        for found in chosen.iter().filter(|found| found.address.is_ipv4() == listen.is_ipv4()) {
            if self.unicast.iter().any(|unicast| unicast.address.ip() == found.address) {
                continue;
            }
            let address = SocketAddr::new(found.address, listen.port());
            match bind_unicast(address) {
                Ok(unicast) => self.unicast.push(unicast),
                // An IPv6 address can not be bound while it is being checked for duplicates; the next look tries again.
                Err(error) => tracing::debug!(%address, %error, "no unicast discovery here for now"),
            }
        }
    }

    fn discovery_address(&self, found: &Found) -> Option<SocketAddr> {
        let own = self.unicast.iter().find(|unicast| unicast.address.ip() == found.address);
        if let Some(own) = own {
            return Some(own.address);
        }
        let configured =
            self.listen.filter(|address| !address.ip().is_multicast() && !address.ip().is_unspecified())?;
        // A configured address is reached over every network of the host but, if it is one of loopback, over loopback.
        let reachable = configured.ip().is_loopback() == found.address.is_loopback();
        self.unicast.first().map(|unicast| unicast.address).filter(|_| reachable)
    }

    fn is_multicast(&self, found: &Found) -> bool {
        match (&self.group, self.listen) {
            (Some(_), Some(listen)) => {
                self.joined.contains(&found.index) && listen.is_ipv4() == found.address.is_ipv4()
            }
            // Without a group to listen to, one may still announce to one.
            _ => true,
        }
    }
}

fn open(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM.nonblocking(), None)?;
    // The kernel may give less.
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    Ok(socket)
}

fn bind_group(group: SocketAddr) -> io::Result<UdpSocket> {
    let socket = open(group)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    if group.is_ipv4() {
        // Only what we joined, not what other processes of the host joined elsewhere.
        socket.set_multicast_all_v4(false)?;
    } else {
        socket.set_only_v6(true)?;
        socket.set_multicast_all_v6(false)?;
    }
    socket.bind(&SockAddr::from(group))?;
    Ok(socket.into())
}

/// Binds `address`, or its IP and a free port if another socket has it.
fn bind_unicast(address: SocketAddr) -> io::Result<Unicast> {
    let socket = match bind_alone(address) {
        Err(error) if error.kind() == ErrorKind::AddrInUse => bind_alone(SocketAddr::new(address.ip(), 0)),
        other => other,
    }?;
    Ok(Unicast { address: socket.local_addr()?, socket: Arc::new(socket) })
}

/// Binds without reuse, so that no other endpoint of ours shares the address. Then allows reuse: the reference
/// implementation binds the wildcard address with reuse, and would not start beside us. Unicast still comes to us, whose
/// binding is the more specific one.
fn bind_alone(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = open(address)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&SockAddr::from(address))?;
    socket.set_reuse_address(true)?;
    Ok(socket.into())
}

fn join(socket: &UdpSocket, group: IpAddr, interface: u32) -> io::Result<()> {
    let socket = SockRef::from(socket);
    match group {
        IpAddr::V4(group) => socket.join_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(interface)),
        IpAddr::V6(group) => socket.join_multicast_v6(&group, interface),
    }
}

fn leave(socket: &UdpSocket, group: IpAddr, interface: u32) -> io::Result<()> {
    let socket = SockRef::from(socket);
    match group {
        IpAddr::V4(group) => socket.leave_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(interface)),
        IpAddr::V6(group) => socket.leave_multicast_v6(&group, interface),
    }
}

/// Hundreds that start at once announce at once, and are answered. What the kernel gives otherwise has room for 160 of their
/// datagrams, and who is lost is found an interval later: in a group of 100 it took 4.8 s until all knew all, and takes 1.1.
const RECEIVE_BUFFER: usize = 1 << 20;
