//! A gateway in this process, on the loopback and on a network of its own.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use glue_endpoint::{Builder, Endpoint};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use http_gateway::{Announcement, Incoming, Listening, Router, RouterConfig, Server, Serving, Transfer, Worker};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tower_service::Service;

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Everything of one test.
pub(crate) struct World {
    network: i64,
    pub(crate) router: Router,
    pub(crate) listening: Listening,
    pub(crate) endpoint: Endpoint,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(RouterConfig::default(), Transfer::default()).await
    }

    pub(crate) async fn with(config: RouterConfig, transfer: Transfer) -> Self {
        static COUNT: AtomicI64 = AtomicI64::new(0);
        let network = i64::from(std::process::id()) * 1_000 + COUNT.fetch_add(1, Ordering::Relaxed);
        let endpoint = endpoint(network).await;
        let router = Router::start(endpoint.clone(), config, transfer).await.unwrap();
        let listening = Server::new(router.clone()).listen(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        Self { network, router, listening, endpoint }
    }

    pub(crate) async fn another_endpoint(&self) -> Endpoint {
        endpoint(self.network).await
    }

    /// A worker on an endpoint of its own, known to the router.
    pub(crate) async fn worker<S, B>(&self, id: &str, service: S) -> (Endpoint, Serving)
    where
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Future: Send,
        S::Error: std::fmt::Display + Send,
        B: http_body::Body + Send + 'static,
        B::Data: Send,
        B::Error: std::fmt::Display + Send,
    {
        self.announced(Announcement::new(id), service).await
    }

    pub(crate) async fn announced<S, B>(&self, announcement: Announcement, service: S) -> (Endpoint, Serving)
    where
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Future: Send,
        S::Error: std::fmt::Display + Send,
        B: http_body::Body + Send + 'static,
        B::Data: Send,
        B::Error: std::fmt::Display + Send,
    {
        let before = self.router.workers();
        let endpoint = self.another_endpoint().await;
        let serving = Worker::new(endpoint.clone(), announcement).serve(service).await.unwrap();
        within(self.router.wait_for_workers(before + 1)).await;
        (endpoint, serving)
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.listening.address())
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        let request = Request::get(self.url(path)).body(Full::default()).unwrap();
        self.text(request).await
    }

    pub(crate) async fn text(&self, request: Request<Full<Bytes>>) -> (u16, String) {
        let response = self.send(request).await;
        let status = response.status().as_u16();
        let body = within(response.into_body().collect()).await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    pub(crate) async fn send<B>(&self, request: Request<B>) -> Response<hyper::body::Incoming>
    where
        B: http_body::Body + Send + Unpin + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        within(client().request(request)).await.unwrap()
    }
}

pub(crate) fn client<B>() -> Client<HttpConnector, B>
where
    B: http_body::Body + Send,
    B::Data: Send,
{
    Client::builder(TokioExecutor::new()).build_http()
}

pub(crate) fn client_http2<B>() -> Client<HttpConnector, B>
where
    B: http_body::Body + Send,
    B::Data: Send,
{
    Client::builder(TokioExecutor::new()).http2_only(true).build_http()
}

async fn endpoint(network: i64) -> Endpoint {
    let builder = Builder::new().network_id(network).listen_interface("lo");
    // A death is seen soon, and a test machine may be busy.
    let builder = builder.discovery_interval(Duration::from_millis(250)).discovery_timeout_multiplier(4.0);
    builder.start().await.unwrap()
}

/// What takes longer is a failure.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("nothing happened for 20 s")
}

/// A service of a function.
pub(crate) fn service<F, Fut, B>(f: F) -> FnService<F>
where
    F: Fn(Request<Incoming>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Response<B>> + Send + 'static,
{
    FnService(Arc::new(f))
}

pub(crate) struct FnService<F>(Arc<F>);

impl<F> Clone for FnService<F> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<F, Fut, B> Service<Request<Incoming>> for FnService<F>
where
    F: Fn(Request<Incoming>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Response<B>> + Send + 'static,
{
    type Response = Response<B>;
    type Error = std::convert::Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<B>, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let response = (self.0)(request);
        Box::pin(async move { Ok(response.await) })
    }
}

/// A body that is fed by a channel.
pub(crate) fn channel() -> (tokio::sync::mpsc::Sender<Result<http_body::Frame<Bytes>, std::io::Error>>, ChannelBody) {
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    (sender, ChannelBody(receiver))
}

pub(crate) struct ChannelBody(tokio::sync::mpsc::Receiver<Result<http_body::Frame<Bytes>, std::io::Error>>);

impl http_body::Body for ChannelBody {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, std::io::Error>>> {
        self.0.poll_recv(cx)
    }
}

pub(crate) fn full(text: impl Into<Bytes>) -> Full<Bytes> {
    Full::new(text.into())
}

/// Bytes of which each step of so many has another value than the last.
pub(crate) fn pattern(len: usize, step: usize) -> Bytes {
    (0..len).map(|at| u8::try_from(at / step % 251).unwrap()).collect()
}
