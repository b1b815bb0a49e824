//! What becomes of a datagram between two nodes.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use glue_net::{Instant, Transmit, Via};

use crate::host::Place;
use crate::path::{Copy, Paths};
use crate::queue::{Flight, Happening, Queue};
use crate::trace::{TraceHash, digest};
use crate::{Fate, INTERFACE, Link, NodeId, Record, Stats};

/// Shown what becomes of every datagram.
pub(crate) type Trace = Box<dyn FnMut(&Record<'_>)>;

/// All but the nodes themselves.
pub(crate) struct Network {
    pub(crate) queue: Queue,
    pub(crate) places: Vec<Place>,
    pub(crate) paths: Paths,
    owners: BTreeMap<SocketAddr, NodeId>,
    pub(crate) default_link: Link,
    pub(crate) loopback: Link,
    pub(crate) multicast: bool,
    pub(crate) unicast: bool,
    pub(crate) totals: Stats,
    /// By sender.
    pub(crate) stats: Vec<Stats>,
    pub(crate) hash: TraceHash,
    pub(crate) trace: Option<Trace>,
    /// Receivers of a multicast datagram; kept for its memory.
    audience: Vec<NodeId>,
}

impl Network {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            queue: Queue::default(),
            places: Vec::new(),
            paths: Paths::new(seed),
            owners: BTreeMap::new(),
            default_link: Link::perfect(),
            loopback: Link::perfect().latency(LOOPBACK_LATENCY),
            multicast: true,
            unicast: true,
            totals: Stats::default(),
            stats: Vec::new(),
            hash: TraceHash::new(seed),
            trace: None,
            audience: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, id: NodeId, place: Place) {
        self.register(id, [Some(place.data), place.discovery()]);
        self.places.push(place);
        self.stats.push(Stats::default());
    }

    /// Gives a node another data address; if the IP address is another one, unicast discovery moves as well.
    pub(crate) fn relocate(&mut self, id: NodeId, data: SocketAddr) {
        self.owners.retain(|_, owner| *owner != id);
        let Some(place) = self.places.get_mut(id.index()) else { return };
        place.data = data;
        let addresses = [Some(place.data), place.discovery()];
        self.register(id, addresses);
    }

    /// Puts a datagram on its way.
    pub(crate) fn send(&mut self, now: Instant, sender: NodeId, transmit: Transmit, bytes: &[u8]) {
        let digest = digest(bytes);
        let payload = Bytes::copy_from_slice(bytes);
        self.count(sender, |stats| {
            stats.sent += 1;
            stats.sent_bytes += bytes.len() as u64;
        });
        let Some(from) = self.source(sender, transmit) else {
            return self.unreachable(now, sender, transmit.to, &payload, digest);
        };
        let datagram = Flight { sender, receiver: sender, from, to: transmit.to, payload, digest, corrupted: false };
        if transmit.to.ip().is_multicast() {
            return self.send_to_group(now, datagram);
        }
        match self.owners.get(&transmit.to) {
            Some(receiver) => self.launch(now, Flight { receiver: *receiver, ..datagram }),
            None => self.unreachable(now, sender, transmit.to, &datagram.payload, digest),
        }
    }

    /// Whether the receiver still has the address that the datagram was sent to.
    pub(crate) fn is_here(&self, flight: &Flight) -> bool {
        flight.to.ip().is_multicast()
            || self.places.get(flight.receiver.index()).is_some_and(|place| place.owns(flight.to))
    }

    /// Notes what became of a copy.
    pub(crate) fn settle(&mut self, now: Instant, flight: &Flight, fate: Fate) {
        let record = Record {
            at: now,
            sender: flight.sender,
            receiver: Some(flight.receiver),
            to: flight.to,
            datagram: &flight.payload,
            corrupted: flight.corrupted,
            fate,
        };
        self.note(&record, flight.digest);
    }

    /// Lifts all cuts.
    pub(crate) fn heal(&mut self) {
        self.paths.heal();
        (self.multicast, self.unicast) = (true, true);
    }

    /// The address that the receiver sees. `None`: there is no such socket.
    fn source(&self, sender: NodeId, transmit: Transmit) -> Option<SocketAddr> {
        let place = self.places.get(sender.index())?;
        match transmit.via {
            Via::Data => Some(place.data),
            Via::Discovery => place.discovery(),
            // The multicast socket is bound to the group's address, so its datagrams come from the group's port.
            Via::Multicast { interface } => {
                (interface == INTERFACE).then(|| SocketAddr::new(place.data.ip(), transmit.to.port()))
            }
        }
    }

    fn send_to_group(&mut self, now: Instant, datagram: Flight) {
        let Some(segment) = self.places.get(datagram.sender.index()).map(|place| place.segment) else { return };
        let mut audience = std::mem::take(&mut self.audience);
        audience.clear();
        for (index, place) in (0..).zip(&self.places) {
            if place.segment == segment && place.hears(datagram.to) {
                audience.push(NodeId::new(index));
            }
        }
        for receiver in &audience {
            let payload = datagram.payload.clone();
            self.launch(now, Flight { receiver: *receiver, payload, ..datagram });
        }
        self.audience = audience;
    }

    fn launch(&mut self, now: Instant, flight: Flight) {
        let Flight { sender, receiver, .. } = flight;
        self.count(sender, |stats| stats.copies += 1);
        if sender != receiver && self.is_cut(sender, receiver, flight.to) {
            return self.settle(now, &flight, Fate::Cut);
        }
        match self.travel(now, &flight) {
            Err(fate) => self.settle(now, &flight, fate),
            Ok((copy, None)) => self.land(copy, flight),
            Ok((first, Some(second))) => {
                self.count(sender, |stats| {
                    stats.copies += 1;
                    stats.duplicated += 1;
                });
                let payload = flight.payload.clone();
                self.land(first, Flight { payload, ..flight });
                self.land(second, flight);
            }
        }
    }

    fn travel(&mut self, now: Instant, flight: &Flight) -> Result<(Copy, Option<Copy>), Fate> {
        let ends = (flight.sender, flight.receiver);
        let link = if self.one_machine(ends) { &self.loopback } else { &self.default_link };
        self.paths.take(now, ends, flight.payload.len(), link)
    }

    /// How long a datagram that is sent now waits for the link.
    pub(crate) fn backlog(&mut self, now: Instant, ends: (NodeId, NodeId)) -> Duration {
        let link = if self.one_machine(ends) { &self.loopback } else { &self.default_link };
        self.paths.backlog(now, ends, link)
    }

    fn land(&mut self, copy: Copy, mut flight: Flight) {
        if copy.late {
            self.count(flight.sender, |stats| stats.reordered += 1);
        }
        if copy.corrupted && !flight.payload.is_empty() {
            self.count(flight.sender, |stats| stats.corrupted += 1);
            (flight.payload, flight.digest) = self.paths.get(flight.sender, flight.receiver).corrupt(&flight.payload);
            flight.corrupted = true;
        }
        self.queue.push(copy.at, Happening::Arrive(flight));
    }

    fn is_cut(&mut self, sender: NodeId, receiver: NodeId, to: SocketAddr) -> bool {
        let off = if to.ip().is_multicast() { !self.multicast } else { !self.unicast };
        off || self.paths.get(sender, receiver).cut
    }

    fn one_machine(&self, (a, b): (NodeId, NodeId)) -> bool {
        let ip = |node: NodeId| self.places.get(node.index()).map(|place| place.data.ip());
        a == b || ip(a) == ip(b)
    }

    fn unreachable(&mut self, now: Instant, sender: NodeId, to: SocketAddr, datagram: &[u8], digest: u64) {
        self.count(sender, |stats| stats.copies += 1);
        let fate = Fate::Unreachable;
        let record = Record { at: now, sender, receiver: None, to, datagram, corrupted: false, fate };
        self.note(&record, digest);
    }

    fn note(&mut self, record: &Record<'_>, digest: u64) {
        self.hash.add(record, digest);
        self.count(record.sender, |stats| stats.count(record.fate, record.datagram.len() as u64));
        if let Some(trace) = &mut self.trace {
            trace(record);
        }
    }

    fn count(&mut self, sender: NodeId, change: impl Fn(&mut Stats)) {
        change(&mut self.totals);
        if let Some(stats) = self.stats.get_mut(sender.index()) {
            change(stats);
        }
    }

    fn register(&mut self, id: NodeId, addresses: [Option<SocketAddr>; 2]) {
        for address in addresses.into_iter().flatten() {
            let former = self.owners.insert(address, id);
            assert!(former.is_none_or(|owner| owner == id), "{address} of {id} belongs to another node");
        }
    }
}

/// Shows the size, not the content.
impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network")
            .field("nodes", &self.places.len())
            .field("totals", &self.totals)
            .finish_non_exhaustive()
    }
}

/// Two processes of one machine are this far apart: half a round trip of 64 bytes between bare UDP sockets took 4.6 us.
const LOOPBACK_LATENCY: Duration = Duration::from_micros(5);
