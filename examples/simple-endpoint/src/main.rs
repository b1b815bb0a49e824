//! An endpoint that publishes messages or prints those it receives, configured by the `GLUE_*` environment variables.
//!
//! Begin with [`publish::run`] and [`subscribe::run`], which are all that an application needs of glue; what is round
//! them makes a tool of it. `simple-endpoint demo` runs both, in four processes.

mod args;
mod demo;
mod failure;
mod output;
mod payload;
mod peers;
mod publish;
mod stop;
mod subscribe;
mod tally;

use std::io::{IsTerminal, Write, stderr, stdout};
use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use crate::args::{Args, Command};
use crate::failure::Failure;

fn main() -> ExitCode {
    let args = Args::parse();
    let Err(failure) = run(&args) else { return ExitCode::SUCCESS };
    if let Some(line) = failure.line() {
        eprintln!("simple-endpoint: {line}");
    }
    failure.exit_code()
}

fn run(args: &Args) -> Result<(), Failure> {
    log_to_stderr()?;
    // One thread is enough, and the least memory: the endpoint has threads of its own.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match args.command {
            Some(Command::Demo) => demo::run().await,
            Some(Command::Keygen) => keygen(),
            None if args.send_messages => publish::run(args).await,
            None => subscribe::run(args).await,
        }
    })
}

fn keygen() -> Result<(), Failure> {
    let key = glue_endpoint::new_network_key().map_err(|error| Failure::Runtime(error.to_string()))?;
    writeln!(stdout(), "{}", key.expose())?;
    Ok(())
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
