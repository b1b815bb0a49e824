//! The endpoint: share data by topic with whoever is on the network, without addresses, ports or a broker.
//!
//! [`Endpoint`] is what applications use. [`Engine`] is the same without sockets, threads or clock: the protocol crates
//! wired, for simulators and other drivers.

mod block;
mod calls;
mod config;
mod endpoint;
mod engine;
mod env;
mod event;
mod memory;
mod notice;
mod publisher;
mod report;
mod request;
mod responder;
mod roster;
mod settings;
mod shared;
mod slow;
mod stats;
mod subscription;
mod switchboard;

pub use config::{Config, ConfigError};
pub use endpoint::{Endpoint, StartError};
pub use engine::Engine;
pub use env::{EnvError, UnknownVariable, Variable};
pub use event::{Command, Event, Pace};
pub use glue_discovery::{ClashKind, DownReason, PeerInfo, Wire};
pub use glue_net::driver::BindError;
pub use glue_net::{EndpointId, Incarnation, NetworkId, WallTime};
pub use glue_topics::{
    AnswerError, Data, Filter, Gap, GapReason, Gaps, Item, Message, NameError, PublishError, Received, Reply,
    RequestError, ServeError, Source, SubscribeError, TopicStats,
};
pub use glue_transport::PeerStats;
pub use memory::Memory;
pub use notice::{Notice, Notices};
pub use publisher::{Publisher, TryPublishError};
pub use report::{PeerReport, Report, TopicReport};
pub use request::Replies;
pub use responder::{CallbackResponder, Request, Responder};
pub use settings::{Builder, Settings};
pub use stats::Stats;
pub use subscription::{CallbackSubscription, Subscription};

/// The code in README.md compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
