//! Whole-crate tests: several [`Topics`] in one world, with a channel between them that keeps no order.

mod accounts;
mod behaviour;
mod cache;
mod calls;
mod classic;
mod counters;
mod forgetting;
mod groups;
mod history;
mod hostile;
mod limits;
mod order;
mod patterns;
mod permissions;
mod presence;
mod qos;
mod resting;
mod runs;
mod served;
mod signing;
mod speed;

use std::collections::BTreeMap;
use std::time::Duration;

use glue_net::{Chain, Content, EndpointId, Incarnation, Instant, PeerId, Rng, Skip, WallTime};

use crate::{
    Cargo, Config, Delivery, EndpointName, Event, Gap, Item, Message, PeerFacts, SubscriptionId, Topics, Wire,
};

pub(crate) const SECOND: Duration = Duration::from_secs(1);
/// Every node's.
pub(crate) const LIFE: Incarnation = Incarnation(7);

pub(crate) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) fn facts(node: usize, wire: Wire) -> PeerFacts {
    let id = EndpointId::from_integer(i64::try_from(node).unwrap());
    let name = EndpointName::new(&format!("node-{node}"));
    PeerFacts { id, incarnation: LIFE, name, wire, permissions: None, public_key: None }
}

pub(crate) fn topics(node: usize, config: Config) -> Topics {
    let facts = facts(node, Wire::Native);
    Topics::new(config, facts.id, facts.incarnation, &facts.name).unwrap()
}

pub(crate) fn peer(node: usize) -> PeerId {
    PeerId(u32::try_from(node).unwrap())
}

/// What the channel does to cargo.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fate {
    pub(crate) shuffle: bool,
    /// Probability that cargo arrives, and arrives again later.
    pub(crate) duplicate: f64,
    /// Probability that cargo becomes a skip notice.
    pub(crate) expire: f64,
}

/// Nodes that know each other, what is under way between them, and what their subscriptions got.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) nodes: Vec<Topics>,
    pub(crate) flight: Vec<(usize, usize, Cargo)>,
    pub(crate) rng: Rng,
    pub(crate) fate: Fate,
    pub(crate) got: BTreeMap<(usize, SubscriptionId), Vec<Item>>,
}

impl World {
    pub(crate) fn new(nodes: usize) -> Self {
        Self::with(nodes, &Config::default())
    }

    pub(crate) fn with(nodes: usize, config: &Config) -> Self {
        let mut world = Self {
            now: Instant::ZERO + SECOND,
            nodes: (0..nodes).map(|node| topics(node, config.clone())).collect(),
            flight: Vec::new(),
            rng: Rng::new(1),
            fate: Fate::default(),
            got: BTreeMap::new(),
        };
        for a in 0..nodes {
            for b in (0..nodes).filter(|b| *b != a) {
                world.nodes[a].handle_peer_up(peer(b), &facts(b, Wire::Native));
            }
        }
        world
    }

    pub(crate) fn wall(&self) -> WallTime {
        WallTime::from_unix_nanos(1_795_224_787_000_000_000) + self.now.since(Instant::ZERO)
    }

    /// Lets time pass, at once, and nodes do what is due then.
    pub(crate) fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        let now = self.now;
        for node in self.nodes.iter_mut().filter(|node| node.poll_timeout().is_some_and(|at| at <= now)) {
            node.handle_timeout(now);
        }
    }

    pub(crate) fn publish(&mut self, node: usize, topic: &str, payload: &[u8]) -> u64 {
        self.publish_for(node, topic, SECOND, payload)
    }

    pub(crate) fn publish_for(&mut self, node: usize, topic: &str, expiry: Duration, payload: &[u8]) -> u64 {
        let (now, wall) = (self.now, self.wall());
        let id = self.nodes[node].publication(topic, "text").unwrap();
        let sequence = self.nodes[node].publish(now, wall, id, expiry, payload).unwrap();
        self.nodes[node].release(id);
        sequence
    }

    /// Closes all bundles, and takes out all cargo.
    pub(crate) fn send(&mut self) {
        for (from, node) in self.nodes.iter_mut().enumerate() {
            node.close_bundles();
            while let Some((to, cargo)) = node.poll_cargo() {
                self.flight.push((from, to.0 as usize, cargo));
            }
        }
    }

    /// Carries one cargo of those under way; false: there is none.
    pub(crate) fn carry_one(&mut self) -> bool {
        if self.flight.is_empty() {
            return false;
        }
        let at = if self.fate.shuffle { usize::try_from(self.rng.below(self.flight.len() as u64)).unwrap() } else { 0 };
        let (from, to, mut cargo) = self.flight.remove(at);
        if self.rng.chance(self.fate.duplicate) {
            self.flight.push((from, to, cargo.clone()));
        }
        if cargo.deadline().is_some() && self.rng.chance(self.fate.expire) {
            cargo.skip(Skip::Expired);
            self.merge_next(at, (from, to), &mut cargo);
        }
        self.arrive(from, to, &cargo);
        true
    }

    /// As transport does with what expires side by side.
    fn merge_next(&mut self, at: usize, (from, to): (usize, usize), cargo: &mut Cargo) {
        if let Some((_, _, next)) = self.flight.get_mut(at).filter(|(f, t, _)| (*f, *t) == (from, to)) {
            if next.deadline().is_some() && self.rng.chance(0.5) {
                next.skip(Skip::Expired);
            }
            if cargo.merge(next) {
                self.flight.remove(at);
            }
        }
    }

    pub(crate) fn arrive(&mut self, from: usize, to: usize, cargo: &Cargo) {
        let (mut head, mut body) = (Vec::new(), Chain::default());
        cargo.encode_head(self.now, &mut head);
        assert!(head.len() <= cargo.head_len() && head.len() <= 2_048);
        let cut = cargo.body_len() / 3;
        cargo.encode_body(0..cut, &mut body);
        cargo.encode_body(cut..cargo.body_len() + 9, &mut body);
        assert_eq!(body.len(), cargo.body_len());
        self.nodes[to].handle_cargo(self.now, peer(from), head.into(), body.to_vec().into());
    }

    /// Sends and carries until nothing is under way, and hands all out.
    pub(crate) fn settle(&mut self) {
        loop {
            self.send();
            if !self.carry_one() {
                break;
            }
        }
        self.hand_out();
    }

    /// Lets subscriptions take what waits for them.
    pub(crate) fn hand_out(&mut self) {
        for (node, topics) in self.nodes.iter_mut().enumerate() {
            while let Some(Delivery { to, batch }) = topics.poll_delivery() {
                for id in &*to {
                    let mut batch = batch.clone();
                    let items = self.got.entry((node, *id)).or_default();
                    items.extend(std::iter::from_fn(|| batch.next(self.now)));
                }
            }
        }
    }

    pub(crate) fn items(&self, node: usize, id: SubscriptionId) -> &[Item] {
        self.got.get(&(node, id)).map_or(&[], Vec::as_slice)
    }

    /// Sequence numbers of the messages that a subscription got.
    pub(crate) fn numbers(&self, node: usize, id: SubscriptionId) -> Vec<u64> {
        messages(self.items(node, id)).map(|message| message.sequence_number).collect()
    }

    pub(crate) fn gaps(&self, node: usize, id: SubscriptionId) -> Vec<Gap> {
        let gap = |item: &Item| if let Item::Gap(gap) = item { Some(gap.clone()) } else { None };
        self.items(node, id).iter().filter_map(gap).collect()
    }

    pub(crate) fn events(&mut self, node: usize) -> Vec<Event> {
        std::iter::from_fn(|| self.nodes[node].poll_event()).collect()
    }
}

pub(crate) fn messages(items: &[Item]) -> impl Iterator<Item = &Message> {
    items.iter().filter_map(|item| if let Item::Message(message) = item { Some(message) } else { None })
}

/// The numbers that an item covers.
pub(crate) fn span(item: &Item) -> (u64, u64) {
    match item {
        Item::Gap(gap) => (gap.from, gap.to),
        Item::Message(message) => (message.sequence_number, message.sequence_number),
    }
}

/// Checks that items follow each other without holes, and returns the first and the last number.
pub(crate) fn contiguous(items: &[Item]) -> (u64, u64) {
    let (first, mut last) = span(items.first().expect("no items"));
    for item in &items[1..] {
        let (from, to) = span(item);
        assert_eq!(from, last + 1, "a hole, or an item twice");
        last = to;
    }
    (first, last)
}
