//! What is done to a world, as data: a script can be generated, printed, shortened and run again.

use std::net::SocketAddr;
use std::time::Duration;

use glue_net::Node;

use crate::{Hostile, Link, NodeId, Receive, Shape, World};

/// One thing to do; see the method of [`World`] with the same name. `C` is [`Node::Command`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Action<C> {
    /// [`World::command`].
    Command(NodeId, C),
    /// [`World::crash`].
    Crash(NodeId),
    /// [`World::cut`]: sender, receiver.
    Cut(NodeId, NodeId),
    /// [`World::freeze`].
    Freeze(NodeId),
    /// [`World::heal`].
    Heal,
    /// [`World::isolate`].
    Isolate(NodeId),
    /// [`World::jump_clock`].
    JumpClock(NodeId, Duration),
    /// [`World::move_node`].
    MoveNode(NodeId, SocketAddr),
    /// [`World::partition`].
    Partition(Vec<Vec<NodeId>>),
    /// [`World::rebind`].
    Rebind(NodeId),
    /// [`World::reset_link`]: sender, receiver.
    ResetLink(NodeId, NodeId),
    /// [`World::restart`].
    Restart(NodeId),
    /// [`World::set_default_link`].
    SetDefaultLink(Link),
    /// [`World::set_drift`].
    SetDrift(NodeId, i32),
    /// [`World::set_hostile`].
    SetHostile(Option<Hostile>),
    /// [`World::set_link`]: sender, receiver.
    SetLink(NodeId, NodeId, Link),
    /// [`World::set_multicast`].
    SetMulticast(bool),
    /// [`World::set_receive`].
    SetReceive(NodeId, Receive),
    /// [`World::set_unicast`].
    SetUnicast(bool),
    /// [`World::set_wall_offset_nanos`].
    SetWallOffsetNanos(NodeId, i64),
    /// [`World::split`].
    Split(Shape),
    /// [`World::thaw`].
    Thaw(NodeId),
}

impl<N: Node> World<N> {
    /// Does `action` now.
    pub fn apply(&mut self, action: Action<N::Command>) {
        match action {
            Action::Command(node, command) => {
                self.command(node, command);
            }
            Action::Crash(node) => self.crash(node),
            Action::Cut(sender, receiver) => self.cut(sender, receiver),
            Action::Freeze(node) => self.freeze(node),
            Action::Heal => self.heal(),
            Action::Isolate(node) => self.isolate(node),
            Action::JumpClock(node, by) => self.jump_clock(node, by),
            Action::MoveNode(node, data) => self.move_node(node, data),
            Action::Partition(groups) => self.partition(&groups),
            Action::Rebind(node) => self.rebind(node),
            Action::ResetLink(sender, receiver) => self.reset_link(sender, receiver),
            Action::Restart(node) => self.restart(node),
            Action::SetDefaultLink(link) => self.set_default_link(link),
            Action::SetDrift(node, ppm) => self.set_drift(node, ppm),
            Action::SetHostile(hostile) => self.set_hostile(hostile),
            Action::SetLink(sender, receiver, link) => self.set_link(sender, receiver, link),
            Action::SetMulticast(on) => self.set_multicast(on),
            Action::SetReceive(node, receive) => self.set_receive(node, receive),
            Action::SetUnicast(on) => self.set_unicast(on),
            Action::SetWallOffsetNanos(node, nanos) => self.set_wall_offset_nanos(node, nanos),
            Action::Split(shape) => self.split(&shape),
            Action::Thaw(node) => self.thaw(node),
        }
    }
}
