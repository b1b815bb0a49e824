//! Cut and join: messages of any length in datagrams of a few.
//!
//! [`Fragment`] is what transport carries: a whole message, or a piece of one, cut when it is sent, to the length that
//! the datagram then has left. [`Joiner`] puts the pieces together again within a memory budget. Pure.

mod classic;
mod config;
mod fragment;
mod joiner;
mod partial;
mod stats;

pub use config::Config;
pub use fragment::Fragment;
pub use joiner::{Joined, Joiner};
pub use stats::Stats;

#[cfg(test)]
mod tests;
