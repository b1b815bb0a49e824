//! Connections by TLS.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::server::TlsStream;

use crate::listener::GREETING_TIMEOUT;
use crate::tls::Tls;

/// Gives out connections whose handshake is done: one that is slow holds up no other.
pub(super) struct TlsListener {
    address: SocketAddr,
    ready: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
    _task: JoinSet<()>,
}

impl TlsListener {
    pub(super) fn new(listener: TcpListener, tls: Arc<Tls>) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (sender, ready) = mpsc::channel(MAX_HANDSHAKES);
        let mut task = JoinSet::new();
        task.spawn(accept(listener, tls, sender));
        Ok(Self { address, ready, _task: task })
    }
}

impl axum::serve::Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.ready.recv().await {
            Some(connection) => connection,
            // The task ends only when we do.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

async fn accept(listener: TcpListener, tls: Arc<Tls>, ready: mpsc::Sender<(TlsStream<TcpStream>, SocketAddr)>) {
    loop {
        let Ok(place) = ready.clone().reserve_owned().await else { return };
        let Ok((stream, peer)) = listener.accept().await else {
            sleep(std::time::Duration::from_millis(50)).await;
            continue;
        };
        let acceptor = tls.acceptor();
        tokio::spawn(async move {
            if let Ok(Ok(stream)) = timeout(GREETING_TIMEOUT, acceptor.accept(stream)).await {
                place.send((stream, peer));
            }
        });
    }
}

/// Handshakes at one time.
const MAX_HANDSHAKES: usize = 64;
