//! Queue groups: a publisher and two members, of which one gets each message.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use glue_net::Instant;
use glue_topics::{CallEvent, Config, Item as Got, RequestId, SubscriptionId};

use crate::line::Parcel;
use crate::replay::{Verdict, World, put};
use crate::topics::{Cluster, Item, TYPE, is_share, peer};
use crate::{Bounds, Choice, Flaw, Plan};

/// Three real [`Topics`](glue_topics::Topics) machines: 0 publishes, 1 and 2 are members, with a window of two messages.
#[derive(Debug)]
pub struct Groups {
    cluster: Cluster,
    plan: Plan,
    published: u8,
    members: BTreeMap<u8, Member>,
    /// To whom each message was handed.
    handed: BTreeMap<u8, Vec<u8>>,
    done: BTreeSet<u8>,
    verdict: Verdict,
}

#[derive(Debug, Default)]
struct Member {
    subscription: Option<SubscriptionId>,
    /// What its application has, and is not done with.
    inbox: VecDeque<(RequestId, u8)>,
    /// What the publisher has sent to it and knows no end of.
    outstanding: u32,
    /// It is not there for the publisher all the time.
    is_doubted: bool,
    cut_at: Option<Instant>,
}

impl World for Groups {
    const PROMISES: &'static [&'static str] = &[
        "no two members that are there get the same message",
        "a member has no more than its window",
        "a message goes to a member that has the fewest",
        "nothing comes that was not published",
    ];
    const SIGHTS: &'static [&'static str] =
        &["a message waits for a member", "a message is done", "a message that a member did not do goes to the other"];
    const RECOVERY: &'static str = "each message is done by a member, and nothing is left of it";

    fn begin(plan: &Plan) -> Self {
        let mut config = Config::default();
        config.member_window = if plan.has(Flaw::Greedy) { 64 } else { WINDOW };
        let mut world = Self {
            cluster: Cluster::new(3, &[(0, 1), (0, 2), (1, 2)], &config, plan.bounds),
            plan: *plan,
            published: 0,
            members: MEMBERS.into_iter().map(|member| (member, Member::default())).collect(),
            handed: BTreeMap::new(),
            done: BTreeSet::new(),
            verdict: Verdict::default(),
        };
        MEMBERS.into_iter().for_each(|member| world.join(member));
        world.run(WARM_UP, false);
        world
    }

    fn choices(&self, out: &mut Vec<Choice>) {
        self.cluster.choices(out);
        let left = self.cluster.line.left;
        let is_quiet = self.cluster.line.is_quiet();
        if is_quiet && left.messages > 0 {
            out.push(Choice::Publish(PUBLISHER));
        }
        for (number, member) in &self.members {
            if is_quiet && !member.inbox.is_empty() {
                out.push(Choice::Finish(*number));
            }
            if left.crashes > 0 && left.faults > 0 && member.subscription.is_some() {
                out.push(Choice::Crash(*number));
                if is_quiet {
                    out.push(Choice::Leave(*number));
                }
            }
        }
    }

    fn choose(&mut self, choice: Choice) {
        match choice {
            Choice::Tick => {
                self.cluster.line.left.ticks -= 1;
                self.tick();
            }
            Choice::Publish(node) => {
                self.cluster.line.left.messages -= 1;
                self.publish(node);
            }
            Choice::Finish(node) => self.finish(node),
            Choice::Crash(node) => {
                self.cluster.line.left.spend(|left| &mut left.crashes);
                self.cluster.kill(node);
                self.part(node);
            }
            Choice::Leave(node) => {
                self.cluster.line.left.spend(|left| &mut left.crashes);
                self.leave(node);
            }
            Choice::Cut(a, b) => {
                self.cluster.line.left.spend(|left| &mut left.cuts);
                self.cut(a, b);
            }
            Choice::Heal(a, b) => self.heal(a, b),
            choice => {
                if let Some(parcel) = self.cluster.choose(choice) {
                    self.arrive(&parcel);
                }
            }
        }
        self.take();
    }

    fn describe(&self, out: &mut String) {
        put(out, &(&self.cluster, self.published, &self.members, &self.handed, &self.done));
    }

    fn verdict(&self) -> Verdict {
        self.verdict
    }

    fn recovers(mut self) -> bool {
        self.cluster.line.left = Bounds::default();
        self.cluster.line.release_all();
        self.cluster.heal_all();
        self.run(RECOVERY, true);
        let is_empty = |node| {
            self.cluster.node(node).is_none_or(|topics| topics.open_calls() == (0, 0) && topics.bundle_bytes() == 0)
        };
        self.done.len() == usize::from(self.published) && (0..3).all(is_empty)
    }
}

impl Groups {
    fn join(&mut self, number: u8) {
        let id = self.cluster.with(number, |topics, _| topics.subscribe(GROUP, TYPE).ok()).flatten();
        if let Some(member) = self.members.get_mut(&number) {
            member.subscription = id;
        }
        self.flush(number, false);
    }

    fn leave(&mut self, number: u8) {
        let Some(id) = self.members.get(&number).and_then(|member| member.subscription) else { return };
        self.cluster.with(number, |topics, _| topics.unsubscribe(id));
        self.part(number);
        self.flush(number, false);
    }

    /// Its application is no more, or wants no more.
    fn part(&mut self, number: u8) {
        if let Some(member) = self.members.get_mut(&number) {
            member.subscription = None;
            member.inbox.clear();
            member.is_doubted = true;
        }
    }

    fn cut(&mut self, a: u8, b: u8) {
        let now = self.cluster.now;
        self.cluster.cut(a, b);
        if let Some(member) = self.members.get_mut(&b).filter(|_| a == PUBLISHER) {
            member.cut_at = Some(now);
        }
        [a, b].into_iter().for_each(|node| self.flush(node, false));
    }

    fn heal(&mut self, a: u8, b: u8) {
        self.cluster.heal(a, b);
        if let Some(member) = self.members.get_mut(&b).filter(|_| a == PUBLISHER) {
            member.cut_at = None;
        }
        [a, b].into_iter().for_each(|node| self.flush(node, false));
    }

    fn publish(&mut self, node: u8) {
        self.published += 1;
        let number = self.published;
        self.cluster.publish(node, TOPIC, number);
        self.flush(node, false);
        let outstanding: u32 = self.members.values().map(|member| member.outstanding).sum();
        let done = u32::try_from(self.done.len()).unwrap_or(u32::MAX);
        self.verdict.see(0, outstanding + done < u32::from(number));
    }

    fn finish(&mut self, number: u8) {
        let Some(member) = self.members.get_mut(&number) else { return };
        let Some((id, message)) = member.inbox.pop_front() else { return };
        if self.cluster.with(number, |topics, _| topics.done(id)) == Some(true) {
            self.done.insert(message);
            self.verdict.see(1, true);
            self.flush(number, true);
        }
    }

    /// Puts on the line what a node has to send. What the publisher sends to members is counted.
    fn flush(&mut self, node: u8, mut is_done: bool) {
        let now = self.cluster.now;
        for (to, cargo) in self.cluster.sent_by(node) {
            if node == PUBLISHER && is_share(&cargo, now) {
                self.note_share(to);
            }
            let says_done = is_done && to == PUBLISHER;
            is_done &= !says_done;
            self.cluster.carry(node, to, Item::Cargo(cargo, says_done));
        }
    }

    fn note_share(&mut self, to: u8) {
        let there = self.members.iter().filter(|(_, member)| !member.is_doubted && member.cut_at.is_none());
        let fewest = there.map(|(_, member)| member.outstanding).min();
        let Some(member) = self.members.get_mut(&to) else { return };
        if !member.is_doubted && member.cut_at.is_none() {
            self.verdict.expect(FEWEST, fewest.is_none_or(|fewest| member.outstanding <= fewest));
        }
        member.outstanding += 1;
    }

    fn arrive(&mut self, parcel: &Parcel<Item>) {
        if let Item::Cargo(_, true) = &parcel.item {
            if let Some(member) = self.members.get_mut(&parcel.from) {
                member.outstanding = member.outstanding.saturating_sub(1);
            }
            if parcel.from == 2 && self.plan.has(Flaw::Favourite) {
                return;
            }
        }
        self.cluster.arrive(parcel);
        if self.plan.has(Flaw::Again) {
            self.cluster.arrive(parcel);
        }
        if parcel.from == PUBLISHER && self.published == 1 && self.plan.has(Flaw::Slander) {
            self.cluster.with(PUBLISHER, |topics, _| topics.handle_peer_gone(peer(parcel.to)));
        }
        (0..3).for_each(|node| self.flush(node, false));
    }

    /// Hands what has come to the members' applications.
    fn take(&mut self) {
        for number in MEMBERS {
            let mut came = Vec::new();
            self.cluster.with(number, |topics, now| {
                while let Some(event) = topics.poll_call() {
                    let CallEvent::Share { id, mut batch, .. } = event else { continue };
                    if let Some(Got::Message(message)) = batch.next(now) {
                        came.push((id, message.payload.first().copied().unwrap_or_default()));
                    }
                }
                while topics.poll_event().is_some() {}
            });
            for (id, message) in came {
                self.hand(number, id, message + u8::from(self.plan.has(Flaw::Changed)));
            }
        }
    }

    fn hand(&mut self, to: u8, id: RequestId, message: u8) {
        self.verdict.expect(TRUE, (1..=self.published).contains(&message));
        let before = self.handed.entry(message).or_default();
        let is_there = |number: &&u8| self.members.get(number).is_none_or(|member| !member.is_doubted);
        // Who was out of reach for long may get what was under way to it, though another member has it.
        self.verdict.expect(ONE, before.iter().chain([&to]).filter(is_there).count() <= 1);
        self.verdict.see(2, before.iter().any(|number| *number != to));
        before.push(to);
        let Some(member) = self.members.get_mut(&to) else { return };
        member.inbox.push_back((id, message));
        self.verdict.expect(WITHIN, member.is_doubted || member.inbox.len() <= WINDOW);
    }

    fn tick(&mut self) {
        let Some(next) = self.cluster.next_timer() else { return };
        for member in self.members.values_mut() {
            let is_late = member.cut_at.is_some_and(|at| next.since(at) >= OUT_OF_REACH);
            member.is_doubted |= is_late;
        }
        self.cluster.now = self.cluster.now.max(next);
        for node in 0..self.cluster.count() {
            self.cluster.with(node, |topics, now| topics.handle_timeout(now));
            self.flush(node, false);
        }
    }

    fn run(&mut self, time: Duration, finishes: bool) {
        let end = self.cluster.now + time;
        loop {
            while let Some(parcel) = self.cluster.choose(Choice::Deliver) {
                self.arrive(&parcel);
                self.take();
            }
            let busy = self.members.iter().find(|(_, member)| finishes && !member.inbox.is_empty());
            if let Some(number) = busy.map(|(number, _)| *number) {
                self.finish(number);
            } else if self.cluster.next_timer().is_some_and(|at| at <= end) {
                self.tick();
                self.take();
            } else {
                break;
            }
        }
        self.cluster.now = end;
    }
}

const PUBLISHER: u8 = 0;
const MEMBERS: [u8; 2] = [1, 2];
const TOPIC: &str = "jobs";
const GROUP: &str = "$share/workers/jobs";
const WINDOW: usize = 2;

/// A member that is out of reach for so long counts as gone (PROTOCOL.md, section 6).
const OUT_OF_REACH: Duration = Duration::from_secs(2);
const WARM_UP: Duration = Duration::from_millis(100);
const RECOVERY: Duration = Duration::from_secs(5);

const ONE: usize = 0;
const WITHIN: usize = 1;
const FEWEST: usize = 2;
const TRUE: usize = 3;
