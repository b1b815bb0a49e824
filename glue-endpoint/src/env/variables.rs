//! The table of variables.

/// An environment variable that is read; see [`Settings::VARIABLES`](crate::Settings::VARIABLES).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// What holds without it: a value that could be given as well, or a description in parentheses.
    pub default: &'static str,
    /// What it sets.
    pub meaning: &'static str,
    /// Which values it takes.
    pub expected: &'static str,
}

pub(super) const PREFIX: &str = "GLUE_";

/// Names that our tests and binaries read by themselves.
pub(super) const OTHERS: &[&str] = &["GLUE_LOG", "GLUE_SEED", "GLUE_SEEDS", "GLUE_SIM_PRIVATE"];

pub(super) const ALL: &[Variable] = &[
    NETWORK_ID,
    ENDPOINT_ID,
    ENDPOINT_NAME,
    LISTEN_ADDRESS,
    LISTEN_INTERFACE,
    TARGET_ADDRESS,
    DISCOVERY_LISTEN_ADDRESS,
    RATE,
    MULTIPLIER,
    MEMORY_BUDGET,
    CACHE,
    NETWORK_KEY,
    IDENTITY_FILE,
    TRUSTED_PEERS,
];

pub(super) const NETWORK_ID: Variable = Variable {
    name: "GLUE_NETWORK_ID",
    default: "1",
    meaning: "Endpoints of other networks are ignored.",
    expected: "an integer from -9223372036854775808 to 9223372036854775807",
};

pub(super) const ENDPOINT_ID: Variable = Variable {
    name: "GLUE_ENDPOINT_ID",
    default: "(random)",
    meaning: "The identity of the endpoint, unique on the network.",
    expected: "a KSUID (27 characters of 0-9, A-Z, a-z) or a 64-bit integer",
};

pub(super) const ENDPOINT_NAME: Variable = Variable {
    name: "GLUE_ENDPOINT_NAME",
    default: "(Endpoint_<id>)",
    meaning: "The name of the endpoint, unique on the network.",
    expected: "1 to 1024 bytes of text",
};

pub(super) const LISTEN_ADDRESS: Variable = Variable {
    name: "GLUE_LISTEN_ADDRESS",
    default: "0.0.0.0:0",
    meaning: "Where data is received; port 0 is a free port.",
    expected: "a unicast address as host:port, host (port 0) or :port (every interface)",
};

pub(super) const LISTEN_INTERFACE: Variable = Variable {
    name: "GLUE_LISTEN_INTERFACE",
    default: "(every multicast interface that is up, and the loopback)",
    meaning: "The only interface for multicast.",
    expected: "the name or an IP address of an interface",
};

pub(super) const TARGET_ADDRESS: Variable = Variable {
    name: "GLUE_DISCOVERY_TARGET_ADDRESS",
    default: "239.192.137.1:27320",
    meaning: "Where the endpoint announces itself; 0 is nowhere, which makes it a rendezvous.",
    expected: "0, or addresses as host:port or host (port 27320), separated by commas",
};

pub(super) const DISCOVERY_LISTEN_ADDRESS: Variable = Variable {
    name: "GLUE_DISCOVERY_LISTEN_ADDRESS",
    default: "239.192.137.1:27320",
    meaning: "Where announcements are heard.",
    expected: "an address as host:port, host (port 27320) or :port (every interface)",
};

pub(super) const RATE: Variable = Variable {
    name: "GLUE_DISCOVERY_RATE_MILLISECONDS",
    default: "1000",
    meaning: "How often the endpoint announces itself.",
    expected: "an integer from 10 to 3600000",
};

pub(super) const MULTIPLIER: Variable = Variable {
    name: "GLUE_DISCOVERY_RATE_TIMEOUT_MULTIPLIER",
    default: "2.0",
    meaning: "A peer is given up when it was silent for its announce interval times this.",
    expected: "a number from 1.0 to 1000.0",
};

pub(super) const MEMORY_BUDGET: Variable = Variable {
    name: "GLUE_MEMORY_BUDGET_BYTES",
    default: "268435456",
    meaning: "How much memory messages may take that are queued or wait to be received.",
    expected: "an integer of at least 33554432",
};

pub(super) const CACHE: Variable = Variable {
    name: "GLUE_CACHE",
    default: "(none)",
    meaning: "Topics of others whose messages are kept for those who missed them.",
    expected: "patterns of topics, each with =BYTES or without, separated by commas",
};

pub(super) const NETWORK_KEY: Variable = Variable {
    name: "GLUE_NETWORK_KEY",
    default: "(none: everything is in the clear)",
    meaning: "Makes the network private: only endpoints that have the same key are seen and heard, and nobody else reads.",
    expected: "32 bytes as base64 (44 characters) or hexadecimal (64 digits), the same for all; simple-endpoint keygen makes one",
};

pub(super) const IDENTITY_FILE: Variable = Variable {
    name: "GLUE_IDENTITY_FILE",
    default: "(none: another identity at each start)",
    meaning: "Where the secret key is kept by which members of a private network know the endpoint; made if there is none.",
    expected: "the path of a file",
};

pub(super) const TRUSTED_PEERS: Variable = Variable {
    name: "GLUE_TRUSTED_PEERS",
    default: "(none: all who have the network key)",
    meaning: "Which members of a private network are taken in, and what each may publish, subscribe to and cache; read again when it changes.",
    expected: "the path of a file with a public key on each line",
};
