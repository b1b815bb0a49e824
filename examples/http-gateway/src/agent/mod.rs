//! The agent: a service that passes requests on to HTTP servers.

mod health;
mod target;

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderValue};
use http::{Request, Response, StatusCode, Version};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{Either, Full};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tower_service::Service;

use self::target::Targets;
pub use self::target::{Target, TargetError};
use crate::body::{BodyError, Incoming};
use crate::worker::Announcer;

/// Passes requests on to one of several servers, in turn, and passes over those that can not be reached.
#[derive(Clone, Debug)]
pub struct Agent {
    targets: Arc<Targets>,
    http1: Client<HttpConnector, Lent>,
    http2: Client<HttpConnector, Lent>,
}

impl Agent {
    /// For these servers.
    #[must_use]
    pub fn new(targets: Vec<Target>) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let builder = || {
            let mut builder = Client::builder(TokioExecutor::new());
            builder.pool_timer(TokioTimer::new()).timer(TokioTimer::new()).set_host(false);
            builder
        };
        let http1 = builder().build(connector.clone());
        let http2 = builder().http2_only(true).build(connector);
        Self { targets: Arc::new(Targets::new(targets)), http1, http2 }
    }

    /// Looks at each server every `interval`, and tells routers when none can be reached. Runs until it is dropped.
    pub async fn watch(&self, announcer: Announcer, interval: std::time::Duration) {
        health::watch(&self.targets, &announcer, interval).await;
    }

    async fn forward(self, request: Request<Incoming>) -> Response<AgentBody> {
        let (parts, body) = request.into_parts();
        let body = Lent::new(body);
        let (mut tried, mut reason) = (0, String::from("no server can be reached"));
        while tried < self.targets.len() {
            tried += 1;
            let Some(target) = self.targets.next() else { break };
            let mut request = Request::new(body.clone());
            *request.method_mut() = parts.method.clone();
            *request.headers_mut() = parts.headers.clone();
            let Ok(uri) = target.uri(&parts.uri) else { break };
            *request.uri_mut() = uri;
            match self.send(target, parts.version, request).await {
                Ok(response) => return adapt(response),
                Err(error) => {
                    reason = explain(&error);
                    if !error.is_connect() {
                        break;
                    }
                    target.set_up(false);
                }
            }
        }
        tracing::debug!("{reason}");
        bad_gateway(&reason)
    }

    /// HTTP/2 where the server wants it, or for gRPC, which knows nothing else.
    async fn send(
        &self,
        target: &Target,
        version: Version,
        mut request: Request<Lent>,
    ) -> Result<Response<hyper::body::Incoming>, Error> {
        let is_grpc = || {
            let kind = request.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
            kind.is_some_and(|kind| kind.starts_with(b"application/grpc"))
        };
        if target.speaks_http2() || (version == Version::HTTP_2 && is_grpc()) {
            *request.version_mut() = Version::HTTP_2;
            // It has the authority in its place.
            request.headers_mut().remove(HOST);
            self.http2.request(request).await
        } else {
            *request.version_mut() = Version::HTTP_11;
            self.http1.request(request).await
        }
    }
}

/// What the agent answers: the server's body, or its own.
pub type AgentBody = Either<hyper::body::Incoming, Full<Bytes>>;

impl Service<Request<Incoming>> for Agent {
    type Response = Response<AgentBody>;
    type Error = std::convert::Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let agent = self.clone();
        Box::pin(async move { Ok(agent.forward(request).await) })
    }
}

fn adapt(response: Response<hyper::body::Incoming>) -> Response<AgentBody> {
    response.map(Either::Left)
}

fn bad_gateway(reason: &str) -> Response<AgentBody> {
    let problem = serde_json::json!({
        "type": "about:blank",
        "title": "Bad Gateway",
        "status": 502,
        "detail": format!("the server behind the agent: {reason}"),
    });
    let mut response = Response::new(Either::Right(Full::from(problem.to_string())));
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    response
}

fn explain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text = inner.to_string();
        cause = inner.source();
    }
    text
}

/// A body that is taken back if no server was reached.
#[derive(Clone, Debug)]
struct Lent(Arc<Mutex<Incoming>>);

impl Lent {
    fn new(body: Incoming) -> Self {
        Self(Arc::new(Mutex::new(body)))
    }

    fn with<R>(&self, f: impl FnOnce(Pin<&mut Incoming>) -> R) -> R {
        f(Pin::new(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl Body for Lent {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.with(|body| body.poll_frame(cx))
    }

    fn is_end_stream(&self) -> bool {
        self.with(|body| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.with(|body| body.size_hint())
    }
}

/// Used by health checks too.
const CONNECT_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(3);
