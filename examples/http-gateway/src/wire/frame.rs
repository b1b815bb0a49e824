//! Frames.

use bytes::Bytes;

use super::{Malformed, byte, put_bytes, put_varint, take_bytes, varint};

/// One message of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// A router asks a worker to announce itself to it.
    Hello,
    /// A worker tells who it is, in JSON; again when that changes.
    Announce(Bytes),
    /// A router opens no more streams on this link: it has seen that the worker drains.
    Fin,
    /// Opens a stream, or begins its answer; the body may be here already.
    Head { stream: u64, flags: Flags, head: Bytes, body: Bytes },
    /// More of the body.
    Data { stream: u64, flags: Flags, body: Bytes },
    /// Fields after the body, which they end.
    Trailers { stream: u64, block: Bytes },
    /// The stream is over, both ways.
    Reset { stream: u64, reason: Reason },
    /// The sender reads no more of the other's body; its own goes on.
    Stop { stream: u64 },
    /// The other may send so many bytes more.
    Credit { stream: u64, bytes: u32 },
}

/// What a head or data frame is beside its bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flags {
    /// The last of this direction.
    pub(crate) end: bool,
    /// The body is compressed.
    pub(crate) zstd: bool,
    /// The body is the name of an object that has it.
    pub(crate) relay: bool,
}

/// Why a stream ended before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Nobody waits for the answer any more.
    Cancelled,
    /// The service or its body failed.
    Failed,
    /// The other did what it must not, or something of it was lost on the way.
    Broken,
    /// The worker did not begin: it drains, or has no capacity.
    Refused,
    /// The other end is gone. Never on the wire.
    Gone,
}

impl Flags {
    pub(crate) const END: Self = Self { end: true, zstd: false, relay: false };

    fn to_byte(self) -> u8 {
        u8::from(self.end) | u8::from(self.zstd) << 1 | u8::from(self.relay) << 2
    }

    fn from_byte(byte: u8) -> Result<Self, Malformed> {
        if byte > 7 {
            return Err(Malformed);
        }
        Ok(Self { end: byte & 1 != 0, zstd: byte & 2 != 0, relay: byte & 4 != 0 })
    }
}

impl Reason {
    const fn to_byte(self) -> u8 {
        match self {
            Self::Cancelled => 0,
            Self::Failed => 1,
            Self::Broken | Self::Gone => 2,
            Self::Refused => 3,
        }
    }

    const fn from_byte(byte: u8) -> Self {
        match byte {
            0 => Self::Cancelled,
            1 => Self::Failed,
            3 => Self::Refused,
            _ => Self::Broken,
        }
    }
}

impl Frame {
    /// One allocation, and one copy of the body.
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(24 + self.payload_len());
        match self {
            Self::Hello => out.push(HELLO),
            Self::Announce(json) => {
                out.push(ANNOUNCE);
                out.extend_from_slice(json);
            }
            Self::Fin => out.push(FIN),
            Self::Head { stream, flags, head, body } => {
                begin(&mut out, HEAD, *stream);
                out.push(flags.to_byte());
                put_bytes(&mut out, head);
                out.extend_from_slice(body);
            }
            Self::Data { stream, flags, body } => {
                begin(&mut out, DATA, *stream);
                out.push(flags.to_byte());
                out.extend_from_slice(body);
            }
            Self::Trailers { stream, block } => {
                begin(&mut out, TRAILERS, *stream);
                out.extend_from_slice(block);
            }
            Self::Reset { stream, reason } => {
                begin(&mut out, RESET, *stream);
                out.push(reason.to_byte());
            }
            Self::Stop { stream } => begin(&mut out, STOP, *stream),
            Self::Credit { stream, bytes } => {
                begin(&mut out, CREDIT, *stream);
                put_varint(&mut out, (*bytes).into());
            }
        }
        out.into()
    }

    fn payload_len(&self) -> usize {
        match self {
            Self::Announce(bytes) | Self::Trailers { block: bytes, .. } => bytes.len(),
            Self::Head { head, body, .. } => head.len() + body.len(),
            Self::Data { body, .. } => body.len(),
            _ => 0,
        }
    }

    pub(crate) fn decode(mut bytes: Bytes) -> Result<Self, Malformed> {
        let kind = byte(&mut bytes)?;
        match kind {
            HELLO => return Ok(Self::Hello),
            ANNOUNCE => return Ok(Self::Announce(bytes)),
            FIN => return Ok(Self::Fin),
            _ => {}
        }
        let stream = varint(&mut bytes)?;
        Ok(match kind {
            HEAD => {
                let flags = Flags::from_byte(byte(&mut bytes)?)?;
                let head = take_bytes(&mut bytes)?;
                Self::Head { stream, flags, head, body: bytes }
            }
            DATA => Self::Data { stream, flags: Flags::from_byte(byte(&mut bytes)?)?, body: bytes },
            TRAILERS => Self::Trailers { stream, block: bytes },
            RESET => Self::Reset { stream, reason: Reason::from_byte(byte(&mut bytes)?) },
            STOP => Self::Stop { stream },
            CREDIT => Self::Credit { stream, bytes: u32::try_from(varint(&mut bytes)?).map_err(|_| Malformed)? },
            _ => return Err(Malformed),
        })
    }
}

fn begin(out: &mut Vec<u8>, kind: u8, stream: u64) {
    out.push(kind);
    put_varint(out, stream);
}

const HELLO: u8 = 0;
const ANNOUNCE: u8 = 1;
const FIN: u8 = 2;
const HEAD: u8 = 3;
const DATA: u8 = 4;
const TRAILERS: u8 = 5;
const RESET: u8 = 6;
const STOP: u8 = 7;
const CREDIT: u8 = 8;
