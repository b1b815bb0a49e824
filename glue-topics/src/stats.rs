//! Counters.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use crate::message::GapReason;
use crate::name::TopicName;

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
    /// Messages that were not kept for those who join later, over a limit of [`crate::History`].
    pub history_dropped: u64,
    /// Topics of peers that were forgotten beyond [`crate::Config::max_cursors`]: what was got of their history, and where in
    /// them subscriptions are, each counted by itself.
    pub cursors_forgotten: u64,
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
    /// Tokens and wills of peers beyond [`crate::Config::max_tokens`], [`crate::Config::max_wills`],
    /// [`crate::Config::max_will_bytes`] or [`crate::Config::max_names_bytes`].
    pub claims_refused: u64,
    /// Wills of peers that some subscription got.
    pub wills_delivered: u64,
    /// Pairs of a publication and a peer, or subscriptions of one, that do not match: what is offered is less than what is
    /// requested. Once each time that it is found.
    pub qos_mismatches: u64,
    /// Periods without a message, of deadlines offered or requested.
    pub deadlines_missed: u64,
    /// Deadlines that are not watched, beyond 65,536.
    pub deadlines_refused: u64,
    /// Events beyond [`crate::Config::max_events`].
    pub events_dropped: u64,
    /// Requests of this endpoint; each once, however many responders got it.
    pub requests_sent: u64,
    /// Requests beyond [`crate::Config::max_calls`] or [`crate::Config::max_call_bytes`].
    pub requests_refused: u64,
    /// Requests that came for services of this endpoint.
    pub requests_received: u64,
    /// Requests of peers that were returned: beyond [`crate::Config::max_requests_waiting`], too large, or too late.
    pub requests_returned: u64,
    /// Messages of this endpoint for groups; each once for each group.
    pub shares: u64,
    /// Those that a member has processed.
    pub shares_done: u64,
    /// Those that expired before.
    pub shares_expired: u64,
    /// Those that were dropped beyond [`crate::Config::max_shares`] or [`crate::Config::max_share_bytes`], or that no
    /// member could take.
    pub shares_dropped: u64,
    /// What peers did that they may not ([`crate::Permissions`]): messages, requests, and each time that they asked for a topic.
    pub not_permitted: u64,
    /// Answers that nobody waited for any more.
    pub stale_answers: u64,
    /// Services of peers beyond [`crate::Config::max_interest_per_peer`] or [`crate::Config::max_names_bytes`].
    pub offers_refused: u64,
}

/// What was published and received on one topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicStats {
    /// Messages published here.
    pub published: u64,
    /// Bytes of their payloads.
    pub published_bytes: u64,
    /// Copies of them handed over to be sent, one for each peer that gets the message.
    pub copies: u64,
    /// Publishes that were refused or had to wait, as a subscriber's queue was full.
    pub held_back: u64,
    /// Messages published here that subscriptions of this endpoint got.
    pub delivered_here: u64,
    /// What came from peers.
    pub received: Received,
}

/// Messages that came from peers: of one topic, or from one peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Received {
    /// Messages whose turn came, each once.
    pub messages: u64,
    /// Bytes of the bundles that held them; of the payloads, if they were classic.
    pub bytes: u64,
    /// Those of the messages that some subscription got. One that its thread finds expired counts here, and the thread
    /// sees a gap.
    pub delivered: u64,
    /// Bundles and notices that came again, or too late to be delivered in order.
    pub duplicates: u64,
    /// Bundles and notices that had to wait for an earlier one; classic messages that had to wait.
    pub held: u64,
    /// Classic messages that came after a later one was delivered, and were dropped.
    pub late: u64,
    /// Messages that are missing.
    pub gaps: Gaps,
}

/// Messages that are missing, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gaps {
    /// See [`GapReason::Expired`].
    pub expired: u64,
    /// See [`GapReason::Overflow`].
    pub overflow: u64,
    /// See [`GapReason::PublisherGone`].
    pub publisher_gone: u64,
    /// See [`GapReason::Malformed`].
    pub malformed: u64,
    /// See [`GapReason::Lost`].
    pub lost: u64,
    /// See [`GapReason::NotKept`].
    pub not_kept: u64,
    /// See [`GapReason::Other`].
    pub other: u64,
}

impl Gaps {
    /// Messages missing for any reason.
    #[must_use]
    pub const fn total(&self) -> u64 {
        let Self { expired, overflow, publisher_gone, malformed, lost, not_kept, other } = *self;
        // A peer may claim a gap of any length.
        let given_up = expired.saturating_add(overflow).saturating_add(publisher_gone).saturating_add(lost);
        given_up.saturating_add(malformed).saturating_add(not_kept).saturating_add(other)
    }

    pub(crate) const fn add(&mut self, reason: GapReason, count: u64) {
        let sum = match reason {
            GapReason::Expired => &mut self.expired,
            GapReason::Overflow => &mut self.overflow,
            GapReason::PublisherGone => &mut self.publisher_gone,
            GapReason::Malformed => &mut self.malformed,
            GapReason::Lost => &mut self.lost,
            GapReason::NotKept => &mut self.not_kept,
            GapReason::Other(_) => &mut self.other,
        };
        *sum = sum.saturating_add(count);
    }
}

impl AddAssign for Gaps {
    fn add_assign(&mut self, other: Self) {
        for (reason, count) in [
            (GapReason::Expired, other.expired),
            (GapReason::Overflow, other.overflow),
            (GapReason::PublisherGone, other.publisher_gone),
            (GapReason::Malformed, other.malformed),
            (GapReason::Lost, other.lost),
            (GapReason::NotKept, other.not_kept),
            (GapReason::Other(0), other.other),
        ] {
            self.add(reason, count);
        }
    }
}

impl AddAssign for Received {
    fn add_assign(&mut self, other: Self) {
        let Self { messages, bytes, delivered, duplicates, held, late, gaps } = other;
        self.messages += messages;
        self.bytes += bytes;
        self.delivered += delivered;
        self.duplicates += duplicates;
        self.held += held;
        self.late += late;
        self.gaps += gaps;
    }
}

impl AddAssign for TopicStats {
    fn add_assign(&mut self, other: Self) {
        let Self { published, published_bytes, copies, held_back, delivered_here, received } = other;
        self.published += published;
        self.published_bytes += published_bytes;
        self.copies += copies;
        self.held_back += held_back;
        self.delivered_here += delivered_here;
        self.received += received;
    }
}

/// The counters of topics that are no longer in use.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    topics: BTreeMap<TopicName, TopicStats>,
    /// Of all topics for which there was no place.
    others: TopicStats,
}

impl Ledger {
    /// Adds what was counted of a topic; if the ledger is full of others, they share one place.
    pub(crate) fn add(&mut self, topic: &TopicName, stats: TopicStats, limit: usize) {
        if let Some(sum) = self.topics.get_mut(topic) {
            *sum += stats;
        } else if self.topics.len() < limit {
            self.topics.insert(topic.clone(), stats);
        } else {
            self.others += stats;
        }
    }

    pub(crate) fn add_received(&mut self, topic: &TopicName, received: Received, limit: usize) {
        if received != Received::default() {
            self.add(topic, TopicStats { received, ..TopicStats::default() }, limit);
        }
    }

    pub(crate) const fn topics(&self) -> &BTreeMap<TopicName, TopicStats> {
        &self.topics
    }

    pub(crate) const fn others(&self) -> TopicStats {
        self.others
    }
}
