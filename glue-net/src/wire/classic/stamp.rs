//! Timestamps: Unix seconds with nanoseconds, and RFC 3339 text.

use std::fmt;
use std::str::FromStr;

use crate::WallTime;
use crate::wire::DecodeError;

const SECOND: i64 = 1_000_000_000;
const DAY: i64 = 86_400;
/// 0001-01-01T00:00:00Z, the zero of the reference's time type.
const YEAR_1: i64 = -62_135_596_800;

/// The time so far from the Unix epoch. What lies outside of the years 1677 to 2262 saturates; below, that is
/// [`WallTime::ZERO_TIME`], and so year 1 needs no special care.
pub(super) fn wall_time(seconds: i64, nanos: i64) -> WallTime {
    let total = i128::from(seconds) * i128::from(SECOND) + i128::from(nanos);
    WallTime::from_unix_nanos(i64::try_from(total).unwrap_or(if total < 0 { i64::MIN } else { i64::MAX }))
}

/// Seconds since the Unix epoch, and nanoseconds below 10^9; the zero time is in year 1.
pub(super) fn unix_time(time: WallTime) -> (i64, u32) {
    if time == WallTime::ZERO_TIME {
        return (YEAR_1, 0);
    }
    let nanos = time.as_unix_nanos();
    (nanos.div_euclid(SECOND), u32::try_from(nanos.rem_euclid(SECOND)).unwrap_or(0))
}

/// A time as the reference writes it in JSON: UTC, with as many fractional digits as it takes.
#[derive(Clone, Copy)]
pub(super) struct Rfc3339(pub(super) WallTime);

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, mut nanos) = unix_time(self.0);
        let ((year, month, day), second) = (date(seconds.div_euclid(DAY)), seconds.rem_euclid(DAY));
        let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        if nanos > 0 {
            let mut width = 9;
            while nanos % 10 == 0 {
                (nanos, width) = (nanos / 10, width - 1);
            }
            write!(f, ".{nanos:0width$}")?;
        }
        f.write_str("Z")
    }
}

/// Accepts a zone other than UTC, and digits beyond nanoseconds, which are cut off; no leap seconds, as the reference.
impl FromStr for Rfc3339 {
    type Err = DecodeError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Scan(text.as_bytes()).time().map(Self).ok_or(DecodeError::Malformed("timestamp"))
    }
}

struct Scan<'a>(&'a [u8]);

impl Scan<'_> {
    fn time(mut self) -> Option<WallTime> {
        let day = self.day()?;
        let second = self.after(b'T').and_then(Self::second_of_day)?;
        let nanos = if self.after(b'.').is_some() { self.fraction()? } else { 0 };
        let offset = self.offset()?;
        self.0.is_empty().then(|| wall_time(day * DAY + second - offset, nanos))
    }

    fn day(&mut self) -> Option<i64> {
        let year = self.number(4)?;
        let month = self.after(b'-')?.number(2)?;
        let day = self.after(b'-')?.number(2)?;
        let days = day_number(year, month, day);
        // A date that does not exist, such as February 30th, has the number of another one.
        (date(days) == (year, month, day)).then_some(days)
    }

    fn second_of_day(&mut self) -> Option<i64> {
        let (hour, minute) = self.hour_and_minute()?;
        let second = self.after(b':')?.number(2).filter(|second| *second < 60)?;
        Some(hour * 3_600 + minute * 60 + second)
    }

    fn hour_and_minute(&mut self) -> Option<(i64, i64)> {
        let hour = self.number(2).filter(|hour| *hour < 24)?;
        let minute = self.after(b':')?.number(2).filter(|minute| *minute < 60)?;
        Some((hour, minute))
    }

    fn fraction(&mut self) -> Option<i64> {
        let (mut nanos, mut unit) = (self.number(1)? * SECOND / 10, SECOND / 10);
        while let Some(digit) = self.number(1) {
            unit /= 10;
            nanos += digit * unit;
        }
        Some(nanos)
    }

    fn offset(&mut self) -> Option<i64> {
        if self.after(b'Z').is_some() {
            return Some(0);
        }
        let sign = if self.after(b'+').is_some() { 1 } else { self.after(b'-').map(|_| -1)? };
        let (hour, minute) = self.hour_and_minute()?;
        Some(sign * (hour * 3_600 + minute * 60))
    }

    fn after(&mut self, byte: u8) -> Option<&mut Self> {
        self.0 = self.0.strip_prefix(&[byte])?;
        Some(self)
    }

    fn number(&mut self, digits: usize) -> Option<i64> {
        let (number, rest) = self.0.split_at_checked(digits)?;
        self.0 = number.iter().all(u8::is_ascii_digit).then_some(rest)?;
        Some(number.iter().fold(0, |value, digit| value * 10 + i64::from(digit - b'0')))
    }
}

/// Days of 400 years of the Gregorian calendar, after which it repeats.
const CYCLE: i64 = 146_097;
/// Days from 0000-03-01 to 1970-01-01. Counting years from March puts the leap day last.
const MARCH_0: i64 = 719_468;

/// Days since 1970-01-01 of a date of the Gregorian calendar.
const fn day_number(year: i64, month: i64, day: i64) -> i64 {
    let year = if month > 2 { year } else { year - 1 };
    let (cycle, year_of_cycle) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    cycle * CYCLE + year_of_cycle * 365 + year_of_cycle / 4 - year_of_cycle / 100 + day_of_year - MARCH_0
}

/// Year, month and day of the date so many days after 1970-01-01.
const fn date(day_number: i64) -> (i64, i64, i64) {
    let (cycle, day) = ((day_number + MARCH_0).div_euclid(CYCLE), (day_number + MARCH_0).rem_euclid(CYCLE));
    let year_of_cycle = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let month = (from_march + 2) % 12 + 1;
    let year = cycle * 400 + year_of_cycle + if month > 2 { 0 } else { 1 };
    (year, month, day_of_year - (153 * from_march + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nanos(text: &str) -> Option<i64> {
        text.parse().ok().map(|Rfc3339(time)| time.as_unix_nanos())
    }

    #[test]
    fn known_times() {
        for (text, nanos) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2026-11-21T01:48:13.42887872Z", 1_795_225_693_428_878_720),
            ("2024-02-29T23:59:59.999999999Z", 1_709_251_199_999_999_999),
            ("1969-12-31T23:59:59.5Z", -500_000_000),
            ("2262-04-11T23:47:16.854775807Z", i64::MAX),
            ("1677-09-21T00:12:43.145224193Z", i64::MIN + 1),
            ("0001-01-01T00:00:00Z", i64::MIN),
        ] {
            assert_eq!(self::nanos(text), Some(nanos), "{text}");
            assert_eq!(Rfc3339(WallTime::from_unix_nanos(nanos)).to_string(), text);
        }
    }

    #[test]
    fn zones_and_long_fractions_are_read() {
        assert_eq!(nanos("1970-01-01T02:30:00+02:30"), Some(0));
        assert_eq!(nanos("1969-12-31T23:00:00-01:00"), Some(0));
        assert_eq!(nanos("1970-01-01T00:00:00.1234567899999999999999Z"), Some(123_456_789));
    }

    #[test]
    fn what_64_bits_do_not_hold_saturates() {
        assert_eq!(nanos("9999-12-31T23:59:59Z"), Some(i64::MAX));
        assert_eq!(nanos("0000-01-01T00:00:00Z"), Some(i64::MIN));
        assert_eq!(wall_time(i64::MAX, 0).as_unix_nanos(), i64::MAX);
        assert_eq!(wall_time(YEAR_1, 5), WallTime::ZERO_TIME);
    }

    #[test]
    fn other_text_is_refused() {
        let date = "2026-11-21T01:48:13";
        assert!(nanos(&format!("{date}Z")).is_some());
        for end in ["", ".Z", ".1", "ZZ", "z", "+1:00", "+24:00", "+00:60", " Z", ":00Z"] {
            assert_eq!(nanos(&format!("{date}{end}")), None, "{end}");
        }
        for bad in [
            "2025-02-29",
            "2026-13-01",
            "2026-00-01",
            "2026-01-00",
            "2026-04-31",
            "26-04-30",
            "2026-4-30",
            "+026-01-01",
        ] {
            assert_eq!(nanos(&format!("{bad}T00:00:00Z")), None, "{bad}");
        }
        for bad in ["24:00:00", "00:60:00", "23:59:60", "0:00:00", "00:00"] {
            assert_eq!(nanos(&format!("2026-01-01T{bad}Z")), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn text_reads_back(nanos: i64) {
            let time = WallTime::from_unix_nanos(nanos);
            prop_assert_eq!(Rfc3339(time).to_string().parse().map(|Rfc3339(read)| read), Ok(time));
        }

        #[test]
        fn no_text_panics(text in "[0-9TZ:.+-]{0,40}|.*") {
            let _ = text.parse::<Rfc3339>();
        }
    }
}
