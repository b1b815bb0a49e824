//! MessagePack, read token by token: strings are slices of the input, nothing recurses, nothing is allocated.
//!
//! Our own rather than a serde format because the container asks for what those do not give together: keys that are
//! strings or byte strings but not integers, every width of integer but no float, timestamps as extensions, payloads
//! that share the datagram's memory, and values to pass over at any depth.

use bytes::Bytes;

use super::stamp::wall_time;
use crate::WallTime;
use crate::wire::DecodeError;

/// The extension type of timestamps.
pub(super) const TIMESTAMP: i8 = -1;

/// What stands at one place; of arrays and maps the header only.
enum Token<'a> {
    Array(u32),
    /// A string or a byte string; the reference takes either for the other.
    Blob(&'a [u8]),
    Bool(bool),
    Extension(i8, &'a [u8]),
    Float,
    /// Any integer, -2^63 to 2^64 - 1.
    Int(i128),
    Map(u32),
    Nil,
}

/// Reads values from the front of `origin`. Nil is read as the zero of whatever is asked for, as the reference does.
#[derive(Clone)]
pub(super) struct Unpack<'a> {
    origin: &'a Bytes,
    left: &'a [u8],
}

impl<'a> Unpack<'a> {
    pub(super) fn new(origin: &'a Bytes) -> Self {
        Self { origin, left: origin }
    }

    /// The number of key-value pairs that follow; `None` for nil.
    pub(super) fn map(&mut self, what: &'static str) -> Result<Option<u32>, DecodeError> {
        match self.token()? {
            Token::Map(pairs) => Ok(Some(pairs)),
            Token::Nil => Ok(None),
            _ => Err(DecodeError::Malformed(what)),
        }
    }

    /// A map's key: text, whichever way it is written.
    pub(super) fn key(&mut self) -> Result<&'a [u8], DecodeError> {
        match self.token()? {
            Token::Blob(key) => Ok(key),
            _ => Err(DecodeError::Malformed("key")),
        }
    }

    pub(super) fn blob(&mut self, what: &'static str) -> Result<Option<&'a [u8]>, DecodeError> {
        match self.token()? {
            Token::Blob(bytes) => Ok(Some(bytes)),
            Token::Nil => Ok(None),
            _ => Err(DecodeError::Malformed(what)),
        }
    }

    /// As [`Unpack::blob`], sharing the datagram's memory.
    pub(super) fn bytes(&mut self, what: &'static str) -> Result<Option<Bytes>, DecodeError> {
        Ok(self.blob(what)?.map(|bytes| self.origin.slice_ref(bytes)))
    }

    pub(super) fn bool(&mut self, what: &'static str) -> Result<bool, DecodeError> {
        match self.token()? {
            Token::Bool(value) => Ok(value),
            Token::Nil => Ok(false),
            _ => Err(DecodeError::Malformed(what)),
        }
    }

    /// An integer of any width, if `T` holds it.
    pub(super) fn int<T: TryFrom<i128> + Default>(&mut self, what: &'static str) -> Result<T, DecodeError> {
        match self.token()? {
            Token::Int(value) => T::try_from(value).map_err(|_| DecodeError::Malformed(what)),
            Token::Nil => Ok(T::default()),
            _ => Err(DecodeError::Malformed(what)),
        }
    }

    pub(super) fn time(&mut self, what: &'static str) -> Result<WallTime, DecodeError> {
        match self.token()? {
            Token::Extension(TIMESTAMP, data) => timestamp(data).ok_or(DecodeError::Malformed(what)),
            Token::Nil => Ok(WallTime::ZERO_TIME),
            _ => Err(DecodeError::Malformed(what)),
        }
    }

    /// Passes over one value, whatever is in it.
    pub(super) fn skip(&mut self) -> Result<(), DecodeError> {
        // Every value takes a byte at least, so a large count only means that the bytes end first.
        let mut values = 1_u64;
        while values > 0 {
            let inside = match self.token()? {
                Token::Array(items) => u64::from(items),
                Token::Map(pairs) => 2 * u64::from(pairs),
                _ => 0,
            };
            values = (values - 1).saturating_add(inside);
        }
        Ok(())
    }

    fn token(&mut self) -> Result<Token<'a>, DecodeError> {
        let [marker] = self.array()?;
        Ok(match marker {
            0x00..=0x7f => Token::Int(marker.into()),
            0x80..=0x8f => Token::Map(u32::from(marker & 0x0f)),
            0x90..=0x9f => Token::Array(u32::from(marker & 0x0f)),
            0xa0..=0xbf => Token::Blob(self.take(u32::from(marker & 0x1f))?),
            0xc0 => Token::Nil,
            0xc1 => return Err(DecodeError::Malformed("marker")),
            0xc2 | 0xc3 => Token::Bool(marker == 0xc3),
            0xc4 | 0xd9 => Token::Blob(self.len8().and_then(|len| self.take(len))?),
            0xc5 | 0xda => Token::Blob(self.len16().and_then(|len| self.take(len))?),
            0xc6 | 0xdb => Token::Blob(self.len32().and_then(|len| self.take(len))?),
            0xc7 => self.len8().and_then(|len| self.extension(len))?,
            0xc8 => self.len16().and_then(|len| self.extension(len))?,
            0xc9 => self.len32().and_then(|len| self.extension(len))?,
            0xca => self.take(4).map(|_| Token::Float)?,
            0xcb => self.take(8).map(|_| Token::Float)?,
            0xcc => Token::Int(u8::from_be_bytes(self.array()?).into()),
            0xcd => Token::Int(u16::from_be_bytes(self.array()?).into()),
            0xce => Token::Int(u32::from_be_bytes(self.array()?).into()),
            0xcf => Token::Int(u64::from_be_bytes(self.array()?).into()),
            0xd0 => Token::Int(i8::from_be_bytes(self.array()?).into()),
            0xd1 => Token::Int(i16::from_be_bytes(self.array()?).into()),
            0xd2 => Token::Int(i32::from_be_bytes(self.array()?).into()),
            0xd3 => Token::Int(i64::from_be_bytes(self.array()?).into()),
            0xd4..=0xd8 => self.extension(1 << (marker - 0xd4))?,
            0xdc => Token::Array(self.len16()?),
            0xdd => Token::Array(self.len32()?),
            0xde => Token::Map(self.len16()?),
            0xdf => Token::Map(self.len32()?),
            0xe0..=0xff => Token::Int(i8::from_be_bytes([marker]).into()),
        })
    }

    fn extension(&mut self, len: u32) -> Result<Token<'a>, DecodeError> {
        let kind = i8::from_be_bytes(self.array()?);
        Ok(Token::Extension(kind, self.take(len)?))
    }

    fn len8(&mut self) -> Result<u32, DecodeError> {
        Ok(u8::from_be_bytes(self.array()?).into())
    }

    fn len16(&mut self) -> Result<u32, DecodeError> {
        Ok(u16::from_be_bytes(self.array()?).into())
    }

    fn len32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (array, left) = self.left.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.left = left;
        Ok(*array)
    }

    fn take(&mut self, len: u32) -> Result<&'a [u8], DecodeError> {
        let len = usize::try_from(len).map_err(|_| DecodeError::Truncated)?;
        let (taken, left) = self.left.split_at_checked(len).ok_or(DecodeError::Truncated)?;
        self.left = left;
        Ok(taken)
    }
}

/// The three forms of a timestamp: 32-bit seconds; 30-bit nanoseconds and 34-bit seconds; 32-bit nanoseconds and
/// signed 64-bit seconds.
fn timestamp(data: &[u8]) -> Option<WallTime> {
    match *data {
        [a, b, c, d] => Some(wall_time(u32::from_be_bytes([a, b, c, d]).into(), 0)),
        [a, b, c, d, e, f, g, h] => {
            let both = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
            let (nanos, seconds) = (both >> 34, both & 0x3_ffff_ffff);
            Some(wall_time(seconds.try_into().ok()?, nanos.try_into().ok()?))
        }
        [n1, n2, n3, n4, a, b, c, d, e, f, g, h] => {
            let nanos = u32::from_be_bytes([n1, n2, n3, n4]);
            Some(wall_time(i64::from_be_bytes([a, b, c, d, e, f, g, h]), nanos.into()))
        }
        _ => None,
    }
}
