//! Many processes on one host for hours, half of which come and go: does what the others hold grow?

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use glue_net::Rng;

use crate::error::FaultsError;
use crate::interrupt;
use crate::lab::Lab;
use crate::process::{Process, Recipe};
use crate::sample::{Growth, Sample};

/// What a soak is to be.
#[derive(clap::Args, Clone, Debug)]
pub struct SoakArguments {
    /// How long.
    #[arg(long, default_value_t = 2.0)]
    pub hours: f64,
    /// How many processes; every other is killed, stopped, ended and started again all the time.
    #[arg(long, default_value_t = 20)]
    pub processes: usize,
    /// The part of the time at the beginning that does not count: what grows once and then no more is no leak.
    #[arg(long, default_value_t = 0.25)]
    pub warm_up: f64,
    /// What the coming and going follows from.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Where the samples go, one a line.
    #[arg(long, default_value = "soak.csv")]
    pub csv: PathBuf,
}

/// Soaks, and says what grows. Ctrl-C ends it early, with a report of the time until then.
///
/// # Errors
/// Why there is no result, or what grows.
pub fn run(arguments: &SoakArguments, out: &mut impl Write) -> Result<(), FaultsError> {
    let length = Duration::try_from_secs_f64(arguments.hours * 3_600.0);
    let length = length.map_err(|_| FaultsError::Usage("--hours is not a length of time".to_owned()))?;
    let mut soak = Soak::begin(arguments)?;
    let mut told = 0;
    while soak.begun.elapsed() < length && !interrupt::is_wanted() {
        std::thread::sleep(TICK);
        soak.churn()?;
        if soak.last_sample.elapsed() >= EVERY {
            soak.sample()?;
        }
        let minutes = soak.begun.elapsed().as_secs() / 60;
        if minutes > told {
            told = minutes;
            soak.tell(out)?;
        }
    }
    soak.report(arguments.warm_up, out)
}

struct Soak {
    // In this order: processes end before their host is removed.
    churned: Vec<Process>,
    lasting: Vec<(Process, Vec<Sample>)>,
    lab: Lab,
    rng: Rng,
    csv: File,
    begun: Instant,
    last_sample: Instant,
    next_churn: Duration,
}

impl Soak {
    fn begin(arguments: &SoakArguments) -> Result<Self, FaultsError> {
        let mut lab = Lab::new()?;
        lab.lonely_host(HOST)?;
        let mut csv = File::create(&arguments.csv).map_err(FaultsError::io(arguments.csv.display().to_string()))?;
        writeln!(csv, "seconds,process,resident_kib,descriptors,threads")
            .map_err(FaultsError::io("writing samples"))?;
        let (mut churned, mut lasting) = (Vec::new(), Vec::new());
        for number in 0..arguments.processes {
            let mut process = Process::new(recipe(number));
            process.start(&lab)?;
            if number % 2 == 0 { lasting.push((process, Vec::new())) } else { churned.push(process) }
        }
        let now = Instant::now();
        Ok(Self {
            churned,
            lasting,
            lab,
            rng: Rng::new(arguments.seed),
            csv,
            begun: now,
            last_sample: now,
            next_churn: Duration::ZERO,
        })
    }

    /// Does something to one of those that come and go, every second or so.
    fn churn(&mut self) -> Result<(), FaultsError> {
        if self.begun.elapsed() < self.next_churn || self.churned.is_empty() {
            return Ok(());
        }
        self.next_churn = self.begun.elapsed() + Duration::from_millis(500 + self.rng.below(1_500));
        let index = usize::try_from(self.rng.below(self.churned.len() as u64)).unwrap_or(0);
        let Some(process) = self.churned.get_mut(index) else { return Ok(()) };
        if process.id().is_none() {
            return process.start(&self.lab);
        }
        match self.rng.below(5) {
            0 | 1 => process.kill(),
            2 => process.pause(true),
            3 => process.pause(false),
            _ => {
                // One that is stopped can not end, and is killed.
                process.say("end");
                process.finish(Duration::from_secs(3));
            }
        }
        Ok(())
    }

    fn sample(&mut self) -> Result<(), FaultsError> {
        self.last_sample = Instant::now();
        let seconds = self.begun.elapsed().as_secs_f64();
        for (process, samples) in &mut self.lasting {
            process.check()?;
            let Some(sample) = process.id().and_then(|id| Sample::take(id, seconds)) else { continue };
            let Sample { resident, descriptors, threads, .. } = sample;
            writeln!(self.csv, "{seconds:.1},{},{resident},{descriptors},{threads}", process.name)
                .map_err(FaultsError::io("writing samples"))?;
            samples.push(sample);
        }
        Ok(())
    }

    fn tell(&self, out: &mut impl Write) -> Result<(), FaultsError> {
        let last = self.lasting.iter().filter_map(|(_, samples)| samples.last());
        let most = last.map(|sample| sample.resident).max().unwrap_or(0);
        let lives: u32 = self.churned.iter().map(Process::lives).sum();
        let minutes = self.begun.elapsed().as_secs() / 60;
        writeln!(out, "{minutes:4} min: the largest has {most} KiB; {lives} lives of those that come and go")
            .and_then(|()| out.flush())
            .map_err(FaultsError::io("output"))
    }

    fn report(self, warm_up: f64, out: &mut impl Write) -> Result<(), FaultsError> {
        let took = self.begun.elapsed().as_secs_f64();
        let mut grown = Vec::new();
        let mut lines = vec![format!("{:.0} s, the first {:.0} s of them do not count", took, took * warm_up)];
        for (process, samples) in &self.lasting {
            let growth = Growth::of(samples, took * warm_up);
            let (Some(first), Some(last)) =
                (samples.iter().find(|sample| sample.seconds >= took * warm_up), samples.last())
            else {
                return Err(FaultsError::Broken(format!("{} was never sampled", process.name)));
            };
            let is_flat = growth.is_flat();
            lines.push(format!(
                "{}: {} -> {} KiB, {:+.3} MiB/h; {} -> {} descriptors, {:+.2}/h; {} -> {} threads, {:+.2}/h: {}",
                process.name,
                first.resident,
                last.resident,
                growth.resident,
                first.descriptors,
                last.descriptors,
                growth.descriptors,
                first.threads,
                last.threads,
                growth.threads,
                if is_flat { "flat" } else { "NOT FLAT" }
            ));
            if !is_flat {
                grown.push(process.name.clone());
            }
        }
        let lives: u32 = self.churned.iter().map(Process::lives).sum();
        lines.push(format!(
            "{} processes lasted, {} came and went in {lives} lives",
            self.lasting.len(),
            self.churned.len()
        ));
        for line in lines {
            writeln!(out, "{line}").map_err(FaultsError::io("output"))?;
        }
        if grown.is_empty() { Ok(()) } else { Err(FaultsError::Broken(format!("not flat: {}", grown.join(", ")))) }
    }
}

/// Publishers and subscribers, of each some that last and some that do not, and one cache that lasts.
fn recipe(number: usize) -> Recipe<'static> {
    let is_publisher = number % 4 < 2;
    let name = format!("{}{number}", if is_publisher { "publisher" } else { "subscriber" });
    let mut variables = vec![];
    if number == 2 {
        variables.push(("GLUE_CACHE", "cached".to_owned()));
    }
    // What is kept for late joiners lives for 10 s here: it is to be as much after a minute as after hours.
    let arguments: &[&str] = if is_publisher { &["publisher", "--lifespan", "10000"] } else { &["subscriber"] };
    Recipe { name, host: HOST.to_owned(), arguments, variables, directory: None }
}

const HOST: &str = "soak";
const TICK: Duration = Duration::from_millis(50);
const EVERY: Duration = Duration::from_secs(5);
