//! Receipts say who has a message, and never more than is true.

use std::time::Duration;

use glue_sim::{Link, check};
use glue_stack::scene::{kept, ms, s};
use glue_stack::{Cluster, Plan};

/// Members in all, the first of which publishes.
const MEMBERS: usize = 5;

fn cluster(seed: u64, expiry: Duration, link: Link) -> Cluster {
    let mut cluster = Cluster::new(seed, MEMBERS, Plan { expiry, ..Plan::default() });
    cluster.world.set_default_link(link);
    cluster.meet(s(120));
    cluster
}

/// Messages that the others got in all.
fn delivered(cluster: &Cluster) -> u64 {
    (1..MEMBERS).map(|index| cluster.books.delivered_to(cluster.reader(index))).sum()
}

#[test]
fn all_that_are_there_receive_it() {
    check("all_that_are_there_receive_it", kept(64), |seed| {
        let loss = [0.0, 0.05, 0.2, 0.5][usize::try_from(seed % 4).unwrap()];
        let mut cluster = cluster(seed, s(60), Link::lossy(loss).latency(ms(1)).jitter(ms(2)).duplicate(0.05));
        let sizes = [12, 100, 1_400, 5_000, 100_000];
        let receipts: Vec<_> = (0..20)
            .map(|n| {
                // Those beside it are not in its bundle.
                assert!(cluster.publish(0, 40));
                let receipt = cluster.publish_confirmed(0, sizes[n % sizes.len()]).unwrap();
                assert_eq!((receipt.interested(), receipt.received()), (4, 0), "nobody can have it yet");
                assert!(cluster.publish(0, 40));
                cluster.run(ms(1 + seed % 50));
                receipt
            })
            .collect();
        cluster.run(s(40));
        for receipt in receipts {
            assert!(receipt.is_settled() && receipt.received() == 4, "{receipt:?}");
        }
        cluster.assert_complete(&[0, 1, 2, 3, 4], &[(0, 1)]);
    });
}

#[test]
fn nobody_is_counted_who_does_not_have_it() {
    check("nobody_is_counted_who_does_not_have_it", kept(64), |seed| {
        let mut cluster = cluster(seed, ms(500), Link::lossy(0.1).latency(ms(5)));
        let nodes: Vec<_> = cluster.members.iter().map(|member| member.node).collect();
        let reached = 1 + usize::try_from(seed % 3).unwrap();
        let mut in_all = 0;
        for n in 0..12 {
            if n % 4 == 1 {
                let (near, far) = nodes.split_at(1 + reached);
                cluster.world.partition(&[near.to_vec(), far.to_vec()]);
            } else if n % 4 == 0 {
                cluster.world.heal();
                cluster.run(s(2));
            }
            let before = delivered(&cluster);
            let receipt = cluster.publish_confirmed(0, 12 + n * 700).unwrap();
            for _ in 0..300 {
                cluster.run(ms(10));
                assert!(u64::from(receipt.received()) <= delivered(&cluster) - before, "{receipt:?}");
            }
            assert!(receipt.is_settled(), "it expired long ago: {receipt:?}");
            assert!(receipt.received() <= receipt.interested() && receipt.interested() <= 4);
            in_all += receipt.received();
        }
        // Of each four messages one goes to all and three to those that are near; an ack may be lost until it is too late.
        let likely = u32::try_from(3 * (4 + 3 * reached)).unwrap();
        assert!(in_all > likely * 3 / 4 && in_all <= likely + 9, "{in_all} of {likely}");
    });
}

#[test]
fn a_peer_that_dies_settles_it() {
    check("a_peer_that_dies_settles_it", kept(64), |seed| {
        let mut cluster = cluster(seed, Duration::MAX, Link::perfect().latency(ms(1)));
        let dead = cluster.members[1].node;
        cluster.world.crash(dead);
        let receipt = cluster.publish_confirmed(0, 100).unwrap();
        cluster.run(ms(500));
        assert_eq!((receipt.interested(), receipt.received(), receipt.is_settled()), (4, 3, false));
        cluster.restart(1);
        cluster.run(s(30));
        assert!(receipt.is_settled() && receipt.received() == 3, "its next life never had it: {receipt:?}");
    });
}
