//! A lane: one ordered stream of messages to an upstream, and what was sent on it and is not settled.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, TryAcquireError, watch};
use uuid::Uuid;

use crate::socket::{Reason, Socket};

/// When a message that an upstream was sent is settled: it will not go to another one if this one fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confirm {
    /// When the upstream acknowledges it. It is so with services that say in their `ReadyResult` that they do, and with glue
    /// upstreams, whatever is configured.
    Acknowledged,
    /// When the upstream sends something to the same client: for services that answer each message with one or more.
    Reply,
    /// When it is handed to the HTTP/2 stream. The default: all that can be known of a service that only follows the
    /// original protocol.
    #[default]
    Sent,
}

/// What is told to an upstream of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Connected,
    Data(Bytes),
    Disconnected(Reason),
    Moved,
}

impl What {
    pub(crate) const fn is_event(&self) -> bool {
        !matches!(self, Self::Data(_))
    }
}

/// A message on its way from a client to an upstream.
#[derive(Debug)]
pub(crate) struct Forward {
    pub(crate) socket: Arc<Socket>,
    pub(crate) what: What,
    pub(crate) redelivered: bool,
    /// Its share of the window of the lane that it is on, until it is settled.
    room: u32,
}

impl Forward {
    pub(crate) fn new(socket: &Arc<Socket>, what: What) -> Self {
        Self { socket: Arc::clone(socket), what, redelivered: false, room: 0 }
    }

    /// Its share of a lane's window of `window` bytes.
    fn cost(&self, window: u32) -> u32 {
        let payload = if let What::Data(payload) = &self.what { payload.len() } else { 0 };
        u32::try_from(payload).unwrap_or(u32::MAX).saturating_add(MESSAGE_OVERHEAD_BYTES).min(window)
    }
}

/// A message as the upstream gets it.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) client: Uuid,
    pub(crate) peer: std::net::SocketAddr,
    pub(crate) what: What,
    pub(crate) sequence: u64,
    pub(crate) redelivered: bool,
    /// The lane has room again, as this and others are settled.
    pub(crate) gave_room: bool,
}

/// How far it is with a lane. There is no way back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// It takes messages and gives them out.
    Open,
    /// It does neither any more; what was sent may still be settled.
    Closed,
    /// The upstream has failed: nothing more will be settled.
    Failed,
    /// Nothing is unsettled any more, or it has gone elsewhere.
    Moved,
}

/// Why a lane did not take a message, which is handed back.
#[derive(Debug)]
pub(crate) enum Refused {
    /// It takes no more.
    Closed(Forward),
    /// Its window is full.
    Full(Forward),
}

/// What a lane is made with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LaneConfig {
    /// Bytes of messages that may be unsettled.
    pub(crate) window: u32,
    pub(crate) confirm: Confirm,
    pub(crate) wants_events: bool,
}

/// See the module.
pub(crate) struct Lane {
    pub(crate) upstream: Uuid,
    pub(crate) config: LaneConfig,
    state: Mutex<State>,
    /// What the reader has taken out of the queue, all at once: who pushes then is seldom in its way. Locked before `state`.
    taken: Mutex<Taken>,
    /// Permits are bytes of the window.
    room: Semaphore,
    phase: watch::Sender<Phase>,
    /// Sockets that stick to it.
    stuck: Mutex<BTreeMap<Uuid, Arc<Socket>>>,
    pub(crate) forwarded: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Forward>,
    in_flight: VecDeque<(u64, Forward)>,
    closed: bool,
    reader: Option<Waker>,
    settled: Option<Waker>,
}

#[derive(Debug, Default)]
struct Taken {
    messages: VecDeque<Forward>,
    /// Of those that are settled, as they are sent: given back together.
    room: usize,
}

impl Lane {
    pub(crate) fn new(upstream: Uuid, config: LaneConfig) -> Arc<Self> {
        Arc::new(Self {
            upstream,
            config,
            state: Mutex::default(),
            taken: Mutex::default(),
            room: Semaphore::new(config.window as usize),
            phase: watch::Sender::new(Phase::Open),
            stuck: Mutex::default(),
            forwarded: AtomicU64::new(0),
        })
    }

    /// Takes a message in if there is room for it now.
    pub(crate) fn try_push(&self, mut forward: Forward) -> Result<(), Refused> {
        let cost = forward.cost(self.config.window);
        match self.room.try_acquire_many(cost) {
            Ok(room) => room.forget(),
            Err(TryAcquireError::NoPermits) => return Err(Refused::Full(forward)),
            Err(TryAcquireError::Closed) => return Err(Refused::Closed(forward)),
        }
        forward.room = cost;
        self.put(forward)
    }

    /// Waits for room, in the order of those who ask, and takes a message in.
    pub(crate) async fn push(&self, mut forward: Forward) -> Result<(), Refused> {
        let cost = forward.cost(self.config.window);
        match self.room.acquire_many(cost).await {
            Ok(room) => room.forget(),
            Err(_) => return Err(Refused::Closed(forward)),
        }
        forward.room = cost;
        self.put(forward)
    }

    fn put(&self, forward: Forward) -> Result<(), Refused> {
        let mut state = self.lock();
        if state.closed {
            return Err(Refused::Closed(forward));
        }
        state.queue.push_back(forward);
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
        Ok(())
    }

    /// Takes out the next message to send. `None`: no more will come. There is one reader.
    pub(crate) fn poll_next(&self, context: &Context<'_>) -> Poll<Option<Sent>> {
        let mut taken = self.lock_taken();
        if taken.messages.is_empty() && !self.take_queue(&mut taken, context) {
            return Poll::Pending;
        }
        if self.is_closed() {
            return Poll::Ready(None);
        }
        let Some(forward) = taken.messages.pop_front() else { return Poll::Pending };
        // Only the reader counts.
        self.forwarded.store(self.forwarded.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        let (client, peer, redelivered) = (forward.socket.id, forward.socket.peer, forward.redelivered);
        if self.config.confirm == Confirm::Sent {
            taken.room += forward.room as usize;
            let gave_room = taken.messages.is_empty() || taken.room >= ROOM_AT_ONCE;
            if gave_room {
                self.room.add_permits(mem::take(&mut taken.room));
            }
            return Poll::Ready(Some(Sent { client, peer, what: forward.what, sequence: 0, redelivered, gave_room }));
        }
        let sequence = next_sequence();
        let sent = Sent { client, peer, what: forward.what.clone(), sequence, redelivered, gave_room: false };
        self.lock().in_flight.push_back((sequence, forward));
        Poll::Ready(Some(sent))
    }

    /// Takes all that there is out of the queue. If that is nothing, the reader is woken when there is.
    fn take_queue(&self, taken: &mut Taken, context: &Context<'_>) -> bool {
        let mut state = self.lock();
        mem::swap(&mut taken.messages, &mut state.queue);
        let is_over = state.closed || !taken.messages.is_empty();
        if !is_over {
            state.reader = Some(context.waker().clone());
        }
        is_over
    }

    /// The upstream has processed all up to `sequence`.
    pub(crate) fn acknowledge(&self, sequence: u64) {
        let mut state = self.lock();
        let mut room = 0;
        while let Some((number, forward)) = state.in_flight.front()
            && *number <= sequence
        {
            room += forward.room as usize;
            state.in_flight.pop_front();
        }
        self.room.add_permits(room);
        state.wake_if_settled();
    }

    /// The upstream has sent something to a client: with [`Confirm::Reply`] that settles the client's oldest message.
    /// Returns whether there is room again.
    pub(crate) fn replied_to(&self, client: Uuid) -> bool {
        if self.config.confirm != Confirm::Reply {
            return false;
        }
        let mut state = self.lock();
        let at = state.in_flight.iter().position(|(_, forward)| forward.socket.id == client);
        let settled = at.and_then(|at| state.in_flight.remove(at));
        if let Some((_, forward)) = &settled {
            self.room.add_permits(forward.room as usize);
        }
        state.wake_if_settled();
        settled.is_some()
    }

    /// Takes no more in, and gives no more out.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        self.room.close();
        self.advance(Phase::Closed);
        if let Some(reader) = state.reader.take() {
            reader.wake();
        }
    }

    /// As [`Lane::close`], and nothing more will be settled.
    pub(crate) fn fail(&self) {
        self.close();
        self.advance(Phase::Failed);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.room.is_closed()
    }

    /// Waits until nothing that was sent is unsettled. There is one that waits.
    pub(crate) fn poll_settled(&self, context: &Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.in_flight.is_empty() {
            return Poll::Ready(());
        }
        state.settled = Some(context.waker().clone());
        Poll::Pending
    }

    /// What is not settled, in the order in which it came, once the lane is closed.
    pub(crate) fn leftovers(&self) -> Vec<Forward> {
        let (mut taken, mut state) = (self.lock_taken(), self.lock());
        let in_flight = mem::take(&mut state.in_flight).into_iter().map(|(_, mut forward)| {
            forward.redelivered = true;
            forward
        });
        let mut all: Vec<_> = in_flight.collect();
        all.extend(mem::take(&mut taken.messages));
        all.extend(mem::take(&mut state.queue));
        all
    }

    /// Says that the leftovers have gone elsewhere.
    pub(crate) fn set_moved(&self) {
        self.advance(Phase::Moved);
    }

    pub(crate) fn is_moved(&self) -> bool {
        *self.phase.borrow() == Phase::Moved
    }

    /// Waits until it has come as far as that. To wait for [`Phase::Moved`] keeps what follows from overtaking the leftovers.
    pub(crate) async fn reached(&self, phase: Phase) {
        // The sender is ours: it does not go before we do.
        let _ = self.phase.subscribe().wait_for(|now| *now >= phase).await;
    }

    fn advance(&self, to: Phase) {
        self.phase.send_if_modified(|phase| mem::replace(phase, (*phase).max(to)) < to);
    }

    /// Messages that wait or are not settled.
    pub(crate) fn outstanding(&self) -> usize {
        let (taken, state) = (self.lock_taken(), self.lock());
        taken.messages.len() + state.queue.len() + state.in_flight.len()
    }

    pub(crate) fn stick(&self, socket: &Arc<Socket>) {
        self.stuck_sockets().insert(socket.id, Arc::clone(socket));
    }

    pub(crate) fn unstick(&self, id: Uuid) {
        self.stuck_sockets().remove(&id);
    }

    pub(crate) fn is_stuck(&self, id: Uuid) -> bool {
        self.stuck_sockets().contains_key(&id)
    }

    /// How many sockets stick to it.
    pub(crate) fn sockets(&self) -> usize {
        self.stuck_sockets().len()
    }

    /// The sockets that stick to it.
    pub(crate) fn stuck(&self) -> Vec<Arc<Socket>> {
        self.stuck_sockets().values().cloned().collect()
    }

    fn stuck_sockets(&self) -> MutexGuard<'_, BTreeMap<Uuid, Arc<Socket>>> {
        self.stuck.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn has_room(&self) -> bool {
        self.room.available_permits() > MESSAGE_OVERHEAD_BYTES as usize
    }

    fn lock_taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn wake_if_settled(&mut self) {
        if self.in_flight.is_empty()
            && let Some(settled) = self.settled.take()
        {
            settled.wake();
        }
    }
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lane").field("upstream", &self.upstream).field("outstanding", &self.outstanding()).finish()
    }
}

/// Increases over all lanes, so that a late acknowledgement of an upstream's life before settles nothing.
fn next_sequence() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Bytes of a window that are given back together: few enough that who waits for room does not wait for long.
const ROOM_AT_ONCE: usize = 16 << 10;

/// What a message costs beside its payload: about what it takes in memory.
pub(crate) const MESSAGE_OVERHEAD_BYTES: u32 = 128;

#[cfg(test)]
mod tests;
