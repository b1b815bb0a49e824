//! Brings messages of clients to lanes, and what is left on a lane that closes to others.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Notify, watch};
use uuid::Uuid;

use crate::counters::Counters;
use crate::distribution::{Candidate, Distribution};
use crate::lane::{Confirm, Forward, Lane, Phase, Refused, What};
use crate::socket::Socket;

/// Where a socket's messages go.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    /// The lane that the socket sticks to.
    lane: Option<Arc<Lane>>,
    /// Lanes that it left, in this order, of which messages may still have to be placed: what is newer waits for them.
    behind: Vec<Arc<Lane>>,
}

impl Turn {
    /// Which lane has to be done with first, for a message that is on its way from `leaving`, or is new.
    fn first(&mut self, leaving: Option<&Arc<Lane>>) -> Option<Arc<Lane>> {
        self.behind.retain(|lane| !lane.is_moved());
        let at = |lane: &Arc<Lane>| self.behind.iter().position(|behind| Arc::ptr_eq(behind, lane));
        let newer = match leaving {
            None => 0,
            Some(lane) => at(lane)? + 1,
        };
        self.behind.get(newer).cloned()
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Dispatch {
    lanes: watch::Sender<Arc<[Arc<Lane>]>>,
    turn: AtomicUsize,
    /// A lane has room again, for those who take any.
    room: Notify,
    counters: Arc<Counters>,
}

/// What a message that was not put on a lane has to wait for. It is handed back.
#[derive(Debug)]
enum Wait {
    /// There is no lane.
    Lane(Forward),
    /// The socket's lane is closed, and what is left of it has not gone elsewhere yet.
    Move(Forward, Arc<Lane>),
    /// All lanes are full.
    Room(Forward),
}

impl Dispatch {
    pub(crate) fn new(counters: Arc<Counters>) -> Self {
        Self { lanes: watch::Sender::new(Arc::default()), turn: AtomicUsize::new(0), room: Notify::new(), counters }
    }

    pub(crate) fn lanes(&self) -> Arc<[Arc<Lane>]> {
        Arc::clone(&self.lanes.borrow())
    }

    pub(crate) fn open(&self, lane: Arc<Lane>) {
        self.lanes.send_modify(|lanes| *lanes = lanes.iter().cloned().chain([lane]).collect());
        self.room.notify_waiters();
    }

    /// Something on a lane was settled.
    pub(crate) fn has_room(&self) {
        self.room.notify_one();
    }

    /// Puts a message on a lane; waits, for however long, for one that takes it.
    ///
    /// Not cancel safe: the message is lost.
    pub(crate) async fn forward(&self, distribution: Distribution, socket: &Arc<Socket>, what: What) {
        let mut rest = Some(Forward::new(socket, what));
        if distribution == Distribution::Sticky {
            place_at_once(socket, &mut rest);
        }
        if let Some(forward) = rest {
            self.place(distribution, forward, None).await;
        }
    }

    /// The upstream that a socket sticks to.
    pub(crate) fn upstream_of(&self, socket: &Socket) -> Option<Uuid> {
        self.lanes().iter().find(|lane| lane.is_stuck(socket.id)).map(|lane| lane.upstream)
    }

    /// Has a socket that sticks to no lane stick to one, if there is any, so that its upstream learns of it.
    pub(crate) async fn settle(&self, socket: &Arc<Socket>) {
        // Who holds it is about to do the same.
        if let Ok(mut turn) = socket.turn.try_lock() {
            let _ = self.stick(socket, &mut turn, None).await;
        }
    }

    /// Tells upstreams that want to know that a socket is gone.
    pub(crate) async fn disconnected(&self, distribution: Distribution, socket: &Arc<Socket>, what: What) {
        match distribution {
            Distribution::Sticky => {
                // Who sticks to none is unknown to all.
                while let Some(lane) = lane_of(socket).await {
                    if lane.is_closed() {
                        lane.reached(Phase::Moved).await;
                        continue;
                    }
                    if !lane.config.wants_events || lane.push(Forward::new(socket, what.clone())).await.is_ok() {
                        break;
                    }
                }
            }
            _ => self.announce(socket, &what),
        }
        if let Some(lane) = socket.turn.lock().await.lane.take() {
            lane.unstick(socket.id);
        }
    }

    /// Tells an event to every upstream that wants to know and has room.
    pub(crate) fn announce(&self, socket: &Arc<Socket>, what: &What) {
        let mut told = Vec::new();
        for lane in self.lanes().iter().filter(|lane| lane.config.wants_events) {
            if !told.contains(&lane.upstream) {
                told.push(lane.upstream);
                if lane.try_push(Forward::new(socket, what.clone())).is_err() {
                    self.counters.events_dropped.add(1);
                }
            }
        }
    }

    /// Takes a lane out of the choice. Nothing more is put on it or comes out of it.
    pub(crate) fn close(&self, lane: &Lane) {
        let is_other = |other: &&Arc<Lane>| !std::ptr::eq(Arc::as_ptr(other), lane);
        self.lanes.send_modify(|lanes| *lanes = lanes.iter().filter(is_other).cloned().collect());
        lane.close();
        self.room.notify_waiters();
    }

    /// Brings what is left on a closed lane to others, and the sockets that stick to it. Waits, for however long, for lanes
    /// that take it.
    pub(crate) async fn hand_over(&self, distribution: Distribution, lane: &Arc<Lane>) {
        let leftovers = lane.leftovers();
        if lane.config.confirm == Confirm::Sent {
            self.counters.messages_uncertain.add(1);
        }
        for forward in leftovers {
            self.counters.messages_redelivered.add(usize::from(forward.redelivered));
            self.place(distribution, forward, Some(lane)).await;
        }
        for socket in lane.stuck() {
            let mut turn = socket.turn.lock().await;
            if turn.lane.as_ref().is_some_and(|at| Arc::ptr_eq(at, lane)) {
                lane.unstick(socket.id);
                turn.lane = None;
                if distribution == Distribution::Sticky {
                    let _ = self.stick_as(&socket, &mut turn, &What::Moved).await;
                }
            }
        }
        lane.set_moved();
    }

    async fn place(&self, distribution: Distribution, mut forward: Forward, leaving: Option<&Arc<Lane>>) {
        let mut has_waited = false;
        loop {
            let mut room = pin!(self.room.notified());
            room.as_mut().enable();
            let attempt = match distribution {
                Distribution::Sticky => self.place_sticky(forward, leaving).await,
                _ => self.place_anywhere(distribution, forward),
            };
            forward = match attempt {
                Ok(()) => break,
                Err(Wait::Lane(forward)) => {
                    // The sender is ours: it does not go before we do.
                    let _ = self.lanes.subscribe().wait_for(|lanes| !lanes.is_empty()).await;
                    forward
                }
                Err(Wait::Move(forward, lane)) => {
                    lane.reached(Phase::Moved).await;
                    forward
                }
                Err(Wait::Room(forward)) => {
                    has_waited = true;
                    room.await;
                    forward
                }
            };
        }
        if has_waited {
            // There may be room for one more.
            self.room.notify_one();
        }
    }

    fn place_anywhere(&self, distribution: Distribution, forward: Forward) -> Result<(), Wait> {
        let lanes = self.lanes();
        if lanes.is_empty() {
            return Err(Wait::Lane(forward));
        }
        match self.choose(distribution, &lanes) {
            Some(lane) => lane.try_push(forward).map_err(|refused| match refused {
                Refused::Closed(forward) | Refused::Full(forward) => Wait::Room(forward),
            }),
            None => Err(Wait::Room(forward)),
        }
    }

    async fn place_sticky(&self, forward: Forward, leaving: Option<&Arc<Lane>>) -> Result<(), Wait> {
        let socket = Arc::clone(&forward.socket);
        let mut turn = socket.turn.lock().await;
        let lane = match self.stick(&socket, &mut turn, leaving).await {
            Ok(lane) => lane,
            Err(Some(closed)) => return Err(Wait::Move(forward, closed)),
            Err(None) => return Err(Wait::Lane(forward)),
        };
        if forward.what.is_event() && !lane.config.wants_events {
            return Ok(());
        }
        lane.push(forward).await.map_err(|refused| match refused {
            Refused::Closed(forward) | Refused::Full(forward) => Wait::Move(forward, lane),
        })
    }

    /// The lane that a socket sticks to, a new one if it has none or is `leaving` it. Without one, the error is the closed
    /// lane whose leftovers have to go first.
    async fn stick(
        &self,
        socket: &Arc<Socket>,
        turn: &mut Turn,
        leaving: Option<&Arc<Lane>>,
    ) -> Result<Arc<Lane>, Option<Arc<Lane>>> {
        if let Some(first) = turn.first(leaving) {
            return Err(Some(first));
        }
        match &turn.lane {
            Some(lane) if leaving.is_some_and(|leaving| Arc::ptr_eq(lane, leaving)) => {
                lane.unstick(socket.id);
                turn.behind.push(Arc::clone(lane));
                turn.lane = None;
                self.stick_as(socket, turn, &What::Moved).await
            }
            Some(lane) if lane.is_closed() => Err(Some(Arc::clone(lane))),
            Some(lane) => Ok(Arc::clone(lane)),
            None => self.stick_as(socket, turn, &What::Connected).await,
        }
    }

    async fn stick_as(
        &self,
        socket: &Arc<Socket>,
        turn: &mut Turn,
        event: &What,
    ) -> Result<Arc<Lane>, Option<Arc<Lane>>> {
        let lane = self.choose(Distribution::Sticky, &self.lanes()).ok_or(None)?;
        lane.stick(socket);
        turn.lane = Some(Arc::clone(&lane));
        if lane.config.wants_events && lane.push(Forward::new(socket, event.clone())).await.is_err() {
            return Err(Some(lane));
        }
        Ok(lane)
    }

    fn choose(&self, distribution: Distribution, lanes: &[Arc<Lane>]) -> Option<Arc<Lane>> {
        if let [lane] = lanes {
            return (distribution == Distribution::Sticky || lane.has_room()).then(|| Arc::clone(lane));
        }
        let candidates: Vec<_> = lanes
            .iter()
            .map(|lane| Candidate {
                has_room: lane.has_room(),
                outstanding: lane.outstanding(),
                sockets: lane.sockets(),
            })
            .collect();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        lanes.get(distribution.choose(turn, &candidates)?).cloned()
    }
}

/// Puts a message on the lane that its socket sticks to, if nothing is in the way: so it is with nearly all.
fn place_at_once(socket: &Socket, forward: &mut Option<Forward>) {
    let Ok(turn) = socket.turn.try_lock() else { return };
    if let Some(lane) = &turn.lane
        && turn.behind.is_empty()
        && let Some(message) = forward.take()
        && let Err(Refused::Closed(refused) | Refused::Full(refused)) = lane.try_push(message)
    {
        *forward = Some(refused);
    }
}

/// The lane that a socket sticks to. Its turn is not held on to: who waits for the lane to move would keep it from moving.
async fn lane_of(socket: &Socket) -> Option<Arc<Lane>> {
    socket.turn.lock().await.lane.clone()
}

#[cfg(test)]
mod tests;
