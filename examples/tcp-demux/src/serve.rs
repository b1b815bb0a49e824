//! `tcp-demux serve`: flags, variables and file make one configuration, which SIGHUP makes anew.

use std::io::{Write, stdout};
use std::path::PathBuf;
use std::time::Duration;

use glue_endpoint::Endpoint;
use tcp_demux::file::{File, default_file};
use tcp_demux::{Config, Demux, GrpcUpstream, Limits, LogLevel, StartError};
use tokio::signal::unix::{SignalKind, signal};

use crate::args::Serve;
use crate::failure::Failure;

pub(crate) async fn run(args: &Serve, log_level: LogLevel) -> Result<(), Failure> {
    let mut signals =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
    let path = args.config.clone().or_else(default_file);
    let (mut config, file) = load(args, path.as_ref())?;
    apply_log_level(&file, &log_level)?;
    config.log_level = Some(log_level.clone());
    let endpoint = match file.glue.enabled && !args.no_glue {
        true => Some(Endpoint::from_env().await?),
        false => None,
    };
    let service = args.service.clone().unwrap_or_else(|| file.glue.service.clone());
    config.glue = endpoint.clone().map(|endpoint| (endpoint, service));
    let mut upstreams = config.upstreams.clone();
    let demux = start(config).await?;
    loop {
        tokio::select! {
            _ = signals.0.recv() => break,
            _ = signals.1.recv() => break,
            _ = signals.2.recv() => reload(args, path.as_ref(), &demux, &mut upstreams, &log_level),
        }
    }
    tracing::info!("closing");
    demux.close(PATIENCE).await;
    if let Some(endpoint) = endpoint {
        endpoint.close(PATIENCE).await;
    }
    Ok(())
}

async fn start(config: Config) -> Result<Demux, StartError> {
    let demux = Demux::start(config).await?;
    // For scripts that asked for any port. Whether somebody reads it makes no difference.
    let mut out = stdout();
    for address in demux.listeners() {
        let _ = writeln!(out, "clients {address}");
    }
    if let Some(address) = demux.management() {
        let _ = writeln!(out, "management {address}");
    }
    Ok(demux)
}

fn load(args: &Serve, path: Option<&PathBuf>) -> Result<(Config, File), Failure> {
    let file = path.map(|path| File::read(path)).transpose()?.unwrap_or_default();
    let mut config = file.config().map_err(Failure::Configuration)?;
    if let Some(first) = config.listeners.first_mut() {
        first.address = args.listen.unwrap_or(first.address);
        if let Some(framing) = &args.framing {
            first.framing.clone_from(framing);
        }
        first.tls = args.tls().or_else(|| first.tls.take());
    }
    if let Some(management) = &mut config.management {
        management.address = args.management.unwrap_or(management.address);
        management.token = args.management_token.clone().or_else(|| management.token.take());
    }
    if let Some(distribution) = args.distribution {
        config.settings.distribution = distribution;
    }
    let mut limits = Limits::default();
    limits.max_sockets_per_address = args.max_sockets_per_address;
    limits.apply(&mut config.settings).map_err(Failure::Configuration)?;
    config.upstreams.extend(args.upstreams.iter().cloned());
    Ok((config, file))
}

fn apply_log_level(file: &File, log_level: &LogLevel) -> Result<(), Failure> {
    let variables = ["GLUE_LOG", "RUST_LOG"];
    let is_set = variables.iter().any(|name| std::env::var(name).is_ok_and(|value| !value.is_empty()));
    match &file.management_server.log_level {
        Some(level) if !is_set => {
            log_level.set(level).map_err(|error| Failure::Configuration(format!("log_level: {error}")))
        }
        _ => Ok(()),
    }
}

/// What is wrong is told, and all stays as it was.
fn reload(
    args: &Serve,
    path: Option<&PathBuf>,
    demux: &Demux,
    upstreams: &mut Vec<GrpcUpstream>,
    log_level: &LogLevel,
) {
    let done = load(args, path).and_then(|(config, file)| {
        apply_log_level(&file, log_level)?;
        let before = std::mem::replace(upstreams, config.upstreams);
        demux.reload(config.settings, upstreams, &before).map_err(Failure::Configuration)
    });
    match done {
        Ok(()) => tracing::info!("reloaded; addresses, framings and tokens stay until a restart"),
        Err(failure) => tracing::error!("not reloaded: {}", failure.line()),
    }
}

/// For what waits to be written, and for goodbyes.
const PATIENCE: Duration = Duration::from_secs(2);
