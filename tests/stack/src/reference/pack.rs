//! MessagePack as the reference writes it, as a tree of values.

use glue_net::WallTime;

/// What stands in a container.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Nil,
    Bool(bool),
    Bytes(Vec<u8>),
    /// Nine bytes on the wire, whatever the number.
    Int(i64),
    /// As few bytes as possible.
    Small(u16),
    Text(String),
    Time(WallTime),
    Map(Vec<(String, Self)>),
}

impl Value {
    /// The value of a key; a missing one is nil.
    pub(super) fn get(&self, key: &str) -> &Self {
        let Self::Map(entries) = self else { return &Self::Nil };
        entries.iter().find(|(name, _)| name == key).map_or(&Self::Nil, |(_, value)| value)
    }

    pub(super) fn int(&self) -> i64 {
        match self {
            Self::Int(number) => *number,
            Self::Small(number) => i64::from(*number),
            _ => 0,
        }
    }

    pub(super) fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            _ => String::new(),
        }
    }

    pub(super) fn bytes(&self) -> Option<Vec<u8>> {
        match self {
            Self::Bytes(bytes) => Some(bytes.clone()),
            Self::Text(text) => Some(text.clone().into_bytes()),
            _ => None,
        }
    }

    pub(super) fn time(&self) -> Option<WallTime> {
        if let Self::Time(time) = self { Some(*time) } else { None }
    }

    pub(super) fn is_true(&self) -> bool {
        *self == Self::Bool(true)
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Nil => out.push(0xc0),
            Self::Bool(value) => out.push(0xc2 + u8::from(*value)),
            Self::Bytes(bytes) => {
                put_len(bytes.len(), [0xc4, 0xc5, 0xc6], out);
                out.extend_from_slice(bytes);
            }
            Self::Int(number) => {
                out.push(0xd3);
                out.extend_from_slice(&number.to_be_bytes());
            }
            Self::Small(number) => match u8::try_from(*number) {
                Ok(byte) if byte < 0x80 => out.push(byte),
                Ok(byte) => out.extend_from_slice(&[0xcc, byte]),
                Err(_) => {
                    out.push(0xcd);
                    out.extend_from_slice(&number.to_be_bytes());
                }
            },
            Self::Text(text) => put_text(text, out),
            Self::Time(time) => put_time(*time, out),
            Self::Map(entries) => {
                match u8::try_from(entries.len()) {
                    Ok(count) if count < 16 => out.push(0x80 | count),
                    _ => {
                        let count = u16::try_from(entries.len()).expect("a container has 16 keys");
                        out.push(0xde);
                        out.extend_from_slice(&count.to_be_bytes());
                    }
                }
                for (name, value) in entries {
                    put_text(name, out);
                    value.put(out);
                }
            }
        }
    }
}

fn put_text(text: &str, out: &mut Vec<u8>) {
    match u8::try_from(text.len()) {
        Ok(len) if len < 32 => out.push(0xa0 | len),
        _ => put_len(text.len(), [0xd9, 0xda, 0xdb], out),
    }
    out.extend_from_slice(text.as_bytes());
}

fn put_len(len: usize, [one, two, four]: [u8; 3], out: &mut Vec<u8>) {
    if let Ok(len) = u8::try_from(len) {
        out.extend_from_slice(&[one, len]);
    } else if let Ok(len) = u16::try_from(len) {
        out.push(two);
        out.extend_from_slice(&len.to_be_bytes());
    } else {
        out.push(four);
        out.extend_from_slice(&u32::try_from(len).expect("a datagram's worth").to_be_bytes());
    }
}

fn put_time(time: WallTime, out: &mut Vec<u8>) {
    if time == WallTime::ZERO_TIME {
        out.extend_from_slice(&[0xc7, 12, 0xff, 0, 0, 0, 0]);
        out.extend_from_slice(&YEAR_1.to_be_bytes());
        return;
    }
    let nanos = time.as_unix_nanos().unsigned_abs();
    let (seconds, rest) = (nanos / NANOS, nanos % NANOS);
    out.extend_from_slice(&[0xd7, 0xff]);
    out.extend_from_slice(&(rest << 34 | seconds).to_be_bytes());
}

/// What is not read yet.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl Reader<'_> {
    /// The next value; `None` if it is none that a container may hold.
    pub(super) fn value(&mut self) -> Option<Value> {
        let kind = self.byte()?;
        Some(match kind {
            0x00..=0x7f => Value::Small(u16::from(kind)),
            0x80..=0x8f => return self.map(usize::from(kind & 0xf)),
            0xa0..=0xbf => return self.text(usize::from(kind & 0x1f)),
            0xc0 => Value::Nil,
            0xc2 => Value::Bool(false),
            0xc3 => Value::Bool(true),
            0xc4..=0xc6 => {
                let len = self.len(1 << (kind - 0xc4))?;
                Value::Bytes(self.take(len)?.to_vec())
            }
            0xc7 => {
                let len = self.len(1)?;
                return self.time(len);
            }
            0xcc..=0xcf => {
                let number = self.unsigned(1 << (kind - 0xcc))?;
                u16::try_from(number).map_or(Value::Int(i64::try_from(number).ok()?), Value::Small)
            }
            0xd0..=0xd3 => {
                let size = 1usize << (kind - 0xd0);
                let shift = 64 - 8 * size;
                Value::Int((self.unsigned(size)? << shift).cast_signed() >> shift)
            }
            0xd6 => return self.time(4),
            0xd7 => return self.time(8),
            0xd9..=0xdb => {
                let len = self.len(1 << (kind - 0xd9))?;
                return self.text(len);
            }
            0xde..=0xdf => {
                let len = self.len(2 << (kind - 0xde))?;
                return self.map(len);
            }
            0xe0..=0xff => Value::Int(i64::from(kind.cast_signed())),
            _ => return None,
        })
    }

    fn map(&mut self, len: usize) -> Option<Value> {
        let entry = |_| {
            let key = self.value()?;
            // The reference takes text or bytes for a key, and fails at a number.
            let (Value::Text(_) | Value::Bytes(_)) = key else { return None };
            Some((key.text(), self.value()?))
        };
        (0..len).map(entry).collect::<Option<_>>().map(Value::Map)
    }

    fn text(&mut self, len: usize) -> Option<Value> {
        let bytes = self.take(len)?;
        Some(Value::Text(std::str::from_utf8(bytes).ok()?.to_owned()))
    }

    fn time(&mut self, len: usize) -> Option<Value> {
        if self.byte()? != 0xff {
            return None;
        }
        let (seconds, nanos) = match len {
            4 => (self.unsigned(4)?.cast_signed(), 0),
            8 => {
                let both = self.unsigned(8)?;
                ((both & 0x3_ffff_ffff).cast_signed(), both >> 34)
            }
            12 => {
                let nanos = self.unsigned(4)?;
                (self.unsigned(8)?.cast_signed(), nanos)
            }
            _ => return None,
        };
        if seconds == YEAR_1 {
            return Some(Value::Time(WallTime::ZERO_TIME));
        }
        let nanos = seconds.checked_mul(NANOS.cast_signed())?.checked_add(nanos.cast_signed())?;
        Some(Value::Time(WallTime::from_unix_nanos(nanos)))
    }

    fn len(&mut self, size: usize) -> Option<usize> {
        usize::try_from(self.unsigned(size)?).ok()
    }

    fn unsigned(&mut self, size: usize) -> Option<u64> {
        Some(self.take(size)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn take(&mut self, len: usize) -> Option<&[u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }
}

const NANOS: u64 = 1_000_000_000;
/// Seconds from the Unix epoch to the year 1.
const YEAR_1: i64 = -62_135_596_800;
