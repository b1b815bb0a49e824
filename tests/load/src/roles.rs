//! The roles. Subscribers take messages in a callback, on the thread that received them; publishers are plain threads:
//! what an application does that wants the least overhead.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use bytes::Bytes;
use glue_endpoint::{CallbackSubscription, Endpoint, Message, Publisher};

use crate::error::LoadError;
use crate::meter::{Budget, Meter, Times};
use crate::{Load, clock, many, report};

pub(crate) fn publish(load: Load) -> Result<(), LoadError> {
    let endpoint = start()?;
    let publisher = endpoint.publisher(STREAM, TYPE)?;
    let _others = many::other_topics(&endpoint, load.topics)?;
    report::ready()?;
    report::wait_for_go()?;
    wait_for_subscribers(&publisher, load.subscribers)?;

    let payload = Bytes::from(payload(load.size));
    let (begin, cpu) = (clock::now(), clock::cpu_seconds());
    let mut budget = Budget::new(load.size, begin + nanos(load.duration), load.most);
    while budget.spend(clock::now) {
        publisher.publish_blocking(EXPIRY, &payload)?;
    }
    let seconds = (clock::now() - begin) as f64 / 1e9;
    report::published(budget.sent, seconds, clock::cpu_seconds() - cpu)?;
    end(&publisher, budget.sent, 10, Duration::from_millis(100))?;
    stop(&endpoint);
    Ok(())
}

pub(crate) fn subscribe(load: Load) -> Result<(), LoadError> {
    let (mut meter, mut cpu) = (Meter::new(load.size), None);
    let endpoint = start()?;
    let others = many::other_filters(&endpoint, load.filters)?;
    take_until_at(&endpoint, STREAM, move |message| {
        if let Some(sent) = report::read_end_marker(&message.payload) {
            let used = cpu.map_or(0.0, |since| clock::cpu_seconds() - since);
            return Some(report::subscribed(&meter, sent, load.size, used));
        }
        if cpu.is_none() {
            cpu = Some(clock::cpu_seconds());
        }
        meter.count(message.payload.len(), clock::now);
        None
    })?;
    drop(others);
    stop(&endpoint);
    Ok(())
}

pub(crate) fn paced(load: Load) -> Result<(), LoadError> {
    const STEP: u64 = 1_000_000;
    let endpoint = start()?;
    let publisher = endpoint.publisher(STREAM, TYPE)?;
    report::ready()?;

    let mut payload = payload(load.size.max(8));
    let begin = clock::now();
    let mut next = begin + STEP;
    while clock::now() < begin + nanos(load.duration) {
        clock::sleep_until(next);
        next += STEP;
        stamp(&mut payload, clock::now());
        publisher.publish_blocking(EXPIRY, payload.as_slice())?;
    }
    stop(&endpoint);
    Ok(())
}

pub(crate) fn one_way() -> Result<(), LoadError> {
    const SKIPPED: u32 = 300;
    const COUNTED: usize = 5_000;
    let (mut times, mut seen) = (Times::with_capacity(COUNTED), 0);
    take_until(STREAM, move |message| {
        let now = clock::now();
        seen += 1;
        if seen > SKIPPED {
            times.add(now.saturating_sub(read_stamp(&message.payload)));
        }
        (times.len() >= COUNTED).then(|| report::delays("oneway", std::mem::take(&mut times).figures(1)))
    })
}

pub(crate) fn first(since: u64) -> Result<(), LoadError> {
    take_until(STREAM, move |_| Some(report::first(since)))
}

pub(crate) fn ping(load: Load) -> Result<(), LoadError> {
    const WARM_UP: u64 = 1_000;
    const TIMED: u64 = 10_000;
    let endpoint = start()?;
    let publisher = endpoint.publisher(PING, TYPE)?;
    let answers = Answers::subscribe(&endpoint)?;
    report::ready()?;
    report::wait_for_go()?;
    wait_for_subscribers(&publisher, 1)?;

    let mut payload = payload(load.size.max(8));
    let mut times = Times::with_capacity(10_000);
    let mut unanswered = 0;
    for number in 1..=WARM_UP + TIMED {
        stamp(&mut payload, number);
        let begin = clock::now();
        publisher.publish_blocking(EXPIRY, payload.as_slice())?;
        if !answers.wait_for(number) {
            unanswered += 1;
            if unanswered > 20 {
                return Err(LoadError::Unanswered { count: unanswered });
            }
        } else if number > WARM_UP {
            times.add(clock::now() - begin);
        }
    }
    report::delays("ping", times.figures(2))?;
    end(&publisher, 0, 3, Duration::from_millis(50))?;
    stop(&endpoint);
    Ok(())
}

pub(crate) fn pong() -> Result<(), LoadError> {
    let endpoint = start()?;
    let publisher = endpoint.publisher(PONG, TYPE)?;
    take_until_at(&endpoint, PING, move |message| {
        if report::read_end_marker(&message.payload).is_some() {
            return Some(Ok(()));
        }
        // The ping counts an answer that does not come.
        let _ = publisher.try_publish(EXPIRY, &message.payload);
        None
    })?;
    stop(&endpoint);
    Ok(())
}

/// The last ping that was answered.
struct Answers {
    last: Arc<AtomicU64>,
    _subscription: CallbackSubscription,
}

impl Answers {
    /// Wakes the thread that calls this when an answer comes.
    fn subscribe(endpoint: &Endpoint) -> Result<Self, LoadError> {
        let last = Arc::new(AtomicU64::new(0));
        let (writer, thread) = (Arc::clone(&last), std::thread::current());
        let on_message = move |message: Message| {
            writer.store(read_stamp(&message.payload), Ordering::Release);
            thread.unpark();
        };
        Ok(Self { last, _subscription: block_on(endpoint.subscribe_with(PONG, TYPE, on_message))? })
    }

    /// Whether ping `number` was answered in time.
    fn wait_for(&self, number: u64) -> bool {
        let give_up = std::time::Instant::now() + Duration::from_millis(200);
        while self.last.load(Ordering::Acquire) != number {
            let left = give_up.saturating_duration_since(std::time::Instant::now());
            if left.is_zero() {
                return false;
            }
            std::thread::park_timeout(left);
        }
        true
    }
}

/// Starts an endpoint that gives each message of the topic to `take`, until that says that it is done.
fn take_until(
    topic: &str,
    take: impl FnMut(&Message) -> Option<std::io::Result<()>> + Send + 'static,
) -> Result<(), LoadError> {
    let endpoint = start()?;
    take_until_at(&endpoint, topic, take)?;
    stop(&endpoint);
    Ok(())
}

fn take_until_at(
    endpoint: &Endpoint,
    topic: &str,
    mut take: impl FnMut(&Message) -> Option<std::io::Result<()>> + Send + 'static,
) -> Result<(), LoadError> {
    let (sender, over) = mpsc::channel();
    let mut sender = Some(sender);
    let subscription = block_on(endpoint.subscribe_with(topic, TYPE, move |message| {
        if sender.is_some()
            && let Some(result) = take(&message)
            && let Some(sender) = sender.take()
        {
            // Nobody hears it only if we are ending anyway.
            let _ = sender.send(result);
        }
    }))?;
    report::ready()?;
    let result = over.recv();
    if subscription.missed() > 0 {
        // Not for the harness, but for who wonders where they went.
        eprintln!("glue-load: {} messages missed: {:?}", subscription.missed(), endpoint.stats());
    }
    drop(subscription);
    result.unwrap_or(Ok(())).map_err(LoadError::from)
}

pub(crate) fn start() -> Result<Endpoint, LoadError> {
    Ok(block_on(Endpoint::from_env())?)
}

/// What a subscriber has acknowledged last need not reach the publisher: it waits for nothing.
fn stop(endpoint: &Endpoint) {
    block_on(endpoint.close(Duration::from_millis(500)));
}

/// Futures of an endpoint need no runtime, and threads of one would only cost memory and start-up time here.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.expect("a runtime without drivers opens nothing that could fail").block_on(future)
}

pub(crate) fn wait_for_subscribers(publisher: &Publisher, expected: usize) -> Result<(), LoadError> {
    const SECONDS: u64 = 10;
    let give_up = clock::now() + SECONDS * 1_000_000_000;
    loop {
        let found = publisher.subscribers();
        if found >= expected {
            return Ok(());
        }
        if clock::now() >= give_up {
            return Err(LoadError::NoSubscribers { found, expected, seconds: SECONDS });
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Says that it is over: several times, since the protocol was made for systems that lose messages too.
fn end(publisher: &Publisher, sent: u64, times: u32, apart: Duration) -> Result<(), LoadError> {
    for _ in 0..times {
        std::thread::sleep(apart);
        publisher.publish_blocking(EXPIRY, &report::end_marker(sent))?;
    }
    Ok(())
}

fn payload(size: usize) -> Vec<u8> {
    (0..=250).cycle().take(size).collect()
}

/// Writes a number into the first 8 bytes.
fn stamp(payload: &mut [u8], number: u64) {
    if let Some((stamp, _)) = payload.split_first_chunk_mut() {
        *stamp = number.to_le_bytes();
    }
}

fn read_stamp(payload: &[u8]) -> u64 {
    payload.split_first_chunk().map_or(0, |(stamp, _)| u64::from_le_bytes(*stamp))
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

pub(crate) const STREAM: &str = "load/stream";
const PING: &str = "load/ping";
const PONG: &str = "load/pong";
pub(crate) const TYPE: &str = "bytes";

/// Longer than any run: these figures are for reliable delivery.
pub(crate) const EXPIRY: Duration = Duration::from_secs(60);
