//! What goes into the engine and what comes out of it.

use std::net::SocketAddr;

use glue_net::{EndpointId, Interface, PeerId};
use glue_topics::{CallEvent, Delivery};

use crate::private::Refusal;

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
    /// Something about requests.
    Call(CallEvent),
    /// Messages for subscriptions.
    Delivery(Delivery),
    /// [`Engine::drain`](crate::Engine::drain) is over.
    Drained {
        /// Whether all was acknowledged or has expired.
        complete: bool,
    },
    /// A change among the peers.
    Discovery(glue_discovery::Event),
    /// How a peer takes what is published has changed.
    Pace {
        /// The peer.
        peer: PeerId,
        /// Its id.
        id: EndpointId,
        /// Its name.
        name: String,
        /// How it takes it now.
        pace: Pace,
    },
    /// A datagram was refused, since the network is private, ours or the sender's. Told once a minute for each address, of 64
    /// at most.
    Refused {
        /// Where it came from.
        address: SocketAddr,
        /// Why.
        why: Refusal,
    },
    /// Something about topics.
    Topics(glue_topics::Event),
    /// A queue has room again: publishers that were held back may try again.
    Writable,
}

/// How a peer takes what is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pace {
    /// Its queue was full and it took nothing: nobody waits for it any more, and it misses what is published.
    Isolated,
    /// It still took nothing: its queue is dropped as well.
    Disconnected,
    /// It takes again, and gets what is published from now on.
    Recovered {
        /// How many messages were not queued for it meanwhile. It sees them as gaps.
        missed: u64,
    },
}

impl From<glue_topics::Event> for Event {
    fn from(event: glue_topics::Event) -> Self {
        Self::Topics(event)
    }
}
