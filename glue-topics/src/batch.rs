//! Messages on their way to a subscriber, read on its thread.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use glue_net::{Gauge, Held, Instant, PeerId, WallTime};

use crate::bundle::{self, Header};
use crate::message::{Gap, GapReason, Item, Message, Source};

/// Messages of one source, in order, and the gaps between them. Take them out with [`Batch::next`]. A clone is cheap:
/// it shares the payloads.
#[derive(Clone, Debug)]
pub struct Batch {
    from: Option<PeerId>,
    bytes: usize,
    content: Content,
    /// Counts this endpoint's own messages until the last clone is gone.
    held: Option<Arc<Held>>,
}

#[derive(Clone, Debug)]
enum Content {
    Bundle(Unread),
    Gap(Option<Gap>),
    Messages(VecDeque<Message>),
}

/// The part of a checked bundle that is yet to be read.
#[derive(Clone, Debug)]
pub(crate) struct Unread {
    pub(crate) source: Arc<Source>,
    pub(crate) messages: Bytes,
    /// Of the next message.
    pub(crate) sequence: u64,
    /// Of the message before; of the first at the start.
    pub(crate) timestamp: WallTime,
    /// From the first message to the one before the next.
    since_first: u64,
    pub(crate) expiry: Duration,
    pub(crate) arrival: Instant,
    /// No message lives longer, whatever the publisher's clock says: arrival + expiry.
    latest: Instant,
    /// How old the first message was on arrival.
    pub(crate) age: Duration,
}

impl Batch {
    pub(crate) fn of_gap(from: Option<PeerId>, gap: Gap) -> Self {
        Self { from, bytes: OVERHEAD_BYTES, content: Content::Gap(Some(gap)), held: None }
    }

    pub(crate) fn of_message(from: Option<PeerId>, message: Message) -> Self {
        let bytes = OVERHEAD_BYTES + message.payload.len();
        Self { from, bytes, content: Content::Messages(VecDeque::from([message])), held: None }
    }

    /// A message of this endpoint.
    pub(crate) fn of_own(message: Message, memory: &Gauge) -> Self {
        let batch = Self::of_message(None, message);
        Self { held: Some(Arc::new(memory.hold(batch.bytes))), ..batch }
    }

    /// The messages of a bundle that [`bundle::find`] found whole.
    pub(crate) fn of_bundle(
        from: Option<PeerId>,
        source: Arc<Source>,
        body: &Bytes,
        header: &Header<'_>,
        age: Age,
    ) -> Self {
        let unread = Unread {
            source,
            messages: body.slice(body.len() - header.messages.len()..),
            sequence: header.first,
            timestamp: header.timestamp,
            since_first: 0,
            expiry: header.expiry,
            arrival: age.arrival,
            latest: age.arrival + header.expiry,
            age: age.on_arrival,
        };
        Self { from, bytes: OVERHEAD_BYTES + body.len(), content: Content::Bundle(unread), held: None }
    }

    /// Adds the message that follows, if this batch holds own messages of the same source and is not too large.
    pub(crate) fn push(&mut self, message: Message) -> Result<(), Message> {
        match &mut self.content {
            Content::Messages(queue)
                if self.from.is_none()
                    && self.bytes < MAX_OWN_BYTES
                    && queue.back().is_some_and(|last| Arc::ptr_eq(&last.source, &message.source)) =>
            {
                self.bytes += message.payload.len() + MESSAGE_BYTES;
                queue.push_back(message);
                if let Some(held) = self.held.as_mut().and_then(Arc::get_mut) {
                    held.set(self.bytes);
                }
                Ok(())
            }
            _ => Err(message),
        }
    }

    /// Drops what is numbered below `first`; some is not.
    pub(crate) fn begin_at(&mut self, first: u64) {
        match &mut self.content {
            Content::Bundle(unread) => unread.begin_at(first),
            Content::Gap(Some(gap)) => gap.from = gap.from.max(first),
            Content::Messages(_) | Content::Gap(None) => {}
        }
    }

    /// The next message, or what is missing before it. Messages that have expired at `now` come out as a gap.
    #[must_use]
    pub fn next(&mut self, now: Instant) -> Option<Item> {
        match &mut self.content {
            Content::Bundle(unread) => unread.next(now),
            Content::Gap(gap) => gap.take().map(Item::Gap),
            Content::Messages(queue) => next_of(queue, now),
        }
    }

    /// Drops the messages that are left: a gap with this reason stays.
    pub fn skip(&mut self, reason: GapReason) {
        let Some((source, from)) = self.first() else { return };
        let to = match &self.content {
            Content::Messages(queue) => queue.back().map_or(from, |last| last.sequence_number),
            _ => from + (self.messages_left() as u64).saturating_sub(1),
        };
        self.content = Content::Gap(Some(Gap { source, from, to, reason }));
        (self.bytes, self.held) = (OVERHEAD_BYTES, None);
    }

    /// How many messages are left in it, some of which may have expired.
    #[must_use]
    pub fn messages_left(&self) -> usize {
        match &self.content {
            Content::Bundle(unread) => unread.count(),
            Content::Gap(_) => 0,
            Content::Messages(queue) => queue.len(),
        }
    }

    /// Takes out the first `count` messages that are left; fewer, if there are not so many.
    #[must_use]
    pub fn take_first(&mut self, count: usize) -> Self {
        let mut front = self.clone();
        match (&mut front.content, &mut self.content) {
            (Content::Bundle(front), Content::Bundle(rest)) => {
                rest.begin_at(rest.sequence + count as u64);
                front.messages.truncate(front.messages.len() - rest.messages.len());
            }
            (Content::Messages(front), Content::Messages(rest)) => {
                rest.drain(..count.min(rest.len()));
                front.truncate(count);
            }
            _ => {}
        }
        front
    }

    /// Whether both are of one publisher and topic.
    #[must_use]
    pub fn is_beside(&self, other: &Self) -> bool {
        let source = |batch: &Self| match &batch.content {
            Content::Gap(gap) => gap.as_ref().map(|gap| Arc::clone(&gap.source)),
            _ => batch.source().cloned(),
        };
        source(self).zip(source(other)).is_some_and(|(a, b)| Arc::ptr_eq(&a, &b) || a == b)
    }

    /// The first message that is left: where it comes from, and its number.
    fn first(&self) -> Option<(Arc<Source>, u64)> {
        match &self.content {
            Content::Bundle(unread) if !unread.messages.is_empty() => {
                Some((Arc::clone(&unread.source), unread.sequence))
            }
            Content::Bundle(_) | Content::Gap(_) => None,
            Content::Messages(queue) => queue.front().map(|first| (Arc::clone(&first.source), first.sequence_number)),
        }
    }

    /// Takes in `next`, which follows, if both are a gap of the same source for the same reason.
    pub fn merge(&mut self, next: &Self) -> bool {
        let (Content::Gap(Some(gap)), Content::Gap(Some(next))) = (&mut self.content, &next.content) else {
            return false;
        };
        let same_source = Arc::ptr_eq(&gap.source, &next.source) || gap.source == next.source;
        let joins = gap.to.checked_add(1) == Some(next.from) && gap.reason == next.reason && same_source;
        if joins {
            gap.to = next.to;
        }
        joins
    }

    /// Whether own messages are left in it, see [`Batch::skip`].
    #[must_use]
    pub fn has_messages(&self) -> bool {
        matches!(&self.content, Content::Messages(queue) if !queue.is_empty())
    }

    /// Where the messages that are left in it come from; `None`: there are none.
    pub(crate) fn source(&self) -> Option<&Arc<Source>> {
        match &self.content {
            Content::Bundle(unread) => Some(&unread.source),
            Content::Gap(_) => None,
            Content::Messages(queue) => queue.front().map(|message| &message.source),
        }
    }

    /// The messages of a bundle, if it is one that was not read to its end.
    pub(crate) const fn unread(&self) -> Option<&Unread> {
        if let Content::Bundle(unread) = &self.content { Some(unread) } else { None }
    }

    pub(crate) const fn is_bundle(&self) -> bool {
        matches!(self.content, Content::Bundle(_))
    }

    /// The peer that sent it; `None` for this endpoint's own messages.
    #[must_use]
    pub const fn from(&self) -> Option<PeerId> {
        self.from
    }

    /// Bytes of the bundle, or of the payload.
    pub(crate) const fn content_bytes(&self) -> usize {
        self.bytes - OVERHEAD_BYTES
    }

    /// Bytes of memory that it held when it was made, for flow control: the whole bundle stays as long as a payload of
    /// it does.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }
}

/// When a bundle arrived, and how old its first message was then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Age {
    pub(crate) arrival: Instant,
    pub(crate) on_arrival: Duration,
}

impl Unread {
    fn next(&mut self, now: Instant) -> Option<Item> {
        let mut expired = None;
        while let Some((delta, payload, rest)) = bundle::split_message(&self.messages) {
            let (len, left) = (payload.len(), rest.len());
            let deadline = self.deadline(delta);
            if deadline <= now {
                let (from, _) = expired.unwrap_or((self.sequence, 0));
                expired = Some((from, self.sequence));
                self.step(delta, left);
                continue;
            }
            if expired.is_some() {
                break;
            }
            self.messages.advance(self.messages.len() - left - len);
            let payload = self.messages.split_to(len);
            let sequence_number = self.sequence;
            self.step(delta, left);
            return Some(Item::Message(Message {
                source: Arc::clone(&self.source),
                deadline,
                timestamp: self.timestamp,
                expiry: self.expiry,
                sequence_number,
                payload,
            }));
        }
        let (from, to) = expired?;
        let source = Arc::clone(&self.source);
        Some(Item::Gap(Gap { source, from, to, reason: GapReason::Expired }))
    }

    fn count(&self) -> usize {
        let (mut count, mut rest) = (0, &self.messages[..]);
        while let Some((_, _, after)) = bundle::split_message(rest) {
            (count, rest) = (count + 1, after);
        }
        count
    }

    fn begin_at(&mut self, first: u64) {
        while self.sequence < first
            && let Some((delta, _, rest)) = bundle::split_message(&self.messages)
        {
            let left = rest.len();
            self.step(delta, left);
        }
    }

    /// The deadline of the message that was published `delta` after the one before.
    fn deadline(&self, delta: u64) -> Instant {
        let since_first = Duration::from_nanos(self.since_first.saturating_add(delta));
        (self.latest + since_first - self.age).min(self.latest)
    }

    /// When the last message expires.
    pub(crate) fn last_deadline(&self) -> Instant {
        let (mut since_first, mut messages) = (self.since_first, &self.messages[..]);
        while let Some((delta, _, rest)) = bundle::split_message(messages) {
            since_first = since_first.saturating_add(delta);
            messages = rest;
        }
        (self.latest + Duration::from_nanos(since_first) - self.age).min(self.latest)
    }

    /// Moves on to what begins `left` bytes before the end.
    fn step(&mut self, delta: u64, left: usize) {
        self.since_first = self.since_first.saturating_add(delta);
        self.timestamp = self.timestamp + Duration::from_nanos(delta);
        self.sequence += 1;
        self.messages.advance(self.messages.len() - left);
    }
}

fn next_of(queue: &mut VecDeque<Message>, now: Instant) -> Option<Item> {
    let mut expired: Option<Gap> = None;
    while let Some(message) = queue.front() {
        let sequence = message.sequence_number;
        match &mut expired {
            _ if !message.is_expired(now) => break,
            Some(gap) => gap.to = sequence,
            None => {
                let source = Arc::clone(&message.source);
                expired = Some(Gap { source, from: sequence, to: sequence, reason: GapReason::Expired });
            }
        }
        queue.pop_front();
    }
    expired.map(Item::Gap).or_else(|| queue.pop_front().map(Item::Message))
}

/// What a batch takes besides payloads, about.
const OVERHEAD_BYTES: usize = 200;
/// What a message takes besides its payload.
const MESSAGE_BYTES: usize = size_of::<Message>();
/// Own messages are gathered up to this size, so that one delivery is shared by a burst and stays small.
const MAX_OWN_BYTES: usize = 64 << 10;
