//! One request at a worker.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{Method, Request, Response, StatusCode};
use http_body::Body;
use hyper::upgrade::OnUpgrade;
use tower_service::Service;

use super::Inner;
use crate::body::Incoming;
use crate::headers;
use crate::link::Link;
use crate::outgoing::{Opening, Outgoing, SendFailure, opening};
use crate::relay::object_name;
use crate::stream::Stream;
use crate::tunnel;
use crate::wire::{Flags, Frame, Malformed, Reason, RequestHead, ResponseHead};

/// A request that is served. Dropped before its end, it tells the router that it failed.
pub(super) struct Call {
    inner: Arc<Inner>,
    link: Arc<Link>,
    id: u64,
    stream: Arc<Stream>,
    outcome: Outcome,
}

/// What the answer depends on.
#[derive(Debug)]
struct Asked {
    is_upgrade: bool,
    /// Without a body.
    is_head: bool,
    /// Our end of it.
    upgrade: Option<OnUpgrade>,
}

/// How a request ended here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Answered,
    /// The router knows already.
    Unwanted,
    Failed,
}

impl Call {
    pub(super) fn new(inner: Arc<Inner>, link: Arc<Link>, id: u64, stream: Arc<Stream>) -> Self {
        inner.at_work.fetch_add(1, Ordering::AcqRel);
        Self { inner, link, id, stream, outcome: Outcome::Failed }
    }

    pub(super) async fn run<S, B>(mut self, service: S, head: Bytes, flags: Flags)
    where
        S: Service<Request<Incoming>, Response = Response<B>>,
        S::Error: std::fmt::Display,
        B: Body + Send + 'static,
        B::Error: std::fmt::Display,
    {
        let stream = Arc::clone(&self.stream);
        self.outcome = tokio::select! {
            outcome = self.answer(service, head, flags) => outcome,
            () = stream.unwanted() => Outcome::Unwanted,
        };
    }

    async fn answer<S, B>(&self, mut service: S, head: Bytes, flags: Flags) -> Outcome
    where
        S: Service<Request<Incoming>, Response = Response<B>>,
        S::Error: std::fmt::Display,
        B: Body + Send + 'static,
        B::Error: std::fmt::Display,
    {
        let Ok((mut request, mut asked)) = self.request(head, flags) else { return Outcome::Failed };
        if asked.is_upgrade
            && let Some((near, far)) = crate::upgrade::pair().await
        {
            asked.upgrade = Some(near);
            request.extensions_mut().insert(far);
        }
        let ready = std::future::poll_fn(|cx| service.poll_ready(cx)).await;
        let response = match ready {
            Ok(()) => service.call(request).await,
            Err(error) => Err(error),
        };
        match response {
            Ok(response) => self.respond(response, asked).await,
            Err(error) => {
                tracing::debug!("the service failed: {error}");
                Outcome::Failed
            }
        }
    }

    fn request(&self, head: Bytes, flags: Flags) -> Result<(Request<Incoming>, Asked), Malformed> {
        let head = RequestHead::decode(head)?;
        let length = if flags.end && !flags.zstd { None } else { headers::content_length(&head.headers) };
        // What follows an upgrade's head is no body: the tunnel reads it.
        let body = if head.upgrade {
            Incoming::empty(Arc::clone(&self.link))
        } else {
            Incoming::new(Arc::clone(&self.link), self.id, Arc::clone(&self.stream), length)
                .by_way_of(self.inner.relay.as_ref(), false)
        };
        let is_head = head.method == Method::HEAD;
        let asked = Asked { is_upgrade: head.upgrade, is_head, upgrade: None };
        let mut request = Request::new(body);
        *request.method_mut() = head.method;
        *request.uri_mut() = head.target;
        *request.version_mut() = head.version;
        *request.headers_mut() = head.headers;
        Ok((request, asked))
    }

    async fn respond<B>(&self, response: Response<B>, asked: Asked) -> Outcome
    where
        B: Body + Send + 'static,
        B::Error: std::fmt::Display,
    {
        let status = response.status();
        let is_tunnel = asked.is_upgrade && status == StatusCode::SWITCHING_PROTOCOLS;
        // Of an answer to HEAD the length is that of GET, which only the service knows.
        let bodiless =
            [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&status) || status.is_informational();
        let has_length = !asked.is_head && !bodiless;
        let (mut parts, body) = response.into_parts();
        headers::strip_hop_by_hop(&mut parts.headers, is_tunnel);
        if let Some(length) = body.size_hint().exact().filter(|_| has_length) {
            parts.headers.entry(CONTENT_LENGTH).or_insert(length.into());
        }
        let head = ResponseHead { status: parts.status, headers: parts.headers }.encode();
        let out = Outgoing { link: &self.link, id: self.id, stream: &self.stream, packing: self.inner.packing };
        if is_tunnel {
            // A service that is a client itself has an upgrade of its own to offer.
            let upgrade = parts.extensions.remove::<OnUpgrade>().or(asked.upgrade);
            let Some(upgrade) = upgrade else { return Outcome::Failed };
            // Its future would take room in that of every request.
            return Box::pin(self.tunnel(head, upgrade)).await;
        }
        let length = body.size_hint().exact();
        let mut body = pin!(body);
        let Ok(mut first) = opening(body.as_mut()).await else { return Outcome::Failed };
        if let Some(relay) = self.inner.relay.as_ref().filter(|relay| !asked.is_head && relay.wants(length)) {
            let name = object_name(&self.inner.announced().id.clone(), &self.inner.name, "response");
            if relay.put(&name, first, body.as_mut()).await.is_err() {
                return Outcome::Failed;
            }
            first = Opening::stored(&name);
        }
        let sent = match out.open(head, &mut first).await {
            Ok(true) => Ok(()),
            Ok(false) => out.rest(first, body).await,
            Err(failure) => Err(failure),
        };
        match sent {
            Ok(()) => Outcome::Answered,
            Err(SendFailure::Unwanted) => Outcome::Unwanted,
            Err(SendFailure::Body) => Outcome::Failed,
        }
    }

    async fn tunnel(&self, head: Bytes, upgrade: OnUpgrade) -> Outcome {
        let begin = Frame::Head { stream: self.id, flags: Flags::default(), head, body: Bytes::new() };
        if self.link.send(&begin).await.is_err() {
            return Outcome::Unwanted;
        }
        let Ok(upgraded) = upgrade.await else { return Outcome::Failed };
        let incoming =
            Incoming::new(Arc::clone(&self.link), self.id, Arc::clone(&self.stream), None).owned_by(tunnel::Kept);
        let out = Outgoing { link: &self.link, id: self.id, stream: &self.stream, packing: self.inner.packing };
        match tunnel::run(upgraded, incoming, &out).await {
            Ok(()) => Outcome::Answered,
            Err(_) => Outcome::Failed,
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.link.forget(self.id);
        // Who still reads the request's body, in a task of its own perhaps, gets no more of it.
        self.stream.reset(Reason::Cancelled);
        if self.outcome == Outcome::Failed && !self.link.is_closed() {
            self.link.post(&Frame::Reset { stream: self.id, reason: Reason::Failed });
        }
        if self.inner.at_work.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.inner.idle.notify_waiters();
        }
    }
}
