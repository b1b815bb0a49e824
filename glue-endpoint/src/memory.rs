//! The memory budget: what is held, and who has to make room.
//!
//! Three eighths are for what goes out, five for what comes in or waits for the application. They are apart so that neither can stop the other: an
//! application that reads nothing still publishes, and one that publishes too much still hears. What comes in has the
//! larger part, as what goes out can wait where what comes in must be given up.
//!
//! Within a part one rule holds for all, that of dynamic thresholds (Choudhury and Hahne, 1998): nobody may have more
//! than half of what is free. Few get all that their own limit allows, many get little each, and a newcomer always
//! finds something.

use bytes::Bytes;
use glue_net::{Gauge, Held, Instant, PeerId};
use glue_topics::PublicationId;

use crate::config::Config;
use crate::engine::Engine;

/// What is held now, in bytes, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Memory {
    /// What may be held in all: [`Config::memory_budget_bytes`].
    pub budget: usize,
    /// Messages published, open in a bundle or queued for peers. What several peers wait for counts once.
    pub bundles: usize,
    /// What the queues take beside that.
    pub queues: usize,
    /// Own messages that wait for own subscriptions, and what waits in subscriptions that drop what is too much.
    pub own: usize,
    /// Names of topics that peers are interested in or publish, and what is kept with them.
    pub names: usize,
    /// Messages that caches here keep.
    pub cached: usize,
    /// Messages of peers that wait for an earlier one.
    pub waiting: usize,
    /// Messages of peers that wait for the application.
    pub lent: usize,
    /// Unfinished messages of peers.
    pub joining: usize,
    /// Credit that peers have and did not use. It is promised, not held.
    pub promised: u64,
    /// The most that was held at one time.
    pub peak: usize,
}

impl Memory {
    /// All that is held.
    #[must_use]
    pub const fn held(&self) -> usize {
        self.bundles + self.queues + self.own + self.names + self.cached + self.waiting + self.lent + self.joining
    }
}

/// Room for own messages in own subscriptions, and for those that wait in subscriptions that drop what is too much.
#[derive(Clone, Debug, Default)]
pub(crate) struct OwnRoom {
    own: Gauge,
    most: usize,
}

impl OwnRoom {
    pub(crate) const fn new(own: Gauge, most: usize) -> Self {
        Self { own, most }
    }

    /// Counts bytes that wait in a subscription, and no publisher's credit bounds.
    pub(crate) fn hold(&self, bytes: usize) -> Held {
        self.own.hold(bytes)
    }

    /// What one subscription may hold: no more than what is free for others.
    pub(crate) fn share(&self) -> usize {
        self.most.saturating_sub(self.own.bytes())
    }
}

/// What publishers wait for until there is memory.
#[derive(Debug, Default)]
pub(crate) struct Shortage {
    /// What the most modest of them needs.
    wanted: Option<usize>,
}

impl Engine {
    /// What is held now.
    #[must_use]
    pub fn memory(&self) -> Memory {
        Memory {
            budget: self.config.memory_budget_bytes,
            bundles: self.topics.bundle_bytes(),
            queues: self.transport.overhead_bytes(),
            own: self.topics.own_bytes().bytes(),
            names: self.topics.names_bytes(),
            cached: self.topics.cached_bytes(),
            waiting: self.topics.waiting_bytes(),
            lent: self.roster.lent_in_all(),
            joining: self.joiner.held_bytes(),
            promised: self.transport.promised_bytes(),
            peak: self.peak,
        }
    }

    pub(crate) fn own_room(&self) -> OwnRoom {
        OwnRoom::new(self.topics.own_bytes().clone(), self.config.topics.max_own_bytes)
    }

    pub(crate) fn note_peak(&mut self) {
        self.peak = self.peak.max(self.outgoing() + self.incoming());
    }

    // ---- out ----

    #[inline]
    fn outgoing(&self) -> usize {
        self.topics.bundle_bytes() + self.transport.overhead_bytes()
    }

    /// Caches serve while there is room in the queues: what they send shares its bytes with the cache, but takes places.
    #[inline]
    pub(crate) fn note_serving(&mut self) {
        let is_roomy = self.outgoing() + SERVED_BYTES <= self.config.outgoing_bytes();
        self.topics.set_may_serve(is_roomy);
    }

    /// What may be queued for one peer of what `limit` allows.
    pub(crate) fn queue_share(&self, limit: usize) -> usize {
        limit.min(self.config.outgoing_bytes().saturating_sub(self.outgoing()) / 2)
    }

    /// Whether a message of `len` bytes may be held; if not, peers that take nothing lose their queues for it first.
    #[inline]
    pub(crate) fn has_memory(&mut self, now: Instant, id: PublicationId, len: usize) -> bool {
        self.outgoing() + len + SPARE_BYTES <= self.config.outgoing_bytes() || self.make_room(now, id, len)
    }

    /// Whether `len` bytes may be held for one peer, see [`Engine::has_memory`].
    pub(crate) fn has_memory_for(&mut self, now: Instant, len: usize) -> bool {
        while self.outgoing() + len + SPARE_BYTES > self.config.outgoing_bytes() {
            if !self.shed_worst(now) {
                return false;
            }
        }
        true
    }

    #[cold]
    fn make_room(&mut self, now: Instant, id: PublicationId, len: usize) -> bool {
        let cost = self.topics.publish_cost(id, len);
        if cost == 0 {
            return true;
        }
        // The largest message must pass when little else is held.
        let cost = (cost + SPARE_BYTES).min(self.config.outgoing_bytes() / 8 * 7);
        // Bundles stay open for a peer that is out of reach: with many topics they alone may take all.
        self.topics.close_bundles();
        self.queue_cargo(now);
        while self.outgoing() + cost > self.config.outgoing_bytes() {
            if !self.shed_worst(now) {
                self.shortage.wanted = Some(self.shortage.wanted.map_or(cost, |wanted| wanted.min(cost)));
                self.stats.publishes_short_of_memory += 1;
                return false;
            }
        }
        true
    }

    /// Whether publishers that waited for memory may go on.
    pub(crate) fn take_room(&mut self) -> bool {
        let Some(wanted) = self.shortage.wanted else { return false };
        // With some more than that, so that they are not woken for each ack.
        let spare = self.config.outgoing_bytes() / 16;
        let has_room = self.outgoing() + wanted + spare <= self.config.outgoing_bytes();
        if has_room {
            self.shortage.wanted = None;
        }
        has_room
    }

    // ---- in ----

    #[inline]
    fn incoming(&self) -> usize {
        self.delivered() + self.joiner.held_bytes()
    }

    fn delivered(&self) -> usize {
        let names = self.topics.names_bytes() + self.topics.cached_bytes();
        self.topics.waiting_bytes() + self.roster.lent_in_all() + self.topics.own_bytes().bytes() + names
    }

    /// Whether a datagram may be taken in. If more is held than there is room for, what comes from peers that hold more
    /// than their share is not: as if it was lost on the way, so that nothing is lost but time.
    #[inline]
    pub(crate) fn admits(&mut self, datagram: &Bytes) -> bool {
        self.joiner.set_budget(self.config.incoming_bytes().saturating_sub(self.delivered()));
        self.incoming() <= self.config.incoming_bytes() || !self.refuses(datagram)
    }

    #[cold]
    fn refuses(&mut self, datagram: &Bytes) -> bool {
        let Some(peer) = self.transport.sender(datagram) else { return false };
        let share = self.config.incoming_bytes() / self.roster.len().max(1);
        if self.held_of(peer) <= share {
            return false;
        }
        // What waits for something that is refused would wait for ever.
        self.topics.release_waiting(peer);
        self.stats.datagrams_refused += 1;
        true
    }

    fn held_of(&self, peer: PeerId) -> usize {
        self.topics.held_bytes(peer) + self.roster.lent(peer)
    }

    /// Gives a peer as much credit as there is memory for. Who has sent little gets little: credit can not be taken back,
    /// and a thousand idle peers would have all of it.
    pub(crate) fn renew_credit(&mut self, peer: PeerId) {
        let (held, first) = (self.held_of(peer), self.config.transport.initial_credit_bytes);
        let newcomers = self.config.discovery.max_peers.saturating_sub(self.roster.len()) as u64;
        let taken = self.incoming() as u64 + self.transport.promised_bytes() + newcomers * first;
        let share = (self.config.incoming_bytes() as u64).saturating_sub(taken) / 2;
        let earned = first + 2 * self.transport.received_bytes(peer);
        let window = self.config.transport.receive_window_bytes.min(earned).min(share).max(first);
        self.transport.set_held(peer, held as u64, window);
    }
}

impl Config {
    /// The part of the budget for what is published.
    pub(crate) const fn outgoing_bytes(&self) -> usize {
        self.memory_budget_bytes / 8 * 3
    }

    /// The part of the budget for what arrives.
    pub(crate) const fn incoming_bytes(&self) -> usize {
        self.memory_budget_bytes / 8 * 5
    }
}

/// What the places in queues take of all that caches have under way: 4,096 parts of answers.
const SERVED_BYTES: usize = 1 << 20;
/// What a message may take beside its payload: a bundle that is opened for it, and its place in the queues.
const SPARE_BYTES: usize = 128 << 10;
