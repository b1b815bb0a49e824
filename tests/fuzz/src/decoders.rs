//! Decoders of the wire: what they take is written as it was read, and nothing panics. Each says whether it took the bytes.

use std::time::Duration;

use bytes::Bytes;
use glue_net::wire::classic::{Announcement, Body, Codec, Container, Frame, Ksuid, Message, Native};
use glue_net::wire::native::{
    COOKIE_BYTES, Datagram, Hello, Member, Proof, Token, put_data_header, put_private_header,
};
use glue_net::wire::{Reader, put_bytes, put_varint, split_varint};
use glue_net::{EndpointId, Incarnation, NetworkId, WallTime};

/// Numbers and byte strings, one after the other.
pub(crate) fn reader(bytes: &[u8]) -> bool {
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
    !written.is_empty()
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

pub(crate) fn native(bytes: &[u8]) -> bool {
    let Ok(datagram) = Datagram::decode(Bytes::copy_from_slice(bytes)) else { return false };
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
            return true;
        }
    }
    assert_eq!(Datagram::decode(again.into()), Ok(datagram));
    true
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

pub(crate) fn proof(bytes: &[u8]) -> bool {
    let Ok(proof) = Proof::decode(Bytes::copy_from_slice(bytes)) else { return false };
    let mut again = Vec::new();
    proof.encode(&mut again);
    assert_eq!(Proof::decode(again.into()), Ok(proof));
    true
}

pub(crate) fn proof_beginnings() -> Vec<Vec<u8>> {
    let mut bytes = Vec::new();
    let message = Bytes::from_static(b"a message of a handshake");
    Proof { count: 70, epoch: 4, cookie: [5; COOKIE_BYTES], message }.encode(&mut bytes);
    vec![bytes]
}

pub(crate) fn member(bytes: &[u8]) -> bool {
    let Ok(Some((member, container))) = Member::decode(Bytes::copy_from_slice(bytes)) else { return false };
    let mut again = Vec::new();
    member.encode(&mut again);
    again.extend_from_slice(&container);
    assert_eq!(Member::decode(again.into()), Ok(Some((member, container))));
    true
}

pub(crate) fn member_beginnings() -> Vec<Vec<u8>> {
    let mut bytes = Vec::new();
    Member { key: [6; 32], count: 100 }.encode(&mut bytes);
    bytes.extend_from_slice(&container_beginnings()[0]);
    vec![bytes]
}

pub(crate) fn container(bytes: &[u8]) -> bool {
    let Ok((codec, container)) = Container::decode(&Bytes::copy_from_slice(bytes)) else { return false };
    let mut again = Vec::new();
    container.encode(codec, &mut again);
    assert_eq!(Container::decode(&again.into()), Ok((codec, container)));
    true
}

pub(crate) fn container_beginnings() -> Vec<Vec<u8>> {
    let announcement = Announcement {
        sent_rate: Duration::from_secs(1),
        listen_port: 40_000,
        listen_addr: Some(([10, 0, 0, 2], 40_000).into()),
        discovery_listen_addr: Some(([10, 0, 0, 2], 27_320).into()),
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

/// Announcements in each codec, of endpoint 1.
pub(crate) fn announcements() -> impl Iterator<Item = (Codec, Container)> {
    let decoded = container_beginnings().into_iter().filter_map(|bytes| Container::decode(&bytes.into()).ok());
    decoded.filter(|(_, container)| matches!(container.body, Body::Announcement(_)))
}

pub(crate) fn message(bytes: &[u8]) -> bool {
    let Some((kind, rest)) = bytes.split_first() else { return false };
    let codec = if kind.is_multiple_of(2) { Codec::Json } else { Codec::MessagePack };
    let Ok(message) = Message::decode(codec, &Bytes::copy_from_slice(rest)) else { return false };
    let mut again = Vec::new();
    message.encode(codec, &mut again);
    assert_eq!(Message::decode(codec, &again.into()), Ok(message));
    true
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
        message_type: 1,
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
