//! What a subscriber gets.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use glue_net::{EndpointId, Incarnation, Instant, WallTime};
use glue_security::PublicKey;

use crate::name::{EndpointName, TopicName, TypeName};

/// Where messages come from: what all messages of one publisher and topic share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The publisher.
    pub endpoint_id: EndpointId,
    /// Which of the publisher's lives: a later one is larger, and counts its messages anew. Zero for a classic publisher.
    pub incarnation: Incarnation,
    /// The publisher's name.
    pub endpoint_name: EndpointName,
    /// The topic.
    pub topic_name: TopicName,
    /// The topic's type, as the publisher gave it.
    pub topic_type: TypeName,
    /// By what the publisher is known in a private network.
    pub public_key: Option<PublicKey>,
}

impl Source {
    pub(crate) fn is_classic(&self) -> bool {
        self.incarnation == Incarnation::default()
    }
}

/// One message. A clone costs two reference counts.
#[derive(Clone, Debug)]
pub struct Message {
    pub(crate) source: Arc<Source>,
    pub(crate) deadline: Instant,
    /// When it was published, by the publisher's clock.
    pub timestamp: WallTime,
    /// How long it lives, from when it was published. [`Duration::MAX`]: for ever.
    pub expiry: Duration,
    /// Counts the messages of this publisher and topic from 1; from a native publisher without holes. A will has 0, see
    /// [`Message::is_will`].
    pub sequence_number: u64,
    /// What was published.
    pub payload: Bytes,
}

impl Message {
    /// Where it comes from.
    #[must_use]
    pub const fn source(&self) -> &Arc<Source> {
        &self.source
    }

    /// When it expires, on this endpoint's monotonic clock.
    #[must_use]
    pub const fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether it is a will: its publisher died without a goodbye, as far as could be told, and had asked for it to be
    /// delivered then. It stands outside of the publisher's count.
    #[must_use]
    pub fn is_will(&self) -> bool {
        // Classic peers, which have no incarnation, count as they like.
        self.sequence_number == Self::WILL_NUMBER && self.source.incarnation != Incarnation::default()
    }

    pub(crate) const WILL_NUMBER: u64 = 0;

    /// Whether it has expired at `now`.
    #[must_use]
    pub fn is_expired(&self, now: Instant) -> bool {
        self.deadline <= now
    }
}

impl Deref for Message {
    type Target = Source;
    fn deref(&self) -> &Source {
        &self.source
    }
}

/// Messages that a subscriber does not get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Whose messages.
    pub source: Arc<Source>,
    /// Sequence number of the first.
    pub from: u64,
    /// Sequence number of the last.
    pub to: u64,
    /// Why.
    pub reason: GapReason,
}

impl Gap {
    /// How many messages.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.to.saturating_sub(self.from).saturating_add(1)
    }
}

/// Why messages are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum GapReason {
    /// They expired before they could be delivered.
    Expired,
    /// The publisher's queue to this endpoint, or what may wait here, was full.
    Overflow,
    /// The publisher went away while they were under way.
    PublisherGone,
    /// They were lost on the way, and were best effort ([`crate::Reliability`]).
    Lost,
    /// They could not be read.
    Malformed,
    /// A cache brought earlier ones; these were published before their publisher knew of this subscription, and nobody within reach has
    /// kept them.
    NotKept,
    /// A reason that only a later version knows.
    Other(u8),
}

impl GapReason {
    pub(crate) const fn from_wire(byte: u8) -> Self {
        match byte {
            1 => Self::Expired,
            2 => Self::Overflow,
            3 => Self::PublisherGone,
            4 => Self::Malformed,
            5 => Self::Lost,
            6 => Self::NotKept,
            other => Self::Other(other),
        }
    }

    pub(crate) const fn to_wire(self) -> u8 {
        match self {
            Self::Expired => 1,
            Self::Overflow => 2,
            Self::PublisherGone => 3,
            Self::Malformed => 4,
            Self::Lost => 5,
            Self::NotKept => 6,
            Self::Other(byte) => byte,
        }
    }
}

/// One thing that a subscriber gets.
#[derive(Clone, Debug)]
pub enum Item {
    /// Messages that it does not get.
    Gap(Gap),
    /// A message.
    Message(Message),
}

/// What is published: borrowed bytes are copied where they must be kept, shared ones never (except into a bundle).
#[derive(Clone, Copy, Debug)]
pub enum Data<'a> {
    /// Shared memory.
    Shared(&'a Bytes),
    /// Bytes that the caller keeps.
    Slice(&'a [u8]),
}

impl Data<'_> {
    /// Bytes of it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Shared(bytes) => bytes,
            Self::Slice(slice) => slice,
        }
    }

    pub(crate) fn to_bytes(self) -> Bytes {
        match self {
            Self::Shared(bytes) => bytes.clone(),
            Self::Slice(slice) => Bytes::copy_from_slice(slice),
        }
    }
}

impl<'a> From<&'a Bytes> for Data<'a> {
    fn from(bytes: &'a Bytes) -> Self {
        Self::Shared(bytes)
    }
}

impl<'a> From<&'a [u8]> for Data<'a> {
    fn from(slice: &'a [u8]) -> Self {
        Self::Slice(slice)
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Data<'a> {
    fn from(array: &'a [u8; N]) -> Self {
        Self::Slice(array)
    }
}

impl<'a> From<&'a Vec<u8>> for Data<'a> {
    fn from(bytes: &'a Vec<u8>) -> Self {
        Self::Slice(bytes)
    }
}

impl<'a> From<&'a String> for Data<'a> {
    fn from(text: &'a String) -> Self {
        Self::Slice(text.as_bytes())
    }
}

impl<'a> From<&'a str> for Data<'a> {
    fn from(text: &'a str) -> Self {
        Self::Slice(text.as_bytes())
    }
}
