//! What the handles of one endpoint share: the driver, and where the engine's events go.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use dashmap::DashMap;
use glue_net::driver::{Driven, Driver, Local, SocketConfig};
use glue_net::{EndpointId, Instant, Interface, PeerId, WallClock};
use glue_topics::{Answer, Batch, CallEvent, Delivery, PublishError, RequestId, SubscriptionId};
use tokio::sync::Notify;

use crate::endpoint::StartError;
use crate::engine::Engine;
use crate::event::Event;
use crate::memory::OwnRoom;
use crate::notice::{Notice, Notices, Watchers};
use crate::presence::TokenBoard;
use crate::publisher::TryPublishError;
use crate::subscription::Mailbox;
use crate::switchboard::Switchboard;

/// The one state behind all handles.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) id: EndpointId,
    pub(crate) name: String,
    pub(crate) data: SocketAddr,
    driver: Driver<Engine>,
    hub: Arc<Hub>,
}

/// Where the engine's events go. The driver holds it, so it must not keep the driver alive.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    mailboxes: DashMap<SubscriptionId, Arc<Mailbox>>,
    pub(crate) watchers: Watchers,
    calls: Switchboard,
    tokens: TokenBoard,
    /// Publishers wait here for room.
    writable: Notify,
    /// Publishers wait here for subscribers.
    interest: Notify,
    /// Who wants to know where a message is waits here.
    receipts: Notify,
    drained: Mutex<Option<bool>>,
    drain_over: Notify,
    stopped: AtomicBool,
    /// For giving back credit.
    shared: OnceLock<Weak<Shared>>,
    /// Set before anything is delivered.
    own_room: OnceLock<OwnRoom>,
}

impl Shared {
    pub(crate) fn start(
        sockets: &SocketConfig,
        make: impl FnOnce(&Local) -> Result<Engine, StartError>,
    ) -> Result<Arc<Self>, StartError> {
        let hub = Arc::new(Hub::default());
        let (mut facts, sink, maker) = (None, Arc::clone(&hub), Arc::clone(&hub));
        let make = |local: &Local| -> Result<Engine, StartError> {
            let engine = make(local)?;
            let us = &engine.config.discovery;
            // It is set once, here.
            let _ = maker.own_room.set(engine.own_room());
            facts = Some((us.id, us.name.clone(), local.data));
            Ok(engine)
        };
        let driver = Driver::try_start(sockets, make, move |events: &mut Vec<Event>| sink.take(events))?;
        let (id, name, data) = facts.unwrap_or_else(|| unreachable!("the driver has made the engine"));
        let shared = Arc::new(Self { id, name, data, driver, hub });
        // It is set once, here.
        let _ = shared.hub.shared.set(Arc::downgrade(&shared));
        Ok(shared)
    }

    /// Runs `f` on the engine, then sends on this thread what the engine wants to send.
    pub(crate) fn call<R>(&self, f: impl FnOnce(&mut Engine, Instant) -> R) -> R {
        self.driver.call(f)
    }

    /// As [`Shared::call`], but leaves the sending to [`Shared::flush`].
    pub(crate) fn gather<R>(&self, f: impl FnOnce(&mut Engine, Instant) -> R) -> R {
        self.driver.gather(f)
    }

    /// Sends what was gathered.
    pub(crate) fn flush(&self) {
        self.driver.flush();
    }

    /// Waits until a queue that was full has room.
    pub(crate) fn writable(&self) -> &Notify {
        &self.hub.writable
    }

    /// Waits until other peers than before get what is published.
    pub(crate) fn interest(&self) -> &Notify {
        &self.hub.interest
    }

    /// Waits until more is known of what was published.
    pub(crate) fn receipts(&self) -> &Notify {
        &self.hub.receipts
    }

    /// Waits until `is_so`, which may have changed when `changed` notifies. False: the endpoint was closed meanwhile.
    pub(crate) async fn wait_until(&self, changed: &Notify, is_so: impl Fn() -> bool) -> bool {
        loop {
            // Made before the look, so that a change between the look and the wait is not missed.
            let change = changed.notified();
            if is_so() {
                return true;
            }
            if self.is_stopped() {
                return false;
            }
            change.await;
        }
    }

    /// Tries until there is room. `None`: the endpoint was closed, whose queues will never have room again.
    pub(crate) async fn when_writable<T>(
        &self,
        attempt: impl Fn() -> Result<T, TryPublishError>,
    ) -> Result<Option<T>, PublishError> {
        loop {
            // Made before the try, so that room which comes between the try and the wait is not missed.
            let writable = self.writable().notified();
            match attempt() {
                Ok(done) => return Ok(Some(done)),
                Err(TryPublishError::Publish(error)) => return Err(error),
                Err(TryPublishError::WouldBlock) if self.is_stopped() => return Ok(None),
                Err(TryPublishError::WouldBlock) => writable.await,
            }
        }
    }

    pub(crate) fn open(&self, id: SubscriptionId, mailbox: Arc<Mailbox>) {
        self.hub.mailboxes.insert(id, mailbox);
    }

    pub(crate) fn close(&self, id: SubscriptionId) {
        self.call(|engine, _| engine.unsubscribe(id));
        if let Some((_, mailbox)) = self.hub.mailboxes.remove(&id) {
            mailbox.close();
        }
    }

    /// Where requests and answers go.
    pub(crate) fn calls(&self) -> &Switchboard {
        &self.hub.calls
    }

    pub(crate) fn watch(&self) -> Notices {
        self.hub.watchers.watch()
    }

    pub(crate) fn tell(&self, notice: Notice) {
        self.hub.watchers.tell(Some(notice));
    }

    pub(crate) fn token_board(&self) -> &TokenBoard {
        &self.hub.tokens
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.hub.stopped.load(Ordering::Acquire)
    }

    /// Gives back the credit for bytes that came from peers.
    pub(crate) fn give_back(&self, taken: &BTreeMap<PeerId, usize>) {
        self.driver.note(|engine, _| taken.iter().for_each(|(peer, bytes)| engine.handle_taken(*peer, *bytes)));
    }

    /// Waits until all is acknowledged, for `patience` at most.
    pub(crate) async fn drain(&self, patience: Duration) -> bool {
        if self.is_stopped() {
            return true;
        }
        // What an earlier wait that was given up has left.
        *self.hub.drained.lock().unwrap_or_else(PoisonError::into_inner) = None;
        loop {
            let over = self.hub.drain_over.notified();
            let drained = *self.hub.drained.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(drained) = drained {
                return drained;
            }
            self.call(|engine, now| {
                engine.withdraw_wills(now);
                engine.drain(now, patience);
            });
            over.await;
        }
    }

    /// Says goodbye and stops the threads. Subscriptions and event streams end.
    pub(crate) fn stop(&self) {
        if self.hub.stopped.swap(true, Ordering::AcqRel) {
            return;
        }
        self.call(|engine, now| engine.leave(now));
        self.driver.close();
        self.hub.mailboxes.iter().for_each(|entry| entry.close());
        self.hub.watchers.close();
        self.hub.calls.close();
        self.hub.tokens.close();
        self.hub.writable.notify_waiters();
        self.hub.interest.notify_waiters();
        self.hub.receipts.notify_waiters();
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Hub {
    fn deliver(&self, delivery: Delivery, taken: &mut BTreeMap<PeerId, usize>) {
        let (from, bytes) = (delivery.batch.from(), delivery.batch.bytes());
        let credit = from.zip(self.shared.get().cloned()).map(|(peer, shared)| Credit::new(shared, peer, bytes));
        let mut kept = false;
        let lease = credit.map(Arc::new);
        for id in delivery.to.iter() {
            // The guard is dropped before the function of the application runs, which may subscribe.
            let mailbox = self.mailboxes.get(id).map(|entry| Arc::clone(&entry));
            if let Some(mailbox) = mailbox {
                kept |= mailbox.put(delivery.batch.clone(), lease.as_ref(), self.own_room.get());
            }
        }
        // Nobody keeps it: the credit goes back with that of the rest of the burst, in one call.
        if !kept && let Some(credit) = lease.and_then(Arc::into_inner) {
            *taken.entry(credit.peer).or_default() += bytes;
            credit.disarm();
        }
    }

    fn deliver_share(&self, id: RequestId, to: SubscriptionId, batch: Batch) {
        let Some(shared) = self.shared.get().cloned() else { return };
        // The guard is dropped before the function of the application runs.
        let mailbox = self.mailboxes.get(&to).map(|entry| Arc::clone(&entry));
        let bytes = batch.from().map_or(0, |_| batch.bytes());
        let credit = Credit { shared, peer: batch.from().unwrap_or(PeerId(0)), bytes, share: Some(id) };
        // If there is none, the subscription has ended, and what it had not done went back.
        if let Some(mailbox) = mailbox {
            mailbox.put(batch, Some(&Arc::new(credit)), self.own_room.get());
        }
    }

    /// Takes what the engine tells, from whichever thread has it.
    fn take(&self, events: &mut Vec<Event>) {
        let mut taken = BTreeMap::new();
        for event in events.drain(..) {
            match event {
                Event::Call(CallEvent::Share { id, to, batch }) => self.deliver_share(id, to, batch),
                Event::Call(event) => self.calls.handle(event, self.shared.get()),
                Event::Delivery(delivery) => self.deliver(delivery, &mut taken),
                Event::Pace { id, name, pace, .. } => self.watchers.tell(Some(Notice::of_pace(name, id, pace))),
                Event::Discovery(event) => self.watchers.tell(Notice::of_discovery(event)),
                Event::Topics(glue_topics::Event::InterestChanged) => self.interest.notify_waiters(),
                Event::Topics(glue_topics::Event::ReceiptChanged) => self.receipts.notify_waiters(),
                Event::Topics(glue_topics::Event::Token(event)) => self.tokens.note(&event),
                Event::Topics(event) => self.watchers.tell(Notice::of_topics(event)),
                Event::Refused { address, why } => self.watchers.tell(Some(Notice::Refused { address, why })),
                Event::Writable => self.writable.notify_waiters(),
                Event::Drained { complete } => {
                    *self.drained.lock().unwrap_or_else(PoisonError::into_inner) = Some(complete);
                    self.drain_over.notify_waiters();
                }
            }
        }
        if !taken.is_empty()
            && let Some(shared) = self.shared.get().and_then(Weak::upgrade)
        {
            shared.give_back(&taken);
        }
    }
}

/// The credit for a batch that waits in mailboxes; it goes back when the last of them has let go of it. A share of a
/// group's messages is done then.
#[derive(Debug)]
pub(crate) struct Credit {
    shared: Weak<Shared>,
    peer: PeerId,
    bytes: usize,
    share: Option<RequestId>,
}

impl Credit {
    pub(crate) const fn new(shared: Weak<Shared>, peer: PeerId, bytes: usize) -> Self {
        Self { shared, peer, bytes, share: None }
    }

    pub(crate) const fn is_share(&self) -> bool {
        self.share.is_some()
    }

    /// Whether it may still be processed: a share may be with another member by now.
    pub(crate) fn is_wanted(&self) -> bool {
        let shared = self.share.zip(self.shared.upgrade());
        shared.is_none_or(|(id, shared)| shared.call(|engine, _| engine.is_waiting(id)))
    }

    /// It is given back in another way.
    fn disarm(mut self) {
        self.bytes = 0;
    }
}

impl Drop for Credit {
    fn drop(&mut self) {
        if self.bytes == 0 && self.share.is_none() {
            return;
        }
        let Some(shared) = self.shared.upgrade() else { return };
        if self.bytes > 0 {
            shared.give_back(&BTreeMap::from([(self.peer, self.bytes)]));
        }
        let Some(id) = self.share else { return };
        // What a closed endpoint has not read goes to others, and so does what a thread died of.
        if std::thread::panicking() {
            let _ = shared.call(|engine, now| engine.answer(now, id, Answer::Returned));
        } else if !shared.is_stopped() {
            shared.call(|engine, now| engine.done(now, id));
        }
    }
}

impl Driven for Engine {
    fn handle_interfaces(&mut self, now: Instant, interfaces: &[Interface]) {
        Self::handle_interfaces(self, now, interfaces.to_vec());
    }

    fn handle_clock(&mut self, _now: Instant, clock: WallClock) {
        Self::handle_clock(self, clock);
    }

    fn is_paced(&self) -> bool {
        Self::is_paced(self)
    }

    fn junk(&self) -> u64 {
        Self::junk(self)
    }
}
