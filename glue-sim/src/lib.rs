//! A seeded network in virtual time for nodes that implement [`glue_net::Node`].
//!
//! A [`World`] holds nodes and the links between them, and runs them as fast as the processor can: no socket, no
//! thread, no clock. Everything random follows from one seed, so a run repeats exactly, on any machine;
//! [`World::trace_hash`] proves it.
//!
//! ```
//! use std::net::SocketAddr;
//! use std::time::Duration;
//!
//! use bytes::Bytes;
//! use glue_net::{Chain, Instant, Node, Transmit, Via};
//! use glue_sim::{Action, Host, Link, World};
//!
//! /// Sends what it is told to, and tells what it receives.
//! #[derive(Default)]
//! struct Postman {
//!     to_send: Vec<(SocketAddr, Bytes)>,
//!     received: Vec<Bytes>,
//! }
//!
//! impl Node for Postman {
//!     type Command = (SocketAddr, Bytes);
//!     type Event = Bytes;
//!     fn handle_command(&mut self, _: Instant, letter: (SocketAddr, Bytes)) {
//!         self.to_send.push(letter);
//!     }
//!     fn handle_datagram(&mut self, _: Instant, _: SocketAddr, datagram: Bytes) {
//!         self.received.push(datagram);
//!     }
//!     fn handle_timeout(&mut self, _: Instant) {}
//!     fn poll_transmit(&mut self, _: Instant, out: &mut Chain) -> Option<Transmit> {
//!         let (to, letter) = self.to_send.pop()?;
//!         out.put(&letter);
//!         Some(Transmit { to, len: letter.len(), via: Via::Data })
//!     }
//!     fn poll_timeout(&self) -> Option<Instant> {
//!         None
//!     }
//!     fn poll_event(&mut self) -> Option<Bytes> {
//!         self.received.pop()
//!     }
//! }
//!
//! glue_sim::check("letters_arrive", glue_sim::seeds(20), |seed| {
//!     let mut world = World::<Postman>::new(seed);
//!     let alice = world.add_node(Host::default(), |_| Postman::default());
//!     let bob = world.add_node(Host::default(), |_| Postman::default());
//!     world.set_default_link(Link::perfect().latency(Duration::from_millis(3)));
//!
//!     let letter = (world.address(bob), Bytes::from_static(b"hello"));
//!     world.after(Duration::from_millis(5), Action::Isolate(bob)).after(Duration::from_millis(10), Action::Heal);
//!     world.after(Duration::from_millis(7), Action::Command(alice, letter.clone()));
//!     world.after(Duration::from_millis(20), Action::Command(alice, letter));
//!
//!     assert!(world.run_until_quiet(Duration::from_secs(1), Duration::from_secs(10)));
//!     let at = Instant::ZERO + Duration::from_millis(23);
//!     assert_eq!(world.take_events(bob), [(at, Bytes::from_static(b"hello"))]);
//!     assert_eq!(world.stats().cut, 1);
//! });
//! ```
//!
//! Reading order: `world.rs` (the loop), `network.rs` (what becomes of a datagram), `path.rs` (one direction between two
//! nodes), `check.rs` (many seeds).

mod action;
mod check;
mod clock;
mod host;
mod hostile;
mod link;
mod nat;
mod network;
mod path;
mod queue;
mod shape;
mod slot;
mod trace;
mod world;

pub use action::Action;
pub use check::{Seeds, check, seeds};
pub use host::{Context, DISCOVERY_GROUP, DISCOVERY_PORT, Host, INTERFACE, NodeId, Receive};
pub use hostile::{Hostile, Trick};
pub use link::{Bursts, Link, Sieve, Sort};
pub use nat::Nat;
pub use shape::Shape;
pub use trace::{Fate, Record, Stats};
pub use world::World;
