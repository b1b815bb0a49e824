//! When to stop: at a signal, or when the time is over.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep_until};

/// Why to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// SIGINT (Ctrl-C) or SIGTERM.
    Signal,
    /// The time is over.
    Time,
}

#[derive(Debug)]
pub(crate) struct Stop {
    interrupt: Signal,
    terminate: Signal,
    deadline: Option<Instant>,
}

impl Stop {
    /// Watches for signals; the time, if there is one, counts from now.
    pub(crate) fn after(time: Option<Duration>) -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            deadline: time.and_then(|time| Instant::now().checked_add(time)),
        })
    }

    /// Waits until it is time to stop. Cancel safe.
    pub(crate) async fn requested(&mut self) -> Cause {
        let time_is_over = async {
            match self.deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => Cause::Signal,
            _ = self.terminate.recv() => Cause::Signal,
            () = time_is_over => Cause::Time,
        }
    }

    /// Waits for a signal, whatever the time: for one who is out of patience with how long the end takes. Cancel safe.
    pub(crate) async fn insisted(&mut self) {
        self.deadline = None;
        self.requested().await;
    }
}
