//! The upstreams that are known, whatever their state.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use uuid::Uuid;

use crate::lane::Confirm;

/// An upstream as it is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrpcUpstream {
    /// IP address or name.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How long `live` may take to answer, and the interval at which it and `ready` are asked. Default 30 s.
    pub alive_timeout: Duration,
    /// How long a connection and `ready` may take. Default 30 s.
    pub ready_timeout: Duration,
    /// Streams to it. Default 1; 1 to 64.
    pub streams: usize,
    /// When a message is settled, if the service does not acknowledge. Default: when it is sent.
    pub confirm: Confirm,
}

impl GrpcUpstream {
    /// The defaults, for a service at this address.
    #[must_use]
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self {
            host: host.into(),
            port,
            alive_timeout: Duration::from_secs(30),
            ready_timeout: Duration::from_secs(30),
            streams: 1,
            confirm: Confirm::default(),
        }
    }

    /// `grpc://host:port`.
    #[must_use]
    pub fn name(&self) -> String {
        if self.host.contains(':') {
            format!("grpc://[{}]:{}", self.host, self.port)
        } else {
            format!("grpc://{}:{}", self.host, self.port)
        }
    }

    /// Whether all is in its range.
    ///
    /// # Errors
    /// What is not.
    pub fn check(&self) -> Result<(), String> {
        let is_host = !self.host.is_empty()
            && self.host.len() <= 253
            && self.host.chars().all(|c| c.is_ascii_alphanumeric() || ".:-_".contains(c));
        if !is_host {
            return Err(format!("host: {:?} is no host name or IP address", self.host));
        }
        let checks = [
            ("port", self.port > 0, "1 to 65535"),
            ("alive_timeout", (LEAST_TIMEOUT..=MOST_TIMEOUT).contains(&self.alive_timeout), "1 ms to 1 h"),
            ("ready_timeout", (LEAST_TIMEOUT..=MOST_TIMEOUT).contains(&self.ready_timeout), "1 ms to 1 h"),
            ("streams", (1..=MAX_STREAMS).contains(&self.streams), "1 to 64"),
        ];
        let bad = checks.into_iter().find(|(_, is_good, _)| !is_good);
        bad.map_or(Ok(()), |(name, _, range)| Err(format!("{name}: expected {range}")))
    }
}

/// What an upstream is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// It can not be reached, or has failed; it is tried again.
    Away,
    /// It is asked whether it is ready.
    Connecting,
    /// It gets nothing more, and what it has is waited for.
    Draining,
    /// It is there, but says that it is not ready.
    NotReady,
    /// It takes messages.
    Ready,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) id: Uuid,
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) state: watch::Sender<State>,
    pub(crate) wish: watch::Sender<Wish>,
    pub(crate) last_error: Mutex<Option<String>>,
}

/// How it is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Glue,
    Grpc(GrpcUpstream),
}

/// What is wanted of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Stay, but get nothing.
    Drain,
    /// Be gone, once what it has is settled.
    Remove,
    /// Take messages.
    Serve,
}

impl Upstream {
    pub(crate) fn new(name: String, kind: Kind) -> Arc<Self> {
        Arc::new(Self {
            id: Uuid::new_v4(),
            name,
            kind,
            state: watch::Sender::new(State::Connecting),
            wish: watch::Sender::new(Wish::Serve),
            last_error: Mutex::default(),
        })
    }

    /// Waits until something else than to serve is wanted.
    pub(crate) async fn dismissed(&self) -> Wish {
        self.wish.subscribe().wait_for(|wish| *wish != Wish::Serve).await.map_or(Wish::Remove, |wish| *wish)
    }

    /// Waits until something is wanted that `is_wanted` says yes to.
    pub(crate) async fn wishes(&self, is_wanted: impl Fn(Wish) -> bool) {
        let _ = self.wish.subscribe().wait_for(|wish| is_wanted(*wish)).await;
    }

    pub(crate) fn fail(&self, error: impl ToString) {
        let error = error.to_string();
        tracing::warn!(upstream = self.name, "{error}");
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Upstreams(Mutex<BTreeMap<Uuid, Arc<Upstream>>>);

impl Upstreams {
    /// Adds one; false if there is one of its name, or there are as many as may be.
    pub(crate) fn add(&self, upstream: &Arc<Upstream>) -> Result<(), AddRefused> {
        let mut all = self.lock();
        let is_wanted = |other: &Upstream| *other.wish.borrow() != Wish::Remove;
        if all.values().any(|other| other.name == upstream.name && is_wanted(other)) {
            return Err(AddRefused::Duplicate);
        }
        if all.len() >= MAX_UPSTREAMS {
            return Err(AddRefused::TooMany);
        }
        all.insert(upstream.id, Arc::clone(upstream));
        Ok(())
    }

    pub(crate) fn remove(&self, id: Uuid) {
        self.lock().remove(&id);
    }

    pub(crate) fn get(&self, id: Uuid) -> Option<Arc<Upstream>> {
        self.lock().get(&id).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Upstream>> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Uuid, Arc<Upstream>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why an upstream was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddRefused {
    /// There is one of this address.
    #[error("there is an upstream of this address already")]
    Duplicate,
    /// There are 256.
    #[error("there are {MAX_UPSTREAMS} upstreams already")]
    TooMany,
}

/// Far more than a process of this kind feeds; each costs a connection and its window.
const MAX_UPSTREAMS: usize = 256;

const MAX_STREAMS: usize = 64;
const LEAST_TIMEOUT: Duration = Duration::from_millis(1);
const MOST_TIMEOUT: Duration = Duration::from_secs(3_600);
