//! What waits for a peer: whether the peer takes any of it, what it costs, and how to get rid of it.

use std::time::Duration;

use glue_net::{Instant, Payload, PeerId};

use crate::transport::{Link, Peer, Transport};

/// Whether a peer takes what is queued for it, and what was counted of it.
#[derive(Debug)]
pub(crate) struct Backlog {
    /// When it last took a worthwhile part, or when the queue began.
    since: Instant,
    /// What it will have taken in all when it has taken such a part.
    goal: u64,
    /// As counted in the sums of the transport.
    entries: usize,
    promised: u64,
    is_paced: bool,
}

impl Backlog {
    pub(crate) const fn new(now: Instant) -> Self {
        Self { since: now, goal: 0, entries: 0, promised: 0, is_paced: false }
    }

    /// The peer has `taken` bytes in all, and `waiting` more wait.
    const fn restart(&mut self, now: Instant, taken: u64, waiting: usize) {
        let part = if waiting < PART_BYTES { waiting } else { PART_BYTES };
        (self.since, self.goal) = (now, taken + if part == 0 { 1 } else { part as u64 });
    }
}

impl<P: Payload> Transport<P> {
    /// Payload bytes that the peer has acknowledged since the session began.
    #[must_use]
    pub fn taken_bytes(&self, peer: PeerId) -> u64 {
        self.peers.get(&peer).map_or(0, Peer::taken)
    }

    /// Payload bytes that came from the peer since the session began.
    #[must_use]
    pub fn received_bytes(&self, peer: PeerId) -> u64 {
        match self.peers.get(&peer).map(|state| &state.link) {
            Some(Link::Native(native)) => native.inbox.received(),
            _ => 0,
        }
    }

    /// When the peer will have taken nothing worthwhile of what waits for it for `patience`, which is stretched to a few
    /// round trips. `None`: nothing waits.
    #[must_use]
    pub fn stalled_at(&self, peer: PeerId, patience: Duration) -> Option<Instant> {
        let state = self.peers.get(&peer).filter(|state| state.queue_bytes() > 0)?;
        let patience = match &state.link {
            Link::Native(native) => patience.max(native.rtt.smoothed() * PATIENT_ROUND_TRIPS),
            Link::Classic(_) => patience,
        };
        Some(state.backlog.since + patience)
    }

    /// Whether the peer has taken something worthwhile since it had taken `before` in all. Notices are not, as they pass
    /// even if its application takes nothing, unless it has room for more.
    #[must_use]
    pub fn has_taken(&self, peer: PeerId, before: u64) -> bool {
        let Some(state) = self.peers.get(&peer) else { return false };
        let has_room = match &state.link {
            Link::Native(native) => native.credit_left() >= LARGEST_DATAGRAM_BYTES,
            Link::Classic(_) => true,
        };
        let taken = state.taken().saturating_sub(before);
        taken >= PART_BYTES as u64 || (taken > 0 && has_room)
    }

    /// Turns everything that waits for the peer into notices that there was no room for it. Returns how many payloads
    /// that were.
    pub fn shed(&mut self, now: Instant, peer: PeerId) -> u64 {
        let Some(state) = self.peers.get_mut(&peer) else { return 0 };
        let count = match &mut state.link {
            Link::Native(native) => native.shed(),
            Link::Classic(classic) => classic.shed(),
        };
        let (taken, waiting) = (state.taken(), state.queue_bytes());
        state.backlog.restart(now, taken, waiting);
        self.touch(peer);
        count
    }

    /// Memory that queues take beside the payloads' content, of all peers together.
    #[must_use]
    pub const fn overhead_bytes(&self) -> usize {
        self.entries * ENTRY_BYTES
    }

    /// Credit of all peers together that they have not used yet.
    #[must_use]
    pub const fn promised_bytes(&self) -> u64 {
        self.promised
    }

    /// The credit of one peer that it has not used yet.
    #[must_use]
    pub fn promised_to(&self, peer: PeerId) -> u64 {
        self.peers.get(&peer).map_or(0, Peer::promised)
    }

    pub(crate) fn note_queued(&mut self, now: Instant, peer: PeerId, before: usize) {
        let Some(state) = self.peers.get_mut(&peer).filter(|_| before == 0) else { return };
        let (taken, waiting) = (state.taken(), state.queue_bytes());
        state.backlog.restart(now, taken, waiting);
    }

    /// Whether something waits for nothing but its time to leave, as a pace says. Then [`Transport::poll_timeout`] is
    /// to be kept to the microsecond.
    #[must_use]
    pub const fn is_paced(&self) -> bool {
        self.paced > 0
    }

    pub(crate) fn note_taken(&mut self, now: Instant, peer: PeerId) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        let (taken, waiting) = (state.taken(), state.queue_bytes());
        if taken >= state.backlog.goal {
            state.backlog.restart(now, taken, waiting);
        }
    }

    /// Brings the sums up to date after something changed at the peer.
    pub(crate) fn recount(&mut self, peer: PeerId) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        let (entries, promised, is_paced) = (state.entries(), state.promised(), state.is_paced());
        self.entries = self.entries + entries - state.backlog.entries;
        self.promised = self.promised + promised - state.backlog.promised;
        self.paced = self.paced + usize::from(is_paced) - usize::from(state.backlog.is_paced);
        (state.backlog.entries, state.backlog.promised, state.backlog.is_paced) = (entries, promised, is_paced);
    }

    /// Takes a peer that is no more out of the sums.
    pub(crate) const fn discount(&mut self, backlog: &Backlog) {
        self.entries -= backlog.entries;
        self.promised -= backlog.promised;
        self.paced -= backlog.is_paced as usize;
    }
}

impl<P: Payload> Peer<P> {
    /// A pace counts no more for who is out of reach than its timer does.
    fn is_paced(&self) -> bool {
        matches!(&self.link, Link::Native(native) if self.reachable && native.pace_at().is_some())
    }

    fn taken(&self) -> u64 {
        match &self.link {
            Link::Native(native) => native.outbox.taken(),
            Link::Classic(classic) => classic.outbox.taken(),
        }
    }

    fn entries(&self) -> usize {
        match &self.link {
            Link::Native(native) => native.outbox.entries(),
            Link::Classic(classic) => classic.outbox.entries(),
        }
    }

    fn promised(&self) -> u64 {
        match &self.link {
            Link::Native(native) => native.inbox.promised(),
            Link::Classic(_) => 0,
        }
    }
}

/// Also what a receiver grants at least, see `inbox.rs`.
const LARGEST_DATAGRAM_BYTES: usize = 64 << 10;
/// What a peer must take to count as taking: a dozen datagrams. Less, or the rest of a short queue, and it stands still.
const PART_BYTES: usize = 16 << 10;
/// An ack may need that many to come where half of the datagrams are lost.
const PATIENT_ROUND_TRIPS: u32 = 4;
/// An entry of a queue: about 110 bytes, and room to grow in the queue.
const ENTRY_BYTES: usize = 192;
