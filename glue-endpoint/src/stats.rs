//! Counters of the whole endpoint.

/// What no layer counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Datagrams that are neither native nor a classic container.
    pub malformed: u64,
    /// In a private network: datagrams in the clear.
    pub clear: u64,
    /// Datagrams sealed under another key, or changed on the way; without a key all that are sealed for all members.
    pub foreign: u64,
    /// In a private network: announcements of members that are not trusted ([`crate::Trust`]).
    pub untrusted: u64,
    /// Classic frames of another network.
    pub wrong_network: u64,
    /// Classic frames that are not for us, or whose sender has not announced itself.
    pub stray_frames: u64,
    /// Publishes that found a queue full.
    pub publishes_held_back: u64,
    /// Publishes that found too little memory left.
    pub publishes_short_of_memory: u64,
    /// How often a peer that did not take what is published was isolated, see [`crate::Pace`].
    pub peers_isolated: u64,
    /// How often an isolated peer lost its queue as well.
    pub peers_disconnected: u64,
    /// Queues that were dropped, of such peers and for want of memory.
    pub queues_dropped: u64,
    /// Payloads in them.
    pub payloads_dropped: u64,
    /// Datagrams not taken in, as if they were lost, since their peer held more than its share of the memory.
    pub datagrams_refused: u64,
    /// Peers out of reach that were forgotten early, since there were too many.
    pub forgotten_early: u64,
    /// Sessions that a peer had to begin anew.
    pub sessions_lost: u64,
}
