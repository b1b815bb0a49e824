//! One topic that this endpoint publishes: who gets it, and the bundle that is being laid.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use glue_net::wire::classic::{self, Codec};
use glue_net::{PeerId, Priority};
use glue_security::SIGNATURE_BYTES;

use crate::bundle::{self, Bundle, OpenBundle, Post};
use crate::cache;
use crate::cargo::{Cargo, Class};
use crate::config::Config;
use crate::history::{History, Store};
use crate::message::{GapReason, Message, Source};
use crate::name::TopicName;
use crate::output::Outputs;
use crate::peer::{Peer, Wire};
use crate::qos::{Offer, Policy, PublisherOptions};
use crate::receipt::{Receipt, Ticket};
use crate::run::{Mark, Opening, Splice};
use crate::stats::{Stats, TopicStats};
use crate::subscriptions::{SubscriptionId, Subscriptions};

/// A publication, in use or remembered.
#[derive(Debug)]
pub(crate) struct Publication {
    pub(crate) source: Arc<Source>,
    /// How often it was asked for and not released.
    pub(crate) users: usize,
    /// Which of the times that it became idle was the last.
    pub(crate) idle_mark: u64,
    pub(crate) next_sequence: u64,
    first_sequence: u64,
    /// All but what follows from the sequence numbers.
    pub(crate) counts: TopicStats,
    /// Whether it is in the list of publications to be closed.
    pub(crate) listed: bool,
    /// Of the message that is being published.
    receipt: Option<Receipt>,
    /// Peers that cache it, and how much one message may take there.
    cachers: BTreeMap<PeerId, u64>,
    /// No group wanted it when the groups had this version.
    pub(crate) without_groups: Option<u64>,
    names: Vec<u8>,
    open: Option<OpenBundle>,
    /// How many bytes were copied into the last bundle: the guess for the next.
    last_len: usize,
    native: Vec<Target>,
    classic: Vec<ClassicTarget>,
    reachable: Vec<PeerId>,
    /// The least room of the native peers.
    room: usize,
    local: Arc<[SubscriptionId]>,
    local_version: Option<u64>,
    told_mismatch: BTreeSet<PeerId>,
    /// What is kept for those who join later.
    store: Option<Store>,
    offer: Offer,
    priority: Priority,
    /// Offers that peers were told for a run that has not begun, by the barrier that it is to have. A peer that comes and goes
    /// is not told again: so it can not make us tell it without end.
    told: BTreeMap<PeerId, (u64, Offer)>,
    /// The longest that a message lives.
    lifespan: Option<Duration>,
    /// The peers of `reachable` that publishers wait for.
    awaited: Vec<PeerId>,
    /// What own subscriptions request more of than is offered, until it is told.
    unmet_here: Option<Policy>,
}

#[derive(Debug)]
struct Target {
    peer: PeerId,
    reachable: bool,
    served: bool,
    /// The first message that it did not get since it is not served.
    missed: Option<u64>,
    room: usize,
    /// What the start must say, see `cargo.rs`.
    barrier: u64,
    /// Whether the start was sent.
    started: bool,
    /// How its run begins, if it ever asked for history.
    opening: Option<Arc<Opening>>,
    best_effort: bool,
    /// It caches the topic, in a private network.
    signed: bool,
}

impl Target {
    fn queue(&mut self, bundle: &Arc<Bundle>, ticket: Option<Arc<Ticket>>, priority: Priority, outputs: &mut Outputs) {
        if self.signed {
            outputs.signer.iter().for_each(|signer| bundle.sign(signer));
        }
        let (mark, class) = (self.mark(), Class { priority, best_effort: self.best_effort, signed: self.signed });
        outputs.cargo.push_back((self.peer, Cargo::bundle(Arc::clone(bundle), mark, ticket, class)));
    }

    /// How the next cargo is marked.
    fn mark(&mut self) -> Mark {
        let is_first = !std::mem::replace(&mut self.started, true);
        match &self.opening {
            None if is_first => Mark::Start(self.barrier),
            None => Mark::Plain,
            Some(opening) => Mark::next_of(opening, is_first),
        }
    }
}

#[derive(Debug)]
struct ClassicTarget {
    peer: PeerId,
    reachable: bool,
    served: bool,
    codec: Codec,
}

impl Publication {
    pub(crate) fn new(source: Arc<Source>, next_sequence: u64) -> Self {
        Self {
            names: bundle::names(&source.topic_name, &source.topic_type),
            source,
            users: 0,
            idle_mark: 0,
            next_sequence,
            first_sequence: next_sequence,
            counts: TopicStats::default(),
            listed: false,
            receipt: None,
            cachers: BTreeMap::new(),
            without_groups: None,
            open: None,
            last_len: 0,
            native: Vec::new(),
            classic: Vec::new(),
            reachable: Vec::new(),
            room: 0,
            local: Arc::default(),
            local_version: None,
            told_mismatch: BTreeSet::new(),
            store: None,
            offer: Offer::default(),
            priority: Priority::default(),
            told: BTreeMap::new(),
            lifespan: None,
            awaited: Vec::new(),
            unmet_here: None,
        }
    }

    /// Lays the message into the open bundle, or a new one. What does not fit closes the open bundle; what does not fit
    /// into any is a bundle of its own.
    #[inline]
    pub(crate) fn lay(&mut self, post: &Post<'_>, outputs: &mut Outputs, stats: &mut Stats) {
        if self.open.as_mut().is_some_and(|open| open.push(post, self.room)) {
            return;
        }
        self.close(outputs, stats);
        let open = OpenBundle::new(post, &self.names, self.last_len.min(self.room), &outputs.bundles);
        let is_full = open.len() >= self.room;
        self.open = Some(open);
        if is_full {
            self.close(outputs, stats);
        }
    }

    /// Closes the open bundle, if there is one: it goes to the peers that are interested now.
    pub(crate) fn close(&mut self, outputs: &mut Outputs, stats: &mut Stats) {
        if let Some(open) = self.open.take() {
            self.last_len = open.copied_len();
            self.send(open.close(self.source.topic_name.clone()), outputs, stats);
        }
    }

    fn send(&mut self, bundle: Bundle, outputs: &mut Outputs, stats: &mut Stats) {
        stats.bundles_sent += 1;
        self.note_missed(bundle.first, bundle.last, stats);
        self.counts.copies += bundle.count() * self.native.iter().filter(|target| target.served).count() as u64;
        let (bundle, receipt, priority) = (Arc::new(bundle), self.receipt.as_ref(), self.priority);
        for target in self.native.iter_mut().filter(|target| target.served) {
            let ticket = receipt.map(|receipt| ticket(receipt, &self.cachers, target.peer, bundle.content.len()));
            target.queue(&bundle, ticket, priority, outputs);
        }
        if let Some(store) = &mut self.store {
            stats.history_dropped += store.push(&bundle);
            outputs.history_due = Some(outputs.history_due.map_or(bundle.deadline, |due| due.min(bundle.deadline)));
        }
    }

    /// The next message stands alone in its bundle, and `receipt` learns who gets it, until [`Publication::confirmed`].
    pub(crate) fn confirm(
        &mut self,
        receipt: Receipt,
        cachers: BTreeMap<PeerId, u64>,
        outputs: &mut Outputs,
        stats: &mut Stats,
    ) {
        self.close(outputs, stats);
        (self.receipt, self.cachers) = (Some(receipt), cachers);
    }

    /// The message was published.
    pub(crate) fn confirmed(&mut self, outputs: &mut Outputs, stats: &mut Stats) {
        self.close(outputs, stats);
        let missed = self.native.iter().filter(|target| !target.served).count();
        if let Some(receipt) = self.receipt.take() {
            receipt.add_missed(u32::try_from(missed).unwrap_or(u32::MAX));
        }
    }

    /// Takes over whether a peer is served. What it has missed is told when it is; returns how many messages.
    pub(crate) fn set_served(&mut self, id: PeerId, peer: &Peer, outputs: &mut Outputs, stats: &mut Stats) -> u64 {
        let is_here = self.native.iter().any(|target| target.peer == id);
        if is_here || self.classic.iter().any(|target| target.peer == id) {
            self.close(outputs, stats);
            self.renew(id, peer, outputs, stats);
        }
        self.tell_missed(id, outputs)
    }

    /// Tells a native peer that is served which messages it did not get; returns how many.
    fn tell_missed(&mut self, id: PeerId, outputs: &mut Outputs) -> u64 {
        let is_served = self.native.iter().any(|target| target.peer == id && target.served);
        if is_served { self.tell_all_missed(id, outputs) } else { 0 }
    }

    fn tell_all_missed(&mut self, id: PeerId, outputs: &mut Outputs) -> u64 {
        let Some(target) = self.native.iter_mut().find(|target| target.peer == id) else { return 0 };
        let Some(first) = target.missed.take() else { return 0 };
        self.skip(id, first, outputs);
        self.next_sequence - first
    }

    /// Tells a native peer that it does not get what was published from `first` on.
    fn skip(&mut self, id: PeerId, first: u64, outputs: &mut Outputs) {
        let Some(target) = self.native.iter_mut().find(|target| target.peer == id) else { return };
        let (mark, topic) = (target.mark(), self.source.topic_name.clone());
        let class = Class { priority: self.priority, ..Class::default() };
        let skipped = Cargo::skipped(topic, (first, self.next_sequence - 1), mark, GapReason::Overflow).at(class);
        outputs.cargo.push_back((id, skipped));
    }

    /// The message that was numbered last is not sent: there is no memory for it, and it is best effort.
    pub(crate) fn skip_last(&mut self, outputs: &mut Outputs, stats: &mut Stats) {
        self.close(outputs, stats);
        let last = self.next_sequence - 1;
        self.note_missed(last, last, stats);
        for peer in self.native_peers().collect::<Vec<_>>() {
            stats.skipped += 1;
            self.skip(peer, last, outputs);
        }
    }

    /// Sets how it is sent; returns whether something else is offered than before.
    pub(crate) fn set_options(&mut self, options: &PublisherOptions, outputs: &mut Outputs, stats: &mut Stats) -> bool {
        self.close(outputs, stats);
        self.priority = options.priority;
        self.lifespan = options.lifespan;
        self.local_version = None;
        std::mem::replace(&mut self.offer, options.offer()) != self.offer
    }

    pub(crate) const fn offer(&self) -> Offer {
        self.offer
    }

    pub(crate) const fn priority(&self) -> Priority {
        self.priority
    }

    /// An expiry, but for what is longer than the lifespan.
    #[cold]
    pub(crate) fn shortened(&self, expiry: Duration) -> Duration {
        self.lifespan.map_or(expiry, |lifespan| expiry.min(lifespan))
    }

    /// Of the peers that get it and can be reached, those that publishers wait for.
    pub(crate) fn awaited(&self) -> &[PeerId] {
        &self.awaited
    }

    /// What own subscriptions request more of than is offered, once; and how often a message is promised.
    pub(crate) const fn terms_here(&mut self) -> (Option<Policy>, Option<Duration>) {
        (self.unmet_here.take(), self.offer.deadline)
    }

    /// Whether nothing that a peer loses of it is sent again.
    pub(crate) fn is_best_effort_to(&self, id: PeerId) -> bool {
        self.native.iter().any(|target| target.peer == id && target.best_effort)
            || (self.offer.is_best_effort() && self.classic.iter().any(|target| target.peer == id))
    }

    /// A native peer that gets it wants, or does not want, that what is lost is sent again.
    pub(crate) fn set_best_effort(&mut self, id: PeerId, best_effort: bool, outputs: &mut Outputs) {
        let Some(target) = self.native.iter_mut().find(|target| target.peer == id) else { return };
        if std::mem::replace(&mut target.best_effort, best_effort) != best_effort {
            self.recompute(outputs);
        }
    }

    /// Encodes the message for classic peers, once for each codec that they use.
    pub(crate) fn send_classic(&mut self, post: &Post<'_>, outputs: &mut Outputs) {
        for codec in [Codec::Json, Codec::MessagePack] {
            let mut peers = self.classic.iter().filter(|target| target.served && target.codec == codec).peekable();
            if peers.peek().is_none() {
                continue;
            }
            let mut body = Vec::with_capacity(post.payload.as_slice().len() + CLASSIC_OVERHEAD_BYTES);
            self.classic_message(post).encode(codec, &mut body);
            let held = Arc::new(outputs.bundles.hold(CLASSIC_OVERHEAD_BYTES + body.capacity()));
            let cargo = Cargo::classic(body.into(), post.now + post.expiry, held);
            let before = outputs.cargo.len();
            outputs.cargo.extend(peers.map(|target| (target.peer, cargo.clone())));
            self.counts.copies += (outputs.cargo.len() - before) as u64;
        }
    }

    fn classic_message(&self, post: &Post<'_>) -> classic::Message {
        classic::Message {
            timestamp: post.wall,
            expiry: post.expiry,
            endpoint_id: self.source.endpoint_id,
            endpoint_name: self.source.endpoint_name.to_string(),
            sequence_number: i64::try_from(post.sequence).unwrap_or(i64::MAX),
            topic_name: self.source.topic_name.to_string(),
            topic_type: self.source.topic_type.to_string(),
            message_type: CLASSIC_STANDARD,
            payload: Some(post.payload.to_bytes()),
        }
    }

    /// Delivers the message to this endpoint's own subscriptions. Mostly there is none, which is to cost nothing.
    #[inline]
    pub(crate) fn deliver(
        &mut self,
        post: &Post<'_>,
        subscriptions: &Subscriptions,
        outputs: &mut Outputs,
        limit: usize,
    ) {
        if self.local_version != Some(subscriptions.version()) || !self.local.is_empty() {
            self.deliver_here(post, subscriptions, outputs, limit);
        }
    }

    #[inline(never)]
    fn deliver_here(&mut self, post: &Post<'_>, subscriptions: &Subscriptions, outputs: &mut Outputs, limit: usize) {
        if self.local_version != Some(subscriptions.version()) {
            let source = &self.source;
            let matching = subscriptions.matching(&source.topic_name, Some(&source.topic_type)).ids;
            (self.local, self.unmet_here) = subscriptions.meeting(matching, &self.offer);
            self.local_version = Some(subscriptions.version());
        }
        if self.local.is_empty() {
            return;
        }
        self.counts.delivered_here += 1;
        let message = Message {
            source: Arc::clone(&self.source),
            deadline: post.now + post.expiry,
            timestamp: post.wall,
            expiry: post.expiry,
            sequence_number: post.sequence,
            payload: post.payload.to_bytes(),
        };
        outputs.deliver_own(&self.local, message, limit);
    }

    pub(crate) const fn stats(&self) -> TopicStats {
        TopicStats { published: self.next_sequence - self.first_sequence, ..self.counts }
    }

    /// Whether a native peer gets it.
    pub(crate) fn has_served(&self) -> bool {
        self.native.iter().any(|target| target.served)
    }

    /// Notes what native peers that are not served do not get.
    pub(crate) fn note_missed(&mut self, first: u64, last: u64, stats: &mut Stats) {
        for target in self.native.iter_mut().filter(|target| !target.served) {
            stats.skipped += last - first + 1;
            target.missed.get_or_insert(first);
        }
    }

    /// Bytes that a message with `len` bytes of payload takes while peers have it queued; 0: it goes to none.
    pub(crate) fn cost(&self, len: usize) -> usize {
        let native = if self.native.is_empty() { 0 } else { len + 1 };
        let has = |codec| self.classic.iter().any(|target| target.codec == codec);
        let json = if has(Codec::Json) { len / 3 * 4 + 1 } else { 0 };
        let pack = if has(Codec::MessagePack) { len + 1 } else { 0 };
        native + json + pack
    }

    pub(crate) fn has_classic(&self) -> bool {
        !self.classic.is_empty()
    }

    pub(crate) const fn has_open(&self) -> bool {
        self.open.is_some()
    }

    /// The peers that get it and can be reached.
    pub(crate) fn interested(&self) -> &[PeerId] {
        &self.reachable
    }

    /// Whether a native peer that gets it can be reached.
    pub(crate) fn is_reachable(&self) -> bool {
        self.native.iter().any(|target| target.reachable && target.served)
    }

    pub(crate) fn native_peers(&self) -> impl Iterator<Item = PeerId> {
        self.native.iter().filter(|target| target.served).map(|target| target.peer)
    }

    pub(crate) fn goes_to(&self, peer: PeerId) -> bool {
        self.native.iter().any(|target| target.peer == peer)
    }

    /// The native peer gets what is published from now on, and of what is kept the last `wish` messages.
    pub(crate) fn add(&mut self, id: PeerId, peer: &Peer, terms: Terms, outputs: &mut Outputs, stats: &mut Stats) {
        self.close(outputs, stats);
        let Terms { wish, best_effort } = terms;
        let (reachable, signed) = (peer.reachable, peer.takes_signed(&self.source.topic_name));
        let room = room_for(peer, signed);
        let barrier = self.told.get(&id).map_or_else(|| peer.ends_sent(), |(barrier, _)| *barrier);
        let served = peer.serves(best_effort);
        let live = self.next_sequence;
        let begin = self.store.as_ref().map_or(live, |store| store.begin(wish, live));
        let splice = Splice { begin, live, asked: peer.asked };
        let opening = (peer.asked > SubscriptionId::default()).then(|| Opening::new(barrier, splice));
        let (missed, started) = (None, false);
        let mut target =
            Target { peer: id, reachable, served, missed, room, barrier, started, opening, best_effort, signed };
        if begin < live && served {
            let topic = &self.source.topic_name;
            self.counts.copies += replay(topic, self.store.as_ref(), &mut target, self.priority, outputs);
        } else if begin < live {
            stats.skipped += live - begin;
            target.missed = Some(begin);
        }
        if self.native.is_empty() {
            // Very many topics mostly go to one peer each, or to none.
            self.native.reserve_exact(1);
        }
        self.native.push(target);
        self.recompute(outputs);
    }

    /// Sets what is kept for those who join later.
    pub(crate) fn set_history(&mut self, policy: History, outputs: &mut Outputs, config: &Config, stats: &mut Stats) {
        self.close(outputs, stats);
        match (&mut self.store, policy) {
            (_, History::None) => self.store = None,
            (Some(store), policy) => store.set_policy(policy),
            (None, policy) => {
                let store = Store::new(policy, self.next_sequence, &outputs.history, config.max_history_bytes);
                self.store = Some(store);
            }
        }
        self.recompute(outputs);
    }

    /// What is kept for those who join later.
    pub(crate) const fn store(&self) -> Option<&Store> {
        self.store.as_ref()
    }

    pub(crate) const fn store_mut(&mut self) -> Option<&mut Store> {
        self.store.as_mut()
    }

    /// What is offered in the run of a native peer that begins next is told, unless it was, or goes without saying.
    pub(crate) fn tell_offer(&mut self, id: PeerId, peer: &mut Peer) -> bool {
        let told = self.told.get(&id).map(|(_, offer)| *offer);
        let goes_without_saying = self.offer.is_default() && !peer.interest.has_requests() && told.is_none();
        if goes_without_saying || told == Some(self.offer) {
            return false;
        }
        peer.offer(self.source.topic_name.clone(), Some(self.offer));
        self.told.insert(id, (peer.ends_sent(), self.offer));
        true
    }

    /// The native peers that were told of a run that has not begun, and never will.
    pub(crate) fn take_told(&mut self) -> impl Iterator<Item = PeerId> + use<> {
        std::mem::take(&mut self.told).into_keys()
    }

    /// The native peer gets no more; if it got anything it is told the end.
    pub(crate) fn part(&mut self, id: PeerId, peer: &mut Peer, outputs: &mut Outputs, stats: &mut Stats) {
        self.close(outputs, stats);
        self.tell_all_missed(id, outputs);
        let started = self.native.iter().any(|target| target.peer == id && target.started);
        self.native.retain(|target| target.peer != id);
        self.recompute(outputs);
        if started {
            self.told.remove(&id);
            peer.end(self.source.topic_name.clone(), self.next_sequence);
        }
    }

    /// Closes the publication for good: what peers have missed is told before its end is.
    pub(crate) fn end(&mut self, outputs: &mut Outputs, stats: &mut Stats) {
        self.close(outputs, stats);
        let missing: Vec<_> = self.native.iter().filter(|target| target.missed.is_some()).map(|t| t.peer).collect();
        for peer in missing {
            self.tell_all_missed(peer, outputs);
        }
    }

    /// All native peers that get it, served or not.
    pub(crate) fn targets(&self) -> Vec<PeerId> {
        self.native.iter().map(|target| target.peer).collect()
    }

    /// Takes over how a peer is reached, and that a classic one is there.
    pub(crate) fn renew(&mut self, id: PeerId, peer: &Peer, outputs: &mut Outputs, stats: &mut Stats) {
        match peer.wire {
            Wire::Classic(codec) => {
                self.classic.retain(|target| target.peer != id);
                let (reachable, served) = (peer.reachable, peer.serves(self.offer.is_best_effort()));
                self.classic.push(ClassicTarget { peer: id, reachable, served, codec });
            }
            Wire::Native => {
                let Some(target) = self.native.iter_mut().find(|target| target.peer == id) else { return };
                target.served = peer.serves(target.best_effort);
                target.signed = peer.takes_signed(&self.source.topic_name);
                (target.reachable, target.room) = (peer.reachable, room_for(peer, target.signed));
            }
        }
        self.recompute(outputs);
        if self.open.as_ref().is_some_and(|open| open.len() > self.room) {
            self.close(outputs, stats);
        }
    }

    /// The peer is no more.
    pub(crate) fn forget(&mut self, id: PeerId, outputs: &mut Outputs, stats: &mut Stats) {
        self.native.retain(|target| target.peer != id);
        self.classic.retain(|target| target.peer != id);
        self.told_mismatch.remove(&id);
        self.told.remove(&id);
        self.recompute(outputs);
        if self.store.is_some() {
            return;
        }
        if !self.has_served()
            && let Some(open) = self.open.take()
        {
            self.note_missed(open.first(), open.last(), stats);
        }
    }

    /// Whether this is the first mismatch with that peer.
    pub(crate) fn note_mismatch(&mut self, id: PeerId) -> bool {
        self.told_mismatch.insert(id)
    }

    fn recompute(&mut self, outputs: &mut Outputs) {
        let alone = if self.store.is_some() { STORED_BYTES } else { 0 };
        self.room = self.native.iter().map(|target| target.room).min().unwrap_or(alone);
        let native = self.native.iter().map(|target| (target.peer, target.reachable && target.served));
        let classic = self.classic.iter().map(|target| (target.peer, target.reachable && target.served));
        let reachable: Vec<_> = native.chain(classic).filter(|(_, gets)| *gets).map(|(peer, _)| peer).collect();
        outputs.interest_changed |= reachable != self.reachable;
        let awaits = |id: &&PeerId| !self.is_best_effort_to(**id);
        self.awaited = reachable.iter().filter(awaits).copied().collect();
        self.reachable = reachable;
    }
}

/// On which terms a native peer gets a publication.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Terms {
    /// So many messages of what is kept.
    pub(crate) wish: u64,
    pub(crate) best_effort: bool,
}

/// Bytes of body in a datagram to a peer.
const fn room_for(peer: &Peer, signed: bool) -> usize {
    if signed { peer.room.saturating_sub(SIGNATURE_BYTES) } else { peer.room }
}

/// Of a peer that gets a message whose publisher wants to know.
#[cold]
fn ticket(receipt: &Receipt, cachers: &BTreeMap<PeerId, u64>, peer: PeerId, len: usize) -> Arc<Ticket> {
    let is_cached = cachers.get(&peer).is_some_and(|budget| *budget >= (len + cache::OVERHEAD_BYTES) as u64);
    Arc::new(receipt.ticket(len, is_cached))
}

/// Queues what is kept for a peer, and says what is no longer there; returns how many messages.
fn replay(
    topic: &TopicName,
    store: Option<&Store>,
    target: &mut Target,
    priority: Priority,
    outputs: &mut Outputs,
) -> u64 {
    let splice = target.opening.as_ref().map(|opening| opening.splice);
    let Some((store, Splice { begin, live, .. })) = store.zip(splice) else { return 0 };
    let (mut at, mut count, class) = (begin, 0, Class { priority, ..Class::default() });
    // What is missing in between has expired: what is over a limit, or superseded, is older than what is kept.
    let skipped = |from, to, mark| Cargo::skipped(topic.clone(), (from, to), mark, GapReason::Expired).at(class);
    for bundle in store.from(begin) {
        if at < bundle.first {
            outputs.cargo.push_back((target.peer, skipped(at, bundle.first - 1, target.mark())));
        }
        target.queue(bundle, None, priority, outputs);
        at = bundle.last + 1;
        count += bundle.count();
    }
    if at < live {
        outputs.cargo.push_back((target.peer, skipped(at, live - 1, target.mark())));
    }
    count
}

/// How large a bundle for the store becomes while no peer gets it: a datagram on any path.
const STORED_BYTES: usize = 1_000;
/// The reference's number for an ordinary message.
const CLASSIC_STANDARD: i64 = 1;
/// What a classic message takes besides its payload in MessagePack, about: 178 bytes in the captured ones.
const CLASSIC_OVERHEAD_BYTES: usize = 256;
