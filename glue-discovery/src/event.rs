//! What discovery tells the engine.

use std::net::SocketAddr;
use std::time::Duration;

use glue_net::wire::classic::Codec;
use glue_net::{EndpointId, Incarnation, PeerId};
use glue_security::PublicKey;

/// A change among the peers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A peer is there.
    PeerUp {
        /// Its number, until [`Event::PeerDown`] with the same number.
        peer: PeerId,
        /// What it announced.
        info: PeerInfo,
    },
    /// A peer is no longer there.
    PeerDown {
        /// Its number. A peer that expired and returns in the same life gets it again.
        peer: PeerId,
        /// Its id.
        id: EndpointId,
        /// Its name.
        name: String,
        /// Whether it speaks the native data wire.
        native: bool,
        /// Why.
        reason: DownReason,
    },
    /// A peer takes data elsewhere now.
    PeerMoved {
        /// The peer.
        peer: PeerId,
        /// Its id.
        id: EndpointId,
        /// Its name.
        name: String,
        /// Where it took data before.
        from: SocketAddr,
        /// Where it takes data now.
        to: SocketAddr,
    },
    /// Another endpoint announces an id or a name that is ours, or that a living peer holds. It is refused until the
    /// holder is gone. Told again only after [`crate::Config::clash_interval`].
    Clash {
        /// What they both claim.
        kind: ClashKind,
        /// The name of the refused endpoint.
        name: String,
        /// The id of the refused endpoint.
        id: EndpointId,
        /// Where its announcement came from.
        address: SocketAddr,
    },
}

/// Why a peer is no longer there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum DownReason {
    /// Nothing was heard from it for its announce interval times our multiplier.
    Expired,
    /// It said so.
    Goodbye,
    /// It runs again, in a new life: [`Event::PeerUp`] with a new number follows.
    Restarted,
    /// It is trusted no longer ([`crate::Discovery::revoke`]).
    Revoked,
}

/// What two endpoints both claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ClashKind {
    /// One id: another endpoint uses ours, or two names appear under one id in one life.
    Id,
    /// One name, with two ids.
    Name,
}

/// What is known of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerInfo {
    /// Its id.
    pub id: EndpointId,
    /// Its name.
    pub name: String,
    /// Its life; zero for a classic peer.
    pub incarnation: Incarnation,
    /// By what it is known in a private network.
    pub public_key: Option<PublicKey>,
    /// Which data wire it speaks.
    pub wire: Wire,
    /// Where it takes data.
    pub data: SocketAddr,
    /// Where it takes unicast announcements, if it said so.
    pub discovery: Option<SocketAddr>,
    /// The time between its announcements, brought into [`crate::Config::INTERVALS`].
    pub announce_interval: Duration,
}

impl Wire {
    /// Whether it is the native one.
    #[must_use]
    pub const fn is_native(self) -> bool {
        matches!(self, Self::Native { .. })
    }
}

/// Which data wire a peer speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// Containers in this codec, the one of its first announcement.
    Classic(Codec),
    /// The native envelope.
    Native {
        /// The protocol version that it announced, at least 1.
        version: u8,
        /// The bit set of its optional abilities.
        capabilities: u64,
    },
}
