//! Wakes a thread that sleeps in `poll`.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// A pipe with at most a few bytes in it.
#[derive(Debug)]
pub(super) struct Waker {
    awake: AtomicBool,
    reader: PipeReader,
    writer: PipeWriter,
}

impl Waker {
    pub(super) fn new() -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        Ok(Self { awake: AtomicBool::new(false), reader, writer })
    }

    /// Makes the descriptor readable until [`Waker::clear`].
    pub(super) fn wake(&self) {
        if !self.awake.swap(true, Ordering::AcqRel) {
            // A byte or two never fill a pipe, and both ends live as long as we do.
            let _ = (&self.writer).write(&[0]);
        }
    }

    /// Takes back a wake-up. Only after `poll` has found the descriptor readable.
    pub(super) fn clear(&self) {
        // The flag first: a wake-up in between then writes a byte more, and costs one empty turn.
        self.awake.store(false, Ordering::Release);
        let _ = (&self.reader).read(&mut [0; 8]);
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;

    fn is_readable(waker: &Waker) -> bool {
        let mut fds = [PollFd::new(waker, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() == 1
    }

    #[test]
    fn many_wakes_are_one() {
        let waker = Waker::new().unwrap();
        assert!(!is_readable(&waker));
        (0..100_000).for_each(|_| waker.wake());
        assert!(is_readable(&waker));
        waker.clear();
        assert!(!is_readable(&waker));
        waker.wake();
        assert!(is_readable(&waker));
    }
}
