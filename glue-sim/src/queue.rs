//! What is to come, in the order of time; at one instant, in the order in which it was put in.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::net::SocketAddr;

use bytes::Bytes;
use glue_net::Instant;

use crate::NodeId;

/// When something happens: the time, and the number that makes the order total.
pub(crate) type Key = (Instant, u64);

/// Something that happens.
#[derive(Debug)]
pub(crate) enum Happening {
    /// A datagram reaches its receiver.
    Arrive(Flight),
    /// A node takes the next datagram of its receive buffer.
    Serve(NodeId),
    /// A node may want a timeout.
    Wake(NodeId),
}

/// One copy of a datagram under way.
#[derive(Debug)]
pub(crate) struct Flight {
    pub(crate) sender: NodeId,
    pub(crate) receiver: NodeId,
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) payload: Bytes,
    pub(crate) digest: u64,
    pub(crate) corrupted: bool,
    /// Whether links take it for control.
    pub(crate) control: bool,
}

/// The queue. Datagrams stand aside in slots, so that the heap moves 32 bytes per step and not 150.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    heap: BinaryHeap<Entry>,
    flights: Vec<Option<Flight>>,
    free: Vec<usize>,
    sequence: u64,
}

impl Queue {
    /// A key at `at`, after all that were given for it.
    pub(crate) fn key(&mut self, at: Instant) -> Key {
        self.sequence += 1;
        (at, self.sequence)
    }

    pub(crate) fn push(&mut self, at: Instant, happening: Happening) {
        let what = match happening {
            Happening::Arrive(flight) => What::Arrive(self.park(flight)),
            Happening::Serve(node) => What::Serve(node),
            Happening::Wake(node) => What::Wake(node),
        };
        let key = self.key(at);
        self.heap.push(Entry { key, what });
    }

    pub(crate) fn next_key(&self) -> Option<Key> {
        self.heap.peek().map(|entry| entry.key)
    }

    pub(crate) fn pop(&mut self) -> Option<Happening> {
        let entry = self.heap.pop()?;
        Some(match entry.what {
            What::Arrive(slot) => {
                self.free.push(slot);
                Happening::Arrive(self.flights.get_mut(slot)?.take()?)
            }
            What::Serve(node) => Happening::Serve(node),
            What::Wake(node) => Happening::Wake(node),
        })
    }

    fn park(&mut self, flight: Flight) -> usize {
        if let Some(slot) = self.free.pop()
            && let Some(parked) = self.flights.get_mut(slot)
        {
            *parked = Some(flight);
            return slot;
        }
        self.flights.push(Some(flight));
        self.flights.len() - 1
    }
}

#[derive(Debug)]
struct Entry {
    key: Key,
    what: What,
}

#[derive(Debug)]
enum What {
    Arrive(usize),
    Serve(NodeId),
    Wake(NodeId),
}

/// The earliest is the greatest: `BinaryHeap` gives the greatest first.
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        other.key.cmp(&self.key)
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for Entry {}
