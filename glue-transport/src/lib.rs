//! Reliable payloads to a peer: packet numbers, ack ranges, round-trip times, loss recovery, congestion and flow
//! control, expiry. Pure: time, datagrams and randomness are arguments.
//!
//! It follows QUIC's recovery (RFC 9002): each datagram has a number that never repeats, acks carry ranges, and what a
//! lost packet carried is sent again in another packet. Unlike QUIC it carries payloads, not streams: each arrives
//! once, and none waits for another.
//!
//! [`Transport`] is usable alone, with any [`glue_net::Payload`].

mod backlog;
mod classic;
mod config;
mod congestion;
mod dedup;
mod flight;
mod frame;
mod inbox;
mod mtu;
mod native;
mod outbox;
mod packing;
mod path;
mod private;
mod ranges;
mod recovery;
mod room;
mod rtt;
mod session;
mod stats;
mod transport;
mod weight;

pub use config::Config;
pub use stats::{PeerStats, Stats};
pub use transport::{Event, Local, Remote, Transport};

#[cfg(test)]
mod tests;
