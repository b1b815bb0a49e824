//! The endpoint that applications hold.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use glue_net::driver::{BindError, Clock, Local, SocketConfig};
use glue_net::{EndpointId, Incarnation, Rng};
use glue_security::PublicKey;
use glue_topics::{CacheError, Data, Item, Message, PublishError, SubscribeError, SubscribeOptions};

use crate::config::{Config, ConfigError};
use crate::engine::Engine;
use crate::env::EnvError;
use crate::identity::{IdentityError, security};
use crate::notice::Notices;
use crate::publisher::{Publisher, TryPublishError};
use crate::report::{PeerReport, Report, TopicReport};
use crate::settings::{Builder, Settings};
use crate::shared::Shared;
use crate::subscription::{CallbackSubscription, Subscription};
use crate::trust_file::{TrustFileError, trusted};

/// An endpoint on the network: publishes and subscribes, found by others and finding them, with no broker and no
/// configuration.
///
/// A clone is another handle to the same endpoint. When the last handle is dropped (those inside [`Publisher`] and
/// [`Subscription`] count), the endpoint says goodbye and its threads end; what is not yet acknowledged is lost then,
/// unless [`Endpoint::close`] was awaited before.
///
/// Its work is done on two threads of its own and on those that call it; it needs no async runtime, and a runtime that
/// stalls does not stall it.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
///
/// let endpoint = glue_endpoint::Endpoint::from_env().await?;
/// let mut sub = endpoint.subscribe("some_topic", "some_type").await?;
/// endpoint.publish("some_topic", "some_type", Duration::from_millis(100), "Hello, world.").await?;
/// if let Some(message) = sub.recv().await {
///     println!("{} said {:?}", message.endpoint_name, message.payload);
/// }
/// endpoint.close(Duration::from_secs(1)).await;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Endpoint {
    pub(crate) shared: Arc<Shared>,
}

/// Why an endpoint did not start. Nothing is left running.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A `GLUE_*` variable is malformed.
    #[error(transparent)]
    Env(#[from] EnvError),
    /// A setting is out of range.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A cache that `GLUE_CACHE` or [`Settings::caches`] asks for is refused.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The identity that `GLUE_IDENTITY_FILE` or [`Settings::identity_file`] names can not be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The file that `GLUE_TRUSTED_PEERS` or [`Settings::trusted_peers`] names can not be used.
    #[error(transparent)]
    TrustFile(#[from] TrustFileError),
    /// A socket could not be opened.
    #[error(transparent)]
    Bind(#[from] BindError),
}

impl Endpoint {
    /// Starts an endpoint as the `GLUE_*` environment variables say; all are optional.
    ///
    /// # Errors
    /// [`StartError`] names each variable that is malformed, or the address that can not be used.
    pub async fn from_env() -> Result<Self, StartError> {
        Self::builder_from_env()?.start().await
    }

    /// Sets what the environment does not: start from the defaults.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// As [`Endpoint::builder`], but starting from the environment.
    ///
    /// # Errors
    /// [`EnvError`] names each variable that is malformed.
    pub fn builder_from_env() -> Result<Builder, EnvError> {
        Settings::from_env().map(Builder::from)
    }

    /// Publishes a message: `payload` on the topic, to live for `expiry`. Returns when the message is on its way; waits
    /// while a subscriber's queue is full.
    ///
    /// Who publishes often to one topic does better with a [`Publisher`].
    ///
    /// Cancel safe: a call that is dropped while it waits has sent nothing.
    ///
    /// # Errors
    /// [`PublishError`] for a bad name, another type than this endpoint uses the topic with, a message over the limit
    /// (64 MiB) or an expiry of zero; nothing was sent.
    pub async fn publish<'a>(
        &self,
        topic: &str,
        type_name: &str,
        expiry: Duration,
        payload: impl Into<Data<'a>>,
    ) -> Result<(), PublishError> {
        self.publisher(topic, type_name)?.publish(expiry, payload).await
    }

    /// As [`Endpoint::publish`], but never waits.
    ///
    /// # Errors
    /// [`TryPublishError::WouldBlock`] if a subscriber's queue is full; otherwise as [`Endpoint::publish`]. Nothing was
    /// sent.
    pub fn try_publish<'a>(
        &self,
        topic: &str,
        type_name: &str,
        expiry: Duration,
        payload: impl Into<Data<'a>>,
    ) -> Result<(), TryPublishError> {
        self.publisher(topic, type_name)?.try_publish(expiry, payload)
    }

    /// A handle that publishes to one topic.
    ///
    /// # Errors
    /// [`PublishError`] for a bad name, or another type than this endpoint uses the topic with.
    pub fn publisher(&self, topic: &str, type_name: &str) -> Result<Publisher, PublishError> {
        Publisher::new(Arc::clone(&self.shared), topic, type_name)
    }

    /// Sends now what publishers have gathered, see [`Publisher::gather`].
    pub fn flush(&self) {
        self.shared.flush();
    }

    /// Subscribes to a topic, or to all topics that a filter with wildcards matches: `+` stands for a level, `#` for all
    /// that follows, see [`glue_topics::Filter`]. Messages wait in the subscription until they are received; while it is
    /// full the publishers wait.
    ///
    /// An empty type takes messages of every type, and so does `#`. With wildcards a type takes those topics that have it;
    /// a filter without gives a [`Notice`](crate::Notice) if a publisher uses another.
    ///
    /// Subscriptions may overlap: each gets what it matches, once.
    /// Of the subscriptions to `$share/<group>/<filter>`, on all endpoints, one gets each message, see [`Subscription`].
    ///
    /// # Errors
    /// [`SubscribeError`] for a bad filter, or another type than this endpoint uses the topic with.
    #[expect(clippy::unused_async, reason = "subscribing may come to wait for peers, and the API must not change then")]
    pub async fn subscribe(&self, topic: &str, type_name: &str) -> Result<Subscription, SubscribeError> {
        Subscription::new(Arc::clone(&self.shared), topic, type_name, SubscribeOptions::default())
    }

    /// Subscribes with a function that is called for each message, on the thread that received it: the fastest way, with
    /// no task switch. While it runs, nothing else is delivered to this endpoint, but everything else goes on:
    /// acknowledgements, announcements, publishing.
    ///
    /// The subscription ends when the returned handle is dropped.
    ///
    /// # Errors
    /// As [`Endpoint::subscribe`].
    pub async fn subscribe_with(
        &self,
        topic: &str,
        type_name: &str,
        mut on_message: impl FnMut(Message) + Send + 'static,
    ) -> Result<CallbackSubscription, SubscribeError> {
        self.subscribe_items_with(topic, type_name, move |item| {
            if let Item::Message(message) = item {
                on_message(message);
            }
        })
        .await
    }

    /// As [`Endpoint::subscribe_with`], but the function sees gaps too, in their place among the messages.
    ///
    /// # Errors
    /// As [`Endpoint::subscribe`].
    #[expect(clippy::unused_async, reason = "subscribing may come to wait for peers, and the API must not change then")]
    pub async fn subscribe_items_with(
        &self,
        topic: &str,
        type_name: &str,
        on_item: impl FnMut(Item) + Send + 'static,
    ) -> Result<CallbackSubscription, SubscribeError> {
        let options = SubscribeOptions::default();
        CallbackSubscription::new(Arc::clone(&self.shared), topic, type_name, options, Box::new(on_item))
    }

    /// What happens: peers up, down and moved, clashes, topics whose types do not fit. The first stream tells everything
    /// since the start; a later one begins with a [`Notice::PeerUp`](crate::Notice::PeerUp) for each peer that is there,
    /// and goes on with what happens from then on. So who follows any stream knows who is there.
    #[must_use]
    pub fn events(&self) -> Notices {
        self.shared.watch()
    }

    /// The peers that are there now, with what was exchanged with each.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerReport> {
        self.shared.call(|engine, _| engine.report_peers())
    }

    /// The topics that are or were in use, with what was published and received on each.
    #[must_use]
    pub fn topic_stats(&self) -> Vec<TopicReport> {
        self.shared.call(|engine, _| engine.report_topics())
    }

    /// Counters of every layer.
    #[must_use]
    pub fn stats(&self) -> Report {
        self.shared.call(|engine, _| engine.report())
    }

    /// Our id.
    #[must_use]
    pub fn id(&self) -> EndpointId {
        self.shared.id
    }

    /// Our name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// By what we are known in a private network: what stands in the files of those who trust us ([`Settings::trusted_peers`]).
    /// `None`: the network is not private.
    #[must_use]
    pub fn public_key(&self) -> Option<PublicKey> {
        self.shared.call(|engine, _| engine.config.discovery.public_key)
    }

    /// Where we take data. The IP is a wildcard if [`Settings::listen_address`]'s is.
    #[must_use]
    pub fn data_address(&self) -> SocketAddr {
        self.shared.data
    }

    /// Waits until every peer that can be reached has acknowledged everything, for `patience` at most, then says goodbye
    /// and stops. Returns whether all was acknowledged (or has expired).
    ///
    /// Subscriptions end; publishing through any handle afterwards reaches nobody.
    ///
    /// Cancel safe: a call that is dropped leaves the endpoint running, but without its wills.
    pub async fn close(&self, patience: Duration) -> bool {
        let drained = self.shared.drain(patience).await;
        self.shared.stop();
        drained
    }
}

impl Builder {
    /// Starts the endpoint.
    ///
    /// # Errors
    /// [`StartError`] names the setting that is out of range, or the address that can not be used.
    #[expect(
        clippy::unused_async,
        reason = "starting may come to wait for the network, and the API must not change then"
    )]
    pub async fn start(self) -> Result<Endpoint, StartError> {
        let shared = start(self.settings())?;
        Ok(Endpoint { shared })
    }
}

fn start(settings: &Settings) -> Result<Arc<Shared>, StartError> {
    let wall = Clock::wall();
    let incarnation = Incarnation(u64::try_from(wall.as_unix_nanos()).unwrap_or(1));
    // Two endpoints may start in one nanosecond, and one process may start two: the process id and an address of its
    // memory tell them apart.
    let here = std::ptr::from_ref(settings).addr() as u64;
    let mut rng = Rng::new(incarnation.0 ^ (u64::from(std::process::id()) << 40) ^ here.rotate_left(17));
    let id = settings.endpoint_id.unwrap_or_else(|| EndpointId::random(wall, &mut rng));
    let name = settings.endpoint_name.clone().unwrap_or_else(|| format!("Endpoint_{id}"));

    let mut discovery = glue_discovery::Config::new(id, name);
    discovery.network = settings.network_id;
    discovery.incarnation = incarnation;
    discovery.announce_interval = settings.discovery_interval;
    discovery.timeout_multiplier = settings.discovery_timeout_multiplier;
    discovery.targets.clone_from(&settings.discovery_targets);
    let mut config = Config::new(discovery).with_memory_budget(settings.memory_budget_bytes);
    config.security = security(settings)?;
    let (trust, trust_file) = trusted(settings)?.unzip();
    config.trust = trust;

    let mut sockets = SocketConfig::default();
    sockets.listen = settings.listen_address;
    sockets.interface.clone_from(&settings.listen_interface);
    sockets.discovery_listen = settings.discovery_listen_address;
    let network = config.discovery.network;
    let public_key = config.security.as_ref().map(|security| security.credentials.identity.public_key());
    let make = |local: &Local| -> Result<Engine, StartError> {
        let mut engine = engine(config, local, &mut rng)?;
        engine.open_caches(settings)?;
        Ok(engine)
    };
    let shared = Shared::start(&sockets, make)?;
    if let Some(file) = trust_file {
        file.follow(&shared)?;
    }
    let public_key = public_key.map(tracing::field::display);
    tracing::info!(%id, name = shared.name, %network, data = %shared.data, public_key, "endpoint started");
    Ok(shared)
}

fn engine(mut config: Config, local: &Local, rng: &mut Rng) -> Result<Engine, ConfigError> {
    config.discovery.data_port = local.data.port();
    config.discovery.data_ip = Some(local.data.ip()).filter(|ip| !ip.is_unspecified());
    // The last datagram that fits may be as large as the whole room that is left, so an eighth is kept free.
    config.transport.socket_window_bytes = local.receive_buffer as u64 / 8 * 7;
    let now = Clock::now();
    let mut engine = Engine::new(now, config, local.clock, rng)?;
    engine.handle_interfaces(now, local.interfaces.clone());
    Ok(engine)
}
