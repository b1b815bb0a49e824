//! History for those who join late, with whole engines, over many seeds.

use std::time::Duration;

use glue_endpoint::History;
use glue_sim::{Link, check};
use glue_stack::late::{Late, LatePlan};
use glue_stack::scene::kept;

fn plan(seed: u64, rough: bool) -> LatePlan {
    let history = match seed % 4 {
        0 => History::All { max_bytes: 4 << 20 },
        1 => History::Last(8),
        2 => History::Last(100),
        _ => History::Retained,
    };
    LatePlan { history, joins: 200, rough }
}

/// A loss of 0, 5, 20 or 40 %, duplicates and overtaking.
fn link(seed: u64) -> Link {
    let loss = match seed / 4 % 4 {
        0 => 0.0,
        1 => 0.05,
        2 => 0.2,
        _ => 0.4,
    };
    let (latency, jitter) = (Duration::from_millis(1), Duration::from_millis(2));
    Link::lossy(loss).latency(latency).jitter(jitter).duplicate(0.05).reorder(0.1, Duration::from_millis(5))
}

#[test]
fn who_joins_late_gets_what_is_kept_and_then_what_is_live() {
    check("who_joins_late_gets_what_is_kept_and_then_what_is_live", kept(32), |seed| {
        let tally = Late::new(seed, link(seed), plan(seed, false)).run();
        assert!(tally.joins == 200 && tally.delivered > 500 && tally.history > 30, "{tally:?}");
    });
}

#[test]
fn who_comes_back_goes_on_and_a_new_life_begins_anew() {
    check("who_comes_back_goes_on_and_a_new_life_begins_anew", kept(32), |seed| {
        let tally = Late::new(seed, link(seed), plan(seed, true)).run();
        assert!(tally.joins == 200 && tally.delivered > 500, "{tally:?}");
    });
}
