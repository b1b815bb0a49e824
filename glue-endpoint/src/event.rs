//! What goes into the engine and what comes out of it.

use glue_net::{Interface, PeerId};
use glue_topics::Delivery;

/// What a driver or an application hands to the engine without waiting for an answer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Command {
    /// The table of local interfaces.
    Interfaces(Vec<Interface>),
    /// Say goodbye.
    Leave,
    /// The application has taken what came from a peer.
    Taken {
        /// The peer.
        peer: PeerId,
        /// How much, see [`glue_topics::Batch::bytes`].
        bytes: usize,
    },
}

/// What the engine tells.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// Messages for subscriptions.
    Delivery(Delivery),
    /// [`Engine::drain`](crate::Engine::drain) is over.
    Drained {
        /// Whether all was acknowledged or has expired.
        complete: bool,
    },
    /// A change among the peers.
    Discovery(glue_discovery::Event),
    /// Something about topics.
    Topics(glue_topics::Event),
    /// A queue has room again: publishers that were held back may try again.
    Writable,
}

impl From<glue_topics::Event> for Event {
    fn from(event: glue_topics::Event) -> Self {
        Self::Topics(event)
    }
}
