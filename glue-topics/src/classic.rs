//! Messages of classic peers, put in order as far as that can be done.
//!
//! A reference endpoint's sequence number grows, with each message of a topic, by how many datagrams that message took:
//! fragments times peers. So a hole between two numbers may be a message that is late, or none at all. A message whose
//! step from the one before is no larger than the steps seen lately follows at once; any other waits a moment.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use glue_net::wire::classic;
use glue_net::{EndpointId, Incarnation, Instant, WallTime};

use crate::batch::Batch;
use crate::incoming::STREAM_BYTES;
use crate::message::{Message, Source};
use crate::name::{EndpointName, TopicName, TypeName};
use crate::names::Names;
use crate::stats::Received;
use crate::stream::{Audience, Budget, Sink};
use crate::subscriptions::SubscriptionId;

/// What one publisher publishes on one topic. A classic peer may pass on what others published.
pub(crate) type StreamKey = (EndpointId, TopicName);

/// The streams that came from one classic peer.
#[derive(Debug, Default)]
pub(crate) struct ClassicStreams {
    streams: BTreeMap<StreamKey, ClassicStream>,
    /// What came of topics beyond the limit.
    unordered: Received,
}

/// A message that is held: until when, and where it is found.
#[derive(Debug)]
pub(crate) struct Hold {
    pub(crate) due: Instant,
    pub(crate) stream: StreamKey,
    pub(crate) sequence: i64,
}

#[derive(Debug)]
struct ClassicStream {
    source: Arc<Source>,
    audience: Audience,
    /// Number and time of the message that was delivered last.
    last: Option<(i64, WallTime)>,
    /// The latest steps from one number to the next.
    steps: VecDeque<i64>,
    held: BTreeMap<i64, Message>,
    received: Received,
}

#[derive(Debug, PartialEq, Eq)]
enum Place {
    Early,
    Late,
    Next,
    /// The publisher counts anew.
    Restart,
}

impl ClassicStreams {
    /// Takes a message. If it is held, says what to [`ClassicStreams::release`] when.
    pub(crate) fn handle(
        &mut self,
        now: Instant,
        message: classic::Message,
        budget: &mut Budget,
        names: &mut Names,
        sink: &mut Sink<'_>,
    ) -> Option<Hold> {
        let (sequence, Some(source)) = (message.sequence_number, source(&message, sink)) else {
            sink.stats.classic_refused += 1;
            return None;
        };
        let key = (source.endpoint_id, source.topic_name.clone());
        if !self.streams.contains_key(&key) {
            let mut stream = ClassicStream::new(source.clone());
            stream.audience.renew(&stream.source, EVERYBODY, sink);
            // Classic peers send all that they publish: only what somebody here subscribes to costs memory.
            if stream.audience.is_nobody() {
                return None;
            }
            let is_full = self.streams.len() >= sink.config.max_streams_per_peer;
            if is_full || !names.take(STREAM_BYTES + key.1.len()) {
                sink.stats.classic_unordered += 1;
                let message = received(now, message, &stream.source);
                stream.deliver(sequence, message, sink);
                self.unordered += stream.received;
                sink.ledger.add_received(&key.1, stream.received, sink.config.max_counted_topics);
                return None;
            }
            self.streams.insert(key.clone(), stream);
        }
        let stream = self.streams.get_mut(&key)?;
        stream.renew(source, sink);
        if stream.audience.to().is_empty() {
            return None;
        }
        let message = received(now, message, &stream.source);
        let is_held = stream.take(sequence, message, budget, sink);
        is_held.then(|| Hold { due: now + sink.config.classic_hold, stream: key, sequence })
    }

    /// What was held has waited long enough.
    pub(crate) fn release(&mut self, hold: &Hold, budget: &mut Budget, sink: &mut Sink<'_>) {
        if let Some(stream) =
            self.streams.get_mut(&hold.stream).filter(|stream| stream.held.contains_key(&hold.sequence))
        {
            stream.release(hold.sequence, budget, sink);
        }
    }

    /// What came of topics beyond the limit.
    pub(crate) const fn unordered(&self) -> Received {
        self.unordered
    }

    /// What came by the streams.
    pub(crate) fn received(&self) -> impl Iterator<Item = (&TopicName, Received)> {
        self.streams.iter().map(|((_, topic), stream)| (topic, stream.received))
    }

    /// Delivers all that is held.
    pub(crate) fn give_up(&mut self, budget: &mut Budget, sink: &mut Sink<'_>) {
        for stream in self.streams.values_mut() {
            stream.release(i64::MAX, budget, sink);
        }
    }
}

impl ClassicStream {
    fn new(source: Source) -> Self {
        Self {
            source: Arc::new(source),
            audience: Audience::default(),
            last: None,
            steps: VecDeque::new(),
            held: BTreeMap::new(),
            received: Received::default(),
        }
    }

    fn renew(&mut self, source: Source, sink: &mut Sink<'_>) {
        if *self.source != source {
            self.source = Arc::new(source);
        }
        self.audience.renew(&self.source, EVERYBODY, sink);
        sink.stats.type_mismatches += u64::from(self.audience.is_mismatched());
    }

    /// Delivers the message, or drops it, or holds it: true.
    fn take(&mut self, sequence: i64, message: Message, budget: &mut Budget, sink: &mut Sink<'_>) -> bool {
        match self.place(sequence, message.timestamp, sink.config.classic_hold) {
            Place::Late => {
                sink.stats.classic_late += 1;
                self.received.late += 1;
                return false;
            }
            Place::Early => {
                budget.add(held_bytes(&message));
                self.received.held += 1;
                self.held.insert(sequence, message);
                if !budget.is_over() {
                    return true;
                }
                sink.stats.held_overflows += 1;
                self.release(sequence, budget, sink);
                return false;
            }
            Place::Restart => {
                self.release(i64::MAX, budget, sink);
                self.steps.clear();
                self.last = None;
            }
            Place::Next => {}
        }
        self.deliver(sequence, message, sink);
        self.release(sequence, budget, sink);
        false
    }

    fn place(&self, sequence: i64, timestamp: WallTime, hold: Duration) -> Place {
        match self.last {
            None => Place::Next,
            Some((last, time)) if sequence <= last && timestamp > time => Place::Restart,
            Some((last, _)) if sequence <= last || self.held.contains_key(&sequence) => Place::Late,
            Some((last, _)) if hold.is_zero() || sequence - last <= self.step() => Place::Next,
            Some(_) => Place::Early,
        }
    }

    /// Delivers what is held up to `through`, and what follows at once.
    fn release(&mut self, through: i64, budget: &mut Budget, sink: &mut Sink<'_>) {
        while let Some(entry) = self.held.first_entry() {
            let sequence = *entry.key();
            let follows = self.last.is_some_and(|(last, _)| sequence - last <= step(&self.steps));
            if sequence > through && !follows {
                return;
            }
            let message = entry.remove();
            budget.sub(held_bytes(&message));
            self.deliver(sequence, message, sink);
        }
    }

    fn deliver(&mut self, sequence: i64, message: Message, sink: &mut Sink<'_>) {
        if let Some((last, _)) = self.last {
            self.steps.push_back(sequence - last);
            if self.steps.len() > STEPS {
                self.steps.pop_front();
            }
        }
        self.last = Some((sequence, message.timestamp));
        sink.stats.classic_received += 1;
        self.received.messages += 1;
        self.received.bytes += message.payload.len() as u64;
        self.received.delivered += u64::from(!self.audience.to().is_empty());
        sink.outputs.deliver(self.audience.to(), Batch::of_message(Some(sink.peer), message));
    }

    fn step(&self) -> i64 {
        step(&self.steps)
    }
}

/// The step that leaves no room for a message in between.
fn step(steps: &VecDeque<i64>) -> i64 {
    steps.iter().min().copied().unwrap_or(1)
}

/// Where a message comes from; `None`: it is refused.
fn source(message: &classic::Message, sink: &Sink<'_>) -> Option<Source> {
    let is_own = message.endpoint_id == sink.own_id;
    let is_ordinary = matches!(message.message_type, STANDARD | FORWARDED);
    if is_own || !is_ordinary || message.sequence_number < 0 {
        return None;
    }
    Some(Source {
        endpoint_id: message.endpoint_id,
        incarnation: Incarnation::default(),
        endpoint_name: EndpointName::new(&message.endpoint_name),
        topic_name: TopicName::foreign(&message.topic_name, sink.config.max_topic_bytes)?,
        topic_type: TypeName::foreign(&message.topic_type, sink.config.max_type_bytes)?,
        public_key: None,
    })
}

/// A classic expiry is counted from arrival, since the clocks may differ. None at all is zero on this wire, and such
/// messages are delivered by the reference; here they do not expire.
fn received(now: Instant, message: classic::Message, source: &Arc<Source>) -> Message {
    let expiry = if message.expiry.is_zero() { Duration::MAX } else { message.expiry };
    Message {
        source: Arc::clone(source),
        deadline: now + expiry,
        timestamp: message.timestamp,
        expiry,
        sequence_number: message.sequence_number.unsigned_abs(),
        payload: message.payload.unwrap_or_default(),
    }
}

const fn held_bytes(message: &Message) -> usize {
    message.payload.len() + size_of::<Message>()
}

/// The reference's numbers for messages; it drops others.
const STANDARD: i64 = 1;
const FORWARDED: i64 = 2;
/// A classic publisher gives no history, so nobody waits for it.
const EVERYBODY: SubscriptionId = SubscriptionId(u64::MAX);
/// Steps that are looked back on. After so many messages the order knows that a publisher's peers became more, and
/// stops waiting for what does not exist.
const STEPS: usize = 8;
