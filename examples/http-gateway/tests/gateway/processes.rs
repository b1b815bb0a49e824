//! Processes that are killed, and how much memory they take. Short in ordinary runs; as long as is told by
//! `GATEWAY_KILL_SECONDS` and `GATEWAY_BODY_MIB`.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::BodyExt;
use tokio::net::TcpListener;

use crate::common::{channel, client, full, service, within};

/// A process that dies with its handle.
struct Process {
    child: Child,
    /// What it said so far.
    stderr: BufReader<std::process::ChildStderr>,
}

impl Process {
    fn start(network: i64, args: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_http-gateway"));
        command.args(args).env("GLUE_NETWORK_ID", network.to_string()).env("GLUE_LISTEN_INTERFACE", "lo");
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        Self { child, stderr }
    }

    /// Waits for the line in which it tells its address.
    fn url(&mut self) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            assert!(self.stderr.read_line(&mut line).unwrap() > 0, "the process ended");
            if let Some((_, address)) = line.split_once("listening at ") {
                return address.trim().to_owned();
            }
        }
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The most that it ever had in memory, in KiB.
    fn peak_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn network(test: i64) -> i64 {
    i64::from(std::process::id()) * 1_000 + 900 + test
}

fn told(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_idempotent_request_is_answered_while_workers_are_killed() {
    let seconds = told("GATEWAY_KILL_SECONDS", 3);
    let network = network(0);
    let mut router = Process::start(network, &["router", "--listen", "127.0.0.1:0"]);
    let url = router.url();
    let names = ["worker-1", "worker-2", "worker-3"];
    let mut workers = names.map(|name| Process::start(network, &["hello", name]));
    let client = client();
    let get = move |url: &str| client.request(Request::get(url).body(full("")).unwrap());
    within(async {
        for name in names {
            while !body_of(get(&url).await.unwrap()).await.contains(name) {}
        }
    })
    .await;
    let slowest = Arc::new(AtomicU64::new(0));
    let mut asked = tokio::task::JoinSet::new();
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    for tick in 0..seconds * 200 {
        ticks.tick().await;
        if tick % 200 == 100 {
            // One is killed and started again each second.
            let at = usize::try_from(tick / 200 % 3).unwrap();
            workers[at].kill();
            workers[at] = Process::start(network, &["hello", names[at]]);
        }
        let (answer, slowest) = (get(&url), Arc::clone(&slowest));
        asked.spawn(async move {
            let before = Instant::now();
            let response = within(answer).await.unwrap();
            let status = response.status();
            let body = body_of(response).await;
            slowest.fetch_max(u64::try_from(before.elapsed().as_millis()).unwrap(), Ordering::Relaxed);
            (status.as_u16(), body)
        });
    }
    let mut answered = 0;
    while let Some(answer) = asked.join_next().await {
        let (status, body) = answer.unwrap();
        assert!(status == 200 && body.starts_with("Hello from worker-"), "{status} {body}");
        answered += 1;
    }
    assert_eq!(answered, seconds * 200);
    println!("{answered} requests answered, {seconds} kills, the slowest took {} ms", slowest.load(Ordering::Relaxed));
}

async fn body_of(response: Response<hyper::body::Incoming>) -> String {
    let body = within(response.into_body().collect()).await.unwrap().to_bytes();
    String::from_utf8_lossy(&body).into_owned()
}

/// A server that answers a POST with what it gets, and checks nothing.
async fn mirror() -> (String, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let task = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = hyper::service::service_fn(|request: Request<hyper::body::Incoming>| async move {
                Ok::<_, std::convert::Infallible>(Response::new(request.into_body()))
            });
            let http = hyper::server::conn::http1::Builder::new();
            tokio::spawn(http.serve_connection(hyper_util::rt::TokioIo::new(stream), service));
        }
    });
    (url, task)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_any_size_passes_in_little_memory() {
    let mib = told("GATEWAY_BODY_MIB", 64);
    let network = network(1);
    let (server, _mirror) = mirror().await;
    let agent = Process::start(network, &["agent", "--id", "a", "--proxy-host", &server]);
    let mut router = Process::start(network, &["router", "--listen", "127.0.0.1:0"]);
    let url = router.url();
    within(async {
        let small = client();
        while small.request(Request::get(&url).body(full("")).unwrap()).await.unwrap().status() != 200 {}
    })
    .await;
    let (sender, body) = channel();
    let before = Instant::now();
    let response = within(client().request(Request::post(&url).body(body).unwrap())).await.unwrap();
    tokio::spawn(async move {
        for at in 0..mib {
            let piece = Bytes::from(vec![u8::try_from(at % 251).unwrap(); 1 << 20]);
            sender.send(Ok(Frame::data(piece))).await.unwrap();
        }
    });
    let (mut body, mut read) = (response.into_body(), 0_usize);
    while let Some(frame) = within(body.frame()).await {
        for byte in frame.unwrap().into_data().unwrap() {
            assert_eq!(usize::from(byte), (read >> 20) % 251);
            read += 1;
        }
    }
    assert_eq!(read, usize::try_from(mib).unwrap() << 20);
    let (agent, router) = (agent.peak_kib(), router.peak_kib());
    println!("{mib} MiB up and down in {:?}; peaks: agent {agent} KiB, router {router} KiB", before.elapsed());
    assert!(agent < 64 << 10 && router < 64 << 10, "agent {agent} KiB, router {router} KiB");
}

#[tokio::test(flavor = "multi_thread")]
async fn services_of_this_process_serve_the_program() {
    let network = network(2);
    let mut router = Process::start(network, &["router", "--listen", "127.0.0.1:0", "--access-log"]);
    let (url, mut log) = (router.url(), BufReader::new(router.child.stdout.take().unwrap()));
    let endpoint = glue_endpoint::Builder::new().network_id(network).listen_interface("lo").start().await.unwrap();
    let echo = service(|request: Request<http_gateway::Incoming>| async move { Response::new(request.into_body()) });
    let worker = http_gateway::Worker::new(endpoint, http_gateway::Announcement::new("in-process"));
    let _serving = worker.serve(echo).await.unwrap();
    within(async {
        let client = client();
        loop {
            let response = client.request(Request::post(&url).body(full("ping")).unwrap()).await.unwrap();
            if body_of(response).await == "ping" {
                return;
            }
        }
    })
    .await;
    // The last line is of the request that was answered; those before found nobody.
    let mut line = String::new();
    let entry = loop {
        line.clear();
        assert!(log.read_line(&mut line).unwrap() > 0, "the log ends");
        let entry: serde_json::Value = serde_json::from_str(&line).unwrap();
        if entry["status"] == 200 {
            break entry;
        }
        assert_eq!(entry["status"], 503);
    };
    assert_eq!(
        (&entry["worker"], &entry["method"], &entry["target"]),
        (&"in-process".into(), &"POST".into(), &"/".into())
    );
    assert_eq!((&entry["bytes_in"], &entry["bytes_out"], &entry["whole"]), (&4.into(), &4.into(), &true.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_agent_is_missed_by_its_last_will() {
    let network = network(3);
    let endpoint = glue_endpoint::Builder::new().network_id(network).listen_interface("lo").start().await.unwrap();
    let mut launches = endpoint.subscribe("fuyuu-router/launch", "json").await.unwrap();
    let mut ends = endpoint.subscribe("fuyuu-router/terminate", "json").await.unwrap();
    let args = ["agent", "--id", "agent01", "--proxy-host", "http://127.0.0.1:9", "--labels", "site=north"];
    let mut agent = Process::start(network, &args);
    let expected = serde_json::json!({ "agent_id": "agent01", "labels": { "site": "north" } });
    let launch = within(launches.recv()).await.unwrap();
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&launch.payload).unwrap(), expected);
    agent.kill();
    let end = within(ends.recv()).await.unwrap();
    assert!(end.is_will());
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&end.payload).unwrap(), expected);
}
