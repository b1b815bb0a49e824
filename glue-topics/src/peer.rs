//! One other endpoint.

use std::collections::BTreeMap;
use std::sync::Arc;

use glue_net::wire::classic::Codec;
use glue_net::{EndpointId, Gauge, Incarnation, PeerId};
use glue_security::PublicKey;

use crate::cargo::Cargo;
use crate::catalogue::Exchange;
use crate::config::Config;
use crate::control::{
    put_asked, put_end, put_offer, put_subscribe, put_subscribe_as, put_subscribe_from, put_unsubscribe,
};
use crate::filter::Filter;
use crate::incoming::Incoming;
use crate::interest::Interest;
use crate::name::{EndpointName, TopicName};
use crate::names::Names;
use crate::output::Outputs;
use crate::permissions::{Permissions, Rules};
use crate::presence::{PeerPresence, Presence};
use crate::qos::Offer;
use crate::serving::Desk;
use crate::subscriptions::{Declared, SubscriptionId, Subscriptions};

/// What discovery knows of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerFacts {
    /// Its id.
    pub id: EndpointId,
    /// Its life; zero for a classic peer.
    pub incarnation: Incarnation,
    /// Its name.
    pub name: EndpointName,
    /// How to speak to it.
    pub wire: Wire,
    /// What it may do; `None`: everything.
    pub permissions: Option<Arc<Permissions>>,
    /// By what it is known in a private network.
    pub public_key: Option<PublicKey>,
}

/// The data wire that a peer understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// The reference's container: such a peer gets every message.
    Classic(Codec),
    /// Ours: such a peer gets what it is interested in.
    Native,
}

/// What is kept of a peer.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) id: EndpointId,
    pub(crate) incarnation: Incarnation,
    pub(crate) name: EndpointName,
    pub(crate) wire: Wire,
    pub(crate) rules: Rules,
    pub(crate) public_key: Option<PublicKey>,
    pub(crate) reachable: bool,
    /// Whether it can bring anything yet, see [`crate::Topics::set_open`].
    pub(crate) is_open: bool,
    /// Whether it gets what is published, see [`crate::Topics::set_served`].
    pub(crate) served: bool,
    /// Whether its queue is so long that publishers wait for it, see [`crate::Topics::set_congested`].
    pub(crate) congested: bool,
    /// Bytes of body that one datagram to it carries.
    pub(crate) room: usize,
    pub(crate) interest: Interest,
    /// Names of topics that it is interested in.
    pub(crate) names: Names,
    pub(crate) told_interest_refused: bool,
    pub(crate) incoming: Incoming,
    pub(crate) presence: PeerPresence,
    /// Filters that it is to be told of, and whether it knows them.
    undeclared: BTreeMap<Filter, bool>,
    /// Ends of runs, and offers for the next, that it is to be told of.
    ends: Vec<(TopicName, Told)>,
    ends_sent: u64,
    /// Our newest subscription whose wish for history it was told.
    told_wishes: SubscriptionId,
    /// Its own that we were told.
    pub(crate) asked: SubscriptionId,
    /// What it wants of history, until it has said all.
    pub(crate) wishes: BTreeMap<Filter, u64>,
    next_control: u64,
    pub(crate) desk: Desk,
    /// Services that it offers.
    pub(crate) offers: usize,
    /// Caches here and there.
    pub(crate) exchange: Exchange,
}

/// What is told of a topic between its runs.
#[derive(Debug)]
enum Told {
    End(u64),
    Offer(Option<Offer>),
}

impl Peer {
    pub(crate) fn new(facts: &PeerFacts, config: &Config, held: &Gauge, names: &Gauge) -> Self {
        Self {
            id: facts.id,
            incarnation: facts.incarnation,
            name: facts.name.clone(),
            wire: facts.wire,
            rules: facts.permissions.clone(),
            public_key: facts.public_key,
            reachable: true,
            is_open: true,
            served: true,
            congested: false,
            room: config.initial_room_bytes,
            interest: Interest::new(facts.permissions.clone()),
            names: Names::new(names, config.max_names_bytes),
            told_interest_refused: false,
            incoming: Incoming::new(config, facts.permissions.clone(), held, names),
            presence: PeerPresence::default(),
            undeclared: BTreeMap::new(),
            ends: Vec::new(),
            ends_sent: 0,
            told_wishes: SubscriptionId::default(),
            asked: SubscriptionId::default(),
            wishes: BTreeMap::new(),
            next_control: 0,
            desk: Desk::default(),
            offers: 0,
            exchange: Exchange::default(),
        }
    }

    /// Whether it was told of our interest in a filter, and so may have begun a run for it.
    pub(crate) fn is_told_of(&self, filter: &Filter) -> bool {
        self.is_open && !self.undeclared.contains_key(filter)
    }

    /// Takes over what discovery learned of a peer that is known.
    pub(crate) fn renew(&mut self, facts: &PeerFacts) {
        (self.id, self.incarnation) = (facts.id, facts.incarnation);
        (self.name, self.wire) = (facts.name.clone(), facts.wire);
        self.reachable = true;
    }

    pub(crate) fn is_native(&self) -> bool {
        self.wire == Wire::Native
    }

    /// Notes that what this endpoint subscribes to has changed. `before` and `after` say whether the filter is wanted.
    /// Changes that cancel out before they are told are never told.
    pub(crate) fn declare(&mut self, filter: &Filter, before: bool, after: bool) {
        let known = self.undeclared.get(filter).copied().unwrap_or(before);
        if known || after {
            self.undeclared.insert(filter.clone(), known);
        } else {
            self.undeclared.remove(filter);
        }
    }

    /// Notes that it gets no more of this run of a topic.
    pub(crate) fn end(&mut self, topic: TopicName, next: u64) {
        self.ends_sent += 1;
        self.ends.push((topic, Told::End(next)));
    }

    /// Notes what is offered in the run of a topic that begins next; `None`: it does not begin. It counts as an end.
    pub(crate) fn offer(&mut self, topic: TopicName, offer: Option<Offer>) {
        self.ends_sent += 1;
        self.ends.push((topic, Told::Offer(offer)));
    }

    /// Whether it gets what a publication offers now.
    pub(crate) const fn serves(&self, best_effort: bool) -> bool {
        self.served && !(best_effort && self.congested)
    }

    /// How many ends it was told, or is to be told.
    pub(crate) const fn ends_sent(&self) -> u64 {
        self.ends_sent
    }

    /// Tells it what it is to be told, in as few control cargos as hold it. Of filters and claims an unreachable peer is told only
    /// once it is back: until then changes may cancel out, so that what waits is bounded by what there is.
    pub(crate) fn flush(&mut self, id: PeerId, ours: (&Subscriptions, &Presence), outputs: &mut Outputs) {
        let (subscriptions, presence) = ours;
        let mut body = Vec::new();
        let ends = std::mem::take(&mut self.ends);
        for (topic, told) in ends {
            self.reserve(id, topic.len(), &mut body, outputs);
            match told {
                Told::End(next) => put_end(&topic, next, &mut body),
                Told::Offer(offer) => put_offer(&topic, offer.as_ref(), &mut body),
            }
        }
        let filters = if self.reachable { std::mem::take(&mut self.undeclared) } else { BTreeMap::new() };
        let wishes = subscriptions.wishes_after(self.told_wishes);
        let (mut has_asked, newest) = (false, subscriptions.newest());
        let mut filters: Vec<_> = filters.into_keys().collect();
        // What takes turns with what is withdrawn comes before it; what came after it waits for a new run anyway.
        filters.sort_by_key(|filter| (wishes.contains_key(filter), subscriptions.declared(filter).is_none()));
        for filter in filters {
            let wish = wishes.get(&filter).copied();
            has_asked |= wish.is_some();
            let declared = subscriptions.declared(&filter);
            let len = filter.as_str().len() + declared.as_ref().map_or(0, |declared| declared.type_name.len());
            self.reserve(id, len, &mut body, outputs);
            match declared {
                Some(Declared { type_name, request }) if !request.is_default() => {
                    put_subscribe_as(filter.as_str(), &type_name, wish, &request, &mut body);
                }
                Some(Declared { type_name, .. }) => match wish {
                    Some(wish) => put_subscribe_from(filter.as_str(), &type_name, wish, &mut body),
                    None => put_subscribe(filter.as_str(), &type_name, &mut body),
                },
                None => put_unsubscribe(filter.as_str(), &mut body),
            }
        }
        if has_asked {
            self.reserve(id, 0, &mut body, outputs);
            put_asked(newest.0, &mut body);
            self.told_wishes = newest;
        }
        if self.reachable {
            self.flush_claims(id, presence, &mut body, outputs);
        }
        self.send_control(id, &mut body, outputs);
    }

    /// Makes room for an operation with names of `len` bytes.
    pub(crate) fn reserve(&mut self, id: PeerId, len: usize, body: &mut Vec<u8>, outputs: &mut Outputs) {
        if body.len() + len + OPERATION_BYTES > CONTROL_BYTES {
            self.send_control(id, body, outputs);
        }
    }

    pub(crate) fn send_control(&mut self, id: PeerId, body: &mut Vec<u8>, outputs: &mut Outputs) {
        if !body.is_empty() {
            let cargo = Cargo::control(self.next_control, std::mem::take(body).into());
            self.next_control += 1;
            outputs.cargo.push_back((id, cargo));
        }
    }
}

/// What an operation takes besides names, at most: its kind, two lengths and a number.
const OPERATION_BYTES: usize = 32;
/// Control bodies stay below it, to fit a datagram on any path (1,200 bytes, less envelope and head).
const CONTROL_BYTES: usize = 1_000;
