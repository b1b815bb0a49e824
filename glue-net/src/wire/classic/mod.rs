//! The classic container: what the reference implementation sends, one a datagram, as JSON or MessagePack.
//!
//! What a datagram must be beyond well-formed is checked here, once for both codecs: exactly one body, a fragment that
//! is one of its message's fragments, names of at most [`MAX_NAME_BYTES`]. Everything else is read as the reference
//! reads it: keys in any order, unknown ones passed over, missing and nil ones zero, bytes after the container ignored.

mod address;
mod json;
mod ksuid;
mod msgpack;
mod pack;
mod stamp;
#[cfg(test)]
mod tests;
mod unpack;

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use super::{DecodeError, Format};
use crate::{EndpointId, Incarnation, NetworkId, WallTime};

/// Bytes of a message's encoding in one frame, as the reference cuts it.
pub const FRAGMENT_BYTES: usize = 8_192;

/// Most bytes of an endpoint's name, a topic's name or a topic's type; a datagram with a longer one is refused.
pub const MAX_NAME_BYTES: usize = 1_024;

/// How a container is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Codec {
    /// Snake-case keys, RFC 3339 times, base64 payloads.
    Json,
    /// The Go struct's field names, as the reference's code does today.
    MessagePack,
}

/// A KSUID that names a frame or a message; ours carry a counter in their last 8 bytes. Its text is 27 base-62
/// characters.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ksuid(pub [u8; 20]);

/// One datagram: who sent it, and an announcement or a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// "Here I am."
    Announcement(Announcement),
    /// A fragment of a message, or an ack.
    Frame(Frame),
}

/// Tells the others that an endpoint is there, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// Reads a datagram, and tells how it was written. A MessagePack payload is a slice of the datagram.
    ///
    /// # Errors
    /// [`DecodeError`] if it is no container.
    pub fn decode(datagram: &Bytes) -> Result<(Codec, Self), DecodeError> {
        match Format::detect(*datagram.first().ok_or(DecodeError::Truncated)?) {
            Some(Format::Json) => Ok((Codec::Json, json::container(datagram)?)),
            Some(Format::MessagePack) => Ok((Codec::MessagePack, msgpack::container(datagram)?)),
            Some(Format::Native) | None => Err(DecodeError::Malformed("container")),
        }
    }

    /// Appends the datagram. Values are written as they stand; those that [`Container::decode`] refuses (a fragment
    /// count of 0, a name that is too long) are the caller's to avoid.
    pub fn encode(&self, codec: Codec, out: &mut Vec<u8>) {
        match codec {
            Codec::Json => json::put_container(self, out),
            Codec::MessagePack => msgpack::put_container(self, out),
        }
    }

    /// All keys missing, and a body to be replaced.
    const fn blank() -> Self {
        Self {
            sent_timestamp: WallTime::ZERO_TIME,
            last_sent_timestamp: WallTime::ZERO_TIME,
            sent_by: None,
            sent_to: None,
            received_timestamp: WallTime::ZERO_TIME,
            received_from: None,
            received_by: None,
            network_id: NetworkId(0),
            source_endpoint_id: EndpointId::from_bytes([0; EndpointId::LEN]),
            source_endpoint_name: String::new(),
            body: Body::Announcement(Announcement::blank()),
        }
    }
}

impl Body {
    fn one_of(announcement: Option<Announcement>, frame: Option<Frame>) -> Result<Self, DecodeError> {
        match (announcement, frame) {
            (Some(announcement), None) => Ok(Self::Announcement(announcement)),
            (None, Some(frame)) => frame.checked().map(Self::Frame),
            (None, None) => Err(DecodeError::Malformed("container: neither announcement nor frame")),
            (Some(_), Some(_)) => Err(DecodeError::Malformed("container: both announcement and frame")),
        }
    }
}

impl Announcement {
    /// All keys missing.
    const fn blank() -> Self {
        Self {
            sent_rate: Duration::ZERO,
            listen_port: 0,
            listen_addr: None,
            discovery_listen_addr: None,
            discovery_target_addr: None,
            forwarded: false,
            native: None,
        }
    }
}

impl Frame {
    fn checked(self) -> Result<Self, DecodeError> {
        if self.fragment_index < self.fragment_count { Ok(self) } else { Err(DecodeError::Malformed("fragment index")) }
    }
}

impl Message {
    /// Reads a joined message. A MessagePack payload is a slice of `bytes`.
    ///
    /// # Errors
    /// [`DecodeError`] if it is none.
    pub fn decode(codec: Codec, bytes: &Bytes) -> Result<Self, DecodeError> {
        match codec {
            Codec::Json => json::message(bytes),
            Codec::MessagePack => msgpack::message(bytes),
        }
    }

    /// Appends the encoded message. Values are written as they stand, see [`Container::encode`].
    pub fn encode(&self, codec: Codec, out: &mut Vec<u8>) {
        match codec {
            Codec::Json => json::put_message(self, out),
            Codec::MessagePack => msgpack::put_message(self, out),
        }
    }

    /// All keys missing.
    const fn blank() -> Self {
        Self {
            timestamp: WallTime::ZERO_TIME,
            expiry: Duration::ZERO,
            endpoint_id: EndpointId::from_bytes([0; EndpointId::LEN]),
            endpoint_name: String::new(),
            sequence_number: 0,
            topic_name: String::new(),
            topic_type: String::new(),
            message_type: 0,
            payload: None,
        }
    }
}

/// A name within bounds; `what` names it otherwise.
fn bounded(name: &str, what: &'static str) -> Result<String, DecodeError> {
    if name.len() > MAX_NAME_BYTES { Err(DecodeError::Malformed(what)) } else { Ok(name.to_owned()) }
}

/// The classic wire's duration: nanoseconds in an `i64`. A negative one is no time at all.
fn duration(nanos: i64) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
}

/// The other way; saturates at 292 years.
fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}
