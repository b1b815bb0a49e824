//! Clients and workers that break the rules.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use glue_endpoint::Endpoint;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use http_gateway::{Incoming, RouterConfig, Transfer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};

use crate::common::{World, client, full, service, within};

/// Answers with method, target and body, and tells the test.
fn reader() -> (mpsc::UnboundedReceiver<String>, impl Fn(Request<Incoming>) -> BoxAnswer + Clone) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let answer = move |request: Request<Incoming>| -> BoxAnswer {
        let sender = sender.clone();
        Box::pin(async move {
            let what = format!("{} {}", request.method(), request.uri());
            let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            let text = format!("{what} {}", String::from_utf8_lossy(&body));
            sender.send(text.clone()).unwrap();
            Response::new(full(text))
        })
    };
    (receiver, answer)
}

type BoxAnswer = std::pin::Pin<Box<dyn Future<Output = Response<Full<Bytes>>> + Send>>;

/// Sends bytes as they are, and returns what comes back until the connection is closed.
async fn raw(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut answer = Vec::new();
    // The other end may close before it has read all.
    let _ = stream.write_all(request).await;
    let _ = within(stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// Reads until this has come.
async fn read_until(stream: &mut TcpStream, end: &str) {
    let mut read = Vec::new();
    while !String::from_utf8_lossy(&read).contains(end) {
        let byte = within(stream.read_u8()).await;
        read.push(byte.unwrap_or_else(|error| panic!("{error} after {}", String::from_utf8_lossy(&read))));
    }
}

fn statuses(answer: &str) -> Vec<&str> {
    answer.match_indices("HTTP/1.1 ").filter_map(|(at, _)| answer.get(at + 9..at + 12)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_hides_in_another() {
    let world = World::new().await;
    let (mut seen, answer) = reader();
    let _worker = world.worker("a", service(answer)).await;
    let address = world.listening.address();
    let hidden = "GET /hidden HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let cases = [
        // Two lengths that differ, one that is none, one with a sign.
        format!("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 52\r\n\r\n{hidden}"),
        format!("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 0, 52\r\n\r\n{hidden}"),
        format!("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: +0\r\n\r\n{hidden}"),
        // A coding that is not the last, one that is none, a field name with a blank.
        format!("POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n{hidden}"),
        format!("POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{hidden}"),
        format!("POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n{hidden}"),
        format!("GET /x HTTP/1.1\r\nHost: a\r\n Folded: b\r\n\r\n{hidden}"),
        format!("GET /x HTTP/1.1\r\nHost: a\r\nBad\0Name: b\r\n\r\n{hidden}"),
        format!("GET /x HTTP/9.9\r\nHost: a\r\n\r\n{hidden}"),
        format!("GET  /x HTTP/1.1\r\nHost: a\r\n\r\n{hidden}"),
    ];
    for case in &cases {
        let answer = raw(address, case.as_bytes()).await;
        assert_eq!(statuses(&answer), ["400"], "{case:?}: {answer}");
    }
    // Length and chunks: the length does not count (RFC 9112, 6.3), and the worker never sees it.
    let both = "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
        5\r\nhello\r\n0\r\n\r\n";
    let answer = raw(address, both.as_bytes()).await;
    assert!(statuses(&answer) == ["200"] && answer.contains("POST /x hello"), "{answer}");
    assert_eq!(within(seen.recv()).await.unwrap(), "POST /x hello");
    assert!(seen.try_recv().is_err(), "a request was seen that nobody sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_router_refuses_has_a_problem() {
    let world = World::new().await;
    let (_seen, answer) = reader();
    let _worker = world.worker("a", service(answer)).await;
    let address = world.listening.address();
    for (request, status) in [
        ("GET / HTTP/1.1\r\nConnection: close\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n", "400"),
        ("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nConnection: close\r\n\r\n", "501"),
    ] {
        let answer = raw(address, request.as_bytes()).await;
        assert_eq!(statuses(&answer), [status], "{request:?}: {answer}");
        assert!(answer.contains("application/problem+json"), "{answer}");
    }
    // The target's host counts more than the field.
    let absolute = raw(address, b"GET http://b/c?d HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert!(absolute.contains("GET /c?d"), "{absolute}");
}

#[tokio::test(flavor = "multi_thread")]
async fn huge_heads_are_refused() {
    let mut config = RouterConfig::default();
    config.max_header_bytes = 8 << 10;
    let world = World::with(config, Transfer::default()).await;
    let (mut seen, answer) = reader();
    let _worker = world.worker("a", service(answer)).await;
    let address = world.listening.address();
    let long = "x".repeat(70 << 10);
    let field = raw(address, format!("GET / HTTP/1.1\r\nHost: a\r\nX-Long: {long}\r\n\r\n").as_bytes()).await;
    assert_eq!(statuses(&field), ["431"], "{field}");
    let many = "X-Field: y\r\n".repeat(500);
    let fields = raw(address, format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n").as_bytes()).await;
    assert_eq!(statuses(&fields), ["431"], "{fields}");
    let target = raw(address, format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await;
    assert!(matches!(statuses(&target)[..], ["414"] | ["431"]), "{target}");
    assert!(seen.try_recv().is_err());
    assert_eq!(world.get("/").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_dawdles_is_cut_off_and_who_goes_leaves_nothing() {
    let mut config = RouterConfig::default();
    config.header_seconds = 0.3;
    config.body_stall_seconds = 0.3;
    config.max_connections = 4;
    let world = World::with(config, Transfer::default()).await;
    let (_seen, answer) = reader();
    let (_endpoint, serving) = world.worker("a", service(answer)).await;
    let address = world.listening.address();
    // A head that does not end.
    for begun in ["GET / HTTP/1.1\r\nHost: a\r\nX-Slow", "G", "PRI * HTTP/2.0\r\n\r\nSM"] {
        let slow = raw(address, begun.as_bytes()).await;
        assert_eq!(statuses(&slow), ["408"], "{begun:?}: {slow}");
    }
    // The second head of a connection, and one that began before the first answer.
    let first = "GET /first HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut second = TcpStream::connect(address).await.unwrap();
    second.write_all(first.as_bytes()).await.unwrap();
    read_until(&mut second, "GET /first ").await;
    second.write_all(b"GET /second HTTP/1.1\r\nHo").await.unwrap();
    read_until(&mut second, "\"status\":408").await;
    // One that begins nothing is closed without a word.
    assert_eq!(raw(address, b"").await, "");
    assert_eq!(statuses(&raw(address, first.as_bytes()).await), ["200"]);
    // A body that does not go on.
    let stalled = raw(address, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nbegun").await;
    assert_eq!(statuses(&stalled), ["408"], "{stalled}");
    // A client that closes its half in the middle of a body.
    let mut half = TcpStream::connect(address).await.unwrap();
    half.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nbegun").await.unwrap();
    half.shutdown().await.unwrap();
    let mut rest = Vec::new();
    within(half.read_to_end(&mut rest)).await.unwrap();
    let rest = String::from_utf8_lossy(&rest);
    assert_eq!(statuses(&rest), ["400"], "{rest}");
    // More connections than there may be.
    let mut idle = Vec::new();
    let refused = within(async {
        loop {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let mut first = [0; 12];
            let read = tokio::time::timeout(Duration::from_millis(50), stream.read_exact(&mut first)).await;
            if matches!(read, Ok(Ok(_))) {
                return String::from_utf8_lossy(&first).into_owned();
            }
            idle.push(stream);
        }
    })
    .await;
    assert_eq!(refused, "HTTP/1.1 503");
    drop(idle);
    let plain = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    within(async { while statuses(&raw(address, plain).await) != ["200"] {} }).await;
    within(async {
        while serving.in_flight() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_closes_its_half_gets_its_answer_and_who_is_gone_is_noticed() {
    let world = World::new().await;
    let (begun, mut begins) = mpsc::unbounded_channel();
    let (dropped, mut drops) = mpsc::unbounded_channel();
    let release = Arc::new(Notify::new());
    let hold = Arc::clone(&release);
    let answer = move |_: Request<Incoming>| {
        let (hold, begun, dropped) = (Arc::clone(&hold), begun.clone(), Gone(dropped.clone()));
        async move {
            begun.send(()).unwrap();
            hold.notified().await;
            std::mem::forget(dropped);
            Response::new(full("waited"))
        }
    };
    let _worker = world.worker("a", service(answer)).await;
    let address = world.listening.address();
    let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    // It sends no more, and reads. What is not final is no answer.
    let mut half = TcpStream::connect(address).await.unwrap();
    half.write_all(request).await.unwrap();
    half.shutdown().await.unwrap();
    within(begins.recv()).await.unwrap();
    read_until(&mut half, "100 Continue").await;
    release.notify_one();
    let mut rest = Vec::new();
    within(half.read_to_end(&mut rest)).await.unwrap();
    let rest = String::from_utf8_lossy(&rest);
    assert!(statuses(&rest) == ["200"] && rest.ends_with("waited"), "{rest}");
    // It has closed both halves: nobody works for it any more.
    let mut gone = TcpStream::connect(address).await.unwrap();
    gone.write_all(request).await.unwrap();
    within(begins.recv()).await.unwrap();
    assert!(drops.try_recv().is_err(), "it gave up although its client waits");
    drop(gone);
    within(drops.recv()).await.unwrap();
}

/// Tells when it is dropped.
struct Gone(mpsc::UnboundedSender<()>);

impl Drop for Gone {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

/// A worker of another make, which answers each head with these frames.
struct Odd {
    _token: glue_endpoint::Token,
    _inbox: glue_endpoint::CallbackSubscription,
}

const FRAME: &str = "http-gateway/frame";

async fn odd(endpoint: &Endpoint, name: &'static str, frames: impl Fn(u8) -> Vec<Vec<u8>> + Send + 'static) -> Odd {
    odd_for(endpoint, name, Duration::from_secs(60), frames).await
}

/// Its answers live for so long.
async fn odd_for(
    endpoint: &Endpoint,
    name: &'static str,
    lifetime: Duration,
    frames: impl Fn(u8) -> Vec<Vec<u8>> + Send + 'static,
) -> Odd {
    let to = endpoint.clone();
    let inbox = endpoint
        .subscribe_with(&format!("http-gateway/1/down/{name}/+"), FRAME, move |message| {
            let router = message.topic_name.rsplit('/').next().unwrap();
            let up = format!("http-gateway/1/up/{router}/{name}");
            let announce = [&[1][..], format!("{{\"id\":\"{name}\"}}").as_bytes()].concat();
            let (answers, lifetime) = match message.payload[..] {
                [0] => (vec![announce], Duration::from_secs(60)),
                // The stream's number is below 128 here, and so a byte.
                [3, stream, ..] => (frames(stream), lifetime),
                _ => return,
            };
            for answer in answers {
                to.try_publish(&up, FRAME, lifetime, &answer).unwrap();
            }
        })
        .await
        .unwrap();
    let token = endpoint.token(&format!("http-gateway/1/worker/{name}")).unwrap();
    Odd { _token: token, _inbox: inbox }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_answers_nonsense_harms_only_its_own_requests() {
    let world = World::new().await;
    let endpoint = world.another_endpoint().await;
    type Frames = fn(u8) -> Vec<Vec<u8>>;
    let kinds: [(&'static str, Frames, u16); 6] = [
        ("no-head", |stream| vec![vec![4, stream, 1, b'x']], 502),
        ("no-status", |stream| vec![vec![3, stream, 1, 1, 0]], 502),
        ("informational", |stream| vec![vec![3, stream, 1, 1, 100]], 502),
        ("bad-field", |stream| vec![vec![3, stream, 1, 7, 200, 1, 1, b'\n', 1, b'x', 0]], 502),
        ("reset", |stream| vec![vec![6, stream, 1]], 502),
        // Bytes that are no frames are passed over: what follows counts.
        ("noise", |stream| vec![vec![], vec![99, stream], vec![3], vec![3, stream, 1, 2, 204, 1]], 204),
    ];
    let mut all = Vec::new();
    for (name, frames, _) in kinds {
        all.push(odd(&endpoint, name, frames).await);
    }
    let (_seen, answer) = reader();
    let _worker = world.worker("sound", service(answer)).await;
    within(world.router.wait_for_workers(7)).await;
    for (name, _, status) in kinds {
        let request = Request::get(world.url("/")).header("fuyuurouter-ids", name).body(full("")).unwrap();
        assert_eq!(world.text(request).await.0, status, "{name}");
    }
    let sound = Request::get(world.url("/")).header("fuyuurouter-ids", "sound").body(full("")).unwrap();
    assert_eq!(world.text(sound).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_sends_more_than_it_may_is_cut_off() {
    let world = World::new().await;
    let endpoint = world.another_endpoint().await;
    let flood = |stream| {
        let head = vec![3, stream, 0, 2, 200, 1];
        let data = [&[4, stream, 0][..], &[b'x'; 65_536]].concat();
        [vec![head], vec![data; 100]].concat()
    };
    let _odd = odd(&endpoint, "flood", flood).await;
    within(world.router.wait_for_workers(1)).await;
    let request = Request::get(world.url("/")).body(full("")).unwrap();
    let response = within(client().request(request)).await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(within(response.into_body().collect()).await.is_err(), "it sent ten windows at once, and nobody minded");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_on_the_way_breaks_its_streams_at_once() {
    let world = World::new().await;
    let endpoint = world.another_endpoint().await;
    // It answers as it should, but what it says expires before anybody can hear it.
    let answer = |stream| vec![vec![3, stream, 1, 2, 204, 1]];
    let _odd = odd_for(&endpoint, "late", Duration::from_nanos(1), answer).await;
    within(world.router.wait_for_workers(1)).await;
    assert_eq!(world.get("/").await.0, 502);
}
