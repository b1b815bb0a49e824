//! Payloads on their way to one peer: queued, numbered when first sent, kept until acknowledged.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use glue_net::{Instant, Payload, Priority, Skip};

use crate::dedup::Seen;
use crate::room;

/// What waits and what is unacknowledged.
#[derive(Debug)]
pub(crate) struct Outbox<P> {
    urgent: VecDeque<P>,
    /// One for each priority, in the order in which they leave.
    lanes: [Lane<P>; LANES],
    /// The lane that the datagram being filled begins with, out of turn.
    favoured: Option<usize>,
    /// Numbers that wait in all lanes to be sent again.
    resends: usize,
    /// Number of the front slot: everything below is acknowledged.
    first: u64,
    slots: VecDeque<Slot<P>>,
    bytes: usize,
    expired: u64,
    /// Best-effort payloads that were lost.
    lost: u64,
    /// Bytes acknowledged in all.
    taken: u64,
}

/// What has one priority.
#[derive(Debug)]
struct Lane<P> {
    queue: VecDeque<Queued<P>>,
    /// Numbers whose packets were lost.
    resend: VecDeque<u64>,
    /// Bytes queued or unacknowledged.
    bytes: usize,
    /// Datagrams that began with another lane while something waited here.
    passed: u32,
}

impl<P> Default for Lane<P> {
    fn default() -> Self {
        Self { queue: VecDeque::new(), resend: VecDeque::new(), bytes: 0, passed: 0 }
    }
}

impl<P> Lane<P> {
    fn is_drained(&self) -> bool {
        self.queue.is_empty() && self.resend.is_empty()
    }
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
    lane: usize,
}

impl<P> Default for Outbox<P> {
    fn default() -> Self {
        Self {
            urgent: VecDeque::new(),
            lanes: Default::default(),
            favoured: None,
            resends: 0,
            first: 0,
            slots: VecDeque::new(),
            bytes: 0,
            expired: 0,
            lost: 0,
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
        let Some(lane) = self.lanes.get_mut(lane_of(payload.priority())) else { return };
        if lane.queue.back_mut().is_some_and(|last| last.payload.merge(&payload)) {
            return;
        }
        self.bytes += len;
        lane.bytes += len;
        lane.queue.push_back(Queued { payload, len });
    }

    /// Bytes queued or unacknowledged.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes queued or unacknowledged that are at least as urgent as `priority`.
    pub(crate) fn bytes_before(&self, priority: Priority) -> usize {
        self.lanes.iter().take(lane_of(priority) + 1).map(|lane| lane.bytes).sum()
    }

    /// Best-effort payloads that were lost.
    pub(crate) const fn lost(&self) -> u64 {
        self.lost
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
        self.urgent.len() + self.slots.len() + self.lanes.iter().map(|lane| lane.queue.len()).sum::<usize>()
    }

    /// What there is room for.
    #[cfg(test)]
    pub(crate) fn room(&self) -> usize {
        let lanes = self.lanes.iter().map(|lane| lane.queue.capacity() + lane.resend.capacity());
        self.urgent.capacity() + self.slots.capacity() + lanes.sum::<usize>()
    }

    /// Nothing waits to be sent (unacknowledged payloads may be under way).
    pub(crate) fn is_drained(&self) -> bool {
        self.urgent.is_empty() && self.lanes.iter().all(Lane::is_drained)
    }

    /// What waits for what is as urgent as `priority`: nothing; or only what is less urgent, which it overtakes.
    pub(crate) fn is_drained_for(&self, priority: Priority) -> Option<Company> {
        let (before, after) = self.lanes.split_at_checked(lane_of(priority) + 1)?;
        let is_next = self.urgent.is_empty() && before.iter().all(Lane::is_drained);
        let company = if after.iter().all(Lane::is_drained) { Company::None } else { Company::LessUrgent };
        is_next.then_some(company)
    }

    /// Nothing waits, and all is acknowledged.
    pub(crate) fn is_settled(&self) -> bool {
        self.is_drained() && self.slots.is_empty()
    }

    pub(crate) const fn has_resends(&self) -> bool {
        self.resends > 0
    }

    /// A datagram is about to be filled: it begins with the most urgent of what waits; but a lane that was passed over
    /// [`MAX_PASSED`] times has one.
    pub(crate) fn begin_datagram(&mut self) {
        self.favoured = None;
        let mut waiting = self.lanes.iter_mut().enumerate().filter(|(_, lane)| !lane.is_drained());
        if let Some((_, first)) = waiting.next() {
            first.passed = 0;
        }
        for (at, lane) in waiting {
            lane.passed += 1;
            if lane.passed > MAX_PASSED && self.favoured.is_none() {
                (self.favoured, lane.passed) = (Some(at), 0);
            }
        }
    }

    /// The lane whose turn it is.
    fn turn(&self) -> Option<usize> {
        let favoured = self.favoured.filter(|at| self.lanes.get(*at).is_some_and(|lane| !lane.is_drained()));
        favoured.or_else(|| self.lanes.iter().position(|lane| !lane.is_drained()))
    }

    /// Whether a payload of the lane whose turn it is waits to be sent again.
    pub(crate) fn has_resend_next(&self) -> bool {
        self.has_resends() && self.turn().and_then(|at| self.lanes.get(at)).is_some_and(|lane| !lane.resend.is_empty())
    }

    /// Whether the next payload to send again takes more than `room` bytes.
    pub(crate) fn resend_exceeds(&self, room: usize) -> bool {
        if !self.has_resends() {
            return false;
        }
        let front = self.turn().and_then(|at| self.lanes.get(at)?.resend.front());
        let payload = front.and_then(|number| self.get(*number));
        payload.is_some_and(|payload| payload.encoded_len() > room)
    }

    pub(crate) fn has_urgent(&self) -> bool {
        !self.urgent.is_empty()
    }

    pub(crate) fn has_queued(&self) -> bool {
        self.lanes.iter().any(|lane| !lane.queue.is_empty())
    }

    /// Whether anything may expire, or there is memory to give back.
    pub(crate) fn needs_sweep(&self) -> bool {
        self.has_queued() || !self.slots.is_empty() || self.has_spare_room()
    }

    fn has_spare_room(&self) -> bool {
        let is_spare = |lane: &Lane<P>| room::is_spare(&lane.queue) || room::is_spare(&lane.resend);
        room::is_spare(&self.slots) || room::is_spare(&self.urgent) || self.lanes.iter().any(is_spare)
    }

    /// Gives some of the memory back that a burst has left.
    fn give_room_back(&mut self) {
        room::give_back(&mut self.slots);
        room::give_back(&mut self.urgent);
        for lane in &mut self.lanes {
            room::give_back(&mut lane.queue);
            room::give_back(&mut lane.resend);
        }
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
    #[inline]
    pub(crate) fn next_resend(&mut self, now: Instant, room: usize, most: usize) -> Option<u64> {
        if self.has_resends() { self.take_resend(now, room, most) } else { None }
    }

    fn take_resend(&mut self, now: Instant, room: usize, most: usize) -> Option<u64> {
        loop {
            let lane = self.turn()?;
            let number = *self.lanes.get(lane)?.resend.front()?;
            let waits = self.slot_mut(number).filter(|slot| slot.queued);
            let Some((slot, payload)) = waits.and_then(Slot::split) else {
                self.pop_resend(lane);
                continue;
            };
            let expired = expire_if_due(payload, now);
            let fits = payload.encoded_len() <= room;
            *slot = !fits;
            self.expired += u64::from(expired);
            if fits {
                self.pop_resend(lane);
                return Some(number);
            }
            if room < most || !self.recut(number, most) {
                return None;
            }
        }
    }

    /// Numbers the next urgent payload for its first transmission, if it fits in `room`.
    pub(crate) fn next_urgent(&mut self, room: usize) -> Option<u64> {
        let len = self.urgent.front()?.encoded_len();
        if len > room {
            return None;
        }
        let payload = self.urgent.pop_front()?;
        self.bytes -= len;
        let lane = lane_of(payload.priority());
        Some(self.number(lane, payload, len))
    }

    /// Numbers the next queued payload for its first transmission, if it fits in `room`. Of one that does not even fit
    /// in `whole` bytes, it is the front part that does.
    pub(crate) fn next_queued(&mut self, now: Instant, room: usize, whole: usize) -> Option<u64> {
        let at = self.turn()?;
        let lane = self.lanes.get_mut(at)?;
        let front = lane.queue.front_mut()?;
        self.expired += u64::from(expire_if_due(&mut front.payload, now));
        let len = front.payload.encoded_len();
        if len <= room {
            let queued = lane.queue.pop_front()?;
            self.resize(at, queued.len, 0);
            return Some(self.number(at, queued.payload, len));
        }
        if len <= whole || room < MIN_PART_BYTES {
            return None;
        }
        self.cut_queued(at, room)
    }

    /// Numbers the front part of the next queued payload of a lane.
    fn cut_queued(&mut self, at: usize, room: usize) -> Option<u64> {
        let front = self.lanes.get_mut(at)?.queue.front_mut()?;
        let part = front.payload.cut(room)?;
        let (before, after) = (front.len, front.payload.encoded_len());
        front.len = after;
        self.resize(at, before, after);
        let len = part.encoded_len();
        Some(self.number(at, part, len))
    }

    fn pop_resend(&mut self, lane: usize) {
        if let Some(lane) = self.lanes.get_mut(lane) {
            self.resends -= usize::from(lane.resend.pop_front().is_some());
        }
    }

    #[inline]
    fn number(&mut self, lane: usize, payload: P, len: usize) -> u64 {
        let number = self.next_number();
        self.resize(lane, 0, len);
        self.slots.push_back(Slot { payload: Some(payload), len, charged: 0, queued: false, lane });
        number
    }

    /// Something in a lane has `to` bytes in place of `from`.
    fn resize(&mut self, lane: usize, from: usize, to: usize) {
        self.bytes = self.bytes - from + to;
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.bytes = lane.bytes - from + to;
        }
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
            let (len, lane) = (slot.len, slot.lane);
            self.resize(lane, len, 0);
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

    /// The packet that carried the payload was lost; true if it is to be sent again: as a notice, if it is best effort.
    pub(crate) fn lose(&mut self, number: u64) -> bool {
        let Some(slot) = self.slot_mut(number) else { return false };
        let Some(payload) = slot.payload.as_ref().filter(|_| !slot.queued) else { return false };
        let (lane, is_best_effort) = (slot.lane, payload.is_best_effort());
        slot.queued = true;
        if is_best_effort {
            self.give_up(number, lane);
        }
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.resend.push_back(number);
            self.resends += 1;
        }
        true
    }

    /// Turns a payload that was lost into a notice; and what is yet to be sent of the same message, which would be in vain.
    fn give_up(&mut self, number: u64, lane: usize) {
        let Some(slot) = self.slot_mut(number) else { return };
        let Some(payload) = &mut slot.payload else { return };
        payload.skip(Skip::Lost);
        let (before, after) = (slot.len, payload.encoded_len());
        slot.len = after;
        self.lost += 1;
        self.resize(lane, before, after);
        let Some(payload) = self.get(number) else { return };
        let front = self.lanes.get(lane).and_then(|lane| lane.queue.front());
        if front.is_none_or(|front| !front.payload.is_of_one_with(payload)) {
            return;
        }
        let Some(front) = self.lanes.get_mut(lane).and_then(|lane| lane.queue.front_mut()) else { return };
        front.payload.skip(Skip::Lost);
        let before = std::mem::replace(&mut front.len, front.payload.encoded_len());
        let after = front.len;
        self.resize(lane, before, after);
    }

    /// Turns what has expired into notices, and merges those in the queue. What was sent and not acknowledged as well: if it
    /// arrived, its ack will settle the notice; if not, only the notice is of use. And gives memory back.
    pub(crate) fn sweep(&mut self, now: Instant) {
        self.give_room_back();
        for slot in &mut self.slots {
            let Some(payload) = &mut slot.payload else { continue };
            if !expire_if_due(payload, now) {
                continue;
            }
            note_len(&mut self.lanes, &mut self.bytes, slot);
            self.expired += 1;
        }
        let mut queued = self.lanes.iter().flat_map(|lane| &lane.queue);
        if !queued.any(|q| q.payload.deadline().is_some_and(|at| at <= now)) {
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
            payload.skip(Skip::Overflow);
            count += u64::from(note_len(&mut self.lanes, &mut self.bytes, slot));
        }
        count
            + self.rewrite(|payload| {
                let before = payload.encoded_len();
                payload.skip(Skip::Overflow);
                payload.encoded_len() < before
            })
    }

    /// Changes what is queued, and merges the notices that it has become, wherever they stand: there are then no more of
    /// them than topics. Returns how often `change` said yes.
    fn rewrite(&mut self, mut change: impl FnMut(&mut P) -> bool) -> u64 {
        (0..LANES).map(|at| self.rewrite_lane(at, &mut change)).sum()
    }

    fn rewrite_lane(&mut self, at: usize, mut change: impl FnMut(&mut P) -> bool) -> u64 {
        let mut changed = 0;
        let mut last_of_group = BTreeMap::new();
        let mut kept: VecDeque<Queued<P>> = VecDeque::new();
        let Some(lane) = self.lanes.get_mut(at) else { return 0 };
        for Queued { mut payload, len } in std::mem::take(&mut lane.queue) {
            self.bytes -= len;
            lane.bytes -= len;
            changed += u64::from(change(&mut payload));
            let last = last_of_group.get(&payload.group()).and_then(|at: &usize| kept.get_mut(*at));
            if last.is_some_and(|last| last.payload.merge(&payload)) {
                continue;
            }
            last_of_group.insert(payload.group(), kept.len());
            let len = payload.encoded_len();
            self.bytes += len;
            lane.bytes += len;
            kept.push_back(Queued { payload, len });
        }
        lane.queue = kept;
        changed
    }

    /// Cuts the payload of `number` to `most` bytes and queues the rest; false if it can not be cut.
    fn recut(&mut self, number: u64, most: usize) -> bool {
        let Some(slot) = self.slot_mut(number) else { return false };
        let Some(mut rest) = slot.payload.take() else { return false };
        let Some(part) = rest.cut(most) else {
            slot.payload = Some(rest);
            return false;
        };
        let (old, new, lane) = (slot.len, part.encoded_len(), slot.lane);
        (slot.payload, slot.len) = (Some(part), new);
        let len = rest.encoded_len();
        self.resize(lane, old, new + len);
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.queue.push_front(Queued { payload: rest, len });
        }
        true
    }

    fn slot_mut(&mut self, number: u64) -> Option<&mut Slot<P>> {
        let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.slots.get_mut(index)
    }
}

impl<P> Slot<P> {
    /// Whether it waits to be sent again, and what it holds, if it was not acknowledged.
    const fn split(&mut self) -> Option<(&mut bool, &mut P)> {
        match &mut self.payload {
            Some(payload) => Some((&mut self.queued, payload)),
            None => None,
        }
    }
}

/// The payload of a slot has another length than before; returns whether it is shorter.
fn note_len<P: Payload>(lanes: &mut [Lane<P>; LANES], bytes: &mut usize, slot: &mut Slot<P>) -> bool {
    let len = slot.payload.as_ref().map_or(0, Payload::encoded_len);
    let before = std::mem::replace(&mut slot.len, len);
    *bytes = *bytes - before + len;
    if let Some(lane) = lanes.get_mut(slot.lane) {
        lane.bytes = lane.bytes - before + len;
    }
    len < before
}

const fn lane_of(priority: Priority) -> usize {
    priority as usize
}

/// What waits beside something that would be sent next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Company {
    LessUrgent,
    None,
}

const LANES: usize = Priority::ALL.len();
/// A lane that waits begins one datagram in 16: 6 % of the rate keep the lowest alive, and cost the highest no more.
const MAX_PASSED: u32 = 15;
/// How often [`Outbox::sweep`] is worth calling while something is queued.
pub(crate) const SWEEP_INTERVAL: Duration = Duration::from_millis(100);
/// Shorter parts of a message are not worth a frame of their own.
pub(crate) const MIN_PART_BYTES: usize = 256;

fn expire_if_due<P: Payload>(payload: &mut P, now: Instant) -> bool {
    let due = payload.deadline().is_some_and(|at| at <= now);
    if due {
        payload.skip(Skip::Expired);
    }
    due
}
