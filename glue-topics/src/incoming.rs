//! All that comes from one peer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use glue_net::{Gauge, Instant};
use glue_security::Signature;

use crate::batch::{Age, Batch};
use crate::bundle::{self, Found, Header};
use crate::classic::ClassicStreams;
use crate::config::Config;
use crate::message::GapReason;
use crate::name::TopicName;
use crate::names::Names;
use crate::permissions::{self, Permission, Rules};
use crate::qos::Offer;
use crate::run::Mark;
use crate::sequencer::{Held, Sequencer};
use crate::stats::Received;
use crate::stream::{Budget, Part, Piece, Sink, Stream};
use crate::subscriptions::SubscriptionId;

/// A peer's streams, and the order of its control cargo.
#[derive(Debug)]
pub(crate) struct Incoming {
    rules: Rules,
    streams: Vec<Stream>,
    by_topic: BTreeMap<TopicName, usize>,
    /// The stream of the last bundle: it is most often that of the next.
    recent: usize,
    /// Starts that wait until so many ends were told, and their topics. Some may be gone.
    starting: BTreeSet<(u64, TopicName)>,
    ends_seen: u64,
    controls: Sequencer<Bytes>,
    control_budget: Budget,
    pub(crate) budget: Budget,
    /// Names of its topics.
    pub(crate) names: Names,
    pub(crate) classic: ClassicStreams,
    /// Of streams that are over.
    past: Received,
}

/// Why a topic has no stream.
#[derive(Clone, Copy, Debug)]
enum Refused {
    /// The peer may not publish it.
    Barred,
    /// There are too many.
    Full,
}

/// A bundle as it arrived.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) now: Instant,
    pub(crate) age: Duration,
    pub(crate) mark: Mark,
    pub(crate) count: u64,
    pub(crate) body: Bytes,
    /// For caches.
    pub(crate) signature: Option<Box<Signature>>,
}

/// A skip notice as it arrived.
#[derive(Debug)]
pub(crate) struct Skipped {
    pub(crate) mark: Mark,
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) reason: GapReason,
}

impl Incoming {
    pub(crate) fn new(config: &Config, rules: Rules, held: &Gauge, names: &Gauge) -> Self {
        Self {
            rules,
            streams: Vec::new(),
            by_topic: BTreeMap::new(),
            recent: 0,
            starting: BTreeSet::new(),
            ends_seen: 0,
            controls: Sequencer::new(Some(0)),
            control_budget: Budget::new(config, held),
            budget: Budget::new(config, held),
            names: Names::new(names, config.max_names_bytes),
            classic: ClassicStreams::default(),
            past: Received::default(),
        }
    }

    pub(crate) fn handle_bundle(&mut self, arrival: Arrival, sink: &mut Sink<'_>) {
        if self.read_bundle(arrival, sink).is_none() {
            sink.stats.malformed += 1;
        }
    }

    /// `None`: malformed, dropped. A bundle whose beginning can be read, but whose messages can not, is a gap.
    fn read_bundle(&mut self, arrival: Arrival, sink: &mut Sink<'_>) -> Option<()> {
        let Arrival { now, age, mark, count, body, signature } = arrival;
        let header = Header::read(&body)?;
        let (first, last) = (header.first, header.first + count.checked_sub(1)?);
        let index = match self.stream(header.topic, sink)? {
            Ok(index) => index,
            Err(refused) => return self.refuse(refused, header.topic, (first, last), sink),
        };
        let stream = self.streams.get_mut(index)?;
        let source = stream.source(header.type_name, sink)?;
        let part = match bundle::find(count, header.messages) {
            Found::All => {
                let age = Age { arrival: now, on_arrival: age };
                let batch = Batch::of_bundle(Some(sink.peer), Arc::clone(&source), &body, &header, age);
                // Before its turn: what is missing before it may never come.
                if sink.caches.is_any() {
                    sink.caches.put(&source, (first, last), &batch, signature);
                }
                Part::Bundle { batch, source }
            }
            Found::Fewer => {
                sink.stats.bundles_cut += 1;
                Part::Skip(GapReason::Overflow)
            }
            Found::More => {
                sink.stats.malformed += 1;
                Part::Skip(GapReason::Malformed)
            }
        };
        self.accept(index, Piece { first, last, mark, part }, sink);
        Some(())
    }

    pub(crate) fn handle_skip(&mut self, topic: &[u8], skipped: Skipped, sink: &mut Sink<'_>) {
        let Skipped { mark, first, last, reason } = skipped;
        match self.stream(topic, sink) {
            None => sink.stats.malformed += 1,
            Some(Err(refused)) => _ = self.refuse(refused, topic, (first, last), sink),
            Some(Ok(index)) => {
                if reason == GapReason::Expired && sink.caches.is_any() {
                    self.cache_skip(index, (first, last), sink);
                }
                self.accept(index, Piece { first, last, mark, part: Part::Skip(reason) }, sink);
            }
        }
    }

    /// Notes in a cache that messages have expired, if the topic's type is known.
    fn cache_skip(&self, index: usize, (first, last): (u64, u64), sink: &mut Sink<'_>) {
        if let Some(source) = self.streams.get(index).and_then(|stream| stream.source.as_ref()) {
            sink.caches.skip(source, (first, last), true);
        }
    }

    /// Puts a control cargo in order; [`Incoming::next_control`] takes them out.
    pub(crate) fn handle_control(&mut self, number: u64, body: Bytes, sink: &mut Sink<'_>) {
        if self.controls.next() != Some(number) && self.control_budget.is_over() {
            sink.stats.held_overflows += 1;
            return;
        }
        let bytes = body.len() + size_of::<Held<Bytes>>();
        match self.controls.hold(number, number, body) {
            Ok(()) => self.control_budget.add(bytes),
            Err(_) => sink.stats.duplicates += 1,
        }
    }

    pub(crate) fn next_control(&mut self) -> Option<Bytes> {
        let body = self.controls.pop()?.piece;
        self.control_budget.sub(body.len() + size_of::<Held<Bytes>>());
        Some(body)
    }

    /// The run of a topic ends before `next`.
    pub(crate) fn handle_end(&mut self, topic: &[u8], next: u64, sink: &mut Sink<'_>) {
        self.ends_seen += 1;
        match self.stream(topic, sink) {
            None => sink.stats.malformed += 1,
            Some(Err(Refused::Barred)) => {}
            Some(Err(Refused::Full)) => sink.stats.streams_refused += 1,
            Some(Ok(index)) => {
                if let Some(stream) = self.streams.get_mut(index) {
                    stream.end(self.ends_seen, next, sink);
                }
                self.drain(index, sink);
            }
        }
        self.release_starts(sink);
    }

    /// The run of a topic that begins next offers this; `None`: it does not begin. Returns whether some subscription is met.
    pub(crate) fn handle_offer(
        &mut self,
        topic: &[u8],
        offer: Option<Offer>,
        sink: &mut Sink<'_>,
    ) -> Option<TopicName> {
        self.ends_seen += 1;
        let wanted = self.note_offer(topic, offer, sink);
        self.release_starts(sink);
        wanted
    }

    fn note_offer(&mut self, topic: &[u8], offer: Option<Offer>, sink: &mut Sink<'_>) -> Option<TopicName> {
        let Some(topic) = topic_name(topic, sink) else {
            sink.stats.malformed += 1;
            return None;
        };
        let (barrier, known) = (self.ends_seen, self.by_topic.get(&topic).copied());
        let Some(offer) = offer else {
            let index = known?;
            self.streams.get_mut(index)?.audience.set_next_offer(barrier, None);
            self.settle(index, sink);
            return None;
        };
        if !permissions::allows(&self.rules, Permission::Publish, &topic) {
            sink.deny(Permission::Publish, &topic.shared(), 0);
            return None;
        }
        let (ids, unmet) = sink.subscriptions.meeting(sink.subscriptions.matching(&topic, None).ids, &offer);
        unmet.into_iter().for_each(|policy| sink.tell_unmet(&topic, policy));
        let index = self.stream(topic.as_bytes(), sink)?.ok()?;
        self.streams.get_mut(index)?.audience.set_next_offer(barrier, Some(offer));
        (!ids.is_empty()).then_some(topic)
    }

    /// Starts of any topic may have waited for an end to be told.
    fn release_starts(&mut self, sink: &mut Sink<'_>) {
        while self.starting.first().is_some_and(|(barrier, _)| *barrier <= self.ends_seen) {
            let Some((_, topic)) = self.starting.pop_first() else { return };
            if let Some(index) = self.by_topic.get(&topic).copied() {
                self.drain(index, sink);
            }
        }
    }

    /// Delivers what is held, as what it waits for does not come for this reason.
    pub(crate) fn give_up(&mut self, reason: GapReason, sink: &mut Sink<'_>) {
        for stream in &mut self.streams {
            stream.give_up((reason, self.ends_seen), &mut self.budget, sink);
        }
        self.classic.give_up(&mut self.budget, sink);
    }

    /// Where subscriptions are in a topic.
    pub(crate) fn places(&self, topic: &str, sink: &Sink<'_>) -> BTreeMap<SubscriptionId, u64> {
        self.stream_of(topic).map(|stream| stream.places(sink)).unwrap_or_default()
    }

    pub(crate) fn stream_of(&self, topic: &str) -> Option<&Stream> {
        self.streams.get(*self.by_topic.get(topic)?)
    }

    /// A cache tells of a topic.
    pub(crate) fn set_tracked(&mut self, topic: &str) {
        let index = self.by_topic.get(topic).copied();
        index.and_then(|index| self.streams.get_mut(index)).into_iter().for_each(Stream::set_tracked);
    }

    /// Writes down where subscriptions are, for who brings the rest.
    pub(crate) fn leave_tracks(&mut self, sink: &mut Sink<'_>) {
        for stream in &mut self.streams {
            stream.leave_track(sink);
        }
    }

    /// Keeps what all streams have counted, as the peer is gone.
    pub(crate) fn close(&self, sink: &mut Sink<'_>) {
        self.streams.iter().for_each(|stream| stream.keep_cursors(sink));
        for (topic, received) in self.received_by_topic() {
            sink.ledger.add_received(topic, received, sink.config.max_counted_topics);
        }
    }

    /// What came, in all.
    pub(crate) fn received(&self) -> Received {
        let mut sum = self.past;
        sum += self.classic.unordered();
        self.received_by_topic().for_each(|(_, received)| sum += received);
        sum
    }

    /// What came by the streams that are there.
    pub(crate) fn received_by_topic(&self) -> impl Iterator<Item = (&TopicName, Received)> {
        self.streams.iter().map(|stream| (stream.topic(), stream.received())).chain(self.classic.received())
    }

    /// What waits for something before it, be it messages or control.
    pub(crate) const fn held_bytes(&self) -> usize {
        self.budget.bytes() + self.control_budget.bytes()
    }

    #[cfg(test)]
    pub(crate) fn stream_count(&self) -> usize {
        self.streams.len()
    }

    fn accept(&mut self, index: usize, piece: Piece, sink: &mut Sink<'_>) {
        let Some(stream) = self.streams.get_mut(index) else { return };
        if let Some(barrier) = piece.mark.start().filter(|barrier| *barrier > self.ends_seen) {
            self.starting.insert((barrier, stream.topic().clone()));
        }
        stream.accept(piece, self.ends_seen, &mut self.budget, sink);
        self.settle(index, sink);
        if self.starting.len() > 2 * sink.config.max_held_bundles_per_peer {
            self.starting.retain(|(barrier, topic)| {
                let stream = self.by_topic.get(topic).and_then(|index| self.streams.get(*index));
                stream.is_some_and(|stream| stream.has_start(*barrier))
            });
        }
    }

    fn drain(&mut self, index: usize, sink: &mut Sink<'_>) {
        if let Some(stream) = self.streams.get_mut(index) {
            stream.drain(self.ends_seen, &mut self.budget, sink);
        }
        self.settle(index, sink);
    }

    /// Forgets a stream that is over.
    fn settle(&mut self, index: usize, sink: &mut Sink<'_>) {
        if self.streams.get(index).is_some_and(Stream::is_over) {
            let old = self.streams.swap_remove(index);
            sink.tracks.lay_down(&sink.life(old.topic()));
            self.past += old.received();
            sink.ledger.add_received(old.topic(), old.received(), sink.config.max_counted_topics);
            self.by_topic.remove(old.topic());
            self.names.give_back(STREAM_BYTES + old.topic().len());
            if let Some(place) = self.streams.get(index).and_then(|moved| self.by_topic.get_mut(moved.topic())) {
                *place = index;
            }
        }
    }

    /// Drops what belongs to a topic that has no stream: beyond the limit not silently. `None`: no good name.
    fn refuse(&mut self, why: Refused, topic: &[u8], (first, last): (u64, u64), sink: &mut Sink<'_>) -> Option<()> {
        let (topic, count) = (topic_name(topic, sink)?, last - first + 1);
        match why {
            Refused::Barred => sink.deny(Permission::Publish, &topic.shared(), count),
            Refused::Full => self.overflow(&topic, (first, last), sink),
        }
        Some(())
    }

    fn overflow(&mut self, topic: &TopicName, (first, last): (u64, u64), sink: &mut Sink<'_>) {
        let (count, mut received) = (last - first + 1, Received::default());
        sink.stats.streams_refused += 1;
        sink.stats.missed = sink.stats.missed.saturating_add(count);
        received.gaps.add(GapReason::Overflow, count);
        self.past += received;
        sink.ledger.add_received(topic, received, sink.config.max_counted_topics);
        sink.tell_gap_of_unknown_type(topic, first, last, GapReason::Overflow);
    }

    /// Finds or makes a topic's stream. `None`: no good name.
    fn stream(&mut self, topic: &[u8], sink: &mut Sink<'_>) -> Option<Result<usize, Refused>> {
        if self.streams.get(self.recent).is_some_and(|stream| stream.topic().as_bytes() == topic) {
            return Some(Ok(self.recent));
        }
        if let Some(index) = self.by_topic.get(std::str::from_utf8(topic).ok()?) {
            self.recent = *index;
            return Some(Ok(*index));
        }
        let topic = topic_name(topic, sink)?;
        if !permissions::allows(&self.rules, Permission::Publish, &topic) {
            return Some(Err(Refused::Barred));
        }
        let is_full = self.streams.len() >= sink.config.max_streams_per_peer;
        if is_full || !self.names.take(STREAM_BYTES + topic.len()) {
            return Some(Err(Refused::Full));
        }
        self.recent = self.streams.len();
        self.by_topic.insert(topic.clone(), self.recent);
        let is_tracked = sink.find_track(&topic);
        self.streams.push(Stream::new(topic, is_tracked));
        Some(Ok(self.recent))
    }
}

fn topic_name(topic: &[u8], sink: &Sink<'_>) -> Option<TopicName> {
    TopicName::new(std::str::from_utf8(topic).ok()?, sink.config.max_topic_bytes).ok()
}

/// What a stream takes beside its name.
pub(crate) const STREAM_BYTES: usize = 300;
