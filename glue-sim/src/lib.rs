#![doc = include_str!("../README.md")]
//!
//! # Reading order
//!
//! `world.rs` (the loop), `network.rs` (what becomes of a datagram), `path.rs` (one direction between two nodes), `check.rs` (many
//! seeds), `scenario/mod.rs` (faults as data).

mod action;
mod check;
mod clock;
mod host;
mod hostile;
mod link;
mod nat;
mod network;
mod path;
mod queue;
mod scenario;
mod shape;
mod slot;
mod trace;
mod world;

pub use action::Action;
pub use check::{Seeds, check, seeds};
pub use host::{Context, DISCOVERY_GROUP, DISCOVERY_PORT, Host, INTERFACE, NodeId, Receive};
pub use hostile::{Hostile, Trick};
pub use link::{Bursts, Link, Sieve, Sort};
pub use nat::Nat;
pub use scenario::{
    Change, Fault, Impairment, ParseScenarioError, Player, Recipe, Scenario, Scope, Step, check_scenarios, shrink,
};
pub use shape::Shape;
pub use trace::{Fate, Record, Stats};
pub use world::World;
