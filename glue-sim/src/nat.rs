//! Network address translation: what stands between a home and the world.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use glue_net::Instant;

use crate::NodeId;

/// A translator of addresses that a node is behind. Nodes behind the same `outside` address share it, and reach each other
/// directly; others reach them where they have sent from last, and by multicast not at all unless they share a segment.
///
/// It maps each inside address to one outside port for all destinations, as RFC 4787 requires; the node is not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nat {
    /// The address that the world sees.
    pub outside: IpAddr,
    /// Whether only those get in whose IP address was sent to before ("address-dependent filtering").
    pub filters: bool,
    /// How long a mapping lives after the last datagram outwards. RFC 4787 wants two minutes at least; 30 s is common.
    pub forgets: Duration,
}

impl Nat {
    /// Lets in only those that were sent to, and forgets after 30 s.
    #[must_use]
    pub const fn new(outside: IpAddr) -> Self {
        Self { outside, filters: true, forgets: Duration::from_secs(30) }
    }
}

/// All mappings of all translators.
#[derive(Debug, Default)]
pub(crate) struct Nats {
    /// By outside address.
    mappings: BTreeMap<SocketAddr, Mapping>,
    /// From inside to outside.
    names: BTreeMap<SocketAddr, SocketAddr>,
    given: u16,
}

#[derive(Debug)]
struct Mapping {
    node: NodeId,
    inside: SocketAddr,
    nat: Nat,
    used: Instant,
    /// Whom it was used towards.
    known: Vec<IpAddr>,
}

impl Nats {
    /// A datagram goes out; gives the address that the world sees.
    pub(crate) fn leave(&mut self, now: Instant, node: NodeId, nat: Nat, inside: SocketAddr, to: IpAddr) -> SocketAddr {
        let usable = |outside: &SocketAddr| self.mappings.get(outside).is_some_and(|mapping| mapping.is_alive(now));
        let outside = self.names.get(&inside).copied().filter(usable).unwrap_or_else(|| {
            let outside = self.fresh(nat.outside);
            let mapping = Mapping { node, inside, nat, used: now, known: Vec::new() };
            self.mappings.insert(outside, mapping);
            if let Some(former) = self.names.insert(inside, outside) {
                self.mappings.remove(&former);
            }
            outside
        });
        if let Some(mapping) = self.mappings.get_mut(&outside) {
            mapping.used = now;
            if !mapping.known.contains(&to) {
                mapping.known.push(to);
            }
        }
        outside
    }

    /// A datagram comes from `from` to an outside address; gives who gets it. What comes in does not keep a mapping alive.
    pub(crate) fn enter(&self, now: Instant, from: IpAddr, outside: SocketAddr) -> Option<NodeId> {
        let mapping = self.mappings.get(&outside)?;
        let passes = mapping.is_alive(now) && (!mapping.nat.filters || mapping.known.contains(&from));
        passes.then_some(mapping.node)
    }

    /// Whether what was sent to this outside address is still for this node.
    pub(crate) fn leads_to(&self, outside: SocketAddr, node: NodeId) -> bool {
        self.mappings.get(&outside).is_some_and(|mapping| mapping.node == node)
    }

    /// Forgets a node's mappings, as a translator does that was restarted: what the node sends next comes from other ports.
    pub(crate) fn forget(&mut self, node: NodeId) {
        self.mappings.retain(|_, mapping| mapping.node != node);
        let mappings = &self.mappings;
        self.names.retain(|inside, outside| mappings.get(outside).is_some_and(|mapping| mapping.inside == *inside));
    }

    /// An outside address that was not given before, or not for long.
    fn fresh(&mut self, outside: IpAddr) -> SocketAddr {
        self.given = self.given.wrapping_add(1) % PORTS;
        SocketAddr::new(outside, FIRST_PORT + self.given)
    }
}

impl Mapping {
    fn is_alive(&self, now: Instant) -> bool {
        now.since(self.used) <= self.nat.forgets
    }
}

/// What IANA leaves to such use.
const FIRST_PORT: u16 = 49_152;
const PORTS: u16 = 16_384;
