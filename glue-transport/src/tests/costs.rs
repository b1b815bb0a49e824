//! What transfers take, in tables that are committed: a change of them is to be seen, and meant. Whether it is a good one is for
//! `tests/stack/tests/efficiency.rs` and `fairness.rs` to say; this sees each change of recovery, congestion control and packing.
//!
//! `INSTA_UPDATE=always cargo test -p glue-transport costs` writes them anew.

use std::fmt::Write;

use super::*;

/// So many payloads of so many bytes, one each so often.
#[derive(Clone, Copy)]
struct Load {
    count: u32,
    bytes: u32,
    each: Duration,
}

const DROPS: Load = Load { count: 400, bytes: 64, each: Duration::from_millis(1) };
const FLOW: Load = Load { count: 2_000, bytes: 1_000, each: Duration::from_micros(100) };
const BULK: Load = Load { count: 40, bytes: 65_000, each: Duration::ZERO };

/// A line of the table: what was written, how much was sent again, and when all was there.
fn transfer(name: &str, load: Load, config: &Config, line: impl Fn(&mut Pair), out: &mut String) {
    let mut pair = Pair::new(9, config);
    line(&mut pair);
    for id in 0..load.count {
        pair.ends[0].send(pair.now, PEER, note(id, load.bytes));
        if !load.each.is_zero() {
            pair.run(load.each);
        }
    }
    let mut ended = pair.now;
    while !pair.ends.iter().all(Transport::is_settled) {
        assert!(ended < Instant::ZERO + SECOND * 120, "{name}");
        pair.run(Duration::from_micros(500));
        ended = pair.now;
    }
    assert_eq!(pair.whole(1).len(), load.count as usize, "{name}");
    let stats = pair.ends[0].peer_stats(PEER).unwrap();
    let [(sent, sent_bytes), (acks, ack_bytes)] = pair.written;
    let _ = writeln!(
        out,
        "{name:<30} {sent:>5} {sent_bytes:>8} {acks:>5} {ack_bytes:>7} {:>5} {:>5} {:>6} {:>6} {:>7.1}",
        stats.packets_lost,
        stats.payloads_resent,
        stats.datagram_bytes,
        stats.rtt.as_micros(),
        ended.since(Instant::ZERO).as_secs_f64() * 1e3,
    );
}

const HEAD: &str = "                                sent    bytes  acks   bytes  lost again   size rtt us      ms\n";

#[test]
fn what_transfers_take_on_a_line_without_end() {
    let mut out = String::from(HEAD);
    for (name, load) in [("64 B each ms", DROPS), ("1 kB each 100 us", FLOW), ("65 kB at once", BULK)] {
        for loss in [0.0, 0.02, 0.3] {
            let name = format!("{name}, {:.0} % lost", loss * 100.0);
            transfer(&name, load, &Config::default(), |pair| pair.loss = loss, &mut out);
        }
        let jumps = |pair: &mut Pair| (pair.jitter, pair.duplicate) = (Duration::from_millis(2), 0.05);
        transfer(&format!("{name}, out of order"), load, &Config::default(), jumps, &mut out);
    }
    insta::assert_snapshot!(out);
}

#[test]
fn what_transfers_take_on_a_narrow_line() {
    let mut out = String::from(HEAD);
    for (name, load) in [("64 B each ms", DROPS), ("1 kB each 100 us", FLOW), ("65 kB at once", BULK)] {
        for (what, rate, room) in
            [("10 MB/s", 10_000_000, 100_000), ("1 MB/s", 1_000_000, 20_000), ("deep", 2_000_000, 1_000_000)]
        {
            transfer(&format!("{name}, {what}"), load, &Config::default(), |pair| pair.rate = (rate, room), &mut out);
        }
    }
    insta::assert_snapshot!(out);
}

#[test]
fn what_transfers_take_with_small_windows() {
    let mut out = String::from(HEAD);
    let config = Config { receive_window_bytes: 20_000, ..Config::default() };
    for (name, load) in [("1 kB each 100 us", FLOW), ("65 kB at once", BULK)] {
        for loss in [0.0, 0.1] {
            let name = format!("{name}, {:.0} % lost", loss * 100.0);
            transfer(&name, load, &config, |pair| pair.loss = loss, &mut out);
        }
        transfer(&format!("{name}, shorter path"), load, &config, |pair| pair.path_bytes = 1_300, &mut out);
    }
    insta::assert_snapshot!(out);
}
