//! What becomes of a datagram between two nodes.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use glue_net::{Instant, Transmit, Via};

use crate::host::Place;
use crate::hostile::{Forgery, Stranger};
use crate::link::Parcel;
use crate::nat::Nats;
use crate::path::{Copy, Paths};
use crate::queue::{Flight, Happening, Queue};
use crate::trace::{TraceHash, digest};
use crate::{Fate, INTERFACE, Link, NodeId, Record, Stats};

/// Shown what becomes of every datagram.
pub(crate) type Trace = Box<dyn FnMut(&Record<'_>)>;

/// Tells what is control.
pub(crate) type Classifier = fn(Via, &[u8]) -> bool;

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
    pub(crate) nats: Nats,
    pub(crate) stranger: Stranger,
    pub(crate) classifier: Classifier,
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
            nats: Nats::default(),
            stranger: Stranger::new(seed),
            classifier: |via, datagram| via != Via::Data || datagram.len() < CONTROL_BYTES,
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

    /// What a node sends comes from another port from now on, and what is sent to the old one finds nobody.
    pub(crate) fn rebind(&mut self, id: NodeId) {
        let Some(place) = self.places.get(id.index()) else { return };
        if place.nat.is_some() {
            return self.nats.forget(id);
        }
        let mut data = place.data;
        while self.owners.contains_key(&data) {
            data.set_port(data.port().checked_add(1).unwrap_or(FIRST_FREE_PORT));
        }
        self.relocate(id, data);
    }

    /// A stranger's datagram, which no link delays but by the usual latency, and none loses.
    pub(crate) fn inject(&mut self, now: Instant, forgery: Forgery) {
        let Forgery { from, to, datagram: payload } = forgery;
        let (sender, digest) = (NodeId::STRANGER, digest(&payload));
        self.totals.sent += 1;
        self.totals.sent_bytes += payload.len() as u64;
        let at = now + self.default_link.latency;
        let flight = Flight { sender, receiver: sender, from, to, payload, digest, corrupted: false, control: false };
        if to.ip().is_multicast() {
            for (index, place) in (0..).zip(&self.places) {
                if place.hears(to) {
                    self.totals.copies += 1;
                    let (receiver, payload) = (NodeId::new(index), flight.payload.clone());
                    self.queue.push(at, Happening::Arrive(Flight { receiver, payload, ..flight }));
                }
            }
            return;
        }
        let receiver = self.owners.get(&to).copied().or_else(|| self.nats.enter(now, from.ip(), to));
        self.totals.copies += 1;
        match receiver {
            Some(receiver) => self.queue.push(at, Happening::Arrive(Flight { receiver, ..flight })),
            None => self.settle(now, &flight, Fate::Unreachable),
        }
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
        let (to, control) = (transmit.to, (self.classifier)(transmit.via, bytes));
        let datagram = Flight { sender, receiver: sender, from, to, payload, digest, corrupted: false, control };
        if let Some(forgery) = self.stranger.hear(&datagram) {
            self.inject(now, forgery);
        }
        if to.ip().is_multicast() {
            return self.send_to_group(now, datagram);
        }
        match self.route(now, sender, from, to) {
            Some((receiver, from)) => self.launch(now, Flight { receiver, from, ..datagram }),
            None => self.unreachable(now, sender, to, &datagram.payload, digest),
        }
    }

    /// Who gets it, and from which address it seems to come.
    fn route(
        &mut self,
        now: Instant,
        sender: NodeId,
        from: SocketAddr,
        to: SocketAddr,
    ) -> Option<(NodeId, SocketAddr)> {
        let nat_of = |node: NodeId| self.places.get(node.index()).and_then(|place| place.nat);
        let home = nat_of(sender);
        let receiver = self.owners.get(&to).copied();
        if let Some(receiver) = receiver {
            let there = nat_of(receiver);
            if there.map(|nat| nat.outside) == home.map(|nat| nat.outside) {
                return Some((receiver, from));
            }
            if there.is_some() {
                return None;
            }
        }
        let from = home.map_or(from, |nat| self.nats.leave(now, sender, nat, from, to.ip()));
        let receiver = receiver.or_else(|| self.nats.enter(now, from.ip(), to))?;
        Some((receiver, from))
    }

    /// Whether the receiver still has the address that the datagram was sent to.
    pub(crate) fn is_here(&self, flight: &Flight) -> bool {
        flight.to.ip().is_multicast()
            || self.nats.leads_to(flight.to, flight.receiver)
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
        let multicast = flight.to.ip().is_multicast();
        let parcel = Parcel { len: flight.payload.len(), multicast, control: flight.control };
        self.paths.take(now, ends, parcel, link)
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

/// Below it is what only acknowledges: such datagrams of glue take 20 to 50 bytes, and one with a message of 12 bytes in it more.
const CONTROL_BYTES: usize = 64;

/// Where ports begin that nobody else uses.
const FIRST_FREE_PORT: u16 = 49_152;
