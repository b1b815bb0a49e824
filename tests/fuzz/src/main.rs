//! `glue-fuzz [TARGET [CASES [SEED]]]`: runs a target over so many changed beginnings; without a target it lists them.

use std::io::Write;
use std::panic;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use glue_fuzz::{TARGETS, Target};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number =
        |at: usize, default| arguments.get(at).map_or(Some(default), |text| text.replace('_', "").parse().ok());
    let target = arguments.first().and_then(|name| TARGETS.iter().find(|target| target.name == name));
    match (target, number(1, 1_000_000), number(2, 0)) {
        (Some(target), Some(cases), Some(seed)) => fuzz(target, seed..seed.saturating_add(cases)),
        _ => {
            let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
            eprintln!(
                "usage: glue-fuzz TARGET [CASES [FIRST SEED]], by default 1,000,000 from 0\ntargets: {}",
                names.join(" ")
            );
            ExitCode::from(2)
        }
    }
}

fn fuzz(target: &Target, seeds: std::ops::Range<u64>) -> ExitCode {
    let (corpus, begin, first) = (target.corpus(), Instant::now(), seeds.start);
    let mut told = begin;
    for seed in seeds {
        let case = Target::case(&corpus, seed);
        if panic::catch_unwind(|| (target.run)(&case)).is_err() {
            eprintln!("{} failed with seed {seed}: {}", target.name, hex(&case));
            eprintln!("again: cargo run -p glue-fuzz -- {} 1 {seed}", target.name);
            return ExitCode::FAILURE;
        }
        if told.elapsed() > TELL {
            told = Instant::now();
            let _ = writeln!(std::io::stderr(), "{} cases of {}", seed - first + 1, target.name);
        }
        if seed + 1 == u64::MAX {
            break;
        }
    }
    let _ = writeln!(std::io::stdout(), "{}: no failure, {:.1} s", target.name, begin.elapsed().as_secs_f64());
    ExitCode::SUCCESS
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const TELL: Duration = Duration::from_secs(10);
