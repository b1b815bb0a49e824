//! Whoever holds a message brings it: partitions of every shape, with publishers that die meanwhile, over many seeds.

use std::time::Duration;

use glue_sim::{Link, check};
use glue_stack::partition::{Outcome, PartitionPlan, Shape, run};
use glue_stack::scene::{kept, ms, s};

/// Losses of 0, 5 and 20 %, and how long what is lost after the heal may hold it up. A datagram that starts a session
/// again, or brings a catalogue, is sent again after up to 500 ms, like any other; three in a row are lost in one of 1,000
/// cases at the higher loss.
const LOSSES: [(f64, Duration); 3] = [(0.0, ms(0)), (0.05, ms(1_000)), (0.2, ms(3_000))];

fn link(loss: f64) -> Link {
    Link::lossy(loss).latency(ms(1)).jitter(ms(2)).duplicate(0.05).reorder(0.1, ms(5))
}

fn heals(seed: u64, shape: Shape, dies: bool) -> Outcome {
    let (loss, repair) = LOSSES[usize::try_from(seed % 3).unwrap()];
    let outcome = run(seed, PartitionPlan { shape, dies, link: link(loss), expiry: s(600) });
    if std::env::var_os("GLUE_LOG").is_some() {
        println!("{seed} {shape:?} {loss} {outcome:?}");
    }
    assert_eq!(outcome.missed, 0, "0 unexpired messages are lost while a cache lives");
    let limit = 2 * outcome.transfer + s(1) + repair;
    assert!(outcome.converged <= limit, "{shape:?}, {loss} lost: {outcome:?}");
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
        let shape = Shape::ALL[usize::try_from(seed % 6).unwrap()];
        // Some of it expires, and all that is published is delivered or told; more than that `run` checks by itself.
        let expiry = ms(500 + seed / 6 % 5 * 1_000);
        let _ = run(
            seed,
            PartitionPlan {
                shape,
                dies: seed % 2 == 0,
                link: link(LOSSES[usize::try_from(seed / 6 % 3).unwrap()].0),
                expiry,
            },
        );
    });
}

#[test]
fn half_of_all_datagrams_may_be_lost_meanwhile() {
    check("half_of_all_datagrams_may_be_lost_meanwhile", kept(32), |seed| {
        let shape = Shape::ALL[usize::try_from(seed % 6).unwrap()];
        let outcome = run(seed, PartitionPlan { shape, dies: seed % 2 == 0, link: link(0.5), expiry: s(600) });
        assert_eq!(outcome.missed, 0);
    });
}
