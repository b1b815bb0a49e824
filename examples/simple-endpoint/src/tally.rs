//! Counts what a subscriber gets. Duplicates and disorder are found by the numbers that the publisher wrote into the
//! payloads, so that glue is not trusted to count its own mistakes.

use std::collections::BTreeMap;

use glue_endpoint::{EndpointId, WallTime};
use serde::{Deserialize, Serialize};

/// What came, and what is wrong with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    /// Messages, duplicates included.
    pub(crate) received: u64,
    /// Messages that the subscription said are missing.
    pub(crate) lost: u64,
    /// Messages that came before.
    pub(crate) duplicates: u64,
    /// Messages that came after a later one.
    pub(crate) out_of_order: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) counts: Counts,
    publishers: BTreeMap<EndpointId, Publisher>,
}

/// What came from one publisher, in its present life.
#[derive(Debug)]
struct Publisher {
    /// Ranges of numbers that came: first and last.
    seen: BTreeMap<u64, u64>,
    highest: u64,
    newest: WallTime,
    /// It may have begun anew.
    came_back: bool,
}

impl Tally {
    /// Counts a message. Without a number it can be neither a duplicate nor out of order.
    pub(crate) fn message(&mut self, from: EndpointId, timestamp: WallTime, number: Option<u64>) {
        self.counts.received += 1;
        let Some(number) = number else { return };
        let publisher = self.publishers.entry(from).or_insert_with(|| Publisher::new(timestamp));
        if publisher.has_begun_anew(number, timestamp) {
            *publisher = Publisher::new(timestamp);
        }
        publisher.newest = publisher.newest.max(timestamp);
        if !publisher.insert(number) {
            self.counts.duplicates += 1;
        } else if number < publisher.highest {
            self.counts.out_of_order += 1;
        }
        publisher.highest = publisher.highest.max(number);
    }

    /// Counts messages that the subscription said are missing.
    pub(crate) const fn gap(&mut self, count: u64) {
        self.counts.lost += count;
    }

    /// A peer is there, perhaps again: if it was started anew, it counts anew.
    pub(crate) fn peer_up(&mut self, id: EndpointId) {
        if let Some(publisher) = self.publishers.get_mut(&id) {
            publisher.came_back = true;
        }
    }
}

impl Publisher {
    const fn new(timestamp: WallTime) -> Self {
        Self { seen: BTreeMap::new(), highest: 0, newest: timestamp, came_back: false }
    }

    /// Messages of the life before may still wait in our queue when the peer is seen to be back, and after a mere
    /// interruption the same life goes on. So only a number that steps back tells, in a message that is newer than all:
    /// one that came twice, or late, is not.
    fn has_begun_anew(&self, number: u64, timestamp: WallTime) -> bool {
        self.came_back && number <= self.highest && timestamp > self.newest
    }

    /// Notes that `number` came; false if it came before.
    fn insert(&mut self, number: u64) -> bool {
        let before = self.seen.range(..=number).next_back().map(|(from, to)| (*from, *to));
        if before.is_some_and(|(_, to)| number <= to) {
            return false;
        }
        let from = match before {
            Some((from, to)) if number == to + 1 => from,
            _ => number,
        };
        let joined = number.checked_add(1).and_then(|next| self.seen.remove(&next));
        self.seen.insert(from, joined.unwrap_or(number));
        if self.seen.len() > MAX_RANGES {
            self.fill_lowest_hole();
        }
        true
    }

    fn fill_lowest_hole(&mut self) {
        if let (Some((from, _)), Some((_, to))) = (self.seen.pop_first(), self.seen.pop_first()) {
            self.seen.insert(from, to);
        }
    }
}

/// Holes remembered of one publisher. If there are more, what comes late into the lowest counts as a duplicate.
const MAX_RANGES: usize = 4_096;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn id(n: i64) -> EndpointId {
        EndpointId::from_integer(n)
    }

    fn at(n: i64) -> WallTime {
        WallTime::from_unix_nanos(n)
    }

    fn counts(received: u64, duplicates: u64, out_of_order: u64) -> Counts {
        Counts { received, lost: 0, duplicates, out_of_order }
    }

    /// Numbers of one publisher; each message has its number as its time.
    fn count(numbers: &[u64]) -> Counts {
        let mut tally = Tally::default();
        for n in numbers {
            tally.message(id(1), at(i64::try_from(*n).unwrap_or(i64::MAX)), Some(*n));
        }
        tally.counts
    }

    #[test]
    fn in_order_nothing_is_wrong() {
        assert_eq!(count(&[0, 1, 2, 3]), counts(4, 0, 0));
        assert_eq!(count(&[7, 8, 20, 21, 500]), counts(5, 0, 0));
    }

    #[test]
    fn what_comes_twice_is_a_duplicate_and_nothing_else() {
        assert_eq!(count(&[0, 1, 1, 2, 0, 2]), counts(6, 3, 0));
    }

    #[test]
    fn what_comes_late_is_out_of_order() {
        assert_eq!(count(&[0, 2, 1, 3]), counts(4, 0, 1));
        assert_eq!(count(&[5, 4, 3, 3]), counts(4, 1, 2));
    }

    #[test]
    fn the_largest_number_is_one_like_others() {
        assert_eq!(count(&[u64::MAX, u64::MAX, u64::MAX - 1]), counts(3, 1, 1));
    }

    #[test]
    fn publishers_do_not_mix() {
        let mut tally = Tally::default();
        for n in 0..10 {
            tally.message(id(1), at(n), Some(n.unsigned_abs()));
            tally.message(id(2), at(n), Some(n.unsigned_abs()));
        }
        assert_eq!(tally.counts, counts(20, 0, 0));
    }

    #[test]
    fn messages_without_a_number_are_only_counted() {
        let mut tally = Tally::default();
        tally.message(id(1), at(0), None);
        tally.message(id(1), at(0), None);
        assert_eq!(tally.counts, counts(2, 0, 0));
    }

    #[test]
    fn a_publisher_that_is_started_again_counts_anew() {
        let mut tally = Tally::default();
        (0..5).for_each(|n| tally.message(id(1), at(n), Some(n.unsigned_abs())));
        tally.peer_up(id(1));
        // These two still waited.
        (5..7).for_each(|n| tally.message(id(1), at(n), Some(n.unsigned_abs())));
        (0..9).for_each(|n| tally.message(id(1), at(100 + n), Some(n.unsigned_abs())));
        assert_eq!(tally.counts, counts(16, 0, 0));
    }

    #[test]
    fn a_peer_that_was_out_of_reach_does_not_count_anew() {
        let mut tally = Tally::default();
        (0..5).for_each(|n| tally.message(id(1), at(n), Some(n.unsigned_abs())));
        tally.peer_up(id(1));
        tally.message(id(1), at(4), Some(4));
        tally.message(id(1), at(2), Some(2));
        assert_eq!(tally.counts, counts(7, 2, 0));
    }

    #[test]
    fn gaps_are_added_up() {
        let mut tally = Tally::default();
        tally.gap(3);
        tally.gap(4);
        assert_eq!(tally.counts.lost, 7);
    }

    #[test]
    fn ranges_agree_with_a_set() {
        let (mut publisher, mut set) = (Publisher::new(at(0)), BTreeSet::new());
        // A full cycle modulo 257, three times over a smaller range, so that numbers meet in every way.
        for n in 0..771_u64 {
            let number = n * 91 % 257 % 200;
            assert_eq!(publisher.insert(number), set.insert(number), "{number}");
        }
        assert_eq!(publisher.seen, BTreeMap::from([(0, 199)]));
    }

    #[test]
    fn holes_are_remembered_up_to_a_limit() {
        let mut publisher = Publisher::new(at(0));
        for n in 0..=MAX_RANGES as u64 {
            assert!(publisher.insert(2 * n));
        }
        assert_eq!(publisher.seen.len(), MAX_RANGES);
        assert!(!publisher.insert(1), "the lowest hole is filled");
        assert!(publisher.insert(3));
    }
}
