//! How networks fall apart.

use crate::NodeId;

/// A shape of a partition, whatever the number of nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Shape {
    /// Two parts: the first half of the nodes, and the rest.
    Halves,
    /// One node is alone.
    Isolated(NodeId),
    /// Reach is not transitive: nodes stand in a row, and each reaches only those beside it.
    NonTransitive,
    /// What the first sends does not reach the second; the way back is open.
    OneWay(NodeId, NodeId),
    /// Three parts of nodes that follow each other.
    Thirds,
}

impl Shape {
    /// Whether it stands between a sender and a receiver, of `count` nodes.
    #[must_use]
    pub fn cuts(&self, count: usize, sender: NodeId, receiver: NodeId) -> bool {
        let (a, b) = (sender.index(), receiver.index());
        match *self {
            Self::Halves => (a * 2 < count) != (b * 2 < count),
            Self::Isolated(node) => (sender == node) != (receiver == node),
            Self::NonTransitive => a.abs_diff(b) > 1,
            Self::OneWay(from, to) => (sender, receiver) == (from, to),
            Self::Thirds => a * 3 / count.max(1) != b * 3 / count.max(1),
        }
    }
}
