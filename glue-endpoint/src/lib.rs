//! The endpoint: the siblings wired into one engine, and the API that applications use.

mod config;
mod engine;
mod event;
mod roster;
mod stats;

pub use config::{Config, ConfigError};
pub use engine::Engine;
pub use event::{Command, Event};
pub use stats::Stats;
