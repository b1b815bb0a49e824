//! What a delivered message costs on the wire, and how long it takes, in a table that is committed: a change of it is
//! to be seen, and meant. 1 Gbit/s, 1 ms each way, losses both ways.
//!
//! `INSTA_UPDATE=always cargo test -p glue-stack --test efficiency` writes the table anew.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests are tests too")]

use std::fmt::Write;
use std::time::Duration;

use glue_net::Instant;
use glue_sim::{Link, Receive};
use glue_stack::bulk::{Kind, Load, Rig};

const START: Instant = Instant::from_nanos(1_000_000_000);
const LOSSES: [f64; 5] = [0.0, 0.01, 0.1, 0.3, 0.5];

struct Row {
    datagrams: f64,
    bytes: f64,
    resent: u64,
    acks: f64,
    p50: Duration,
    p99: Duration,
}

fn run(load: Load, loss: f64) -> Row {
    let back = Link::lossy(loss).latency(Duration::from_millis(1));
    let there = back.clone().rate(125_000_000, 250_000);
    let mut rig = Rig::new(7, &[Kind::Glue(load)], &there, &back, Receive::default());
    assert!(rig.run_until_delivered(0, load.count, Duration::from_secs(120)));
    let (sent, answered) = (rig.stats(0), rig.sink_stats(0));
    let mut latencies = rig.sink(0).latencies.clone();
    latencies.sort_unstable();
    let share = |percent: usize| latencies[latencies.len() * percent / 100];
    Row {
        datagrams: sent.packets_sent as f64 / load.count as f64,
        bytes: sent.bytes_sent as f64 / (load.count * load.size as u64) as f64,
        resent: sent.payloads_resent,
        acks: answered.packets_sent as f64 / sent.packets_sent as f64,
        p50: share(50),
        p99: share(99),
    }
}

/// A row for each loss; no message may cost more than twice what the loss makes inevitable.
fn table(name: &str, load: Load, out: &mut String) {
    let whole = run(load, 0.0).datagrams;
    for loss in LOSSES {
        let Row { datagrams, bytes, resent, acks, p50, p99 } = run(load, loss);
        assert!(datagrams <= 2.0 * whole / (1.0 - loss), "{name} at {loss}: {datagrams}, {whole} without loss");
        writeln!(
            out,
            "{name:<19} {:>3} % | {datagrams:>9.3} {bytes:>9.3} {resent:>7} {acks:>9.3} {:>8} {:>8}",
            loss * 100.0,
            p50.as_micros(),
            p99.as_micros()
        )
        .unwrap();
    }
}

#[test]
fn what_a_message_costs() {
    let mut out = String::from("messages           lost | datagrams     bytes  resent      acks      p50      p99\n");
    out.push_str("                        |  each     per byte           per data.     us       us\n");
    let paced = |size, count, micros| Load { size, count, interval: Duration::from_micros(micros), start: START };
    table("64 B each 50 us", paced(64, 8_000, 50), &mut out);
    table("64 B each 5 ms", paced(64, 1_000, 5_000), &mut out);
    table("1 KiB each 100 us", paced(1 << 10, 8_000, 100), &mut out);
    table("64 KiB each 4 ms", paced(64 << 10, 200, 4_000), &mut out);
    table("64 B, all at once", paced(64, 100_000, 0), &mut out);
    table("64 KiB, all at once", paced(64 << 10, 200, 0), &mut out);
    insta::assert_snapshot!(out);
}
