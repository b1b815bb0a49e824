//! The table of living peers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use glue_net::wire::classic::{Codec, Container};
use glue_net::wire::native::Member;
use glue_net::{EndpointId, Incarnation, Instant, PeerId};
use glue_security::PublicKey;

use crate::addresses::{Addresses, Candidate};
use crate::event::{ClashKind, PeerInfo, Wire};
use crate::heard::{Heard, Reach};
use crate::local::Local;
use crate::memory::{Life, Memory, Past};

/// A living peer.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) info: PeerInfo,
    /// The codec of its last announcement.
    pub(crate) codec: Codec,
    /// Of its announcements, the latest that came; 0 outside private networks.
    pub(crate) count: u64,
    addresses: Addresses,
    /// The last sign of life.
    heard: Instant,
    /// Its announce interval times our multiplier.
    timeout: Duration,
    /// An address that was not confirmed for so long gives way to one that was.
    confirmation: Duration,
    /// The last announcement that came from itself, not passed on by another.
    direct: Option<Direct>,
    /// When it last announced to us as its target.
    targeted: Option<Instant>,
    /// When we last sent our announcement to it alone.
    pub(crate) answered: Option<Instant>,
    /// When we last passed a list of others on to it.
    pub(crate) listed: Option<Instant>,
    /// When we last probed it.
    pub(crate) probed: Option<Instant>,
    /// How often it was probed since it last announced.
    pub(crate) unanswered: u32,
    /// The last of the others that was passed on to it.
    pub(crate) cursor: PeerId,
    /// How many are to be passed on to it before the list ends.
    pub(crate) unlisted: usize,
    /// In how many turns the others are passed on to it, as the rates in them say.
    pub(crate) turns: u32,
    /// The time under which it stands in [`Peers::due`]; [`Instant::FAR`] if it does not.
    armed: Instant,
}

#[derive(Debug)]
struct Direct {
    at: Instant,
    from: SocketAddr,
    member: Option<Member>,
    container: Arc<Container>,
}

impl Peer {
    fn new(now: Instant, heard: &Heard) -> Self {
        let info = PeerInfo {
            id: heard.id,
            name: heard.name().to_owned(),
            incarnation: heard.incarnation,
            public_key: heard.member.map(|member| PublicKey::from_bytes(member.key)),
            wire: heard.wire,
            data: heard.data,
            discovery: heard.discovery,
            announce_interval: heard.interval,
        };
        Self {
            info,
            codec: heard.codec,
            count: heard.count(),
            addresses: Addresses::new(candidate(now, heard)),
            heard: now,
            timeout: Duration::ZERO,
            confirmation: Duration::ZERO,
            direct: None,
            targeted: None,
            answered: None,
            listed: None,
            probed: None,
            unanswered: 0,
            cursor: PeerId(0),
            unlisted: 0,
            turns: 1,
            armed: Instant::FAR,
        }
    }

    pub(crate) const fn is_native(&self) -> bool {
        matches!(self.info.wire, Wire::Native { .. })
    }

    /// Whether the key is its own.
    fn is_known_by(&self, heard: &Heard) -> bool {
        self.info.public_key.map(|key| *key.as_bytes()) == heard.member.map(|member| member.key)
    }

    pub(crate) fn is_expired(&self, now: Instant) -> bool {
        self.heard + self.timeout <= now
    }

    /// Whether it should be asked for a sign of life: it is a native peer that is late by more than the jitter, and was
    /// not asked just now.
    pub(crate) fn wants_probe(&self, now: Instant) -> bool {
        self.probe_at().is_some_and(|at| at <= now)
    }

    fn probe_at(&self) -> Option<Instant> {
        let interval = self.info.announce_interval;
        let late = self.heard + interval.mul_f64(PROBE_AFTER);
        let again = self.probed.map_or(Instant::ZERO, |at| at + interval / PROBES_PER_INTERVAL);
        (self.is_native() && self.info.discovery.is_some()).then_some(late.max(again))
    }

    /// Its announcement, if we may pass it on: only what it told us itself, and only while it keeps telling. Otherwise
    /// two endpoints that pass it on to each other would keep it alive for ever.
    pub(crate) fn forwardable(&self, now: Instant) -> Option<(Option<Member>, &Container)> {
        self.direct.as_ref().filter(|d| d.at + self.timeout > now).map(|d| (d.member, &*d.container))
    }

    /// In which codec `to` is told of it. A native endpoint learns from that which one a classic peer speaks; classic
    /// peers of two codecs can not talk, and are not told of each other.
    pub(crate) fn codec_for(&self, to: &Self) -> Option<Codec> {
        match (self.info.wire, to.info.wire) {
            (Wire::Classic(codec), Wire::Native { .. }) => Some(codec),
            (Wire::Classic(codec), Wire::Classic(spoken)) if codec != spoken => None,
            _ => Some(to.codec),
        }
    }

    /// Whether it announces to us as its target, and so learns of others from us, and where it takes that.
    pub(crate) fn takes_forwards(&self, now: Instant) -> Option<SocketAddr> {
        self.info.discovery.filter(|_| self.targeted.is_some_and(|at| at + self.timeout > now))
    }

    /// When something is to be done about it.
    fn due(&self) -> Instant {
        let times = [Some(self.heard + self.timeout), self.probe_at(), self.addresses.review_at(self.confirmation)];
        times.into_iter().flatten().min().unwrap_or(Instant::FAR)
    }

    /// Chooses the address again; tells the one before if it changed.
    fn choose(&mut self, now: Instant, local: &Local) -> Option<SocketAddr> {
        self.addresses.choose(now, self.confirmation, local);
        let (before, chosen) = (self.info.data, self.addresses.chosen());
        self.info.data = chosen.data;
        self.info.discovery = chosen.discovery;
        (before != chosen.data).then_some(before)
    }
}

/// Who an announcement comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Identity {
    /// Someone claims what a living peer holds.
    Clash(ClashKind),
    /// A living peer.
    Known(PeerId),
    /// Somebody that is not known, or not any more.
    New,
    /// A living peer's next life.
    Restarted(PeerId),
    /// A life that is over.
    Stale,
}

/// The living peers, by number, id and name, and when each is due.
#[derive(Debug)]
pub(crate) struct Peers {
    by_number: BTreeMap<PeerId, Peer>,
    by_id: BTreeMap<EndpointId, PeerId>,
    by_name: BTreeMap<String, PeerId>,
    due: BTreeSet<(Instant, PeerId)>,
    /// Those that have ever announced to us as their target: on a group nobody does, and each newcomer looks for them.
    askers: BTreeSet<PeerId>,
    memory: Memory,
    next: Option<PeerId>,
    multiplier: f64,
    max_addresses: usize,
}

impl Peers {
    pub(crate) const fn new(config: &crate::Config) -> Self {
        Self {
            by_number: BTreeMap::new(),
            by_id: BTreeMap::new(),
            by_name: BTreeMap::new(),
            due: BTreeSet::new(),
            askers: BTreeSet::new(),
            memory: Memory::new(config.max_remembered),
            next: Some(PeerId(1)),
            multiplier: config.timeout_multiplier,
            max_addresses: config.max_addresses,
        }
    }

    /// Tells who an announcement comes from. An id is an identity and keeps its name for a life.
    pub(crate) fn identify(&self, heard: &Heard) -> Identity {
        // Looked at only where it matters: strings in a tree are a cache miss each, for each announcement of a large group.
        let is_name_taken = || self.by_name.contains_key(heard.name());
        let Some((number, peer)) = self.by_id.get(&heard.id).and_then(|n| Some((*n, self.by_number.get(n)?))) else {
            return match is_name_taken() {
                true => Identity::Clash(ClashKind::Name),
                false if self.is_from_before_goodbye(heard) => Identity::Stale,
                false => Identity::New,
            };
        };
        let is_named_so = peer.info.name == heard.name();
        match heard.incarnation.cmp(&peer.info.incarnation) {
            std::cmp::Ordering::Less => Identity::Stale,
            std::cmp::Ordering::Equal if heard.member.is_some() && heard.count() <= peer.count => Identity::Stale,
            std::cmp::Ordering::Equal if is_named_so && peer.is_known_by(heard) => Identity::Known(number),
            std::cmp::Ordering::Equal => Identity::Clash(ClashKind::Id),
            std::cmp::Ordering::Greater if !is_named_so && is_name_taken() => Identity::Clash(ClashKind::Name),
            std::cmp::Ordering::Greater => Identity::Restarted(number),
        }
    }

    /// Takes a new peer in, under its old number if it is remembered; `None` once all numbers were given.
    pub(crate) fn admit(&mut self, now: Instant, heard: &Heard) -> Option<PeerId> {
        let number = match self.memory.recall((heard.id, heard.incarnation)) {
            Some(Past::Expired { number, .. }) => number,
            Some(Past::Left { .. }) | None => {
                let number = self.next?;
                self.next = number.0.checked_add(1).map(PeerId);
                number
            }
        };
        self.by_id.insert(heard.id, number);
        self.by_name.insert(heard.name().to_owned(), number);
        self.by_number.insert(number, Peer::new(now, heard));
        self.hear(now, number, heard);
        self.arm(number);
        Some(number)
    }

    /// Takes an announcement of a known peer. Tells the data address before, if it changed, and how many addresses were
    /// dropped.
    pub(crate) fn refresh(
        &mut self,
        now: Instant,
        number: PeerId,
        heard: &Heard,
        local: &Local,
    ) -> (Option<SocketAddr>, usize) {
        let dropped = self.hear(now, number, heard);
        let moved = self.choose(now, number, local);
        self.put_off(number);
        (moved, dropped)
    }

    fn hear(&mut self, now: Instant, number: PeerId, heard: &Heard) -> usize {
        let Some(peer) = self.by_number.get_mut(&number) else { return 0 };
        peer.heard = now;
        peer.count = heard.count();
        peer.codec = heard.codec;
        // Who passes it on may do so less often than the peer announces, and says so. While we hear the peer itself,
        // its own word counts.
        if !heard.forwarded || peer.forwardable(now).is_none() {
            peer.info.announce_interval = heard.interval;
            peer.timeout = heard.interval.mul_f64(self.multiplier);
            peer.confirmation = heard.interval.mul_f64(CONFIRMATION_INTERVALS).min(peer.timeout);
        }
        if !heard.forwarded {
            peer.direct = Some(Direct {
                at: now,
                from: heard.from,
                member: heard.member,
                container: Arc::clone(&heard.container),
            });
            if heard.reach == Reach::Target {
                peer.targeted = Some(now);
                self.askers.insert(number);
            }
        }
        peer.addresses.hear(candidate(now, heard), !heard.forwarded, self.max_addresses)
    }

    /// Chooses a peer's address again; tells the one before if it changed. The peer is to be armed again.
    pub(crate) fn choose(&mut self, now: Instant, number: PeerId, local: &Local) -> Option<SocketAddr> {
        self.by_number.get_mut(&number)?.choose(now, local)
    }

    /// The peer does not answer where it is spoken to.
    pub(crate) fn doubt(&mut self, number: PeerId) {
        if let Some(peer) = self.by_number.get_mut(&number) {
            peer.addresses.doubt();
        }
    }

    /// A sign of life that is no announcement. It comes with every burst of data, so the timer stays as it is armed and
    /// is moved when it fires.
    pub(crate) fn touch(&mut self, now: Instant, number: PeerId) {
        if let Some(peer) = self.by_number.get_mut(&number) {
            peer.heard = peer.heard.max(now);
        }
    }

    pub(crate) fn remove(&mut self, number: PeerId) -> Option<Peer> {
        let peer = self.by_number.remove(&number)?;
        self.by_id.remove(&peer.info.id);
        self.by_name.remove(&peer.info.name);
        self.due.remove(&(peer.armed, number));
        self.askers.remove(&number);
        Some(peer)
    }

    /// Remembers how a life ended; returns how many were forgotten for it.
    pub(crate) fn remember(&mut self, life: Life, past: Past) -> u64 {
        self.memory.remember(life, past)
    }

    fn is_from_before_goodbye(&self, heard: &Heard) -> bool {
        let past = self.memory.past((heard.id, heard.incarnation));
        past.is_some_and(|past| past.is_after(heard.member.is_some(), heard.container.sent_timestamp, heard.count()))
    }

    /// Arms a peer's timer if it would fire too late. One that fires too early costs a look at the peer, about once in
    /// an announce interval.
    pub(crate) fn arm(&mut self, number: PeerId) {
        let Some(peer) = self.by_number.get_mut(&number) else { return };
        let due = peer.due();
        if due < peer.armed {
            self.due.remove(&(peer.armed, number));
            peer.armed = due;
            self.due.insert((due, number));
        }
    }

    /// Arms a peer's timer for when it is due. In a large group an early timer for each announcement would wake the
    /// processor once more for each.
    fn put_off(&mut self, number: PeerId) {
        let Some(peer) = self.by_number.get_mut(&number) else { return };
        self.due.remove(&(peer.armed, number));
        peer.armed = peer.due();
        self.due.insert((peer.armed, number));
    }

    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// The peers whose timers have fired. They are to be looked at and armed again.
    pub(crate) fn take_due(&mut self, now: Instant) -> Vec<PeerId> {
        let mut fired = Vec::new();
        while let Some((_, number)) = self.due.first().copied().filter(|(at, _)| *at <= now) {
            self.due.pop_first();
            if let Some(peer) = self.by_number.get_mut(&number) {
                peer.armed = Instant::FAR;
            }
            fired.push(number);
        }
        fired
    }

    pub(crate) fn get(&self, number: PeerId) -> Option<&Peer> {
        self.by_number.get(&number)
    }

    pub(crate) fn get_mut(&mut self, number: PeerId) -> Option<&mut Peer> {
        self.by_number.get_mut(&number)
    }

    pub(crate) fn by_id(&self, id: EndpointId) -> Option<PeerId> {
        self.by_id.get(&id).copied()
    }

    pub(crate) fn by_name(&self, name: &str) -> Option<PeerId> {
        self.by_name.get(name).copied()
    }

    pub(crate) fn len(&self) -> usize {
        self.by_number.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (PeerId, &Peer)> {
        self.by_number.iter().map(|(number, peer)| (*number, peer))
    }

    /// Those of the peers with larger numbers than `last` that have announced to us as their target.
    pub(crate) fn askers_after(&self, last: PeerId) -> impl Iterator<Item = (PeerId, &Peer)> {
        let range = (Bound::Excluded(last), Bound::Unbounded);
        self.askers.range(range).filter_map(|number| Some((*number, self.by_number.get(number)?)))
    }

    /// The peers with larger numbers than `last`.
    fn after(&self, last: PeerId) -> impl Iterator<Item = (PeerId, &Peer)> {
        let range = (Bound::Excluded(last), Bound::Unbounded);
        self.by_number.range(range).map(|(number, peer)| (*number, peer))
    }

    /// All peers, beginning after `last` and ending with it.
    pub(crate) fn around(&self, last: PeerId) -> impl Iterator<Item = (PeerId, &Peer)> {
        self.after(last).chain(self.by_number.range(..=last).map(|(number, peer)| (*number, peer)))
    }

    /// Whether a classic peer that speaks MessagePack is heard.
    pub(crate) fn has_classic_messagepack(&self) -> bool {
        self.by_number.values().any(|p| p.info.wire == Wire::Classic(Codec::MessagePack))
    }

    /// Whether a native peer answers at this unicast address.
    pub(crate) fn has_native_at(&self, target: SocketAddr) -> bool {
        let is_there =
            |p: &Peer| p.info.discovery == Some(target) || p.direct.as_ref().is_some_and(|d| d.from == target);
        self.by_number.values().any(|p| p.is_native() && is_there(p))
    }

    pub(crate) fn find(&self, id: EndpointId, incarnation: Incarnation) -> Option<PeerId> {
        let number = self.by_id(id)?;
        self.get(number).filter(|p| p.info.incarnation == incarnation).map(|_| number)
    }
}

const fn candidate(now: Instant, heard: &Heard) -> Candidate {
    Candidate { data: heard.data, discovery: heard.discovery, heard: now }
}

/// A native peer is probed when it is silent for its interval times this: jitter is 1.05, the rest is the way.
const PROBE_AFTER: f64 = 1.1;

/// Until a peer expires, at 2.0 usually, there is time for eight probes. Where a fifth of all datagrams is lost all of
/// them fail once in 3,000 times; two would fail once in 8, and an idle peer would come and go.
pub(crate) const PROBES_PER_INTERVAL: u32 = 8;

/// A peer that has left an address is followed to the next before it would expire: with the second that its host needs
/// to see the change, within three. One lost announcement may move a peer with two good addresses to the other one.
const CONFIRMATION_INTERVALS: f64 = 1.5;
