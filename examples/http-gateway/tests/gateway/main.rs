//! The gateway as a whole: routers, workers and clients in this process, on the loopback.

mod common;
mod failure;
mod fidelity;
