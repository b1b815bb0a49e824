//! Large bodies by way of a store that speaks S3: a small one in this process, which believes every signature.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use http_gateway::{Announcement, Incoming, RelayConfig, RouterConfig, Transfer, Worker};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::common::{World, full, service, within};
use crate::operations::{Directory, halve, post_and_get_half};

/// Objects by path, parts of uploads by path and number, and what was asked for.
#[derive(Debug, Default)]
struct Store {
    objects: BTreeMap<String, Bytes>,
    parts: BTreeMap<(String, u32), Bytes>,
    asked: BTreeMap<&'static str, u32>,
}

impl Store {
    fn answer(&mut self, method: &Method, path: &str, query: &str, body: Bytes) -> Response<Full<Bytes>> {
        let number = query.split('&').find_map(|pair| pair.strip_prefix("partNumber=")?.parse().ok());
        let tagged = || Response::builder().header("etag", "\"tag\"").header("last-modified", DATE);
        let (asked, answer) = match (method.as_str(), number) {
            ("POST", None) if query.starts_with("uploads") => ("begin", Response::new(full(BEGUN))),
            ("PUT", Some(number)) => {
                self.parts.insert((path.to_owned(), number), body);
                ("part", tagged().body(full("")).unwrap())
            }
            ("POST", None) if query.starts_with("uploadId=") => {
                let parts = std::mem::take(&mut self.parts).into_values();
                self.objects.insert(path.to_owned(), parts.collect::<Vec<_>>().concat().into());
                ("complete", Response::new(full(COMPLETED)))
            }
            ("GET", None) => match self.objects.get(path) {
                Some(object) => ("get", tagged().body(Full::new(object.clone())).unwrap()),
                None => ("miss", Response::builder().status(StatusCode::NOT_FOUND).body(full("")).unwrap()),
            },
            ("DELETE", None) => {
                self.objects.remove(path);
                ("delete", Response::builder().status(StatusCode::NO_CONTENT).body(full("")).unwrap())
            }
            _ => ("other", Response::builder().status(StatusCode::BAD_REQUEST).body(full("")).unwrap()),
        };
        *self.asked.entry(asked).or_default() += 1;
        answer
    }
}

/// Serves a store; returns where.
async fn serve(store: Arc<Mutex<Store>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let store = Arc::clone(&store);
            let answer = service_fn(move |request: Request<hyper::body::Incoming>| {
                let store = Arc::clone(&store);
                async move {
                    let (parts, body) = request.into_parts();
                    assert!(parts.headers.contains_key("authorization"), "it is signed");
                    let body = body.collect().await.unwrap().to_bytes();
                    let (path, query) = (parts.uri.path(), parts.uri.query().unwrap_or_default());
                    Ok::<_, Infallible>(store.lock().unwrap().answer(&parts.method, path, query, body))
                }
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
        }
    });
    address.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_go_by_way_of_s3_and_leave_nothing_there() {
    let store = Arc::new(Mutex::new(Store::default()));
    let address = serve(Arc::clone(&store)).await;
    let directory = Directory::new("s3");
    let file = directory.0.join("store.yml");
    let keys = format!("bucket: b\n  endpoint: {address}\n  access_key: a\n  secret_key: s\n  insecure: true\n");
    std::fs::write(&file, format!("type: S3\nconfig:\n  {keys}")).unwrap();
    let mut relay = RelayConfig::new(&file);
    (relay.threshold_bytes, relay.deletion) = (1_000, true);
    let mut transfer = Transfer::default();
    transfer.relay = Some(relay);
    let world = World::with(RouterConfig::default(), transfer.clone()).await;
    let worker = Worker::new(world.another_endpoint().await, Announcement::new("agent01")).transfer(transfer);
    let _serving = worker.serve(service(|request: Request<Incoming>| halve(request))).await.unwrap();
    within(world.router.wait_for_workers(1)).await;
    // The request is of two parts (5 MiB and the rest), the response of one.
    post_and_get_half(&world, 8_000_000).await;
    within(async {
        while !store.lock().unwrap().objects.is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let asked = store.lock().unwrap().asked.clone();
    let expected = [("begin", 2), ("complete", 2), ("delete", 2), ("get", 2), ("part", 3)];
    assert_eq!(asked, BTreeMap::from(expected));
}

const DATE: &str = "Thu, 26 Nov 2026 12:00:00 GMT";
const BEGUN: &str = "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>";
const COMPLETED: &str = "<CompleteMultipartUploadResult><ETag>\"tag\"</ETag></CompleteMultipartUploadResult>";
