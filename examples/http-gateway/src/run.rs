//! What the commands do.

use std::time::Duration;

use glue_endpoint::Endpoint;
use http_gateway::{Admin, Agent, Hello, Launched, Listening, Router, Server, Serving, TlsFiles, Worker};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::args::{AgentArgs, Args, Command, CommonArgs, HelloArgs, RouterArgs, seconds};
use crate::config::Config;
use crate::failure::Failure;

pub(crate) async fn run(args: &Args) -> Result<(), Failure> {
    match &args.command {
        Command::Router(args) => router(args).await,
        Command::Agent(args) => agent(args).await,
        Command::Hello(args) => hello(args).await,
    }
}

async fn router(args: &RouterArgs) -> Result<(), Failure> {
    let mut stop = Stop::watch()?;
    let mut config = Config::read(args.common.config.as_deref())?;
    args.apply(&mut config);
    let endpoint = endpoint().await?;
    let router = Router::start(endpoint.clone(), config.router.clone(), config.transfer()).await?;
    let admin = admin(&router, &config).await?;
    let listening = listen(router, &config).await?;
    stop.requested().await;
    let finished = listening.drain(seconds(args.common.drain)).await;
    drop(admin);
    endpoint.close(GOODBYE).await;
    if finished { Ok(()) } else { Err(Failure::Unfinished) }
}

async fn listen(router: Router, config: &Config) -> Result<Listening, Failure> {
    let mut server = Server::new(router);
    let is_tls = match (&config.listen.cert, &config.listen.key) {
        (Some(cert), Some(key)) => {
            server = server.tls(TlsFiles { cert: cert.clone(), key: key.clone() })?;
            true
        }
        (None, None) => false,
        _ => return Err(Failure::Configuration("listen.cert and listen.key: both are needed, or none".to_owned())),
    };
    let address = config.listen.address.unwrap_or(DEFAULT_LISTEN);
    let listening = server.listen(address).await.map_err(|error| Failure::Listen { address, error })?;
    tracing::info!("listening at {}://{}", if is_tls { "https" } else { "http" }, listening.address());
    Ok(listening)
}

async fn admin(router: &Router, config: &Config) -> Result<Option<Admin>, Failure> {
    let telemetry = config.telemetry.enabled.then_some(TELEMETRY_LISTEN);
    let Some(address) = config.admin.address.or(telemetry) else { return Ok(None) };
    let admin = Admin::listen(router.clone(), address, config.admin.token.clone()).await;
    let admin = admin.map_err(|error| Failure::Listen { address, error })?;
    tracing::info!("operators at http://{}", admin.address());
    Ok(Some(admin))
}

impl RouterArgs {
    /// An option counts more than the file.
    fn apply(&self, config: &mut Config) {
        fn set<T: Clone>(to: &mut Option<T>, from: &Option<T>) {
            if from.is_some() {
                to.clone_from(from);
            }
        }
        set(&mut config.listen.address, &self.listen);
        set(&mut config.listen.cert, &self.cert);
        set(&mut config.listen.key, &self.key);
        set(&mut config.admin.address, &self.admin);
        set(&mut config.admin.token, &self.admin_token);
        set(&mut config.router.sticky_cookie, &self.sticky_cookie);
        set(&mut config.router.sticky_header, &self.sticky_header);
        config.router.strategy = self.strategy.unwrap_or(config.router.strategy);
        config.router.timeout_seconds = self.timeout.unwrap_or(config.router.timeout_seconds);
        config.router.access_log |= self.access_log;
    }
}

async fn agent(args: &AgentArgs) -> Result<(), Failure> {
    let mut stop = Stop::watch()?;
    let config = Config::read(args.common.config.as_deref())?;
    let agent = Agent::new(args.targets()?);
    let announcement = args.announce.announcement(&args.id);
    let endpoint = endpoint().await?;
    let labels = announcement.labels.clone();
    let serving = Worker::new(endpoint.clone(), announcement).transfer(config.transfer()).serve(agent.clone()).await?;
    tracing::info!("{} serves {}", args.id, args.proxy_host.join(", "));
    let launched = Launched::tell(&endpoint, &args.id, &labels).await?;
    let every = seconds(args.health_interval).max(LEAST_HEALTH_INTERVAL);
    tokio::select! {
        () = stop.requested() => {}
        () = agent.watch(serving.announcer(), every) => {}
    }
    end(endpoint, serving, Some(launched), &args.common).await
}

async fn hello(args: &HelloArgs) -> Result<(), Failure> {
    let mut stop = Stop::watch()?;
    let config = Config::read(args.common.config.as_deref())?;
    let endpoint = endpoint().await?;
    let worker = Worker::new(endpoint.clone(), args.announce.announcement(&args.name)).transfer(config.transfer());
    let serving = worker.serve(Hello::new(&args.name)).await?;
    tracing::info!("{} serves", args.name);
    stop.requested().await;
    end(endpoint, serving, None, &args.common).await
}

/// Finishes what was begun, and says goodbye.
async fn end(
    endpoint: Endpoint,
    serving: Serving,
    launched: Option<Launched>,
    common: &CommonArgs,
) -> Result<(), Failure> {
    let finished = serving.drain(seconds(common.drain)).await;
    if let Some(launched) = launched {
        launched.terminate().await?;
    }
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

/// SIGTERM or SIGINT.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    /// From now on a signal is a wish, and no end.
    fn watch() -> Result<Self, Failure> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn requested(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

const DEFAULT_LISTEN: std::net::SocketAddr =
    std::net::SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 8_080);
/// That of fuyuu-router.
const TELEMETRY_LISTEN: std::net::SocketAddr =
    std::net::SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 2_223);

const ANNOUNCE_INTERVAL: Duration = Duration::from_millis(250);
/// A busy host may keep a process from its processor for some of them.
const SILENT_INTERVALS: f64 = 4.0;

const LEAST_HEALTH_INTERVAL: Duration = Duration::from_millis(100);

/// How long the others may take to acknowledge what was sent.
const GOODBYE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[test]
    fn an_option_counts_more_than_the_file() {
        let mut config = Config::default();
        config.listen.address = Some(([127, 0, 0, 1], 1).into());
        config.admin.token = Some("of the file".to_owned());
        let args = Args::parse_from(["x", "router", "--listen", "127.0.0.1:2", "--timeout", "7", "--access-log"]);
        let Command::Router(args) = args.command else { panic!("another command") };
        args.apply(&mut config);
        assert_eq!(config.listen.address, Some(([127, 0, 0, 1], 2).into()));
        assert_eq!(config.admin.token.as_deref(), Some("of the file"));
        assert_eq!((config.router.timeout_seconds, config.router.access_log), (7.0, true));
    }
}
