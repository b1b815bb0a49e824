//! Whole engines on the simulated network, and what they promise, checked.
//!
//! [`Cluster`] runs endpoints that publish to and subscribe from each other. It keeps the books: what was published, what
//! each subscriber got, in which order, and what it was told is missing.

mod books;
mod cluster;

pub use books::Books;
pub use cluster::{Cluster, Member, Plan};
