//! Counters, read by one call.

use std::time::Duration;

/// What the transport has seen in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Native datagrams that could not be read.
    pub malformed: u64,
    /// Data for a token that no session has: from before a restart, or not for us.
    pub unknown_token: u64,
    /// Hellos for another network, another endpoint or another life.
    pub stray_hellos: u64,
    /// Datagrams that bear a peer's token and were not sealed by it, and handshakes that are not its.
    pub forged: u64,
    /// Private datagrams and hellos that came before.
    pub replayed: u64,
    /// First messages of handshakes that were answered by a cookie, since many others were half open.
    pub cookies_sent: u64,
}

impl Stats {
    /// Datagrams that no peer sent: what cannot be read, and data that is not of a session.
    #[must_use]
    pub const fn junk(&self) -> u64 {
        self.malformed + self.unknown_token + self.forged
    }
}

/// What was exchanged with one peer, and how the path is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerStats {
    /// Datagrams sent.
    pub packets_sent: u64,
    /// Bytes of the datagrams sent.
    pub bytes_sent: u64,
    /// Datagrams received, duplicates not counted.
    pub packets_received: u64,
    /// Bytes of the datagrams received.
    pub bytes_received: u64,
    /// Datagrams that counted as lost, but for those that only tried a length.
    pub packets_lost: u64,
    /// Payloads sent again.
    pub payloads_resent: u64,
    /// Datagrams that came more than once.
    pub duplicate_packets: u64,
    /// Payloads that came more than once.
    pub duplicate_payloads: u64,
    /// Payloads that expired before they were acknowledged: sent in vain, or never.
    pub expired: u64,
    /// Best-effort payloads that were lost, as far as could be told: a notice was sent in their place.
    pub payloads_lost: u64,
    /// Payloads skipped because the peer's queue was full.
    pub dropped_full: u64,
    /// Payloads refused because the peer sent more than it was allowed to.
    pub over_credit: u64,
    /// Frames or acks that made no sense.
    pub malformed_frames: u64,
    /// Bytes queued or unacknowledged.
    pub queue_bytes: usize,
    /// Bytes under way, by the weight that they have in the receiver's buffer.
    pub in_flight: u64,
    /// The congestion window, in bytes; the largest number on loopback, where there is none.
    pub congestion_window: u64,
    /// The smoothed round trip.
    pub rtt: Duration,
    /// The shortest round trip seen.
    pub min_rtt: Duration,
    /// The largest datagram that carries payload on this path now, in bytes.
    pub datagram_bytes: usize,
    /// Datagrams sent to try whether the path carries longer ones.
    pub mtu_probes: u64,
    /// Times that the path was found to carry less than before.
    pub black_holes: u64,
}
