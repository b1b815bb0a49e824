//! Networks that fall apart and heal, publishers that die meanwhile, and caches that live.

use std::collections::BTreeSet;
use std::time::Duration;

use glue_endpoint::Engine;
use glue_net::{EndpointId, Instant, Rng};
use glue_sim::{Link, NodeId};

use crate::scene::{ms, s};
use crate::{Cluster, Plan};

/// How the network falls apart. Members 0 and 1 publish, 2 and 5 cache, all subscribe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Two parts, each with a publisher and a cache.
    Halves,
    /// Three parts, one without publisher and cache.
    Thirds,
    /// A subscriber alone.
    IsolatedOne,
    /// Nothing that member 0 sends reaches 3 and 4, and nothing that 1 sends reaches 4.
    OneWay,
    /// A subscriber comes and goes.
    Flapping,
    /// 0 reaches 2 alone, 4 reaches 5 alone; the others reach each other. What 0 publishes goes from cache to cache.
    NonTransitive,
}

impl Shape {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Halves, Self::Thirds, Self::IsolatedOne, Self::OneWay, Self::Flapping, Self::NonTransitive];

    /// The pairs of which the first does not reach the second.
    fn cuts(self) -> Vec<(usize, usize)> {
        let apart = |parts: &[&[usize]]| {
            let part_of = |member: usize| parts.iter().position(|part| part.contains(&member));
            let pairs = (0..MEMBERS).flat_map(|a| (0..MEMBERS).map(move |b| (a, b)));
            pairs.filter(|(a, b)| part_of(*a) != part_of(*b)).collect::<Vec<_>>()
        };
        match self {
            Self::Halves => apart(&[&[0, 2, 3], &[1, 4, 5]]),
            Self::Thirds => apart(&[&[0, 2], &[1, 5], &[3, 4]]),
            Self::IsolatedOne | Self::Flapping => apart(&[&[0, 1, 2, 4, 5], &[3]]),
            Self::OneWay => vec![(0, 3), (0, 4), (1, 4)],
            Self::NonTransitive => {
                let both = |pairs: &[(usize, usize)]| pairs.iter().flat_map(|(a, b)| [(*a, *b), (*b, *a)]).collect();
                both(&[(0, 1), (0, 3), (0, 4), (0, 5), (4, 1), (4, 2), (4, 3)])
            }
        }
    }
}

/// A run, as data.
#[derive(Clone, Debug)]
pub struct PartitionPlan {
    /// How the network falls apart.
    pub shape: Shape,
    /// Whether publisher 0 dies before the network heals.
    pub dies: bool,
    /// All links.
    pub link: Link,
    /// How long messages live.
    pub expiry: Duration,
}

/// What a run has shown.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcome {
    /// From when all who live had found each other again, and given up the dead, until all had everything.
    pub converged: Duration,
    /// From the heal until then: the last time that one of them did not know another.
    pub found: Duration,
    /// How long the same messages take directly to all, on the same links, without a partition.
    pub transfer: Duration,
    /// Messages that came from caches, at all members.
    pub pulled: u64,
    /// Messages told as missing, at all members.
    pub missed: u64,
}

/// Runs it; checks order, duplicates and that all is delivered or told.
#[must_use]
pub fn run(seed: u64, plan: PartitionPlan) -> Outcome {
    Partition::new(seed, plan).run()
}

struct Partition {
    cluster: Cluster,
    plan: PartitionPlan,
    rng: Rng,
    living: Vec<usize>,
}

impl Partition {
    fn new(seed: u64, plan: PartitionPlan) -> Self {
        let members = Plan { expiry: plan.expiry, ..Plan::default() };
        let mut cluster = Cluster::new(seed, MEMBERS, members);
        cluster.world.set_default_link(plan.link.clone());
        for cache in CACHES {
            let node = cluster.members[cache].node;
            let opened = cluster.world.call(node, |engine, _| engine.cache("#", 4 << 20));
            opened.expect("it runs").expect("a good pattern");
        }
        Self { cluster, plan, rng: Rng::new(seed ^ 0xcac4e), living: (0..MEMBERS).collect() }
    }

    fn run(mut self) -> Outcome {
        self.cluster.meet(s(60));
        self.publish_for(ms(300));
        self.converge(s(60));
        self.fall_apart();
        let before: u64 = PUBLISHERS.iter().map(|index| self.cluster.books.count(&self.cluster.stream(*index))).sum();
        let time = ms(200 + self.rng.below(1_500));
        self.publish_for(time);
        let after: u64 = PUBLISHERS.iter().map(|index| self.cluster.books.count(&self.cluster.stream(*index))).sum();
        self.let_caches_have_it();
        if self.plan.shape == Shape::NonTransitive {
            // From cache to cache, while it lives.
            self.converge(s(60));
        }
        if self.plan.dies {
            self.cluster.world.crash(self.cluster.members[0].node);
            self.living.retain(|index| *index != 0);
        }
        let time = ms(self.rng.below(4_000));
        self.cluster.run(time);
        self.cluster.world.heal();
        let healed = self.cluster.world.now();
        self.find_each_other();
        let (found, converged) = self.converge_from_the_last_meeting(s(60));
        let found = found.since(healed);
        // Nothing comes late, or twice.
        self.cluster.run(s(3));
        let transfer = self.transfer(after - before);
        self.check();
        let pulled = self.living.iter().map(|index| self.cluster.report(*index).caches.pulled).sum();
        Outcome { converged, found, transfer, pulled, missed: self.cluster.books.missed }
    }

    fn fall_apart(&mut self) {
        let rounds = if self.plan.shape == Shape::Flapping { 1 + self.rng.below(5) } else { 0 };
        for _ in 0..rounds {
            self.cut();
            let (away, back) = (ms(self.rng.below(4_000)), ms(self.rng.below(1_500)));
            self.publish_for(away.min(ms(300)));
            self.cluster.run(away);
            self.cluster.world.heal();
            self.cluster.run(back);
        }
        self.cut();
    }

    fn cut(&mut self) {
        let nodes: Vec<NodeId> = self.cluster.members.iter().map(|member| member.node).collect();
        for (from, to) in self.plan.shape.cuts() {
            self.cluster.world.cut(nodes[from], nodes[to]);
        }
    }

    /// Both publishers publish for a while.
    fn publish_for(&mut self, time: Duration) {
        let end = self.cluster.world.now() + time;
        while self.cluster.world.now() < end {
            for index in PUBLISHERS {
                let size = if self.rng.chance(0.05) { 8_000 } else { 12 + self.rng.below(300) };
                assert!(self.cluster.publish(index, usize::try_from(size).expect("small")), "no queue is full");
            }
            self.cluster.run(ms(50));
        }
    }

    /// A cache that shares a side with each publisher has what it published: it would be lost with it otherwise.
    fn let_caches_have_it(&mut self) {
        let end = self.cluster.world.now() + s(60);
        let near = |index: usize| if index == 0 { 2 } else { 5 };
        while !PUBLISHERS.iter().all(|index| self.has_all(near(*index), *index)) {
            assert!(self.cluster.world.now() < end, "a cache beside the publisher does not get it");
            self.cluster.run(ms(20));
        }
    }

    fn has_all(&self, reader: usize, publisher: usize) -> bool {
        reader == publisher
            || self.cluster.books.is_complete(self.cluster.reader(reader), &self.cluster.stream(publisher))
    }

    /// Until each of the living has found the others, and given up the dead: what discovery needs for it is its own matter.
    fn find_each_other(&mut self) {
        let end = self.cluster.world.now() + s(60);
        while !self.have_met() {
            assert!(self.cluster.world.now() < end, "they do not find each other");
            self.cluster.run(ms(10));
        }
    }

    fn have_met(&self) -> bool {
        let ids: BTreeSet<EndpointId> = self.living.iter().map(|index| self.cluster.members[*index].id).collect();
        self.living.iter().all(|index| self.knows(*index) == ids)
    }

    /// Whom a member knows, itself included.
    fn knows(&self, index: usize) -> BTreeSet<EndpointId> {
        let member = &self.cluster.members[index];
        let peers = self.cluster.world.node(member.node).into_iter().flat_map(Engine::peers);
        peers.map(|(_, info)| info.id).chain([member.id]).collect()
    }

    /// Until all of the living have everything.
    fn converge(&mut self, limit: Duration) {
        let _ = self.converge_from_the_last_meeting(limit);
    }

    /// Until all of the living have everything; returns since when they knew each other, and how long it took from then. Who
    /// was silent for long when the network healed may expire just after it, and has to be found again.
    fn converge_from_the_last_meeting(&mut self, limit: Duration) -> (Instant, Duration) {
        let (start, mut met) = (self.cluster.world.now(), self.cluster.world.now());
        loop {
            let now = self.cluster.world.now();
            let has_all = |reader: &usize| PUBLISHERS.iter().all(|publisher| self.has_all(*reader, *publisher));
            if self.living.iter().all(has_all) {
                return (met, now.since(met));
            }
            assert!(now < start + limit, "not all have everything: {}", self.lacking());
            self.cluster.run(ms(10));
            if !self.have_met() {
                met = self.cluster.world.now();
            }
        }
    }

    fn lacking(&self) -> String {
        let mut text = String::new();
        for reader in &self.living {
            for publisher in PUBLISHERS.iter().filter(|publisher| !self.has_all(*reader, **publisher)) {
                let stream = self.cluster.stream(*publisher);
                let (seen, count) =
                    (self.cluster.books.seen(self.cluster.reader(*reader), &stream), self.cluster.books.count(&stream));
                text += &format!("{reader} has {} of {count} of {publisher}; ", seen.total());
            }
        }
        text
    }

    /// How long so many messages of publisher 1 take to all.
    fn transfer(&mut self, count: u64) -> Duration {
        let start = self.cluster.world.now();
        for _ in 0..count {
            self.cluster.publish(1, 160);
        }
        while !self.living.iter().all(|reader| self.has_all(*reader, 1)) {
            self.cluster.run(ms(10));
        }
        self.cluster.world.now().since(start)
    }

    fn check(&self) {
        for reader in &self.living {
            for publisher in PUBLISHERS.iter().filter(|publisher| *publisher != reader) {
                let stream = self.cluster.stream(*publisher);
                self.cluster.books.assert_complete(self.cluster.reader(*reader), &stream, 1);
                let seen = self.cluster.books.seen(self.cluster.reader(*reader), &stream);
                assert_eq!(seen.total(), self.cluster.books.count(&stream), "published = delivered + gaps");
            }
        }
    }
}

const MEMBERS: usize = 6;
const PUBLISHERS: [usize; 2] = [0, 1];
const CACHES: [usize; 2] = [2, 5];
