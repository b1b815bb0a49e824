//! What an application may set before its endpoint starts.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use glue_net::{EndpointId, NetworkId};
use glue_security::NetworkKey;

use crate::config::Config;

/// What an endpoint is told at its start. Every field has a default that works on one network without any setup, and an
/// environment variable; see [`Settings::from_env`] for these, and [`Builder`] to set fields in code.
///
/// Ranges are checked when the endpoint starts, and when a variable is read.
///
/// ```
/// use glue_endpoint::Settings;
///
/// let mut settings = Settings::default();
/// settings.endpoint_name = Some("lamp".to_owned());
/// assert_eq!(settings.discovery_targets, [Settings::DISCOVERY_ADDRESS]);
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Settings {
    /// Endpoints of other networks are neither seen nor heard, though they share our addresses. Default 1; any value.
    /// Costs nothing. `GLUE_NETWORK_ID`.
    pub network_id: NetworkId,
    /// Our identity, which no other endpoint of the network may have. Default `None`: a random one at each start. An
    /// endpoint that has the same one after a restart is known again to its peers. Costs nothing. `GLUE_ENDPOINT_ID`.
    pub endpoint_id: Option<EndpointId>,
    /// Our name, which no other endpoint of the network may have; 1 to 1,024 bytes. Default `None`: `Endpoint_<id>`.
    /// Its bytes are sent in each announcement, and remembered by each peer. `GLUE_ENDPOINT_NAME`.
    pub endpoint_name: Option<String>,
    /// Where we receive data: a unicast address, or the unspecified one for every interface; port 0 is a free port.
    /// Default `0.0.0.0:0`. Costs one socket. `GLUE_LISTEN_ADDRESS`.
    pub listen_address: SocketAddr,
    /// The only interface used for multicast, by its name or by one of its IP addresses. Default `None`: every
    /// interface that is up and can multicast, and the loopback. Each costs one announcement per interval and multicast
    /// target. `GLUE_LISTEN_INTERFACE`.
    pub listen_interface: Option<String>,
    /// Where we announce ourselves: multicast groups and unicast addresses, each with a port. Default
    /// `239.192.137.1:27320`. Each costs a datagram of about 500 bytes per interval, a group one for each interface.
    /// Empty makes a rendezvous: it announces nothing by itself, but answers those who announce to it.
    /// `GLUE_DISCOVERY_TARGET_ADDRESS`.
    pub discovery_targets: Vec<SocketAddr>,
    /// Where we hear announcements: a multicast group, which is joined and needs a port, or an address of ours, where
    /// port 0 is a free port. Default `239.192.137.1:27320`. `None`: no group is joined, and announcements are heard
    /// only from those we announce to. Costs one socket. `GLUE_DISCOVERY_LISTEN_ADDRESS`.
    pub discovery_listen_address: Option<SocketAddr>,
    /// How often we announce ourselves. Default 1 s; 10 ms to 1 h. Shorter finds and loses peers sooner, and costs the
    /// datagrams told at `discovery_targets` more often. `GLUE_DISCOVERY_RATE_MILLISECONDS`.
    pub discovery_interval: Duration,
    /// A peer is given up when nothing was heard from it for its own interval times this. Default 2.0; 1.0 to 1,000.
    /// Costs nothing, but below about 1.3 one lost announcement is enough to lose a peer.
    /// `GLUE_DISCOVERY_RATE_TIMEOUT_MULTIPLIER`.
    pub discovery_timeout_multiplier: f64,
    /// Bytes of messages that may be held at a time, whatever others do: queued for peers, or waiting to be received.
    /// Default 256 MiB; at least 32 MiB. Below the default the largest message (64 MiB) and the number of peers (1,024)
    /// become smaller in proportion. It costs nothing until it is used. `GLUE_MEMORY_BUDGET_BYTES`.
    pub memory_budget_bytes: usize,
    /// Patterns of topics whose messages are kept for others, see [`crate::Endpoint::cache`], and for each the bytes that
    /// they may take; `None`: an even part of what the others leave. Default: none. All together may be a quarter of five
    /// eighths of the memory budget. `GLUE_CACHE`.
    pub caches: Vec<(String, Option<usize>)>,
    /// Makes the network private: all that leaves is encrypted and authenticated, and who does not have the key is neither
    /// seen nor heard. Default `None`: everything is sent in the clear, as the reference does. It costs 17 bytes and less than
    /// a microsecond for each datagram, and a handshake for each peer. `GLUE_NETWORK_KEY`.
    pub network_key: Option<NetworkKey>,
    /// Where our identity is kept, by which others know us in a private network. It is made if there is none, for nobody else
    /// to read. Default `None`: another one at each start. `GLUE_IDENTITY_FILE`.
    pub identity_file: Option<PathBuf>,
    /// Which members of a private network are taken in, and what they may publish, subscribe to and cache: a file that is
    /// read again when it changes, see [`crate::Trust`]. Default `None`: all, everything. It costs a thread that looks at the
    /// file twice a second. `GLUE_TRUSTED_PEERS`.
    pub trusted_peers: Option<PathBuf>,
}

impl Settings {
    /// The port of discovery where none is given.
    pub const DISCOVERY_PORT: u16 = 27_320;
    /// The multicast group where endpoints meet by default.
    pub const DISCOVERY_ADDRESS: SocketAddr =
        SocketAddr::new(IpAddr::V4(Ipv4Addr::new(239, 192, 137, 1)), Self::DISCOVERY_PORT);
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            network_id: NetworkId::default(),
            endpoint_id: None,
            endpoint_name: None,
            listen_address: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
            listen_interface: None,
            discovery_targets: vec![Self::DISCOVERY_ADDRESS],
            discovery_listen_address: Some(Self::DISCOVERY_ADDRESS),
            discovery_interval: Duration::from_secs(1),
            discovery_timeout_multiplier: 2.0,
            memory_budget_bytes: Config::DEFAULT_MEMORY_BUDGET,
            caches: Vec::new(),
            network_key: None,
            identity_file: None,
            trusted_peers: None,
        }
    }
}

/// Sets [`Settings`] in code, one call for each. Nothing is checked before the endpoint starts.
///
/// To let the environment decide what the code does not, begin with `Builder::from(Settings::from_env()?)`.
///
/// ```
/// use glue_endpoint::{Builder, Settings};
///
/// let builder = Builder::new().network_id(7).endpoint_name("lamp").discovery_target("10.0.0.1:27320".parse()?);
/// assert_eq!(builder.settings().endpoint_name.as_deref(), Some("lamp"));
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[must_use = "a builder does nothing until the endpoint is started"]
pub struct Builder {
    settings: Settings,
    /// The list of targets is the application's own: what was there before is gone.
    own_targets: bool,
}

impl Builder {
    /// Starts from the defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets [`Settings::network_id`].
    pub fn network_id(mut self, id: i64) -> Self {
        self.settings.network_id = NetworkId(id);
        self
    }

    /// Sets [`Settings::endpoint_id`].
    pub fn endpoint_id(mut self, id: EndpointId) -> Self {
        self.settings.endpoint_id = Some(id);
        self
    }

    /// Sets [`Settings::endpoint_name`].
    pub fn endpoint_name(mut self, name: impl Into<String>) -> Self {
        self.settings.endpoint_name = Some(name.into());
        self
    }

    /// Sets [`Settings::listen_address`].
    pub fn listen_address(mut self, address: SocketAddr) -> Self {
        self.settings.listen_address = address;
        self
    }

    /// Sets [`Settings::listen_interface`]: its name, or one of its IP addresses as text.
    pub fn listen_interface(mut self, interface: impl Into<String>) -> Self {
        self.settings.listen_interface = Some(interface.into());
        self
    }

    /// Adds to [`Settings::discovery_targets`]. The first call replaces what was there before: the default, or what the
    /// environment said.
    pub fn discovery_target(mut self, target: SocketAddr) -> Self {
        if !self.own_targets {
            self = self.rendezvous();
        }
        self.settings.discovery_targets.push(target);
        self
    }

    /// Empties [`Settings::discovery_targets`]: the endpoint announces nothing by itself, and introduces those to each
    /// other who announce to it.
    pub fn rendezvous(mut self) -> Self {
        self.settings.discovery_targets.clear();
        self.own_targets = true;
        self
    }

    /// Sets [`Settings::discovery_listen_address`]: an address, or `None`.
    pub fn discovery_listen_address(mut self, address: impl Into<Option<SocketAddr>>) -> Self {
        self.settings.discovery_listen_address = address.into();
        self
    }

    /// Sets [`Settings::discovery_interval`].
    pub fn discovery_interval(mut self, interval: Duration) -> Self {
        self.settings.discovery_interval = interval;
        self
    }

    /// Sets [`Settings::discovery_timeout_multiplier`].
    pub fn discovery_timeout_multiplier(mut self, multiplier: f64) -> Self {
        self.settings.discovery_timeout_multiplier = multiplier;
        self
    }

    /// Sets [`Settings::memory_budget_bytes`].
    pub fn memory_budget_bytes(mut self, bytes: usize) -> Self {
        self.settings.memory_budget_bytes = bytes;
        self
    }

    /// Adds to [`Settings::caches`].
    pub fn cache(mut self, pattern: impl Into<String>, budget: impl Into<Option<usize>>) -> Self {
        self.settings.caches.push((pattern.into(), budget.into()));
        self
    }

    /// Sets [`Settings::network_key`].
    pub fn network_key(mut self, key: impl Into<Option<NetworkKey>>) -> Self {
        self.settings.network_key = key.into();
        self
    }

    /// Sets [`Settings::identity_file`].
    pub fn identity_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.identity_file = Some(path.into());
        self
    }

    /// Sets [`Settings::trusted_peers`].
    pub fn trusted_peers(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.trusted_peers = Some(path.into());
        self
    }

    /// What has been set so far.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }
}

/// Starts from these settings instead of the defaults.
impl From<Settings> for Builder {
    fn from(settings: Settings) -> Self {
        Self { settings, own_targets: false }
    }
}

#[cfg(test)]
mod tests;
