//! What the driver counts.

use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicU64, Ordering};

/// What a driver has done since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DriverStats {
    /// Datagrams handed to the node.
    pub datagrams_received: u64,
    /// Datagrams that the kernel took.
    pub datagrams_sent: u64,
    /// System calls that sent them, several at a time where they go to one peer and have one length.
    pub sends: u64,
    /// Bytes of them.
    pub bytes_sent: u64,
    /// Datagrams dropped because the socket's buffer stayed full.
    pub send_full: u64,
    /// Datagrams refused because they exceed an interface's MTU.
    pub send_too_big: u64,
    /// Datagrams refused otherwise (no route, forbidden, ..).
    pub send_refused: u64,
    /// Receives that failed.
    pub receive_errors: u64,
    /// Turns in which the service thread received because the receive thread was held up by the application.
    pub takeovers: u64,
    /// Times that the application's sink panicked.
    pub sink_panics: u64,
}

/// [`DriverStats`] in the making.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) datagrams_received: AtomicU64,
    pub(super) receive_errors: AtomicU64,
    pub(super) takeovers: AtomicU64,
    pub(super) sink_panics: AtomicU64,
    datagrams_sent: AtomicU64,
    sends: AtomicU64,
    bytes_sent: AtomicU64,
    send_full: AtomicU64,
    send_too_big: AtomicU64,
    send_refused: AtomicU64,
}

impl Counters {
    pub(super) fn count_sent(&self, datagrams: usize, bytes: usize, sent: &io::Result<()>) {
        let counter = match sent {
            Ok(()) => {
                count(&self.sends, 1);
                count(&self.bytes_sent, bytes);
                &self.datagrams_sent
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => &self.send_full,
            Err(error) if error.raw_os_error() == Some(EMSGSIZE) => &self.send_too_big,
            Err(error) => {
                tracing::trace!(%error, "send refused");
                &self.send_refused
            }
        };
        count(counter, datagrams);
    }

    pub(super) fn read(&self) -> DriverStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        DriverStats {
            datagrams_received: read(&self.datagrams_received),
            datagrams_sent: read(&self.datagrams_sent),
            sends: read(&self.sends),
            bytes_sent: read(&self.bytes_sent),
            send_full: read(&self.send_full),
            send_too_big: read(&self.send_too_big),
            send_refused: read(&self.send_refused),
            receive_errors: read(&self.receive_errors),
            takeovers: read(&self.takeovers),
            sink_panics: read(&self.sink_panics),
        }
    }
}

pub(super) fn count(counter: &AtomicU64, by: usize) {
    counter.fetch_add(by as u64, Ordering::Relaxed);
}

const EMSGSIZE: i32 = nix::errno::Errno::EMSGSIZE as i32;
