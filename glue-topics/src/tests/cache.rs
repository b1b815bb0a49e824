//! Messages that outlive their publishers.

mod hostile;

use std::time::Duration;

use glue_net::wire::put_varint;
use glue_net::{Chain, Content, Instant};

use super::{SECOND, World, contiguous, ms, peer};
use crate::{Config, GapReason, History, Wish};

/// Nodes of which some can not reach each other: what goes to those waits.
pub(super) struct Split {
    pub(super) world: World,
    cut: Vec<(usize, usize)>,
    waiting: Vec<(usize, usize, crate::Cargo)>,
    /// What the cache said to node 1, as it was written.
    said: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Split {
    pub(super) fn new(nodes: usize) -> Self {
        Self::with(nodes, &Config::default())
    }

    /// Three nodes, of which the last caches everything.
    fn with_cache() -> Self {
        let mut split = Self::new(3);
        split.world.nodes[2].cache("#", 1 << 20).unwrap();
        split
    }

    fn with(nodes: usize, config: &Config) -> Self {
        Self { world: World::with(nodes, config), cut: Vec::new(), waiting: Vec::new(), said: Vec::new() }
    }

    /// Two nodes lose each other.
    pub(super) fn cut(&mut self, a: usize, b: usize) {
        self.cut.extend([(a, b), (b, a)]);
        self.world.nodes[a].handle_peer_suspended(peer(b));
        self.world.nodes[b].handle_peer_suspended(peer(a));
    }

    /// Two nodes that have forgotten each other meet again.
    pub(super) fn restore(&mut self, a: usize, b: usize) {
        let is_between = |from: usize, to: usize| (from, to) == (a, b) || (from, to) == (b, a);
        self.cut.retain(|(from, to)| !is_between(*from, *to));
        self.waiting.retain(|(from, to, _)| !is_between(*from, *to));
        self.world.nodes[a].handle_peer_up(peer(b), &super::facts(b, crate::Wire::Native));
        self.world.nodes[b].handle_peer_up(peer(a), &super::facts(a, crate::Wire::Native));
    }

    fn heal(&mut self, a: usize, b: usize) {
        self.cut.retain(|pair| *pair != (a, b) && *pair != (b, a));
        self.world.nodes[a].handle_peer_resumed(peer(b));
        self.world.nodes[b].handle_peer_resumed(peer(a));
        let (cut, waiting) = (&self.cut, std::mem::take(&mut self.waiting));
        let (still, now): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|(f, t, _)| cut.contains(&(*f, *t)));
        self.waiting = still;
        self.world.flight.extend(now);
    }

    /// A node is no more: the others forget it, and what it had under way.
    pub(super) fn die(&mut self, node: usize) {
        for other in 0..self.world.nodes.len() {
            self.world.nodes[other].handle_peer_gone(peer(node));
        }
        self.world.flight.retain(|(from, to, _)| *from != node && *to != node);
        self.waiting.retain(|(from, to, _)| *from != node && *to != node);
    }

    /// Lets time pass, in steps.
    pub(super) fn run(&mut self, time: Duration) {
        let end = self.world.now + time;
        while self.world.now < end {
            self.world.pass(ms(10));
            loop {
                self.world.send();
                let cut = &self.cut;
                let (held, rest) =
                    std::mem::take(&mut self.world.flight).into_iter().partition(|(f, t, _)| cut.contains(&(*f, *t)));
                let held: Vec<_> = held;
                self.waiting.extend(held);
                self.world.flight = rest;
                if let Some((2, 1, cargo)) = self.world.flight.first() {
                    self.said.push(encoded(cargo, self.world.now));
                }
                if !self.world.carry_one() {
                    break;
                }
            }
            self.world.hand_out();
        }
    }

    pub(super) fn publish(&mut self, count: usize) {
        for _ in 0..count {
            self.world.publish_for(0, "a", 60 * SECOND, b"x");
        }
        self.run(ms(10));
    }
}

pub(super) fn encoded(cargo: &crate::Cargo, now: Instant) -> (Vec<u8>, Vec<u8>) {
    let (mut head, mut body) = (Vec::new(), Chain::default());
    cargo.encode_head(now, &mut head);
    cargo.encode_body(0..cargo.body_len(), &mut body);
    (head, body.to_vec())
}

/// What a cache gets first need not be the first: until that is there nobody is told where the source begins.
#[test]
fn a_cache_that_lacks_the_start_of_a_run_lets_nobody_begin_in_the_middle() {
    let mut split = Split::with_cache();
    let id = split.world.nodes[1].subscribe("a", "text").unwrap();
    split.run(ms(200));
    split.world.publish_for(0, "a", 60 * SECOND, b"late everywhere");
    split.world.send();
    let late = std::mem::take(&mut split.world.flight);
    split.publish(2);
    split.run(2 * SECOND);
    assert!(split.world.items(1, id).is_empty());
    split.world.flight = late;
    split.run(SECOND);
    assert_eq!(split.world.numbers(1, id), [1, 2, 3]);
}

/// 0 publishes, and 2 gets the first by 3 alone; 1 reaches no other than 2.
#[test]
fn a_cache_does_not_wait_for_a_start_that_its_publisher_can_not_bring_any_more() {
    let mut split = Split::new(4);
    for node in [2, 3] {
        split.world.nodes[node].cache("#", 1 << 20).unwrap();
    }
    let id = split.world.nodes[1].subscribe("a", "text").unwrap();
    split.run(ms(200));
    split.cut(0, 1);
    split.cut(1, 3);
    split.world.publish_for(0, "a", 60 * SECOND, b"late at 2");
    split.world.send();
    let (late, rest) = std::mem::take(&mut split.world.flight).into_iter().partition(|(_, to, _)| *to == 2);
    split.waiting.extend::<Vec<_>>(late);
    split.world.flight = rest;
    split.publish(2);
    split.run(SECOND);
    assert!(split.world.items(1, id).is_empty());
    split.cut(0, 2);
    split.run(2 * SECOND);
    assert_eq!(split.world.numbers(1, id), [1, 2, 3]);
}

#[test]
fn who_has_unsubscribed_gets_no_more() {
    let mut split = Split::with_cache();
    let [first, second] = [0, 1].map(|_| split.world.nodes[1].subscribe("a", "text").unwrap());
    split.run(ms(200));
    split.publish(3);
    split.world.nodes[1].unsubscribe(first);
    split.publish(3);
    assert_eq!(split.world.numbers(1, first), [1, 2, 3]);
    assert_eq!(split.world.numbers(1, second), [1, 2, 3, 4, 5, 6]);
}

/// Node 0 publishes, 1 subscribes, 2 caches.
#[test]
fn a_cache_brings_what_its_publisher_no_longer_can() {
    let mut split = Split::with_cache();
    let id = split.world.nodes[1].subscribe("a", "text").unwrap();
    split.run(ms(200));
    split.publish(3);
    split.cut(0, 1);
    split.cut(1, 2);
    split.publish(4);
    split.run(SECOND);
    assert_eq!(split.world.numbers(1, id), [1, 2, 3]);
    split.die(0);
    split.heal(1, 2);
    split.run(ms(300));
    assert_eq!(split.world.numbers(1, id), [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(contiguous(split.world.items(1, id)), (1, 7));
    assert_eq!(split.world.nodes[2].cache_stats().carried, 4);
}

#[test]
fn two_caches_with_different_halves_make_a_whole() {
    let mut split = Split::new(4);
    split.world.nodes[2].cache("a", 1 << 20).unwrap();
    split.world.nodes[3].cache("#", 1 << 20).unwrap();
    let id = split.world.nodes[1].subscribe("a", "text").unwrap();
    split.run(ms(200));
    split.publish(1);
    for other in [0, 2, 3] {
        split.cut(other, 1);
    }
    split.cut(0, 3);
    split.cut(2, 3);
    split.publish(3);
    split.heal(0, 3);
    split.cut(0, 2);
    split.world.nodes[3].handle_peer_gone(peer(0));
    split.world.nodes[0].handle_peer_gone(peer(3));
    split.waiting.clear();
    split.world.nodes[3].handle_peer_up(peer(0), &super::facts(0, crate::Wire::Native));
    split.world.nodes[0].handle_peer_up(peer(3), &super::facts(3, crate::Wire::Native));
    split.run(ms(200));
    split.publish(3);
    split.die(0);
    split.heal(1, 2);
    split.heal(1, 3);
    split.run(SECOND);
    assert_eq!(contiguous(split.world.items(1, id)), (1, 7));
    assert_eq!(split.world.numbers(1, id).len(), 7);
    let pulled = split.world.nodes[1].cache_stats().pulled;
    assert_eq!(pulled, 6);
}

#[test]
fn the_origin_comes_back_and_repeats_what_a_cache_has_brought() {
    let mut split = Split::with_cache();
    let id = split.world.nodes[1].subscribe("a", "text").unwrap();
    split.run(ms(200));
    split.publish(2);
    split.cut(0, 1);
    split.publish(5);
    split.run(SECOND);
    assert_eq!(split.world.numbers(1, id), [1, 2, 3, 4, 5, 6, 7], "what is live comes by the cache");
    split.heal(0, 1);
    split.publish(2);
    split.run(SECOND);
    assert_eq!(split.world.numbers(1, id), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert!(split.world.gaps(1, id).is_empty());
}

#[test]
fn a_holder_that_dies_midway_is_followed_by_another() {
    let mut split = Split::new(4);
    for node in [2, 3] {
        split.world.nodes[node].cache("#", 1 << 20).unwrap();
    }
    let id = split.world.nodes[1].subscribe("a", "text").unwrap();
    split.run(ms(200));
    split.publish(1);
    for other in [0, 2, 3] {
        split.cut(other, 1);
    }
    for _ in 0..5 {
        split.publish(2);
    }
    split.run(SECOND);
    split.die(0);
    split.heal(1, 2);
    split.heal(1, 3);
    // What was asked is under way: whoever was asked dies.
    split.run(ms(10));
    let asked = if split.world.nodes[2].cache_stats().carried > 0 { 2 } else { 3 };
    split.die(asked);
    split.run(ms(500));
    assert_eq!(contiguous(split.world.items(1, id)), (1, 11));
    assert_eq!(split.world.numbers(1, id).len(), 11);
}

#[test]
fn beyond_the_budget_the_oldest_go_and_are_told() {
    let mut split = Split::new(3);
    split.world.nodes[2].cache("#", 2_000).unwrap();
    let id = split.world.nodes[1].subscribe("a", "text").unwrap();
    split.run(ms(200));
    split.publish(1);
    split.cut(0, 1);
    split.cut(1, 2);
    for _ in 0..20 {
        split.publish(1);
    }
    split.die(0);
    split.heal(1, 2);
    split.run(5 * SECOND);
    let stats = split.world.nodes[2].cache_stats();
    assert!(stats.held_bytes <= 2_000 && stats.evicted > 10, "{stats:?}");
    assert_eq!(contiguous(split.world.items(1, id)), (1, 21));
    let gaps = split.world.gaps(1, id);
    assert_eq!((gaps.len(), gaps[0].from, gaps[0].reason), (1, 2, GapReason::PublisherGone), "{gaps:?}");
    assert_eq!(split.world.numbers(1, id).len() as u64 + gaps[0].count(), 21);
}

#[test]
fn what_has_expired_is_neither_kept_nor_sent_and_ages_in_the_cache() {
    let mut split = Split::with_cache();
    let id = split.world.nodes[1].subscribe("a", "text").unwrap();
    split.run(ms(200));
    split.publish(1);
    split.cut(0, 1);
    split.cut(1, 2);
    split.world.publish_for(0, "a", SECOND, b"short");
    split.run(ms(10));
    split.world.publish_for(0, "a", 3 * SECOND, b"longer");
    split.run(2 * SECOND);
    split.die(0);
    split.heal(1, 2);
    split.run(ms(300));
    assert_eq!(split.world.numbers(1, id), [1, 3]);
    let gaps = split.world.gaps(1, id);
    assert_eq!((gaps.len(), gaps[0].from, gaps[0].to, gaps[0].reason), (1, 2, 2, GapReason::Expired));
    let last = super::messages(split.world.items(1, id)).last().unwrap().deadline();
    assert!(last <= split.world.now + SECOND, "it goes on to age: {last:?}");
    split.run(2 * SECOND);
    let stats = split.world.nodes[2].cache_stats();
    assert_eq!((stats.held_bytes > 0, stats.expired), (true, 2));
}

#[test]
fn who_joins_late_gets_what_it_wishes_from_a_cache() {
    let mut split = Split::new(4);
    split.world.nodes[2].cache("#", 1 << 20).unwrap();
    split.run(ms(200));
    split.publish(5);
    let now = split.world.now;
    // The publisher lives, and keeps nothing.
    let all = split.world.nodes[1].subscribe_from(now, "a", "text", Wish::All).unwrap();
    split.publish(1);
    split.run(2 * SECOND);
    assert_eq!(split.world.numbers(1, all), [1, 2, 3, 4, 5, 6]);
    let now = split.world.now;
    let some = split.world.nodes[1].subscribe_from(now, "a", "text", Wish::Last(2)).unwrap();
    let none = split.world.nodes[1].subscribe("a", "text").unwrap();
    split.run(2 * SECOND);
    split.publish(1);
    split.run(2 * SECOND);
    assert_eq!(split.world.numbers(1, some), [5, 6, 7]);
    assert_eq!(split.world.numbers(1, none), [7]);
    // The publisher is gone.
    split.die(0);
    let now = split.world.now;
    let dead = split.world.nodes[3].subscribe_from(now, "#", "", Wish::All).unwrap();
    let live = split.world.nodes[3].subscribe("a", "text").unwrap();
    split.run(2 * SECOND);
    assert_eq!(split.world.numbers(3, dead), [1, 2, 3, 4, 5, 6, 7]);
    assert!(split.world.items(3, live).is_empty());
}

#[test]
fn history_of_the_publisher_and_of_a_cache_join_without_a_seam() {
    let mut split = Split::with_cache();
    let kept = split.world.nodes[0].publication_with("a", "text", History::Last(3)).unwrap();
    split.run(ms(200));
    split.publish(10);
    let now = split.world.now;
    let all = split.world.nodes[1].subscribe_from(now, "a", "text", Wish::All).unwrap();
    split.publish(2);
    split.run(2 * SECOND);
    assert_eq!(split.world.numbers(1, all), (1..=12).collect::<Vec<_>>());
    assert!(split.world.gaps(1, all).is_empty());
    split.world.nodes[0].release(kept);
}

#[test]
fn caches_hand_on_what_their_publisher_can_not_bring() {
    let mut split = Split::new(4);
    for node in [2, 3] {
        split.world.nodes[node].cache("#", 1 << 20).unwrap();
    }
    let id = split.world.nodes[1].subscribe("a", "text").unwrap();
    split.run(ms(200));
    for (a, b) in [(0, 1), (0, 3), (1, 2)] {
        split.cut(a, b);
    }
    split.publish(3);
    split.run(SECOND);
    assert_eq!(split.world.numbers(1, id), [1, 2, 3], "from 0 to 2 to 3 to 1");
    for node in [2, 3] {
        assert_eq!(split.world.nodes[node].cache_stats().carried, 3);
    }
}

#[test]
fn who_was_forgotten_goes_on_where_it_was() {
    let mut split = Split::with_cache();
    let id = split.world.nodes[1].subscribe("a", "text").unwrap();
    split.run(ms(200));
    split.publish(2);
    split.cut(0, 1);
    split.cut(1, 2);
    // Both forget each other; what was queued is lost.
    split.world.nodes[0].handle_peer_gone(peer(1));
    split.world.nodes[1].handle_peer_gone(peer(0));
    split.waiting.clear();
    split.publish(3);
    split.cut.clear();
    split.world.nodes[0].handle_peer_up(peer(1), &super::facts(1, crate::Wire::Native));
    split.world.nodes[1].handle_peer_up(peer(0), &super::facts(0, crate::Wire::Native));
    split.run(ms(100));
    split.publish(1);
    assert_eq!(split.world.numbers(1, id), [1, 2], "what is newer waits");
    split.heal(1, 2);
    split.run(SECOND);
    assert_eq!(split.world.numbers(1, id), [1, 2, 3, 4, 5, 6]);
    assert!(split.world.gaps(1, id).is_empty());
}

#[test]
fn without_a_cache_who_was_forgotten_is_told_what_it_missed() {
    let mut split = Split::new(2);
    let id = split.world.nodes[1].subscribe("a", "text").unwrap();
    split.run(ms(200));
    split.publish(2);
    split.world.nodes[0].handle_peer_gone(peer(1));
    split.world.nodes[1].handle_peer_gone(peer(0));
    split.publish(3);
    split.world.nodes[0].handle_peer_up(peer(1), &super::facts(1, crate::Wire::Native));
    split.world.nodes[1].handle_peer_up(peer(0), &super::facts(0, crate::Wire::Native));
    split.run(ms(100));
    split.publish(1);
    assert_eq!(contiguous(split.world.items(1, id)), (1, 6));
    let gaps = split.world.gaps(1, id);
    assert_eq!((gaps.len(), gaps[0].from, gaps[0].to, gaps[0].reason), (1, 3, 5, GapReason::PublisherGone));
}

#[test]
fn a_receipt_tells_who_caches() {
    let mut split = Split::new(4);
    split.world.nodes[2].cache("#", 1 << 20).unwrap();
    split.world.nodes[3].cache("a", 10).unwrap();
    split.world.nodes[1].subscribe("a", "text").unwrap();
    split.run(ms(200));
    let id = split.world.nodes[0].publication("a", "text").unwrap();
    let (now, wall) = (split.world.now, split.world.wall());
    let receipt = split.world.nodes[0].publish_confirmed(now, wall, id, SECOND, "x").unwrap();
    assert_eq!((receipt.interested(), receipt.cached()), (3, 0));
    split.world.send();
    for (_, _, cargo) in split.world.flight.drain(..) {
        cargo.acknowledge(cargo.body_len());
    }
    assert_eq!((receipt.received(), receipt.cached()), (3, 1), "the other has no room for it");
}

#[test]
fn a_peer_s_caches_are_bounded() {
    let mut world = World::with(2, &Config { max_interest_per_peer: 3, ..Config::default() });
    for pattern in ["a", "b", "c", "d", "e"] {
        world.nodes[1].cache(pattern, 1 << 10).unwrap();
    }
    world.settle();
    assert_eq!(world.nodes[0].cache_stats().refused, 2);
}

#[test]
fn a_cache_without_memory_to_send_serves_when_there_is_some() {
    let mut split = Split::with_cache();
    split.run(ms(200));
    split.publish(3);
    split.run(ms(200));
    split.die(0);
    let now = split.world.now;
    split.world.nodes[2].set_may_serve(false);
    let id = split.world.nodes[1].subscribe_from(now, "a", "text", Wish::All).unwrap();
    split.run(2 * SECOND);
    assert!(split.world.items(1, id).is_empty());
    split.world.nodes[2].set_may_serve(true);
    split.run(SECOND);
    assert_eq!(split.world.numbers(1, id), [1, 2, 3]);
}

#[test]
fn a_cache_that_ends_gives_its_memory_back() {
    let mut split = Split::new(2);
    let cache = split.world.nodes[1].cache("#", 1 << 20).unwrap();
    let free = Config::default().max_cache_bytes - (1 << 20);
    let error = split.world.nodes[1].cache("b", free + 1).unwrap_err();
    assert_eq!(error, crate::CacheError::TooLarge { given: free + 1, free });
    split.run(ms(200));
    split.publish(3);
    assert!(split.world.nodes[1].cached_bytes() > 0);
    split.world.nodes[1].uncache(cache);
    split.run(ms(200));
    assert_eq!(split.world.nodes[1].cached_bytes(), 0);
    split.publish(1);
    let id = split.world.nodes[0].publication("a", "text").unwrap();
    assert!(split.world.nodes[0].interested(id).is_empty());
}

/// What is asked for comes in parts, however much it is, and no more is under way than may be.
#[test]
fn much_comes_in_parts() {
    let mut split = Split::new(3);
    split.world.nodes[2].cache("#", 30 << 20).unwrap();
    let id = split.world.nodes[1].subscribe("a", "text").unwrap();
    split.run(ms(200));
    split.publish(1);
    split.cut(0, 1);
    split.cut(1, 2);
    let payload = vec![7; 100_000];
    for _ in 0..150 {
        split.world.publish_for(0, "a", 600 * SECOND, &payload);
    }
    split.run(SECOND);
    split.die(0);
    split.heal(1, 2);
    split.run(2 * SECOND);
    assert_eq!(contiguous(split.world.items(1, id)), (1, 151));
    assert_eq!(split.world.numbers(1, id).len(), 151);
}

#[test]
fn a_topic_that_is_forgotten_and_published_again_has_no_gap() {
    let config = Config { max_idle_publications: 1, ..Config::default() };
    let mut split = Split::with(3, &config);
    split.world.nodes[2].cache("#", 1 << 20).unwrap();
    let id = split.world.nodes[1].subscribe("a", "text").unwrap();
    split.run(ms(200));
    split.publish(2);
    split.run(ms(200));
    for topic in ["b", "c"] {
        for _ in 0..5 {
            split.world.publish(0, topic, b"x");
        }
    }
    split.run(ms(200));
    split.publish(1);
    split.run(5 * SECOND);
    assert_eq!(split.world.numbers(1, id), [1, 2, 6]);
    assert!(split.world.gaps(1, id).is_empty(), "no number between was used");
}

#[test]
fn a_cache_gives_what_waits_behind_a_hole() {
    let mut split = Split::with_cache();
    let id = split.world.nodes[1].subscribe("a", "text").unwrap();
    split.run(ms(200));
    split.publish(1);
    split.cut(0, 1);
    split.cut(1, 2);
    split.publish(1);
    // One is lost on its way to the cache, with its publisher.
    split.world.publish_for(0, "a", 60 * SECOND, b"lost");
    split.world.send();
    split.world.flight.retain(|(_, to, _)| *to != 2);
    split.publish(1);
    split.cut(0, 2);
    split.heal(1, 2);
    split.run(SECOND);
    assert_eq!(split.world.numbers(1, id), [1, 2], "its publisher may come back");
    split.die(0);
    split.run(5 * SECOND);
    assert_eq!(split.world.numbers(1, id), [1, 2, 4]);
    let gaps = split.world.gaps(1, id);
    assert_eq!((gaps.len(), gaps[0].from, gaps[0].to, gaps[0].reason), (1, 3, 3, GapReason::PublisherGone));
}

/// The publisher lives, did not know of us when it published it, and keeps nothing.
#[test]
fn what_nobody_kept_is_told_for_what_it_is() {
    let mut split = Split::with_cache();
    split.run(ms(200));
    split.cut(0, 1);
    let id = split.world.nodes[1].subscribe("a", "text").unwrap();
    split.run(ms(200));
    split.publish(1);
    split.run(SECOND);
    assert_eq!(split.world.numbers(1, id), [1], "by the cache");
    split.world.publish_for(0, "a", 60 * SECOND, b"lost");
    split.world.send();
    split.world.flight.retain(|(_, to, _)| *to != 2);
    split.heal(0, 1);
    split.run(ms(200));
    split.publish(1);
    split.run(5 * SECOND);
    assert_eq!(split.world.numbers(1, id), [1, 3]);
    let gaps = split.world.gaps(1, id);
    assert_eq!((gaps.len(), gaps[0].from, gaps[0].to, gaps[0].reason), (1, 2, 2, GapReason::NotKept));
}

/// 1 hears of 0, which does not hear of 1: a partition of one way. What the cache lacks 0 has, and brings when it knows of 1.
#[test]
fn a_publisher_that_has_not_heard_of_us_yet_is_waited_for() {
    let mut split = Split::with_cache();
    let kept = split.world.nodes[0].publication_with("a", "text", History::All { max_bytes: 1 << 20 }).unwrap();
    split.world.nodes[1].set_open(peer(0), false);
    split.cut.extend([(0, 1), (1, 0)]);
    split.run(ms(200));
    split.publish(2);
    split.world.publish_for(0, "a", 60 * SECOND, b"lost");
    split.world.send();
    split.world.flight.retain(|(_, to, _)| *to != 2);
    split.publish(1);
    let now = split.world.now;
    let id = split.world.nodes[1].subscribe_from(now, "a", "text", Wish::All).unwrap();
    split.run(20 * SECOND);
    assert_eq!(split.world.numbers(1, id), [1, 2]);
    assert!(split.world.gaps(1, id).is_empty(), "its publisher lives, and has it");
    split.world.nodes[1].set_open(peer(0), true);
    split.heal(0, 1);
    split.run(SECOND);
    assert_eq!(split.world.numbers(1, id), [1, 2, 3, 4]);
    assert!(split.world.gaps(1, id).is_empty());
    split.world.nodes[0].release(kept);
}

/// As before, but it never hears of us.
#[test]
fn a_publisher_that_never_hears_of_us_is_not_waited_for_for_ever() {
    let mut split = Split::with_cache();
    split.world.nodes[1].set_open(peer(0), false);
    split.cut.extend([(0, 1), (1, 0)]);
    split.run(ms(200));
    let publish = |split: &mut Split| split.world.publish_for(0, "a", 600 * SECOND, b"x");
    publish(&mut split);
    split.run(ms(10));
    publish(&mut split);
    split.world.send();
    split.world.flight.retain(|(_, to, _)| *to != 2);
    publish(&mut split);
    split.run(ms(10));
    let now = split.world.now;
    let id = split.world.nodes[1].subscribe_from(now, "a", "text", Wish::All).unwrap();
    split.run(50 * SECOND);
    assert_eq!(split.world.numbers(1, id), [1]);
    split.run(30 * SECOND);
    assert_eq!(split.world.numbers(1, id), [1, 3]);
    assert_eq!(split.world.gaps(1, id).len(), 1);
}

#[test]
fn a_cache_that_was_cut_off_while_it_was_asked_is_asked_again_when_it_is_back() {
    let mut split = Split::with_cache();
    let id = split.world.nodes[1].subscribe("a", "text").unwrap();
    split.run(ms(200));
    split.publish(1);
    split.cut(0, 1);
    // 1 hears of 2, and asks it in vain.
    split.cut.push((1, 2));
    split.publish(2);
    split.run(ms(200));
    split.die(0);
    split.run(20 * SECOND);
    assert_eq!(split.world.numbers(1, id), [1]);
    assert!(split.world.gaps(1, id).is_empty(), "it has it, and may come back");
    split.heal(1, 2);
    split.run(20 * SECOND);
    assert_eq!(split.world.numbers(1, id), [1, 2, 3]);
    assert!(split.world.gaps(1, id).is_empty());
}
