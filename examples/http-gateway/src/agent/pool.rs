//! Connections to a server, kept for the requests that follow.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use super::tls::Roots;
use crate::body::Incoming;

/// Connections to one server. A pool for many servers, as hyper-util has one, moves more and locks more: with it a small
/// request cost the agent a fifth more processor time.
#[derive(Debug, Default)]
pub(super) struct Pool {
    idle: Mutex<VecDeque<Idle>>,
    /// HTTP/2 carries all requests on one.
    shared: tokio::sync::Mutex<Option<http2::SendRequest<Incoming>>>,
}

/// A connection of HTTP/1.1 that waits for a request.
#[derive(Debug)]
struct Idle {
    sender: http1::SendRequest<Incoming>,
    since: Instant,
}

/// Where a server is, and how it is spoken with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Address<'a> {
    pub(super) host: &'a str,
    pub(super) port: u16,
    /// With TLS.
    pub(super) roots: Option<&'a Roots>,
}

/// Why a server did not answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    /// Nothing was sent: another server may have the request.
    #[error("{1}")]
    Unreached(Box<Request<Incoming>>, io::Error),
    #[error(transparent)]
    Failed(#[from] hyper::Error),
    /// With the path that comes before it, the request's target is none.
    #[error(transparent)]
    Target(#[from] http::Error),
}

impl Pool {
    /// Sends a request, whose target is a path, by a connection that waits, or by a new one.
    pub(super) async fn send(
        self: &Arc<Self>,
        address: Address<'_>,
        mut request: Request<Incoming>,
    ) -> Result<Response<ServerBody>, SendError> {
        while let Some(mut sender) = self.take() {
            // The server may have closed it, even now.
            if sender.ready().await.is_err() {
                continue;
            }
            match sender.try_send_request(request).await {
                Ok(response) => return Ok(self.lend(response, sender)),
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(error.into_error().into()),
                },
            }
        }
        // Rare, and its future would take room in that of every request.
        let mut sender = match Box::pin(connect_http1(address)).await {
            Ok(sender) => sender,
            Err(error) => return Err(SendError::Unreached(Box::new(request), error)),
        };
        let response = sender.send_request(request).await?;
        Ok(self.lend(response, sender))
    }

    /// As [`Pool::send`], by HTTP/2; the target is complete.
    pub(super) async fn send_http2(
        &self,
        address: Address<'_>,
        mut request: Request<Incoming>,
    ) -> Result<Response<ServerBody>, SendError> {
        loop {
            let mut sender = match self.shared(address).await {
                Ok(sender) => sender,
                Err(error) => return Err(SendError::Unreached(Box::new(request), error)),
            };
            // It was closed, and nobody had noticed: the next one is new.
            if sender.ready().await.is_err() {
                continue;
            }
            match sender.try_send_request(request).await {
                Ok(response) => return Ok(response.map(|body| ServerBody { body, lease: None })),
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(error.into_error().into()),
                },
            }
        }
    }

    async fn shared(&self, address: Address<'_>) -> io::Result<http2::SendRequest<Incoming>> {
        let mut shared = self.shared.lock().await;
        if let Some(sender) = shared.as_ref().filter(|sender| !sender.is_closed()) {
            return Ok(sender.clone());
        }
        let stream = connect(address).await?;
        let sender = match address.roots {
            Some(roots) => begin_http2(secure(roots, address.host, true, stream).await?).await?,
            None => begin_http2(stream).await?,
        };
        *shared = Some(sender.clone());
        Ok(sender)
    }

    fn lend(
        self: &Arc<Self>,
        response: Response<hyper::body::Incoming>,
        sender: http1::SendRequest<Incoming>,
    ) -> Response<ServerBody> {
        response.map(|body| {
            let mut body = ServerBody { body, lease: Some(Lease { sender, pool: Arc::clone(self) }) };
            body.give_back_if_over();
            body
        })
    }

    /// The one that was used last, so that those beyond what is needed age.
    fn take(&self) -> Option<http1::SendRequest<Incoming>> {
        std::iter::from_fn(|| self.idle().pop_back()).map(|idle| idle.sender).find(|sender| !sender.is_closed())
    }

    fn keep(&self, sender: http1::SendRequest<Incoming>) {
        let now = Instant::now();
        let mut idle = self.idle();
        let is_old = |oldest: &Idle| oldest.sender.is_closed() || now.duration_since(oldest.since) > LONGEST_IDLE;
        while idle.len() >= MOST_IDLE || idle.front().is_some_and(is_old) {
            idle.pop_front();
        }
        idle.push_back(Idle { sender, since: now });
    }

    fn idle(&self) -> MutexGuard<'_, VecDeque<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn connect_http1(address: Address<'_>) -> io::Result<http1::SendRequest<Incoming>> {
    let stream = connect(address).await?;
    match address.roots {
        Some(roots) => begin_http1(secure(roots, address.host, false, stream).await?).await,
        None => begin_http1(stream).await,
    }
}

async fn begin_http1<S>(stream: S) -> io::Result<http1::SendRequest<Incoming>>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let handshake = http1::Builder::new().max_buf_size(READ_BYTES).handshake(TokioIo::new(stream));
    let (sender, connection) = handshake.await.map_err(io::Error::other)?;
    // It ends with the sender, or with the socket; whoever waits for an answer is told.
    tokio::spawn(connection.with_upgrades());
    Ok(sender)
}

async fn begin_http2<S>(stream: S) -> io::Result<http2::SendRequest<Incoming>>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (sender, connection) = handshake.await.map_err(io::Error::other)?;
    tokio::spawn(connection);
    Ok(sender)
}

async fn secure(roots: &Roots, host: &str, http2: bool, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
    let secured = timeout(super::CONNECT_TIMEOUT, roots.connect(host, http2, stream)).await;
    secured.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "the TLS handshake took too long"))?
}

async fn connect(address: Address<'_>) -> io::Result<TcpStream> {
    let connected = timeout(super::CONNECT_TIMEOUT, TcpStream::connect((address.host, address.port))).await;
    let stream = connected.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    // Small requests must not wait for acks. A connection that refuses this is broken, and will show it.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

/// The body of a server's answer. When it has been read, its connection serves others; dropped before, it closes that.
#[derive(Debug)]
pub struct ServerBody {
    body: hyper::body::Incoming,
    lease: Option<Lease>,
}

#[derive(Debug)]
struct Lease {
    sender: http1::SendRequest<Incoming>,
    pool: Arc<Pool>,
}

impl ServerBody {
    fn give_back_if_over(&mut self) {
        if self.body.is_end_stream() {
            self.give_back();
        }
    }

    fn give_back(&mut self) {
        if let Some(Lease { sender, pool }) = self.lease.take()
            && !sender.is_closed()
        {
            pool.keep(sender);
        }
    }
}

impl Body for ServerBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        match &polled {
            Poll::Ready(None) => self.give_back(),
            Poll::Ready(Some(Ok(_))) => self.give_back_if_over(),
            Poll::Ready(Some(Err(_))) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Connections that wait. Each costs the server one too.
const MOST_IDLE: usize = 1_024;
/// Most servers close what was idle for 60 s or more.
const LONGEST_IDLE: Duration = Duration::from_secs(50);

/// What is read of an answer before it has been sent on; its head must fit. hyper's own limit is 400 KiB: 64 large bodies at
/// a time had 95 MiB of them.
const READ_BYTES: usize = 128 << 10;
