//! Puts numbered pieces in order. A piece covers a range of numbers; pieces that come early are held.

use std::collections::BTreeMap;

use crate::few::give_back_room;

/// Order over pieces `T`. Held pieces never overlap, and begin at or after the next number.
#[derive(Debug)]
pub(crate) struct Sequencer<T> {
    next: Option<u64>,
    held: BTreeMap<u64, Held<T>>,
}

/// A piece and the numbers that it covers.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Held<T> {
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) piece: T,
}

impl<T> Sequencer<T> {
    /// Begins at `next`; `None`: it is not known yet where.
    pub(crate) const fn new(next: Option<u64>) -> Self {
        Self { next, held: BTreeMap::new() }
    }

    /// The number that is waited for.
    pub(crate) const fn next(&self) -> Option<u64> {
        self.next
    }

    /// Whether nothing is held.
    pub(crate) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// The first number that is held.
    pub(crate) fn first_held(&self) -> Option<u64> {
        self.held.first_key_value().map(|(first, _)| *first)
    }

    /// Moves past `last` at once, if what begins at `first` is next and nothing is held: the common case, in which a
    /// piece need not be stored.
    pub(crate) fn pass(&mut self, first: u64, last: u64) -> bool {
        let passes = self.next == Some(first) && self.held.is_empty();
        if passes {
            self.next = Some(last + 1);
        }
        passes
    }

    /// Holds a piece; `Err` gives it back if (a part of) what it covers was passed or is held already.
    pub(crate) fn hold(&mut self, first: u64, last: u64, piece: T) -> Result<(), T> {
        let passed = self.next.is_some_and(|next| first < next);
        let overlaps = self.held.range(..=last).next_back().is_some_and(|(_, before)| before.last >= first);
        if passed || overlaps {
            return Err(piece);
        }
        self.held.insert(first, Held { first, last, piece });
        Ok(())
    }

    /// Holds pieces for those numbers from `first` to `last` that are neither passed nor held, and returns how many
    /// pieces. What is held stays: it holds more than the notice that it was given up.
    pub(crate) fn fill(&mut self, first: u64, last: u64, mut piece: impl FnMut() -> T) -> usize {
        let mut at = first.max(self.next.unwrap_or(first));
        if let Some((_, before)) = self.held.range(..=at).next_back() {
            at = at.max(before.last.saturating_add(1));
        }
        let mut holes = Vec::new();
        if at <= last {
            for (next, held) in self.held.range(at..=last) {
                if at < *next {
                    holes.push((at, *next - 1));
                }
                at = held.last.saturating_add(1);
            }
        }
        if at <= last {
            holes.push((at, last));
        }
        let count = holes.len();
        for (first, last) in holes {
            self.held.insert(first, Held { first, last, piece: piece() });
        }
        count
    }

    /// Takes the held piece that is next.
    pub(crate) fn pop(&mut self) -> Option<Held<T>> {
        let entry = self.held.first_entry().filter(|entry| Some(*entry.key()) == self.next)?;
        let held = entry.remove();
        self.next = Some(held.last + 1);
        Some(held)
    }

    /// Goes on at `at`, and gives back what was held below it.
    pub(crate) fn restart(&mut self, at: u64) -> impl Iterator<Item = Held<T>> + use<T> {
        self.next = Some(at);
        let above = self.held.split_off(&at);
        std::mem::replace(&mut self.held, above).into_values()
    }

    /// Gives back the room of what was held, if nothing is.
    pub(crate) fn give_back_room(&mut self) {
        give_back_room(&mut self.held);
    }

    /// Forgets where it is, and waits for a restart. What is held stays.
    pub(crate) const fn stop(&mut self) {
        self.next = None;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn drained(sequencer: &mut Sequencer<char>) -> Vec<(u64, u64, char)> {
        std::iter::from_fn(|| sequencer.pop().map(|held| (held.first, held.last, held.piece))).collect()
    }

    #[test]
    fn early_pieces_wait_for_their_turn() {
        let mut sequencer = Sequencer::new(Some(1));
        assert_eq!(sequencer.hold(4, 5, 'b'), Ok(()));
        assert_eq!(drained(&mut sequencer), []);
        assert_eq!(sequencer.hold(1, 3, 'a'), Ok(()));
        assert_eq!(drained(&mut sequencer), [(1, 3, 'a'), (4, 5, 'b')]);
        assert!(sequencer.pass(6, 9));
        assert_eq!(sequencer.next(), Some(10));
    }

    #[test]
    fn what_was_passed_or_is_held_comes_back() {
        let mut sequencer = Sequencer::new(Some(3));
        assert_eq!(sequencer.hold(1, 3, 'a'), Err('a'));
        assert_eq!(sequencer.hold(5, 7, 'b'), Ok(()));
        assert_eq!(sequencer.hold(5, 7, 'c'), Err('c'));
        assert_eq!(sequencer.hold(7, 9, 'd'), Err('d'));
        assert_eq!(sequencer.hold(4, 5, 'e'), Err('e'));
    }

    #[test]
    fn a_notice_fills_only_the_holes() {
        let mut sequencer = Sequencer::new(Some(3));
        assert_eq!(sequencer.hold(5, 6, 'a'), Ok(()));
        assert_eq!(sequencer.hold(8, 8, 'b'), Ok(()));
        assert_eq!(sequencer.fill(1, 9, || '-'), 3);
        assert_eq!(sequencer.fill(1, 9, || '-'), 0);
        assert_eq!(drained(&mut sequencer), [(3, 4, '-'), (5, 6, 'a'), (7, 7, '-'), (8, 8, 'b'), (9, 9, '-')]);
    }

    #[test]
    fn a_restart_gives_back_what_lies_below() {
        let mut sequencer = Sequencer::new(None);
        for (first, piece) in [(4, 'a'), (8, 'b'), (9, 'c')] {
            assert_eq!(sequencer.hold(first, first, piece), Ok(()));
        }
        assert_eq!(sequencer.restart(8).map(|held| held.piece).collect::<Vec<_>>(), ['a']);
        assert_eq!(drained(&mut sequencer), [(8, 8, 'b'), (9, 9, 'c')]);
    }

    proptest! {
        #[test]
        fn any_pieces_come_out_in_order_and_never_twice(
            pieces in prop::collection::vec((0u64..64, 0u64..8, any::<bool>()), 0..80),
        ) {
            let mut sequencer = Sequencer::new(Some(0));
            for (first, len, notice) in pieces {
                let before = sequencer.next().unwrap();
                if notice {
                    sequencer.fill(first, first + len, || '-');
                } else if !sequencer.pass(first, first + len) {
                    let _ = sequencer.hold(first, first + len, '+');
                }
                let mut at = sequencer.next().unwrap();
                prop_assert!(at == before || (!notice && before == first && at == first + len + 1));
                while let Some(held) = sequencer.pop() {
                    prop_assert_eq!(held.first, at);
                    at = held.last + 1;
                }
                prop_assert!(sequencer.first_held().is_none_or(|first| first > at));
            }
        }
    }
}
