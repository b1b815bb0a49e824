//! The container as JSON: the union of the dialects that the reference spoke, so that any of them reads ours.
//!
//! Every field is optional, since the reference reads a missing key and a null as zero. What it leaves out of JSON
//! (when and where a container was received, the resend times) is written only if it is set.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::str::FromStr;

use base64::Engine as _;
use base64::display::Base64Display;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde::de::{DeserializeOwned, Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::address::{self, Address};
use super::stamp::Rfc3339;
use super::{Announcement, Body, Container, Frame, Ksuid, Message, Native, bounded, duration, nanos};
use crate::wire::DecodeError;
use crate::{EndpointId, Incarnation, NetworkId, WallTime};

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct ContainerKeys<'a> {
    sent_timestamp: Option<Text<Rfc3339>>,
    last_sent_timestamp: Option<Text<Rfc3339>>,
    /// The name of `sent_by` while the reference spoke JSON.
    sent_address: Option<Text<Address>>,
    sent_by: Option<Text<Address>>,
    sent_to: Option<Text<Address>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    received_timestamp: Option<Text<Rfc3339>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    received_from: Option<Text<Address>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    received_by: Option<Text<Address>>,
    network_id: Option<i64>,
    source_endpoint_id: Option<Text<Ksuid>>,
    source_endpoint_name: Option<Cow<'a, str>>,
    /// The older dialect's name of `source_endpoint_id`.
    #[serde(skip_serializing)]
    endpoint_id: Option<Text<Ksuid>>,
    /// The older dialect's name of `source_endpoint_name`.
    #[serde(skip_serializing)]
    endpoint_name: Option<Cow<'a, str>>,
    announcement: Option<AnnouncementKeys>,
    frame: Option<FrameKeys<'a>>,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct AnnouncementKeys {
    sent_rate: Option<i64>,
    listen_port: Option<u16>,
    /// The Go struct names no JSON key for this one, and it is no text there.
    #[serde(rename = "ListenAddr", alias = "listen_addr", skip_serializing_if = "Option::is_none")]
    listen_addr: Option<AddrKeys>,
    discovery_listen_address: Option<Text<Address>>,
    discovery_target_address: Option<Text<Address>>,
    #[serde(rename = "Forwarded", alias = "forwarded")]
    forwarded: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    glue_version: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    glue_incarnation: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    glue_capabilities: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    glue_goodbye: Option<bool>,
}

/// The reference's address struct, which it does not rename for JSON.
#[derive(Default, Deserialize, Serialize)]
#[serde(default, rename_all = "PascalCase")]
struct AddrKeys {
    #[serde(rename = "IP")]
    ip: Option<String>,
    port: Option<i64>,
    zone: Option<String>,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct FrameKeys<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    resend_period: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resend_expiry: Option<i64>,
    frame_id: Option<Text<Ksuid>>,
    correlation_id: Option<Text<Ksuid>>,
    fragment_count: Option<u32>,
    fragment_index: Option<u32>,
    destination_endpoint_id: Option<Text<Ksuid>>,
    destination_endpoint_name: Option<Cow<'a, str>>,
    needs_ack: Option<bool>,
    is_ack: Option<bool>,
    payload: Option<Text<Base64>>,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct MessageKeys<'a> {
    timestamp: Option<Text<Rfc3339>>,
    expiry: Option<i64>,
    endpoint_id: Option<Text<Ksuid>>,
    endpoint_name: Option<Cow<'a, str>>,
    sequence_number: Option<i64>,
    topic_name: Option<Cow<'a, str>>,
    topic_type: Option<Cow<'a, str>>,
    message_type: Option<i64>,
    payload: Option<Text<Base64>>,
}

pub(super) fn container(datagram: &[u8]) -> Result<Container, DecodeError> {
    let keys: ContainerKeys<'_> = parse(datagram, "JSON container")?;
    let name = keys.source_endpoint_name.or(keys.endpoint_name);
    Ok(Container {
        sent_timestamp: time(keys.sent_timestamp),
        last_sent_timestamp: time(keys.last_sent_timestamp),
        sent_by: address(keys.sent_by).or_else(|| address(keys.sent_address)),
        sent_to: address(keys.sent_to),
        received_timestamp: time(keys.received_timestamp),
        received_from: address(keys.received_from),
        received_by: address(keys.received_by),
        network_id: NetworkId(keys.network_id.unwrap_or(0)),
        source_endpoint_id: endpoint_id(keys.source_endpoint_id.or(keys.endpoint_id)),
        source_endpoint_name: bounded(&name.unwrap_or_default(), "source_endpoint_name")?,
        body: Body::one_of(
            keys.announcement.map(AnnouncementKeys::read),
            keys.frame.map(FrameKeys::read).transpose()?,
        )?,
    })
}

impl AnnouncementKeys {
    fn read(self) -> Announcement {
        Announcement {
            sent_rate: duration(self.sent_rate.unwrap_or(0)),
            listen_port: self.listen_port.unwrap_or(0),
            listen_addr: self.listen_addr.and_then(|addr| {
                let AddrKeys { ip, port, zone } = addr;
                address::from_parts(&ip?, port.unwrap_or(0), &zone.unwrap_or_default())
            }),
            discovery_listen_addr: address(self.discovery_listen_address),
            discovery_target_addr: address(self.discovery_target_address),
            forwarded: self.forwarded.unwrap_or(false),
            native: self.glue_version.map(|version| Native {
                version,
                incarnation: Incarnation(self.glue_incarnation.unwrap_or(0)),
                capabilities: self.glue_capabilities.unwrap_or(0),
                goodbye: self.glue_goodbye.unwrap_or(false),
            }),
        }
    }

    fn of(it: &Announcement) -> Self {
        Self {
            sent_rate: Some(nanos(it.sent_rate)),
            listen_port: Some(it.listen_port),
            listen_addr: it.listen_addr.map(|address| AddrKeys {
                ip: Some(address.ip().to_string()),
                port: Some(address.port().into()),
                zone: Some(address::zone(address)),
            }),
            discovery_listen_address: Some(Text(Address(it.discovery_listen_addr))),
            discovery_target_address: Some(Text(Address(it.discovery_target_addr))),
            forwarded: Some(it.forwarded),
            glue_version: it.native.map(|native| native.version),
            glue_incarnation: it.native.map(|native| native.incarnation.0),
            glue_capabilities: it.native.map(|native| native.capabilities),
            glue_goodbye: it.native.map(|native| native.goodbye),
        }
    }
}

impl<'a> FrameKeys<'a> {
    fn read(self) -> Result<Frame, DecodeError> {
        Ok(Frame {
            resend_period: duration(self.resend_period.unwrap_or(0)),
            resend_expiry: duration(self.resend_expiry.unwrap_or(0)),
            frame_id: ksuid(self.frame_id),
            correlation_id: ksuid(self.correlation_id),
            fragment_count: self.fragment_count.unwrap_or(0),
            fragment_index: self.fragment_index.unwrap_or(0),
            destination_endpoint_id: endpoint_id(self.destination_endpoint_id),
            destination_endpoint_name: name(self.destination_endpoint_name, "destination_endpoint_name")?,
            needs_ack: self.needs_ack.unwrap_or(false),
            is_ack: self.is_ack.unwrap_or(false),
            payload: bytes(self.payload).unwrap_or_default(),
        })
    }

    fn of(it: &'a Frame) -> Self {
        Self {
            resend_period: Some(nanos(it.resend_period)).filter(|nanos| *nanos > 0),
            resend_expiry: Some(nanos(it.resend_expiry)).filter(|nanos| *nanos > 0),
            frame_id: Some(Text(it.frame_id)),
            correlation_id: Some(Text(it.correlation_id)),
            fragment_count: Some(it.fragment_count),
            fragment_index: Some(it.fragment_index),
            destination_endpoint_id: id_text(it.destination_endpoint_id),
            destination_endpoint_name: Some(Cow::Borrowed(&it.destination_endpoint_name)),
            needs_ack: Some(it.needs_ack),
            is_ack: Some(it.is_ack),
            payload: Some(Text(Base64(it.payload.clone()))),
        }
    }
}

pub(super) fn message(bytes: &[u8]) -> Result<Message, DecodeError> {
    let keys: MessageKeys<'_> = parse(bytes, "JSON message")?;
    Ok(Message {
        timestamp: time(keys.timestamp),
        expiry: duration(keys.expiry.unwrap_or(0)),
        endpoint_id: endpoint_id(keys.endpoint_id),
        endpoint_name: name(keys.endpoint_name, "endpoint_name")?,
        sequence_number: keys.sequence_number.unwrap_or(0),
        topic_name: name(keys.topic_name, "topic_name")?,
        topic_type: name(keys.topic_type, "topic_type")?,
        message_type: keys.message_type.unwrap_or(0),
        payload: self::bytes(keys.payload),
    })
}

pub(super) fn put_container(it: &Container, out: &mut Vec<u8>) {
    let (announcement, frame) = match &it.body {
        Body::Announcement(announcement) => (Some(AnnouncementKeys::of(announcement)), None),
        Body::Frame(frame) => (None, Some(FrameKeys::of(frame))),
    };
    let keys = ContainerKeys {
        sent_timestamp: Some(Text(Rfc3339(it.sent_timestamp))),
        last_sent_timestamp: Some(Text(Rfc3339(it.last_sent_timestamp))),
        sent_address: Some(Text(Address(it.sent_by))),
        sent_by: Some(Text(Address(it.sent_by))),
        sent_to: Some(Text(Address(it.sent_to))),
        received_timestamp: Some(it.received_timestamp)
            .filter(|time| *time != WallTime::ZERO_TIME)
            .map(Rfc3339)
            .map(Text),
        received_from: it.received_from.map(|from| Text(Address(Some(from)))),
        received_by: it.received_by.map(|by| Text(Address(Some(by)))),
        network_id: Some(it.network_id.0),
        source_endpoint_id: id_text(it.source_endpoint_id),
        source_endpoint_name: Some(Cow::Borrowed(&it.source_endpoint_name)),
        endpoint_id: None,
        endpoint_name: None,
        announcement,
        frame,
    };
    write(&keys, out);
}

pub(super) fn put_message(it: &Message, out: &mut Vec<u8>) {
    let keys = MessageKeys {
        timestamp: Some(Text(Rfc3339(it.timestamp))),
        expiry: Some(nanos(it.expiry)),
        endpoint_id: id_text(it.endpoint_id),
        endpoint_name: Some(Cow::Borrowed(&it.endpoint_name)),
        sequence_number: Some(it.sequence_number),
        topic_name: Some(Cow::Borrowed(&it.topic_name)),
        topic_type: Some(Cow::Borrowed(&it.topic_type)),
        message_type: Some(it.message_type),
        payload: it.payload.clone().map(Base64).map(Text),
    };
    write(&keys, out);
}

/// Reads one value from the front; what follows it is ignored.
fn parse<T: DeserializeOwned>(json: &[u8], what: &'static str) -> Result<T, DecodeError> {
    T::deserialize(&mut serde_json::Deserializer::from_slice(json))
        .map_err(|error| if error.is_eof() { DecodeError::Truncated } else { DecodeError::Malformed(what) })
}

fn write(keys: &impl Serialize, out: &mut Vec<u8>) {
    let written = serde_json::to_writer(out, keys);
    debug_assert!(written.is_ok(), "writing to a vector does not fail, and every key is text");
}

fn time(text: Option<Text<Rfc3339>>) -> WallTime {
    text.map_or(WallTime::ZERO_TIME, |Text(Rfc3339(time))| time)
}

fn address(text: Option<Text<Address>>) -> Option<SocketAddr> {
    text.and_then(|Text(Address(address))| address)
}

fn ksuid(text: Option<Text<Ksuid>>) -> Ksuid {
    text.map(|Text(ksuid)| ksuid).unwrap_or_default()
}

fn endpoint_id(text: Option<Text<Ksuid>>) -> EndpointId {
    EndpointId::from_bytes(ksuid(text).0)
}

fn id_text(id: EndpointId) -> Option<Text<Ksuid>> {
    Some(Text(Ksuid(*id.as_bytes())))
}

fn name(text: Option<Cow<'_, str>>, what: &'static str) -> Result<String, DecodeError> {
    bounded(&text.unwrap_or_default(), what)
}

fn bytes(text: Option<Text<Base64>>) -> Option<Bytes> {
    text.map(|Text(Base64(bytes))| bytes)
}

/// A JSON string that is the text of a `T`.
struct Text<T>(T);

impl<T: fmt::Display> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&self.0)
    }
}

impl<'de, T: FromStr> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_str(TextVisitor(PhantomData)).map(Text)
    }
}

struct TextVisitor<T>(PhantomData<T>);

impl<T: FromStr> Visitor<'_> for TextVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the text of a value")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(|_| E::custom("unreadable text"))
    }
}

/// Bytes as the reference writes them in JSON: the standard alphabet, padded.
struct Base64(Bytes);

impl fmt::Display for Base64 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Base64Display::new(&self.0, &BASE64_STANDARD).fmt(f)
    }
}

impl FromStr for Base64 {
    type Err = base64::DecodeError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        BASE64_STANDARD.decode(text).map(Bytes::from).map(Self)
    }
}
