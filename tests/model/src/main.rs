//! `glue-model`: goes through all that may happen within bounds.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use glue_model::{Bounds, CHECKS, Check, Plan};

/// Goes through every order of events and faults that the bounds allow, with the real state machines of glue, and says how many
/// states there were and which promise was broken, by which way. Without a name it lists the checks and what tests go through.
///
/// States grow fast with the bounds: raise one at a time. A state takes about 500 bytes of memory and a millisecond.
#[derive(Debug, Parser)]
#[command(name = "glue-model")]
struct Arguments {
    /// Which check, or `all`.
    name: Option<String>,
    /// A bound in place of the one that tests have, as NAME=NUMBER: faults (in all), losses, copies, holds (late ones), lateness
    /// (how late, in tenths of a second; 0 is any), crashes, starts, cuts, messages, ticks (of the clock). May be given several times.
    #[arg(long = "bound", value_name = "NAME=NUMBER", value_parser = bound)]
    bounds: Vec<(String, u8)>,
    /// Threads to use.
    #[arg(long, default_value_t = 1)]
    threads: usize,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let Some(name) = &arguments.name else {
        for check in CHECKS {
            say(&format!("{:10} {}\n           {}", check.name, check.about, shown(&check.bounds)));
        }
        return ExitCode::SUCCESS;
    };
    let chosen: Vec<&Check> = CHECKS.iter().filter(|check| name == "all" || check.name == name).collect();
    if chosen.is_empty() {
        eprintln!("there is no check \"{name}\"; without a name all are listed");
        return ExitCode::from(2);
    }
    let failed = chosen.into_iter().filter(|check| !run(check, &arguments)).count();
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs a check, and says what came of it; whether all was kept.
fn run(check: &Check, arguments: &Arguments) -> bool {
    let mut bounds = check.bounds;
    for (name, value) in &arguments.bounds {
        bounds.set(name, *value);
    }
    say(&format!("{}: {}", check.name, shown(&bounds)));
    let report = (check.run)(Plan::new(bounds), arguments.threads.max(1), &mut |progress| {
        let (states, depth, seconds) = (progress.states, progress.depth, progress.elapsed.as_secs());
        eprintln!("{}: {states} states, {depth} deep, {seconds} s", check.name);
    });
    say(&format!("{}: {report}", check.name));
    report.is_clean()
}

fn bound(text: &str) -> Result<(String, u8), String> {
    let (name, value) = text.split_once('=').ok_or("a bound is NAME=NUMBER, such as losses=2")?;
    let value = value.parse().map_err(|_| format!("\"{value}\" is no number from 0 to 255"))?;
    if !Bounds::default().set(name, value) {
        return Err(format!("there is no bound \"{name}\""));
    }
    Ok((name.to_owned(), value))
}

/// The bounds that are not 0.
fn shown(bounds: &Bounds) -> String {
    let all = format!("{bounds:?}");
    let inner = all.trim_start_matches("Bounds { ").trim_end_matches(" }");
    inner.split(", ").filter(|bound| !bound.ends_with(": 0")).collect::<Vec<_>>().join(", ")
}

fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
