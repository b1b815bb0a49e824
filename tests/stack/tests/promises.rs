//! DESIGN's promises, over many seeds.

use glue_sim::{Link, check};
use glue_stack::scene::{kept, ms, rough, s};
use glue_stack::{Cluster, Plan};

/// 3 or 8 endpoints.
fn size(seed: u64) -> usize {
    if seed % 8 < 4 { 3 } else { 8 }
}

/// All publishers' next sequence numbers: what is published from now on.
fn from_now(cluster: &Cluster) -> Vec<(usize, u64)> {
    (0..cluster.members.len()).map(|index| (index, cluster.books.count(&cluster.stream(index)) + 1)).collect()
}

#[test]
fn everything_arrives_once_and_in_order() {
    check("everything_arrives_once_and_in_order", kept(64), |seed| {
        let mut cluster = Cluster::new(seed, size(seed), Plan::default());
        cluster.world.set_default_link(rough(seed));
        cluster.meet(s(120));
        let from = from_now(&cluster);
        cluster.publish_for(s(5));
        cluster.run(s(30));
        let all: Vec<usize> = (0..cluster.members.len()).collect();
        cluster.assert_complete(&all, &from);
        assert_eq!(cluster.books.missed, 0);
        assert!(cluster.books.delivered >= 100 * (all.len() * all.len()) as u64);
    });
}

#[test]
fn a_partition_loses_nothing_that_is_unexpired() {
    check("a_partition_loses_nothing_that_is_unexpired", kept(64), |seed| {
        let mut cluster = Cluster::new(seed, size(seed), Plan::default());
        cluster.world.set_default_link(rough(seed));
        cluster.meet(s(120));
        let from = from_now(&cluster);
        cluster.publish_for(s(1));
        let nodes: Vec<_> = cluster.members.iter().map(|member| member.node).collect();
        let (left, right) = nodes.split_at(nodes.len() / 2);
        cluster.world.partition(&[left.to_vec(), right.to_vec()]);
        cluster.publish_for(s(5));
        cluster.world.heal();
        cluster.publish_for(s(1));
        cluster.run(s(30));
        let all: Vec<usize> = (0..nodes.len()).collect();
        cluster.assert_complete(&all, &from);
        assert_eq!(cluster.books.missed, 0);
    });
}

#[test]
fn a_restart_harms_nobody_else() {
    check("a_restart_harms_nobody_else", kept(64), |seed| {
        let mut cluster = Cluster::new(seed, size(seed), Plan::default());
        cluster.world.set_default_link(rough(seed));
        cluster.meet(s(120));
        let from = from_now(&cluster);
        cluster.publish_for(s(2));
        cluster.restart(0);
        cluster.publish_for(s(2));
        cluster.meet(s(120));
        let later = from_now(&cluster);
        cluster.publish_for(s(2));
        cluster.run(s(30));
        let others: Vec<usize> = (1..cluster.members.len()).collect();
        cluster.assert_complete(&others, &from[1..]);
        let all: Vec<usize> = (0..cluster.members.len()).collect();
        cluster.assert_complete(&all, &later);
    });
}

#[test]
fn what_expires_is_a_gap_and_never_comes_late() {
    check("what_expires_is_a_gap_and_never_comes_late", kept(64), |seed| {
        let plan = Plan { expiry: ms(200), ..Plan::default() };
        let mut cluster = Cluster::new(seed, 3, plan);
        cluster.world.set_default_link(rough(seed));
        cluster.meet(s(120));
        let from = from_now(&cluster);
        cluster.publish_for(s(1));
        let node = cluster.members[1].node;
        cluster.world.isolate(node);
        cluster.publish_for(s(3));
        cluster.world.heal();
        cluster.publish_for(s(1));
        cluster.run(s(30));
        cluster.assert_complete(&[0, 1, 2], &from);
        assert!(cluster.books.missed > 100, "{}", cluster.books.missed);
    });
}

#[test]
fn a_mebibyte_arrives_intact_at_a_fifth_lost() {
    for seed in 0..8 {
        let mut cluster = Cluster::new(seed, 2, Plan::default());
        cluster.world.set_default_link(Link::lossy(0.2).latency(ms(1)).reorder(0.1, ms(5)));
        cluster.meet(s(120));
        assert!(cluster.publish(0, 1 << 20));
        cluster.run(s(20));
        cluster.assert_complete(&[0, 1], &[(0, 1)]);
        assert_eq!(cluster.books.delivered, 2);
    }
}

#[test]
fn large_messages_in_a_row_lose_nothing() {
    for seed in 0..3 {
        let mut cluster = Cluster::new(seed, 2, Plan { socket_bytes: 8 << 20, ..Plan::default() });
        cluster.world.set_default_link(Link::lossy(0.1).latency(ms(20)).reorder(0.1, ms(5)));
        cluster.meet(s(120));
        for _ in 0..40 {
            while !cluster.publish(0, 1 << 20) {
                cluster.run(ms(10));
            }
        }
        cluster.run(s(30));
        cluster.assert_complete(&[1], &[(0, 1)]);
        assert_eq!((cluster.books.delivered, cluster.books.missed), (80, 0));
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let hash = |seed| {
        let mut cluster = Cluster::new(seed, 3, Plan::default());
        cluster.world.set_default_link(rough(seed));
        cluster.meet(s(120));
        cluster.publish_for(s(2));
        cluster.world.trace_hash()
    };
    for seed in 0..8 {
        assert_eq!(hash(seed), hash(seed));
    }
    assert_ne!(hash(1), hash(5));
}
