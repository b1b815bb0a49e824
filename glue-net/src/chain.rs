//! Bytes to send, in pieces that the kernel gathers (scatter/gather I/O, as BSD's mbuf chains).
//!
//! A message passes two copies at least, into the kernel and out of it. Each one more took 6 to 12 of the 60 microseconds
//! that 64 KiB took a publisher, so long payloads are shared from the application's memory to the system call.

use std::ops::Range;

use bytes::Bytes;

/// Bytes in pieces, to append to. Most are written into one buffer; long ones that are shared memory stay where they are.
#[derive(Clone, Debug, Default)]
pub struct Chain {
    written: Vec<u8>,
    shared: Vec<Shared>,
    shared_len: usize,
}

/// A shared piece.
#[derive(Clone, Debug)]
struct Shared {
    /// How many written bytes stand before it.
    at: usize,
    bytes: Bytes,
}

/// Where a chain ended at some time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    written: usize,
    shared: usize,
}

impl Mark {
    /// Bytes that were copied up to here.
    #[must_use]
    pub const fn written(self) -> usize {
        self.written
    }

    /// Where the chain was when `bytes` more were written, and nothing was shared.
    #[must_use]
    pub const fn after(self, bytes: usize) -> Self {
        Self { written: self.written + bytes, shared: self.shared }
    }
}

impl Chain {
    /// An empty chain with room for `capacity` written bytes.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self { written: Vec::with_capacity(capacity), shared: Vec::new(), shared_len: 0 }
    }

    /// Bytes in it.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.written.len() + self.shared_len
    }

    /// Whether nothing is in it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where it ends now.
    #[must_use]
    pub const fn end(&self) -> Mark {
        Mark { written: self.written.len(), shared: self.shared.len() }
    }

    /// Whether what was appended since `mark` is all in the buffer of [`Chain::written`].
    #[must_use]
    pub const fn is_written_since(&self, mark: Mark) -> bool {
        self.shared.len() == mark.shared
    }

    /// The buffer at its end. What was there must stay; append only.
    pub const fn written(&mut self) -> &mut Vec<u8> {
        &mut self.written
    }

    /// Appends a copy of `bytes`.
    #[inline]
    pub fn put(&mut self, bytes: &[u8]) {
        copy_to(&mut self.written, bytes);
    }

    /// Appends `bytes`: shared if they are long, else copied.
    #[inline]
    pub fn share(&mut self, bytes: Bytes) {
        if bytes.len() < SHARED_BYTES {
            return self.put(&bytes);
        }
        self.shared_len += bytes.len();
        self.shared.push(Shared { at: self.written.len(), bytes });
    }

    /// As [`Chain::share`], for bytes that stay with the caller too.
    #[inline]
    pub fn share_from(&mut self, bytes: &Bytes) {
        if bytes.len() < SHARED_BYTES { self.put(bytes) } else { self.share(bytes.clone()) }
    }

    /// Takes back what was appended since `mark`, which must be an end of this chain.
    pub fn truncate(&mut self, mark: Mark) {
        self.written.truncate(mark.written);
        let dropped: usize =
            self.shared.drain(mark.shared.min(self.shared.len())..).map(|piece| piece.bytes.len()).sum();
        self.shared_len -= dropped;
    }

    /// Empties it and keeps its buffer.
    pub fn clear(&mut self) {
        self.truncate(Mark::default());
    }

    /// The pieces between two ends, in order.
    pub fn pieces(&self, range: Range<Mark>) -> impl Iterator<Item = &[u8]> {
        let shared = self.shared.get(range.start.shared..range.end.shared).unwrap_or_default();
        let starts = std::iter::once(range.start.written).chain(shared.iter().map(|piece| piece.at));
        let ends = shared.iter().map(|piece| piece.at).chain([range.end.written]);
        let follow = shared.iter().map(|piece| &piece.bytes[..]).chain([&[][..]]);
        let pieces = starts
            .zip(ends)
            .zip(follow)
            .flat_map(|((start, end), follow)| [self.written.get(start..end).unwrap_or_default(), follow]);
        pieces.filter(|piece| !piece.is_empty())
    }

    /// A copy of the bytes between two ends, in one piece.
    #[must_use]
    pub fn copy_of(&self, range: Range<Mark>) -> Vec<u8> {
        let mut out = Vec::new();
        self.pieces(range).for_each(|piece| copy_to(&mut out, piece));
        out
    }

    /// A copy of all its bytes, in one piece.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        self.copy_of(Mark::default()..self.end())
    }

    /// Bytes of memory that it takes, with those that it shares.
    #[must_use]
    pub const fn memory(&self) -> usize {
        self.written.capacity() + self.shared_len
    }

    /// Lets go of most of a buffer that is mostly empty: the chain will be kept for a while.
    pub fn shrink(&mut self) {
        if self.written.capacity() > 2 * self.written.len() {
            self.written.shrink_to_fit();
        }
    }

    /// Its bytes, never to change again.
    #[must_use]
    pub fn freeze(self) -> FrozenChain {
        let len = self.len();
        FrozenChain { written: self.written.into(), shared: self.shared, len }
    }
}

impl From<&[u8]> for Chain {
    fn from(bytes: &[u8]) -> Self {
        let mut chain = Self::default();
        chain.put(bytes);
        chain
    }
}

/// Bytes in pieces, of which parts are appended to other chains.
#[derive(Clone, Debug, Default)]
pub struct FrozenChain {
    written: Bytes,
    shared: Vec<Shared>,
    len: usize,
}

impl FrozenChain {
    /// Bytes in it.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is in it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends the bytes `range`; what lies outside is left out. Long pieces are shared.
    pub fn append_to(&self, range: Range<usize>, out: &mut Chain) {
        let (mut start, mut from) = (0, 0);
        for piece in &self.shared {
            append_part(&self.written, from..piece.at, start, &range, out);
            start += piece.at - from;
            append_part(&piece.bytes, 0..piece.bytes.len(), start, &range, out);
            start += piece.bytes.len();
            from = piece.at;
        }
        append_part(&self.written, from..self.written.len(), start, &range, out);
    }
}

/// Appends what of `bytes[of]`, which stands at `start` of the whole, lies in `range` of the whole.
fn append_part(bytes: &Bytes, of: Range<usize>, start: usize, range: &Range<usize>, out: &mut Chain) {
    let from = of.start + range.start.saturating_sub(start).min(of.len());
    let to = of.start + range.end.saturating_sub(start).min(of.len());
    if to < from + SHARED_BYTES {
        out.put(bytes.get(from..to).unwrap_or_default());
    } else {
        out.share(bytes.slice(from..to));
    }
}

/// Appends a copy of `bytes`, in strides of 2 KiB. Longer copies are made by `rep movsb` in the C library, which takes 25
/// times as long on AMD Zen 3 where the target stands up to 31 bytes after the source, modulo a page: 4.0 against 0.16
/// microseconds for 8 KiB. The strides cost nothing: 64 KiB take 1.5 microseconds either way.
#[inline]
pub fn copy_to(out: &mut Vec<u8>, bytes: &[u8]) {
    if bytes.len() <= STRIDE_BYTES {
        out.extend_from_slice(bytes);
    } else {
        copy_in_strides(out, bytes);
    }
}

fn copy_in_strides(out: &mut Vec<u8>, bytes: &[u8]) {
    out.reserve(bytes.len());
    bytes.chunks(STRIDE_BYTES).for_each(|stride| out.extend_from_slice(stride));
}

/// Shorter pieces are copied. Sharing one costs about 60 nanoseconds, for its reference count and the kernel's next piece;
/// copying 4 KiB into memory that is not in the cache costs that and more.
const SHARED_BYTES: usize = 4 << 10;
const STRIDE_BYTES: usize = 2 << 10;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes(len: usize, seed: u8) -> Bytes {
        (0..=u8::MAX).cycle().map(|n| n.wrapping_mul(31).wrapping_add(seed)).take(len).collect()
    }

    #[test]
    fn short_pieces_are_copied_and_long_ones_shared() {
        let long = bytes(SHARED_BYTES, 1);
        let mut chain = Chain::default();
        chain.put(b"head");
        chain.share(Bytes::from_static(b"short"));
        chain.share(long.clone());
        chain.put(b"tail");
        let pieces: Vec<&[u8]> = chain.pieces(Mark::default()..chain.end()).collect();
        assert_eq!(pieces, [&b"headshort"[..], &long, b"tail"]);
        assert_eq!(pieces[1].as_ptr(), long.as_ptr());
    }

    #[test]
    fn what_is_taken_back_is_gone() {
        let mut chain = Chain::from(&b"kept"[..]);
        let mark = chain.end();
        chain.put(b"more");
        chain.share(bytes(SHARED_BYTES, 2));
        chain.truncate(mark);
        assert_eq!((chain.len(), chain.to_vec()), (4, b"kept".to_vec()));
        chain.clear();
        assert!(chain.is_empty());
    }

    proptest! {
        #[test]
        fn every_part_reads_as_the_whole_does(
            lens in prop::collection::vec((0usize..9_000, any::<bool>()), 0..8),
            ends in (0usize..40_000, 0usize..40_000),
        ) {
            let (mut chain, mut flat, mut marks) = (Chain::default(), Vec::new(), vec![(Mark::default(), 0)]);
            for (n, (len, is_shared)) in (0..).zip(&lens) {
                let piece = bytes(*len, n);
                flat.extend_from_slice(&piece);
                if *is_shared { chain.share(piece) } else { chain.put(&piece) }
                marks.push((chain.end(), flat.len()));
            }
            prop_assert_eq!(chain.len(), flat.len());
            for pair in marks.windows(2) {
                prop_assert_eq!(&chain.copy_of(pair[0].0..pair[1].0), &flat[pair[0].1..pair[1].1]);
            }
            let (from, to) = (ends.0.min(ends.1), ends.0.max(ends.1));
            let mut part = Chain::from(&b"x"[..]);
            chain.freeze().append_to(from..to, &mut part);
            let want = flat.get(from.min(flat.len())..to.min(flat.len())).unwrap();
            prop_assert_eq!(&part.to_vec()[1..], want);
        }
    }
}
