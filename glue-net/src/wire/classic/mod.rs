//! The classic container: what the reference implementation sends, one a datagram, as JSON or MessagePack.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use super::DecodeError;
use crate::{EndpointId, Incarnation, NetworkId, WallTime};

/// How a container is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Codec {
    /// Snake-case keys, RFC 3339 times, base64 payloads.
    Json,
    /// The Go struct's field names, as the reference's code does today.
    MessagePack,
}

/// A KSUID that names a frame or a message; ours carry a counter in their last 8 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ksuid(pub [u8; 20]);

/// One datagram: who sent it, and an announcement or a frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Container {
    /// When the sender made it.
    pub sent_timestamp: WallTime,
    /// When the sender sent it last; [`WallTime::ZERO_TIME`] in announcements.
    pub last_sent_timestamp: WallTime,
    /// The address that it was sent from, as the sender knows it.
    pub sent_by: Option<SocketAddr>,
    /// The address that it was sent to.
    pub sent_to: Option<SocketAddr>,
    /// When the forwarder received it; [`WallTime::ZERO_TIME`] unless forwarded.
    pub received_timestamp: WallTime,
    /// Where the forwarder received it from.
    pub received_from: Option<SocketAddr>,
    /// The forwarder's address that received it.
    pub received_by: Option<SocketAddr>,
    /// The sender's network.
    pub network_id: NetworkId,
    /// The sender.
    pub source_endpoint_id: EndpointId,
    /// The sender's name.
    pub source_endpoint_name: String,
    /// Exactly one of the two.
    pub body: Body,
}

/// What a container carries.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// "Here I am."
    Announcement(Announcement),
    /// A fragment of a message, or an ack.
    Frame(Frame),
}

/// Tells the others that an endpoint is there, and where.
#[derive(Clone, Debug, PartialEq)]
pub struct Announcement {
    /// The time between the sender's announcements.
    pub sent_rate: Duration,
    /// The sender's data port.
    pub listen_port: u16,
    /// Where the sender takes data. `None`: nil, or an address that can not be read.
    pub listen_addr: Option<SocketAddr>,
    /// Where the sender takes unicast announcements.
    pub discovery_listen_addr: Option<SocketAddr>,
    /// Where this announcement was sent.
    pub discovery_target_addr: Option<SocketAddr>,
    /// Whether somebody else passed it on.
    pub forwarded: bool,
    /// Our extension: present from native endpoints.
    pub native: Option<Native>,
}

/// What native endpoints add to an announcement, under keys that the reference ignores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Native {
    /// Protocol version, see [`super::native::VERSION`].
    pub version: u8,
    /// Which life of the endpoint this is.
    pub incarnation: Incarnation,
    /// Bit set of optional abilities; none are defined yet.
    pub capabilities: u64,
    /// The endpoint leaves now.
    pub goodbye: bool,
}

/// A fragment of a message, or the ack of one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Frame {
    /// The sender's resend period.
    pub resend_period: Duration,
    /// After this the sender gives up.
    pub resend_expiry: Duration,
    /// Names the frame; its ack repeats it.
    pub frame_id: Ksuid,
    /// Names the message; all its fragments carry it.
    pub correlation_id: Ksuid,
    /// Fragments of the message.
    pub fragment_count: u32,
    /// Which fragment this is, from 0.
    pub fragment_index: u32,
    /// Who it is for.
    pub destination_endpoint_id: EndpointId,
    /// Who it is for, by name.
    pub destination_endpoint_name: String,
    /// Whether the sender wants an ack.
    pub needs_ack: bool,
    /// Whether it is an ack.
    pub is_ack: bool,
    /// A part of an encoded [`Message`].
    pub payload: Bytes,
}

/// What the payloads of a message's fragments give when joined.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// When it was published.
    pub timestamp: WallTime,
    /// How long it lives from then.
    pub expiry: Duration,
    /// Its publisher.
    pub endpoint_id: EndpointId,
    /// Its publisher's name.
    pub endpoint_name: String,
    /// Grows within a topic; gaps in it are normal for the reference.
    pub sequence_number: i64,
    /// The topic.
    pub topic_name: String,
    /// The topic's type.
    pub topic_type: String,
    /// 1 standard, 2 forwarded.
    pub message_type: i64,
    /// What the application published; `None` is nil.
    pub payload: Option<Bytes>,
}

impl Container {
    /// Reads a datagram, and tells how it was written. Unknown keys are passed over, missing ones are zero, bytes after
    /// the container are ignored, as the reference does.
    ///
    /// # Errors
    /// [`DecodeError`] if it is no container.
    pub fn decode(_datagram: &Bytes) -> Result<(Codec, Self), DecodeError> {
        Err(DecodeError::Malformed("container"))
    }

    /// Appends the datagram.
    pub fn encode(&self, _codec: Codec, _out: &mut Vec<u8>) {}
}

impl Message {
    /// Reads a joined message.
    ///
    /// # Errors
    /// [`DecodeError`] if it is none.
    pub fn decode(_codec: Codec, _bytes: &Bytes) -> Result<Self, DecodeError> {
        Err(DecodeError::Malformed("message"))
    }

    /// Appends the encoded message.
    pub fn encode(&self, _codec: Codec, _out: &mut Vec<u8>) {}
}
