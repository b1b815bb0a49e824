//! What a stopped subscriber costs the others: eight processes subscribe, one of them is stopped by SIGSTOP while this one
//! publishes flat out, and goes on by SIGCONT.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use glue_endpoint::{Endpoint, Notice, Publisher};
use rustix::process::{Pid, Signal, kill_process};

use crate::error::LoadError;
use crate::roles::{self, EXPIRY, STREAM, TYPE};
use crate::{Load, clock};

/// Subscribes, and says every 20 ms how many messages came and how many are known to be missing.
pub(crate) fn tick() -> Result<(), LoadError> {
    let endpoint = roles::start()?;
    let received = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&received);
    let on_message = move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
    };
    let subscription = roles::block_on(endpoint.subscribe_with(STREAM, TYPE, on_message))?;
    let mut out = std::io::stdout();
    loop {
        writeln!(out, "{} {} {}", clock::now(), received.load(Ordering::Relaxed), subscription.missed())?;
        out.flush()?;
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Runs it all, and says what was seen.
pub(crate) fn stop(load: Load) -> Result<(), LoadError> {
    // The children meet on a network of their own.
    let network = i64::from(std::process::id());
    let endpoint = roles::block_on(Endpoint::builder_from_env()?.network_id(network).start())?;
    let mut notices = endpoint.events();
    let publisher = endpoint.publisher(STREAM, TYPE)?;
    let mut subscribers = Vec::new();
    for _ in 0..SUBSCRIBERS {
        subscribers.push(Subscriber::start(network)?);
    }
    roles::wait_for_subscribers(&publisher, SUBSCRIBERS)?;

    let times = Times::of(load.duration);
    let over = AtomicBool::new(false);
    let sent = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let flood = scope.spawn(|| flood(&publisher, load.size, &over, &sent));
        let acted = act(&subscribers, &times);
        over.store(true, Ordering::Relaxed);
        // A flood that panicked has said so.
        let flooded = flood.join().unwrap_or(Ok(()));
        acted.and(flooded)
    })?;
    let (sent, peak) = (sent.into_inner(), clock::peak_memory_kib());
    // What is queued for the stopped one arrives now.
    let is_settled = roles::block_on(endpoint.close(Duration::from_secs(20)));
    std::thread::sleep(Duration::from_millis(100));
    let changes = std::iter::from_fn(|| notices.try_recv()).filter(|notice| !matches!(notice, Notice::PeerUp { .. }));
    let changes = changes.collect();
    let memory = endpoint.stats().memory;
    report(&subscribers, &times, &Seen { sent, peak, is_settled, held: memory.peak, changes })?;
    Ok(())
}

struct Seen {
    sent: u64,
    /// KiB.
    peak: u64,
    is_settled: bool,
    /// Bytes, as the endpoint counts them.
    held: usize,
    changes: Vec<Notice>,
}

/// When things happen, on the clock of the machine.
struct Times {
    begin: u64,
    stop: u64,
    go_on: u64,
    end: u64,
}

impl Times {
    fn of(duration: Duration) -> Self {
        let length = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX / 8);
        let begin = clock::now() + 1_000_000_000;
        Self { begin, stop: begin + length, go_on: begin + 2 * length, end: begin + 3 * length }
    }
}

fn flood(publisher: &Publisher, size: usize, over: &AtomicBool, sent: &AtomicU64) -> Result<(), LoadError> {
    let payload = Bytes::from(vec![7; size]);
    while !over.load(Ordering::Relaxed) {
        for _ in 0..64 {
            publisher.publish_blocking(EXPIRY, &payload)?;
        }
        sent.fetch_add(64, Ordering::Relaxed);
    }
    Ok(())
}

fn act(subscribers: &[Subscriber], times: &Times) -> Result<(), LoadError> {
    let Some(last) = subscribers.last() else { return Ok(()) };
    clock::sleep_until(times.stop);
    last.signal(Signal::STOP)?;
    clock::sleep_until(times.go_on);
    last.signal(Signal::CONT)?;
    clock::sleep_until(times.end);
    Ok(())
}

fn report(subscribers: &[Subscriber], times: &Times, seen: &Seen) -> Result<(), LoadError> {
    let Some((last, healthy)) = subscribers.split_last() else { return Ok(()) };
    let mut out = std::io::stdout().lock();
    let rates = |from: u64, to: u64| {
        healthy.iter().map(move |subscriber| subscriber.rate(from, to)).sum::<f64>() / healthy.len() as f64
    };
    let (before, during) = (rates(times.begin, times.stop), rates(times.stop, times.go_on));
    let after = rates(times.go_on, times.end);
    writeln!(out, "messages a second at each of the 7: {before:.0} before, {during:.0} while the eighth is stopped, ")?;
    writeln!(out, "  {after:.0} after: {:+.1} % while it is stopped", (during / before - 1.0) * 100.0)?;
    let (mut at, mut worst) = (times.begin, (f64::INFINITY, 0));
    while at + WINDOW <= times.go_on {
        let rate = rates(at, at + WINDOW);
        worst = if rate < worst.0 { (rate, at) } else { worst };
        at += WINDOW / 5;
    }
    let since = (i128::from(worst.1) - i128::from(times.stop)) / 1_000_000;
    writeln!(out, "least in 100 ms: {:.0} a second, {since} ms after the stop", worst.0)?;
    for subscriber in healthy {
        let (received, missed) = subscriber.last();
        if received != seen.sent || missed != 0 {
            writeln!(out, "a healthy one got {received} of {} and missed {missed}", seen.sent)?;
        }
    }
    let ((received, missed), back) = (last.last(), last.first_after(times.go_on));
    writeln!(out, "the eighth: {received} received, {missed} counted as missed, {} sent", seen.sent)?;
    writeln!(
        out,
        "  first message {:.1} ms after SIGCONT",
        back.map_or(f64::NAN, |at| (at - times.go_on) as f64 / 1e6)
    )?;
    let (peak, held) = (seen.peak as f64 / 1024.0, seen.held as f64 / 1_048_576.0);
    writeln!(out, "publisher: {peak:.1} MiB at most, {held:.1} MiB of it counted; settled: {}", seen.is_settled)?;
    for notice in &seen.changes {
        writeln!(out, "  {notice:?}")?;
    }
    Ok(())
}

/// A process that subscribes; killed when dropped.
struct Subscriber {
    process: Child,
    /// Time, received, missed.
    looks: Arc<Mutex<Vec<(u64, u64, u64)>>>,
}

impl Subscriber {
    fn start(network: i64) -> Result<Self, LoadError> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("tick").env("GLUE_NETWORK_ID", network.to_string());
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let looks = Arc::<Mutex<Vec<_>>>::default();
        if let Some(output) = process.stdout.take() {
            let looks = Arc::clone(&looks);
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    let mut numbers = line.split(' ').map_while(|text| text.parse::<u64>().ok());
                    if let (Some(at), Some(received), Some(missed)) = (numbers.next(), numbers.next(), numbers.next()) {
                        looks.lock().unwrap_or_else(PoisonError::into_inner).push((at, received, missed));
                    }
                }
            });
        }
        Ok(Self { process, looks })
    }

    fn signal(&self, signal: Signal) -> Result<(), LoadError> {
        let pid = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw);
        pid.map_or(Ok(()), |pid| kill_process(pid, signal)).map_err(|error| LoadError::Harness(error.into()))
    }

    fn looks(&self) -> Vec<(u64, u64, u64)> {
        self.looks.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Messages a second between two looks nearest to these times.
    fn rate(&self, from: u64, to: u64) -> f64 {
        let looks = self.looks();
        let near = |time: u64| looks.iter().min_by_key(|(at, _, _)| at.abs_diff(time)).copied().unwrap_or_default();
        let ((start, before, _), (end, after, _)) = (near(from), near(to));
        (after - before) as f64 / (end.saturating_sub(start).max(1) as f64 / 1e9)
    }

    /// What it has received and missed in the end.
    fn last(&self) -> (u64, u64) {
        self.looks().last().map_or((0, 0), |(_, received, missed)| (*received, *missed))
    }

    /// When it was first seen to have received more after `time`.
    fn first_after(&self, time: u64) -> Option<u64> {
        let looks = self.looks();
        let before = looks.iter().rfind(|(at, _, _)| *at <= time).map_or(0, |(_, received, _)| *received);
        looks.iter().find(|(at, received, _)| *at > time && *received > before).map(|(at, _, _)| *at)
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

const SUBSCRIBERS: usize = 8;
/// 100 ms.
const WINDOW: u64 = 100_000_000;
