//! Accepts sockets.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use crate::framing::Framing;
use crate::hub::Hub;
use crate::places::Place;
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
    let Some(mut place) = hub.take_place() else { return };
    if !manner.proxy_protocol && !hub.admits(&mut place, peer.ip()) {
        return;
    }
    hub.counters.sockets_accepted.add(1);
    prepare(&stream, hub.settings().write_timeout);
    let (hub, manner) = (Arc::clone(hub), Arc::clone(manner));
    tokio::spawn(async move {
        if manner.proxy_protocol || manner.tls.is_some() {
            // Boxed, so that a plain socket does not pay for what only others need.
            Box::pin(greet(&hub, stream, peer, &manner, &mut place)).await;
        } else {
            hold_plain(&hub, stream, peer, &manner).await;
        }
        drop(place);
    });
}

/// A client that vanished without a word is found out: by the system's probes while nothing is under way to it, and else when
/// what was sent is not acknowledged in time. Without the latter the system tries for a quarter of an hour, and everything
/// sent meanwhile makes the socket look active.
fn prepare(stream: &TcpStream, write_timeout: Duration) {
    let _ = stream.set_nodelay(true);
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(PROBE_INTERVAL).with_retries(PROBES);
    let _ = socket.set_tcp_keepalive(&keepalive);
    let _ = socket.set_tcp_user_timeout((!write_timeout.is_zero()).then_some(write_timeout));
}

async fn greet(hub: &Hub, mut stream: TcpStream, mut peer: SocketAddr, manner: &Manner, place: &mut Place) {
    if manner.proxy_protocol {
        match timeout(GREETING_TIMEOUT, proxy::read(&mut stream)).await {
            Ok(Ok(client)) => peer = client.unwrap_or(peer),
            _ => return hub.counters.proxy_header_bad.add(1),
        }
        if !hub.admits(place, peer.ip()) {
            return;
        }
    }
    let Some(tls) = &manner.tls else { return hold_plain(hub, stream, peer, manner).await };
    let handshake = timeout(GREETING_TIMEOUT, tls.acceptor().accept(stream)).await;
    let stream = match handshake.map_err(io::Error::from).and_then(|done| done) {
        Ok(stream) => stream,
        Err(error) => {
            tracing::debug!(%peer, "TLS handshake: {error}");
            return hub.counters.tls_failed.add(1);
        }
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

/// After so long without a word a client is probed, and given up after so many probes: 90 s in all.
const KEEPALIVE: Duration = Duration::from_secs(60);
const PROBE_INTERVAL: Duration = Duration::from_secs(10);
const PROBES: u32 = 3;

const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_is_probed_and_what_it_was_sent_has_to_be_acknowledged() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let stream = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("it listens");
        prepare(&stream, Duration::from_secs(7));
        let socket = SockRef::from(&stream);
        assert_eq!(socket.tcp_keepalive_time().ok(), Some(KEEPALIVE));
        assert_eq!(socket.tcp_keepalive_interval().ok(), Some(PROBE_INTERVAL));
        assert_eq!(socket.tcp_keepalive_retries().ok(), Some(PROBES));
        assert!(socket.keepalive().is_ok_and(|is_on| is_on));
        assert_eq!(socket.tcp_user_timeout().ok(), Some(Some(Duration::from_secs(7))));
    }
}
