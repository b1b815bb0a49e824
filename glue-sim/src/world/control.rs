//! What can be done to the network, and to the machines that nodes run on.

use std::net::SocketAddr;

use glue_net::Node;

use crate::{Link, NodeId, Receive, World};

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

    /// Sets how far a node's wall clock is ahead of the truth. The node is not told.
    pub fn set_wall_offset_nanos(&mut self, id: NodeId, nanos: i64) {
        self.slot_mut(id).wall_offset_nanos = nanos;
    }
}
