//! The gateway as a whole: routers, workers and clients in this process, on the loopback.

mod agent;
mod common;
mod failure;
mod fidelity;
mod hostile;
mod operations;
mod processes;
