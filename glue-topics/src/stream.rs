//! The messages of one topic of one native peer, put in order.
//!
//! They come in runs. A run begins with a start, when our interest in the topic reaches the peer, and goes on without
//! holes to its end, when our interest ends, or the peer forgets the topic. Nothing on the way keeps order, so a start
//! may come before all of the run before it has come. It waits then: its barrier says how many ends there were before
//! it, and while one of them lies ahead, an earlier run is under way.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use glue_net::{EndpointId, Gauge, Incarnation, PeerId};
use glue_security::PublicKey;

use crate::batch::Batch;
use crate::cache::Caches;
use crate::config::Config;
use crate::cursors::Cursors;
use crate::few::give_back_room;
use crate::message::{Gap, GapReason, Source};
use crate::mismatches::{Mismatches, Side};
use crate::name::{EndpointName, TopicName, TypeName};
use crate::output::{Event, Outputs};
use crate::permissions::Permission;
use crate::qos::{Offer, Policy};
use crate::replay::{Pending, Run};
use crate::run::Mark;
use crate::sequencer::{Held, Sequencer};
use crate::stats::{Ledger, Received, Stats};
use crate::subscriptions::{SubscriptionId, Subscriptions};
use crate::tracks::{Life, Tracks};

/// The order of one topic of one peer.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) topic: TopicName,
    /// Of the bundle that arrived last.
    pub(crate) source: Option<Arc<Source>>,
    pub(crate) sequencer: Sequencer<Part>,
    /// Starts that are held, and their barriers.
    pub(crate) starts: BTreeMap<u64, u64>,
    /// Ends that lie ahead: how many ends were told with it, and the number after the run.
    pub(crate) ends: VecDeque<(u64, u64)>,
    /// Where it was made to begin without a start: what comes from below was not told to be missing.
    pub(crate) forced: Option<u64>,
    pub(crate) audience: Audience,
    pub(crate) received: Received,
    pub(crate) run: Run,
    /// Named runs that are to come, by barrier.
    pub(crate) later: BTreeMap<u64, Pending>,
    /// Whether caches tell of it, so that order is made by a track.
    pub(crate) is_tracked: bool,
}

/// What a cargo brings.
#[derive(Debug)]
pub(crate) enum Part {
    Bundle { batch: Batch, source: Arc<Source> },
    Skip(GapReason),
}

/// A part, and where it belongs.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) mark: Mark,
    pub(crate) part: Part,
}

/// Who gets the messages of a source, as it was at a version of the subscriptions.
#[derive(Debug, Default)]
pub(crate) struct Audience {
    source: Option<Arc<Source>>,
    version: u64,
    to: Arc<[SubscriptionId]>,
    /// Whose wishes for history were known when the run began.
    asked: SubscriptionId,
    mismatched: bool,
    told_mismatch: bool,
    /// What is offered in this run, and in the one that has this barrier, if that was told.
    offer: Offer,
    next_offer: Option<(u64, Offer)>,
}

/// Where a peer's messages go, and who it is.
#[derive(Debug)]
pub(crate) struct Sink<'a> {
    pub(crate) own_id: EndpointId,
    pub(crate) peer: PeerId,
    pub(crate) endpoint_id: EndpointId,
    pub(crate) incarnation: Incarnation,
    pub(crate) endpoint_name: &'a EndpointName,
    pub(crate) public_key: Option<&'a PublicKey>,
    pub(crate) config: &'a Config,
    pub(crate) subscriptions: &'a Subscriptions,
    pub(crate) outputs: &'a mut Outputs,
    pub(crate) stats: &'a mut Stats,
    pub(crate) ledger: &'a mut Ledger,
    pub(crate) cursors: &'a mut Cursors,
    pub(crate) mismatches: &'a mut Mismatches,
    pub(crate) caches: &'a mut Caches,
    pub(crate) tracks: &'a mut Tracks,
}

/// What of one peer is held.
#[derive(Debug)]
pub(crate) struct Budget {
    /// Counted in the sum of all peers too.
    held: glue_net::Held,
    pieces: usize,
    max_bytes: usize,
    max_pieces: usize,
}

impl Stream {
    pub(crate) fn new(topic: TopicName, is_tracked: bool) -> Self {
        Self {
            topic,
            source: None,
            sequencer: Sequencer::new(None),
            starts: BTreeMap::new(),
            ends: VecDeque::new(),
            forced: None,
            audience: Audience::default(),
            received: Received::default(),
            run: Run::default(),
            later: BTreeMap::new(),
            is_tracked,
        }
    }

    pub(crate) const fn received(&self) -> Received {
        self.received
    }

    /// The number that is next, if a run is under way.
    pub(crate) const fn next(&self) -> Option<u64> {
        self.sequencer.next()
    }

    /// Whether all that has come waits for the first of its run.
    pub(crate) fn lacks_start(&self) -> bool {
        self.sequencer.next().is_none() && !(self.sequencer.is_empty() && self.later.is_empty())
    }

    /// What the publisher offers.
    pub(crate) const fn offered(&self) -> Offer {
        self.audience.offer
    }

    pub(crate) const fn topic(&self) -> &TopicName {
        &self.topic
    }

    /// The source of a bundle of type `type_name`; `None`: no good type.
    pub(crate) fn source(&mut self, type_name: &[u8], sink: &Sink<'_>) -> Option<Arc<Source>> {
        match &self.source {
            Some(source) if source.topic_type.as_bytes() == type_name => {}
            _ => {
                let topic_type = TypeName::read(type_name, sink.config.max_type_bytes)?;
                self.source = Some(sink.source(self.topic.clone(), topic_type));
            }
        }
        self.source.clone()
    }

    /// Takes a piece, and delivers what is in order. `ends_seen` counts the ends that the peer told.
    pub(crate) fn accept(&mut self, piece: Piece, ends_seen: u64, budget: &mut Budget, sink: &mut Sink<'_>) {
        let Piece { first, last, mark, part } = piece;
        if self.run.goes_on_with(&mark) && self.ends.is_empty() && self.sequencer.pass(first, last) {
            self.deliver(first, last, part, sink);
            return;
        }
        let is_other = self.run.is_other(&mark);
        let piece = Piece { first, last, mark, part };
        let is_new = if is_other { self.hold_later(piece, budget, sink) } else { self.hold(piece, budget, sink) };
        if is_new {
            self.drain(ends_seen, budget, sink);
            let waits = u64::from(self.sequencer.first_held().is_some_and(|held| held <= first));
            sink.stats.bundles_held += waits;
            self.received.held += waits;
            while budget.is_over() && self.force((GapReason::Overflow, ends_seen), budget, sink) {
                sink.stats.held_overflows += 1;
                self.drain(ends_seen, budget, sink);
            }
        }
    }

    /// Notes where the run ends, by the peer's end number `told`. What is in order stays to be drained.
    pub(crate) fn end(&mut self, told: u64, next: u64, sink: &mut Sink<'_>) {
        let lies_ahead = self.ends.back().is_none_or(|(_, before)| *before <= next);
        if lies_ahead && self.ends.len() < MAX_ENDS {
            self.ends.push_back((told, next));
        } else {
            sink.stats.malformed += 1;
        }
    }

    /// Delivers what is held and in order.
    pub(crate) fn drain(&mut self, ends_seen: u64, budget: &mut Budget, sink: &mut Sink<'_>) {
        while let Some(held) = self.take(ends_seen, budget, sink) {
            budget.sub(held.piece.bytes());
            self.deliver(held.first, held.last, held.piece, sink);
        }
        self.sequencer.give_back_room();
        give_back_room(&mut self.starts);
        give_back_room(&mut self.later);
    }

    /// Delivers all that is held. What is missing is a gap.
    pub(crate) fn give_up(&mut self, why: (GapReason, u64), budget: &mut Budget, sink: &mut Sink<'_>) {
        while self.force(why, budget, sink) {
            self.drain(why.1, budget, sink);
        }
    }

    /// Whether a start with this barrier is held.
    pub(crate) fn has_start(&self, barrier: u64) -> bool {
        self.starts.values().any(|held| *held == barrier) || self.later.contains_key(&barrier)
    }

    /// Whether nothing is left to be waited for.
    pub(crate) fn is_over(&self) -> bool {
        let is_idle = self.sequencer.next().is_none() && self.sequencer.is_empty();
        is_idle && self.ends.is_empty() && self.later.is_empty() && self.audience.next_offer.is_none()
    }

    /// False: there was nothing new in it.
    fn hold(&mut self, piece: Piece, budget: &mut Budget, sink: &mut Sink<'_>) -> bool {
        let Piece { first, last, mark, part } = piece;
        let bytes = part.bytes();
        let untold = self.forced.filter(|at| first < *at).map(|at| (first, last.min(at - 1), part.reason()));
        let added = match part {
            Part::Bundle { .. } => usize::from(self.sequencer.hold(first, last, part).is_ok()),
            Part::Skip(reason) => self.sequencer.fill(first, last, || Part::Skip(reason)),
        };
        if let Some((first, last, reason)) = untold {
            self.tell_gap(first, last, reason, sink);
        }
        if added == 0 {
            sink.stats.duplicates += 1;
            self.received.duplicates += 1;
            return false;
        }
        (0..added).for_each(|_| budget.add(bytes));
        if let Mark::Start(barrier) = mark
            && self.sequencer.next().is_none_or(|next| first >= next)
        {
            self.starts.insert(first, barrier);
        }
        true
    }

    /// Takes the held piece whose turn it is; moves from run to run.
    fn take(&mut self, ends_seen: u64, budget: &mut Budget, sink: &mut Sink<'_>) -> Option<Held<Part>> {
        loop {
            let next = self.sequencer.next();
            // Only a peer that lies has starts inside other pieces.
            while self.starts.first_key_value().is_some_and(|(start, _)| Some(*start) < next) {
                self.starts.pop_first();
            }
            if next.is_some() && self.ends.front().is_some_and(|(_, end)| Some(*end) <= next) {
                self.end_track(next, sink);
                self.ends.pop_front();
                self.keep_cursors(sink);
                self.sequencer.stop();
            } else if let Some(start) = self.startable(ends_seen) {
                // A run that the peer never ended is over as well: the peer has lost its state.
                self.starts.remove(&start).into_iter().for_each(|barrier| self.audience.begin_run(barrier));
                for old in self.sequencer.restart(start) {
                    budget.sub(old.piece.bytes());
                    sink.stats.duplicates += 1;
                    self.received.duplicates += 1;
                }
            } else if let Some(barrier) = self.startable_named(ends_seen) {
                self.begin(barrier, false, budget, sink);
            } else if next.is_some_and(|next| self.starts.contains_key(&next)) {
                return None;
            } else {
                return self.sequencer.pop();
            }
        }
    }

    /// The start that no earlier run stands before.
    fn startable(&self, ends_seen: u64) -> Option<u64> {
        let (start, barrier) = self.starts.first_key_value()?;
        let run_before = self.ends.front().is_some_and(|(_, end)| end <= start);
        (*barrier <= ends_seen && !run_before).then_some(*start)
    }

    /// Moves to the first piece that is held, whatever is missing before it. False: nothing is held.
    fn force(&mut self, why: (GapReason, u64), budget: &mut Budget, sink: &mut Sink<'_>) -> bool {
        let Some(at) = self.sequencer.first_held() else { return self.force_named(why, budget, sink) };
        match self.sequencer.next() {
            Some(next) if next < at => self.tell_gap(next, at - 1, why.0, sink),
            Some(_) => {}
            None => self.forced = Some(at),
        }
        self.ends.retain(|(_, end)| *end > at);
        self.starts.remove(&at);
        // Nothing is held below the first that is held.
        self.sequencer.restart(at).for_each(drop);
        true
    }

    fn deliver(&mut self, first: u64, last: u64, part: Part, sink: &mut Sink<'_>) {
        match part {
            Part::Bundle { batch, source } => {
                sink.stats.bundles_received += 1;
                let count = last - first + 1;
                sink.stats.messages_received += count;
                self.audience.renew(&source, self.run.asked(), sink);
                self.received.messages += count;
                self.received.bytes += batch.content_bytes() as u64;
                self.received.delivered += if self.audience.to.is_empty() { 0 } else { count };
                sink.stats.type_mismatches += u64::from(self.audience.mismatched);
                if self.run.is_history(first) {
                    self.deliver_history(self.audience.to.clone(), (first, last), &batch, sink);
                } else if self.is_tracked || !sink.tracks.joining.is_empty() {
                    self.hand(self.audience.to.clone(), (first, last), batch, sink);
                } else {
                    // Most often: spared a reference count.
                    sink.outputs.deliver(&self.audience.to, batch);
                }
            }
            Part::Skip(reason) => self.tell_gap(first, last, reason, sink),
        }
    }

    pub(crate) fn tell_gap(&mut self, from: u64, to: u64, reason: GapReason, sink: &mut Sink<'_>) {
        sink.stats.missed = sink.stats.missed.saturating_add(to - from + 1);
        self.received.gaps.add(reason, to - from + 1);
        let (source, ids) = match self.audience.source.clone().or_else(|| self.source.clone()) {
            Some(source) => {
                self.audience.renew(&source, self.run.asked(), sink);
                (source, self.audience.to.clone())
            }
            None => {
                let ids = sink.subscriptions.matching(&self.topic, None).ids;
                let ids = sink.subscriptions.taking_part(ids, self.run.asked());
                let (ids, _) = sink.subscriptions.meeting(ids, &self.audience.offer);
                (sink.source(self.topic.clone(), TypeName::any()), ids)
            }
        };
        // What is lost of a best effort is not looked for: that would hold up what follows.
        let is_final = matches!(reason, GapReason::Expired | GapReason::Lost);
        if self.is_tracked && !is_final && sink.tracks.may_be_filled() {
            let starts = ids.iter().filter_map(|id| Some((*id, self.first_for(*id, from, sink)?)));
            let starts: Vec<_> = starts.filter(|(_, start)| *start <= to).collect();
            return sink.tracks.give_up(&sink.life(&self.topic), &starts, (from, to, reason));
        }
        let batch = Batch::of_gap(Some(sink.peer), Gap { source, from, to, reason });
        if self.run.is_history(from) {
            self.deliver_history(ids, (from, to), &batch, sink);
        } else {
            self.hand(ids, (from, to), batch, sink);
        }
    }
}

impl Part {
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Bundle { batch, .. } => batch.bytes(),
            Self::Skip(_) => size_of::<Held<Self>>(),
        }
    }

    const fn reason(&self) -> GapReason {
        match self {
            Self::Bundle { .. } => GapReason::Overflow,
            Self::Skip(reason) => *reason,
        }
    }
}

impl Audience {
    /// What is offered in the run with this barrier; `None`: it does not begin.
    pub(crate) fn set_next_offer(&mut self, barrier: u64, offer: Option<Offer>) {
        self.next_offer = offer.map(|offer| (barrier, offer));
    }

    /// The run with this barrier begins. An offer that was told for a later one is what is known best of this one.
    pub(crate) fn begin_run(&mut self, barrier: u64) {
        let offer =
            self.next_offer.filter(|(told, _)| *told >= barrier).map_or_else(Offer::default, |(_, offer)| offer);
        self.next_offer = self.next_offer.filter(|(told, _)| *told > barrier);
        if std::mem::replace(&mut self.offer, offer) != offer {
            self.source = None;
        }
    }

    pub(crate) const fn to(&self) -> &Arc<[SubscriptionId]> {
        &self.to
    }

    /// Whether there is a subscription to the topic with a type that does not fit.
    pub(crate) const fn is_mismatched(&self) -> bool {
        self.mismatched
    }

    /// Whether there is no subscription at all to the topic.
    pub(crate) fn is_nobody(&self) -> bool {
        self.to.is_empty() && !self.mismatched
    }

    /// Finds out who gets what comes from `source`, in a run that began when the wishes up to `asked` were known, unless
    /// nothing has changed.
    pub(crate) fn renew(&mut self, source: &Arc<Source>, asked: SubscriptionId, sink: &mut Sink<'_>) {
        let same_source = self.source.as_ref().is_some_and(|known| Arc::ptr_eq(known, source));
        if same_source && self.version == sink.subscriptions.version() && self.asked == asked {
            return;
        }
        let matching = sink.subscriptions.matching_source(source);
        self.source = Some(Arc::clone(source));
        self.version = sink.subscriptions.version();
        let (to, unmet) = sink.subscriptions.meeting(matching.ids, &self.offer);
        unmet.into_iter().for_each(|policy| sink.tell_unmet(&source.topic_name, policy));
        self.to = sink.subscriptions.taking_part(to, asked);
        self.asked = asked;
        self.mismatched = matching.mismatch.is_some();
        if let Some(ours) = matching.mismatch.filter(|_| !std::mem::replace(&mut self.told_mismatch, true)) {
            sink.tell_mismatch(source, ours);
        }
    }
}

impl Sink<'_> {
    /// The topic of this peer, as one of those that caches tell of.
    pub(crate) fn life(&self, topic: &TopicName) -> Life {
        Life { id: self.endpoint_id, incarnation: self.incarnation, topic: topic.clone() }
    }

    pub(crate) fn source(&self, topic_name: TopicName, topic_type: TypeName) -> Arc<Source> {
        let (endpoint_id, incarnation) = (self.endpoint_id, self.incarnation);
        let (endpoint_name, public_key) = (self.endpoint_name.clone(), self.public_key.copied());
        Arc::new(Source { endpoint_id, incarnation, endpoint_name, topic_name, topic_type, public_key })
    }

    pub(crate) fn tell_unmet(&mut self, topic: &TopicName, policy: Policy) {
        self.stats.qos_mismatches += 1;
        if self.mismatches.note(Some(self.peer), Side::Theirs, topic, policy) {
            let event =
                Event::QosMismatch { peer: Some(self.peer), id: self.endpoint_id, topic: topic.clone(), policy };
            self.outputs.tell(event, self.config.max_events, self.stats);
        }
    }

    /// The peer may not do it.
    pub(crate) fn deny(&mut self, what: Permission, topic: &Arc<str>, count: u64) {
        self.stats.not_permitted = self.stats.not_permitted.saturating_add(count);
        if self.mismatches.note_denied(self.peer, what, topic) {
            let event = Event::NotPermitted { peer: self.peer, id: self.endpoint_id, topic: Arc::clone(topic), what };
            self.outputs.tell(event, self.config.max_events, self.stats);
        }
    }

    pub(crate) fn tell_mismatch(&mut self, source: &Source, ours: TypeName) {
        let (topic, theirs) = (source.topic_name.clone(), source.topic_type.clone());
        let event = Event::TypeMismatch { peer: self.peer, topic, ours, theirs };
        self.outputs.tell(event, self.config.max_events, self.stats);
    }

    /// A gap in a topic of which no bundle was seen yet.
    pub(crate) fn tell_gap_of_unknown_type(&mut self, topic: &TopicName, from: u64, to: u64, reason: GapReason) {
        let source = self.source(topic.clone(), TypeName::any());
        let ids = self.subscriptions.matching(topic, None).ids;
        self.outputs.deliver(&ids, Batch::of_gap(Some(self.peer), Gap { source, from, to, reason }));
    }
}

impl Budget {
    pub(crate) fn new(config: &Config, sum: &Gauge) -> Self {
        let (max_bytes, max_pieces) = (config.max_held_bytes_per_peer, config.max_held_bundles_per_peer);
        Self { held: sum.hold(0), pieces: 0, max_bytes, max_pieces }
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.held.bytes()
    }

    pub(crate) fn add(&mut self, bytes: usize) {
        self.held.set(self.held.bytes() + bytes);
        self.pieces += 1;
    }

    pub(crate) fn sub(&mut self, bytes: usize) {
        self.held.set(self.held.bytes() - bytes);
        self.pieces -= 1;
    }

    /// One piece may always wait, however large.
    pub(crate) const fn is_over(&self) -> bool {
        self.pieces > self.max_pieces || (self.held.bytes() > self.max_bytes && self.pieces > 1)
    }
}

/// Runs of one topic that may be under way at a time. Each takes a subscribe and an unsubscribe of ours to make.
const MAX_ENDS: usize = 1_024;
