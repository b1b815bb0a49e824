//! Payloads on their way to one peer: queued, numbered when first sent, kept until acknowledged.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use glue_net::{Instant, Payload};

use crate::dedup::Seen;

/// What waits and what is unacknowledged.
#[derive(Debug)]
pub(crate) struct Outbox<P> {
    urgent: VecDeque<P>,
    queue: VecDeque<Queued<P>>,
    /// Number of the front slot: everything below is acknowledged.
    first: u64,
    slots: VecDeque<Slot<P>>,
    /// Numbers whose packets were lost.
    resend: VecDeque<u64>,
    bytes: usize,
    expired: u64,
    /// Bytes acknowledged in all.
    taken: u64,
}

#[derive(Debug)]
struct Queued<P> {
    payload: P,
    len: usize,
}

#[derive(Debug)]
struct Slot<P> {
    /// `None`: acknowledged.
    payload: Option<P>,
    len: usize,
    /// Bytes of credit that it takes.
    charged: u64,
    queued: bool,
}

impl<P> Default for Outbox<P> {
    fn default() -> Self {
        Self {
            urgent: VecDeque::new(),
            queue: VecDeque::new(),
            first: 0,
            slots: VecDeque::new(),
            resend: VecDeque::new(),
            bytes: 0,
            expired: 0,
            taken: 0,
        }
    }
}

impl<P: Payload> Outbox<P> {
    /// Queues a payload; a notice merges with the one before it.
    pub(crate) fn push(&mut self, payload: P) {
        let len = payload.encoded_len();
        if payload.is_urgent() {
            self.bytes += len;
            self.urgent.push_back(payload);
            return;
        }
        if self.queue.back_mut().is_some_and(|last| last.payload.merge(&payload)) {
            return;
        }
        self.bytes += len;
        self.queue.push_back(Queued { payload, len });
    }

    /// Bytes queued or unacknowledged.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Payloads that expired before they were acknowledged.
    pub(crate) const fn expired(&self) -> u64 {
        self.expired
    }

    /// Bytes acknowledged in all.
    pub(crate) const fn taken(&self) -> u64 {
        self.taken
    }

    /// Payloads queued or unacknowledged, and numbers kept between them.
    pub(crate) fn entries(&self) -> usize {
        self.urgent.len() + self.queue.len() + self.slots.len()
    }

    /// Nothing waits to be sent (unacknowledged payloads may be under way).
    pub(crate) fn is_drained(&self) -> bool {
        self.queue.is_empty() && self.urgent.is_empty() && self.resend.is_empty()
    }

    /// Nothing waits, and all is acknowledged.
    pub(crate) fn is_settled(&self) -> bool {
        self.is_drained() && self.slots.is_empty()
    }

    pub(crate) fn has_resends(&self) -> bool {
        !self.resend.is_empty()
    }

    /// Whether the next payload to send again takes more than `room` bytes.
    pub(crate) fn resend_exceeds(&self, room: usize) -> bool {
        let payload = self.resend.front().and_then(|number| self.get(*number));
        payload.is_some_and(|payload| payload.encoded_len() > room)
    }

    pub(crate) fn has_urgent(&self) -> bool {
        !self.urgent.is_empty()
    }

    pub(crate) fn has_queued(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Whether anything may expire.
    pub(crate) fn needs_sweep(&self) -> bool {
        self.has_queued() || !self.slots.is_empty()
    }

    /// Whether numbers are left that the peer can tell apart.
    pub(crate) fn has_numbers(&self) -> bool {
        (self.slots.len() as u64) < Seen::SPAN
    }

    /// The next number that a payload gets.
    pub(crate) fn next_number(&self) -> u64 {
        self.first + self.slots.len() as u64
    }

    /// The next lost payload of at most `room` bytes. What no longer fits in a datagram of `most` bytes is cut, and the
    /// rest queued anew.
    pub(crate) fn next_resend(&mut self, now: Instant, room: usize, most: usize) -> Option<u64> {
        loop {
            let number = *self.resend.front()?;
            let Some(slot) = self.slot_mut(number).filter(|slot| slot.queued) else {
                self.resend.pop_front();
                continue;
            };
            let Some(payload) = &mut slot.payload else {
                self.resend.pop_front();
                continue;
            };
            let expired = expire_if_due(payload, now);
            let fits = payload.encoded_len() <= room;
            slot.queued = !fits;
            self.expired += u64::from(expired);
            if fits {
                self.resend.pop_front();
                return Some(number);
            }
            if room < most || !self.recut(number, most) {
                return None;
            }
        }
    }

    /// Numbers the next urgent payload for its first transmission, if it fits in `room`.
    pub(crate) fn next_urgent(&mut self, room: usize) -> Option<u64> {
        let payload = self.take_urgent(room)?;
        Some(self.number(payload))
    }

    /// Numbers the next queued payload for its first transmission, if it fits in `room`. Of one that does not even fit
    /// in `whole` bytes, it is the front part that does.
    pub(crate) fn next_queued(&mut self, now: Instant, room: usize, whole: usize) -> Option<u64> {
        let payload = self.take_queued(now, room, whole)?;
        Some(self.number(payload))
    }

    fn number(&mut self, payload: P) -> u64 {
        let number = self.next_number();
        let len = payload.encoded_len();
        self.bytes += len;
        self.slots.push_back(Slot { payload: Some(payload), len, charged: 0, queued: false });
        number
    }

    /// The payload of a number.
    pub(crate) fn get(&self, number: u64) -> Option<&P> {
        let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.slots.get(index)?.payload.as_ref()
    }

    /// Whether the payload of a number has expired, but for the peer being told.
    pub(crate) fn is_due(&self, number: u64, now: Instant) -> bool {
        self.get(number).and_then(Payload::deadline).is_some_and(|at| at <= now)
    }

    /// The payload arrived.
    pub(crate) fn acknowledge(&mut self, number: u64) {
        let Some(slot) = self.slot_mut(number) else { return };
        if let Some(payload) = slot.payload.take() {
            payload.acknowledge();
            let len = slot.len;
            self.bytes -= len;
            self.taken += len as u64;
        }
        while self.slots.front().is_some_and(|slot| slot.payload.is_none()) {
            self.slots.pop_front();
            self.first += 1;
        }
    }

    /// The payload of a number is sent as `bytes`, which it is charged. Returns what it was charged before: a lost one
    /// may have been cut, or may have expired.
    pub(crate) fn charge(&mut self, number: u64, bytes: u64) -> u64 {
        self.slot_mut(number).map_or(0, |slot| std::mem::replace(&mut slot.charged, bytes))
    }

    /// The packet that carried the payload was lost; true if it is to be sent again.
    pub(crate) fn lose(&mut self, number: u64) -> bool {
        let Some(slot) = self.slot_mut(number) else { return false };
        if slot.payload.is_none() || slot.queued {
            return false;
        }
        slot.queued = true;
        self.resend.push_back(number);
        true
    }

    /// Turns what has expired into notices, and merges those in the queue. What was sent and not acknowledged as well: if it
    /// arrived, its ack will settle the notice; if not, only the notice is of use.
    pub(crate) fn sweep(&mut self, now: Instant) {
        for slot in &mut self.slots {
            let Some(payload) = &mut slot.payload else { continue };
            if !expire_if_due(payload, now) {
                continue;
            }
            let len = payload.encoded_len();
            self.bytes = self.bytes - slot.len + len;
            slot.len = len;
            self.expired += 1;
        }
        if !self.queue.iter().any(|q| q.payload.deadline().is_some_and(|at| at <= now)) {
            return;
        }
        self.expired += self.rewrite(|payload| expire_if_due(payload, now));
    }

    /// Turns all that waits, whether it was sent before or not, into notices that there was no room for it. Returns how
    /// many payloads that were.
    pub(crate) fn shed(&mut self) -> u64 {
        let mut count = 0;
        for slot in &mut self.slots {
            let Some(payload) = slot.payload.as_mut().filter(|payload| !payload.is_urgent()) else { continue };
            payload.overflow();
            let len = payload.encoded_len();
            count += u64::from(len < slot.len);
            self.bytes = self.bytes - slot.len + len;
            slot.len = len;
        }
        count
            + self.rewrite(|payload| {
                let before = payload.encoded_len();
                payload.overflow();
                payload.encoded_len() < before
            })
    }

    /// Changes what is queued, and merges the notices that it has become, wherever they stand: there are then no more of
    /// them than topics. Returns how often `change` said yes.
    fn rewrite(&mut self, mut change: impl FnMut(&mut P) -> bool) -> u64 {
        let mut changed = 0;
        let mut last_of_group = BTreeMap::new();
        let mut kept: VecDeque<Queued<P>> = VecDeque::new();
        for Queued { mut payload, len } in std::mem::take(&mut self.queue) {
            self.bytes -= len;
            changed += u64::from(change(&mut payload));
            let last = last_of_group.get(&payload.group()).and_then(|at: &usize| kept.get_mut(*at));
            if last.is_some_and(|last| last.payload.merge(&payload)) {
                continue;
            }
            last_of_group.insert(payload.group(), kept.len());
            let len = payload.encoded_len();
            self.bytes += len;
            kept.push_back(Queued { payload, len });
        }
        self.queue = kept;
        changed
    }

    fn take_urgent(&mut self, room: usize) -> Option<P> {
        if self.urgent.front()?.encoded_len() > room {
            return None;
        }
        let payload = self.urgent.pop_front()?;
        self.bytes -= payload.encoded_len();
        Some(payload)
    }

    fn take_queued(&mut self, now: Instant, room: usize, whole: usize) -> Option<P> {
        let front = self.queue.front_mut()?;
        self.expired += u64::from(expire_if_due(&mut front.payload, now));
        if front.payload.encoded_len() <= room {
            let queued = self.queue.pop_front()?;
            self.bytes -= queued.len;
            return Some(queued.payload);
        }
        if front.payload.encoded_len() <= whole || room < MIN_PART_BYTES {
            return None;
        }
        let part = front.payload.cut(room)?;
        self.bytes -= front.len;
        front.len = front.payload.encoded_len();
        self.bytes += front.len;
        Some(part)
    }

    /// Cuts the payload of `number` to `most` bytes and queues the rest; false if it can not be cut.
    fn recut(&mut self, number: u64, most: usize) -> bool {
        let Some(slot) = self.slot_mut(number) else { return false };
        let Some(mut rest) = slot.payload.take() else { return false };
        let Some(part) = rest.cut(most) else {
            slot.payload = Some(rest);
            return false;
        };
        let (old, new) = (slot.len, part.encoded_len());
        (slot.payload, slot.len) = (Some(part), new);
        let len = rest.encoded_len();
        self.bytes = self.bytes - old + new + len;
        self.queue.push_front(Queued { payload: rest, len });
        true
    }

    fn slot_mut(&mut self, number: u64) -> Option<&mut Slot<P>> {
        let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.slots.get_mut(index)
    }
}

/// How often [`Outbox::sweep`] is worth calling while something is queued.
pub(crate) const SWEEP_INTERVAL: Duration = Duration::from_millis(100);
/// Shorter parts of a message are not worth a frame of their own.
pub(crate) const MIN_PART_BYTES: usize = 256;

fn expire_if_due<P: Payload>(payload: &mut P, now: Instant) -> bool {
    let due = payload.deadline().is_some_and(|at| at <= now);
    if due {
        payload.expire();
    }
    due
}
