//! Some [`Topics`] machines, and a transport between them that is as `transport.rs` has shown it to be: what is sent arrives
//! once, in any order, unless one of the two is no more.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use glue_net::{Chain, Content, EndpointId, Incarnation, Instant, PeerId, WallTime};
use glue_topics::{Cargo, Config, EndpointName, PeerFacts, Topics, Wire};

use crate::line::{Line, Parcel};
use crate::{Bounds, Choice};

/// What is carried.
#[derive(Clone, Debug)]
pub(crate) enum Item {
    /// Cargo, and whether it says that a member of a group is done.
    Cargo(Cargo, bool),
    /// The receiver sees that the sender is out of reach.
    Suspended,
    /// The receiver forgets the sender.
    Gone,
}

#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) now: Instant,
    nodes: Vec<Option<Topics>>,
    /// Pairs that can reach each other at all, smaller number first.
    links: Vec<(u8, u8)>,
    cut: BTreeSet<(u8, u8)>,
    /// What waits at its sender until the way is there again.
    waiting: Vec<Parcel<Item>>,
    /// Since when something stays away.
    held_since: Option<Instant>,
    pub(crate) line: Line<Item>,
}

impl Cluster {
    pub(crate) fn new(count: u8, links: &[(u8, u8)], config: &Config, bounds: Bounds) -> Self {
        let topics = |node| Topics::new(config.clone(), id(node), LIFE, &name(node)).ok();
        let mut cluster = Self {
            now: Instant::ZERO + Duration::from_secs(1),
            nodes: (0..count).map(topics).collect(),
            links: links.to_vec(),
            cut: BTreeSet::new(),
            waiting: Vec::new(),
            held_since: None,
            line: Line::new(bounds),
        };
        for (a, b) in links {
            cluster.with(*a, |topics, _| topics.handle_peer_up(peer(*b), &facts(*b)));
            cluster.with(*b, |topics, _| topics.handle_peer_up(peer(*a), &facts(*a)));
        }
        cluster
    }

    pub(crate) fn count(&self) -> u8 {
        u8::try_from(self.nodes.len()).unwrap_or(u8::MAX)
    }

    pub(crate) fn node(&self, node: u8) -> Option<&Topics> {
        self.nodes.get(usize::from(node))?.as_ref()
    }

    /// Does something with a node, if it is there.
    pub(crate) fn with<T>(&mut self, node: u8, act: impl FnOnce(&mut Topics, Instant) -> T) -> Option<T> {
        let now = self.now;
        Some(act(self.nodes.get_mut(usize::from(node))?.as_mut()?, now))
    }

    pub(crate) fn wall(&self) -> WallTime {
        WallTime::from_unix_nanos(1_795_224_787_000_000_000) + self.now.since(Instant::ZERO)
    }

    pub(crate) fn publish(&mut self, node: u8, topic: &str, number: u8) -> Option<u64> {
        let wall = self.wall();
        self.with(node, |topics, now| {
            let id = topics.publication(topic, TYPE).ok()?;
            let sequence = topics.publish(now, wall, id, EXPIRY, &[number]).ok();
            topics.release(id);
            sequence
        })?
    }

    /// All that a node has to send is on its way now.
    pub(crate) fn sent_by(&mut self, node: u8) -> Vec<(u8, Cargo)> {
        let sent = self.with(node, |topics, _| {
            topics.close_bundles();
            std::iter::from_fn(|| topics.poll_cargo()).collect::<Vec<_>>()
        });
        let all = sent.unwrap_or_default().into_iter();
        all.filter_map(|(to, cargo)| Some((u8::try_from(to.0).ok()?, cargo))).collect()
    }

    /// Sends it, or lets it wait where the way is cut.
    pub(crate) fn carry(&mut self, from: u8, to: u8, item: Item) {
        if self.is_cut(from, to) {
            self.waiting.push(Parcel { from, to, item, is_sure: true });
        } else {
            self.line.tell(from, to, item);
        }
    }

    pub(crate) fn flush(&mut self, node: u8) {
        for (to, cargo) in self.sent_by(node) {
            self.carry(node, to, Item::Cargo(cargo, false));
        }
    }

    /// Lets it arrive at its receiver, if that is there.
    pub(crate) fn arrive(&mut self, parcel: &Parcel<Item>) {
        let from = peer(parcel.from);
        match &parcel.item {
            Item::Cargo(cargo, _) => {
                let (head, body) = encoded(cargo, self.now);
                self.with(parcel.to, |topics, now| topics.handle_cargo(now, from, head, body));
            }
            Item::Suspended => {
                self.with(parcel.to, |topics, now| {
                    topics.handle_peer_suspended(from);
                    topics.handle_silence(now, from);
                });
            }
            Item::Gone => {
                self.with(parcel.to, |topics, _| topics.handle_peer_gone(from));
                let (dead, to) = (parcel.from, parcel.to);
                self.line.forget(dead, |parcel| (parcel.from, parcel.to) != (dead, to));
            }
        }
    }

    /// A node is no more. The others see it one after the other, first that it is out of reach.
    pub(crate) fn kill(&mut self, node: u8) {
        if let Some(slot) = self.nodes.get_mut(usize::from(node)) {
            *slot = None;
        }
        self.waiting.retain(|parcel| parcel.from != node && parcel.to != node);
        self.line.forget(node, |parcel| parcel.from == node);
        for other in 0..self.count() {
            if self.is_linked(node, other) {
                self.cut.remove(&pair(node, other));
                self.line.tell(node, other, Item::Suspended);
                self.line.tell(node, other, Item::Gone);
            }
        }
    }

    pub(crate) fn is_linked(&self, a: u8, b: u8) -> bool {
        self.links.contains(&pair(a, b))
    }

    pub(crate) fn links(&self) -> impl Iterator<Item = (u8, u8)> {
        self.links.iter().copied()
    }

    pub(crate) fn is_cut(&self, a: u8, b: u8) -> bool {
        self.cut.contains(&pair(a, b))
    }

    /// They lose each other. What they then send is still to be flushed, as after [`Cluster::heal`].
    pub(crate) fn cut(&mut self, a: u8, b: u8) {
        self.cut.insert(pair(a, b));
        self.waiting.extend(self.line.withdraw(|parcel| pair(parcel.from, parcel.to) == pair(a, b)));
        for (node, other) in [(a, b), (b, a)] {
            self.with(node, |topics, now| {
                topics.handle_peer_suspended(peer(other));
                topics.handle_silence(now, peer(other));
            });
        }
    }

    pub(crate) fn heal(&mut self, a: u8, b: u8) {
        self.cut.remove(&pair(a, b));
        for (node, other) in [(a, b), (b, a)] {
            self.with(node, |topics, _| topics.handle_peer_resumed(peer(other)));
        }
        let (now, still) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition::<Vec<_>, _>(|parcel| pair(parcel.from, parcel.to) == pair(a, b));
        self.waiting = still;
        now.into_iter().for_each(|parcel| self.line.tell(parcel.from, parcel.to, parcel.item));
    }

    pub(crate) fn heal_all(&mut self) {
        for (a, b) in std::mem::take(&mut self.cut) {
            self.cut.insert((a, b));
            self.heal(a, b);
            [a, b].into_iter().for_each(|node| self.flush(node));
        }
    }

    /// The next timer, but for those that are so far off that they are for what has expired.
    pub(crate) fn next_timer(&self) -> Option<Instant> {
        let next = self.nodes.iter().flatten().filter_map(Topics::poll_timeout).min();
        next.filter(|at| at.since(self.now) < EXPIRY / 2)
    }

    /// Goes on to the next timer. False: there is none.
    pub(crate) fn tick(&mut self) -> bool {
        let Some(next) = self.next_timer() else { return false };
        self.now = self.now.max(next);
        for node in 0..self.count() {
            self.with(node, |topics, now| topics.handle_timeout(now));
            self.flush(node);
        }
        true
    }

    /// Whether there is a timer, and nothing has to come before it that stays away.
    fn may_tick(&self) -> bool {
        let lateness = Duration::from_millis(100) * self.line.left.lateness.into();
        let latest = self.held_since.map(|since| since + lateness);
        self.next_timer().is_some_and(|next| latest.is_none_or(|latest| next <= latest))
    }

    /// Lets something happen to what is under way; what arrives by it.
    pub(crate) fn choose(&mut self, choice: Choice) -> Option<Parcel<Item>> {
        let arrived = self.line.choose(choice);
        let is_bounded = self.line.left.lateness > 0 && self.line.has_held();
        self.held_since = is_bounded.then(|| self.held_since.unwrap_or(self.now));
        arrived
    }

    /// What may happen to what is under way, and to the clock.
    pub(crate) fn choices(&self, out: &mut Vec<Choice>) {
        self.line.choices(out);
        let left = self.line.left;
        if self.line.is_quiet() && left.ticks > 0 && self.may_tick() {
            out.push(Choice::Tick);
        }
        for (a, b) in self.links() {
            if self.is_cut(a, b) {
                out.push(Choice::Heal(a, b));
            } else if left.cuts > 0 && left.faults > 0 && self.node(a).is_some() && self.node(b).is_some() {
                out.push(Choice::Cut(a, b));
            }
        }
    }
}

pub(crate) fn encoded(cargo: &Cargo, now: Instant) -> (Bytes, Bytes) {
    let (mut head, mut body) = (Vec::new(), Chain::default());
    cargo.encode_head(now, &mut head);
    cargo.encode_body(0..cargo.body_len(), &mut body);
    (head.into(), body.to_vec().into())
}

/// The number of the message, if cargo is a bundle of one message of a topic of one letter (PROTOCOL.md, section 5).
pub(crate) fn bundled(cargo: &Cargo, now: Instant) -> Option<u64> {
    let (head, body) = encoded(cargo, now);
    let is_bundle = head.first() == Some(&BUNDLE);
    body.get(2 + 1 + TYPE.len()).filter(|_| is_bundle).map(|number| u64::from(*number))
}

/// Whether cargo is a message for a member of a group.
pub(crate) fn is_share(cargo: &Cargo, now: Instant) -> bool {
    encoded(cargo, now).0.first() == Some(&SHARE)
}

fn pair(a: u8, b: u8) -> (u8, u8) {
    (a.min(b), a.max(b))
}

fn id(node: u8) -> EndpointId {
    EndpointId::from_integer(i64::from(node))
}

pub(crate) fn peer(node: u8) -> PeerId {
    PeerId(u32::from(node))
}

fn name(node: u8) -> String {
    format!("node-{node}")
}

fn facts(node: u8) -> PeerFacts {
    let (id, name) = (id(node), EndpointName::new(&name(node)));
    PeerFacts { id, incarnation: LIFE, name, wire: Wire::Native, permissions: None, public_key: None }
}

pub(crate) const TYPE: &str = "text";
const LIFE: Incarnation = Incarnation(7);

/// Longer than anything that happens here.
const EXPIRY: Duration = Duration::from_secs(600);

const BUNDLE: u8 = 1;
const SHARE: u8 = 5;
