//! The PROXY header, version 1 and 2: who the client is, as a proxy in front of us says.

use std::net::{IpAddr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt};

/// It is no header, or one that is cut off or too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadHeader;

/// Reads a header and not a byte more. `None`: it does not say who the client is, as in a health check of the proxy.
pub(crate) async fn read(reader: &mut (impl AsyncRead + Unpin)) -> Result<Option<SocketAddr>, BadHeader> {
    let mut header = vec![0; SHORTEST];
    reader.read_exact(&mut header).await.map_err(|_| BadHeader)?;
    if header == SIGNATURE { version_2(reader, header).await } else { version_1(reader, header).await }
}

async fn version_1(
    reader: &mut (impl AsyncRead + Unpin),
    mut header: Vec<u8>,
) -> Result<Option<SocketAddr>, BadHeader> {
    while !header.ends_with(b"\r\n") {
        // Looked at as it comes, so that what is no header is not waited for.
        if header.len() >= LONGEST_LINE || !header.starts_with(b"PROXY ") {
            return Err(BadHeader);
        }
        header.push(reader.read_u8().await.map_err(|_| BadHeader)?);
    }
    // Nothing else than ASCII is in one, by its specification; and `ppp` 2.3 panics at a character of several bytes after a \r.
    let text = str::from_utf8(&header).ok().filter(|text| text.is_ascii()).ok_or(BadHeader)?;
    let parsed = ppp::v1::Header::try_from(text).map_err(|_| BadHeader)?;
    Ok(match parsed.addresses {
        ppp::v1::Addresses::Tcp4(ip) => Some(SocketAddr::new(IpAddr::V4(ip.source_address), ip.source_port)),
        ppp::v1::Addresses::Tcp6(ip) => Some(SocketAddr::new(IpAddr::V6(ip.source_address), ip.source_port)),
        ppp::v1::Addresses::Unknown => None,
    })
}

async fn version_2(
    reader: &mut (impl AsyncRead + Unpin),
    mut header: Vec<u8>,
) -> Result<Option<SocketAddr>, BadHeader> {
    let mut fixed = [0; 4];
    reader.read_exact(&mut fixed).await.map_err(|_| BadHeader)?;
    let [_, _, high, low] = fixed;
    let len = usize::from(u16::from_be_bytes([high, low]));
    if len > LONGEST_BODY {
        return Err(BadHeader);
    }
    header.extend_from_slice(&fixed);
    let body = header.len();
    header.resize(body + len, 0);
    reader.read_exact(header.get_mut(body..).unwrap_or_default()).await.map_err(|_| BadHeader)?;
    let parsed = ppp::v2::Header::try_from(&header[..]).map_err(|_| BadHeader)?;
    Ok(match parsed.addresses {
        ppp::v2::Addresses::IPv4(ip) => Some(SocketAddr::new(IpAddr::V4(ip.source_address), ip.source_port)),
        ppp::v2::Addresses::IPv6(ip) => Some(SocketAddr::new(IpAddr::V6(ip.source_address), ip.source_port)),
        ppp::v2::Addresses::Unspecified | ppp::v2::Addresses::Unix(_) => None,
    })
}

/// How a header of version 2 begins.
pub(crate) const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// No header of either version is shorter than this signature.
const SHORTEST: usize = SIGNATURE.len();

/// Of version 1, by its specification.
const LONGEST_LINE: usize = 107;

/// Of version 2: addresses take 36 bytes, and a certificate's name some hundred.
pub(crate) const LONGEST_BODY: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    async fn parse(mut bytes: &[u8]) -> (Result<Option<SocketAddr>, BadHeader>, usize) {
        let result = read(&mut bytes).await;
        (result, bytes.len())
    }

    fn address(text: &str) -> Result<Option<SocketAddr>, BadHeader> {
        Ok(Some(text.parse().expect("an address")))
    }

    #[tokio::test]
    async fn version_1_is_read_and_nothing_after_it() {
        let header = b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 7999\r\nhello";
        assert_eq!(parse(header).await, (address("192.0.2.1:4711"), 5));
        let header = b"PROXY TCP6 2001:db8::1 2001:db8::2 4711 7999\r\n";
        assert_eq!(parse(header).await, (address("[2001:db8::1]:4711"), 0));
        assert_eq!(parse(b"PROXY UNKNOWN\r\nx").await, (Ok(None), 1));
    }

    #[tokio::test]
    async fn version_2_is_read_and_nothing_after_it() {
        let header = [SIGNATURE, &[0x21, 0x11, 0, 12, 192, 0, 2, 1, 192, 0, 2, 2, 18, 103, 31, 63], b"hello"].concat();
        assert_eq!(parse(&header).await, (address("192.0.2.1:4711"), 5));
        let local = [SIGNATURE, &[0x20, 0x00, 0, 0], b"x"].concat();
        assert_eq!(parse(&local).await, (Ok(None), 1));
    }

    #[tokio::test]
    async fn garbage_is_refused() {
        let long = [b"PROXY TCP4 ", &[b'1'; 200][..]].concat();
        let huge = [SIGNATURE, &[0x21, 0x11, 0xff, 0xff]].concat();
        let short = [SIGNATURE, &[0x21, 0x11, 0, 12, 1, 2]].concat();
        let wide = "PROXY TCP6 1:`b8::1 2*2\r\u{16d}b8::2 71199\r\n".as_bytes();
        for bytes in [wide, &b"GET / HTTP/1.1\r\n"[..], b"PROXY TCP4 a b c d\r\n", b"PROXY", b"", &long, &huge, &short]
        {
            assert_eq!(parse(bytes).await.0, Err(BadHeader), "{bytes:?}");
        }
    }
}
