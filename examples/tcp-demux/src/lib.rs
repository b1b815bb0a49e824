//! Holds TCP sockets of clients, and shares their data among upstream services.

mod counters;
mod demux;
mod directory;
mod dispatch;
mod distribution;
mod framing;
mod glue;
mod grpc;
mod hub;
mod lane;
mod listener;
mod management;
mod outbox;
mod settings;
mod socket;
pub mod test_server;
mod time;
mod topics;
mod upstream;
mod upstreams;
pub mod wire;

pub use demux::{Config, Demux, Listen, Management, StartError};
pub use distribution::Distribution;
pub use framing::{Framing, TooLong};
pub use glue::GlueError;
pub use lane::Confirm;
pub use settings::{Settings, SlowReader};
pub use upstream::{ClientId, ClientIdError, Everyone, Happening, Received, Upstream};
pub use upstreams::{AddRefused, GrpcUpstream};
