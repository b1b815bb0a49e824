//! What arrives from one native peer: packets to acknowledge, payloads to pass on once, credit to give back.

use std::time::Duration;

use glue_net::Instant;

use crate::dedup::{Mark, Seen};
use crate::frame;
use crate::ranges::Ranges;

/// The receiving side of a session.
#[derive(Debug)]
pub(crate) struct Inbox {
    packets: Ranges,
    seen: Seen,
    /// Packets that ask for an ack and were not yet covered by one.
    unacked: u32,
    highest_at: Instant,
    /// The packet noted last did not follow the one before.
    gap: bool,
    ack_at: Option<Instant>,
    /// Bytes of payload that arrived in all.
    received: u64,
    /// Bytes of it that the application has not taken yet.
    held: u64,
    /// Bytes that the peer was told it may send in all.
    limit: u64,
    window: u64,
    credit_due: bool,
}

impl Inbox {
    pub(crate) fn new(limit: u64, window: u64) -> Self {
        Self {
            packets: Ranges::default(),
            seen: Seen::default(),
            unacked: 0,
            highest_at: Instant::ZERO,
            gap: false,
            ack_at: None,
            received: 0,
            held: 0,
            limit: limit.min(window),
            window,
            credit_due: false,
        }
    }

    /// Notes a packet; false if it was there.
    pub(crate) fn handle_packet(&mut self, now: Instant, number: u64) -> bool {
        let expected = self.packets.highest().map_or(0, |highest| highest + 1);
        if !self.packets.insert(number) {
            return false;
        }
        if number >= expected {
            self.highest_at = now;
        }
        self.gap = number != expected;
        true
    }

    /// The packet just noted asks for an ack, within `delay`: the sender says itself when it wants one sooner. A gap is
    /// reported at once, so that what is missing is sent again at once. (Not by packets that ask for none: two ends would
    /// answer each other's acks for ever.)
    pub(crate) fn want_ack(&mut self, now: Instant, delay: Duration) {
        self.unacked += 1;
        let at = if self.gap { now } else { now + delay };
        self.ack_at = Some(self.ack_at.map_or(at, |due| due.min(at)));
    }

    /// The sender waits for the ack.
    pub(crate) const fn want_ack_now(&mut self, now: Instant) {
        self.ack_at = Some(now);
    }

    /// Notes a payload of `len` bytes.
    pub(crate) fn handle_payload(&mut self, number: u64, len: usize) -> Mark {
        if self.received + len as u64 > self.limit + OVERDRAFT {
            return Mark::TooFar;
        }
        let mark = self.seen.mark(number);
        if mark == Mark::New {
            self.received += len as u64;
        }
        mark
    }

    /// Bytes of payload that arrived in all.
    pub(crate) const fn received(&self) -> u64 {
        self.received
    }

    /// Credit that was given and is not used.
    pub(crate) const fn promised(&self) -> u64 {
        self.limit.saturating_sub(self.received)
    }

    /// The layers above hold `bytes` of what arrived, and may hold `window`.
    pub(crate) fn set_held(&mut self, bytes: u64, window: u64) {
        (self.held, self.window) = (bytes, window);
        let room = self.next_limit() - self.limit;
        self.credit_due |= room >= self.window / CREDIT_SHARE;
    }

    pub(crate) const fn renew_credit(&mut self) {
        self.credit_due = true;
    }

    pub(crate) const fn credit_is_due(&self) -> bool {
        self.credit_due
    }

    /// The credit to announce now.
    pub(crate) fn take_credit(&mut self) -> u64 {
        self.credit_due = false;
        self.limit = self.next_limit();
        self.limit
    }

    /// The credit as announced.
    pub(crate) const fn limit(&self) -> u64 {
        self.limit
    }

    pub(crate) const fn ack_at(&self) -> Option<Instant> {
        self.ack_at
    }

    /// Whether a datagram that leaves anyway should carry an ack.
    pub(crate) const fn has_unacked(&self) -> bool {
        self.unacked > 0 || self.ack_at.is_some()
    }

    /// Appends an ack of at most `room` bytes.
    pub(crate) fn put_ack(&mut self, now: Instant, room: usize, out: &mut Vec<u8>) -> bool {
        let written = frame::put_ack(now.since(self.highest_at), self.packets.iter(), room, out);
        if written {
            (self.unacked, self.ack_at) = (0, None);
        }
        written
    }

    fn next_limit(&self) -> u64 {
        // What is held beyond the window gives no credit, however much has arrived beyond the limit.
        (self.received + self.window).saturating_sub(self.held).max(self.limit)
    }
}

/// Urgent payloads may exceed the credit by this, so that control passes when the application takes nothing.
pub(crate) const OVERDRAFT: u64 = 256 << 10;

/// Credit is announced when an eighth of the window became free: of the least window (80 KiB) the largest datagram is then
/// always left, or a peer that sends such ones might wait for ever.
const CREDIT_SHARE: u64 = 8;
