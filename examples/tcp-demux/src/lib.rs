//! Holds TCP sockets of clients, and shares their data among upstream services.

mod counters;
mod demux;
mod directory;
mod dispatch;
mod distribution;
mod framing;
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
mod upstreams;
pub mod wire;

pub use demux::{Config, Demux, Listen, Management, StartError};
pub use distribution::Distribution;
pub use framing::{Framing, TooLong};
pub use lane::Confirm;
pub use settings::{Settings, SlowReader};
pub use upstreams::{AddRefused, GrpcUpstream};
