//! All peers of an endpoint: finds whom a datagram is from and who may send next.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use glue_net::wire::classic::{Codec, Frame};
use glue_net::wire::native::{Datagram, Hello, Token};
use glue_net::{
    Chain, EndpointId, Incarnation, Instant, Interface, NetworkId, Payload, PeerId, Priority, Rng, Transmit, Via,
    WallClock,
};
use glue_security::{Credentials, Epoch, PublicKey, Random};

use crate::backlog::Backlog;
use crate::classic::Classic;
use crate::config::Config;
use crate::mtu::Limits;
use crate::native::{HOLD, Native};
use crate::private::{Membership, Private};
use crate::session::Greeting;
use crate::stats::{PeerStats, Stats};

/// Who we are.
#[derive(Clone, Debug)]
pub struct Local {
    /// Our network.
    pub network: NetworkId,
    /// Our id.
    pub id: EndpointId,
    /// Our name.
    pub name: String,
    /// Our life.
    pub incarnation: Incarnation,
    /// The wall clock, for classic containers.
    pub clock: WallClock,
}

/// Who a peer is, as discovery knows it.
#[derive(Clone, Debug)]
pub struct Remote {
    /// Its id.
    pub id: EndpointId,
    /// Its name.
    pub name: String,
    /// Its life.
    pub incarnation: Incarnation,
    /// Where it takes data.
    pub address: SocketAddr,
    /// `None`: it speaks the native wire; else the codec of its classic containers.
    pub classic: Option<Codec>,
    /// Who it is among the members of a private network; nobody else is spoken to there.
    pub key: Option<PublicKey>,
}

/// What happened to a peer's session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Payloads can be sent.
    Opened(PeerId),
    /// The peer has forgotten us and starts over: what was queued for it is dropped, and it will ask anew for what it
    /// wants.
    Lost(PeerId),
    /// [`Transport::room`] has changed.
    Resized(PeerId),
}

/// Reliable payloads to and from any number of peers.
///
/// Every payload handed to [`Transport::send`] arrives once, in any order, as long as its peer is reachable; one that
/// expires first becomes a notice in the same place ([`Payload::skip`]).
#[derive(Debug)]
pub struct Transport<P> {
    pub(crate) config: Config,
    pub(crate) local: Local,
    /// In a private network.
    pub(crate) membership: Option<Membership>,
    rng: Rng,
    interfaces: Vec<Interface>,
    pub(crate) peers: BTreeMap<PeerId, Peer<P>>,
    by_token: BTreeMap<Token, PeerId>,
    by_identity: BTreeMap<(EndpointId, Incarnation), PeerId>,
    /// Where peers take data: no other peer can have moved there.
    by_address: BTreeSet<SocketAddr>,
    /// Peers that may have something to send, each once.
    ready: VecDeque<PeerId>,
    /// What the first of them has sent in its turn.
    turn_bytes: usize,
    /// Peers by when they are to be looked at: 500 peers that meet have timers all the time, so none of the others may be
    /// looked at for one.
    timers: BTreeSet<(Instant, PeerId)>,
    arrived: VecDeque<(PeerId, Bytes)>,
    pub(crate) events: VecDeque<Event>,
    pub(crate) stats: Stats,
    /// Sums over all peers, see `backlog.rs`.
    pub(crate) entries: usize,
    pub(crate) promised: u64,
    pub(crate) paced: usize,
}

#[derive(Debug)]
pub(crate) struct Peer<P> {
    pub(crate) address: SocketAddr,
    pub(crate) reachable: bool,
    ready: bool,
    /// The time under which it stands in [`Transport::timers`]; [`Instant::FAR`] if it does not.
    armed: Instant,
    pub(crate) backlog: Backlog,
    pub(crate) link: Link<P>,
}

#[derive(Debug)]
pub(crate) enum Link<P> {
    Native(Box<Native<P>>),
    Classic(Box<Classic<P>>),
}

impl<P: Payload> Transport<P> {
    /// The longest that a payload is kept back to share a datagram with others.
    pub const HOLD: Duration = HOLD;

    /// A transport without peers.
    #[must_use]
    pub const fn new(config: Config, local: Local, rng: Rng) -> Self {
        Self {
            config,
            local,
            membership: None,
            rng,
            interfaces: Vec::new(),
            peers: BTreeMap::new(),
            by_token: BTreeMap::new(),
            by_identity: BTreeMap::new(),
            by_address: BTreeSet::new(),
            ready: VecDeque::new(),
            turn_bytes: 0,
            timers: BTreeSet::new(),
            arrived: VecDeque::new(),
            events: VecDeque::new(),
            stats: Stats { malformed: 0, unknown_token: 0, stray_hellos: 0, forged: 0, replayed: 0, cookies_sent: 0 },
            entries: 0,
            promised: 0,
            paced: 0,
        }
    }

    /// Speaks with members of a private network only from now on. To be called before the first [`Transport::connect`].
    pub fn make_private(&mut self, credentials: Credentials, random: Random) {
        self.membership = Some(Membership::new(credentials, random));
    }

    /// Sets the wall clock.
    pub const fn handle_clock(&mut self, clock: WallClock) {
        self.local.clock = clock;
    }

    /// Takes the table of local interfaces: their MTUs bound how long a datagram may be.
    pub fn handle_interfaces(&mut self, now: Instant, interfaces: Vec<Interface>) {
        self.interfaces = interfaces;
        let all: Vec<PeerId> = self.peers.keys().copied().collect();
        for id in all {
            let Some(peer) = self.peers.get_mut(&id) else { continue };
            let (limits, _) = path(&self.config, &self.interfaces, peer.address);
            if let Link::Native(native) = &mut peer.link
                && native.limits != limits
            {
                native.search(now, limits);
            }
            self.touch(id);
        }
    }

    /// Starts to speak with a peer. A peer that is known already is only moved and resumed.
    pub fn connect(&mut self, now: Instant, peer: PeerId, remote: &Remote) {
        if self.peers.contains_key(&peer) {
            self.set_address(now, peer, remote.address);
            self.resume(now, peer);
            return;
        }
        let link = match remote.classic {
            None => {
                let mut native = self.new_native(now, peer, (remote.id, remote.incarnation), remote.address);
                native.private = self.membership.as_ref().map(|us| Box::new(Private::new(us, &self.local, remote)));
                Link::Native(Box::new(native))
            }
            Some(codec) => {
                let (name, wall) = (remote.name.clone(), self.local.clock.wall(now));
                let classic = Classic::new(&self.config, codec, remote.id, name, wall, &mut self.rng);
                Link::Classic(Box::new(classic))
            }
        };
        if remote.classic.is_none() {
            self.by_identity.insert((remote.id, remote.incarnation), peer);
        }
        self.by_address.insert(remote.address);
        let backlog = Backlog::new(now);
        let (address, armed) = (remote.address, Instant::FAR);
        self.peers.insert(peer, Peer { address, reachable: true, ready: false, armed, backlog, link });
        self.touch(peer);
    }

    /// Sends to the peer at another address from now on.
    pub fn set_address(&mut self, now: Instant, peer: PeerId, address: SocketAddr) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        if state.address == address {
            return;
        }
        self.by_address.remove(&std::mem::replace(&mut state.address, address));
        self.by_address.insert(address);
        if let Link::Native(native) = &mut state.link {
            native.move_to(now, path(&self.config, &self.interfaces, address));
            native.resume(now);
        }
        self.touch(peer);
    }

    /// The peer says that it is at `announced`, and is silent where it is sent to, which may be elsewhere if its packets came from there
    /// once: it is tried at both in turn.
    pub fn try_elsewhere(&mut self, now: Instant, peer: PeerId, announced: SocketAddr) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        let Link::Native(native) = &mut state.link else { return };
        if let Some(to) = native.path.elsewhere(state.address, announced) {
            self.set_address(now, peer, to);
        }
    }

    /// The peer is out of reach: nothing is sent to it, and what is queued waits until it expires.
    pub fn suspend(&mut self, peer: PeerId) {
        if let Some(state) = self.peers.get_mut(&peer) {
            state.reachable = false;
        }
    }

    /// The peer is back: goes on where it was.
    pub fn resume(&mut self, now: Instant, peer: PeerId) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        if std::mem::replace(&mut state.reachable, true) {
            return;
        }
        if let Link::Native(native) = &mut state.link {
            native.resume(now);
        }
        self.touch(peer);
    }

    /// Forgets the peer and what was queued for it.
    pub fn disconnect(&mut self, peer: PeerId) {
        let Some(state) = self.peers.remove(&peer) else { return };
        self.discount(&state.backlog);
        self.timers.remove(&(state.armed, peer));
        self.by_address.remove(&state.address);
        if let Link::Native(native) = &state.link {
            self.by_token.remove(&native.session.token());
            self.by_identity.retain(|_, known| *known != peer);
        }
    }

    /// Queues a payload. False if the peer is not known; the payload is then dropped.
    pub fn send(&mut self, now: Instant, peer: PeerId, payload: P) -> bool {
        let Some(state) = self.peers.get_mut(&peer) else { return false };
        let before = state.queue_bytes();
        match &mut state.link {
            Link::Native(native) => native.send(now, &self.config, payload),
            Link::Classic(classic) => classic.send(now, &self.config, payload),
        }
        self.note_queued(now, peer, before);
        self.touch(peer);
        true
    }

    /// The peer that a native datagram claims to be from, by its token; nothing is changed.
    #[must_use]
    pub fn sender(&self, datagram: &Bytes) -> Option<PeerId> {
        match Datagram::decode(datagram.clone()) {
            Ok(Datagram::Data { token, .. } | Datagram::PrivateData { token, .. }) => {
                self.by_token.get(&token).copied()
            }
            _ => None,
        }
    }

    /// Takes a native datagram. Returns the peer it came from, if that is one of ours.
    pub fn handle_native(&mut self, now: Instant, from: SocketAddr, datagram: Bytes) -> Option<PeerId> {
        let len = datagram.len();
        let is_private = self.membership.is_some();
        match Datagram::decode(datagram) {
            Ok(Datagram::Data { token, packet, frames }) if !is_private => {
                let id = self.addressee(token)?;
                self.handle_packet(now, from, id, packet, frames)
            }
            Ok(Datagram::PrivateData { token, epoch, packet, header, body }) if is_private => {
                let id = self.addressee(token)?;
                let frames = self.open(now, id, (Epoch(epoch), packet), &header, &body)?;
                self.handle_packet(now, from, id, packet, frames)
            }
            Ok(Datagram::Data { .. } | Datagram::PrivateData { .. }) => {
                self.stats.unknown_token += 1;
                None
            }
            Ok(Datagram::Hello { hello, rest }) => {
                let id = self.handle_hello(now, from, &hello, rest)?;
                if let Some(Peer { link: Link::Native(native), .. }) = self.peers.get_mut(&id) {
                    native.stats.packets_received += 1;
                    native.stats.bytes_received += len as u64;
                }
                Some(id)
            }
            Err(_) => {
                self.stats.malformed += 1;
                None
            }
        }
    }

    /// Takes a classic frame of a peer. Returns it if it is data that did not come before.
    pub fn handle_classic(&mut self, now: Instant, peer: PeerId, frame: Frame) -> Option<Frame> {
        let Link::Classic(classic) = &mut self.peers.get_mut(&peer)?.link else { return None };
        let frame = classic.handle_frame(now, frame);
        self.note_taken(now, peer);
        self.touch(peer);
        frame
    }

    /// Says how many bytes of a peer's payloads the layers above still hold, and how many they may hold; the difference
    /// becomes new credit. Credit that was given is not taken back.
    pub fn set_held(&mut self, peer: PeerId, bytes: u64, window: u64) {
        let Some(Peer { link: Link::Native(native), .. }) = self.peers.get_mut(&peer) else { return };
        native.inbox.set_held(bytes, window);
        if native.inbox.credit_is_due() {
            self.touch(peer);
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        for peer in self.take_due(now) {
            let Some(state) = self.peers.get_mut(&peer).filter(|state| state.timeout().is_some_and(|at| at <= now))
            else {
                self.arm(peer);
                continue;
            };
            match &mut state.link {
                Link::Native(native) => native.handle_timeout(now, &self.config),
                Link::Classic(classic) => classic.handle_timeout(now),
            }
            self.touch(peer);
        }
    }

    /// When [`Transport::handle_timeout`] wants to be called. It may turn out that nothing is due then.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        // Timers of peers that were touched since they were last asked what they have to send are not armed yet.
        let touched = self.ready.iter().filter_map(|id| self.peers.get(id)?.timeout());
        self.timers.first().map(|(at, _)| *at).into_iter().chain(touched).min()
    }

    /// Appends the next datagram. Peers take turns; the datagrams of a turn can leave in one batch.
    #[must_use]
    pub fn poll_transmit(&mut self, now: Instant, out: &mut Chain) -> Option<Transmit> {
        let start = out.len();
        while let Some(id) = self.ready.front().copied() {
            let Some(peer) = self.peers.get_mut(&id) else {
                self.end_turn();
                continue;
            };
            let to = peer.address;
            let us = (&self.local, self.membership.as_mut());
            if peer.reachable && peer.poll_transmit(now, us, &self.config, out) {
                let len = out.len() - start;
                self.recount(id);
                self.turn_bytes += len;
                if self.turn_bytes + len > TURN_BYTES {
                    self.end_turn();
                    self.ready.push_back(id);
                }
                return Some(Transmit { to, len, via: Via::Data });
            }
            peer.ready = false;
            self.end_turn();
            self.arm(id);
        }
        None
    }

    fn end_turn(&mut self) {
        self.ready.pop_front();
        self.turn_bytes = 0;
    }

    /// The next payload that arrived.
    #[must_use]
    pub fn poll_payload(&mut self) -> Option<(PeerId, Bytes)> {
        self.arrived.pop_front()
    }

    /// The next thing that happened to a session.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Bytes of payload that one datagram to the peer takes in any case.
    #[must_use]
    pub fn room(&self, peer: PeerId) -> Option<usize> {
        match &self.peers.get(&peer)?.link {
            Link::Native(native) => Some(native.room()),
            Link::Classic(_) => None,
        }
    }

    /// Whether a payload of this priority that does not fill a datagram should be handed over now: it would leave at once, and nothing is
    /// to be expected that could leave with it. If not, ask again after [`Transport::HOLD`].
    #[must_use]
    pub fn is_hungry(&self, now: Instant, peer: PeerId, priority: Priority) -> bool {
        self.peers.get(&peer).is_some_and(|state| match &state.link {
            Link::Native(native) => state.reachable && native.is_hungry(now, priority),
            Link::Classic(classic) => state.reachable && classic.outbox.is_drained(),
        })
    }

    /// Whether the peer has left several probes unanswered: it may have moved.
    #[must_use]
    pub fn is_silent(&self, peer: PeerId) -> bool {
        let link = self.peers.get(&peer).map(|state| &state.link);
        matches!(link, Some(Link::Native(native)) if native.is_silent())
    }

    /// Bytes queued for the peer or unacknowledged by it.
    #[must_use]
    pub fn queue_bytes(&self, peer: PeerId) -> usize {
        self.peers.get(&peer).map_or(0, Peer::queue_bytes)
    }

    /// As [`Transport::queue_bytes`], of what is at least as urgent as `priority`.
    #[must_use]
    pub fn queue_bytes_before(&self, peer: PeerId, priority: Priority) -> usize {
        self.peers.get(&peer).map_or(0, |state| match &state.link {
            Link::Native(native) => native.outbox.bytes_before(priority),
            Link::Classic(classic) => classic.outbox.bytes_before(priority),
        })
    }

    /// Whether every reachable peer has acknowledged everything.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.peers.values().filter(|peer| peer.reachable).all(Peer::is_settled)
    }

    /// What was exchanged with a peer.
    #[must_use]
    pub fn peer_stats(&self, peer: PeerId) -> Option<PeerStats> {
        Some(match &self.peers.get(&peer)?.link {
            Link::Native(native) => native.stats(),
            Link::Classic(classic) => classic.stats(),
        })
    }

    /// Counters of what belongs to no peer.
    #[must_use]
    pub const fn stats(&self) -> Stats {
        self.stats
    }

    /// Whose session a datagram is of.
    fn addressee(&mut self, token: Token) -> Option<PeerId> {
        let id = self.by_token.get(&token).copied();
        self.stats.unknown_token += u64::from(id.is_none());
        id
    }

    fn handle_packet(
        &mut self,
        now: Instant,
        from: SocketAddr,
        id: PeerId,
        packet: u64,
        frames: Bytes,
    ) -> Option<PeerId> {
        let peer = self.peers.get_mut(&id)?;
        let Link::Native(native) = &mut peer.link else { return None };
        if native.path.handle_packet(now, peer.address == from, from, native.is_silent())
            && !self.by_address.contains(&from)
        {
            self.by_address.remove(&peer.address);
            self.by_address.insert(from);
            peer.address = from;
            native.move_to(now, path(&self.config, &self.interfaces, from));
            native.resume(now);
        }
        let arrived = &mut self.arrived;
        native.handle_packet(now, &self.config, packet, frames, |body| arrived.push_back((id, body)));
        self.note_taken(now, id);
        self.touch(id);
        Some(id)
    }

    fn handle_hello(&mut self, now: Instant, from: SocketAddr, hello: &Hello, rest: Bytes) -> Option<PeerId> {
        let ours = (hello.network, hello.destination, hello.destination_incarnation)
            == (self.local.network, self.local.id, self.local.incarnation);
        let known = self.by_identity.get(&(hello.source, hello.source_incarnation)).copied();
        let Some(id) = known.filter(|_| ours) else {
            self.stats.stray_hellos += 1;
            return None;
        };
        let is_private = self.membership.is_some();
        let is_unheard = self.native(id)?.session.is_unheard(hello, is_private);
        if is_private {
            self.handle_private_hello(now, from, id, hello, rest)?;
        } else {
            self.handle_open_hello(now, id, hello)?;
        }
        // It may be behind a translation of addresses, and not where it says.
        if is_unheard && !self.by_address.contains(&from) {
            self.set_address(now, id, from);
        }
        Some(id)
    }

    fn handle_open_hello(&mut self, now: Instant, id: PeerId, hello: &Hello) -> Option<()> {
        match self.native(id)?.handle_hello(now, hello) {
            Greeting::Known => {}
            Greeting::Opened { .. } => self.events.push_back(Event::Opened(id)),
            Greeting::Lost => self.restart(now, id, hello),
        }
        self.touch(id);
        Some(())
    }

    /// The peer has lost its half of the session: a new one begins, with a new token.
    fn restart(&mut self, now: Instant, id: PeerId, hello: &Hello) {
        let Some(address) = self.peers.get(&id).map(|peer| peer.address) else { return };
        let mut fresh = self.new_native(now, id, (hello.source, hello.source_incarnation), address);
        fresh.handle_hello(now, hello);
        if let Some(Peer { link: Link::Native(old), .. }) = self.peers.get(&id) {
            self.by_token.remove(&old.session.token());
        }
        self.replace(now, id, fresh);
        self.events.extend([Event::Lost(id), Event::Opened(id)]);
    }

    /// What was queued for the peer is gone.
    pub(crate) fn replace(&mut self, now: Instant, id: PeerId, fresh: Native<P>) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.link = Link::Native(Box::new(fresh));
            let old = std::mem::replace(&mut peer.backlog, Backlog::new(now));
            self.discount(&old);
        }
    }

    fn new_native(
        &mut self,
        now: Instant,
        id: PeerId,
        identity: (EndpointId, Incarnation),
        address: SocketAddr,
    ) -> Native<P> {
        let native = self.blank(now, identity, address);
        self.by_token.insert(native.session.token(), id);
        native
    }

    /// The state of a session that has not begun.
    pub(crate) fn blank(
        &mut self,
        now: Instant,
        identity: (EndpointId, Incarnation),
        address: SocketAddr,
    ) -> Native<P> {
        let path = path(&self.config, &self.interfaces, address);
        Native::new(now, &self.config, identity, path, &mut self.rng)
    }

    /// Something changed at the peer: it may want to send, and its timers may have moved. They are armed when it is asked
    /// what it has to send, once for all that happened until then.
    pub(crate) fn touch(&mut self, id: PeerId) {
        if let Some(peer) = self.peers.get_mut(&id) {
            if !std::mem::replace(&mut peer.ready, true) {
                self.ready.push_back(id);
            }
            if let Link::Native(native) = &mut peer.link
                && native.mtu.take_resized()
            {
                self.events.push_back(Event::Resized(id));
            }
        }
        self.recount(id);
    }

    /// Arms a peer's timer if it would fire too late. One that fires too early costs a look at the peer.
    fn arm(&mut self, id: PeerId) {
        self.recount(id);
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let Some(at) = peer.timeout().filter(|at| *at < peer.armed) else { return };
        self.timers.remove(&(peer.armed, id));
        self.timers.insert((at, id));
        peer.armed = at;
    }

    /// The peers whose timers have fired. They are to be armed again.
    fn take_due(&mut self, now: Instant) -> Vec<PeerId> {
        let mut due = Vec::new();
        while let Some((_, id)) = self.timers.first().copied().filter(|(at, _)| *at <= now) {
            self.timers.pop_first();
            if let Some(peer) = self.peers.get_mut(&id) {
                peer.armed = Instant::FAR;
            }
            due.push(id);
        }
        due
    }
}

impl<P: Payload> Peer<P> {
    fn timeout(&self) -> Option<Instant> {
        match (&self.link, self.reachable) {
            (Link::Native(native), true) => native.timeout(),
            (Link::Native(native), false) => native.sweep_at(),
            (Link::Classic(classic), true) => classic.timeout(),
            (Link::Classic(classic), false) => classic.sweep_at(),
        }
    }

    pub(crate) fn queue_bytes(&self) -> usize {
        match &self.link {
            Link::Native(native) => native.outbox.bytes(),
            Link::Classic(classic) => classic.outbox.bytes(),
        }
    }

    fn is_settled(&self) -> bool {
        match &self.link {
            Link::Native(native) => native.outbox.is_settled(),
            Link::Classic(classic) => classic.outbox.is_settled(),
        }
    }

    fn poll_transmit(
        &mut self,
        now: Instant,
        us: (&Local, Option<&mut Membership>),
        config: &Config,
        out: &mut Chain,
    ) -> bool {
        match &mut self.link {
            Link::Classic(classic) => classic.poll_transmit(now, us.0, config, out),
            Link::Native(native) => native.poll_transmit(now, us, config, out),
        }
    }
}

/// How long a datagram to `address` may be, and whether no network lies between.
fn path(config: &Config, interfaces: &[Interface], address: SocketAddr) -> (Limits, bool) {
    if address.ip().is_loopback() {
        let (base, most) = (config.loopback_datagram_bytes, config.loopback_datagram_bytes);
        return (Limits { base, most }, true);
    }
    let mtu = Interface::towards(interfaces, address.ip()).map_or(Interface::ETHERNET_MTU, |interface| interface.mtu);
    let headers = if address.is_ipv4() { IPV4_HEADER_BYTES } else { IPV6_HEADER_BYTES } + UDP_HEADER_BYTES;
    let most = usize::try_from(mtu.saturating_sub(headers)).unwrap_or(usize::MAX);
    let base = config.base_datagram_bytes;
    (Limits { base, most: most.min(config.max_datagram_bytes).max(base) }, false)
}

const IPV4_HEADER_BYTES: u32 = 20;
const IPV6_HEADER_BYTES: u32 = 40;
const UDP_HEADER_BYTES: u32 = 8;

/// A turn sends one batch of the driver: what one system call takes. So a bundle for several peers goes to all of them
/// while it is in the cache, and none waits until another's window is full.
const TURN_BYTES: usize = glue_net::wire::MAX_DATAGRAM_BYTES;
