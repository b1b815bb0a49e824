//! Settings of reassembly.

use std::time::Duration;

/// Limits of reassembly.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Longest message that is put together, in bytes of its body. Default 64 MiB and 64 KiB (the header of a message of
    /// the default limit fits in), at least 64 KiB. Longer ones are dropped, and their order moves on.
    pub max_message_bytes: usize,
    /// Bytes of unfinished messages of all peers. Default 256 MiB. Beyond it the largest message of the peer that takes
    /// most is dropped, and its order moves on. See also [`crate::Joiner::set_budget`].
    pub budget_bytes: usize,
    /// Unfinished messages of one peer. Default 1,024; more are ignored, an honest peer has a few.
    pub max_partials_per_peer: usize,
    /// How long an unfinished classic message is kept after its last fragment came. Default 10 s. The reference sends
    /// each fragment again for half a second at most.
    pub classic_patience: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_message_bytes: (64 << 20) + (64 << 10),
            budget_bytes: 256 << 20,
            max_partials_per_peer: 1_024,
            classic_patience: Duration::from_secs(10),
        }
    }
}
