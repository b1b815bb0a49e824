//! The gateway as a whole: routers, workers and clients in this process, on the loopback.
#![cfg(test)]

mod agent;
mod choice;
mod common;
mod failure;
mod fidelity;
mod hostile;
mod operations;
mod processes;
#[cfg(feature = "s3")]
mod s3;
