//! How soon a death is seen, and how often one is that did not happen, where a tenth of all datagrams is lost.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use glue_discovery::Event::PeerDown;
use glue_endpoint::{Engine, Event};
use glue_net::{EndpointId, Instant, Rng};
use glue_sim::{Host, Link, NodeId, World, check};
use glue_stack::scene::{self, kept, ms, s};

/// Endpoints that say nothing but that they are there.
fn idle(seed: u64, count: usize, loss: f64) -> (World<Engine>, Vec<NodeId>) {
    let mut world = World::new(seed);
    world.set_default_link(Link::lossy(loss).latency(ms(2)).jitter(ms(3)));
    let nodes = (1..).take(count).map(|number| {
        world.add_node(Host::default(), move |context| {
            scene::engine(EndpointId::from_integer(number), &context, |config| config)
        })
    });
    let nodes = nodes.collect();
    (world, nodes)
}

/// Peers that went down at others, when, and how many at each that are there.
#[derive(Default)]
struct Changes {
    downs: Vec<(NodeId, Instant, EndpointId)>,
    there: BTreeMap<NodeId, usize>,
}

fn changes(world: &mut World<Engine>) -> Changes {
    let mut changes = Changes::default();
    for node in world.nodes() {
        for (at, event) in world.take_events(node) {
            if let Event::Discovery(PeerDown { id, .. }) = event {
                changes.downs.push((node, at, id));
            }
        }
        let there = world.node(node).map_or(0, |engine| engine.peers().count());
        changes.there.insert(node, there);
    }
    changes
}

/// Kills one of `count`; how long each of the others takes to see it.
fn kill_one(seed: u64, count: usize, loss: f64) -> Vec<Duration> {
    let (mut world, nodes) = idle(seed, count, loss);
    let mut rng = Rng::new(seed ^ 0xdead);
    // Until all have met, and then to some moment between two announcements.
    let has_met = |world: &World<Engine>| {
        nodes.iter().all(|node| world.node(*node).is_some_and(|it| it.peers().count() == count - 1))
    };
    assert!(world.run_until_true(s(120), has_met), "not all have met");
    world.run_for(s(3) + Duration::from_micros(rng.below(1_000_000)));
    assert!(world.run_until_true(s(120), has_met), "not all are there");
    changes(&mut world);
    let dead = *nodes.get(usize::try_from(rng.below(count as u64)).expect("small")).expect("one of them");
    let (died, id) = (world.now(), EndpointId::from_integer(i64::try_from(dead.index()).expect("small") + 1));
    world.crash(dead);
    world.run_for(s(12));
    let mut seen = BTreeMap::new();
    for (node, at, down) in changes(&mut world).downs {
        if down == id {
            seen.entry(node).or_insert_with(|| at.since(died));
        }
    }
    assert_eq!(seen.len(), count - 1, "all others see it at last");
    seen.into_values().collect()
}

/// The value that so many percent are not above.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    *sorted.get((sorted.len() * percent).div_ceil(100) - 1).expect("there are some")
}

/// Deaths over all seeds: p50, p99, most.
fn see_deaths(name: &str, seeds: u64, count: usize, loss: f64) -> [Duration; 3] {
    let all = Mutex::new(Vec::new());
    check(name, kept(seeds), |seed| {
        let seen = kill_one(seed, count, loss);
        all.lock().unwrap_or_else(PoisonError::into_inner).extend(seen);
    });
    let mut all = all.into_inner().unwrap_or_else(PoisonError::into_inner);
    all.sort_unstable();
    let figures = [percentile(&all, 50), percentile(&all, 99), percentile(&all, 100)];
    let [p50, p99, most] = figures;
    eprintln!("{count} endpoints, {loss} lost: {} deaths seen, p50 {p50:?}, p99 {p99:?}, most {most:?}", all.len());
    figures
}

#[test]
fn a_death_is_seen_within_three_seconds_at_a_tenth_lost() {
    for count in [2, 8, 24] {
        let [p50, p99, _] = see_deaths("a_death_is_seen_within_three_seconds_at_a_tenth_lost", 100, count, 0.1);
        assert!(p99 <= s(3), "p99 {p99:?}");
        // Who announces each second and is given two is not given up sooner than after about one.
        assert!(p50 >= ms(900), "p50 {p50:?}");
    }
}

/// Deaths that endpoints are told of, while all live, in `hours` of a group; and the endpoint-days that these are.
fn live(seed: u64, count: usize, hours: u64, loss: f64) -> (u64, f64) {
    let (mut world, _) = idle(seed, count, loss);
    // They meet first.
    world.run_for(s(30));
    changes(&mut world);
    let mut false_deaths = 0;
    for _ in 0..hours * 6 {
        world.run_for(s(600));
        false_deaths += changes(&mut world).downs.len() as u64;
    }
    (false_deaths, count as f64 * hours as f64 / 24.0)
}

/// All seeds together.
fn count_false_deaths(name: &str, seeds: u64, hours: u64, loss: f64) -> (u64, f64) {
    let all = Mutex::new((0, 0.0));
    check(name, kept(seeds), |seed| {
        let (deaths, days) = live(seed, 8, hours, loss);
        let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
        *all = (all.0 + deaths, all.1 + days);
    });
    let (deaths, days) = all.into_inner().unwrap_or_else(PoisonError::into_inner);
    eprintln!("8 idle endpoints, {loss} lost: {deaths} false deaths in {days:.1} endpoint-days");
    (deaths, days)
}

#[test]
fn the_living_are_not_given_up_at_a_tenth_lost() {
    let (deaths, days) = count_false_deaths("the_living_are_not_given_up_at_a_tenth_lost", 6, 2, 0.1);
    assert!(deaths as f64 <= days, "{deaths} in {days} endpoint-days");
}

/// The count counts: where two thirds are lost, many are given up.
#[test]
fn a_worse_network_has_false_deaths_and_they_are_counted() {
    let (deaths, days) = live(1, 8, 1, 0.66);
    assert!(deaths as f64 > 100.0 * days, "{deaths} in {days} endpoint-days");
    let seen = see_deaths("a_worse_network_has_false_deaths_and_they_are_counted", 3, 4, 0.0);
    assert!(seen[2] <= ms(2_300), "{seen:?}");
}

/// As above for long: `GLUE_SEEDS=60 cargo test --release -p glue-stack --test deaths -- --ignored --nocapture`.
#[test]
#[ignore = "minutes of endpoint-days"]
fn the_living_are_not_given_up_in_many_days() {
    let (deaths, days) = count_false_deaths("the_living_are_not_given_up_in_many_days", 20, 6, 0.1);
    assert!(deaths as f64 <= days, "{deaths} in {days} endpoint-days");
    let figures = see_deaths("the_living_are_not_given_up_in_many_days", 20, 8, 0.1);
    assert!(figures[1] <= s(3), "{figures:?}");
}
