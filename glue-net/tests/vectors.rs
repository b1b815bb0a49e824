//! Datagrams captured from the reference implementation, in the three dialects that it has spoken: they decode to the
//! values that were sent, ours say the same, and in MessagePack ours are the same bytes.
#![cfg(test)]

#[path = "vectors/table.rs"]
mod table;

use std::path::Path;

use bytes::Bytes;
use glue_net::wire::DecodeError;
use glue_net::wire::classic::{Body, Codec, Container, Frame, Message, Native};
use glue_net::{Incarnation, WallTime};
use proptest::prelude::*;
use serde_json::Value;

use table::{Payload, Vector};

fn read(name: &str) -> Bytes {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(name).with_extension("bin");
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).into()
}

fn encoded(container: &Container, codec: Codec) -> Bytes {
    let mut out = Vec::new();
    container.encode(codec, &mut out);
    out.into()
}

fn encoded_message(message: &Message, codec: Codec) -> Bytes {
    let mut out = Vec::new();
    message.encode(codec, &mut out);
    out.into()
}

fn frame(container: &Container) -> &Frame {
    let Body::Frame(frame) = &container.body else { panic!("no frame: {container:?}") };
    frame
}

#[test]
fn every_vector_decodes_to_what_was_sent() {
    for Vector { name, codec, mut container, payload } in table::vectors() {
        let (read_codec, read) = Container::decode(&read(name)).unwrap();
        if let Body::Frame(expected) = &mut container.body {
            let found = frame(&read).payload.clone();
            match payload {
                Payload::Empty => assert!(found.is_empty(), "{name}"),
                Payload::Message(message) => {
                    assert_eq!(Message::decode(codec, &found).as_ref(), Ok(&message), "{name}");
                }
                Payload::Piece { len, start } => {
                    assert_eq!((found.len(), hex(&found[..start.len() / 2]).as_str()), (len, start), "{name}");
                }
            }
            expected.payload = found;
        }
        assert_eq!((read_codec, read), (codec, container), "{name}");
    }
}

#[test]
fn messagepack_is_written_byte_for_byte_as_the_reference_does() {
    for Vector { name, codec, payload, .. } in table::vectors() {
        if codec == Codec::MessagePack {
            let (_, container) = Container::decode(&read(name)).unwrap();
            assert_eq!(hex(&encoded(&container, codec)), hex(&read(name)), "{name}");
            if let Payload::Message(message) = payload {
                assert_eq!(hex(&encoded_message(&message, codec)), hex(&frame(&container).payload), "{name}");
            }
        }
    }
}

#[test]
fn json_is_written_as_the_reference_did_with_more_keys() {
    for Vector { name, codec, payload, .. } in table::vectors() {
        if codec == Codec::Json {
            let (_, container) = Container::decode(&read(name)).unwrap();
            let (ours, theirs) = (encoded(&container, codec), read(name));
            covers(&serde_json::from_slice(&ours).unwrap(), &serde_json::from_slice(&theirs).unwrap(), name);
            if let Payload::Message(message) = payload {
                assert_eq!(encoded_message(&message, codec), frame(&container).payload, "{name}");
            }
        }
    }
}

/// Whether `ours` has every key of `theirs`, with its value; the older dialect's own keys we only read.
fn covers(ours: &Value, theirs: &Value, name: &str) {
    for (key, value) in theirs.as_object().unwrap() {
        match value {
            Value::Object(_) => covers(&ours[key], value, name),
            _ if key.starts_with("endpoint_") => assert_eq!(&ours[format!("source_{key}")], value, "{name}: {key}"),
            _ => assert_eq!(&ours[key], value, "{name}: {key}"),
        }
    }
}

#[test]
fn our_encoding_in_either_codec_says_the_same() {
    for Vector { name, .. } in table::vectors() {
        let (_, container) = Container::decode(&read(name)).unwrap();
        for codec in [Codec::Json, Codec::MessagePack] {
            let again = Container::decode(&encoded(&container, codec));
            assert_eq!(again, Ok((codec, container.clone())), "{name}");
        }
    }
}

#[test]
fn fragments_join_to_the_message() {
    let mut joined = Vec::new();
    for name in ["05-data-frag-0-of-3", "06-data-frag-1-of-3", "07-data-frag-2-of-3"] {
        let (_, container) = Container::decode(&read(name)).unwrap();
        joined.extend_from_slice(&frame(&container).payload);
    }
    let bytes = read("07-reassembled-message");
    assert_eq!(joined, bytes);
    let message = Message::decode(Codec::MessagePack, &bytes).unwrap();
    let payload = message.payload.clone().unwrap();
    assert_eq!((payload.len(), &payload[..4]), (20_000, b"GLUE".as_slice()));
    assert_eq!((message.topic_name.as_str(), message.sequence_number), ("some_topic", 1));
    assert_eq!(encoded_message(&message, Codec::MessagePack), bytes);
}

#[test]
fn a_messagepack_payload_is_a_slice_of_the_datagram() {
    let datagram = read("03-data-single");
    let (_, container) = Container::decode(&datagram).unwrap();
    let (outer, inner) = (datagram.as_ptr_range(), frame(&container).payload.as_ptr_range());
    assert!(outer.start < inner.start && inner.end <= outer.end);
}

/// The keys of an announcement of ours, in order, with the marker of each value: the reference's sixteen and eight as
/// it writes them, then our four.
#[test]
fn our_announcement_adds_four_keys_at_the_end_of_the_map() {
    let (_, mut container) = Container::decode(&read("01-announce-multicast-sub")).unwrap();
    let Body::Announcement(announcement) = &mut container.body else { panic!("no announcement") };
    let incarnation = Incarnation(0x18ea_0000_0000_0001);
    announcement.native = Some(Native { version: 1, incarnation, capabilities: 0, goodbye: true });
    let bytes = encoded(&container, Codec::MessagePack);
    let mut listed = Vec::new();
    let end = walk(&bytes, 0, "", &mut listed);
    assert_eq!(end, bytes.len());
    let expected = "de \
        SentTimestamp:d7 LastSentTimestamp:c7 SentBy:af SentByAddr:c0 SentTo:b3 SentToAddr:c0 ReceivedTimestamp:c7 \
        ReceivedFrom:a0 ReceivedFromAddr:c0 ReceivedBy:a0 ReceivedByAddr:c0 NetworkID:d3 SourceEndpointID:c4 \
        SourceEndpointName:a5 Announcement:8c \
        Announcement.SentRate:d3 Announcement.ListenPort:cd Announcement.ListenAddr:83 \
        Announcement.ListenAddr.IP:c4 Announcement.ListenAddr.Port:cd Announcement.ListenAddr.Zone:a0 \
        Announcement.DiscoveryListenAddress:af Announcement.DiscoveryListenAddr:83 \
        Announcement.DiscoveryListenAddr.IP:c4 Announcement.DiscoveryListenAddr.Port:cd \
        Announcement.DiscoveryListenAddr.Zone:a0 \
        Announcement.DiscoveryTargetAddress:b3 Announcement.DiscoveryTargetAddr:83 \
        Announcement.DiscoveryTargetAddr.IP:c4 Announcement.DiscoveryTargetAddr.Port:cd \
        Announcement.DiscoveryTargetAddr.Zone:a0 Announcement.Forwarded:c2 \
        Announcement.GlueVersion:01 Announcement.GlueIncarnation:cf Announcement.GlueCapabilities:cf \
        Announcement.GlueGoodbye:c3 Frame:c0";
    assert_eq!(listed.join(" "), expected);
}

/// Lists the markers of a value and of what is in it; where it ends. A reader of its own, so that reader and writer of
/// the library can not agree on a mistake.
fn walk(bytes: &[u8], at: usize, path: &str, listed: &mut Vec<String>) -> usize {
    let marker = bytes[at];
    listed.push(if path.is_empty() { format!("{marker:02x}") } else { format!("{path}:{marker:02x}") });
    let (pairs, mut at) = match marker {
        0x80..=0x8f => (marker & 0x0f, at + 1),
        0xde => (bytes[at + 2], at + 3),
        0xa0..=0xbf => return at + 1 + usize::from(marker & 0x1f),
        0xc4 => return at + 2 + usize::from(bytes[at + 1]),
        0xc7 => return at + 3 + usize::from(bytes[at + 1]),
        0xcd => return at + 3,
        0xcf | 0xd3 => return at + 9,
        0xd7 => return at + 10,
        _ => return at + 1,
    };
    for _ in 0..pairs {
        let end = at + 1 + usize::from(bytes[at] & 0x1f);
        let key = std::str::from_utf8(&bytes[at + 1..end]).unwrap();
        let path = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        at = walk(bytes, end, &path, listed);
    }
    at
}

/// A missing time is year 1, as in the reference: the epoch would be a time like any other.
#[test]
fn json_announcements_of_the_reference_leave_the_rest_zero() {
    let (_, container) = Container::decode(&read("30-json-announce")).unwrap();
    assert_eq!(container.received_timestamp, WallTime::ZERO_TIME);
    let Body::Announcement(announcement) = container.body else { panic!("no announcement") };
    assert_eq!((announcement.listen_port, announcement.listen_addr, announcement.native), (40_000, None, None));
}

#[test]
fn cut_vectors_are_refused() {
    for Vector { name, .. } in table::vectors() {
        let whole = read(name);
        // Every length of the small ones; of the large ones some, since a JSON decode looks at all that is there.
        let step = whole.len() / 1_000 + 1;
        for len in (0..whole.len()).step_by(step) {
            assert_eq!(Container::decode(&whole.slice(..len)), Err(DecodeError::Truncated), "{name}: {len}");
        }
    }
}

#[test]
fn bytes_after_the_container_are_ignored() {
    for Vector { name, .. } in table::vectors() {
        let more = [&read(name)[..], b"\xc1{"].concat();
        assert_eq!(Container::decode(&more.into()), Container::decode(&read(name)), "{name}");
    }
}

#[test]
fn vectors_with_a_flipped_bit_do_no_harm() {
    for Vector { name, .. } in table::vectors() {
        let whole = read(name);
        let step = whole.len() / 1_000 + 1;
        for at in (0..whole.len()).step_by(step) {
            for bit in 0..8 {
                let mut changed = whole.to_vec();
                changed[at] ^= 1 << bit;
                does_no_harm(changed);
            }
        }
    }
}

/// Whatever a datagram holds: reading it does not panic, and what is read can be passed on in either codec.
fn does_no_harm(datagram: Vec<u8>) {
    let datagram = Bytes::from(datagram);
    if let Ok((_, container)) = Container::decode(&datagram) {
        for codec in [Codec::Json, Codec::MessagePack] {
            assert_eq!(Container::decode(&encoded(&container, codec)), Ok((codec, container.clone())));
        }
    }
    for codec in [Codec::Json, Codec::MessagePack] {
        if let Ok(message) = Message::decode(codec, &datagram) {
            assert_eq!(Message::decode(codec, &encoded_message(&message, codec)), Ok(message));
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

proptest! {
    #[test]
    fn random_bytes_do_no_harm(first in prop_oneof![Just(0x8f_u8), Just(0xde), Just(0xdf), Just(b'{'), any::<u8>()],
                               rest: Vec<u8>) {
        does_no_harm([vec![first], rest].concat());
    }

    /// Parts of one vector in another: values where others belong.
    #[test]
    fn spliced_vectors_do_no_harm(one: prop::sample::Index, two: prop::sample::Index,
                                  start: prop::sample::Index, from: prop::sample::Index, len in 0_usize..64) {
        let vectors = table::vectors();
        let (mut one, two) = (read(one.get(&vectors).name).to_vec(), read(two.get(&vectors).name));
        let (start, from) = (start.index(one.len()), from.index(two.len()));
        let (end, to) = ((start + len).min(one.len()), (from + len).min(two.len()));
        one.splice(start..end, two[from..to].iter().copied());
        does_no_harm(one);
    }
}
