//! What comes from peers.

use std::time::Duration;

use bytes::Bytes;
use glue_net::wire::classic;
use glue_net::{Instant, PeerId};

use crate::cargo::Head;
use crate::control::{Operation, Operations};
use crate::filter::Filter;
use crate::incoming::{Arrival, Skipped};
use crate::interest::Want;
use crate::name::TypeName;
use crate::output::Event;
use crate::qos::Request;
use crate::serving::Why;
use crate::subscriptions::SubscriptionId;
use crate::topics::Topics;

impl Topics {
    /// Takes what a native peer sent as [`crate::Cargo`]: its head, and its joined body. What can not be read is
    /// dropped and counted. Of a body that was too long to be joined the beginning is enough: what is missing is then a
    /// gap.
    pub fn handle_cargo(&mut self, now: Instant, from: PeerId, head: Bytes, body: Bytes) {
        self.handle_joined(now, from, (head, Duration::ZERO), body);
    }

    /// As [`Topics::handle_cargo`], of a long body of which the end came some time after the head: what the head says of ages was true
    /// then.
    pub fn handle_joined(&mut self, now: Instant, from: PeerId, (head, waited): (Bytes, Duration), body: Bytes) {
        if !self.peers.contains_key(&from) {
            self.stats.unknown_peer += 1;
            return;
        }
        self.now = now;
        let before = self.outputs.deliveries.len();
        let mut head = Head::decode(head);
        if let Ok(head) = &mut head
            && !waited.is_zero()
        {
            head.grow_older(waited);
        }
        match head {
            Err(_) => self.stats.malformed += 1,
            Ok(Head::Carried(head)) => self.handle_carried(now, from, head, &body),
            Ok(Head::Answer(head)) => self.handle_answer(from, &head, body),
            Ok(Head::Request(head)) => self.handle_request(now, from, &head, body),
            Ok(Head::Bundle { mark, count, age, signature }) => {
                let arrival = Arrival { now, age, mark, count, body, signature };
                self.with_peer(from, |incoming, sink| incoming.handle_bundle(arrival, sink));
            }
            Ok(Head::Control { number }) => self.handle_control(now, from, number, body),
            Ok(Head::Skip { mark, reason, first, last, topic }) => {
                let skipped = Skipped { mark, first, last, reason };
                self.with_peer(from, |incoming, sink| incoming.handle_skip(&topic, skipped, sink));
            }
        }
        if !self.tracks.is_quiet() || self.caches.is_any() {
            self.follow_exchange(now);
        }
        self.note_deliveries(now, before);
    }

    /// Sees to caches: here, and what of peers' is wanted.
    #[cold]
    pub(crate) fn follow_exchange(&mut self, now: Instant) {
        if !self.tracks.is_quiet() {
            self.follow_tracks(now);
        }
        if self.caches.is_any() {
            self.follow_caches(now);
            self.serve_orders(now);
        }
    }

    /// Takes a message of a classic peer, joined and decoded.
    pub fn handle_classic(&mut self, now: Instant, from: PeerId, message: classic::Message) {
        if !self.peers.contains_key(&from) {
            self.stats.unknown_peer += 1;
            return;
        }
        let hold = self.with_peer(from, |incoming, sink| {
            incoming.classic.handle(now, message, &mut incoming.budget, &mut incoming.names, sink)
        });
        self.holds.extend(hold.flatten().map(|hold| (from, hold)));
    }

    /// Releases classic messages that have waited long enough.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.outputs.history_due.is_some_and(|due| due <= now) {
            self.drop_expired_history(now);
        }
        self.now = now;
        self.handle_calls_timeout(now);
        self.handle_deadlines(now);
        self.follow_exchange(now);
        while self.holds.front().is_some_and(|(_, hold)| hold.due <= now) {
            let Some((from, hold)) = self.holds.pop_front() else { return };
            self.with_peer(from, |incoming, sink| incoming.classic.release(&hold, &mut incoming.budget, sink));
        }
    }

    /// When [`Topics::handle_timeout`] wants to be called next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let release = self.holds.front().map(|(_, hold)| hold.due);
        let others = [release, self.outputs.history_due, self.calls.poll_timeout(), self.deadlines.poll_timeout()];
        let others = others.into_iter().flatten().min();
        if self.tracks.is_quiet() && !self.caches.is_any() {
            return others;
        }
        let exchange = [self.tracks.poll_timeout(self.now), self.poll_caches(), self.orders_due, others];
        exchange.into_iter().flatten().min()
    }

    fn handle_control(&mut self, now: Instant, from: PeerId, number: u64, body: Bytes) {
        self.with_peer(from, |incoming, sink| incoming.handle_control(number, body, sink));
        while let Some(body) = self.with_peer(from, |incoming, _| incoming.next_control()).flatten() {
            for operation in Operations::new(body) {
                let done = operation.ok().and_then(|operation| self.apply(now, from, operation));
                self.stats.malformed += u64::from(done.is_none());
            }
        }
    }

    /// `None`: malformed, without effect.
    fn apply(&mut self, now: Instant, from: PeerId, operation: Operation) -> Option<()> {
        match operation {
            Operation::Cancel { leg } => self.withdraw(Some(from), leg),
            Operation::Catalogue(operation) => self.apply_exchange(from, operation)?,
            Operation::Done { leg } => self.handle_share_done(Some(from), leg),
            Operation::Return { leg, reason } => self.handle_return(Some(from), leg, Why::from_wire(reason)),
            Operation::Serve { service, topic, type_name } => {
                return self.add_offer(from, service, &topic, &type_name);
            }
            Operation::Unserve { service } => self.remove_offer(from, service),
            Operation::Claim(operation) => self.apply_claim(from, operation)?,
            Operation::End { topic, next } => {
                self.with_peer(from, |incoming, sink| incoming.handle_end(&topic, next, sink))?;
            }
            Operation::Offer { topic, offer } => {
                let wanted = self.with_peer(from, |incoming, sink| incoming.handle_offer(&topic, offer, sink))?;
                wanted.into_iter().for_each(|topic| self.arm_taken(now, Some(from), &topic));
            }
            Operation::Subscribe { filter, type_name } => {
                self.add_wanted(from, &filter, &type_name, (None, Request::default()))?;
            }
            Operation::SubscribeAs { filter, type_name, wish, request } => {
                self.add_wanted(from, &filter, &type_name, (wish, request))?;
            }
            Operation::SubscribeFrom { filter, type_name, wish } => {
                self.add_wanted(from, &filter, &type_name, (Some(wish), Request::default()))?;
            }
            Operation::Asked { newest } => {
                self.begin_runs(from, SubscriptionId(newest));
                self.answer_asked(from, SubscriptionId(newest));
            }
            Operation::Unsubscribe { filter } => {
                let filter = self.read_filter(&filter)?;
                let peer = self.peers.get_mut(&from)?;
                peer.wishes.remove(&filter);
                if peer.interest.remove(&filter, &mut peer.names) {
                    self.reconsider_all(from, &filter, None);
                }
            }
        }
        Some(())
    }

    /// Adds a filter to what a peer wants. With a wish, it gets what the filter matches when it has said all wishes.
    fn add_wanted(
        &mut self,
        from: PeerId,
        filter: &[u8],
        type_name: &[u8],
        (wish, request): (Option<u64>, Request),
    ) -> Option<()> {
        let filter = self.read_filter(filter)?;
        let type_name = filter.type_name(TypeName::read(type_name, self.config.max_type_bytes)?);
        let want = Want { type_name: type_name.clone(), request };
        if !self.add_interest(from, &filter, want) {
            return Some(());
        }
        self.offer_cached(from, &filter);
        if let Some(wish) = wish {
            self.note_wish(from, filter, wish);
        } else {
            self.reconsider_all(from, &filter, Some(&type_name));
        }
        Some(())
    }

    fn read_filter(&self, filter: &[u8]) -> Option<Filter> {
        Filter::new(std::str::from_utf8(filter).ok()?, self.config.max_topic_bytes).ok()
    }

    /// Adds a filter to a peer's interest; false, and counted, if that is refused.
    fn add_interest(&mut self, from: PeerId, filter: &Filter, want: Want) -> bool {
        let limit = self.config.max_interest_per_peer;
        let Some(peer) = self.peers.get_mut(&from) else { return false };
        if peer.interest.add(filter, want, limit, &mut peer.names) {
            return true;
        }
        self.stats.interest_refused += 1;
        if !std::mem::replace(&mut peer.told_interest_refused, true) {
            let event = Event::InterestRefused { peer: from, limit };
            self.outputs.tell(event, self.config.max_events, &mut self.stats);
        }
        false
    }

    /// Finds out which publications that a filter matches the peer gets. `added` is the filter's type, if it was added.
    fn reconsider_all(&mut self, from: PeerId, filter: &Filter, added: Option<&TypeName>) {
        for slot in self.publications.matched_slots(filter) {
            self.reconsider_slot(from, slot, added, 0);
        }
    }
}
