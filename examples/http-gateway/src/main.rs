//! `http-gateway`: a router, an agent, or an example worker, configured by flags, the environment and a file.

mod args;
mod config;
mod failure;
mod run;

use std::io::{IsTerminal, stderr};
use std::process::ExitCode;

use mimalloc::MiMalloc;
use tracing_subscriber::EnvFilter;

use crate::args::Args;
use crate::failure::Failure;

/// A request costs some dozen allocations, some of them freed on other threads.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let Err(failure) = start() else { return ExitCode::SUCCESS };
    eprintln!("http-gateway: {failure}");
    failure.exit_code()
}

fn start() -> Result<(), Failure> {
    let args = Args::read()?;
    log_to_stderr()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(workers()).enable_all().build()?;
    runtime.block_on(run::run(&args))
}

fn log_to_stderr() -> Result<(), Failure> {
    let directives = std::env::var("GLUE_LOG").or_else(|_| std::env::var("RUST_LOG")).unwrap_or_default();
    let directives = if directives.is_empty() { "info" } else { &directives };
    let filter = EnvFilter::try_new(directives)
        .map_err(|error| Failure::Configuration(format!("GLUE_LOG or RUST_LOG `{directives}`: {error}")))?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    log.with_ansi(stderr().is_terminal()).init();
    Ok(())
}

/// As many as there are cores besides those that glue's own two threads, the clients and the servers keep busy. On two
/// cores one passed 12 % more requests than two in rounds in turns: two wake each other and take the cores from those others.
fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).max(1))
}
