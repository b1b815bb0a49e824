//! What discovery is told at the start.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use glue_net::wire::classic;
use glue_net::{EndpointId, Incarnation, NetworkId};
use glue_security::PublicKey;

/// Who we are, where we announce, and the limits of what peers may make us keep or send.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Config {
    /// Announcements of other networks are passed over. Default 1.
    pub network: NetworkId,
    /// Our id. Default: all zero; every endpoint of a network needs its own.
    pub id: EndpointId,
    /// Our name, 1 to 1,024 bytes, unique on the network. Default `Endpoint_<id>`.
    pub name: String,
    /// Which life of this endpoint this is; a later one must be larger. Default 0, which stands for a classic peer: set
    /// it from the wall clock.
    pub incarnation: Incarnation,
    /// By what members of a private network know us. Default `None`: the network is not private. With it only endpoints that
    /// announce their keys are taken in, so that none is that speaks the reference's wire.
    pub public_key: Option<PublicKey>,
    /// How often we announce ourselves. Default 1 s; 10 ms to 1 h. Each time costs one datagram of about 500 bytes for
    /// each unicast target, and one for each interface and multicast target; twice that while MessagePack peers are
    /// heard. A group of more than [`Config::steady_endpoints`] is announced to less often.
    pub announce_interval: Duration,
    /// Up to so many endpoints, we among them, [`Config::announce_interval`] is kept. Beyond, it grows with their number,
    /// so that all together announce no more often, until it is four times as long. Announcements say so, so nobody
    /// expires; a death takes as much longer to be seen. Default 24: with 32 endpoints a death is seen within 2.7 s, with
    /// 96 and more within 8 s. At least 1; `usize::MAX`: the interval never grows.
    pub steady_endpoints: usize,
    /// A peer expires when nothing was heard from it for its own announce interval times this. Default 2.0; 1.0 to
    /// 1,000. Below about 1.3 a single lost announcement makes a classic peer expire.
    pub timeout_multiplier: f64,
    /// Multicast groups and unicast addresses that we announce to. Default none: a rendezvous, which only answers.
    pub targets: Vec<SocketAddr>,
    /// The port of our data socket. No default: it must be set.
    pub data_port: u16,
    /// The address that our data socket is bound to; `None` (default) if it takes data on every interface.
    pub data_ip: Option<IpAddr>,
    /// Peers known at once. Default 1,024; at least 1. Each costs about 1 KiB, and 200 bytes for each of its addresses.
    /// Newcomers beyond are refused until a peer leaves or expires.
    pub max_peers: usize,
    /// Expired peers whose [`glue_net::PeerId`] is remembered should they return, and departed ones that are not revived
    /// by late copies of their announcements. Default 1,024; each costs about 100 bytes. The oldest is forgotten.
    pub max_remembered: usize,
    /// Data addresses kept for each peer. Default 8; at least 1. The one heard longest ago is dropped.
    pub max_addresses: usize,
    /// Newcomers on a multicast group that are greeted by unicast in one announce interval. Default 32. Beyond it one
    /// early announcement to the group greets all of them.
    pub max_greetings: usize,
    /// Our own announcements sent by unicast in answer to peers, in one announce interval. Default 2,048: the two that
    /// each of 1,024 peers of a rendezvous may have.
    pub max_answers: usize,
    /// Other peers' announcements that are passed on in answer to one unicast announcement of a peer that knows them
    /// already. Default 64. With more peers than this the list goes out in turns, and the announce intervals in it are
    /// stretched accordingly, so that nobody expires between turns. A new peer gets all of them at once, and so does
    /// everyone whenever the number of peers has doubled.
    pub max_forwards: usize,
    /// Announcements passed on in one announce interval, to all peers together; at least 1. More of them wait for the
    /// next interval. Default 131,072, twice what the turns of 1,024 peers take; sending that many takes one core about
    /// half a second.
    pub forward_budget: usize,
    /// Datagrams (or lists of them) waiting to be polled. Default 4,096; at least 1; each costs about 200 bytes. New
    /// ones are dropped while it is full; what matters among them is repeated at the next announcement.
    pub max_jobs: usize,
    /// Events waiting to be polled before announcements are no longer read. Default 4,096; at least 1. Expiry may add
    /// one for each peer to it.
    pub max_events: usize,
    /// Different clashes remembered so as not to report each again with every announcement. Default 64. While it is
    /// full, further ones are only counted.
    pub max_clashes: usize,
    /// A clash that lasts is reported again after this. Default 60 s.
    pub clash_interval: Duration,
}

impl Config {
    /// Most bytes of an endpoint's name.
    pub const MAX_NAME_BYTES: usize = classic::MAX_NAME_BYTES;
    /// What an announce interval may be. A peer's is brought into it, ours must be in it.
    pub const INTERVALS: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(3_600);

    /// The defaults for this endpoint.
    #[must_use]
    pub fn new(id: EndpointId, name: impl Into<String>) -> Self {
        Self { id, name: name.into(), ..Self::default() }
    }

    /// Checks every field against its range.
    ///
    /// # Errors
    /// [`ConfigError`] that tells the first field that is out of range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let name_bytes = self.name.len();
        if !(1..=Self::MAX_NAME_BYTES).contains(&name_bytes) {
            return Err(ConfigError::Name { bytes: name_bytes });
        }
        if !Self::INTERVALS.contains(&self.announce_interval) {
            return Err(ConfigError::AnnounceInterval { got: self.announce_interval });
        }
        if !(1.0..=1_000.0).contains(&self.timeout_multiplier) {
            return Err(ConfigError::TimeoutMultiplier { got: self.timeout_multiplier });
        }
        if let Some(&target) = self.targets.iter().find(|t| t.port() == 0 || t.ip().is_unspecified()) {
            return Err(ConfigError::Target { target });
        }
        if self.data_port == 0 || self.data_ip.is_some_and(|ip| ip.is_unspecified() || ip.is_multicast()) {
            return Err(ConfigError::DataAddress { ip: self.data_ip, port: self.data_port });
        }
        let limits = [
            ("steady_endpoints", self.steady_endpoints),
            ("max_peers", self.max_peers),
            ("max_addresses", self.max_addresses),
            ("max_forwards", self.max_forwards),
            ("forward_budget", self.forward_budget),
            ("max_jobs", self.max_jobs),
            ("max_events", self.max_events),
        ];
        match limits.into_iter().find(|(_, limit)| *limit == 0) {
            Some((limit, _)) => Err(ConfigError::Zero { limit }),
            None => Ok(()),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        let id = EndpointId::default();
        Self {
            network: NetworkId::default(),
            id,
            name: format!("Endpoint_{id}"),
            incarnation: Incarnation::default(),
            public_key: None,
            announce_interval: Duration::from_secs(1),
            steady_endpoints: 24,
            timeout_multiplier: 2.0,
            targets: Vec::new(),
            data_port: 0,
            data_ip: None,
            max_peers: 1_024,
            max_remembered: 1_024,
            max_addresses: 8,
            max_greetings: 32,
            max_answers: 2_048,
            max_forwards: 64,
            forward_budget: 131_072,
            max_jobs: 4_096,
            max_events: 4_096,
            max_clashes: 64,
            clash_interval: Duration::from_secs(60),
        }
    }
}

/// Which field of a [`Config`] is out of range. Nothing was started.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The name is empty or too long.
    #[error("an endpoint name has 1 to 1024 bytes, this one has {bytes}")]
    Name {
        /// Bytes of the name.
        bytes: usize,
    },
    /// The announce interval is too short or too long.
    #[error("the announce interval is 10 ms to 1 h, not {got:?}")]
    AnnounceInterval {
        /// The value.
        got: Duration,
    },
    /// The timeout multiplier is too small, too large or no number.
    #[error("the timeout multiplier is 1.0 to 1000.0, not {got}")]
    TimeoutMultiplier {
        /// The value.
        got: f64,
    },
    /// A target has port 0 or no specific address.
    #[error("{target} is no address to announce to")]
    Target {
        /// The value.
        target: SocketAddr,
    },
    /// The data port is 0, or the data address is not one that others can send to.
    #[error("{ip:?} port {port} is no address that others can send data to")]
    DataAddress {
        /// The value of `data_ip`.
        ip: Option<IpAddr>,
        /// The value of `data_port`.
        port: u16,
    },
    /// A limit is 0, with which discovery can not work.
    #[error("{limit} is at least 1")]
    Zero {
        /// The field.
        limit: &'static str,
    },
}
