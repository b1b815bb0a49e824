//! Wills: messages that are delivered when their endpoint dies without a goodbye.
//!
//! Each endpoint tells its wills to every native peer, and an observer delivers those of a peer that is lost to its own
//! subscriptions. So nothing need be sent by or for the dead. A will is no message of its topic's numbered sequence: it bears the
//! number 0 ([`Message::is_will`](crate::Message::is_will)), so that it fits at any place and leaves no gap.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use glue_net::wire::{DecodeError, Reader, put_bytes, put_varint};
use glue_net::{Instant, PeerId, WallTime};

use crate::batch::Batch;
use crate::bundle::{micros_up, of_micros};
use crate::message::{Data, GapReason, Message};
use crate::name::{NameError, TopicName, TypeName};
use crate::names::Names;
use crate::permissions::{self, Permission};
use crate::presence::Claim;
use crate::topics::Topics;

/// A will of this endpoint; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WillId(u64);

/// What a message is to be when its publisher dies.
#[derive(Clone, Copy, Debug)]
pub struct LastWill<'a> {
    /// Its topic.
    pub topic: &'a str,
    /// The topic's type.
    pub type_name: &'a str,
    /// How long it lives, from when it is delivered.
    pub expiry: Duration,
    /// What it says.
    pub payload: Data<'a>,
}

/// Why a will was refused. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WillError {
    /// The topic is no good name.
    #[error("bad topic: {0}")]
    BadTopic(#[source] NameError),
    /// The type is no good name.
    #[error("bad type: {0}")]
    BadType(#[source] NameError),
    /// An expiry of zero: it would be dead before anyone could have it.
    #[error("expiry is zero: the will would reach nobody")]
    NoLifetime,
    /// See [`crate::Config::max_will_bytes`].
    #[error("wills would have {len} bytes in all, more than {limit}")]
    TooLarge {
        /// Bytes of topics, types and payloads of all wills, with this one.
        len: usize,
        /// How many there may be.
        limit: usize,
    },
    /// See [`crate::Config::max_wills`].
    #[error("there are {limit} wills already")]
    TooMany {
        /// How many there may be.
        limit: usize,
    },
    /// This endpoint publishes the topic with another type.
    #[error("topic {topic} has type {expected:?} here, not {given:?}")]
    TypeMismatch {
        /// The topic.
        topic: TopicName,
        /// The type of the publication.
        expected: TypeName,
        /// The type of the refused will.
        given: TypeName,
    },
}

/// A will, without its topic.
#[derive(Clone, Debug)]
struct Will {
    type_name: TypeName,
    timestamp: WallTime,
    expiry: Duration,
    payload: Bytes,
}

/// A will of this endpoint.
#[derive(Debug)]
pub(crate) struct OwnWill {
    id: WillId,
    will: Will,
}

/// The wills of a peer.
#[derive(Debug, Default)]
pub(crate) struct PeerWills {
    wills: BTreeMap<TopicName, Will>,
    /// Bytes of names and payloads.
    bytes: usize,
    /// What came of the payload of the next one.
    part: Vec<u8>,
    /// More came than may.
    is_over: bool,
}

impl Will {
    fn len(&self, topic: &TopicName) -> usize {
        topic.len() + self.type_name.len() + self.payload.len()
    }
}

impl OwnWill {
    /// Writes it. What does not fit a datagram goes before, in parts; `reserve` makes room for as many bytes.
    pub(crate) fn put(&self, topic: &TopicName, mut reserve: impl FnMut(usize, &mut Vec<u8>), body: &mut Vec<u8>) {
        let Will { type_name, timestamp, expiry, payload } = &self.will;
        let last = payload.len() - payload.len().min(PART_BYTES);
        let (parts, rest) = payload.split_at_checked(last).unwrap_or_default();
        for part in parts.chunks(PART_BYTES) {
            reserve(part.len(), body);
            body.push(WILL_PART);
            put_bytes(body, part);
        }
        reserve(topic.len() + type_name.len() + rest.len() + NUMBERS_BYTES, body);
        body.push(WILL);
        put_bytes(body, topic.as_bytes());
        put_bytes(body, type_name.as_bytes());
        body.extend_from_slice(&timestamp.as_unix_nanos().to_be_bytes());
        put_varint(body, micros_up(*expiry));
        put_bytes(body, rest);
    }
}

impl PeerWills {
    /// Takes a part of the payload of the next will.
    fn add_part(&mut self, part: &[u8], limit: usize, names: &mut Names) {
        let fits = !self.is_over && self.part.len() + part.len() <= limit && names.take(part.len());
        if fits {
            self.part.extend_from_slice(part);
        } else {
            self.is_over = true;
        }
    }

    /// The whole payload, of which this is the end; `None`: it was too long.
    fn take_payload(&mut self, end: &[u8], names: &mut Names) -> Option<Bytes> {
        names.give_back(self.part.len());
        let mut payload = std::mem::take(&mut self.part);
        payload.extend_from_slice(end);
        (!std::mem::take(&mut self.is_over)).then(|| payload.into())
    }

    /// Takes a will in place of an older one; false: there is no room, and the older one is gone.
    fn set(&mut self, topic: TopicName, will: Will, (most, limit): (usize, usize), names: &mut Names) -> bool {
        self.remove(&topic, names);
        let len = will.len(&topic);
        let fits = self.wills.len() < most && self.bytes + len <= limit && names.take(WILL_BYTES + len);
        if fits {
            self.bytes += len;
            self.wills.insert(topic, will);
        }
        fits
    }

    fn remove(&mut self, topic: &TopicName, names: &mut Names) {
        if let Some(old) = self.wills.remove(topic) {
            self.bytes -= old.len(topic);
            names.give_back(WILL_BYTES + old.len(topic));
        }
    }
}

impl Topics {
    /// Makes a will: when this endpoint dies without a goodbye, each native peer delivers it to its own subscriptions. It
    /// takes the place of an older one for the topic.
    ///
    /// # Errors
    /// [`WillError`] for a bad name, another type than this endpoint publishes the topic with, an expiry of zero, or too many
    /// wills or bytes of them.
    pub fn set_will(&mut self, wall: WallTime, will: LastWill<'_>) -> Result<WillId, WillError> {
        let LastWill { topic, type_name, expiry, payload } = will;
        let topic = TopicName::new(topic, self.config.max_topic_bytes).map_err(WillError::BadTopic)?;
        let type_name = TypeName::new(type_name, self.config.max_type_bytes).map_err(WillError::BadType)?;
        if expiry.is_zero() {
            return Err(WillError::NoLifetime);
        }
        if let Some(expected) = self.type_in_use(&topic).filter(|expected| **expected != type_name).cloned() {
            return Err(WillError::TypeMismatch { topic, expected, given: type_name });
        }
        let (most, limit) = (self.config.max_wills, self.config.max_will_bytes);
        let others = || self.presence.wills.iter().filter(|(other, _)| **other != topic);
        if others().count() >= most {
            return Err(WillError::TooMany { limit: most });
        }
        let before: usize = others().map(|(other, own)| own.will.len(other)).sum();
        let len = before + topic.len() + type_name.len() + payload.len();
        if len > limit {
            return Err(WillError::TooLarge { len, limit });
        }
        self.presence.last_will += 1;
        let id = WillId(self.presence.last_will);
        let will = Will { type_name, timestamp: wall, expiry, payload: payload.to_bytes() };
        let old = self.presence.wills.insert(topic.clone(), OwnWill { id, will });
        self.declare_claim(&Claim::Will(topic), old.is_some(), true);
        Ok(id)
    }

    /// Takes a will back. Does nothing if another one took its place.
    pub fn withdraw_will(&mut self, id: WillId) {
        let found = self.presence.wills.iter().find(|(_, own)| own.id == id).map(|(topic, _)| topic.clone());
        if let Some(topic) = found {
            self.presence.wills.remove(&topic);
            self.declare_claim(&Claim::Will(topic), true, false);
        }
    }

    /// Takes all wills back: this endpoint is about to leave.
    pub fn withdraw_wills(&mut self) {
        for topic in std::mem::take(&mut self.presence.wills).into_keys() {
            self.declare_claim(&Claim::Will(topic), true, false);
        }
    }

    /// A peer died, as far as can be told: nothing was heard of it for a while, or it runs in another life. Its tokens go
    /// down and its wills are delivered, once until it is [found](Topics::handle_peer_found). `for_good`: it will not come back
    /// in this life, so what is held of it comes out before, with gaps where something is missing.
    ///
    /// A peer that said goodbye is [gone](Topics::handle_peer_gone) without it.
    pub fn handle_peer_lost(&mut self, now: Instant, id: PeerId, for_good: bool) {
        if !self.set_there(id, false) {
            return;
        }
        let wills = self.peers.get(&id).map(|peer| peer.presence.wills.wills.clone()).unwrap_or_default();
        self.with_peer(id, |incoming, sink| {
            if for_good {
                incoming.give_up(GapReason::PublisherGone, sink);
            }
            for (topic, Will { type_name, timestamp, expiry, payload }) in wills {
                let ids = sink.subscriptions.matching(&topic, Some(&type_name)).ids;
                let source = sink.source(topic, type_name);
                let (deadline, sequence_number) = (now + expiry, Message::WILL_NUMBER);
                let message = Message { source, deadline, timestamp, expiry, sequence_number, payload };
                sink.stats.wills_delivered += u64::from(!ids.is_empty());
                sink.outputs.deliver(&ids, Batch::of_message(Some(sink.peer), message));
            }
        });
    }

    /// `None`: malformed, without effect.
    pub(crate) fn apply_will(&mut self, from: PeerId, operation: WillOperation) -> Option<()> {
        let limits = (self.config.max_wills, self.config.max_will_bytes);
        let (max_topic, max_type) = (self.config.max_topic_bytes, self.config.max_type_bytes);
        let topic_name = |topic: &[u8]| TopicName::new(std::str::from_utf8(topic).ok()?, max_topic).ok();
        let peer = self.peers.get_mut(&from)?;
        let (wills, names) = (&mut peer.presence.wills, &mut peer.names);
        match operation {
            WillOperation::Part { bytes } => wills.add_part(&bytes, limits.1, names),
            WillOperation::Withdrawn { topic } => wills.remove(&topic_name(&topic)?, names),
            WillOperation::Will { topic, type_name, timestamp, expiry, end } => {
                let payload = wills.take_payload(&end, names);
                let topic = topic_name(&topic)?;
                let type_name = TypeName::read(&type_name, max_type)?;
                if !permissions::allows(&peer.rules, Permission::Publish, &topic) {
                    self.deny(from, Permission::Publish, &topic.shared(), 1);
                    return Some(());
                }
                let is_set = match payload {
                    Some(payload) => wills.set(topic, Will { type_name, timestamp, expiry, payload }, limits, names),
                    None => {
                        wills.remove(&topic, names);
                        false
                    }
                };
                self.stats.claims_refused += u64::from(!is_set);
            }
        }
        Some(())
    }
}

/// A control operation about wills, as it arrived:
///
/// - 18 will: topic, type (byte strings), timestamp (8 bytes), expiry (varint), end of the payload (byte string).
/// - 19 will withdrawn: topic (byte string).
/// - 20 part of a will: bytes of the next will's payload, before its end (byte string).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WillOperation {
    Part { bytes: Bytes },
    Will { topic: Bytes, type_name: Bytes, timestamp: WallTime, expiry: Duration, end: Bytes },
    Withdrawn { topic: Bytes },
}

impl WillOperation {
    pub(crate) fn read(kind: u8, reader: &mut Reader) -> Result<Self, DecodeError> {
        match kind {
            WILL => {
                let (topic, type_name) = (reader.bytes()?, reader.bytes()?);
                let timestamp = WallTime::from_unix_nanos(i64::from_be_bytes(reader.array()?));
                let expiry = of_micros(reader.varint()?);
                Ok(Self::Will { topic, type_name, timestamp, expiry, end: reader.bytes()? })
            }
            WILL_WITHDRAWN => Ok(Self::Withdrawn { topic: reader.bytes()? }),
            WILL_PART => Ok(Self::Part { bytes: reader.bytes()? }),
            _ => Err(DecodeError::Malformed("control operation")),
        }
    }

    pub(crate) fn put_withdrawn(topic: &TopicName, body: &mut Vec<u8>) {
        body.push(WILL_WITHDRAWN);
        put_bytes(body, topic.as_bytes());
    }
}

const WILL: u8 = 18;
const WILL_WITHDRAWN: u8 = 19;
const WILL_PART: u8 = 20;
/// Payload of one operation: with names of usual length it fits a control body.
const PART_BYTES: usize = 600;
/// Timestamp, expiry and lengths.
const NUMBERS_BYTES: usize = 24;
/// What a will of a peer takes beside names and payload.
const WILL_BYTES: usize = 200;
