//! What the layers ask of the data that they pass on. Transport keeps a [`Payload`] until it is acknowledged and writes
//! it straight into each datagram; fragmentation is a payload made of any [`Content`].

use std::ops::Range;

use bytes::Bytes;

use crate::wire::classic;
use crate::{Chain, Instant};

/// Why a payload is not sent (again).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skip {
    /// Its time is over.
    Expired,
    /// It was lost on the way, and is best effort.
    Lost,
    /// There was no room for it.
    Overflow,
}

/// Which of what waits for one peer leaves first: all of a class before any of a lower one, but for a small share that
/// keeps lower ones alive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Before all others.
    High,
    /// What everything has that asks for nothing else.
    #[default]
    Normal,
    /// When nothing else waits.
    Low,
}

impl Priority {
    /// All classes, in the order in which they leave.
    pub const ALL: [Self; 3] = [Self::High, Self::Normal, Self::Low];
}

/// Something that transport carries to one peer, reliably, and encodes anew for every transmission.
pub trait Payload: Sized {
    /// Bytes that [`Payload::encode`] takes, at most.
    fn encoded_len(&self) -> usize;

    /// Appends the wire form. It may depend on `now` (the time it has left to live).
    fn encode(&self, now: Instant, out: &mut Chain);

    /// Splits off a front part of at most `room` encoded bytes; `self` keeps the rest. `None`: it fits whole, or not
    /// even a part of it fits, or it can not be cut; `self` is unchanged.
    fn cut(&mut self, room: usize) -> Option<Self>;

    /// When it expires; `None` never.
    fn deadline(&self) -> Option<Instant>;

    /// Drops the content and becomes a short notice that it was skipped, and why. The notice is carried in its place, so
    /// that order moves on at the receiver. A notice stays as it is.
    fn skip(&mut self, why: Skip);

    /// Whether it is sent once only: lost on the way, it is skipped. Its notice is reliable.
    fn is_best_effort(&self) -> bool {
        false
    }

    /// Whether it is a piece of the same whole as `other`: without the one, the other is of no use.
    fn is_of_one_with(&self, _other: &Self) -> bool {
        false
    }

    /// Before which others it leaves.
    fn priority(&self) -> Priority {
        Priority::Normal
    }

    /// Takes `next`, which was to be sent right after `self`, into `self`; false if they stay two. Only notices merge.
    fn merge(&mut self, next: &Self) -> bool;

    /// Only payloads of one group merge. So notices that lie apart find each other.
    fn group(&self) -> usize {
        0
    }

    /// It arrived, and will be dropped.
    fn acknowledge(&self) {}

    /// Whether it goes before what is queued, and is not held back by the receiver's credit: small control data.
    fn is_urgent(&self) -> bool;

    /// Fills the content fields of a classic frame; false if it has no classic form (it is then dropped).
    fn fill_frame(&self, frame: &mut classic::Frame) -> bool;
}

/// Something that fragmentation cuts: a head, which is small and written anew for each peer and transmission, and a
/// body, whose bytes are shared by all peers and never change.
pub trait Content: Clone {
    /// Appends the head, at most 2 KiB.
    fn encode_head(&self, now: Instant, out: &mut Vec<u8>);

    /// Bytes that [`Content::encode_head`] takes, at most.
    fn head_len(&self) -> usize;

    /// Bytes of the body.
    fn body_len(&self) -> usize;

    /// Appends the bytes `range` of the body; what lies outside of it is left out.
    fn encode_body(&self, range: Range<usize>, out: &mut Chain);

    /// When it expires; `None` never.
    fn deadline(&self) -> Option<Instant>;

    /// Drops the body; the head now says what was skipped, and why.
    fn skip(&mut self, why: Skip);

    /// See [`Payload::is_best_effort`].
    fn is_best_effort(&self) -> bool {
        false
    }

    /// See [`Payload::priority`].
    fn priority(&self) -> Priority {
        Priority::Normal
    }

    /// See [`Payload::merge`].
    fn merge(&mut self, next: &Self) -> bool;

    /// See [`Payload::group`].
    fn group(&self) -> usize {
        0
    }

    /// So many bytes of the body, and with the first of them the head, arrived; each once.
    fn acknowledge(&self, _body_bytes: usize) {}

    /// See [`Payload::is_urgent`].
    fn is_urgent(&self) -> bool;

    /// Whether it is a classic message, cut at the classic fragment size.
    fn is_classic(&self) -> bool;
}

/// Plain bytes: never cut, never expired.
impl Payload for Bytes {
    fn encoded_len(&self) -> usize {
        self.len()
    }

    fn encode(&self, _now: Instant, out: &mut Chain) {
        out.share(self.clone());
    }

    fn cut(&mut self, _room: usize) -> Option<Self> {
        None
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }

    fn skip(&mut self, _why: Skip) {}

    fn merge(&mut self, _next: &Self) -> bool {
        false
    }

    fn is_urgent(&self) -> bool {
        false
    }

    fn fill_frame(&self, frame: &mut classic::Frame) -> bool {
        frame.payload = self.clone();
        true
    }
}
