//! What router and worker say to each other: frames, one in each message. PROTOCOL.md of this example has the bytes.

mod frame;
mod head;

pub(crate) use self::frame::{Flags, Frame, Reason};
pub(crate) use self::head::{RequestHead, ResponseHead, put_trailers, read_trailers};

/// A frame that can not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a frame that can not be read")]
pub(crate) struct Malformed;

/// Seven bits a byte, the lowest first.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push((value & 0x7f) as u8);
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

pub(crate) fn varint(bytes: &mut bytes::Bytes) -> Result<u64, Malformed> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = byte(bytes)?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(Malformed)
}

pub(crate) fn byte(bytes: &mut bytes::Bytes) -> Result<u8, Malformed> {
    let first = *bytes.first().ok_or(Malformed)?;
    bytes::Buf::advance(bytes, 1);
    Ok(first)
}

/// Shares the buffer: a length that is not there takes no memory.
pub(crate) fn take_bytes(bytes: &mut bytes::Bytes) -> Result<bytes::Bytes, Malformed> {
    let len = usize::try_from(varint(bytes)?).map_err(|_| Malformed)?;
    if len > bytes.len() {
        return Err(Malformed);
    }
    Ok(bytes.split_to(len))
}

#[cfg(test)]
mod tests;
