//! Which payloads arrived: each is passed on once, however often its packets come.

/// A sliding bitmap over payload numbers, at most [`Seen::SPAN`] of them (8 KiB).
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// All numbers below have arrived.
    floor: u64,
    /// Bit `n % SPAN` of the ring stands for number `n` in `floor..floor + SPAN`. It grows to its span on first use.
    ring: Vec<u64>,
    /// One more than the highest number that arrived.
    end: u64,
}

/// What became of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// It is new.
    New,
    /// It was there.
    Duplicate,
    /// It is so far ahead that an honest sender can not have sent it.
    TooFar,
}

impl Seen {
    /// How far payload numbers may run ahead of the oldest one that is missing; a sender stops there.
    pub(crate) const SPAN: u64 = 65_536;

    /// Marks `number` as arrived.
    pub(crate) fn mark(&mut self, number: u64) -> Mark {
        if number < self.floor {
            return Mark::Duplicate;
        }
        if number - self.floor >= Self::SPAN {
            return Mark::TooFar;
        }
        // In order, with nothing missing, the ring is not touched at all.
        if number == self.floor && self.end == self.floor {
            self.floor += 1;
            self.end = self.floor;
            return Mark::New;
        }
        if self.ring.is_empty() {
            self.ring = vec![0; Self::WORDS];
        }
        if !self.set(number, true) {
            return Mark::Duplicate;
        }
        self.end = self.end.max(number + 1);
        while self.floor < self.end && self.set(self.floor, false) {
            self.floor += 1;
        }
        Mark::New
    }

    const WORDS: usize = (Self::SPAN / 64) as usize;

    /// Sets the bit of `number` to `to`; whether that changed it.
    fn set(&mut self, number: u64, to: bool) -> bool {
        let index = number % Self::SPAN;
        let bit = 1u64 << (index % 64);
        let Some(word) = usize::try_from(index / 64).ok().and_then(|i| self.ring.get_mut(i)) else { return false };
        let was = *word & bit != 0;
        *word = if to { *word | bit } else { *word & !bit };
        was != to
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn agrees_with_a_set(numbers in proptest::collection::vec(0u64..3_000, 0..4_000)) {
            let (mut seen, mut model) = (Seen::default(), BTreeSet::new());
            for number in numbers {
                let expected = if model.insert(number) { Mark::New } else { Mark::Duplicate };
                prop_assert_eq!(seen.mark(number), expected);
            }
        }
    }

    #[test]
    fn slides_for_ever_and_refuses_what_is_too_far() {
        let mut seen = Seen::default();
        for n in 0..200_000 {
            let swapped = n ^ 1;
            assert_eq!(seen.mark(swapped), Mark::New);
            assert_eq!(seen.mark(swapped), Mark::Duplicate);
        }
        assert_eq!(seen.mark(200_000 + Seen::SPAN), Mark::TooFar);
        assert_eq!(seen.mark(u64::MAX), Mark::TooFar);
        assert_eq!(seen.mark(200_000 + Seen::SPAN - 1), Mark::New);
        assert_eq!(seen.mark(200_000), Mark::New);
    }
}
