//! `config.toml`: the sections and keys of the original, and ours beside them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::demux::{Config, Listen, Management};
use crate::framing::Framing;
use crate::lane::Confirm;
use crate::limits::Limits;
use crate::settings::Settings;
use crate::tls::TlsFiles;
use crate::upstreams::GrpcUpstream;

/// What the file says.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct File {
    /// Where clients connect.
    pub server: Server,
    /// More addresses for clients.
    pub listener: Vec<Server>,
    /// gRPC upstreams.
    pub upstream: Vec<UpstreamSection>,
    /// Where it is managed.
    pub management_server: ManagementSection,
    /// The original's place for it; `[management_server.tls]` is the same.
    pub management_server_tls: Option<TlsFiles>,
    /// Limits, times and distribution.
    pub limits: Limits,
    /// The network of upstreams and instances.
    pub glue: GlueSection,
}

/// `[server]` and `[[listener]]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Server {
    /// IP address. Default 127.0.0.1.
    pub host: IpAddr,
    /// Port. Default 7999.
    pub port: u16,
    /// See [`Framing::parse`]. Default raw.
    pub framing: String,
    /// A PROXY header is expected first. Default false.
    pub proxy_protocol: bool,
    /// Certificate and key. Default: plain TCP.
    pub tls: Option<TlsFiles>,
}

impl Default for Server {
    fn default() -> Self {
        let host = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Self { host, port: 7_999, framing: "raw".to_owned(), proxy_protocol: false, tls: None }
    }
}

/// `[[upstream]]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct UpstreamSection {
    /// IP address or name.
    pub host: String,
    /// Port.
    pub port: u16,
    /// In seconds. Default 30.
    #[serde(default = "thirty")]
    pub alive_timeout: u64,
    /// In seconds. Default 30.
    #[serde(default = "thirty")]
    pub ready_timeout: u64,
    /// Streams to it. Default 1.
    pub streams: Option<usize>,
    /// When a message is settled. Default: when it is sent.
    pub confirm: Option<Confirm>,
}

const fn thirty() -> u64 {
    30
}

impl UpstreamSection {
    /// The upstream that it describes.
    ///
    /// # Errors
    /// What is out of range.
    pub fn upstream(&self) -> Result<GrpcUpstream, String> {
        let upstream = GrpcUpstream {
            alive_timeout: Duration::from_secs(self.alive_timeout),
            ready_timeout: Duration::from_secs(self.ready_timeout),
            streams: self.streams.unwrap_or(1),
            confirm: self.confirm.unwrap_or_default(),
            ..GrpcUpstream::new(self.host.clone(), self.port)
        };
        upstream.check().map(|()| upstream)
    }
}

/// `[management_server]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct ManagementSection {
    /// IP address. Default 127.0.0.1.
    pub host: IpAddr,
    /// Port. Default 8000.
    pub port: u16,
    /// What is logged: error, warn, info, debug, trace, or a filter for modules.
    pub log_level: Option<String>,
    /// What requests have to show. Default: nothing, which only a loopback address may be.
    pub token: Option<String>,
    /// Certificate and key. Default: plain HTTP.
    pub tls: Option<TlsFiles>,
}

impl Default for ManagementSection {
    fn default() -> Self {
        Self { host: IpAddr::V4(Ipv4Addr::LOCALHOST), port: 8_000, log_level: None, token: None, tls: None }
    }
}

/// `[glue]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct GlueSection {
    /// Whether upstreams and instances are found by glue at all. Default true.
    pub enabled: bool,
    /// What instances and upstreams that belong together call themselves. Default tcp-demux.
    pub service: String,
}

impl Default for GlueSection {
    fn default() -> Self {
        Self { enabled: true, service: "tcp-demux".to_owned() }
    }
}

/// What is wrong with a file, in one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct FileError {
    path: String,
    problem: String,
}

impl File {
    /// Reads a file.
    ///
    /// # Errors
    /// [`FileError`] if it can not be read, is no TOML, or has a key that is not known or a value that makes no sense.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        let failed = |problem: String| FileError { path: path.display().to_string(), problem };
        let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
        Self::parse(&text).map_err(failed)
    }

    /// Parses what stands in a file.
    ///
    /// # Errors
    /// What is wrong, with the line and the key.
    pub fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| {
            let line =
                error.span().map_or(0, |span| text.get(..span.start).unwrap_or_default().matches('\n').count() + 1);
            let problem = error.message().lines().collect::<Vec<_>>().join(" ");
            format!("line {line}: {problem}")
        })
    }

    /// What to start, but for glue.
    ///
    /// # Errors
    /// What is out of range.
    pub fn config(&self) -> Result<Config, String> {
        let mut config = Config::default();
        for server in std::iter::once(&self.server).chain(&self.listener) {
            let mut listen = Listen::new(SocketAddr::new(server.host, server.port));
            listen.framing = Framing::parse(&server.framing)?;
            listen.proxy_protocol = server.proxy_protocol;
            listen.tls.clone_from(&server.tls);
            config.listeners.push(listen);
        }
        let section = &self.management_server;
        let mut management = Management::new(SocketAddr::new(section.host, section.port));
        management.token.clone_from(&section.token);
        management.tls = section.tls.clone().or_else(|| self.management_server_tls.clone());
        config.management = Some(management);
        config.upstreams = self.upstreams()?;
        config.settings = self.settings()?;
        Ok(config)
    }

    /// The upstreams that it names.
    ///
    /// # Errors
    /// What is out of range.
    pub fn upstreams(&self) -> Result<Vec<GrpcUpstream>, String> {
        self.upstream.iter().map(UpstreamSection::upstream).collect()
    }

    /// Its settings.
    ///
    /// # Errors
    /// What is out of range.
    pub fn settings(&self) -> Result<Settings, String> {
        let mut settings = Settings::default();
        self.limits.apply(&mut settings).map(|()| settings)
    }
}

/// Where the file is if nothing else is said, if it is there.
pub const DEFAULT_FILE: &str = "config.toml";

/// The default file, if there is one in the working directory.
#[must_use]
pub fn default_file() -> Option<PathBuf> {
    Some(PathBuf::from(DEFAULT_FILE)).filter(|path| path.exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_originals_file_is_read() {
        let file = File::parse(ORIGINAL).expect("it is well");
        let config = file.config().expect("it is well");
        assert_eq!(config.listeners[0].address, "0.0.0.0:7999".parse().expect("an address"));
        assert_eq!(config.upstreams[0].name(), "grpc://127.0.0.1:45888");
        assert_eq!(config.upstreams[0].ready_timeout, Duration::from_secs(5));
        let management = config.management.expect("it is managed");
        assert_eq!(management.address, "127.0.0.1:8000".parse().expect("an address"));
        assert_eq!(management.tls.expect("the section that the original ignores").cert_path, Path::new("cert.pem"));
    }

    #[test]
    fn an_empty_file_is_the_default() {
        let config = File::parse("").and_then(|file| file.config()).expect("it is well");
        assert_eq!(config.listeners[0], Listen::new("127.0.0.1:7999".parse().expect("an address")));
        assert_eq!((config.upstreams.len(), config.settings), (0, Settings::default()));
    }

    #[test]
    fn what_is_not_known_is_named_with_its_line() {
        for (text, line, key) in [
            ("[server]\nprot = 1", "line 2", "prot"),
            ("[serer]\n", "line 1", "serer"),
            ("[[upstream]]\nhost = \"a\"\nport = 1\nweigth = 1", "line 4", "weigth"),
            ("[limits]\nmax_socket = 1", "line 2", "max_socket"),
        ] {
            let problem = File::parse(text).expect_err("it is refused");
            assert!(problem.contains(line) && problem.contains(key) && !problem.contains('\n'), "{problem}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for text in [
            "[server]\nframing = \"cubes\"",
            "[[upstream]]\nhost = \"not a host\"\nport = 1",
            "[[upstream]]\nhost = \"a\"\nport = 0",
            "[[upstream]]\nhost = \"a\"\nport = 1\nstreams = 0",
            "[limits]\nmax_sockets = 0",
        ] {
            assert!(File::parse(text).and_then(|file| file.config()).is_err(), "{text}");
        }
    }

    const ORIGINAL: &str = r#"
        [server]
        host = "0.0.0.0"
        port = 7999
        [[upstream]]
        host = "127.0.0.1"
        port = 45888
        alive_timeout = 30
        ready_timeout = 5
        [management_server]
        host = "127.0.0.1"
        port = 8000
        log_level = "info"
        [management_server.tls]
        cert_path = "cert.pem"
        key_path = "key.pem"
    "#;
}
