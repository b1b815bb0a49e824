//! Messages to one chosen peer, and answers to them. A head begins with its kind:
//!
//! - 3 request, 5 share: state (byte), leg, service, time left in microseconds, length of the body (varints). The body is
//!   the request's payload, or a bundle of one message (`bundle.rs`).
//! - 4 answer: state (byte), leg, length of the body (varints). The body is the reply's payload, or why there is none.
//!
//! The state is 0, or tells what became of the body on its way: 1 expired, 2 overflow. Of an answer 3 says that the
//! responder failed, 4 that it dropped the request. Who can not take a request that arrived returns it (`control.rs`).

use std::ops::Range;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use glue_net::wire::{DecodeError, Reader, put_varint, varint_len};
use glue_net::{Chain, Gauge, Held, Instant};

/// What a letter carries. All its copies share it.
#[derive(Debug)]
pub(crate) struct Sheet {
    pub(crate) body: Bytes,
    /// Counts until the last copy is gone.
    _held: Held,
}

impl Sheet {
    pub(crate) fn new(body: Bytes, memory: &Gauge) -> Arc<Self> {
        let held = memory.hold(OVERHEAD_BYTES + body.len());
        Arc::new(Self { body, _held: held })
    }
}

/// A request, a share of a group's messages, or an answer, on its way to one peer.
#[derive(Clone, Debug)]
pub(crate) struct Letter {
    pub(crate) kind: LetterKind,
    /// Names the request among those of its sender.
    pub(crate) leg: u64,
    pub(crate) state: u8,
    pub(crate) sheet: Option<Arc<Sheet>>,
    pub(crate) deadline: Instant,
}

#[derive(Clone, Debug)]
pub(crate) enum LetterKind {
    Answer,
    /// `wanted` ends when nobody waits for it any more: then it need not be sent.
    Request {
        service: u64,
        is_share: bool,
        wanted: Weak<()>,
    },
}

impl Letter {
    fn body(&self) -> Bytes {
        self.sheet.as_ref().map_or_else(Bytes::new, |sheet| sheet.body.clone())
    }

    pub(crate) fn body_len(&self) -> usize {
        self.sheet.as_ref().map_or(0, |sheet| sheet.body.len())
    }

    pub(crate) fn encode_head(&self, now: Instant, out: &mut Vec<u8>) {
        let body = self.body_len() as u64;
        match &self.kind {
            LetterKind::Answer => {
                out.extend([ANSWER, self.state]);
                put_varint(out, self.leg);
            }
            LetterKind::Request { service, is_share, .. } => {
                out.extend([if *is_share { SHARE } else { REQUEST }, self.state]);
                put_varint(out, self.leg);
                put_varint(out, *service);
                let left = u64::try_from(self.deadline.since(now).as_micros()).unwrap_or(FOR_EVER);
                put_varint(out, if self.deadline == Instant::FAR { FOR_EVER } else { left });
            }
        }
        put_varint(out, body);
    }

    pub(crate) fn head_len(&self) -> usize {
        let more = match &self.kind {
            LetterKind::Answer => 0,
            LetterKind::Request { service, .. } => varint_len(*service) + varint_len(FOR_EVER),
        };
        2 + varint_len(self.leg) + more + varint_len(self.body_len() as u64)
    }

    pub(crate) fn encode_body(&self, range: Range<usize>, out: &mut Chain) {
        let body = self.body();
        let range = range.start.min(body.len())..range.end.min(body.len());
        out.share(body.slice(range));
    }

    /// One that nobody wants any more has expired. A notice expires no further.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match &self.kind {
            _ if self.is_notice() => None,
            LetterKind::Request { wanted, .. } if wanted.strong_count() == 0 => Some(Instant::ZERO),
            _ => Some(self.deadline),
        }
    }

    /// Drops the body, and says why.
    pub(crate) fn skip(&mut self, expired: bool) {
        if !self.is_notice() {
            self.state = if expired { EXPIRED } else { OVERFLOW };
            self.sheet = None;
        }
    }

    const fn is_notice(&self) -> bool {
        matches!(self.state, EXPIRED | OVERFLOW)
    }
}

/// A request's head as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RequestHead {
    pub(crate) leg: u64,
    pub(crate) service: u64,
    pub(crate) is_share: bool,
    pub(crate) state: u8,
    pub(crate) left: Duration,
    pub(crate) len: u64,
}

/// An answer's head as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AnswerHead {
    pub(crate) leg: u64,
    pub(crate) state: u8,
    pub(crate) len: u64,
}

impl RequestHead {
    /// Reads what follows the kind.
    pub(crate) fn read(kind: u8, reader: &mut Reader) -> Result<Self, DecodeError> {
        let (state, leg, service) = (reader.u8()?, reader.varint()?, reader.varint()?);
        let left = match reader.varint()? {
            FOR_EVER => Duration::MAX,
            micros => Duration::from_micros(micros),
        };
        Ok(Self { leg, service, is_share: kind == SHARE, state, left, len: reader.varint()? })
    }
}

impl AnswerHead {
    /// Reads what follows the kind.
    pub(crate) fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self { state: reader.u8()?, leg: reader.varint()?, len: reader.varint()? })
    }
}

pub(crate) const REQUEST: u8 = 3;
pub(crate) const ANSWER: u8 = 4;
pub(crate) const SHARE: u8 = 5;

pub(crate) const WHOLE: u8 = 0;
pub(crate) const EXPIRED: u8 = 1;
pub(crate) const OVERFLOW: u8 = 2;
pub(crate) const FAILED: u8 = 3;
pub(crate) const DROPPED: u8 = 4;

/// What a letter and its place in the tables take beside the body.
const OVERHEAD_BYTES: usize = 400;
/// The largest varint.
const FOR_EVER: u64 = (1 << 62) - 1;
