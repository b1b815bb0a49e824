//! The command line.

use std::net::SocketAddr;

use clap::{Parser, Subcommand};

/// A reverse proxy without configuration: routers take HTTP in, workers answer it, and find each other over glue.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Take HTTP in, and pass it to workers
    Router(RouterArgs),
    /// The example worker: answers `Hello from NAME`
    Hello(HelloArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct RouterArgs {
    /// Where clients connect
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    pub(crate) listen: SocketAddr,
}

#[derive(Debug, clap::Args)]
pub(crate) struct HelloArgs {
    /// Its id, and what it says
    pub(crate) name: String,
}
