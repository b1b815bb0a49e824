//! What a client sent, made ready for a worker.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version, header};
use http_body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

use super::problem::Problem;
use super::visit::Visit;
use crate::headers::{self, Origin};
use crate::wire::RequestHead;

/// Makes a head for a worker of that of a client.
///
/// # Errors
/// The [`Problem`] of a request that no worker may see.
pub(crate) fn head(parts: Parts, origin: &Origin, patience: Duration) -> Result<RequestHead, Problem> {
    let Parts { method, uri, version, headers: mut fields, .. } = parts;
    if method == Method::CONNECT {
        return Err(Problem::NotImplemented);
    }
    set_host(&mut fields, &uri, version)?;
    let upgrade = headers::wants_upgrade(&fields, version);
    headers::strip_hop_by_hop(&mut fields, upgrade);
    // It was answered here, as soon as the body was wanted.
    fields.remove(header::EXPECT);
    headers::add_forwarded(&mut fields, origin, version);
    let patience = asked_patience(&fields)?.unwrap_or(patience);
    let patience_ms = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
    identify(&mut fields);
    Ok(RequestHead { method, target: uri, version, upgrade, patience_ms, headers: fields })
}

/// One host, from the target if that has one (RFC 9112, 3.2.2), or the request is refused: who reads another one than we
/// do could be led astray.
fn set_host(headers: &mut HeaderMap, uri: &Uri, version: Version) -> Result<(), Problem> {
    if headers.get_all(header::HOST).iter().count() > 1 {
        return Err(Problem::Malformed("more than one Host"));
    }
    if let Some(authority) = uri.authority() {
        let host = HeaderValue::from_str(authority.as_str()).map_err(|_| Problem::Malformed("the target's host"))?;
        headers.insert(header::HOST, host);
    } else if version == Version::HTTP_11 && !headers.contains_key(header::HOST) {
        return Err(Problem::Malformed("no Host"));
    }
    Ok(())
}

/// Seconds, or with a unit: `1.5`, `30s`, `250ms`.
fn asked_patience(headers: &HeaderMap) -> Result<Option<Duration>, Problem> {
    let Some(value) = headers.get(headers::REQUEST_TIMEOUT) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default().trim();
    let (number, unit) = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(number), _) => (number, 1e-3),
        (None, Some(number)) => (number, 1.0),
        (None, None) => (text, 1.0),
    };
    let seconds = number.trim().parse().ok().map(|number: f64| number * unit);
    let sensible = seconds.filter(|seconds| (0.001..=MOST_PATIENCE_SECONDS).contains(seconds));
    sensible.map(|seconds| Some(Duration::from_secs_f64(seconds))).ok_or(Problem::Malformed("X-Request-Timeout"))
}

/// Every request has an id, and a trace that it belongs to.
fn identify(headers: &mut HeaderMap) {
    if !headers.contains_key(headers::REQUEST_ID) {
        insert(headers, headers::REQUEST_ID, &hex(random()));
    }
    if !headers.contains_key(headers::TRACEPARENT) {
        let (trace, parent) = ([hex(random()), hex(random())], hex(random()));
        let text = [b"00-", trace.as_flattened(), b"-", &parent, b"-01"].concat();
        insert(headers, headers::TRACEPARENT, &text);
    }
}

fn insert(headers: &mut HeaderMap, name: HeaderName, text: &[u8]) {
    if let Ok(value) = HeaderValue::from_bytes(text) {
        headers.insert(name, value);
    }
}

fn hex(word: u64) -> [u8; 16] {
    std::array::from_fn(|at| {
        let digit = (word >> (60 - 4 * at) & 0xf) as u8;
        if digit < 10 { b'0' + digit } else { b'a' + digit - 10 }
    })
}

/// Unique enough for ids: never zero, seeded by the system.
fn random() -> u64 {
    use std::hash::BuildHasher;
    std::collections::hash_map::RandomState::new().hash_one(0) | 1
}

/// A client's body, which must not be too large nor stand still.
pub(crate) struct RequestBody {
    body: hyper::body::Incoming,
    limits: BodyLimits,
    seen: u64,
    stalled: Option<Pin<Box<Sleep>>>,
    fate: Arc<Fate>,
    visit: Arc<Visit>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyLimits {
    /// 0: any size.
    pub(crate) most_bytes: u64,
    pub(crate) stall: Duration,
}

/// What became of a body, and how much of it passed.
#[derive(Debug, Default)]
pub(crate) struct Fate {
    why: AtomicU8,
    bytes: AtomicU64,
}

impl Fate {
    pub(crate) fn problem(&self) -> Option<Problem> {
        match self.why.load(Ordering::Acquire) {
            TOO_LARGE => Some(Problem::BodyTooLarge),
            STALLED => Some(Problem::BodyTimeout),
            BROKEN => Some(Problem::Malformed("the body")),
            _ => None,
        }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    fn set(&self, why: u8) -> BodyFailure {
        self.why.store(why, Ordering::Release);
        BodyFailure
    }
}

/// A client's body ended before its time; [`Fate`] knows why.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the client's body is not whole")]
pub(crate) struct BodyFailure;

impl RequestBody {
    pub(crate) fn new(body: hyper::body::Incoming, limits: BodyLimits, visit: Arc<Visit>) -> (Self, Arc<Fate>) {
        let fate = Arc::new(Fate::default());
        (Self { body, limits, seen: 0, stalled: None, fate: Arc::clone(&fate), visit }, fate)
    }

    /// Whether the head already tells that it is too large.
    pub(crate) fn is_too_large(&self) -> bool {
        self.exceeds(self.body.size_hint().lower())
    }

    const fn exceeds(&self, bytes: u64) -> bool {
        self.limits.most_bytes > 0 && bytes > self.limits.most_bytes
    }

    fn stalls(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let stall = self.limits.stall;
        self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(stall))).as_mut().poll(cx)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyFailure;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFailure>>> {
        let frame = match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                std::task::ready!(self.stalls(cx));
                return Poll::Ready(Some(Err(self.fate.set(STALLED))));
            }
        };
        self.stalled = None;
        if self.body.is_end_stream() || frame.is_none() {
            self.visit.handle_body();
        }
        let Some(frame) = frame else { return Poll::Ready(None) };
        let Ok(frame) = frame else { return Poll::Ready(Some(Err(self.fate.set(BROKEN)))) };
        self.seen += frame.data_ref().map_or(0, |data| data.len() as u64);
        self.fate.bytes.store(self.seen, Ordering::Relaxed);
        if self.exceeds(self.seen) {
            return Poll::Ready(Some(Err(self.fate.set(TOO_LARGE))));
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

const TOO_LARGE: u8 = 1;
const STALLED: u8 = 2;
const BROKEN: u8 = 3;

const MOST_PATIENCE_SECONDS: f64 = 86_400.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_is_read_with_and_without_a_unit() {
        let asked = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(headers::REQUEST_TIMEOUT, text.parse().unwrap());
            asked_patience(&headers)
        };
        for (text, millis) in [("2", 2_000), ("1.5", 1_500), ("250ms", 250), ("3 s", 3_000)] {
            assert_eq!(asked(text), Ok(Some(Duration::from_millis(millis))), "{text}");
        }
        for text in ["", "0", "-1", "NaN", "inf", "5m", "1e9"] {
            assert!(asked(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_request_has_one_host() {
        let mut headers = HeaderMap::new();
        let (plain, full): (Uri, Uri) = ("/a".parse().unwrap(), "http://b/a".parse().unwrap());
        assert!(set_host(&mut headers, &plain, Version::HTTP_11).is_err());
        headers.append(header::HOST, "a".parse().unwrap());
        assert!(set_host(&mut headers, &plain, Version::HTTP_11).is_ok());
        assert!(set_host(&mut headers, &full, Version::HTTP_11).is_ok());
        assert_eq!(headers[header::HOST], "b");
        headers.append(header::HOST, "c".parse().unwrap());
        assert!(set_host(&mut headers, &plain, Version::HTTP_11).is_err());
    }

    #[test]
    fn what_the_client_told_of_itself_stays() {
        let mut headers = HeaderMap::new();
        identify(&mut headers);
        assert_eq!(headers[headers::REQUEST_ID].len(), 16);
        assert_eq!(hex(0x0123_4567_89ab_cdef), *b"0123456789abcdef");
        assert_eq!(headers[headers::TRACEPARENT].len(), 55);
        let before = headers.clone();
        identify(&mut headers);
        assert_eq!(headers, before);
    }
}
