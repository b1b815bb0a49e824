//! Where messages wait for the application, or the function that takes them.

mod limits;

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use glue_net::Held;
use glue_net::driver::Clock;
use glue_topics::{Batch, GapReason, Item, Message, Overflow, SubscribeError, SubscribeOptions, SubscriptionId};
use tokio::sync::Notify;

use crate::memory::OwnRoom;
use crate::shared::{Credit, Shared};

/// Messages of a topic, in each publisher's order. Ends when dropped.
///
/// What arrives waits here. Once 8 MiB from one publisher wait (less if memory is short), that publisher sends no more until
/// some are received; of this endpoint's own messages the oldest go then, and show as a [`glue_topics::Gap`]. With another
/// [`Overflow`] than the default something always goes, and nobody waits. If nothing is
/// received for long while much is published, the publisher goes on without us: that shows as a gap as well.
///
/// Of a queue group, `$share/<group>/<filter>`, one member gets each message. It is done when the next one is asked for, or
/// when the subscription is dropped, and goes to another member if this endpoint ends or stays out of reach before, or the
/// subscription is dropped by a panic.
#[derive(Debug)]
pub struct Subscription {
    shared: Arc<Shared>,
    id: SubscriptionId,
    mailbox: Arc<Mailbox>,
    current: Option<Parcel>,
    missed: u64,
}

impl Subscription {
    pub(crate) fn new(
        shared: Arc<Shared>,
        topic: &str,
        type_name: &str,
        options: SubscribeOptions,
    ) -> Result<Self, SubscribeError> {
        let mailbox = Arc::new(Mailbox::queue(options.overflow));
        let id = subscribe(&shared, topic, type_name, options, &mailbox)?;
        Ok(Self { shared, id, mailbox, current: None, missed: 0 })
    }

    /// Waits for the next message. `None` after the endpoint was closed and all is received. Gaps are passed over; see
    /// [`Subscription::missed`], or [`Subscription::recv_item`] to have them in their place.
    ///
    /// Cancel safe: a dropped call loses nothing.
    pub async fn recv(&mut self) -> Option<Message> {
        loop {
            if let Item::Message(message) = self.recv_item().await? {
                return Some(message);
            }
        }
    }

    /// Waits for the next message or gap. `None` after the endpoint was closed and all is received.
    ///
    /// Cancel safe: a dropped call loses nothing.
    pub async fn recv_item(&mut self) -> Option<Item> {
        loop {
            if let Some(item) = self.take() {
                return Some(item);
            }
            if self.mailbox.is_closed() {
                return None;
            }
            // A message that comes between the look and the wait leaves a permit behind.
            self.mailbox.arrived.notified().await;
        }
    }

    /// The next message, if one has arrived.
    pub fn try_recv(&mut self) -> Option<Message> {
        loop {
            if let Item::Message(message) = self.take()? {
                return Some(message);
            }
        }
    }

    /// How many messages this subscription was told it does not get: expired, or over a limit somewhere.
    #[must_use]
    pub const fn missed(&self) -> u64 {
        self.missed
    }

    fn take(&mut self) -> Option<Item> {
        let now = Clock::now();
        loop {
            if let Some(parcel) = &mut self.current {
                if let Some(item) = parcel.batch.next(now) {
                    self.missed += if let Item::Gap(gap) = &item { gap.count() } else { 0 };
                    return Some(item);
                }
                self.current = None;
            }
            self.current = Some(self.mailbox.take()?).filter(Parcel::is_wanted);
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        // What was handed out last is done.
        self.current = None;
        self.shared.close(self.id);
    }
}

/// A function that is called for each message of a topic, or each message and gap. Ends when dropped; a call that runs is finished.
#[derive(Debug)]
#[must_use = "the subscription ends when its handle is dropped"]
pub struct CallbackSubscription {
    shared: Arc<Shared>,
    id: SubscriptionId,
    mailbox: Arc<Mailbox>,
}

impl CallbackSubscription {
    pub(crate) fn new(
        shared: Arc<Shared>,
        topic: &str,
        type_name: &str,
        options: SubscribeOptions,
        on_item: OnItem,
    ) -> Result<Self, SubscribeError> {
        let mailbox = Arc::new(Mailbox::callback(on_item));
        let id = subscribe(&shared, topic, type_name, options, &mailbox)?;
        Ok(Self { shared, id, mailbox })
    }

    /// How many messages this subscription was told it does not get: expired, or over a limit somewhere.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.mailbox.lock().missed
    }
}

impl Drop for CallbackSubscription {
    fn drop(&mut self) {
        self.shared.close(self.id);
    }
}

fn subscribe(
    shared: &Shared,
    topic: &str,
    type_name: &str,
    options: SubscribeOptions,
    mailbox: &Arc<Mailbox>,
) -> Result<SubscriptionId, SubscribeError> {
    // The mailbox is there before the lock is let go of, so that no delivery finds none.
    shared.call(|engine, now| {
        let id = engine.subscribe_from(now, topic, type_name, options)?;
        shared.open(id, Arc::clone(mailbox));
        Ok(id)
    })
}

/// What the application does with a message or a gap.
pub(crate) type OnItem = Box<dyn FnMut(Item) + Send>;

/// Where one subscription's messages go.
pub(crate) struct Mailbox {
    state: Mutex<State>,
    arrived: Notify,
    /// What becomes of what waits for too long.
    overflow: Overflow,
    /// Called for each message and gap. Deliveries come one at a time, so nobody waits for this lock.
    on_item: Option<Mutex<OnItem>>,
}

#[derive(Debug, Default)]
struct State {
    parcels: VecDeque<Parcel>,
    /// Bytes of this endpoint's own messages.
    own_bytes: usize,
    /// Messages that wait, and their bytes, if something is dropped when they are too many.
    messages: usize,
    bytes: usize,
    missed: u64,
    closed: bool,
}

#[derive(Debug)]
struct Parcel {
    batch: Batch,
    credit: Option<Arc<Credit>>,
    /// As counted in the mailbox.
    messages: usize,
    /// Counts what no credit does.
    _held: Option<Held>,
}

impl Parcel {
    fn is_wanted(&self) -> bool {
        self.credit.as_ref().is_none_or(|credit| credit.is_wanted())
    }
}

impl Mailbox {
    fn queue(overflow: Overflow) -> Self {
        Self { state: Mutex::default(), arrived: Notify::new(), overflow, on_item: None }
    }

    fn callback(on_item: OnItem) -> Self {
        Self { on_item: Some(Mutex::new(on_item)), ..Self::queue(Overflow::Block) }
    }

    /// Puts a batch in, or hands it to the application at once. Returns whether it is kept.
    pub(crate) fn put(&self, batch: Batch, credit: Option<&Arc<Credit>>, own_room: Option<&OwnRoom>) -> bool {
        if let Some(on_item) = &self.on_item {
            self.run(batch, &mut on_item.lock().unwrap_or_else(PoisonError::into_inner));
            return false;
        }
        let mut state = self.lock();
        if state.closed {
            return false;
        }
        let limit = limits::Limit::of(self.overflow).filter(|_| !credit.is_some_and(|credit| credit.is_share()));
        if let Some(limit) = limit {
            state.put_within(batch, limit, own_room);
            drop(state);
            self.arrived.notify_one();
            // What is kept is counted here; the credit goes back.
            return false;
        }
        let is_own = batch.from().is_none();
        // What follows a gap and is one too, for the same reason, is told as one: nobody who reads late pays for it.
        if !state.parcels.back_mut().is_some_and(|last| last.batch.merge(&batch)) {
            state.own_bytes += if is_own { batch.bytes() } else { 0 };
            state.parcels.push_back(Parcel { batch, credit: credit.cloned(), messages: 0, _held: None });
        }
        if is_own {
            while state.own_bytes > own_room.map_or(OWN_LIMIT_BYTES, |room| room.share().min(OWN_LIMIT_BYTES))
                && state.drop_oldest_own()
            {}
        }
        drop(state);
        self.arrived.notify_one();
        true
    }

    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        drop(state);
        self.arrived.notify_one();
    }

    fn run(&self, mut batch: Batch, on_item: &mut OnItem) {
        // Reading the clock once a batch is enough: a batch is a burst.
        let now = Clock::now();
        while let Some(item) = batch.next(now) {
            if let Item::Gap(gap) = &item {
                self.lock().missed += gap.count();
            }
            on_item(item);
        }
    }

    fn take(&self) -> Option<Parcel> {
        let mut state = self.lock();
        let parcel = state.parcels.pop_front()?;
        if parcel.batch.from().is_none() {
            state.own_bytes = state.own_bytes.saturating_sub(parcel.batch.bytes());
        }
        state.uncount(&parcel);
        Some(parcel)
    }

    fn is_closed(&self) -> bool {
        let state = self.lock();
        state.closed && state.parcels.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Turns the oldest own messages into a gap; false if there are none but the newest.
    fn drop_oldest_own(&mut self) -> bool {
        let has_messages = |parcel: &Parcel| parcel.batch.from().is_none() && parcel.batch.has_messages();
        let mut with_messages = self.parcels.iter().enumerate().filter(|(_, parcel)| has_messages(parcel));
        // The newest stays, however large.
        let Some(((at, _), _)) = with_messages.next().zip(with_messages.next()) else { return false };
        let Some(parcel) = self.parcels.get_mut(at) else { return false };
        let before = parcel.batch.bytes();
        parcel.batch.skip(GapReason::Overflow);
        let gap = parcel.batch.clone();
        self.own_bytes -= before - gap.bytes();
        // Of one publisher and topic there is then one gap, wherever those of others stand between.
        if self.parcels.iter_mut().take(at).any(|earlier| earlier.batch.merge(&gap)) {
            self.parcels.remove(at);
            self.own_bytes -= gap.bytes();
        }
        true
    }
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox").field("state", &self.state).finish_non_exhaustive()
    }
}

/// Own messages that may wait in one subscription. Remote ones are bounded by their credit.
const OWN_LIMIT_BYTES: usize = 8 << 20;

#[cfg(test)]
mod tests;
