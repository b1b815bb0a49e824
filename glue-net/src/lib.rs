//! What every layer of glue shares: identifiers, time, seeded randomness, the [`Node`] seam between protocol and
//! driver, and the [`wire`]. With feature `driver` also the real sockets.
//!
//! Nothing here decides protocol behaviour.

mod buffers;
mod chain;
#[cfg(feature = "driver")]
pub mod driver;
mod gauge;
mod id;
mod node;
mod payload;
mod rng;
mod time;
pub mod wire;

pub use buffers::Buffers;
pub use chain::{Chain, FrozenChain, Mark, copy_to};
pub use gauge::{Gauge, Held};
pub use id::{EndpointId, Incarnation, NetworkId, ParseEndpointIdError, PeerId};
pub use node::{Interface, Node, Transmit, Via};
pub use payload::{Content, Payload, Priority, Skip};
pub use rng::Rng;
pub use time::{Instant, WallClock, WallTime};
