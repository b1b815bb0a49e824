//! Decoders: what they take is written as it was read, and nothing panics.

use std::time::Duration;

use bytes::Bytes;
use glue_endpoint::Settings;
use glue_net::wire::classic::{Announcement, Body, Codec, Container, Frame, Ksuid, Message, Native};
use glue_net::wire::native::{
    COOKIE_BYTES, Datagram, Hello, Member, Proof, Token, put_data_header, put_private_header,
};
use glue_net::wire::{Reader, put_bytes, put_varint, split_varint};
use glue_net::{EndpointId, Incarnation, NetworkId, WallTime};
use glue_security::NetworkKey;
use glue_topics::{Filter, Share, TopicName, Trust};

/// Numbers and byte strings, one after the other.
pub(crate) fn reader(bytes: &[u8]) {
    let mut reader = Reader::new(Bytes::copy_from_slice(bytes));
    let mut written = Vec::new();
    while let Ok(kind) = reader.u8() {
        let read = if kind.is_multiple_of(2) {
            reader.varint().map(|number| put_varint(&mut written, number))
        } else {
            reader.bytes().map(|string| put_bytes(&mut written, &string))
        };
        if read.is_err() {
            break;
        }
    }
    // Not the shortest form of a number may be read, but never a longer one is written.
    assert!(written.len() <= bytes.len());
    if let Some((number, rest)) = split_varint(bytes) {
        let mut again = Vec::new();
        put_varint(&mut again, number);
        assert!(again.len() + rest.len() <= bytes.len());
    }
}

pub(crate) fn reader_beginnings() -> Vec<Vec<u8>> {
    let mut bytes = Vec::new();
    for number in [0, 63, 64, 16_383, 16_384, (1 << 30) - 1, 1 << 30, (1 << 62) - 1] {
        bytes.push(0);
        put_varint(&mut bytes, number);
        bytes.push(1);
        put_bytes(&mut bytes, &number.to_be_bytes());
    }
    vec![bytes]
}

pub(crate) fn native(bytes: &[u8]) {
    let Ok(datagram) = Datagram::decode(Bytes::copy_from_slice(bytes)) else { return };
    let mut again = Vec::new();
    match &datagram {
        Datagram::Hello { hello, rest } => {
            hello.encode(&mut again);
            again.extend_from_slice(rest);
        }
        Datagram::Data { token, packet, frames } => {
            put_data_header(*token, *packet, &mut again);
            again.extend_from_slice(frames);
        }
        Datagram::PrivateData { token, epoch, packet, header, body } => {
            assert_eq!([&header[..], body].concat(), bytes, "nothing is left out");
            put_private_header(*epoch, *token, *packet, &mut again);
            assert!(again.len() <= header.len());
            return;
        }
    }
    assert_eq!(Datagram::decode(again.into()), Ok(datagram));
}

pub(crate) fn native_beginnings() -> Vec<Vec<u8>> {
    let (mut hello, mut data, mut private) = (Vec::new(), Vec::new(), Vec::new());
    a_hello().encode(&mut hello);
    put_data_header(Token(7), 1_000, &mut data);
    data.extend_from_slice(b"frames");
    put_private_header(3, Token(7), 1_000, &mut private);
    private.extend_from_slice(&[9; 40]);
    vec![hello, data, private]
}

fn a_hello() -> Hello {
    Hello {
        network: NetworkId(3),
        source: EndpointId::from_integer(1),
        source_incarnation: Incarnation(5),
        destination: EndpointId::from_integer(2),
        destination_incarnation: Incarnation(6),
        token: Token(7),
        echo: Some(Token(8)),
        credit: 65_536,
        window: 200_000,
        max_datagram: 65_507,
    }
}

pub(crate) fn proof(bytes: &[u8]) {
    let Ok(proof) = Proof::decode(Bytes::copy_from_slice(bytes)) else { return };
    let mut again = Vec::new();
    proof.encode(&mut again);
    assert_eq!(Proof::decode(again.into()), Ok(proof));
}

pub(crate) fn proof_beginnings() -> Vec<Vec<u8>> {
    let mut bytes = Vec::new();
    let message = Bytes::from_static(b"a message of a handshake");
    Proof { count: 70, epoch: 4, cookie: [5; COOKIE_BYTES], message }.encode(&mut bytes);
    vec![bytes]
}

pub(crate) fn member(bytes: &[u8]) {
    let Ok(Some((member, container))) = Member::decode(Bytes::copy_from_slice(bytes)) else { return };
    let mut again = Vec::new();
    member.encode(&mut again);
    again.extend_from_slice(&container);
    assert_eq!(Member::decode(again.into()), Ok(Some((member, container))));
}

pub(crate) fn member_beginnings() -> Vec<Vec<u8>> {
    let mut bytes = Vec::new();
    Member { key: [6; 32], count: 100 }.encode(&mut bytes);
    bytes.extend_from_slice(&container_beginnings()[0]);
    vec![bytes]
}

pub(crate) fn container(bytes: &[u8]) {
    let Ok((codec, container)) = Container::decode(&Bytes::copy_from_slice(bytes)) else { return };
    let mut again = Vec::new();
    container.encode(codec, &mut again);
    assert_eq!(Container::decode(&again.into()), Ok((codec, container)));
}

pub(crate) fn container_beginnings() -> Vec<Vec<u8>> {
    let announcement = Announcement {
        sent_rate: Duration::from_secs(1),
        listen_port: 0,
        listen_addr: Some(([10, 0, 0, 1], 40_000).into()),
        discovery_listen_addr: Some(([10, 0, 0, 1], 27_320).into()),
        discovery_target_addr: Some(([239, 192, 137, 1], 27_320).into()),
        forwarded: false,
        native: Some(Native { version: 1, incarnation: Incarnation(5), capabilities: 3, goodbye: false }),
    };
    let frame = Frame {
        resend_period: Duration::from_millis(200),
        resend_expiry: Duration::from_secs(60),
        frame_id: Ksuid([1; 20]),
        correlation_id: Ksuid([2; 20]),
        fragment_count: 3,
        fragment_index: 1,
        destination_endpoint_id: EndpointId::from_integer(2),
        destination_endpoint_name: "other".to_owned(),
        needs_ack: true,
        is_ack: false,
        payload: Bytes::from_static(b"part of a message"),
    };
    [Body::Announcement(announcement), Body::Frame(frame)]
        .into_iter()
        .flat_map(|body| [Codec::Json, Codec::MessagePack].map(|codec| (body.clone(), codec)))
        .map(|(body, codec)| {
            let mut bytes = Vec::new();
            let container = Container {
                sent_timestamp: WallTime::from_unix_nanos(1_700_000_000_123_456_789),
                last_sent_timestamp: WallTime::ZERO_TIME,
                sent_by: Some(([10, 0, 0, 1], 40_000).into()),
                sent_to: None,
                received_timestamp: WallTime::ZERO_TIME,
                received_from: None,
                received_by: None,
                network_id: NetworkId(3),
                source_endpoint_id: EndpointId::from_integer(1),
                source_endpoint_name: "endpoint".to_owned(),
                body,
            };
            container.encode(codec, &mut bytes);
            bytes
        })
        .collect()
}

pub(crate) fn message(bytes: &[u8]) {
    let Some((kind, rest)) = bytes.split_first() else { return };
    let codec = if kind.is_multiple_of(2) { Codec::Json } else { Codec::MessagePack };
    let Ok(message) = Message::decode(codec, &Bytes::copy_from_slice(rest)) else { return };
    let mut again = Vec::new();
    message.encode(codec, &mut again);
    assert_eq!(Message::decode(codec, &again.into()), Ok(message));
}

pub(crate) fn message_beginnings() -> Vec<Vec<u8>> {
    let message = Message {
        timestamp: WallTime::from_unix_nanos(1_700_000_000_123_456_789),
        expiry: Duration::from_secs(60),
        endpoint_id: EndpointId::from_integer(1),
        endpoint_name: "endpoint".to_owned(),
        sequence_number: 9,
        topic_name: "some/topic".to_owned(),
        topic_type: "text".to_owned(),
        message_type: 0,
        payload: Some(Bytes::from_static(b"hello")),
    };
    [(0, Codec::Json), (1, Codec::MessagePack)]
        .map(|(kind, codec)| {
            let mut bytes = vec![kind];
            message.encode(codec, &mut bytes);
            bytes
        })
        .into()
}

/// A filter, and a topic after a line's end.
pub(crate) fn filter(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (text, topic) = text.split_once('\n').unwrap_or((text, "some/topic"));
    let (filter, topic) = (Filter::new(text, MAX_TOPIC_BYTES), TopicName::new(topic, MAX_TOPIC_BYTES));
    if let Ok(Some(share)) = Share::split(text) {
        let _ = share.filter(MAX_TOPIC_BYTES);
    }
    let (Ok(filter), Ok(topic)) = (filter, topic) else { return };
    assert_eq!(filter.as_str(), text);
    let matches = filter.matches(&topic);
    match filter.topic() {
        Some(only) => assert_eq!(matches, only == topic, "{text:?} {topic:?}"),
        None => assert!(text.contains(['+', '#']), "{text:?}"),
    }
}

pub(crate) fn filter_beginnings() -> Vec<Vec<u8>> {
    ["a/+/c\na/b/c", "a/#\na", "#\n/", "$share/g/a/+/#\na/b", "+\n$SYS", "a//b\na//b", "\u{e4}/+\n\u{e4}/x"]
        .map(|text| text.as_bytes().to_vec())
        .into()
}

pub(crate) fn trust(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = text.parse::<Trust>();
    }
}

pub(crate) fn trust_beginnings() -> Vec<Vec<u8>> {
    let key = glue_security::Identity::from_seed([1; 32]).public_key();
    let lines = format!("# comment\n{key} publish a/# subscribe b/+ cache c\n* subscribe #\n");
    vec![lines.into_bytes(), format!("{key}\n").into_bytes()]
}

/// Variables, `NAME=VALUE`, one in a line.
pub(crate) fn settings(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let variables = text.lines().filter_map(|line| line.split_once('='));
    let (settings, _) = Settings::from_vars(variables.map(|(name, value)| (name.to_owned(), value.to_owned())));
    if let Err(error) = settings {
        assert!(error.to_string().lines().all(|line| line.starts_with("GLUE_")), "a line for each variable: {error}");
    }
}

pub(crate) fn settings_beginnings() -> Vec<Vec<u8>> {
    let text = "GLUE_NETWORK_ID=7\nGLUE_ENDPOINT_NAME=me\nGLUE_LISTEN_INTERFACE=lo\nGLUE_DISCOVERY_INTERVAL=1s\n\
        GLUE_CACHE=a/#=16MiB\nGLUE_NETWORK_KEY=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\nGLUE_ENDIONT=typo";
    vec![text.as_bytes().to_vec()]
}

pub(crate) fn network_key(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(key) = text.parse::<NetworkKey>() {
        assert_eq!(key.expose().parse::<NetworkKey>().expect("what it prints").expose(), key.expose());
        assert!(!format!("{key:?}").contains(text.trim()), "a key is never shown");
    }
}

pub(crate) fn network_key_beginnings() -> Vec<Vec<u8>> {
    let key = NetworkKey::from_bytes([7; 32]);
    vec![key.expose().into_bytes(), "07".repeat(32).into_bytes()]
}

const MAX_TOPIC_BYTES: usize = 1_024;
