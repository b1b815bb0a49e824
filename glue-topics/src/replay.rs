//! Runs that bring history: those of a peer that was asked for some.
//!
//! Such a run may begin below what an earlier run has brought, so its cargo names it. It waits aside until the runs
//! before it are over. Its splice says which of its numbers were published before it began; of these a subscription gets
//! what it wished for, if no earlier run has brought it. From the splice on all that take part get the same. So who joins
//! has no state of its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::batch::Batch;
use crate::few::Few;
use crate::message::{Gap, GapReason};
use crate::name::TypeName;
use crate::run::{Mark, Splice};
use crate::stream::{Budget, Part, Piece, Sink, Stream};
use crate::subscriptions::SubscriptionId;

/// The run that is under way, or was last. One without a name brings no history, to no one who has wished for it.
#[derive(Debug, Default)]
pub(crate) struct Run {
    barrier: Option<u64>,
    splice: Splice,
    /// It was made to begin since its publisher is gone, and runs before it may be lost: those that wait for the first of
    /// their history do not begin with it, but when the publisher is back.
    is_remnant: bool,
}

/// What has come of a run whose turn it is not.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    /// The first number of its first cargo.
    start: Option<u64>,
    splice: Option<Splice>,
    pieces: Vec<(u64, u64, Part)>,
}

impl Run {
    /// Whether what has this mark goes on with it.
    pub(crate) fn goes_on_with(&self, mark: &Mark) -> bool {
        match mark {
            Mark::Plain => self.barrier.is_none(),
            Mark::Of(_) | Mark::Within(_) => self.barrier == mark.name(),
            Mark::Start(_) | Mark::StartOf(_) => false,
        }
    }

    /// Whether the mark names another run.
    pub(crate) fn is_other(&self, mark: &Mark) -> bool {
        mark.name().is_some() && mark.name() != self.barrier
    }

    /// The newest subscription whose wish was known when it began.
    pub(crate) const fn asked(&self) -> SubscriptionId {
        self.splice.asked
    }

    /// The first number that was published after it began.
    pub(crate) const fn live(&self) -> u64 {
        self.splice.live
    }

    /// Whether not all that take part get this number.
    pub(crate) const fn is_history(&self, number: u64) -> bool {
        number < self.splice.live || self.is_remnant
    }
}

impl Stream {
    /// Holds a piece of a run that is to come. False: the run is over.
    pub(crate) fn hold_later(&mut self, piece: Piece, budget: &mut Budget, sink: &mut Sink<'_>) -> bool {
        let Piece { first, last, mark, part } = piece;
        let Some(barrier) = mark.name() else { return false };
        if self.run.barrier.is_some_and(|now| barrier < now) {
            sink.stats.duplicates += 1;
            self.received.duplicates += 1;
            return false;
        }
        budget.add(part.bytes());
        let pending = self.later.entry(barrier).or_default();
        pending.start = pending.start.or_else(|| mark.start().map(|_| first));
        pending.splice = pending.splice.or_else(|| mark.splice());
        pending.pieces.push((first, last, part));
        true
    }

    /// The named run that no earlier run stands before.
    pub(crate) fn startable_named(&self, ends_seen: u64) -> Option<u64> {
        let (barrier, pending) = self.later.first_key_value()?;
        let run_before = !self.starts.is_empty() || self.ends.front().is_some_and(|(told, _)| told <= barrier);
        (pending.start.is_some() && *barrier <= ends_seen && !run_before).then_some(*barrier)
    }

    /// Begins a named run. `is_remnant`: the publisher is gone, and runs before it may be lost.
    pub(crate) fn begin(&mut self, barrier: u64, is_remnant: bool, budget: &mut Budget, sink: &mut Sink<'_>) {
        let Some(Pending { start, splice, pieces }) = self.later.remove(&barrier) else { return };
        // A run that the peer never ended is over as well.
        self.keep_cursors(sink);
        self.starts.clear();
        self.forced = None;
        for old in self.sequencer.restart(u64::MAX) {
            budget.sub(old.piece.bytes());
            sink.stats.duplicates += 1;
            self.received.duplicates += 1;
        }
        self.run = Run { barrier: Some(barrier), splice: splice.unwrap_or_default(), is_remnant };
        self.audience.begin_run(barrier);
        let Some(splice) = splice else {
            // The rest of a run that we have heard of in another session. Whom it is for is forgotten.
            pieces.iter().for_each(|(_, _, part)| budget.sub(part.bytes()));
            self.sequencer.stop();
            return;
        };
        // The first cargo may reach below the beginning, but nobody was to get that.
        self.sequencer.restart(start.unwrap_or(splice.begin)).for_each(drop);
        for (first, last, part) in pieces {
            let bytes = part.bytes();
            budget.sub(bytes);
            let added = match part {
                Part::Bundle { .. } => usize::from(self.sequencer.hold(first, last, part).is_ok()),
                Part::Skip(reason) => self.sequencer.fill(first, last, || Part::Skip(reason)),
            };
            (0..added).for_each(|_| budget.add(bytes));
            self.received.duplicates += u64::from(added == 0);
            sink.stats.duplicates += u64::from(added == 0);
        }
        self.tell_what_is_no_longer_kept(sink);
    }

    /// Who was here before the publisher was gone, and goes on with it: what was published meanwhile, and is not kept.
    fn tell_what_is_no_longer_kept(&self, sink: &mut Sink<'_>) {
        let type_name = self.source.as_ref().map(|source| &source.topic_type);
        let ids = sink.subscriptions.matching(&self.topic, type_name).ids;
        let life = sink.life(&self.topic);
        for id in ids.iter().filter(|id| **id <= self.run.asked()) {
            let (had, floor) = (sink.cursors.next(&life, *id), self.floor(*id, sink).unwrap_or(0));
            if had > 0 && had < floor {
                let source = self.source.clone();
                let source = source.unwrap_or_else(|| sink.source(self.topic.clone(), TypeName::any()));
                let gap = Gap { source, from: had, to: floor - 1, reason: GapReason::PublisherGone };
                if self.is_tracked {
                    let range = (had, floor - 1, GapReason::PublisherGone);
                    sink.tracks.give_up(&life, &[(*id, had)], range);
                } else {
                    sink.outputs.deliver(&Arc::from([*id]), Batch::of_gap(Some(sink.peer), gap));
                }
            }
        }
    }

    /// Begins the next named run, whatever is missing before it. False: there is none.
    pub(crate) fn force_named(
        &mut self,
        (reason, ends_seen): (GapReason, u64),
        budget: &mut Budget,
        sink: &mut Sink<'_>,
    ) -> bool {
        let Some(barrier) = self.later.keys().next().copied() else { return false };
        if let Some((next, (_, end))) = self.sequencer.next().zip(self.ends.front().copied())
            && next < end
        {
            self.tell_gap(next, end - 1, reason, sink);
            self.sequencer.restart(end).for_each(drop);
        }
        // The first may be of the run that was under way.
        let ended = self.ends.iter().filter(|(told, _)| *told <= barrier).count();
        let is_one_lost = barrier > ends_seen || ended > usize::from(self.sequencer.next().is_some());
        let is_remnant = reason == GapReason::PublisherGone && is_one_lost;
        self.ends.retain(|(told, _)| *told > barrier);
        self.begin(barrier, is_remnant, budget, sink);
        true
    }

    /// Delivers what was published before the run began, to each as much as it wished for and did not get.
    pub(crate) fn deliver_history(
        &mut self,
        ids: Arc<[SubscriptionId]>,
        (first, last): (u64, u64),
        batch: &Batch,
        sink: &mut Sink<'_>,
    ) {
        let starts = ids.iter().filter_map(|id| Some((*id, self.first_for(*id, first, sink)?)));
        let starts: Vec<_> = starts.filter(|(_, from)| *from <= last).collect();
        self.offer(&starts, (first, last), batch.clone(), sink);
    }

    /// Writes down how far the subscriptions with a wish have come in this run.
    pub(crate) fn keep_cursors(&self, sink: &mut Sink<'_>) {
        let Some(next) = self.sequencer.next().filter(|_| self.run.barrier.is_some()) else { return };
        let type_name = self.source.as_ref().map(|source| &source.topic_type);
        let ids = sink.subscriptions.matching(&self.topic, type_name).ids;
        let with_wish = ids.iter().filter(|id| **id <= self.run.asked() && sink.subscriptions.wish_of(**id) > 0);
        let cursors = with_wish.filter_map(|id| Some((*id, self.floor(*id, sink)?.max(next))));
        let cursors: Few<_, _> = cursors.collect();
        if !cursors.is_empty() {
            let forgotten = sink.cursors.set(sink.life(&self.topic), cursors, sink.config.max_cursors);
            sink.stats.cursors_forgotten += forgotten;
        }
    }

    /// Where a subscription begins in what is numbered from `first` on.
    pub(crate) fn first_for(&self, id: SubscriptionId, first: u64, sink: &Sink<'_>) -> Option<u64> {
        if self.run.is_history(first) { Some(self.floor(id, sink)?.max(first)) } else { Some(first) }
    }

    /// Where subscriptions are in the run that is under way.
    pub(crate) fn places(&self, sink: &Sink<'_>) -> BTreeMap<SubscriptionId, u64> {
        let Some(next) = self.sequencer.next() else { return BTreeMap::new() };
        let type_name = self.source.as_ref().map(|source| &source.topic_type);
        let ids = sink.subscriptions.matching(&self.topic, type_name).ids;
        let ids = sink.subscriptions.taking_part(ids, self.run.asked());
        ids.iter().filter_map(|id| Some((*id, self.floor(*id, sink)?.max(next)))).collect()
    }

    /// The first number that a subscription gets of this run; `None`: it gets nothing.
    fn floor(&self, id: SubscriptionId, sink: &Sink<'_>) -> Option<u64> {
        let Splice { begin, live, .. } = self.run.splice;
        let wish = sink.subscriptions.wish_of(id);
        if wish == 0 {
            return Some(live);
        }
        let had = sink.cursors.next(&sink.life(&self.topic), id);
        (had > 0 || !self.run.is_remnant).then(|| begin.max(live.saturating_sub(wish)).max(had))
    }
}
