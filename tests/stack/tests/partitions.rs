//! Whoever holds a message brings it: partitions of every shape, with publishers that die meanwhile, over many seeds.

use std::time::Duration;

use glue_sim::{Link, check};
use glue_stack::partition::{Outcome, PartitionPlan, Shape, run};
use glue_stack::scene::{kept, ms, s};

fn link(seed: u64) -> Link {
    let loss = [0.0, 0.05, 0.2][usize::try_from(seed % 3).unwrap()];
    Link::lossy(loss).latency(ms(1)).jitter(ms(2)).duplicate(0.05).reorder(0.1, ms(5))
}

fn heals(seed: u64, shape: Shape, dies: bool) -> Outcome {
    let outcome = run(seed, PartitionPlan { shape, dies, link: link(seed), expiry: s(600) });
    assert_eq!(outcome.missed, 0, "0 unexpired messages are lost while a cache lives");
    let limit = 2 * outcome.transfer + Duration::from_secs(1);
    assert!(outcome.converged <= limit, "{outcome:?}");
    outcome
}

#[test]
fn a_partition_of_any_shape_heals_from_whoever_lives() {
    check("a_partition_of_any_shape_heals_from_whoever_lives", kept(32), |seed| {
        for shape in Shape::ALL {
            let outcome = heals(seed, shape, true);
            if std::env::var_os("GLUE_LOG").is_some() {
                println!("{shape:?} {outcome:?}");
            }
        }
    });
}

#[test]
fn a_partition_of_any_shape_heals_while_all_live() {
    check("a_partition_of_any_shape_heals_while_all_live", kept(32), |seed| {
        for shape in Shape::ALL {
            heals(seed, shape, false);
        }
    });
}
