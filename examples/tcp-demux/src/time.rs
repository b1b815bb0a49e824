//! What a message needs to know of time: to some milliseconds, for a fifth of what the exact time takes. And points in time as text:
//! RFC 3339, UTC, to the second.

use std::cell::RefCell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Now. The text is made once a second and thread: it goes into every message.
pub(crate) fn now() -> String {
    let seconds = unix_time().as_secs();
    LAST.with_borrow_mut(|(second, text)| {
        if *second != seconds {
            (*second, *text) = (seconds, format(seconds));
        }
        text.clone()
    })
}

/// Milliseconds since some moment; they never go back.
#[cfg(target_os = "linux")]
pub(crate) fn monotonic_ms() -> u64 {
    millis(since_start(rustix::time::ClockId::MonotonicCoarse))
}

#[cfg(target_os = "linux")]
fn unix_time() -> Duration {
    since_start(rustix::time::ClockId::RealtimeCoarse)
}

/// The time of the kernel's last tick: 1 to 10 ms ago, as it is configured.
#[cfg(target_os = "linux")]
fn since_start(clock: rustix::time::ClockId) -> Duration {
    Duration::try_from(rustix::time::clock_gettime(clock)).unwrap_or_default()
}

/// Milliseconds since some moment; they never go back.
#[cfg(not(target_os = "linux"))]
pub(crate) fn monotonic_ms() -> u64 {
    static START: std::sync::LazyLock<std::time::Instant> = std::sync::LazyLock::new(std::time::Instant::now);
    millis(START.elapsed())
}

#[cfg(not(target_os = "linux"))]
fn unix_time() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// That time.
pub(crate) fn text(time: SystemTime) -> String {
    format(seconds(time))
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn format(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// The date of a day since 1970. Years are counted from March, so that a leap day is the last of its year.
const fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day_of_month = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (year + era * 400 + next, month, day_of_month)
}

thread_local! {
    static LAST: RefCell<(u64, String)> = const { RefCell::new((u64::MAX, String::new())) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_coarse_time_is_the_time() {
        let exact = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        assert!(unix_time().abs_diff(exact) < Duration::from_millis(100));
        let (before, start) = (monotonic_ms(), std::time::Instant::now());
        while start.elapsed() < Duration::from_millis(30) {
            std::thread::yield_now();
        }
        assert!((15..5_000).contains(&(monotonic_ms() - before)));
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (1_709_251_200, "2024-03-01T00:00:00Z"),
            (4_102_444_800, "2100-01-01T00:00:00Z"),
        ] {
            assert_eq!(format(seconds), text);
        }
    }
}
