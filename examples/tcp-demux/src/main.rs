//! `tcp-demux`: holds TCP sockets, and shares their data among upstream services. All it does is in the library; this is
//! the command line.

mod args;
mod failure;
mod serve;
mod test_upstream;

use std::io::{IsTerminal, Write, stderr, stdout};
use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;
use tcp_demux::LogLevel;
use tcp_demux::test_server::{Behaviour, serve as serve_test};
use tokio::net::TcpListener;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, fmt, reload};

use crate::args::{Args, Command, TestServer};
use crate::failure::Failure;

/// A message costs some allocations, freed on other threads, at which this one is better than the C library's.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let args = Args::parse();
    let Err(failure) = run(&args) else { return ExitCode::SUCCESS };
    eprintln!("tcp-demux: {}", failure.line());
    failure.exit_code()
}

fn run(args: &Args) -> Result<(), Failure> {
    let log_level = log_to_stderr()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        match &args.command {
            Command::Serve(args) => serve::run(args, log_level).await,
            Command::TestServer(args) => test_server(args).await,
            Command::TestUpstream(args) => test_upstream::run(args).await,
        }
    })
}

async fn test_server(args: &TestServer) -> Result<(), Failure> {
    let listener = TcpListener::bind(("127.0.0.1", args.port)).await?;
    writeln!(stdout(), "{}", listener.local_addr()?)?;
    let mut behaviour = Behaviour::default();
    (behaviour.ready_sleep, behaviour.echo, behaviour.extended) = (args.ready_sleep, args.echo, args.extended);
    serve_test(listener, behaviour).await.map_err(|error| Failure::Runtime(error.to_string()))
}

fn log_to_stderr() -> Result<LogLevel, Failure> {
    let directives = std::env::var("GLUE_LOG").or_else(|_| std::env::var("RUST_LOG")).unwrap_or_default();
    let directives = if directives.is_empty() { "info" } else { &directives };
    let filter = EnvFilter::try_new(directives)
        .map_err(|error| Failure::Configuration(format!("GLUE_LOG or RUST_LOG `{directives}`: {error}")))?;
    let (filter, handle) = reload::Layer::new(filter);
    let log = fmt::layer().with_writer(stderr).with_ansi(stderr().is_terminal());
    tracing_subscriber::registry().with(filter).with(log).init();
    Ok(LogLevel::new(directives, move |level| {
        let filter = EnvFilter::try_new(level).map_err(|error| error.to_string())?;
        handle.reload(filter).map_err(|error| error.to_string())
    }))
}
