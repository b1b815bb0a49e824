//! Proof on real hosts: processes with real endpoints in network namespaces, random faults, and a checker of what they logged.
//!
//! - [`publisher`] and [`subscriber`] are the processes. What they log: [`mod@line`], [`journal`].
//! - [`impair`] is a switch between the hosts that does to datagrams what bad networks do; [`frame`] knows datagrams, and
//!   [`wire`] is the switch on real cables.
//! - [`check`] reads the logs ([`life`]) and says what is not as promised.
//! - [`run`] makes hosts ([`lab`], [`lineup`]) and does to them what [`plan`] draws from a seed.
//! - [`soak`] lets processes come and go for hours, and says whether what the others hold grows ([`sample`]).

pub mod check;
pub mod clock;
pub mod error;
pub mod frame;
pub mod impair;
pub mod interrupt;
pub mod journal;
pub mod lab;
pub mod life;
pub mod line;
pub mod lineup;
pub mod node;
pub mod payload;
pub mod plan;
pub mod process;
pub mod publisher;
pub mod run;
pub mod sample;
pub mod slope;
pub mod soak;
pub mod subscriber;
pub mod topics;
pub mod wire;
