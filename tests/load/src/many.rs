//! What company costs: one topic alone and among very many topics and filters, and a topic shared by a queue group.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use glue_endpoint::{CallbackSubscription, Endpoint, Publisher};

use crate::error::LoadError;
use crate::roles::{self, EXPIRY, STREAM, TYPE};
use crate::{Load, clock};

/// Publications of so many other topics, none of which is the stream.
pub(crate) fn other_topics(endpoint: &Endpoint, count: usize) -> Result<Vec<Publisher>, LoadError> {
    let topic = |number| format!("site/{}/{number}/heat", number % 1_000);
    (0..count).map(|number| Ok(endpoint.publisher(&topic(number), TYPE)?)).collect()
}

/// Subscriptions with so many filters with wildcards, which match some of [`other_topics`], and not the stream.
pub(crate) fn other_filters(endpoint: &Endpoint, count: usize) -> Result<Vec<CallbackSubscription>, LoadError> {
    let filter = |number| match number % 4 {
        0 => format!("site/{number}/+/heat"),
        1 => format!("site/{number}/#"),
        2 => format!("+/{number}/+/heat"),
        _ => format!("site/+/{number}/#"),
    };
    (0..count).map(|number| Ok(roles::block_on(endpoint.subscribe_with(&filter(number), TYPE, |_| {}))?)).collect()
}

/// Measures the stream alone, and among 10,000 topics and 1,000 filters, in turns; says what a subscriber received, and what
/// both sides used of the processor, which on a busy machine tells more.
pub(crate) fn many(load: Load) -> Result<(), LoadError> {
    let (mut rates, mut costs) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for round in 0..ROUNDS {
        // Who comes first changes, so that neither has the warmer machine.
        let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
        for which in order {
            let company = if which == 0 { ("0", "0") } else { ("10000", "1000") };
            let (rate, cost) = run(load, company)?;
            if let Some((rates, costs)) = rates.get_mut(which).zip(costs.get_mut(which)) {
                rates.push(rate);
                costs.push(cost);
            }
        }
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "{} B, medians of {ROUNDS} rounds, alone and among 10,000 topics and 1,000 filters:", load.size)?;
    for (what, values) in [("messages a second", rates), ("ns of processor for each", costs)] {
        let [alone, among] = values.map(median);
        writeln!(out, "  {what}: {alone:.0} and {among:.0}, {:+.1} %", (among / alone - 1.0) * 100.0)?;
    }
    Ok(())
}

/// Publishes flat out to a queue group of three processes, and says how many messages were done a second.
pub(crate) fn group(load: Load) -> Result<(), LoadError> {
    let network = i64::from(std::process::id());
    let endpoint = roles::block_on(Endpoint::builder_from_env()?.network_id(network).start())?;
    let publisher = endpoint.publisher(STREAM, TYPE)?;
    let _workers = (0..MEMBERS).map(|_| Process::start(&["worker"], &[])).collect::<Result<Vec<_>, _>>()?;
    roles::block_on(endpoint.wait_for_members(GROUP, MEMBERS));
    let payload = Bytes::from(vec![7; load.size]);
    let (begin, cpu) = (clock::now(), clock::cpu_seconds());
    let done = |endpoint: &Endpoint| endpoint.stats().topics.shares_done;
    while clock::now() - begin < u64::try_from(load.duration.as_nanos()).unwrap_or(u64::MAX) {
        for _ in 0..64 {
            publisher.publish_blocking(EXPIRY, &payload)?;
        }
    }
    let (seconds, cpu) = ((clock::now() - begin) as f64 / 1e9, clock::cpu_seconds() - cpu);
    let rate = done(&endpoint) as f64 / seconds;
    writeln!(
        std::io::stdout(),
        "{} B to a group of {MEMBERS}: {rate:.0} done a second, {cpu:.2} s of processor",
        load.size
    )?;
    Ok(())
}

/// Such a member, until it is killed.
pub(crate) fn worker() -> Result<(), LoadError> {
    let endpoint = roles::start()?;
    let _subscription = roles::block_on(endpoint.subscribe_with(GROUP, TYPE, |_| {}))?;
    std::thread::sleep(Duration::from_secs(3_600));
    Ok(())
}

/// One publisher and one subscriber; returns what the subscriber received a second, and the nanoseconds of processor that
/// both used for each message.
fn run(load: Load, (topics, filters): (&str, &str)) -> Result<(f64, f64), LoadError> {
    let (size, seconds) = (load.size.to_string(), load.duration.as_secs_f64().to_string());
    let mut subscriber = Process::start(&["sub", &size, &seconds], &[("FILTERS", filters)])?;
    let mut publisher = Process::start(&["pub", &size, &seconds], &[("TOPICS", topics)])?;
    subscriber.line()?;
    publisher.line()?;
    // What else there is to be told is told before.
    std::thread::sleep(Duration::from_millis(500));
    publisher.go()?;
    let (sent, received) = (publisher.line()?, subscriber.line()?);
    let used = figure(&sent, "cpu")? + figure(&received, "cpu")?;
    Ok((figure(&received, "rate")?, used / figure(&sent, "sent")? * 1e9))
}

/// A number of a line that another process has printed.
fn figure(line: &str, name: &str) -> Result<f64, LoadError> {
    let rest = line.split(&format!("\"{name}\":")).nth(1);
    let text = rest.and_then(|rest| rest.split([',', '}']).next());
    text.and_then(|text| text.parse().ok()).ok_or(LoadError::Child)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// A process of ours that plays a role; killed when dropped.
struct Process {
    process: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Process {
    /// All processes of a run meet on a network of their own.
    fn start(arguments: &[&str], variables: &[(&str, &str)]) -> Result<Self, LoadError> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(arguments).envs(variables.iter().copied()).env("GLUE_NETWORK_ID", std::process::id().to_string());
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let lines = process.stdout.take().ok_or(LoadError::Child)?;
        Ok(Self { process, lines: BufReader::new(lines) })
    }

    fn line(&mut self) -> Result<String, LoadError> {
        let mut line = String::new();
        self.lines.read_line(&mut line)?;
        if line.is_empty() { Err(LoadError::Child) } else { Ok(line) }
    }

    fn go(&mut self) -> Result<(), LoadError> {
        let stdin = self.process.stdin.as_mut().ok_or(LoadError::Child)?;
        Ok(writeln!(stdin)?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// At least five, an odd number.
const ROUNDS: usize = 7;
const MEMBERS: usize = 3;
const GROUP: &str = "$share/load/load/stream";
