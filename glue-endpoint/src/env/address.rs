//! Addresses as people write them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

use super::problem::Shown;

/// Reads `host:port`, `host` (with the `default` port) or `:port` (on the unspecified IPv4 address). A host is an IP
/// address, IPv6 in brackets where a port follows, or a name. A name is resolved, which blocks; of its addresses the
/// first IPv4 one is taken, else the first.
pub(super) fn parse(text: &str, default: u16) -> Result<SocketAddr, AddressError> {
    if text.is_empty() {
        return Err(AddressError::Empty);
    }
    let (host, port) = split(text)?;
    let port = port.map_or(Ok(default), parse_port)?;
    match host {
        Host::Plain("") => Ok(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port)),
        Host::Plain(host) => match host.parse::<IpAddr>() {
            Ok(ip) => Ok(SocketAddr::new(ip, port)),
            Err(_) if is_name(host) => resolve(host, port),
            Err(_) => Err(AddressError::Host { host: host.to_owned() }),
        },
        Host::V6(ip, None) => Ok(SocketAddr::new(ip.into(), port)),
        // The name of an interface after `%` is known to the system's resolver only.
        Host::V6(_, Some(text)) => resolve(text, port),
    }
}

/// What is wrong with an address.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum AddressError {
    #[error("an address is empty")]
    Empty,
    #[error("{} is neither an IP address nor a host name", Shown(.host.as_ref()))]
    Host { host: String },
    #[error("{group} is a multicast group")]
    Multicast { group: IpAddr },
    #[error("port {} is not a number from 0 to 65535", Shown(.port.as_ref()))]
    Port { port: String },
    #[error("{target} has no specific address and port to announce to")]
    Target { target: SocketAddr },
    #[error("{} cannot be resolved: {error}", Shown(.host.as_ref()))]
    Unresolved { host: String, error: String },
    #[error("a multicast group needs a port other than 0")]
    ZeroPort,
}

enum Host<'a> {
    /// Anything without a colon.
    Plain(&'a str),
    /// An IPv6 address; with a scope also its text.
    V6(Ipv6Addr, Option<&'a str>),
}

/// Splits host from port, if there is one.
fn split(text: &str) -> Result<(Host<'_>, Option<&str>), AddressError> {
    let invalid = || AddressError::Host { host: text.to_owned() };
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or_else(invalid)?;
        let host = parse_v6(host).ok_or_else(invalid)?;
        let port = if rest.is_empty() { None } else { Some(rest.strip_prefix(':').ok_or_else(invalid)?) };
        return Ok((host, port));
    }
    match text.rsplit_once(':') {
        None => Ok((Host::Plain(text), None)),
        Some((host, port)) if !host.contains(':') => Ok((Host::Plain(host), Some(port))),
        Some(_) => parse_v6(text).map(|host| (host, None)).ok_or_else(invalid),
    }
}

fn parse_v6(text: &str) -> Option<Host<'_>> {
    match text.split_once('%') {
        None => Some(Host::V6(text.parse().ok()?, None)),
        Some((_, "")) => None,
        Some((ip, _)) => Some(Host::V6(ip.parse().ok()?, Some(text))),
    }
}

fn parse_port(text: &str) -> Result<u16, AddressError> {
    // `u16` would take a sign as well.
    let digits = text.bytes().all(|b| b.is_ascii_digit()).then_some(text);
    digits.and_then(|t| t.parse().ok()).ok_or_else(|| AddressError::Port { port: text.to_owned() })
}

/// Whether the resolver may be asked for this. It would read a last label that is a number as part of an IPv4 address
/// in one of its old forms: `27320`, meant as a port, would become 0.0.106.184.
fn is_name(host: &str) -> bool {
    let valid = host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
    let labels = host.strip_suffix('.').unwrap_or(host);
    let last = labels.rsplit('.').next().unwrap_or(labels);
    let hex = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    let number = match hex {
        Some(digits) => digits.bytes().all(|b| b.is_ascii_hexdigit()),
        None => last.bytes().all(|b| b.is_ascii_digit()),
    };
    valid && !number
}

fn resolve(host: &str, port: u16) -> Result<SocketAddr, AddressError> {
    let unresolved = |error: String| AddressError::Unresolved { host: host.to_owned(), error };
    let found: Vec<_> = (host, port).to_socket_addrs().map_err(|e| unresolved(e.to_string()))?.collect();
    let first = found.iter().find(|address| address.is_ipv4()).or_else(|| found.first());
    first.copied().ok_or_else(|| unresolved("it has no address".to_owned()))
}
