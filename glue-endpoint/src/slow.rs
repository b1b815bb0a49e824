//! Peers that do not take what is published: publishers wait for them, but not for ever.
//!
//! - A peer whose queue is full, but that takes something, is waited for. That is the back-pressure that keeps a slow link
//!   from losing anything.
//! - One that takes nothing for [`Config::slow_peer_stall`](crate::Config::slow_peer_stall), or not half of its queue in
//!   [`Config::slow_peer_wait`](crate::Config::slow_peer_wait), is isolated: nothing more is queued for it and nobody waits
//!   for it. What it misses is one gap. It is served again when it has taken half of its queue. What counts is when it last
//!   took something, not when publishers began to wait: so several that stop at a time are waited for once.
//! - One that takes nothing for [`Config::slow_peer_disconnect`](crate::Config::slow_peer_disconnect) loses its queue as
//!   well. Its session stays, since only by it the gaps can be told when it goes on.
//! - One that is out of reach is not waited for at all. What is queued for it is bounded, and goes first when memory is
//!   short.

use std::collections::BTreeSet;
use std::time::Duration;

use glue_net::{Instant, PeerId};
use glue_topics::PublicationId;

use crate::engine::Engine;
use crate::event::{Event, Pace};

/// How a peer takes what is published.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    /// Since when its queue is so long that publishers wait.
    full_since: Option<Instant>,
    /// It is not served.
    unserved: Option<Unserved>,
}

#[derive(Clone, Copy, Debug)]
struct Unserved {
    /// What it had taken then; it must take more to be served again. `None`: it is enough that its queue becomes shorter.
    taken: Option<u64>,
    /// The application was told so.
    told: Option<Pace>,
    /// Its queue was dropped: there is nothing more to be had.
    shed: bool,
}

/// Peers that are looked at from time to time.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// Their queues are so long that publishers wait.
    pub(crate) congested: BTreeSet<PeerId>,
    unserved: BTreeSet<PeerId>,
    next: Option<Instant>,
}

impl Flow {
    pub(crate) const fn is_served(&self) -> bool {
        self.unserved.is_none()
    }
}

impl Watch {
    pub(crate) const fn poll_timeout(&self) -> Option<Instant> {
        self.next
    }
}

impl Engine {
    /// Whether a message may be published now: no subscriber's queue is full, nor the memory.
    #[inline]
    pub(crate) fn has_room(&mut self, now: Instant, id: PublicationId, len: usize) -> bool {
        let waits = !self.watch.congested.is_empty() && self.is_full(id);
        if waits || !self.topics.has_share_room(id, len) {
            self.stats.publishes_held_back += 1;
            self.topics.note_held_back(id);
            return false;
        }
        len > self.config.topics.max_message_bytes || self.has_memory(now, id, len)
    }

    /// Whether a subscriber's queue is full.
    #[cold]
    fn is_full(&self, id: PublicationId) -> bool {
        let mut full = self.topics.awaited(id).iter().filter(|peer| self.watch.congested.contains(peer));
        if !self.topics.has_priorities() {
            return full.next().is_some();
        }
        // What is less urgent is overtaken, and in nobody's way.
        let (priority, limit) = (self.topics.priority(id), self.queue_share(self.config.publish_queue_bytes) / 2);
        full.any(|peer| self.transport.queue_bytes_before(*peer, priority) > limit)
    }

    /// Looks at the queue of a peer after something changed there.
    pub(crate) fn review(&mut self, now: Instant, peer: PeerId) {
        let Some(flow) = self.roster.flow(peer) else { return self.relax(peer) };
        let (unserved, full_since) = (flow.unserved, flow.full_since);
        let queue = self.transport.queue_bytes(peer);
        if let Some(unserved) = unserved {
            return self.review_unserved(now, peer, unserved, queue);
        }
        if !self.roster.is_up(peer) {
            self.relax(peer);
            if queue > self.parked_limit() {
                self.isolate(now, peer, Unserved { taken: None, told: None, shed: false });
            }
            return;
        }
        let limit = self.queue_share(self.config.publish_queue_bytes);
        // Half of it must be free before publishers go on, so that they are not woken for each datagram.
        if queue <= if full_since.is_some() { limit / 2 } else { limit } {
            if full_since.is_some() {
                self.relax(peer);
            }
            return;
        }
        let since = full_since.unwrap_or(now);
        if let Some(flow) = self.roster.flow_mut(peer) {
            flow.full_since = Some(since);
        }
        self.watch.congested.insert(peer);
        self.topics.set_congested(peer, true);
        let stalled_at = self.transport.stalled_at(peer, self.config.slow_peer_stall);
        if since + self.config.slow_peer_wait <= now || stalled_at.is_some_and(|at| at <= now) {
            self.relax(peer);
            let taken = Some(self.transport.taken_bytes(peer));
            self.isolate(now, peer, Unserved { taken, told: None, shed: false });
            self.stats.peers_isolated += 1;
            self.tell_pace(peer, Pace::Isolated);
        }
        self.look_again(now + FULL_INTERVAL);
    }

    /// Looks at all peers that are watched, if it is time.
    pub(crate) fn review_watched(&mut self, now: Instant) {
        if self.watch.next.is_none_or(|at| at > now) {
            return;
        }
        self.watch.next = None;
        let watched: Vec<PeerId> = self.watch.congested.iter().chain(&self.watch.unserved).copied().collect();
        if self.topics.has_priorities() && !self.watch.congested.is_empty() {
            // A queue may be full for what is less urgent, and have room for the rest.
            self.events.push_back(Event::Writable);
        }
        watched.into_iter().for_each(|peer| self.review(now, peer));
    }

    /// The peer is unknown to us, or we to it: nothing is left of what was.
    pub(crate) fn forget_flow(&mut self, peer: PeerId) {
        self.watch.unserved.remove(&peer);
        self.relax(peer);
        if let Some(flow) = self.roster.flow_mut(peer) {
            *flow = Flow::default();
        }
    }

    /// The queue that makes most room for others is dropped: of a peer that is out of reach, or else of one that is
    /// isolated. False: there is none. Those who take what they get keep theirs.
    pub(crate) fn shed_worst(&mut self, now: Instant) -> bool {
        let transport = &self.transport;
        let worst = self.roster.flows().filter_map(|(peer, parked, flow)| {
            let queue = transport.queue_bytes(peer);
            let is_idle = flow.unserved.map_or(parked, |unserved| !unserved.shed);
            let may = is_idle && queue > SHED_BYTES;
            may.then_some((parked, queue, peer))
        });
        let Some((_, _, peer)) = worst.max() else { return false };
        self.shed(now, peer);
        true
    }

    fn shed(&mut self, now: Instant, peer: PeerId) {
        self.stats.queues_dropped += 1;
        self.stats.payloads_dropped += self.transport.shed(now, peer);
        let told = self.roster.flow(peer).and_then(|flow| flow.unserved).and_then(|unserved| unserved.told);
        let taken = Some(self.transport.taken_bytes(peer));
        self.isolate(now, peer, Unserved { taken, told, shed: true });
    }

    fn review_unserved(&mut self, now: Instant, peer: PeerId, unserved: Unserved, queue: usize) {
        let is_up = self.roster.is_up(peer);
        let limit = if is_up { self.queue_share(self.config.publish_queue_bytes) } else { self.parked_limit() };
        let has_taken = unserved.taken.is_none_or(|before| self.transport.has_taken(peer, before));
        // Nothing at all is queued for a classic peer that lost its queue: there are no notices that it could take.
        if queue <= limit / 2 && (has_taken || (queue == 0 && is_up)) {
            return self.serve(peer, unserved);
        }
        let stalled_at = self.config.slow_peer_disconnect.and_then(|after| self.transport.stalled_at(peer, after));
        if is_up && unserved.told == Some(Pace::Isolated) && stalled_at.is_some_and(|at| at <= now) {
            self.shed(now, peer);
            self.stats.peers_disconnected += 1;
            self.tell_pace(peer, Pace::Disconnected);
        }
        self.look_again(now + UNSERVED_INTERVAL);
    }

    fn isolate(&mut self, now: Instant, peer: PeerId, unserved: Unserved) {
        if let Some(flow) = self.roster.flow_mut(peer) {
            flow.unserved = Some(unserved);
        }
        self.watch.unserved.insert(peer);
        self.topics.set_served(peer, false);
        self.look_again(now + UNSERVED_INTERVAL);
    }

    fn serve(&mut self, peer: PeerId, unserved: Unserved) {
        self.watch.unserved.remove(&peer);
        let missed = self.topics.set_served(peer, true);
        if let Some(flow) = self.roster.flow_mut(peer) {
            flow.unserved = None;
        }
        self.roster.note_missed(peer, missed);
        if unserved.told.is_some() {
            self.tell_pace(peer, Pace::Recovered { missed });
        }
    }

    /// Nobody waits for the peer.
    fn relax(&mut self, peer: PeerId) {
        if let Some(flow) = self.roster.flow_mut(peer) {
            flow.full_since = None;
        }
        if self.watch.congested.remove(&peer) {
            self.topics.set_congested(peer, false);
            self.events.push_back(Event::Writable);
        }
    }

    fn tell_pace(&mut self, peer: PeerId, pace: Pace) {
        if let Some(unserved) = self.roster.flow_mut(peer).and_then(|flow| flow.unserved.as_mut()) {
            unserved.told = Some(pace);
        }
        let Some(info) = self.roster.info(peer) else { return };
        tracing::debug!(peer = peer.0, id = %info.id, name = info.name, ?pace);
        self.events.push_back(Event::Pace { peer, id: info.id, name: info.name.clone(), pace });
    }

    /// A queue that nobody waits for may become longer, but not at the cost of the others.
    fn parked_limit(&self) -> usize {
        self.queue_share(self.config.transport.max_queue_bytes / 2)
    }

    fn look_again(&mut self, at: Instant) {
        self.watch.next = Some(self.watch.next.map_or(at, |next| next.min(at)));
    }
}

/// How often a full queue is looked at: an eighth of how long it may stand still.
const FULL_INTERVAL: Duration = Duration::from_millis(25);
/// How often a peer that is not served is looked at. Its acks are seen at once; this is for what expires.
const UNSERVED_INTERVAL: Duration = Duration::from_millis(250);
/// A shorter queue, of notices perhaps, is not worth dropping.
const SHED_BYTES: usize = 4 << 10;
