//! The scenarios whose instructions are counted: `valgrind --tool=callgrind --collect-atstart=no
//! --toggle-collect='*measured*' instructions SCENARIO`. `.ci/run instructions` compares the counts with those in
//! `tests/bench/instructions.txt`.

use std::hint::black_box;
use std::process::ExitCode;
use std::time::Duration;

use glue_bench::{Lan, Path, filters, topics};

/// Rounds before those that count: buffers have their size then.
const WARM_UP: u32 = 10;
/// Rounds that count.
const ROUNDS: u32 = 10;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("pack-10-times-1000-messages-of-64-bytes") => pack(Lan::new(1, Path::Loopback)),
        Some("pack-them-among-10000-topics-and-1000-filters") => {
            pack(Lan::crowded(1, Path::Loopback, &topics(10_000), &filters(1_000)));
        }
        Some("handle-100-full-datagrams") => handle(),
        Some("fan-10-bundles-out-to-100-peers") => fan_out(),
        other => {
            eprintln!("there is no scenario {other:?}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// Instructions are counted in here and nowhere else: callgrind is told this name.
#[inline(never)]
fn measured(work: &mut dyn FnMut()) {
    work();
}

fn round(number: u32, work: &mut dyn FnMut()) {
    if number < WARM_UP { work() } else { measured(work) }
}

/// Messages are published, and leave in the largest datagrams there are: the cost is that of the message.
fn pack(mut lan: Lan) {
    for number in 0..WARM_UP + ROUNDS {
        let mut datagrams = 0;
        round(number, &mut || {
            for _ in 0..1_000 {
                lan.publish(black_box(&[7; 64]));
            }
            datagrams += lan.transmit();
            // What does not fill a datagram is kept back for a moment.
            lan.now = lan.now + Duration::from_micros(200);
            datagrams += lan.transmit();
        });
        assert_eq!((datagrams, lan.wait(Duration::from_millis(10))), (2, 1_000));
    }
}

/// A subscriber takes datagrams that are as full as a network allows, and reads their messages.
fn handle() {
    let mut lan = Lan::new(1, Path::Network);
    for number in 0..WARM_UP + ROUNDS {
        (0..200).for_each(|_| lan.publish(&[7; 64]));
        let datagrams = lan.take(true);
        let (full, rest) = datagrams.split_at(10);
        let mut messages = 0;
        round(number, &mut || messages += full.iter().map(|datagram| lan.deliver(datagram)).sum::<u64>());
        assert_eq!(messages, 150, "15 to a datagram");
        messages += rest.iter().map(|datagram| lan.deliver(datagram)).sum::<u64>();
        assert_eq!(messages + lan.wait(Duration::from_millis(10)), 200);
    }
}

/// A bundle that fills one datagram on a network goes to 100 subscribers: the cost is that of the datagram.
fn fan_out() {
    let mut lan = Lan::new(100, Path::Network);
    for number in 0..WARM_UP + ROUNDS {
        (0..15).for_each(|_| lan.publish(&[7; 64]));
        let mut datagrams = 0;
        round(number, &mut || datagrams = lan.transmit());
        assert_eq!((datagrams, lan.wait(Duration::from_millis(10))), (100, 1_500));
    }
}
