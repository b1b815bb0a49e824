//! What may be changed while it runs.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::distribution::Distribution;

/// What is done with a socket whose queue is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum SlowReader {
    /// It is closed. The default: what a client gets has no holes.
    #[default]
    Close,
    /// It stays, and what finds no room is dropped and counted.
    Drop,
}

/// Limits and times, which hold for every socket at once when they are changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// How messages are shared among upstreams. Default sticky.
    pub distribution: Distribution,
    /// Sockets at one time. Default 10,000; at least 1. Each costs about 4 KiB while it is idle. Further ones are closed at
    /// once.
    pub max_sockets: usize,
    /// Sockets of one address at one time; of IPv6, a network of 64 bits is one address. Default zero: as many as there may be in
    /// all. Further ones are closed at once, those that are there stay.
    pub max_sockets_per_address: usize,
    /// Bytes in one message from a client. Default 64 KiB; 1 to 16 MiB. A longer one ends its socket.
    pub max_message_bytes: usize,
    /// Bytes that may wait to be written to one socket. Default 1 MiB; at least 1. A message that comes to an empty queue
    /// fits, whatever its length.
    pub max_queue_bytes: usize,
    /// What is done with a socket whose queue is full. Default: it is closed.
    pub slow_reader: SlowReader,
    /// A socket that neither sends nor is sent anything for so long is closed. Default zero: never.
    pub idle_timeout: Duration,
    /// A socket that takes nothing of what waits for it for so long is closed. Default 30 s; zero: never. Also how long the
    /// system waits for a client to acknowledge what was sent; that part holds for sockets that connect after a change.
    pub write_timeout: Duration,
    /// A client that has ended its sending side still gets what comes for it until nothing has come for so long. Default
    /// 2 s; any.
    pub half_closed_timeout: Duration,
    /// A socket is active if something was sent or received within that time. Default 30 s; any.
    pub active: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            distribution: Distribution::default(),
            max_sockets: 10_000,
            max_sockets_per_address: 0,
            max_message_bytes: 64 << 10,
            max_queue_bytes: 1 << 20,
            slow_reader: SlowReader::default(),
            idle_timeout: Duration::ZERO,
            write_timeout: Duration::from_secs(30),
            half_closed_timeout: Duration::from_secs(2),
            active: Duration::from_secs(30),
        }
    }
}
