//! The packet numbers that arrived, as ranges for acks.

use std::ops::RangeInclusive;

/// A bounded set of ranges, kept in falling order. When it is full the lowest range is forgotten: what was sent that
/// long ago has been acknowledged or given up.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ranges(Vec<RangeInclusive<u64>>);

impl Ranges {
    /// Ranges kept: what an ack of 130 bytes can say.
    pub(crate) const MAX: usize = 64;

    /// Adds `number`; false if it was there.
    pub(crate) fn insert(&mut self, number: u64) -> bool {
        // Nearly always the number extends the first range, so the walk is one step.
        let at = self.0.iter().position(|range| *range.start() <= number + 1);
        let Some(at) = at else {
            self.0.push(number..=number);
            self.0.truncate(Self::MAX);
            return true;
        };
        let Some(range) = self.0.get(at).cloned() else { return false };
        if range.contains(&number) {
            return false;
        }
        if number == *range.end() + 1 {
            self.replace(at, *range.start()..=number);
        } else if number + 1 == *range.start() {
            self.replace(at, number..=*range.end());
            self.join(at);
            return true;
        } else {
            self.0.insert(at, number..=number);
            self.0.truncate(Self::MAX);
        }
        if at > 0 {
            self.join(at - 1);
        }
        true
    }

    /// The ranges, highest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &RangeInclusive<u64>> {
        self.0.iter()
    }

    /// The highest number.
    pub(crate) fn highest(&self) -> Option<u64> {
        self.0.first().map(|range| *range.end())
    }

    fn replace(&mut self, at: usize, range: RangeInclusive<u64>) {
        if let Some(slot) = self.0.get_mut(at) {
            *slot = range;
        }
    }

    /// Makes `at` and the range below it one if they touch.
    fn join(&mut self, at: usize) {
        let (Some(upper), Some(lower)) = (self.0.get(at), self.0.get(at + 1)) else { return };
        if lower.end() + 1 == *upper.start() {
            let joined = *lower.start()..=*upper.end();
            self.0.remove(at + 1);
            self.replace(at, joined);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn agrees_with_a_set(numbers in proptest::collection::vec(0u64..100, 0..200)) {
            let (mut ranges, mut model) = (Ranges::default(), BTreeSet::new());
            for number in numbers {
                prop_assert_eq!(ranges.insert(number), model.insert(number));
                let listed: Vec<u64> = ranges.iter().flat_map(|r| r.clone().rev()).collect();
                prop_assert_eq!(&listed, &model.iter().rev().copied().collect::<Vec<_>>());
                prop_assert!(ranges.0.windows(2).all(|w| w[1].end() + 1 < *w[0].start()));
            }
        }
    }

    #[test]
    fn forgets_the_lowest_when_full() {
        let mut ranges = Ranges::default();
        (0..200).for_each(|n| assert!(ranges.insert(n * 2)));
        assert_eq!(ranges.iter().count(), Ranges::MAX);
        assert_eq!(ranges.highest(), Some(398));
    }
}
