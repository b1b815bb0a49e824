//! Round-trip time (RFC 9002, section 5; the smoothing is RFC 6298's).

use std::time::Duration;

/// What is known of a path's round trip.
#[derive(Clone, Debug)]
pub(crate) struct Rtt {
    latest: Duration,
    /// The latest, less the time for which the peer held the ack back.
    path: Duration,
    smoothed: Duration,
    variation: Duration,
    min: Duration,
    measured: bool,
}

impl Rtt {
    /// Nothing measured yet; `initial` stands in.
    pub(crate) const fn new(initial: Duration) -> Self {
        Self {
            latest: initial,
            path: initial,
            smoothed: initial,
            variation: Duration::ZERO,
            min: initial,
            measured: false,
        }
    }

    /// Takes a measured round trip, of which the peer says that it held the ack back for `ack_delay`.
    pub(crate) fn sample(&mut self, latest: Duration, ack_delay: Duration) {
        (self.latest, self.path) = (latest, latest);
        if !self.measured {
            (self.measured, self.min, self.smoothed, self.variation) = (true, latest, latest, latest / 2);
            return;
        }
        self.min = self.min.min(latest);
        // The delay is subtracted only where that stays plausible: a peer must not talk the estimate below the minimum.
        let adjusted = latest.checked_sub(ack_delay).filter(|rtt| *rtt >= self.min).unwrap_or(latest);
        self.path = adjusted;
        self.variation = self.variation * 3 / 4 + self.smoothed.abs_diff(adjusted) / 4;
        self.smoothed = self.smoothed * 7 / 8 + adjusted / 8;
    }

    /// How long to wait for an ack before probing: the probe timeout without backoff.
    pub(crate) fn probe_timeout(&self, max_ack_delay: Duration) -> Duration {
        if !self.measured {
            return self.smoothed * 3;
        }
        self.smoothed + (self.variation * 4).max(GRANULARITY) + max_ack_delay
    }

    /// How long after a later packet was acknowledged an earlier one counts as lost.
    pub(crate) fn loss_delay(&self) -> Duration {
        (self.smoothed.max(self.latest) * 9 / 8).max(GRANULARITY)
    }

    /// The latest sample, less the time for which the peer held the ack back.
    pub(crate) const fn path(&self) -> Duration {
        self.path
    }

    pub(crate) const fn smoothed(&self) -> Duration {
        self.smoothed
    }

    pub(crate) const fn min(&self) -> Duration {
        self.min
    }
}

/// Timers are not finer than this.
const GRANULARITY: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn settles_on_a_steady_path() {
        let mut rtt = Rtt::new(ms(20));
        (0..50).for_each(|_| rtt.sample(ms(10), Duration::ZERO));
        assert_eq!(rtt.min(), ms(10));
        assert!(rtt.smoothed() <= ms(10) && rtt.smoothed() > ms(9), "{rtt:?}");
        assert!(rtt.probe_timeout(ms(2)) <= ms(13), "{:?}", rtt.probe_timeout(ms(2)));
    }

    #[test]
    fn a_claimed_ack_delay_cannot_push_it_below_the_minimum() {
        let mut rtt = Rtt::new(ms(20));
        rtt.sample(ms(10), Duration::ZERO);
        (0..50).for_each(|_| rtt.sample(ms(11), ms(9)));
        assert!(rtt.smoothed() >= ms(10));
    }
}
