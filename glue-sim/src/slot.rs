//! One node and the process around it.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use glue_net::{Instant, Node};

use crate::clock::Clock;
use crate::host::{Host, Receive};
use crate::queue::Flight;
use crate::{Context, NodeId};

/// Builds a node, at first and after each restart.
pub(crate) type Builder<N> = Box<dyn FnMut(Context) -> N>;

/// What becomes of a datagram at the socket.
#[derive(Debug)]
pub(crate) enum Arrival {
    /// The node takes it now.
    Deliver(Flight),
    /// There is no process.
    Down(Flight),
    /// The receive buffer is full.
    Full(Flight),
    /// It waits; the node is to be served at this time, unless that was said before.
    Wait(Option<Instant>),
}

/// A process: it runs, it is frozen, or it is dead.
pub(crate) struct Slot<N: Node> {
    pub(crate) id: NodeId,
    /// `None`: crashed.
    pub(crate) node: Option<N>,
    pub(crate) build: Builder<N>,
    pub(crate) starts: u32,
    pub(crate) clock: Clock,
    pub(crate) wall_offset_nanos: i64,
    pub(crate) receive: Receive,
    pub(crate) frozen: bool,
    /// What the application asked for while it was frozen.
    pub(crate) commands: Vec<N::Command>,
    pub(crate) events: Vec<(Instant, N::Event)>,
    /// The earliest wake-up in the queue. Later ones may be there too; they find that they are not it.
    pub(crate) wake_at: Option<Instant>,
    inbox: VecDeque<Flight>,
    inbox_bytes: usize,
    busy_until: Instant,
    /// The serving in the queue that counts; one from before a crash does not.
    serve_at: Option<Instant>,
    timeouts: Timeouts,
}

/// Timeouts within [`STORM_WINDOW`].
#[derive(Debug, Default)]
struct Timeouts {
    since: Instant,
    count: u32,
}

impl<N: Node> Slot<N> {
    pub(crate) fn new(id: NodeId, host: &Host, build: Builder<N>) -> Self {
        Self {
            id,
            node: None,
            build,
            starts: 0,
            clock: Clock::new(host.clock_offset, host.drift_ppm),
            wall_offset_nanos: host.wall_offset_nanos,
            receive: host.receive,
            frozen: false,
            commands: Vec::new(),
            events: Vec::new(),
            wake_at: None,
            inbox: VecDeque::new(),
            inbox_bytes: 0,
            busy_until: Instant::ZERO,
            serve_at: None,
            timeouts: Timeouts::default(),
        }
    }

    /// A datagram comes to the socket.
    pub(crate) fn arrive(&mut self, now: Instant, flight: Flight) -> Arrival {
        if self.node.is_none() {
            return Arrival::Down(flight);
        }
        if !self.frozen && self.inbox.is_empty() && self.busy_until <= now {
            self.busy_until = now + self.receive.busy;
            return Arrival::Deliver(flight);
        }
        let charge = Receive::charge(flight.payload.len());
        if self.inbox_bytes + charge > self.receive.buffer_bytes {
            return Arrival::Full(flight);
        }
        self.inbox_bytes += charge;
        self.inbox.push_back(flight);
        Arrival::Wait(self.next_serving(now))
    }

    /// When the node is next to be served, if nobody was told yet.
    pub(crate) fn next_serving(&mut self, now: Instant) -> Option<Instant> {
        if self.frozen || self.serve_at.is_some() || self.inbox.is_empty() {
            return None;
        }
        self.serve_at = Some(self.busy_until.max(now));
        self.serve_at
    }

    /// Takes the next datagram of the receive buffer.
    pub(crate) fn serve(&mut self, now: Instant) -> Option<Flight> {
        self.serve_at.take_if(|at| *at == now)?;
        if self.frozen {
            return None;
        }
        let flight = self.inbox.pop_front()?;
        self.inbox_bytes -= Receive::charge(flight.payload.len());
        self.busy_until = now + self.receive.busy;
        Some(flight)
    }

    /// The process ends; gives what was in its receive buffer.
    pub(crate) fn crash(&mut self) -> VecDeque<Flight> {
        self.node = None;
        self.frozen = false;
        self.commands.clear();
        self.wake_at = None;
        self.serve_at = None;
        self.inbox_bytes = 0;
        self.busy_until = Instant::ZERO;
        std::mem::take(&mut self.inbox)
    }

    /// The node, if the process runs.
    pub(crate) const fn running(&mut self) -> Option<&mut N> {
        if self.frozen { None } else { self.node.as_mut() }
    }

    /// Counts a timeout.
    ///
    /// # Panics
    ///
    /// When there are too many within [`STORM_WINDOW`].
    pub(crate) fn count_timeout(&mut self, now: Instant) {
        let Timeouts { since, count } = &mut self.timeouts;
        if now.since(*since) >= STORM_WINDOW {
            (*since, *count) = (now, 0);
        }
        *count += 1;
        assert!(*count <= MAX_TIMEOUTS, "timer storm: {} wants timeouts without end at {now:?}", self.id);
    }
}

impl<N: Node> fmt::Debug for Slot<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, frozen, inbox, .. } = self;
        let state = if self.node.is_none() {
            "crashed"
        } else if *frozen {
            "frozen"
        } else {
            "running"
        };
        write!(f, "{id} ({state}, {} datagrams wait)", inbox.len())
    }
}

/// Timeouts of one node within [`STORM_WINDOW`]. A node that does one thing per timeout may have some hundred due at
/// once; one that paces 1,200 bytes at 10 Gbit/s wants ten.
const MAX_TIMEOUTS: u32 = 1_000;

const STORM_WINDOW: Duration = Duration::from_micros(10);
