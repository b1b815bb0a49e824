//! Requests of this endpoint, and what becomes of them.
//!
//! One rule holds for all that is directed to a chosen peer. A **leg**, a message to one service, ends in one of three
//! ways, and once: it is *answered*; it is *returned* by a peer whose application has not seen it, and may then be
//! directed to another; or its peer is *gone*, and nobody knows. A request ends with its legs, or with its time. What is
//! left of it is cancelled then.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use glue_net::{EndpointId, Held, Instant, PeerId, Rng};

use crate::batch::Batch;
use crate::cargo::Cargo;
use crate::groups::Groups;
use crate::letter::{self, AnswerHead, Letter, LetterKind, Sheet};
use crate::message::Data;
use crate::name::{EndpointName, NameError, TopicName, TypeName};
use crate::offers::{Offers, Place};
use crate::serving::{Asked, Note, RequestId, Why};
use crate::subscriptions::SubscriptionId;
use crate::topics::Topics;

/// A request of this endpoint; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// Which responders get a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// All that can be reached; each answer counts.
    All,
    /// All that can be reached; the first reply counts, and the others are cancelled.
    First,
    /// The one with the fewest of our requests; of several such, any.
    One,
}

/// A request to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The topic, by its exact name.
    pub topic: &'a str,
    /// Its type; a responder must have one that fits.
    pub type_name: &'a str,
    /// What is asked.
    pub payload: Data<'a>,
    /// How long the answer is waited for.
    pub timeout: Duration,
    /// Who gets it.
    pub reach: Reach,
}

/// What a responder replied.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Who replied.
    pub endpoint_id: EndpointId,
    /// Its name.
    pub endpoint_name: EndpointName,
    /// What it replied.
    pub payload: Bytes,
    pub(crate) from: Option<PeerId>,
    /// Counts the reply of this endpoint to itself.
    pub(crate) _held: Option<Arc<Held>>,
}

impl Reply {
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

/// Why a request has no reply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The topic is no good name. Nothing was sent.
    #[error("bad topic: {0}")]
    BadTopic(#[source] NameError),
    /// The type is no good name. Nothing was sent.
    #[error("bad type: {0}")]
    BadType(#[source] NameError),
    /// Every responder has too many requests waiting. No application has seen this one.
    #[error("every responder has too many requests waiting")]
    Busy,
    /// The endpoint was closed. The request may have been processed.
    #[error("the endpoint was closed")]
    Closed,
    /// The responder dropped the request without an answer.
    #[error("the responder dropped the request")]
    Dropped,
    /// Too many requests of this endpoint wait for answers, or they take too much memory. Nothing was sent.
    #[error("too many requests wait for answers, or too much memory is in use")]
    Full,
    /// The responder went away, or its answer was given up. The request may have been processed.
    #[error("the responder went away")]
    Gone,
    /// Nobody who can be reached serves the topic. No application has seen the request.
    #[error("nobody serves the topic")]
    NoResponders,
    /// The responder failed, for a reason of its own.
    #[error("the responder failed: {0}")]
    Responder(String),
    /// There was no answer in time. The request may have been processed.
    #[error("no answer came in time")]
    Timeout,
    /// The request, or the reply, is longer than who receives it allows.
    #[error("the request or its reply is too large")]
    TooLarge,
    /// Who serves the topic does so with another type. Nothing was sent.
    #[error("topic {topic} is served with type {expected:?}, not {given:?}")]
    TypeMismatch {
        /// The topic.
        topic: TopicName,
        /// A responder's type.
        expected: TypeName,
        /// The type of the request.
        given: TypeName,
    },
}

/// What happens to requests.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum CallEvent {
    /// A request of ours has an answer, or none.
    Answer {
        /// The request.
        call: CallId,
        /// The answer.
        result: Result<Reply, RequestError>,
        /// No more follow.
        last: bool,
    },
    /// Nobody waits for the answer to a request any more.
    Cancelled(RequestId),
    /// A request came, for a service of ours.
    Request(Asked),
    /// A share of a group's messages came, for a subscription of ours.
    Share {
        /// Its name, for [`Topics::done`].
        id: RequestId,
        /// The subscription.
        to: SubscriptionId,
        /// The message.
        batch: Batch,
    },
}

/// A request that waits for answers.
#[derive(Debug)]
struct Call {
    /// What is asked for: a topic, or a group with its filter.
    name: Arc<str>,
    type_name: TypeName,
    purpose: Purpose,
    sheet: Arc<Sheet>,
    deadline: Instant,
    open: BTreeSet<u64>,
    /// Where it was returned from.
    tried: BTreeSet<Place>,
}

/// What a call is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// It has answers.
    Ask(Reach),
    /// A share of a group's messages.
    Share,
}

/// A message to one service.
#[derive(Debug)]
struct Leg {
    call: CallId,
    place: Place,
    /// While it is there, the message is worth sending.
    _wanted: Arc<()>,
}

/// All requests of this endpoint.
#[derive(Debug)]
pub(crate) struct Calls {
    pub(crate) offers: Offers,
    calls: BTreeMap<CallId, Call>,
    legs: BTreeMap<u64, Leg>,
    deadlines: BTreeSet<(Instant, CallId)>,
    /// Peers that are out of reach, and when they are given up.
    silent: BTreeMap<PeerId, Instant>,
    /// When members that had no room are asked again.
    again: Option<Instant>,
    /// Numbers calls and legs.
    last: u64,
    /// Of requests.
    bytes: usize,
    pub(crate) groups: Groups,
    rng: Rng,
}

impl Calls {
    pub(crate) fn new(rng: Rng) -> Self {
        Self {
            offers: Offers::default(),
            calls: BTreeMap::new(),
            legs: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            silent: BTreeMap::new(),
            again: None,
            last: 0,
            bytes: 0,
            groups: Groups::default(),
            rng,
        }
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let deadline = self.deadlines.first().map(|(at, _)| *at);
        deadline.into_iter().chain(self.silent.values().copied()).chain(self.again).min()
    }

    /// A member has returned a share.
    fn note_returned(&mut self, place: Place, now: Instant) {
        self.offers.note_returned(place);
        self.again.get_or_insert(now + PAUSE);
    }

    /// A member has done a share.
    pub(crate) fn note_done(&mut self, leg: u64) {
        if let Some(leg) = self.legs.get(&leg) {
            self.offers.note_done(leg.place);
        }
    }
}

impl Topics {
    /// Sends a request. Its answers come as [`CallEvent::Answer`].
    ///
    /// # Errors
    /// [`RequestError`]; nothing was sent.
    pub fn request(&mut self, now: Instant, ask: &Ask<'_>) -> Result<CallId, RequestError> {
        let topic = TopicName::new(ask.topic, self.config.max_topic_bytes).map_err(RequestError::BadTopic)?;
        let type_name = TypeName::new(ask.type_name, self.config.max_type_bytes).map_err(RequestError::BadType)?;
        if ask.payload.len() > self.config.max_message_bytes {
            return Err(RequestError::TooLarge);
        }
        let mut places = self.places(&topic, &type_name, &BTreeSet::new());
        if places.is_empty() {
            return Err(self.why_none(topic, type_name));
        }
        if ask.reach == Reach::One {
            places = self.least_loaded(&places).into_iter().collect();
        }
        let bytes = self.calls.bytes + ask.payload.len();
        // The largest message passes when no other is there.
        let has_room = self.calls.bytes == 0 || bytes <= self.config.max_call_bytes;
        if self.calls.legs.len() + places.len() > self.config.max_calls || !has_room {
            self.stats.requests_refused += 1;
            return Err(RequestError::Full);
        }
        self.stats.requests_sent += 1;
        let id = CallId(self.calls.next());
        let sheet = Sheet::new(ask.payload.to_bytes(), &self.outputs.bundles);
        self.calls.bytes = bytes;
        let purpose = Purpose::Ask(ask.reach);
        self.insert_call(id, topic.shared(), type_name, purpose, (sheet, now + ask.timeout));
        self.direct(id, &places);
        Ok(id)
    }

    pub(crate) fn insert_call(
        &mut self,
        id: CallId,
        name: Arc<str>,
        type_name: TypeName,
        purpose: Purpose,
        (sheet, deadline): (Arc<Sheet>, Instant),
    ) {
        let (open, tried) = (BTreeSet::new(), BTreeSet::new());
        self.calls.deadlines.extend((deadline < Instant::FAR).then_some((deadline, id)));
        self.calls.calls.insert(id, Call { name, type_name, purpose, sheet, deadline, open, tried });
    }

    /// Gives a request up: no answer comes any more, and who has it learns so.
    pub fn cancel(&mut self, id: CallId) {
        self.remove_call(id);
    }

    /// How many responders of a topic can be reached, this endpoint's own among them.
    #[must_use]
    pub fn responders(&self, topic: &str, type_name: &str) -> usize {
        let type_name = TypeName::new(type_name, self.config.max_type_bytes);
        type_name.map_or(0, |type_name| self.places(topic, &type_name, &BTreeSet::new()).len())
    }

    /// The next thing that happened to requests.
    #[must_use]
    #[inline]
    pub fn poll_call(&mut self) -> Option<CallEvent> {
        self.outputs.calls.pop_front()
    }

    /// Requests of this endpoint that wait for answers, and requests of all that wait here to be answered.
    #[must_use]
    pub fn open_calls(&self) -> (usize, usize) {
        (self.calls.calls.len().max(self.calls.legs.len()), self.serving.len())
    }

    /// The group and type of a call that is a share.
    pub(crate) fn share_of(&self, id: CallId) -> Option<(Arc<str>, TypeName)> {
        let call = self.calls.calls.get(&id).filter(|call| call.purpose == Purpose::Share)?;
        Some((Arc::clone(&call.name), call.type_name.clone()))
    }

    pub(crate) fn is_share(&self, id: CallId) -> bool {
        self.calls.calls.get(&id).is_some_and(|call| call.purpose == Purpose::Share)
    }

    pub(crate) fn call_of(&self, leg: u64) -> Option<CallId> {
        self.calls.legs.get(&leg).map(|leg| leg.call)
    }

    /// The call of a leg to a peer, or to this endpoint.
    pub(crate) fn call_at(&self, from: Option<PeerId>, leg: u64) -> Option<CallId> {
        self.calls.legs.get(&leg).filter(|leg| leg.place.peer == from).map(|leg| leg.call)
    }

    /// A peer is out of reach since `now`. If it is so for [`crate::Config::out_of_reach`], what it was asked counts as
    /// lost.
    pub fn handle_silence(&mut self, now: Instant, peer: PeerId) {
        if self.calls.legs.values().any(|leg| leg.place.peer == Some(peer)) {
            self.calls.silent.insert(peer, now + self.config.out_of_reach);
        }
    }

    pub(crate) fn handle_calls_timeout(&mut self, now: Instant) {
        while let Some((_, id)) = self.calls.deadlines.first().copied().filter(|(at, _)| *at <= now) {
            self.finish(id, Err(RequestError::Timeout));
        }
        while let Some(peer) = self.calls.silent.iter().find(|(_, at)| **at <= now).map(|(peer, _)| *peer) {
            self.lose_calls(peer);
        }
        if self.calls.again.take_if(|at| *at <= now).is_some() {
            self.calls.offers.forget_full();
            self.dispatch_all();
        }
    }

    /// The peer is within reach again.
    pub(crate) fn keep_calls(&mut self, peer: PeerId) {
        self.calls.silent.remove(&peer);
        self.dispatch_all();
    }

    /// What a peer was asked is lost.
    pub(crate) fn lose_calls(&mut self, peer: PeerId) {
        self.calls.silent.remove(&peer);
        let is_lost = |leg: &Leg| leg.place.peer == Some(peer);
        let lost: Vec<u64> = self.calls.legs.iter().filter(|(_, leg)| is_lost(leg)).map(|(id, _)| *id).collect();
        for leg in lost {
            // It may come back.
            self.note(peer, Note::Cancel(leg));
            if !self.take_back(leg) {
                self.end_leg(leg, Err(RequestError::Gone));
            }
        }
    }

    pub(crate) fn handle_answer(&mut self, from: PeerId, head: &AnswerHead, body: Bytes) {
        if self.call_at(Some(from), head.leg).is_none() {
            self.stats.stale_answers += 1;
            return;
        }
        let is_whole = head.len == body.len() as u64;
        let result = match head.state {
            letter::WHOLE if is_whole => Ok(body),
            letter::WHOLE => Err(RequestError::TooLarge),
            letter::FAILED => Err(RequestError::Responder(String::from_utf8_lossy(&body).into_owned())),
            letter::DROPPED => Err(RequestError::Dropped),
            // Our own clock tells that.
            letter::EXPIRED => return,
            _ => Err(RequestError::Gone),
        };
        let Some(peer) = self.peers.get(&from) else { return };
        let (endpoint_id, endpoint_name) = (peer.id, peer.name.clone());
        let reply = |payload| Reply { endpoint_id, endpoint_name, payload, from: Some(from), _held: None };
        self.end_leg(head.leg, result.map(reply));
    }

    /// A peer has not seen a request, or this endpoint has no room for one of its own.
    pub(crate) fn handle_return(&mut self, from: Option<PeerId>, leg: u64, why: Why) {
        let Some(place) = self.calls.legs.get(&leg).map(|leg| leg.place).filter(|place| place.peer == from) else {
            return;
        };
        if why != Why::TooLarge && self.call_of(leg).is_some_and(|id| self.is_share(id)) {
            self.calls.note_returned(place, self.now);
            self.take_back(leg);
            return;
        }
        let error = match why {
            Why::Busy => RequestError::Busy,
            Why::TooLarge => RequestError::TooLarge,
            Why::NotServed | Why::Skipped => RequestError::NoResponders,
        };
        let Some(id) = self.redirected(leg, place) else { return self.end_leg(leg, Err(error)) };
        let Some(call) = self.calls.calls.get(&id) else { return };
        let places = self.places(&call.name, &call.type_name, &call.tried);
        match self.least_loaded(&places) {
            Some(next) => {
                self.drop_leg(leg);
                self.direct(id, &[next]);
            }
            None => self.end_leg(leg, Err(error)),
        }
    }

    /// The call of a leg that may go elsewhere, which notes where it was.
    fn redirected(&mut self, leg: u64, place: Place) -> Option<CallId> {
        let id = self.calls.legs.get(&leg)?.call;
        let call = self.calls.calls.get_mut(&id).filter(|call| call.purpose == Purpose::Ask(Reach::One))?;
        call.tried.insert(place);
        Some(id)
    }

    /// Where a request may go now.
    pub(crate) fn places(&self, name: &str, type_name: &TypeName, except: &BTreeSet<Place>) -> Vec<(Place, usize)> {
        let open = |place: Place| match place.peer {
            Some(peer) => self.peers.get(&peer).is_some_and(|peer| peer.reachable && peer.served),
            None => true,
        };
        let fits = |other: &TypeName| other.takes(type_name) || type_name.takes(other);
        let offers = self.calls.offers.of(name).filter(|(_, offer)| fits(&offer.type_name));
        let offers = offers.filter(|(place, _)| open(*place) && !except.contains(place));
        offers.map(|(place, offer)| (place, offer.load)).collect()
    }

    pub(crate) fn least_loaded(&mut self, places: &[(Place, usize)]) -> Option<(Place, usize)> {
        let least = places.iter().map(|(_, load)| *load).min()?;
        let equal: Vec<_> = places.iter().filter(|(_, load)| *load == least).collect();
        let at = usize::try_from(self.calls.rng.below(equal.len() as u64)).ok()?;
        equal.get(at).map(|place| **place)
    }

    fn why_none(&self, topic: TopicName, given: TypeName) -> RequestError {
        let fits = |other: &TypeName| other.takes(&given) || given.takes(other);
        let other = self.calls.offers.of(&topic).map(|(_, offer)| &offer.type_name).find(|other| !fits(other));
        match other.cloned() {
            Some(expected) => RequestError::TypeMismatch { topic, expected, given },
            None => RequestError::NoResponders,
        }
    }

    pub(crate) fn direct(&mut self, id: CallId, places: &[(Place, usize)]) {
        let mut here = Vec::new();
        for (place, _) in places {
            let leg = self.calls.next();
            let Some(call) = self.calls.calls.get_mut(&id) else { return };
            call.open.insert(leg);
            let wanted = Arc::new(());
            if let Some(peer) = place.peer {
                let wanted = Arc::downgrade(&wanted);
                let is_share = call.purpose == Purpose::Share;
                let kind = LetterKind::Request { service: place.service, is_share, wanted };
                let sheet = Some(Arc::clone(&call.sheet));
                let letter = Letter { kind, leg, state: letter::WHOLE, sheet, deadline: call.deadline };
                self.outputs.cargo.push_back((peer, Cargo::letter(letter)));
            } else {
                here.push((leg, place.service, call.sheet.body.clone(), call.deadline));
            }
            self.calls.legs.insert(leg, Leg { call: id, place: *place, _wanted: wanted });
            self.calls.offers.load(*place);
        }
        // After all have their legs: what is returned at once may end the call.
        for (leg, service, body, deadline) in here {
            if let Err(why) = self.accept(None, leg, service, body, deadline) {
                self.handle_return(None, leg, why);
            }
        }
    }

    pub(crate) fn end_leg(&mut self, leg: u64, result: Result<Reply, RequestError>) {
        let Some(id) = self.drop_leg(leg) else { return };
        let Some(call) = self.calls.calls.get(&id) else { return };
        let last = call.open.is_empty();
        match call.purpose {
            Purpose::Ask(Reach::First) if result.is_err() && !last => {}
            Purpose::Ask(Reach::All) if !last => {
                self.outputs.calls.push_back(CallEvent::Answer { call: id, result, last });
            }
            _ => self.finish(id, result),
        }
    }

    /// Forgets a leg; returns its call.
    pub(crate) fn drop_leg(&mut self, leg: u64) -> Option<CallId> {
        let Leg { call: id, place, .. } = self.calls.legs.remove(&leg)?;
        self.calls.offers.unload(place);
        if let Some(call) = self.calls.calls.get_mut(&id) {
            call.open.remove(&leg);
        }
        Some(id)
    }

    fn finish(&mut self, id: CallId, result: Result<Reply, RequestError>) {
        if self.is_share(id) {
            let count = match result {
                Err(RequestError::Timeout) => &mut self.stats.shares_expired,
                _ => &mut self.stats.shares_dropped,
            };
            *count += 1;
            self.end_share(id);
        } else if self.remove_call(id) {
            self.outputs.calls.push_back(CallEvent::Answer { call: id, result, last: true });
        }
    }

    /// Forgets a call, and cancels what is left of it.
    pub(crate) fn remove_call(&mut self, id: CallId) -> bool {
        let Some(call) = self.calls.calls.remove(&id) else { return false };
        self.calls.deadlines.remove(&(call.deadline, id));
        match call.purpose {
            Purpose::Ask(_) => self.calls.bytes -= call.sheet.body.len(),
            Purpose::Share => self.calls.groups.forget(&call.name, id, call.sheet.body.len()),
        }
        for leg in call.open {
            let place = self.calls.legs.get(&leg).map(|leg| leg.place);
            self.drop_leg(leg);
            match place.map(|place| place.peer) {
                Some(Some(peer)) => self.note(peer, Note::Cancel(leg)),
                _ => self.withdraw(None, leg),
            }
        }
        true
    }
}

/// How long a member of a group that had no room gets nothing, if it does not say that it has done something meanwhile.
const PAUSE: Duration = Duration::from_millis(100);
/// What a request or a reply takes beside its payload, about.
pub(crate) const LENT_BYTES: usize = 200;
