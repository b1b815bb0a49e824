//! Two ways to do the same, measured in turns by processes that are started for it.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::Load;
use crate::error::LoadError;

/// Environment variables of a process.
pub(crate) type Variables<'a> = &'a [(&'a str, &'a str)];

/// Measures both ways in turns; says what a subscriber received, and what both sides used of the processor, which on a busy
/// machine tells more. `run` is told which way, and returns both figures.
pub(crate) fn turns(
    load: Load,
    what: &str,
    mut run: impl FnMut(usize) -> Result<(f64, f64), LoadError>,
) -> Result<(), LoadError> {
    let (mut rates, mut costs) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for round in 0..ROUNDS {
        // Who comes first changes, so that neither has the warmer machine.
        let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
        for which in order {
            let (rate, cost) = run(which)?;
            if let Some((rates, costs)) = rates.get_mut(which).zip(costs.get_mut(which)) {
                rates.push(rate);
                costs.push(cost);
            }
        }
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "{} B, medians of {ROUNDS} rounds, {what}:", load.size)?;
    for (what, values) in [("messages a second", rates), ("ns of processor for each", costs)] {
        let [one, other] = values.map(median);
        writeln!(out, "  {what}: {one:.0} and {other:.0}, {:+.1} %", (other / one - 1.0) * 100.0)?;
    }
    Ok(())
}

/// One publisher and one subscriber; returns what the subscriber received a second, and the nanoseconds of processor that
/// both used for each message.
pub(crate) fn one_to_one(
    load: Load,
    publishes: Variables<'_>,
    subscribes: Variables<'_>,
) -> Result<(f64, f64), LoadError> {
    let (size, seconds) = (load.size.to_string(), load.duration.as_secs_f64().to_string());
    let mut subscriber = Process::start(&["sub", &size, &seconds], subscribes)?;
    let mut publisher = Process::start(&["pub", &size, &seconds], publishes)?;
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
pub(crate) struct Process {
    process: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Process {
    /// All processes of a run meet on a network of their own.
    pub(crate) fn start(arguments: &[&str], variables: Variables<'_>) -> Result<Self, LoadError> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(arguments).envs(variables.iter().copied()).env("GLUE_NETWORK_ID", std::process::id().to_string());
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let lines = process.stdout.take().ok_or(LoadError::Child)?;
        Ok(Self { process, lines: BufReader::new(lines) })
    }

    pub(crate) fn line(&mut self) -> Result<String, LoadError> {
        let mut line = String::new();
        self.lines.read_line(&mut line)?;
        if line.is_empty() { Err(LoadError::Child) } else { Ok(line) }
    }

    pub(crate) fn go(&mut self) -> Result<(), LoadError> {
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
