//! A port for a router.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use super::tls::{HANDSHAKE, Tls, TlsError, TlsFiles, late};
use super::visit::Visit;
use super::watched::{Socket, Watched};
use super::{Router, RouterConfig, seconds};
use crate::headers::Origin;

/// Serves a router to clients that speak HTTP/1.1 or HTTP/2.
#[derive(Debug)]
pub struct Server {
    router: Router,
    tls: Option<Arc<Tls>>,
}

/// A port that is served until this is dropped, or [`Listening::drain`] has ended.
#[derive(Debug)]
pub struct Listening {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<GracefulShutdown>,
    reload: Option<tokio::task::JoinHandle<()>>,
}

impl Server {
    /// For this router.
    #[must_use]
    pub const fn new(router: Router) -> Self {
        Self { router, tls: None }
    }

    /// With TLS. The files are read again when they change.
    ///
    /// # Errors
    /// [`TlsError`] if they can not be used now.
    pub fn tls(mut self, files: TlsFiles) -> Result<Self, TlsError> {
        self.tls = Some(Tls::new(files)?);
        Ok(self)
    }

    /// Listens.
    ///
    /// # Errors
    /// That of the operating system if the address can not be used.
    pub async fn listen(self, address: SocketAddr) -> io::Result<Listening> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let (stop, stopped) = watch::channel(false);
        let reload = self.tls.clone().map(|tls| tokio::spawn(async move { tls.watch().await }));
        let task = tokio::spawn(Door::new(self.router, self.tls).keep(listener, stopped));
        Ok(Listening { address, stop, task, reload })
    }
}

impl Listening {
    /// Where clients connect.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more connections and finishes the requests of those that are there, for `patience` at most. Returns
    /// whether all were finished.
    pub async fn drain(mut self, patience: Duration) -> bool {
        self.stop.send_replace(true);
        let Ok(graceful) = (&mut self.task).await else { return false };
        tokio::time::timeout(patience, graceful.shutdown()).await.is_ok()
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.task.abort();
        if let Some(reload) = &self.reload {
            reload.abort();
        }
    }
}

/// Takes connections.
struct Door {
    router: Router,
    http: Builder<TokioExecutor>,
    tls: Option<Arc<Tls>>,
    room: Arc<Semaphore>,
}

impl Door {
    fn new(router: Router, tls: Option<Arc<Tls>>) -> Self {
        let config = &router.inner.config;
        let (http, room) = (builder(config), Arc::new(Semaphore::new(config.max_connections)));
        Self { router, http, tls, room }
    }

    async fn keep(self, listener: TcpListener, mut stopped: watch::Receiver<bool>) -> GracefulShutdown {
        let graceful = GracefulShutdown::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, from)) => self.admit(stream, from, graceful.watcher()),
                    // Out of file descriptors, most likely: others must close first.
                    Err(error) => {
                        tracing::warn!("can not accept a connection: {error}");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
                _ = stopped.changed() => return graceful,
            }
        }
    }

    fn admit(&self, stream: TcpStream, from: SocketAddr, watcher: Watcher) {
        // Small answers must not wait for acks. A connection that refuses this is broken, and will show it.
        let _ = stream.set_nodelay(true);
        let metrics = Arc::clone(&self.router.inner.metrics);
        let Ok(place) = Arc::clone(&self.room).try_acquire_owned() else {
            metrics.connections_refused.inc();
            tokio::spawn(refuse(stream));
            return;
        };
        metrics.connections.inc();
        let acceptor = self.tls.as_ref().map(|tls| tls.acceptor());
        let address = from.ip().to_canonical();
        let origin = Origin::new(address, acceptor.is_some());
        let (router, http) = (self.router.clone(), self.http.clone());
        tokio::spawn(async move {
            let served = match acceptor {
                None => serve(stream, &http, router, origin, watcher).await,
                Some(acceptor) => match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
                    Ok(Ok(stream)) => serve(stream, &http, router, origin, watcher).await,
                    Ok(Err(error)) => Err(error.into()),
                    Err(_) => Err(late().into()),
                },
            };
            if let Err(error) = served {
                tracing::debug!("connection of {address}: {error}");
            }
            metrics.connections.dec();
            drop(place);
        });
    }
}

async fn serve<S: Socket>(
    socket: S,
    http: &Builder<TokioExecutor>,
    router: Router,
    origin: Origin,
    watcher: Watcher,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let visit = Arc::new(Visit::new(origin));
    let io = Watched::new(socket, Arc::clone(&visit), seconds(router.inner.config.header_seconds));
    let service = service_fn(move |request| router.clone().handle(request, Arc::clone(&visit)));
    watcher.watch(http.serve_connection_with_upgrades(TokioIo::new(io), service).into_owned()).await
}

fn builder(config: &RouterConfig) -> Builder<TokioExecutor> {
    let mut http = Builder::new(TokioExecutor::new());
    let most = config.max_header_bytes.max(LEAST_HEADER_BYTES);
    // How long heads take is watched at the socket: hyper sets a timer for each, and closes without an answer.
    http.http1().header_read_timeout(None).max_buf_size(most);
    http.http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(H2_STREAMS)
        .max_header_list_size(u32::try_from(most).unwrap_or(u32::MAX))
        .keep_alive_interval(H2_PING)
        .initial_stream_window_size(H2_STREAM_WINDOW)
        .initial_connection_window_size(H2_CONNECTION_WINDOW);
    http
}

/// There are too many connections: says so without reading.
async fn refuse(mut stream: TcpStream) {
    let _ = stream.write_all(FULL).await;
    let _ = stream.shutdown().await;
}

const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\n\
content-type: application/problem+json\r\ncontent-length: 97\r\n\r\n\
{\"type\":\"about:blank\",\"title\":\"Service Unavailable\",\"status\":503,\"detail\":\"too many connections\"}";

const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What hyper needs at least.
const LEAST_HEADER_BYTES: usize = 8 << 10;

/// As most servers.
const H2_STREAMS: u32 = 256;
const H2_PING: Duration = Duration::from_secs(20);
const H2_STREAM_WINDOW: u32 = 256 << 10;
const H2_CONNECTION_WINDOW: u32 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::FULL;

    #[test]
    fn the_answer_beyond_the_limit_has_the_length_that_it_tells() {
        let text = std::str::from_utf8(FULL).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(
            head.contains(&format!("content-length: {}\r\n", body.len()))
                || head.ends_with(&format!("content-length: {}", body.len())),
            "{}",
            body.len()
        );
    }
}
