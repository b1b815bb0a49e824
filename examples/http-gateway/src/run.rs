//! What the commands do.

use std::time::Duration;

use glue_endpoint::Endpoint;
use http_gateway::{Announcement, Hello, Router, RouterConfig, Server, Worker};
use tokio::signal::unix::{SignalKind, signal};

use crate::args::{Args, Command, HelloArgs, RouterArgs};
use crate::failure::Failure;

pub(crate) async fn run(args: &Args) -> Result<(), Failure> {
    match &args.command {
        Command::Router(args) => router(args).await,
        Command::Hello(args) => hello(args).await,
    }
}

async fn router(args: &RouterArgs) -> Result<(), Failure> {
    let endpoint = endpoint().await?;
    let router = Router::start(endpoint.clone(), RouterConfig::default()).await?;
    let listening = Server::new(router).listen(args.listen).await;
    let listening = listening.map_err(|error| Failure::Listen { address: args.listen, error })?;
    tracing::info!("listening at http://{}", listening.address());
    stopped().await?;
    let finished = listening.drain(DRAIN).await;
    endpoint.close(GOODBYE).await;
    if finished { Ok(()) } else { Err(Failure::Unfinished) }
}

async fn hello(args: &HelloArgs) -> Result<(), Failure> {
    let endpoint = endpoint().await?;
    let serving = Worker::new(endpoint.clone(), Announcement::new(&args.name)).serve(Hello::new(&args.name)).await?;
    tracing::info!("{} serves", args.name);
    stopped().await?;
    let finished = serving.drain(DRAIN).await;
    endpoint.close(GOODBYE).await;
    if finished { Ok(()) } else { Err(Failure::Unfinished) }
}

/// As `GLUE_*` says. What it does not say is set so that who dies is missed within a second.
async fn endpoint() -> Result<Endpoint, Failure> {
    let mut builder = Endpoint::builder_from_env()?;
    let is_unset = |name| std::env::var_os(name).is_none_or(|value| value.is_empty());
    if is_unset("GLUE_DISCOVERY_RATE_MILLISECONDS") {
        builder = builder.discovery_interval(ANNOUNCE_INTERVAL);
    }
    if is_unset("GLUE_DISCOVERY_RATE_TIMEOUT_MULTIPLIER") {
        builder = builder.discovery_timeout_multiplier(SILENT_INTERVALS);
    }
    Ok(builder.start().await?)
}

/// Waits for SIGTERM or SIGINT.
async fn stopped() -> Result<(), Failure> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

const ANNOUNCE_INTERVAL: Duration = Duration::from_millis(250);
const SILENT_INTERVALS: f64 = 4.0;

/// How long requests may take to finish after SIGTERM.
const DRAIN: Duration = Duration::from_secs(30);
/// How long the others may take to acknowledge what was sent.
const GOODBYE: Duration = Duration::from_secs(2);
