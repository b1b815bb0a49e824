//! The peers' comings and goings: what discovery and the sessions tell, passed on to the layers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use glue_discovery::{DownReason, PeerInfo, Wire};
use glue_net::{EndpointId, Instant, PeerId};
use glue_security::PublicKey;
use glue_topics::{EndpointName, PeerFacts, Permissions};
use glue_transport::Remote;

use crate::engine::Engine;
use crate::event::Event;
use crate::slow::Flow;

/// What the engine itself keeps of the peers.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    peers: BTreeMap<PeerId, Entry>,
    /// Peers out of reach, by when they are to be forgotten.
    parked: BTreeSet<(Instant, PeerId)>,
    /// Bytes that are with the application, of peers that are gone too.
    lent: usize,
}

#[derive(Debug)]
struct Entry {
    info: PeerInfo,
    /// Out of reach, to be forgotten at this time.
    parked: Option<Instant>,
    /// Bytes that came from it and are with the application.
    lent: usize,
    flow: Flow,
    /// Messages that it missed while it was not served.
    missed: u64,
}

impl Roster {
    pub(crate) fn lend(&mut self, peer: Option<PeerId>, bytes: usize) {
        let Some(peer) = peer else { return };
        self.lent += bytes;
        if let Some(entry) = self.peers.get_mut(&peer) {
            entry.lent += bytes;
        }
    }

    pub(crate) fn give_back(&mut self, peer: PeerId, bytes: usize) {
        self.lent = self.lent.saturating_sub(bytes);
        if let Some(entry) = self.peers.get_mut(&peer) {
            entry.lent = entry.lent.saturating_sub(bytes);
        }
    }

    pub(crate) const fn lent_in_all(&self) -> usize {
        self.lent
    }

    /// All peers that are remembered, and by what each is known.
    pub(crate) fn keys(&self) -> Vec<(PeerId, Option<PublicKey>)> {
        self.peers.iter().map(|(peer, entry)| (*peer, entry.info.public_key)).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.peers.len()
    }

    pub(crate) fn info(&self, peer: PeerId) -> Option<&PeerInfo> {
        self.peers.get(&peer).map(|entry| &entry.info)
    }

    pub(crate) fn flow(&self, peer: PeerId) -> Option<&Flow> {
        self.peers.get(&peer).map(|entry| &entry.flow)
    }

    pub(crate) fn flow_mut(&mut self, peer: PeerId) -> Option<&mut Flow> {
        self.peers.get_mut(&peer).map(|entry| &mut entry.flow)
    }

    /// All peers, whether each is out of reach, and how it takes what is published.
    pub(crate) fn flows(&self) -> impl Iterator<Item = (PeerId, bool, &Flow)> {
        self.peers.iter().map(|(peer, entry)| (*peer, entry.parked.is_some(), &entry.flow))
    }

    pub(crate) fn note_missed(&mut self, peer: PeerId, count: u64) {
        if let Some(entry) = self.peers.get_mut(&peer) {
            entry.missed += count;
        }
    }

    /// Whether a peer is served, and how many messages it missed.
    pub(crate) fn service(&self, peer: PeerId) -> (bool, u64) {
        self.peers.get(&peer).map_or((true, 0), |entry| (entry.flow.is_served(), entry.missed))
    }

    pub(crate) fn lent(&self, peer: PeerId) -> usize {
        self.peers.get(&peer).map_or(0, |entry| entry.lent)
    }

    /// Whether the peer can be reached, as far as is known.
    pub(crate) fn is_up(&self, peer: PeerId) -> bool {
        self.peers.get(&peer).is_some_and(|entry| entry.parked.is_none())
    }

    fn is_parked(&self, peer: PeerId) -> bool {
        self.peers.get(&peer).is_some_and(|entry| entry.parked.is_some())
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.parked.first().map(|(at, _)| *at)
    }

    /// Sets until when the peer is remembered out of reach; `None`: it is within reach. False if it is not known.
    fn park(&mut self, peer: PeerId, until: Option<Instant>) -> bool {
        let Some(entry) = self.peers.get_mut(&peer) else { return false };
        if let Some(old) = std::mem::replace(&mut entry.parked, until) {
            self.parked.remove(&(old, peer));
        }
        self.parked.extend(until.map(|at| (at, peer)));
        true
    }
}

impl Engine {
    /// Takes what discovery has learned.
    pub(crate) fn follow_peers(&mut self, now: Instant) {
        while let Some(event) = self.discovery.poll_event() {
            self.follow_presence(now, &event);
            match &event {
                glue_discovery::Event::PeerUp { peer, info } => self.welcome(now, *peer, info),
                glue_discovery::Event::PeerDown { peer, reason: DownReason::Expired, .. } => self.park(now, *peer),
                glue_discovery::Event::PeerDown { peer, .. } => self.forget(*peer),
                glue_discovery::Event::PeerMoved { peer, to, .. } => self.transport.set_address(now, *peer, *to),
                _ => {}
            }
            self.events.push_back(Event::Discovery(event));
        }
        self.follow_sessions();
    }

    /// Takes what the sessions tell.
    pub(crate) fn follow_sessions(&mut self) {
        while let Some(event) = self.transport.poll_event() {
            match event {
                glue_transport::Event::Resized(peer) => self.renew_room(peer),
                glue_transport::Event::Lost(peer) => self.start_over(peer),
                glue_transport::Event::Opened(peer) => self.topics.set_open(peer, true),
                _ => {}
            }
        }
    }

    /// A datagram came from a peer: if it was thought out of reach, it is not.
    pub(crate) fn note_life(&mut self, now: Instant, peer: PeerId) {
        if self.roster.is_parked(peer) {
            self.roster.park(peer, Some(now + self.config.forget_after));
            self.transport.resume(now, peer);
            self.topics.handle_peer_resumed(peer);
            self.review(now, peer);
        }
    }

    pub(crate) fn forget_parked(&mut self, now: Instant) {
        while let Some((_, peer)) = self.roster.parked.first().copied().filter(|(at, _)| *at <= now) {
            self.forget(peer);
        }
    }

    fn welcome(&mut self, now: Instant, peer: PeerId, info: &PeerInfo) {
        self.forget_other_lives(peer, info.id);
        self.transport.connect(now, peer, &remote(info));
        self.roster.park(peer, None);
        if let Some(entry) = self.roster.peers.get_mut(&peer) {
            entry.info = info.clone();
            self.topics.handle_peer_resumed(peer);
            self.review(now, peer);
        } else {
            let entry = Entry { info: info.clone(), parked: None, lent: 0, flow: Flow::default(), missed: 0 };
            self.roster.peers.insert(peer, entry);
            self.topics.handle_peer_up(peer, &self.facts(info));
            self.topics.set_open(peer, matches!(info.wire, Wire::Classic(_)));
        }
    }

    /// An endpoint that is here does not come back in a life that was out of reach.
    fn forget_other_lives(&mut self, peer: PeerId, id: EndpointId) {
        let parked = self.roster.parked.iter().map(|(_, parked)| *parked).filter(|parked| *parked != peer);
        let others = parked.filter(|parked| self.roster.info(*parked).is_some_and(|info| info.id == id));
        others.collect::<Vec<_>>().into_iter().for_each(|other| self.forget(other));
    }

    /// Nothing was heard of the peer for a while. What is queued for it waits; if it comes back, all goes on.
    fn park(&mut self, now: Instant, peer: PeerId) {
        if !self.roster.park(peer, Some(now + self.config.forget_after)) {
            return;
        }
        self.transport.suspend(peer);
        self.topics.handle_peer_suspended(peer);
        self.topics.handle_silence(now, peer);
        self.review(now, peer);
        // Discovery remembers no more either, so that the oldest would not be known again.
        while self.roster.parked.len() > self.config.discovery.max_remembered {
            let Some((_, oldest)) = self.roster.parked.first().copied() else { return };
            self.stats.forgotten_early += 1;
            self.forget(oldest);
        }
    }

    /// Ends the session with a peer and begins another, as if neither knew the other: its rules have changed.
    pub(crate) fn meet_anew(&mut self, now: Instant, peer: PeerId) {
        let Some(info) = self.roster.info(peer).filter(|_| !self.roster.is_parked(peer)).cloned() else {
            return self.forget(peer);
        };
        self.forget(peer);
        self.welcome(now, peer, &info);
    }

    pub(crate) fn forget(&mut self, peer: PeerId) {
        self.forget_flow(peer);
        self.roster.park(peer, None);
        self.roster.peers.remove(&peer);
        self.transport.disconnect(peer);
        self.joiner.handle_peer_gone(peer);
        self.topics.handle_peer_gone(peer);
    }

    /// The peer has forgotten us: to it, we are new.
    fn start_over(&mut self, peer: PeerId) {
        let Some(entry) = self.roster.peers.get(&peer) else { return };
        let facts = self.facts(&entry.info);
        self.forget_flow(peer);
        self.joiner.handle_peer_gone(peer);
        self.topics.handle_peer_gone(peer);
        self.topics.handle_peer_up(peer, &facts);
        if self.roster.is_parked(peer) {
            self.topics.hide_peer(peer);
        }
        self.stats.sessions_lost += 1;
    }

    fn facts(&self, info: &PeerInfo) -> PeerFacts {
        let trust = self.private.as_ref().and_then(|private| private.trust.as_ref()).zip(info.public_key);
        facts(info, trust.and_then(|(trust, key)| trust.rule(&key).cloned()?))
    }

    fn renew_room(&mut self, peer: PeerId) {
        if let Some(room) = self.transport.room(peer) {
            self.topics.set_room(peer, room.saturating_sub(FRAGMENT_HEAD_BYTES));
        }
    }
}

fn remote(info: &PeerInfo) -> Remote {
    let classic = match info.wire {
        Wire::Classic(codec) => Some(codec),
        Wire::Native { .. } => None,
    };
    let (id, name, incarnation) = (info.id, info.name.clone(), info.incarnation);
    Remote { id, name, incarnation, address: info.data, classic, key: info.public_key }
}

fn facts(info: &PeerInfo, permissions: Option<Arc<Permissions>>) -> PeerFacts {
    let wire = match info.wire {
        Wire::Classic(codec) => glue_topics::Wire::Classic(codec),
        Wire::Native { .. } => glue_topics::Wire::Native,
    };
    PeerFacts {
        id: info.id,
        incarnation: info.incarnation,
        name: EndpointName::new(&info.name),
        wire,
        permissions,
        public_key: info.public_key,
    }
}

/// What fragmentation and a bundle's head add to a body.
const FRAGMENT_HEAD_BYTES: usize = 32;
