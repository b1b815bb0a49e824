//! Flows that share a bottleneck: glue beside TCP with CUBIC, two of glue, and one alone.
//!
//! `GLUE_SEEDS=20 cargo test -p glue-stack --test fairness -- --nocapture` shows all figures for more seeds. The seed
//! shifts acks by up to the time that the bottleneck takes for a packet: without that, flows lock in step (Floyd and
//! Jacobson, "Traffic Phase Effects", 1991).

#![expect(clippy::cast_possible_truncation, clippy::print_stdout, reason = "figures to be read, of small numbers")]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests are tests too")]

use std::time::Duration;

use glue_net::Instant;
use glue_sim::{Link, Receive, check, seeds};
use glue_stack::bulk::{Kind, Load, Rig};

/// A bottleneck, and for how long flows share it.
#[derive(Clone, Copy, Debug)]
struct Path {
    megabits: u64,
    rtt: Duration,
    time: Duration,
}

const SLOW: Path = Path { megabits: 10, rtt: Duration::from_millis(50), time: Duration::from_secs(60) };
const MIDDLE: Path = Path { megabits: 100, rtt: Duration::from_millis(20), time: Duration::from_secs(30) };
/// Shorter, as it is 1,000 round trips per second of its own.
const FAST: Path = Path { megabits: 1_000, rtt: Duration::from_millis(2), time: Duration::from_secs(6) };

/// What was seen.
struct Seen {
    /// Goodput of the first flow over that of the second.
    ratio: f64,
    /// Goodput of all over the link's rate.
    used: f64,
    /// How long the queue was on average, in round trips.
    wait: f64,
}

const fn at(ms: u64) -> Instant {
    Instant::from_nanos(ms * 1_000_000)
}

const fn glue(ms: u64) -> Kind {
    Kind::Glue(Load::flood(at(ms)))
}

impl Path {
    /// Runs `flows` over a queue of `queue` times what the path holds, and measures from `from` on, when all have begun.
    fn share(self, seed: u64, queue: f64, flows: &[Kind], from: Instant) -> Seen {
        let rate = self.megabits * 125_000;
        let holds = rate as f64 * self.rtt.as_secs_f64();
        let there = Link::perfect().latency(self.rtt / 2).rate(rate, (holds * queue) as usize).bottleneck(0);
        let back = Link::perfect().latency(self.rtt / 2).jitter(Duration::from_nanos(1_200_000_000_000 / rate));
        let receive = Receive { buffer_bytes: 64 << 20, ..Receive::default() };
        let mut rig = Rig::new(seed, flows, &there, &back, receive);
        rig.world.run_until(from);
        let (rates, wait) = rig.measure(self.time);
        let seen = Seen {
            ratio: rates[0] / rates.last().unwrap(),
            used: rates.iter().sum::<f64>() / rate as f64,
            wait: wait.as_secs_f64() / self.rtt.as_secs_f64(),
        };
        println!(
            "{} Mbit/s, {:?}, queue {queue}, seed {seed}: {:.2} to 1, {:.1} % used, waits {:.2} round trips",
            self.megabits,
            self.rtt,
            seen.ratio,
            seen.used * 100.0,
            seen.wait
        );
        seen
    }

    /// TCP has between half and twice what glue has, whoever was first.
    fn assert_fair_to_tcp(self, name: &str, queues: &[f64]) {
        check(name, seeds(1), |seed| {
            for queue in queues {
                let later = self.share(seed, *queue, &[glue(2_000), Kind::Tcp(at(3_000))], at(3_000));
                let first = self.share(seed, *queue, &[glue(3_000), Kind::Tcp(at(2_000))], at(3_000));
                for seen in [later, first] {
                    assert!((0.5..=2.0).contains(&seen.ratio), "queue {queue}: {}", seen.ratio);
                    assert!(seen.used > 0.95, "queue {queue}: {}", seen.used);
                }
            }
        });
    }

    fn assert_fair_to_itself(self, name: &str, queues: &[f64]) {
        check(name, seeds(1), |seed| {
            for queue in queues {
                let seen = self.share(seed, *queue, &[glue(2_000), glue(3_000)], at(3_000));
                assert!((0.5..=2.0).contains(&seen.ratio), "queue {queue}: {}", seen.ratio);
                assert!(seen.used > 0.9, "queue {queue}: {}", seen.used);
            }
        });
    }

    /// From its first second on.
    fn assert_used_by_one(mut self, name: &str) {
        self.time /= 6;
        check(name, seeds(1), |seed| {
            for queue in [0.2, 0.5, 1.0, 4.0] {
                let seen = self.share(seed, queue, &[glue(2_000)], at(2_000));
                assert!(seen.used > 0.85, "queue {queue}: {}", seen.used);
                assert!(seen.wait < 0.5, "queue {queue}: it fills the queue");
            }
        });
    }
}

#[test]
fn a_slow_path_is_shared_with_tcp() {
    SLOW.assert_fair_to_tcp("a_slow_path_is_shared_with_tcp", &[0.5, 1.0, 2.0, 4.0]);
}

#[test]
fn a_path_is_shared_with_tcp() {
    MIDDLE.assert_fair_to_tcp("a_path_is_shared_with_tcp", &[0.5, 1.0]);
}

#[test]
fn a_path_with_a_long_queue_is_shared_with_tcp() {
    MIDDLE.assert_fair_to_tcp("a_path_with_a_long_queue_is_shared_with_tcp", &[2.0, 4.0]);
}

#[test]
fn a_fast_path_is_shared_with_tcp() {
    FAST.assert_fair_to_tcp("a_fast_path_is_shared_with_tcp", &[0.5, 2.0]);
}

#[test]
fn two_endpoints_share_a_slow_path() {
    SLOW.assert_fair_to_itself("two_endpoints_share_a_slow_path", &[0.5, 1.0, 2.0, 4.0]);
}

#[test]
fn two_endpoints_share_a_path() {
    MIDDLE.assert_fair_to_itself("two_endpoints_share_a_path", &[0.5, 4.0]);
}

#[test]
fn two_endpoints_share_a_fast_path() {
    FAST.assert_fair_to_itself("two_endpoints_share_a_fast_path", &[1.0]);
}

#[test]
fn one_alone_uses_the_path_and_keeps_the_queue_short() {
    for path in [SLOW, MIDDLE, FAST] {
        path.assert_used_by_one("one_alone_uses_the_path_and_keeps_the_queue_short");
    }
}

#[test]
fn the_model_of_tcp_is_fair_to_itself_and_fills_the_link() {
    for queue in [0.5, 1.0, 4.0] {
        let seen = SLOW.share(0, queue, &[Kind::Tcp(at(2_000)), Kind::Tcp(at(3_000))], at(13_000));
        assert!((0.5..=2.0).contains(&seen.ratio), "{}", seen.ratio);
        assert!(seen.used > 0.99, "{}", seen.used);
    }
}
