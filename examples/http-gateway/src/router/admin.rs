//! What operators see of a router: `GET /metrics`, `GET /workers`, `GET /health`.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::Router;

/// A port for operators, until this is dropped.
#[derive(Debug)]
pub struct Admin {
    address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl Admin {
    /// Listens. With a token, requests must have it: `Authorization: Bearer <token>`.
    ///
    /// # Errors
    /// That of the operating system if the address can not be used.
    pub async fn listen(router: Router, address: SocketAddr, token: Option<String>) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let token = token.map(Arc::from);
        let task = tokio::spawn(keep(listener, router, token));
        Ok(Self { address, task })
    }

    /// Where operators connect.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn keep(listener: TcpListener, router: Router, token: Option<Arc<str>>) {
    let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else { continue };
        let (router, token) = (router.clone(), token.clone());
        tokio::spawn(async move {
            serve(stream, router, token).await;
            drop(place);
        });
    }
}

async fn serve(stream: TcpStream, router: Router, token: Option<Arc<str>>) {
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let response = if is_allowed(request.headers(), token.as_deref()) {
            answer(&router, request.method(), request.uri().path())
        } else {
            refusal()
        };
        std::future::ready(Ok::<_, std::convert::Infallible>(response))
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    let connection = http.timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
    let _ = connection.await;
}

fn is_allowed(headers: &HeaderMap, token: Option<&str>) -> bool {
    let Some(token) = token else { return true };
    let given = headers.get(AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    given.is_some_and(|given| is_same(given, token.as_bytes()))
}

/// Takes as long wherever they differ.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

fn answer(router: &Router, method: &Method, path: &str) -> Response<Full<Bytes>> {
    match (method, path) {
        (&Method::GET, "/metrics") => text(OPEN_METRICS, router.metrics()),
        (&Method::GET, "/workers") => text(JSON, router.describe_workers().to_string()),
        (&Method::GET, "/health") => text(JSON, json!({ "workers": router.workers() }).to_string()),
        (_, "/metrics" | "/workers" | "/health") => status(StatusCode::METHOD_NOT_ALLOWED),
        _ => status(StatusCode::NOT_FOUND),
    }
}

fn text(kind: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn status(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

fn refusal() -> Response<Full<Bytes>> {
    let mut response = status(StatusCode::UNAUTHORIZED);
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

impl Router {
    fn metrics(&self) -> String {
        self.inner.metrics.text(&self.inner.endpoint, self.workers())
    }

    fn describe_workers(&self) -> serde_json::Value {
        use std::sync::atomic::Ordering::Relaxed;
        let workers = self.inner.registry.all();
        let described = workers.iter().map(|member| {
            json!({
                "instance": member.instance,
                "endpoint": member.endpoint_name,
                "announced": member.announcement,
                "outstanding": member.load.outstanding(),
                "answered": member.load.served.load(Relaxed),
                "failed": member.load.failed.load(Relaxed),
            })
        });
        described.collect()
    }
}

const JSON: &str = "application/json";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Operators are few.
const MOST_CONNECTIONS: usize = 64;
