//! The endpoint: share data by topic with whoever is on the network, without addresses, ports or a broker.
//!
//! [`Endpoint`] is what applications use. [`Engine`] is the same without sockets, threads or clock: the protocol crates
//! wired, for simulators and other drivers.

mod block;
mod cache;
mod calls;
mod config;
mod endpoint;
mod engine;
mod env;
mod event;
mod identity;
mod inbox;
mod memory;
mod notice;
mod options;
mod presence;
mod private;
mod publisher;
mod receipt;
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
mod trust_file;
mod typed;

pub use cache::Cache;
pub use config::{Config, ConfigError};
pub use endpoint::{Endpoint, StartError};
pub use engine::Engine;
pub use env::{EnvError, UnknownVariable, Variable};
pub use event::{Command, Event, Pace};
pub use glue_discovery::{ClashKind, DownReason, PeerInfo, Wire};
pub use glue_net::driver::BindError;
pub use glue_net::{EndpointId, Incarnation, NetworkId, WallTime};
pub use glue_security::{Credentials, Identity, KeyError, NetworkKey, PublicKey, Random};
pub use glue_topics::{
    AnswerError, CacheError, CacheId, CacheStats, Data, Filter, Gap, GapReason, Gaps, History, Holder, Item, Message,
    NameError, Overflow, ParseTrustError, Permission, Permissions, Policy, Priority, PublishError, PublisherOptions,
    Received, Reliability, Reply, RequestError, Room, ServeError, Source, SubscribeError, SubscribeOptions, TokenError,
    TokenEvent, TopicStats, Trust, TrustProblem, WillError, Wish,
};
pub use glue_transport::PeerStats;
pub use identity::{IdentityError, new_network_key};
pub use memory::Memory;
pub use notice::{Notice, Notices};
pub use presence::{Token, TokenEvents, Will};
pub use private::{Refusal, Security};
pub use publisher::{Publisher, TryPublishError};
pub use receipt::Receipt;
pub use report::{PeerReport, Report, TopicReport};
pub use request::Replies;
pub use responder::{CallbackResponder, Request, Responder};
pub use settings::{Builder, Settings};
pub use stats::Stats;
pub use subscription::{CallbackSubscription, Subscription};
pub use trust_file::TrustFileError;
pub use typed::{
    Codec, CodecError, DecodeFailure, Json, MessagePack, TypedItem, TypedMessage, TypedPublishError, TypedPublisher,
    TypedSubscription,
};

/// The code in README.md compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
