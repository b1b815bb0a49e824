//! Settings of the whole endpoint.

use std::time::Duration;

use glue_topics::Trust;

use crate::private::Security;

/// Settings of the engine: each layer's own, and what lies between them.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Makes the network private. Default `None`: everything is sent in the clear, and anyone may join.
    pub security: Option<Security>,
    /// Which members of a private network are taken in, and what they may do. Default `None`: all, everything. Looked at
    /// when a peer is met, so it costs nothing for each message that is allowed.
    pub trust: Option<Trust>,
    /// Who we are, and how we are found.
    pub discovery: glue_discovery::Config,
    /// Limits and times of the transport.
    pub transport: glue_transport::Config,
    /// Limits of reassembly.
    pub fragment: glue_fragment::Config,
    /// Limits of topics.
    pub topics: glue_topics::Config,
    /// Bytes of messages held at a time: queued, under way, waiting for others or for the application. Default 256 MiB;
    /// at least 32 MiB. Set it by [`Config::with_memory_budget`], which makes the other limits fit.
    pub memory_budget_bytes: usize,
    /// Bytes queued for a reachable subscriber beyond which publishers wait. Default 8 MiB; at least 1 KiB. Larger
    /// smooths bursts, and lets what is queued grow older.
    pub publish_queue_bytes: usize,
    /// A reachable peer with a full queue that takes nothing for so long is no longer waited for. Default 200 ms; any. At
    /// most so long can it hold up publishers each time that it stops, which is 4 % of 5 s. A pause of a collector or a
    /// scheduler is most often shorter; a longer one loses nothing unless 8 MiB are published during it.
    pub slow_peer_stall: Duration,
    /// A reachable peer that does not take half of its full queue in so long is no longer waited for. Default 30 s; any.
    /// With a queue of 8 MiB a link of 1.1 Mbit/s is fast enough.
    pub slow_peer_wait: Duration,
    /// A peer that is no longer waited for and takes nothing for so long loses its queue. Default 60 s; `None`: never. It
    /// costs what is queued for it until then.
    pub slow_peer_disconnect: Option<Duration>,
    /// How long a peer that is out of reach is remembered: if it returns within that time, everything unexpired goes on
    /// where it was. Default 10 min. Each remembered peer costs what is queued for it.
    pub forget_after: Duration,
}

impl Config {
    /// The least memory budget, in bytes: it leaves room for messages of 8 MiB.
    pub const LEAST_MEMORY_BUDGET: usize = 32 << 20;
    /// The memory budget unless another is set.
    pub const DEFAULT_MEMORY_BUDGET: usize = 256 << 20;

    /// The defaults, for the endpoint that `discovery` describes.
    #[must_use]
    pub fn new(discovery: glue_discovery::Config) -> Self {
        let config = Self {
            security: None,
            trust: None,
            discovery,
            transport: glue_transport::Config::default(),
            fragment: glue_fragment::Config::default(),
            topics: glue_topics::Config::default(),
            memory_budget_bytes: 0,
            publish_queue_bytes: 0,
            slow_peer_stall: Duration::from_millis(200),
            slow_peer_wait: Duration::from_secs(30),
            slow_peer_disconnect: Some(Duration::from_secs(60)),
            forget_after: Duration::from_secs(600),
        };
        config.with_memory_budget(Self::DEFAULT_MEMORY_BUDGET)
    }

    /// Sets the memory budget, and the limits that follow from it: of messages (64 MiB by default), queues (8 and
    /// 80 MiB), credit (8 MiB), own messages (12 MiB), history (24 MiB), caches
    /// (40 MiB) and peers (1,024). A smaller budget makes them smaller in proportion;
    /// a larger one leaves them, but for that of caches, and lets more peers have all of them.
    #[must_use]
    pub fn with_memory_budget(mut self, bytes: usize) -> Self {
        let part = |of_default: usize| {
            let scaled = of_default as u128 * bytes as u128 / Self::DEFAULT_MEMORY_BUDGET as u128;
            usize::try_from(scaled).unwrap_or(usize::MAX).min(of_default)
        };
        self.memory_budget_bytes = bytes;
        self.publish_queue_bytes = part(8 << 20);
        self.transport.max_queue_bytes = part(80 << 20);
        self.transport.receive_window_bytes = part(8 << 20) as u64;
        self.transport.initial_credit_bytes = FIRST_CREDIT_BYTES;
        self.topics.max_message_bytes = part(64 << 20);
        self.topics.max_held_bytes_per_peer = part(64 << 20);
        self.topics.max_own_bytes = part(12 << 20);
        self.topics.max_history_bytes = part(24 << 20);
        self.topics.max_call_bytes = part(16 << 20);
        self.topics.max_share_bytes = part(16 << 20);
        self.topics.max_names_bytes = part(32 << 20);
        self.topics.max_cache_bytes = self.cache_bytes();
        self.fragment.max_message_bytes = self.topics.max_message_bytes + HEADER_BYTES;
        self.fragment.budget_bytes = self.incoming_bytes();
        self.discovery.max_peers = self.discovery.max_peers.min(part(1_024));
        self
    }

    /// Whether the limits fit each other and the budget.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if self.trust.is_some() && self.security.is_none() {
            return Err(ConfigError::TrustWithoutKey);
        }
        let message = self.topics.max_message_bytes;
        let window = usize::try_from(self.transport.receive_window_bytes).unwrap_or(usize::MAX);
        let credits = usize::try_from(self.transport.initial_credit_bytes).unwrap_or(usize::MAX);
        let least = [
            ("memory_budget_bytes", self.memory_budget_bytes, Self::LEAST_MEMORY_BUDGET),
            ("publish_queue_bytes", self.publish_queue_bytes, 1 << 10),
            ("initial_credit_bytes", credits, 64 << 10),
            // Or a message that publishers may send would not find room.
            ("max_queue_bytes", self.transport.max_queue_bytes, self.publish_queue_bytes.saturating_add(message)),
            ("three eighths of memory_budget_bytes", self.outgoing_bytes(), self.transport.max_queue_bytes),
            (
                "five eighths of memory_budget_bytes",
                self.incoming_bytes(),
                [self.topics.max_own_bytes, self.topics.max_names_bytes, self.topics.max_cache_bytes, window]
                    .into_iter()
                    .fold(self.fragment.max_message_bytes, usize::saturating_add),
            ),
        ];
        let bad = least.into_iter().find(|(_, bytes, least)| bytes < least);
        bad.map_or(Ok(()), |(name, bytes, least)| Err(ConfigError::Memory { name, bytes, least }))
    }
}

/// Which setting is out of range.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// One of discovery's.
    #[error(transparent)]
    Discovery(#[from] glue_discovery::ConfigError),
    /// A limit is too small for what must fit into it.
    #[error("{name} is {bytes} bytes: it must be at least {least}")]
    Memory {
        /// The setting.
        name: &'static str,
        /// What it is.
        bytes: usize,
        /// What it must be, as other settings are.
        least: usize,
    },
    /// There are trusted peers, but no network key, without which nobody can show who it is.
    #[error("trusted peers (GLUE_TRUSTED_PEERS) need a network key (GLUE_NETWORK_KEY)")]
    TrustWithoutKey,
    /// One of topics'.
    #[error(transparent)]
    Topics(#[from] glue_topics::ConfigError),
}

/// The largest datagram and a quarter: credit is renewed when an eighth is used, and a datagram must still fit then.
const FIRST_CREDIT_BYTES: u64 = 80 << 10;
/// What a bundle of one message has beside the payload, with names of the greatest length.
const HEADER_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use glue_net::EndpointId;

    use super::*;

    fn config() -> Config {
        Config::new(glue_discovery::Config::new(EndpointId::from_integer(1), "a"))
    }

    #[test]
    fn every_budget_gives_limits_that_fit_it() {
        for bytes in [Config::LEAST_MEMORY_BUDGET, 50_000_000, Config::DEFAULT_MEMORY_BUDGET, 1 << 40] {
            let config = config().with_memory_budget(bytes);
            assert_eq!(config.check(), Ok(()), "{bytes}");
            assert!(config.topics.max_message_bytes <= 64 << 20 && config.discovery.max_peers <= 1_024);
        }
        let least = config().with_memory_budget(Config::LEAST_MEMORY_BUDGET);
        assert_eq!((least.topics.max_message_bytes, least.publish_queue_bytes), (8 << 20, 1 << 20));
        assert_eq!(config().topics.max_message_bytes, glue_topics::Config::default().max_message_bytes);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let small = config().with_memory_budget(31 << 20).check().unwrap_err();
        assert_eq!(small.to_string(), "memory_budget_bytes is 32505856 bytes: it must be at least 33554432");
        let queue = Config { publish_queue_bytes: 20 << 20, ..config() };
        let error = queue.check().unwrap_err().to_string();
        assert_eq!(error, "max_queue_bytes is 83886080 bytes: it must be at least 88080384");
        let mut large = config();
        large.topics.max_message_bytes = 1 << 30;
        large.transport.max_queue_bytes = 2 << 30;
        let error = large.check().unwrap_err().to_string();
        assert!(error.starts_with("three eighths of memory_budget_bytes is"), "{error}");
    }
}
