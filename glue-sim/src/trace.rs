//! What became of datagrams: counted, hashed, and shown to whoever asks.

use std::fmt;
use std::net::SocketAddr;

use glue_net::Instant;

use crate::NodeId;

/// What became of one copy of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fate {
    /// The receive buffer was full.
    BufferFull,
    /// A partition stood between, or multicast or unicast was off.
    Cut,
    /// The node took it.
    Delivered,
    /// The receiver had crashed.
    Down,
    /// The link lost it.
    Lost,
    /// The queue of the link was full.
    QueueFull,
    /// It was longer than the link's MTU.
    TooBig,
    /// No node has the address, or the sender has no such socket.
    Unreachable,
}

/// One line of the trace.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Record<'a> {
    /// When its fate was sealed: at sending, or at arrival.
    pub at: Instant,
    /// Who sent it.
    pub sender: NodeId,
    /// Who was to receive it, if anyone.
    pub receiver: Option<NodeId>,
    /// The address that it was sent to.
    pub to: SocketAddr,
    /// The datagram, as it arrived.
    pub datagram: &'a [u8],
    /// Whether the link altered it.
    pub corrupted: bool,
    /// What became of it.
    pub fate: Fate,
}

impl fmt::Display for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, sender, to, fate, .. } = self;
        let altered = if self.corrupted { " altered" } else { "" };
        write!(f, "{at:?} {sender} -> {to}: {} bytes{altered}, {fate:?}", self.datagram.len())
    }
}

/// Counts of datagrams. Each copy meets one fate: `copies` is the sum of the fates and of what is
/// [under way](Self::under_way).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Datagrams that nodes sent.
    pub sent: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Copies made of them: one per receiver, and one per duplication.
    pub copies: u64,
    /// Of these, made by duplication.
    pub duplicated: u64,
    /// Copies that were altered.
    pub corrupted: u64,
    /// Copies that were held back.
    pub reordered: u64,
    /// See [`Fate::Delivered`].
    pub delivered: u64,
    /// Bytes of those.
    pub delivered_bytes: u64,
    /// See [`Fate::BufferFull`].
    pub buffer_full: u64,
    /// See [`Fate::Cut`].
    pub cut: u64,
    /// See [`Fate::Down`].
    pub down: u64,
    /// See [`Fate::Lost`].
    pub lost: u64,
    /// See [`Fate::QueueFull`].
    pub queue_full: u64,
    /// See [`Fate::TooBig`].
    pub too_big: u64,
    /// See [`Fate::Unreachable`].
    pub unreachable: u64,
}

impl Stats {
    /// Copies whose fate is open.
    #[must_use]
    pub const fn under_way(&self) -> u64 {
        let dropped =
            self.buffer_full + self.cut + self.down + self.lost + self.queue_full + self.too_big + self.unreachable;
        self.copies - self.delivered - dropped
    }

    pub(crate) const fn count(&mut self, fate: Fate, bytes: u64) {
        match fate {
            Fate::BufferFull => self.buffer_full += 1,
            Fate::Cut => self.cut += 1,
            Fate::Delivered => {
                self.delivered += 1;
                self.delivered_bytes += bytes;
            }
            Fate::Down => self.down += 1,
            Fate::Lost => self.lost += 1,
            Fate::QueueFull => self.queue_full += 1,
            Fate::TooBig => self.too_big += 1,
            Fate::Unreachable => self.unreachable += 1,
        }
    }
}

/// The hash of all that happened, in its order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TraceHash(u64);

impl TraceHash {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(mix(seed, K0))
    }

    pub(crate) const fn value(self) -> u64 {
        self.0
    }

    /// `digest` is that of the record's datagram.
    pub(crate) fn add(&mut self, record: &Record<'_>, digest: u64) {
        // Delivery is 0, so that the commonest record costs the least to think about; numbers, and not the order of the
        // enum, because hashes are compared between versions.
        let fate = match record.fate {
            Fate::Delivered => 0,
            Fate::Lost => 1,
            Fate::Cut => 2,
            Fate::Down => 3,
            Fate::Unreachable => 4,
            Fate::BufferFull => 5,
            Fate::QueueFull => 6,
            Fate::TooBig => 7,
        };
        let receiver = record.receiver.map_or(u64::MAX >> 32, NodeId::as_u64);
        self.0 = mix(self.0 ^ record.at.as_nanos(), K1 ^ (record.sender.as_u64() << 32 | receiver));
        let how = u64::from(record.to.port()) << 16 | fate << 1 | u64::from(record.corrupted);
        self.0 = mix(self.0 ^ digest, K2 ^ how);
    }
}

/// A hash of `bytes`, the same on every machine: folded 128-bit products, two lanes of 16 bytes per step. About 0.06 ns
/// per byte, so that a trace costs little beside the copy of the datagram.
pub(crate) fn digest(bytes: &[u8]) -> u64 {
    let (blocks, rest) = bytes.as_chunks::<32>();
    // The length goes in by a product of its own: it must not cancel out against the first word.
    let (mut left, mut right) = (mix(K0, K1 ^ bytes.len() as u64), K1);
    for block in blocks {
        let [a, b, c, d] = words(block);
        left = mix(left ^ a, K1 ^ b);
        right = mix(right ^ c, K2 ^ d);
    }
    let mut last = [0; 32];
    last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    let [a, b, c, d] = words(&last);
    mix(mix(left ^ a, K1 ^ b), mix(right ^ c, K2 ^ d))
}

fn words(block: &[u8; 32]) -> [u64; 4] {
    let (words, _) = block.as_chunks::<8>();
    let mut out = [0; 4];
    out.iter_mut().zip(words).for_each(|(to, from)| *to = u64::from_le_bytes(*from));
    out
}

pub(crate) const fn mix(a: u64, b: u64) -> u64 {
    let high = (a as u128 * b as u128) >> 64;
    a.wrapping_mul(b) ^ (high as u64)
}

/// Odd, with about as many ones as zeros: the fractions of the square roots of 2, 3 and 5.
const K0: u64 = 0x6a09_e667_f3bc_c909;
const K1: u64 = 0xbb67_ae85_84ca_a73b;
const K2: u64 = 0x3c6e_f372_fe94_f82b;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_bit_and_the_length_change_the_digest() {
        for len in [0, 1, 7, 31, 32, 33, 64, 100, 1200] {
            let mut bytes = vec![0x5a; len];
            let mut seen = BTreeSet::from([digest(&bytes)]);
            for bit in 0..len * 8 {
                bytes[bit / 8] ^= 1 << (bit % 8);
                assert!(seen.insert(digest(&bytes)), "bit {bit} of {len} bytes");
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
            bytes.push(0);
            assert!(seen.insert(digest(&bytes)));
        }
    }

    #[test]
    fn recorded_digests_hold() {
        let bytes: Vec<u8> = (0..100).collect();
        let recorded = [3_791_021_540_156_259_685, 17_966_354_900_551_060_945, 4_441_917_867_315_710_751];
        assert_eq!([digest(b""), digest(b"glue"), digest(&bytes)], recorded);
    }
}
