//! Subscribing to what was published before, here and at peers, and answering peers that do.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use glue_net::{Chain, Instant, PeerId, Priority};

use crate::batch::{Age, Batch};
use crate::bundle::{Bundle, Header};
use crate::config::Config;
use crate::filter::Filter;
use crate::message::{Gap, GapReason, Item, Source};
use crate::name::TopicName;
use crate::output::Outputs;
use crate::publications::{PublicationId, PublishError};
use crate::qos::{PublisherOptions, SubscribeOptions};
use crate::seek::JOIN;
use crate::subscriptions::{SubscribeError, SubscriptionId};
use crate::topics::Topics;

impl Topics {
    /// As [`Topics::subscribe`], with options: what it requests, and what it gets of what was published before. Of that, of
    /// each publication the messages that it keeps ([`crate::History`]) and that have not expired, then what is published
    /// from then on; no message twice, none out of order, none missing in between.
    ///
    /// # Errors
    /// As [`Topics::subscribe`].
    pub fn subscribe_from(
        &mut self,
        now: Instant,
        topic: &str,
        type_name: &str,
        options: impl Into<SubscribeOptions>,
    ) -> Result<SubscriptionId, SubscribeError> {
        let options = options.into();
        let wish = options.history;
        let id = self.subscribe_as(topic, type_name, options.request())?;
        let Some(filter) = self.subscriptions.filter(id).cloned().filter(|_| wish.count() > 0) else { return Ok(id) };
        self.subscriptions.set_wish(id, wish.count());
        self.declare_wish(&filter);
        if self.tracks.may_be_filled() {
            self.tracks.joining.insert(id, now + JOIN);
        }
        for topic in self.publications.matched(&filter) {
            self.deliver_own_history(now, &topic, id, wish.count());
        }
        Ok(id)
    }

    /// As [`Topics::publication`], and sets how the topic's publication is sent, and what it keeps for those who join later.
    /// The last setting holds; what is kept stays while the publication is remembered, in use or not.
    ///
    /// # Errors
    /// As [`Topics::publication`].
    pub fn publication_with(
        &mut self,
        topic: &str,
        type_name: &str,
        options: impl Into<PublisherOptions>,
    ) -> Result<PublicationId, PublishError> {
        let options = options.into();
        let id = self.publication(topic, type_name)?;
        let Some(publication) = self.publications.get_mut(id) else { return Ok(id) };
        publication.set_history(options.history, &mut self.outputs, &self.config, &mut self.stats);
        self.has_terms |= options.deadline.is_some() || options.lifespan.is_some();
        self.has_priorities |= options.priority != Priority::default();
        if publication.set_options(&options, &mut self.outputs, &mut self.stats) {
            self.offer_anew(topic);
        }
        Ok(id)
    }

    /// What a publication offers has changed: each peer's run ends, and another begins with the new offer.
    fn offer_anew(&mut self, topic: &str) {
        let Some(publication) = self.publications.by_topic(topic) else { return };
        let topic = publication.source.topic_name.clone();
        let peers: Vec<_> = self.peers.keys().copied().collect();
        for peer in peers {
            self.end_run(peer, &topic);
            self.reconsider(peer, &topic, None);
        }
    }

    /// Tells native peers that more is wanted of what a filter matches.
    pub(crate) fn declare_wish(&mut self, filter: &Filter) {
        for (id, peer) in self.peers.iter_mut().filter(|(_, peer)| peer.is_native()) {
            peer.declare(filter, true, true);
            self.owing.insert(*id);
        }
    }

    /// Notes what a peer wants of history, until it has said all.
    pub(crate) fn note_wish(&mut self, from: PeerId, filter: Filter, wish: u64) {
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.wishes.insert(filter, wish);
        }
    }

    /// A peer has said all that it wants of history: the runs of what it asked for begin, or end and begin anew.
    pub(crate) fn begin_runs(&mut self, from: PeerId, newest: SubscriptionId) {
        let Some(peer) = self.peers.get_mut(&from) else { return };
        peer.asked = peer.asked.max(newest);
        let mut topics: BTreeMap<TopicName, u64> = BTreeMap::new();
        for (filter, wish) in std::mem::take(&mut peer.wishes) {
            for topic in self.publications.matched(&filter) {
                let most = topics.entry(topic).or_default();
                *most = wish.max(*most);
            }
        }
        for (topic, wish) in topics {
            self.end_run(from, &topic);
            self.reconsider_from(from, &topic, None, wish);
        }
    }

    /// Forgets what has expired of all that is kept.
    pub(crate) fn drop_expired_history(&mut self, now: Instant) {
        let stores = self.publications.iter_mut().filter_map(|publication| publication.store_mut());
        let next = stores.filter_map(|store| store.drop_expired(now)).min();
        // Not at each deadline: who joins is not sent what has expired anyway.
        self.outputs.history_due = next.map(|at| at.max(now + EXPIRY_INTERVAL));
    }

    fn end_run(&mut self, id: PeerId, topic: &TopicName) {
        let Some(publication) = self.publications.by_topic_mut(topic).filter(|old| old.goes_to(id)) else { return };
        if let Some(peer) = self.peers.get_mut(&id) {
            publication.part(id, peer, &mut self.outputs, &mut self.stats);
            self.owing.insert(id);
        }
    }

    fn deliver_own_history(&mut self, now: Instant, topic: &TopicName, id: SubscriptionId, wish: u64) {
        let Self { publications, subscriptions, outputs, stats, config, .. } = self;
        let Some(publication) = publications.by_topic_mut(topic) else { return };
        let source = Arc::clone(&publication.source);
        let matching = subscriptions.matching(topic, Some(&source.topic_type)).ids;
        if !subscriptions.meeting(matching, &publication.offer()).0.contains(&id) {
            return;
        }
        publication.close(outputs, stats);
        let live = publication.next_sequence;
        let Some(store) = publication.store() else { return };
        let mut own = Own { now, source, to: Arc::new([id]), at: store.begin(wish, live), outputs, config };
        store.from(own.at).for_each(|bundle| own.deliver(bundle));
        own.tell_expired_before(live);
    }
}

/// History on its way to an own subscription.
struct Own<'a> {
    now: Instant,
    source: Arc<Source>,
    to: Arc<[SubscriptionId]>,
    /// The number that is next.
    at: u64,
    outputs: &'a mut Outputs,
    config: &'a Config,
}

impl Own<'_> {
    fn deliver(&mut self, bundle: &Bundle) {
        let mut chain = Chain::default();
        bundle.content.append_to(0..bundle.content.len(), &mut chain);
        let body = Bytes::from(chain.to_vec());
        let Some(header) = Header::read(&body) else { return };
        let age = Age { arrival: self.now, on_arrival: self.now.since(bundle.published) };
        let mut batch = Batch::of_bundle(None, Arc::clone(&self.source), &body, &header, age);
        batch.begin_at(self.at);
        self.tell_expired_before(bundle.first);
        while let Some(item) = batch.next(self.now) {
            match item {
                Item::Message(message) => {
                    self.at = message.sequence_number + 1;
                    self.outputs.deliver_own(&self.to, message, self.config.max_own_bytes);
                }
                Item::Gap(gap) => self.tell_expired_before(gap.to + 1),
            }
        }
    }

    fn tell_expired_before(&mut self, next: u64) {
        if self.at < next {
            let gap = Gap { source: Arc::clone(&self.source), from: self.at, to: next - 1, reason: GapReason::Expired };
            self.outputs.deliver(&self.to, Batch::of_gap(None, gap));
            self.at = next;
        }
    }
}

/// How often what is kept is searched for what has expired.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(1);
