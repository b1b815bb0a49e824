//! Scenarios as text: what [`parse`](super::parse) reads.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use super::{Fault, Impairment, Scenario, Scope, Step};
use crate::{Shape, Sort, Trick};

impl Scenario {
    /// All of it in one line, for a command that repeats it.
    #[must_use]
    pub fn line(&self) -> String {
        self.to_string().trim_end().replace('\n', "; ")
    }
}

/// One line for each part and each step.
impl Display for Scenario {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { nodes, seed, span, .. } = self;
        writeln!(f, "scenario nodes {nodes} seed {seed} for {}", Time(*span))?;
        for impairment in &self.link {
            writeln!(f, "link {impairment}")?;
        }
        for (name, number) in &self.settings {
            writeln!(f, "set {name} {number}")?;
        }
        for step in &self.steps {
            writeln!(f, "{step}")?;
        }
        Ok(())
    }
}

impl Display for Step {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "at {} for {} {}", Time(self.at), Time(self.last), self.fault)
    }
}

impl Display for Fault {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Buffer(node, bytes) => write!(f, "buffer {} {bytes}", node.index()),
            Self::Busy(node, time) => write!(f, "busy {} {}", node.index(), Time(*time)),
            Self::ClockJump(node, by) => write!(f, "clock-jump {} {}", node.index(), Time(*by)),
            Self::Crash(node) => write!(f, "crash {}", node.index()),
            Self::Drift(node, ppm) => write!(f, "drift {} {ppm}", node.index()),
            Self::Flap(period, shape) => write!(f, "flap {} {}", Time(*period), Words(shape)),
            Self::Freeze(node) => write!(f, "freeze {}", node.index()),
            Self::Hostile(hostile) => {
                write!(f, "hostile {}", hostile.rate)?;
                hostile.tricks.iter().try_for_each(|trick| write!(f, " {}", trick.word()))?;
                if hostile.spoofs { f.write_str(" spoof") } else { Ok(()) }
            }
            Self::Link(scope, impairment) => write!(f, "{impairment}{scope}"),
            Self::Move(node) => write!(f, "move {}", node.index()),
            Self::NoMulticast => f.write_str("no-multicast"),
            Self::NoUnicast => f.write_str("no-unicast"),
            Self::Partition(shape) => write!(f, "partition {}", Words(shape)),
            Self::Rebind(node) => write!(f, "rebind {}", node.index()),
            Self::Storm(count) => write!(f, "storm {count}"),
            Self::WallJump(node, seconds) => write!(f, "wall-jump {} {seconds}", node.index()),
        }
    }
}

/// As what follows an impairment: nothing for all links.
impl Display for Scope {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => Ok(()),
            Self::Between(from, to) => write!(f, " from {} to {}", from.index(), to.index()),
            Self::From(node) => write!(f, " from {}", node.index()),
            Self::To(node) => write!(f, " to {}", node.index()),
        }
    }
}

impl Display for Impairment {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bursts(it) => {
                write!(f, "bursts {} {} {} {}", it.begin, it.end, it.loss_within, it.loss_between)
            }
            Self::Corrupt(p) => write!(f, "corrupt {p}"),
            Self::Duplicate(p) => write!(f, "duplicate {p}"),
            Self::Jitter(time) => write!(f, "jitter {}", Time(*time)),
            Self::Latency(time) => write!(f, "latency {}", Time(*time)),
            Self::Loss(p) => write!(f, "loss {p}"),
            Self::Mtu(bytes) => write!(f, "mtu {bytes}"),
            Self::Rate(rate, wait) => write!(f, "rate {rate} {}", Time(*wait)),
            Self::Reorder(p, delay) => write!(f, "reorder {p} {}", Time(*delay)),
            Self::Sift(sort, loss) => match sort {
                Sort::Control => write!(f, "lose-control {loss}"),
                Sort::Data => write!(f, "lose-data {loss}"),
                Sort::LongerThan(bytes) => write!(f, "lose-longer {bytes} {loss}"),
                Sort::Multicast => write!(f, "lose-multicast {loss}"),
                Sort::ShorterThan(bytes) => write!(f, "lose-shorter {bytes} {loss}"),
                Sort::Unicast => write!(f, "lose-unicast {loss}"),
            },
        }
    }
}

impl Trick {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Alter => "alter",
            Self::Noise => "noise",
            Self::Replay => "replay",
            Self::Splice => "splice",
        }
    }
}

struct Words<'a>(&'a Shape);

impl Display for Words<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Shape::Halves => f.write_str("halves"),
            Shape::Isolated(node) => write!(f, "isolated {}", node.index()),
            Shape::NonTransitive => f.write_str("non-transitive"),
            Shape::OneWay(from, to) => write!(f, "one-way {} {}", from.index(), to.index()),
            Shape::Thirds => f.write_str("thirds"),
        }
    }
}

/// A whole number of the largest unit that gives one.
struct Time(Duration);

impl Display for Time {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos();
        let (unit, per) = UNITS.into_iter().find(|(_, per)| nanos.is_multiple_of(*per)).unwrap_or(("ns", 1));
        write!(f, "{}{unit}", nanos / per)
    }
}

/// The largest first.
pub(super) const UNITS: [(&str, u128); 4] = [("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000), ("ns", 1)];
