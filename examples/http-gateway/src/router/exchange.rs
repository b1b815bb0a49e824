//! One request at one worker, once.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::Response;
use http_body_util::Empty;

use super::member::Taken;
use super::request::RequestBody;
use crate::body::{Incoming, Owner};
use crate::compress::Packing;
use crate::headers;
use crate::link::Link;
use crate::outgoing::{Opening, Outgoing, SendFailure};
use crate::relay::{Kept, Relay};
use crate::stream::{Part, Stream};
use crate::wire::{Frame, Reason, RequestHead, ResponseHead};

/// Why a worker did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It is gone; whether it began is not known.
    Lost,
    /// It did not begin.
    Refused,
    Failed,
    Nonsense,
}

/// A stream at a worker. Dropped before all of its answer was read, it tells the worker that nobody waits.
#[derive(Debug)]
pub(crate) struct Exchange {
    link: Arc<Link>,
    id: u64,
    stream: Arc<Stream>,
    taken: Taken,
    packing: Packing,
    relay: Option<Relay>,
    /// The body of the request, if it is in a store.
    stored: Option<Arc<Kept>>,
    /// Sends the body.
    pump: Option<tokio::task::AbortHandle>,
    is_whole: bool,
    /// The worker ended it.
    is_over: bool,
}

impl Exchange {
    pub(crate) fn new(taken: Taken, packing: Packing, relay: Option<&Relay>) -> Option<Self> {
        let relay = relay.cloned();
        let link = Arc::clone(taken.0.load.link.as_ref()?);
        let (id, stream) = link.open();
        let (stored, pump) = (None, None);
        Some(Self { link, id, stream, taken, packing, relay, stored, pump, is_whole: false, is_over: false })
    }

    pub(crate) fn worker(&self) -> &str {
        &self.taken.0.announcement.id
    }

    /// Needs this object until its end.
    pub(crate) fn keep(&mut self, stored: Option<&Arc<Kept>>) {
        self.stored = stored.cloned();
    }

    /// Sends the head, and what there is of the body. Returns whether that is all.
    pub(crate) async fn begin(&self, head: &RequestHead, opening: &mut Opening) -> Result<bool, Failure> {
        self.out().open(head.encode(), opening).await.map_err(|_| Failure::Lost)
    }

    /// Sends the rest of the body in a task of its own, as the answer may begin before its end.
    pub(crate) fn pump(&mut self, opening: Opening, body: Option<RequestBody>) {
        let (link, stream, id, packing) = (Arc::clone(&self.link), Arc::clone(&self.stream), self.id, self.packing);
        let pump = tokio::spawn(async move {
            let out = Outgoing { link: &link, id, stream: &stream, packing };
            let sent = match body {
                Some(body) => out.rest(opening, std::pin::pin!(body)).await,
                None => out.rest(opening, std::pin::pin!(Empty::<Bytes>::new())).await,
            };
            if sent == Err(SendFailure::Body) {
                stream.reset(Reason::Cancelled);
            }
        });
        self.pump = Some(pump.abort_handle());
    }

    /// Waits for the head of the answer.
    pub(crate) async fn answer(&mut self) -> Result<ResponseHead, Failure> {
        let failure = match self.stream.part().await {
            Part::Head(block) => match ResponseHead::decode(block) {
                // A worker has no business with what is between hops.
                Ok(head) if head.status.as_u16() == 101 || !head.status.is_informational() => return Ok(head),
                _ => return Err(Failure::Nonsense),
            },
            Part::Reset(Reason::Gone) => Failure::Lost,
            Part::Reset(Reason::Refused) => Failure::Refused,
            Part::Reset(Reason::Failed) => Failure::Failed,
            // Our own body failed: the worker does not know yet.
            Part::Reset(Reason::Cancelled) => return Err(Failure::Failed),
            Part::Reset(Reason::Broken) | Part::Data(..) | Part::Trailers(_) | Part::End => {
                return Err(Failure::Nonsense);
            }
        };
        self.is_over = true;
        Err(failure)
    }

    /// The answer, whose body ends this when it is read or dropped.
    pub(crate) fn into_response(self, head: ResponseHead) -> Response<Incoming> {
        let length = headers::content_length(&head.headers);
        self.taken.0.load.served.fetch_add(1, Ordering::Relaxed);
        let body = Incoming::new(Arc::clone(&self.link), self.id, Arc::clone(&self.stream), length)
            .by_way_of(self.relay.as_ref(), true)
            .owned_by(self);
        let mut response = Response::new(body);
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers;
        response
    }

    /// What arrives after an upgrade.
    pub(crate) fn incoming(&self) -> Incoming {
        Incoming::new(Arc::clone(&self.link), self.id, Arc::clone(&self.stream), None)
    }

    pub(crate) fn out(&self) -> Outgoing<'_> {
        Outgoing { link: &self.link, id: self.id, stream: &self.stream, packing: self.packing }
    }

    pub(crate) fn note_failure(&self) {
        self.taken.0.load.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// All has passed both ways.
    pub(crate) fn complete(&mut self) {
        self.is_whole = true;
    }
}

impl Owner for Exchange {
    fn release(&mut self, whole: bool) {
        self.is_whole = whole;
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.link.forget(self.id);
        if let Some(pump) = &self.pump {
            pump.abort();
        }
        self.stream.stop();
        if !self.is_whole && !self.is_over && !self.link.is_closed() {
            self.link.post(&Frame::Reset { stream: self.id, reason: Reason::Cancelled });
        }
    }
}
