//! What one peer's acks and silences mean: losses, probes, timers (RFC 9002).

use std::time::Duration;

use glue_net::{Instant, Payload};

use crate::config::Config;
use crate::frame::AckRanges;
use crate::native::Native;
use crate::outbox::SWEEP_INTERVAL;

impl<P: Payload> Native<P> {
    pub(crate) fn handle_ack(&mut self, now: Instant, config: &Config, delay: Duration, ranges: &AckRanges) {
        let Some(highest) = ranges.first().map(|range| *range.end()) else { return };
        if !self.flight.was_sent(highest) {
            self.stats.malformed_frames += 1;
            return;
        }
        if self.probes >= PERSISTENT_PROBES {
            self.congestion.restart(now);
        }
        let newest = self.flight.get(highest).map(|packet| packet.stamp);
        if let Some(stamp) = newest {
            self.rtt.sample(now.since(stamp.sent_at), delay);
        }
        let (outbox, mtu, congestion, mut bytes) = (&mut self.outbox, &mut self.mtu, &mut self.congestion, 0);
        for range in ranges {
            self.flight.acknowledge(range, |_, packet| {
                packet.numbers().for_each(|number| outbox.acknowledge(number));
                bytes += packet.bytes as u64;
                match packet.mtu_probe {
                    true => mtu.handle_probe_acked(now, packet.stamp.sent_at),
                    false => mtu.handle_acked(packet.bytes),
                }
            });
            self.flight.take_found(now, self.rtt.loss_delay(), range, |packet| {
                packet.numbers().for_each(|number| outbox.acknowledge(number));
                if !packet.mtu_probe {
                    mtu.handle_acked(packet.bytes);
                    congestion.handle_spurious_loss(packet.stamp.sent_at);
                }
            });
        }
        if let Some(stamp) = newest {
            congestion.handle_acks(now, bytes, &stamp, self.rtt.path(), self.flight.bytes());
        }
        self.probes = 0;
        self.detect_losses(now);
        self.arm_probe(config);
    }

    fn detect_losses(&mut self, now: Instant) {
        let black_holes = self.stats.black_holes;
        let (outbox, stats, inbox, mtu) = (&mut self.outbox, &mut self.stats, &mut self.inbox, &mut self.mtu);
        let (mut bytes, mut count, mut last) = (0, 0, None);
        self.loss_at = self.flight.take_lost(now, self.rtt.loss_delay(), |packet| {
            // It says something of its length and nothing of congestion.
            if packet.mtu_probe {
                return mtu.handle_probe_lost(now, packet.stamp.sent_at);
            }
            (bytes, count, last) = (bytes + packet.bytes as u64, count + 1, Some(packet.stamp.sent_at));
            stats.black_holes += u64::from(mtu.handle_lost(now, packet.bytes, packet.stamp.sent_at));
            packet.numbers().for_each(|number| _ = outbox.lose(number));
            if packet.credit {
                inbox.renew_credit();
            }
        });
        if let Some(sent_at) = last {
            stats.packets_lost += u64::from(count);
            self.congestion.handle_loss(now, bytes, count, sent_at);
        }
        self.congestion.set_datagram_bytes(self.mtu.datagram_bytes() as u64);
        // Another path: and what vanished on it would be taken for a low rate.
        if self.stats.black_holes > black_holes {
            self.congestion.restart(now);
        }
    }

    pub(crate) fn arm_probe(&mut self, config: &Config) {
        let wait = self.rtt.probe_timeout(config.max_ack_delay) * 2u32.saturating_pow(self.probes);
        let at = self.last_eliciting + wait.min(config.max_probe_interval);
        self.probe_at = self.flight.is_eliciting().then_some(at);
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant, config: &Config) {
        if self.loss_at.is_some_and(|at| at <= now) {
            self.detect_losses(now);
        }
        if self.probe_at.is_some_and(|at| at <= now) {
            self.probe(now, config);
        }
        if self.sweep_at.is_some_and(|at| at <= now) {
            self.outbox.sweep(now);
            self.flight.give_room_back();
            self.sweep_at = self.outbox.needs_sweep().then_some(now + SWEEP_INTERVAL);
        }
    }

    /// Whether a probe may be longer than the path takes. Then a ping has its place beside it, whose answer tells such a path
    /// from one that takes nothing.
    fn is_probe_long(&self) -> bool {
        let mut oldest = self.flight.oldest().take(usize::from(PROBE_PACKETS));
        let is_long = self.outbox.has_resends() || oldest.any(|packet| self.mtu.is_above_base(packet.bytes));
        is_long && self.mtu.is_above_base(self.mtu.datagram_bytes())
    }

    /// Sends what waits longest for its ack again, without declaring it lost (RFC 9002, section 6.2.4).
    fn probe(&mut self, now: Instant, config: &Config) {
        self.probes = self.probes.saturating_add(1);
        self.probes_due = PROBE_PACKETS;
        if self.may_be_forgotten() {
            self.session.remind(now);
        }
        let (is_long, most) = (self.is_probe_long(), self.mtu.datagram_bytes());
        let outbox = &mut self.outbox;
        let mut credit = false;
        for packet in self.flight.oldest().take(if is_long { 1 } else { usize::from(PROBE_PACKETS) }) {
            credit |= packet.credit;
            // What would be cut, or has expired, may have arrived whole: it waits until it is known to be lost.
            for number in packet.numbers().filter(|_| packet.bytes <= most) {
                if !outbox.is_due(number, now) {
                    outbox.lose(number);
                }
            }
        }
        if credit {
            self.inbox.renew_credit();
        }
        self.ping_due = is_long || !self.outbox.has_resends();
        self.last_eliciting = now;
        self.arm_probe(config);
    }
}

/// Datagrams that a probe may send (RFC 9002, section 6.2.4).
const PROBE_PACKETS: u8 = 2;
/// Probes without an answer after which the path counts as another one.
const PERSISTENT_PROBES: u32 = 3;
