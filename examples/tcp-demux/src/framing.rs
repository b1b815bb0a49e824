//! Where a message ends in a stream of bytes. Pure.

use bytes::{Buf, Bytes, BytesMut};

/// How the bytes of a socket are cut into messages, and how messages are written to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// What one read gives is a message, at most 64 KiB; what is written is written as it is. The default.
    #[default]
    Raw,
    /// A message ends at a line feed, which does not belong to it, as a carriage return before it does not. A line feed is
    /// written after each message.
    Lines,
    /// The length of a message, 2 bytes with the highest first, stands before it.
    LengthPrefixed16,
    /// The same with 4 bytes.
    LengthPrefixed32,
    /// A message ends at these bytes (at least one), which do not belong to it. They are written after each message.
    Delimiter(Bytes),
}

/// A message is longer than may be, or can not be written in this framing. The socket is of no more use then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a message of more than {limit} bytes")]
pub struct TooLong {
    /// What a message may have, in bytes.
    pub limit: usize,
}

impl Framing {
    /// Parses `raw`, `lines`, `length_prefixed_u16`, `length_prefixed_u32` (or `length_prefixed`), or `delimiter:` and the
    /// delimiter, in which `\r`, `\n`, `\t`, `\0` and `\\` stand for what they do elsewhere.
    ///
    /// # Errors
    /// What was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "raw" => return Ok(Self::Raw),
            "lines" => return Ok(Self::Lines),
            "length_prefixed_u16" => return Ok(Self::LengthPrefixed16),
            "length_prefixed_u32" | "length_prefixed" => return Ok(Self::LengthPrefixed32),
            _ => {}
        }
        let delimiter = text.strip_prefix("delimiter:").and_then(unescape);
        let delimiter = delimiter.filter(|delimiter| (1..=MAX_DELIMITER_BYTES).contains(&delimiter.len()));
        delimiter.map(|delimiter| Self::Delimiter(delimiter.into())).ok_or_else(|| {
            format!(
                "framing: expected raw, lines, length_prefixed_u16, length_prefixed_u32 or delimiter:TEXT, not {text:?}"
            )
        })
    }

    /// Takes the next message out of what was read, if all of it is there. `searched` is how far a delimiter was looked for
    /// before; begin with zero.
    ///
    /// # Errors
    /// [`TooLong`] as soon as it is known, not only when all of it was read.
    pub fn decode(&self, read: &mut BytesMut, searched: &mut usize, limit: usize) -> Result<Option<Bytes>, TooLong> {
        match self {
            Self::Raw => Ok((!read.is_empty()).then(|| std::mem::take(read).freeze())),
            Self::Lines => {
                let line = until(b"\n", read, searched, limit)?;
                Ok(line.map(|mut line| {
                    if line.last() == Some(&b'\r') {
                        line.truncate(line.len() - 1);
                    }
                    line
                }))
            }
            Self::LengthPrefixed16 => prefixed(read, 2, limit),
            Self::LengthPrefixed32 => prefixed(read, 4, limit),
            Self::Delimiter(delimiter) => until(delimiter, read, searched, limit),
        }
    }

    /// What is left when the client sends no more: a last line or piece needs no ending, all else is incomplete.
    #[must_use]
    pub fn finish(&self, read: BytesMut) -> Option<Bytes> {
        let is_whole = matches!(self, Self::Lines | Self::Delimiter(_)) && !read.is_empty();
        is_whole.then(|| read.freeze())
    }

    /// What stands before and after a message that is written.
    ///
    /// # Errors
    /// [`TooLong`] if its length does not fit the prefix.
    pub fn encode(&self, len: usize) -> Result<Around<'_>, TooLong> {
        let after = |after| Around { prefix: [0; 4], width: 0, after };
        match self {
            Self::Raw => Ok(after(b"")),
            Self::Lines => Ok(after(b"\n")),
            Self::Delimiter(delimiter) => Ok(after(delimiter)),
            Self::LengthPrefixed16 => prefix(len, 2),
            Self::LengthPrefixed32 => prefix(len, 4),
        }
    }
}

/// What stands around a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Around<'a> {
    /// The length of the message, at the end of it.
    prefix: [u8; 4],
    width: usize,
    after: &'a [u8],
}

impl Around<'_> {
    /// What stands before it.
    #[must_use]
    pub fn before(&self) -> &[u8] {
        self.prefix.get(self.prefix.len() - self.width..).unwrap_or_default()
    }

    /// What stands after it.
    #[must_use]
    pub const fn after(&self) -> &[u8] {
        self.after
    }
}

fn prefix(len: usize, width: usize) -> Result<Around<'static>, TooLong> {
    let limit = usize::try_from((1_u64 << (8 * width)) - 1).unwrap_or(usize::MAX);
    match u32::try_from(len) {
        Ok(short) if len <= limit => Ok(Around { prefix: short.to_be_bytes(), width, after: b"" }),
        _ => Err(TooLong { limit }),
    }
}

fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut out = Vec::new();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'\\' => match bytes.next()? {
                b'0' => 0,
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'\\' => b'\\',
                _ => return None,
            },
            other => other,
        });
    }
    Some(out)
}

fn until(delimiter: &[u8], read: &mut BytesMut, searched: &mut usize, limit: usize) -> Result<Option<Bytes>, TooLong> {
    let rest = read.get(*searched..).unwrap_or_default();
    let found = rest.windows(delimiter.len().max(1)).position(|window| window == delimiter).map(|at| at + *searched);
    let end = found.unwrap_or_else(|| read.len().saturating_sub(delimiter.len() - 1));
    if end > limit {
        return Err(TooLong { limit });
    }
    let Some(end) = found else {
        *searched = end;
        return Ok(None);
    };
    *searched = 0;
    let message = read.split_to(end).freeze();
    read.advance(delimiter.len());
    Ok(Some(message))
}

fn prefixed(read: &mut BytesMut, width: usize, limit: usize) -> Result<Option<Bytes>, TooLong> {
    let Some(prefix) = read.get(..width) else { return Ok(None) };
    let len = prefix.iter().fold(0, |len, byte| len << 8 | usize::from(*byte));
    if len > limit {
        return Err(TooLong { limit });
    }
    if read.len() < width + len {
        return Ok(None);
    }
    read.advance(width);
    Ok(Some(read.split_to(len).freeze()))
}

/// Of a delimiter: it is searched for naively.
const MAX_DELIMITER_BYTES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes out when the bytes come one at a time, which must be what comes out when all come at once.
    fn decode(framing: &Framing, input: &[u8], limit: usize) -> Result<Vec<Bytes>, TooLong> {
        let drain = |read: &mut BytesMut, searched: &mut usize, out: &mut Vec<Bytes>| {
            while let Some(message) = framing.decode(read, searched, limit)? {
                out.push(message);
            }
            Ok(())
        };
        let (mut read, mut searched, mut singly) = (BytesMut::new(), 0, Vec::new());
        let one_by_one = input.iter().try_for_each(|byte| {
            read.extend_from_slice(&[*byte]);
            drain(&mut read, &mut searched, &mut singly)
        });
        let (mut read, mut searched, mut at_once) = (BytesMut::from(input), 0, Vec::new());
        let whole = drain(&mut read, &mut searched, &mut at_once);
        assert_eq!(one_by_one, whole);
        whole?;
        assert_eq!(singly, at_once);
        Ok(at_once)
    }

    #[test]
    fn raw_takes_what_there_is() {
        let mut read = BytesMut::from(&b"a\nb"[..]);
        assert_eq!(Framing::Raw.decode(&mut read, &mut 0, 1), Ok(Some(Bytes::from_static(b"a\nb"))));
        assert_eq!(Framing::Raw.decode(&mut read, &mut 0, 1), Ok(None));
    }

    #[test]
    fn lines_end_at_either_ending() {
        let messages = decode(&Framing::Lines, b"one\r\ntwo\n\n\r\nrest", 9).expect("none is too long");
        assert_eq!(messages, ["one", "two", "", ""]);
    }

    #[test]
    fn a_delimiter_may_have_several_bytes_and_begin_falsely() {
        let framing = Framing::Delimiter(Bytes::from_static(b"--"));
        assert_eq!(decode(&framing, b"a-b--c---d--", 9).expect("none is too long"), ["a-b", "c", "-d"]);
    }

    #[test]
    fn prefixes_are_big_endian() {
        assert_eq!(decode(&Framing::LengthPrefixed16, b"\0\x03abc\0\0\0\x01", 9).expect("fits"), ["abc", ""]);
        assert_eq!(decode(&Framing::LengthPrefixed32, b"\0\0\0\x02ab\0\0", 9).expect("fits"), ["ab"]);
    }

    #[test]
    fn names_are_parsed() {
        assert_eq!(Framing::parse("delimiter:\\r\\n\\0"), Ok(Framing::Delimiter(Bytes::from_static(b"\r\n\0"))));
        assert_eq!(Framing::parse("length_prefixed"), Ok(Framing::LengthPrefixed32));
        for bad in ["", "Raw", "delimiter:", "delimiter:\\", "delimiter:\\x", "delimiter:0123456789abcdefg"] {
            assert!(Framing::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_too_long_is_known_before_it_is_read() {
        let limit = 4;
        let refused = Err(TooLong { limit });
        assert_eq!(decode(&Framing::LengthPrefixed16, b"\0\x05", limit), refused);
        assert_eq!(decode(&Framing::LengthPrefixed32, b"\xff\xff\xff\xff", limit), refused);
        assert_eq!(decode(&Framing::Lines, b"12345", limit), refused);
        assert_eq!(decode(&Framing::Lines, b"1234\n", limit).expect("fits"), ["1234"]);
        let framing = Framing::Delimiter(Bytes::from_static(b"--"));
        assert_eq!(decode(&framing, b"1234--", limit).expect("fits"), ["1234"]);
        assert_eq!(decode(&framing, b"12345--", limit), refused);
    }

    #[test]
    fn what_is_written_is_read_back() {
        let delimiter = Framing::Delimiter(Bytes::from_static(b"\0\0"));
        for framing in [Framing::Lines, Framing::LengthPrefixed16, Framing::LengthPrefixed32, delimiter] {
            let around = framing.encode(3).expect("fits");
            let written = [around.before(), b"abc", around.after()].concat();
            assert_eq!(decode(&framing, &written, 9).expect("fits"), ["abc"], "{framing:?}");
        }
        assert!(Framing::LengthPrefixed16.encode(65_536).is_err());
    }
}
