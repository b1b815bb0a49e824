//! What the layers ask of the data that they pass on. Transport keeps a [`Payload`] until it is acknowledged and writes
//! it straight into each datagram; fragmentation is a payload made of any [`Content`].

use std::ops::Range;

use bytes::Bytes;

use crate::wire::classic;
use crate::{Chain, Instant};

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

    /// Drops the content and becomes a short notice that it was skipped. The notice is carried in its place, so that
    /// order moves on at the receiver.
    fn expire(&mut self);

    /// As [`Payload::expire`], but because there was no room for it.
    fn overflow(&mut self);

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

    /// Drops the body; the head now says what was skipped.
    fn expire(&mut self);

    /// As [`Content::expire`], but because there was no room for it.
    fn overflow(&mut self);

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

    fn expire(&mut self) {}

    fn overflow(&mut self) {}

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
