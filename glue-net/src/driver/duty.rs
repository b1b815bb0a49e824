//! Work that any thread may want done and one thread at a time does for all.

use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

/// A duty: what is needed to do the work, and whether someone wants it done.
///
/// A thread that finds another one at it leaves without waiting, and the other one looks again before it stops.
#[derive(Debug)]
pub(super) struct Duty<T> {
    wanted: AtomicBool,
    tools: Mutex<T>,
}

/// How [`Duty::perform`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// All is done, or another thread is at it and sees what we wanted.
    Settled,
    /// Our rounds are used up: some other thread must go on.
    Unfinished,
}

impl<T> Duty<T> {
    pub(super) const fn new(tools: T) -> Self {
        Self { wanted: AtomicBool::new(false), tools: Mutex::new(tools) }
    }

    /// Does up to `rounds` rounds of the work, unless another thread is at it. `round` says whether it left some.
    pub(super) fn perform(&self, rounds: usize, mut round: impl FnMut(&mut T) -> bool) -> Outcome {
        self.wanted.store(true, Ordering::Release);
        let mut left = rounds;
        loop {
            // Pairs with the fence below: either we get the lock, or its holder sees `wanted` after letting go.
            fence(Ordering::SeqCst);
            let Some(mut tools) = try_lock(&self.tools) else { return Outcome::Settled };
            while self.wanted.swap(false, Ordering::AcqRel) {
                if left == 0 {
                    self.wanted.store(true, Ordering::Release);
                    return Outcome::Unfinished;
                }
                left -= 1;
                if round(&mut tools) {
                    self.wanted.store(true, Ordering::Release);
                }
            }
            drop(tools);
            fence(Ordering::SeqCst);
            if !self.wanted.load(Ordering::Relaxed) {
                return Outcome::Settled;
            }
        }
    }

    /// Wants the work done, but not by us; true if no thread is at it, so that one must be called.
    #[must_use]
    pub(super) fn leave(&self) -> bool {
        self.wanted.store(true, Ordering::Release);
        fence(Ordering::SeqCst);
        try_lock(&self.tools).is_some()
    }

    /// Waits until no one is at it and takes the tools.
    pub(super) fn lock(&self) -> MutexGuard<'_, T> {
        lock(&self.tools)
    }
}

/// Locks, whatever a thread that panicked left behind: a node's state is its own to check.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// As [`lock`], but `None` if it is taken.
pub(super) fn try_lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(error)) => Some(error.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    #[test]
    fn work_that_is_wanted_is_done_whoever_does_it() {
        const EACH: u64 = 20_000;
        let (duty, asked) = (Duty::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..EACH {
                        asked.fetch_add(1, Ordering::Relaxed);
                        let _ = duty.perform(usize::MAX, |done| {
                            *done = asked.load(Ordering::Relaxed);
                            false
                        });
                    }
                });
            }
        });
        assert_eq!(*duty.lock(), 4 * EACH, "the last wish was lost");
    }

    #[test]
    fn rounds_are_bounded_and_the_rest_stays_wanted() {
        let duty = Duty::new(0);
        let endless = |done: &mut i32| {
            *done += 1;
            true
        };
        assert_eq!(duty.perform(3, endless), Outcome::Unfinished);
        assert_eq!(*duty.lock(), 3);
        assert!(duty.wanted.load(Ordering::Relaxed));
    }

    #[test]
    fn a_round_may_want_its_own_duty_again() {
        let duty = Duty::new(0);
        let outcome = duty.perform(usize::MAX, |done| {
            *done += 1;
            if *done == 1 {
                assert_eq!(duty.perform(1, |_| unreachable!("taken")), Outcome::Settled);
            }
            false
        });
        assert_eq!((outcome, *duty.lock()), (Outcome::Settled, 2));
    }
}
