//! A worker: serves requests that routers send it, with no port open.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use glue_endpoint::{
    CallbackSubscription, Endpoint, Item, PublishError, SubscribeError, Token, TokenError, TokenEvent,
};
use http::{Request, Response};
use http_body::Body;
use tokio::sync::Notify;
use tower_service::Service;

use crate::announcement::Announcement;
use crate::body::Incoming;
use crate::compress::Packing;
use crate::link::{Departure, Link, TYPE, instance, names};
use crate::relay::{Relay, RelayError};
use crate::stream::Stream;
use crate::transfer::Transfer;
use crate::wire::{Flags, Frame, Reason};

mod answer;

/// A worker before it serves.
#[derive(Debug)]
pub struct Worker {
    endpoint: Endpoint,
    announcement: Announcement,
    transfer: Transfer,
}

/// Why a worker did not start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// The announcement is not sound.
    #[error("the id `{0}`, or a rule of the announcement, is not sound")]
    Announcement(String),
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

impl Worker {
    /// A worker on this endpoint, which may have several.
    #[must_use]
    pub fn new(endpoint: Endpoint, announcement: Announcement) -> Self {
        Self { endpoint, announcement, transfer: Transfer::default() }
    }

    /// How bodies of responses pass.
    #[must_use]
    pub fn transfer(mut self, transfer: Transfer) -> Self {
        self.transfer = transfer;
        self
    }

    /// Serves requests by a `tower` service, each in a task of its own. Ends when the handle is dropped.
    ///
    /// A request whose client has gone is cancelled: the service's future, or its body, is dropped. A service that fails or
    /// panics is a 502 to the client.
    ///
    /// # Errors
    /// [`WorkerError`]; nothing was announced.
    pub async fn serve<S, B>(self, service: S) -> Result<Serving, WorkerError>
    where
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Future: Send,
        S::Error: std::fmt::Display + Send,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: std::fmt::Display + Send,
    {
        if !self.announcement.is_valid() {
            return Err(WorkerError::Announcement(self.announcement.id));
        }
        let name = instance(&self.endpoint);
        let inner = Arc::new(Inner {
            name: name.clone(),
            departure: Departure::new(self.endpoint.clone()),
            packing: self.transfer.packing(),
            relay: self.transfer.relay()?,
            announcement: Mutex::new(self.announcement),
            links: Mutex::default(),
            at_work: AtomicUsize::new(0),
            idle: Notify::new(),
            is_draining: AtomicBool::new(false),
        });
        let (sink, runtime) = (Arc::clone(&inner), tokio::runtime::Handle::current());
        let on_item = move |item| {
            let _entered = runtime.enter();
            sink.take(item, &service);
        };
        let inbox = self.endpoint.subscribe_items_with(&names::down(&name, "+"), TYPE, on_item).await?;
        // Routers come only when they see this, and by then the inbox is known to them.
        let token = self.endpoint.token(&format!("{}{name}", names::WORKERS))?;
        let routers = self.endpoint.token_events(&format!("{}+", names::ROUTERS))?;
        let watch = tokio::spawn(watch(Arc::clone(&inner), routers));
        Ok(Serving { inner, token: Some(token), inbox: Some(inbox), watch })
    }
}

/// A worker that serves until this is dropped. Better is [`Serving::drain`], which finishes what it has.
#[derive(Debug)]
pub struct Serving {
    inner: Arc<Inner>,
    token: Option<Token>,
    inbox: Option<CallbackSubscription>,
    watch: tokio::task::JoinHandle<()>,
}

impl Serving {
    /// By which others change what this worker tells of itself.
    #[must_use]
    pub fn announcer(&self) -> Announcer {
        Announcer(Arc::clone(&self.inner))
    }

    /// The id that it announces.
    #[must_use]
    pub fn id(&self) -> String {
        self.inner.announced().id.clone()
    }

    /// Requests that are being served.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.inner.at_work.load(Ordering::Acquire)
    }

    /// Takes no more requests and finishes those that it has, for `patience` at most. Returns whether all were finished.
    pub async fn drain(mut self, patience: Duration) -> bool {
        self.inner.is_draining.store(true, Ordering::Release);
        self.inner.announce(|announcement| announcement.draining = true);
        let finished = tokio::time::timeout(patience, self.inner.finished()).await.is_ok();
        self.end();
        finished
    }

    fn end(&mut self) {
        self.watch.abort();
        self.token = None;
        self.inbox = None;
        self.inner.links().drain().for_each(|(_, gate)| gate.link.close());
    }
}

/// Changes what a worker tells of itself.
#[derive(Clone, Debug)]
pub struct Announcer(Arc<Inner>);

impl Announcer {
    /// Tells all routers, if it is a change and sound.
    pub fn announce(&self, change: impl FnOnce(&mut Announcement)) {
        self.0.announce(change);
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.end();
    }
}

#[derive(Debug)]
struct Inner {
    name: String,
    departure: Arc<Departure>,
    packing: Packing,
    relay: Option<Relay>,
    announcement: Mutex<Announcement>,
    links: Mutex<HashMap<String, Gate>>,
    at_work: AtomicUsize,
    idle: Notify,
    is_draining: AtomicBool,
}

/// A router, as a worker sees it.
#[derive(Debug)]
struct Gate {
    link: Arc<Link>,
    /// It has seen that we drain.
    is_finished: bool,
}

impl Inner {
    /// On the thread that received: it does no more than look where things belong.
    fn take<S, B>(self: &Arc<Self>, item: Item, service: &S)
    where
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Future: Send,
        S::Error: std::fmt::Display + Send,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: std::fmt::Display + Send,
    {
        let message = match item {
            Item::Message(message) => message,
            Item::Gap(gap) => {
                let link = self.link(names::last(&gap.source.topic_name));
                link.iter().for_each(Link::break_all);
                return;
            }
        };
        let router = names::last(&message.topic_name);
        match Frame::decode(message.payload.clone()) {
            Ok(Frame::Hello) => drop(tokio::spawn(Arc::clone(self).greet(router.to_owned()))),
            Ok(Frame::Fin) => self.finish(router),
            Ok(Frame::Head { stream, flags, head, body }) => {
                let Some(link) = self.link(router) else { return };
                let Some(open) = self.admit(&link, stream, flags, body) else { return };
                let call = answer::Call::new(Arc::clone(self), link, stream, open);
                tokio::spawn(call.run(service.clone(), head, flags));
            }
            Ok(frame) => {
                if let Some(link) = self.link(router) {
                    link.dispatch(frame);
                }
            }
            Err(malformed) => tracing::debug!("{malformed} from {router}"),
        }
    }

    /// A stream for a request, or none if it is refused.
    fn admit(&self, link: &Arc<Link>, id: u64, flags: Flags, body: Bytes) -> Option<Arc<Stream>> {
        let capacity = match self.announced().capacity {
            0 => MOST_REQUESTS,
            capacity => capacity as usize,
        };
        let has_room = self.at_work.load(Ordering::Acquire) < capacity;
        let stream = has_room.then(|| link.accept(id)).flatten();
        let Some(stream) = stream.filter(|stream| stream.put_data(body, flags).is_ok()) else {
            link.post(&Frame::Reset { stream: id, reason: Reason::Refused });
            return None;
        };
        Some(stream)
    }

    /// A router asks who we are.
    async fn greet(self: Arc<Self>, router: String) {
        let known = self.link(&router);
        let link = match known {
            Some(link) => link,
            None => {
                let Ok(link) = Link::new(&self.departure, &names::up(&router, &self.name)) else { return };
                self.links().entry(router.clone()).or_insert(Gate { link, is_finished: false }).link.clone()
            }
        };
        // Who asks and vanishes is forgotten when its token goes; this is for who never had one.
        if !tokio::time::timeout(GREETING, link.connected()).await.unwrap_or(false) {
            self.lose(&router);
            return;
        }
        let json = self.announced().to_json().into();
        let _ = link.send(&Frame::Announce(json)).await;
    }

    fn announce(&self, change: impl FnOnce(&mut Announcement)) {
        let json = {
            let mut announcement = self.announced();
            let mut changed = announcement.clone();
            change(&mut changed);
            if !changed.is_valid() || changed == *announcement {
                return;
            }
            *announcement = changed;
            Bytes::from(announcement.to_json())
        };
        self.links().values().for_each(|gate| gate.link.post(&Frame::Announce(json.clone())));
    }

    /// Waits until all routers have seen that we drain, and nothing is left to do.
    async fn finished(&self) {
        loop {
            let idle = self.idle.notified();
            let is_quiet = self.links().values().all(|gate| gate.is_finished);
            if is_quiet && self.at_work.load(Ordering::Acquire) == 0 {
                return;
            }
            idle.await;
        }
    }

    fn finish(&self, router: &str) {
        if let Some(gate) = self.links().get_mut(router) {
            gate.is_finished = true;
        }
        self.idle.notify_waiters();
    }

    fn lose(&self, router: &str) {
        let gate = self.links().remove(router);
        if let Some(gate) = gate {
            gate.link.close();
        }
        self.idle.notify_waiters();
    }

    fn link(&self, router: &str) -> Option<Arc<Link>> {
        self.links().get(router).map(|gate| Arc::clone(&gate.link))
    }

    fn links(&self) -> MutexGuard<'_, HashMap<String, Gate>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn announced(&self) -> MutexGuard<'_, Announcement> {
        self.announcement.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A router that is gone waits for no answer.
async fn watch(inner: Arc<Inner>, mut routers: glue_endpoint::TokenEvents) {
    while let Some(event) = routers.recv().await {
        if let TokenEvent::Down(holder) = event {
            inner.lose(names::last(&holder.token));
        }
    }
}

/// Requests of all routers that a worker without a capacity takes at a time.
const MOST_REQUESTS: usize = 16_384;

/// How long a router may take to hear us after it asked who we are.
const GREETING: Duration = Duration::from_secs(10);
