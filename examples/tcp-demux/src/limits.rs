//! Settings as they stand in the file and in the management API.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::distribution::Distribution;
use crate::settings::{Settings, SlowReader};

/// What is left out stays as it is. Times are in seconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each is the field of `Settings` of that name")]
pub struct Limits {
    pub distribution: Option<Distribution>,
    pub max_sockets: Option<usize>,
    pub max_sockets_per_address: Option<usize>,
    pub max_message_bytes: Option<usize>,
    pub max_queue_bytes: Option<usize>,
    pub slow_reader: Option<SlowReader>,
    pub idle_timeout: Option<f64>,
    pub write_timeout: Option<f64>,
    pub half_closed_timeout: Option<f64>,
    pub active: Option<f64>,
}

impl From<&Settings> for Limits {
    fn from(settings: &Settings) -> Self {
        Self {
            distribution: Some(settings.distribution),
            max_sockets: Some(settings.max_sockets),
            max_sockets_per_address: Some(settings.max_sockets_per_address),
            max_message_bytes: Some(settings.max_message_bytes),
            max_queue_bytes: Some(settings.max_queue_bytes),
            slow_reader: Some(settings.slow_reader),
            idle_timeout: Some(settings.idle_timeout.as_secs_f64()),
            write_timeout: Some(settings.write_timeout.as_secs_f64()),
            half_closed_timeout: Some(settings.half_closed_timeout.as_secs_f64()),
            active: Some(settings.active.as_secs_f64()),
        }
    }
}

impl Limits {
    /// Puts what is there in the place of what was.
    ///
    /// # Errors
    /// What is out of range; nothing was changed then.
    pub fn apply(&self, settings: &mut Settings) -> Result<(), String> {
        let mut changed = settings.clone();
        set(&mut changed.distribution, self.distribution);
        set(&mut changed.max_sockets, number("max_sockets", self.max_sockets, 1..=MOST_SOCKETS)?);
        let per_address = number("max_sockets_per_address", self.max_sockets_per_address, 0..=MOST_SOCKETS)?;
        set(&mut changed.max_sockets_per_address, per_address);
        let message = number("max_message_bytes", self.max_message_bytes, 1..=MOST_MESSAGE_BYTES)?;
        set(&mut changed.max_message_bytes, message);
        set(&mut changed.max_queue_bytes, number("max_queue_bytes", self.max_queue_bytes, 1..=MOST_QUEUE_BYTES)?);
        set(&mut changed.slow_reader, self.slow_reader);
        set(&mut changed.idle_timeout, seconds("idle_timeout", self.idle_timeout)?);
        set(&mut changed.write_timeout, seconds("write_timeout", self.write_timeout)?);
        set(&mut changed.half_closed_timeout, seconds("half_closed_timeout", self.half_closed_timeout)?);
        set(&mut changed.active, seconds("active", self.active)?);
        *settings = changed;
        Ok(())
    }
}

fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

fn number(name: &str, value: Option<usize>, range: RangeInclusive<usize>) -> Result<Option<usize>, String> {
    let is_good = value.is_none_or(|value| range.contains(&value));
    is_good.then_some(value).ok_or_else(|| format!("{name}: expected {} to {}", range.start(), range.end()))
}

fn seconds(name: &str, value: Option<f64>) -> Result<Option<Duration>, String> {
    let is_good = value.is_none_or(|value| (0.0..=MOST_SECONDS).contains(&value));
    is_good.then(|| value.map(Duration::from_secs_f64)).ok_or_else(|| format!("{name}: expected 0 to {MOST_SECONDS}"))
}

const MOST_SOCKETS: usize = 1 << 20;
const MOST_MESSAGE_BYTES: usize = 16 << 20;
const MOST_QUEUE_BYTES: usize = 1 << 30;

/// A year.
const MOST_SECONDS: f64 = 3.2e7;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_is_changed_and_nothing_else() {
        let mut settings = Settings::default();
        let limits = Limits { max_sockets: Some(7), active: Some(0.5), ..Limits::default() };
        assert_eq!(limits.apply(&mut settings), Ok(()));
        let mut expected = Settings::default();
        (expected.max_sockets, expected.active) = (7, Duration::from_millis(500));
        assert_eq!(settings, expected);
        assert_eq!(Limits::from(&settings).apply(&mut settings), Ok(()));
        assert_eq!(settings, expected);
    }

    #[test]
    fn what_is_out_of_range_is_named_and_changes_nothing() {
        for (name, limits) in [
            ("max_sockets", Limits { max_sockets: Some(0), ..Limits::default() }),
            ("max_message_bytes", Limits { max_message_bytes: Some(17 << 20), ..Limits::default() }),
            ("idle_timeout", Limits { idle_timeout: Some(-1.0), ..Limits::default() }),
            ("active", Limits { active: Some(f64::NAN), ..Limits::default() }),
        ] {
            let mut settings = Settings::default();
            let limits = Limits { slow_reader: Some(SlowReader::Drop), ..limits };
            assert!(limits.apply(&mut settings).is_err_and(|error| error.starts_with(name)));
            assert_eq!(settings, Settings::default());
        }
    }
}
