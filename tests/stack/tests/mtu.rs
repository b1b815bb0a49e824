//! Paths of many lengths, and such that become shorter, under whole engines.

use std::cell::Cell;
use std::rc::Rc;

use glue_sim::{Link, check};
use glue_stack::scene::{kept, ms, s};
use glue_stack::{Cluster, Plan};

/// Two endpoints that have met, on a path that carries datagrams of `path` bytes.
fn pair(seed: u64, interface_mtu: u32, link: &Link) -> Cluster {
    // Large and small, so that there are bundles as well as pieces.
    let plan = Plan { interface_mtu, interval: ms(2), max_size: 4_000, ..Plan::default() };
    let mut cluster = Cluster::new(seed, 2, plan);
    cluster.world.set_default_link(link.clone());
    cluster.meet(s(120));
    cluster
}

fn datagram_bytes(cluster: &mut Cluster) -> [usize; 2] {
    [cluster.stats(0, 1).datagram_bytes, cluster.stats(1, 0).datagram_bytes]
}

/// The longest datagram that was sent since this was asked last.
fn longest(cluster: &mut Cluster) -> Rc<Cell<usize>> {
    let longest = Rc::new(Cell::new(0));
    let seen = Rc::clone(&longest);
    cluster.world.trace(move |record| seen.set(seen.get().max(record.datagram.len())));
    longest
}

#[test]
fn what_the_path_carries_is_used_within_four_round_trips() {
    for (interface_mtu, bytes) in [(1_280, 1_252), (1_500, 1_472), (9_000, 8_972)] {
        let link = Link::perfect().latency(ms(5)).mtu(bytes);
        let mut cluster = pair(1, interface_mtu, &link);
        let longest = longest(&mut cluster);
        cluster.publish_for(ms(40));
        assert_eq!(datagram_bytes(&mut cluster), [bytes, bytes]);
        // Bundles and pieces follow.
        for (size, slack) in [(300, 98 + 32 + 310), (30_000, 20)] {
            longest.set(0);
            (0..200).for_each(|_| assert!(cluster.publish(0, size)));
            cluster.run(s(1));
            assert!((bytes - slack..=bytes).contains(&longest.get()), "{} of {bytes} at {size}", longest.get());
        }
        cluster.run(s(1));
        cluster.assert_complete(&[0, 1], &[(0, 1), (1, 1)]);
        let stats = cluster.stats(0, 1);
        assert_eq!((stats.mtu_probes, stats.packets_lost, stats.black_holes), (1, 0, 0));
    }
}

#[test]
fn a_path_that_becomes_shorter_loses_nothing() {
    check("a_path_that_becomes_shorter_loses_nothing", kept(16), |seed| {
        let loss = if seed % 2 == 0 { 0.0 } else { 0.05 };
        let link = Link::lossy(loss).latency(ms(1 + seed % 20)).jitter(ms(1));
        let (mtu, before) = if seed % 3 == 0 { (9_000, 8_972) } else { (1_500, 1_472) };
        let mut cluster = pair(seed, mtu, &link.clone().mtu(before));
        cluster.publish_for(s(1));
        assert_eq!(datagram_bytes(&mut cluster), [before, before]);
        cluster.world.set_default_link(link.mtu(1_252));
        // What is published now has arrived a second after the change.
        cluster.publish_for(ms(100));
        cluster.run(ms(900));
        cluster.assert_complete(&[0, 1], &[(0, 1), (1, 1)]);
        assert_eq!(datagram_bytes(&mut cluster), [1_200, 1_200]);
        let longest = longest(&mut cluster);
        cluster.publish_for(s(5));
        assert!(longest.get() <= 1_200, "{}", longest.get());
        // Later the search finds what is to be had.
        cluster.run(s(5));
        cluster.publish_for(s(10));
        cluster.run(s(5));
        assert!(datagram_bytes(&mut cluster).iter().all(|bytes| (1_212..=1_252).contains(bytes)));
        cluster.assert_complete(&[0, 1], &[(0, 1), (1, 1)]);
        assert_eq!((cluster.books.missed, cluster.stats(0, 1).black_holes), (0, 1));
    });
}

#[test]
fn a_fifth_lost_at_random_is_no_black_hole() {
    check("a_fifth_lost_at_random_is_no_black_hole", kept(8), |seed| {
        let link = Link::lossy(0.2).latency(ms(5)).jitter(ms(1)).mtu(1_472);
        let mut cluster = pair(seed, 1_500, &link);
        let mut at_base = 0;
        for _ in 0..60 {
            cluster.publish_for(ms(500));
            at_base += datagram_bytes(&mut cluster).iter().filter(|bytes| **bytes == 1_200).count();
        }
        // Each direction may be wrong once, for the pause after a black hole.
        assert!(at_base <= 42, "for {at_base} of 120 half seconds at the base: {:?}", cluster.stats(0, 1));
        assert!(datagram_bytes(&mut cluster).iter().all(|bytes| *bytes >= 1_400));
        cluster.run(s(30));
        cluster.assert_complete(&[0, 1], &[(0, 1), (1, 1)]);
    });
}
