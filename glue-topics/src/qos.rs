//! Quality of service: what a publication offers, what a subscription requests, and whether they match.
//!
//! A subscription requests nothing unless it says so, and then takes whatever is offered. What it requests is a condition:
//! an offer that is less exchanges nothing with it, and both sides are told. So nobody gets less than what was asked for
//! without knowing, and who asks for nothing need not know.

use std::time::Duration;

use bytes::Bytes;
use glue_net::Priority;
use glue_net::wire::{DecodeError, Reader, put_varint};

use crate::history::{History, Wish};

/// Whether what is lost on the way is sent again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reliability {
    /// No: what is lost is a gap ([`crate::GapReason::Lost`]), and nobody waits for a subscriber that is slow: it misses
    /// messages ([`crate::GapReason::Overflow`]). For what is soon of no use, as readings and frames are.
    BestEffort,
    /// Yes, until it expires; publishers wait for subscribers that are slow.
    #[default]
    Reliable,
}

/// Which of what an offer promises is less than what was requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Policy {
    /// No deadline is offered, or a longer one than was requested.
    Deadline,
    /// Best effort is offered, and reliable delivery was requested.
    Reliability,
}

/// What becomes of messages that wait in a subscription whose reader is slow.
///
/// Nothing waits for a function that is called with each message, and a member of a queue group always has its share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Overflow {
    /// They wait, 8 MiB from each publisher (less if memory is short); then its publishers wait. This endpoint's own
    /// messages never wait for it: beyond 8 MiB the oldest go.
    #[default]
    Block,
    /// The newest so many wait; the oldest go, as a gap in their place. No publisher ever waits for this subscription.
    DropOldest(Room),
    /// The oldest so many wait; what comes then goes, as a gap in its place. No publisher ever waits for this subscription.
    DropNewest(Room),
}

/// What may wait in a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Messages. Default without limit; 0 counts as 1.
    pub messages: usize,
    /// Bytes of memory; one bundle of messages may always wait. Default 8 MiB, and never more than the memory budget leaves.
    pub bytes: usize,
}

impl Room {
    /// Room for so many messages.
    #[must_use]
    pub const fn messages(messages: usize) -> Self {
        Self { messages, bytes: DEFAULT_ROOM_BYTES }
    }

    /// Room for so many bytes.
    #[must_use]
    pub const fn bytes(bytes: usize) -> Self {
        Self { messages: usize::MAX, bytes }
    }
}

/// What a publication promises and how it is sent. They hold for the topic at this endpoint: the last that were given
/// count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PublisherOptions {
    /// What is kept for subscriptions that join later and ask for it. Default: nothing.
    pub history: History,
    /// Whether what is lost is sent again. Default: it is.
    pub reliability: Reliability,
    /// Something is published at least so often, it is promised. Default: nothing is; at least a microsecond. When nothing
    /// is published for so long after a message, that is told here.
    pub deadline: Option<Duration>,
    /// What leaves first where several things wait for one peer. Default: [`Priority::Normal`]. 16 datagrams of the highest
    /// class that waits leave for one of a lower.
    pub priority: Priority,
    /// The longest that a message lives, whatever its own expiry says. Default: for ever.
    pub lifespan: Option<Duration>,
}

impl PublisherOptions {
    /// The default.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The topic has a value: the last message, until it expires, or an empty message clears it.
    #[must_use]
    pub fn retained() -> Self {
        Self::default().history(History::Retained)
    }

    /// Keeps messages for who joins later.
    #[must_use]
    pub const fn history(mut self, history: History) -> Self {
        self.history = history;
        self
    }

    /// What is lost is not sent again, and nobody waits for who is slow.
    #[must_use]
    pub const fn best_effort(mut self) -> Self {
        self.reliability = Reliability::BestEffort;
        self
    }

    /// Promises a message at least so often.
    #[must_use]
    pub const fn deadline(mut self, period: Duration) -> Self {
        self.deadline = Some(period);
        self
    }

    /// What leaves first.
    #[must_use]
    pub const fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// The longest that a message lives.
    #[must_use]
    pub const fn lifespan(mut self, lifespan: Duration) -> Self {
        self.lifespan = Some(lifespan);
        self
    }

    pub(crate) const fn offer(&self) -> Offer {
        Offer { reliability: self.reliability, deadline: self.deadline }
    }
}

impl From<History> for PublisherOptions {
    fn from(history: History) -> Self {
        Self::default().history(history)
    }
}

/// What a subscription requests, and what it gets beside what is published from now on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubscribeOptions {
    /// How much of what was published before. Default: nothing.
    pub history: Wish,
    /// `None`, the default, takes what is offered. [`Reliability::Reliable`] takes nothing from publishers that are best
    /// effort. [`Reliability::BestEffort`] takes from all, and nothing is sent again for it, unless another subscription of
    /// this endpoint gets the same.
    pub reliability: Option<Reliability>,
    /// Takes only from publishers that promise a message at least so often; and when one is late, that is told here.
    /// Default: from all. At least a microsecond.
    pub deadline: Option<Duration>,
    /// What becomes of messages that are not received in time. Default: publishers wait.
    pub overflow: Overflow,
}

impl SubscribeOptions {
    /// The default.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks for what was published before.
    #[must_use]
    pub const fn history(mut self, history: Wish) -> Self {
        self.history = history;
        self
    }

    /// Takes nothing from publishers that are best effort.
    #[must_use]
    pub const fn reliable(mut self) -> Self {
        self.reliability = Some(Reliability::Reliable);
        self
    }

    /// Does without what is lost.
    #[must_use]
    pub const fn best_effort(mut self) -> Self {
        self.reliability = Some(Reliability::BestEffort);
        self
    }

    /// Takes only from publishers that promise a message at least so often.
    #[must_use]
    pub const fn deadline(mut self, period: Duration) -> Self {
        self.deadline = Some(period);
        self
    }

    /// What becomes of messages that are not received in time.
    #[must_use]
    pub const fn overflow(mut self, overflow: Overflow) -> Self {
        self.overflow = overflow;
        self
    }

    pub(crate) const fn request(&self) -> Request {
        Request { reliability: self.reliability, deadline: self.deadline }
    }
}

impl From<Wish> for SubscribeOptions {
    fn from(wish: Wish) -> Self {
        Self::default().history(wish)
    }
}

/// What a peer is told of a publication.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Offer {
    pub(crate) reliability: Reliability,
    pub(crate) deadline: Option<Duration>,
}

/// What a peer is told of the subscriptions to a filter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) reliability: Option<Reliability>,
    pub(crate) deadline: Option<Duration>,
}

impl Offer {
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    pub(crate) fn is_best_effort(&self) -> bool {
        self.reliability == Reliability::BestEffort
    }

    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        put_options(Some(self.reliability), self.deadline, out);
    }

    /// What is appended by later versions is passed over.
    pub(crate) fn read(options: Bytes) -> Result<Self, DecodeError> {
        let (reliability, deadline) = read_options(options)?;
        Ok(Self { reliability: reliability.unwrap_or_default(), deadline })
    }
}

impl Request {
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// What of it an offer does not meet.
    pub(crate) fn unmet(&self, offer: &Offer) -> Option<Policy> {
        if self.reliability > Some(offer.reliability) {
            return Some(Policy::Reliability);
        }
        let period = self.deadline?;
        offer.deadline.is_none_or(|offered| offered > period).then_some(Policy::Deadline)
    }

    /// What both have in common: it is met by whatever meets one of them, and best effort only if both are.
    pub(crate) fn or(self, other: Self) -> Self {
        let reliability = self.reliability.filter(|_| self.reliability == other.reliability);
        let deadline = self.deadline.zip(other.deadline).map(|(a, b)| a.max(b));
        Self { reliability, deadline }
    }

    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        put_options(self.reliability, self.deadline, out);
    }

    /// What is appended by later versions is passed over.
    pub(crate) fn read(options: Bytes) -> Result<Self, DecodeError> {
        let (reliability, deadline) = read_options(options)?;
        Ok(Self { reliability, deadline })
    }
}

fn put_options(reliability: Option<Reliability>, deadline: Option<Duration>, out: &mut Vec<u8>) {
    out.push(match reliability {
        None => ANY,
        Some(Reliability::Reliable) => RELIABLE,
        Some(Reliability::BestEffort) => BEST_EFFORT,
    });
    // An offer is rounded as a request is, so equal ones still match.
    let micros = deadline.map_or(0, |period| u64::try_from(period.as_micros()).unwrap_or(u64::MAX).max(1));
    put_varint(out, micros);
}

fn read_options(options: Bytes) -> Result<(Option<Reliability>, Option<Duration>), DecodeError> {
    let mut reader = Reader::new(options);
    let reliability = match reader.u8()? {
        ANY => None,
        RELIABLE => Some(Reliability::Reliable),
        BEST_EFFORT => Some(Reliability::BestEffort),
        _ => return Err(DecodeError::Malformed("reliability")),
    };
    let micros = reader.varint()?;
    Ok((reliability, (micros > 0).then(|| Duration::from_micros(micros))))
}

const ANY: u8 = 0;
const RELIABLE: u8 = 1;
const BEST_EFFORT: u8 = 2;
/// As much as one publisher's credit.
const DEFAULT_ROOM_BYTES: usize = 8 << 20;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reliability() -> impl Strategy<Value = Option<Reliability>> {
        prop::sample::select(vec![None, Some(Reliability::BestEffort), Some(Reliability::Reliable)])
    }

    fn request() -> impl Strategy<Value = Request> {
        (reliability(), prop::option::of(1u64..9))
            .prop_map(|(reliability, ms)| Request { reliability, deadline: ms.map(Duration::from_millis) })
    }

    proptest! {
        #[test]
        fn requests_and_offers_read_back_and_room_is_left(request in request(), more: Vec<u8>) {
            let mut out = Vec::new();
            request.put(&mut out);
            out.extend(more);
            prop_assert_eq!(Request::read(out.into()), Ok(request));
        }

        #[test]
        fn any_bytes_read_without_panic(options: Vec<u8>) {
            let _ = (Offer::read(options.clone().into()), Request::read(options.into()));
        }

        #[test]
        fn what_meets_one_of_two_requests_meets_both_together(a in request(), b in request(), offered in request()) {
            let offer = Offer { reliability: offered.reliability.unwrap_or_default(), deadline: offered.deadline };
            let met = |request: &Request| request.unmet(&offer).is_none();
            prop_assert!(!(met(&a) || met(&b)) || met(&a.or(b)));
            prop_assert_eq!(a.or(b), b.or(a));
            prop_assert_eq!(a.or(a), a);
        }
    }

    #[test]
    fn less_than_requested_is_not_enough_and_more_is() {
        let ms = |n| Some(Duration::from_millis(n));
        let offer = Offer { reliability: Reliability::BestEffort, deadline: ms(10) };
        let request = |reliability, deadline| Request { reliability, deadline };
        assert_eq!(Request::default().unmet(&offer), None);
        assert_eq!(request(Some(Reliability::BestEffort), ms(10)).unmet(&offer), None);
        assert_eq!(request(Some(Reliability::Reliable), None).unmet(&offer), Some(Policy::Reliability));
        assert_eq!(request(None, ms(9)).unmet(&offer), Some(Policy::Deadline));
        assert_eq!(request(None, ms(9)).unmet(&Offer::default()), Some(Policy::Deadline));
        assert_eq!(request(Some(Reliability::BestEffort), None).unmet(&Offer::default()), None);
    }
}
