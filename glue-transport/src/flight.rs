//! Packets under way, by packet number, and which of them are lost (RFC 9002, section 6.1).

use std::collections::VecDeque;
use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use glue_net::Instant;

use crate::congestion::Stamp;
use crate::room;
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

    /// Leaves an empty one.
    fn take(&mut self) -> Self {
        let rest = Self::new(0, self.fresh.end..self.fresh.end, Vec::new(), self.stamp);
        std::mem::replace(self, Self { open: false, ..rest })
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
    /// Packets that counted as lost in the last while, by number: they may arrive yet.
    lost: VecDeque<(u64, Packet)>,
    reordering: Reordering,
}

/// How far packets overtake each other here.
#[derive(Clone, Copy, Debug)]
struct Reordering {
    /// Packets that may be acknowledged after a later one before they count as lost (RFC 9002, section 6.1.1), and
    /// how long beyond the time for it (section 6.1.2).
    packets: u64,
    time: Duration,
    /// When a packet arrived last that had counted as lost.
    seen_at: Instant,
}

impl Default for Reordering {
    fn default() -> Self {
        Self { packets: PACKET_THRESHOLD, time: Duration::ZERO, seen_at: Instant::ZERO }
    }
}

impl Flight {
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
        self.forget_all_if_none_is_awaited();
    }

    /// Gives some of the memory back that a burst has left.
    pub(crate) fn give_room_back(&mut self) {
        room::give_back(&mut self.packets);
        room::give_back(&mut self.lost);
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

    /// Settles as lost what was sent some packets or `delay` before a packet that arrived, and hands each to `each`.
    /// Returns when the next one will count as lost.
    pub(crate) fn take_lost(
        &mut self,
        now: Instant,
        delay: Duration,
        mut each: impl FnMut(&Packet),
    ) -> Option<Instant> {
        let highest = self.highest_acked?;
        if now.since(self.reordering.seen_at) > REORDERING_LIFE {
            self.reordering = Reordering::default();
        }
        let Reordering { packets, time, .. } = self.reordering;
        let mut next_loss = None;
        for (number, packet) in (self.first..highest).zip(self.packets.iter_mut()) {
            if !packet.open {
                continue;
            }
            let due = packet.stamp.sent_at + delay + time;
            if number + packets > highest && due > now {
                next_loss = Some(due);
                break;
            }
            packet.open = false;
            self.weight -= packet.weight();
            self.bytes -= packet.bytes as u64;
            self.eliciting -= usize::from(packet.is_eliciting());
            if packet.is_eliciting() {
                each(packet);
                self.lost.push_back((number, packet.take()));
            }
        }
        if self.lost.len() > MAX_LOST {
            self.lost.drain(..self.lost.len() - MAX_LOST);
        }
        self.forget_settled();
        next_loss
    }

    /// Hands packets in `range` that had counted as lost to `each`. They were only late: from now on packets have more
    /// time, as in RACK (RFC 8985), but no more than double.
    pub(crate) fn take_found(
        &mut self,
        now: Instant,
        delay: Duration,
        range: &RangeInclusive<u64>,
        mut each: impl FnMut(&Packet),
    ) {
        let start = self.lost.partition_point(|(number, _)| number < range.start());
        while let Some((number, packet)) = self.lost.get(start).filter(|(number, _)| range.contains(number)) {
            let late = now.since(packet.stamp.sent_at + delay).min(delay);
            let behind = self.highest_acked.map_or(0, |highest| highest.saturating_sub(*number) + 1);
            let Reordering { packets, time, .. } = self.reordering;
            self.reordering = Reordering { packets: packets.max(behind), time: time.max(late), seen_at: now };
            each(packet);
            self.lost.remove(start);
        }
    }

    /// The packets that wait for an ack, oldest first.
    pub(crate) fn oldest(&self) -> impl Iterator<Item = &Packet> {
        self.packets.iter().filter(|packet| packet.open && packet.is_eliciting())
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
        self.forget_all_if_none_is_awaited();
    }

    /// With nothing under way that asks for an ack there is nothing to wait for, whatever was acknowledged. Who only receives sends
    /// nothing but acks, which none follows.
    fn forget_all_if_none_is_awaited(&mut self) {
        if self.eliciting == 0 {
            self.first += self.packets.len() as u64;
            self.packets.clear();
        }
    }
}

/// RFC 9002, section 6.1.1.
pub(crate) const PACKET_THRESHOLD: u64 = 3;
/// For how long it counts that packets were overtaken.
const REORDERING_LIFE: Duration = Duration::from_secs(10);
/// Lost packets that are remembered: some round trips of them at 1 Gbit/s and a third lost.
const MAX_LOST: usize = 512;

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

    const fn at_ms(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
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
        // Nor when no ack comes, as none is asked for.
        for n in 1_000..2_000 {
            flight.push(Packet::new(0, 0..0, Vec::new(), Stamp::at(Instant::from_nanos(n))));
        }
        assert_eq!((flight.packets.len(), flight.next()), (0, 2_000));
    }

    #[test]
    fn what_is_acknowledged_is_forgotten_though_later_packets_wait() {
        let mut flight = flight(10);
        flight.acknowledge(&(0..=6), |_, _| ());
        assert_eq!((flight.packets.len(), flight.first, flight.oldest().count()), (3, 7, 3));
    }

    #[test]
    fn what_asks_for_no_ack_is_settled_by_what_is_after_it_and_not_before() {
        let mut flight = flight(1);
        let stamp = Stamp::at(Instant::ZERO);
        flight.push(Packet::new(0, 0..0, Vec::new(), stamp));
        (2..4).for_each(|n| flight.push(Packet::new(100, n..n + 1, Vec::new(), stamp)));
        flight.acknowledge(&(0..=0), |_, _| ());
        assert_eq!((flight.first, flight.packets.len()), (1, 3));
        flight.acknowledge(&(2..=2), |_, _| ());
        assert_eq!((flight.first, flight.packets.len()), (3, 1));
    }

    #[test]
    fn a_packet_that_was_only_late_gives_the_next_ones_more_time() {
        let (mut flight, delay) = (flight(40), Duration::from_millis(9));
        flight.acknowledge(&(6..=10), |_, _| ());
        assert_eq!(lost(&mut flight, 10).0, vec![0, 1, 2, 3, 4, 5]);
        let mut found = Vec::new();
        flight.take_found(at_ms(12), delay, &(1..=2), |packet| found.extend(packet.numbers()));
        assert_eq!(found, vec![1, 2]);
        // Packet 1 was 9 behind the newest, and came 2 ms after it should have been there.
        flight.acknowledge(&(21..=21), |_, _| ());
        assert_eq!(lost(&mut flight, 20), (vec![11], Some(at_ms(23))));
        // After a while without it all is as before.
        assert_eq!(lost(&mut flight, 10_013).0, (12..=20).collect::<Vec<_>>());
        flight.acknowledge(&(26..=26), |_, _| ());
        assert_eq!(lost(&mut flight, 10_014).0, vec![22, 23, 24, 25]);
        assert_eq!(flight.reordering.packets, PACKET_THRESHOLD);
    }

    #[test]
    fn only_some_lost_packets_are_remembered() {
        let mut flight = flight(2_000);
        flight.acknowledge(&(1_999..=1_999), |_, _| ());
        assert_eq!(lost(&mut flight, 5_000).0.len(), 1_999);
        assert_eq!(flight.lost.len(), MAX_LOST);
        let mut found = 0;
        flight.take_found(at_ms(5_000), Duration::from_millis(9), &(0..=1_998), |_| found += 1);
        assert_eq!((found, flight.lost.len()), (MAX_LOST, 0));
    }
}
