//! A link: the pair of topics between one router and one worker, and the streams on it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use glue_endpoint::{Endpoint, PublishError, Publisher};

use crate::stream::Stream;
use crate::wire::{Flags, Frame, Reason, read_trailers};

/// One direction out, the streams of both.
#[derive(Debug)]
pub(crate) struct Link {
    publisher: Publisher,
    streams: Mutex<HashMap<u64, Arc<Stream>>>,
    next_stream: AtomicU64,
    closed: AtomicBool,
    departure: Arc<Departure>,
}

/// What all links of an endpoint have to send leaves together, when the tasks that could add to it have had their turn: one
/// system call here, one datagram and one wake-up at the other end serve the requests of many connections.
#[derive(Debug)]
pub(crate) struct Departure {
    endpoint: Endpoint,
    /// Somebody will send.
    is_due: AtomicBool,
    runtime: tokio::runtime::Handle,
}

impl Departure {
    pub(crate) fn new(endpoint: Endpoint) -> Arc<Self> {
        let runtime = tokio::runtime::Handle::current();
        Arc::new(Self { endpoint, is_due: AtomicBool::new(false), runtime })
    }

    fn request(self: &Arc<Self>) {
        if self.is_due.swap(true, Ordering::AcqRel) {
            return;
        }
        let departure = Arc::clone(self);
        self.runtime.spawn(async move {
            tokio::task::yield_now().await;
            // What is gathered from here on asks anew.
            departure.is_due.store(false, Ordering::Release);
            departure.endpoint.flush();
        });
    }
}

/// The other end is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the other end of the link is gone")]
pub(crate) struct LinkGone;

impl Link {
    /// # Errors
    /// `PublishError` if the topic can not be published to.
    pub(crate) fn new(departure: &Arc<Departure>, topic: &str) -> Result<Arc<Self>, PublishError> {
        Ok(Arc::new(Self {
            publisher: departure.endpoint.publisher(topic, TYPE)?,
            streams: Mutex::default(),
            next_stream: AtomicU64::new(1),
            closed: AtomicBool::new(false),
            departure: Arc::clone(departure),
        }))
    }

    /// Waits until the other end hears us. Cancel safe.
    pub(crate) async fn connected(&self) -> bool {
        self.publisher.wait_for_subscribers(1).await
    }

    /// Sends a frame, after those before it; waits while the other end's queue is full. Cancel safe.
    pub(crate) async fn send(&self, frame: &Frame) -> Result<(), LinkGone> {
        if self.is_closed() {
            return Err(LinkGone);
        }
        let bytes = frame.encode();
        if self.gather(&bytes) {
            return Ok(());
        }
        self.publisher.publish(LIFETIME, &bytes).await.map_err(|_| LinkGone)
    }

    /// Sends a frame whose place among others does not matter, without waiting here.
    pub(crate) fn post(self: &Arc<Self>, frame: &Frame) {
        let bytes = frame.encode();
        if self.is_closed() || self.gather(&bytes) {
            return;
        }
        let link = Arc::clone(self);
        self.departure.runtime.spawn(async move { link.publisher.publish(LIFETIME, &bytes).await });
    }

    /// Hands a frame to glue, to leave soon. False: there is no room now.
    fn gather(&self, frame: &Bytes) -> bool {
        if frame.len() > MOST_GATHERED {
            return self.publisher.try_publish(LIFETIME, frame).is_ok();
        }
        let is_gathered = self.publisher.gather(LIFETIME, frame).is_ok();
        if is_gathered {
            self.departure.request();
        }
        is_gathered
    }

    /// Opens a stream with a number of ours.
    pub(crate) fn open(&self) -> (u64, Arc<Stream>) {
        let id = self.next_stream.fetch_add(1, Ordering::Relaxed);
        let stream = Arc::new(Stream::new());
        self.lock().insert(id, Arc::clone(&stream));
        // Whoever closes the link takes all streams after it has set the mark: one of both sees the other.
        if self.is_closed() {
            stream.reset(Reason::Gone);
        }
        (id, stream)
    }

    /// Opens a stream with a number of the other's. `None` if it is open, or there are too many.
    pub(crate) fn accept(&self, id: u64) -> Option<Arc<Stream>> {
        let mut streams = self.lock();
        if streams.len() >= MAX_STREAMS || streams.contains_key(&id) {
            return None;
        }
        let stream = Arc::new(Stream::new());
        streams.insert(id, Arc::clone(&stream));
        Some(stream)
    }

    pub(crate) fn stream(&self, id: u64) -> Option<Arc<Stream>> {
        self.lock().get(&id).cloned()
    }

    pub(crate) fn forget(&self, id: u64) {
        self.lock().remove(&id);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// The other end is gone: all streams end.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.reset_all(Reason::Gone);
    }

    /// Ends all streams; who reads them sees why.
    pub(crate) fn reset_all(&self, reason: Reason) {
        let streams: Vec<_> = self.lock().drain().collect();
        streams.iter().for_each(|(_, stream)| stream.reset(reason));
    }

    /// Something of this link was lost: which streams it was of is not known.
    pub(crate) fn break_all(self: &Arc<Self>) {
        let open: Vec<u64> = self.lock().keys().copied().collect();
        self.reset_all(Reason::Broken);
        open.into_iter().for_each(|stream| self.post(&Frame::Reset { stream, reason: Reason::Broken }));
    }

    /// What both ends do alike with a frame of an open stream.
    pub(crate) fn dispatch(self: &Arc<Self>, frame: Frame) {
        match frame {
            Frame::Data { stream, flags, body } => {
                self.with(stream, |open| open.put_data(body, flags).is_ok());
            }
            Frame::Trailers { stream, block } => {
                self.with(stream, |open| read_trailers(block).is_ok_and(|all| open.put_trailers(all).is_ok()));
            }
            Frame::Credit { stream, bytes } => {
                self.with(stream, |open| {
                    open.earn(bytes);
                    true
                });
            }
            Frame::Stop { stream } => {
                self.with(stream, |open| {
                    open.stop();
                    true
                });
            }
            Frame::Reset { stream, reason } => {
                let open = self.lock().remove(&stream);
                if let Some(open) = open {
                    open.reset(reason);
                }
            }
            Frame::Hello | Frame::Announce(_) | Frame::Fin | Frame::Head { .. } => {}
        }
    }

    /// A stream whose other end breaks the rules is reset. One that is not open was closed while this was on the way.
    fn with(self: &Arc<Self>, id: u64, take: impl FnOnce(&Stream) -> bool) {
        let Some(stream) = self.stream(id) else { return };
        if !take(&stream) {
            self.forget(id);
            stream.reset(Reason::Broken);
            self.post(&Frame::Reset { stream: id, reason: Reason::Broken });
        }
    }

    /// A response begins.
    pub(crate) fn dispatch_head(self: &Arc<Self>, id: u64, flags: Flags, head: Bytes, body: Bytes) {
        self.with(id, |stream| {
            stream.put_head(head);
            stream.put_data(body, flags).is_ok()
        });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<Stream>>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Names of topics and tokens. The number is the version of the frames.
pub(crate) mod names {
    /// From a router to a worker.
    pub(crate) fn down(worker: &str, router: &str) -> String {
        format!("http-gateway/1/down/{worker}/{router}")
    }

    /// From a worker to a router.
    pub(crate) fn up(router: &str, worker: &str) -> String {
        format!("http-gateway/1/up/{router}/{worker}")
    }

    /// Held by each worker while it is there.
    pub(crate) const WORKERS: &str = "http-gateway/1/worker/";
    /// Held by each router while it is there.
    pub(crate) const ROUTERS: &str = "http-gateway/1/router/";

    /// The last level of a topic or token.
    pub(crate) fn last(name: &str) -> &str {
        name.rsplit('/').next().unwrap_or(name)
    }
}

/// A name for this life of a router or worker, that no other has: endpoints may have several of them, and live again.
pub(crate) fn instance(endpoint: &Endpoint) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let started = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_nanos();
    format!("{}-{started:x}-{count:x}", endpoint.id())
}

/// The type of all topics of links.
pub(crate) const TYPE: &str = "http-gateway/frame";

/// How long a frame lives. What could not be brought to the other end in this time never will be: the streams end.
const LIFETIME: Duration = Duration::from_secs(60);

/// Larger frames leave at once: they fill a datagram by themselves.
const MOST_GATHERED: usize = 32 << 10;

/// Requests that one router may have open at one worker. Each costs about 1 KiB, and its windows while bodies pass.
const MAX_STREAMS: usize = 16_384;
