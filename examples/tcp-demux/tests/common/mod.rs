//! What the tests share: demultiplexers, clients and upstreams in this process, and deadlines.

#![expect(dead_code, reason = "not every test uses all of it")]

use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use glue_endpoint::Endpoint;
use tcp_demux::test_server::{Behaviour, serve};
use tcp_demux::{Config, Demux, Framing, GrpcUpstream, Happening, Listen, Management, Settings, Upstream};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

/// Far more than anything here takes, on a machine that does much else.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"))
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    within(what, async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

pub(crate) fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// An endpoint that meets only those of the same network, on this host.
pub(crate) async fn endpoint(network: i64, name: &str) -> Endpoint {
    let builder = Endpoint::builder().network_id(network).listen_interface("lo").listen_address(any_port());
    builder
        .discovery_interval(Duration::from_millis(200))
        .endpoint_name(name)
        .start()
        .await
        .expect("an endpoint starts")
}

/// A network of this test and process.
pub(crate) fn network(test: u32) -> i64 {
    0x7cd0_0000_0000 + (i64::from(std::process::id()) << 8) + i64::from(test)
}

/// A gRPC upstream on a runtime of its own, so that all its connections end with it.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    runtime: Option<Runtime>,
}

impl Server {
    pub(crate) async fn start(behaviour: Behaviour) -> Self {
        Self::start_at(any_port(), behaviour).await
    }

    pub(crate) async fn start_at(address: SocketAddr, behaviour: Behaviour) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let bound = runtime.spawn(async move { TcpListener::bind(address).await.expect("the port is free") });
        let listener = bound.await.expect("it is bound");
        let address = listener.local_addr().expect("it is bound");
        runtime.spawn(async move { serve(listener, behaviour).await.expect("the server runs") });
        Self { address, runtime: Some(runtime) }
    }

    pub(crate) fn upstream(&self) -> GrpcUpstream {
        GrpcUpstream::new("127.0.0.1", self.address.port())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.runtime.take().into_iter().for_each(Runtime::shutdown_background);
    }
}

pub(crate) fn echo() -> Behaviour {
    let mut behaviour = Behaviour::default();
    behaviour.echo = true;
    behaviour.extended = true;
    behaviour
}

pub(crate) struct Setup(pub(crate) Config);

impl Setup {
    pub(crate) fn new(framing: Framing) -> Self {
        let mut config = Config::default();
        let mut listen = Listen::new(any_port());
        listen.framing = framing;
        config.listeners.push(listen);
        config.management = Some(Management::new(any_port()));
        Self(config)
    }

    pub(crate) fn upstream(mut self, server: &Server) -> Self {
        self.0.upstreams.push(server.upstream());
        self
    }

    pub(crate) fn settings(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.0.settings);
        self
    }

    pub(crate) fn glue(mut self, endpoint: Endpoint) -> Self {
        self.0.glue = Some((endpoint, "test".to_owned()));
        self
    }

    pub(crate) async fn start(self) -> Demux {
        Demux::start(self.0).await.expect("a demultiplexer starts")
    }
}

/// A client that speaks lines.
pub(crate) struct Client(BufReader<TcpStream>);

impl Client {
    pub(crate) async fn connect(demux: &Demux) -> Self {
        Self::to(*demux.listeners().first().expect("it listens")).await
    }

    pub(crate) async fn to(address: SocketAddr) -> Self {
        Self::of(TcpStream::connect(address).await.expect("it listens"))
    }

    pub(crate) fn of(stream: TcpStream) -> Self {
        Self(BufReader::new(stream))
    }

    pub(crate) async fn say(&mut self, line: &str) {
        self.0.write_all(format!("{line}\n").as_bytes()).await.expect("the client writes");
    }

    /// The next line; empty at the end.
    pub(crate) async fn hear(&mut self) -> String {
        let mut line = String::new();
        // A reset is an end as well.
        let _ = within("a line", self.0.read_line(&mut line)).await;
        line.trim_end().to_owned()
    }

    /// What comes until it is closed.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        // A reset is an end as well.
        let _ = within("the end", self.0.read_to_end(&mut rest)).await;
        rest
    }

    pub(crate) fn stream(&mut self) -> &mut TcpStream {
        self.0.get_mut()
    }
}

/// A glue upstream that sends everything back, and remembers what happened.
pub(crate) struct Echo {
    pub(crate) seen: Arc<Mutex<Vec<Happening>>>,
    pub(crate) task: JoinHandle<()>,
    pub(crate) endpoint: Endpoint,
}

impl Echo {
    pub(crate) async fn start(network: i64, name: &str) -> Self {
        let endpoint = endpoint(network, name).await;
        let mut upstream = Upstream::join(&endpoint, "test", true).await.expect("it joins");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let task = tokio::spawn({
            let seen = Arc::clone(&seen);
            async move {
                while let Some(received) = upstream.recv().await {
                    if let Happening::Data(data) = &received.what {
                        upstream.send(received.client, data.clone()).await.expect("it sends");
                    }
                    seen.lock().expect("no panic").push(received.what);
                }
            }
        });
        Self { seen, task, endpoint }
    }

    pub(crate) fn data(&self) -> Vec<Bytes> {
        let seen = self.seen.lock().expect("no panic");
        seen.iter()
            .filter_map(|what| if let Happening::Data(data) = what { Some(data.clone()) } else { None })
            .collect()
    }
}

/// What the metrics say.
pub(crate) async fn counter(demux: &Demux, name: &str) -> u64 {
    let address = demux.management().expect("it is managed");
    let (_, answer) = http(address, "GET /metrics", "", "").await;
    let line = answer.lines().find(|line| line.starts_with(&format!("tcp_demux_{name} ")));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or_else(|| panic!("no {name} in {answer}"))
}

/// A request to the management API: status and body.
pub(crate) async fn http(address: SocketAddr, request: &str, headers: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.expect("it is managed");
    let length = body.len();
    let text = format!(
        "{request} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(text.as_bytes()).await.expect("the request is written");
    let mut answer = Vec::new();
    within("an answer", stream.read_to_end(&mut answer)).await.expect("the answer is read");
    let answer = String::from_utf8(answer).expect("the answer is text");
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    (status, answer)
}
