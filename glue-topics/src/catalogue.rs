//! What endpoints tell each other of their caches. Operations of control cargo:
//!
//! - 32 cache: filter (byte string), budget (varint, bytes). The sender caches what the filter matches.
//! - 33 uncache: filter (byte string).
//! - 34 source: number (varint), publisher's id (20), incarnation (u64), name, topic, type (byte strings), live (varint).
//!   The sender knows the source by this number. It knew that the receiver is interested when `live` was the next number.
//! - 35 have: source (varint), count (varint, at most 64), as many times first and last (varints). What it has of it, in
//!   place of what it said before. Nothing: the source is forgotten, until it is told again.
//! - 36 told: newest (varint). It has told all that it has for the receiver's subscriptions up to this one.
//! - 37 want: source, from, to (varints): the receiver's own number for it. Asks for what it has, see `carried.rs`.
//! - 38 member's source: public key of the publisher (32), then as 34: in a private network, and 34 elsewhere.
//!
//! Only changes are told, at most every 100 ms, and only of topics that the receiver is interested in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use glue_net::wire::{DecodeError, Reader, put_bytes, put_varint};
use glue_net::{EndpointId, Gauge, Incarnation, Instant, PeerId};
use glue_security::PublicKey;

use crate::cache::{MAX_RANGES, Shelf};
use crate::filter::Filter;
use crate::incoming::STREAM_BYTES;
use crate::interest::Wanted;
use crate::message::Source;
use crate::name::{EndpointName, TopicName, TypeName};
use crate::peer::Peer;
use crate::permissions::{self, Permission};
use crate::qos::Offer;
use crate::ranges::Ranges;
use crate::seek::is_here;
use crate::stream::Stream;
use crate::subscriptions::SubscriptionId;
use crate::topics::Topics;
use crate::tracks::{Holder, Life};

/// An operation as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CatalogueOperation {
    Cache {
        filter: Bytes,
        budget: u64,
    },
    Have {
        number: u64,
        ranges: Ranges,
    },
    Source {
        number: u64,
        key: Option<PublicKey>,
        id: EndpointId,
        incarnation: Incarnation,
        names: [Bytes; 3],
        live: u64,
    },
    Told {
        newest: u64,
    },
    Uncache {
        filter: Bytes,
    },
    Want {
        number: u64,
        from: u64,
        to: u64,
    },
}

/// What was told to a peer of caches here, and what it told of its own.
#[derive(Debug, Default)]
pub(crate) struct Exchange {
    /// Filters of ours that it knows.
    filters_told: BTreeMap<Filter, usize>,
    /// Sources of ours that it knows, as ranges: mostly it knows all that there were since some time, and of many peers out of
    /// reach each may know thousands.
    sources_told: Ranges,
    /// Sources that it is to be told of.
    changed: BTreeSet<u64>,
    /// Those that were there before it was interested.
    older: BTreeSet<u64>,
    /// Up to which subscription it asked what there is, and has not been answered.
    asked: Option<SubscriptionId>,
    /// What it is to be asked for: its number, from, to.
    pub(crate) wants: Vec<(u64, u64, u64)>,
    /// What it asks for, by our number.
    pub(crate) orders: BTreeMap<u64, (u64, u64)>,
    /// Bytes that are on their way to it for that.
    pub(crate) carrying: Gauge,
    /// Filters of its caches, and their budgets.
    filters: BTreeMap<Filter, u64>,
    /// Sources of its caches.
    pub(crate) sources: BTreeMap<u64, Life>,
    /// Up to which of our subscriptions it has told what it has.
    pub(crate) told: SubscriptionId,
}

impl Exchange {
    /// Whether the peer knows a source of ours.
    fn knows(&self, number: u64) -> bool {
        self.sources_told.contains(number, number)
    }
}

impl CatalogueOperation {
    pub(crate) fn read(kind: u8, reader: &mut Reader) -> Result<Self, DecodeError> {
        match kind {
            CACHE => Ok(Self::Cache { filter: reader.bytes()?, budget: reader.varint()? }),
            UNCACHE => Ok(Self::Uncache { filter: reader.bytes()? }),
            SOURCE | MEMBERS_SOURCE => {
                let key = if kind == SOURCE { None } else { Some(PublicKey::from_bytes(reader.array()?)) };
                let (number, id) = (reader.varint()?, EndpointId::from_bytes(reader.array()?));
                let incarnation = Incarnation(reader.u64()?);
                let names = [reader.bytes()?, reader.bytes()?, reader.bytes()?];
                Ok(Self::Source { number, key, id, incarnation, names, live: reader.varint()?.max(1) })
            }
            HAVE => {
                let (number, count) = (reader.varint()?, reader.varint()?);
                let mut ranges = Ranges::default();
                if count > MAX_RANGES as u64 {
                    return Err(DecodeError::Malformed("count of ranges"));
                }
                for _ in 0..count {
                    let (first, last) = (reader.varint()?, reader.varint()?);
                    ranges.add(first.max(1), last);
                }
                Ok(Self::Have { number, ranges })
            }
            TOLD => Ok(Self::Told { newest: reader.varint()? }),
            WANT => Ok(Self::Want { number: reader.varint()?, from: reader.varint()?, to: reader.varint()? }),
            _ => Err(DecodeError::Malformed("kind of operation")),
        }
    }
}

// ---- telling ----

impl Topics {
    /// Tells peers that caches here have changed.
    pub(crate) fn tell_caches(&mut self) {
        self.owing.extend(self.peers.iter().filter(|(_, peer)| peer.is_native()).map(|(id, _)| *id));
    }

    /// Tells peers what has changed in caches here, at most every so often.
    pub(crate) fn follow_caches(&mut self, now: Instant) {
        self.caches.drop_expired(now);
        let lives = &self.lives;
        self.caches.forget_the_gone(now, |source| lives.contains_key(&(source.endpoint_id, source.incarnation)));
        if self.caches.changed.is_empty() || self.catalogue_due.is_some_and(|due| now < due) {
            return;
        }
        self.catalogue_due = Some(now + TELL_INTERVAL);
        let changed = std::mem::take(&mut self.caches.changed);
        // Who is out of reach is told all when it is back.
        for (id, peer) in self.peers.iter_mut().filter(|(_, peer)| peer.is_native() && peer.reachable) {
            peer.exchange.changed.extend(&changed);
            self.owing.insert(*id);
        }
    }

    /// When [`Topics::follow_caches`] wants to be called next.
    pub(crate) fn poll_caches(&self) -> Option<Instant> {
        let due = (!self.caches.changed.is_empty()).then_some(self.catalogue_due.unwrap_or(self.now));
        [due, self.caches.poll_timeout()].into_iter().flatten().min()
    }

    /// A peer is to be told of sources that match a filter of its own that is new.
    pub(crate) fn offer_cached(&mut self, from: PeerId, filter: &Filter) {
        let Some(peer) = self.peers.get_mut(&from).filter(|_| self.caches.is_any()) else { return };
        for number in self.caches.numbers() {
            let Some(shelf) = self.caches.shelf(number) else { continue };
            if !peer.exchange.knows(number) && filter.matches(&shelf.source.topic_name) {
                peer.exchange.older.insert(number);
                peer.exchange.changed.insert(number);
            }
        }
        self.owing.insert(from);
    }

    /// A peer asks to be told when it knows what there is for its subscriptions up to this one.
    pub(crate) fn answer_asked(&mut self, from: PeerId, newest: SubscriptionId) {
        if let Some(peer) = self.peers.get_mut(&from).filter(|_| self.caches.is_any()) {
            peer.exchange.asked = Some(newest);
            self.owing.insert(from);
        }
    }

    /// Puts what a peer is to be told of caches into control cargo.
    pub(crate) fn flush_exchange(&mut self, id: PeerId) {
        self.defer_begun_in_the_middle(id);
        let Self { peers, caches, outputs, .. } = self;
        let Some(peer) = peers.get_mut(&id).filter(|peer| peer.reachable && peer.is_native()) else { return };
        let mut body = Vec::new();
        let declared = caches.declared();
        if declared != peer.exchange.filters_told {
            let told = std::mem::replace(&mut peer.exchange.filters_told, declared.clone());
            for filter in told.keys().filter(|filter| !declared.contains_key(*filter)) {
                peer.reserve(id, filter.as_str().len(), &mut body, outputs);
                body.push(UNCACHE);
                put_bytes(&mut body, filter.as_str().as_bytes());
            }
            for (filter, budget) in declared.iter().filter(|(filter, budget)| told.get(*filter) != Some(budget)) {
                peer.reserve(id, filter.as_str().len(), &mut body, outputs);
                body.push(CACHE);
                put_bytes(&mut body, filter.as_str().as_bytes());
                put_varint(&mut body, *budget as u64);
            }
        }
        for number in std::mem::take(&mut peer.exchange.changed) {
            let shelf = caches.shelf(number);
            if shelf.is_none() {
                peer.exchange.older.remove(&number);
            }
            match shelf.filter(|shelf| shelf.is_told()) {
                Some(shelf) if peer.may_have(shelf) => {
                    peer.introduce(id, (number, shelf), &mut body, outputs);
                    peer.reserve(id, 16 * shelf.known.len(), &mut body, outputs);
                    put_have(number, &shelf.known, &mut body);
                }
                Some(_) => {}
                None if peer.exchange.knows(number) => {
                    peer.exchange.sources_told.remove(number, number);
                    peer.reserve(id, 0, &mut body, outputs);
                    put_have(number, &Ranges::default(), &mut body);
                }
                None => {}
            }
        }
        if let Some(newest) = peer.exchange.asked.take() {
            peer.reserve(id, 0, &mut body, outputs);
            body.push(TOLD);
            put_varint(&mut body, newest.0);
        }
        for (number, from, to) in std::mem::take(&mut peer.exchange.wants) {
            peer.reserve(id, 8, &mut body, outputs);
            body.push(WANT);
            [number, from, to].into_iter().for_each(|n| put_varint(&mut body, n));
        }
        peer.send_control(id, &mut body, outputs);
    }

    /// Of a source whose run lacks its first cargo nobody knows where it begins: who were told would begin in the middle.
    /// That is waited for as long as the publisher is here to bring it.
    fn defer_begun_in_the_middle(&mut self, id: PeerId) {
        let Some(exchange) = self.peers.get(&id).map(|peer| &peer.exchange) else { return };
        let untold = exchange.changed.iter().copied().filter(|number| !exchange.knows(*number));
        let deferred: BTreeSet<u64> = untold.filter(|number| self.lacks_start(*number)).collect();
        if let Some(peer) = self.peers.get_mut(&id).filter(|_| !deferred.is_empty()) {
            peer.exchange.changed.retain(|number| !deferred.contains(number));
            // Looked at again when changes are told next.
            self.caches.changed.extend(deferred);
        }
    }

    fn lacks_start(&self, number: u64) -> bool {
        let Some(source) = self.caches.shelf(number).map(|shelf| &shelf.source) else { return false };
        let publisher = self.lives.get(&(source.endpoint_id, source.incarnation)).and_then(|id| self.peers.get(id));
        let stream =
            publisher.filter(|peer| is_here(peer)).and_then(|peer| peer.incoming.stream_of(&source.topic_name));
        stream.is_some_and(Stream::lacks_start)
    }

    /// A peer is back within reach, and may have missed changes.
    pub(crate) fn retell(&mut self, id: PeerId) {
        if let Some(peer) = self.peers.get_mut(&id) {
            let Exchange { sources_told, older, .. } = &peer.exchange;
            let known = sources_told.iter().flat_map(|(first, last)| first..=last);
            peer.exchange.changed = known.chain(older.iter().copied()).chain(self.caches.numbers()).collect();
        }
    }
}

impl Peer {
    /// If it caches a topic, and may: the bytes that its cache may take.
    pub(crate) fn cache_budget_for(&self, topic: &str) -> Option<u64> {
        // Of several of its caches one has the topic, and which is not known.
        let matching = self.exchange.filters.iter().filter(|(filter, _)| filter.matches(topic));
        let budget = matching.map(|(_, budget)| *budget).min()?;
        permissions::allows(&self.rules, Permission::Cache, topic).then_some(budget)
    }

    /// Whether it is to get a topic's bundles with their signatures.
    pub(crate) fn takes_signed(&self, topic: &str) -> bool {
        self.public_key.is_some() && self.cache_budget_for(topic).is_some()
    }

    /// Whether it is interested in the source, and not its publisher.
    fn may_have(&self, shelf: &Shelf) -> bool {
        let source = &shelf.source;
        // What a cache has it gives reliably, and at no time that it could promise.
        let wanted = self.interest.wants(&source.topic_name, &source.topic_type, &Offer::default());
        (source.endpoint_id, source.incarnation) != (self.id, self.incarnation)
            && matches!(wanted, Wanted::Yes | Wanted::BestEffort)
    }

    fn introduce(
        &mut self,
        id: PeerId,
        (number, shelf): (u64, &Shelf),
        body: &mut Vec<u8>,
        outputs: &mut crate::output::Outputs,
    ) {
        let is_older = self.exchange.older.remove(&number);
        if self.exchange.knows(number) {
            return;
        }
        self.exchange.sources_told.add(number, number);
        let source = &shelf.source;
        let names = [&*source.endpoint_name, &*source.topic_name, &*source.topic_type];
        self.reserve(id, names.iter().map(|name| name.len()).sum::<usize>() + 72, body, outputs);
        body.push(if source.public_key.is_some() { MEMBERS_SOURCE } else { SOURCE });
        source.public_key.iter().for_each(|key| body.extend_from_slice(key.as_bytes()));
        put_varint(body, number);
        body.extend_from_slice(source.endpoint_id.as_bytes());
        body.extend_from_slice(&source.incarnation.0.to_be_bytes());
        names.iter().for_each(|name| put_bytes(body, name.as_bytes()));
        let known = &shelf.known;
        put_varint(body, if is_older { known.last().map_or(1, |last| last + 1) } else { known.first().unwrap_or(1) });
    }
}

fn put_have(number: u64, ranges: &Ranges, out: &mut Vec<u8>) {
    out.push(HAVE);
    put_varint(out, number);
    put_varint(out, ranges.len() as u64);
    ranges.iter().for_each(|(first, last)| {
        put_varint(out, first);
        put_varint(out, last);
    });
}

// ---- hearing ----

impl Topics {
    /// `None`: malformed, without effect.
    pub(crate) fn apply_exchange(&mut self, from: PeerId, operation: CatalogueOperation) -> Option<()> {
        match operation {
            CatalogueOperation::Cache { filter, budget } => {
                let filter = Filter::new(std::str::from_utf8(&filter).ok()?, self.config.max_topic_bytes).ok()?;
                let limit = self.config.max_interest_per_peer;
                let peer = self.peers.get_mut(&from)?;
                if !permissions::allows_any(&peer.rules, Permission::Cache) {
                    self.deny(from, Permission::Cache, &filter.0, 1);
                    return Some(());
                }
                let cost = STREAM_BYTES + filter.as_str().len();
                let is_new = !peer.exchange.filters.contains_key(&filter);
                if is_new && (peer.exchange.filters.len() >= limit || !peer.names.take(cost)) {
                    self.caches.stats.refused += 1;
                    return Some(());
                }
                peer.exchange.filters.insert(filter.clone(), budget);
                self.tracks.cachers.insert(from);
                self.renew_matched(from, &filter);
            }
            CatalogueOperation::Uncache { filter } => {
                let filter = Filter::new(std::str::from_utf8(&filter).ok()?, self.config.max_topic_bytes).ok()?;
                let peer = self.peers.get_mut(&from)?;
                if peer.exchange.filters.remove(&filter).is_some() {
                    peer.names.give_back(STREAM_BYTES + filter.as_str().len());
                }
                if peer.exchange.filters.is_empty() {
                    self.tracks.cachers.remove(&from);
                    self.tracks.touch_all();
                }
            }
            CatalogueOperation::Source { number, key, id, incarnation, names, live } => {
                let topic = TopicName::new(std::str::from_utf8(&names[1]).ok()?, self.config.max_topic_bytes).ok()?;
                let topic_type = TypeName::read(&names[2], self.config.max_type_bytes)?;
                let endpoint_name = EndpointName::new(std::str::from_utf8(&names[0]).ok()?);
                let (endpoint_id, topic_name, public_key) = (id, topic, key);
                let source = Source { endpoint_id, incarnation, endpoint_name, topic_name, topic_type, public_key };
                self.learn_source(from, number, Arc::new(source), live)?;
            }
            CatalogueOperation::Have { number, ranges } => {
                let life = self.peers.get(&from)?.exchange.sources.get(&number).cloned();
                // One that was refused.
                let Some(life) = life else { return Some(()) };
                self.learn_ranges(from, number, &life, ranges);
            }
            CatalogueOperation::Told { newest } => {
                let peer = self.peers.get_mut(&from)?;
                peer.exchange.told = peer.exchange.told.max(SubscriptionId(newest));
            }
            CatalogueOperation::Want { number, from: first, to } => {
                let peer = self.peers.get_mut(&from)?;
                if first > to || !peer.exchange.knows(number) {
                    return None;
                }
                peer.exchange.orders.insert(number, (first, to));
                self.ordering.insert(from);
            }
        }
        Some(())
    }

    /// What a peer gets already it caches from now on.
    fn renew_matched(&mut self, from: PeerId, filter: &Filter) {
        let Self { publications, peers, outputs, stats, .. } = self;
        let Some(peer) = peers.get(&from).filter(|peer| peer.public_key.is_some()) else { return };
        for topic in publications.matched(filter) {
            if let Some(publication) = publications.by_topic_mut(&topic) {
                publication.renew(from, peer, outputs, stats);
            }
        }
    }

    /// `None`: malformed, without effect.
    fn learn_source(&mut self, from: PeerId, number: u64, source: Arc<Source>, live: u64) -> Option<()> {
        let life = Life::of(&source);
        let is_own = (life.id, life.incarnation) == (self.id, self.incarnation);
        let (limit, newest) = (self.config.max_streams_per_peer, self.subscriptions.newest());
        if source.public_key.is_some() != self.outputs.signer.is_some() {
            return None;
        }
        if !self.is_acceptable(&source) || self.tracks.key_of(&life).is_some_and(|key| key != source.public_key) {
            self.caches.stats.refused += 1;
            return Some(());
        }
        let publisher = self.lives.get(&(life.id, life.incarnation)).copied();
        let peer = self.peers.get_mut(&from)?;
        let cost = cost(&source);
        if is_own || source.is_classic() || peer.exchange.sources.contains_key(&number) {
            return None;
        }
        if !permissions::allows(&peer.rules, Permission::Cache, &life.topic) {
            self.deny(from, Permission::Cache, &life.topic.shared(), 1);
            return Some(());
        }
        if peer.exchange.sources.len() >= limit || !peer.names.take(cost) {
            self.caches.stats.refused += 1;
            return Some(());
        }
        peer.exchange.sources.insert(number, life.clone());
        let track = self.tracks.open(&source, newest);
        track.holders.insert(from, Holder::new(number, live));
        if let Some(publisher) = publisher {
            self.with_peer(publisher, |incoming, _| incoming.set_tracked(&life.topic));
        }
        self.tracks.dirty.insert(life);
        Some(())
    }

    fn learn_ranges(&mut self, from: PeerId, number: u64, life: &Life, ranges: Ranges) {
        let Some(track) = self.tracks.get_mut(life) else { return };
        match ranges.last() {
            Some(last) => {
                track.known = track.known.max(last);
                track.note_held(from, ranges);
            }
            None => {
                let cost = cost(&track.source);
                track.holders.remove(&from);
                track.want.take_if(|want| want.peer == from);
                if let Some(peer) = self.peers.get_mut(&from) {
                    peer.exchange.sources.remove(&number);
                    peer.names.give_back(cost);
                }
            }
        }
        self.tracks.dirty.insert(life.clone());
    }
}

fn cost(source: &Source) -> usize {
    SOURCE_BYTES + source.topic_name.len() + source.topic_type.len() + source.endpoint_name.len()
}

/// How often a peer is told what has changed. Shorter brings what was published behind a hole in the network sooner, and
/// costs a datagram more often.
const TELL_INTERVAL: Duration = Duration::from_millis(100);
/// What a source of a peer's cache takes beside its names.
const SOURCE_BYTES: usize = 600;
const CACHE: u8 = 32;
const UNCACHE: u8 = 33;
const SOURCE: u8 = 34;
const HAVE: u8 = 35;
const TOLD: u8 = 36;
const WANT: u8 = 37;
const MEMBERS_SOURCE: u8 = 38;
/// Whether an operation is one of these.
pub(crate) const fn is_catalogue(kind: u8) -> bool {
    kind >= CACHE && kind <= MEMBERS_SOURCE
}
