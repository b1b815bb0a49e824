//! Two instances, two gRPC upstreams and two glue upstreams, of which some are killed: processes of their own, as in use.

mod common;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Client, endpoint, http, network, until, within};
use tcp_demux::{Everyone, Happening, Upstream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

const SOCKETS: usize = 100;
const MESSAGES: usize = 300;
/// Of each socket that may be unanswered: enough that all upstreams have work whenever one is killed.
const AHEAD: usize = 8;

struct Process {
    child: Child,
    addresses: Vec<SocketAddr>,
}

impl Process {
    /// Starts one, and reads as many addresses as it prints.
    fn start(network: i64, addresses: usize, args: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tcp-demux"))
            .args(args)
            .env("GLUE_NETWORK_ID", network.to_string())
            .env("GLUE_LISTEN_INTERFACE", "lo")
            .env("GLUE_LISTEN_ADDRESS", "127.0.0.1:0")
            .env("GLUE_DISCOVERY_RATE_MILLISECONDS", "200")
            .env("GLUE_LOG", "warn")
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program runs");
        let out = BufReader::new(child.stdout.take().expect("it is piped"));
        let lines = out.lines().take(addresses).map(|line| line.expect("it is text"));
        let addresses =
            lines.map(|line| line.rsplit(' ').next().and_then(|address| address.parse().ok()).expect("an address"));
        let addresses = addresses.collect();
        Self { child, addresses }
    }

    fn address(&self, number: usize) -> SocketAddr {
        *self.addresses.get(number).expect("it has printed it")
    }

    fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it is dead");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A glue upstream in this process, which broadcasts what it is told to.
async fn upstream(network: i64) -> (mpsc::Sender<&'static str>, JoinHandle<()>) {
    let endpoint = endpoint(network, "survivor").await;
    let mut upstream = Upstream::join(&endpoint, "tcp-demux", false).await.expect("it joins");
    let (sender, mut told) = mpsc::channel::<&'static str>(1);
    let task = tokio::spawn(async move {
        loop {
            tokio::select! {
                Some(text) = told.recv() => upstream.broadcast(Everyone::All, text).await.expect("it broadcasts"),
                received = upstream.recv() => match received {
                    Some(received) => if let Happening::Data(data) = received.what {
                        upstream.send(received.client, data).await.expect("it sends");
                    },
                    None => break,
                },
            }
        }
    });
    (sender, task)
}

/// One client: sends numbered lines in rounds, and checks what comes back. Returns how many lines came more than once.
struct Talker {
    name: String,
    client: Client,
    repeats: usize,
}

impl Talker {
    async fn new(name: String, address: SocketAddr) -> Self {
        Self { name, client: Client::to(address).await, repeats: 0 }
    }

    /// Every line comes back, in order; after a failure lines may come again, but none may be missing. Counts into `progress`
    /// what has come.
    async fn round(&mut self, round: usize, progress: &AtomicUsize) {
        let (mut said, mut heard) = (0, 0);
        while heard < MESSAGES {
            while said < MESSAGES && said < heard + AHEAD {
                self.client.say(&format!("{} {round} {said}", self.name)).await;
                said += 1;
            }
            let line = self.client.hear().await;
            if line == format!("{} {round} {heard}", self.name) {
                heard += 1;
                progress.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            let [name, of_round, number] = line.split(' ').collect::<Vec<_>>()[..] else {
                panic!("{}: {line}", self.name)
            };
            assert_eq!(name, self.name, "an answer to another socket");
            let number: usize = number.parse().expect("a number");
            let is_old = of_round != round.to_string() || number < heard;
            assert!(is_old, "{}: round {round}, {line} came before {heard}: something is lost", self.name);
            self.repeats += 1;
        }
    }

    /// The next line that is not an answer which comes again.
    async fn hear_broadcast(&mut self) -> String {
        loop {
            let line = self.client.hear().await;
            if !line.starts_with(&format!("{} ", self.name)) {
                return line;
            }
        }
    }
}

/// All sockets of an instance talk.
fn talk(talkers: Vec<Talker>, round: usize, progress: &Arc<AtomicUsize>) -> Vec<JoinHandle<Talker>> {
    let talk = |mut talker: Talker| {
        let progress = Arc::clone(progress);
        tokio::spawn(async move {
            talker.round(round, &progress).await;
            talker
        })
    };
    talkers.into_iter().map(talk).collect()
}

async fn all(talkers: Vec<JoinHandle<Talker>>) -> Vec<Talker> {
    let mut done = Vec::new();
    for talker in talkers {
        done.push(within("a socket", talker).await.expect("a socket is well"));
    }
    done
}

async fn connect(instance: &Process, name: &str) -> Vec<Talker> {
    let mut talkers = Vec::new();
    for number in 0..SOCKETS {
        talkers.push(Talker::new(format!("{name}{number}"), instance.address(0)).await);
    }
    talkers
}

/// How many upstreams of an instance are in this state, and have sockets.
async fn upstreams(instance: &Process, state: &str) -> usize {
    let (status, answer) = http(instance.address(1), "GET /upstream", "", "").await;
    assert_eq!(status, 200, "{answer}");
    answer.matches(&format!("\"state\":\"{state}\"")).count()
}

#[expect(clippy::too_many_lines, reason = "one story, in the order in which it happens")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_upstreams_and_an_instance_are_killed() {
    let network = network(20);
    let server = ["test-server", "--port", "0", "--echo", "--extended"];
    let mut servers = [Process::start(network, 1, &server), Process::start(network, 1, &server)];
    let urls = servers.each_ref().map(|server| format!("grpc://{}", server.address(0)));
    let serve = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--management",
        "127.0.0.1:0",
        "--framing",
        "lines",
        "--upstream",
        &urls[0],
        "--upstream",
        &urls[1],
    ];
    let (one, mut two) = (Process::start(network, 2, &serve), Process::start(network, 2, &serve));
    let mut victim = Process::start(network, 0, &["test-upstream", "--echo"]);
    let (broadcast, _survivor) = upstream(network).await;
    for instance in [&one, &two] {
        until("four upstreams are ready", async || upstreams(instance, "ready").await == 4).await;
    }

    let (mut near, mut far) = (connect(&one, "near").await, connect(&two, "far").await);
    let progress = Arc::new(AtomicUsize::new(0));
    let running = (talk(near, 0, &progress), talk(far, 0, &progress));
    (near, far) = (all(running.0).await, all(running.1).await);
    assert!(near.iter().chain(&far).all(|talker| talker.repeats == 0), "while nothing fails, nothing comes twice");

    broadcast.send("to all").await.expect("the upstream runs");
    for talker in near.iter_mut().chain(&mut far) {
        assert_eq!(talker.hear_broadcast().await, "to all");
    }

    // One of each kind dies while all sockets talk.
    progress.store(0, Ordering::Relaxed);
    let running = (talk(near, 1, &progress), talk(far, 1, &progress));
    until("all are busy", async || progress.load(Ordering::Relaxed) > SOCKETS * MESSAGES / 4).await;
    servers[0].kill();
    victim.kill();
    (near, far) = (all(running.0).await, all(running.1).await);
    for instance in [&one, &two] {
        until("two upstreams are left", async || upstreams(instance, "ready").await == 2).await;
    }

    // An instance dies: its sockets are closed, the others notice nothing.
    let repeats: usize = near.iter().map(|talker| talker.repeats).sum();
    progress.store(0, Ordering::Relaxed);
    let (stop, stopped) = watch::channel(());
    let running = talk(near, 2, &progress);
    let doomed: Vec<_> = far
        .into_iter()
        .map(|mut talker| {
            let mut stopped = stopped.clone();
            tokio::spawn(async move {
                let _ = stopped.changed().await;
                talker.client.rest().await;
            })
        })
        .collect();
    until("all are busy", async || progress.load(Ordering::Relaxed) > SOCKETS * MESSAGES / 4).await;
    two.kill();
    drop(stop);
    near = all(running).await;
    assert_eq!(near.iter().map(|talker| talker.repeats).sum::<usize>(), repeats, "nothing comes twice here");
    for talker in doomed {
        within("the end of a socket", talker).await.expect("it ends");
    }
    println!("{repeats} answers came twice after the upstreams were killed, of {}", 2 * SOCKETS * MESSAGES);
}
