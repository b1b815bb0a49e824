//! Memory, counted by what holds it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A running sum of bytes. A clone is another handle to the same sum.
///
/// What is shared by many is counted once, and given back when the last of them has let go of it, without anybody having
/// to think of it.
#[derive(Clone, Debug, Default)]
pub struct Gauge(Arc<AtomicUsize>);

/// Bytes that count until this is dropped.
#[derive(Debug, Default)]
pub struct Held {
    gauge: Gauge,
    bytes: usize,
}

impl Gauge {
    /// Counts `bytes` as held.
    #[must_use]
    pub fn hold(&self, bytes: usize) -> Held {
        let mut held = Held { gauge: self.clone(), bytes: 0 };
        held.set(bytes);
        held
    }

    /// All that is held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Held {
    /// How much it holds.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// It holds `bytes` now.
    #[inline]
    pub fn set(&mut self, bytes: usize) {
        if bytes > self.bytes {
            self.gauge.0.fetch_add(bytes - self.bytes, Ordering::Relaxed);
        } else if bytes < self.bytes {
            self.gauge.0.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
        }
        self.bytes = bytes;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_counts_until_it_is_dropped() {
        let gauge = Gauge::default();
        let (first, mut second) = (Arc::new(gauge.hold(5)), gauge.hold(7));
        let shared = Arc::clone(&first);
        assert_eq!(gauge.bytes(), 12);
        second.set(3);
        drop(first);
        assert_eq!(gauge.bytes(), 8);
        drop((shared, second));
        assert_eq!(gauge.bytes(), 0);
    }
}
