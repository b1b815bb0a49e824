//! Holds TCP sockets of clients, and shares their data among upstream services.

mod counters;
mod demux;
mod directory;
mod dispatch;
mod distribution;
pub mod file;
mod framing;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod glue;
mod grpc;
mod hub;
mod lane;
mod limits;
mod listener;
mod log_level;
mod management;
mod outbox;
mod places;
mod proxy;
mod settings;
mod socket;
pub mod test_server;
mod time;
mod tls;
mod topics;
mod upstream;
mod upstreams;
pub mod wire;

pub use demux::{Config, Demux, Listen, Management, StartError};
pub use distribution::Distribution;
pub use framing::{Around, Framing, TooLong};
pub use glue::GlueError;
pub use lane::Confirm;
pub use limits::Limits;
pub use log_level::LogLevel;
pub use settings::{Settings, SlowReader};
pub use tls::TlsFiles;
pub use upstream::{ClientId, ClientIdError, Everyone, Happening, Received, Upstream};
pub use upstreams::{AddRefused, GrpcUpstream};
