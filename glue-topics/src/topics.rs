//! The state machine: what comes in is dispatched from here.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use glue_net::{EndpointId, Gauge, Incarnation, Instant, PeerId, Rng};

use crate::cache::Caches;
use crate::calls::Calls;
use crate::cargo::Cargo;
use crate::classic::Hold;
use crate::config::{Config, ConfigError};
use crate::cursors::Cursors;
use crate::deadlines::Deadlines;
use crate::filter::{Filter, Share};
use crate::incoming::Incoming;
use crate::message::GapReason;
use crate::mismatches::Mismatches;
use crate::name::{EndpointName, TopicName, TypeName};
use crate::output::{Delivery, Event, Outputs};
use crate::peer::{Peer, PeerFacts, Wire};
use crate::permissions::Permission;
use crate::presence::Presence;
use crate::publications::Publications;
use crate::qos::Request;
use crate::serving::Serving;
use crate::stats::{Ledger, Received, Stats, TopicStats};
use crate::stream::Sink;
use crate::subscriptions::{Declared, SubscribeError, SubscriptionId, Subscriptions};
use crate::tracks::Tracks;
use crate::trust::Trust;

/// Topics: who publishes what to whom, in which order, for how long.
///
/// Any order of calls is legal. Outputs wait until they are polled.
#[derive(Debug)]
pub struct Topics {
    pub(crate) config: Config,
    pub(crate) id: EndpointId,
    pub(crate) incarnation: Incarnation,
    pub(crate) name: EndpointName,
    pub(crate) subscriptions: Subscriptions,
    pub(crate) publications: Publications,
    pub(crate) peers: BTreeMap<PeerId, Peer>,
    /// Peers that are to be told something.
    pub(crate) owing: BTreeSet<PeerId>,
    pub(crate) outputs: Outputs,
    pub(crate) stats: Stats,
    pub(crate) ledger: Ledger,
    /// How far subscriptions that want history have come.
    pub(crate) cursors: Cursors,
    /// Classic messages that are held, in the order in which they are due.
    pub(crate) holds: VecDeque<(PeerId, Hold)>,
    /// What waits of all peers.
    pub(crate) held: Gauge,
    /// Names that peers made us remember.
    pub(crate) names: Gauge,
    pub(crate) calls: Calls,
    pub(crate) serving: Serving,
    pub(crate) presence: Presence,
    pub(crate) deadlines: Deadlines,
    /// Offers that are less than what was requested.
    pub(crate) mismatches: Mismatches,
    /// Some publication has, or had, another priority than others.
    pub(crate) has_priorities: bool,
    /// Some publication has, or had, a deadline or lifespan, or some subscription a request: publishing looks for them.
    pub(crate) has_terms: bool,
    /// What is kept of others' messages.
    pub(crate) caches: Caches,
    /// When peers may be told next what of it has changed.
    pub(crate) catalogue_due: Option<Instant>,
    /// Whether there is memory to send more of it.
    pub(crate) may_serve: bool,
    /// When to look whether more of it can be sent to those who want it.
    pub(crate) orders_due: Option<Instant>,
    /// Peers that asked for some of it and have not got it.
    pub(crate) ordering: BTreeSet<PeerId>,
    /// Sources that caches of peers tell of.
    pub(crate) tracks: Tracks,
    /// Whose messages are taken from caches.
    pub(crate) trust: Option<Trust>,
    /// Native peers.
    pub(crate) lives: BTreeMap<(EndpointId, Incarnation), PeerId>,
    /// When something came last, or was due: what has changed then is seen to at once.
    pub(crate) now: Instant,
}

impl Topics {
    /// The topics of the endpoint `id`, called `name`, in one of its lives.
    ///
    /// # Errors
    /// [`ConfigError`] if a setting is out of range.
    pub fn new(config: Config, id: EndpointId, incarnation: Incarnation, name: &str) -> Result<Self, ConfigError> {
        config.check()?;
        let held = Gauge::default();
        let tracks = Tracks::new(&held, &config);
        Ok(Self {
            config,
            id,
            incarnation,
            name: EndpointName::new(name),
            subscriptions: Subscriptions::default(),
            publications: Publications::default(),
            peers: BTreeMap::new(),
            owing: BTreeSet::new(),
            outputs: Outputs::default(),
            stats: Stats::default(),
            ledger: Ledger::default(),
            cursors: Cursors::default(),
            holds: VecDeque::new(),
            caches: Caches::default(),
            catalogue_due: None,
            may_serve: true,
            orders_due: None,
            ordering: BTreeSet::new(),
            tracks,
            trust: None,
            lives: BTreeMap::new(),
            now: Instant::ZERO,
            held,
            names: Gauge::default(),
            // Which of several responders is asked need not be the same in each life.
            calls: Calls::new(Rng::new(incarnation.0)),
            serving: Serving::default(),
            presence: Presence::default(),
            deadlines: Deadlines::default(),
            mismatches: Mismatches::default(),
            has_priorities: false,
            has_terms: false,
        })
    }

    /// Subscribes to a topic, or to all that a [`Filter`] with wildcards matches. An empty type takes messages of every
    /// type, and so does `#`, whatever its type. With wildcards, topics of another type are passed over in silence.
    ///
    /// What several subscriptions match, each of them gets once.
    ///
    /// # Errors
    /// [`SubscribeError`] for a bad filter, another type than this endpoint uses the topic with, or too many
    /// subscriptions.
    pub fn subscribe(&mut self, topic: &str, type_name: &str) -> Result<SubscriptionId, SubscribeError> {
        self.subscribe_as(topic, type_name, Request::default())
    }

    pub(crate) fn subscribe_as(
        &mut self,
        topic: &str,
        type_name: &str,
        request: Request,
    ) -> Result<SubscriptionId, SubscribeError> {
        let share = Share::split(topic).map_err(SubscribeError::BadTopic)?;
        let given = TypeName::new(type_name, self.config.max_type_bytes).map_err(SubscribeError::BadType)?;
        if let Some(share) = share {
            return self.join(topic, &share, given);
        }
        let filter = Filter::new(topic, self.config.max_topic_bytes).map_err(SubscribeError::BadTopic)?;
        if let Some(topic) = filter.topic() {
            let used = [self.type_in_use(&topic), self.subscriptions.fixed_type(&topic)];
            if let Some(expected) = used.into_iter().flatten().find(|expected| !given.takes(expected)).cloned() {
                return Err(SubscribeError::TypeMismatch { topic, expected, given });
            }
        }
        let limit = self.config.max_subscriptions;
        if self.subscriptions.len() >= limit {
            return Err(SubscribeError::TooMany { limit });
        }
        let before = self.subscriptions.declared(&filter);
        self.has_terms |= !request.is_default();
        let id = self.subscriptions.add(filter.clone(), given, request);
        let is_told = self.declare(&filter, before.as_ref());
        self.subscriptions.note_added(id, is_told);
        Ok(id)
    }

    /// Ends a subscription. What is on its way to it may still come out. Does nothing if it has ended.
    pub fn unsubscribe(&mut self, id: SubscriptionId) {
        let Some(filter) = self.subscriptions.filter(id).cloned() else { return self.part(id) };
        let before = self.subscriptions.declared(&filter);
        if self.subscriptions.wish_of(id) > 0 {
            self.cursors.forget(id);
        }
        self.subscriptions.remove(id);
        self.tracks.leave(id);
        if self.declare(&filter, before.as_ref()) {
            self.subscriptions.note_withdrawn();
        }
    }

    /// The most bytes of a body that one datagram to the peer carries. Bundles for it stay within.
    pub fn set_room(&mut self, id: PeerId, room: usize) {
        if let Some(peer) = self.peers.get_mut(&id).filter(|peer| peer.room != room) {
            peer.room = room;
            self.renew_publications(id);
        }
    }

    /// A peer is there. A native one is told what this endpoint subscribes to; a classic one gets every message. For a
    /// peer that is known it renews the facts; other permissions than before make it a new peer, as if the session was lost.
    ///
    /// If the session with a peer was lost, and with it what was under way in either direction, the peer must be
    /// [gone](Topics::handle_peer_gone) first, at both sides.
    pub fn handle_peer_up(&mut self, id: PeerId, facts: &PeerFacts) {
        let is_native = facts.wire == Wire::Native;
        let is_other = |peer: &Peer| {
            peer.is_native() != is_native || peer.rules != facts.permissions || peer.public_key != facts.public_key
        };
        if self.peers.get(&id).is_some_and(is_other) {
            self.handle_peer_gone(id);
        }
        // Its tokens bear its name, which may be another now.
        self.set_there(id, false);
        match self.peers.get_mut(&id) {
            Some(peer) => peer.renew(facts),
            None => {
                let mut peer = Peer::new(facts, &self.config, &self.held, &self.names);
                if peer.is_native() {
                    self.subscriptions.declared_filters().for_each(|filter| peer.declare(filter, false, true));
                    self.serving.introduce(&mut peer);
                    self.declare_claims_to(&mut peer);
                }
                self.peers.insert(id, peer);
            }
        }
        if facts.wire == Wire::Native {
            self.lives.insert((facts.id, facts.incarnation), id);
            // What caches said of it under another key was not true.
            let life = (facts.id, facts.incarnation);
            self.tracks.distrust(|of, key| (of.id, of.incarnation) == life && key != facts.public_key.as_ref());
            self.tracks.touch_all();
        }
        self.set_there(id, true);
        self.owing.insert(id);
        self.renew_publications(id);
    }

    /// A peer is out of reach, and remembered. What is published goes on being queued for it; it is in the way of no
    /// publisher, see [`Topics::interested`].
    pub fn handle_peer_suspended(&mut self, id: PeerId) {
        self.set_reachable(id, false);
    }

    /// A peer is back within reach, and remembers us.
    pub fn handle_peer_resumed(&mut self, id: PeerId) {
        self.set_reachable(id, true);
    }

    /// Says whether the session with a peer is open, as it is taken to be. Until it is, the peer is heard of but has not heard of
    /// our interest, so that it brings nothing yet is no sign that it will not.
    pub fn set_open(&mut self, id: PeerId, open: bool) {
        let Some(peer) = self.peers.get_mut(&id).filter(|peer| peer.is_open != open) else { return };
        peer.is_open = open;
        self.tracks.wait_anew((peer.id, peer.incarnation));
    }

    /// Says whether what is published from now on is queued for a peer. What is published while it is not is a gap to the
    /// peer: one notice for each publication, queued when it is served again. So a peer that takes nothing costs nothing
    /// more, however much is published. Returns how many messages were missed, when it is served again.
    pub fn set_served(&mut self, id: PeerId, served: bool) -> u64 {
        let Some(peer) = self.peers.get_mut(&id).filter(|peer| peer.served != served) else { return 0 };
        peer.served = served;
        self.outputs.interest_changed |= peer.offers > 0;
        let (outputs, stats) = (&mut self.outputs, &mut self.stats);
        let missed = self.publications.iter_mut();
        let missed = missed.map(|publication| publication.set_served(id, peer, outputs, stats)).sum();
        if served {
            self.dispatch_all();
        }
        missed
    }

    /// Says whether the queue to a peer is so long that publishers wait for it. What is best effort is not queued for it then:
    /// the peer misses it, as one that is not [served](Topics::set_served) misses all.
    pub fn set_congested(&mut self, id: PeerId, congested: bool) {
        let Some(peer) = self.peers.get_mut(&id).filter(|peer| peer.congested != congested) else { return };
        peer.congested = congested;
        let (outputs, stats) = (&mut self.outputs, &mut self.stats);
        for publication in self.publications.iter_mut().filter(|publication| publication.is_best_effort_to(id)) {
            publication.set_served(id, peer, outputs, stats);
        }
    }

    /// A peer is forgotten. What was held of it comes out, with gaps where something is missing.
    pub fn handle_peer_gone(&mut self, id: PeerId) {
        if !self.peers.contains_key(&id) {
            return;
        }
        self.with_peer(id, |incoming, sink| {
            if sink.tracks.may_be_filled() {
                incoming.leave_tracks(sink);
            }
            incoming.give_up(GapReason::PublisherGone, sink);
            incoming.close(sink);
            incoming.leave_tracks(sink);
        });
        self.set_there(id, false);
        if let Some(peer) = self.peers.remove(&id) {
            self.lives.remove(&(peer.id, peer.incarnation));
            self.tracks.part((peer.id, peer.incarnation));
        }
        self.tracks.forget_holder(id);
        self.owing.remove(&id);
        self.ordering.remove(&id);
        let (outputs, stats) = (&mut self.outputs, &mut self.stats);
        self.publications.iter_mut().for_each(|publication| publication.forget(id, outputs, stats));
        self.outputs.cargo.retain(|(to, _)| *to != id);
        self.forget_calls(id);
        self.deadlines.forget_peer(id);
        self.mismatches.forget_peer(id);
    }

    /// Whether [`Topics::poll_cargo`] may have something.
    #[must_use]
    #[inline]
    pub fn has_cargo(&self) -> bool {
        !self.owing.is_empty() || !self.outputs.cargo.is_empty()
    }

    /// The next thing to send, and to whom.
    #[must_use]
    pub fn poll_cargo(&mut self) -> Option<(PeerId, Cargo)> {
        while let Some(id) = self.owing.pop_first() {
            // First, so that who learns that we want something knows whether we cache it.
            self.flush_exchange(id);
            if let Some(peer) = self.peers.get_mut(&id) {
                peer.flush(id, (&self.subscriptions, &self.presence), &mut self.outputs);
                peer.flush_desk(id, &self.serving, &mut self.outputs);
            }
        }
        self.outputs.cargo.pop_front()
    }

    /// The next messages for subscriptions.
    #[must_use]
    pub fn poll_delivery(&mut self) -> Option<Delivery> {
        self.outputs.deliveries.pop_front()
    }

    /// The next thing to tell the application.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        if std::mem::take(&mut self.outputs.interest_changed) {
            return Some(Event::InterestChanged);
        }
        if self.outputs.bell.take() {
            return Some(Event::ReceiptChanged);
        }
        self.outputs.events.pop_front().or_else(|| self.presence.changes.take().map(Event::Token))
    }

    /// What was done so far.
    #[must_use]
    pub const fn stats(&self) -> Stats {
        Stats { cursors_forgotten: self.stats.cursors_forgotten + self.tracks.forgotten, ..self.stats }
    }

    /// What was counted of each topic that is in use, or was: of topics that are no longer in use, up to
    /// [`Config::max_counted_topics`].
    #[must_use]
    pub fn topic_stats(&self) -> BTreeMap<TopicName, TopicStats> {
        let mut topics = self.ledger.topics().clone();
        for publication in self.publications.iter() {
            *topics.entry(publication.source.topic_name.clone()).or_default() += publication.stats();
        }
        for (topic, received) in self.peers.values().flat_map(|peer| peer.incoming.received_by_topic()) {
            topics.entry(topic.clone()).or_default().received += received;
        }
        topics
    }

    /// What was counted of topics that are no longer in use, and had no place of their own.
    #[must_use]
    pub const fn other_topic_stats(&self) -> TopicStats {
        self.ledger.others()
    }

    /// What came from a peer since it was met, or since it lost its state.
    #[must_use]
    pub fn received_from(&self, id: PeerId) -> Option<Received> {
        Some(self.peers.get(&id)?.incoming.received())
    }

    /// Bytes that came from a peer and wait here for what comes before them.
    #[must_use]
    pub fn held_bytes(&self, id: PeerId) -> usize {
        self.peers.get(&id).map_or(0, |peer| peer.incoming.held_bytes()) + self.tracks.held_of(id)
    }

    /// A peer whose messages were held for what comes before them, and are no longer: its credit may have grown.
    #[must_use]
    #[inline]
    pub fn poll_released(&mut self) -> Option<PeerId> {
        if self.tracks.released.is_empty() { None } else { self.tracks.released.pop_first() }
    }

    /// Bytes of all peers that wait here for what comes before them.
    #[must_use]
    pub fn waiting_bytes(&self) -> usize {
        self.held.bytes()
    }

    /// Bytes that publications keep for those who join later. They are counted in [`Topics::bundle_bytes`] too.
    #[must_use]
    pub fn history_bytes(&self) -> usize {
        self.outputs.history.bytes()
    }

    /// Bytes of the names of topics that peers are interested in, or publish.
    #[must_use]
    pub fn names_bytes(&self) -> usize {
        self.names.bytes()
    }

    /// Bytes of what was published and is still queued anywhere, or open; what several peers share counts once.
    #[must_use]
    pub fn bundle_bytes(&self) -> usize {
        self.outputs.bundles.bytes()
    }

    /// Bytes of own messages on their way to own subscriptions.
    #[must_use]
    pub const fn own_bytes(&self) -> &Gauge {
        &self.outputs.own
    }

    /// Gives up what the messages that wait here wait for: they come out, with gaps.
    pub fn release_waiting(&mut self, id: PeerId) {
        self.with_peer(id, |incoming, sink| incoming.give_up(GapReason::Overflow, sink));
        self.tracks.release_waiting(id);
    }

    /// Calls `with` for what comes from a peer, if it is known, with where it goes.
    pub(crate) fn with_peer<T>(
        &mut self,
        id: PeerId,
        with: impl FnOnce(&mut Incoming, &mut Sink<'_>) -> T,
    ) -> Option<T> {
        let Self { config, subscriptions, outputs, stats, ledger, cursors, mismatches, caches, tracks, .. } = self;
        let peer = self.peers.get_mut(&id)?;
        let mut sink = Sink {
            own_id: self.id,
            peer: id,
            endpoint_id: peer.id,
            incarnation: peer.incarnation,
            endpoint_name: &peer.name,
            public_key: peer.public_key.as_ref(),
            config,
            subscriptions,
            outputs,
            stats,
            ledger,
            cursors,
            mismatches,
            caches,
            tracks,
        };
        Some(with(&mut peer.incoming, &mut sink))
    }

    /// A peer may not do it.
    pub(crate) fn deny(&mut self, id: PeerId, what: Permission, topic: &Arc<str>, count: u64) {
        self.with_peer(id, |_, sink| sink.deny(what, topic, count));
    }

    /// Tells native peers that a filter's declaration may have changed; whether there is something to tell, and somebody.
    pub(crate) fn declare(&mut self, filter: &Filter, before: Option<&Declared>) -> bool {
        let after = self.subscriptions.declared(filter);
        if before == after.as_ref() {
            return false;
        }
        let mut is_told = false;
        for (id, peer) in self.peers.iter_mut().filter(|(_, peer)| peer.is_native()) {
            peer.declare(filter, before.is_some(), after.is_some());
            self.owing.insert(*id);
            is_told = true;
        }
        is_told
    }

    fn set_reachable(&mut self, id: PeerId, reachable: bool) {
        if let Some(peer) = self.peers.get_mut(&id).filter(|peer| peer.reachable != reachable) {
            peer.reachable = reachable;
            self.owing.insert(id);
            self.outputs.interest_changed |= peer.offers > 0;
            self.tracks.wait_anew((peer.id, peer.incarnation));
            if reachable {
                self.keep_calls(id);
                self.retell(id);
                self.tracks.believe(id);
            }
            self.tracks.touch_all();
            self.renew_publications(id);
        }
    }

    /// How a peer is reached has changed, or a classic one is new.
    fn renew_publications(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get(&id) else { return };
        for publication in self.publications.iter_mut() {
            publication.renew(id, peer, &mut self.outputs, &mut self.stats);
        }
    }
}
