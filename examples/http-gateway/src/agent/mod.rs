//! The agent: a service that passes requests on to HTTP servers.

mod health;
mod pool;
mod target;
mod tls;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderValue};
use http::{Request, Response, StatusCode, Version};
use http_body_util::{Either, Full};
use tower_service::Service;

use self::pool::SendError;
pub use self::pool::ServerBody;
use self::target::Targets;
pub use self::target::{Target, TargetError};
pub use self::tls::{Roots, RootsError};
use crate::body::Incoming;
use crate::worker::Announcer;

/// Passes requests on to one of several servers, in turn, and passes over those that can not be reached.
#[derive(Clone, Debug)]
pub struct Agent {
    targets: Arc<Targets>,
}

impl Agent {
    /// For these servers.
    #[must_use]
    pub fn new(targets: Vec<Target>) -> Self {
        Self { targets: Arc::new(Targets::new(targets)) }
    }

    /// Looks at each server every `interval`, and tells routers when none can be reached. Runs until it is dropped.
    pub async fn watch(&self, announcer: Announcer, interval: Duration) {
        health::watch(&self.targets, &announcer, interval).await;
    }

    async fn forward(self, mut request: Request<Incoming>) -> Result<Response<AgentBody>, Infallible> {
        let asked = std::mem::take(request.uri_mut());
        let mut reason = String::from("no server can be reached");
        for _ in 0..self.targets.len() {
            let Some(target) = self.targets.next() else { break };
            match target.send(&asked, request).await {
                Ok(response) => return Ok(response.map(Either::Left)),
                Err(SendError::Unreached(unsent, error)) => {
                    request = *unsent;
                    reason = error.to_string();
                    target.set_up(false);
                }
                Err(error) => {
                    reason = explain(&error);
                    break;
                }
            }
        }
        tracing::debug!("{reason}");
        Ok(bad_gateway(&reason))
    }
}

impl Target {
    /// HTTP/2 where the server wants it, or for gRPC, which knows nothing else.
    async fn send(&self, asked: &http::Uri, mut request: Request<Incoming>) -> Result<Response<ServerBody>, SendError> {
        let kind = request.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
        let is_grpc = kind.is_some_and(|kind| kind.starts_with(b"application/grpc"));
        let is_http2 = self.speaks_http2() || (request.version() == Version::HTTP_2 && is_grpc);
        *request.uri_mut() = self.uri(asked, is_http2)?;
        if is_http2 {
            *request.version_mut() = Version::HTTP_2;
            // It has the authority in its place.
            request.headers_mut().remove(HOST);
            // Its future would take room in that of every request.
            Box::pin(self.pool().send_http2(self.address(), request)).await
        } else {
            *request.version_mut() = Version::HTTP_11;
            self.pool().send(self.address(), request).await
        }
    }
}

/// What the agent answers: the server's body, or its own.
pub type AgentBody = Either<ServerBody, Full<Bytes>>;

impl Service<Request<Incoming>> for Agent {
    type Response = Response<AgentBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        Box::pin(self.clone().forward(request))
    }
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

fn explain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = inner.to_string();
        cause = inner.source();
    }
    text
}

/// Used by health checks too.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
