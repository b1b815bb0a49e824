//! What the endpoint has counted.

use glue_discovery::PeerInfo;
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
}

/// A peer, and what was exchanged with it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PeerReport {
    /// Who it is.
    pub info: PeerInfo,
    /// Packets, bytes, losses, and how the path is.
    pub stats: PeerStats,
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
        }
    }

    /// The living peers, with what was exchanged with each.
    #[must_use]
    pub fn report_peers(&self) -> Vec<PeerReport> {
        let report = |(peer, info): (_, &PeerInfo)| {
            let stats = self.transport.peer_stats(peer)?;
            let (served, missed) = self.roster.service(peer);
            Some(PeerReport { info: info.clone(), stats, served, missed })
        };
        self.discovery.peers().filter_map(report).collect()
    }
}
