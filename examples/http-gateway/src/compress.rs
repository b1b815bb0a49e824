//! Bodies packed piece by piece, by zstd.

use bytes::Bytes;

use crate::stream::{CHUNK, MOST_CHUNK};
use crate::wire::Flags;

/// How bodies are cut and packed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packing {
    /// The largest piece, in bytes; at most 128 KiB.
    pub(crate) chunk: usize,
    pub(crate) zstd: bool,
}

impl Default for Packing {
    fn default() -> Self {
        Self { chunk: CHUNK, zstd: false }
    }
}

/// A piece as it travels: packed if that is wanted and makes it smaller.
pub(crate) fn packed(piece: Bytes, end: bool, zstd: bool) -> (Bytes, Flags) {
    let flags = Flags { end, ..Flags::default() };
    if zstd
        && piece.len() >= WORTHWHILE
        && let Ok(small) = zstd::bulk::compress(&piece, LEVEL)
        && small.len() < piece.len()
    {
        return (small.into(), Flags { zstd: true, ..flags });
    }
    (piece, flags)
}

/// The piece as it was. `None`: it is broken, or claims to be larger than any piece is.
pub(crate) fn unpacked(piece: Bytes, flags: Flags) -> Option<Bytes> {
    if !flags.zstd {
        return Some(piece);
    }
    zstd::bulk::decompress(&piece, MOST_CHUNK).ok().map(Bytes::from)
}

/// Shorter pieces fit into a datagram or two in any case.
const WORTHWHILE: usize = 512;

/// The fastest of the usual levels: bodies pass at once or not at all.
const LEVEL: i32 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_shrinks_is_packed_and_comes_back() {
        let text = Bytes::from(vec![b'a'; CHUNK]);
        let (small, flags) = packed(text.clone(), true, true);
        assert!(flags.zstd && flags.end && small.len() < 100, "{} bytes", small.len());
        assert_eq!(unpacked(small, flags), Some(text.clone()));
        assert_eq!(packed(text.clone(), false, false), (text, Flags::default()));
    }

    #[test]
    fn a_bomb_is_refused() {
        let bomb = zstd::bulk::compress(&vec![0; 1 << 20], LEVEL).unwrap();
        assert_eq!(unpacked(bomb.into(), Flags { zstd: true, ..Flags::default() }), None);
        let nonsense = Bytes::from_static(b"nonsense");
        assert_eq!(unpacked(nonsense, Flags { zstd: true, ..Flags::default() }), None);
    }
}
