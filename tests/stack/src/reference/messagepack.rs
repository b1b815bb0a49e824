//! The container of the reference's head: MessagePack, the Go struct's field names.

use std::net::SocketAddr;

use super::container::{Announcement, Container, Frame, Message};
use super::pack::{Reader, Value};

pub(super) fn put_container(container: &Container, out: &mut Vec<u8>) {
    let time = |time: Option<_>| time.map_or(Value::Nil, Value::Time);
    let text = |text: &str| Value::Text(text.to_owned());
    // Forwarding fills some addresses in, and encoding a received container leaves others resolved: both are left nil.
    map([
        ("SentTimestamp", time(container.sent)),
        ("LastSentTimestamp", time(container.last_sent)),
        ("SentBy", text(&container.sent_by)),
        ("SentByAddr", Value::Nil),
        ("SentTo", text(&container.sent_to)),
        ("SentToAddr", Value::Nil),
        ("ReceivedTimestamp", time(container.received)),
        ("ReceivedFrom", text(&container.received_from)),
        ("ReceivedFromAddr", Value::Nil),
        ("ReceivedBy", text(&container.received_by)),
        ("ReceivedByAddr", Value::Nil),
        ("NetworkID", Value::Int(container.network)),
        ("SourceEndpointID", Value::Bytes(container.source_id.to_vec())),
        ("SourceEndpointName", text(&container.source_name)),
        ("Announcement", container.announcement.as_ref().map_or(Value::Nil, announcement)),
        ("Frame", container.frame.as_ref().map_or(Value::Nil, frame)),
    ])
    .put(out);
}

pub(super) fn container(datagram: &[u8]) -> Option<Container> {
    let value = Reader(datagram).value()?;
    let (announcement, frame) = (value.get("Announcement"), value.get("Frame"));
    Some(Container {
        sent: value.get("SentTimestamp").time(),
        last_sent: value.get("LastSentTimestamp").time(),
        received: value.get("ReceivedTimestamp").time(),
        sent_by: value.get("SentBy").text(),
        sent_to: value.get("SentTo").text(),
        received_from: value.get("ReceivedFrom").text(),
        received_by: value.get("ReceivedBy").text(),
        network: value.get("NetworkID").int(),
        source_id: id(value.get("SourceEndpointID"))?,
        source_name: value.get("SourceEndpointName").text(),
        announcement: (*announcement != Value::Nil).then(|| read_announcement(announcement)),
        frame: if *frame == Value::Nil { None } else { Some(read_frame(frame)?) },
    })
}

pub(super) fn put_message(message: &Message, out: &mut Vec<u8>) {
    map([
        ("Timestamp", message.timestamp.map_or(Value::Nil, Value::Time)),
        ("Expiry", Value::Int(message.expiry)),
        ("EndpointID", Value::Bytes(message.endpoint_id.to_vec())),
        ("EndpointName", Value::Text(message.endpoint_name.clone())),
        ("SequenceNumber", Value::Int(message.sequence)),
        ("TopicName", Value::Text(message.topic.clone())),
        ("TopicType", Value::Text(message.topic_type.clone())),
        ("MessageType", u16::try_from(message.message_type).map_or(Value::Int(message.message_type), Value::Small)),
        ("Payload", message.payload.clone().map_or(Value::Nil, Value::Bytes)),
    ])
    .put(out);
}

pub(super) fn message(bytes: &[u8]) -> Option<Message> {
    let value = Reader(bytes).value()?;
    Some(Message {
        timestamp: value.get("Timestamp").time(),
        expiry: value.get("Expiry").int(),
        endpoint_id: id(value.get("EndpointID"))?,
        endpoint_name: value.get("EndpointName").text(),
        sequence: value.get("SequenceNumber").int(),
        topic: value.get("TopicName").text(),
        topic_type: value.get("TopicType").text(),
        message_type: value.get("MessageType").int(),
        payload: value.get("Payload").bytes(),
    })
}

fn announcement(announcement: &Announcement) -> Value {
    let address = |address: Option<SocketAddr>| address.map_or(Value::Nil, put_address);
    let text = |address: Option<SocketAddr>| Value::Text(address.map_or_else(String::new, |a| a.to_string()));
    map([
        ("SentRate", Value::Int(announcement.sent_rate)),
        ("ListenPort", Value::Small(announcement.listen_port)),
        ("ListenAddr", address(announcement.listen)),
        ("DiscoveryListenAddress", text(announcement.discovery_listen)),
        ("DiscoveryListenAddr", address(announcement.discovery_listen)),
        ("DiscoveryTargetAddress", text(announcement.discovery_target)),
        ("DiscoveryTargetAddr", address(announcement.discovery_target)),
        ("Forwarded", Value::Bool(announcement.forwarded)),
    ])
}

fn read_announcement(value: &Value) -> Announcement {
    Announcement {
        sent_rate: value.get("SentRate").int(),
        listen_port: u16::try_from(value.get("ListenPort").int()).unwrap_or(0),
        listen: address(value.get("ListenAddr")),
        discovery_listen: address(value.get("DiscoveryListenAddr")),
        discovery_target: address(value.get("DiscoveryTargetAddr")),
        forwarded: value.get("Forwarded").is_true(),
    }
}

fn frame(frame: &Frame) -> Value {
    map([
        ("ResendPeriod", Value::Int(frame.resend_period)),
        ("ResendExpiry", Value::Int(frame.resend_expiry)),
        ("FrameID", Value::Bytes(frame.id.to_vec())),
        ("CorrelationID", Value::Bytes(frame.correlation.to_vec())),
        ("FragmentCount", Value::Int(frame.count)),
        ("FragmentIndex", Value::Int(frame.index)),
        ("DestinationEndpointID", Value::Bytes(frame.destination_id.to_vec())),
        ("DestinationEndpointName", Value::Text(frame.destination_name.clone())),
        ("NeedsAck", Value::Bool(frame.needs_ack)),
        ("IsAck", Value::Bool(frame.is_ack)),
        ("Payload", Value::Bytes(frame.payload.clone())),
    ])
}

fn read_frame(value: &Value) -> Option<Frame> {
    Some(Frame {
        resend_period: value.get("ResendPeriod").int(),
        resend_expiry: value.get("ResendExpiry").int(),
        id: id(value.get("FrameID"))?,
        correlation: id(value.get("CorrelationID"))?,
        count: value.get("FragmentCount").int(),
        index: value.get("FragmentIndex").int(),
        destination_id: id(value.get("DestinationEndpointID"))?,
        destination_name: value.get("DestinationEndpointName").text(),
        needs_ack: value.get("NeedsAck").is_true(),
        is_ack: value.get("IsAck").is_true(),
        payload: value.get("Payload").bytes().unwrap_or_default(),
    })
}

fn put_address(address: SocketAddr) -> Value {
    map([
        ("IP", Value::Bytes(address.ip().to_string().into_bytes())),
        ("Port", Value::Small(address.port())),
        ("Zone", Value::Text(String::new())),
    ])
}

fn address(value: &Value) -> Option<SocketAddr> {
    let ip = value.get("IP").text().parse().ok()?;
    Some(SocketAddr::new(ip, u16::try_from(value.get("Port").int()).ok()?))
}

fn id(value: &Value) -> Option<[u8; 20]> {
    value.bytes()?.try_into().ok()
}

fn map<const N: usize>(entries: [(&str, Value); N]) -> Value {
    Value::Map(entries.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}
