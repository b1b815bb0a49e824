//! Messages that outlive their publishers.

use std::time::Duration;

use super::{SECOND, World, contiguous, ms, peer};
use crate::{Config, GapReason, History, Wish};

/// Nodes of which some can not reach each other: what goes to those waits.
struct Split {
    world: World,
    cut: Vec<(usize, usize)>,
    waiting: Vec<(usize, usize, crate::Cargo)>,
}

impl Split {
    fn new(nodes: usize) -> Self {
        Self::with(nodes, &Config::default())
    }

    fn with(nodes: usize, config: &Config) -> Self {
        Self { world: World::with(nodes, config), cut: Vec::new(), waiting: Vec::new() }
    }

    /// Two nodes lose each other.
    fn cut(&mut self, a: usize, b: usize) {
        self.cut.extend([(a, b), (b, a)]);
        self.world.nodes[a].handle_peer_suspended(peer(b));
        self.world.nodes[b].handle_peer_suspended(peer(a));
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
    fn die(&mut self, node: usize) {
        for other in 0..self.world.nodes.len() {
            self.world.nodes[other].handle_peer_gone(peer(node));
        }
        self.world.flight.retain(|(from, to, _)| *from != node && *to != node);
        self.waiting.retain(|(from, to, _)| *from != node && *to != node);
    }

    /// Lets time pass, in steps.
    fn run(&mut self, time: Duration) {
        let end = self.world.now + time;
        while self.world.now < end {
            self.world.now = self.world.now + ms(10);
            for node in &mut self.world.nodes {
                if node.poll_timeout().is_some_and(|at| at <= self.world.now) {
                    node.handle_timeout(self.world.now);
                }
            }
            loop {
                self.world.send();
                let cut = &self.cut;
                let (held, rest) =
                    std::mem::take(&mut self.world.flight).into_iter().partition(|(f, t, _)| cut.contains(&(*f, *t)));
                let held: Vec<_> = held;
                self.waiting.extend(held);
                self.world.flight = rest;
                if !self.world.carry_one() {
                    break;
                }
            }
            self.world.hand_out();
        }
    }

    fn publish(&mut self, count: usize) {
        for _ in 0..count {
            self.world.publish_for(0, "a", 60 * SECOND, b"x");
        }
        self.run(ms(10));
    }
}

/// Node 0 publishes, 1 subscribes, 2 caches.
#[test]
fn a_cache_brings_what_its_publisher_no_longer_can() {
    let mut split = Split::new(3);
    split.world.nodes[2].cache("#", 1 << 20).unwrap();
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
