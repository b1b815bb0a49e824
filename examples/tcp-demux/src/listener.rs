//! Accepts sockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use crate::framing::Framing;
use crate::hub::Hub;
use crate::socket::{Socket, serve};

/// Accepts until it is dropped.
pub(crate) async fn accept(hub: Arc<Hub>, listener: TcpListener, framing: Arc<Framing>) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => admit(&hub, stream, peer, &framing),
            Err(error) => {
                // Too many open files, as a rule: it passes when some are closed.
                tracing::warn!("can not accept: {error}");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn admit(hub: &Arc<Hub>, stream: TcpStream, peer: SocketAddr, framing: &Arc<Framing>) {
    if hub.directory().len() >= hub.settings().max_sockets {
        return hub.counters.sockets_refused.add(1);
    }
    hub.counters.sockets_accepted.add(1);
    let _ = stream.set_nodelay(true);
    let _ = SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE));
    let (hub, framing) = (Arc::clone(hub), Arc::clone(framing));
    tokio::spawn(async move {
        let socket = Socket::new(hub.new_id(), peer, framing, hub.now_ms());
        hub.connect(&socket).await;
        let mut stream = stream;
        let (reader, writer) = stream.split();
        serve(&hub, &socket, reader, writer, BytesMut::new()).await;
        drop(stream);
        hub.disconnect(&socket).await;
    });
}

/// A client that vanished without a word is found out after this and the system's probes.
const KEEPALIVE: Duration = Duration::from_secs(60);

const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
