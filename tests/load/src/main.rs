//! Load generator that speaks the line protocol of the rivals harness, so that our figures compare with theirs.
//!
//! `glue-load ROLE SIZE SECONDS`: one process plays one role, with messages of SIZE bytes.
//!
//! | role | publishes | what it prints when done |
//! |---|---|---|
//! | `pub` | flat out for SECONDS, then an end marker | messages sent, rate, CPU seconds, peak memory |
//! | `sub` | | messages received and lost, rate, CPU seconds, peak memory |
//! | `ping` | 11,000 pings, each after the answer to the one before | percentiles of half the round trip |
//! | `pong` | an answer to each ping | |
//! | `paced` | 1,000 a second for SECONDS, with the time in each | |
//! | `osub` | | percentiles of the one-way delay of 5,000 of these |
//! | `first` | | milliseconds from `T0` (environment, monotonic clock in ns) to the first message |
//! | `stop` | flat out for thrice SECONDS, to eight processes that it starts; one of these is stopped by SIGSTOP for the second third | the goodput of the others, its own peak memory, what the stopped one missed |
//! | `many` | flat out for SECONDS, alone and among 10,000 topics and 1,000 filters in turns, from and to processes that it starts | medians of what was received, and how far they are apart |
//! | `private` | as `many`, without a network key and with one | as `many` |
//! | `junk` | as `many`, a pair with a key; 100,000 datagrams of junk a second go elsewhere, or to the pair | as `many` |
//! | `hurl` | such junk to `TARGETS`, for SECONDS | how many a second |
//! | `group` | flat out for SECONDS, to a queue group of three processes that it starts | messages done a second |
//! | `worker` | | such a member |
//! | `crowd` | nothing: SIZE processes subscribe, and are left alone for SECONDS when all know all; in a network namespace of its own, with multicast on `lo` | what they use of the processor, and bytes on the loopback interface |
//! | `member` | | such a process: how many peers it knows, for each line that it reads |
//! | `tick` | | such a process: time, messages received and missed, every 20 ms |
//!
//! `pub` and `ping` print `READY` and wait for a line; the others begin at once, and print `READY` when they are
//! subscribed. `pub` waits for `NSUB` subscribers (default 1) and sends `MAXN` messages at most; it publishes `TOPICS` other
//! topics as well, and `sub` subscribes by `FILTERS` other filters (default 0). The `GLUE_*` variables
//! of every endpoint apply.

mod clock;
mod crowd;
mod error;
mod many;
mod meter;
mod private;
mod report;
mod roles;
mod stop;
mod turns;

use std::process::ExitCode;
use std::time::Duration;

use crate::error::LoadError;

/// What the command line and the environment ask for.
#[derive(Clone, Copy, Debug)]
struct Load {
    /// Bytes of a message.
    size: usize,
    duration: Duration,
    /// Subscribers that `pub` waits for.
    subscribers: usize,
    /// Messages that `pub` sends at most.
    most: u64,
    /// Other topics that `pub` publishes.
    topics: usize,
    /// Other filters that `sub` subscribes by.
    filters: usize,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("glue-load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), LoadError> {
    let mut arguments = std::env::args().skip(1);
    let role = arguments.next().ok_or(LoadError::Usage)?;
    let size = arguments.next().map_or(Ok(64), |text| number(&text))?;
    let seconds = arguments.next().map_or(Ok(3.0), |text| number(&text))?;
    let load = Load {
        size,
        duration: Duration::try_from_secs_f64(seconds).map_err(|_| LoadError::Usage)?,
        subscribers: variable("NSUB", 1)?,
        most: variable("MAXN", 100_000_000)?,
        topics: variable("TOPICS", 0)?,
        filters: variable("FILTERS", 0)?,
    };
    let limit = match role.as_str() {
        "crowd" | "member" | "many" | "private" | "junk" => load.duration + CROWD_LIMIT,
        _ => LIMIT,
    };
    report::start_watchdog(limit);
    match role.as_str() {
        "many" => many::many(load),
        "private" => private::private(load),
        "junk" => private::junk(load),
        "hurl" => private::hurl(load),
        "group" => many::group(load),
        "worker" => many::worker(),
        "crowd" => crowd::crowd(load),
        "member" => crowd::member(),
        "pub" => roles::publish(load),
        "sub" => roles::subscribe(load),
        "ping" => roles::ping(load),
        "pong" => roles::pong(),
        "paced" => roles::paced(load),
        "osub" => roles::one_way(),
        "stop" => stop::stop(load),
        "tick" => stop::tick(),
        "first" => roles::first(variable("T0", 0)?),
        _ => Err(LoadError::Usage),
    }
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, LoadError> {
    text.parse().map_err(|_| LoadError::Usage)
}

fn variable<T: std::str::FromStr>(name: &'static str, default: T) -> Result<T, LoadError> {
    let Ok(text) = std::env::var(name) else { return Ok(default) };
    text.parse().map_err(|_| LoadError::Variable { name, text })
}

/// No run is longer.
const LIMIT: Duration = Duration::from_secs(60);
/// A crowd has to meet before, and its members are killed when it is over: theirs is for one that is left behind.
const CROWD_LIMIT: Duration = Duration::from_secs(600);
