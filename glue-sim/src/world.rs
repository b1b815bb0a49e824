//! Nodes and the loop that moves time.

mod control;
mod view;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use glue_net::{Chain, Instant, Node};

use crate::host::Place;
use crate::network::Network;
use crate::path::Path;
use crate::queue::{Flight, Happening, Key};
use crate::slot::{Arrival, Slot};
use crate::trace::mix;
use crate::{Action, Context, Fate, Host, NodeId};

/// A network of nodes in virtual time. See the [crate's example](crate).
///
/// Time stands still between the calls. What a method does to the network holds for datagrams that are sent later; those
/// under way arrive.
///
/// # Panics
///
/// Every method that takes a [`NodeId`] panics if it is of another world. Every method that runs nodes panics when one
/// breaks the contract of [`Node`]: it sends, tells or wants timeouts without end, or appends other than it says.
pub struct World<N: Node> {
    now: Instant,
    seed: u64,
    network: Network,
    slots: Vec<Slot<N>>,
    script: BTreeMap<Key, Step<N>>,
    observer: Option<Observer<N>>,
    keep_events: bool,
    /// When something last happened that a user would notice.
    active_at: Instant,
    /// Steps since time last moved.
    steps_now: u64,
    /// What nodes write datagrams to; kept for its memory.
    buffer: Chain,
}

type Observer<N> = Box<dyn FnMut(NodeId, Instant, &<N as Node>::Event)>;

type Call<N> = Box<dyn FnOnce(&mut World<N>)>;

enum Step<N: Node> {
    Action(Action<N::Command>),
    Call(Call<N>),
}

/// Nodes and time.
impl<N: Node> World<N> {
    /// An empty world; all its randomness follows from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            now: Instant::ZERO,
            seed,
            network: Network::new(seed),
            slots: Vec::new(),
            script: BTreeMap::new(),
            observer: None,
            keep_events: true,
            active_at: Instant::ZERO,
            steps_now: 0,
            buffer: Chain::default(),
        }
    }

    /// Adds a node, and starts it. `build` is kept: [`World::restart`] calls it again.
    ///
    /// # Panics
    ///
    /// If an address belongs to another node.
    pub fn add_node(&mut self, host: Host, build: impl FnMut(Context) -> N + 'static) -> NodeId {
        let id = self.add_node_later(host, build);
        self.restart(id);
        id
    }

    /// As [`World::add_node`], but its process starts with [`World::restart`].
    ///
    /// # Panics
    ///
    /// If an address belongs to another node.
    pub fn add_node_later(&mut self, host: Host, build: impl FnMut(Context) -> N + 'static) -> NodeId {
        let id = NodeId::new(u32::try_from(self.slots.len()).expect("fewer than 2^32 nodes"));
        self.network.add(id, Place::new(id, &host));
        self.slots.push(Slot::new(id, &host, Box::new(build)));
        id
    }

    /// The virtual time.
    #[must_use]
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// All nodes, crashed ones included.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> + use<N> {
        let count = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        (0..count).map(NodeId::new)
    }

    /// The node itself; `None` while it is crashed.
    #[must_use]
    pub fn node(&self, id: NodeId) -> Option<&N> {
        self.slot(id).node.as_ref()
    }

    /// Calls into a node, as its application would; `now` is what its clock shows. `None`: it is crashed or frozen, and
    /// `call` was not called.
    pub fn call<R>(&mut self, id: NodeId, call: impl FnOnce(&mut N, Instant) -> R) -> Option<R> {
        let now = self.now;
        let slot = self.slot_mut(id);
        let local = slot.clock.local(now);
        let result = call(slot.running()?, local);
        self.flush(id);
        Some(result)
    }

    /// Gives a node a command. A frozen one gets it when it thaws; a crashed one never (false): its application is gone
    /// too.
    pub fn command(&mut self, id: NodeId, command: N::Command) -> bool {
        self.active_at = self.now;
        let slot = self.slot_mut(id);
        if slot.frozen {
            slot.commands.push(command);
            return true;
        }
        self.call(id, |node, now| node.handle_command(now, command)).is_some()
    }

    /// Ends a node's process: what it knew is gone, and so is its receive buffer.
    pub fn crash(&mut self, id: NodeId) {
        for flight in self.slot_mut(id).crash() {
            self.network.settle(self.now, &flight, Fate::Down);
        }
    }

    /// Starts a node's process anew, with the closure that built it at first. If it runs, it crashes before.
    pub fn restart(&mut self, id: NodeId) {
        self.crash(id);
        let context = self.context(id);
        let slot = self.slot_mut(id);
        slot.starts += 1;
        slot.node = Some((slot.build)(context));
        self.flush(id);
    }

    /// As [`World::restart`], with another closure, for now and later: a new version, or another program with this
    /// address.
    pub fn restart_with(&mut self, id: NodeId, build: impl FnMut(Context) -> N + 'static) {
        self.slot_mut(id).build = Box::new(build);
        self.restart(id);
    }

    /// Stops a node's process, as SIGSTOP does: no calls; datagrams wait in the receive buffer, and what does not fit is
    /// dropped.
    pub fn freeze(&mut self, id: NodeId) {
        let slot = self.slot_mut(id);
        slot.frozen = slot.node.is_some();
    }

    /// Lets a frozen node go on: with what its application asked for, then with its receive buffer and timeouts.
    pub fn thaw(&mut self, id: NodeId) {
        let slot = self.slot_mut(id);
        slot.frozen = false;
        for command in std::mem::take(&mut slot.commands) {
            self.command(id, command);
        }
        self.schedule_serving(id);
        self.flush(id);
    }

    /// Whether a node neither crashed nor is frozen.
    #[must_use]
    pub fn is_running(&self, id: NodeId) -> bool {
        let slot = self.slot(id);
        slot.node.is_some() && !slot.frozen
    }
}

/// The course of time.
impl<N: Node> World<N> {
    /// Does `action` at `at`, or now if that has passed.
    pub fn at(&mut self, at: Instant, action: Action<N::Command>) -> &mut Self {
        self.schedule(at, Step::Action(action))
    }

    /// Does `action` after `wait`, counted from now.
    pub fn after(&mut self, wait: Duration, action: Action<N::Command>) -> &mut Self {
        self.at(self.now + wait, action)
    }

    /// Calls `call` at `at`, or now if that has passed; for what no [`Action`] says.
    pub fn call_at(&mut self, at: Instant, call: impl FnOnce(&mut Self) + 'static) -> &mut Self {
        self.schedule(at, Step::Call(Box::new(call)))
    }

    /// Goes to the next thing that happens, and lets it. False: nothing will ever happen.
    pub fn step(&mut self) -> bool {
        let scripted = self.script.first_key_value().map(|(key, _)| *key);
        let natural = self.network.queue.next_key();
        match (scripted, natural) {
            (Some(key), other) if other.is_none_or(|other| key < other) => {
                self.advance(key.0);
                self.run_script();
            }
            (_, Some(key)) => {
                self.advance(key.0);
                self.run_queue();
            }
            (_, None) => return false,
        }
        true
    }

    /// Runs until `end`; all that happens at `end` has happened then.
    pub fn run_until(&mut self, end: Instant) {
        while self.next_at().is_some_and(|at| at <= end) {
            self.step();
        }
        self.now = self.now.max(end);
    }

    /// Runs for `time`.
    pub fn run_for(&mut self, time: Duration) {
        self.run_until(self.now + time);
    }

    /// Runs until `done`, which is asked after every step, for at most `limit`. False: it never was.
    #[must_use]
    pub fn run_until_true(&mut self, limit: Duration, mut done: impl FnMut(&Self) -> bool) -> bool {
        let end = self.now + limit;
        while !done(self) {
            if self.next_at().is_none_or(|at| at > end) {
                self.now = end;
                return done(self);
            }
            self.step();
        }
        true
    }

    /// Runs until the world is quiet: for the time `quiet` no node told its application anything and no application
    /// asked for anything, and the script is at its end. For at most `limit`; false: it was not quiet by then.
    ///
    /// Datagrams alone are no noise: nodes that keep in touch never stop sending. A good `quiet` is longer than the
    /// longest silence after which nodes still repair something.
    #[must_use]
    pub fn run_until_quiet(&mut self, quiet: Duration, limit: Duration) -> bool {
        let (start, end) = (self.now, self.now + limit);
        loop {
            let silent_at = self.active_at.max(start) + quiet;
            let next = self.next_at();
            if self.script.is_empty() && next.is_none_or(|at| at > silent_at) && silent_at <= end {
                self.now = self.now.max(silent_at);
                return true;
            }
            if next.is_none_or(|at| at > end) {
                self.now = end;
                return false;
            }
            self.step();
        }
    }
}

impl<N: Node> World<N> {
    fn schedule(&mut self, at: Instant, step: Step<N>) -> &mut Self {
        let key = self.network.queue.key(at.max(self.now));
        self.script.insert(key, step);
        self
    }

    fn next_at(&self) -> Option<Instant> {
        let scripted = self.script.first_key_value().map(|(key, _)| key.0);
        let natural = self.network.queue.next_key().map(|key| key.0);
        scripted.into_iter().chain(natural).min()
    }

    fn advance(&mut self, to: Instant) {
        if to > self.now {
            (self.now, self.steps_now) = (to, 0);
        }
        self.steps_now += 1;
        assert!(self.steps_now <= MAX_STEPS, "time stands still at {to:?}: more than {MAX_STEPS} steps");
    }

    fn run_script(&mut self) {
        let Some((_, step)) = self.script.pop_first() else { return };
        self.active_at = self.now;
        match step {
            Step::Action(action) => self.apply(action),
            Step::Call(call) => call(self),
        }
    }

    fn run_queue(&mut self) {
        match self.network.queue.pop() {
            Some(Happening::Arrive(flight)) => self.arrive(flight),
            Some(Happening::Serve(id)) => self.serve(id),
            Some(Happening::Wake(id)) => self.wake(id),
            None => {}
        }
    }

    fn arrive(&mut self, flight: Flight) {
        let now = self.now;
        if !self.network.is_here(&flight) {
            return self.network.settle(now, &flight, Fate::Unreachable);
        }
        let id = flight.receiver;
        match self.slot_mut(id).arrive(now, flight) {
            Arrival::Deliver(flight) => self.deliver(flight),
            Arrival::Down(flight) => self.network.settle(now, &flight, Fate::Down),
            Arrival::Full(flight) => self.network.settle(now, &flight, Fate::BufferFull),
            Arrival::Wait(None) => {}
            Arrival::Wait(Some(at)) => self.network.queue.push(at, Happening::Serve(id)),
        }
    }

    fn serve(&mut self, id: NodeId) {
        let now = self.now;
        let flight = self.slot_mut(id).serve(now);
        self.schedule_serving(id);
        if let Some(flight) = flight {
            self.deliver(flight);
        }
    }

    fn schedule_serving(&mut self, id: NodeId) {
        let now = self.now;
        if let Some(at) = self.slot_mut(id).next_serving(now) {
            self.network.queue.push(at, Happening::Serve(id));
        }
    }

    fn deliver(&mut self, flight: Flight) {
        self.network.settle(self.now, &flight, Fate::Delivered);
        let Flight { receiver, from, payload, .. } = flight;
        self.call(receiver, |node, now| node.handle_datagram(now, from, payload));
    }

    fn wake(&mut self, id: NodeId) {
        let now = self.now;
        let slot = self.slot_mut(id);
        if slot.wake_at != Some(now) {
            return;
        }
        slot.wake_at = None;
        let local = slot.clock.local(now);
        let Some(node) = slot.running() else { return };
        if node.poll_timeout().is_some_and(|at| at <= local) {
            node.handle_timeout(local);
            slot.count_timeout(now);
            self.flush(id);
        } else {
            self.schedule_wake(id);
        }
    }

    /// Takes what a node has to send and to tell, and asks when it wants to be called next.
    fn flush(&mut self, id: NodeId) {
        // An event that is taken may make room for another datagram, so one look at each is not enough.
        let mut rounds = 0;
        while self.transmit(id) | self.tell(id) {
            rounds += 1;
            assert!(rounds <= MAX_ROUNDS, "{id} sends and tells without end at {:?}", self.now);
        }
        self.schedule_wake(id);
    }

    /// False: the node had nothing to send.
    fn transmit(&mut self, id: NodeId) -> bool {
        let Self { now, network, slots, buffer, .. } = self;
        let Some(slot) = slots.get_mut(id.index()) else { return false };
        let local = slot.clock.local(*now);
        let Some(node) = slot.running() else { return false };
        let mut count = 0;
        loop {
            // Not cleared each time: a node must append, whatever is there.
            if buffer.len() > KEPT_BUFFER_BYTES {
                buffer.clear();
            }
            let start = buffer.end();
            let Some(transmit) = node.poll_transmit(local, buffer) else {
                buffer.truncate(start);
                return count > 0;
            };
            let datagram = buffer.copy_of(start..buffer.end());
            let len = datagram.len();
            assert!(len == transmit.len, "{id} says {} bytes and appends {len} at {now:?}", transmit.len);
            network.send(*now, id, transmit, &datagram);
            count += 1;
            assert!(count <= MAX_OUTPUTS, "{id} sends without end at {now:?}");
        }
    }

    /// False: the node had nothing to tell.
    fn tell(&mut self, id: NodeId) -> bool {
        let Self { now, slots, observer, keep_events, active_at, .. } = self;
        let Some(slot) = slots.get_mut(id.index()) else { return false };
        let mut count = 0;
        while let Some(event) = slot.running().and_then(N::poll_event) {
            *active_at = *now;
            if let Some(observer) = observer {
                observer(id, *now, &event);
            }
            if *keep_events {
                slot.events.push((*now, event));
            }
            count += 1;
            assert!(count <= MAX_OUTPUTS, "{id} tells without end at {now:?}");
        }
        count > 0
    }

    fn schedule_wake(&mut self, id: NodeId) {
        let now = self.now;
        let slot = self.slot_mut(id);
        let clock = slot.clock;
        let wanted = slot.running().and_then(|node| node.poll_timeout());
        let Some(at) = wanted.and_then(|local| clock.world(local)).map(|at| at.max(now)) else { return };
        if slot.wake_at.is_none_or(|set| at < set) {
            slot.wake_at = Some(at);
            self.network.queue.push(at, Happening::Wake(id));
        }
    }

    fn context(&self, id: NodeId) -> Context {
        let restarts = self.slot(id).starts;
        Context {
            id,
            restarts,
            seed: mix(self.seed ^ NODE_STREAM, NODE_STREAM ^ (id.as_u64() << 32 | u64::from(restarts))),
            now: self.local_now(id),
            wall: self.wall(id),
            data: self.address(id),
            interfaces: self.interfaces(id),
        }
    }

    fn path(&mut self, sender: NodeId, receiver: NodeId) -> &mut Path {
        let (sender, receiver) = (self.slot(sender).id, self.slot(receiver).id);
        self.network.paths.get(sender, receiver)
    }

    fn place(&self, id: NodeId) -> &Place {
        self.network.places.get(id.index()).expect("a node of this world")
    }

    fn slot(&self, id: NodeId) -> &Slot<N> {
        self.slots.get(id.index()).expect("a node of this world")
    }

    fn slot_mut(&mut self, id: NodeId) -> &mut Slot<N> {
        self.slots.get_mut(id.index()).expect("a node of this world")
    }
}

impl<N: Node> fmt::Debug for World<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { now, seed, slots, network, .. } = self;
        f.debug_struct("World")
            .field("now", now)
            .field("seed", seed)
            .field("nodes", slots)
            .field("stats", &network.totals)
            .finish_non_exhaustive()
    }
}

/// Sets the nodes' randomness apart from the paths'.
const NODE_STREAM: u64 = 0x9b05_688c_2b3e_6c1f;

/// Datagrams, or events, that a node may have ready at once: a window of 64 MiB in datagrams of 1,200 bytes is 56,000.
const MAX_OUTPUTS: u32 = 100_000;

/// Times that an event may make room for a datagram, or the other way round, within one call.
const MAX_ROUNDS: u32 = 10_000;

/// Steps at one instant. A thousand nodes that all multicast at once make a million.
const MAX_STEPS: u64 = 10_000_000;

/// Enough for some datagrams; more only costs cache.
const KEPT_BUFFER_BYTES: usize = 16_384;
