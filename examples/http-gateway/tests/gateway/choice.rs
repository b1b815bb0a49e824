//! Who answers.

use std::collections::BTreeSet;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use http_gateway::{Announcement, Hello, RouterConfig, Transfer};

use crate::common::{World, full, within};

async fn hello(world: &World, announcement: Announcement) -> (glue_endpoint::Endpoint, http_gateway::Serving) {
    let service = Hello::new(&announcement.id.clone());
    world.announced(announcement, service).await
}

async fn text(response: Response<hyper::body::Incoming>) -> String {
    let body = within(response.into_body().collect()).await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_of_the_announcements_decide() {
    let world = World::new().await;
    let mut site = Announcement::new("site");
    site.hosts = vec!["*.example".to_owned()];
    let mut api = Announcement::new("api");
    api.path_prefixes = vec!["/api".to_owned()];
    api.methods = vec!["POST".to_owned()];
    let _workers = (hello(&world, Announcement::new("any")).await, hello(&world, site).await, hello(&world, api).await);
    let ask = |method: &str, host: &str, path: &str| {
        let request =
            Request::builder().method(method).uri(world.url(path)).header("host", host).body(full("")).unwrap();
        world.text(request)
    };
    assert_eq!(ask("GET", "other", "/").await.1, "Hello from any\n");
    assert_eq!(ask("GET", "www.example:8080", "/api").await.1, "Hello from site\n");
    assert_eq!(ask("POST", "other", "/api/1").await.1, "Hello from api\n");
    assert_eq!(ask("GET", "other", "/api/1").await.1, "Hello from any\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_keeps_a_client_with_its_worker() {
    let mut config = RouterConfig::default();
    config.sticky_cookie = Some("gw".to_owned());
    let world = World::with(config, Transfer::default()).await;
    let mut workers = Vec::new();
    for id in ["a", "b", "c"] {
        workers.push(hello(&world, Announcement::new(id)).await);
    }
    let ask = |cookie: Option<&str>| {
        let mut request = Request::get(world.url("/"));
        if let Some(cookie) = cookie {
            request = request.header("cookie", format!("x=1; {cookie}; y=2"));
        }
        world.send(request.body(Full::<Bytes>::default()).unwrap())
    };
    let first = ask(None).await;
    let cookie = first.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let answer = text(first).await;
    for _ in 0..5 {
        let again = ask(Some(&cookie)).await;
        assert!(!again.headers().contains_key("set-cookie"));
        assert_eq!(text(again).await, answer);
    }
    // Its worker goes: another takes the client, and says so.
    let id = cookie.split_once('=').unwrap().1.to_owned();
    workers.retain(|(_, serving)| serving.id() != id);
    within(async {
        loop {
            let moved = ask(Some(&cookie)).await;
            if moved.headers().contains_key("set-cookie") {
                assert_ne!(text(moved).await, answer);
                return;
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_keeps_requests_together() {
    let mut config = RouterConfig::default();
    config.sticky_header = Some("x-session".to_owned());
    let world = World::with(config, Transfer::default()).await;
    let mut workers = Vec::new();
    for id in ["a", "b", "c"] {
        workers.push(hello(&world, Announcement::new(id)).await);
    }
    let mut used = BTreeSet::new();
    for session in 0..20 {
        let ask = || {
            let request = Request::get(world.url("/")).header("x-session", session.to_string());
            world.text(request.body(full("")).unwrap())
        };
        let first = ask().await.1;
        assert_eq!(ask().await.1, first);
        used.insert(first);
    }
    assert_eq!(used.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_with_one_id_share_its_requests() {
    let world = World::new().await;
    let one = hello(&world, Announcement::new("a")).await;
    let two = hello(&world, Announcement::new("a")).await;
    for _ in 0..10 {
        let request = Request::get(world.url("/")).header("fuyuurouter-ids", "a").body(full("")).unwrap();
        assert_eq!(world.text(request).await.0, 200);
    }
    let counts = [&one, &two].map(|(endpoint, _)| endpoint.stats().topics.messages_received);
    // Each heard a hello and half of the requests: none was done twice.
    assert_eq!(counts, [6, 6]);
}
