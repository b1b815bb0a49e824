//! Model checking: the real state machines of glue on a few nodes, under every order of events and faults that a bound
//! allows. Where the simulation (`glue-sim`) draws what happens from a seed, here nothing is drawn: [stateright] goes through
//! all that may happen, until no state is left that it has not seen.
//!
//! # What a state is
//! The protocol crates are pure: time and datagrams are arguments. So a state is the list of [`Choice`]s that led to it, and is
//! made again by doing them to new machines ([`replay`]). Two such lists are one state if the machines, what is under
//! way between them, what the bounds have left and what the checker has noted are the same, as their `Debug` shows them without
//! counters. That is all of a machine, so nothing is left out but what only counts.
//!
//! # What is checked
//! A [`World`] has promises that hold in each state (*always*), and one that holds when faults end: from each state, not only
//! from the last ones, the machines run on without faults and must come to where all is well. Each world also names what must have
//! been seen somewhere, so that no promise is kept because nothing happened. A promise that can not fail proves nothing, so
//! each is broken once by a [`Flaw`], and `tests/flaws.rs` wants to see the way that leads there.
//!
//! # Time
//! Time moves from one timer to the next ([`Choice::Tick`]). What is sent arrives at once, in order, unless it is lost, held
//! back or copied, which the bounds limit; what is held back may arrive at any later time.

mod caches;
mod discovery;
mod groups;
mod line;
mod plan;
pub mod replay;
mod topics;
mod transport;

pub use caches::Caches;
pub use discovery::Announcers;
pub use groups::Groups;
pub use plan::{Bounds, CHECKS, Check, Flaw, Plan};
pub use replay::{Broken, Report, World, check};
pub use transport::Senders;

/// What may happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Choice {
    /// The oldest thing under way arrives.
    Deliver,
    /// It is lost.
    Lose,
    /// It stays away until it is released.
    Hold,
    /// It arrives, and a copy stays away until it is released.
    Copy,
    /// One of those that stay away arrives.
    Release(u8),
    /// Time goes on to the next timer.
    Tick,
    /// A node is no more, without a word.
    Crash(u8),
    /// A node leaves, and says so.
    Leave(u8),
    /// A node starts, in its next life if it was there before.
    Start(u8),
    /// The first node forgets the second one's session, and meets it anew.
    Forget(u8, u8),
    /// A node's application publishes, or sends, its next message.
    Publish(u8),
    /// A node's application subscribes.
    Join(u8),
    /// A node's application is done with the oldest message it has.
    Finish(u8),
    /// Two nodes lose each other.
    Cut(u8, u8),
    /// They find each other again.
    Heal(u8, u8),
}
