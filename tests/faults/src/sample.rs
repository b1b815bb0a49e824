//! What a process holds of memory, descriptors and threads, and whether that grows.

use std::path::Path;

use crate::slope::slope;

/// What a process holds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sample {
    /// Seconds since the soak began.
    pub seconds: f64,
    /// Resident memory in KiB.
    pub resident: u64,
    /// Open file descriptors.
    pub descriptors: u64,
    /// Threads: the endpoint's, and the application's.
    pub threads: u64,
}

impl Sample {
    /// What a process holds now; `None` if it is gone.
    #[must_use]
    pub fn take(process: u32, seconds: f64) -> Option<Self> {
        let place = Path::new("/proc").join(process.to_string());
        let status = std::fs::read_to_string(place.join("status")).ok()?;
        let field = |name: &str| {
            status.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
        };
        let descriptors = std::fs::read_dir(place.join("fd")).ok()?.count() as u64;
        Some(Self { seconds, resident: field("VmRSS:")?, descriptors, threads: field("Threads:")? })
    }
}

/// How fast what a process holds grows, an hour.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Growth {
    /// MiB of resident memory.
    pub resident: f64,
    /// File descriptors.
    pub descriptors: f64,
    /// Threads.
    pub threads: f64,
}

impl Growth {
    /// Of samples that were taken after `warm_up` seconds.
    #[must_use]
    pub fn of(samples: &[Sample], warm_up: f64) -> Self {
        let of = |value: fn(&Sample) -> f64| {
            let warm = samples.iter().filter(|sample| sample.seconds >= warm_up);
            let points: Vec<_> = warm.map(|sample| (sample.seconds / 3_600.0, value(sample))).collect();
            slope(&points)
        };
        Self {
            resident: of(|sample| sample.resident as f64 / 1_024.0),
            descriptors: of(|sample| sample.descriptors as f64),
            threads: of(|sample| sample.threads as f64),
        }
    }

    /// Whether that is flat: at most 1 MiB an hour, as the project promises, and less than one descriptor and one thread.
    #[must_use]
    pub fn is_flat(&self) -> bool {
        self.resident <= 1.0 && self.descriptors < 1.0 && self.threads < 1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two hours, a sample each ten seconds, of a process that grows after 10 minutes in which it starts up.
    fn samples(kib: u64, descriptors: u64, threads: u64) -> Vec<Sample> {
        let sample = |index: u32| {
            let seconds = u64::from(index) * 10;
            let value = |per_hour: u64| per_hour * seconds / 3_600;
            let resident = 50 * seconds.min(600) + value(kib) + seconds % 70 * 10;
            let (descriptors, threads) = (9 + value(descriptors), 4 + value(threads));
            Sample { seconds: f64::from(index) * 10.0, resident, descriptors, threads }
        };
        (0..720).map(sample).collect()
    }

    #[test]
    fn what_grows_is_caught_and_what_warms_up_is_not() {
        let growth = |kib, descriptors, threads| Growth::of(&samples(kib, descriptors, threads), 600.0);
        assert!(growth(0, 0, 0).is_flat());
        assert!(growth(800, 0, 0).is_flat());
        assert!(!growth(1_300, 0, 0).is_flat());
        assert!(!growth(0, 3, 0).is_flat());
        assert!(!growth(0, 0, 3).is_flat());
        assert!(!Growth::of(&samples(0, 0, 0), 0.0).is_flat(), "without the warm-up it would look like growth");
    }

    #[test]
    fn this_process_can_be_sampled() {
        let sample = Sample::take(std::process::id(), 1.0).unwrap();
        assert!(sample.resident > 500 && sample.descriptors >= 3 && sample.threads >= 1, "{sample:?}");
        assert_eq!(Sample::take(u32::MAX, 1.0), None);
    }
}
