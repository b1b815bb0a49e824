//! `glue-fuzz`: runs a target over changes of its corpus, or over files.

use std::io::Write;
use std::panic;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use glue_fuzz::{TARGETS, Target};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let target = arguments.first().and_then(|name| Target::find(name));
    let numbers: Vec<Option<u64>> = arguments.iter().skip(1).map(|text| text.replace('_', "").parse().ok()).collect();
    if arguments == ["list"] {
        TARGETS.iter().for_each(|target| _ = writeln!(std::io::stdout(), "{}", target.name));
        return ExitCode::SUCCESS;
    }
    match (target, numbers.as_slice()) {
        (Some(target), []) => fuzz(target, 0..CASES),
        (Some(target), [Some(cases)]) => fuzz(target, 0..*cases),
        (Some(target), [Some(cases), Some(first)]) => fuzz(target, *first..first.saturating_add(*cases)),
        (Some(target), [None, ..]) => files(target, arguments.get(1..).unwrap_or_default()),
        _ => usage(),
    }
}

fn usage() -> ExitCode {
    let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
    eprintln!(
        "usage: glue-fuzz TARGET [CASES [FIRST SEED]]   changes of its corpus, {CASES} from 0 unless it is told otherwise\n\
         \x20      glue-fuzz TARGET FILE..                these inputs\n\
         \x20      glue-fuzz list                         the targets\n\
         targets: {}",
        names.join(" ")
    );
    ExitCode::from(2)
}

fn fuzz(target: &Target, seeds: std::ops::Range<u64>) -> ExitCode {
    let (corpus, begin, first) = (target.corpus(), Instant::now(), seeds.start);
    let (mut told, mut through, count) = (begin, 0_u64, seeds.end - first);
    for seed in seeds {
        let case = Target::case(&corpus, seed);
        match panic::catch_unwind(|| (target.run)(&case)) {
            Ok(taken) => through += u64::from(taken),
            Err(_) => {
                eprintln!("{} failed with seed {seed}: {}", target.name, hex(&case));
                eprintln!("again: cargo run -p glue-fuzz -- {} 1 {seed}", target.name);
                return ExitCode::FAILURE;
            }
        }
        if seed % 64 == 0 && told.elapsed() > TELL {
            told = Instant::now();
            let _ = writeln!(std::io::stderr(), "{} of {count} cases of {}", seed - first + 1, target.name);
        }
    }
    let (seconds, name) = (begin.elapsed().as_secs_f64(), target.name);
    let _ = writeln!(std::io::stdout(), "{name}: {count} cases in {seconds:.1} s, {through} came through, no failure");
    ExitCode::SUCCESS
}

fn files(target: &Target, files: &[String]) -> ExitCode {
    for file in files {
        let bytes = match std::fs::read(file) {
            Ok(bytes) => bytes,
            Err(error) => {
                eprintln!("{file}: {error}");
                return ExitCode::from(2);
            }
        };
        match panic::catch_unwind(|| (target.run)(&bytes)) {
            Ok(taken) => {
                let _ = writeln!(std::io::stdout(), "{file}: {}", if taken { "comes through" } else { "is refused" });
            }
            Err(_) => {
                eprintln!("{} failed with {file}", target.name);
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const CASES: u64 = 1_000_000;
const TELL: Duration = Duration::from_secs(10);
