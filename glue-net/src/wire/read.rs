//! Checked reading: every read can fail, none can panic, none allocates by what the bytes say.

use bytes::{Buf, Bytes};

/// Why bytes could not be read. The datagram is dropped and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes end before the value does.
    #[error("the bytes end too early")]
    Truncated,
    /// A value stands where it must not.
    #[error("malformed {0}")]
    Malformed(&'static str),
}

/// Reads values from the front of a datagram. Byte strings come out as slices of the same memory.
#[derive(Clone, Debug)]
pub struct Reader(Bytes);

impl Reader {
    /// Reads `bytes` from the front.
    #[must_use]
    pub const fn new(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// Whether all is read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes left.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// All that is left.
    #[must_use]
    pub fn rest(self) -> Bytes {
        self.0
    }

    /// Passes over what is equal to `byte`.
    pub fn skip(&mut self, byte: u8) {
        let len = self.0.iter().take_while(|next| **next == byte).count();
        self.0.advance(len);
    }

    /// One byte.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] at the end.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        self.0.try_get_u8().map_err(|_| DecodeError::Truncated)
    }

    /// Eight bytes, big-endian.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] if fewer are left.
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        self.0.try_get_u64().map_err(|_| DecodeError::Truncated)
    }

    /// A variable-length integer, 0 to 2^62 - 1 (RFC 9000, section 16).
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] if it is cut.
    pub fn varint(&mut self) -> Result<u64, DecodeError> {
        let (value, rest) = split_varint(&self.0).ok_or(DecodeError::Truncated)?;
        let len = self.0.len() - rest.len();
        self.0.advance(len);
        Ok(value)
    }

    /// The next `len` bytes, without a copy.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] if fewer are left.
    pub fn take(&mut self, len: usize) -> Result<Bytes, DecodeError> {
        if len > self.0.len() {
            return Err(DecodeError::Truncated);
        }
        Ok(self.0.split_to(len))
    }

    /// A byte string: its length as [`Reader::varint`], then the bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] if the length is more than is left.
    pub fn bytes(&mut self) -> Result<Bytes, DecodeError> {
        let len = self.varint()?;
        self.take(usize::try_from(len).map_err(|_| DecodeError::Truncated)?)
    }

    /// The next `N` bytes as an array.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] if fewer are left.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let array = self.0.first_chunk::<N>().copied().ok_or(DecodeError::Truncated)?;
        self.0.advance(N);
        Ok(array)
    }
}

/// Splits a variable-length integer off the front of `bytes`, see [`Reader::varint`]; `None` if it is cut.
#[inline]
#[must_use]
pub fn split_varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let first = *bytes.first()?;
    match first >> 6 {
        0 => Some((first.into(), bytes.get(1..)?)),
        1 => bytes.split_first_chunk().map(|(n, rest)| (u64::from(u16::from_be_bytes(*n)) & 0x3fff, rest)),
        2 => bytes.split_first_chunk().map(|(n, rest)| (u64::from(u32::from_be_bytes(*n)) & 0x3fff_ffff, rest)),
        _ => bytes.split_first_chunk().map(|(n, rest)| (u64::from_be_bytes(*n) & 0x3fff_ffff_ffff_ffff, rest)),
    }
}
