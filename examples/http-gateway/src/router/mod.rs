//! The router: takes HTTP in, chooses a worker, passes the request to it over glue.

mod admin;
mod exchange;
mod forward;
mod group;
mod member;
mod metrics;
mod problem;
mod record;
mod registry;
mod request;
mod response;
mod serve;
mod tls;
mod visit;
mod watched;
mod workers;

use std::sync::Arc;
use std::time::Duration;

use glue_endpoint::{CallbackSubscription, Endpoint, PublishError, SubscribeError, Token, TokenError};
use serde::Deserialize;
use tokio::sync::Notify;

pub use self::admin::Admin;
pub use self::group::Strategy;
use self::metrics::Metrics;
use self::record::AccessLog;
use self::registry::Registry;
pub use self::response::ResponseBody;
pub use self::serve::{Listening, Server};
pub use self::tls::{TlsError, TlsFiles};
use self::workers::Workers;
use crate::compress::Packing;
use crate::link::{TYPE, instance, names};
use crate::relay::{Relay, RelayError};
use crate::transfer::Transfer;

/// How a router treats requests. Every field has a default that works.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct RouterConfig {
    /// How to choose among workers. Default: in turn.
    pub strategy: Strategy,
    /// Clients stay with a worker by this cookie, which the router sets. Default: none.
    pub sticky_cookie: Option<String>,
    /// Requests with the same value of this field go to the same worker. Default: none.
    pub sticky_header: Option<String>,
    /// How long to wait for a response to begin, in seconds. Default 60.
    pub timeout_seconds: f64,
    /// How long a request waits for a worker with capacity, in seconds. Default 5.
    pub queue_seconds: f64,
    /// Requests that may wait so. Default 1,024; each costs its client's connection.
    pub queue_length: usize,
    /// How often a request is tried, at most, if its worker dies before it answers. Default 5.
    pub attempts: u32,
    /// The largest body of a request, in bytes. Default 0: any size. Beyond: 413.
    pub max_body_bytes: u64,
    /// How long a body may stand still, in seconds. Default 30. Beyond: 408.
    pub body_stall_seconds: f64,
    /// The largest head of a request, in bytes. Default 64 KiB; at least 8 KiB. Beyond: 431.
    pub max_header_bytes: usize,
    /// How long a head may take to arrive, in seconds. Default 10. Beyond: 408. A connection on which nothing of a request
    /// comes for so long is closed.
    pub header_seconds: f64,
    /// Writes a line of JSON to standard output for each request. Default: no.
    pub access_log: bool,
    /// Connections of clients. Default 10,000; each costs some 20 KiB. Beyond: 503.
    pub max_connections: usize,
}

impl Default for RouterConfig {
    fn default() -> Self {
        Self {
            strategy: Strategy::default(),
            sticky_cookie: None,
            sticky_header: None,
            timeout_seconds: 60.0,
            queue_seconds: 5.0,
            queue_length: 1_024,
            attempts: 5,
            max_body_bytes: 0,
            body_stall_seconds: 30.0,
            max_header_bytes: 64 << 10,
            header_seconds: 10.0,
            access_log: false,
            max_connections: 10_000,
        }
    }
}

/// Why a router did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RouterError {
    /// The access log has no thread.
    #[error("the access log did not start: {0}")]
    Thread(std::io::Error),
    /// There is no such store.
    #[error(transparent)]
    Relay(#[from] RelayError),
    /// The endpoint can not publish.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The endpoint can not subscribe.
    #[error(transparent)]
    Subscribe(#[from] SubscribeError),
    /// The endpoint holds too many tokens.
    #[error(transparent)]
    Token(#[from] TokenError),
}

/// A router. It serves until the last clone is dropped; [`Server`] gives it a port.
#[derive(Clone, Debug)]
pub struct Router {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: RouterConfig,
    name: String,
    packing: Packing,
    relay: Option<Relay>,
    endpoint: Endpoint,
    registry: Arc<Registry>,
    metrics: Arc<Metrics>,
    log: Option<AccessLog>,
    /// Told when a worker has capacity again, or comes.
    released: Arc<Notify>,
    queue: tokio::sync::Semaphore,
    _inbox: CallbackSubscription,
    _token: Token,
    watch: tokio::task::JoinHandle<()>,
}

impl Router {
    /// Starts a router on this endpoint. Workers that are there are known within a moment.
    ///
    /// # Errors
    /// [`RouterError`]; nothing is left running.
    pub async fn start(endpoint: Endpoint, config: RouterConfig, transfer: Transfer) -> Result<Self, RouterError> {
        let name = instance(&endpoint);
        let (registry, released) = (Arc::new(Registry::default()), Arc::new(Notify::new()));
        let workers =
            Arc::new(Workers::new(endpoint.clone(), name.clone(), Arc::clone(&registry), Arc::clone(&released)));
        let (sink, runtime) = (Arc::clone(&workers), tokio::runtime::Handle::current());
        let on_item = move |item| {
            let _entered = runtime.enter();
            sink.take(item);
        };
        let inbox = endpoint.subscribe_items_with(&names::up(&name, "+"), TYPE, on_item).await?;
        let token = endpoint.token(&format!("{}{name}", names::ROUTERS))?;
        let events = endpoint.token_events(&format!("{}+", names::WORKERS))?;
        let watch = tokio::spawn(workers.watch(events));
        let queue = tokio::sync::Semaphore::new(config.queue_length);
        let (packing, relay) = (transfer.packing(), transfer.relay()?);
        let metrics = Arc::new(Metrics::new());
        let log = if config.access_log { Some(AccessLog::start().map_err(RouterError::Thread)?) } else { None };
        let (_inbox, _token) = (inbox, token);
        let inner = Inner {
            name,
            relay,
            config,
            packing,
            endpoint,
            registry,
            metrics,
            log,
            released,
            queue,
            _inbox,
            _token,
            watch,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Waits until so many workers have announced themselves. Cancel safe.
    pub async fn wait_for_workers(&self, count: usize) {
        self.wait_until(|| self.workers() >= count).await;
    }

    /// How many workers have announced themselves.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.inner.registry.all().len()
    }

    async fn wait_until(&self, is_so: impl Fn() -> bool) {
        loop {
            // Made before the look, so that a change between the look and the wait is not missed.
            let changed = self.inner.released.notified();
            if is_so() {
                return;
            }
            changed.await;
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

impl RouterConfig {
    fn timeout(&self) -> Duration {
        seconds(self.timeout_seconds)
    }
}

/// What can not be a time is none.
pub(crate) fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::ZERO)
}
