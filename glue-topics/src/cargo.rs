//! What goes to one peer, and how it reads on arrival. A head begins with its kind:
//!
//! - 0 control: number of the control cargo (varint, from 0). The body is a list of operations, see `control.rs`.
//! - 1 bundle: mark, how many messages (varint), age of the first message in microseconds (varint). The body is a bundle,
//!   see `bundle.rs`.
//! - 2 skip: mark, reason (byte), first and last sequence number (varints), topic (byte string). No body.
//! - 3, 4, 5: to one peer alone, see `letter.rs`.
//! - 6, 7, 9: from a cache, see `carried.rs`.
//! - 8 signed bundle: signature (64 bytes), then as 1. In a private network, to who caches the topic, see `signing.rs`.
//!
//! A mark is flags (bit 0: start, bit 1: named, bit 2: within), if any is set the barrier (varint), if named and one of the
//! others is the splice: first number that may be given out, first live number, newest subscription (varints). See `run.rs`.
//!
//! A start is the first cargo of a topic since the peer became interested. Its barrier says how many ends (see
//! `control.rs`) the peer must have seen before: then it knows whether an earlier run of the topic is still under way.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use glue_net::wire::{DecodeError, Reader, put_bytes, put_varint, varint_len};
use glue_net::{Chain, Content, Held, Instant, Priority, Skip as Why};
use glue_security::{SIGNATURE_BYTES, Signature};

use crate::bundle::Bundle;
use crate::carried::{self, Carried, CarriedHead};
use crate::letter::{self, AnswerHead, Letter, RequestHead};
use crate::message::GapReason;
use crate::name::TopicName;
use crate::receipt::Ticket;
use crate::run::Mark;

/// Something for one peer, to be cut into datagrams and carried there: control, a bundle, a skip notice, a request, an
/// answer, or an encoded classic message. A clone shares the body.
#[derive(Clone, Debug)]
pub struct Cargo(Kind);

#[derive(Clone, Debug)]
enum Kind {
    /// Boxed, as letters are.
    Carried(Box<Carried>),
    Bundle {
        bundle: Arc<Bundle>,
        mark: Mark,
        ticket: Option<Arc<Ticket>>,
        class: Class,
    },
    Classic {
        body: Bytes,
        deadline: Instant,
        held: Option<Arc<Held>>,
    },
    Control {
        number: u64,
        operations: Bytes,
    },
    /// Boxed: bundles, which there are most of, are to stay small.
    Letter(Box<Letter>),
    Skip(Skip),
}

#[derive(Clone, Debug)]
struct Skip {
    topic: TopicName,
    first: u64,
    last: u64,
    mark: Mark,
    reason: GapReason,
    priority: Priority,
}

/// How a bundle is sent to one peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Class {
    pub(crate) priority: Priority,
    pub(crate) best_effort: bool,
    /// With the signature of the bundle.
    pub(crate) signed: bool,
}

impl Cargo {
    /// `ticket`: somebody wants to know whether it arrives.
    pub(crate) const fn bundle(bundle: Arc<Bundle>, mark: Mark, ticket: Option<Arc<Ticket>>, class: Class) -> Self {
        Self(Kind::Bundle { bundle, mark, ticket, class })
    }

    pub(crate) const fn control(number: u64, operations: Bytes) -> Self {
        Self(Kind::Control { number, operations })
    }

    pub(crate) fn carried(carried: Carried) -> Self {
        Self(Kind::Carried(Box::new(carried)))
    }

    pub(crate) fn letter(letter: Letter) -> Self {
        Self(Kind::Letter(Box::new(letter)))
    }

    /// `held` counts the body until the last peer has let go of it.
    pub(crate) const fn classic(body: Bytes, deadline: Instant, held: Arc<Held>) -> Self {
        Self(Kind::Classic { body, deadline, held: Some(held) })
    }

    /// Says that the messages from `first` to `last` are not sent.
    pub(crate) const fn skipped(topic: TopicName, (first, last): (u64, u64), mark: Mark, reason: GapReason) -> Self {
        Self(Kind::Skip(Skip { topic, first, last, mark, reason, priority: Priority::Normal }))
    }

    /// As urgent as what it stands among.
    pub(crate) const fn at(mut self, class: Class) -> Self {
        if let Kind::Skip(skip) = &mut self.0 {
            skip.priority = class.priority;
        }
        self
    }

    /// Drops the content of a bundle: subscribers at the peer see a gap with this reason. A classic message becomes
    /// empty. Control stays as it is.
    pub fn give_up(&mut self, reason: GapReason) {
        match &mut self.0 {
            Kind::Bundle { bundle, mark, class, .. } => {
                let (topic, priority) = (bundle.topic.clone(), class.priority);
                let (first, last, mark) = (bundle.first, bundle.last, std::mem::take(mark));
                self.0 = Kind::Skip(Skip { topic, first, last, mark, reason, priority });
            }
            Kind::Classic { body, held, .. } => (*body, *held) = (Bytes::new(), None),
            Kind::Carried(carried) => carried.skip(reason == GapReason::Expired),
            Kind::Letter(letter) => letter.skip(reason == GapReason::Expired),
            Kind::Control { .. } | Kind::Skip(_) => {}
        }
    }
}

impl Content for Cargo {
    fn encode_head(&self, now: Instant, out: &mut Vec<u8>) {
        match &self.0 {
            Kind::Bundle { bundle, mark, class, .. } => {
                match bundle.signature().filter(|_| class.signed) {
                    Some(signature) => {
                        out.push(SIGNED);
                        out.extend_from_slice(signature);
                    }
                    None => out.push(BUNDLE),
                }
                mark.put(out);
                put_varint(out, bundle.count());
                put_varint(out, micros(now.since(bundle.published)));
            }
            Kind::Classic { .. } => {}
            Kind::Control { number, .. } => {
                out.push(CONTROL);
                put_varint(out, *number);
            }
            Kind::Carried(carried) => carried.encode_head(now, out),
            Kind::Letter(letter) => letter.encode_head(now, out),
            Kind::Skip(skip) => {
                out.push(SKIP);
                skip.mark.put(out);
                out.push(skip.reason.to_wire());
                put_varint(out, skip.first);
                put_varint(out, skip.last);
                put_bytes(out, skip.topic.as_bytes());
            }
        }
    }

    fn head_len(&self) -> usize {
        match &self.0 {
            Kind::Bundle { bundle, mark, class, .. } => {
                let signature = if class.signed { SIGNATURE_BYTES } else { 0 };
                1 + signature + mark.len() + varint_len(bundle.count()) + MAX_VARINT_BYTES
            }
            Kind::Classic { .. } => 0,
            Kind::Control { number, .. } => 1 + varint_len(*number),
            Kind::Carried(carried) => carried.head_len(),
            Kind::Letter(letter) => letter.head_len(),
            Kind::Skip(skip) => {
                let numbers = varint_len(skip.first) + varint_len(skip.last) + varint_len(skip.topic.len() as u64);
                2 + skip.mark.len() + numbers + skip.topic.len()
            }
        }
    }

    fn body_len(&self) -> usize {
        match &self.0 {
            Kind::Bundle { bundle, .. } => bundle.content.len(),
            Kind::Classic { body, .. } | Kind::Control { operations: body, .. } => body.len(),
            Kind::Carried(carried) => carried.body_len(),
            Kind::Letter(letter) => letter.body_len(),
            Kind::Skip(_) => 0,
        }
    }

    fn encode_body(&self, range: Range<usize>, out: &mut Chain) {
        match &self.0 {
            Kind::Bundle { bundle, .. } => bundle.content.append_to(range, out),
            Kind::Carried(carried) => share(&carried.body(), range, out),
            Kind::Classic { body, .. } | Kind::Control { operations: body, .. } => share(body, range, out),
            Kind::Letter(letter) => letter.encode_body(range, out),
            Kind::Skip(_) => {}
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match &self.0 {
            Kind::Bundle { bundle, .. } => Some(bundle.deadline),
            // One that has expired is empty, and expires but once.
            Kind::Classic { body, deadline, .. } => (!body.is_empty()).then_some(*deadline),
            Kind::Carried(carried) => carried.deadline(),
            Kind::Letter(letter) => letter.deadline(),
            Kind::Control { .. } | Kind::Skip(_) => None,
        }
    }

    fn skip(&mut self, why: Why) {
        self.give_up(match why {
            Why::Expired => GapReason::Expired,
            Why::Lost => GapReason::Lost,
            Why::Overflow => GapReason::Overflow,
        });
    }

    fn is_best_effort(&self) -> bool {
        matches!(self.0, Kind::Bundle { class: Class { best_effort: true, .. }, .. })
    }

    fn priority(&self) -> Priority {
        match &self.0 {
            Kind::Bundle { class, .. } => class.priority,
            Kind::Skip(skip) => skip.priority,
            Kind::Control { .. } => Priority::High,
            Kind::Carried(_) | Kind::Classic { .. } | Kind::Letter(_) => Priority::Normal,
        }
    }

    fn merge(&mut self, next: &Self) -> bool {
        let (Kind::Skip(skip), Kind::Skip(next)) = (&mut self.0, &next.0) else { return false };
        let joins = next.first == skip.last + 1
            && next.mark.follows(&skip.mark)
            && next.reason == skip.reason
            && next.topic == skip.topic;
        if joins {
            skip.last = next.last;
        }
        joins
    }

    fn group(&self) -> usize {
        match &self.0 {
            Kind::Skip(skip) => skip.topic.as_ptr().addr(),
            _ => 0,
        }
    }

    fn acknowledge(&self, body_bytes: usize) {
        match &self.0 {
            Kind::Bundle { bundle, mark, ticket, .. } => {
                ticket.iter().for_each(|ticket| ticket.acknowledge(body_bytes));
                // Of one in many pieces it is not known here whether all have arrived; then the next is as long.
                if body_bytes == bundle.content.len() {
                    mark.acknowledge();
                }
            }
            Kind::Skip(skip) => skip.mark.acknowledge(),
            Kind::Carried(_) | Kind::Classic { .. } | Kind::Control { .. } | Kind::Letter(_) => {}
        }
    }

    fn is_urgent(&self) -> bool {
        matches!(self.0, Kind::Control { .. })
    }

    fn is_classic(&self) -> bool {
        matches!(self.0, Kind::Classic { .. })
    }
}

/// A head as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Head {
    Answer(AnswerHead),
    Bundle { mark: Mark, count: u64, age: Duration, signature: Option<Box<Signature>> },
    Carried(CarriedHead),
    Control { number: u64 },
    Request(RequestHead),
    Skip { mark: Mark, reason: GapReason, first: u64, last: u64, topic: Bytes },
}

impl Head {
    pub(crate) fn decode(head: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(head);
        match reader.u8()? {
            letter::ANSWER => AnswerHead::read(&mut reader).map(Self::Answer),
            kind @ (letter::REQUEST | letter::SHARE) => RequestHead::read(kind, &mut reader).map(Self::Request),
            kind @ (carried::CARRIED | carried::ABSENT | carried::SIGNED) => {
                CarriedHead::read(kind, &mut reader).map(Self::Carried)
            }
            CONTROL => Ok(Self::Control { number: reader.varint()? }),
            kind @ (BUNDLE | SIGNED) => {
                let signature = if kind == SIGNED { Some(Box::new(reader.array()?)) } else { None };
                let (mark, count) = (Mark::read(&mut reader)?, reader.varint()?);
                Ok(Self::Bundle { mark, count, age: Duration::from_micros(reader.varint()?), signature })
            }
            SKIP => {
                let mark = Mark::read(&mut reader)?;
                let reason = GapReason::from_wire(reader.u8()?);
                let (first, last, topic) = (reader.varint()?, reader.varint()?, reader.bytes()?);
                let range = DecodeError::Malformed("range of a skip");
                if first <= last { Ok(Self::Skip { mark, reason, first, last, topic }) } else { Err(range) }
            }
            _ => Err(DecodeError::Malformed("kind of cargo")),
        }
    }

    /// It came so long ago.
    pub(crate) fn grow_older(&mut self, by: Duration) {
        match self {
            Self::Bundle { age, .. } => *age = age.saturating_add(by),
            Self::Carried(head) => head.grow_older(by),
            Self::Request(head) if head.left < Duration::MAX => head.left = head.left.saturating_sub(by),
            _ => {}
        }
    }
}

fn share(body: &Bytes, range: Range<usize>, out: &mut Chain) {
    let range = range.start.min(body.len())..range.end.min(body.len());
    out.share(body.slice(range));
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

const CONTROL: u8 = 0;
const BUNDLE: u8 = 1;
const SKIP: u8 = 2;
const SIGNED: u8 = 8;
const MAX_VARINT_BYTES: usize = 8;
