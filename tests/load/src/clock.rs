//! Clocks that all processes of the machine share, and what this process has used.

use rustix::thread::clock_nanosleep_absolute;
use rustix::time::{ClockId, Timespec, clock_gettime};

/// Nanoseconds on the monotonic clock, which is one for the machine: a time that one process sends another can read.
pub(crate) fn now() -> u64 {
    nanos(clock_gettime(ClockId::Monotonic))
}

/// Waits until [`now`] is `at`.
pub(crate) fn sleep_until(at: u64) {
    const SECOND: u64 = 1_000_000_000;
    let seconds = i64::try_from(at / SECOND).unwrap_or(i64::MAX);
    let nanos = i64::try_from(at % SECOND).unwrap_or(0);
    // Only a signal ends the wait early, and then a paced message leaves early.
    let _ = clock_nanosleep_absolute(ClockId::Monotonic, &Timespec { tv_sec: seconds, tv_nsec: nanos });
}

/// Seconds of CPU that this process has used, in the kernel too.
pub(crate) fn cpu_seconds() -> f64 {
    nanos(clock_gettime(ClockId::ProcessCPUTime)) as f64 / 1e9
}

/// The most memory this process ever had resident, in KiB; 0 if the system does not tell.
///
/// Not `ru_maxrss`, which survives `exec` and so would show the parent's.
pub(crate) fn peak_memory_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

fn nanos(time: Timespec) -> u64 {
    let [seconds, nanos] = [time.tv_sec, time.tv_nsec].map(|part| u64::try_from(part).unwrap_or(0));
    seconds * 1_000_000_000 + nanos
}
