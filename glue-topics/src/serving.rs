//! Services of this endpoint, and the requests that wait here to be answered.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use glue_net::{Instant, PeerId};

use crate::calls::{CallEvent, LENT_BYTES, Reply, RequestError};
use crate::cargo::Cargo;
use crate::control::{put_cancel, put_done, put_return, put_serve, put_unserve};
use crate::filter::{Filter, Share};
use crate::letter::{self, Letter, LetterKind, RequestHead, Sheet};
use crate::message::{Data, Source};
use crate::name::{NameError, TopicName, TypeName};
use crate::offers::{OFFER_BYTES, Place};
use crate::output::Outputs;
use crate::peer::Peer;
use crate::permissions::{self, Permission, Rules};
use crate::subscriptions::{SubscribeError, SubscriptionId};
use crate::topics::Topics;

/// A service of this endpoint; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceId(pub u64);

/// A request that waits to be answered here; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Its name, for [`Topics::answer`].
    pub id: RequestId,
    /// The service that it is for.
    pub service: ServiceId,
    /// Who asks, and the topic.
    pub source: Arc<Source>,
    /// What is asked.
    pub payload: Bytes,
    /// Until when the answer is waited for, on this endpoint's clock.
    pub deadline: Instant,
    from: Option<PeerId>,
}

impl Asked {
    /// The peer that sent it; `None`: this endpoint.
    #[must_use]
    pub const fn from(&self) -> Option<PeerId> {
        self.from
    }

    /// Bytes of memory that it holds, for flow control.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        LENT_BYTES + self.payload.len()
    }
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug)]
pub enum Answer<'a> {
    /// The application dropped it.
    Dropped,
    /// The application can not do it, and says why: at most 1 KiB of it arrive.
    Failed(&'a str),
    /// It has its reply.
    Reply(Data<'a>),
    /// No application has seen it, and none here will: another responder may get it.
    Returned,
}

/// Why a topic can not be served. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The topic is no good name.
    #[error("bad topic: {0}")]
    BadTopic(#[source] NameError),
    /// The type is no good name.
    #[error("bad type: {0}")]
    BadType(#[source] NameError),
    /// See [`crate::Config::max_services`].
    #[error("there are {limit} services already")]
    TooMany {
        /// How many there may be.
        limit: usize,
    },
}

/// Why an answer was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// Nobody waits for it: the request was given up, or has its answer.
    #[error("nobody waits for the answer any more")]
    Cancelled,
    /// It is longer than a message may be. Who asked was told so.
    #[error("the reply has {len} bytes, more than {limit}")]
    TooLarge {
        /// Its length.
        len: usize,
        /// The limit, [`crate::Config::max_message_bytes`].
        limit: usize,
    },
    /// There was no memory for it. Who asked was told so.
    #[error("no memory is left for the reply")]
    NoMemory,
}

/// Why a request is returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    Busy,
    NotServed,
    /// It was dropped on its way.
    Skipped,
    TooLarge,
}

impl Why {
    pub(crate) const fn from_wire(byte: u8) -> Self {
        match byte {
            2 => Self::Busy,
            3 => Self::Skipped,
            4 => Self::TooLarge,
            _ => Self::NotServed,
        }
    }

    const fn to_wire(self) -> u8 {
        match self {
            Self::NotServed => 1,
            Self::Busy => 2,
            Self::Skipped => 3,
            Self::TooLarge => 4,
        }
    }
}

/// Something short that a peer is to be told.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Note {
    Cancel(u64),
    Done(u64),
    Return(u64, Why),
}

/// What one peer knows of our services, and is to be told.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    known: BTreeSet<u64>,
    changed: BTreeSet<u64>,
    notes: Vec<Note>,
    /// Its requests that wait here.
    waiting: usize,
}

#[derive(Debug)]
struct Service {
    /// A topic, or a group with its filter.
    name: Arc<str>,
    type_name: TypeName,
    takes: Takes,
}

impl Service {
    /// Whether a peer may make use of it. Of a group it is seen with each message, whose topic matters.
    fn may_be_told(&self, rules: &Rules) -> bool {
        match &self.takes {
            Takes::Requests(topic) => permissions::allows(rules, Permission::Publish, topic),
            Takes::Shares(_) => permissions::allows_any(rules, Permission::Publish),
        }
    }
}

#[derive(Clone, Debug)]
enum Takes {
    Requests(TopicName),
    Shares(SubscriptionId),
}

#[derive(Debug)]
struct Waiting {
    from: Option<PeerId>,
    leg: u64,
    service: u64,
    deadline: Instant,
}

/// The services of this endpoint.
#[derive(Debug, Default)]
pub(crate) struct Serving {
    services: BTreeMap<u64, Service>,
    requests: BTreeMap<RequestId, Waiting>,
    by_leg: BTreeMap<(Option<PeerId>, u64), RequestId>,
    members: BTreeMap<SubscriptionId, u64>,
    /// Numbers services and requests.
    last: u64,
}

impl Serving {
    pub(crate) fn len(&self) -> usize {
        self.requests.len()
    }

    /// A new peer knows nothing.
    pub(crate) fn introduce(&self, peer: &mut Peer) {
        peer.desk.changed.extend(self.services.keys().copied());
    }

    fn take(&mut self, id: RequestId) -> Option<Waiting> {
        let waiting = self.requests.remove(&id)?;
        self.by_leg.remove(&(waiting.from, waiting.leg));
        Some(waiting)
    }
}

impl Peer {
    /// Whether it was not told of a service, since it may make no use of it.
    fn is_barred_from(&self, service: u64) -> bool {
        self.rules.is_some() && !self.desk.known.contains(&service)
    }

    /// Tells it of services, as long as it can be reached (see [`Peer::flush`]), and the notes for it.
    pub(crate) fn flush_desk(&mut self, id: PeerId, serving: &Serving, outputs: &mut Outputs) {
        let mut body = Vec::new();
        // Services before returns: what is returned is not to come again.
        let changed = if self.reachable { std::mem::take(&mut self.desk.changed) } else { BTreeSet::new() };
        for number in changed {
            let service = serving.services.get(&number);
            if let Some(service) = service.filter(|service| service.may_be_told(&self.rules)) {
                self.reserve(id, service.name.len() + service.type_name.len(), &mut body, outputs);
                put_serve(number, &service.name, &service.type_name, &mut body);
                self.desk.known.insert(number);
            } else if self.desk.known.remove(&number) {
                self.reserve(id, 0, &mut body, outputs);
                put_unserve(number, &mut body);
            }
        }
        for note in std::mem::take(&mut self.desk.notes) {
            self.reserve(id, 0, &mut body, outputs);
            match note {
                Note::Cancel(leg) => put_cancel(leg, &mut body),
                Note::Done(leg) => put_done(leg, &mut body),
                Note::Return(leg, why) => put_return(leg, why.to_wire(), &mut body),
            }
        }
        self.send_control(id, &mut body, outputs);
    }
}

impl Topics {
    /// Serves a topic, given by its exact name: requests to it come as [`CallEvent::Request`]. An empty type takes
    /// requests of every type. Several services of one topic share its requests.
    ///
    /// # Errors
    /// [`ServeError`] for a bad name, or too many services.
    pub fn serve(&mut self, topic: &str, type_name: &str) -> Result<ServiceId, ServeError> {
        // A filter refuses what names a group.
        Filter::new(topic, self.config.max_topic_bytes).map_err(ServeError::BadTopic)?;
        let topic = TopicName::new(topic, self.config.max_topic_bytes).map_err(ServeError::BadTopic)?;
        let type_name = TypeName::new(type_name, self.config.max_type_bytes).map_err(ServeError::BadType)?;
        let limit = self.config.max_services;
        if self.serving.services.len() >= limit {
            return Err(ServeError::TooMany { limit });
        }
        let service = Service { name: topic.shared(), type_name, takes: Takes::Requests(topic) };
        Ok(ServiceId(self.add_service(service)))
    }

    /// Makes a subscription a member of a group: shares come as [`CallEvent::Share`].
    pub(crate) fn join(
        &mut self,
        text: &str,
        share: &Share<'_>,
        type_name: TypeName,
    ) -> Result<SubscriptionId, SubscribeError> {
        let filter = share.filter(self.config.max_topic_bytes).map_err(SubscribeError::BadTopic)?;
        let limit = self.config.max_services;
        if self.serving.services.len() >= limit || text.len() > self.config.max_topic_bytes {
            return Err(SubscribeError::TooMany { limit });
        }
        let id = self.subscriptions.next_id();
        let type_name = filter.type_name(type_name);
        let service = self.add_service(Service { name: text.into(), type_name, takes: Takes::Shares(id) });
        self.serving.members.insert(id, service);
        self.open_group(text, filter);
        Ok(id)
    }

    /// A member leaves its group. What it has not done goes to others.
    pub(crate) fn part(&mut self, id: SubscriptionId) {
        let Some(service) = self.serving.members.remove(&id) else { return };
        let left = |waiting: &Waiting| waiting.service == service;
        let ids: Vec<_> =
            self.serving.requests.iter().filter(|(_, waiting)| left(waiting)).map(|(id, _)| *id).collect();
        self.unserve(ServiceId(service));
        for id in ids {
            // It is there.
            let _ = self.answer(id, Answer::Returned);
        }
    }

    fn add_service(&mut self, service: Service) -> u64 {
        self.serving.last += 1;
        let number = self.serving.last;
        self.calls.offers.add(Place { peer: None, service: number }, &service.name, service.type_name.clone());
        self.serving.services.insert(number, service);
        self.tell_service(number);
        number
    }

    /// The application has processed a share of a group's messages. `false`: it was withdrawn before.
    pub fn done(&mut self, id: RequestId) -> bool {
        let Some(waiting) = self.serving.take(id) else { return false };
        self.leave_desk(waiting.from);
        match waiting.from {
            Some(peer) => self.note(peer, Note::Done(waiting.leg)),
            None => self.handle_share_done(None, waiting.leg),
        }
        true
    }

    /// Whether a request still waits for its answer, or a share to be processed.
    #[must_use]
    pub fn is_waiting(&self, id: RequestId) -> bool {
        self.serving.requests.contains_key(&id)
    }

    /// Ends a service. Requests that have come may still be answered; those that come later go back.
    pub fn unserve(&mut self, id: ServiceId) {
        if self.serving.services.remove(&id.0).is_some() {
            self.remove_place(Place { peer: None, service: id.0 });
            self.tell_service(id.0);
        }
    }

    /// Answers a request.
    ///
    /// # Errors
    /// [`AnswerError`] if nobody waits for the answer, or the reply is too large: then that is the answer.
    pub fn answer(&mut self, id: RequestId, answer: Answer<'_>) -> Result<(), AnswerError> {
        let Some(Waiting { from, leg, deadline, .. }) = self.serving.take(id) else {
            return Err(AnswerError::Cancelled);
        };
        self.leave_desk(from);
        let limit = self.config.max_message_bytes;
        let (state, body, result) = match answer {
            Answer::Reply(data) if data.len() > limit => {
                (letter::FAILED, Bytes::from_static(b"the reply is too large"), Err(data.len()))
            }
            Answer::Reply(data) => (letter::WHOLE, data.to_bytes(), Ok(())),
            Answer::Failed(text) => (letter::FAILED, short(text), Ok(())),
            Answer::Dropped => (letter::DROPPED, Bytes::new(), Ok(())),
            Answer::Returned => {
                match from {
                    Some(peer) => self.note(peer, Note::Return(leg, Why::NotServed)),
                    None => self.handle_return(None, leg, Why::NotServed),
                }
                return Ok(());
            }
        };
        match from {
            Some(peer) => {
                let sheet = Some(Sheet::new(body, &self.outputs.bundles));
                let letter = Letter { kind: LetterKind::Answer, leg, state, sheet, deadline };
                self.outputs.cargo.push_back((peer, Cargo::letter(letter)));
            }
            None => self.answer_here(leg, state, body),
        }
        result.map_err(|len| AnswerError::TooLarge { len, limit })
    }

    fn answer_here(&mut self, leg: u64, state: u8, payload: Bytes) {
        let result = match state {
            letter::WHOLE => Ok(Reply {
                endpoint_id: self.id,
                endpoint_name: self.name.clone(),
                _held: Some(Arc::new(self.outputs.own.hold(LENT_BYTES + payload.len()))),
                payload,
                from: None,
            }),
            letter::FAILED => Err(RequestError::Responder(String::from_utf8_lossy(&payload).into_owned())),
            _ => Err(RequestError::Dropped),
        };
        self.end_leg(leg, result);
    }

    pub(crate) fn handle_request(&mut self, now: Instant, from: PeerId, head: &RequestHead, body: Bytes) {
        let result = match head.state {
            // Who sent it knows.
            letter::EXPIRED => return,
            letter::OVERFLOW => Err(Why::Skipped),
            _ if head.len != body.len() as u64 => Err(Why::TooLarge),
            _ => self.accept(Some(from), head.leg, head.service, body, now + head.left),
        };
        if let Err(why) = result {
            self.stats.requests_returned += 1;
            self.note(from, Note::Return(head.leg, why));
        }
    }

    /// Takes a request in, for the application.
    pub(crate) fn accept(
        &mut self,
        from: Option<PeerId>,
        leg: u64,
        service: u64,
        payload: Bytes,
        deadline: Instant,
    ) -> Result<(), Why> {
        let Some(target) = self.serving.services.get(&service) else { return Err(Why::NotServed) };
        let takes = target.takes.clone();
        if self.serving.by_leg.contains_key(&(from, leg)) {
            self.stats.malformed += 1;
            return Ok(());
        }
        let free = self.config.max_requests_waiting.saturating_sub(self.serving.len());
        let barred = from.filter(|from| self.peers.get(from).is_some_and(|peer| peer.is_barred_from(service)));
        if let Some(peer) = barred {
            let name = Arc::clone(&target.name);
            self.deny(peer, Permission::Publish, &name, 1);
            return Err(Why::NotServed);
        }
        let peer = from.and_then(|from| self.peers.get_mut(&from));
        // Nobody has more than what is left for others.
        if free == 0 || peer.as_ref().is_some_and(|peer| peer.desk.waiting >= free) {
            return Err(Why::Busy);
        }
        let (endpoint_id, incarnation, endpoint_name, public_key) = match &peer {
            Some(peer) => (peer.id, peer.incarnation, peer.name.clone(), peer.public_key),
            None => (self.id, self.incarnation, self.name.clone(), self.outputs.public_key()),
        };
        if let Some(peer) = peer {
            peer.desk.waiting += 1;
        }
        let topic_type = target.type_name.clone();
        self.stats.requests_received += 1;
        self.serving.last += 1;
        let id = RequestId(self.serving.last);
        self.serving.requests.insert(id, Waiting { from, leg, service, deadline });
        self.serving.by_leg.insert((from, leg), id);
        match takes {
            Takes::Requests(topic_name) => {
                let source = Source { endpoint_id, incarnation, endpoint_name, topic_name, topic_type, public_key };
                let source = Arc::new(source);
                let asked = Asked { id, service: ServiceId(service), source, payload, deadline, from };
                self.outputs.calls.push_back(CallEvent::Request(asked));
            }
            Takes::Shares(to) => {
                let publisher = (endpoint_id, incarnation, endpoint_name, public_key);
                let Some(batch) = self.read_share(from, publisher, &payload, deadline) else {
                    self.stats.malformed += 1;
                    self.done(id);
                    return Ok(());
                };
                let topic = batch.source().map(|source| source.topic_name.shared());
                if let Some((peer, topic)) = from.zip(topic).filter(|(peer, topic)| !self.may_publish(*peer, topic)) {
                    // Not returned: other members would refuse it as well, and it would go round.
                    self.deny(peer, Permission::Publish, &topic, 1);
                    self.done(id);
                    return Ok(());
                }
                self.outputs.calls.push_back(CallEvent::Share { id, to, batch });
            }
        }
        Ok(())
    }

    pub(crate) fn may_publish(&self, peer: PeerId, topic: &str) -> bool {
        self.peers.get(&peer).is_some_and(|peer| permissions::allows(&peer.rules, Permission::Publish, topic))
    }

    /// Nobody waits for an answer any more.
    pub(crate) fn withdraw(&mut self, from: Option<PeerId>, leg: u64) {
        let Some(id) = self.serving.by_leg.get(&(from, leg)).copied() else { return };
        self.serving.take(id);
        self.leave_desk(from);
        self.outputs.calls.push_back(CallEvent::Cancelled(id));
    }

    /// A peer is no more: neither are its offers and requests, nor what it was asked.
    pub(crate) fn forget_calls(&mut self, peer: PeerId) {
        for place in self.calls.offers.of_peer(peer) {
            self.remove_place(place);
        }
        let legs: Vec<u64> =
            self.serving.by_leg.range((Some(peer), 0)..=(Some(peer), u64::MAX)).map(|((_, leg), _)| *leg).collect();
        legs.into_iter().for_each(|leg| self.withdraw(Some(peer), leg));
        self.lose_calls(peer);
    }

    /// A peer serves a topic.
    pub(crate) fn add_offer(&mut self, from: PeerId, service: u64, topic: &[u8], type_name: &[u8]) -> Option<()> {
        let (name, limit) = (std::str::from_utf8(topic).ok()?, self.config.max_topic_bytes);
        let filter = match Share::split(name).ok()? {
            Some(share) if name.len() <= limit => Some(share.filter(limit).ok()?),
            Some(_) => return None,
            None => TopicName::new(name, limit).ok().map(|_| None)?,
        };
        let type_name = TypeName::read(type_name, self.config.max_type_bytes)?;
        self.remove_offer(from, service);
        let wanted = filter.clone().map_or_else(|| Filter::new(name, limit).ok(), Some)?;
        if !permissions::allows_all(&self.peers.get(&from)?.rules, Permission::Subscribe, &wanted) {
            self.deny(from, Permission::Subscribe, &name.into(), 1);
            return Some(());
        }
        let peer = self.peers.get_mut(&from)?;
        let cost = OFFER_BYTES + name.len() + type_name.len();
        if peer.offers >= self.config.max_interest_per_peer || !peer.names.take(cost) {
            self.stats.offers_refused += 1;
            return Some(());
        }
        peer.offers += 1;
        self.calls.offers.add(Place { peer: Some(from), service }, &name.into(), type_name);
        if let Some(filter) = filter {
            self.open_group(name, filter);
        }
        self.outputs.interest_changed = true;
        Some(())
    }

    /// Returns the bytes of its names.
    fn remove_place(&mut self, place: Place) -> Option<usize> {
        let (name, type_name) = self.calls.offers.remove(place)?;
        self.outputs.interest_changed = true;
        self.review_group(&name);
        Some(name.len() + type_name.len())
    }

    /// A peer serves a topic no longer.
    pub(crate) fn remove_offer(&mut self, from: PeerId, service: u64) {
        let place = Place { peer: Some(from), service };
        let Some(bytes) = self.remove_place(place) else { return };
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.offers -= 1;
            peer.names.give_back(OFFER_BYTES + bytes);
        }
    }

    pub(crate) fn note(&mut self, peer: PeerId, note: Note) {
        if let Some(known) = self.peers.get_mut(&peer) {
            known.desk.notes.push(note);
            self.owing.insert(peer);
        }
    }

    fn tell_service(&mut self, service: u64) {
        let is_there = self.serving.services.contains_key(&service);
        for (id, peer) in self.peers.iter_mut().filter(|(_, peer)| peer.is_native()) {
            // What comes and goes before it is told is never told.
            if is_there || peer.desk.known.contains(&service) {
                peer.desk.changed.insert(service);
                self.owing.insert(*id);
            } else {
                peer.desk.changed.remove(&service);
            }
        }
        self.outputs.interest_changed = true;
    }

    fn leave_desk(&mut self, from: Option<PeerId>) {
        if let Some(peer) = from.and_then(|from| self.peers.get_mut(&from)) {
            peer.desk.waiting = peer.desk.waiting.saturating_sub(1);
        }
    }
}

/// What is told of a failure.
fn short(text: &str) -> Bytes {
    let mut end = text.len().min(MAX_FAILURE_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    Bytes::copy_from_slice(text.get(..end).unwrap_or_default().as_bytes())
}

/// So that failures take no memory to speak of.
const MAX_FAILURE_BYTES: usize = 1 << 10;
