//! Very many endpoints in one group: they find each other soon, and then hold their peace.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use glue_endpoint::{Engine, Event};
use glue_net::{EndpointId, Instant, Rng};
use glue_sim::{Host, NodeId, World, check};
use glue_stack::scene::{self, s};

const TOPIC: &str = "crowd/news";
const TYPE: &str = "text";

struct Crowd {
    world: World<Engine>,
    nodes: Vec<NodeId>,
    /// Peers that came up, and went down, at all of them together.
    ups: Rc<RefCell<usize>>,
    downs: Rc<RefCell<Vec<(NodeId, Instant)>>>,
    deliveries: Rc<RefCell<usize>>,
}

impl Crowd {
    /// `count` endpoints that start within `time`, each at some moment of its own.
    fn join(seed: u64, count: usize, time: Duration) -> Self {
        let mut rng = Rng::new(seed ^ 0xc0de);
        let mut world = World::new(seed);
        world.keep_events(false);
        let (ups, deliveries) = (Rc::<RefCell<usize>>::default(), Rc::<RefCell<usize>>::default());
        let downs = Rc::<RefCell<Vec<_>>>::default();
        let seen = (Rc::clone(&ups), Rc::clone(&downs), Rc::clone(&deliveries));
        world.observe(move |node, now, event: &Event| match event {
            Event::Discovery(glue_discovery::Event::PeerUp { .. }) => *seen.0.borrow_mut() += 1,
            Event::Discovery(glue_discovery::Event::PeerDown { .. }) => seen.1.borrow_mut().push((node, now)),
            Event::Delivery(_) => *seen.2.borrow_mut() += 1,
            _ => {}
        });
        let mut starts: Vec<u64> =
            (0..count).map(|_| rng.below(u64::try_from(time.as_nanos()).expect("short"))).collect();
        starts.sort_unstable();
        let nodes = starts.into_iter().zip(1..).map(|(start, number)| {
            world.run_until(Instant::from_nanos(start));
            world.add_node(Host::default(), move |context| {
                let mut engine = scene::engine(EndpointId::from_integer(number), &context, |config| config);
                engine.subscribe(TOPIC, TYPE).expect("a good topic");
                engine
            })
        });
        let nodes = nodes.collect();
        Self { world, nodes, ups, downs, deliveries }
    }

    fn pairs(&self) -> usize {
        self.nodes.len() * (self.nodes.len() - 1)
    }

    /// How many were sent by all, in all.
    fn announcements(&self) -> u64 {
        let sent = |node: &NodeId| self.world.node(*node).expect("it runs").report().discovery.announcements_sent;
        self.nodes.iter().map(sent).sum()
    }

    /// They know each other's topics too.
    fn publish_to_all(&mut self) {
        let first = *self.nodes.first().expect("one of them");
        let published = self.world.call(first, |engine, now| {
            let publication = engine.publication(TOPIC, TYPE).expect("a good topic");
            engine.publish(now, publication, s(10), &b"news"[..]).expect("a good message")
        });
        assert_eq!(published, Some(Some(1)));
        self.world.run_for(s(1));
        assert_eq!(*self.deliveries.borrow(), self.nodes.len(), "its own subscription among them");
    }
}

/// Endpoints that start within a second all know all within five, and then each sends at most 200 bytes a second.
fn find_each_other_and_are_quiet(seed: u64, count: usize, quiet: Duration) {
    let mut crowd = Crowd::join(seed, count, s(1));
    let pairs = crowd.pairs();
    let ups = Rc::clone(&crowd.ups);
    assert!(crowd.world.run_until_true(s(4), |_| *ups.borrow() == pairs), "{} of {pairs}", ups.borrow());
    let met = crowd.world.now();
    // All know the size of the group when they next announce, and keep to its interval from then on.
    crowd.world.run_for(s(5));
    let (before, sent) = (crowd.world.stats(), crowd.announcements());
    crowd.world.run_for(quiet);
    let after = crowd.world.stats();
    let share = |bytes: u64| bytes as f64 / quiet.as_secs_f64() / count as f64;
    let (sends, hears) =
        (share(after.sent_bytes - before.sent_bytes), share(after.delivered_bytes - before.delivered_bytes));
    eprintln!("{count} met after {met:?}; each sends {sends:.0} B/s and hears {hears:.0} B/s");
    assert!(sends <= 200.0, "each sends {sends} B/s");
    assert_eq!(after.sent - before.sent, crowd.announcements() - sent, "nothing but announcements");
    assert_eq!(crowd.downs.borrow().len(), 0, "nobody was lost for a moment");
    crowd.publish_to_all();
}

#[test]
fn a_hundred_find_each_other_and_are_quiet() {
    check("a_hundred_find_each_other_and_are_quiet", scene::kept(2), |seed| {
        find_each_other_and_are_quiet(seed, 100, s(30));
    });
}

#[test]
#[ignore = "a minute; the sweep runs it"]
fn five_hundred_find_each_other_and_are_quiet() {
    check("five_hundred_find_each_other_and_are_quiet", scene::kept(1), |seed| {
        find_each_other_and_are_quiet(seed, 500, s(30));
    });
}

/// Who is killed is missed by all others within three seconds, in the largest group of ordinary size.
fn a_death_among_32(seed: u64) {
    let mut crowd = Crowd::join(seed, 32, s(1));
    let mut rng = Rng::new(seed);
    crowd.world.run_for(s(5) + Duration::from_millis(rng.below(1_500)));
    let dead = crowd.nodes.remove(usize::try_from(rng.below(32)).expect("small"));
    let died = crowd.world.now();
    crowd.world.crash(dead);
    crowd.world.run_for(s(4));
    let downs = crowd.downs.borrow();
    assert_eq!(downs.iter().map(|(node, _)| *node).collect::<BTreeSet<_>>(), crowd.nodes.iter().copied().collect());
    assert!(downs.iter().all(|(_, at)| at.since(died) <= s(3)), "{downs:?} after {died:?}");
}

#[test]
fn a_death_among_32_is_seen_within_three_seconds() {
    check("a_death_among_32_is_seen_within_three_seconds", scene::kept(20), a_death_among_32);
}
