//! Glue: upstreams that are endpoints, and the other instances.

mod upstream;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use glue_endpoint::{
    Endpoint, EndpointId, Holder, Incarnation, Message, Notice, PublishError, Publisher, SubscribeError, TokenError,
    TokenEvent,
};
use prost::Message as _;
use tokio::sync::watch;

use crate::hub::Hub;
use crate::lane::Lane;
use crate::topics::{Names, OUTPUT, tag_of_token};
use crate::wire::Order;
use crate::wire::proto::OutputStreamRequest;

/// The hub's view of the network.
#[derive(Debug)]
pub(crate) struct Glue {
    endpoint: Endpoint,
    names: Names,
    to_all: Publisher,
    instances: Mutex<BTreeMap<u64, Publisher>>,
    upstreams: Mutex<BTreeMap<Life, Present>>,
}

/// An endpoint in one of its lives.
type Life = (EndpointId, Incarnation);

/// An upstream that holds its token.
#[derive(Debug)]
struct Present {
    /// Turns false when the token is let go of, or its holder is gone.
    is_up: watch::Sender<Presence>,
    lane: Option<Arc<Lane>>,
}

/// What is known of an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    /// It takes messages.
    Up,
    /// It takes no more, but is there to settle what it has.
    Leaving,
    /// It is dead, or out of reach.
    Gone,
}

/// Why an instance did not join.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GlueError {
    /// The name of the service is no good for topics.
    #[error("bad name of a service: {0}")]
    Subscribe(#[from] SubscribeError),
    /// The same.
    #[error("bad name of a service: {0}")]
    Publish(#[from] PublishError),
    /// The same.
    #[error("bad name of a service: {0}")]
    Token(#[from] TokenError),
}

/// Joins the instances of a service, and takes in upstreams as they come; until the returned future is dropped.
pub(crate) async fn join(
    hub: &Arc<Hub>,
    endpoint: Endpoint,
    service: &str,
) -> Result<impl Future<Output = ()> + use<>, GlueError> {
    let names = Names(service.to_owned());
    let mut mine = endpoint.subscribe(&names.to_instance(hub.tag), OUTPUT).await?;
    let mut everyones = endpoint.subscribe(&names.to_instances(), OUTPUT).await?;
    let mut instances = endpoint.token_events(&names.instance_tokens())?;
    let mut upstreams = endpoint.token_events(&names.upstream_tokens())?;
    let mut notices = endpoint.events();
    let token = endpoint.token(&names.instance_token(hub.tag))?;
    let to_all = endpoint.publisher(&names.to_instances(), OUTPUT)?;
    let glue = Glue { endpoint, names, to_all, instances: Mutex::default(), upstreams: Mutex::default() };
    let glue = hub.join(glue);
    let hub = Arc::clone(hub);
    Ok(async move {
        let _token = token;
        loop {
            tokio::select! {
                Some(message) = mine.recv() => glue.take(&hub, &message),
                Some(message) = everyones.recv() => glue.take(&hub, &message),
                Some(event) = instances.recv() => glue.follow_instance(&hub, &event),
                Some(event) = upstreams.recv() => glue.follow_upstream(&hub, event),
                Some(notice) = notices.recv() => glue.notice(&notice),
                else => break,
            }
        }
    })
}

impl Glue {
    /// Sends what is meant for a client of another instance. False: there is no such instance. Waits while that is slow.
    pub(crate) async fn send(&self, tag: u64, order: Order) -> bool {
        // Made anew, which costs little, so that no lock is held while it waits.
        let is_known = self.lock_instances().contains_key(&tag);
        let publisher = is_known.then(|| self.endpoint.publisher(&self.names.to_instance(tag), OUTPUT));
        let Some(Ok(publisher)) = publisher else { return false };
        publisher.publish(ORDER_EXPIRY, &encode(order)).await.is_ok()
    }

    /// Sends what is meant for clients of all instances. Waits while one of them is slow.
    pub(crate) async fn send_to_all(&self, order: Order) -> bool {
        !self.lock_instances().is_empty() && self.to_all.publish(ORDER_EXPIRY, &encode(order)).await.is_ok()
    }

    /// The tags of the other instances.
    pub(crate) fn instances(&self) -> Vec<u64> {
        self.lock_instances().keys().copied().collect()
    }

    fn take(&self, hub: &Hub, message: &Message) {
        if message.endpoint_id == self.endpoint.id() {
            return;
        }
        let Ok(request) = OutputStreamRequest::decode(message.payload.clone()) else {
            return hub.counters.messages_malformed.add(1);
        };
        let life = (message.endpoint_id, message.incarnation);
        let lane = self.lock_upstreams().get(&life).and_then(|present| present.lane.clone());
        match lane {
            Some(lane) => {
                if let Some(order) = hub.note(&lane, request) {
                    hub.carry_out(&hub.settings(), &order);
                }
            }
            None => hub.take_from_instance(request),
        }
    }

    fn follow_instance(&self, hub: &Hub, event: &TokenEvent) {
        let Some(tag) = tag_of_token(&event.holder().token).filter(|tag| *tag != hub.tag) else { return };
        match event {
            TokenEvent::Up(_) => {
                if let Ok(publisher) = self.endpoint.publisher(&self.names.to_instance(tag), OUTPUT) {
                    self.lock_instances().insert(tag, publisher);
                }
            }
            TokenEvent::Down(_) => {
                self.lock_instances().remove(&tag);
            }
        }
    }

    fn follow_upstream(self: &Arc<Self>, hub: &Arc<Hub>, event: TokenEvent) {
        match event {
            TokenEvent::Up(holder) => {
                // Of an endpoint that was started again, the life before is over.
                let mut all = self.lock_upstreams();
                let before =
                    all.iter().filter(|((id, life), _)| *id == holder.endpoint_id && *life != holder.incarnation);
                before.for_each(|(_, present)| present.set(Presence::Gone));
                let (is_up, _) = watch::channel(Presence::Up);
                let watcher = is_up.subscribe();
                all.insert((holder.endpoint_id, holder.incarnation), Present { is_up, lane: None });
                drop(all);
                tokio::spawn(upstream::run(Arc::clone(hub), Arc::clone(self), holder, watcher));
            }
            TokenEvent::Down(holder) => {
                let is_there = self
                    .endpoint
                    .peers()
                    .iter()
                    .any(|peer| peer.info.id == holder.endpoint_id && peer.info.incarnation == holder.incarnation);
                self.set(&holder, if is_there { Presence::Leaving } else { Presence::Gone });
            }
        }
    }

    fn set(&self, holder: &Holder, presence: Presence) {
        if let Some(present) = self.lock_upstreams().get(&(holder.endpoint_id, holder.incarnation)) {
            present.set(presence);
        }
    }

    /// Whoever is gone, or was not served for a while, has lost messages: others get them.
    fn notice(&self, notice: &Notice) {
        let id = match notice {
            Notice::PeerDown { id, .. } => *id,
            Notice::PeerIsolated { id, .. } => {
                let all = self.lock_upstreams();
                let lanes =
                    all.iter().filter(|((life, _), _)| life == id).filter_map(|(_, present)| present.lane.as_ref());
                return lanes.for_each(|lane| lane.fail());
            }
            _ => return,
        };
        let all = self.lock_upstreams();
        all.iter().filter(|((life, _), _)| *life == id).for_each(|(_, present)| present.set(Presence::Gone));
    }

    fn lock_instances(&self) -> MutexGuard<'_, BTreeMap<u64, Publisher>> {
        self.instances.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_upstreams(&self) -> MutexGuard<'_, BTreeMap<Life, Present>> {
        self.upstreams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Present {
    /// There is no way back.
    fn set(&self, to: Presence) {
        self.is_up.send_if_modified(|now| {
            let changes = to != Presence::Up && *now != Presence::Gone && *now != to;
            if changes {
                *now = to;
            }
            changes
        });
    }
}

fn encode(order: Order) -> Vec<u8> {
    OutputStreamRequest::from(order).encode_to_vec()
}

/// How long it is tried to reach another instance. One that is gone is known to be after 2 s.
pub(crate) const ORDER_EXPIRY: Duration = Duration::from_secs(60);
