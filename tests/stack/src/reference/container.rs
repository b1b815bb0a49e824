//! What the reference sends, whichever of its two codecs it speaks.

use std::net::SocketAddr;

use glue_net::WallTime;

use super::{json, messagepack};

/// A revision of the reference, by what it sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// The last one that sent JSON, 19dfa88: it announces a port only, and does not cut messages.
    Json,
    /// The head, 73c317a.
    MessagePack,
}

impl Codec {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Json, Self::MessagePack];
}

/// One datagram. A time that is `None` is nil: the reference dies of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// When it was made.
    pub sent: Option<WallTime>,
    /// When it was sent last.
    pub last_sent: Option<WallTime>,
    /// When a forwarder received it.
    pub received: Option<WallTime>,
    /// From where.
    pub sent_by: String,
    /// To where.
    pub sent_to: String,
    /// From where a forwarder received it.
    pub received_from: String,
    /// Where a forwarder received it.
    pub received_by: String,
    /// The network.
    pub network: i64,
    /// The sender.
    pub source_id: [u8; 20],
    /// The sender's name.
    pub source_name: String,
    /// One of the two must be there.
    pub announcement: Option<Announcement>,
    /// One of the two must be there.
    pub frame: Option<Frame>,
}

/// "Here I am."
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// Nanoseconds between two of them.
    pub sent_rate: i64,
    /// The data port.
    pub listen_port: u16,
    /// The data address; `None` is nil.
    pub listen: Option<SocketAddr>,
    /// Where unicast announcements are heard.
    pub discovery_listen: Option<SocketAddr>,
    /// Where this one was sent.
    pub discovery_target: Option<SocketAddr>,
    /// Whether it was passed on.
    pub forwarded: bool,
}

/// A fragment or an ack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Nanoseconds.
    pub resend_period: i64,
    /// Nanoseconds.
    pub resend_expiry: i64,
    /// The frame.
    pub id: [u8; 20],
    /// The message.
    pub correlation: [u8; 20],
    /// Fragments of the message.
    pub count: i64,
    /// Which one this is.
    pub index: i64,
    /// Who it is for.
    pub destination_id: [u8; 20],
    /// Who it is for.
    pub destination_name: String,
    /// Whether an ack is wanted.
    pub needs_ack: bool,
    /// Whether it is one.
    pub is_ack: bool,
    /// A part of a message.
    pub payload: Vec<u8>,
}

/// What the fragments give when joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// When it was published.
    pub timestamp: Option<WallTime>,
    /// Nanoseconds that it lives.
    pub expiry: i64,
    /// Its publisher.
    pub endpoint_id: [u8; 20],
    /// Its publisher's name.
    pub endpoint_name: String,
    /// Its number.
    pub sequence: i64,
    /// Its topic.
    pub topic: String,
    /// Its topic's type.
    pub topic_type: String,
    /// 1 standard, 2 forwarded.
    pub message_type: i64,
    /// What was published; `None` is nil.
    pub payload: Option<Vec<u8>>,
}

impl Container {
    /// Reads a datagram in whichever codec it is written.
    #[must_use]
    pub fn read(datagram: &[u8]) -> Option<(Codec, Self)> {
        if datagram.first() == Some(&b'{') {
            return Some((Codec::Json, json::container(datagram)?));
        }
        Some((Codec::MessagePack, messagepack::container(datagram)?))
    }

    /// Writes a datagram.
    #[must_use]
    pub fn write(&self, codec: Codec) -> Vec<u8> {
        let mut out = Vec::new();
        match codec {
            Codec::Json => json::put_container(self, &mut out),
            Codec::MessagePack => messagepack::put_container(self, &mut out),
        }
        out
    }
}

impl Message {
    /// Reads a joined message.
    #[must_use]
    pub fn read(codec: Codec, bytes: &[u8]) -> Option<Self> {
        match codec {
            Codec::Json => json::message(bytes),
            Codec::MessagePack => messagepack::message(bytes),
        }
    }

    /// Writes a message, to be cut.
    #[must_use]
    pub fn write(&self, codec: Codec) -> Vec<u8> {
        let mut out = Vec::new();
        match codec {
            Codec::Json => json::put_message(self, &mut out),
            Codec::MessagePack => messagepack::put_message(self, &mut out),
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn captured(name: &str) -> Vec<u8> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../glue-net/tests/vectors");
        std::fs::read(folder.join(name).with_extension("bin")).unwrap()
    }

    /// The reference peer speaks as the program that was captured: byte by byte.
    #[test]
    fn captured_datagrams_are_written_as_they_were() {
        let names = [
            "01-announce-multicast-sub",
            "03-data-single",
            "04-ack-single",
            "05-data-frag-0-of-3",
            "07-data-frag-2-of-3",
            "11-announce-unicast-sub",
            "17-data-nil-user-payload",
            "21-data-resend",
            "30-json-announce",
            "31-json-data",
            "32-json-ack",
            "33-json-data-empty",
            "34-json-data-nil",
            "35-json-data-20000",
        ];
        for name in names {
            let datagram = captured(name);
            let (codec, container) = Container::read(&datagram).unwrap_or_else(|| panic!("{name} is not read"));
            assert_eq!(container.write(codec), datagram, "{name}");
            let whole = container.frame.filter(|frame| !frame.is_ack && frame.count == 1);
            if let Some(frame) = whole {
                let message = Message::read(codec, &frame.payload).unwrap_or_else(|| panic!("{name}: no message"));
                assert_eq!(message.write(codec), frame.payload, "{name}");
            }
        }
    }
}
