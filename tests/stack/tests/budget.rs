//! The memory budget, and peers that take nothing: they harm nobody, and lose nothing silently.

use std::sync::OnceLock;
use std::time::Duration;

use glue_endpoint::{Config, Pace};
use glue_sim::Link;
use glue_stack::scene::{ms, s};
use glue_stack::{Cluster, Plan, assert_within};

fn plan() -> Plan {
    Plan { memory_bytes: Config::LEAST_MEMORY_BUDGET, ..Plan::default() }
}

/// Links that a publisher can fill, and a queue that is full soon.
fn cluster(seed: u64, count: usize, plan: Plan, rate: u64) -> Cluster {
    let mut cluster = Cluster::new(seed, count, plan);
    cluster.meet(s(10));
    cluster.world.set_default_link(Link::perfect().rate(rate, 256 << 10));
    cluster
}

/// What each of the readers got.
fn delivered(cluster: &Cluster, readers: std::ops::Range<usize>) -> Vec<u64> {
    readers.map(|index| cluster.books.delivered_to(cluster.reader(index))).collect()
}

/// A publisher with eight subscribers, the last of which does something for 6 of 10 s. Returns what the others got.
fn flooded(seed: u64, begin: impl Fn(&mut Cluster), end: impl Fn(&mut Cluster)) -> (Cluster, Vec<u64>) {
    let mut cluster = cluster(seed, 9, plan(), 4_000_000);
    cluster.flood(0, 1_000, s(2));
    begin(&mut cluster);
    cluster.flood(0, 1_000, s(6));
    end(&mut cluster);
    cluster.flood(0, 1_000, s(2));
    let healthy = delivered(&cluster, 1..8);
    (cluster, healthy)
}

/// What they get when nothing happens.
fn undisturbed() -> &'static [u64] {
    static GOT: OnceLock<Vec<u64>> = OnceLock::new();
    GOT.get_or_init(|| flooded(SEED, |_| (), |_| ()).1)
}

fn assert_unharmed(healthy: &[u64]) {
    for (got, before) in healthy.iter().zip(undisturbed()) {
        assert!(*before > 30_000 && *got as f64 >= *before as f64 * 0.95, "{got} of {before}");
    }
}

#[test]
fn a_stopped_subscriber_harms_nobody_and_goes_on_with_counted_gaps() {
    let node = |cluster: &Cluster| cluster.members[8].node;
    let (mut cluster, healthy) =
        flooded(SEED, |cluster| cluster.world.freeze(node(cluster)), |cluster| cluster.world.thaw(node(cluster)));
    assert_unharmed(&healthy);
    println!("{healthy:?} messages, {:?} with eight healthy subscribers", undisturbed());
    cluster.run(s(10));
    // All of it, as messages or as gaps that are told: the books have checked that they follow each other.
    cluster.assert_complete(&[1, 2, 3, 4, 5, 6, 7, 8], &[(0, 1)]);
    let (published, report) = (cluster.books.count(&cluster.stream(0)), cluster.report(0));
    let got = cluster.books.delivered_to(cluster.reader(8));
    assert_eq!(cluster.books.missed, published - got);
    assert!(report.topics.skipped == published - got && published - got > 10_000, "{report:?}");
    assert_eq!((report.endpoint.peers_isolated, report.endpoint.queues_dropped), (1, 0));
    let id = cluster.members[8].id;
    let recovered = Pace::Recovered { missed: published - got };
    assert_eq!(cluster.paces, [(0, id, Pace::Isolated), (0, id, recovered)]);
    // It is served like everybody else again.
    cluster.flood(0, 1_000, s(1));
    cluster.run(s(2));
    assert_eq!(cluster.books.missed, published - got);
}

#[test]
fn who_runs_again_is_not_waited_for_in_the_life_before() {
    let mut cluster = cluster(SEED, 2, plan(), 4_000_000);
    cluster.world.isolate(cluster.members[1].node);
    cluster.run(s(5));
    for _ in 0..1_000 {
        assert!(cluster.publish(0, 1_000));
    }
    let queued = |cluster: &Cluster| cluster.world.node(cluster.members[0].node).unwrap().memory().bundles;
    cluster.run(s(1));
    assert!(queued(&cluster) > 1_000_000);
    cluster.restart(1);
    cluster.world.heal();
    cluster.run(s(2));
    assert_eq!(queued(&cluster), 0);
}

#[test]
fn an_application_that_takes_nothing_harms_nobody() {
    let (mut cluster, healthy) = flooded(SEED, |cluster| cluster.stop_reading(8), |cluster| cluster.go_on_reading(8));
    assert_unharmed(&healthy);
    cluster.run(s(10));
    cluster.assert_complete(&[1, 2, 3, 4, 5, 6, 7, 8], &[(0, 1)]);
    assert_eq!(cluster.report(0).endpoint.peers_isolated, 1);
    assert!(cluster.books.missed > 10_000);
}

#[test]
fn a_killed_subscriber_harms_nobody() {
    let (mut cluster, healthy) = flooded(SEED, |cluster| cluster.world.crash(cluster.members[8].node), |_| ());
    assert_unharmed(&healthy);
    cluster.run(s(5));
    cluster.assert_complete(&[1, 2, 3, 4, 5, 6, 7], &[(0, 1)]);
    assert_eq!(cluster.books.missed, 0);
}

#[test]
fn several_that_stop_one_after_another_are_waited_for_once() {
    let mut cluster = cluster(SEED, 9, plan(), 10_000_000);
    cluster.flood(0, 1_000, s(1));
    let (mut last, mut longest) = (cluster.world.now(), Duration::ZERO);
    for tick in 0..750 {
        if tick % 25 == 0 && tick / 25 < 7 {
            cluster.world.freeze(cluster.members[2 + tick / 25].node);
        }
        if cluster.publish(0, 1_000) {
            while cluster.publish(0, 1_000) {}
            longest = longest.max(cluster.world.now().since(last));
            last = cluster.world.now();
        }
        cluster.run(ms(2));
    }
    println!("publishers waited for {longest:?} at most");
    // As long as for one, and until it is noticed: the seven were stopped within 350 ms.
    assert!(longest > ms(100) && longest < ms(300), "{longest:?}");
    assert_eq!(cluster.report(0).endpoint.peers_isolated, 7);
}

#[test]
fn a_message_that_needs_the_memory_gets_it_from_who_is_out_of_reach() {
    let mut cluster = cluster(SEED, 3, plan(), 10_000_000);
    cluster.world.isolate(cluster.members[2].node);
    // It expires.
    cluster.run(s(4));
    cluster.flood(0, 1_000, s(2));
    let before = cluster.report(0);
    assert!(before.memory.bundles > 2 << 20 && before.topics.skipped > 0, "{before:?}");
    // The largest message, of what two eighths of the budget can not hold beside that.
    let (size, mut waits) = (8 << 20, 0);
    while !cluster.publish(0, size) {
        cluster.run(ms(2));
        waits += 1;
    }
    assert!(waits < 500, "{waits} turns");
    cluster.run(s(3));
    assert!(cluster.publish(0, size));
    cluster.run(s(3));
    let report = cluster.report(0).endpoint;
    assert_eq!((report.queues_dropped, report.peers_isolated), (1, 0), "{report:?}");
    assert!(report.payloads_dropped > 100);
    cluster.assert_complete(&[1], &[(0, 1)]);
    cluster.world.heal();
    cluster.run(s(20));
    cluster.publish(0, 100);
    cluster.run(s(2));
    cluster.assert_complete(&[1, 2], &[(0, 1)]);
}

#[test]
fn a_subscriber_that_takes_nothing_for_long_loses_its_queue_and_can_come_back() {
    let mut cluster = cluster(3, 3, Plan { expiry: s(600), ..plan() }, 4_000_000);
    cluster.stop_reading(2);
    cluster.flood(0, 1_000, s(2));
    let before = cluster.report(0);
    assert_eq!((before.endpoint.peers_isolated, before.endpoint.peers_disconnected), (1, 0));
    assert!(before.memory.bundles > 500 << 10, "{before:?}");
    cluster.run(s(62));
    let after = cluster.report(0);
    assert_eq!((after.endpoint.peers_disconnected, after.endpoint.queues_dropped), (1, 1));
    assert!(after.memory.bundles < 100 << 10, "{after:?}");
    cluster.publish(0, 1_000);
    cluster.go_on_reading(2);
    cluster.run(s(5));
    let id = cluster.members[2].id;
    assert_eq!(cluster.paces[..2], [(0, id, Pace::Isolated), (0, id, Pace::Disconnected)]);
    assert!(matches!(cluster.paces[2..], [(0, other, Pace::Recovered { .. })] if other == id), "{:?}", cluster.paces);
    cluster.publish(0, 1_000);
    cluster.run(s(1));
    cluster.assert_complete(&[1, 2], &[(0, 1)]);
    assert_eq!(cluster.books.delivered_to(cluster.reader(1)), cluster.books.count(&cluster.stream(0)));
}

#[test]
fn a_slow_link_is_waited_for_and_loses_nothing() {
    let mut cluster = cluster(4, 3, plan(), 4_000_000);
    let nodes = [cluster.members[0].node, cluster.members[2].node];
    cluster.world.set_link(nodes[0], nodes[1], Link::perfect().rate(200_000, 64 << 10).latency(ms(20)));
    cluster.flood(0, 1_000, s(20));
    cluster.run(s(20));
    cluster.assert_complete(&[1, 2], &[(0, 1)]);
    assert_eq!((cluster.books.missed, cluster.report(0).endpoint.peers_isolated), (0, 0));
    assert!(cluster.report(0).endpoint.publishes_held_back > 0);
}

#[test]
fn a_link_that_trickles_is_waited_for_no_longer_than_said() {
    let mut cluster = cluster(5, 3, plan(), 4_000_000);
    let nodes = [cluster.members[0].node, cluster.members[2].node];
    cluster.world.set_link(nodes[0], nodes[1], Link::perfect().rate(10_000, 64 << 10).latency(ms(20)));
    cluster.flood(0, 1_000, s(40));
    assert_eq!(cluster.report(0).endpoint.peers_isolated, 1);
    // 4 MB/s for the last 9 s at least.
    assert!(cluster.books.delivered_to(cluster.reader(1)) > 30_000);
}

#[test]
fn open_bundles_of_many_topics_do_not_fill_the_memory() {
    let mut cluster = cluster(SEED, 2, plan(), 10_000_000);
    cluster.world.isolate(cluster.members[1].node);
    cluster.run(s(4));
    let node = cluster.members[0].node;
    for round in 0..4 {
        for topic in 0..12_000 {
            let published = cluster.world.call(node, |engine, now| {
                let id = engine.publication(&format!("many-{topic}"), "").unwrap();
                engine.publish(now, id, s(60), &[round; 900]).unwrap()
            });
            assert!(
                published.flatten().is_some(),
                "nobody is there to be waited for: {round} {topic} {:?}",
                cluster.report(0)
            );
            assert_within(&cluster.report(0).memory);
        }
    }
    assert!(cluster.report(0).topics.skipped > 20_000, "{:?}", cluster.report(0));
}

#[test]
fn twenty_endpoints_stay_within_a_small_budget() {
    let mut cluster = cluster(6, 20, plan(), 200_000);
    cluster.stop_reading(19);
    for _ in 0..100 {
        for index in 0..20 {
            // Of all sizes: small ones, and what is cut.
            let size = [100, 1_000, 20_000, 300_000][index % 4];
            for _ in 0..20 {
                cluster.publish(index, size);
            }
        }
        cluster.run(ms(20));
    }
    for index in 0..20 {
        let memory = cluster.report(index).memory;
        println!("{index}: {memory:?}");
        assert!(memory.peak > 1 << 20);
    }
    cluster.go_on_reading(19);
    cluster.run(s(60));
    let all: Vec<usize> = (0..20).collect();
    let streams: Vec<_> = all.iter().map(|index| (*index, 1)).collect();
    cluster.assert_complete(&all, &streams);
}

const SEED: u64 = 1;
