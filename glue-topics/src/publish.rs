//! What the application publishes.

use std::sync::Arc;
use std::time::Duration;

use glue_net::{Instant, PeerId, Priority, WallTime};

use crate::bundle::Post;
use crate::deadlines::Promise;
use crate::interest::Wanted;
use crate::message::{Data, Source};
use crate::mismatches::Side;
use crate::name::{TopicName, TypeName};
use crate::output::Event;
use crate::permissions::Permission;
use crate::publication::{Publication, Terms};
use crate::publications::{PublicationId, PublishError};
use crate::qos::{Offer, Policy};
use crate::receipt::Receipt;
use crate::topics::Topics;

impl Topics {
    /// Declares that this endpoint publishes a topic. Asking again for the same topic and type gives the same
    /// publication; it is in use until each asking was matched by a [`Topics::release`].
    ///
    /// # Errors
    /// [`PublishError`] for a bad name, another type than this endpoint uses the topic with, or too many publications.
    pub fn publication(&mut self, topic: &str, type_name: &str) -> Result<PublicationId, PublishError> {
        let publication = self.publications.by_topic(topic).filter(|old| old.source.topic_type == type_name);
        if publication.is_some_and(|old| old.users > 0) {
            return self.publications.reuse(topic).ok_or(PublishError::Unknown);
        }
        let topic = TopicName::new(topic, self.config.max_topic_bytes).map_err(PublishError::BadTopic)?;
        let given = TypeName::new(type_name, self.config.max_type_bytes).map_err(PublishError::BadType)?;
        let published = self.type_in_use(&topic);
        let subscribed = self.subscriptions.fixed_type(&topic).filter(|expected| !expected.takes(&given));
        if let Some(expected) = published.or(subscribed).cloned() {
            return Err(PublishError::TypeMismatch { topic, expected, given });
        }
        let limit = self.config.max_publications;
        if self.publications.used() >= limit {
            return Err(PublishError::TooMany { limit });
        }
        let remembered = self.publications.by_topic(&topic);
        if remembered.is_some_and(|old| old.source.topic_type == given) {
            return self.publications.reuse(&topic).ok_or(PublishError::Unknown);
        }
        self.create(topic, given).ok_or(PublishError::TooMany { limit })
    }

    /// One user less of a publication. After the last, its id is no longer good; its topic's sequence numbers are
    /// remembered for a while.
    pub fn release(&mut self, id: PublicationId) {
        self.publications.release(id);
        while self.publications.idle() > self.config.max_idle_publications {
            let Some(old) = self.publications.take_longest_idle() else { return };
            self.end(old);
        }
    }

    /// Publishes a message, and returns its sequence number: 1 for the first of a topic, and so on without holes.
    ///
    /// It is laid into the publication's open bundle for the native peers that are interested, encoded for the classic
    /// ones, and delivered to this endpoint's own subscriptions. `expiry` counts from `now`; a very long one lasts for
    /// ever.
    ///
    /// # Errors
    /// [`PublishError`] if the publication was released, the payload is too large or the expiry is zero.
    #[inline]
    pub fn publish<'a>(
        &mut self,
        now: Instant,
        wall: WallTime,
        id: PublicationId,
        expiry: Duration,
        payload: impl Into<Data<'a>>,
    ) -> Result<u64, PublishError> {
        let payload = payload.into();
        self.publish_post(id, Post { now, wall, expiry, sequence: 0, payload, is_sent: true })
    }

    /// As [`Topics::publish`], when there is no memory for a message that is best effort: peers miss it.
    ///
    /// # Errors
    /// As [`Topics::publish`].
    pub fn publish_unsent<'a>(
        &mut self,
        now: Instant,
        wall: WallTime,
        id: PublicationId,
        expiry: Duration,
        payload: impl Into<Data<'a>>,
    ) -> Result<u64, PublishError> {
        self.publish_post(id, Post { now, wall, expiry, sequence: 0, payload: payload.into(), is_sent: false })
    }

    /// As [`Topics::publish`], and tells who gets it. The message leaves in a bundle of its own.
    ///
    /// # Errors
    /// As [`Topics::publish`].
    pub fn publish_confirmed<'a>(
        &mut self,
        now: Instant,
        wall: WallTime,
        id: PublicationId,
        expiry: Duration,
        payload: impl Into<Data<'a>>,
    ) -> Result<Receipt, PublishError> {
        let publication = self.publications.get_mut(id).ok_or(PublishError::Unknown)?;
        let receipt = Receipt::new(publication.next_sequence, &self.outputs.bell);
        let topic = &publication.source.topic_name;
        let cachers = self.tracks.cachers.iter();
        let cachers = cachers.filter_map(|id| Some((*id, self.peers.get(id)?.cache_budget_for(topic)?))).collect();
        publication.confirm(receipt.clone(), cachers, &mut self.outputs, &mut self.stats);
        let result = self.publish(now, wall, id, expiry, payload);
        if let Some(publication) = self.publications.get_mut(id) {
            publication.confirmed(&mut self.outputs, &mut self.stats);
        }
        result.map(|_| receipt)
    }

    /// Closes every open bundle. Bundles that became full are closed before that.
    pub fn close_bundles(&mut self) {
        let (outputs, stats) = (&mut self.outputs, &mut self.stats);
        self.publications.close_listed(|publication| publication.close(outputs, stats));
    }

    /// Closes the open bundles that go to a peer for which `is_hungry`: it has nothing else to be sent that is as urgent, so
    /// that waiting for a full bundle would only cost time. Returns whether there was one.
    pub fn close_bundles_for(&mut self, mut is_hungry: impl FnMut(PeerId, Priority) -> bool) -> bool {
        let (outputs, stats) = (&mut self.outputs, &mut self.stats);
        let mut closed = false;
        self.publications.close_listed(|publication| {
            let priority = publication.priority();
            if publication.has_open() && publication.native_peers().any(|peer| is_hungry(peer, priority)) {
                publication.close(outputs, stats);
                closed = true;
            }
        });
        closed
    }

    /// Whether a message waits in an open bundle for a peer that can be reached.
    #[must_use]
    pub fn has_open_bundles(&self) -> bool {
        self.publications.listed().any(|publication| publication.has_open() && publication.is_reachable())
    }

    /// The peers that get this publication and can be reached now: those whose queues a publisher may have to wait for.
    #[must_use]
    pub fn interested(&self, id: PublicationId) -> &[PeerId] {
        self.publications.get(id).map_or(&[], Publication::interested)
    }

    /// Of these, the peers that the publication's publishers wait for: none, if it is best effort.
    #[must_use]
    pub fn awaited(&self, id: PublicationId) -> &[PeerId] {
        self.publications.get(id).map_or(&[], Publication::awaited)
    }

    /// Whether what is lost of a publication is not sent again.
    #[must_use]
    pub fn is_best_effort(&self, id: PublicationId) -> bool {
        self.publications.get(id).is_some_and(|publication| publication.offer().is_best_effort())
    }

    /// How urgent a publication is.
    #[must_use]
    pub fn priority(&self, id: PublicationId) -> Priority {
        self.publications.get(id).map_or_else(Priority::default, Publication::priority)
    }

    /// Whether some publication ever was more or less urgent than others.
    #[must_use]
    pub const fn has_priorities(&self) -> bool {
        self.has_priorities
    }

    /// Counts that a publish is refused, or has to wait, as a subscriber's queue is full.
    pub fn note_held_back(&mut self, id: PublicationId) {
        if let Some(publication) = self.publications.get_mut(id) {
            publication.counts.held_back += 1;
        }
    }

    /// Bytes that a message with `len` bytes of payload would take while peers have it queued, about; 0: it goes to none.
    #[must_use]
    pub fn publish_cost(&self, id: PublicationId, len: usize) -> usize {
        self.publications.get(id).map_or(0, |publication| publication.cost(len))
    }

    fn publish_post(&mut self, id: PublicationId, mut post: Post<'_>) -> Result<u64, PublishError> {
        let publication = self.publications.get_mut(id).ok_or(PublishError::Unknown)?;
        let (len, limit) = (post.payload.as_slice().len(), self.config.max_message_bytes);
        if len > limit {
            return Err(PublishError::TooLarge { len, limit });
        }
        if post.expiry.is_zero() {
            return Err(PublishError::NoLifetime);
        }
        if self.has_terms {
            post.expiry = publication.shortened(post.expiry);
        }
        post.sequence = publication.next_sequence;
        publication.next_sequence += 1;
        publication.counts.published_bytes += len as u64;
        self.stats.published += 1;
        let is_kept = publication.store_mut().map(|store| store.note(post.sequence, len == 0)).is_some();
        if !post.is_sent {
            publication.skip_last(&mut self.outputs, &mut self.stats);
        } else if is_kept || publication.has_served() {
            publication.lay(&post, &mut self.outputs, &mut self.stats);
        } else {
            publication.note_missed(post.sequence, post.sequence, &mut self.stats);
        }
        if publication.has_classic() {
            publication.send_classic(&post, &mut self.outputs);
        }
        let before = self.outputs.deliveries.len();
        publication.deliver(&post, &self.subscriptions, &mut self.outputs, self.config.max_own_bytes);
        if publication.has_open() && !std::mem::replace(&mut publication.listed, true) {
            self.publications.list(id);
        }
        if self.calls.groups.is_any() {
            self.share(id, &post);
        }
        if self.has_terms {
            self.note_published(post.now, id, before);
        }
        Ok(post.sequence)
    }

    /// A message of a publication was published that may have a deadline, or that own subscriptions may have requests for.
    #[cold]
    fn note_published(&mut self, now: Instant, id: PublicationId, before: usize) {
        // It may have joined the delivery before it.
        self.note_deliveries(now, before.saturating_sub(1));
        let Some(publication) = self.publications.get_mut(id) else { return };
        let ((unmet, period), topic) = (publication.terms_here(), publication.source.topic_name.clone());
        if let Some(period) = period {
            self.stats.deadlines_refused += u64::from(!self.deadlines.arm(now, &topic, Promise::Given, period));
        }
        let Some(policy) = unmet else { return };
        self.stats.qos_mismatches += 1;
        if self.mismatches.note(None, Side::Ours, &topic, policy) {
            let event = Event::QosMismatch { peer: None, id: self.id, topic, policy };
            self.outputs.tell(event, self.config.max_events, &mut self.stats);
        }
    }

    /// The type of the topic's publication, if one is in use.
    pub(crate) fn type_in_use(&self, topic: &str) -> Option<&TypeName> {
        let publication = self.publications.by_topic(topic).filter(|publication| publication.users > 0)?;
        Some(&publication.source.topic_type)
    }

    /// Makes a publication of a topic that none in use has, and finds out who wants it.
    fn create(&mut self, topic_name: TopicName, topic_type: TypeName) -> Option<PublicationId> {
        let old = self.publications.take_idle(&topic_name);
        let next_sequence = old.as_ref().map_or(1, |old| old.next_sequence);
        old.into_iter().for_each(|old| self.end(old));
        let source = Source {
            endpoint_id: self.id,
            incarnation: self.incarnation,
            endpoint_name: self.name.clone(),
            topic_name: topic_name.clone(),
            topic_type,
            public_key: self.outputs.public_key(),
        };
        let id = self.publications.insert(source, next_sequence)?;
        let peers: Vec<_> = self.peers.keys().copied().collect();
        for peer in peers {
            self.reconsider(peer, &topic_name, None);
        }
        Some(id)
    }

    /// Tells those who got a publication that there will be no more of it.
    fn end(&mut self, mut publication: Publication) {
        publication.end(&mut self.outputs, &mut self.stats);
        let topic = &publication.source.topic_name;
        self.ledger.add(topic, publication.stats(), self.config.max_counted_topics);
        for id in publication.targets() {
            if let Some(peer) = self.peers.get_mut(&id) {
                publication.part(id, peer, &mut self.outputs, &mut self.stats);
                self.owing.insert(id);
            }
        }
        for id in publication.take_told() {
            if let Some(peer) = self.peers.get_mut(&id) {
                peer.offer(publication.source.topic_name.clone(), None);
                self.owing.insert(id);
            }
        }
    }

    /// Finds out whether a peer gets the topic's publication, if there is one. `added` is the type of a filter that
    /// matches it and was just added: mostly it fits, and no other needs to be looked for.
    pub(crate) fn reconsider(&mut self, id: PeerId, topic: &str, added: Option<&TypeName>) {
        self.reconsider_from(id, topic, added, 0);
    }

    /// As [`Topics::reconsider`]; if it gets it anew, with the last `wish` messages of what is kept.
    pub(crate) fn reconsider_from(&mut self, id: PeerId, topic: &str, added: Option<&TypeName>, wish: u64) {
        if let Some(slot) = self.publications.slot(topic) {
            self.reconsider_slot(id, slot, added, wish);
        }
    }

    /// As [`Topics::reconsider_from`], for the publication in a slot.
    pub(crate) fn reconsider_slot(&mut self, id: PeerId, slot: u32, added: Option<&TypeName>, wish: u64) {
        let Some(publication) = self.publications.at_mut(slot) else { return };
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let (outputs, stats) = (&mut self.outputs, &mut self.stats);
        if !peer.is_native() {
            publication.renew(id, peer, outputs, stats);
            return;
        }
        let (source, offer) = (Arc::clone(&publication.source), publication.offer());
        let is_conditional = peer.interest.is_conditional();
        let wanted = match added {
            Some(added) if !is_conditional && added.takes(&source.topic_type) => Wanted::Yes,
            _ => peer.interest.wants(&source.topic_name, &source.topic_type, &offer),
        };
        let goes = publication.goes_to(id);
        if matches!(wanted, Wanted::Yes | Wanted::BestEffort) {
            let best_effort = wanted == Wanted::BestEffort || offer.is_best_effort();
            if goes {
                publication.set_best_effort(id, best_effort, outputs);
                return;
            }
            if publication.tell_offer(id, peer) {
                self.owing.insert(id);
            }
            publication.add(id, peer, Terms { wish, best_effort }, outputs, stats);
        } else if goes {
            publication.part(id, peer, outputs, stats);
            self.owing.insert(id);
        }
        if wanted == Wanted::Denied {
            self.deny(id, Permission::Subscribe, &source.topic_name.shared(), 1);
        } else if let Wanted::Unmet(policy) = wanted {
            self.refuse(id, &source.topic_name, offer, policy);
        } else if let Wanted::Mismatch(theirs) = wanted {
            self.stats.type_mismatches += 1;
            let Some(publication) = self.publications.at_mut(slot) else { return };
            if publication.note_mismatch(id) {
                let (topic, ours) = (publication.source.topic_name.clone(), publication.source.topic_type.clone());
                let event = Event::TypeMismatch { peer: id, topic, ours, theirs };
                self.outputs.tell(event, self.config.max_events, &mut self.stats);
            }
        }
    }

    /// A peer requests more of a publication than is offered: both sides learn of it, once.
    fn refuse(&mut self, id: PeerId, topic: &TopicName, offer: Offer, policy: Policy) {
        self.stats.qos_mismatches += 1;
        if !self.mismatches.note(Some(id), Side::Ours, topic, policy) {
            return;
        }
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.offer(topic.clone(), Some(offer));
        // No run begins with it.
        peer.offer(topic.clone(), None);
        self.owing.insert(id);
        let event = Event::QosMismatch { peer: Some(id), id: peer.id, topic: topic.clone(), policy };
        self.outputs.tell(event, self.config.max_events, &mut self.stats);
    }
}
