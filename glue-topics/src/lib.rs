//! Topics: names, types, interest, sequence, order, expiry. Pure: no clock, no sockets.
//!
//! [`Topics`] lays what the application publishes into bundles, for those peers that are interested, and puts what peers
//! send in order, for the subscriptions that match. It gives out [`Cargo`], to be cut into datagrams and carried
//! reliably, in any order, and takes it in again at the other side.
//!
//! ```
//! use std::time::Duration;
//! use glue_net::{Chain, Content, EndpointId, Incarnation, Instant, PeerId, WallTime};
//! use glue_topics::{Config, EndpointName, Item, PeerFacts, Topics, Wire};
//!
//! fn carry(from: (PeerId, &mut Topics), to: &mut Topics, now: Instant) {
//!     while let Some((_, cargo)) = from.1.poll_cargo() {
//!         let (mut head, mut body) = (Vec::new(), Chain::default());
//!         cargo.encode_head(now, &mut head);
//!         cargo.encode_body(0..cargo.body_len(), &mut body);
//!         to.handle_cargo(now, from.0, head.into(), body.to_vec().into());
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (now, wall, incarnation) = (Instant::ZERO, WallTime::default(), Incarnation(1));
//! let (alice, bob) = (EndpointId::from_integer(1), EndpointId::from_integer(2));
//! let mut publisher = Topics::new(Config::default(), alice, incarnation, "Alice")?;
//! let mut subscriber = Topics::new(Config::default(), bob, incarnation, "Bob")?;
//! let facts = |id, name| {
//!     let name = EndpointName::new(name);
//!     PeerFacts { id, incarnation, name, wire: Wire::Native, permissions: None, public_key: None }
//! };
//! publisher.handle_peer_up(PeerId(0), &facts(bob, "Bob"));
//! subscriber.handle_peer_up(PeerId(0), &facts(alice, "Alice"));
//!
//! subscriber.subscribe("greetings", "text")?;
//! carry((PeerId(0), &mut subscriber), &mut publisher, now);
//! let greetings = publisher.publication("greetings", "text")?;
//! publisher.publish(now, wall, greetings, Duration::from_millis(50), "Hello, world.")?;
//! publisher.close_bundles();
//! carry((PeerId(0), &mut publisher), &mut subscriber, now);
//!
//! let mut delivery = subscriber.poll_delivery().unwrap();
//! let Some(Item::Message(message)) = delivery.batch.next(now) else { panic!("no message") };
//! assert_eq!((&*message.endpoint_name, &*message.payload), ("Alice", &b"Hello, world."[..]));
//! # Ok(())
//! # }
//! ```

mod batch;
mod bundle;
mod cache;
mod calls;
mod cargo;
mod carried;
mod catalogue;
mod classic;
mod config;
mod control;
mod cursors;
mod deadlines;
mod few;
mod filter;
mod groups;
mod handing;
mod history;
mod incoming;
mod interest;
mod joining;
mod letter;
mod lookup;
mod message;
mod mismatches;
mod name;
mod names;
mod offers;
mod output;
mod peer;
mod permissions;
mod presence;
mod publication;
mod publications;
mod publish;
mod qos;
mod ranges;
mod receipt;
mod receive;
mod remembered;
mod replay;
mod resting;
mod run;
mod seek;
mod sequencer;
mod serving;
mod signing;
mod stats;
mod stream;
mod subscriptions;
#[cfg(test)]
mod tests;
mod topics;
mod tracks;
mod trust;
mod will;

pub use batch::Batch;
pub use cache::{CacheError, CacheId, CacheStats};
pub use calls::{Ask, CallEvent, CallId, Reach, Reply, RequestError};
pub use cargo::Cargo;
pub use config::{Config, ConfigError};
pub use filter::{Filter, Share};
pub use glue_net::Priority;
pub use history::{History, Wish};
pub use message::{Data, Gap, GapReason, Item, Message, Source};
pub use name::{BRIDGE_TYPE, EndpointName, NameError, TopicName, TypeName};
pub use output::{Delivery, Event};
pub use peer::{PeerFacts, Wire};
pub use permissions::{Permission, Permissions};
pub use presence::{Holder, TokenChanges, TokenError, TokenEvent};
pub use publications::{PublicationId, PublishError};
pub use qos::{Overflow, Policy, PublisherOptions, Reliability, Room, SubscribeOptions};
pub use receipt::Receipt;
pub use serving::{Answer, AnswerError, Asked, RequestId, ServeError, ServiceId};
pub use stats::{Gaps, Received, Stats, TopicStats};
pub use subscriptions::{SubscribeError, SubscriptionId};
pub use topics::Topics;
pub use trust::{ParseTrustError, Trust, TrustProblem};
pub use will::{LastWill, WillError, WillId};
