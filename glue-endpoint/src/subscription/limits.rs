//! Subscriptions that drop what is too much for them, so that nobody waits for their reader.

use glue_topics::{Batch, GapReason, Overflow, Room};

use super::{Parcel, State};
use crate::memory::OwnRoom;

/// What may wait, and what goes when it is more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    room: Room,
    drops_oldest: bool,
}

impl Limit {
    /// `None`: nothing goes.
    pub(super) const fn of(overflow: Overflow) -> Option<Self> {
        match overflow {
            Overflow::DropOldest(room) => Some(Self { room, drops_oldest: true }),
            Overflow::DropNewest(room) => Some(Self { room, drops_oldest: false }),
            _ => None,
        }
    }

    fn messages(&self) -> usize {
        self.room.messages.max(1)
    }

    fn bytes(&self, own_room: Option<&OwnRoom>) -> usize {
        self.room.bytes.min(own_room.map_or(usize::MAX, OwnRoom::share))
    }
}

impl State {
    /// Puts a batch in; what is too much becomes a gap in its place.
    pub(super) fn put_within(&mut self, mut batch: Batch, limit: Limit, own_room: Option<&OwnRoom>) {
        if limit.drops_oldest {
            self.push(batch, own_room);
            while self.messages > limit.messages() || self.bytes > limit.bytes(own_room) {
                let excess = self.messages.saturating_sub(limit.messages());
                if !self.drop_oldest(excess) {
                    return;
                }
            }
            return;
        }
        let fits = self.messages == 0 || self.bytes + batch.bytes() <= limit.bytes(own_room);
        let free = if fits { limit.messages().saturating_sub(self.messages) } else { 0 };
        if batch.messages_left() > free {
            let front = batch.take_first(free);
            if free > 0 {
                self.push(front, own_room);
            }
            batch.skip(GapReason::Overflow);
        }
        self.push(batch, own_room);
    }

    /// A parcel is no longer in the mailbox.
    pub(super) const fn uncount(&mut self, parcel: &Parcel) {
        if parcel.messages > 0 {
            self.messages -= parcel.messages;
            self.bytes -= parcel.batch.bytes();
        }
    }

    fn push(&mut self, batch: Batch, own_room: Option<&OwnRoom>) {
        let messages = batch.messages_left();
        if messages == 0 {
            return self.push_gap(batch);
        }
        self.messages += messages;
        self.bytes += batch.bytes();
        // Own ones are counted by themselves.
        let held = own_room.filter(|_| batch.from().is_some()).map(|room| room.hold(batch.bytes()));
        self.parcels.push_back(Parcel { batch, credit: None, messages, _held: held });
    }

    /// One gap of a publisher and topic takes in the next, wherever those of others stand between.
    fn push_gap(&mut self, gap: Batch) {
        let before = self.parcels.iter_mut().rev().find(|parcel| parcel.batch.is_beside(&gap));
        if !before.is_some_and(|parcel| parcel.batch.merge(&gap)) {
            self.parcels.push_back(Parcel { batch: gap, credit: None, messages: 0, _held: None });
        }
    }

    /// Turns the oldest `excess` messages into a gap; those of the oldest batch, if it has fewer, or if 0 are too many but
    /// their bytes are. False: only the newest batch is left, which stays.
    fn drop_oldest(&mut self, excess: usize) -> bool {
        let mut waiting = self.parcels.iter().enumerate().filter(|(_, parcel)| parcel.messages > 0);
        let oldest = waiting.next().map(|(at, parcel)| (at, parcel.messages));
        let (Some((at, messages)), is_last) = (oldest, waiting.next().is_none()) else { return false };
        if is_last && excess == 0 {
            return false;
        }
        let Some(parcel) = self.parcels.get_mut(at) else { return false };
        let gap = if excess > 0 && excess < messages {
            let mut gap = parcel.batch.take_first(excess);
            gap.skip(GapReason::Overflow);
            (parcel.messages, self.messages) = (messages - excess, self.messages - excess);
            gap
        } else {
            let Some(mut parcel) = self.parcels.remove(at) else { return false };
            self.uncount(&parcel);
            parcel.batch.skip(GapReason::Overflow);
            parcel.batch
        };
        // All that stands before it are gaps.
        if !self.parcels.iter_mut().take(at).any(|earlier| earlier.batch.merge(&gap)) {
            self.parcels.insert(at, Parcel { batch: gap, credit: None, messages: 0, _held: None });
        }
        true
    }
}
