//! Getting from caches what a source's publisher does not bring: whom to ask for what, and when to give up.

use std::collections::BTreeMap;
use std::time::Duration;

use glue_net::{Instant, PeerId};

use crate::message::GapReason;
use crate::peer::Peer;
use crate::ranges::Ranges;
use crate::stream::Stream;
use crate::subscriptions::SubscriptionId;
use crate::topics::Topics;
use crate::tracks::{Holder, Life, NOT_BEGUN, Place, Track, Want};

/// What the publisher itself will do.
#[derive(Clone, Copy, Debug, Default)]
struct Origin {
    is_known: bool,
    is_reachable: bool,
    /// Whether it knows that we are interested, or may.
    is_open: bool,
    /// Whether it was told of who got nothing of it yet, and so may have begun at a number that it alone knows.
    may_owe: bool,
    /// The number that it brings next, if a run is under way.
    next: Option<u64>,
}

impl Origin {
    /// Whether it brings this number, sooner or later.
    fn brings(&self, number: u64) -> bool {
        self.next.is_some_and(|next| next <= number)
    }
}

/// What to do about the first number that is missing.
#[derive(Clone, Copy, Debug)]
enum Step {
    Ask(PeerId, (u64, u64)),
    Nothing,
    Tell(u64, GapReason),
    Wait(Instant),
}

impl Topics {
    /// Sees to what has changed, or is due, of sources that caches tell of.
    pub(crate) fn follow_tracks(&mut self, now: Instant) {
        self.now = now;
        self.tracks.note_due(now);
        if !self.tracks.joining.is_empty() {
            self.note_joined(now);
        }
        while let Some(life) = self.tracks.dirty.pop_first() {
            self.follow(now, &life);
        }
    }

    /// Subscriptions that need not wait any longer begin.
    fn note_joined(&mut self, now: Instant) {
        let has_told = |peer: &PeerId, id: SubscriptionId| {
            let peer = self.peers.get(peer).filter(|peer| is_here(peer));
            peer.is_none_or(|peer| peer.exchange.told >= id)
        };
        let cachers = &self.tracks.cachers;
        let is_ready =
            |id: SubscriptionId, until: Instant| until <= now || cachers.iter().all(|peer| has_told(peer, id));
        let joining = std::mem::take(&mut self.tracks.joining);
        let (ready, left): (BTreeMap<_, _>, BTreeMap<_, _>) =
            joining.into_iter().partition(|(id, until)| is_ready(*id, *until));
        self.tracks.joining = left;
        ready.into_keys().for_each(|id| self.tracks.begin(id));
    }

    fn follow(&mut self, now: Instant, life: &Life) {
        let Some(mut track) = self.tracks.take(life) else { return };
        self.seat_newcomers(life, &mut track);
        let over = track.drain(&mut self.outputs);
        over.iter().for_each(|old| self.tracks.release(old));
        track.due = None;
        if let Some(want) = track.want.take_if(|want| want.due <= now) {
            track.note_failure(now, want.peer);
        }
        track.want.take_if(|want| track.is_over || !self.may_ask(want.peer));
        let origin = self.origin(life, &track);
        while track.want.is_none() {
            match self.next_step(now, life, &mut track, origin) {
                Step::Ask(peer, range) => self.ask(now, peer, range, &mut track),
                Step::Tell(to, reason) => {
                    let Some((from, _)) = track.lowest_hole() else { break };
                    self.stats.missed = self.stats.missed.saturating_add(to - from + 1);
                    track.tell_gap(from, to, reason, &mut self.outputs);
                    let over = track.drain(&mut self.outputs);
                    over.iter().for_each(|old| self.tracks.release(old));
                    track.is_over = false;
                }
                Step::Wait(until) => {
                    track.due = Some(until);
                    break;
                }
                Step::Nothing => break,
            }
        }
        let again = track.holders.values().map(|holder| holder.again).filter(|again| *again > now).min();
        track.due = [track.due, track.want.as_ref().map(|want| want.due), again].into_iter().flatten().min();
        track.forget_given_up();
        self.tracks.put_back(life.clone(), track);
        if !self.is_streamed(life) {
            self.tracks.lay_down(life);
        }
    }

    /// Whether a stream of the publisher leads to a track.
    fn is_streamed(&self, life: &Life) -> bool {
        let publisher = self.lives.get(&(life.id, life.incarnation)).and_then(|id| self.peers.get(id));
        publisher.is_some_and(|peer| peer.incoming.stream_of(&life.topic).is_some())
    }

    fn origin(&self, life: &Life, track: &Track) -> Origin {
        let peer = self.lives.get(&(life.id, life.incarnation)).and_then(|id| self.peers.get(id));
        peer.map_or_else(Origin::default, |peer| Origin {
            is_known: true,
            is_reachable: is_here(peer),
            is_open: peer.is_open,
            may_owe: track.beginners().any(|id| self.subscriptions.filter(id).is_some_and(|it| peer.is_told_of(it))),
            next: peer.incoming.stream_of(&life.topic).and_then(|stream| stream.next()),
        })
    }

    fn next_step(&self, now: Instant, life: &Life, track: &mut Track, origin: Origin) -> Step {
        let Some((at, end)) = track.lowest_hole() else {
            track.hole = None;
            return self.next_for_cache(now, life, track, origin);
        };
        let given_up = track.why_given_up(at);
        let brings = origin.brings(at) && given_up.is_none();
        if brings && origin.is_reachable {
            track.hole = None;
            return self.next_for_cache(now, life, track, origin);
        }
        let since = track.hole.filter(|(hole, _)| *hole == at).map_or(now, |(_, since)| since);
        track.hole = Some((at, since));
        let is_unsure = origin.is_open && !track.is_sure_of(at);
        // With the first of all it begins in any case.
        let may_start = origin.is_reachable || (is_unsure && origin.may_owe && at > 1);
        let is_starting = may_start && origin.next.is_none() && given_up.is_none();
        let start = if is_unsure { OPEN_START } else { START };
        if is_starting && now < since + start && !track.is_over {
            return Step::Wait(since + start);
        }
        if let Some((peer, last)) = self.holder(now, track, at).filter(|_| !track.is_over) {
            return Step::Ask(peer, (at, last.min(end)));
        }
        if (brings || (origin.is_known && !origin.is_reachable && given_up.is_none())) && !track.is_over {
            return self.next_for_cache(now, life, track, origin);
        }
        let may_begin = origin.is_reachable && (!origin.is_open || origin.next.is_none()) && given_up.is_none();
        let until = since + if origin.is_open { OPEN_START } else { OPENING };
        if may_begin && now < until && !track.is_over {
            return match self.next_for_cache(now, life, track, origin) {
                Step::Nothing => Step::Wait(until),
                step => step,
            };
        }
        if let Some(until) = self.patience(track, at, since).filter(|until| *until > now && !track.is_over) {
            return if until == Instant::FAR { Step::Nothing } else { Step::Wait(until) };
        }
        let next_held =
            track.holders.values().filter_map(|holder| holder.ranges.at_or_after(at + 1)).map(|(first, _)| first);
        let end = end.min(next_held.min().unwrap_or(u64::MAX) - 1);
        match given_up {
            Some((last, reason)) => Step::Tell(end.min(last), reason),
            None if track.is_over => Step::Tell(end, GapReason::Overflow),
            // Its run begins above.
            None if origin.is_known && self.tracks.may_be_filled() => Step::Tell(end, GapReason::NotKept),
            None => Step::Tell(end, GapReason::PublisherGone),
        }
    }

    /// How long to wait for somebody who has what is missing. Nobody who lacks nothing else need give up as long as there
    /// is one who has it and may come back.
    fn patience(&self, track: &Track, at: u64, since: Instant) -> Option<Instant> {
        let has_it = track.holders.values().any(|holder| holder.ranges.contains(at, at));
        if has_it && track.waiting.is_empty() {
            return Some(Instant::FAR);
        }
        self.tracks.may_be_filled().then_some(since + GRACE)
    }

    /// What a cache here lacks.
    fn next_for_cache(&self, now: Instant, life: &Life, track: &mut Track, origin: Origin) -> Step {
        if !self.caches.wants(&life.topic) {
            return Step::Nothing;
        }
        let shelf = self.caches.shelf_of(life);
        let lacking = |ranges: &Ranges| match shelf {
            Some(shelf) => shelf.lacks(ranges),
            None => ranges.at_or_after(0),
        };
        let holders = self.askable(now, track);
        let offers = holders.filter_map(|(peer, holder)| lacking(&holder.ranges).map(|range| (range, peer)));
        let Some(((first, last), peer)) = offers.min() else { return Step::Nothing };
        if origin.is_reachable && origin.brings(first) {
            return Step::Nothing;
        }
        if origin.is_reachable && origin.next.is_none() {
            let since = track.hole.filter(|(hole, _)| *hole == first).map_or(now, |(_, since)| since);
            track.hole = Some((first, since));
            if now < since + START {
                return Step::Wait(since + START);
            }
        }
        Step::Ask(peer, (first, last))
    }

    /// Who has a number, and how far.
    fn holder(&self, now: Instant, track: &Track, at: u64) -> Option<(PeerId, u64)> {
        let mut holders: Vec<_> = self
            .askable(now, track)
            .filter_map(|(peer, holder)| {
                Some((peer, holder.ranges.at_or_after(at).filter(|(first, _)| *first == at)?.1))
            })
            .collect();
        // Sources are spread over those who have them.
        let at = usize::try_from(track.turn).unwrap_or(0).checked_rem(holders.len())?;
        Some(holders.swap_remove(at))
    }

    /// Whose caches may be asked: they can be reached, and are not doubted.
    fn askable<'a>(&'a self, now: Instant, track: &'a Track) -> impl Iterator<Item = (PeerId, &'a Holder)> {
        track.holders.iter().filter(move |(peer, holder)| holder.again <= now && self.may_ask(*peer))
    }

    fn may_ask(&self, peer: PeerId) -> bool {
        self.peers.get(&peer).is_some_and(is_here)
    }

    fn ask(&mut self, now: Instant, id: PeerId, (from, to): (u64, u64), track: &mut Track) {
        let Some((peer, holder)) = self.peers.get_mut(&id).zip(track.holders.get(&id)) else { return };
        peer.exchange.wants.push((holder.number, from, to));
        self.owing.insert(id);
        track.want = Some(Box::new(Want { peer: id, from, to, got: Ranges::default(), end: None, due: now + ANSWER }));
    }

    /// Finds out where subscriptions begin that are new to the source.
    fn seat_newcomers(&mut self, life: &Life, track: &mut Track) {
        let version = self.subscriptions.version();
        let peer = self.lives.get(&(life.id, life.incarnation)).copied();
        let offer = peer.and_then(|peer| self.peers.get(&peer)?.incoming.stream_of(&life.topic)).map(Stream::offered);
        let ids = self.subscriptions.matching_source(&track.source).ids;
        let (ids, _) = self.subscriptions.meeting(ids, &offer.unwrap_or_default());
        if track.version == Some(version) && ids.iter().all(|id| track.places.contains_key(id)) {
            return;
        }
        track.version = Some(version);
        let streamed = peer.and_then(|peer| self.with_peer(peer, |incoming, sink| incoming.places(&life.topic, sink)));
        let streamed = streamed.unwrap_or_default();
        for id in ids.iter() {
            if track.places.contains_key(id) || self.tracks.joining.contains_key(id) {
                continue;
            }
            let has_wish = self.subscriptions.wish_of(*id) > 0;
            if let Some((next, is_anchored)) = self.start(life, track, *id, streamed.get(id).copied()) {
                track.places.insert(*id, Place { next, is_anchored, has_wish });
            }
        }
        track.joining.retain(|id, _| self.tracks.joining.contains_key(id));
    }

    /// Where a subscription begins that is new to the source, and whether that is certain. `streamed`: where the
    /// publisher's run is.
    fn start(&self, life: &Life, track: &Track, id: SubscriptionId, streamed: Option<u64>) -> Option<(u64, bool)> {
        let wish = self.subscriptions.wish_of(id);
        let joined = track.joining.get(&id).and_then(|start| track.begin(wish, Some(*start)));
        let kept = self.cursors.next(life, id);
        if let Some(next) = joined {
            return Some((next, false));
        }
        if let Some(next) = streamed.or_else(|| (kept > 0).then_some(kept)) {
            return Some((next, true));
        }
        let next = if wish > 0 {
            track.begin(wish, None)
        } else if id > track.newest {
            (!track.holders.is_empty()).then_some(track.known + 1)
        } else {
            track.holders.values().map(|holder| holder.live).min()
        };
        next.map(|next| (next, false))
    }
}

/// Whether a peer can be asked, or brings what it publishes. A datagram that comes late is no sign of it: who has died since
/// would be waited for.
pub(crate) const fn is_here(peer: &Peer) -> bool {
    peer.reachable && peer.presence.is_there
}

impl Track {
    /// The first number for a subscription that wants the last `wish` of what there is. `start`: where its publisher would
    /// let it begin.
    fn begin(&self, wish: u64, start: Option<u64>) -> Option<u64> {
        let held =
            self.holders.values().filter_map(|holder| holder.ranges.at_or_after(0)).map(|(first, _)| first).min();
        let before = if self.live > 0 { self.live } else { self.known + 1 };
        let wished = held.map(|held| held.max(before.saturating_sub(wish)));
        let start = start.filter(|start| *start < NOT_BEGUN);
        wished.into_iter().chain(start).min()
    }

    /// Whether somebody who lacks this number surely does. Where a subscription begins that has no wish and got nothing yet
    /// is known to the publisher alone.
    fn is_sure_of(&self, at: u64) -> bool {
        self.places.values().any(|place| place.next == at && !place.is_guess())
    }

    /// Those of whom only the publisher knows where they begin.
    fn beginners(&self) -> impl Iterator<Item = SubscriptionId> {
        self.places.iter().filter(|(_, place)| place.is_guess()).map(|(id, _)| id)
    }

    /// A holder did not answer in time: another one's turn.
    fn note_failure(&mut self, now: Instant, peer: PeerId) {
        self.turn += 1;
        let Some(holder) = self.holders.get_mut(&peer) else { return };
        holder.failures = holder.failures.saturating_add(1);
        if holder.failures >= MAX_FAILURES {
            holder.again = now + DOUBT;
        }
    }
}

/// How long a subscription with a wish waits for what caches say that they have.
pub(crate) const JOIN: Duration = Duration::from_secs(1);
/// How long a publisher that can be reached may take to begin. What it brings needs no asking.
const START: Duration = Duration::from_secs(1);
/// The same of one whose session is open, where it alone knows where a subscription begins: if a cache came first, what is before
/// that would be lost. At a loss of a half its beginning may take seconds.
const OPEN_START: Duration = Duration::from_secs(10);
/// How long a publisher may take to open a session that is heard of: one that hears nothing of us, as in a partition of one way,
/// counts as out of reach, but not for ever, as its announcements keep it from being forgotten.
const OPENING: Duration = Duration::from_secs(60);
/// How long to wait for a cache that has what is missing before it is a gap: three intervals of discovery, as it may have
/// to be found again first.
const GRACE: Duration = Duration::from_secs(3);
/// How long a cache may bring nothing of what it was asked for.
pub(crate) const ANSWER: Duration = Duration::from_secs(5);
/// How long a cache that failed to answer so often is not asked: it may lie, or be behind a path that is slow or broken for a while.
const DOUBT: Duration = Duration::from_secs(10);
/// How often a cache may fail to answer before it is doubted.
const MAX_FAILURES: u32 = 3;
