//! What many endpoints of one group cost when nothing happens: processes that subscribe, know each other, and are left alone.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use crate::error::LoadError;
use crate::roles::{self, STREAM, TYPE};
use crate::{Load, clock};

/// Subscribes, and says how many peers it knows for each line that it reads.
pub(crate) fn member() -> Result<(), LoadError> {
    let endpoint = roles::start()?;
    let _subscription = roles::block_on(endpoint.subscribe_with(STREAM, TYPE, |_| {}))?;
    for _ in std::io::stdin().lines().map_while(Result::ok) {
        let mut out = std::io::stdout();
        writeln!(out, "{}", endpoint.peers().len())?;
        out.flush()?;
    }
    Ok(())
}

/// Starts as many processes as `load` has bytes, and says what each used while they were left alone.
pub(crate) fn crowd(load: Load) -> Result<(), LoadError> {
    let begin = clock::now();
    let mut members = (0..load.size).map(|_| Member::start()).collect::<Result<Vec<_>, _>>()?;
    let started = seconds_since(begin);
    wait_until_all_know_all(&mut members)?;
    let met = seconds_since(begin);
    // The interval of announcements follows the group's size at the next announcement.
    std::thread::sleep(SETTLE);
    let (from, used, bytes) = (clock::now(), processor_times(&members), loopback_bytes());
    std::thread::sleep(load.duration);
    let (seconds, bytes) = (seconds_since(from), loopback_bytes() - bytes);
    let used = processor_times(&members).into_iter().zip(used).map(|(after, before)| after - before);
    let mut percents: Vec<f64> = used.map(|nanos| nanos as f64 / seconds / 1e7).collect();
    percents.sort_unstable_by(f64::total_cmp);
    let at = |share: usize| percents.get((percents.len() - 1) * share / 100).copied().unwrap_or_default();
    let mut out = std::io::stdout().lock();
    writeln!(out, "{} processes, started in {started:.2} s, all knew all after {met:.2} s", members.len())?;
    writeln!(
        out,
        "processor of each in {seconds:.1} s, % of a core: p50 {:.3}, p99 {:.3}, max {:.3}",
        at(50),
        at(99),
        at(100)
    )?;
    let share = bytes as f64 / seconds / members.len() as f64;
    writeln!(out, "on the loopback interface, headers of 42 bytes included: {share:.0} B/s for each")?;
    Ok(())
}

fn wait_until_all_know_all(members: &mut [Member]) -> Result<(), LoadError> {
    let (others, give_up) = (members.len() - 1, clock::now() + 60_000_000_000);
    loop {
        let mut least = others;
        for member in &mut *members {
            least = least.min(member.peers()?);
        }
        if least == others {
            return Ok(());
        }
        if clock::now() > give_up {
            return Err(LoadError::NoSubscribers { found: least, expected: others, seconds: 60 });
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What all threads of each process have used, in nanoseconds.
fn processor_times(members: &[Member]) -> Vec<u64> {
    let of_thread = |task: std::fs::DirEntry| -> Option<u64> {
        let usage = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        usage.split_whitespace().next()?.parse().ok()
    };
    let of_process = |member: &Member| {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", member.process.id()));
        tasks.into_iter().flatten().flatten().filter_map(of_thread).sum()
    };
    members.iter().map(of_process).collect()
}

/// What was sent on the loopback interface of our network namespace.
fn loopback_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/net/dev").unwrap_or_default();
    let line = text.lines().find_map(|line| line.trim_start().strip_prefix("lo:"));
    line.and_then(|line| line.split_whitespace().nth(8)?.parse().ok()).unwrap_or(0)
}

fn seconds_since(nanos: u64) -> f64 {
    (clock::now() - nanos) as f64 / 1e9
}

/// A process that subscribes; killed when dropped.
struct Member {
    process: Child,
    ask: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Member {
    fn start() -> Result<Self, LoadError> {
        let mut command = Command::new(std::env::current_exe()?);
        // They meet on a network of their own.
        command.arg("member").env("GLUE_NETWORK_ID", std::process::id().to_string());
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (ask, answers) = (process.stdin.take(), process.stdout.take());
        let (ask, answers) = ask.zip(answers).ok_or(LoadError::Usage)?;
        Ok(Self { process, ask, answers: BufReader::new(answers) })
    }

    fn peers(&mut self) -> Result<usize, LoadError> {
        writeln!(self.ask)?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        line.trim().parse().map_err(|_| LoadError::Child)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Longer than the interval of a thousand.
const SETTLE: Duration = Duration::from_secs(10);
