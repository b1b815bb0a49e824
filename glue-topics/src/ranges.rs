//! Sets of sequence numbers.

/// Numbers, as ranges that neither overlap nor touch: first and last, ascending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    pub(crate) fn add(&mut self, mut first: u64, mut last: u64) {
        if first > last {
            return;
        }
        let from = self.0.partition_point(|(_, end)| end.saturating_add(1) < first);
        let to = self.0.partition_point(|(start, _)| *start <= last.saturating_add(1));
        for (start, end) in self.0.drain(from..to) {
            (first, last) = (first.min(start), last.max(end));
        }
        if self.0.is_empty() {
            // Mostly there is no other.
            self.0.reserve_exact(1);
        }
        self.0.insert(from, (first, last));
    }

    pub(crate) fn remove(&mut self, first: u64, last: u64) {
        if first > last {
            return;
        }
        let from = self.0.partition_point(|(_, end)| *end < first);
        let to = self.0.partition_point(|(start, _)| *start <= last);
        let (mut before, mut behind) = (None, None);
        for (start, end) in self.0.drain(from..to) {
            before = before.or_else(|| (start < first).then(|| (start, first - 1)));
            behind = (end > last).then(|| (last + 1, end));
        }
        self.0.splice(from..from, before.into_iter().chain(behind));
    }

    /// The first numbers in a row from `at` on.
    pub(crate) fn at_or_after(&self, at: u64) -> Option<(u64, u64)> {
        let (first, last) = self.0.get(self.0.partition_point(|(_, last)| *last < at))?;
        Some((at.max(*first), *last))
    }

    /// The first numbers in a row from `at` on that are missing, but none above the largest.
    pub(crate) fn missing_from(&self, at: u64, largest: u64) -> Option<(u64, u64)> {
        let at = match self.at_or_after(at) {
            Some((first, last)) if first == at => last.checked_add(1)?,
            _ => at,
        };
        let end = self.at_or_after(at).map_or(largest, |(first, _)| largest.min(first - 1));
        (at <= end).then_some((at, end))
    }

    pub(crate) fn contains(&self, first: u64, last: u64) -> bool {
        self.at_or_after(first).is_some_and(|(start, end)| start == first && end >= last)
    }

    pub(crate) fn first(&self) -> Option<u64> {
        self.0.first().map(|(first, _)| *first)
    }

    pub(crate) fn last(&self) -> Option<u64> {
        self.0.last().map(|(_, last)| *last)
    }

    pub(crate) const fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (u64, u64)> {
        self.0.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ranges_are_a_set_of_numbers(steps in prop::collection::vec((any::<bool>(), 1u64..60, 0u64..9), 0..60)) {
            let (mut ranges, mut model) = (Ranges::default(), BTreeSet::new());
            for (adds, first, len) in steps {
                let last = first + len;
                if adds {
                    ranges.add(first, last);
                    model.extend(first..=last);
                } else {
                    ranges.remove(first, last);
                    model.retain(|n| !(first..=last).contains(n));
                }
                let numbers: BTreeSet<_> = ranges.iter().flat_map(|(first, last)| first..=last).collect();
                prop_assert_eq!(&numbers, &model);
                let pairs: Vec<_> = ranges.iter().collect();
                prop_assert!(pairs.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0));
                for at in 0..75 {
                    let start = model.range(at..).next().copied();
                    prop_assert_eq!(ranges.at_or_after(at).map(|(first, _)| first), start);
                    let hole = (at..=70).find(|n| !model.contains(n));
                    prop_assert_eq!(ranges.missing_from(at, 70).map(|(first, _)| first), hole);
                    prop_assert_eq!(ranges.contains(at, at), model.contains(&at));
                }
            }
        }
    }
}
