//! Counters, read by one call.

/// What reassembly has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Bytes of unfinished messages held now.
    pub held_bytes: usize,
    /// Unfinished messages now.
    pub partials: usize,
    /// Messages dropped because they, or all together, were too long.
    pub over_budget: u64,
    /// Pieces ignored because their peer had too many unfinished messages, and dropped messages forgotten for room.
    pub over_partials: u64,
    /// Payloads that could not be read.
    pub malformed: u64,
    /// Classic messages given up because fragments were missing for too long.
    pub classic_expired: u64,
}
