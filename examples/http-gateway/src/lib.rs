//! A reverse proxy without configuration. A [`Router`] takes HTTP in and passes each request over glue to a [`Worker`],
//! which needs no open port; neither knows an address of the other.

mod agent;
mod announcement;
mod body;
mod compress;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod headers;
mod hello;
mod launch;
mod link;
mod outgoing;
mod pem;
mod relay;
mod router;
mod stream;
mod transfer;
mod tunnel;
mod upgrade;
mod wire;
mod worker;

pub use agent::{Agent, AgentBody, Roots, RootsError, ServerBody, Target, TargetError};
pub use announcement::Announcement;
pub use body::{BodyError, Incoming};
pub use hello::Hello;
pub use launch::{LaunchError, Launched};
pub use pem::PemError;
pub use relay::{RelayConfig, RelayError};
pub use router::{
    Admin, Listening, ResponseBody, Router, RouterConfig, RouterError, Server, Strategy, TlsError, TlsFiles,
};
pub use transfer::{Compress, Transfer};
pub use worker::{Announcer, Serving, Worker, WorkerError};
