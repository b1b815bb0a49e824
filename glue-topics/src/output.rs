//! What waits to be polled.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use glue_net::{EndpointId, Gauge, Instant, PeerId};
use glue_security::PublicKey;

use crate::batch::Batch;
use crate::calls::CallEvent;
use crate::cargo::Cargo;
use crate::message::{Gap, GapReason, Message};
use crate::name::{TopicName, TypeName};
use crate::permissions::Permission;
use crate::presence::TokenEvent;
use crate::qos::Policy;
use crate::receipt::Bell;
use crate::signing::Signer;
use crate::stats::Stats;
use crate::subscriptions::SubscriptionId;

/// Messages for subscriptions.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The subscriptions that get them: at least one.
    pub to: Arc<[SubscriptionId]>,
    /// The messages.
    pub batch: Batch,
}

/// What the application may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A peer's cache has brought what its publisher has not signed. It is dropped, and asked for elsewhere. Told once for each
    /// peer and topic.
    Forged {
        /// The peer.
        peer: PeerId,
        /// Its id.
        id: EndpointId,
        /// The topic.
        topic: TopicName,
    },
    /// The answer of [`crate::Topics::interested`] has changed for some publication. Told once, however many have.
    InterestChanged,
    /// A peer's interest is beyond the limit: it does not get all that it asked for. Told once for each peer.
    InterestRefused {
        /// The peer.
        peer: PeerId,
        /// See [`crate::Config::max_interest_per_peer`].
        limit: usize,
    },
    /// A peer did, or asked for, what it may not ([`crate::Permissions`]). It has no effect. Told once for each peer, topic and
    /// permission.
    NotPermitted {
        /// The peer.
        peer: PeerId,
        /// Its id.
        id: EndpointId,
        /// The topic, or a group with its filter.
        topic: Arc<str>,
        /// What it may not do.
        what: Permission,
    },
    /// Nothing was published for so long as this endpoint promised not to exceed. Told for each period that goes by, or for
    /// several together.
    OfferedDeadlineMissed {
        /// The topic.
        topic: TopicName,
        /// What was promised.
        period: Duration,
        /// How many periods went by.
        count: u64,
    },
    /// A publication and subscriptions do not match: less is offered than is requested, and no messages pass between the
    /// two. Told once for each peer, topic and policy, on both sides.
    QosMismatch {
        /// The peer; `None`: both are of this endpoint.
        peer: Option<PeerId>,
        /// Its id.
        id: EndpointId,
        /// The topic.
        topic: TopicName,
        /// What is offered less of.
        policy: Policy,
    },
    /// Nothing came of a publication for so long as subscriptions here requested. Told for each period that goes by, or for
    /// several together, until a message comes or the peer is gone.
    RequestedDeadlineMissed {
        /// The publisher; `None`: this endpoint.
        peer: Option<PeerId>,
        /// Its id.
        id: EndpointId,
        /// The topic.
        topic: TopicName,
        /// What was requested.
        period: Duration,
        /// How many periods went by.
        count: u64,
    },
    /// A [`crate::Receipt`] has learned something.
    ReceiptChanged,
    /// A token is up or down. These are never dropped.
    Token(TokenEvent),
    /// A peer uses a topic with another type: messages of that type do not pass. Told once for each peer and topic.
    TypeMismatch {
        /// The peer.
        peer: PeerId,
        /// The topic.
        topic: TopicName,
        /// The type here.
        ours: TypeName,
        /// The type there.
        theirs: TypeName,
    },
}

/// Queues that the caller empties. What goes in at one call is bounded by what came in, and by the limits of what may
/// wait; only events, which nobody may care to poll, have a limit of their own.
#[derive(Debug, Default)]
pub(crate) struct Outputs {
    /// In a private network.
    pub(crate) signer: Option<Signer>,
    pub(crate) cargo: VecDeque<(PeerId, Cargo)>,
    pub(crate) deliveries: VecDeque<Delivery>,
    pub(crate) events: VecDeque<Event>,
    pub(crate) calls: VecDeque<CallEvent>,
    pub(crate) interest_changed: bool,
    pub(crate) bell: Bell,
    /// Counts the bundles that are there, open or queued anywhere, each once.
    pub(crate) bundles: Gauge,
    /// Counts the bundles that publications keep for those who join later.
    pub(crate) history: Gauge,
    /// When to look for what of it has expired.
    pub(crate) history_due: Option<Instant>,
    /// Counts own messages on their way to own subscriptions.
    pub(crate) own: Gauge,
}

impl Outputs {
    /// By what this endpoint is known in a private network.
    pub(crate) fn public_key(&self) -> Option<PublicKey> {
        self.signer.as_ref().map(Signer::public_key)
    }

    pub(crate) fn deliver(&mut self, to: &Arc<[SubscriptionId]>, batch: Batch) {
        if !to.is_empty() {
            self.deliveries.push_back(Delivery { to: Arc::clone(to), batch });
        }
    }

    /// Delivers a message of this endpoint, together with those just before it. A gap, if more than `limit` would wait: nobody
    /// could wait for an application that is slow to take what it publishes itself.
    pub(crate) fn deliver_own(&mut self, to: &Arc<[SubscriptionId]>, message: Message, limit: usize) {
        if self.own.bytes() + message.payload.len() > limit {
            let (source, at) = (message.source, message.sequence_number);
            let gap = Batch::of_gap(None, Gap { source, from: at, to: at, reason: GapReason::Overflow });
            let last = self.deliveries.back_mut().filter(|last| Arc::ptr_eq(&last.to, to));
            if !last.is_some_and(|last| last.batch.merge(&gap)) {
                self.deliver(to, gap);
            }
            return;
        }
        let message = match self.deliveries.back_mut() {
            Some(last) if Arc::ptr_eq(&last.to, to) => match last.batch.push(message) {
                Ok(()) => return,
                Err(message) => message,
            },
            _ => message,
        };
        let batch = Batch::of_own(message, &self.own);
        self.deliver(to, batch);
    }

    pub(crate) fn tell(&mut self, event: Event, max_events: usize, stats: &mut Stats) {
        tracing::debug!(?event);
        if self.events.len() < max_events {
            self.events.push_back(event);
        } else {
            stats.events_dropped += 1;
        }
    }
}
