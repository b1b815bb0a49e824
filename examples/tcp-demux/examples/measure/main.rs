//! What `tcp-demux` costs, on this machine: memory of idle sockets, latency, and throughput beside a bare gRPC stream.
//!
//! ```sh
//! cargo build --release -p tcp-demux --bins --examples
//! target/release/examples/measure idle
//! target/release/examples/measure latency 100 5      # messages a second on each socket, rounds
//! target/release/examples/measure throughput
//! ```
//!
//! It starts the programs from the directory above its own. Idle needs `ulimit -n 10500`.

#![expect(clippy::print_stdout, reason = "it shows what it measures")]

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_core::Stream;
use tcp_demux::wire::proto::InputStreamRequest;
use tcp_demux::wire::proto::upstream_peer_service_client::UpstreamPeerServiceClient;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::sleep;

use load::Load;

mod load;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Result<()> {
    let what = std::env::args().nth(1).unwrap_or_default();
    match what.as_str() {
        "idle" => idle().await,
        "latency" => latency(number(2, 100)?, number(3, 5)?).await,
        "echo" => echo().await,
        "throughput" => throughput().await,
        _ => Err("expected idle, latency or throughput".into()),
    }
}

fn number(at: usize, default: u32) -> Result<u32> {
    Ok(std::env::args().nth(at).map_or(Ok(default), |number| number.parse())?)
}

struct Process {
    child: Child,
    address: SocketAddr,
}

impl Process {
    fn start(args: &[&str]) -> Result<Self> {
        let mut program = std::env::current_exe()?;
        program.pop();
        program.set_file_name("tcp-demux");
        Self::spawn(Command::new(program).args(args).env("GLUE_LOG", "error"))
    }

    fn spawn(command: &mut Command) -> Result<Self> {
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().ok_or("no output")?).read_line(&mut line)?;
        let address = line.trim().rsplit(' ').next().unwrap_or_default().parse()?;
        Ok(Self { child, address })
    }

    fn resident_kib(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).ok_or("no VmRSS")?;
        Ok(line.split_whitespace().nth(1).ok_or("no VmRSS")?.parse()?)
    }

    fn processor_time(&self) -> Result<Duration> {
        processor_time(&self.child.id().to_string())
    }
}

/// What a process has used of the processors so far, user and system.
fn processor_time(process: &str) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    // After the name, which is in parentheses and may have any character.
    let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).ok_or("no processor time");
    Ok(TICK * u32::try_from(ticks(11)? + ticks(12)?)?)
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A demultiplexer before a server that sends everything back.
fn pair(framing: &str) -> Result<(Process, Process)> {
    let server = Process::start(&["test-server", "--port", "0", "--echo"])?;
    let upstream = format!("grpc://{}", server.address);
    let demux = Process::start(&[
        "serve",
        "--no-glue",
        "--listen",
        "127.0.0.1:0",
        "--management",
        "127.0.0.1:0",
        "--framing",
        framing,
        "--upstream",
        &upstream,
    ])?;
    Ok((demux, server))
}

async fn idle() -> Result<()> {
    let (demux, _server) = pair("raw")?;
    let before = demux.resident_kib()?;
    let mut sockets = Vec::new();
    for _ in 0..IDLE_SOCKETS {
        let mut socket = TcpStream::connect(demux.address).await?;
        let mut message = [7; 64];
        socket.write_all(&message).await?;
        socket.read_exact(&mut message).await?;
        sockets.push(socket);
    }
    sleep(Duration::from_secs(1)).await;
    let after = demux.resident_kib()?;
    println!(
        "{} sockets, each of which has sent and got 64 bytes: {} KiB resident, {} KiB before; {:.1} KiB each",
        sockets.len(),
        after,
        before,
        (after - before) as f64 / sockets.len() as f64
    );
    Ok(())
}

/// So many messages a second on each socket; the same sockets to a program that only sends back, for comparison.
async fn latency(rate: u32, rounds: u32) -> Result<()> {
    let (demux, server) = pair("raw")?;
    let mut program = Command::new(std::env::current_exe()?);
    let bare = Process::spawn(program.arg("echo"))?;
    let (mut of_echo, mut of_us) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        let (to_echo, p99) = costs(&[("echo", &bare)], socket_latencies(bare.address, rate)).await?;
        of_echo.push(p99);
        let programs = [("tcp-demux", &demux), ("server", &server)];
        let (to_us, p99) = costs(&programs, socket_latencies(demux.address, rate)).await?;
        of_us.push(p99);
        println!("round {round}: to a TCP echo {to_echo}\n         to tcp-demux   {to_us}");
    }
    let [of_echo, of_us] = [of_echo, of_us].map(|p99s| median(p99s) as f64 / 1_000.0);
    println!("medians of p99: to a TCP echo {of_echo:.2} ms, to tcp-demux {of_us:.2} ms: {:+.2}", of_us - of_echo);
    Ok(())
}

/// Percentiles of the latencies, and the processor time that each program took for a message; and the p99 in microseconds.
async fn costs(
    programs: &[(&str, &Process)],
    measured: impl Future<Output = Result<Vec<u64>>>,
) -> Result<(String, u64)> {
    let all = || -> Result<Vec<Duration>> {
        let programs = programs.iter().map(|(_, program)| program.processor_time());
        std::iter::once(processor_time("self")).chain(programs).collect()
    };
    let before = all()?;
    let mut latencies = measured.await?;
    let messages = u32::try_from(latencies.len())?;
    let names = std::iter::once("this program").chain(programs.iter().map(|(name, _)| *name));
    let used = names.zip(all()?.into_iter().zip(before));
    let used: Vec<_> =
        used.map(|(name, (after, before))| format!("{name} {:.2?}", (after - before) / messages)).collect();
    latencies.sort_unstable();
    Ok((format!("{}; a message: {}", percentiles(&latencies), used.join(", ")), part(&latencies, 990)))
}

/// Sends everything back.
async fn echo() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    loop {
        let (mut socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        tokio::spawn(async move {
            let mut buffer = [0; 4_096];
            while let Ok(len @ 1..) = socket.read(&mut buffer).await {
                if socket.write_all(buffer.get(..len).unwrap_or_default()).await.is_err() {
                    break;
                }
            }
        });
    }
}

async fn socket_latencies(address: SocketAddr, rate: u32) -> Result<Vec<u64>> {
    let load = Load { address, sockets: SOCKETS, interval: Duration::from_secs(1) / rate, messages: rate * SECONDS };
    Ok(tokio::task::spawn_blocking(move || load.run()).await??)
}

fn percentiles(sorted: &[u64]) -> String {
    let at = |of_thousand| part(sorted, of_thousand) as f64 / 1_000.0;
    format!("p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms ({} messages)", at(500), at(990), at(999), sorted.len())
}

fn part(sorted: &[u64], of_thousand: usize) -> u64 {
    sorted.get(sorted.len() * of_thousand / 1_000).copied().unwrap_or_default()
}

async fn throughput() -> Result<()> {
    let (demux, server) = pair("length_prefixed_u32")?;
    for size in [64, 1_024] {
        let (mut ours, mut bare) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            bare.push(Bare::throughput(server.address, size).await?);
            ours.push(socket_throughput(demux.address, size).await?);
        }
        let (ours, bare) = (median(ours), median(bare));
        println!(
            "{size} bytes: {ours} messages/s by tcp-demux, {bare} by gRPC alone: {:.2}",
            ours as f64 / bare as f64
        );
    }
    Ok(())
}

fn median(mut all: Vec<u64>) -> u64 {
    all.sort_unstable();
    all.get(all.len() / 2).copied().unwrap_or_default()
}

/// Echoes a second, by a few sockets that have a window each.
async fn socket_throughput(address: SocketAddr, size: usize) -> Result<u64> {
    let count = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for _ in 0..BUSY_SOCKETS {
        let count = Arc::clone(&count);
        tasks.spawn(async move {
            let (mut reader, mut writer) = TcpStream::connect(address).await?.into_split();
            let burst = WINDOW / BUSY_SOCKETS / 2;
            let message = [&u32::try_from(size).unwrap_or(0).to_be_bytes()[..], &vec![7; size]].concat();
            let bursts = message.repeat(burst);
            let mut buffer = vec![0; bursts.len()];
            writer.write_all(&bursts).await?;
            loop {
                writer.write_all(&bursts).await?;
                reader.read_exact(&mut buffer).await?;
                count.fetch_add(burst as u64, Ordering::Relaxed);
            }
            #[expect(unreachable_code, reason = "it says what may fail")]
            Ok::<(), std::io::Error>(())
        });
    }
    let rate = rate(&count).await;
    tasks.shutdown().await;
    // What was under way is out of the way of the next round.
    sleep(Duration::from_millis(200)).await;
    Ok(rate)
}

async fn rate(count: &AtomicU64) -> u64 {
    sleep(Duration::from_millis(300)).await;
    let (start, before) = (Instant::now(), count.load(Ordering::Relaxed));
    sleep(MEASURE).await;
    let counted = count.load(Ordering::Relaxed) - before;
    counted * 1_000 / u64::try_from(start.elapsed().as_millis()).unwrap_or(1)
}

/// A stream to the server, with nothing between.
struct Bare;

impl Bare {
    async fn throughput(address: SocketAddr, size: usize) -> Result<u64> {
        let mut client = UpstreamPeerServiceClient::connect(format!("http://{address}")).await?;
        let room = Arc::new(Semaphore::new(WINDOW));
        let requests = Requests { room: Arc::clone(&room), payload: vec![7; size].into(), waiting: None };
        let mut answers = client.bidirectional_streaming(requests).await?.into_inner();
        let count = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&count);
        let task = tokio::spawn(async move {
            while let Ok(Some(_)) = answers.message().await {
                counted.fetch_add(1, Ordering::Relaxed);
                room.add_permits(1);
            }
        });
        let rate = rate(&count).await;
        task.abort();
        Ok(rate)
    }
}

fn request(payload: Bytes) -> InputStreamRequest {
    let client_uuid = "aa7b391a-73f2-8a8b-9f22-0e938bbcc6ff".to_owned();
    InputStreamRequest { time: "2026-01-01T00:00:00Z".to_owned(), client_uuid, payload, ..Default::default() }
}

type Permit = Pin<Box<dyn Future<Output = ()> + Send>>;

/// As many requests as the window has room for.
struct Requests {
    room: Arc<Semaphore>,
    payload: Bytes,
    waiting: Option<Permit>,
}

impl Stream for Requests {
    type Item = InputStreamRequest;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<InputStreamRequest>> {
        if let Ok(permit) = self.room.try_acquire() {
            permit.forget();
            return Poll::Ready(Some(request(self.payload.clone())));
        }
        let room = Arc::clone(&self.room);
        let waiting = self.waiting.get_or_insert_with(|| {
            Box::pin(async move {
                if let Ok(permit) = room.acquire_owned().await {
                    permit.forget();
                }
            })
        });
        std::task::ready!(waiting.as_mut().poll(context));
        self.waiting = None;
        Poll::Ready(Some(request(self.payload.clone())))
    }
}

const IDLE_SOCKETS: usize = 10_000;
const SOCKETS: u32 = 1_000;
const SECONDS: u32 = 4;
const BUSY_SOCKETS: usize = 16;
/// Messages under way.
const WINDOW: usize = 4_096;
const ROUNDS: usize = 5;
/// What `/proc` counts processor time in: a hundredth of a second, on every Linux.
const TICK: Duration = Duration::from_millis(10);
const MEASURE: Duration = Duration::from_secs(2);
