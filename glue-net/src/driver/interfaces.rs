//! Which addresses this host has.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use if_addrs::{IfAddr, get_if_addrs};

use crate::Interface;

/// An address of an interface that is up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) name: String,
    pub(super) index: u32,
    pub(super) address: IpAddr,
    pub(super) prefix: u8,
    pub(super) mtu: u32,
}

/// The addresses of all interfaces that are up, ordered by interface. Link-local IPv6 addresses are left out: without
/// the number of an interface they say nothing to a peer.
pub(super) fn list() -> io::Result<Vec<Found>> {
    let up = get_if_addrs()?.into_iter().filter(|entry| entry.is_oper_up());
    let mut mtus = BTreeMap::new();
    let mut found: Vec<_> = up.filter_map(|entry| found(entry, &mut mtus)).collect();
    // Enumeration puts all of IPv4 first; the order must be the same each time for changes to be told.
    found.sort_by_key(|found| (found.index, found.address));
    Ok(found)
}

/// Those of `all` that `wanted` names.
pub(super) fn choose(mut all: Vec<Found>, wanted: Option<&str>) -> Vec<Found> {
    if let Some(wanted) = wanted {
        let address = wanted.parse::<IpAddr>().ok();
        all.retain(|found| found.name == wanted || Some(found.address) == address);
    }
    all
}

/// Names and addresses, for an error message.
pub(super) fn describe(all: &[Found]) -> String {
    let each: Vec<_> = all.iter().map(|found| format!("{} ({})", found.name, found.address)).collect();
    if each.is_empty() { "none".to_owned() } else { each.join(", ") }
}

/// The address from which a datagram to `target` would leave. Sends nothing.
pub(super) fn source_address(target: IpAddr) -> Option<IpAddr> {
    let any: IpAddr = if target.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(SocketAddr::new(target, DISCARD_PORT)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// The address from which the default route leaves.
pub(super) fn default_address() -> Option<IpAddr> {
    // Networks set aside for documentation (RFC 5737, RFC 3849): no host has a route of its own to them.
    let targets: [IpAddr; 2] =
        [Ipv4Addr::new(203, 0, 113, 1).into(), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into()];
    targets.into_iter().find_map(source_address)
}

/// `mtus` are those of the interfaces whose other addresses were looked at before.
fn found(entry: if_addrs::Interface, mtus: &mut BTreeMap<u32, u32>) -> Option<Found> {
    let (address, prefix): (IpAddr, u8) = match &entry.addr {
        IfAddr::V4(v4) => (v4.ip.into(), v4.prefixlen),
        IfAddr::V6(v6) if v6.is_link_local() => return None,
        IfAddr::V6(v6) => (v6.ip.into(), v6.prefixlen),
    };
    let index = entry.index?;
    let mtu = *mtus.entry(index).or_insert_with(|| mtu(&entry.name).unwrap_or(Interface::ETHERNET_MTU));
    Some(Found { name: entry.name, index, address, prefix, mtu })
}

/// The longest packet of an interface. `name` may carry the label of an address behind a colon.
fn mtu(name: &str) -> Option<u32> {
    let name = name.split(':').next()?;
    std::fs::read_to_string(format!("/sys/class/net/{name}/mtu")).ok()?.trim().parse().ok()
}

const DISCARD_PORT: u16 = 9;

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> Vec<Found> {
        let found = |name: &str, index, address: &str, prefix| Found {
            name: name.to_owned(),
            index,
            address: address.parse().unwrap(),
            prefix,
            mtu: 1_500,
        };
        vec![found("lo", 1, "127.0.0.1", 8), found("net0", 2, "192.0.2.2", 24), found("net0", 2, "2001:db8::2", 64)]
    }

    #[test]
    fn an_interface_is_chosen_by_name_or_address() {
        assert_eq!(choose(two(), None), two());
        assert_eq!(choose(two(), Some("net0")), two()[1..]);
        assert_eq!(choose(two(), Some("2001:db8:0::2")), two()[2..]);
        assert_eq!(choose(two(), Some("net")), []);
    }

    #[test]
    fn the_known_ones_are_listed() {
        assert_eq!(describe(&two()), "lo (127.0.0.1), net0 (192.0.2.2), net0 (2001:db8::2)");
        assert_eq!(describe(&[]), "none");
    }

    #[test]
    fn the_mtu_is_read() {
        assert_eq!(mtu("lo"), Some(65_536));
        assert_eq!(mtu("lo:label"), mtu("lo"));
        assert_eq!(mtu("no-such-interface"), None);
    }

    #[test]
    fn loopback_is_its_own_source() {
        assert_eq!(source_address(Ipv4Addr::LOCALHOST.into()), Some(Ipv4Addr::LOCALHOST.into()));
    }
}
