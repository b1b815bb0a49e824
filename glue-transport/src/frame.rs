//! The frames of a data datagram. PROTOCOL.md has the pictures.

use std::ops::RangeInclusive;
use std::time::Duration;

use bytes::Bytes;
use glue_net::Chain;
use glue_net::wire::{DecodeError, Reader, put_varint, varint_len};

const PADDING: u8 = 0;
const PING: u8 = 1;
const ACK: u8 = 2;
const CREDIT: u8 = 3;
const PAYLOAD: u8 = 4;
const ACK_NOW: u8 = 5;

/// Most bytes of a payload frame before the payload.
pub(crate) const MAX_PAYLOAD_HEADER_BYTES: usize = 1 + 8 + 4;
/// Most bytes of a credit frame.
pub(crate) const MAX_CREDIT_BYTES: usize = 1 + 8 + 8;

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// Which packets arrived; the ranges are [`AckRanges`].
    Ack { delay: Duration, ranges: AckRanges },
    /// The sender of the datagram waits for an ack before it goes on.
    AckNow,
    /// How much payload may be sent in all, and how many bytes may be under way.
    Credit { limit: u64, window: u64 },
    /// A payload and its number.
    Payload { number: u64, body: Bytes },
    /// Asks for an ack.
    Ping,
}

/// The ranges of an ack, highest first.
pub(crate) type AckRanges = Vec<RangeInclusive<u64>>;

impl Frame {
    /// Reads the next frame; `None` at the end.
    pub(crate) fn decode(reader: &mut Reader) -> Result<Option<Self>, DecodeError> {
        loop {
            if reader.is_empty() {
                return Ok(None);
            }
            return Ok(Some(match reader.u8()? {
                PADDING => {
                    reader.skip(PADDING);
                    continue;
                }
                PING => Self::Ping,
                ACK => decode_ack(reader)?,
                CREDIT => Self::Credit { limit: reader.varint()?, window: reader.varint()? },
                PAYLOAD => Self::Payload { number: reader.varint()?, body: reader.bytes()? },
                ACK_NOW => Self::AckNow,
                _ => return Err(DecodeError::Malformed("frame type")),
            }));
        }
    }
}

pub(crate) fn put_ping(out: &mut Vec<u8>) {
    out.push(PING);
}

/// Appends `bytes` of padding.
pub(crate) fn put_padding(bytes: usize, out: &mut Vec<u8>) {
    out.resize(out.len() + bytes, PADDING);
}

pub(crate) fn put_ack_now(out: &mut Vec<u8>) {
    out.push(ACK_NOW);
}

pub(crate) fn put_credit(limit: u64, window: u64, out: &mut Vec<u8>) {
    out.push(CREDIT);
    put_varint(out, limit);
    put_varint(out, window);
}

/// Appends a payload frame around what `body` appends. `len` must be its length or more; it sizes the length field, so
/// that the body need not be moved.
pub(crate) fn put_payload(number: u64, len: usize, chain: &mut Chain, body: impl FnOnce(&mut Chain)) {
    let out = chain.written();
    out.push(PAYLOAD);
    put_varint(out, number);
    let at = out.len();
    // Four bytes hold every length of a datagram; two are enough below 16 KiB. A longer form than needed is legal.
    let width = if len < 0x4000 { 2 } else { 4 };
    out.resize(at + width, 0);
    let start = chain.len();
    body(chain);
    let written = u32::try_from(chain.len() - start).unwrap_or(u32::MAX);
    let field = if width == 2 { (written | 0x4000) << 16 } else { written | 0x8000_0000 };
    if let Some(slot) = chain.written().get_mut(at..at + width) {
        slot.iter_mut().zip(field.to_be_bytes()).for_each(|(to, from)| *to = from);
    }
}

/// Appends an ack of as many `ranges` (highest first) as fit in `room` bytes; false if not even the first fits.
pub(crate) fn put_ack<'a>(
    delay: Duration,
    mut ranges: impl Iterator<Item = &'a RangeInclusive<u64>>,
    room: usize,
    out: &mut Vec<u8>,
) -> bool {
    let start = out.len();
    let Some(first) = ranges.next() else { return false };
    let delay = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
    out.push(ACK);
    put_varint(out, *first.end());
    put_varint(out, delay);
    let count_at = out.len();
    out.push(0);
    put_varint(out, first.end() - first.start());
    if out.len() - start > room {
        out.truncate(start);
        return false;
    }
    let (mut below, mut count) = (*first.start(), 0u8);
    for range in ranges {
        let (gap, span) = (below - range.end() - 2, range.end() - range.start());
        if out.len() - start + varint_len(gap) + varint_len(span) > room || count == MAX_MORE_RANGES {
            break;
        }
        put_varint(out, gap);
        put_varint(out, span);
        (below, count) = (*range.start(), count + 1);
    }
    if let Some(slot) = out.get_mut(count_at) {
        *slot = count;
    }
    true
}

/// Ranges of an ack after the first: what one varint byte can count.
const MAX_MORE_RANGES: u8 = 63;

fn decode_ack(reader: &mut Reader) -> Result<Frame, DecodeError> {
    let below = || DecodeError::Malformed("ack range");
    let highest = reader.varint()?;
    let delay = Duration::from_micros(reader.varint()?);
    let more = reader.u8()?;
    if more > MAX_MORE_RANGES {
        return Err(below());
    }
    let mut start = highest.checked_sub(reader.varint()?).ok_or_else(below)?;
    let mut ranges = Vec::with_capacity(usize::from(more) + 1);
    ranges.push(start..=highest);
    for _ in 0..more {
        let end = start.checked_sub(reader.varint()?).and_then(|v| v.checked_sub(2)).ok_or_else(below)?;
        start = end.checked_sub(reader.varint()?).ok_or_else(below)?;
        ranges.push(start..=end);
    }
    Ok(Frame::Ack { delay, ranges })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode_all(bytes: Vec<u8>) -> Result<Vec<Frame>, DecodeError> {
        let mut reader = Reader::new(Bytes::from(bytes));
        let mut frames = Vec::new();
        while let Some(frame) = Frame::decode(&mut reader)? {
            frames.push(frame);
        }
        Ok(frames)
    }

    proptest! {
        #[test]
        fn an_ack_reads_back(steps in proptest::collection::vec((0u64..1_000, 0u64..1_000), 1..60), delay in 0u64..1 << 40) {
            let mut ranges: AckRanges = Vec::new();
            let mut top = 200_000u64;
            for (gap, span) in steps {
                ranges.push(top - span..=top);
                top = top - span - gap - 2;
            }
            let mut out = Vec::new();
            prop_assert!(put_ack(Duration::from_micros(delay), ranges.iter(), 10_000, &mut out));
            prop_assert_eq!(decode_all(out), Ok(vec![Frame::Ack { delay: Duration::from_micros(delay), ranges }]));
        }

        #[test]
        fn a_payload_reads_back(number in 0u64..1 << 62, body: Vec<u8>, slack in 0usize..20_000) {
            let mut chain = Chain::from(&[PADDING; 3][..]);
            put_payload(number, body.len() + slack, &mut chain, |out| out.share(body.clone().into()));
            let out = chain.to_vec();
            prop_assert!(out.len() <= 3 + MAX_PAYLOAD_HEADER_BYTES + body.len());
            prop_assert_eq!(decode_all(out), Ok(vec![Frame::Payload { number, body: Bytes::from(body) }]));
        }

        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let _ = decode_all(bytes);
        }
    }

    #[test]
    fn an_ack_is_cut_to_its_room() {
        let ranges: AckRanges = (0..50u64).rev().map(|n| n * 1_000..=n * 1_000 + 5).collect();
        let mut out = Vec::new();
        assert!(put_ack(Duration::ZERO, ranges.iter(), 40, &mut out));
        assert!(out.len() <= 40);
        let frames = decode_all(out).unwrap();
        let Frame::Ack { ranges: got, .. } = &frames[0] else { panic!("{frames:?}") };
        assert_eq!(got[..], ranges[..got.len()]);
        assert!(got.len() > 5);
        assert!(!put_ack(Duration::ZERO, ranges.iter(), 3, &mut Vec::new()));
    }
}
