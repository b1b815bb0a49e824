//! How much may be under way: one file, one algorithm.

use std::time::Duration;

use glue_net::Instant;

/// The congestion controller of one path.
#[derive(Clone, Debug)]
pub(crate) struct Congestion {
    window: u64,
}

/// What a packet remembers of the moment it was sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stamp {
    pub(crate) sent_at: Instant,
}

impl Congestion {
    /// Packets that may be under way before anything is known of the path.
    const INITIAL_PACKETS: u64 = 32;
    /// Beyond this the window is the receiver's matter.
    const MAX_WINDOW: u64 = 64 << 20;

    pub(crate) const fn new(datagram_bytes: u64) -> Self {
        Self { window: Self::INITIAL_PACKETS * datagram_bytes }
    }

    /// Bytes that may be under way.
    pub(crate) const fn window(&self) -> u64 {
        self.window
    }

    pub(crate) const fn handle_sent(&self, now: Instant) -> Stamp {
        Stamp { sent_at: now }
    }

    /// A packet of `bytes` arrived; `limited` says whether the window was what held the sender back.
    pub(crate) fn handle_ack(&mut self, bytes: u64, limited: bool, _rtt: Duration) {
        if limited {
            self.window = (self.window + bytes).min(Self::MAX_WINDOW);
        }
    }
}
