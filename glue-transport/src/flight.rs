//! Packets under way, by packet number, and which of them are lost (RFC 9002, section 6.1).

use std::collections::VecDeque;
use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use glue_net::Instant;

use crate::congestion::Stamp;
use crate::weight::weight;

/// A packet that was sent.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    /// Its length; 0 if it asks for no ack.
    pub(crate) bytes: usize,
    /// The payload numbers that it carried for the first time.
    pub(crate) fresh: Range<u64>,
    /// The payload numbers that it carried again.
    pub(crate) resent: Vec<u64>,
    /// Whether it carried credit.
    pub(crate) credit: bool,
    /// Whether it only tried its length.
    pub(crate) mtu_probe: bool,
    /// When it was sent, and what the congestion controller noted.
    pub(crate) stamp: Stamp,
    /// Neither acknowledged nor lost.
    open: bool,
}

impl Packet {
    pub(crate) const fn new(bytes: usize, fresh: Range<u64>, resent: Vec<u64>, stamp: Stamp) -> Self {
        Self { bytes, fresh, resent, credit: false, mtu_probe: false, stamp, open: true }
    }

    /// All the payload numbers that it carried.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = u64> + use<'_> {
        self.fresh.clone().chain(self.resent.iter().copied())
    }

    const fn is_eliciting(&self) -> bool {
        self.bytes > 0
    }

    /// What it weighs in the receiver's socket buffer.
    const fn weight(&self) -> u64 {
        if self.is_eliciting() { weight(self.bytes) } else { 0 }
    }
}

/// The packets that were sent and not yet settled.
#[derive(Debug, Default)]
pub(crate) struct Flight {
    /// Number of the front packet.
    first: u64,
    packets: VecDeque<Packet>,
    /// Sum of the open packets' weights and lengths.
    weight: u64,
    bytes: u64,
    /// Open packets that ask for an ack.
    eliciting: usize,
    highest_acked: Option<u64>,
}

impl Flight {
    /// Packets that may be acknowledged after a later one before they count as lost (RFC 9002, section 6.1.1).
    const REORDERING: u64 = 3;

    /// The number of the next packet.
    pub(crate) fn next(&self) -> u64 {
        self.first + self.packets.len() as u64
    }

    /// Adds the packet that was sent as [`Flight::next`].
    pub(crate) fn push(&mut self, packet: Packet) {
        self.weight += packet.weight();
        self.bytes += packet.bytes as u64;
        self.eliciting += usize::from(packet.is_eliciting());
        self.packets.push_back(packet);
    }

    /// Bytes under way.
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Weight of what is under way.
    pub(crate) const fn weight(&self) -> u64 {
        self.weight
    }

    /// Whether an ack is to be expected.
    pub(crate) const fn is_eliciting(&self) -> bool {
        self.eliciting > 0
    }

    /// Whether `number` was ever sent.
    pub(crate) fn was_sent(&self, number: u64) -> bool {
        number < self.next()
    }

    /// Settles the packets in `range` as arrived, and hands each to `each`.
    pub(crate) fn acknowledge(&mut self, range: &RangeInclusive<u64>, mut each: impl FnMut(u64, &Packet)) {
        self.highest_acked = self.highest_acked.max(Some(*range.end()));
        let start = range.start().saturating_sub(self.first);
        let end = (range.end() + 1).saturating_sub(self.first);
        let (Ok(start), Ok(end)) = (usize::try_from(start), usize::try_from(end)) else { return };
        let end = end.min(self.packets.len());
        if start >= end {
            return;
        }
        let first = self.first;
        for (offset, packet) in self.packets.range_mut(start..end).enumerate() {
            if std::mem::take(&mut packet.open) {
                self.weight -= packet.weight();
                self.bytes -= packet.bytes as u64;
                self.eliciting -= usize::from(packet.is_eliciting());
                each(first + (start + offset) as u64, packet);
            }
        }
        self.forget_settled();
    }

    /// Settles as lost what was sent [`Flight::REORDERING`] packets or `delay` before a packet that arrived, and hands
    /// each to `each`. Returns when the next one will count as lost.
    pub(crate) fn take_lost(
        &mut self,
        now: Instant,
        delay: Duration,
        mut each: impl FnMut(&Packet),
    ) -> Option<Instant> {
        let highest = self.highest_acked?;
        let mut next_loss = None;
        for (number, packet) in (self.first..highest).zip(self.packets.iter_mut()) {
            if !packet.open {
                continue;
            }
            let due = packet.stamp.sent_at + delay;
            if number + Self::REORDERING > highest && due > now {
                next_loss = Some(due);
                break;
            }
            packet.open = false;
            self.weight -= packet.weight();
            self.bytes -= packet.bytes as u64;
            self.eliciting -= usize::from(packet.is_eliciting());
            if packet.is_eliciting() {
                each(packet);
            }
        }
        self.forget_settled();
        next_loss
    }

    /// The oldest packet that waits for an ack.
    pub(crate) fn oldest(&self) -> Option<&Packet> {
        self.packets.iter().find(|packet| packet.open && packet.is_eliciting())
    }

    /// An open packet, by number.
    pub(crate) fn get(&self, number: u64) -> Option<&Packet> {
        let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.packets.get(index).filter(|packet| packet.open)
    }

    fn forget_settled(&mut self) {
        // A packet that asks for no ack is settled by anything later that arrived, or it would stay for ever.
        while self
            .packets
            .front()
            .is_some_and(|p| !p.open || (!p.is_eliciting() && self.highest_acked > Some(self.first)))
        {
            self.packets.pop_front();
            self.first += 1;
        }
        // With nothing under way there is nothing to wait for, whatever was acknowledged.
        if self.eliciting == 0 {
            self.first += self.packets.len() as u64;
            self.packets.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flight(count: u64) -> Flight {
        let mut flight = Flight::default();
        for n in 0..count {
            let stamp = Stamp::at(Instant::from_nanos(n * 1_000_000));
            flight.push(Packet::new(100, n..n + 1, Vec::new(), stamp));
        }
        flight
    }

    fn lost(flight: &mut Flight, now_ms: u64) -> (Vec<u64>, Option<Instant>) {
        let mut numbers = Vec::new();
        let next = flight.take_lost(Instant::from_nanos(now_ms * 1_000_000), Duration::from_millis(9), |p| {
            numbers.extend(p.numbers());
        });
        (numbers, next)
    }

    #[test]
    fn three_later_packets_make_a_loss() {
        let mut flight = flight(10);
        flight.acknowledge(&(5..=6), |_, _| ());
        assert_eq!(lost(&mut flight, 8), (vec![0, 1, 2, 3], Some(Instant::from_nanos(13_000_000))));
        assert_eq!((flight.bytes(), flight.weight()), (400, 4 * 768));
        assert_eq!(lost(&mut flight, 13).0, vec![4]);
    }

    #[test]
    fn an_ack_counts_once_and_lost_packets_stay_lost() {
        let mut flight = flight(10);
        let mut acked = Vec::new();
        flight.acknowledge(&(9..=9), |n, _| acked.push(n));
        assert_eq!(lost(&mut flight, 9).0.len(), 7);
        flight.acknowledge(&(0..=9), |n, _| acked.push(n));
        assert_eq!(acked, vec![9, 7, 8]);
        assert_eq!((flight.weight(), flight.is_eliciting(), flight.next()), (0, false, 10));
    }

    #[test]
    fn packets_without_acks_do_not_pile_up() {
        let mut flight = flight(1);
        for n in 1..1_000 {
            flight.push(Packet::new(0, 0..0, Vec::new(), Stamp::at(Instant::from_nanos(n))));
        }
        flight.acknowledge(&(0..=0), |_, _| ());
        assert_eq!((flight.packets.len(), flight.next()), (0, 1_000));
    }
}
