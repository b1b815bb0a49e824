//! Addresses as text, `ip:port`, and as IP, port and zone apart. One that can not be read is none: where to send is
//! then known from elsewhere, or not at all, and the rest of the datagram still counts.
//!
//! A zone that is a number is the scope id; a name, which is another host's interface, says nothing here and is left
//! out. IPv4 mapped into IPv6 is IPv4, so that an address has one form.

use std::convert::Infallible;
use std::fmt;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::str::FromStr;

/// An address as the reference writes it: `10.77.0.2:27320`, `[fe80::1%2]:27320`, and nothing for none.
#[derive(Clone, Copy)]
pub(super) struct Address(pub(super) Option<SocketAddr>);

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |address| address.fmt(f))
    }
}

impl FromStr for Address {
    type Err = Infallible;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(from_text(text)))
    }
}

/// The address that a text names, if any.
pub(super) fn from_text(text: &str) -> Option<SocketAddr> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok()?;
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let (ip, zone) = bracketed.map_or((host, ""), |host| host.split_once('%').unwrap_or((host, "")));
    from_parts(ip, port, zone).filter(|_| bracketed.is_some() == ip.contains(':'))
}

/// The address with these parts; none if the IP is empty or can not be read, or the port is none.
pub(super) fn from_parts(ip: &str, port: i64, zone: &str) -> Option<SocketAddr> {
    let port = u16::try_from(port).ok()?;
    match ip.parse::<IpAddr>().ok()?.to_canonical() {
        IpAddr::V4(ip) => Some((ip, port).into()),
        IpAddr::V6(ip) => Some(SocketAddrV6::new(ip, port, 0, zone.parse().unwrap_or(0)).into()),
    }
}

/// The zone of an address: its scope id, or empty.
pub(super) fn zone(address: SocketAddr) -> String {
    match address {
        SocketAddr::V6(address) if address.scope_id() > 0 => address.scope_id().to_string(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_back() {
        for text in ["10.77.0.2:27320", "0.0.0.0:0", "[fe80::1]:65535", "[fe80::1%3]:1", ""] {
            assert_eq!(text.parse().map(|address: Address| address.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn another_hosts_interface_and_mapped_ipv4_are_put_right() {
        assert_eq!(from_text("[fe80::1%eth0]:7"), from_text("[fe80::1]:7"));
        assert_eq!(from_text("[::ffff:10.0.0.1]:7"), from_text("10.0.0.1:7"));
        assert_eq!(from_parts("::ffff:10.0.0.1", 7, "3"), from_text("10.0.0.1:7"));
    }

    #[test]
    fn other_text_is_no_address() {
        for bad in [
            ":27320",
            "host:1",
            "10.0.0.1",
            "10.0.0.1:",
            "10.0.0.1:65536",
            "10.0.0.1:-1",
            "::1:80",
            "[::1",
            "[::1]",
            "[::1]80",
            "[10.0.0.1]:80",
        ] {
            assert_eq!(from_text(bad), None, "{bad}");
        }
        assert_eq!(from_parts("", 1, ""), None);
        assert_eq!(from_parts("10.0.0.1", 65_536, ""), None);
    }
}
