//! Fields that concern one hop, and those that a proxy adds.

use std::net::IpAddr;

use http::Version;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// The length that the fields tell.
pub(crate) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Removes what concerns one hop only: the fields of RFC 9110, 7.6.1, and those that `Connection` names.
/// `TE: trailers` stays, as gRPC needs it; so do an upgrade's fields, if it is to pass.
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap, upgrade: bool) {
    let named: Vec<HeaderName> = tokens(headers, &header::CONNECTION).filter_map(|name| name.parse().ok()).collect();
    let keeps_trailers = tokens(headers, &header::TE).any(|coding| coding.eq_ignore_ascii_case("trailers"));
    let protocol = headers.get(header::UPGRADE).cloned();
    for name in named.iter().filter(|name| !ESSENTIAL.contains(name)).chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
    if keeps_trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    if let Some(protocol) = protocol.filter(|_| upgrade) {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, protocol);
    }
}

/// Whether the client would go on with another protocol.
pub(crate) fn wants_upgrade(headers: &HeaderMap, version: Version) -> bool {
    version == Version::HTTP_11
        && headers.contains_key(header::UPGRADE)
        && tokens(headers, &header::CONNECTION).any(|token| token.eq_ignore_ascii_case("upgrade"))
}

/// The words of a list, over all its fields.
pub(crate) fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|word| !word.is_empty())
}

/// Who sent a request, and how. Made for a connection: what all its requests are told by is written once.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) address: IpAddr,
    pub(crate) is_tls: bool,
    /// The address, and how RFC 7239 has both.
    text: HeaderValue,
    forwarded: String,
}

impl Origin {
    pub(crate) fn new(address: IpAddr, is_tls: bool) -> Self {
        let protocol = protocol(is_tls);
        let forwarded = match address {
            IpAddr::V4(address) => format!("for={address};proto={protocol}"),
            IpAddr::V6(address) => format!("for=\"[{address}]\";proto={protocol}"),
        };
        // Digits, dots and colons make a field.
        let text = HeaderValue::try_from(address.to_string()).unwrap_or(HeaderValue::from_static("unknown"));
        Self { address, is_tls, text, forwarded }
    }
}

const fn protocol(is_tls: bool) -> &'static str {
    if is_tls { "https" } else { "http" }
}

/// Tells the worker where the request came from.
pub(crate) fn add_forwarded(headers: &mut HeaderMap, origin: &Origin, version: Version) {
    let host = headers.get(header::HOST).cloned();
    let named = host.as_ref().and_then(|host| host.to_str().ok()).filter(|host| !host.contains(['"', '\\']));
    let forwarded = match named {
        Some(host) => [&origin.forwarded, ";host=\"", host, "\""].concat(),
        None => origin.forwarded.clone(),
    };
    if let Ok(forwarded) = HeaderValue::try_from(forwarded) {
        append_to_list(headers, header::FORWARDED, forwarded);
    }
    append_to_list(headers, FORWARDED_FOR, origin.text.clone());
    headers.entry(FORWARDED_PROTO).or_insert(HeaderValue::from_static(protocol(origin.is_tls)));
    if let Some(host) = host {
        headers.entry(FORWARDED_HOST).or_insert(host);
    }
    add_via(headers, version);
}

pub(crate) fn add_via(headers: &mut HeaderMap, version: Version) {
    let via = if version == Version::HTTP_2 { "2 glue" } else { "1.1 glue" };
    append_to_list(headers, header::VIA, HeaderValue::from_static(via));
}

/// One field with all values: what reads only the last, or only the first, is not misled.
fn append_to_list(headers: &mut HeaderMap, name: HeaderName, value: HeaderValue) {
    let mut list = Vec::new();
    for earlier in headers.get_all(&name) {
        list.extend_from_slice(earlier.as_bytes());
        list.extend_from_slice(b", ");
    }
    if list.is_empty() {
        headers.insert(name, value);
        return;
    }
    list.extend_from_slice(value.as_bytes());
    if let Ok(list) = HeaderValue::from_maybe_shared(bytes::Bytes::from(list)) {
        headers.insert(name, list);
    }
}

pub(crate) const FUYUU_IDS: HeaderName = HeaderName::from_static("fuyuurouter-ids");
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub(crate) const REQUEST_TIMEOUT: HeaderName = HeaderName::from_static("x-request-timeout");
pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
];

/// What `Connection` may name and must not take away: a client could hide from the worker what others rely on.
const ESSENTIAL: [HeaderName; 4] = [header::HOST, header::CONTENT_LENGTH, FORWARDED_FOR, FUYUU_IDS];

#[cfg(test)]
mod tests {
    use super::*;

    fn of(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn what_concerns_one_hop_is_removed() {
        let mut headers = of(&[
            ("connection", "close, X-Secret"),
            ("connection", "host"),
            ("x-secret", "1"),
            ("host", "a"),
            ("te", "gzip, trailers"),
            ("transfer-encoding", "chunked"),
            ("keep-alive", "5"),
            ("x-kept", "2"),
        ]);
        strip_hop_by_hop(&mut headers, false);
        assert_eq!(headers, of(&[("host", "a"), ("te", "trailers"), ("x-kept", "2")]));
    }

    #[test]
    fn an_upgrade_passes_if_it_may() {
        let asked = of(&[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")]);
        assert!(wants_upgrade(&asked, Version::HTTP_11) && !wants_upgrade(&asked, Version::HTTP_2));
        let mut headers = asked.clone();
        strip_hop_by_hop(&mut headers, true);
        assert_eq!(headers, of(&[("connection", "upgrade"), ("upgrade", "websocket")]));
        headers = asked;
        strip_hop_by_hop(&mut headers, false);
        assert!(headers.is_empty());
    }

    #[test]
    fn the_origin_is_told_after_what_earlier_proxies_told() {
        let mut headers = of(&[("host", "a:80"), ("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "2.2.2.2")]);
        let origin = Origin::new("::1".parse().unwrap(), true);
        add_forwarded(&mut headers, &origin, Version::HTTP_2);
        let expected = of(&[
            ("host", "a:80"),
            ("x-forwarded-for", "1.1.1.1, 2.2.2.2, ::1"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "a:80"),
            ("forwarded", "for=\"[::1]\";proto=https;host=\"a:80\""),
            ("via", "2 glue"),
        ]);
        assert_eq!(headers, expected);
    }
}
