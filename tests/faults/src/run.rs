//! A run: faults from a seed, then calm, then the checker.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use glue_net::Rng;

use crate::check::{Kind, Verdict, check};
use crate::error::FaultsError;
use crate::interrupt;
use crate::life::Life;
use crate::lineup::Lineup;
use crate::plan::{CACHE, HOSTS, PROCESSES, Planned, plan};

/// What a run is to be.
#[derive(clap::Args, Clone, Debug)]
pub struct RunArguments {
    /// How long there are faults; what follows takes half a minute more.
    #[arg(long, default_value_t = 10.0)]
    pub minutes: f64,
    /// What all faults follow from. The same seed gives the same faults at the same times. Of an even seed the network is
    /// private, and what is corrupted reaches the endpoints; of an odd seed it is not, and the kernel drops it.
    #[arg(long)]
    pub seed: u64,
    /// A directory for the logs, which must not exist. It stays. Default: one in the directory for temporary files, which
    /// stays if something is found.
    #[arg(long)]
    pub logs: Option<PathBuf>,
    /// Prints each fault when it begins.
    #[arg(long)]
    pub verbose: bool,
}

/// Makes a run, says what it does and what was found.
///
/// # Errors
/// Why there is no result, or that something was found.
pub fn run(arguments: &RunArguments, out: &mut impl Write) -> Result<(), FaultsError> {
    let length = Duration::try_from_secs_f64(arguments.minutes * 60.0);
    let length = length.map_err(|_| FaultsError::Usage("--minutes is not a length of time".to_owned()))?;
    let scratch = std::env::temp_dir().join(format!("glue-faults-{}-{}", arguments.seed, std::process::id()));
    let directory = arguments.logs.clone().unwrap_or(scratch);
    std::fs::create_dir(&directory).map_err(FaultsError::io(directory.display().to_string()))?;
    let key = arguments.seed.is_multiple_of(2).then(|| network_key(arguments.seed));
    let faults = plan(arguments.seed, length, key.is_some());
    let result = Run::begin(&directory, arguments, key.as_deref()).and_then(|mut run| {
        run.hold(&faults, out)?;
        run.calm_down(out)?;
        run.converge(out)?;
        run.end()?;
        Ok(run)
    });
    // The hosts are gone before anything is checked, so the switch has said what it did.
    let summary = result.map(|run| (run.begun.elapsed(), run.stalled, run.converged, run.lineup.lives()));
    let summary = summary.inspect_err(|_| eprintln!("the logs are in {}", directory.display()))?;
    report(&directory, arguments, &faults, summary, out)?;
    if arguments.logs.is_none() {
        std::fs::remove_dir_all(&directory).map_err(FaultsError::io("removing the logs"))?;
    }
    Ok(())
}

/// A key that follows from the seed: what is tested is not its secrecy.
fn network_key(seed: u64) -> String {
    let mut bytes = [0; 32];
    Rng::new(seed).fill(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

struct Run {
    lineup: Lineup,
    logs: Tails,
    begun: Instant,
    told: Instant,
    last_look: Instant,
    verbose: bool,
    /// The time since the begin, without that in which we were not let run: faults last as long as they should, and none is
    /// begun before an earlier one to the same victim has ended.
    ran: Duration,
    /// The longest time for which this process was not let run: by somebody who stops us, or by a busy machine.
    stalled: Duration,
    /// How long after the end of publishing everything was there.
    converged: Option<Duration>,
    count: usize,
}

impl Run {
    fn begin(directory: &Path, arguments: &RunArguments, key: Option<&str>) -> Result<Self, FaultsError> {
        let (lineup, now) = (Lineup::start(directory, arguments.seed, key)?, Instant::now());
        Ok(Self {
            lineup,
            logs: Tails { directory: directory.to_owned(), ..Tails::default() },
            begun: now,
            told: now,
            last_look: now,
            verbose: arguments.verbose,
            ran: Duration::ZERO,
            stalled: Duration::ZERO,
            converged: None,
            count: 0,
        })
    }

    /// Does the faults at their times.
    fn hold(&mut self, faults: &[Planned], out: &mut impl Write) -> Result<(), FaultsError> {
        self.wait(MEET, &[], out)?;
        let begin = self.ran;
        let mut coming: Vec<&Planned> = faults.iter().rev().collect();
        let mut active: Vec<&Planned> = Vec::new();
        while !(coming.is_empty() && active.is_empty()) {
            let now = self.ran - begin;
            let (ended, still): (Vec<_>, Vec<_>) = active.into_iter().partition(|planned| planned.to <= now);
            active = still;
            for planned in ended {
                self.lineup.end(&planned.fault)?;
            }
            while let Some(planned) = coming.pop_if(|planned| planned.from <= now) {
                if self.verbose {
                    writeln!(
                        out,
                        "{:7.1} s: {}, for {:.1} s",
                        now.as_secs_f64(),
                        planned.fault,
                        (planned.to - planned.from).as_secs_f64()
                    )
                    .map_err(FaultsError::io("output"))?;
                }
                self.lineup.begin(&planned.fault)?;
                self.count += 1;
                active.push(planned);
            }
            self.look(&active, out)?;
        }
        Ok(())
    }

    /// All faults are over: publishing goes on for a while, and somebody joins late.
    fn calm_down(&mut self, out: &mut impl Write) -> Result<(), FaultsError> {
        // But not to whom will be killed once more: who was told lasts.
        self.lineup.say(0..LATE, "healed");
        self.lineup.say(LATE + 1..PROCESSES, "healed");
        self.wait(UNTIL_LATE, &[], out)?;
        self.lineup.restart(LATE)?;
        self.lineup.say(LATE..LATE + 1, "healed");
        self.wait(CALM - UNTIL_LATE, &[], out)?;
        self.lineup.say(0..HOSTS, "halt");
        Ok(())
    }

    /// Waits until everything that is owed is there, or for so long that it will not come.
    fn converge(&mut self, out: &mut impl Write) -> Result<(), FaultsError> {
        let begin = self.ran;
        loop {
            self.wait(BETWEEN_CHECKS, &[], out)?;
            if check(&Life::read_all(&self.logs.directory)?, true).is_complete() {
                self.converged = Some(self.ran - begin);
                return Ok(());
            }
            if self.ran - begin > PATIENCE {
                return Ok(());
            }
        }
    }

    /// Ends subscribers first: to them the end of a publisher would be one more thing to be told.
    fn end(&mut self) -> Result<(), FaultsError> {
        self.lineup.say(HOSTS..PROCESSES, "end");
        std::thread::sleep(Duration::from_millis(500));
        self.lineup.say(0..HOSTS, "end");
        let late = self.lineup.finish(Duration::from_secs(20));
        if late.is_empty() { Ok(()) } else { Err(FaultsError::Broken(format!("did not end when told to: {late:?}"))) }
    }

    fn wait(&mut self, time: Duration, active: &[&Planned], out: &mut impl Write) -> Result<(), FaultsError> {
        let end = self.ran + time;
        while self.ran < end {
            self.look(active, out)?;
        }
        Ok(())
    }

    /// A short sleep, with a look at everything, and a line now and then.
    fn look(&mut self, active: &[&Planned], out: &mut impl Write) -> Result<(), FaultsError> {
        std::thread::sleep(TICK);
        interrupt::check()?;
        self.lineup.check()?;
        let since = self.last_look.elapsed();
        self.last_look = Instant::now();
        self.stalled = self.stalled.max(since);
        self.ran += since.min(MOST_BETWEEN_LOOKS);
        if self.told.elapsed() >= EVERY {
            self.told = Instant::now();
            let (sent, got) = self.logs.count()?;
            let now: Vec<String> = active.iter().map(|planned| planned.fault.to_string()).collect();
            let (seconds, lives, count) = (self.begun.elapsed().as_secs(), self.lineup.lives(), self.count);
            let now = if now.is_empty() { "nothing".to_owned() } else { now.join(", ") };
            writeln!(out, "{seconds:5} s: {sent} published, {got} received, {lives} lives, {count} faults, now {now}")
                .and_then(|()| out.flush())
                .map_err(FaultsError::io("output"))?;
        }
        Ok(())
    }
}

/// Counts of lines of growing logs: only what is new is read.
#[derive(Debug, Default)]
struct Tails {
    directory: PathBuf,
    read: BTreeMap<PathBuf, u64>,
    sent: usize,
    got: usize,
}

impl Tails {
    fn count(&mut self) -> Result<(usize, usize), FaultsError> {
        let problem = || FaultsError::io("reading the logs");
        for entry in std::fs::read_dir(&self.directory).map_err(problem())?.flatten() {
            let path = entry.path();
            let from = self.read.entry(path.clone()).or_default();
            let mut text = Vec::new();
            let mut file = File::open(&path).map_err(problem())?;
            file.seek(SeekFrom::Start(*from)).and_then(|_| file.read_to_end(&mut text)).map_err(problem())?;
            *from += text.len() as u64;
            let lines = || text.split(|byte| *byte == b'\n');
            self.sent += lines().filter(|line| line.starts_with(b"sent ")).count();
            self.got += lines().filter(|line| line.starts_with(b"got ")).count();
        }
        Ok((self.sent, self.got))
    }
}

/// How long it took, the longest stall, when all was there, and the number of lives.
type Summary = (Duration, Duration, Option<Duration>, u32);

fn report(
    directory: &Path,
    arguments: &RunArguments,
    faults: &[Planned],
    (took, stalled, converged, lives): Summary,
    out: &mut impl Write,
) -> Result<(), FaultsError> {
    let verdict = check(&Life::read_all(directory)?, false);
    let kinds = faults.iter().map(|planned| planned.fault.kind()).fold(BTreeMap::<_, u32>::new(), |mut kinds, kind| {
        *kinds.entry(kind).or_default() += 1;
        kinds
    });
    let kinds: Vec<String> = kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    let switch = std::fs::read_to_string(directory.join("switch.err")).unwrap_or_default();
    let network = if arguments.seed.is_multiple_of(2) { "private" } else { "open" };
    let mut lines = vec![
        format!(
            "seed {}, {} network, {:.1} minutes of faults, {:.0} s in all",
            arguments.seed,
            network,
            arguments.minutes,
            took.as_secs_f64()
        ),
        format!("faults: {} ({})", faults.len(), kinds.join(", ")),
        format!("switch: {}", switch.lines().last().unwrap_or("said nothing")),
        format!("lives: {lives}; the longest time in which nothing was let run here: {:.1} s", stalled.as_secs_f64()),
        match converged {
            Some(time) => {
                format!("everything was there {:.0} s or less after the last was published", time.as_secs_f64().ceil())
            }
            None => format!("something was missing {} s after the last was published", PATIENCE.as_secs()),
        },
    ];
    lines.extend(describe(&verdict));
    for line in lines {
        writeln!(out, "{line}").map_err(FaultsError::io("output"))?;
    }
    conclude(&verdict, directory)
}

/// What the checker found, in lines.
#[must_use]
pub fn describe(verdict: &Verdict) -> Vec<String> {
    let count = |kind| verdict.count(kind);
    let mut lines = vec![format!("{:?}", verdict.figures)];
    lines.extend(verdict.findings.iter().take(MOST_FINDINGS).map(ToString::to_string));
    if verdict.findings.len() > MOST_FINDINGS {
        lines.push(format!("and {} findings more", verdict.findings.len() - MOST_FINDINGS));
    }
    lines.push(format!(
        "lost {}, silent {}, duplicates {}, out of order {}, false gaps {}, invented {}, damaged {}",
        count(Kind::Lost),
        count(Kind::Silent),
        count(Kind::Duplicate),
        count(Kind::Disorder),
        count(Kind::FalseGap),
        count(Kind::Invented),
        count(Kind::Damaged)
    ));
    lines
}

/// Whether a verdict is good.
///
/// # Errors
/// [`FaultsError::Broken`] if something was found, or if nothing was tested.
pub fn conclude(verdict: &Verdict, directory: &Path) -> Result<(), FaultsError> {
    let logs = directory.display();
    if !verdict.findings.is_empty() {
        return Err(FaultsError::Broken(format!("{} findings; the logs are in {logs}", verdict.findings.len())));
    }
    if verdict.figures.owed == 0 {
        return Err(FaultsError::Broken(format!(
            "nothing was owed to anybody, so nothing was tested; the logs are in {logs}"
        )));
    }
    Ok(())
}

/// Endpoints have met well before.
const MEET: Duration = Duration::from_secs(3);
/// The subscriber that joins when all is calm: what is kept of the dead and the living is owed to it from the first on.
const LATE: usize = CACHE - 1;
/// The checker demands most of who begins 10 s after the end of faults.
const UNTIL_LATE: Duration = Duration::from_millis(10_500);
const CALM: Duration = Duration::from_secs(14);
const BETWEEN_CHECKS: Duration = Duration::from_secs(2);
/// What did not come by then will not come. The machine may be busy: a minute would do on a quiet one.
const PATIENCE: Duration = Duration::from_secs(180);
const TICK: Duration = Duration::from_millis(20);
const EVERY: Duration = Duration::from_secs(10);
/// Less than any fault lasts that can not be begun twice.
const MOST_BETWEEN_LOOKS: Duration = Duration::from_millis(500);
const MOST_FINDINGS: usize = 20;

// It subscribes.
const _: () = assert!(LATE >= HOSTS && LATE < PROCESSES);
