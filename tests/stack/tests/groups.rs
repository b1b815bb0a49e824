//! Groups of which one member gets each message, between whole endpoints.

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "helpers of tests panic to fail them")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use glue_endpoint::{Engine, Event};
use glue_net::{EndpointId, Instant, PeerId, Rng};
use glue_sim::{Context, Host, Link, NodeId, World, check};
use glue_stack::scene::{self, kept, ms, s};
use glue_topics::{CallEvent, Item, PublicationId, RequestId};

/// A publisher, and members of a group that work on each message for a while.
struct Workshop {
    world: World<Engine>,
    /// The publisher comes first.
    nodes: Vec<NodeId>,
    told: Rc<RefCell<Vec<(NodeId, Event)>>>,
    rng: Rng,
    publication: PublicationId,
    published: u64,
    desks: Vec<(NodeId, Instant, RequestId, u64)>,
    /// Who has done which message, in lives that go on.
    done: BTreeMap<u64, Vec<NodeId>>,
    /// What was done by a member that has died since.
    done_by_dead: BTreeMap<u64, usize>,
}

impl Workshop {
    fn new(seed: u64, members: usize, link: Link) -> Self {
        let mut world = World::new(seed);
        let told: Rc<RefCell<Vec<(NodeId, Event)>>> = Rc::default();
        let heard = Rc::clone(&told);
        world.observe(move |node, _, event: &Event| heard.borrow_mut().push((node, event.clone())));
        world.keep_events(false);
        world.set_default_link(link);
        let nodes: Vec<_> =
            (0..=members).map(|n| world.add_node(Host::default(), move |context| engine(n, &context))).collect();
        let make = |engine: &mut Engine, _| engine.publication("jobs/sweep", "bytes").unwrap();
        let publication = world.call(nodes[0], make).unwrap();
        let (rng, desks) = (Rng::new(seed ^ 0x60b), Vec::new());
        let (done, done_by_dead) = (BTreeMap::new(), BTreeMap::new());
        let mut shop = Self { world, nodes, told, rng, publication, published: 0, desks, done, done_by_dead };
        shop.run(s(3));
        let end = shop.world.now() + s(60);
        // On a bad link one may hear nothing of another for longer.
        while shop.world.node(shop.nodes[0]).unwrap().members(GROUP) < members {
            assert!(shop.world.now() < end, "they do not meet");
            shop.run(ms(10));
        }
        shop
    }

    /// Publishes one message of up to `most` bytes; false: there was no room.
    fn publish(&mut self, most: u64) -> bool {
        let mut payload = (self.published + 1).to_be_bytes().to_vec();
        payload.resize(8 + usize::try_from(self.rng.below(most)).unwrap(), 7);
        let id = self.publication;
        let publish = |engine: &mut Engine, now| engine.publish(now, id, s(300), &payload).unwrap();
        let taken = self.world.call(self.nodes[0], publish).unwrap().is_some();
        self.published += u64::from(taken);
        taken
    }

    fn kill(&mut self, member: usize, again: bool) {
        self.look();
        let node = self.nodes[member];
        if again {
            self.world.restart(node);
        } else {
            self.world.crash(node);
        }
        self.desks.retain(|(at, ..)| *at != node);
        for (number, by) in &mut self.done {
            let before = by.len();
            by.retain(|at| *at != node);
            *self.done_by_dead.entry(*number).or_default() += before - by.len();
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.world.now() + time;
        while self.world.now() < end {
            self.world.run_until((self.world.now() + ms(2)).min(end));
            self.look();
            let now = self.world.now();
            let desks = std::mem::take(&mut self.desks);
            let (due, later): (Vec<_>, Vec<_>) = desks.into_iter().partition(|(_, at, ..)| *at <= now);
            self.desks = later;
            for (node, _, id, number) in due {
                if self.world.call(node, |engine, now| engine.done(now, id)).unwrap() {
                    self.done.entry(number).or_default().push(node);
                }
            }
        }
    }

    fn look(&mut self) {
        let told = std::mem::take(&mut *self.told.borrow_mut());
        for (node, event) in told {
            let Event::Call(CallEvent::Share { id, mut batch, .. }) = event else { continue };
            if let Some(peer) = batch.from() {
                self.take(node, peer, batch.bytes());
            }
            let Some(Item::Message(message)) = batch.next(self.world.now()) else { panic!("nothing in it") };
            let number = u64::from_be_bytes(*message.payload.first_chunk().unwrap());
            let at = self.world.now() + Duration::from_micros(self.rng.below(5_000));
            self.desks.push((node, at, id, number));
        }
    }

    fn take(&mut self, node: NodeId, peer: PeerId, bytes: usize) {
        self.world.call(node, |engine, _| engine.handle_taken(peer, bytes));
    }

    /// Each message was done once by members that live, or else by one that has died.
    fn assert_all_done(&mut self, limit: Duration) {
        let end = self.world.now() + limit;
        while self.world.node(self.nodes[0]).unwrap().open_calls() != (0, 0) {
            assert!(self.world.now() < end, "{} published, {} done", self.published, self.done.len());
            self.run(ms(200));
        }
        for number in 1..=self.published {
            let living = self.done.get(&number).map_or(0, Vec::len);
            let dead = self.done_by_dead.get(&number).copied().unwrap_or_default();
            assert!(living == 1 || (living == 0 && dead > 0), "{number}: {living} living, {dead} dead");
        }
        for node in &self.nodes {
            let open = self.world.node(*node).map_or((0, 0), Engine::open_calls);
            assert_eq!(open, (0, 0), "{node:?}");
        }
        let stats = self.world.node(self.nodes[0]).unwrap().report().topics;
        assert_eq!((stats.shares, stats.shares_done), (self.published, self.published));
    }
}

fn engine(index: usize, context: &Context) -> Engine {
    let id = EndpointId::from_integer(i64::try_from(index).unwrap() + 1);
    let mut engine = scene::engine(id, context, |mut config| {
        config.transport.socket_window_bytes = 100_000;
        config
    });
    if index > 0 {
        engine.subscribe(GROUP, "bytes").unwrap();
    }
    engine
}

fn rough(seed: u64) -> Link {
    let loss = match seed % 3 {
        0 => 0.0,
        1 => 0.05,
        _ => 0.2,
    };
    Link::lossy(loss).latency(ms(1)).jitter(ms(2)).duplicate(0.05).reorder(0.1, ms(5))
}

#[test]
fn each_message_is_done_once_on_bad_links() {
    check("each_message_is_done_once_on_bad_links", kept(24), |seed| {
        let mut shop = Workshop::new(seed, 3, rough(seed));
        for round in 0..300 {
            assert!(shop.publish(if round % 20 == 0 { 30_000 } else { 200 }));
            shop.run(ms(2));
        }
        shop.assert_all_done(s(30));
        let by = |node| shop.done.values().flatten().filter(|at| **at == node).count();
        assert!(shop.nodes[1..].iter().all(|node| by(*node) > 30), "each did its part");
    });
}

#[test]
fn a_member_that_dies_at_any_step_loses_nothing() {
    check("a_member_that_dies_at_any_step_loses_nothing", kept(60), |seed| {
        let mut shop = Workshop::new(seed, 3, rough(seed));
        for step in 0..60 {
            if step == seed % 60 {
                shop.kill(1, seed % 2 == 0);
            }
            if step == (seed + 20) % 60 {
                shop.kill(2, true);
            }
            assert!(shop.publish(2_000) && shop.publish(20));
            shop.run(Duration::from_micros(700));
        }
        shop.assert_all_done(s(60));
    });
}

#[test]
fn publishers_wait_for_a_group_that_is_slow() {
    let mut shop = Workshop::new(3, 1, Link::default().latency(ms(2)));
    let mut held_back = 0;
    for _ in 0..200 {
        let mut count = 0;
        while count < 50 && shop.publish(400_000) {
            count += 1;
        }
        held_back += u64::from(count < 50);
        shop.run(ms(10));
    }
    // Its socket window of 100 kB lets 25 MB/s pass in round trips of 4 ms: about 250 messages in 2 s.
    assert!(held_back > 10 && shop.published > 250, "{held_back} {}", shop.published);
    shop.assert_all_done(s(60));
    assert_eq!(shop.world.node(shop.nodes[0]).unwrap().report().topics.shares_dropped, 0);
}

const GROUP: &str = "$share/workers/jobs/+";
