//! Random faults on real hosts, the checker of what processes logged meanwhile, and a soak.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use glue_faults::error::FaultsError;
use glue_faults::node::NodeArguments;
use glue_faults::{check, interrupt, life, publisher, run, soak, subscriber, wire};

/// Proves glue on real hosts: network namespaces, in which processes publish and subscribe while they are killed, stopped,
/// cut off and worse. `run` and `soak` need root and `ip`; `run` also `nft` and `tc`.
#[derive(Debug, Parser)]
#[command(name = "glue-faults", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Five hosts under random faults from a seed, then the checker. Exit code 1 if anything is not as promised.
    Run(run::RunArguments),
    /// Checks the logs of a directory: losses, duplicates, disorder, false gaps. Exit code 1 if there is any.
    Check {
        /// The directory; its files that end in `.log` are read.
        directory: PathBuf,
    },
    /// Processes that come and go for hours, and whether memory, descriptors or threads of the others grow. Exit code 1 if so.
    Soak(soak::SoakArguments),
    /// A process of `run` and `soak`: publishes numbered messages. Reads `healed`, `halt` and `end`, a line each.
    Publisher(NodeArguments),
    /// A process of `run` and `soak`: subscribes. Reads `healed` and `end`, a line each.
    Subscriber(NodeArguments),
    /// A switch between interfaces that impairs what passes. Reads `link FROM TO NAME=VALUE..`, `cut FROM TO` and
    /// `join FROM TO`, a line each; ports are counted from 0, `*` is all. Names: loss, duplicate, corrupt, truncate, reorder
    /// (chances from 0 to 1), delay, jitter (milliseconds), mend (1: what is damaged gets a right checksum).
    Impair(wire::ImpairArguments),
}

fn main() -> ExitCode {
    match act(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("glue-faults: {error}");
            ExitCode::FAILURE
        }
    }
}

fn act(command: Command) -> Result<(), FaultsError> {
    let mut out = std::io::stdout();
    match command {
        Command::Run(arguments) => {
            interrupt::watch()?;
            run::run(&arguments, &mut out)
        }
        Command::Soak(arguments) => {
            interrupt::watch()?;
            soak::run(&arguments, &mut out)
        }
        Command::Check { directory } => {
            let verdict = check::check(&life::Life::read_all(&directory)?, false);
            for line in run::describe(&verdict) {
                writeln!(out, "{line}").map_err(FaultsError::io("output"))?;
            }
            run::conclude(&verdict, &directory)
        }
        Command::Publisher(arguments) => block_on(publisher::run(&arguments)),
        Command::Subscriber(arguments) => block_on(subscriber::run(&arguments)),
        Command::Impair(arguments) => wire::run(&arguments),
    }
}

fn block_on(future: impl Future<Output = Result<(), FaultsError>>) -> Result<(), FaultsError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(FaultsError::io("a runtime"))?;
    let result = runtime.block_on(future);
    // A read of the standard input can not be given up: it is left behind.
    runtime.shutdown_background();
    result
}
