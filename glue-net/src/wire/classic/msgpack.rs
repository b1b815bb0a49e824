//! The container as a MessagePack map with the Go struct's field names, in its order. Where the struct has an address
//! twice, as text and as parts, either is read, the parts win, and both are written.

use std::net::SocketAddr;

use bytes::Bytes;

use super::pack::Pack;
use super::unpack::Unpack;
use super::{Announcement, Body, Container, Frame, Ksuid, Message, Native, address, bounded, duration};
use crate::wire::DecodeError;
use crate::{EndpointId, Incarnation, NetworkId, WallTime};

pub(super) fn container(datagram: &Bytes) -> Result<Container, DecodeError> {
    let mut from = Unpack::new(datagram);
    let mut it = Container::blank();
    let (mut announced, mut framed) = (None, None);
    for _ in 0..from.map("container")?.unwrap_or(0) {
        match from.key()? {
            b"SentTimestamp" => it.sent_timestamp = from.time("SentTimestamp")?,
            b"LastSentTimestamp" => it.last_sent_timestamp = from.time("LastSentTimestamp")?,
            b"SentBy" => it.sent_by = it.sent_by.or(from.address()?),
            b"SentByAddr" => it.sent_by = from.addr()?.or(it.sent_by),
            b"SentTo" => it.sent_to = it.sent_to.or(from.address()?),
            b"SentToAddr" => it.sent_to = from.addr()?.or(it.sent_to),
            b"ReceivedTimestamp" => it.received_timestamp = from.time("ReceivedTimestamp")?,
            b"ReceivedFrom" => it.received_from = it.received_from.or(from.address()?),
            b"ReceivedFromAddr" => it.received_from = from.addr()?.or(it.received_from),
            b"ReceivedBy" => it.received_by = it.received_by.or(from.address()?),
            b"ReceivedByAddr" => it.received_by = from.addr()?.or(it.received_by),
            b"NetworkID" => it.network_id = NetworkId(from.int("NetworkID")?),
            b"SourceEndpointID" => it.source_endpoint_id = from.endpoint_id("SourceEndpointID")?,
            b"SourceEndpointName" => it.source_endpoint_name = from.name("SourceEndpointName")?,
            b"Announcement" => announced = announcement(&mut from)?,
            b"Frame" => framed = frame(&mut from)?,
            _ => from.skip()?,
        }
    }
    it.body = Body::one_of(announced, framed)?;
    Ok(it)
}

fn announcement(from: &mut Unpack<'_>) -> Result<Option<Announcement>, DecodeError> {
    let Some(keys) = from.map("Announcement")? else { return Ok(None) };
    let mut it = Announcement::blank();
    let mut extension = NativeKeys::default();
    for _ in 0..keys {
        match from.key()? {
            b"SentRate" => it.sent_rate = duration(from.int("SentRate")?),
            b"ListenPort" => it.listen_port = from.int("ListenPort")?,
            b"ListenAddr" => it.listen_addr = from.addr()?,
            b"DiscoveryListenAddress" => it.discovery_listen_addr = it.discovery_listen_addr.or(from.address()?),
            b"DiscoveryListenAddr" => it.discovery_listen_addr = from.addr()?.or(it.discovery_listen_addr),
            b"DiscoveryTargetAddress" => it.discovery_target_addr = it.discovery_target_addr.or(from.address()?),
            b"DiscoveryTargetAddr" => it.discovery_target_addr = from.addr()?.or(it.discovery_target_addr),
            b"Forwarded" => it.forwarded = from.bool("Forwarded")?,
            key => extension.read(key, from)?,
        }
    }
    it.native = extension.native();
    Ok(Some(it))
}

/// Our keys of an announcement, as far as they have come.
#[derive(Default)]
struct NativeKeys {
    version: Option<u8>,
    incarnation: u64,
    capabilities: u64,
    goodbye: bool,
}

impl NativeKeys {
    fn read(&mut self, key: &[u8], from: &mut Unpack<'_>) -> Result<(), DecodeError> {
        match key {
            b"GlueVersion" => self.version = Some(from.int("GlueVersion")?),
            b"GlueIncarnation" => self.incarnation = from.int("GlueIncarnation")?,
            b"GlueCapabilities" => self.capabilities = from.int("GlueCapabilities")?,
            b"GlueGoodbye" => self.goodbye = from.bool("GlueGoodbye")?,
            _ => from.skip()?,
        }
        Ok(())
    }

    fn native(self) -> Option<Native> {
        let Self { version, incarnation, capabilities, goodbye } = self;
        version.map(|version| Native { version, incarnation: Incarnation(incarnation), capabilities, goodbye })
    }
}

fn frame(from: &mut Unpack<'_>) -> Result<Option<Frame>, DecodeError> {
    let Some(keys) = from.map("Frame")? else { return Ok(None) };
    let mut it = Frame::default();
    for _ in 0..keys {
        match from.key()? {
            b"ResendPeriod" => it.resend_period = duration(from.int("ResendPeriod")?),
            b"ResendExpiry" => it.resend_expiry = duration(from.int("ResendExpiry")?),
            b"FrameID" => it.frame_id = from.ksuid("FrameID")?,
            b"CorrelationID" => it.correlation_id = from.ksuid("CorrelationID")?,
            b"FragmentCount" => it.fragment_count = from.int("FragmentCount")?,
            b"FragmentIndex" => it.fragment_index = from.int("FragmentIndex")?,
            b"DestinationEndpointID" => it.destination_endpoint_id = from.endpoint_id("DestinationEndpointID")?,
            b"DestinationEndpointName" => it.destination_endpoint_name = from.name("DestinationEndpointName")?,
            b"NeedsAck" => it.needs_ack = from.bool("NeedsAck")?,
            b"IsAck" => it.is_ack = from.bool("IsAck")?,
            b"Payload" => it.payload = from.bytes("Payload")?.unwrap_or_default(),
            _ => from.skip()?,
        }
    }
    Ok(Some(it))
}

pub(super) fn message(bytes: &Bytes) -> Result<Message, DecodeError> {
    let mut from = Unpack::new(bytes);
    let mut it = Message::blank();
    for _ in 0..from.map("message")?.ok_or(DecodeError::Malformed("message"))? {
        match from.key()? {
            b"Timestamp" => it.timestamp = from.time("Timestamp")?,
            b"Expiry" => it.expiry = duration(from.int("Expiry")?),
            b"EndpointID" => it.endpoint_id = from.endpoint_id("EndpointID")?,
            b"EndpointName" => it.endpoint_name = from.name("EndpointName")?,
            b"SequenceNumber" => it.sequence_number = from.int("SequenceNumber")?,
            b"TopicName" => it.topic_name = from.name("TopicName")?,
            b"TopicType" => it.topic_type = from.name("TopicType")?,
            b"MessageType" => it.message_type = from.int("MessageType")?,
            b"Payload" => it.payload = from.bytes("Payload")?,
            _ => from.skip()?,
        }
    }
    Ok(it)
}

/// The values that containers are made of.
impl Unpack<'_> {
    fn name(&mut self, what: &'static str) -> Result<String, DecodeError> {
        let bytes = self.blob(what)?.unwrap_or_default();
        bounded(std::str::from_utf8(bytes).map_err(|_| DecodeError::Malformed(what))?, what)
    }

    fn ksuid(&mut self, what: &'static str) -> Result<Ksuid, DecodeError> {
        let Some(bytes) = self.blob(what)? else { return Ok(Ksuid::default()) };
        if let Ok(bytes) = bytes.try_into() {
            return Ok(Ksuid(bytes));
        }
        text(bytes).parse().map_err(|_| DecodeError::Malformed(what))
    }

    fn endpoint_id(&mut self, what: &'static str) -> Result<EndpointId, DecodeError> {
        self.ksuid(what).map(|Ksuid(bytes)| EndpointId::from_bytes(bytes))
    }

    /// An address as text.
    fn address(&mut self) -> Result<Option<SocketAddr>, DecodeError> {
        let bytes = self.blob("address")?.unwrap_or_default();
        Ok(address::from_text(text(bytes)))
    }

    /// An address as the reference's address struct.
    fn addr(&mut self) -> Result<Option<SocketAddr>, DecodeError> {
        let (mut ip, mut port, mut zone) = (None, 0, None);
        for _ in 0..self.map("address")?.unwrap_or(0) {
            match self.key()? {
                b"IP" => ip = self.blob("IP")?,
                b"Port" => port = self.int("Port")?,
                b"Zone" => zone = self.blob("Zone")?,
                _ => self.skip()?,
            }
        }
        Ok(address::from_parts(text(ip.unwrap_or_default()), port, text(zone.unwrap_or_default())))
    }
}

/// Text to be parsed; what is no UTF-8 is nothing that can be.
fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

pub(super) fn put_container(it: &Container, out: &mut Vec<u8>) {
    // The reference fills these two when it receives a container, so they are set in what it forwards.
    let parts = |address| if it.received_timestamp == WallTime::ZERO_TIME { None } else { address };
    let mut to = Pack(out);
    to.map(16);
    to.time("SentTimestamp", it.sent_timestamp);
    to.time("LastSentTimestamp", it.last_sent_timestamp);
    to.address("SentBy", it.sent_by);
    to.addr("SentByAddr", parts(it.sent_by));
    to.address("SentTo", it.sent_to);
    to.addr("SentToAddr", parts(it.sent_to));
    to.time("ReceivedTimestamp", it.received_timestamp);
    to.address("ReceivedFrom", it.received_from);
    to.nil("ReceivedFromAddr");
    to.address("ReceivedBy", it.received_by);
    to.nil("ReceivedByAddr");
    to.int64("NetworkID", it.network_id.0);
    to.bin("SourceEndpointID", it.source_endpoint_id.as_bytes());
    to.str("SourceEndpointName", &it.source_endpoint_name);
    match &it.body {
        Body::Announcement(announcement) => {
            to.key("Announcement");
            put_announcement(announcement, &mut to);
            to.nil("Frame");
        }
        Body::Frame(frame) => {
            to.nil("Announcement");
            to.key("Frame");
            put_frame(frame, &mut to);
        }
    }
}

fn put_announcement(it: &Announcement, to: &mut Pack<'_>) {
    to.map(if it.native.is_some() { 12 } else { 8 });
    to.duration("SentRate", it.sent_rate);
    to.int("ListenPort", it.listen_port.into());
    to.addr("ListenAddr", it.listen_addr);
    to.address("DiscoveryListenAddress", it.discovery_listen_addr);
    to.addr("DiscoveryListenAddr", it.discovery_listen_addr);
    to.address("DiscoveryTargetAddress", it.discovery_target_addr);
    to.addr("DiscoveryTargetAddr", it.discovery_target_addr);
    to.bool("Forwarded", it.forwarded);
    if let Some(native) = it.native {
        to.int("GlueVersion", native.version.into());
        to.uint64("GlueIncarnation", native.incarnation.0);
        to.uint64("GlueCapabilities", native.capabilities);
        to.bool("GlueGoodbye", native.goodbye);
    }
}

fn put_frame(it: &Frame, to: &mut Pack<'_>) {
    to.map(11);
    to.duration("ResendPeriod", it.resend_period);
    to.duration("ResendExpiry", it.resend_expiry);
    to.bin("FrameID", &it.frame_id.0);
    to.bin("CorrelationID", &it.correlation_id.0);
    to.int64("FragmentCount", it.fragment_count.into());
    to.int64("FragmentIndex", it.fragment_index.into());
    to.bin("DestinationEndpointID", it.destination_endpoint_id.as_bytes());
    to.str("DestinationEndpointName", &it.destination_endpoint_name);
    to.bool("NeedsAck", it.needs_ack);
    to.bool("IsAck", it.is_ack);
    to.bin("Payload", &it.payload);
}

pub(super) fn put_message(it: &Message, out: &mut Vec<u8>) {
    let mut to = Pack(out);
    to.map(9);
    to.time("Timestamp", it.timestamp);
    to.duration("Expiry", it.expiry);
    to.bin("EndpointID", it.endpoint_id.as_bytes());
    to.str("EndpointName", &it.endpoint_name);
    to.int64("SequenceNumber", it.sequence_number);
    to.str("TopicName", &it.topic_name);
    to.str("TopicType", &it.topic_type);
    to.int("MessageType", it.message_type);
    match &it.payload {
        Some(payload) => to.bin("Payload", payload),
        None => to.nil("Payload"),
    }
}
