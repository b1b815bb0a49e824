//! The command line, and the environment, which adds to it.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, CommandFactory, Parser, Subcommand};
use glue_endpoint::Settings;
use http_gateway::{Announcement, Roots, Strategy, Target};

use crate::failure::Failure;

/// A reverse proxy without configuration: routers take HTTP in, workers answer it, and find each other over glue.
///
/// Any number of routers and workers, started in any order.
#[derive(Debug, Parser)]
#[command(version, after_help = after_help(), args_override_self = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Take HTTP in, and pass it to workers
    Router(RouterArgs),
    /// A worker that passes requests on to HTTP servers
    Agent(AgentArgs),
    /// The example worker: answers `Hello from NAME`
    Hello(HelloArgs),
}

#[derive(Debug, clap::Args)]
#[command(args_override_self = true)]
pub(crate) struct RouterArgs {
    /// Where clients connect [default: 0.0.0.0:8080]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<SocketAddr>,
    /// Where operators connect, for /metrics, /workers and /health [default: nowhere]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) admin: Option<SocketAddr>,
    /// What operators must show: `Authorization: Bearer TOKEN`
    #[arg(long, value_name = "TOKEN")]
    pub(crate) admin_token: Option<String>,
    /// A certificate chain in PEM, for TLS. It is read again when it changes
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(crate) cert: Option<PathBuf>,
    /// The certificate's private key in PEM
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(crate) key: Option<PathBuf>,
    /// How to choose among workers that could serve a request alike [default: round_robin]
    #[arg(long, value_enum)]
    pub(crate) strategy: Option<Strategy>,
    /// Keep clients with a worker by this cookie
    #[arg(long, value_name = "NAME")]
    pub(crate) sticky_cookie: Option<String>,
    /// Send requests with the same value of this field to the same worker
    #[arg(long, value_name = "FIELD")]
    pub(crate) sticky_header: Option<String>,
    /// How long to wait for a response to begin, in seconds [default: 60]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) timeout: Option<f64>,
    /// Write a line of JSON to standard output for each request
    #[arg(long)]
    pub(crate) access_log: bool,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

#[derive(Debug, clap::Args)]
#[command(args_override_self = true)]
pub(crate) struct AgentArgs {
    /// The name by which requests choose it, in the field FuyuuRouter-IDs
    #[arg(long)]
    pub(crate) id: String,
    /// An HTTP server: http://host:port, https://host:port, or h2c://host:port for HTTP/2 alone. Several share the requests
    #[arg(long, value_name = "URL", required = true, action = ArgAction::Append, value_delimiter = ',')]
    pub(crate) proxy_host: Vec<String>,
    /// Certificates of the authorities, in PEM, by which https servers are known [default: those that the system trusts]
    #[arg(long, value_name = "FILE")]
    pub(crate) proxy_ca: Option<PathBuf>,
    /// How often to look whether the servers can be reached, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0)]
    pub(crate) health_interval: f64,
    #[command(flatten)]
    pub(crate) announce: AnnounceArgs,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

#[derive(Debug, clap::Args)]
#[command(args_override_self = true)]
pub(crate) struct HelloArgs {
    /// Its id, and what it says
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) announce: AnnounceArgs,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

/// What a worker tells of itself.
#[derive(Debug, clap::Args)]
pub(crate) struct AnnounceArgs {
    /// Something about the worker, for people; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_delimiter = ',', value_parser = label)]
    labels: Vec<(String, String)>,
    /// A host that it serves, or *.example.com for all below; may be repeated [default: every host]
    #[arg(long, value_name = "HOST", value_delimiter = ',')]
    host: Vec<String>,
    /// A path that it serves, with all below; may be repeated [default: every path]
    #[arg(long, value_name = "PATH", value_delimiter = ',')]
    path_prefix: Vec<String>,
    /// A method that it serves; may be repeated [default: every method]
    #[arg(long, value_name = "METHOD", value_delimiter = ',')]
    method: Vec<String>,
    /// Its share of requests beside others, 1 to 100
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    weight: u32,
    /// Its version, for people
    #[arg(long = "worker-version", value_name = "TEXT", default_value = "")]
    worker_version: String,
    /// Requests that it takes at a time, 0 for any number
    #[arg(long, value_name = "N", default_value_t = 0)]
    capacity: u32,
    /// How long a router waits for its responses to begin, in seconds [default: as the router says]
    #[arg(long, value_name = "SECONDS", default_value_t = 0.0, hide_default_value = true)]
    response_timeout: f64,
}

#[derive(Debug, clap::Args)]
pub(crate) struct CommonArgs {
    /// A configuration file in TOML
    #[arg(long, short, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// How long requests may take to finish after SIGTERM, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30.0)]
    pub(crate) drain: f64,
}

impl Args {
    /// From the command line and the environment, which comes later and so counts more.
    ///
    /// # Errors
    /// [`Failure::Configuration`] names a variable that is not known.
    pub(crate) fn read() -> Result<Self, Failure> {
        let line: Vec<OsString> = std::env::args_os().collect();
        let variables = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
        let line = with_variables(line, variables).map_err(Failure::Configuration)?;
        Ok(Self::parse_from(line))
    }
}

/// Adds `--name=value` for each `HTTP_GATEWAY_NAME` that the command has.
fn with_variables(
    mut line: Vec<OsString>,
    variables: impl Iterator<Item = (String, OsString)>,
) -> Result<Vec<OsString>, String> {
    let root = Args::command();
    let command = line.get(1).and_then(|name| name.to_str()).and_then(|name| root.find_subcommand(name));
    let all: BTreeSet<&str> = root.get_subcommands().flat_map(flags).map(|(name, _)| name).collect();
    for (name, value) in variables {
        let Some(variable) = name.strip_prefix(PREFIX) else { continue };
        let flag = variable.to_ascii_lowercase().replace('_', "-");
        if !all.contains(flag.as_str()) {
            return Err(format!("{name} is not known: there is no option --{flag}"));
        }
        let Some((_, is_switch)) = command.into_iter().flat_map(flags).find(|(known, _)| *known == flag) else {
            continue;
        };
        match (is_switch, value.to_str()) {
            (false, _) => {
                let mut argument = OsString::from(format!("--{flag}="));
                argument.push(value);
                line.push(argument);
            }
            (true, Some("1" | "true")) => line.push(format!("--{flag}").into()),
            (true, Some("" | "0" | "false")) => {}
            (true, _) => return Err(format!("{name}: expected true or false")),
        }
    }
    Ok(line)
}

/// The options of a command, and whether they take no value.
fn flags(command: &clap::Command) -> impl Iterator<Item = (&str, bool)> {
    command.get_arguments().filter_map(|arg| Some((arg.get_long()?, !arg.get_action().takes_values())))
}

impl AnnounceArgs {
    pub(crate) fn announcement(&self, id: &str) -> Announcement {
        let mut told = Announcement::new(id);
        told.labels = self.labels.iter().cloned().collect();
        told.hosts.clone_from(&self.host);
        told.path_prefixes.clone_from(&self.path_prefix);
        told.methods.clone_from(&self.method);
        told.weight = self.weight;
        told.version.clone_from(&self.worker_version);
        told.capacity = self.capacity;
        told.timeout_ms = u64::try_from(seconds(self.response_timeout).as_millis()).unwrap_or(u64::MAX);
        told
    }
}

impl AgentArgs {
    pub(crate) fn targets(&self) -> Result<Vec<Target>, Failure> {
        let roots = || self.proxy_ca.as_deref().map_or_else(Roots::of_system, Roots::of_file);
        let targets = self.proxy_host.iter().map(|text| Target::trusting(text, roots));
        targets.collect::<Result<_, _>>().map_err(|error| Failure::Configuration(format!("--proxy-host {error}")))
    }
}

/// What is no time is none.
pub(crate) fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::ZERO)
}

fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected key=value")?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

fn after_help() -> String {
    let mut help = EXAMPLES.to_owned();
    help.push_str("\nVariables of the endpoint, all optional:\n");
    for variable in Settings::VARIABLES {
        help.push_str(&format!("  {}\n      {}\n", variable.name, variable.meaning));
    }
    help.push_str("\nExit status: 0 if all went well, 1 if something failed, 2 for a bad option, variable or file.\n");
    help
}

const PREFIX: &str = "HTTP_GATEWAY_";

const EXAMPLES: &str = "\
Examples:
  http-gateway hello worker-1
  http-gateway hello worker-2
  http-gateway router
  curl http://localhost:8080/
      In four shells, in any order: the workers answer in turn.
  http-gateway agent --id agent01 --proxy-host http://127.0.0.1:3000
  http-gateway router
  curl -H 'FuyuuRouter-IDs: agent01' http://localhost:8080/
      On two hosts: a server is reached by the name of its agent.

Each option may also be given as a variable: HTTP_GATEWAY_LISTEN for --listen. A variable counts more than the option,
and an option more than the configuration file.
";

#[cfg(test)]
mod tests {
    use super::*;

    fn line(words: &str) -> Vec<OsString> {
        words.split(' ').map(OsString::from).collect()
    }

    fn parse(words: &str, variables: &[(&str, &str)]) -> Result<Args, String> {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), OsString::from(value)));
        Args::try_parse_from(with_variables(line(words), variables)?).map_err(|error| error.to_string())
    }

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn a_variable_counts_more_than_the_option() {
        let args = parse(
            "x router --listen 127.0.0.1:1 --timeout 5",
            &[("HTTP_GATEWAY_LISTEN", "127.0.0.1:2"), ("HTTP_GATEWAY_ACCESS_LOG", "true"), ("HTTP_GATEWAY_ID", "a")],
        );
        let Command::Router(router) = args.unwrap().command else { panic!("another command") };
        assert_eq!(router.listen.unwrap().port(), 2);
        assert_eq!(router.timeout, Some(5.0));
        assert!(router.access_log);
    }

    #[test]
    fn an_unknown_variable_is_named() {
        let error = parse("x router", &[("HTTP_GATEWAY_LISTNE", "127.0.0.1:2")]).unwrap_err();
        assert!(error.contains("HTTP_GATEWAY_LISTNE"), "{error}");
    }

    #[test]
    fn what_a_worker_tells_comes_from_options() {
        let args = parse("x agent --id a --proxy-host http://h:1 --labels k=v,l=w --labels m=x --weight 3", &[]);
        let Command::Agent(agent) = args.unwrap().command else { panic!("another command") };
        let told = agent.announce.announcement(&agent.id);
        assert_eq!(told.labels.len(), 3);
        assert_eq!((told.weight, told.id.as_str(), told.is_valid()), (3, "a", true));
        assert_eq!(agent.targets().unwrap().len(), 1);
    }

    #[test]
    fn impossible_values_are_refused() {
        for words in ["x", "x agent", "x agent --id a", "x hello", "x hello a --weight 0", "x router --cert c"] {
            assert!(parse(words, &[]).is_err(), "{words} is accepted");
        }
    }
}
