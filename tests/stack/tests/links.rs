//! What gets through a bad link, and how soon. 1 Gbit/s, 1 ms and 2 ms each way, a queue of one round trip.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests are tests too"
)]

use std::time::Duration;

use glue_net::Instant;
use glue_sim::{Link, Receive};
use glue_stack::bulk::{Kind, Load, Rig};
use glue_stack::scene::ms;
use glue_stack::{Cluster, Plan};

const GIGABIT: u64 = 125_000_000;
/// When a source begins: the endpoints have met before, at a loss of up to a third.
const START: Instant = Instant::from_nanos(3_000_000_000);

/// 1 Gbit/s, with a queue of one round trip.
fn there(one_way: Duration) -> Link {
    let queue = u128::from(GIGABIT) * one_way.as_nanos() * 2 / 1_000_000_000;
    Link::perfect().latency(one_way).rate(GIGABIT, usize::try_from(queue).unwrap())
}

fn back(one_way: Duration) -> Link {
    Link::perfect().latency(one_way)
}

/// A receive buffer that does not bound what is under way.
fn large() -> Receive {
    Receive { buffer_bytes: 64 << 20, ..Receive::default() }
}

/// Bytes per second that a source gets through from its start on, and the rig.
fn goodput(seed: u64, there: &Link, back: &Link, receive: Receive) -> (f64, Rig) {
    let mut rig = Rig::new(seed, &[Kind::Glue(Load::flood(START))], there, back, receive);
    rig.world.run_until(START);
    let (rates, _) = rig.measure(ms(1_000));
    (rates[0], rig)
}

fn lossy_goodput(one_way: Duration, loss: f64, receive: Receive) -> f64 {
    let (rate, rig) = goodput(1, &there(one_way).loss(loss), &back(one_way).loss(loss), receive);
    let stats = rig.stats(0);
    println!(
        "{one_way:?} each way, {loss} lost, buffer {}: {:.1} Mbit/s, {} packets, {} lost, {:.3} acks each",
        receive.buffer_bytes,
        rate * 8e-6,
        stats.packets_sent,
        stats.packets_lost,
        rig.sink_stats(0).packets_sent as f64 / stats.packets_sent as f64
    );
    rate
}

fn assert_goodput(one_way: Duration, receive: Receive, least: f64) {
    let whole = lossy_goodput(one_way, 0.0, receive);
    assert!(whole > least * GIGABIT as f64, "{whole}");
    for (loss, share) in [(0.01, 0.9), (0.1, 0.6), (0.3, 0.25)] {
        let rate = lossy_goodput(one_way, loss, receive);
        assert!(rate >= share * whole, "{loss} lost: {rate} of {whole}");
    }
}

#[test]
fn random_loss_costs_little_more_than_what_it_takes() {
    assert_goodput(ms(1), large(), 0.85);
}

#[test]
fn nor_does_it_at_two_milliseconds_each_way() {
    assert_goodput(ms(2), large(), 0.85);
}

#[test]
fn nor_when_the_receive_buffer_is_the_bound() {
    // 80 datagrams of 1,200 bytes fill what is announced of it: 48 MB/s at most.
    assert_goodput(ms(1), Receive::default(), 0.3);
}

#[test]
fn all_arrives_when_half_is_lost() {
    for seed in 0..4 {
        let link = there(ms(1)).loss(0.5);
        let load = Load { size: 1_000, count: 5_000, interval: Duration::from_micros(100), start: START };
        let mut rig = Rig::new(seed, &[Kind::Glue(load)], &link, &back(ms(1)).loss(0.5), large());
        // The sink panics at a gap, at a wrong order and at a changed length.
        assert!(rig.run_until_delivered(0, load.count, ms(60_000)), "{}", rig.sink(0).delivered);
    }
}

#[test]
fn a_lost_message_is_repaired_within_two_round_trips() {
    let one_way = ms(1);
    // A steady flow notices by what follows, a slow one by time, one of lone messages by a probe.
    for interval in [Duration::from_micros(100), ms(1), ms(5), ms(20)] {
        let load = Load { size: 1_000, count: 5_000, interval, start: START };
        let kinds = [Kind::Glue(load)];
        let mut rig = Rig::new(1, &kinds, &there(one_way).loss(0.01), &back(one_way).loss(0.01), Receive::default());
        assert!(rig.run_until_delivered(0, load.count, ms(200_000)));
        let mut repairs: Vec<Duration> =
            rig.sink(0).latencies.iter().map(|latency| latency.saturating_sub(one_way)).collect();
        repairs.sort_unstable();
        let (p99, longest) = (repairs[repairs.len() * 99 / 100], repairs[repairs.len() - 1]);
        println!("a message each {interval:?}: repair p99 {p99:?}, longest {longest:?}");
        assert!(repairs[repairs.len() / 2] < Duration::from_micros(200), "most are not lost");
        assert!(p99 <= 2 * 2 * one_way + ms(10), "{p99:?}");
    }
}

/// Lets 64 MiB pass a receiver that is slower than the link, and stands still now and then.
#[test]
fn a_default_receive_buffer_is_never_overrun() {
    let receive = Receive { buffer_bytes: 212_992, busy: Duration::from_micros(12) };
    let load = Load { size: 64 << 20, count: 1, interval: Duration::ZERO, start: START };
    let lossy = [there(ms(1)).loss(0.05), back(ms(1)).loss(0.05)];
    let mut rig = Rig::new(1, &[Kind::Glue(load)], &lossy[0], &lossy[1], receive);
    let sink = rig.flows[0].1;
    rig.world.run_until(START + ms(100));
    for _ in 0..10 {
        rig.world.freeze(sink);
        rig.world.run_for(ms(20));
        rig.world.thaw(sink);
        rig.world.run_for(ms(100));
    }
    assert!(rig.run_until_delivered(0, 1, ms(60_000)));
    println!("64 MiB at 5 % lost: {:?}", rig.sink(0).last_at.since(START));
    assert_eq!(rig.sink(0).bytes, 64 << 20);
    assert_eq!(rig.world.stats().buffer_full, 0);
}

#[test]
fn overtaking_does_not_collapse_it() {
    let (whole, _) = goodput(1, &there(ms(1)), &back(ms(1)), large());
    let late = [(0.1, Duration::from_micros(300)), (0.1, ms(1)), (0.1, ms(5)), (0.5, ms(1))];
    for (share, delay) in late {
        let (rate, rig) = goodput(1, &there(ms(1)).reorder(share, delay), &back(ms(1)), large());
        let (lost, resent) = (rig.stats(0).packets_lost, rig.stats(0).payloads_resent);
        println!("{share} late by {delay:?}: {:.2} of the rate, {lost} lost, {resent} resent", rate / whole);
        assert!(rate >= 0.6 * whole, "{share} late by {delay:?}: {rate} of {whole}");
        if delay <= ms(1) {
            // A packet that is late by half a round trip is waited for, once that was seen.
            assert!(lost * 100 < rig.stats(0).packets_sent, "{lost}");
        }
    }
}

/// On radio links round trips vary without a queue, and what is lost is lost in bursts.
#[test]
fn jitter_hardly_makes_losses_congestion() {
    for (jitter, burst, least) in [(300, 0.0, 0.8), (1_000, 0.0, 0.6), (300, 4.0, 0.4), (2_000, 4.0, 0.3)] {
        let link = Link::perfect().latency(ms(2)).jitter(Duration::from_micros(jitter)).rate(GIGABIT / 10, 50_000);
        let (whole, _) = goodput(1, &link, &link, large());
        let lossy = link.loss(0.05).loss_burst(burst);
        let (rate, _) = goodput(1, &lossy, &lossy, large());
        println!("jitter {jitter} us: {:.1} Mbit/s; 5 % lost in bursts of {burst}: {:.1}", whole * 8e-6, rate * 8e-6);
        assert!(rate >= least * whole, "{rate} of {whole}");
    }
}

#[test]
fn it_is_back_at_once_after_an_outage() {
    let (whole, mut rig) = goodput(1, &there(ms(1)), &back(ms(1)), large());
    let (source, sink) = rig.flows[0];
    for outage in [ms(200), ms(1_500)] {
        rig.world.partition(&[vec![source], vec![sink]]);
        rig.world.run_for(outage);
        rig.world.heal();
        // A probe goes out each 500 ms at least.
        rig.world.run_for(ms(700));
        let (rates, _) = rig.measure(ms(300));
        println!("after {outage:?}: {:.2} of the rate", rates[0] / whole);
        assert!(rates[0] >= 0.8 * whole, "{rates:?} of {whole}");
    }
}

#[test]
fn an_exchange_takes_a_round_trip() {
    for size in [64, 30_000] {
        let plan = Plan { socket_bytes: 8 << 20, ..Plan::default() };
        let mut cluster = Cluster::new(1, 2, plan);
        cluster.world.set_default_link(there(ms(1)));
        cluster.meet(ms(10_000));
        let mut times = Vec::new();
        for exchange in 0..200 {
            let start = cluster.world.now();
            for member in [0, 1] {
                let before = cluster.books.delivered;
                assert!(cluster.publish(member, size));
                // Its publisher gets it too.
                while cluster.books.delivered < before + 2 {
                    cluster.run(Duration::from_micros(10));
                }
            }
            if exchange > 20 {
                times.push(cluster.world.now().since(start));
            }
        }
        times.sort_unstable();
        let (median, longest) = (times[times.len() / 2], times[times.len() - 1]);
        println!("{size} bytes there and back: {median:?}, {longest:?} at most");
        let inevitable = ms(2) + Duration::from_nanos(2 * size as u64 * 8);
        assert!(median <= inevitable + Duration::from_micros(150), "{size}: {median:?}");
        // While anything else is under way, as a search for the path's length, an answer is kept for 100 us.
        assert!(longest <= inevitable + Duration::from_micros(400), "{size}: {longest:?}");
    }
}
