//! What can be done to the network, and to the machines that nodes run on.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use glue_net::{Node, Via};

use crate::hostile::Forgery;
use crate::{Hostile, Link, NodeId, Receive, Shape, World};

/// Links, partitions, addresses, clocks.
impl<N: Node> World<N> {
    /// Sets the link between all nodes that have no other; [`Link::perfect`] at first.
    ///
    /// # Panics
    ///
    /// As every method that takes a link: if a probability is not from 0 to 1.
    pub fn set_default_link(&mut self, link: Link) {
        self.network.default_link = link.checked();
    }

    /// Sets the link of a node to itself and to others with its IP address; at first perfect, and 5 microseconds long.
    pub fn set_loopback(&mut self, link: Link) {
        self.network.loopback = link.checked();
    }

    /// Sets the link from `sender` to `receiver`; not the way back. It may be one node: then it is its own loopback.
    pub fn set_link(&mut self, sender: NodeId, receiver: NodeId, link: Link) {
        self.path(sender, receiver).link = Some(Box::new(link.checked()));
    }

    /// Undoes [`World::set_link`].
    pub fn reset_link(&mut self, sender: NodeId, receiver: NodeId) {
        self.path(sender, receiver).link = None;
    }

    /// Lets nothing pass from `sender` to `receiver`; the way back stays.
    pub fn cut(&mut self, sender: NodeId, receiver: NodeId) {
        self.path(sender, receiver).cut = true;
    }

    /// Cuts a node off from all others, both ways. It still reaches itself.
    pub fn isolate(&mut self, id: NodeId) {
        self.partition(&[vec![id]]);
    }

    /// Cuts all ways between the groups. Nodes that are in no group form one more. Older cuts stay.
    pub fn partition(&mut self, groups: &[Vec<NodeId>]) {
        let group = |id: NodeId| groups.iter().position(|group| group.contains(&id));
        for sender in self.nodes() {
            for receiver in self.nodes() {
                if group(sender) != group(receiver) {
                    self.cut(sender, receiver);
                }
            }
        }
    }

    /// Cuts what a shape cuts. Older cuts stay.
    pub fn split(&mut self, shape: &Shape) {
        let count = self.nodes().count();
        for sender in self.nodes() {
            for receiver in self.nodes() {
                if shape.cuts(count, sender, receiver) {
                    self.cut(sender, receiver);
                }
            }
        }
    }

    /// Lifts all cuts, and lets multicast and unicast pass.
    pub fn heal(&mut self) {
        self.network.heal();
    }

    /// Whether multicast passes between nodes. A node always hears itself.
    pub const fn set_multicast(&mut self, on: bool) {
        self.network.multicast = on;
    }

    /// Whether unicast passes between nodes.
    pub const fn set_unicast(&mut self, on: bool) {
        self.network.unicast = on;
    }

    /// Gives a node another data address, and, if the IP address is another, unicast discovery there as well. The node
    /// is not told: it is up to the caller to pass on [`World::interfaces`], or not, as behind a NAT. What is under way to
    /// the old address finds nobody.
    ///
    /// # Panics
    ///
    /// If an address belongs to another node.
    pub fn move_node(&mut self, id: NodeId, data: SocketAddr) {
        let id = self.slot(id).id;
        self.network.relocate(id, data);
    }

    /// What a node sends comes from other ports from now on, and what is sent to the old ones finds nobody: behind a
    /// [`Nat`](crate::Nat) its mappings are forgotten, else its data port is another. The node is not told.
    pub fn rebind(&mut self, id: NodeId) {
        let id = self.slot(id).id;
        self.network.rebind(id);
    }

    /// Says what is control, for [`Sort::Control`](crate::Sort::Control) and [`Sort::Data`](crate::Sort::Data): by the socket
    /// that a datagram leaves by, and its bytes. At first it is all that does not leave by the data socket, and all that is
    /// shorter than 64 bytes.
    pub fn set_classifier(&mut self, is_control: fn(Via, &[u8]) -> bool) {
        self.network.classifier = is_control;
    }

    /// Lets a stranger into the network, or sends it away.
    ///
    /// # Panics
    ///
    /// If its rate is not from 0 to 0.5.
    pub fn set_hostile(&mut self, hostile: Option<Hostile>) {
        self.network.stranger.conduct = hostile.map(Hostile::checked);
    }

    /// Sends a datagram that no node sent, from whatever address, to a node or to all of a group. It arrives after the latency
    /// of the default link. In traces its sender is [`NodeId::STRANGER`].
    pub fn inject(&mut self, from: SocketAddr, to: SocketAddr, datagram: impl Into<Bytes>) {
        self.network.inject(self.now, Forgery { from, to, datagram: datagram.into() });
    }

    /// Sets how a node takes datagrams in.
    pub fn set_receive(&mut self, id: NodeId, receive: Receive) {
        self.slot_mut(id).receive = receive;
    }

    /// Sets how much a node's monotonic clock gains from now on, in parts per million.
    ///
    /// # Panics
    ///
    /// If it is not from -500,000 to 1,000,000.
    pub fn set_drift(&mut self, id: NodeId, drift_ppm: i32) {
        let now = self.now;
        self.slot_mut(id).clock.set_drift(now, drift_ppm);
        self.schedule_wake(id);
    }

    /// Lets a node's monotonic clock jump forward, as that of a virtual machine does which was stopped.
    pub fn jump_clock(&mut self, id: NodeId, by: Duration) {
        let now = self.now;
        self.slot_mut(id).clock.jump(now, by);
        self.schedule_wake(id);
    }

    /// Sets how far a node's wall clock is ahead of the truth. The node is not told.
    pub fn set_wall_offset_nanos(&mut self, id: NodeId, nanos: i64) {
        self.slot_mut(id).wall_offset_nanos = nanos;
    }
}
