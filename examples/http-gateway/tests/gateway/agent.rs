//! The agent: any HTTP server behind it, and all that HTTP can carry.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use http::{HeaderMap, Request, Response, Version};
use http_body::Frame;
use http_body_util::{BodyExt, Full};
use http_gateway::{Agent, Announcement, Roots, Target};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::tungstenite::Message;

use crate::common::{ChannelBody, World, channel, client_http2, full, within};

/// An HTTP server, which stops when the handle is dropped.
struct Backend {
    address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn backend<F, Fut>(answer: F) -> Backend
where
    F: Fn(Request<hyper::body::Incoming>) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Response<ChannelBody>> + Send + 'static,
{
    backend_by(None, answer).await
}

async fn backend_by<F, Fut>(tls: Option<TlsAcceptor>, answer: F) -> Backend
where
    F: Fn(Request<hyper::body::Incoming>) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Response<ChannelBody>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let mut connections = tokio::task::JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (tls, answer) = (tls.clone(), answer.clone());
            connections.spawn(async move {
                match tls {
                    // Who does not trust us ends the handshake.
                    Some(tls) => {
                        if let Ok(stream) = tls.accept(stream).await {
                            serve(stream, answer).await;
                        }
                    }
                    None => serve(stream, answer).await,
                }
            });
        }
    });
    Backend { address, task }
}

async fn serve<S, F, Fut>(stream: S, answer: F)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    F: Fn(Request<hyper::body::Incoming>) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Response<ChannelBody>> + Send + 'static,
{
    let service = service_fn(move |request| {
        let response = answer(request);
        async move { Ok::<_, Infallible>(response.await) }
    });
    let http = Builder::new(TokioExecutor::new());
    let _ = http.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
}

fn agent(backends: &[&Backend]) -> Agent {
    Agent::new(backends.iter().map(|backend| format!("http://{}", backend.address).parse().unwrap()).collect())
}

fn text(text: impl Into<Bytes>) -> Response<ChannelBody> {
    let (sender, body) = channel();
    sender.try_send(Ok(Frame::data(text.into()))).unwrap();
    Response::new(body)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_sees_the_request_as_it_was_sent() {
    let server = backend(|request| async move {
        let host = request.headers()["host"].to_str().unwrap();
        text(format!("{} {} {host} {:?}", request.method(), request.uri(), request.version()))
    })
    .await;
    let world = World::new().await;
    let _worker = world.worker("agent01", agent(&[&server])).await;
    let request = Request::put(world.url("/a%20b?c=%26")).header("host", "site.example").body(full("x")).unwrap();
    assert_eq!(world.text(request).await, (200, "PUT /a%20b?c=%26 site.example HTTP/1.1".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_tls_is_spoken_with_if_its_certificate_is_trusted() {
    let file = |name: &str| format!("{}/tests/gateway/tls/{name}", env!("CARGO_MANIFEST_DIR"));
    let certificate = CertificateDer::from_pem_file(file("loopback.crt")).unwrap();
    let key = PrivateKeyDer::from_pem_file(file("loopback.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let server = backend_by(Some(TlsAcceptor::from(Arc::new(config))), |request| async move {
        text(format!("{} {:?}", request.uri().path(), request.version()))
    })
    .await;
    let agent = |trusted: &'static str| {
        let roots = || Roots::of_file(file(trusted).as_ref());
        Agent::new(vec![Target::trusting(&format!("https://{}", server.address), roots).unwrap()])
    };
    let world = World::new().await;
    let _worker = world.worker("trusting", agent("loopback.crt")).await;
    let _other = world.worker("wary", agent("one.crt")).await;
    let ask = |id: &str| Request::get(world.url("/x")).header("fuyuurouter-ids", id);
    let first = ask("trusting").body(full("")).unwrap();
    assert_eq!(world.text(first).await, (200, "/x HTTP/1.1".to_owned()));
    let grpc = ask("trusting").version(Version::HTTP_2).header("content-type", "application/grpc");
    let answer = within(client_http2().request(grpc.body(full("")).unwrap())).await.unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "/x HTTP/2.0");
    let (status, problem) = world.text(ask("wary").body(full("")).unwrap()).await;
    assert!(status == 502 && problem.contains("certificate"), "{status} {problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_share_the_requests_and_one_that_is_gone_is_passed_over() {
    let (one, two) = (backend(|_| async { text("one") }).await, backend(|_| async { text("two") }).await);
    let world = World::new().await;
    let agent = agent(&[&one, &two]);
    let (_endpoint, serving) = world.worker("agent01", agent.clone()).await;
    let mut answers = [world.get("/").await.1, world.get("/").await.1];
    answers.sort();
    assert_eq!(answers, ["one", "two"]);
    drop(one);
    for _ in 0..6 {
        // A body that was not sent goes to the other server.
        let request = Request::post(world.url("/")).body(full("body")).unwrap();
        let (status, answer) = world.text(request).await;
        assert!((status, answer.as_str()) == (200, "two") || status == 502, "{status} {answer}");
    }
    assert_eq!(world.get("/").await, (200, "two".to_owned()));
    // Without any server the agent is not asked: that is a 503 at once.
    drop(two);
    let announcer = serving.announcer();
    let watch = tokio::spawn(async move { agent.watch(announcer, Duration::from_millis(50)).await });
    within(async { while world.get("/").await.0 != 503 {} }).await;
    watch.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_events_arrive_one_by_one() {
    let server = backend(|_| async {
        let (sender, body) = channel();
        tokio::spawn(async move {
            for at in 0..10_000 {
                sender.send(Ok(Frame::data(format!("id: {at}\ndata: event {at}\n\n").into()))).await.unwrap();
            }
        });
        let mut response = Response::new(body);
        response.headers_mut().insert("content-type", "text/event-stream".parse().unwrap());
        response
    })
    .await;
    let world = World::new().await;
    let _worker = world.worker("agent01", agent(&[&server])).await;
    let response = world.send(Request::get(world.url("/")).body(full("")).unwrap()).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let body = within(response.into_body().collect()).await.unwrap().to_bytes();
    let expected: String = (0..10_000).map(|at| format!("id: {at}\ndata: event {at}\n\n")).collect();
    assert!(body == expected.as_bytes());
}

async fn echo_websocket(mut request: Request<hyper::body::Incoming>) -> Response<ChannelBody> {
    let key = request.headers()["sec-websocket-key"].as_bytes();
    let accept = tokio_tungstenite::tungstenite::handshake::derive_accept_key(key);
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let io = TokioIo::new(upgrade.await.unwrap());
        let role = tokio_tungstenite::tungstenite::protocol::Role::Server;
        let mut socket = tokio_tungstenite::WebSocketStream::from_raw_socket(io, role, None).await;
        while let Some(Ok(message)) = socket.next().await {
            if message.is_close() || socket.send(message).await.is_err() {
                break;
            }
        }
    });
    let response = Response::builder().status(101).header("connection", "upgrade").header("upgrade", "websocket");
    let (_, empty) = channel();
    response.header("sec-websocket-accept", accept).body(empty).unwrap()
}

async fn exercise_websocket(world: &World) {
    let url = world.url("/").replace("http", "ws");
    let stream = tokio::net::TcpStream::connect(world.listening.address()).await.unwrap();
    let (mut socket, response) = within(tokio_tungstenite::client_async(url, stream)).await.unwrap();
    assert_eq!(response.status(), 101);
    for at in 0..8_u8 {
        let sent = Message::binary(vec![at; 1 << 20]);
        within(socket.send(sent.clone())).await.unwrap();
        assert!(within(socket.next()).await.unwrap().unwrap() == sent);
    }
    within(socket.close(None)).await.unwrap();
    while let Some(message) = within(socket.next()).await {
        assert!(message.is_err() || message.unwrap().is_close());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_of_a_mebibyte_pass_a_websocket() {
    let server = backend(echo_websocket).await;
    let world = World::new().await;
    let (_endpoint, serving) = world.worker("agent01", agent(&[&server])).await;
    exercise_websocket(&world).await;
    // Nothing is left of it.
    within(async {
        while serving.in_flight() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_may_upgrade_without_a_connection() {
    let world = World::new().await;
    let service = crate::common::service(|request: Request<http_gateway::Incoming>| async move {
        let (mut parts, _) = request.into_parts();
        let upgrade = parts.extensions.remove::<hyper::upgrade::OnUpgrade>().expect("an upgrade comes with a request");
        let accept =
            tokio_tungstenite::tungstenite::handshake::derive_accept_key(parts.headers["sec-websocket-key"].as_bytes());
        tokio::spawn(async move {
            let io = TokioIo::new(upgrade.await.unwrap());
            let role = tokio_tungstenite::tungstenite::protocol::Role::Server;
            let mut socket = tokio_tungstenite::WebSocketStream::from_raw_socket(io, role, None).await;
            while let Some(Ok(message)) = socket.next().await {
                if message.is_close() || socket.send(message).await.is_err() {
                    break;
                }
            }
        });
        let response = Response::builder().status(101).header("connection", "upgrade").header("upgrade", "websocket");
        response.header("sec-websocket-accept", accept).body(full("")).unwrap()
    });
    let _worker = world.worker("a", service).await;
    exercise_websocket(&world).await;
}

/// A message of gRPC: a byte, a length, the bytes.
fn grpc_message(payload: &[u8]) -> Bytes {
    let mut message = BytesMut::new();
    message.put_u8(0);
    message.put_u32(u32::try_from(payload.len()).unwrap());
    message.put_slice(payload);
    message.freeze()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grpc_stream_passes_both_ways_with_its_trailers() {
    let server = backend(|request| async move {
        assert_eq!(request.version(), Version::HTTP_2);
        assert_eq!(request.headers()["te"], "trailers");
        let (sender, body) = channel();
        tokio::spawn(async move {
            let mut incoming = request.into_body();
            while let Some(Ok(frame)) = incoming.frame().await {
                if let Ok(data) = frame.into_data() {
                    let _ = sender.send(Ok(Frame::data(data))).await;
                }
            }
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", "0".parse().unwrap());
            let _ = sender.send(Ok(Frame::trailers(trailers))).await;
        });
        let mut response = Response::new(body);
        response.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
        response
    })
    .await;
    let world = World::new().await;
    let _worker = world.worker("agent01", agent(&[&server])).await;
    let (sender, body) = channel();
    let request = Request::post(world.url("/test.Echo/Stream")).version(Version::HTTP_2);
    let request = request.header("content-type", "application/grpc").header("te", "trailers").body(body).unwrap();
    let response = within(client_http2().request(request)).await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/grpc");
    let mut back = response.into_body();
    for at in 0..1_000_u32 {
        let message = grpc_message(&at.to_be_bytes());
        sender.send(Ok(Frame::data(message.clone()))).await.unwrap();
        let mut read = BytesMut::new();
        while read.remaining() < message.len() {
            read.extend_from_slice(&within(back.frame()).await.unwrap().unwrap().into_data().unwrap());
        }
        assert_eq!(read, message);
    }
    drop(sender);
    let trailers = within(back.frame()).await.unwrap().unwrap().into_trailers().unwrap();
    assert_eq!(trailers["grpc-status"], "0");
    assert!(within(back.frame()).await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_routers_and_two_agents_know_each_other_whatever_comes_first() {
    let server = backend(|_| async { text("server") }).await;
    let world = World::new().await;
    let _first = world.worker("agent01", agent(&[&server])).await;
    let endpoint = world.another_endpoint().await;
    let router = http_gateway::Router::start(endpoint, http_gateway::RouterConfig::default(), Default::default());
    let router = router.await.unwrap();
    let listening = http_gateway::Server::new(router.clone()).listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    within(router.wait_for_workers(1)).await;
    let _second = world.announced(Announcement::new("agent02"), agent(&[&server])).await;
    within(router.wait_for_workers(2)).await;
    for address in [listening.address(), world.listening.address()] {
        for id in ["agent01", "agent02"] {
            let request = Request::get(format!("http://{address}/")).header("fuyuurouter-ids", id);
            let (status, _) = world.text(request.body(Full::default()).unwrap()).await;
            assert_eq!(status, 200);
        }
    }
}
