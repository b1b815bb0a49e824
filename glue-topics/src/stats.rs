//! Counters.

/// What the topic layer has done since it was made. Messages that a subscriber's thread finds expired are not counted
/// here: it sees them as gaps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Messages published here.
    pub published: u64,
    /// Bundles closed.
    pub bundles_sent: u64,
    /// Messages that were not queued for a peer that could not take them, see [`crate::Topics::set_served`]; counted once
    /// for each such peer.
    pub skipped: u64,
    /// Bundles of peers, delivered in order.
    pub bundles_received: u64,
    /// Messages in them.
    pub messages_received: u64,
    /// Bundles that had to wait for an earlier one.
    pub bundles_held: u64,
    /// Bundles and notices that came again, or too late to be delivered in order.
    pub duplicates: u64,
    /// Messages that peers, or the limits here, gave up: what subscribers saw as gaps.
    pub missed: u64,
    /// How often the limit of what may wait was reached, and an earlier bundle given up.
    pub held_overflows: u64,
    /// Bundles of which only the beginning came.
    pub bundles_cut: u64,
    /// Heads, bodies or operations that could not be read.
    pub malformed: u64,
    /// Cargo of peers that are not known (any more).
    pub unknown_peer: u64,
    /// Bundles, classic messages and interests of a type that does not fit.
    pub type_mismatches: u64,
    /// Interests beyond [`crate::Config::max_interest_per_peer`] or [`crate::Config::max_names_bytes`].
    pub interest_refused: u64,
    /// Bundles of topics beyond [`crate::Config::max_streams_per_peer`] or [`crate::Config::max_names_bytes`].
    pub streams_refused: u64,
    /// Classic messages delivered.
    pub classic_received: u64,
    /// Classic messages that came after a later one was delivered, and were dropped.
    pub classic_late: u64,
    /// Classic messages that were dropped for another reason: their kind, name or sequence number, or their publisher
    /// is this endpoint.
    pub classic_refused: u64,
    /// Classic messages of topics beyond [`crate::Config::max_streams_per_peer`], delivered without order.
    pub classic_unordered: u64,
    /// Events beyond [`crate::Config::max_events`].
    pub events_dropped: u64,
}
