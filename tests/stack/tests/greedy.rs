//! Peers that keep to no limit: memory stays within the budget, and those who keep to theirs lose nothing.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests are tests too")]

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use glue_endpoint::{Event, Report};
use glue_net::PeerId;
use glue_sim::{Host, NodeId, World};
use glue_stack::assert_within;
use glue_stack::greedy::{Greed, Greedy, Party};
use glue_topics::Item;

/// Deliveries that an application took: sequence numbers, and what is to be given back.
type Taken = Rc<RefCell<Vec<(NodeId, Option<PeerId>, usize, Vec<u64>)>>>;

struct Scene {
    world: World<Party>,
    /// A publisher and a subscriber, which keep to their limits.
    ours: [NodeId; 2],
    greedy: Vec<NodeId>,
    taken: Taken,
    /// What the subscriber got of the publisher.
    got: Vec<u64>,
    published: u64,
}

impl Scene {
    fn new(greed: Greed, count: i64) -> Self {
        let mut world = World::new(1);
        let ours = [1, 2].map(|id| {
            // The publisher wants all that the greedy ones send, and only that.
            let filter = if id == 1 { "early" } else { "#" };
            world.add_node(Host::default(), move |context| Party::ours(id, filter, &context))
        });
        let make = |id| move |context: glue_sim::Context| Party::Greedy(Box::new(Greedy::new(greed, id, &context)));
        let greedy = (3..3 + count).map(|id| world.add_node(Host::default(), make(id))).collect();
        let taken = Taken::default();
        let heard = Rc::clone(&taken);
        world.observe(move |node, now, event: &Event| {
            let Event::Delivery(delivery) = event else { return };
            let mut batch = delivery.batch.clone();
            let (from, bytes) = (batch.from(), batch.bytes());
            let items = std::iter::from_fn(|| batch.next(now));
            let numbers = items.filter_map(|item| match item {
                Item::Message(message) => (*message.topic_name == *"honest").then_some(message.sequence_number),
                Item::Gap(gap) => {
                    assert!(*gap.source.topic_name != *"honest", "{gap:?}");
                    None
                }
            });
            heard.borrow_mut().push((node, from, bytes, numbers.collect()));
        });
        world.keep_events(false);
        world.run_for(Duration::from_secs(2));
        Self { world, ours, greedy, taken, got: Vec::new(), published: 0 }
    }

    /// All do what they do for so many milliseconds.
    fn run(&mut self, millis: u32, is_greedy: bool) {
        let publication = self.world.call(self.ours[0], |p, _| p.engine().publication("honest", "").unwrap()).unwrap();
        for _ in 0..millis {
            for _ in 0..10 {
                let published = self.world.call(self.ours[0], |party, now| {
                    party.engine().publish(now, publication, Duration::from_secs(600), &[7; 500]).unwrap()
                });
                self.published += u64::from(published.flatten().is_some());
            }
            for node in self.greedy.iter().filter(|_| is_greedy) {
                self.world.call(*node, |party, now| party.greedy().push(now, 50));
            }
            self.world.run_for(Duration::from_millis(1));
            for (node, from, bytes, numbers) in std::mem::take(&mut *self.taken.borrow_mut()) {
                if let Some(peer) = from {
                    self.world.call(node, |party, _| party.engine().handle_taken(peer, bytes));
                }
                if node == self.ours[1] {
                    self.got.extend(numbers);
                }
            }
            for node in self.ours {
                self.world.call(node, |party, _| assert_within(&party.engine().memory()));
            }
        }
    }

    fn report(&mut self, which: usize) -> Report {
        self.world.call(self.ours[which], |party, _| party.engine().report()).unwrap()
    }
}

fn unharmed(greed: Greed, count: i64) -> (Report, Report) {
    let mut scene = Scene::new(greed, count);
    scene.run(500, true);
    scene.run(500, false);
    scene.world.run_for(Duration::from_secs(5));
    scene.run(1, false);
    assert!(scene.published > 9_000, "{}", scene.published);
    assert!(scene.got.iter().copied().eq(1..=scene.got.len() as u64), "in order and once");
    assert!(scene.got.len() as u64 + 20 > scene.published, "{} of {}", scene.got.len(), scene.published);
    (scene.report(0), scene.report(1))
}

#[test]
fn beginnings_of_messages_fill_no_memory() {
    let (_, report) = unharmed(Greed::Beginnings, 3);
    assert!(report.memory.peak > 15 << 20 && report.fragment.over_budget > 100, "{report:?}");
}

#[test]
fn messages_that_wait_for_ever_fill_no_memory() {
    let (_, report) = unharmed(Greed::Early, 3);
    assert!(report.memory.peak > 1 << 20, "{report:?}");
}

#[test]
fn crumbs_fill_no_memory() {
    let (_, report) = unharmed(Greed::Crumbs, 8);
    assert!(report.memory.peak > 5 << 20, "{report:?}");
}

#[test]
fn wishes_fill_no_memory() {
    let (report, _) = unharmed(Greed::Wishes, 3);
    assert!(report.topics.interest_refused > 1_000 && report.memory.peak > 2 << 20, "{report:?}");
}

#[test]
fn control_that_waits_for_ever_fills_no_memory() {
    let (_, report) = unharmed(Greed::Hints, 3);
    assert!(report.memory.peak > 1 << 20, "{report:?}");
}

#[test]
fn who_acknowledges_nothing_stops_nobody() {
    let (report, _) = unharmed(Greed::Deaf, 3);
    assert!(report.endpoint.peers_isolated >= 3, "{report:?}");
}
