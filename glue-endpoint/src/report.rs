//! What the endpoint has counted.

use glue_discovery::PeerInfo;
use glue_topics::{Received, TopicStats};
use glue_transport::PeerStats;

use crate::engine::Engine;
use crate::memory::Memory;
use crate::stats::Stats;

/// Counters of every layer.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Report {
    /// What no layer counts.
    pub endpoint: Stats,
    /// What is held of the memory budget.
    pub memory: Memory,
    /// Announcements and peers.
    pub discovery: glue_discovery::Stats,
    /// Datagrams that belong to no peer.
    pub transport: glue_transport::Stats,
    /// Reassembly.
    pub fragment: glue_fragment::Stats,
    /// Messages.
    pub topics: glue_topics::Stats,
    /// What caches here have done, and what came from those of peers.
    pub caches: glue_topics::CacheStats,
    /// Topics that are no longer in use, beyond the 4,096 that [`Engine::report_topics`] has.
    pub other_topics: TopicStats,
}

/// A topic, and what was published and received on it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicReport {
    /// Its name.
    pub topic: String,
    /// Messages, bytes, and what is missing.
    pub stats: TopicStats,
}

/// A peer, and what was exchanged with it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PeerReport {
    /// Who it is.
    pub info: PeerInfo,
    /// Packets, bytes, losses, and how the path is.
    pub stats: PeerStats,
    /// Messages that came from it, and what is missing.
    pub received: Received,
    /// Whether it gets what is published; if not, it takes too little.
    pub served: bool,
    /// Messages that were not queued for it while it was not served; those of now not yet counted.
    pub missed: u64,
}

impl Engine {
    /// Counters of every layer.
    #[must_use]
    pub fn report(&self) -> Report {
        Report {
            endpoint: self.stats,
            memory: self.memory(),
            discovery: self.discovery.stats(),
            transport: self.transport.stats(),
            fragment: self.joiner.stats(),
            topics: self.topics.stats(),
            caches: self.topics.cache_stats(),
            other_topics: self.topics.other_topic_stats(),
        }
    }

    /// The living peers, with what was exchanged with each.
    #[must_use]
    pub fn report_peers(&self) -> Vec<PeerReport> {
        let report = |(peer, info): (_, &PeerInfo)| {
            let stats = self.transport.peer_stats(peer)?;
            let received = self.topics.received_from(peer).unwrap_or_default();
            let (served, missed) = self.roster.service(peer);
            Some(PeerReport { info: info.clone(), stats, received, served, missed })
        };
        self.discovery.peers().filter_map(report).collect()
    }

    /// The topics that are or were in use, by name, with what was published and received on each; of those that are no
    /// longer in use, up to 4,096.
    #[must_use]
    pub fn report_topics(&self) -> Vec<TopicReport> {
        let topics = self.topics.topic_stats();
        topics.into_iter().map(|(topic, stats)| TopicReport { topic: topic.to_string(), stats }).collect()
    }
}
