//! One clock for all processes and network namespaces of a machine.

use std::time::{Duration, SystemTime};

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds on the monotonic clock. It goes on while a process is stopped, and a time that one process logs can be compared
/// with another's.
#[must_use]
pub fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    let [seconds, nanos] = [time.tv_sec, time.tv_nsec].map(|part| u64::try_from(part).unwrap_or(0));
    seconds * SECOND + nanos
}

/// Nanoseconds on the wall clock: what an endpoint takes its incarnation from.
#[must_use]
pub fn wall() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    nanos(since)
}

/// A duration in nanoseconds.
#[must_use]
pub fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A second in nanoseconds.
pub const SECOND: u64 = 1_000_000_000;
