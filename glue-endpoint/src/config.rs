//! Settings of the whole endpoint.

use std::time::Duration;

/// Settings of the engine: each layer's own, and what lies between them.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Who we are, and how we are found.
    pub discovery: glue_discovery::Config,
    /// Limits and times of the transport.
    pub transport: glue_transport::Config,
    /// Limits of reassembly.
    pub fragment: glue_fragment::Config,
    /// Limits of topics.
    pub topics: glue_topics::Config,
    /// Bytes queued for a reachable subscriber beyond which publishers wait. Default 8 MiB; at least 1 KiB. Larger
    /// smooths bursts, and lets what is queued grow older.
    pub publish_queue_bytes: usize,
    /// How long a peer that is out of reach is remembered: if it returns within that time, everything unexpired goes on
    /// where it was. Default 10 min. Each remembered peer costs what is queued for it.
    pub forget_after: Duration,
}

impl Config {
    /// The defaults, for the endpoint that `discovery` describes.
    #[must_use]
    pub fn new(discovery: glue_discovery::Config) -> Self {
        Self {
            discovery,
            transport: glue_transport::Config::default(),
            fragment: glue_fragment::Config::default(),
            topics: glue_topics::Config::default(),
            publish_queue_bytes: 8 << 20,
            forget_after: Duration::from_secs(600),
        }
    }
}

/// Which setting is out of range.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// One of discovery's.
    #[error(transparent)]
    Discovery(#[from] glue_discovery::ConfigError),
    /// One of topics'.
    #[error(transparent)]
    Topics(#[from] glue_topics::ConfigError),
}
