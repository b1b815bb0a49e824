//! Where announcements leave.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use rustix::net::sockopt::{set_ip_multicast_if_with_ifindex, set_ipv6_multicast_if};
use socket2::{Domain, SockAddr, Socket, Type};

use super::discovery::Unicast;
use super::interfaces;
use crate::Interface;

/// The sockets that announcements are sent from, and the interfaces they can leave by.
#[derive(Debug)]
pub(super) struct Outlets {
    interfaces: Vec<Interface>,
    unicast: Vec<Unicast>,
    /// Send to groups, and in place of missing unicast sockets. `None` where the host lacks the family.
    any_v4: Option<UdpSocket>,
    any_v6: Option<UdpSocket>,
}

impl Outlets {
    pub(super) fn new(interfaces: Vec<Interface>, unicast: Vec<Unicast>) -> Self {
        let any = |address: IpAddr| sender(SocketAddr::new(address, 0)).ok();
        let (any_v4, any_v6) = (any(Ipv4Addr::UNSPECIFIED.into()), any(Ipv6Addr::UNSPECIFIED.into()));
        Self { interfaces, unicast, any_v4, any_v6 }
    }

    /// Takes note of changed interfaces.
    pub(super) fn follow(&mut self, interfaces: Vec<Interface>, unicast: Vec<Unicast>) {
        self.interfaces = interfaces;
        self.unicast = unicast;
    }

    /// Sends to a group, out of an interface and from its address: the JSON dialect of the reference implementation
    /// takes a peer's address from there.
    pub(super) fn multicast(&self, to: SocketAddr, interface: u32, datagram: &[u8]) -> io::Result<()> {
        let out = self.interfaces.iter().find(|out| out.index == interface && out.address.is_ipv4() == to.is_ipv4());
        let out = out.ok_or_else(|| io::Error::from(ErrorKind::NetworkUnreachable))?;
        let socket = self.any(to)?;
        match out.address {
            IpAddr::V4(source) => {
                set_ip_multicast_if_with_ifindex(socket, &Ipv4Addr::UNSPECIFIED, &source, interface)?;
            }
            IpAddr::V6(_) => set_ipv6_multicast_if(socket, interface)?,
        }
        socket.send_to(datagram, to).map(drop)
    }

    /// Sends from a unicast discovery socket.
    pub(super) fn unicast(&self, to: SocketAddr, datagram: &[u8]) -> io::Result<()> {
        match self.nearest(to.ip()) {
            Some(near) => near.socket.send_to(datagram, to),
            None => self.any(to)?.send_to(datagram, to),
        }
        .map(drop)
    }

    /// The socket on the target's network, else the one on the way to it, else any that the target could answer to.
    fn nearest(&self, target: IpAddr) -> Option<&Unicast> {
        let on_network = self.interfaces.iter().find(|interface| interface.contains(target));
        let bound_to = |ip: IpAddr| self.unicast.iter().find(|unicast| unicast.address.ip() == ip);
        on_network.and_then(|interface| bound_to(interface.address)).or_else(|| {
            interfaces::source_address(target).and_then(bound_to).or_else(|| {
                let answerable =
                    |ip: IpAddr| ip.is_ipv4() == target.is_ipv4() && ip.is_loopback() == target.is_loopback();
                self.unicast.iter().find(|unicast| answerable(unicast.address.ip()))
            })
        })
    }

    fn any(&self, to: SocketAddr) -> io::Result<&UdpSocket> {
        let socket = if to.is_ipv4() { &self.any_v4 } else { &self.any_v6 };
        socket.as_ref().ok_or_else(|| ErrorKind::NetworkUnreachable.into())
    }
}

fn sender(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM.nonblocking(), None)?;
    if address.is_ipv4() {
        socket.set_multicast_ttl_v4(1)?;
        socket.set_multicast_loop_v4(true)?;
    } else {
        socket.set_only_v6(true)?;
        socket.set_multicast_hops_v6(1)?;
        socket.set_multicast_loop_v6(true)?;
    }
    socket.bind(&SockAddr::from(address))?;
    Ok(socket.into())
}
