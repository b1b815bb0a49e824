//! The state machine: who is there.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use glue_net::wire::classic::{Codec, Container};
use glue_net::wire::native::Member;
use glue_net::{EndpointId, Incarnation, Instant, Interface, PeerId, Rng, Transmit, WallClock};

use crate::clashes::{Clashes, Report};
use crate::config::{Config, ConfigError};
use crate::event::{ClashKind, DownReason, Event, PeerInfo};
use crate::heard::{Arrival, Heard};
use crate::local::Local;
use crate::memory::Past;
use crate::outbox::{Outbox, Purpose};
use crate::peers::{Identity, Peer, Peers};
use crate::stats::{Ignored, Stats};

/// Announces this endpoint and learns of the others. See the [crate] for how.
#[derive(Debug)]
pub struct Discovery {
    pub(crate) config: Config,
    rng: Rng,
    pub(crate) clock: WallClock,
    pub(crate) local: Local,
    pub(crate) peers: Peers,
    clashes: Clashes,
    pub(crate) outbox: Outbox,
    events: VecDeque<Event>,
    /// When to announce next; `None` after we left.
    announce_at: Option<Instant>,
    announced_at: Option<Instant>,
    /// How many announcements of ours have left.
    pub(crate) announced: u64,
    /// What our last announcement said: how long it is until the next.
    pub(crate) interval: Duration,
    pub(crate) stats: Stats,
}

impl Discovery {
    /// Starts. The first announcement is due at once; it goes out as soon as [`Discovery::handle_interfaces`] has told
    /// where we are.
    ///
    /// # Errors
    /// [`ConfigError`] if a field of `config` is out of its range.
    pub fn new(config: Config, rng: Rng, now: Instant) -> Result<Self, ConfigError> {
        config.validate()?;
        Ok(Self {
            rng,
            clock: WallClock::default(),
            local: Local::new(&config),
            peers: Peers::new(&config),
            clashes: Clashes::default(),
            outbox: Outbox::new(&config),
            events: VecDeque::new(),
            announce_at: Some(now),
            announced_at: None,
            announced: 0,
            interval: config.announce_interval,
            stats: Stats::default(),
            config,
        })
    }

    /// Takes the table of local interfaces, in place of the one before. If it differs, we announce ourselves at once.
    pub fn handle_interfaces(&mut self, now: Instant, interfaces: Vec<Interface>) {
        if !self.local.replace(interfaces) {
            return;
        }
        self.announce_at = self.announce_at.map(|at| at.min(now));
        let numbers: Vec<PeerId> = self.peers.iter().map(|(number, _)| number).collect();
        for number in numbers {
            self.choose_address(now, number);
            self.peers.arm(number);
        }
    }

    /// Takes the clock that announcements are stamped by.
    pub const fn handle_clock(&mut self, clock: WallClock) {
        self.clock = clock;
    }

    /// Takes an announcement as it came from the network, whoever sent it. Anything else in the container is passed
    /// over and counted.
    pub fn handle_announcement(&mut self, now: Instant, from: SocketAddr, codec: Codec, container: Container) {
        self.take(now, from, codec, (None, container));
    }

    /// As [`Discovery::handle_announcement`], of one that came in an envelope of our private network, so that a member has
    /// sent it; `member` says whom it is of.
    pub fn handle_member(
        &mut self,
        now: Instant,
        from: SocketAddr,
        codec: Codec,
        (member, container): (Member, Container),
    ) {
        self.take(now, from, codec, (Some(member), container));
    }

    fn take(&mut self, now: Instant, from: SocketAddr, codec: Codec, (member, container): (Option<Member>, Container)) {
        self.stats.announcements_heard += 1;
        let arrival = Arrival { wall: self.clock.wall(now), from, codec, member };
        if let Err(why) = self.hear(now, arrival, container) {
            self.stats.count_ignored(why);
        }
    }

    /// Notes that a peer is alive, because it answers in a session. It counts like an announcement of an unchanged peer.
    pub fn handle_alive(&mut self, now: Instant, peer: PeerId) {
        self.peers.touch(now, peer);
    }

    /// Notes that a peer does not answer at its data address: if it was heard with another one, that is used from now on.
    pub fn handle_silence(&mut self, now: Instant, peer: PeerId) {
        self.peers.doubt(peer);
        self.choose_address(now, peer);
    }

    /// Drops a peer that is no longer to be a peer. It comes up again with a new number, if an announcement of it is handed in
    /// that is later than all before.
    pub fn revoke(&mut self, now: Instant, peer: PeerId) {
        let Some(count) = self.peers.get(peer).map(|peer| peer.count) else { return };
        let past = Past::Left { at: self.clock.wall(now), count };
        self.remove(peer, DownReason::Revoked, Some(past));
    }

    /// Lets silent peers expire, and announces if it is time.
    pub fn handle_timeout(&mut self, now: Instant) {
        for number in self.peers.take_due(now) {
            self.review(now, number);
        }
        if self.announce_at.is_some_and(|at| at <= now) {
            self.announce_now(now);
        }
    }

    /// When [`Discovery::handle_timeout`] wants to be called next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.announce_at.into_iter().chain(self.peers.next_due()).min()
    }

    /// Appends the next datagram to send to `out`, and says how long it is and where it goes. `None`: nothing to send
    /// now.
    #[must_use]
    pub fn poll_transmit(&mut self, now: Instant, out: &mut Vec<u8>) -> Option<Transmit> {
        let outgoing = self.next_outgoing(now)?;
        let start = out.len();
        if let Some(member) = outgoing.member {
            member.encode(out);
        }
        outgoing.container.encode(outgoing.codec, out);
        Some(Transmit { to: outgoing.to, len: out.len() - start, via: outgoing.via })
    }

    /// The next change among the peers.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Says goodbye to all targets and to each native peer, in the datagrams polled next, and announces no more. Known
    /// peers are still followed until they expire, so that what was sent to them can be finished.
    pub fn leave(&mut self, _now: Instant) {
        if self.announce_at.take().is_some() {
            self.outbox.clear();
            self.say_goodbye();
        }
    }

    /// The living peers, in the order of their numbers.
    pub fn peers(&self) -> impl Iterator<Item = (PeerId, &PeerInfo)> {
        self.peers.iter().map(|(number, peer)| (number, &peer.info))
    }

    /// A living peer.
    #[must_use]
    pub fn peer(&self, peer: PeerId) -> Option<&PeerInfo> {
        self.peers.get(peer).map(|p| &p.info)
    }

    /// The living peer with this id, in this life.
    #[must_use]
    pub fn find(&self, id: EndpointId, incarnation: Incarnation) -> Option<PeerId> {
        self.peers.find(id, incarnation)
    }

    /// The living peer with this id, in whichever life.
    #[must_use]
    pub fn find_id(&self, id: EndpointId) -> Option<PeerId> {
        self.peers.by_id(id)
    }

    /// The living classic peer with this name: classic frames name their source, and are matched by it.
    #[must_use]
    pub fn find_classic(&self, name: &str) -> Option<PeerId> {
        let number = self.peers.by_name(name)?;
        self.peers.get(number).filter(|p| !p.is_native()).map(|_| number)
    }

    /// Counts since the start.
    #[must_use]
    pub const fn stats(&self) -> Stats {
        self.stats
    }

    pub(crate) const fn has_left(&self) -> bool {
        self.announce_at.is_none()
    }

    /// Moves the next announcement forward, so that somebody who can not be answered by unicast hears us soon. No closer
    /// than half an interval to the one before.
    pub(crate) fn announce_soon(&mut self, now: Instant) {
        let earliest = self.announced_at.map_or(now, |at| at + self.config.announce_interval / 2);
        self.announce_at = self.announce_at.map(|at| at.min(earliest.max(now)));
    }

    /// Whether we announced to targets within this time.
    pub(crate) fn announced_since(&self, now: Instant, within: Duration) -> bool {
        self.announced_at.is_some_and(|at| !self.config.targets.is_empty() && at + within > now)
    }

    fn announce_now(&mut self, now: Instant) {
        self.outbox.refill(&self.config, &mut self.stats);
        self.interval = self.paced_interval();
        self.announce(Purpose::Announce);
        self.announced_at = Some(now);
        // Endpoints that were started together would otherwise announce together for ever.
        let jitter = JITTER * (self.rng.below(JITTER_STEPS) as f64 / JITTER_STEPS as f64 * 2.0 - 1.0);
        self.announce_at = Some(now + self.interval.mul_f64(1.0 + jitter));
    }

    /// How long the next announcement may take in a group of this size. One who only answers keeps to its interval.
    fn paced_interval(&self) -> Duration {
        if self.config.targets.is_empty() {
            return self.config.announce_interval;
        }
        let stretch = (self.peers.len() + 1) as f64 / self.config.steady_endpoints as f64;
        self.config.announce_interval.mul_f64(stretch.clamp(1.0, MAX_STRETCH)).min(*Config::INTERVALS.end())
    }

    /// Looks at a peer whose timer fired.
    fn review(&mut self, now: Instant, number: PeerId) {
        let Some(peer) = self.peers.get(number) else { return };
        if peer.is_expired(now) {
            return self.remove(number, DownReason::Expired, Some(Past::Expired { number, count: peer.count }));
        }
        // The address before the probe: with it there may be one to probe at.
        self.choose_address(now, number);
        if self.peers.get(number).is_some_and(|p| p.wants_probe(now)) {
            self.probe(now, number);
        }
        self.peers.arm(number);
    }

    fn choose_address(&mut self, now: Instant, number: PeerId) {
        let moved = self.peers.choose(now, number, &self.local);
        self.tell_moved(number, moved);
    }

    fn hear(&mut self, now: Instant, arrival: Arrival, container: Container) -> Result<(), Ignored> {
        // Announcements are repeated, so none is lost for good that waits for the application to catch up.
        if self.events.len() >= self.config.max_events {
            return Err(Ignored::Events);
        }
        let heard = Heard::check(arrival, container, self.config.network, &self.local)?;
        if self.config.public_key.is_some() != heard.member.is_some() {
            return Err(Ignored::Stranger);
        }
        self.compare_with_us(now, &heard)?;
        if self.local.is_ours(heard.data) {
            return Err(Ignored::Unreachable);
        }
        let (number, is_new) = match self.peers.identify(&heard) {
            Identity::Known(number) if heard.goodbye => {
                let past = Past::Left { at: heard.container.sent_timestamp, count: heard.count() };
                self.remove(number, DownReason::Goodbye, Some(past));
                return Ok(());
            }
            Identity::Known(number) => (self.refresh(now, number, &heard), false),
            Identity::Stale => return Err(Ignored::Stale),
            _ if heard.goodbye => return Err(Ignored::Stale),
            Identity::Clash(kind) => return Err(self.refuse(now, kind, &heard)),
            Identity::New => (self.admit(now, &heard)?, true),
            Identity::Restarted(number) => (self.restart(now, number, &heard)?, true),
        };
        if !heard.forwarded && !self.has_left() {
            self.answer(now, number, is_new, &heard);
        }
        Ok(())
    }

    /// Sorts out what bears our own id or name.
    fn compare_with_us(&mut self, now: Instant, heard: &Heard) -> Result<(), Ignored> {
        let (is_our_id, is_our_name) = (heard.id == self.config.id, heard.name() == self.config.name);
        if !is_our_id && !is_our_name {
            return Ok(());
        }
        // A reference peer that passes our announcement on drops what it does not know: the incarnation.
        let is_stripped = heard.forwarded && is_our_name && !heard.is_native();
        if is_our_id && (heard.incarnation == self.config.incarnation || is_stripped) {
            return Err(Ignored::Own);
        }
        // Somebody still passes on what we announced before we were restarted.
        let is_our_past = is_our_id && heard.forwarded && heard.incarnation < self.config.incarnation;
        if heard.goodbye || is_our_past {
            return Err(Ignored::Stale);
        }
        let kind = if is_our_id { ClashKind::Id } else { ClashKind::Name };
        Err(self.refuse(now, kind, heard))
    }

    fn refuse(&mut self, now: Instant, kind: ClashKind, heard: &Heard) -> Ignored {
        match self.clashes.note(now, kind, heard.id, &self.config) {
            Report::Tell => {
                tracing::warn!(?kind, id = %heard.id, name = heard.name(), from = %heard.from, "endpoint refused: clash");
                let name = heard.name().to_owned();
                self.events.push_back(Event::Clash { kind, name, id: heard.id, address: heard.from });
            }
            Report::Told => {}
            Report::Full => self.stats.clashes_dropped += 1,
        }
        Ignored::Clash
    }

    fn refresh(&mut self, now: Instant, number: PeerId, heard: &Heard) -> PeerId {
        let (moved, dropped) = self.peers.refresh(now, number, heard, &self.local);
        self.stats.addresses_dropped += dropped as u64;
        self.tell_moved(number, moved);
        number
    }

    fn restart(&mut self, now: Instant, number: PeerId, heard: &Heard) -> Result<PeerId, Ignored> {
        if self.has_left() {
            return Err(Ignored::Leaving);
        }
        // Of an earlier life of a member nothing is taken any more, whoever recorded it.
        let past = Past::Left { at: heard.container.sent_timestamp, count: u64::MAX };
        self.remove(number, DownReason::Restarted, heard.member.map(|_| past));
        self.admit(now, heard)
    }

    fn admit(&mut self, now: Instant, heard: &Heard) -> Result<PeerId, Ignored> {
        if self.has_left() {
            return Err(Ignored::Leaving);
        }
        if self.peers.len() >= self.config.max_peers {
            return Err(Ignored::Full);
        }
        let number = self.peers.admit(now, heard).ok_or(Ignored::Full)?;
        let info = self.peers.get(number).map(|p| p.info.clone()).ok_or(Ignored::Full)?;
        tracing::debug!(peer = number.0, id = %info.id, name = info.name, data = %info.data, "peer up");
        self.stats.peers_up += 1;
        self.events.push_back(Event::PeerUp { peer: number, info });
        Ok(number)
    }

    fn remove(&mut self, number: PeerId, reason: DownReason, past: Option<Past>) {
        let Some(Peer { info, .. }) = self.peers.remove(number) else { return };
        if let Some(past) = past {
            self.stats.forgotten += self.peers.remember((info.id, info.incarnation), past);
        }
        tracing::debug!(peer = number.0, id = %info.id, name = info.name, ?reason, "peer down");
        self.stats.peers_down += 1;
        let native = info.wire.is_native();
        self.events.push_back(Event::PeerDown { peer: number, id: info.id, name: info.name, native, reason });
    }

    fn tell_moved(&mut self, number: PeerId, from: Option<SocketAddr>) {
        let (Some(from), Some(info)) = (from, self.peer(number)) else { return };
        let (id, name, to) = (info.id, info.name.clone(), info.data);
        tracing::debug!(peer = number.0, %from, %to, "peer moved");
        self.stats.peers_moved += 1;
        self.events.push_back(Event::PeerMoved { peer: number, id, name, from, to });
    }
}

/// Announcements come this much earlier or later, at most: enough to spread endpoints over the interval in some 20
/// rounds, little enough that nobody expires.
const JITTER: f64 = 0.05;
const JITTER_STEPS: u64 = 1 << 20;

/// Announcements have about 640 bytes: 160 B/s of each endpoint in a large group. Of 500 each hears 125 a second.
const MAX_STRETCH: f64 = 4.0;
