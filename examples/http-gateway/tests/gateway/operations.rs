//! What operators do and see.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use http_gateway::{
    Admin, Announcement, Compress, Incoming, Launched, RelayConfig, RouterConfig, Server, TlsFiles, Transfer, Worker,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::common::{World, full, pattern, service, within};

async fn echo(request: Request<Incoming>) -> Response<Incoming> {
    Response::new(request.into_body())
}

fn at(admin: &Admin, path: &str) -> http::request::Builder {
    Request::get(format!("http://{}{path}", admin.address()))
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_see_workers_and_counters_if_they_may() {
    let world = World::new().await;
    let mut told = Announcement::new("agent01");
    told.labels.insert("site".to_owned(), "north".to_owned());
    let _worker = world.announced(told, service(echo)).await;
    let post = Request::post(world.url("/")).body(full("12345")).unwrap();
    assert_eq!(world.text(post).await.0, 200);
    let listen = "127.0.0.1:0".parse().unwrap();
    let admin = Admin::listen(world.router.clone(), listen, Some("secret".to_owned())).await.unwrap();
    for token in ["Bearer wrong", "Bearer secre", "secret", ""] {
        let request = at(&admin, "/metrics").header("authorization", token).body(full("")).unwrap();
        assert_eq!(world.text(request).await.0, 401, "{token}");
    }
    let ask = |path: &str| at(&admin, path).header("authorization", "Bearer secret").body(full("")).unwrap();
    let (_, workers) = world.text(ask("/workers")).await;
    let workers: serde_json::Value = serde_json::from_str(&workers).unwrap();
    assert_eq!(workers[0]["announced"]["id"], "agent01");
    assert_eq!(workers[0]["announced"]["labels"]["site"], "north");
    // A request is counted when its answer has been handed over, a moment after the client has it.
    let metrics = within(async {
        loop {
            let (_, metrics) = world.text(ask("/metrics")).await;
            if metrics.contains("http_gateway_requests_total") && metrics.contains("http_gateway_in_flight 0") {
                return metrics;
            }
        }
    })
    .await;
    for line in [
        "http_gateway_requests_total{worker=\"agent01\",status=\"200\"} 1",
        "http_gateway_latency_seconds_count{worker=\"agent01\",status=\"200\"} 1",
        "http_gateway_request_body_bytes_total 5",
        "http_gateway_response_body_bytes_total 5",
        "http_gateway_workers 1",
        "http_gateway_glue{name=\"messages_published\"}",
    ] {
        assert!(metrics.contains(line), "{line} is missing in {metrics}");
    }
    assert_eq!(world.text(ask("/nothing")).await.0, 404);
    assert_eq!(world.text(ask("/health")).await, (200, "{\"workers\":1}".to_owned()));
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/gateway/tls").join(name)
}

/// A directory that goes with the test.
pub(crate) struct Directory(pub(crate) PathBuf);

impl Directory {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("http-gateway-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn files(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut left = vec![self.0.clone()];
        while let Some(directory) = left.pop() {
            for entry in std::fs::read_dir(directory).unwrap() {
                let entry = entry.unwrap();
                let to = if entry.file_type().unwrap().is_dir() { &mut left } else { &mut found };
                to.push(entry.path());
            }
        }
        found
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A client that trusts this certificate alone.
async fn connect_by_tls(address: std::net::SocketAddr, name: &str, protocol: &[u8]) -> Option<TlsStream<TcpStream>> {
    use rustls::pki_types::pem::PemObject;
    let mut roots = rustls::RootCertStore::empty();
    let certificate = rustls::pki_types::CertificateDer::from_pem_file(fixture(&format!("{name}.crt"))).unwrap();
    roots.add(certificate).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    let stream = TcpStream::connect(address).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    within(connector.connect(name.to_owned().try_into().unwrap(), stream)).await.ok()
}

async fn get_by_tls(world: &World, address: std::net::SocketAddr, name: &str) -> Option<String> {
    let mut stream = connect_by_tls(address, name, b"http/1.1").await?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await.unwrap();
    assert!(world.router.workers() == 0, "the answer is of the router");
    Some(answer)
}

async fn get_by_http2_and_tls(address: std::net::SocketAddr, name: &str) -> Response<hyper::body::Incoming> {
    let stream = connect_by_tls(address, name, b"h2").await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, connection) = within(handshake).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get(format!("https://{name}/")).body(full("")).unwrap();
    within(sender.send_request(request)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_changes_is_served_without_a_restart() {
    let world = World::new().await;
    let directory = Directory::new("tls");
    let files = TlsFiles { cert: directory.0.join("cert.pem"), key: directory.0.join("key.pem") };
    let install = |name: &str| {
        std::fs::copy(fixture(&format!("{name}.key")), &files.key).unwrap();
        std::fs::copy(fixture(&format!("{name}.crt")), &files.cert).unwrap();
    };
    install("one");
    let server = Server::new(world.router.clone()).tls(files.clone()).unwrap();
    let listening = server.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let answer = get_by_tls(&world, listening.address(), "one").await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(get_by_tls(&world, listening.address(), "two").await.is_none());
    // What is no certificate changes nothing.
    std::fs::write(&files.cert, "nonsense").unwrap();
    assert!(get_by_tls(&world, listening.address(), "one").await.is_some());
    install("two");
    within(async { while get_by_tls(&world, listening.address(), "two").await.is_none() {} }).await;
    let response = get_by_http2_and_tls(listening.address(), "two").await;
    assert_eq!((response.version(), response.status().as_u16()), (http::Version::HTTP_2, 503));
    assert!(
        Server::new(world.router.clone()).tls(TlsFiles { cert: files.key.clone(), key: files.cert.clone() }).is_err()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_are_announced_and_missed_on_the_topics_of_the_original() {
    let world = World::new().await;
    let mut launches = world.endpoint.subscribe("fuyuu-router/launch", "json").await.unwrap();
    let mut ends = world.endpoint.subscribe("fuyuu-router/terminate", "json").await.unwrap();
    let labels = [("k".to_owned(), "v".to_owned())].into();
    // It is there before its launch is told: else nobody would hear.
    let meet = |endpoint: glue_endpoint::Endpoint| async move {
        within(endpoint.publisher("fuyuu-router/launch", "json").unwrap().wait_for_subscribers(1)).await;
        within(endpoint.publisher("fuyuu-router/terminate", "json").unwrap().wait_for_subscribers(1)).await;
        endpoint
    };
    let polite = meet(world.another_endpoint().await).await;
    let launched = Launched::tell(&polite, "agent01", &labels).await.unwrap();
    let expected: serde_json::Value = serde_json::json!({"agent_id": "agent01", "labels": {"k": "v"}});
    let read = |message: glue_endpoint::Message| serde_json::from_slice::<serde_json::Value>(&message.payload).unwrap();
    assert_eq!(read(within(launches.recv()).await.unwrap()), expected);
    launched.terminate().await.unwrap();
    polite.close(Duration::from_secs(1)).await;
    let end = within(ends.recv()).await.unwrap();
    assert!(!end.is_will());
    assert_eq!(read(end), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn packed_and_cut_bodies_are_the_same_at_the_end() {
    let mut transfer = Transfer::default();
    transfer.compress = Compress::Zstd;
    transfer.chunk_bytes = 5_000;
    let world = World::with(RouterConfig::default(), transfer.clone()).await;
    let endpoint = world.another_endpoint().await;
    let worker = Worker::new(endpoint.clone(), Announcement::new("a")).transfer(transfer);
    let _serving = worker.serve(service(echo)).await.unwrap();
    within(world.router.wait_for_workers(1)).await;
    // Exact multiples too: the original sent their last piece twice.
    for size in [4_999, 5_000, 5_001, 50_000, 1_000_000] {
        let sent = pattern(size, 100);
        let request = Request::post(world.url("/")).body(Full::new(sent.clone())).unwrap();
        let back = within(world.send(request).await.into_body().collect()).await.unwrap().to_bytes();
        assert!(back == sent, "{size}");
    }
    let moved = endpoint.stats().topics;
    assert!(moved.published > 200, "{} messages for 212 pieces", moved.published);
    let bytes: u64 = endpoint.topic_stats().iter().map(|topic| topic.stats.published_bytes).sum();
    assert!(bytes < 500_000, "{bytes} bytes for a mebibyte that packs well");
}

/// Half of the body comes back: a large response to a larger request.
#[cfg(feature = "storage-relay")]
pub(crate) async fn halve(request: Request<Incoming>) -> Response<Full<bytes::Bytes>> {
    let body = request.into_body().collect().await.unwrap().to_bytes();
    Response::new(Full::new(body.slice(..body.len() / 2)))
}

#[cfg(feature = "storage-relay")]
pub(crate) async fn post_and_get_half(world: &World, size: usize) {
    let sent = pattern(size, 1);
    let request = Request::post(world.url("/")).body(Full::new(sent.clone())).unwrap();
    let back = within(world.send(request).await.into_body().collect()).await.unwrap().to_bytes();
    assert!(back == sent[..size / 2], "{size}");
}

#[cfg(feature = "storage-relay")]
#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_go_by_way_of_the_store_and_leave_nothing_there() {
    let directory = Directory::new("relay");
    let (store, file) = (directory.0.join("objects"), directory.0.join("store.yml"));
    std::fs::create_dir_all(&store).unwrap();
    std::fs::write(&file, format!("type: FILESYSTEM\nconfig:\n  directory: {}\n", store.display())).unwrap();
    let mut relay = RelayConfig::new(&file);
    relay.threshold_bytes = 1_000;
    let mut transfer = Transfer::default();
    transfer.relay = Some(relay.clone());
    let world = World::with(RouterConfig::default(), transfer.clone()).await;
    let endpoint = world.another_endpoint().await;
    let worker = Worker::new(endpoint.clone(), Announcement::new("agent01")).transfer(transfer.clone());
    let serving = worker.serve(service(halve)).await.unwrap();
    within(world.router.wait_for_workers(1)).await;
    let before = endpoint.stats().topics.messages_received;
    post_and_get_half(&world, 1_000_000).await;
    assert!(endpoint.stats().topics.messages_received - before < 5, "the body went over glue");
    let objects = Directory(store.clone());
    let kinds: Vec<_> = objects.files().iter().map(|path| path.file_name().unwrap().to_owned()).collect();
    assert_eq!(kinds.len(), 2, "{kinds:?}");
    assert!(objects.files().iter().all(|path| path.starts_with(store.join("agent01"))));
    post_and_get_half(&world, 1_500).await;
    assert_eq!(objects.files().len(), 3, "the response was small");
    drop(serving);
    // With deletion nothing stays, whichever of both was large.
    relay.deletion = true;
    transfer.relay = Some(relay);
    let world = World::with(RouterConfig::default(), transfer.clone()).await;
    let worker = Worker::new(world.another_endpoint().await, Announcement::new("agent02")).transfer(transfer);
    let _serving = worker.serve(service(halve)).await.unwrap();
    within(world.router.wait_for_workers(1)).await;
    post_and_get_half(&world, 1_000_000).await;
    post_and_get_half(&world, 1_500).await;
    within(async {
        while objects.files().len() > 3 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
