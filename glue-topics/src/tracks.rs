//! Where each subscription is in a source that several bring: its publisher, and caches.
//!
//! A stream puts in order what the publisher brings, run by run. Where a cache may bring the same, or what the publisher can
//! not, a track stands between the streams and the subscriptions. It knows the next number of each subscription: what is
//! below is a duplicate, what is at it is delivered, and what is above waits for what is missing as long as somebody may
//! have it. So it does not matter who brings what, or in which order.
//!
//! Sources that no cache tells of have no track, and pay nothing for it. Where nothing is to be done, a track rests (`resting.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use glue_net::{EndpointId, Gauge, Held, Incarnation, Instant, PeerId};
use glue_security::PublicKey;

use crate::batch::Batch;
use crate::config::Config;
use crate::few::Few;
use crate::message::{Gap, GapReason, Source};
use crate::name::TopicName;
use crate::output::Outputs;
use crate::ranges::Ranges;
use crate::remembered::Remembered;
use crate::resting::Rest;
use crate::subscriptions::SubscriptionId;

/// A topic of a publisher in one of its lives: what numbers count.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Life {
    pub(crate) id: EndpointId,
    pub(crate) incarnation: Incarnation,
    pub(crate) topic: TopicName,
}

/// One source.
#[derive(Debug)]
pub(crate) struct Track {
    pub(crate) source: Arc<Source>,
    pub(crate) places: Few<SubscriptionId, Place>,
    /// Those that wait for what caches say that they have, and where their publisher would let them begin.
    pub(crate) joining: BTreeMap<SubscriptionId, u64>,
    /// The newest subscription when the track began.
    pub(crate) newest: SubscriptionId,
    /// The version of the subscriptions that the places are of.
    pub(crate) version: Option<u64>,
    pub(crate) waiting: BTreeMap<u64, Waiting>,
    /// What the publisher has given up, and why.
    pub(crate) given_up: BTreeMap<u64, (u64, GapReason)>,
    /// The highest number that is known to have been published.
    pub(crate) known: u64,
    /// The first number that the publisher's run did not bring as history; 0: there was none.
    pub(crate) live: u64,
    /// The number after the publisher's last run: it may go on above.
    pub(crate) ended: Option<u64>,
    pub(crate) holders: Few<PeerId, Holder>,
    /// Boxed, as there mostly is none.
    pub(crate) want: Option<Box<Want>>,
    /// The first number that is missing, and since when.
    pub(crate) hole: Option<(u64, Instant)>,
    /// More waits than may.
    pub(crate) is_over: bool,
    pub(crate) due: Option<Instant>,
    /// Whose turn it is to be asked.
    pub(crate) turn: u64,
}

/// Where a subscription is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) next: u64,
    /// Whether it got anything, so that this is more than a guess.
    pub(crate) is_anchored: bool,
    pub(crate) has_wish: bool,
}

/// What a peer's cache has of the source.
#[derive(Debug)]
pub(crate) struct Holder {
    /// The peer's number for the source.
    pub(crate) number: u64,
    pub(crate) ranges: Ranges,
    /// The first number that it got when it knew that we are interested.
    pub(crate) live: u64,
    /// Whether that is the first that it has, so that what it gets of before is for us too.
    has_nothing_older: bool,
    /// How often it did not answer.
    pub(crate) failures: u32,
    /// When it may be asked again.
    pub(crate) again: Instant,
}

/// What a peer's cache was asked for.
#[derive(Debug)]
pub(crate) struct Want {
    pub(crate) peer: PeerId,
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) got: Ranges,
    /// Where the answer ends.
    pub(crate) end: Option<u64>,
    pub(crate) due: Instant,
}

/// Something that waits for what comes before it. Without a batch: nothing was published under these numbers.
#[derive(Debug)]
pub(crate) struct Waiting {
    last: u64,
    batch: Option<Batch>,
    held: Held,
}

/// All sources that have a track.
#[derive(Debug, Default)]
pub(crate) struct Tracks {
    /// Boxed, as a map's nodes are not full.
    pub(crate) by_life: BTreeMap<Life, Box<Track>>,
    opened: u64,
    /// The last that was looked at, for one to be forgotten.
    looked_at: Option<Life>,
    /// Those of which something has changed.
    pub(crate) dirty: BTreeSet<Life>,
    timers: BTreeSet<(Instant, Life)>,
    /// Peers with a cache.
    pub(crate) cachers: BTreeSet<PeerId>,
    /// Subscriptions that wait for what caches say that they have, and for how long.
    pub(crate) joining: BTreeMap<SubscriptionId, Instant>,
    /// Those that nobody needs now.
    pub(crate) resting: Remembered<Rest>,
    /// How many of those were forgotten, beyond `max_idle`.
    pub(crate) forgotten: u64,
    held: Gauge,
    max_held_of: usize,
    pub(crate) max_idle: usize,
    held_of: BTreeMap<PeerId, usize>,
    /// Peers whose messages wait no more.
    pub(crate) released: BTreeSet<PeerId>,
}

/// Something that the publisher or a cache brings.
#[derive(Debug)]
pub(crate) struct Offer {
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) batch: Option<Batch>,
}

impl Life {
    pub(crate) fn of(source: &Source) -> Self {
        Self { id: source.endpoint_id, incarnation: source.incarnation, topic: source.topic_name.clone() }
    }
}

impl Tracks {
    /// `held` counts what waits.
    pub(crate) fn new(held: &Gauge, config: &Config) -> Self {
        let (max_held_of, max_idle) = (config.max_held_bytes_per_peer, config.max_cursors);
        Self { held: held.clone(), max_held_of, max_idle, ..Self::default() }
    }

    pub(crate) fn get(&self, life: &Life) -> Option<&Track> {
        self.by_life.get(life).map(|track| &**track)
    }

    pub(crate) fn get_mut(&mut self, life: &Life) -> Option<&mut Track> {
        self.by_life.get_mut(life).map(|track| &mut **track)
    }

    pub(crate) fn has(&self, life: &Life) -> bool {
        !self.by_life.is_empty() && self.by_life.contains_key(life)
    }

    /// The track of a source, which is made if there is none.
    pub(crate) fn open(&mut self, source: &Arc<Source>, newest: SubscriptionId) -> &mut Track {
        let life = Life::of(source);
        let rest = self.resting.remove(&life);
        if !self.by_life.contains_key(&life) {
            self.opened += 1;
            self.forget_idle();
        }
        let turn = self.opened;
        let track = self.by_life.entry(life).or_insert_with(|| Box::new(Track::new(Arc::clone(source), newest, turn)));
        rest.into_iter().for_each(|rest| rest.rouse(track));
        track
    }

    /// The sources of a publisher that have a track.
    pub(crate) fn lives_of(&self, (id, incarnation): (EndpointId, Incarnation)) -> impl Iterator<Item = &Life> {
        self.by_life.keys().filter(move |life| (life.id, life.incarnation) == (id, incarnation))
    }

    /// Takes a track out, for a while or for good.
    pub(crate) fn take(&mut self, life: &Life) -> Option<Box<Track>> {
        let track = self.by_life.remove(life)?;
        if let Some(due) = track.due {
            self.timers.remove(&(due, life.clone()));
        }
        Some(track)
    }

    pub(crate) fn put_back(&mut self, life: Life, track: Box<Track>) {
        if let Some(due) = track.due {
            self.timers.insert((due, life.clone()));
        }
        self.by_life.insert(life, track);
    }

    /// Marks those that are due.
    pub(crate) fn note_due(&mut self, now: Instant) {
        while let Some((_, life)) = self.timers.first().filter(|(at, _)| *at <= now).cloned() {
            self.timers.pop_first();
            if let Some(track) = self.by_life.get_mut(&life) {
                track.due = None;
            }
            self.dirty.insert(life);
        }
    }

    /// When to see to it, which is at once if something has changed.
    pub(crate) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let now = (!self.dirty.is_empty()).then_some(now);
        let timer = self.timers.first().map(|(at, _)| *at);
        [now, timer, self.joining.values().min().copied()].into_iter().flatten().min()
    }

    /// Whether there is nothing to be seen to.
    #[inline]
    pub(crate) fn is_quiet(&self) -> bool {
        self.dirty.is_empty() && self.timers.is_empty() && self.joining.is_empty()
    }

    /// Looks at all again: who can be reached has changed.
    pub(crate) fn touch_all(&mut self) {
        let busy = self.by_life.iter().filter(|(_, track)| !track.is_idle());
        self.dirty.extend(busy.map(|(life, _)| life.clone()));
    }

    /// A subscription need not wait any longer.
    pub(crate) fn begin(&mut self, id: SubscriptionId) {
        for track in self.by_life.values_mut().filter(|track| !track.is_idle()) {
            track.joining.entry(id).or_insert(NOT_BEGUN);
        }
        self.touch_all();
    }

    /// A subscription has ended: what comes from now on is not for it.
    pub(crate) fn leave(&mut self, id: SubscriptionId) {
        self.joining.remove(&id);
        self.resting.retain(|_, rest| rest.leave(id));
        for (life, track) in &mut self.by_life {
            track.joining.remove(&id);
            if track.places.remove(&id).is_some() && !track.waiting.is_empty() {
                self.dirty.insert(life.clone());
            }
        }
    }

    /// A peer has forgotten what it told, or is gone.
    pub(crate) fn forget_holder(&mut self, peer: PeerId) {
        self.cachers.remove(&peer);
        self.touch_all();
        for track in self.by_life.values_mut() {
            track.holders.remove(&peer);
            track.want.take_if(|want| want.peer == peer);
        }
    }

    /// What a publisher will bring may be another than was thought: what is missing has been missing since now.
    pub(crate) fn wait_anew(&mut self, publisher: (EndpointId, Incarnation)) {
        for (life, track) in &mut self.by_life {
            if (life.id, life.incarnation) == publisher && track.hole.take().is_some() {
                self.dirty.insert(life.clone());
            }
        }
    }

    /// A peer is back within reach: its cache is asked again, however often it did not answer.
    pub(crate) fn believe(&mut self, peer: PeerId) {
        self.by_life.values_mut().filter_map(|track| track.holders.get_mut(&peer)).for_each(Holder::believe);
    }

    /// Forgets sources of which caches must not tell: nothing that they brought is believed any more. `is_wrong` is asked of each
    /// with its publisher's key.
    pub(crate) fn distrust(&mut self, is_wrong: impl Fn(&Life, Option<&PublicKey>) -> bool) {
        self.resting.retain(|life, rest| !is_wrong(life, rest.public_key()));
        let wrong = self.by_life.iter().filter(|(life, track)| is_wrong(life, track.source.public_key.as_ref()));
        let wrong: Vec<_> = wrong.map(|(life, _)| life.clone()).collect();
        for life in wrong {
            let track = self.take(&life);
            track.iter().flat_map(|track| track.waiting.values()).for_each(|waiting| self.release(waiting));
        }
    }

    /// Whether what is missing may come from a cache.
    pub(crate) fn may_be_filled(&self) -> bool {
        !self.cachers.is_empty()
    }

    /// What came from a peer waits no longer, whatever is missing before it.
    pub(crate) fn release_waiting(&mut self, peer: PeerId) {
        for (life, track) in &mut self.by_life {
            if track.waiting.values().any(|waiting| waiting.batch.as_ref().and_then(Batch::from) == Some(peer)) {
                track.is_over = true;
                self.dirty.insert(life.clone());
            }
        }
    }

    /// Bytes that came from a peer and wait.
    pub(crate) fn held_of(&self, peer: PeerId) -> usize {
        self.held_of.get(&peer).copied().unwrap_or(0)
    }

    /// Takes what the publisher brings, for these subscriptions, each from a number on.
    pub(crate) fn offer(&mut self, life: &Life, starts: &[(SubscriptionId, u64)], offer: Offer, outputs: &mut Outputs) {
        let Some(track) = self.by_life.get_mut(life) else { return deliver(starts.iter().copied(), &offer, outputs) };
        track.seat(starts, &self.joining);
        self.bring(life, offer, outputs);
    }

    /// The publisher will not bring what is missing. Somebody else may.
    pub(crate) fn give_up(&mut self, life: &Life, starts: &[(SubscriptionId, u64)], range: (u64, u64, GapReason)) {
        let (first, last, reason) = range;
        let Some(track) = self.by_life.get_mut(life) else { return };
        track.seat(starts, &self.joining);
        track.given_up.insert(first, (last, reason));
        if track.given_up.len() > MAX_GIVEN_UP {
            track.given_up.pop_first();
        }
        track.known = track.known.max(last);
        self.dirty.insert(life.clone());
    }

    /// Takes what somebody brings.
    pub(crate) fn bring(&mut self, life: &Life, offer: Offer, outputs: &mut Outputs) {
        let Some(track) = self.by_life.get_mut(life) else { return };
        track.known = track.known.max(offer.last);
        track.give(&offer, outputs);
        if track.lacks_before(offer.first) {
            self.hold(life, offer);
            self.dirty.insert(life.clone());
        } else if !track.waiting.is_empty() || !track.given_up.is_empty() {
            self.dirty.insert(life.clone());
        }
        self.drain(life, outputs);
    }

    fn hold(&mut self, life: &Life, offer: Offer) {
        let Some(track) = self.by_life.get_mut(life) else { return };
        let bytes = offer.batch.as_ref().map_or(0, Batch::bytes) + WAITING_BYTES;
        let from = offer.batch.as_ref().and_then(Batch::from);
        let waiting = Waiting { last: offer.last, batch: offer.batch, held: self.held.hold(bytes) };
        if track.waiting.get(&offer.first).is_some_and(|old| old.last >= offer.last) {
            return;
        }
        if let Some(from) = from {
            let held = self.held_of.entry(from).or_default();
            *held += bytes;
            track.is_over = *held > self.max_held_of;
        }
        let old = track.waiting.insert(offer.first, waiting);
        old.into_iter().for_each(|old| self.release(&old));
    }

    /// Delivers what waits and is next.
    pub(crate) fn drain(&mut self, life: &Life, outputs: &mut Outputs) {
        let Some(track) = self.by_life.get_mut(life) else { return };
        let over = track.drain(outputs);
        over.iter().for_each(|old| self.release(old));
    }

    /// What waited is no longer here.
    pub(crate) fn release(&mut self, old: &Waiting) {
        let Some(from) = old.batch.as_ref().and_then(Batch::from) else { return };
        if let Some(held) = self.held_of.get_mut(&from) {
            *held = held.saturating_sub(old.bytes());
        }
        self.held_of.retain(|_, held| *held > 0);
        self.released.insert(from);
    }

    /// So many tracks are kept of sources that streams lead to, and no cache tells of.
    fn forget_idle(&mut self) {
        if self.by_life.len() < self.max_idle {
            return;
        }
        let after = self.looked_at.take().map_or(Bound::Unbounded, Bound::Excluded);
        for (life, track) in self.by_life.range((after, Bound::Unbounded)).take(LOOKED_AT) {
            self.looked_at = Some(life.clone());
            if track.is_idle() {
                break;
            }
        }
        // After the last it begins with the first again.
        let Some(life) = self.looked_at.clone() else { return };
        if self.by_life.get(&life).is_some_and(|track| track.is_idle()) {
            self.take(&life);
        }
    }
}

impl Track {
    fn new(source: Arc<Source>, newest: SubscriptionId, turn: u64) -> Self {
        Self {
            source,
            places: Few::default(),
            joining: BTreeMap::new(),
            newest,
            version: None,
            waiting: BTreeMap::new(),
            given_up: BTreeMap::new(),
            known: 0,
            live: 0,
            ended: None,
            holders: Few::default(),
            want: None,
            hole: None,
            is_over: false,
            due: None,
            turn,
        }
    }

    /// Whether nothing is to be done: no cache tells of it, and nothing is missing.
    pub(crate) fn is_idle(&self) -> bool {
        let lacks = |place: &Place| place.next <= self.known;
        self.holders.is_empty() && self.joining.is_empty() && !self.places.values().any(lacks)
    }

    /// Notes where subscriptions begin that are new here.
    fn seat(&mut self, starts: &[(SubscriptionId, u64)], joining: &BTreeMap<SubscriptionId, Instant>) {
        for (id, start) in starts {
            if let Some(place) = self.places.get_mut(id) {
                if !place.is_anchored && *start < place.next {
                    place.next = *start;
                }
            } else if joining.contains_key(id) {
                self.joining.entry(*id).or_insert(*start);
            } else {
                self.places.insert(*id, Place { next: *start, is_anchored: false, has_wish: false });
            }
        }
    }

    /// Takes what a peer's cache has now.
    pub(crate) fn note_held(&mut self, from: PeerId, ranges: Ranges) {
        let Some(holder) = self.holders.get_mut(&from) else { return };
        let first = ranges.first().unwrap_or(u64::MAX);
        holder.has_nothing_older |= holder.ranges.first().is_none() && first >= holder.live;
        holder.ranges = ranges;
        if !holder.has_nothing_older || first >= holder.live {
            return;
        }
        // It told of its first before that had come.
        holder.live = first;
        for (id, place) in self.places.iter_mut() {
            if id <= self.newest && place.is_guess() {
                place.next = place.next.min(first);
            }
        }
    }

    fn lacks_before(&self, first: u64) -> bool {
        !self.joining.is_empty() || self.places.values().any(|place| place.next < first)
    }

    /// Delivers it to those that it is next for.
    fn give(&mut self, offer: &Offer, outputs: &mut Outputs) {
        let mut to = Vec::new();
        for (id, place) in self.places.iter_mut() {
            if !(offer.first..=offer.last).contains(&place.next) {
                continue;
            }
            // Who comes late need not be told what expired before.
            let is_told = !place.has_wish || place.is_anchored || offer.batch.as_ref().is_some_and(Batch::is_bundle);
            if is_told {
                to.push((id, place.next));
                place.is_anchored = true;
            }
            place.next = offer.last + 1;
        }
        deliver(to.into_iter(), offer, outputs);
    }

    /// Delivers what waits and is next; returns what need not wait any longer.
    pub(crate) fn drain(&mut self, outputs: &mut Outputs) -> Vec<Waiting> {
        let mut over = Vec::new();
        let firsts: Vec<u64> = self.waiting.keys().copied().collect();
        for first in firsts {
            let Some(waiting) = self.waiting.get(&first) else { continue };
            let offer = Offer { first, last: waiting.last, batch: waiting.batch.clone() };
            self.give(&offer, outputs);
            if self.joining.is_empty() && self.places.values().all(|place| place.next > offer.last) {
                over.extend(self.waiting.remove(&first));
            } else if !self.places.values().any(|place| place.next > offer.last) {
                // Nobody has come so far.
                break;
            }
        }
        over
    }

    /// The lowest numbers that some subscription lacks.
    pub(crate) fn lowest_hole(&self) -> Option<(u64, u64)> {
        let hole = |place: &Place| {
            let end = match self.waiting.range(place.next..).next() {
                Some((first, _)) if *first == place.next => return None,
                Some((first, _)) => first - 1,
                None => self.known,
            };
            (place.next <= end).then_some((place.next, end))
        };
        self.places.values().filter_map(hole).min()
    }

    /// Why the publisher does not bring a number, and up to which.
    pub(crate) fn why_given_up(&self, at: u64) -> Option<(u64, GapReason)> {
        self.given_up.range(..=at).next_back().map(|(_, given_up)| *given_up).filter(|(last, _)| *last >= at)
    }

    /// Forgets what was given up and is no longer waited for, and the room that it took.
    pub(crate) fn forget_given_up(&mut self) {
        let lowest = self.places.values().map(|place| place.next).min().unwrap_or(u64::MAX);
        if self.joining.is_empty() {
            self.given_up.retain(|_, (last, _)| *last >= lowest);
        }
        // Empty maps keep room for some, and a track may be there for long.
        if self.given_up.is_empty() {
            self.given_up.clear();
        }
        if self.waiting.is_empty() {
            self.waiting.clear();
        }
    }

    /// Says that numbers are missing.
    pub(crate) fn tell_gap(&mut self, from: u64, to: u64, reason: GapReason, outputs: &mut Outputs) {
        let gap = Gap { source: Arc::clone(&self.source), from, to, reason };
        self.give(&Offer { first: from, last: to, batch: Some(Batch::of_gap(None, gap)) }, outputs);
    }
}

impl Place {
    /// Whether its publisher may have begun elsewhere.
    pub(crate) const fn is_guess(&self) -> bool {
        !self.is_anchored && !self.has_wish
    }
}

impl Holder {
    pub(crate) fn new(number: u64, live: u64) -> Self {
        Self { number, ranges: Ranges::default(), live, has_nothing_older: false, failures: 0, again: Instant::ZERO }
    }

    /// It answers: that it did not before counts no more.
    pub(crate) const fn believe(&mut self) {
        (self.failures, self.again) = (0, Instant::ZERO);
    }
}

impl Waiting {
    fn bytes(&self) -> usize {
        self.held.bytes()
    }
}

fn deliver(to: impl Iterator<Item = (SubscriptionId, u64)>, offer: &Offer, outputs: &mut Outputs) {
    let Some(batch) = &offer.batch else { return };
    let mut by_start: BTreeMap<u64, Vec<SubscriptionId>> = BTreeMap::new();
    to.for_each(|(id, start)| by_start.entry(start).or_default().push(id));
    for (start, ids) in by_start {
        let mut batch = batch.clone();
        batch.begin_at(start);
        outputs.deliver(&ids.into(), batch);
    }
}

/// Sources looked at for one that may be forgotten when another comes.
const LOOKED_AT: usize = 64;
/// Ranges that a publisher has given up and that somebody may have. More come only from one that has lost much.
const MAX_GIVEN_UP: usize = 64;
/// What waiting takes beside the bundle.
const WAITING_BYTES: usize = size_of::<Waiting>() + 32;
/// The publisher has brought nothing yet.
pub(crate) const NOT_BEGUN: u64 = u64::MAX;
