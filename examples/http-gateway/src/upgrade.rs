//! Upgrades for services that know of no connection.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::header::{CONNECTION, UPGRADE};
use http::{Request, Response, StatusCode};
use http_body_util::Empty;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

/// Two ends of one upgrade: what one side writes the other reads. Frameworks expect hyper's own type, which only a
/// connection of hyper makes: so one is made in memory, and upgraded at once.
pub(crate) async fn pair() -> Option<(OnUpgrade, OnUpgrade)> {
    let (near, far) = tokio::io::duplex(PIPE_BYTES);
    let caught = Arc::new(Mutex::new(None));
    let catch = Arc::clone(&caught);
    let service = service_fn(move |mut request: Request<hyper::body::Incoming>| {
        *catch.lock().unwrap_or_else(PoisonError::into_inner) = Some(hyper::upgrade::on(&mut request));
        std::future::ready(Ok::<_, Infallible>(switching()))
    });
    let server = hyper::server::conn::http1::Builder::new();
    tokio::spawn(server.serve_connection(TokioIo::new(far), service).with_upgrades());
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(near)).await.ok()?;
    tokio::spawn(connection.with_upgrades());
    let request = Request::get("/").header(CONNECTION, "upgrade").header(UPGRADE, PROTOCOL).body(Empty::<Bytes>::new());
    let response = sender.send_request(request.ok()?).await.ok()?;
    let served = caught.lock().unwrap_or_else(PoisonError::into_inner).take()?;
    Some((hyper::upgrade::on(response), served))
}

fn switching() -> Response<Empty<Bytes>> {
    let mut response = Response::new(Empty::new());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, http::HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, http::HeaderValue::from_static(PROTOCOL));
    response
}

/// Nobody but the two ends sees it.
const PROTOCOL: &str = "glue";

/// What waits between both ends.
const PIPE_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn what_one_end_writes_the_other_reads() {
        let (near, far) = pair().await.unwrap();
        let (mut near, mut far) = (TokioIo::new(near.await.unwrap()), TokioIo::new(far.await.unwrap()));
        near.write_all(b"ping").await.unwrap();
        let mut read = [0; 4];
        far.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"ping");
        drop(far);
        assert_eq!(near.read(&mut read).await.unwrap(), 0);
    }
}
