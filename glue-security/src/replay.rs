//! Which numbers have come.

/// A window over the highest numbers that came (RFC 4303, section 3.4.3): none in it is taken twice, and none below it at all.
#[derive(Clone, Debug)]
pub struct Window {
    /// All numbers below this are over; the highest is at most `BITS` above.
    next: u64,
    /// One bit for each of the `BITS` numbers below `next`, at its place modulo `BITS`.
    seen: Box<[u64; WORDS]>,
}

impl Default for Window {
    fn default() -> Self {
        Self { next: 0, seen: Box::new([0; WORDS]) }
    }
}

impl Window {
    /// Numbers that it remembers: packets may overtake each other by so many.
    pub const BITS: u64 = 4_096;

    /// Whether `number` did not come yet, as far as is known. The very last number there is never is new, as nothing comes after it.
    #[must_use]
    pub fn is_new(&self, number: u64) -> bool {
        let (word, bit) = place(number);
        let is_unseen = || self.seen.get(word).is_some_and(|word| word & bit == 0);
        number < u64::MAX && (number >= self.next || self.next - number <= Self::BITS && is_unseen())
    }

    /// Notes that `number` came. What is not new stays what it was.
    pub fn note(&mut self, number: u64) {
        if !self.is_new(number) {
            return;
        }
        // The places of what lies between are those of numbers that leave the window.
        let passed = (number + 1).saturating_sub(self.next).min(Self::BITS);
        for passed in (number + 1 - passed)..=number {
            let (word, bit) = place(passed);
            self.word(word, |seen| seen & !bit);
        }
        let (word, bit) = place(number);
        self.word(word, |seen| seen | bit);
        self.next = self.next.max(number + 1);
    }

    fn word(&mut self, at: usize, change: impl FnOnce(u64) -> u64) {
        if let Some(word) = self.seen.get_mut(at) {
            *word = change(*word);
        }
    }
}

/// The word and the bit of a number.
const fn place(number: u64) -> (usize, u64) {
    let at = number % Window::BITS;
    ((at / 64) as usize, 1 << (at % 64))
}

const WORDS: usize = (Window::BITS / 64) as usize;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn agrees_with_a_set(steps in prop::collection::vec((0u64..6, 0u64..6_000), 0..2_000)) {
            let (mut window, mut model, mut highest) = (Window::default(), BTreeSet::new(), 0u64);
            for (kind, by) in steps {
                let number = if kind == 0 { highest + by } else { (highest + kind).saturating_sub(by % 5_000) };
                let is_new = !model.contains(&number) && (model.is_empty() || number + Window::BITS > highest);
                prop_assert_eq!(window.is_new(number), is_new, "{} of {}", number, highest);
                window.note(number);
                prop_assert!(!window.is_new(number));
                if is_new {
                    model.insert(number);
                    highest = highest.max(number);
                }
            }
        }
    }

    #[test]
    fn the_last_numbers_are_taken_once_and_the_very_last_never() {
        let mut window = Window::default();
        window.note(u64::MAX - 5_000);
        for number in [u64::MAX - 2, u64::MAX - 900, u64::MAX - 1] {
            assert!(window.is_new(number), "{number}");
            window.note(number);
            assert!(!window.is_new(number), "{number}");
        }
        assert!(window.is_new(u64::MAX - 3));
        assert!(!window.is_new(u64::MAX - 4_097), "below the window");
        window.note(u64::MAX);
        assert!(!window.is_new(u64::MAX));
    }

    /// Each of 333,334 datagrams comes three times, up to 4,000 late.
    #[test]
    fn of_a_million_replayed_and_reordered_all_are_taken_and_none_twice() {
        let (mut window, mut state) = (Window::default(), 1u64);
        let mut late = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % 4_000
        };
        let mut arrivals: Vec<(u64, u64)> = (0..333_334).flat_map(|n| [n, n, n]).map(|n| (n + late(), n)).collect();
        arrivals.sort_unstable();
        let mut taken = vec![0; 333_334];
        for (_, number) in arrivals {
            if window.is_new(number) {
                window.note(number);
                taken[usize::try_from(number).unwrap()] += 1;
            }
        }
        assert!(taken.iter().all(|times| *times == 1));
    }
}
