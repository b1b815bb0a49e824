//! Whoever holds a message brings it: partitions of every shape, with publishers that die meanwhile, over many seeds.

use std::time::Duration;

use glue_sim::{Link, check};
use glue_stack::partition::{Outcome, PartitionPlan, Shape, run};
use glue_stack::scene::{kept, ms, s};

/// What is lost, and how long what is lost after the heal may hold it up. A datagram that starts a session again, or brings a
/// catalogue, is sent again after up to 500 ms, like any other; at the higher loss three in a row are lost in one of 100 cases.
/// Without loss a sender that has just probed in vain when the network heals says hello up to 1 s later: that is the second
/// that the promise allows, and the look every 10 ms comes on top.
const fn repair(seed: u64) -> (f64, Duration) {
    match seed % 3 {
        0 => (0.0, ms(20)),
        1 => (0.05, s(1)),
        _ => (0.2, s(3)),
    }
}

/// One for each seed.
const fn shape(seed: u64) -> Shape {
    let [halves, thirds, isolated, one_way, flapping, other] = Shape::ALL;
    match seed % 6 {
        0 => halves,
        1 => thirds,
        2 => isolated,
        3 => one_way,
        4 => flapping,
        _ => other,
    }
}

fn link(loss: f64) -> Link {
    Link::lossy(loss).latency(ms(1)).jitter(ms(2)).duplicate(0.05).reorder(0.1, ms(5))
}

fn heals(seed: u64, shape: Shape, dies: bool) -> Outcome {
    let (loss, repair) = repair(seed);
    let outcome = run(seed, PartitionPlan { shape, dies, link: link(loss), expiry: s(600) });
    assert_eq!(outcome.missed, 0, "0 unexpired messages are lost while a cache lives");
    let limit = 2 * outcome.transfer + s(1) + repair;
    assert!(outcome.converged <= limit, "{shape:?}, {loss} lost: {outcome:?}");
    // The living hear each other's next announcement; the dead are given up after two intervals.
    let found = if dies { ms(2_100) } else { ms(1_100) };
    assert!(loss > 0.0 || outcome.found <= found, "{shape:?}: {outcome:?}");
    outcome
}

#[test]
fn a_partition_of_any_shape_heals_from_whoever_lives() {
    check("a_partition_of_any_shape_heals_from_whoever_lives", kept(32), |seed| {
        for shape in Shape::ALL {
            let outcome = heals(seed, shape, true);
            assert!(outcome.pulled > 0, "{shape:?}: nothing came from a cache");
        }
    });
}

#[test]
fn a_partition_of_any_shape_heals_while_all_live() {
    check("a_partition_of_any_shape_heals_while_all_live", kept(32), |seed| {
        for shape in Shape::ALL {
            let _ = heals(seed, shape, false);
        }
    });
}

#[test]
fn what_expires_in_a_partition_is_told() {
    check("what_expires_in_a_partition_is_told", kept(32), |seed| {
        // Some of it expires. That all is delivered or told, in order and once, `run` checks by itself.
        let (shape, dies, link) = (shape(seed), seed / 6 % 2 == 0, link(repair(seed / 12).0));
        let _ = run(seed, PartitionPlan { shape, dies, link, expiry: ms(500 + seed / 36 % 5 * 1_000) });
    });
}

#[test]
fn half_of_all_datagrams_may_be_lost_meanwhile() {
    check("half_of_all_datagrams_may_be_lost_meanwhile", kept(32), |seed| {
        let (shape, dies, link) = (shape(seed), seed / 6 % 2 == 0, link(0.5));
        let outcome = run(seed, PartitionPlan { shape, dies, link, expiry: s(600) });
        assert_eq!(outcome.missed, 0);
    });
}
