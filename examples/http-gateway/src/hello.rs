//! The example worker.

use std::convert::Infallible;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Response};
use http_body_util::Full;
use tower_service::Service;

use crate::body::Incoming;

/// Answers everything with `Hello from <name>`.
#[derive(Clone, Debug)]
pub struct Hello {
    text: Bytes,
}

impl Hello {
    /// With this name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { text: format!("Hello from {name}\n").into() }
    }
}

impl Service<Request<Incoming>> for Hello {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Incoming>) -> Self::Future {
        let mut response = Response::new(Full::new(self.text.clone()));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        std::future::ready(Ok(response))
    }
}
