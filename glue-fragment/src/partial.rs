//! An unfinished message.

use std::collections::BTreeMap;

use bytes::Bytes;
use glue_net::Instant;

/// The pieces of one message that came so far.
///
/// The front part lies in one growing buffer; what came ahead of it waits in pieces. So memory follows what arrived, not
/// what the peer says will arrive.
#[derive(Debug, Default)]
pub(crate) struct Partial {
    total: usize,
    /// And when it came.
    head: Option<(Instant, Bytes)>,
    front: Vec<u8>,
    ahead: BTreeMap<usize, Bytes>,
    ahead_bytes: usize,
    /// Too long: pieces are only counted, so that it is known when the last came.
    pub(crate) is_dropped: bool,
    dropped_bytes: usize,
    /// Which of the peer's pieces came last.
    pub(crate) touched: u64,
}

/// A message whose last piece came.
#[derive(Debug)]
pub(crate) struct Finished {
    /// When the head came, and the head.
    pub(crate) head: (Instant, Bytes),
    pub(crate) body: Bytes,
}

impl Partial {
    pub(crate) fn new(total: usize, is_dropped: bool) -> Self {
        Self { total, is_dropped, ..Self::default() }
    }

    /// Memory that it takes.
    pub(crate) fn bytes(&self) -> usize {
        PARTIAL_OVERHEAD + self.front.capacity() + self.ahead_bytes + self.ahead.len() * PIECE_OVERHEAD
    }

    /// Adds a piece; false if it does not fit the message.
    pub(crate) fn insert(&mut self, offset: usize, head: Option<(Instant, Bytes)>, piece: Bytes) -> bool {
        let end = offset.checked_add(piece.len());
        if piece.is_empty() || end.is_none_or(|end| end > self.total) {
            return false;
        }
        if head.is_some() {
            self.head = head;
        }
        if self.is_dropped {
            // The beginning says what is dropped.
            if offset == 0 {
                self.front = piece.get(..piece.len().min(HEADER_BYTES)).unwrap_or_default().to_vec();
            }
            self.dropped_bytes += piece.len();
            return true;
        }
        if offset > self.front.len() {
            self.put_ahead(offset, piece);
            return true;
        }
        self.extend(offset, &piece);
        while let Some((offset, piece)) = self.take_touching() {
            self.extend(offset, &piece);
        }
        true
    }

    /// Drops what came; from now on pieces are only counted.
    pub(crate) fn give_up(&mut self) {
        self.dropped_bytes = self.front.len() + self.ahead_bytes;
        self.front.truncate(HEADER_BYTES);
        self.front.shrink_to_fit();
        (self.ahead, self.ahead_bytes, self.is_dropped) = (BTreeMap::new(), 0, true);
    }

    pub(crate) fn is_finished(&self) -> bool {
        let whole = if self.is_dropped { self.dropped_bytes } else { self.front.len() };
        whole >= self.total && self.head.is_some()
    }

    /// The whole message, or the beginning of a dropped one.
    pub(crate) fn finish(self) -> Option<Finished> {
        Some(Finished { head: self.head?, body: self.front.into() })
    }

    fn put_ahead(&mut self, offset: usize, piece: Bytes) {
        self.ahead_bytes += piece.len();
        if let Some(old) = self.ahead.insert(offset, piece) {
            self.ahead_bytes -= old.len();
        }
    }

    fn take_touching(&mut self) -> Option<(usize, Bytes)> {
        let first = self.ahead.first_entry().filter(|entry| *entry.key() <= self.front.len())?;
        let (offset, piece) = first.remove_entry();
        self.ahead_bytes -= piece.len();
        Some((offset, piece))
    }

    /// Appends what of the piece is beyond the front; it begins within it.
    fn extend(&mut self, offset: usize, piece: &Bytes) {
        let Some(fresh) = piece.get(self.front.len() - offset..) else { return };
        if self.front.capacity() - self.front.len() < fresh.len() {
            // Twice what came, but never beyond the total.
            let capacity = (2 * (self.front.len() + fresh.len())).max(MIN_RESERVE).min(self.total);
            self.front.reserve_exact(capacity - self.front.len());
        }
        glue_net::copy_to(&mut self.front, fresh);
    }
}

/// What a message costs beside its bytes: this structure, a map entry, its head.
const PARTIAL_OVERHEAD: usize = 256;
/// What a waiting piece costs beside its bytes: a map entry and a reference.
const PIECE_OVERHEAD: usize = 64;
/// The first allocation for a message: one large datagram.
const MIN_RESERVE: usize = 64 << 10;
/// Enough of a message to tell what it is: topic, type and first sequence number.
const HEADER_BYTES: usize = 4 << 10;
