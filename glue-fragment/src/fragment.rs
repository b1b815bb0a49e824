//! What transport carries: a message, or a piece of one.

use std::ops::Range;

use glue_net::wire::classic::{self, FRAGMENT_BYTES};
use glue_net::wire::{put_varint, varint_len};
use glue_net::{Chain, Content, Instant, Payload, Priority, Skip};

pub(crate) const WHOLE: u8 = 0;
pub(crate) const PIECE: u8 = 1;
pub(crate) const DROPPED: u8 = 2;

/// A message, or a piece of one, on its way to one peer.
#[derive(Clone, Debug)]
pub struct Fragment<C> {
    content: C,
    /// Names the message among those to this peer.
    message: u64,
    /// What of the body this is.
    range: Range<usize>,
    /// It was cut.
    is_piece: bool,
}

impl<C: Content> Fragment<C> {
    /// The whole of `content`, as message number `message`: no other message to the same peer may have it.
    #[must_use]
    pub fn new(message: u64, content: C) -> Self {
        let range = 0..content.body_len();
        Self { content, message, range, is_piece: false }
    }

    fn is_dropped(&self) -> bool {
        self.content.body_len() == 0
    }

    fn head_bytes(&self) -> usize {
        let len = self.content.head_len();
        varint_len(len as u64) + len
    }

    /// Bytes before the body bytes.
    fn overhead(&self) -> usize {
        match (self.is_piece, self.is_dropped(), self.range.start) {
            (false, ..) => 1 + self.head_bytes(),
            (true, true, _) => 1 + varint_len(self.message) + self.head_bytes(),
            (true, false, 0) => self.piece_header() + self.head_bytes(),
            (true, false, _) => self.piece_header(),
        }
    }

    fn piece_header(&self) -> usize {
        let total = self.content.body_len() as u64;
        1 + varint_len(self.message) + varint_len(self.range.start as u64) + varint_len(total)
    }

    fn put_head(&self, now: Instant, out: &mut Vec<u8>) {
        let mut head = Vec::with_capacity(self.content.head_len());
        self.content.encode_head(now, &mut head);
        put_varint(out, head.len() as u64);
        out.extend_from_slice(&head);
    }

    fn cut_at(&mut self, len: usize) -> Option<Self> {
        if len == 0 || len >= self.range.len() {
            return None;
        }
        let middle = self.range.start + len;
        self.is_piece = true;
        let front = Self { range: self.range.start..middle, ..self.clone() };
        self.range.start = middle;
        Some(front)
    }
}

impl<C: Content> Payload for Fragment<C> {
    fn encoded_len(&self) -> usize {
        if self.content.is_classic() {
            return self.range.len();
        }
        self.overhead() + self.range.len()
    }

    fn encode(&self, now: Instant, chain: &mut Chain) {
        let out = chain.written();
        if !self.is_piece {
            out.push(WHOLE);
            self.put_head(now, out);
        } else if self.is_dropped() {
            out.push(DROPPED);
            put_varint(out, self.message);
            self.put_head(now, out);
        } else {
            out.push(PIECE);
            put_varint(out, self.message);
            put_varint(out, self.range.start as u64);
            put_varint(out, self.content.body_len() as u64);
            if self.range.start == 0 {
                self.put_head(now, out);
            }
        }
        self.content.encode_body(self.range.clone(), chain);
    }

    fn cut(&mut self, room: usize) -> Option<Self> {
        if self.content.is_classic() {
            return self.cut_at(FRAGMENT_BYTES);
        }
        if self.encoded_len() <= room {
            return None;
        }
        let was_piece = std::mem::replace(&mut self.is_piece, true);
        let front = self.cut_at(room.saturating_sub(self.overhead()));
        if front.is_none() {
            self.is_piece = was_piece;
        }
        front
    }

    fn deadline(&self) -> Option<Instant> {
        self.content.deadline()
    }

    fn skip(&mut self, why: Skip) {
        self.content.skip(why);
        self.range = 0..self.content.body_len();
    }

    fn is_best_effort(&self) -> bool {
        self.content.is_best_effort()
    }

    fn is_of_one_with(&self, other: &Self) -> bool {
        self.message == other.message
    }

    fn priority(&self) -> Priority {
        self.content.priority()
    }

    fn merge(&mut self, next: &Self) -> bool {
        // A piece's notice also tells the joiner to forget the others of its message, so it stays.
        !self.is_piece && !next.is_piece && self.is_dropped() && next.is_dropped() && self.content.merge(&next.content)
    }

    fn group(&self) -> usize {
        self.content.group()
    }

    fn acknowledge(&self) {
        self.content.acknowledge(self.range.len());
    }

    fn is_urgent(&self) -> bool {
        self.content.is_urgent()
    }

    fn fill_frame(&self, frame: &mut classic::Frame) -> bool {
        if !self.content.is_classic() || self.is_dropped() {
            return false;
        }
        let parts = |bytes: usize| u32::try_from(bytes.div_ceil(FRAGMENT_BYTES)).unwrap_or(u32::MAX);
        let mut payload = Chain::default();
        self.content.encode_body(self.range.clone(), &mut payload);
        let counter = frame.correlation_id.0.iter_mut().skip(12);
        counter.zip(self.message.to_be_bytes()).for_each(|(to, from)| *to = from);
        frame.fragment_count = parts(self.content.body_len());
        frame.fragment_index = parts(self.range.start);
        frame.payload = payload.to_vec().into();
        true
    }
}
