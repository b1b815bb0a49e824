//! The whole data path on one page: the protocol crates, wired.
//!
//! ```text
//!            publish                                              Delivery
//!               |                                                    ^
//!            Topics  --- bundles, order, interest ------------->  Topics
//!               |  Cargo                              (head, body)   |
//!            Fragment --- cut to what a datagram has left --->    Joiner
//!               |                                          payload   |
//!            Transport --- packets, acks, resends, credit -->  Transport
//!               |                                         datagram   |
//!               +----------------------- network --------------------+
//!            Discovery says who is there, and where.
//! ```

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use glue_discovery::{Discovery, PeerInfo};
use glue_fragment::{Fragment, Joined, Joiner};
use glue_net::wire::Format;
use glue_net::wire::classic::{self, Body, Codec, Container};
use glue_net::wire::native::ENVELOPE;
use glue_net::{Chain, EndpointId, Instant, Interface, Node, PeerId, Rng, Transmit, WallClock};
use glue_topics::{Cargo, Data, PublicationId, PublishError, SubscribeError, SubscriptionId, Topics};
use glue_transport::{Local, Transport};

use crate::config::{Config, ConfigError};
use crate::event::{Command, Event};
use crate::memory::Shortage;
use crate::private::{Private, Refusals};
use crate::roster::Roster;
use crate::slow::Watch;
use crate::stats::Stats;

/// An endpoint without sockets, threads or clock.
#[derive(Debug)]
pub struct Engine {
    pub(crate) config: Config,
    pub(crate) discovery: Discovery,
    pub(crate) transport: Transport<Fragment<Cargo>>,
    pub(crate) joiner: Joiner,
    pub(crate) topics: Topics,
    /// In a private network.
    pub(crate) private: Option<Private>,
    pub(crate) refusals: Refusals,
    pub(crate) roster: Roster,
    pub(crate) events: VecDeque<Event>,
    pub(crate) clock: WallClock,
    /// When to look again whether open bundles are to leave.
    held_until: Option<Instant>,
    /// Numbers the messages handed to the transport.
    messages: u64,
    /// Peers that do not take what is published.
    pub(crate) watch: Watch,
    /// Publishers that wait for memory.
    pub(crate) shortage: Shortage,
    /// The most memory that was held at one time.
    pub(crate) peak: usize,
    /// The application waits until all is acknowledged, but not longer than this.
    drain_until: Option<Instant>,
    pub(crate) stats: Stats,
}

impl Engine {
    /// An endpoint that knows nobody yet.
    ///
    /// # Errors
    /// [`ConfigError`] if a setting is out of range.
    pub fn new(now: Instant, mut config: Config, clock: WallClock, rng: &mut Rng) -> Result<Self, ConfigError> {
        config.check()?;
        config.discovery.public_key = config.security.as_ref().map(|it| it.credentials.identity.public_key());
        let local = Local {
            network: config.discovery.network,
            id: config.discovery.id,
            name: config.discovery.name.clone(),
            incarnation: config.discovery.incarnation,
            clock,
        };
        let (id, incarnation) = (local.id, local.incarnation);
        let mut discovery = Discovery::new(config.discovery.clone(), rng.fork(), now)?;
        discovery.handle_clock(clock);
        let mut transport = Transport::new(config.transport.clone(), local, rng.fork());
        let mut topics = Topics::new(config.topics.clone(), id, incarnation, &config.discovery.name)?;
        let private = config.security.clone().map(|mut security| {
            topics.make_private(security.credentials.identity.clone(), config.discovery.network);
            topics.set_trust(config.trust.clone());
            transport.make_private(security.credentials.clone(), security.random.fork());
            Private::new(&security.credentials, config.discovery.network, security.random, config.trust.take())
        });
        Ok(Self {
            discovery,
            transport,
            private,
            refusals: Refusals::default(),
            joiner: Joiner::new(config.fragment.clone()),
            topics,
            roster: Roster::default(),
            events: VecDeque::new(),
            clock,
            held_until: None,
            messages: 0,
            watch: Watch::default(),
            shortage: Shortage::default(),
            peak: 0,
            drain_until: None,
            stats: Stats::default(),
            config,
        })
    }

    /// Takes the table of local interfaces, in place of the one before.
    pub fn handle_interfaces(&mut self, now: Instant, interfaces: Vec<Interface>) {
        self.transport.handle_interfaces(now, interfaces.clone());
        self.discovery.handle_interfaces(now, interfaces);
        self.follow_peers(now);
    }

    /// Takes the wall clock.
    pub fn handle_clock(&mut self, clock: WallClock) {
        self.clock = clock;
        self.discovery.handle_clock(clock);
        self.transport.handle_clock(clock);
    }

    /// Whether something waits for nothing but its time to leave.
    #[must_use]
    pub const fn is_paced(&self) -> bool {
        self.transport.is_paced()
    }

    /// Datagrams so far that no peer sent.
    #[must_use]
    pub const fn junk(&self) -> u64 {
        let Stats { malformed, clear, foreign, .. } = self.stats;
        malformed + clear + foreign + self.transport.stats().junk()
    }

    // ---- what the application asks for ----

    /// Subscribes to a topic, or to all that a filter with wildcards matches.
    ///
    /// # Errors
    /// [`SubscribeError`]; nothing was changed.
    pub fn subscribe(&mut self, topic: &str, type_name: &str) -> Result<SubscriptionId, SubscribeError> {
        self.topics.subscribe(topic, type_name)
    }

    /// Ends a subscription.
    pub fn unsubscribe(&mut self, id: SubscriptionId) {
        self.topics.unsubscribe(id);
    }

    /// Declares a publication; see [`Topics::publication`].
    ///
    /// # Errors
    /// [`PublishError`]; nothing was changed.
    pub fn publication(&mut self, topic: &str, type_name: &str) -> Result<PublicationId, PublishError> {
        self.topics.publication(topic, type_name)
    }

    /// Ends a publication.
    pub fn release(&mut self, id: PublicationId) {
        self.topics.release(id);
    }

    /// Publishes a message. `Ok(None)`: the queue to a subscriber is full, or the memory; nothing was done. Try again after
    /// [`Event::Writable`].
    ///
    /// # Errors
    /// [`PublishError`]; nothing was sent.
    #[inline]
    pub fn publish<'a>(
        &mut self,
        now: Instant,
        id: PublicationId,
        expiry: Duration,
        payload: impl Into<Data<'a>>,
    ) -> Result<Option<u64>, PublishError> {
        let payload = payload.into();
        if !self.has_room(now, id, payload.len()) {
            return self.publish_unsent(now, id, expiry, payload);
        }
        let sequence = self.topics.publish(now, self.clock.wall(now), id, expiry, payload)?;
        // At once, not when it is sent: or a burst would fill a queue before anyone saw that it is full.
        self.queue_cargo(now);
        Ok(Some(sequence))
    }

    /// There is no room for a message. What is best effort waits for nobody.
    #[cold]
    fn publish_unsent(
        &mut self,
        now: Instant,
        id: PublicationId,
        expiry: Duration,
        payload: Data<'_>,
    ) -> Result<Option<u64>, PublishError> {
        if !self.topics.is_best_effort(id) || !self.topics.has_share_room(id, payload.len()) {
            return Ok(None);
        }
        let sequence = self.topics.publish_unsent(now, self.clock.wall(now), id, expiry, payload)?;
        self.queue_cargo(now);
        Ok(Some(sequence))
    }

    /// The reachable peers that get this publication now.
    #[must_use]
    pub fn subscribers(&self, id: PublicationId) -> &[PeerId] {
        self.topics.interested(id)
    }

    /// The living peers, in the order in which they were met.
    pub fn peers(&self) -> impl Iterator<Item = (PeerId, &PeerInfo)> {
        self.discovery.peers()
    }

    /// The application has taken `bytes` that came from `peer` (see [`glue_topics::Batch::bytes`]).
    pub fn handle_taken(&mut self, peer: PeerId, bytes: usize) {
        self.roster.give_back(peer, bytes);
        self.renew_credit(peer);
    }

    /// Says goodbye: no more announcements; what is queued still goes out.
    pub fn leave(&mut self, now: Instant) {
        self.withdraw_wills(now);
        self.discovery.leave(now);
    }

    /// Waits for everything published to be acknowledged, for `patience` at most: then comes [`Event::Drained`].
    pub fn drain(&mut self, now: Instant, patience: Duration) {
        self.drain_until = Some(now + patience);
    }

    /// Whether everything published was acknowledged by every peer that can be reached.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        !self.topics.has_open_bundles() && self.transport.is_settled()
    }

    // ---- out: application to network ----

    fn send_next(&mut self, now: Instant, out: &mut Chain) -> Option<Transmit> {
        if let Some(transmit) = self.discovery.poll_transmit(now, out.written()) {
            return Some(transmit);
        }
        if self.topics.has_priorities() {
            // Or what is more urgent than all that is queued would wait for it in its bundle.
            let transport = &self.transport;
            self.topics.close_bundles_for(|peer, priority| transport.is_hungry(now, peer, priority));
        }
        self.queue_cargo(now);
        if let Some(transmit) = self.transport.poll_transmit(now, out) {
            return Some(transmit);
        }
        let transport = &self.transport;
        if !self.topics.close_bundles_for(|peer, priority| transport.is_hungry(now, peer, priority)) {
            let held = self.topics.has_open_bundles();
            self.held_until = held.then(|| self.held_until.unwrap_or(now + Transport::<Fragment<Cargo>>::HOLD));
            return None;
        }
        self.held_until = None;
        self.queue_cargo(now);
        self.transport.poll_transmit(now, out)
    }

    #[inline]
    pub(crate) fn queue_cargo(&mut self, now: Instant) {
        // Most messages are laid into an open bundle, and leave nothing to send.
        if self.topics.has_cargo() {
            self.queue_all(now);
        }
    }

    fn queue_all(&mut self, now: Instant) {
        let mut is_more = false;
        while let Some((peer, cargo)) = self.topics.poll_cargo() {
            self.messages += 1;
            self.transport.send(now, peer, Fragment::new(self.messages, cargo));
            self.review(now, peer);
            is_more = true;
        }
        if is_more {
            self.note_peak();
        }
    }

    // ---- in: network to application ----

    pub(crate) fn handle_native(&mut self, now: Instant, from: SocketAddr, datagram: Bytes) {
        if !self.admits(&datagram) {
            return self.deliver();
        }
        let Some(peer) = self.transport.handle_native(now, from, datagram) else { return };
        self.note_serving();
        self.discovery.handle_alive(now, peer);
        self.note_life(now, peer);
        // First: the datagram that begins a session anew may bring the first of it.
        self.follow_sessions();
        while let Some((peer, payload)) = self.transport.poll_payload() {
            let Some(joined) = self.joiner.handle_payload(now, peer, payload) else { continue };
            match joined {
                Joined::Whole { head, waited, body } => self.topics.handle_joined(now, peer, (head, waited), body),
                // Its beginning is enough to see what is missing.
                Joined::Dropped { head, start } => self.topics.handle_cargo(now, peer, head, start),
            }
        }
        self.deliver();
        self.note_peak();
        self.renew_credit(peer);
        while let Some(released) = self.topics.poll_released() {
            self.renew_credit(released);
        }
        self.review(now, peer);
        self.note_room();
    }

    fn handle_container(&mut self, now: Instant, from: SocketAddr, datagram: &Bytes) {
        let Ok((codec, container)) = Container::decode(datagram) else {
            self.stats.malformed += 1;
            return;
        };
        match container.body {
            Body::Announcement(_) => self.handle_announcement(now, from, codec, container),
            Body::Frame(frame) if container.network_id == self.config.discovery.network => {
                self.handle_frame(now, codec, &container.source_endpoint_name, frame);
            }
            Body::Frame(_) => self.stats.wrong_network += 1,
        }
    }

    fn handle_announcement(&mut self, now: Instant, from: SocketAddr, codec: Codec, container: Container) {
        let source = container.source_endpoint_id;
        self.discovery.handle_announcement(now, from, codec, container);
        self.note_announced(now, source);
    }

    pub(crate) fn note_announced(&mut self, now: Instant, source: EndpointId) {
        self.follow_peers(now);
        // A peer that announces itself and does not answer may be elsewhere by now.
        let peer = self.discovery.find_id(source).filter(|peer| self.transport.is_silent(*peer));
        if let Some(peer) = peer {
            self.discovery.handle_silence(now, peer);
            self.follow_peers(now);
            let announced = self.discovery.peer(peer).map(|info| info.data);
            announced.into_iter().for_each(|announced| self.transport.try_elsewhere(now, peer, announced));
        }
    }

    fn handle_frame(&mut self, now: Instant, codec: Codec, source: &str, frame: classic::Frame) {
        let us = &self.config.discovery;
        let ours = frame.destination_endpoint_id == us.id || frame.destination_endpoint_name == us.name;
        let Some(peer) = self.discovery.find_classic(source).filter(|_| ours) else {
            self.stats.stray_frames += 1;
            return;
        };
        self.note_life(now, peer);
        if let Some(frame) = self.transport.handle_classic(now, peer, frame)
            && let Some(encoding) = self.joiner.handle_frame(now, peer, &frame)
        {
            match classic::Message::decode(codec, &encoding) {
                Ok(message) => self.topics.handle_classic(now, peer, message),
                Err(_) => self.stats.malformed += 1,
            }
        }
        self.deliver();
        self.review(now, peer);
        self.note_room();
    }

    pub(crate) fn deliver(&mut self) {
        while let Some(delivery) = self.topics.poll_delivery() {
            self.roster.lend(delivery.batch.from(), delivery.batch.bytes());
            self.events.push_back(Event::Delivery(delivery));
        }
        self.deliver_calls();
        while let Some(event) = self.topics.poll_event() {
            self.events.push_back(event.into());
        }
    }

    // ---- flow control ----

    fn note_room(&mut self) {
        if self.take_room() {
            self.events.push_back(Event::Writable);
        }
    }

    fn note_drained(&mut self, is_late: bool) {
        if self.drain_until.is_some() && (is_late || self.is_settled()) {
            self.drain_until = None;
            self.events.push_back(Event::Drained { complete: self.is_settled() });
        }
    }
}

impl Node for Engine {
    type Command = Command;
    type Event = Event;

    fn handle_command(&mut self, now: Instant, command: Command) {
        match command {
            Command::Interfaces(interfaces) => self.handle_interfaces(now, interfaces),
            Command::Leave => self.leave(now),
            Command::Taken { peer, bytes } => self.handle_taken(peer, bytes),
        }
    }

    fn handle_datagram(&mut self, now: Instant, from: SocketAddr, datagram: Bytes) {
        if self.private.is_some() {
            return self.handle_sealed(now, from, datagram);
        }
        match datagram.first().and_then(|first| Format::detect(*first)) {
            Some(Format::Native) if datagram.starts_with(&ENVELOPE) => self.refuse_sealed(now, from),
            Some(Format::Native) => self.handle_native(now, from, datagram),
            Some(Format::Json | Format::MessagePack) => self.handle_container(now, from, &datagram),
            None => self.stats.malformed += 1,
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.discovery.handle_timeout(now);
        self.follow_peers(now);
        self.transport.handle_timeout(now);
        self.follow_sessions();
        self.joiner.handle_timeout(now);
        self.note_serving();
        self.topics.handle_timeout(now);
        self.held_until = self.held_until.filter(|at| *at > now);
        self.forget_parked(now);
        self.review_watched(now);
        self.note_room();
        self.deliver();
        self.note_drained(self.drain_until.is_some_and(|at| at <= now));
    }

    fn poll_transmit(&mut self, now: Instant, out: &mut Chain) -> Option<Transmit> {
        let start = out.end();
        self.send_next(now, out).map(|transmit| self.seal(transmit, start, out))
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let timeouts = [
            self.discovery.poll_timeout(),
            self.transport.poll_timeout(),
            self.joiner.poll_timeout(),
            self.topics.poll_timeout(),
            self.roster.poll_timeout(),
            self.watch.poll_timeout(),
            self.drain_until,
            self.held_until,
        ];
        timeouts.into_iter().flatten().min()
    }

    fn poll_event(&mut self) -> Option<Event> {
        // Own messages are delivered by `publish`, which does not know when a burst of them is over.
        if self.events.is_empty() {
            self.deliver();
            self.note_drained(false);
        }
        self.events.pop_front()
    }
}
