//! The one place that reads clocks.

use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::{Instant, WallClock, WallTime};

/// The clocks of this process.
#[derive(Clone, Copy, Debug)]
pub struct Clock;

impl Clock {
    /// Time since the process first asked. Monotonic, the same for all threads.
    #[must_use]
    pub fn now() -> Instant {
        let since = ORIGIN.get_or_init(std::time::Instant::now).elapsed();
        Instant::from_nanos(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }

    /// The system's wall clock.
    #[must_use]
    pub fn wall() -> WallTime {
        let nanos = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_nanos()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |nanos| -nanos),
        };
        WallTime::from_unix_nanos(nanos)
    }

    /// The wall clock as a function of [`Clock::now`].
    #[must_use]
    pub fn wall_clock() -> WallClock {
        WallClock::new(Self::now(), Self::wall())
    }
}

static ORIGIN: OnceLock<std::time::Instant> = OnceLock::new();
