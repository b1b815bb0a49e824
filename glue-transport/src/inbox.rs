//! What arrives from one native peer: packets to acknowledge, payloads to pass on once, credit to give back.

use std::time::Duration;

use glue_net::Instant;

use crate::dedup::{Mark, Seen};
use crate::flight::PACKET_THRESHOLD;
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
    /// What arrives up to this number is acknowledged at once.
    eager_until: u64,
    /// The packet noted last is acknowledged at once.
    eager: bool,
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
            eager_until: 0,
            eager: false,
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
        if number > expected {
            self.eager_until = number + PACKET_THRESHOLD - 1;
        }
        self.eager = number < expected || number <= self.eager_until && self.eager_until > 0;
        true
    }

    /// The packet just noted asks for an ack, within `delay`: the sender says itself when it wants one sooner. What makes it
    /// find out that a packet is missing, or that it is not, is reported at once. (Not by packets that ask for none: two
    /// ends would answer each other's acks for ever.)
    pub(crate) fn want_ack(&mut self, now: Instant, delay: Duration) {
        self.unacked += 1;
        let at = if self.eager { now } else { now + delay };
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

#[cfg(test)]
mod tests {
    use super::*;

    const DELAY: Duration = Duration::from_millis(2);

    /// Takes packets that ask for an ack, one each microsecond; gives those that were acknowledged at once.
    fn acked_at_once(numbers: impl IntoIterator<Item = u64>) -> Vec<u64> {
        let (mut inbox, mut now, mut acked) = (Inbox::new(1 << 20, 0), Instant::from_nanos(1_000_000), Vec::new());
        for number in numbers {
            now = now + Duration::from_micros(1);
            assert!(inbox.handle_packet(now, number));
            inbox.want_ack(now, DELAY);
            if inbox.ack_at() == Some(now) {
                acked.push(number);
                assert!(inbox.put_ack(now, 100, &mut Vec::new()));
                assert!(!inbox.has_unacked());
            } else {
                assert!(inbox.ack_at().is_some_and(|at| at <= now + DELAY));
            }
        }
        acked
    }

    #[test]
    fn a_gap_is_reported_until_it_is_a_loss() {
        // Packet 10 is missing: after 11, 12 and 13 its sender knows. It comes late, and is told of at once.
        assert_eq!(acked_at_once((0..10).chain(11..20).chain([10, 20])), [11, 12, 13, 10]);
    }

    #[test]
    fn who_sends_more_than_it_may_and_than_is_tolerated_is_refused() {
        let mut inbox = Inbox::new(1 << 10, 0);
        let limit = inbox.limit();
        let most = usize::try_from(limit + OVERDRAFT).unwrap();
        for len in [most + 1, most + 1_000, usize::MAX / 2] {
            assert_eq!(inbox.handle_payload(0, len), Mark::TooFar);
        }
        assert_eq!((inbox.handle_payload(0, most), inbox.received()), (Mark::New, limit + OVERDRAFT));
        assert_eq!(inbox.handle_payload(1, 1), Mark::TooFar);
    }

    #[test]
    fn a_sender_that_waits_is_answered() {
        let (mut inbox, now) = (Inbox::new(1 << 20, 0), Instant::from_nanos(1_000_000));
        inbox.handle_packet(now, 0);
        inbox.want_ack(now, DELAY);
        assert_eq!(inbox.ack_at(), Some(now + DELAY));
        inbox.want_ack_now(now);
        assert_eq!(inbox.ack_at(), Some(now));
    }
}
