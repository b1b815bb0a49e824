//! A port for a router.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use super::{Router, RouterConfig, seconds};
use crate::headers::Origin;

/// Serves a router to clients that speak HTTP/1.1 or HTTP/2.
#[derive(Debug)]
pub struct Server {
    router: Router,
}

/// A port that is served until this is dropped, or [`Listening::drain`] has ended.
#[derive(Debug)]
pub struct Listening {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<GracefulShutdown>,
}

impl Server {
    /// For this router.
    #[must_use]
    pub const fn new(router: Router) -> Self {
        Self { router }
    }

    /// Listens.
    ///
    /// # Errors
    /// That of the operating system if the address can not be used.
    pub async fn listen(self, address: SocketAddr) -> io::Result<Listening> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let (stop, stopped) = watch::channel(false);
        let door = Door::new(self.router);
        let task = tokio::spawn(door.keep(listener, stopped));
        Ok(Listening { address, stop, task })
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
    pub async fn drain(self, patience: Duration) -> bool {
        self.stop.send_replace(true);
        let Ok(graceful) = self.task.await else { return false };
        tokio::time::timeout(patience, graceful.shutdown()).await.is_ok()
    }
}

/// Takes connections.
struct Door {
    router: Router,
    http: Builder<TokioExecutor>,
    room: Arc<Semaphore>,
}

impl Door {
    fn new(router: Router) -> Self {
        let config = &router.inner.config;
        let (http, room) = (builder(config), Arc::new(Semaphore::new(config.max_connections)));
        Self { router, http, room }
    }

    async fn keep(self, listener: TcpListener, mut stopped: watch::Receiver<bool>) -> GracefulShutdown {
        let graceful = GracefulShutdown::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, from)) => self.admit(stream, from, &graceful),
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

    fn admit(&self, stream: TcpStream, from: SocketAddr, graceful: &GracefulShutdown) {
        // Small answers must not wait for acks. A connection that refuses this is broken, and will show it.
        let _ = stream.set_nodelay(true);
        let Ok(place) = Arc::clone(&self.room).try_acquire_owned() else {
            tokio::spawn(refuse(stream));
            return;
        };
        let origin = Origin { address: from.ip(), is_tls: false };
        let connection = self.connection(stream, origin, graceful);
        tokio::spawn(async move {
            connection.await;
            drop(place);
        });
    }

    fn connection<I>(&self, io: I, origin: Origin, graceful: &GracefulShutdown) -> impl Future<Output = ()> + use<I>
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let router = self.router.clone();
        let service = service_fn(move |request| {
            let router = router.clone();
            async move { Ok::<_, std::convert::Infallible>(router.handle(request, origin).await) }
        });
        let http = self.http.clone();
        let watcher = graceful.watcher();
        async move {
            let connection = http.serve_connection_with_upgrades(TokioIo::new(io), service).into_owned();
            if let Err(error) = watcher.watch(connection).await {
                tracing::debug!("connection of {}: {error}", origin.address);
            }
        }
    }
}

fn builder(config: &RouterConfig) -> Builder<TokioExecutor> {
    let mut http = Builder::new(TokioExecutor::new());
    let most = config.max_header_bytes.max(8 << 10);
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(seconds(config.header_seconds))
        .max_buf_size(most);
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
content-type: application/problem+json\r\ncontent-length: 99\r\n\r\n\
{\"type\":\"about:blank\",\"title\":\"Service Unavailable\",\"status\":503,\"detail\":\"too many connections\"}\r\n";

const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// As most servers.
const H2_STREAMS: u32 = 256;
const H2_PING: Duration = Duration::from_secs(20);
const H2_STREAM_WINDOW: u32 = 256 << 10;
const H2_CONNECTION_WINDOW: u32 = 1 << 20;
