//! Which faults happen when: pure, from a seed.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use glue_net::Rng;

/// How many hosts there are.
pub const HOSTS: usize = 5;
/// A publisher and a subscriber on each host, by number in this order; then the cache, on the first host.
pub const PROCESSES: usize = 2 * HOSTS + 1;
/// The number of the cache. It is never killed, since what it has would go with it.
pub const CACHE: usize = 2 * HOSTS;

/// A fault. Hosts and processes are counted from 0.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// A process is killed, and another is started when the fault ends.
    Kill(usize),
    /// A process is stopped, and goes on when the fault ends.
    Stop(usize),
    /// A host's interface is down.
    LinkDown(usize),
    /// A host gets another address, for good.
    Address(usize),
    /// Nothing passes from one to the other of these pairs of hosts.
    Partition(Vec<(usize, usize)>),
    /// A host loses so many of a hundred datagrams that come to it.
    Lose(usize, u64),
    /// A host sends no more than so many kbit/s.
    Rate(usize, u64),
    /// What a host sends is impaired on its way to all others: an order's words to the switch.
    Impair(usize, String),
}

impl Fault {
    /// Faults of one kind, in the order of the type.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Kill(_) => "kill",
            Self::Stop(_) => "stop",
            Self::LinkDown(_) => "link down",
            Self::Address(_) => "address",
            Self::Partition(_) => "partition",
            Self::Lose(..) => "loss",
            Self::Rate(..) => "rate",
            Self::Impair(..) => "impair",
        }
    }

    /// What no two faults do anything to at the same time.
    const fn victim(&self) -> (u8, usize) {
        match self {
            Self::Kill(process) | Self::Stop(process) => (0, *process),
            Self::LinkDown(host) | Self::Address(host) => (1, *host),
            Self::Partition(_) => (2, 0),
            Self::Lose(host, _) => (3, *host),
            // A queue that is taken away goes with what waits in it, and so does one of a link that goes down.
            Self::Rate(host, _) => (4, *host),
            Self::Impair(host, _) => (5, *host),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind();
        match self {
            Self::Kill(process) | Self::Stop(process) => write!(f, "{kind} {}", process_name(*process)),
            Self::LinkDown(host) | Self::Address(host) => write!(f, "{kind} {}", host_name(*host)),
            Self::Partition(pairs) => write!(f, "{kind} {pairs:?}"),
            Self::Lose(host, percent) => write!(f, "{kind} {} {percent} %", host_name(*host)),
            Self::Rate(host, kbit) => write!(f, "{kind} {} {kbit} kbit/s", host_name(*host)),
            Self::Impair(host, words) => write!(f, "{kind} {} {words}", host_name(*host)),
        }
    }
}

/// A fault with its time, from when faults begin.
#[derive(Clone, Debug, PartialEq)]
pub struct Planned {
    /// When it begins.
    pub from: Duration,
    /// When it ends.
    pub to: Duration,
    /// What it is.
    pub fault: Fault,
}

/// The name of a host.
#[must_use]
pub fn host_name(host: usize) -> String {
    format!("h{}", host + 1)
}

/// The host of a process.
#[must_use]
pub const fn host_of(process: usize) -> usize {
    if process == CACHE { 0 } else { process % HOSTS }
}

/// The name of a process.
#[must_use]
pub fn process_name(process: usize) -> String {
    let role = match process {
        CACHE => "cache",
        publisher if publisher < HOSTS => "pub",
        _ => "sub",
    };
    format!("{}-{role}", host_name(host_of(process)))
}

/// The faults of a run of this length, in order of their beginnings. `is_private`: the network has a key, so what is corrupted
/// may reach the application; without one nothing could tell it from what was sent, but the checksum of UDP, which stays wrong.
#[must_use]
pub fn plan(seed: u64, length: Duration, is_private: bool) -> Vec<Planned> {
    let mut rng = Rng::new(seed);
    let mut busy: BTreeMap<(u8, usize), Duration> = BTreeMap::new();
    let mut planned = Vec::new();
    let mut from = Duration::ZERO;
    loop {
        from += millis(&mut rng, 500, 4_500);
        if from >= length {
            return planned;
        }
        let (fault, lasts) = draw(&mut rng, is_private);
        let to = (from + lasts).min(length);
        let until = busy.entry(fault.victim()).or_default();
        if *until <= from {
            *until = to;
            planned.push(Planned { from, to, fault });
        }
    }
}

fn millis(rng: &mut Rng, least: u64, most: u64) -> Duration {
    Duration::from_millis(least + rng.below(most - least))
}

fn draw(rng: &mut Rng, is_private: bool) -> (Fault, Duration) {
    let host = below(rng, HOSTS);
    match rng.below(12) {
        0 | 1 => (Fault::Kill(below(rng, CACHE)), millis(rng, 100, 5_000)),
        2 | 3 => (Fault::Stop(below(rng, PROCESSES)), millis(rng, 100, 8_000)),
        4 => (Fault::LinkDown(host), millis(rng, 500, 8_000)),
        5 => (Fault::Address(host), Duration::ZERO),
        6 | 7 => (Fault::Partition(partition(rng)), millis(rng, 1_000, 15_000)),
        8 => (Fault::Lose(host, 5 + rng.below(46)), millis(rng, 2_000, 15_000)),
        9 => (Fault::Rate(host, 500 + rng.below(9_500)), millis(rng, 2_000, 15_000)),
        _ => (Fault::Impair(host, impairment(rng, is_private)), millis(rng, 2_000, 15_000)),
    }
}

fn below(rng: &mut Rng, bound: usize) -> usize {
    usize::try_from(rng.below(bound as u64)).unwrap_or(0)
}

/// Halves, one host alone, one way only, or two hosts that see each other through others alone.
fn partition(rng: &mut Rng) -> Vec<(usize, usize)> {
    let all = || (0..HOSTS).flat_map(|from| (0..HOSTS).map(move |to| (from, to)));
    let one = below(rng, HOSTS);
    let other = (one + 1 + below(rng, HOSTS - 1)) % HOSTS;
    match rng.below(4) {
        0 => {
            // Some two on one side.
            let is_left = |host: usize| host == one || host == other;
            all().filter(|(from, to)| is_left(*from) != is_left(*to)).collect()
        }
        1 => all().filter(|(from, to)| (*from == one) != (*to == one)).collect(),
        2 => all().filter(|(from, to)| *from == one && *to != one).collect(),
        _ => vec![(one, other), (other, one)],
    }
}

/// One to three things at a time.
fn impairment(rng: &mut Rng, is_private: bool) -> String {
    let mut words = Vec::new();
    for _ in 0..=rng.below(3) {
        let percent = |percent: u64| format!("0.{percent:02}");
        words.push(match rng.below(6) {
            0 => format!("loss={}", percent(5 + rng.below(46))),
            1 => format!("duplicate={}", percent(5 + rng.below(46))),
            2 => format!("reorder={}", percent(5 + rng.below(46))),
            3 => format!("delay={} jitter={}", 1 + rng.below(100), rng.below(50)),
            4 => format!("corrupt={}", percent(2 + rng.below(20))),
            _ => format!("truncate={}", percent(2 + rng.below(20))),
        });
    }
    words.push(format!("mend={}", u8::from(is_private)));
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::impair::Switch;
    use crate::wire::obey;

    const TEN_MINUTES: Duration = Duration::from_secs(600);

    #[test]
    fn the_same_seed_plans_the_same_and_another_does_not() {
        assert_eq!(plan(1, TEN_MINUTES, true), plan(1, TEN_MINUTES, true));
        assert_ne!(plan(1, TEN_MINUTES, true), plan(2, TEN_MINUTES, true));
    }

    #[test]
    fn ten_minutes_have_every_kind_of_fault_and_each_ends_in_time() {
        for seed in 0..20 {
            let planned = plan(seed, TEN_MINUTES, true);
            let count = |kind: &str| planned.iter().filter(|planned| planned.fault.kind() == kind).count();
            for kind in ["kill", "stop", "link down", "address", "partition", "loss", "rate", "impair"] {
                assert!(count(kind) >= 3, "seed {seed}: {kind} {}", count(kind));
            }
            assert!(planned.iter().all(|planned| planned.from <= planned.to && planned.to <= TEN_MINUTES));
            assert!(planned.iter().all(|planned| planned.fault != Fault::Kill(CACHE)));
        }
    }

    #[test]
    fn no_two_faults_at_a_time_have_one_victim() {
        let planned = plan(3, TEN_MINUTES, true);
        for (index, one) in planned.iter().enumerate() {
            let later = planned.iter().skip(index + 1).filter(|later| later.fault.victim() == one.fault.victim());
            assert!(later.into_iter().all(|later| later.from >= one.to));
        }
    }

    #[test]
    fn the_switch_understands_what_is_planned() {
        let mut switch = Switch::new(HOSTS, 1);
        let mut seen = 0;
        for Planned { fault, .. } in (0..20).flat_map(|seed| plan(seed, TEN_MINUTES, seed % 2 == 0)) {
            if let Fault::Impair(host, words) = fault {
                assert_eq!(obey(&mut switch, &format!("link {host} * {words}")), Some(()), "{words}");
                seen += 1;
            }
        }
        assert!(seen > 100);
    }

    #[test]
    fn processes_and_hosts_have_names() {
        let names: Vec<_> = (0..PROCESSES).map(process_name).collect();
        assert_eq!((&*names[0], &*names[4], &*names[5], &*names[CACHE]), ("h1-pub", "h5-pub", "h1-sub", "h1-cache"));
    }
}
