//! The command line.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as Options, Parser, Subcommand};
use glue_endpoint::Settings as GlueSettings;
use tcp_demux::{Distribution, Framing, GrpcUpstream, TlsFiles};

/// Holds long-lived TCP sockets, and shares their data among upstream services.
///
/// Clients connect to one address and stay. Services behind it come and go: by gRPC, or as glue endpoints that find it by
/// themselves.
#[derive(Debug, Parser)]
#[command(version, after_help = after_help())]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Hold sockets of clients
    Serve(Box<Serve>),
    /// Be a gRPC upstream that answers the sender and broadcasts to all, in turn
    TestServer(TestServer),
    /// Be a glue upstream that does the same
    TestUpstream(TestUpstream),
}

/// Flags go before variables, and these before the file.
#[derive(Debug, Options)]
pub(crate) struct Serve {
    /// The file; without it `config.toml` in the working directory, if there is one. Read again at SIGHUP.
    #[arg(long, value_name = "FILE", env = "TCP_DEMUX_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Where clients connect, in place of the file's `[server]` [default: 127.0.0.1:7999].
    #[arg(long, value_name = "IP:PORT", env = "TCP_DEMUX_LISTEN")]
    pub(crate) listen: Option<SocketAddr>,
    /// Where it is managed by HTTP [default: 127.0.0.1:8000].
    #[arg(long, value_name = "IP:PORT", env = "TCP_DEMUX_MANAGEMENT")]
    pub(crate) management: Option<SocketAddr>,
    /// What requests to the management have to show as `Authorization: Bearer TOKEN`. Needed beyond loopback.
    #[arg(long, value_name = "TOKEN", env = "TCP_DEMUX_MANAGEMENT_TOKEN", hide_env_values = true)]
    pub(crate) management_token: Option<String>,
    /// A gRPC upstream beside those of the file, as grpc://HOST:PORT; may be given several times.
    #[arg(long = "upstream", value_name = "URL", env = "TCP_DEMUX_UPSTREAM", value_delimiter = ',', value_parser = upstream)]
    pub(crate) upstreams: Vec<GrpcUpstream>,
    /// How messages are shared among upstreams [default: sticky].
    #[arg(long, env = "TCP_DEMUX_DISTRIBUTION")]
    pub(crate) distribution: Option<Distribution>,
    /// Where a message ends: raw (what one read gives), lines, length_prefixed_u16, length_prefixed_u32 or delimiter:TEXT
    /// [default: raw].
    #[arg(long, env = "TCP_DEMUX_FRAMING", value_parser = Framing::parse)]
    pub(crate) framing: Option<Framing>,
    /// Sockets of one address at one time; 0 is no limit of its own [default: 0].
    #[arg(long, value_name = "N", env = "TCP_DEMUX_MAX_SOCKETS_PER_ADDRESS")]
    pub(crate) max_sockets_per_address: Option<usize>,
    /// The certificate that clients get, as a PEM file, in place of the file's; with the key.
    #[arg(long, value_name = "FILE", env = "TCP_DEMUX_TLS_CERT", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// Its key, as a PEM file.
    #[arg(long, value_name = "FILE", env = "TCP_DEMUX_TLS_KEY", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Only clients with a certificate that one of these signed are let in: a PEM file.
    #[arg(long, value_name = "FILE", env = "TCP_DEMUX_CLIENT_CA", requires = "tls_cert")]
    pub(crate) client_ca: Option<PathBuf>,
    /// What instances and glue upstreams that belong together call themselves [default: tcp-demux].
    #[arg(long, value_name = "NAME", env = "TCP_DEMUX_SERVICE")]
    pub(crate) service: Option<String>,
    /// Do not look for glue upstreams and other instances.
    #[arg(long)]
    pub(crate) no_glue: bool,
}

impl Serve {
    /// What clients are shown, and what they have to show.
    pub(crate) fn tls(&self) -> Option<TlsFiles> {
        let mut files = TlsFiles::new(self.tls_cert.as_ref()?, self.tls_key.as_ref()?);
        files.client_ca_path.clone_from(&self.client_ca);
        Some(files)
    }
}

#[derive(Debug, Options)]
pub(crate) struct TestServer {
    /// Port on 127.0.0.1; 0 is a free one. The address is printed.
    #[arg(long)]
    pub(crate) port: u16,
    /// How long `ready` takes, in seconds.
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = seconds)]
    pub(crate) ready_sleep: Duration,
    /// Send each message back to its sender instead.
    #[arg(long)]
    pub(crate) echo: bool,
    /// Acknowledge messages and ask for events, beyond the original protocol.
    #[arg(long)]
    pub(crate) extended: bool,
}

#[derive(Debug, Options)]
pub(crate) struct TestUpstream {
    /// What the instances call themselves.
    #[arg(long, value_name = "NAME", env = "TCP_DEMUX_SERVICE", default_value = "tcp-demux")]
    pub(crate) service: String,
    /// Send each message back to its sender instead.
    #[arg(long)]
    pub(crate) echo: bool,
}

fn upstream(text: &str) -> Result<GrpcUpstream, String> {
    let (host, port) = text
        .strip_prefix("grpc://")
        .and_then(|address| address.rsplit_once(':'))
        .ok_or_else(|| "expected grpc://HOST:PORT".to_owned())?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let port = port.parse().map_err(|_| "expected a port of 1 to 65535".to_owned())?;
    let upstream = GrpcUpstream::new(host, port);
    upstream.check().map(|()| upstream)
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|error| format!("{error}"))?;
    let is_sensible = (0.0..=3_600.0).contains(&seconds);
    is_sensible.then(|| Duration::from_secs_f64(seconds)).ok_or_else(|| "expected 0 to 3600".to_owned())
}

fn after_help() -> String {
    let mut help = EXAMPLES.to_owned();
    help.push_str("\nVariables of the glue endpoint, all optional:\n");
    for variable in GlueSettings::VARIABLES {
        // Nothing fails that writes to a string.
        let _ = writeln!(help, "  {} [default: {}]\n      {}", variable.name, variable.default, variable.meaning);
    }
    help.push_str("\nGLUE_LOG (or RUST_LOG) says what is logged to standard error [default: info].\n");
    help.push_str("Exit status: 0 if all went well, 1 if something failed, 2 for a bad option, variable or file.\n");
    help
}

const EXAMPLES: &str = "\
Examples:
  tcp-demux test-server --port 50051
  tcp-demux serve --upstream grpc://127.0.0.1:50051
  nc 127.0.0.1 7999
      In three shells: what is typed into the third goes to the first, and its answers come back.
  tcp-demux test-upstream
  tcp-demux serve --framing lines
      The same with an upstream that needs no address: it is found.
  tcp-demux serve --listen 127.0.0.1:7998 --management 127.0.0.1:8001
      One more instance: the upstreams reach the clients of both.
  curl 127.0.0.1:8000/upstream
      Which upstreams there are, and how they do.
";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn an_upstream_is_a_url() {
        assert_eq!(upstream("grpc://[::1]:5").map(|upstream| upstream.name()), Ok("grpc://[::1]:5".to_owned()));
        assert_eq!(upstream("grpc://a.example:5"), Ok(GrpcUpstream::new("a.example", 5)));
        for bad in ["127.0.0.1:5", "grpc://:5", "grpc://a", "grpc://a:0", "grpc://a:b", "grpc://a/b:5"] {
            assert!(upstream(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn impossible_values_are_refused() {
        for line in [
            "x",
            "x serve --listen here",
            "x serve --distribution random",
            "x serve --framing cubes",
            "x serve --tls-cert cert.pem",
            "x serve --client-ca ca.pem",
            "x test-server",
            "x test-server --port 70000",
            "x test-server --port 1 --ready-sleep -1",
        ] {
            assert!(Args::try_parse_from(line.split(' ')).is_err(), "{line} is accepted");
        }
    }
}
