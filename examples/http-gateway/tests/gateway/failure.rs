//! What a client is told when there is nobody to answer.

use std::time::{Duration, Instant};

use crate::common::{World, channel, client, full, service, within};
use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full};
use http_gateway::{Announcement, Incoming, RouterConfig, Transfer};
use tokio::sync::mpsc;

async fn answer(_: Request<Incoming>) -> Response<Full<Bytes>> {
    Response::new(full("answer"))
}

async fn never(_: Request<Incoming>) -> Response<Full<Bytes>> {
    std::future::pending().await
}

fn get(world: &World, path: &str) -> http::request::Builder {
    Request::get(world.url(path))
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_a_503_at_once() {
    let world = World::new().await;
    let before = Instant::now();
    let response = world.send(get(&world, "/").body(full("")).unwrap()).await;
    assert!(before.elapsed() < Duration::from_secs(2));
    assert_eq!((response.status().as_u16(), &response.headers()["retry-after"]), (503, &"1".parse().unwrap()));
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
    let body = within(response.into_body().collect()).await.unwrap().to_bytes();
    let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((problem["status"].as_u64(), problem["title"].as_str()), (Some(503), Some("Service Unavailable")));
    assert_eq!(problem["request_id"].as_str(), Some(id.as_str()));

    let _worker = world.worker("agent01", service(answer)).await;
    let with_ids = |ids: &str| get(&world, "/").header("FuyuuRouter-IDs", ids).body(full("")).unwrap();
    let (status, text) = world.text(with_ids("agent02")).await;
    assert!(status == 503 && text.contains("no worker has one of these ids"), "{text}");
    assert_eq!(world.text(with_ids(" agent02 , agent01 ")).await, (200, "answer".to_owned()));
    let twice = get(&world, "/").header("FuyuuRouter-IDs", "agent02").header("FuyuuRouter-IDs", "agent01");
    assert_eq!(world.text(twice.body(full("")).unwrap()).await, (200, "answer".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_is_a_504_after_the_deadline() {
    let mut config = RouterConfig::default();
    config.timeout_seconds = 0.3;
    let world = World::with(config, Transfer::default()).await;
    let mut slow = Announcement::new("slow");
    slow.timeout_ms = 200;
    slow.path_prefixes = vec!["/slow".to_owned()];
    let _workers = (world.worker("a", service(never)).await, world.announced(slow, service(never)).await);
    assert_eq!(world.get("/").await.0, 504);
    let own = get(&world, "/slow").header("x-request-timeout", "30").body(full("")).unwrap();
    assert_eq!(world.text(own).await.0, 504);
    let short = get(&world, "/").header("x-request-timeout", "50ms").body(full("")).unwrap();
    assert_eq!(world.text(short).await.0, 504);
    let nonsense = get(&world, "/").header("x-request-timeout", "soon").body(full("")).unwrap();
    assert_eq!(world.text(nonsense).await.0, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_worker_had_goes_to_another_if_that_is_safe() {
    let world = World::new().await;
    let (begun, mut begins) = mpsc::unbounded_channel();
    let stuck = move |_| {
        begun.send(()).unwrap();
        std::future::pending::<Response<Full<Bytes>>>()
    };
    let (first_endpoint, first) = world.worker("first", service(stuck)).await;
    let ask = |method: &str, body: &'static str| {
        let request = Request::builder().method(method).uri(world.url("/")).body(full(body)).unwrap();
        tokio::spawn(client().request(request))
    };
    let asked = [ask("GET", ""), ask("PUT", "small"), ask("POST", ""), ask("PATCH", "small")];
    for _ in &asked {
        within(begins.recv()).await.unwrap();
    }
    let _second = world.worker("second", service(answer)).await;
    drop((first, first_endpoint));
    let mut statuses = Vec::new();
    for answer in asked {
        statuses.push(within(answer).await.unwrap().unwrap().status().as_u16());
    }
    assert_eq!(statuses, [200, 200, 502, 502]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_fails_or_panics_is_a_502() {
    let world = World::new().await;
    let fails = |request: Request<Incoming>| async move {
        assert!(request.uri().path() != "/panic", "as the test wants");
        Response::new(full("answer"))
    };
    let _worker = world.worker("a", service(fails)).await;
    assert_eq!(world.get("/panic").await.0, 502);
    assert_eq!(world.get("/").await, (200, "answer".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_full_gets_no_more_and_others_wait_their_turn() {
    let mut config = RouterConfig::default();
    config.queue_length = 1;
    config.queue_seconds = 10.0;
    let world = World::with(config, Transfer::default()).await;
    let (begun, mut begins) = mpsc::unbounded_channel();
    let waits = move |_| {
        let (go, wait) = tokio::sync::oneshot::channel::<()>();
        begun.send(go).unwrap();
        async move {
            let _ = wait.await;
            Response::new(full("answer"))
        }
    };
    let mut limited = Announcement::new("a");
    limited.capacity = 1;
    let _worker = world.announced(limited, service(waits)).await;
    let ask = || tokio::spawn(client::<Full<Bytes>>().request(get(&world, "/").body(full("")).unwrap()));
    let first = ask();
    let go = within(begins.recv()).await.unwrap();
    // One of both waits, the other finds the queue full; which, is open.
    let mut asked = vec![ask(), ask()];
    let refused = within(async {
        loop {
            if let Some(at) = asked.iter().position(tokio::task::JoinHandle::is_finished) {
                return asked.remove(at).await.unwrap().unwrap();
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!((refused.status().as_u16(), &refused.headers()["retry-after"]), (503, &"1".parse().unwrap()));
    assert!(begins.try_recv().is_err(), "it was given more than its capacity");
    go.send(()).unwrap();
    assert_eq!(within(first).await.unwrap().unwrap().status(), 200);
    within(begins.recv()).await.unwrap().send(()).unwrap();
    assert_eq!(within(asked.remove(0)).await.unwrap().unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_on_bodies_have_their_status() {
    let mut config = RouterConfig::default();
    config.max_body_bytes = 1_000;
    config.body_stall_seconds = 0.3;
    let world = World::with(config, Transfer::default()).await;
    let reads = |request: Request<Incoming>| async move {
        let _ = request.into_body().collect().await;
        Response::new(full("answer"))
    };
    let _worker = world.worker("a", service(reads)).await;
    let post = |body: Full<Bytes>| Request::post(world.url("/")).body(body).unwrap();
    assert_eq!(world.text(post(full(vec![0; 1_000]))).await.0, 200);
    assert_eq!(world.text(post(full(vec![0; 1_001]))).await.0, 413);
    // Without a length it shows only on the way.
    let (sender, body) = channel();
    let answer = tokio::spawn(client().request(Request::post(world.url("/")).body(body).unwrap()));
    for _ in 0..2 {
        let _ = sender.send(Ok(Frame::data(Bytes::from(vec![0; 600])))).await;
    }
    assert_eq!(within(answer).await.unwrap().unwrap().status(), 413);
    let (sender, body) = channel();
    sender.send(Ok(Frame::data(Bytes::from_static(b"begun")))).await.unwrap();
    let answer = client().request(Request::post(world.url("/")).body(body).unwrap());
    assert_eq!(within(answer).await.unwrap().status(), 408);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_drains_finishes_what_it_has() {
    let world = World::new().await;
    let (begun, mut begins) = mpsc::unbounded_channel();
    let waits = move |_| {
        let (go, wait) = tokio::sync::oneshot::channel::<()>();
        begun.send(go).unwrap();
        async move {
            let _ = wait.await;
            Response::new(full("first"))
        }
    };
    let (endpoint, serving) = world.worker("first", service(waits)).await;
    let asked = tokio::spawn(client::<Full<Bytes>>().request(Request::post(world.url("/")).body(full("")).unwrap()));
    let go = within(begins.recv()).await.unwrap();
    let _second = world.worker("second", service(answer)).await;
    let drained = tokio::spawn(serving.drain(crate::common::PATIENCE));
    // As soon as the router knows, all go to the second.
    let mut seconds = 0;
    within(async {
        while seconds < 10 {
            let request = Request::post(world.url("/")).header("FuyuuRouter-IDs", "second").body(full("")).unwrap();
            seconds = if world.text(request).await == (200, "answer".to_owned()) { seconds + 1 } else { 0 };
        }
    })
    .await;
    assert!(!drained.is_finished(), "it did not wait for its request");
    go.send(()).unwrap();
    assert_eq!(within(asked).await.unwrap().unwrap().status(), 200);
    assert!(within(drained).await.unwrap());
    endpoint.close(Duration::from_secs(1)).await;
    assert_eq!(world.get("/").await, (200, "answer".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_that_drains_finishes_what_it_has() {
    let world = World::new().await;
    let (begun, mut begins) = mpsc::unbounded_channel();
    let waits = move |_| {
        let (go, wait) = tokio::sync::oneshot::channel::<()>();
        begun.send(go).unwrap();
        async move {
            let _ = wait.await;
            Response::new(full("answer"))
        }
    };
    let _worker = world.worker("a", service(waits)).await;
    let url = world.url("/");
    let asked = tokio::spawn(client::<Full<Bytes>>().request(Request::get(&url).body(full("")).unwrap()));
    let go = within(begins.recv()).await.unwrap();
    let address = world.listening.address();
    let drained = tokio::spawn(world.listening.drain(crate::common::PATIENCE));
    within(async { while tokio::net::TcpStream::connect(address).await.is_ok() {} }).await;
    assert!(!drained.is_finished(), "it did not wait for its request");
    go.send(()).unwrap();
    assert_eq!(within(asked).await.unwrap().unwrap().status(), 200);
    assert!(within(drained).await.unwrap());
}
