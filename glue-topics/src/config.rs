//! Settings of the topic layer.

use std::time::Duration;

/// Limits and times of the topic layer. [`crate::Topics::new`] refuses values out of range.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// Bytes of payload in one message. Default 64 MiB; 1 byte to 1 GiB. A larger publish is an error. A subscriber
    /// that joins fragments needs memory for one such message from each peer.
    pub max_message_bytes: usize,
    /// Bytes in the name of a topic. Default 1,024; 1 to 1,024 (a skip notice names the topic in its head, which is at
    /// most 2 KiB). The name stands once in every bundle.
    pub max_topic_bytes: usize,
    /// Bytes in the type of a topic. Default 1,024; 0 to 1,024 (the beginning of a bundle, which is kept when the
    /// rest is dropped, must tell what it is). The type stands once in every bundle.
    pub max_type_bytes: usize,
    /// Subscriptions of this endpoint at one time. Default 65,536; at least 1. Each costs about 200 bytes, and one
    /// entry of interest at every native peer.
    pub max_subscriptions: usize,
    /// Publications of this endpoint in use at one time. Default 65,536; at least 1. Each costs about 800 bytes, and
    /// while a bundle is open what fits one datagram.
    pub max_publications: usize,
    /// Publications that are no longer in use, but whose sequence numbers are remembered, so that one that is used
    /// again goes on where it stopped. Default 4,096; any. The longest unused goes first; a topic that was forgotten
    /// and is published again starts above every number that was ever used, not at 1.
    pub max_idle_publications: usize,
    /// Filters of topics that one peer may be interested in. Default 65,536; at least 1. Each costs about 150 bytes. Interest
    /// beyond is refused: counted, and told as [`crate::Event::InterestRefused`].
    pub max_interest_per_peer: usize,
    /// Topics of one peer whose order is kept. Default 65,536; at least 1. Each costs about 300 bytes. A bundle of a
    /// further topic is dropped, and its subscribers see a gap; a classic message of a further topic is delivered as it
    /// comes, in whatever order.
    pub max_streams_per_peer: usize,
    /// Bytes of the names of topics that all peers are interested in or publish, and of what is kept with each. Default
    /// 32 MiB; any. One peer may have no more than what is left for others; beyond, it is as with the limits above.
    pub max_names_bytes: usize,
    /// Bytes of bundles that wait for an earlier one of the same topic, per peer. Default 64 MiB; any (one bundle may
    /// always wait). Beyond, the earlier ones are given up: a gap.
    pub max_held_bytes_per_peer: usize,
    /// Bundles that wait for an earlier one, per peer. Default 131,072; at least 1. Each costs about 200 bytes of its
    /// own.
    pub max_held_bundles_per_peer: usize,
    /// Bytes of this endpoint's own messages that wait for its own subscriptions, all together. Default 12 MiB; any.
    /// One that would exceed it is a gap.
    pub max_own_bytes: usize,
    /// Bytes of what all publications keep for those who join later, see [`crate::History`]. Default 24 MiB; any. A
    /// publication whose message would exceed it drops its oldest.
    pub max_history_bytes: usize,
    /// Bytes of the budgets of all caches of this endpoint. Default 40 MiB; any.
    pub max_cache_bytes: usize,
    /// Topics of peers, each of one publisher, of which it is remembered how far subscriptions have come. Default 4,096; any.
    /// Each costs about 300 bytes, 1.3 KB with the longest name of its own. Beyond, the oldest is forgotten: after its session
    /// was lost, its history may come again, and what is missing is not told.
    pub max_cursors: usize,
    /// How long a classic message waits for one that may come before it. Default 20 ms; any, 0 delivers as it comes.
    /// The classic wire does not number messages without holes, so a hole is waited for, in vain if nothing was lost.
    pub classic_hold: Duration,
    /// The room of a datagram to a peer before [`crate::Topics::set_room`] told it, in bytes. Default 1,000; at least
    /// 1.
    pub initial_room_bytes: usize,
    /// Topics whose counters are kept when they are no longer in use, see [`crate::Topics::topic_stats`]. Default 4,096;
    /// any. Each costs about 250 bytes. Those of further topics are counted together.
    pub max_counted_topics: usize,
    /// Topics that this endpoint serves, and groups that it is a member of, at one time. Default 65,536; at least 1. Each
    /// costs about 200 bytes, and one entry of interest at every native peer. Peers may have
    /// [`Config::max_interest_per_peer`] each.
    pub max_services: usize,
    /// Requests of this endpoint that wait for answers; one that goes to several responders counts as so many. Default
    /// 16,384; at least 1. Each costs about 400 bytes. Further ones are errors.
    pub max_calls: usize,
    /// Bytes of their payloads. Default 16 MiB; any. The largest message passes when no other waits.
    pub max_call_bytes: usize,
    /// Messages of this endpoint that groups have yet to process. Default 65,536; at least 1. Each costs about 600 bytes.
    /// Beyond, publishers wait ([`crate::Topics::has_share_room`]), or the oldest are dropped.
    pub max_shares: usize,
    /// Bytes of them. Default 16 MiB; any. The largest message passes when no other waits.
    pub max_share_bytes: usize,
    /// Messages that one member has and has not processed. Default 64; at least 1. More keeps a member busy over a longer
    /// round trip, fewer are in vain when it dies.
    pub member_window: usize,
    /// Requests and shares that wait here to be answered, of all peers. Default 65,536; at least 1. One peer may have no more than
    /// what is left for others; each costs about 300 bytes and its payload. Further ones are returned.
    pub max_requests_waiting: usize,
    /// A peer that is out of reach for so long counts as gone, as far as requests are concerned. Default 2 s; any.
    pub out_of_reach: Duration,
    /// Tokens that this endpoint may hold, and that each peer may. Default 4,096; any. Each costs about 150 bytes, which
    /// count as names. Further ones are refused; those of peers are counted.
    pub max_tokens: usize,
    /// Wills that this endpoint may have, and that each peer may. Default 64; any. Each costs about 200 bytes, which count as
    /// names. Further ones are refused; those of peers are counted.
    pub max_wills: usize,
    /// Bytes of topics, types and payloads of this endpoint's wills, and of each peer's, which count as names. Default
    /// 64 KiB; any. Each peer is told all of them at its start. Beyond, wills are refused; those of peers are counted.
    pub max_will_bytes: usize,
    /// Events that wait to be polled. Default 1,024; at least 1. Further ones are dropped, and counted.
    pub max_events: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_message_bytes: 64 << 20,
            max_topic_bytes: 1_024,
            max_type_bytes: 1_024,
            max_subscriptions: 65_536,
            max_publications: 65_536,
            max_idle_publications: 4_096,
            max_interest_per_peer: 65_536,
            max_streams_per_peer: 65_536,
            max_names_bytes: 32 << 20,
            max_held_bytes_per_peer: 64 << 20,
            max_held_bundles_per_peer: 131_072,
            max_own_bytes: 12 << 20,
            max_history_bytes: 24 << 20,
            max_cache_bytes: 40 << 20,
            max_cursors: 4_096,
            classic_hold: Duration::from_millis(20),
            initial_room_bytes: 1_000,
            max_counted_topics: 4_096,
            max_services: 65_536,
            max_calls: 16_384,
            max_call_bytes: 16 << 20,
            max_requests_waiting: 65_536,
            max_shares: 65_536,
            max_share_bytes: 16 << 20,
            member_window: 64,
            out_of_reach: Duration::from_secs(2),
            max_tokens: 4_096,
            max_wills: 64,
            max_will_bytes: 64 << 10,
            max_events: 1_024,
        }
    }
}

impl Config {
    /// Whether every value is in its range.
    ///
    /// # Errors
    /// [`ConfigError`] names the first value that is not.
    pub fn check(&self) -> Result<(), ConfigError> {
        let ranges = [
            ("max_message_bytes", self.max_message_bytes, 1..=1 << 30),
            ("max_topic_bytes", self.max_topic_bytes, 1..=1_024),
            ("max_type_bytes", self.max_type_bytes, 0..=1_024),
            ("max_subscriptions", self.max_subscriptions, 1..=MOST),
            ("max_publications", self.max_publications, 1..=MOST),
            ("max_interest_per_peer", self.max_interest_per_peer, 1..=MOST),
            ("max_streams_per_peer", self.max_streams_per_peer, 1..=MOST),
            ("max_held_bundles_per_peer", self.max_held_bundles_per_peer, 1..=MOST),
            ("initial_room_bytes", self.initial_room_bytes, 1..=MOST),
            ("max_services", self.max_services, 1..=MOST),
            ("max_calls", self.max_calls, 1..=MOST),
            ("max_shares", self.max_shares, 1..=MOST),
            ("member_window", self.member_window, 1..=MOST),
            ("max_requests_waiting", self.max_requests_waiting, 1..=MOST),
            ("max_events", self.max_events, 1..=MOST),
        ];
        let bad = ranges.into_iter().find(|(_, value, range)| !range.contains(value));
        bad.map_or(Ok(()), |(name, value, range)| {
            Err(ConfigError { name, value, least: *range.start(), most: *range.end() })
        })
    }
}

/// Which setting is out of range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} is {value}: it must be from {least} to {most}")]
#[non_exhaustive]
pub struct ConfigError {
    /// The field of [`Config`].
    pub name: &'static str,
    /// Its value.
    pub value: usize,
    /// The least that it may be.
    pub least: usize,
    /// The most that it may be.
    pub most: usize,
}

/// Counts that have no bound of their own stay below what a `u32` numbers.
const MOST: usize = u32::MAX as usize;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_in_range_and_a_bad_value_is_named() {
        assert_eq!(Config::default().check(), Ok(()));
        let error = Config { max_topic_bytes: 2_000, ..Config::default() }.check().unwrap_err();
        assert_eq!(error.to_string(), "max_topic_bytes is 2000: it must be from 1 to 1024");
    }
}
