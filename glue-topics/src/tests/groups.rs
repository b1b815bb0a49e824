//! Groups of which one member gets each message.

use std::collections::{BTreeMap, BTreeSet};

use super::{Fate, SECOND, World, facts, ms, peer};
use crate::{CallEvent, Config, Item, RequestId, SubscriptionId, Wire};

const GROUP: &str = "$share/workers/jobs/+";

fn join(world: &mut World, node: usize) -> SubscriptionId {
    let id = world.nodes[node].subscribe(GROUP, "text").unwrap();
    world.settle();
    id
}

/// What came for members: the share, and the messages in it.
fn shares(world: &mut World, node: usize) -> Vec<(RequestId, SubscriptionId, Vec<u8>)> {
    let now = world.now;
    let mut all = Vec::new();
    while let Some(event) = world.nodes[node].poll_call() {
        let CallEvent::Share { id, to, mut batch } = event else { continue };
        if let Some(Item::Message(message)) = batch.next(now) {
            assert!(message.topic_name.starts_with("jobs/") && batch.next(now).is_none());
            all.push((id, to, message.payload.to_vec()));
        }
    }
    all
}

fn publish(world: &mut World, number: u8) {
    world.publish_for(0, "jobs/sweep", 60 * SECOND, &[number]);
}

fn assert_empty(world: &World) {
    for node in &world.nodes {
        assert_eq!((node.open_calls(), node.bundle_bytes()), ((0, 0), 0));
    }
}

#[test]
fn each_message_goes_to_one_member_and_to_everybody_else() {
    let mut world = World::new(4);
    let plain = world.nodes[3].subscribe("jobs/#", "text").unwrap();
    let other = world.nodes[3].subscribe("$share/others/jobs/sweep", "text").unwrap();
    let members: Vec<_> = (0..3).map(|node| join(&mut world, node)).collect();
    (1..=9).for_each(|number| publish(&mut world, number));
    world.settle();
    let mut seen = BTreeSet::new();
    for (node, member) in members.iter().enumerate() {
        let got = shares(&mut world, node);
        assert_eq!(got.len(), 3, "the load is even");
        for (id, to, payload) in got {
            assert_eq!(to, *member);
            assert!(seen.insert(payload));
            assert!(world.nodes[node].done(id) && !world.nodes[node].done(id));
        }
    }
    assert_eq!((seen.len(), world.numbers(3, plain).len()), (9, 9));
    let got = shares(&mut world, 3);
    assert!(got.len() == 9 && got.iter().all(|(_, to, _)| *to == other));
    for (id, ..) in got {
        world.nodes[3].done(id);
    }
    world.settle();
    let stats = world.nodes[0].stats();
    assert_eq!((stats.shares, stats.shares_done), (18, 18));
    assert_empty(&world);
}

#[test]
fn without_members_there_is_no_group_and_types_must_fit() {
    let mut world = World::new(2);
    publish(&mut world, 1);
    world.nodes[1].subscribe(GROUP, "json").unwrap();
    world.settle();
    publish(&mut world, 2);
    let id = join(&mut world, 1);
    publish(&mut world, 3);
    world.settle();
    let got = shares(&mut world, 1);
    assert_eq!(got, [(got[0].0, id, vec![3])]);
    assert!(world.nodes[1].subscribe("$share/x/a#", "").is_err());
    assert!(world.nodes[1].serve("$share/x/a", "").is_err());
}

#[test]
fn a_member_has_a_window_and_what_it_leaves_goes_to_another() {
    let mut world = World::with(3, &Config { member_window: 2, ..Config::default() });
    let first = join(&mut world, 1);
    (1..=5).for_each(|number| publish(&mut world, number));
    world.settle();
    let got = shares(&mut world, 1);
    assert_eq!(got.len(), 2);
    world.nodes[1].done(got[0].0);
    world.settle();
    assert_eq!(shares(&mut world, 1).len(), 1);
    // It leaves with two that it has not done.
    world.nodes[1].unsubscribe(first);
    assert!(!world.nodes[1].done(got[1].0));
    world.settle();
    join(&mut world, 2);
    let mut seen = Vec::new();
    for _ in 0..4 {
        for (id, _, payload) in shares(&mut world, 2) {
            seen.push(payload[0]);
            world.nodes[2].done(id);
        }
        world.settle();
    }
    assert_eq!(seen, [2, 3, 4, 5], "in the order in which they were published");
    assert_empty(&world);
}

#[test]
fn what_waits_for_a_member_that_is_away_does_not_stand_before_others() {
    let mut world = World::with(3, &Config { member_window: 1, ..Config::default() });
    join(&mut world, 1);
    world.nodes[2].subscribe(GROUP, "json").unwrap();
    world.settle();
    let id = world.nodes[0].publication("jobs/other", "json").unwrap();
    world.nodes[0].handle_peer_suspended(peer(2));
    let (now, wall) = (world.now, world.wall());
    world.nodes[0].publish(now, wall, id, 60 * SECOND, "for the one that is away").unwrap();
    (1..=3).for_each(|number| publish(&mut world, number));
    for number in 1..=3 {
        world.settle();
        let got = shares(&mut world, 1);
        assert_eq!((got.len(), &*got[0].2), (1, &[number][..]));
        world.nodes[1].done(got[0].0);
    }
}

#[test]
fn what_a_member_has_no_room_for_goes_to_another_at_once() {
    // A peer has no more than half of what may wait at a member.
    let mut world = World::with(3, &Config { max_requests_waiting: 4, ..Config::default() });
    join(&mut world, 1);
    (1..=3).for_each(|number| publish(&mut world, number));
    world.settle();
    assert_eq!(shares(&mut world, 1).len(), 2);
    join(&mut world, 2);
    publish(&mut world, 4);
    world.settle();
    let got: Vec<u8> = shares(&mut world, 2).iter().map(|(.., payload)| payload[0]).collect();
    assert_eq!(got, [3, 4]);
}

#[test]
fn who_had_no_room_is_asked_again_after_a_while() {
    let mut world = World::with(3, &Config { max_requests_waiting: 1, ..Config::default() });
    join(&mut world, 1);
    world.publish_for(2, "jobs/sweep", 60 * SECOND, b"of another");
    world.settle();
    let got = shares(&mut world, 1);
    (1..=9).for_each(|number| publish(&mut world, number));
    world.settle();
    assert_eq!(world.nodes[1].stats().requests_returned, 9, "each once");
    world.nodes[1].done(got[0].0);
    world.pass(ms(99));
    world.settle();
    assert!(shares(&mut world, 1).is_empty());
    world.pass(ms(1));
    for number in 1..=9 {
        world.settle();
        let got = shares(&mut world, 1);
        assert_eq!((got.len(), &*got[0].2), (1, &[number][..]));
        world.nodes[1].done(got[0].0);
    }
    let returned = world.nodes[1].stats().requests_returned;
    assert!(returned < 9 + 8 * 2, "it gets about as much as it has room for: {returned}");
}

#[test]
fn what_nobody_does_expires_and_what_does_not_fit_is_dropped() {
    let config = Config { max_shares: 3, member_window: 1, ..Config::default() };
    let mut world = World::with(2, &config);
    join(&mut world, 1);
    (1..=3).for_each(|number| publish(&mut world, number));
    let id = world.nodes[0].publication("jobs/sweep", "text").unwrap();
    // The member can be reached: it is worth waiting.
    assert!(!world.nodes[0].has_share_room(id, 1));
    world.settle();
    let got = shares(&mut world, 1);
    world.nodes[1].done(got[0].0);
    world.settle();
    assert!(!world.nodes[0].take_share_room(), "not before half of it is free");
    world.nodes[0].handle_peer_suspended(peer(1));
    publish(&mut world, 4);
    assert!(world.nodes[0].has_share_room(id, 1), "nobody is there to wait for");
    publish(&mut world, 5);
    assert_eq!(world.nodes[0].stats().shares_dropped, 1);
    world.now = world.now + 61 * SECOND;
    let now = world.now;
    world.nodes[0].handle_timeout(now);
    assert_eq!((world.nodes[0].stats().shares_expired, world.nodes[0].open_calls()), (3, (0, 0)));
    assert!(world.nodes[0].take_share_room());
}

/// Members come, go, die and stay silent at any step, over a channel that keeps no order.
#[test]
fn each_message_is_done_once_by_members_that_stay() {
    for seed in 0..300 {
        let mut run = Run::new(seed);
        for _ in 0..250 {
            run.act();
        }
        run.finish();
    }
}

struct Run {
    world: World,
    members: BTreeMap<usize, SubscriptionId>,
    waiting: Vec<(usize, RequestId, u8)>,
    done: BTreeMap<u8, usize>,
    by: BTreeMap<usize, BTreeSet<u8>>,
    /// Done by a member whose session was lost then: the publisher may not know.
    unsure: BTreeSet<u8>,
    published: u8,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut world = World::with(4, &Config { member_window: 5, ..Config::default() });
        world.rng = glue_net::Rng::new(seed);
        let mut run = Self {
            world,
            members: BTreeMap::new(),
            waiting: Vec::new(),
            done: BTreeMap::new(),
            by: BTreeMap::new(),
            unsure: BTreeSet::new(),
            published: 0,
        };
        // The publisher is a member too, for ever: so there always is one.
        run.members.insert(0, join(&mut run.world, 0));
        run.world.fate = Fate { shuffle: true, ..Fate::default() };
        run
    }

    fn pick(&mut self, bound: usize) -> usize {
        usize::try_from(self.world.rng.below(bound as u64)).unwrap()
    }

    fn act(&mut self) {
        let node = 1 + self.pick(3);
        match self.pick(14) {
            0 | 1 => {
                if !self.members.contains_key(&node) {
                    self.members.insert(node, self.world.nodes[node].subscribe(GROUP, "text").unwrap());
                }
            }
            2 => {
                if let Some(id) = self.members.remove(&node) {
                    self.world.nodes[node].unsubscribe(id);
                    self.waiting.retain(|(at, ..)| *at != node);
                }
            }
            3 if self.pick(4) == 0 => self.lose(node),
            4 | 5 if self.published < 100 => {
                self.published += 1;
                publish(&mut self.world, self.published);
            }
            6..=8 => self.work(),
            _ => {
                self.world.send();
                let _ = self.world.carry_one();
            }
        }
        self.look();
    }

    fn work(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let at = self.pick(self.waiting.len());
        let (node, id, number) = self.waiting.remove(at);
        if self.world.nodes[node].done(id) {
            *self.done.entry(number).or_default() += 1;
            self.by.entry(node).or_default().insert(number);
        }
    }

    /// The session with a member is lost, and what it had: what it has told to be done may be under way.
    fn lose(&mut self, node: usize) {
        self.unsure.extend(self.by.remove(&node).unwrap_or_default());
        self.world.flight.retain(|(from, to, _)| (*from, *to) != (0, node) && (*from, *to) != (node, 0));
        self.waiting.retain(|(at, ..)| *at != node);
        self.world.nodes[node].handle_peer_gone(peer(0));
        self.world.nodes[0].handle_peer_gone(peer(node));
        self.world.nodes[0].handle_peer_up(peer(node), &facts(node, Wire::Native));
        self.world.nodes[node].handle_peer_up(peer(0), &facts(0, Wire::Native));
    }

    fn look(&mut self) {
        for node in 0..4 {
            let came = shares(&mut self.world, node);
            self.waiting.extend(came.into_iter().map(|(id, _, payload)| (node, id, payload[0])));
        }
    }

    fn finish(mut self) {
        self.world.now = self.world.now + ms(10);
        for _ in 0..1_000 {
            self.world.settle();
            self.look();
            self.work();
            if self.waiting.is_empty() && self.world.flight.is_empty() {
                break;
            }
        }
        self.world.settle();
        for number in 1..=self.published {
            let times = self.done.get(&number).copied().unwrap_or_default();
            assert!(times == 1 || (times > 1 && self.unsure.contains(&number)), "{number} was done {times} times");
        }
        assert_eq!(self.world.nodes[0].stats().shares_done, u64::from(self.published));
        assert_empty(&self.world);
        assert!(self.published > 10);
    }
}
