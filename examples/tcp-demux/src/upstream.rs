//! For services that are glue endpoints: how they become upstreams.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use glue_endpoint::{Endpoint, PublishError, Publisher, Subscription, Token};
use prost::Message as _;
use uuid::Uuid;

use crate::glue::{GlueError, ORDER_EXPIRY};
use crate::topics::{INPUT, Names, OUTPUT, tag_of};
use crate::wire::proto::{InputStreamRequest, OutputStreamRequest, event};
use crate::wire::{Action, Audience, Order};

/// A client that is connected to some instance.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId(Uuid);

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// It is no UUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a client's id is a UUID")]
pub struct ClientIdError;

impl FromStr for ClientId {
    type Err = ClientIdError;

    fn from_str(text: &str) -> Result<Self, ClientIdError> {
        text.parse().map(Self).map_err(|_| ClientIdError)
    }
}

/// Something that a client did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Received {
    /// Who.
    pub client: ClientId,
    /// What.
    pub what: Happening,
    /// Another upstream may have processed it before it failed.
    pub redelivered: bool,
}

/// What a client did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Happening {
    /// It is there, coming from this address.
    Connected(String),
    /// It sent a message.
    Data(Bytes),
    /// It is gone, for this reason.
    Disconnected(String),
    /// It was with another upstream before, and is with this one now; it comes from this address.
    Moved(String),
}

/// Whom a broadcast reaches, on all instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Everyone {
    /// Those that sent or were sent something within the time that is configured, 30 s by default.
    Active,
    /// All.
    All,
    /// The others.
    NotActive,
}

/// A service that gets what clients send, from all instances of a demultiplexer that it finds.
///
/// A message is done when the next one is asked for. What is not done when this service dies goes to another.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use tcp_demux::{Happening, Upstream};
///
/// let endpoint = glue_endpoint::Endpoint::from_env().await?;
/// let mut upstream = Upstream::join(&endpoint, "tcp-demux", false).await?;
/// while let Some(received) = upstream.recv().await {
///     if let Happening::Data(data) = received.what {
///         upstream.send(received.client, data).await?;
///     }
/// }
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Upstream {
    endpoint: Endpoint,
    names: Names,
    subscription: Subscription,
    token: Option<Token>,
    to_all: Publisher,
    /// By the instance: where it takes messages, and what it sent us.
    instances: BTreeMap<u64, Instance>,
    /// Its message is done when the next one is asked for.
    current: Option<(u64, u64)>,
}

#[derive(Debug)]
struct Instance {
    publisher: Publisher,
    /// The last message that is done, and the last that was acknowledged.
    done: u64,
    acknowledged: u64,
    unacknowledged: u32,
}

impl Upstream {
    /// Becomes an upstream of a service: the name that the instances were given, `tcp-demux` by default. With
    /// `wants_events` it is told who connects and disconnects.
    ///
    /// # Errors
    /// [`GlueError`] for a bad name.
    pub async fn join(endpoint: &Endpoint, service: &str, wants_events: bool) -> Result<Self, GlueError> {
        let names = Names(service.to_owned());
        let subscription = endpoint.subscribe(&names.to_upstream(endpoint.id()), INPUT).await?;
        let to_all = endpoint.publisher(&names.to_instances(), OUTPUT)?;
        let token = Some(endpoint.token(&names.upstream_token(wants_events))?);
        let (endpoint, instances) = (endpoint.clone(), BTreeMap::new());
        Ok(Self { endpoint, names, subscription, token, to_all, instances, current: None })
    }

    /// Waits for what comes next. `None` after the endpoint was closed. The one before is done then.
    ///
    /// Cancel safe: a dropped call loses nothing.
    pub async fn recv(&mut self) -> Option<Received> {
        self.done();
        loop {
            let message = match self.subscription.try_recv() {
                Some(message) => message,
                None => {
                    // They are put together as long as there is more to do.
                    self.acknowledge(1).await;
                    self.subscription.recv().await?
                }
            };
            let Ok(request) = InputStreamRequest::decode(message.payload.clone()) else { continue };
            let Ok(client) = request.client_uuid.parse::<Uuid>() else { continue };
            self.current = Some((tag_of(client), request.sequence));
            self.acknowledge(ACKNOWLEDGE_AFTER).await;
            return Some(received(client, request));
        }
    }

    /// Takes no more messages, does without those that were not received yet, and tells what is done.
    pub async fn leave(mut self) {
        self.token = None;
        self.done();
        self.acknowledge(1).await;
    }

    /// Sends to one client, wherever it is connected. Nobody is told if it is gone.
    ///
    /// # Errors
    /// [`PublishError`] for more than 64 MiB.
    pub async fn send(&mut self, client: ClientId, payload: impl Into<Bytes>) -> Result<(), PublishError> {
        self.order(client, payload.into(), None).await
    }

    /// Closes the connection of a client, once what was sent to it before is written.
    ///
    /// # Errors
    /// As [`Upstream::send`].
    pub async fn close(&mut self, client: ClientId) -> Result<(), PublishError> {
        self.order(client, Bytes::new(), Some(Action::Close)).await
    }

    /// Has a client join a group, which is there as long as it has members; a client may be in 64, with names of up to 256 bytes.
    ///
    /// # Errors
    /// As [`Upstream::send`].
    pub async fn join_group(&mut self, client: ClientId, group: &str) -> Result<(), PublishError> {
        self.order(client, Bytes::new(), Some(Action::Join(group.to_owned()))).await
    }

    /// Has a client leave a group.
    ///
    /// # Errors
    /// As [`Upstream::send`].
    pub async fn leave_group(&mut self, client: ClientId, group: &str) -> Result<(), PublishError> {
        self.order(client, Bytes::new(), Some(Action::Leave(group.to_owned()))).await
    }

    /// Sends to all clients of a group, on all instances.
    ///
    /// # Errors
    /// As [`Upstream::send`].
    pub async fn send_to_group(&self, group: &str, payload: impl Into<Bytes>) -> Result<(), PublishError> {
        self.order_all(Audience::Group(group.to_owned()), payload.into()).await
    }

    /// Sends to clients on all instances. There is no order between this and what is sent to single clients.
    ///
    /// # Errors
    /// As [`Upstream::send`].
    pub async fn broadcast(&self, whom: Everyone, payload: impl Into<Bytes>) -> Result<(), PublishError> {
        let audience = match whom {
            Everyone::Active => Audience::Active,
            Everyone::All => Audience::All,
            Everyone::NotActive => Audience::NotActive,
        };
        self.order_all(audience, payload.into()).await
    }

    async fn order(&mut self, client: ClientId, payload: Bytes, action: Option<Action>) -> Result<(), PublishError> {
        let order = Order { audience: Audience::Client(client.0), payload, action };
        let instance = self.instance(tag_of(client.0))?;
        instance.publisher.publish(ORDER_EXPIRY, &OutputStreamRequest::from(order).encode_to_vec()).await
    }

    async fn order_all(&self, audience: Audience, payload: Bytes) -> Result<(), PublishError> {
        let order = Order { audience, payload, action: None };
        self.to_all.publish(ORDER_EXPIRY, &OutputStreamRequest::from(order).encode_to_vec()).await
    }

    fn done(&mut self) {
        if let Some((tag, sequence)) = self.current.take()
            && let Ok(instance) = self.instance(tag)
        {
            instance.done = instance.done.max(sequence);
            instance.unacknowledged += 1;
        }
    }

    /// Tells each instance what is done, if that is at least so many messages.
    async fn acknowledge(&mut self, least: u32) {
        for instance in self.instances.values_mut() {
            if instance.unacknowledged < least || instance.done == instance.acknowledged {
                continue;
            }
            (instance.acknowledged, instance.unacknowledged) = (instance.done, 0);
            let request = OutputStreamRequest { acknowledged: instance.done, ..OutputStreamRequest::default() };
            // It can not be too long, which is all that could go wrong.
            let _ = instance.publisher.publish(Duration::MAX, &request.encode_to_vec()).await;
        }
    }

    fn instance(&mut self, tag: u64) -> Result<&mut Instance, PublishError> {
        if self.instances.len() >= MAX_INSTANCES && !self.instances.contains_key(&tag) {
            // Those that are gone are the most; the others come back when they are needed.
            self.instances.retain(|_, instance| instance.unacknowledged > 0);
        }
        let publisher = match self.instances.remove(&tag) {
            Some(instance) => return Ok(self.instances.entry(tag).or_insert(instance)),
            None => self.endpoint.publisher(&self.names.to_instance(tag), OUTPUT)?,
        };
        let instance = Instance { publisher, done: 0, acknowledged: 0, unacknowledged: 0 };
        Ok(self.instances.entry(tag).or_insert(instance))
    }
}

fn received(client: Uuid, request: InputStreamRequest) -> Received {
    let what = match request.event {
        None => Happening::Data(request.payload),
        Some(event) => match event.kind() {
            event::Kind::Disconnected => Happening::Disconnected(event.reason),
            event::Kind::Moved => Happening::Moved(event.peer_address),
            event::Kind::Connected | event::Kind::Unspecified => Happening::Connected(event.peer_address),
        },
    };
    Received { client: ClientId(client), what, redelivered: request.redelivered }
}

/// Messages that one acknowledgement stands for while there is more to do: a small part of what a window holds.
const ACKNOWLEDGE_AFTER: u32 = 64;

/// Instances that are remembered. Each costs a publisher, about 1 KiB.
const MAX_INSTANCES: usize = 1_024;
