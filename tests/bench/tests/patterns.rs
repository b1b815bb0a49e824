//! What many topics and many filters cost. Measurements: `cargo test --release -p glue-bench --test patterns -- --ignored
//! --nocapture`.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use glue_bench::{Lan, Path, filters, topics};

/// What this thread has used of the processor, as of the last tick.
fn processor_time() -> Duration {
    let usage = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(usage.split_whitespace().next().unwrap().parse().unwrap())
}

/// What joining cost: bytes of all datagrams of both sides, and time of the processor.
fn join(topics: &[String], filters: &[String]) -> (usize, Duration, Lan) {
    let start = processor_time();
    let lan = Lan::crowded(1, Path::Network, topics, filters);
    let time = processor_time() - start;
    (lan.carried_bytes, time, lan)
}

#[test]
fn a_thousand_filters_cost_a_peer_that_joins_less_than_64_kib() {
    let (alone, _, _) = join(&[], &[]);
    let (crowded, _, mut lan) = join(&topics(1_000), &filters(1_000));
    assert!(crowded < 64 << 10, "{crowded} bytes in all");
    assert!(crowded - alone > 1_000 * "site/1/#".len(), "{crowded} bytes, {alone} without");
    // They are told once: what follows is announcements and what keeps the session.
    let before = lan.carried_bytes;
    lan.wait(Duration::from_secs(1));
    assert!(lan.carried_bytes - before < 4_096, "{} bytes in a second", lan.carried_bytes - before);
}

/// The mean of many: ticks are milliseconds.
fn mean(work: impl Fn() -> Duration) -> Duration {
    (0..40).map(|_| work()).sum::<Duration>() / 40
}

#[test]
#[ignore = "a measurement"]
fn cost_of_joining() {
    let (topics, filters) = (topics(10_000), filters(1_000));
    let few = [filters.as_slice(), &[]].map(|filters| {
        [&[], topics.get(..100).unwrap(), &topics[..]].map(|topics| {
            let bytes = join(topics, filters).0;
            (bytes, mean(|| join(topics, filters).1))
        })
    });
    let [with, without] = few;
    for ((count, with), without) in [0, 100, 10_000].iter().zip(with).zip(without) {
        let more = with.1.saturating_sub(without.1);
        println!(
            "{count:>6} topics, 1,000 filters: {} bytes, {more:?} more at both sides than without filters",
            with.0
        );
    }
}

#[test]
#[ignore = "a measurement"]
fn cost_of_publishing() {
    let mut alone = Lan::new(1, Path::Loopback);
    let mut crowded = Lan::crowded(1, Path::Loopback, &topics(10_000), &filters(1_000));
    let publish = |lan: &mut Lan| {
        let start = Instant::now();
        for _ in 0..1_000 {
            lan.publish(black_box(&[7; 64]));
        }
        lan.transmit();
        let time = start.elapsed();
        lan.wait(Duration::from_millis(10));
        time
    };
    let mut least = [Duration::MAX; 2];
    for _ in 0..300 {
        least = [least[0].min(publish(&mut alone)), least[1].min(publish(&mut crowded))];
    }
    println!("1,000 messages of 64 B: {:?} alone, {:?} among 10,000 topics and 1,000 filters", least[0], least[1]);
}
