//! Heads of requests and responses, and trailers.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version};

use super::{Malformed, byte, put_bytes, put_varint, take_bytes, varint};

/// The head of a request, as its client sent it and the router changed it.
#[derive(Clone, Debug)]
pub(crate) struct RequestHead {
    pub(crate) method: Method,
    /// Path and query, byte for byte.
    pub(crate) target: Uri,
    /// The version that the client spoke; 2 asks the worker to speak it too.
    pub(crate) version: Version,
    /// The client would go on with another protocol.
    pub(crate) upgrade: bool,
    /// How long the router waits for the response's head.
    pub(crate) patience_ms: u64,
    pub(crate) headers: HeaderMap,
}

/// The head of a response.
#[derive(Clone, Debug)]
pub(crate) struct ResponseHead {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
}

impl RequestHead {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(256);
        out.push(u8::from(self.version == Version::HTTP_2) | u8::from(self.upgrade) << 1);
        put_varint(&mut out, self.patience_ms);
        put_bytes(&mut out, self.method.as_str().as_bytes());
        let target = self.target.path_and_query().map_or("/", |target| target.as_str());
        put_bytes(&mut out, target.as_bytes());
        put_fields(&mut out, &self.headers);
        out.into()
    }

    pub(crate) fn decode(mut bytes: Bytes) -> Result<Self, Malformed> {
        let bits = byte(&mut bytes)?;
        let patience_ms = varint(&mut bytes)?;
        let method = Method::from_bytes(&take_bytes(&mut bytes)?).map_err(|_| Malformed)?;
        let target = Uri::from_maybe_shared(take_bytes(&mut bytes)?).map_err(|_| Malformed)?;
        let version = if bits & 1 == 0 { Version::HTTP_11 } else { Version::HTTP_2 };
        Ok(Self { method, target, version, upgrade: bits & 2 != 0, patience_ms, headers: fields(bytes)? })
    }
}

impl ResponseHead {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(192);
        put_varint(&mut out, self.status.as_u16().into());
        put_fields(&mut out, &self.headers);
        out.into()
    }

    pub(crate) fn decode(mut bytes: Bytes) -> Result<Self, Malformed> {
        let status = u16::try_from(varint(&mut bytes)?).map_err(|_| Malformed)?;
        let status = StatusCode::from_u16(status).map_err(|_| Malformed)?;
        Ok(Self { status, headers: fields(bytes)? })
    }
}

pub(crate) fn put_trailers(trailers: &HeaderMap) -> Bytes {
    let mut out = Vec::new();
    put_fields(&mut out, trailers);
    out.into()
}

pub(crate) fn read_trailers(block: Bytes) -> Result<HeaderMap, Malformed> {
    fields(block)
}

/// Repeated fields stay apart and in order.
fn put_fields(out: &mut Vec<u8>, headers: &HeaderMap) {
    for (name, value) in headers {
        put_bytes(out, name.as_str().as_bytes());
        put_bytes(out, value.as_bytes());
    }
}

fn fields(mut bytes: Bytes) -> Result<HeaderMap, Malformed> {
    // It grows with what is there, not with what a count may claim.
    let mut headers = HeaderMap::with_capacity(USUAL_FIELDS);
    while !bytes.is_empty() {
        let name = HeaderName::from_bytes(&take_bytes(&mut bytes)?).map_err(|_| Malformed)?;
        let value = HeaderValue::from_maybe_shared(take_bytes(&mut bytes)?).map_err(|_| Malformed)?;
        headers.try_append(name, value).map_err(|_| Malformed)?;
    }
    Ok(headers)
}

/// What a head has, mostly. The map takes room for a quarter more.
const USUAL_FIELDS: usize = 12;
