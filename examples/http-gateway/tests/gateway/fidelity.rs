//! What passes through: everything that is between the ends, and nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::common::{World, channel, client, client_http2, full, pattern, service, within};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Empty, Full};
use http_gateway::Incoming;
use tokio::sync::{mpsc, oneshot};

type Answer = std::future::Ready<Response<Empty<Bytes>>>;

/// Hands requests to the test, and answers with nothing.
fn spy() -> (mpsc::UnboundedReceiver<Request<Incoming>>, impl Fn(Request<Incoming>) -> Answer) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (receiver, move |request| {
        sender.send(request).unwrap();
        std::future::ready(Response::new(Empty::new()))
    })
}

fn values<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a str> {
    headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_arrives_as_it_was_sent() {
    let world = World::new().await;
    let (mut requests, spy) = spy();
    let _worker = world.worker("a", service(spy)).await;
    let method = Method::from_bytes(b"PROPFIND").unwrap();
    let request = Request::builder()
        .method(method.clone())
        .uri(world.url("/a%2Fb/ü?x=1&x=%20&y".replace('ü', "%C3%BC").as_str()));
    let request = request.header("host", "example.org:81").header("x-twice", "one").header("x-twice", "two");
    let request = request.header("connection", "x-hop").header("x-hop", "1").header("te", "trailers");
    let request = request.header("x-request-id", "mine").header("x-forwarded-for", "203.0.113.9");
    world.send(request.body(Full::<Bytes>::default()).unwrap()).await;
    let seen = within(requests.recv()).await.unwrap();
    assert_eq!((seen.method(), seen.uri().to_string().as_str()), (&method, "/a%2Fb/%C3%BC?x=1&x=%20&y"));
    let headers = seen.headers();
    assert_eq!(values(headers, "host"), ["example.org:81"]);
    assert_eq!(values(headers, "x-twice"), ["one", "two"]);
    assert_eq!(values(headers, "te"), ["trailers"]);
    assert_eq!(values(headers, "x-request-id"), ["mine"]);
    assert_eq!(values(headers, "via"), ["1.1 glue"]);
    assert_eq!(values(headers, "x-forwarded-for"), ["203.0.113.9, 127.0.0.1"]);
    assert_eq!(values(headers, "x-forwarded-proto"), ["http"]);
    assert_eq!(values(headers, "x-forwarded-host"), ["example.org:81"]);
    assert_eq!(values(headers, "forwarded"), ["for=127.0.0.1;proto=http;host=\"example.org:81\""]);
    assert_eq!(headers["traceparent"].len(), 55);
    assert!(!headers.contains_key("x-hop") && !headers.contains_key("connection"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_arrives_as_it_was_sent() {
    let world = World::new().await;
    let answer = |_| async {
        let response = Response::builder().status(StatusCode::IM_A_TEAPOT).header("set-cookie", "a=1");
        let response = response.header("set-cookie", "b=2").header("keep-alive", "5").header("x-empty", "");
        response.body(full("short and stout")).unwrap()
    };
    let _worker = world.worker("a", service(answer)).await;
    let response = world.send(Request::get(world.url("/")).body(Full::<Bytes>::default()).unwrap()).await;
    assert_eq!(response.status(), StatusCode::IM_A_TEAPOT);
    assert_eq!(values(response.headers(), "set-cookie"), ["a=1", "b=2"]);
    assert_eq!(values(response.headers(), "x-empty"), [""]);
    assert_eq!(values(response.headers(), "content-length"), ["15"]);
    assert_eq!(values(response.headers(), "via"), ["1.1 glue"]);
    assert!(!response.headers().contains_key("keep-alive") && response.headers().contains_key("x-request-id"));
    let body = within(response.into_body().collect()).await.unwrap().to_bytes();
    assert_eq!(body, "short and stout");
    // The length of what GET would give.
    let head = Request::head(world.url("/")).body(Full::<Bytes>::default()).unwrap();
    assert_eq!(world.send(head).await.status(), StatusCode::IM_A_TEAPOT);
}

/// Answers with what it gets, trailers too.
async fn echo(request: Request<Incoming>) -> Response<Incoming> {
    Response::new(request.into_body())
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_any_size_and_trailers_pass_both_ways() {
    let world = World::new().await;
    let _worker = world.worker("a", service(echo)).await;
    for size in [0, 1, 1_000, 65_535, 65_536, 65_537, 524_288, 524_289, 3_000_001] {
        let sent = pattern(size, 1);
        let request = Request::post(world.url("/")).body(Full::new(sent.clone())).unwrap();
        let back = within(world.send(request).await.into_body().collect()).await.unwrap().to_bytes();
        assert!(back == sent, "{size} bytes came back as {}", back.len());
    }
    let (sender, body) = channel();
    let request = Request::post(world.url("/")).header("te", "trailers").body(body).unwrap();
    let response = within(client_http2().request(request)).await.unwrap();
    sender.send(Ok(Frame::data(Bytes::from_static(b"x")))).await.unwrap();
    let mut trailers = HeaderMap::new();
    trailers.append("grpc-status", "0".parse().unwrap());
    sender.send(Ok(Frame::trailers(trailers.clone()))).await.unwrap();
    drop(sender);
    let back = within(response.into_body().collect()).await.unwrap();
    assert_eq!(back.trailers(), Some(&trailers));
    assert_eq!(back.to_bytes(), "x");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_may_begin_before_the_request_ends() {
    let world = World::new().await;
    let _worker = world.worker("a", service(echo)).await;
    let (sender, body) = channel();
    let response = within(client().request(Request::post(world.url("/")).body(body).unwrap())).await.unwrap();
    let mut back = response.into_body();
    for turn in 0..100_u32 {
        sender.send(Ok(Frame::data(turn.to_be_bytes().to_vec().into()))).await.unwrap();
        let frame = within(back.frame()).await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), turn.to_be_bytes().as_slice());
    }
    drop(sender);
    assert!(within(back.frame()).await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_slowly_slows_the_sender_and_nobody_else() {
    let world = World::new().await;
    let made = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&made);
    let endless = move |request: Request<Incoming>| {
        let count = Arc::clone(&count);
        let (sender, body) = channel();
        if request.uri().path() == "/endless" {
            tokio::spawn(async move {
                while sender.send(Ok(Frame::data(Bytes::from(vec![0; 65_536])))).await.is_ok() {
                    count.fetch_add(65_536, Ordering::Relaxed);
                }
            });
        }
        std::future::ready(Response::new(body))
    };
    let _worker = world.worker("a", service(endless)).await;
    let endless = world.send(Request::get(world.url("/endless")).body(Full::<Bytes>::default()).unwrap()).await;
    // It makes what the windows and sockets hold, then stands still: as soon as two looks are alike.
    let mut before = u64::MAX;
    within(async {
        let mut looks = tokio::time::interval(Duration::from_millis(200));
        while made.load(Ordering::Relaxed) != before || before == 0 {
            before = made.load(Ordering::Relaxed);
            looks.tick().await;
        }
    })
    .await;
    assert!(before < 16 << 20, "{before} bytes wait");
    assert_eq!(world.get("/other").await, (200, String::new()));
    let mut body = endless.into_body();
    let mut read = 0;
    while read < 2 * before {
        read += within(body.frame()).await.unwrap().unwrap().into_data().unwrap().len() as u64;
    }
}

/// Tells when it is dropped.
struct Guard(Option<oneshot::Sender<()>>);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.take().map(|sender| sender.send(()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_cancels_the_work() {
    let world = World::new().await;
    let (begun, mut begins) = mpsc::unbounded_channel();
    let never = move |request: Request<Incoming>| {
        let (sender, cancelled) = oneshot::channel();
        begun.send(cancelled).unwrap();
        let guard = Guard(Some(sender));
        async move {
            let (sender, body) = channel();
            if request.uri().path() == "/body" {
                tokio::spawn(async move {
                    let _guard = guard;
                    while sender.send(Ok(Frame::data(Bytes::from_static(b"x")))).await.is_ok() {}
                });
            } else {
                let _guard = guard;
                std::future::pending::<()>().await;
            }
            Response::new(body)
        }
    };
    let (_endpoint, serving) = world.worker("a", service(never)).await;
    // Before there is an answer.
    let request = Request::get(world.url("/never")).body(Full::<Bytes>::default()).unwrap();
    let asking = tokio::spawn(client().request(request));
    let cancelled = within(begins.recv()).await.unwrap();
    asking.abort();
    within(cancelled).await.unwrap();
    // In the middle of it.
    let response = world.send(Request::get(world.url("/body")).body(Full::<Bytes>::default()).unwrap()).await;
    let cancelled = within(begins.recv()).await.unwrap();
    drop(response);
    within(cancelled).await.unwrap();
    within(async {
        while serving.in_flight() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_breaks_off_breaks_the_clients_response() {
    let world = World::new().await;
    let (begun, mut begins) = mpsc::unbounded_channel();
    let breaks = move |_| {
        let (sender, body) = channel();
        begun.send(sender).unwrap();
        std::future::ready(Response::new(body))
    };
    let _worker = world.worker("a", service(breaks)).await;
    let request = || Request::get(world.url("/")).body(Full::<Bytes>::default()).unwrap();
    for response in [client().request(request()), client_http2().request(request())] {
        let asked = tokio::spawn(response);
        let sender = within(begins.recv()).await.unwrap();
        sender.send(Ok(Frame::data(Bytes::from_static(b"half")))).await.unwrap();
        // It breaks when the client has seen that it began: if it breaks at once, nothing may have begun.
        let response = within(asked).await.unwrap().unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        sender.send(Err(std::io::Error::other("broken"))).await.unwrap();
        assert!(within(response.into_body().collect()).await.is_err(), "half a body looks whole");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_carries_a_hundred_streams() {
    let world = World::new().await;
    let _worker = world.worker("a", service(echo)).await;
    let client = client_http2();
    let requests = (0..100_u32).map(|at| {
        let sent = Bytes::from(at.to_string().repeat(10_000));
        let request = Request::post(world.url("/")).body(Full::new(sent.clone())).unwrap();
        let answer = client.request(request);
        tokio::spawn(async move {
            let back = answer.await.unwrap().into_body().collect().await.unwrap().to_bytes();
            assert!(back == sent);
        })
    });
    for request in requests.collect::<Vec<_>>() {
        within(request).await.unwrap();
    }
}
