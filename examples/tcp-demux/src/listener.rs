//! Accepts sockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use crate::framing::Framing;
use crate::hub::Hub;
use crate::proxy;
use crate::socket::{Socket, serve};
use crate::tls::Tls;

/// What all sockets of a listener have in common.
#[derive(Debug)]
pub(crate) struct Manner {
    pub(crate) framing: Arc<Framing>,
    pub(crate) proxy_protocol: bool,
    pub(crate) tls: Option<Arc<Tls>>,
}

/// Accepts until it is dropped.
pub(crate) async fn accept(hub: Arc<Hub>, listener: TcpListener, manner: Manner) {
    let manner = Arc::new(manner);
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => admit(&hub, stream, peer, &manner),
            Err(error) => {
                // Too many open files, as a rule: it passes when some are closed.
                tracing::warn!("can not accept: {error}");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn admit(hub: &Arc<Hub>, stream: TcpStream, peer: SocketAddr, manner: &Arc<Manner>) {
    let Some(place) = hub.take_place() else { return hub.counters.sockets_refused.add(1) };
    hub.counters.sockets_accepted.add(1);
    let _ = stream.set_nodelay(true);
    let _ = SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE));
    let (hub, manner) = (Arc::clone(hub), Arc::clone(manner));
    tokio::spawn(async move {
        if manner.proxy_protocol || manner.tls.is_some() {
            // Boxed, so that a plain socket does not pay for what only others need.
            Box::pin(greet(&hub, stream, peer, &manner)).await;
        } else {
            hold_plain(&hub, stream, peer, &manner).await;
        }
        drop(place);
    });
}

async fn greet(hub: &Hub, mut stream: TcpStream, mut peer: SocketAddr, manner: &Manner) {
    if manner.proxy_protocol {
        match timeout(GREETING_TIMEOUT, proxy::read(&mut stream)).await {
            Ok(Ok(client)) => peer = client.unwrap_or(peer),
            _ => return hub.counters.proxy_header_bad.add(1),
        }
    }
    let Some(tls) = &manner.tls else { return hold_plain(hub, stream, peer, manner).await };
    let Ok(Ok(stream)) = timeout(GREETING_TIMEOUT, tls.acceptor().accept(stream)).await else {
        return hub.counters.tls_failed.add(1);
    };
    let socket = Socket::new(hub.new_id(), peer, Arc::clone(&manner.framing), hub.now_ms());
    hub.connect(&socket).await;
    let (reader, writer) = tokio::io::split(stream);
    serve(hub, &socket, reader, writer).await;
    hub.disconnect(&socket).await;
}

async fn hold_plain(hub: &Hub, mut stream: TcpStream, peer: SocketAddr, manner: &Manner) {
    let socket = Socket::new(hub.new_id(), peer, Arc::clone(&manner.framing), hub.now_ms());
    hub.connect(&socket).await;
    let (reader, writer) = stream.split();
    serve(hub, &socket, reader, writer).await;
    drop(stream);
    hub.disconnect(&socket).await;
}

/// For a PROXY header, and for a TLS handshake.
pub(crate) const GREETING_TIMEOUT: Duration = Duration::from_secs(5);

/// A client that vanished without a word is found out after this and the system's probes.
const KEEPALIVE: Duration = Duration::from_secs(60);

const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
