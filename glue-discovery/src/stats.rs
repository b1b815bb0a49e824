//! Counters.

/// Counts since the start. Each announcement heard is counted once in `announcements_heard`, and once more in one of
/// the `ignored_*` if it changed nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Announcements handed in.
    pub announcements_heard: u64,
    /// Our announcements to targets, one for each datagram.
    pub announcements_sent: u64,
    /// Our announcements by unicast in answer to a peer.
    pub answers_sent: u64,
    /// Our announcements by unicast to peers that fell silent.
    pub probes_sent: u64,
    /// Other peers' announcements passed on.
    pub forwards_sent: u64,
    /// Goodbyes sent, one for each datagram.
    pub goodbyes_sent: u64,
    /// Peers that came up.
    pub peers_up: u64,
    /// Peers that went down.
    pub peers_down: u64,
    /// Changes of a peer's data address.
    pub peers_moved: u64,
    /// Our own announcements, heard again.
    pub ignored_own: u64,
    /// Announcements of other networks.
    pub ignored_network: u64,
    /// Containers that are no announcement.
    pub ignored_frame: u64,
    /// Announcements in the clear in a private network, and announcements of members elsewhere.
    pub ignored_stranger: u64,
    /// No name, a name over 1,024 bytes, or native version 0.
    pub ignored_malformed: u64,
    /// Announcements without a data address that we could reach.
    pub ignored_unreachable: u64,
    /// Announcements of a life that is over; in a private network also those that are not the latest of their endpoint.
    pub ignored_stale: u64,
    /// Announcements of an id or a name that another endpoint holds.
    pub ignored_clash: u64,
    /// Newcomers beyond `max_peers`.
    pub ignored_full: u64,
    /// Announcements while `max_events` wait.
    pub ignored_events: u64,
    /// Newcomers after we left.
    pub ignored_leaving: u64,
    /// Answers not sent because the peer had one just before.
    pub answers_limited: u64,
    /// Answers not sent because of `max_answers` or `max_greetings`.
    pub answers_dropped: u64,
    /// Announce intervals in which `forward_budget` was used up and announcements to pass on had to wait.
    pub forwards_delayed: u64,
    /// Datagrams not sent because of `max_jobs`.
    pub jobs_dropped: u64,
    /// Addresses of peers dropped because of `max_addresses`.
    pub addresses_dropped: u64,
    /// Clashes only counted because of `max_clashes`.
    pub clashes_dropped: u64,
    /// Former peers forgotten because of `max_remembered`.
    pub forgotten: u64,
}

/// Why an announcement changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ignored {
    Clash,
    Events,
    Frame,
    Full,
    Leaving,
    Malformed,
    Network,
    Own,
    Stale,
    Stranger,
    Unreachable,
}

impl Stats {
    pub(crate) const fn count_ignored(&mut self, why: Ignored) {
        let counter = match why {
            Ignored::Clash => &mut self.ignored_clash,
            Ignored::Events => &mut self.ignored_events,
            Ignored::Frame => &mut self.ignored_frame,
            Ignored::Full => &mut self.ignored_full,
            Ignored::Leaving => &mut self.ignored_leaving,
            Ignored::Malformed => &mut self.ignored_malformed,
            Ignored::Network => &mut self.ignored_network,
            Ignored::Own => &mut self.ignored_own,
            Ignored::Stale => &mut self.ignored_stale,
            Ignored::Stranger => &mut self.ignored_stranger,
            Ignored::Unreachable => &mut self.ignored_unreachable,
        };
        *counter += 1;
    }
}
