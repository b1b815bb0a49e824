//! Scenarios: what happens to a network, as data.

mod generate;
mod parse;
mod play;
mod print;
mod run;
mod shrink;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::{Bursts, Hostile, Link, NodeId, Shape, Sort};

pub use generate::Recipe;
pub use parse::ParseScenarioError;
pub use play::{Change, Player};
pub use run::check_scenarios;
pub use shrink::shrink;

/// A run of a network, as data: it is generated from a seed, printed, read, [shortened](shrink()) when it fails, and
/// [played](Player) on a [`World`](crate::World).
///
/// ```
/// use glue_sim::Scenario;
///
/// let text = "scenario nodes 3 seed 31 for 20s
///     link loss 0.1
///     set interval_ms 50
///     at 2s for 3s partition halves
///     at 4s for 500ms freeze 1
///     at 6s for 5s loss 0.5 to 2";
/// let scenario: Scenario = text.parse()?;
/// assert_eq!(scenario.steps.len(), 3);
/// assert_eq!(scenario.to_string().parse(), Ok(scenario.clone()));
/// assert_eq!(scenario.line().parse(), Ok(scenario));
/// # Ok::<(), glue_sim::ParseScenarioError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// Nodes that it is about: those with the numbers from 0 on.
    pub nodes: u32,
    /// What all randomness follows from.
    pub seed: u64,
    /// How long it is.
    pub span: Duration,
    /// What links do all the time.
    pub link: Vec<Impairment>,
    /// Numbers of the application, by name: how often it sends, how much.
    pub settings: BTreeMap<String, u64>,
    /// What happens, in any order.
    pub steps: Vec<Step>,
}

/// Something that happens for a while.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// When it begins, from the start of the scenario.
    pub at: Duration,
    /// How long it lasts.
    pub last: Duration,
    /// What it is.
    pub fault: Fault,
}

/// What may happen. Where faults of a kind overlap, all of them are in force; when a fault ends, all is as without it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Fault {
    /// A receive buffer of so many bytes.
    Buffer(NodeId, usize),
    /// Each datagram keeps the node busy for so long.
    Busy(NodeId, Duration),
    /// A monotonic clock jumps forward, at the beginning.
    ClockJump(NodeId, Duration),
    /// A process crashes, and is started anew at the end.
    Crash(NodeId),
    /// A monotonic clock gains so many parts per million.
    Drift(NodeId, i32),
    /// A partition comes and goes: so long it is there, so long it is not.
    Flap(Duration, Shape),
    /// A process is stopped, as by SIGSTOP.
    Freeze(NodeId),
    /// A stranger is in the network.
    Hostile(Hostile),
    /// Links of this scope do something more.
    Link(Scope, Impairment),
    /// A node gets another IP address and is told; at the end it is back at the old one.
    Move(NodeId),
    /// Multicast is dead.
    NoMulticast,
    /// Unicast is dead.
    NoUnicast,
    /// The network falls apart.
    Partition(Shape),
    /// A node's port is another one until the end, and it is not told. Behind a [`Nat`](crate::Nat) it is yet another one at the
    /// end.
    Rebind(NodeId),
    /// The last so many nodes are down, and start together at the end: a storm of joins.
    Storm(u32),
    /// A wall clock is so many seconds ahead, or behind.
    WallJump(NodeId, i64),
}

/// One thing that links do to datagrams. The more of them, the worse: losses add up, times add up, the lowest limit holds.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Impairment {
    /// [`Link::bursts`].
    Bursts(Bursts),
    /// [`Link::corrupt`].
    Corrupt(f64),
    /// [`Link::duplicate`].
    Duplicate(f64),
    /// [`Link::jitter`].
    Jitter(Duration),
    /// [`Link::latency`], beside what there is.
    Latency(Duration),
    /// [`Link::loss`], beside what there is.
    Loss(f64),
    /// [`Link::mtu`].
    Mtu(usize),
    /// [`Link::rate`]: bytes per second, and the time for which they may wait.
    Rate(u64, Duration),
    /// [`Link::reorder`].
    Reorder(f64, Duration),
    /// [`Link::sift`].
    Sift(Sort, f64),
}

/// Which links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All.
    All,
    /// That from the first to the second node, and not the way back.
    Between(NodeId, NodeId),
    /// Those from a node.
    From(NodeId),
    /// Those to a node.
    To(NodeId),
}

impl Scenario {
    /// A scenario in which nothing happens.
    #[must_use]
    pub const fn new(seed: u64, nodes: u32, span: Duration) -> Self {
        Self { nodes, seed, span, link: Vec::new(), settings: BTreeMap::new(), steps: Vec::new() }
    }

    /// A number of the application; `usual` if it is not set.
    #[must_use]
    pub fn setting(&self, name: &str, usual: u64) -> u64 {
        self.settings.get(name).copied().unwrap_or(usual)
    }

    /// What its links do when nothing happens.
    #[must_use]
    pub fn usual_link(&self) -> Link {
        self.link.iter().fold(Link::perfect(), |link, impairment| impairment.on(link))
    }

    /// When the last fault is over.
    #[must_use]
    pub fn calm_at(&self) -> Duration {
        self.steps.iter().map(Step::end).max().unwrap_or_default()
    }
}

impl Step {
    /// When it is over.
    #[must_use]
    pub fn end(&self) -> Duration {
        self.at.saturating_add(self.last)
    }

    /// Whether it is in force at a time.
    #[must_use]
    pub fn is_on(&self, at: Duration) -> bool {
        if at < self.at || at >= self.end() {
            return false;
        }
        match &self.fault {
            Fault::Flap(period, _) => ((at - self.at).as_nanos() / period.as_nanos().max(1)).is_multiple_of(2),
            _ => true,
        }
    }
}

impl Fault {
    /// The nodes that it names.
    pub fn names(&self) -> impl Iterator<Item = NodeId> {
        let of_shape = |shape: &Shape| match *shape {
            Shape::Isolated(node) => [Some(node), None],
            Shape::OneWay(from, to) => [Some(from), Some(to)],
            Shape::Halves | Shape::NonTransitive | Shape::Thirds => [None, None],
        };
        let names = match self {
            Self::Buffer(node, _)
            | Self::Busy(node, _)
            | Self::ClockJump(node, _)
            | Self::Crash(node)
            | Self::Drift(node, _)
            | Self::Freeze(node)
            | Self::Move(node)
            | Self::Rebind(node)
            | Self::WallJump(node, _) => [Some(*node), None],
            Self::Flap(_, shape) | Self::Partition(shape) => of_shape(shape),
            Self::Link(scope, _) => match *scope {
                Scope::All => [None, None],
                Scope::Between(from, to) => [Some(from), Some(to)],
                Scope::From(node) | Scope::To(node) => [Some(node), None],
            },
            Self::Hostile(_) | Self::NoMulticast | Self::NoUnicast | Self::Storm(_) => [None, None],
        };
        names.into_iter().flatten()
    }

    /// Whether it may bear on what `sender` sends to `receiver`, of `count` nodes: neither it nor anything on its way back.
    #[must_use]
    pub fn touches(&self, count: u32, sender: NodeId, receiver: NodeId) -> bool {
        let ends = [sender, receiver];
        match self {
            Self::Flap(_, shape) | Self::Partition(shape) => {
                shape.cuts(count as usize, sender, receiver) || shape.cuts(count as usize, receiver, sender)
            }
            Self::Hostile(_) | Self::NoMulticast | Self::NoUnicast | Self::Link(Scope::All, _) => true,
            Self::Link(Scope::Between(from, to), _) => ends.contains(from) && ends.contains(to),
            Self::Storm(joining) => {
                ends.iter().any(|node| node.index() as u64 + u64::from(*joining) >= u64::from(count))
            }
            _ => self.names().any(|node| ends.contains(&node)),
        }
    }

    /// The same about nodes with other numbers; `None` if there is none for one of them.
    pub(crate) fn renamed(&self, name: impl Fn(NodeId) -> Option<NodeId>) -> Option<Self> {
        let of_shape = |shape: Shape| {
            Some(match shape {
                Shape::Isolated(node) => Shape::Isolated(name(node)?),
                Shape::OneWay(from, to) => Shape::OneWay(name(from)?, name(to)?),
                Shape::Halves | Shape::NonTransitive | Shape::Thirds => shape,
            })
        };
        Some(match self.clone() {
            Self::Buffer(node, bytes) => Self::Buffer(name(node)?, bytes),
            Self::Busy(node, time) => Self::Busy(name(node)?, time),
            Self::ClockJump(node, by) => Self::ClockJump(name(node)?, by),
            Self::Crash(node) => Self::Crash(name(node)?),
            Self::Drift(node, ppm) => Self::Drift(name(node)?, ppm),
            Self::Flap(period, shape) => Self::Flap(period, of_shape(shape)?),
            Self::Freeze(node) => Self::Freeze(name(node)?),
            Self::Link(scope, impairment) => {
                let scope = match scope {
                    Scope::All => Scope::All,
                    Scope::Between(from, to) => Scope::Between(name(from)?, name(to)?),
                    Scope::From(node) => Scope::From(name(node)?),
                    Scope::To(node) => Scope::To(name(node)?),
                };
                Self::Link(scope, impairment)
            }
            Self::Move(node) => Self::Move(name(node)?),
            Self::Partition(shape) => Self::Partition(of_shape(shape)?),
            Self::Rebind(node) => Self::Rebind(name(node)?),
            Self::WallJump(node, seconds) => Self::WallJump(name(node)?, seconds),
            same @ (Self::Hostile(_) | Self::NoMulticast | Self::NoUnicast | Self::Storm(_)) => same,
        })
    }
}

impl Scope {
    /// Whether the link from `sender` to `receiver` is one of them.
    #[must_use]
    pub fn has(&self, sender: NodeId, receiver: NodeId) -> bool {
        match *self {
            Self::All => true,
            Self::Between(from, to) => (sender, receiver) == (from, to),
            Self::From(node) => sender == node,
            Self::To(node) => receiver == node,
        }
    }
}

impl Impairment {
    /// The link that also does this.
    #[must_use]
    pub fn on(&self, mut link: Link) -> Link {
        // Of what either of two does independently.
        let either = |a: f64, b: f64| 1.0 - (1.0 - a) * (1.0 - b);
        match *self {
            Self::Bursts(bursts) => link.bursts = Some(bursts),
            Self::Corrupt(p) => link.corrupt = either(link.corrupt, p),
            Self::Duplicate(p) => link.duplicate = either(link.duplicate, p),
            Self::Jitter(time) => link.jitter += time,
            Self::Latency(time) => link.latency += time,
            Self::Loss(p) => link.loss = either(link.loss, p),
            Self::Mtu(bytes) => link.mtu = link.mtu.min(bytes),
            Self::Rate(rate, wait) => {
                if link.rate.is_none_or(|other| rate < other.get()) {
                    link = link.bloated(rate, wait);
                }
            }
            Self::Reorder(p, delay) => {
                link.reorder = either(link.reorder, p);
                link.reorder_delay = link.reorder_delay.max(delay);
            }
            Self::Sift(sort, loss) => link = link.sift(sort, loss),
        }
        link
    }
}
