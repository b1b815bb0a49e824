//! A node's monotonic clock: it started elsewhere, and it runs at its own rate.

use std::time::Duration;

use glue_net::Instant;

/// Maps the world's time to a node's and back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// The world's time at which `shown` was shown.
    since: Instant,
    shown: Instant,
    /// Ticks per million of the world's.
    rate: u128,
}

impl Clock {
    pub(crate) fn new(offset: Duration, drift_ppm: i32) -> Self {
        Self { since: Instant::ZERO, shown: Instant::ZERO + offset, rate: rate(drift_ppm) }
    }

    /// From `now` on runs at another rate; what it shows does not jump.
    pub(crate) fn set_drift(&mut self, now: Instant, drift_ppm: i32) {
        *self = Self { since: now, shown: self.local(now), rate: rate(drift_ppm) };
    }

    /// From `now` on shows so much more.
    pub(crate) fn jump(&mut self, now: Instant, by: Duration) {
        *self = Self { since: now, shown: self.local(now) + by, rate: self.rate };
    }

    /// What the clock shows at `now`.
    pub(crate) fn local(&self, now: Instant) -> Instant {
        let passed = now.since(self.since);
        if self.rate == MILLION {
            return self.shown + passed;
        }
        self.shown + nanos(passed.as_nanos() * self.rate / MILLION)
    }

    /// The first time at which the clock shows `local` or more; `None`: never.
    pub(crate) fn world(&self, local: Instant) -> Option<Instant> {
        let wait = local.since(self.shown);
        let at = if self.rate == MILLION {
            self.since + wait
        } else {
            self.since + nanos((wait.as_nanos() * MILLION).div_ceil(self.rate))
        };
        (local < Instant::FAR && at < Instant::FAR).then_some(at)
    }
}

fn rate(drift_ppm: i32) -> u128 {
    assert!((-500_000..=1_000_000).contains(&drift_ppm), "a drift of {drift_ppm} ppm; -500,000 to 1,000,000 expected");
    u128::from(1_000_000_u32.saturating_add_signed(drift_ppm))
}

fn nanos(nanos: u128) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

const MILLION: u128 = 1_000_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_timeout_is_met_by_the_first_instant_that_shows_it(
            offset in 0_u64..1 << 50,
            drift in -500_000..=1_000_000_i32,
            at in 0_u64..1 << 50,
            wait in 1_u64..1 << 50,
        ) {
            let clock = Clock::new(Duration::from_nanos(offset), drift);
            let wanted = clock.local(Instant::from_nanos(at)) + Duration::from_nanos(wait);
            let met = clock.world(wanted).unwrap();
            prop_assert!(clock.local(met) >= wanted);
            prop_assert!(clock.local(met - Duration::from_nanos(1)) < wanted);
        }

        #[test]
        fn a_change_of_rate_makes_no_jump(at in 0_u64..1 << 50, before in -500_000..=1_000_000_i32, after in -9_000..9_000_i32) {
            let mut clock = Clock::new(Duration::from_secs(7), before);
            let now = Instant::from_nanos(at);
            let shown = clock.local(now);
            clock.set_drift(now, after);
            prop_assert_eq!(clock.local(now), shown);
        }
    }

    #[test]
    fn a_timeout_in_the_far_future_never_comes() {
        assert_eq!(Clock::new(Duration::ZERO, 0).world(Instant::FAR), None);
        assert_eq!(Clock::new(Duration::ZERO, -5).world(Instant::FAR - Duration::from_nanos(1)), None);
    }
}
