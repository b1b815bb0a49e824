//! What all threads of a driver share, and the verbs that any of them may use.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::burst::Burst;
use super::duty::{Duty, Outcome, lock};
use super::gather::Gather;
use super::receive::Receiver;
use super::send::Sender;
use super::socket::DataSocket;
use super::stats::{Counters, count};
use super::waker::Waker;
use super::{Clock, Driven};
use crate::Instant;

/// The node and what is decided together with it.
pub(super) struct Core<N: Driven> {
    pub(super) node: N,
    pub(super) gather: Gather,
    /// Taken from the node, not yet from us.
    events: Vec<N::Event>,
    /// When the service thread wakes by itself.
    pub(super) armed: Instant,
    /// When the receive thread last went to the application.
    pub(super) last_delivery: Instant,
    /// The time when it was read last, and for how many calls it may serve yet.
    now: Instant,
    reuses: u32,
}

/// A driver, as its threads see it.
pub(super) struct Shared<N: Driven> {
    core: Mutex<Core<N>>,
    pub(super) sender: Duty<Sender>,
    delivery: Duty<Delivery<N::Event>>,
    pub(super) receiver: Mutex<Receiver>,
    /// Wakes the service thread.
    pub(super) waker: Waker,
    /// Wakes the receive thread.
    door: Mutex<Option<Arc<DataSocket>>>,
    /// Since when the receive thread is with the application, in nanoseconds; 0 if it is not.
    away_since: AtomicU64,
    /// Whether the application has called since the receive thread looked.
    pub(super) spoke: AtomicBool,
    closing: AtomicBool,
    pub(super) counters: Counters,
}

/// What the application does with events.
pub(super) type Sink<E> = Box<dyn FnMut(&mut Vec<E>) + Send>;

/// The application's end.
struct Delivery<E> {
    sink: Sink<E>,
    events: Vec<E>,
}

/// What came of the datagrams of one turn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    pub(super) datagrams: u64,
    /// Those that no peer sent.
    pub(super) junk: u64,
    /// Whether events did.
    pub(super) events: bool,
}

/// Who delivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deliverer {
    /// A thread of the application.
    Caller,
    /// The receive thread.
    Receiver,
}

impl<N: Driven> Core<N> {
    pub(super) fn new(node: N, gather: Duration) -> Self {
        Self {
            node,
            gather: Gather::new(gather),
            events: Vec::new(),
            armed: Instant::ZERO,
            last_delivery: Instant::ZERO,
            now: Instant::ZERO,
            reuses: 0,
        }
    }

    /// The time. Read after the lock was taken, so that it never goes back for the node.
    pub(super) fn now(&mut self) -> Instant {
        (self.now, self.reuses) = (Clock::now(), CLOCK_REUSES);
        self.now
    }

    /// The time, for a call. In a flood it is read for some calls together: reading it takes 35 nanoseconds, a fifth of a
    /// publish. The service thread ends a flood that has paused, and with it this.
    pub(super) fn time_of_call(&mut self) -> Instant {
        if self.reuses == 0 || !self.gather.is_open() {
            return self.now();
        }
        self.reuses -= 1;
        self.now
    }

    /// Takes events from the node, as many as a delivery takes; true if there are any. The rest stays in the node, whose
    /// own limits then hold.
    pub(super) fn take_events(&mut self) -> bool {
        while self.events.len() < MAX_EVENTS
            && let Some(event) = self.node.poll_event()
        {
            self.events.push(event);
        }
        !self.events.is_empty()
    }

    /// Does what is due; true if anything was.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> bool {
        let is_due = self.node.poll_timeout().is_some_and(|at| at <= now);
        if is_due {
            self.node.handle_timeout(now);
        }
        is_due
    }

    /// When the service thread has something to do; `None` if that is not foreseen. Timers and what a paused flood has left
    /// behind are the same to it: a flooding thread does what is due each time that it sends.
    pub(super) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        self.gather.poll_timeout(now).or_else(|| Some(self.node.poll_timeout()? + self.slack(now)))
    }

    /// How late the service thread may look. In a busy exchange whoever sends does what is due first, and it would find
    /// nothing to do: an ack that was to leave after 2 ms left with an answer long before. Each such look takes 23
    /// microseconds of a core, and being woken to plan it as much: 5 % of what 35,000 exchanges a second take.
    fn slack(&self, now: Instant) -> Duration {
        if self.is_busy(now) && !self.node.is_paced() { SLACK } else { Duration::ZERO }
    }

    /// Whether the receive thread has gone to the application just now.
    pub(super) fn is_busy(&self, now: Instant) -> bool {
        now.since(self.last_delivery) < BUSY
    }

    /// Sees to it that the service thread wakes in time; true if it must be woken for that.
    #[must_use]
    pub(super) fn arm(&mut self, now: Instant) -> bool {
        self.poll_timeout(now).is_some_and(|at| self.arm_at(at))
    }

    #[must_use]
    fn arm_at(&mut self, at: Instant) -> bool {
        let early = at < self.armed;
        if early {
            self.armed = at;
        }
        early
    }
}

impl<N: Driven> Shared<N> {
    pub(super) fn new(
        core: Core<N>,
        sender: Sender,
        data: &Arc<DataSocket>,
        waker: Waker,
        linger: Duration,
        sink: Sink<N::Event>,
    ) -> Self {
        Self {
            core: Mutex::new(core),
            sender: Duty::new(sender),
            delivery: Duty::new(Delivery { sink, events: Vec::new() }),
            receiver: Mutex::new(Receiver::new(Arc::clone(data), linger)),
            waker,
            door: Mutex::new(Some(Arc::clone(data))),
            away_since: AtomicU64::new(0),
            spoke: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            counters: Counters::default(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Core<N>> {
        lock(&self.core)
    }

    /// Hands received datagrams to the node, one lock for all.
    pub(super) fn hand_up(&self, bursts: &mut Vec<Burst>) -> Turn {
        let mut datagrams = 0_u64;
        let mut core = self.lock();
        let now = core.now();
        let junk = core.node.junk();
        for burst in bursts.drain(..) {
            let from = burst.from;
            for datagram in burst {
                core.node.handle_datagram(now, from, datagram);
                datagrams += 1;
            }
        }
        let events = core.take_events();
        let junk = core.node.junk() - junk;
        drop(core);
        self.counters.datagrams_received.fetch_add(datagrams, Ordering::Relaxed);
        Turn { datagrams, junk, events }
    }

    /// As [`Shared::flush`], unless a calling thread will send what it gathers in a moment: acks then go with it, and it
    /// is not sent in crumbs at each ack that arrives.
    pub(super) fn flush_unless_gathering(&self) {
        let mut core = self.lock();
        let now = core.now();
        let gathering = core.gather.is_gathering(now);
        drop(core);
        if !gathering {
            self.flush();
        }
    }

    /// Sends what the node wants to send, on this thread unless another is at it.
    pub(super) fn flush(&self) {
        let (mut wake, mut events) = (false, false);
        let outcome = self.sender.perform(FLUSH_ROUNDS, |sender| {
            let mut core = self.lock();
            let now = core.now();
            events |= core.handle_timeout(now) && core.take_events();
            let more = sender.fill(now, &mut core);
            if !more {
                core.gather.handle_flush();
                // Sending is what sets timers, so here one looks whether the service thread sleeps too long.
                wake |= core.arm(now);
            }
            drop(core);
            sender.send(&self.counters);
            more
        });
        if wake || outcome == Outcome::Unfinished {
            self.waker.wake();
        }
        if events {
            self.leave_delivery();
        }
    }

    /// Hands events to the application, on this thread unless another is at it. In order, whoever does it.
    pub(super) fn deliver(&self, who: Deliverer) -> Outcome {
        // One round: a caller goes back to its own work, the receive thread looks at its socket in between.
        self.delivery.perform(1, |delivery| {
            let mut core = self.lock();
            core.take_events();
            std::mem::swap(&mut core.events, &mut delivery.events);
            let more = core.take_events();
            let wake = who == Deliverer::Receiver && !delivery.events.is_empty() && self.go_away(&mut core);
            drop(core);
            if wake {
                self.waker.wake();
            }
            delivery.run(&self.counters);
            if who == Deliverer::Receiver {
                self.away_since.store(0, Ordering::Release);
            }
            more
        })
    }

    /// Has events delivered by another thread: the service thread must not be held up by the application.
    pub(super) fn leave_delivery(&self) {
        if self.delivery.leave() {
            self.nudge();
        }
    }

    /// Notes that the receive thread goes to the application; true if the service thread sleeps too long to see to it.
    fn go_away(&self, core: &mut Core<N>) -> bool {
        let now = core.now();
        core.last_delivery = now;
        self.away_since.store(now.as_nanos().max(1), Ordering::Release);
        core.arm_at(now + PATROL)
    }

    /// Whether the receive thread has been with the application for so long that another must receive.
    pub(super) fn is_receiver_held_up(&self, now: Instant) -> bool {
        let since = self.away_since.load(Ordering::Acquire);
        since != 0 && now >= Instant::from_nanos(since) + PATIENCE
    }

    /// Makes the receive thread take a turn.
    pub(super) fn nudge(&self) {
        if let Some(data) = &*lock(&self.door) {
            data.nudge();
        }
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Sends what is left, closes the sockets and tells the threads to end; false if that was done before.
    pub(super) fn close(&self) -> bool {
        if self.closing.swap(true, Ordering::AcqRel) {
            return false;
        }
        let mut sender = self.sender.lock();
        for _ in 0..FLUSH_ROUNDS {
            let mut core = self.lock();
            let now = core.now();
            let more = sender.fill(now, &mut core);
            drop(core);
            sender.send(&self.counters);
            if !more {
                break;
            }
        }
        sender.close();
        drop(sender);
        self.waker.wake();
        if let Some(data) = lock(&self.door).take() {
            data.end();
        }
        true
    }
}

impl<E> Delivery<E> {
    fn run(&mut self, counters: &Counters) {
        if self.events.is_empty() {
            return;
        }
        // A callback that panics must not take the thread along that others' acks depend on.
        if catch_unwind(AssertUnwindSafe(|| (self.sink)(&mut self.events))).is_err() {
            count(&counters.sink_panics, 1);
            tracing::error!(lost = self.events.len(), "the application panicked in its event sink");
        }
        self.events.clear();
    }
}

impl<N: Driven> fmt::Debug for Shared<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("closing", &self.closing)
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

/// How long the receive thread may be with the application before the service thread receives in its place.
const PATIENCE: Duration = Duration::from_millis(2);
/// How often the service thread looks whether that is so. Each look takes a core for 8 microseconds: at 2 ms that raised the
/// 99th percentile of a ping-pong whose two processes share a core from 14 to 24 microseconds; at 8 ms a look meets one
/// exchange in 250.
pub(super) const PATROL: Duration = Duration::from_millis(8);
/// An exchange goes on if there was a delivery so lately.
const BUSY: Duration = Duration::from_millis(1);
/// How late an ack may be, once, when an exchange ends: the other end waits for twice as long before it asks.
const SLACK: Duration = Duration::from_millis(1);
/// Calls that gather and take the time of the one before: half a microsecond of publishing.
const CLOCK_REUSES: u32 = 3;
/// Events taken at a time. They bound a delivery's memory, and what is lost of it if the sink panics.
const MAX_EVENTS: usize = 1_024;
/// Rounds that a thread sends for all, of about 128 KiB each, before the service thread goes on: a publisher is held up
/// for about half a millisecond.
const FLUSH_ROUNDS: usize = 16;
