//! Counters of the whole endpoint.

/// What no layer counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Datagrams that are neither native nor a classic container.
    pub malformed: u64,
    /// Classic frames of another network.
    pub wrong_network: u64,
    /// Classic frames that are not for us, or whose sender has not announced itself.
    pub stray_frames: u64,
    /// Publishes that found a queue full.
    pub publishes_held_back: u64,
    /// Sessions that a peer had to begin anew.
    pub sessions_lost: u64,
}
