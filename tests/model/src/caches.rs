//! Messages that outlive their publisher: caches tell each other and subscribers what they have, and are asked for it.

use std::collections::BTreeSet;
use std::time::Duration;

use glue_topics::{Config, Delivery, Item as Got, Wish};

use crate::line::Parcel;
use crate::replay::{Verdict, World, put};
use crate::topics::{Cluster, Item, TYPE, bundled, peer};
use crate::{Bounds, Choice, Flaw, Plan};

/// Real [`Topics`](glue_topics::Topics) machines: 0 publishes, the last one subscribes, those between are caches. Three that all
/// reach each other, or, as a `CHAIN`, four of which each reaches its neighbours only.
#[derive(Debug)]
pub struct Caches<const CHAIN: bool> {
    cluster: Cluster,
    plan: Plan,
    published: u64,
    /// What a cache or the subscriber got of the publisher.
    kept: BTreeSet<u64>,
    subscriber: Subscriber,
    verdict: Verdict,
}

#[derive(Debug, Default)]
struct Subscriber {
    is_there: bool,
    /// The number after the last that it got, or was told to be missing.
    next: Option<u64>,
    got: BTreeSet<u64>,
    /// Cargo of the publisher and the caches for it, until now.
    bundles: u32,
    /// Something was late or out of reach before it got anything: who joins then begins with what comes first.
    begins_anywhere: bool,
}

impl<const CHAIN: bool> World for Caches<CHAIN> {
    const PROMISES: &'static [&'static str] = &[
        "a message comes once at most",
        "messages come in order",
        "what is missing is told as a gap",
        "nothing is missing while its publisher is there",
    ];
    const SIGHTS: &'static [&'static str] = &["a message comes from a cache", "its publisher is gone"];
    const RECOVERY: &'static str = "the subscriber has all that anybody reachable has";

    fn begin(plan: &Plan) -> Self {
        let (count, links): (u8, &[(u8, u8)]) =
            if CHAIN { (4, &[(0, 1), (1, 2), (2, 3)]) } else { (3, &[(0, 1), (0, 2), (1, 2)]) };
        let mut world = Self {
            cluster: Cluster::new(count, links, &Config::default(), plan.bounds),
            plan: *plan,
            published: 0,
            kept: BTreeSet::new(),
            subscriber: Subscriber::default(),
            verdict: Verdict::default(),
        };
        for cache in 1..count - 1 {
            world.cluster.with(cache, |topics, _| topics.cache("#", BUDGET).is_ok());
            world.cluster.flush(cache);
        }
        if plan.bounds.starts == 0 {
            world.join();
        }
        world.run(WARM_UP);
        world
    }

    fn choices(&self, out: &mut Vec<Choice>) {
        self.cluster.choices(out);
        let left = self.cluster.line.left;
        let is_quiet = self.cluster.line.is_quiet();
        let is_there = self.cluster.node(PUBLISHER).is_some();
        if is_quiet && is_there && left.messages > 0 {
            out.push(Choice::Publish(PUBLISHER));
        }
        if is_there && left.crashes > 0 && left.faults > 0 {
            out.push(Choice::Crash(PUBLISHER));
        }
        if is_quiet && !self.subscriber.is_there {
            out.push(Choice::Join(self.last()));
        }
    }

    fn choose(&mut self, choice: Choice) {
        let is_new = self.plan.bounds.starts > 0 && self.subscriber.next.is_none();
        self.subscriber.begins_anywhere |= is_new && matches!(choice, Choice::Cut(..) | Choice::Hold);
        match choice {
            Choice::Tick => {
                self.cluster.line.left.ticks -= 1;
                self.cluster.tick();
            }
            Choice::Publish(node) => {
                self.cluster.line.left.messages -= 1;
                self.publish(node);
            }
            Choice::Crash(node) => {
                self.cluster.line.left.spend(|left| &mut left.crashes);
                self.cluster.kill(node);
            }
            Choice::Cut(a, b) => {
                self.cluster.line.left.spend(|left| &mut left.cuts);
                self.cluster.cut(a, b);
                [a, b].into_iter().for_each(|node| self.cluster.flush(node));
            }
            Choice::Heal(a, b) => {
                self.cluster.heal(a, b);
                [a, b].into_iter().for_each(|node| self.cluster.flush(node));
            }
            Choice::Join(_) => self.join(),
            choice => {
                if let Some(parcel) = self.cluster.choose(choice) {
                    self.arrive(&parcel);
                }
            }
        }
        self.take();
    }

    fn describe(&self, out: &mut String) {
        put(out, &(&self.cluster, self.published, &self.kept, &self.subscriber));
    }

    fn verdict(&self) -> Verdict {
        self.verdict
    }

    fn recovers(mut self) -> bool {
        self.cluster.line.left = Bounds::default();
        self.cluster.line.release_all();
        self.cluster.heal_all();
        if !self.subscriber.is_there {
            self.join();
        }
        self.run(RECOVERY);
        let is_there = self.cluster.node(PUBLISHER).is_some();
        let mut expected: BTreeSet<u64> = if is_there { (1..=self.published).collect() } else { self.kept.clone() };
        if self.subscriber.begins_anywhere {
            let first = self.subscriber.got.first().copied();
            expected.retain(|number| first.is_none_or(|first| *number >= first));
        }
        // What was told to be missing is not to be had; what nobody knows of is not missed.
        self.subscriber.got == expected && self.verdict.broken == 0
    }
}

impl<const CHAIN: bool> Caches<CHAIN> {
    fn last(&self) -> u8 {
        self.cluster.count() - 1
    }

    fn join(&mut self) {
        let last = self.last();
        self.cluster.with(last, |topics, now| topics.subscribe_from(now, TOPIC, TYPE, Wish::All).is_ok());
        self.subscriber.is_there = true;
        self.cluster.flush(last);
    }

    fn publish(&mut self, node: u8) {
        if let Some(sequence) = self.cluster.publish(node, TOPIC, 0) {
            self.published = sequence;
        }
        self.cluster.flush(node);
    }

    fn arrive(&mut self, parcel: &Parcel<Item>) {
        let (last, now) = (self.last(), self.cluster.now);
        if let Item::Cargo(cargo, _) = &parcel.item {
            let number = bundled(cargo, now).filter(|_| parcel.from == PUBLISHER);
            let is_for_last = number.is_some() && parcel.to == last;
            self.subscriber.bundles += u32::from(is_for_last);
            if is_for_last && self.subscriber.bundles == 2 && self.plan.has(Flaw::Swallowed) {
                return;
            }
            if parcel.from != PUBLISHER && parcel.to == last && self.plan.has(Flaw::Silent) {
                return;
            }
            self.kept.extend(number.filter(|_| self.cluster.node(parcel.to).is_some()));
        }
        self.cluster.arrive(parcel);
        if parcel.to == last && self.subscriber.bundles == 1 && self.plan.has(Flaw::Slander) {
            self.cluster.with(last, |topics, _| topics.handle_peer_gone(peer(PUBLISHER)));
        }
        self.cluster.flush(parcel.to);
    }

    /// Lets the subscriber's application take what has come.
    fn take(&mut self) {
        let (last, is_there) = (self.last(), self.cluster.node(PUBLISHER).is_some());
        let mut items = Vec::new();
        self.cluster.with(last, |topics, now| {
            while let Some(Delivery { mut batch, .. }) = topics.poll_delivery() {
                items.extend(std::iter::from_fn(|| batch.next(now)));
            }
            while topics.poll_event().is_some() {}
        });
        if self.plan.has(Flaw::Again) {
            items.extend_from_within(..);
        }
        if self.plan.has(Flaw::Swapped) {
            items.reverse();
        }
        for item in items {
            let (from, to) = match &item {
                Got::Gap(gap) => (gap.from, gap.to),
                Got::Message(message) => (message.sequence_number, message.sequence_number),
            };
            let next = self.subscriber.next.unwrap_or(from);
            self.verdict.expect(TOLD, from <= next);
            match item {
                Got::Gap(_) => self.verdict.expect(THERE, !is_there),
                Got::Message(_) => {
                    self.verdict.expect(ONCE, self.subscriber.got.insert(from));
                    self.verdict.expect(ORDER, from >= next);
                }
            }
            self.subscriber.next = Some(next.max(to + 1));
        }
        if let Some(topics) = self.cluster.node(last) {
            self.verdict.see(0, topics.cache_stats().pulled > 0);
        }
        self.verdict.see(1, !is_there);
    }

    fn run(&mut self, time: Duration) {
        let end = self.cluster.now + time;
        loop {
            while let Some(parcel) = self.cluster.choose(Choice::Deliver) {
                self.arrive(&parcel);
                self.take();
            }
            if self.cluster.next_timer().is_none_or(|at| at > end) || !self.cluster.tick() {
                break;
            }
            self.take();
        }
        self.cluster.now = end;
    }
}

const PUBLISHER: u8 = 0;
const TOPIC: &str = "a";
const BUDGET: usize = 1 << 20;

/// All know each other's interest and caches.
const WARM_UP: Duration = Duration::from_millis(300);

/// 3 s for a cache that is to be found again, and 1 s each for what else is waited for.
const RECOVERY: Duration = Duration::from_secs(6);

const ONCE: usize = 0;
const ORDER: usize = 1;
const TOLD: usize = 2;
const THERE: usize = 3;
