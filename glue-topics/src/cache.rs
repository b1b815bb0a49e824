//! What this endpoint keeps of others' messages, to give them to those who could not have them from their publisher.
//!
//! A cache is a filter with a budget. It takes every bundle of a topic that the filter matches, from whoever brings it,
//! in whatever order. So it is no subscription with a place in an order, but a set: what it knows of a source, and what
//! others say that they have. Bodies are copied: a slice would hold the whole buffer of the datagram for as long as the
//! message lives, and the budget would not be true.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use glue_net::wire::put_varint;
use glue_net::{Gauge, Held, Instant};
use glue_security::{SIGNATURE_BYTES, Signature};

use crate::batch::Batch;
use crate::bundle;
use crate::filter::Filter;
use crate::message::Source;
use crate::name::{NameError, TypeName};
use crate::qos::Request;
use crate::ranges::Ranges;
use crate::subscriptions::SubscriptionId;
use crate::topics::Topics;
use crate::tracks::Life;

/// A cache of this endpoint; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CacheId(pub(crate) SubscriptionId);

/// Why a cache was refused. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// The pattern is no good filter, see [`Filter::new`].
    #[error("bad pattern: {0}")]
    BadPattern(#[source] NameError),
    /// Caches and subscriptions together, see [`crate::Config::max_subscriptions`].
    #[error("there are {limit} subscriptions and caches already")]
    TooMany {
        /// How many there may be.
        limit: usize,
    },
    /// The budgets of all caches would be more than [`crate::Config::max_cache_bytes`].
    #[error("a budget of {given} bytes is more than the {free} bytes that are left for caches")]
    TooLarge {
        /// Bytes that were asked for.
        given: usize,
        /// Bytes that may be asked for.
        free: usize,
    },
}

/// What caches have done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheStats {
    /// Bytes that are held now.
    pub held_bytes: usize,
    /// Messages that were put into a cache here.
    pub cached: u64,
    /// Messages that had to go for later ones, over a budget.
    pub evicted: u64,
    /// Messages that expired in a cache here.
    pub expired: u64,
    /// Messages that were handed over for peers, in place of their publisher.
    pub carried: u64,
    /// Messages that came from a peer's cache.
    pub pulled: u64,
    /// Messages that came from a cache or a publisher, and were here already.
    pub duplicates: u64,
    /// Messages of peers' caches that their publisher has not signed, in a private network.
    pub forged: u64,
    /// Messages that were not cached since their publisher did not sign them for us: it does not let us cache them.
    pub unsigned: u64,
    /// What came of peers' caches and was not taken: malformed, never asked for, or beyond a limit.
    pub refused: u64,
}

/// A bundle that is kept.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) first: u64,
    pub(crate) last: u64,
    arrival: Instant,
    /// How old its first message was then.
    age: Duration,
    /// When its last message expires.
    pub(crate) deadline: Instant,
    /// As it stands on the wire.
    pub(crate) body: Bytes,
    /// Its publisher's, in a private network.
    pub(crate) signature: Option<Box<Signature>>,
    held: Held,
}

/// What is kept of one source.
#[derive(Debug)]
pub(crate) struct Shelf {
    owner: SubscriptionId,
    pub(crate) source: Arc<Source>,
    bundles: BTreeMap<u64, (u64, Arc<Stored>)>,
    /// Numbers of messages that have expired.
    pub(crate) expired: Ranges,
    /// Those, and what is held.
    pub(crate) known: Ranges,
    /// What is below had to go: it is not asked for again.
    floor: u64,
    /// Rounds since nothing was left of it but notices, and its publisher was gone, see [`Caches::forget_the_gone`]. One that has notices
    /// from another cache alone begins with [`UNTOLD`].
    idle: u8,
}

#[derive(Debug)]
struct Cache {
    filter: Filter,
    budget: usize,
    gauge: Gauge,
    /// Its bundles by age: the oldest go first.
    ages: BTreeMap<u64, (u64, u64)>,
}

/// All caches of this endpoint.
#[derive(Debug, Default)]
pub(crate) struct Caches {
    caches: BTreeMap<SubscriptionId, Cache>,
    numbers: BTreeMap<Life, u64>,
    shelves: BTreeMap<u64, Shelf>,
    deadlines: BTreeSet<(Instant, u64, u64)>,
    /// Sources of which peers may be told something.
    pub(crate) changed: BTreeSet<u64>,
    /// When to look for sources that are gone.
    next_round: Option<Instant>,
    /// Bytes on their way to peers.
    pub(crate) carrying: Gauge,
    last_number: u64,
    last_age: u64,
    pub(crate) stats: CacheStats,
}

impl Topics {
    /// Keeps what is published on the topics that `pattern` matches, up to `budget` bytes, for those who can not have it
    /// from its publisher: it is out of reach, gone, or keeps nothing. Beyond the budget the oldest messages go; what has
    /// expired goes at once.
    ///
    /// This endpoint's own messages are not cached, nor are those of classic peers.
    ///
    /// # Errors
    /// [`CacheError`] for a bad pattern, too many caches, or a budget that is more than there is for caches.
    pub fn cache(&mut self, pattern: &str, budget: usize) -> Result<CacheId, CacheError> {
        let filter = Filter::new(pattern, self.config.max_topic_bytes).map_err(CacheError::BadPattern)?;
        let limit = self.config.max_subscriptions;
        if self.subscriptions.len() >= limit {
            return Err(CacheError::TooMany { limit });
        }
        let free = self.config.max_cache_bytes.saturating_sub(self.caches.budget());
        if budget > free {
            return Err(CacheError::TooLarge { given: budget, free });
        }
        let before = self.subscriptions.declared(&filter);
        let id = self.subscriptions.add(filter.clone(), TypeName::any(), Request::default());
        self.subscriptions.set_cache(id);
        self.caches.open(id, filter.clone(), budget);
        self.declare(&filter, before.as_ref());
        self.declare_wish(&filter);
        self.tell_caches();
        Ok(CacheId(id))
    }

    /// Ends a cache, and forgets what no other cache matches. Does nothing if it has ended.
    pub fn uncache(&mut self, CacheId(id): CacheId) {
        if self.caches.close(id) {
            self.unsubscribe(id);
            self.tell_caches();
        }
    }

    /// What caches here have done, and what came from those of peers.
    #[must_use]
    pub fn cache_stats(&self) -> CacheStats {
        CacheStats { held_bytes: self.cached_bytes(), ..self.caches.stats }
    }

    /// Bytes that caches hold.
    #[must_use]
    #[inline]
    pub fn cached_bytes(&self) -> usize {
        if self.caches.is_any() { self.caches.bytes() } else { 0 }
    }
}

impl Caches {
    fn bytes(&self) -> usize {
        self.caches.values().map(|cache| cache.gauge.bytes()).sum()
    }

    fn open(&mut self, id: SubscriptionId, filter: Filter, budget: usize) {
        let (gauge, ages) = (Gauge::default(), BTreeMap::new());
        self.caches.insert(id, Cache { filter, budget, gauge, ages });
    }

    /// Alters what is kept, as a faulty or hostile cache would.
    #[cfg(test)]
    pub(crate) fn alter(&mut self) {
        for (_, stored) in self.shelves.values_mut().flat_map(|shelf| shelf.bundles.values_mut()) {
            let stored = Arc::get_mut(stored).unwrap();
            let mut body = stored.body.to_vec();
            *body.last_mut().unwrap() ^= 1;
            stored.body = body.into();
        }
    }

    /// False: there is no such cache.
    fn close(&mut self, id: SubscriptionId) -> bool {
        if self.caches.remove(&id).is_none() {
            return false;
        }
        let orphans: Vec<u64> = self.shelves.iter().filter(|(_, shelf)| shelf.owner == id).map(|(n, _)| *n).collect();
        for number in orphans {
            let Some(shelf) = self.shelves.remove(&number) else { continue };
            self.numbers.remove(&Life::of(&shelf.source));
            self.deadlines.retain(|(_, of, _)| *of != number);
            self.changed.insert(number);
        }
        true
    }

    #[inline]
    pub(crate) fn is_any(&self) -> bool {
        !self.caches.is_empty()
    }

    /// Filters and budgets.
    pub(crate) fn declared(&self) -> BTreeMap<Filter, usize> {
        let mut declared = BTreeMap::new();
        for cache in self.caches.values() {
            let most = declared.entry(cache.filter.clone()).or_insert(cache.budget);
            *most = cache.budget.max(*most);
        }
        declared
    }

    pub(crate) fn shelf(&self, number: u64) -> Option<&Shelf> {
        self.shelves.get(&number)
    }

    pub(crate) fn shelf_of(&self, life: &Life) -> Option<&Shelf> {
        self.shelves.get(self.numbers.get(life)?)
    }

    pub(crate) fn numbers(&self) -> impl Iterator<Item = u64> + '_ {
        self.shelves.keys().copied()
    }

    /// Whether a cache wants what is published on the topic.
    pub(crate) fn wants(&self, topic: &str) -> bool {
        self.owner(topic).is_some()
    }

    /// Keeps a bundle that has not been read yet.
    pub(crate) fn put(
        &mut self,
        source: &Arc<Source>,
        (first, last): (u64, u64),
        batch: &Batch,
        signature: Option<Box<Signature>>,
    ) {
        let count = last - first + 1;
        if source.public_key.is_some() && signature.is_none() {
            // Nobody would take it from here.
            self.stats.unsigned += count;
            return;
        }
        let Some(number) = self.shelf_for(source, first) else { return };
        let Some(shelf) = self.shelves.get_mut(&number) else { return };
        if shelf.known.at_or_after(first).is_some_and(|(known, _)| known <= last) {
            self.stats.duplicates += count;
            return;
        }
        let Some(cache) = self.caches.get_mut(&shelf.owner) else { return };
        let Some(stored) =
            Stored::of(batch, last, signature, &cache.gauge).filter(|stored| stored.bytes() <= cache.budget)
        else {
            // It would push out all others and still not fit.
            shelf.floor = shelf.floor.max(last + 1);
            self.stats.evicted += count;
            return;
        };
        self.last_age += 1;
        cache.ages.insert(self.last_age, (number, first));
        self.deadlines.insert((stored.deadline, number, first));
        shelf.idle = 0;
        shelf.known.add(first, last);
        shelf.bundles.insert(first, (self.last_age, Arc::new(stored)));
        let owner = shelf.owner;
        self.stats.cached += count;
        self.changed.insert(number);
        self.make_room(owner);
        self.bound(number);
    }

    /// Notes messages that have expired, as their publisher says, or else a peer's cache.
    pub(crate) fn skip(&mut self, source: &Arc<Source>, (first, last): (u64, u64), is_by_publisher: bool) {
        let Some(number) = self.shelf_for(source, first) else { return };
        let Some(shelf) = self.shelves.get_mut(&number) else { return };
        if is_by_publisher {
            shelf.idle = 0;
        }
        if !shelf.known.contains(first, last) {
            let mut at = first;
            while let Some((from, to)) = shelf.known.missing_from(at, last) {
                shelf.expired.add(from, to);
                shelf.known.add(from, to);
                at = to + 1;
            }
            self.changed.insert(number);
            self.bound(number);
        }
    }

    /// Turns what has expired into a notice.
    pub(crate) fn drop_expired(&mut self, now: Instant) {
        while let Some((_, number, first)) = self.deadlines.first().copied().filter(|(at, ..)| *at <= now) {
            let Some(count) = self.take(number, first) else { continue };
            if let Some(shelf) = self.shelves.get_mut(&number) {
                shelf.expired.add(first, first + count - 1);
                shelf.known.add(first, first + count - 1);
            }
            self.stats.expired += count;
        }
    }

    /// Forgets sources of which nothing is left but notices, and whose publisher is gone. First peers are told no more of them: who
    /// lacks what has expired has had time to learn why. Then the notices stay for another round, so that the last cache that tells
    /// of them does not bring them back. One that has them from another cache alone never tells: two would remind each other for ever.
    pub(crate) fn forget_the_gone(&mut self, now: Instant, is_here: impl Fn(&Source) -> bool) {
        if self.next_round.is_some_and(|at| now < at) {
            return;
        }
        let is_first = self.next_round.is_none();
        self.next_round = (!self.shelves.is_empty()).then(|| now + ROUND);
        if is_first {
            return;
        }
        let mut over = Vec::new();
        for (number, shelf) in &mut self.shelves {
            let is_gone = shelf.bundles.is_empty() && !is_here(&shelf.source);
            shelf.note_round(is_gone);
            match shelf.idle {
                UNTOLD if is_gone => _ = self.changed.insert(*number),
                FORGOTTEN.. => over.push(*number),
                _ => {}
            }
        }
        over.into_iter().for_each(|number| self.forget(number));
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        [self.deadlines.first().map(|(at, ..)| *at), self.next_round].into_iter().flatten().min()
    }

    fn budget(&self) -> usize {
        self.caches.values().map(|cache| cache.budget).sum()
    }

    fn owner(&self, topic: &str) -> Option<SubscriptionId> {
        self.caches.iter().find(|(_, cache)| cache.filter.matches(topic)).map(|(id, _)| *id)
    }

    fn shelf_for(&mut self, source: &Arc<Source>, first: u64) -> Option<u64> {
        let life = Life::of(source);
        if let Some(number) = self.numbers.get(&life).copied() {
            let shelf = self.shelves.get(&number)?;
            if shelf.source.topic_type == source.topic_type {
                return Some(number);
            }
            // The topic has another type now, and its numbers go on. What had the old one goes.
            if shelf.known.last().is_some_and(|last| first <= last) {
                return None;
            }
            self.forget(number);
        }
        let owner = self.owner(&source.topic_name)?;
        self.last_number += 1;
        let (source, bundles, number) = (Arc::clone(source), BTreeMap::new(), self.last_number);
        let (expired, known) = (Ranges::default(), Ranges::default());
        let shelf = Shelf { owner, source, bundles, expired, known, floor: 0, idle: UNTOLD };
        self.numbers.insert(life, number);
        self.shelves.insert(number, shelf);
        self.forget_one(number);
        Some(number)
    }

    /// Beyond the limit of sources one goes of which nothing is left but notices, else the oldest.
    fn forget_one(&mut self, but: u64) {
        if self.shelves.len() <= MAX_SOURCES {
            return;
        }
        let others = || self.shelves.iter().filter(|(number, _)| **number != but);
        let empty = others().find(|(_, shelf)| shelf.bundles.is_empty());
        let number = empty.or_else(|| others().next()).map(|(number, _)| *number);
        number.into_iter().for_each(|number| self.forget(number));
    }

    fn forget(&mut self, number: u64) {
        while let Some(first) = self.shelves.get(&number).and_then(|shelf| shelf.bundles.keys().next().copied()) {
            self.stats.evicted += self.take(number, first).unwrap_or(0);
        }
        if let Some(shelf) = self.shelves.remove(&number) {
            self.numbers.remove(&Life::of(&shelf.source));
            self.changed.insert(number);
        }
    }

    fn make_room(&mut self, owner: SubscriptionId) {
        while let Some(cache) = self.caches.get(&owner).filter(|cache| cache.gauge.bytes() > cache.budget)
            && let Some((number, first)) = cache.ages.first_key_value().map(|(_, at)| *at)
        {
            self.evict(number, first);
        }
    }

    /// Holes in what is kept cost memory, and bytes in what peers are told.
    fn bound(&mut self, number: u64) {
        while let Some(shelf) = self.shelves.get_mut(&number).filter(|shelf| shelf.known.len() > MAX_RANGES) {
            let Some((first, last)) = shelf.known.iter().next() else { return };
            shelf.floor = shelf.floor.max(last + 1);
            shelf.known.remove(first, last);
            shelf.expired.remove(first, last);
            let old: Vec<u64> = shelf.bundles.range(first..=last).map(|(first, _)| *first).collect();
            old.into_iter().for_each(|first| self.evict(number, first));
        }
    }

    fn evict(&mut self, number: u64, first: u64) {
        let Some(count) = self.take(number, first) else { return };
        self.stats.evicted += count;
        self.changed.insert(number);
        if let Some(shelf) = self.shelves.get_mut(&number) {
            shelf.floor = shelf.floor.max(first + count);
        }
    }

    /// Takes a bundle out, and returns how many messages were in it.
    fn take(&mut self, number: u64, first: u64) -> Option<u64> {
        let shelf = self.shelves.get_mut(&number)?;
        let (age, stored) = shelf.bundles.remove(&first)?;
        if shelf.bundles.is_empty() {
            // An empty map keeps room for some, and most publishers are gone for good.
            shelf.bundles.clear();
        }
        shelf.known.remove(stored.first, stored.last);
        self.deadlines.remove(&(stored.deadline, number, first));
        if let Some(cache) = self.caches.get_mut(&shelf.owner) {
            cache.ages.remove(&age);
        }
        Some(stored.last - stored.first + 1)
    }
}

impl Shelf {
    /// Whether peers are told of it.
    pub(crate) fn is_told(&self) -> bool {
        self.idle < UNTOLD && self.known.first().is_some()
    }

    /// Another round has passed. What is told no more stays so until something comes.
    const fn note_round(&mut self, is_gone: bool) {
        if is_gone {
            self.idle += 1;
        } else if self.idle < UNTOLD {
            self.idle = 0;
        }
    }

    /// The bundle with this number in it, or the first above.
    pub(crate) fn from(&self, at: u64) -> Option<&Arc<Stored>> {
        let around = self.bundles.range(..=at).next_back().filter(|(_, (_, stored))| stored.last >= at);
        around.or_else(|| self.bundles.range(at..).next()).map(|(_, (_, stored))| stored)
    }

    /// The first of `theirs` that is not here, and was not pushed out.
    pub(crate) fn lacks(&self, theirs: &Ranges) -> Option<(u64, u64)> {
        let mut at = self.floor;
        while let Some((first, last)) = theirs.at_or_after(at) {
            if let Some(missing) = self.known.missing_from(first, last) {
                return Some(missing);
            }
            at = last.checked_add(1)?;
        }
        None
    }
}

impl Stored {
    fn of(batch: &Batch, last: u64, signature: Option<Box<Signature>>, gauge: &Gauge) -> Option<Self> {
        let unread = batch.unread()?;
        let source = &unread.source;
        let mut body = bundle::names(&source.topic_name, &source.topic_type);
        put_varint(&mut body, unread.sequence);
        body.extend_from_slice(&unread.timestamp.as_unix_nanos().to_be_bytes());
        put_varint(&mut body, bundle::micros_up(unread.expiry));
        body.extend_from_slice(&unread.messages);
        let (first, deadline, body) = (unread.sequence, unread.last_deadline(), Bytes::from(body));
        let held = gauge.hold(OVERHEAD_BYTES + body.len() + signature.as_ref().map_or(0, |_| SIGNATURE_BYTES));
        let (arrival, age) = (unread.arrival, unread.age);
        Some(Self { first, last, arrival, age, deadline, body, signature, held })
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.held.bytes()
    }

    /// How old its first message is.
    pub(crate) fn age(&self, now: Instant) -> Duration {
        self.age.saturating_add(now.since(self.arrival))
    }
}

/// How often is looked for sources that are gone: as long as an endpoint out of reach is remembered, if nobody says otherwise.
const ROUND: Duration = Duration::from_secs(600);
/// Rounds after which peers are told no more of a source that is gone: ten to twenty minutes.
const UNTOLD: u8 = 2;
/// Rounds after which it is forgotten: twenty to thirty minutes.
const FORGOTTEN: u8 = 3;
/// Sources in all caches of an endpoint. Each takes about 400 bytes, 3.4 KB with the longest names.
const MAX_SOURCES: usize = 4_096;
/// Ranges of numbers that are known of a source. Bundles of one source come in order from each who has them, so holes
/// are few.
pub(crate) const MAX_RANGES: usize = 64;
/// What a bundle takes beside its bytes, in the maps too.
pub(crate) const OVERHEAD_BYTES: usize = size_of::<Stored>() + 150;
