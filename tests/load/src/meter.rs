//! Counting and timing, as the other harnesses of the comparison do it: the same figures mean the same.

use std::time::Duration;

/// Counts what a subscriber receives. The rate is counted from [`WARM_UP`] after the first message to the last look at
/// the clock, so that neither the start nor the wait for the end marker is in it.
#[derive(Debug)]
pub(crate) struct Meter {
    size: u64,
    every: u64,
    received: u64,
    bytes: u64,
    first: Option<Look>,
    warm: Option<Look>,
    last: Look,
}

/// How many messages had come at a time.
#[derive(Clone, Copy, Debug, Default)]
struct Look {
    at: u64,
    received: u64,
}

impl Meter {
    pub(crate) fn new(size: usize) -> Self {
        Self {
            size: size as u64,
            every: look_every(size),
            received: 0,
            bytes: 0,
            first: None,
            warm: None,
            last: Look::default(),
        }
    }

    /// Counts a message of `len` bytes; `now` is asked for the time only when it is due.
    #[inline]
    pub(crate) fn count(&mut self, len: usize, now: impl FnOnce() -> u64) {
        if self.received.is_multiple_of(self.every) {
            self.look(now());
        }
        self.received += 1;
        self.bytes += len as u64;
    }

    pub(crate) const fn received(&self) -> u64 {
        self.received
    }

    /// Messages a second.
    pub(crate) fn rate(&self) -> f64 {
        let Some(from) = self.warm.or(self.first) else { return 0.0 };
        let seconds = self.last.at.saturating_sub(from.at) as f64 / 1e9;
        if seconds > 0.0 { (self.last.received - from.received) as f64 / seconds } else { 0.0 }
    }

    /// Whether the messages had the right size, all together.
    pub(crate) const fn is_intact(&self) -> bool {
        self.bytes == self.received * self.size
    }

    fn look(&mut self, at: u64) {
        self.last = Look { at, received: self.received + 1 };
        let first = *self.first.get_or_insert(self.last);
        if self.warm.is_none() && at - first.at > nanos(WARM_UP) {
            self.warm = Some(self.last);
        }
    }
}

/// Tells a publisher when to stop. It looks at the clock as seldom as [`Meter`] does.
#[derive(Debug)]
pub(crate) struct Budget {
    every: u64,
    until: u64,
    most: u64,
    pub(crate) sent: u64,
}

impl Budget {
    /// Until `until` on the clock, or `most` messages.
    pub(crate) const fn new(size: usize, until: u64, most: u64) -> Self {
        Self { every: look_every(size), until, most, sent: 0 }
    }

    /// Whether to send one more, which is then counted.
    #[inline]
    pub(crate) fn spend(&mut self, now: impl FnOnce() -> u64) -> bool {
        if self.sent.is_multiple_of(self.every) && (self.sent >= self.most || now() >= self.until) {
            return false;
        }
        self.sent += 1;
        true
    }
}

/// Collected times.
#[derive(Debug, Default)]
pub(crate) struct Times(Vec<u64>);

/// Figures of collected times, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Figures {
    pub(crate) count: usize,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
    pub(crate) mean: f64,
}

impl Times {
    pub(crate) fn with_capacity(count: usize) -> Self {
        Self(Vec::with_capacity(count))
    }

    pub(crate) fn add(&mut self, nanos: u64) {
        self.0.push(nanos);
    }

    pub(crate) const fn len(&self) -> usize {
        self.0.len()
    }

    /// The figures of every time divided by `parts`: 2 makes half a round trip.
    pub(crate) fn figures(mut self, parts: u64) -> Figures {
        self.0.sort_unstable();
        let count = self.0.len();
        let micros = |nanos: u64| nanos as f64 / parts as f64 / 1e3;
        let at = |per_mille: usize| {
            let index = (count * per_mille / 1_000).min(count.saturating_sub(1));
            micros(self.0.get(index).copied().unwrap_or(0))
        };
        let mean = micros(self.0.iter().sum()) / count.max(1) as f64;
        Figures { count, p50: at(500), p99: at(990), p999: at(999), max: at(1_000), mean }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Small messages come so often that a look at the clock for each would cost a tenth of the CPU.
const fn look_every(size: usize) -> u64 {
    if size >= 8_192 { 1 } else { 64 }
}

/// From the first message until the rate is counted.
const WARM_UP: Duration = Duration::from_millis(300);

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn the_rate_leaves_out_the_warm_up_and_the_wait_for_the_end() {
        let mut meter = Meter::new(8_192);
        // Slow for 0.4 s, then ten times as fast for a second.
        for ms in (0..400).step_by(10).chain(400..=1_400) {
            meter.count(8_192, || (7_000 + ms) * MS);
        }
        // 310 ms is the first look after the warm-up: 9 slow ones follow it until 400, then 1,000.
        let expected = 1_009.0 / 1.090;
        assert!((meter.rate() - expected).abs() < 0.01, "{} is not {expected}", meter.rate());
        assert_eq!(meter.received(), 40 + 1_001);
        assert!(meter.is_intact());
    }

    #[test]
    fn a_short_run_is_counted_from_its_first_message() {
        let mut meter = Meter::new(8_192);
        for ms in 0..=100 {
            meter.count(8_192, || ms * MS);
        }
        assert!((meter.rate() - 1_000.0).abs() < 0.01, "{}", meter.rate());
    }

    #[test]
    fn nothing_received_is_no_rate() {
        assert_eq!(Meter::new(64).rate(), 0.0);
    }

    #[test]
    fn a_wrong_size_shows() {
        let mut meter = Meter::new(64);
        meter.count(63, || 0);
        assert!(!meter.is_intact());
    }

    #[test]
    fn small_messages_look_at_the_clock_every_64() {
        let mut looks = 0;
        let (mut meter, mut budget) = (Meter::new(64), Budget::new(64, 1, 1_000_000));
        for _ in 0..640 {
            meter.count(64, || {
                looks += 1;
                0
            });
            assert!(budget.spend(|| {
                looks += 1;
                0
            }));
        }
        assert_eq!(looks, 2 * 10);
    }

    #[test]
    fn a_budget_ends_by_count_and_by_time() {
        let mut by_count = Budget::new(8_192, u64::MAX, 3);
        while by_count.spend(|| 0) {}
        assert_eq!(by_count.sent, 3);

        let mut time = 0;
        let mut by_time = Budget::new(8_192, 5, u64::MAX);
        while by_time.spend(|| time) {
            time += 1;
        }
        assert_eq!(by_time.sent, 5);
    }

    #[test]
    fn figures_are_those_of_the_sorted_times() {
        let mut times = Times::with_capacity(1_000);
        (1..=1_000_u64).rev().for_each(|n| times.add(n * 2_000));
        let figures = times.figures(2);
        let expected = Figures { count: 1_000, p50: 501.0, p99: 991.0, p999: 1_000.0, max: 1_000.0, mean: 500.5 };
        assert_eq!(figures, expected);
        assert_eq!(Times::default().figures(1), Figures::default());
    }
}
