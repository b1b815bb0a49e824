//! What there is to see of a world.

use std::net::SocketAddr;
use std::time::Duration;

use glue_net::{Instant, Interface, Node, WallTime};

use crate::{NodeId, Receive, Record, Stats, World};

/// What there is to see.
impl<N: Node> World<N> {
    /// What a node told its application, and when (in the world's time). It is forgotten here.
    pub fn take_events(&mut self, id: NodeId) -> Vec<(Instant, N::Event)> {
        std::mem::take(&mut self.slot_mut(id).events)
    }

    /// What a node told its application since the last [`World::take_events`].
    #[must_use]
    pub fn events(&self, id: NodeId) -> &[(Instant, N::Event)] {
        &self.slot(id).events
    }

    /// Shows `observer` every event as it is told, with the world's time. Replaces the observer before.
    pub fn observe(&mut self, observer: impl FnMut(NodeId, Instant, &N::Event) + 'static) {
        self.observer = Some(Box::new(observer));
    }

    /// Whether events are kept for [`World::take_events`]. Default true; a long run with an observer need not.
    pub const fn keep_events(&mut self, keep: bool) {
        self.keep_events = keep;
    }

    /// Shows `trace` what becomes of every datagram. Replaces the one before.
    pub fn trace(&mut self, trace: impl FnMut(&Record<'_>) + 'static) {
        self.network.trace = Some(Box::new(trace));
    }

    /// A hash of what became of every datagram so far, and when. Equal hashes: equal runs.
    #[must_use]
    pub const fn trace_hash(&self) -> u64 {
        self.network.hash.value()
    }

    /// Counts of all datagrams.
    #[must_use]
    pub const fn stats(&self) -> Stats {
        self.network.totals
    }

    /// Counts of the datagrams that `sender` sent.
    #[must_use]
    pub fn stats_of(&self, sender: NodeId) -> Stats {
        let sender = self.slot(sender).id.index();
        self.network.stats.get(sender).copied().unwrap_or_default()
    }

    /// How long a datagram that `sender` sends now waits before the link to `receiver` carries it.
    pub fn backlog(&mut self, sender: NodeId, receiver: NodeId) -> Duration {
        self.network.backlog(self.now, (self.slot(sender).id, self.slot(receiver).id))
    }

    /// How a node takes datagrams in.
    #[must_use]
    pub fn receive(&self, id: NodeId) -> Receive {
        self.slot(id).receive
    }

    /// Where a node's data socket is reached, by those who are not behind another [`Nat`](crate::Nat).
    #[must_use]
    pub fn address(&self, id: NodeId) -> SocketAddr {
        self.place(id).data
    }

    /// Where a node's unicast discovery socket is reached, if it has one.
    #[must_use]
    pub fn discovery_address(&self, id: NodeId) -> Option<SocketAddr> {
        self.place(id).discovery()
    }

    /// A node's network interfaces, as its driver would list them: always one.
    #[must_use]
    pub fn interfaces(&self, id: NodeId) -> Vec<Interface> {
        self.place(id).interfaces()
    }

    /// What a node's monotonic clock shows.
    #[must_use]
    pub fn local_now(&self, id: NodeId) -> Instant {
        self.slot(id).clock.local(self.now)
    }

    /// What a node's wall clock shows. The world starts at 2026-01-01T00:00:00Z.
    #[must_use]
    pub fn wall(&self, id: NodeId) -> WallTime {
        let offset = self.slot(id).wall_offset_nanos;
        let truth = WORLD_START + self.now.since(Instant::ZERO);
        WallTime::from_unix_nanos(truth.as_unix_nanos().saturating_add(offset))
    }
}

/// 2026-01-01T00:00:00Z.
const WORLD_START: WallTime = WallTime::from_unix_nanos(1_767_225_600_000_000_000);
