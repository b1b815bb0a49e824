//! The container of the reference's revision 19dfa88: JSON in snake case.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use glue_net::{EndpointId, WallTime};
use serde::{Deserialize, Serialize};

use super::container::{Announcement, Container, Frame, Message};

#[derive(Serialize, Deserialize)]
struct ContainerText {
    sent_timestamp: Option<String>,
    last_sent_timestamp: Option<String>,
    #[serde(default)]
    sent_address: String,
    network_id: i64,
    source_endpoint_id: String,
    source_endpoint_name: String,
    announcement: Option<AnnouncementText>,
    frame: Option<FrameText>,
}

#[derive(Serialize, Deserialize)]
struct AnnouncementText {
    sent_rate: i64,
    listen_port: u16,
}

#[derive(Serialize, Deserialize)]
struct FrameText {
    frame_id: String,
    correlation_id: String,
    fragment_count: i64,
    fragment_index: i64,
    destination_endpoint_id: String,
    destination_endpoint_name: String,
    needs_ack: bool,
    is_ack: bool,
    payload: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct MessageText {
    timestamp: Option<String>,
    expiry: i64,
    endpoint_id: String,
    endpoint_name: String,
    sequence_number: i64,
    topic_name: String,
    topic_type: String,
    message_type: i64,
    payload: Option<String>,
}

pub(super) fn put_container(container: &Container, out: &mut Vec<u8>) {
    let text = ContainerText {
        sent_timestamp: container.sent.map(show_time),
        last_sent_timestamp: container.last_sent.map(show_time),
        sent_address: container.sent_by.clone(),
        network_id: container.network,
        source_endpoint_id: show_id(container.source_id),
        source_endpoint_name: container.source_name.clone(),
        announcement: container
            .announcement
            .as_ref()
            .map(|a| AnnouncementText { sent_rate: a.sent_rate, listen_port: a.listen_port }),
        frame: container.frame.as_ref().map(|frame| FrameText {
            frame_id: show_id(frame.id),
            correlation_id: show_id(frame.correlation),
            fragment_count: frame.count,
            fragment_index: frame.index,
            destination_endpoint_id: show_id(frame.destination_id),
            destination_endpoint_name: frame.destination_name.clone(),
            needs_ack: frame.needs_ack,
            is_ack: frame.is_ack,
            payload: Some(STANDARD.encode(&frame.payload)),
        }),
    };
    serde_json::to_writer(out, &text).expect("text");
}

pub(super) fn container(datagram: &[u8]) -> Option<Container> {
    let text: ContainerText = first(datagram)?;
    let frame = match text.frame {
        None => None,
        Some(frame) => Some(read_frame(frame)?),
    };
    Some(Container {
        sent: read_time(text.sent_timestamp)?,
        last_sent: read_time(text.last_sent_timestamp)?,
        // That revision does not know them.
        received: Some(WallTime::ZERO_TIME),
        sent_by: text.sent_address,
        sent_to: String::new(),
        received_from: String::new(),
        received_by: String::new(),
        network: text.network_id,
        source_id: read_id(&text.source_endpoint_id)?,
        source_name: text.source_endpoint_name,
        announcement: text.announcement.map(|a| Announcement {
            sent_rate: a.sent_rate,
            listen_port: a.listen_port,
            listen: None,
            discovery_listen: None,
            discovery_target: None,
            forwarded: false,
        }),
        frame,
    })
}

pub(super) fn put_message(message: &Message, out: &mut Vec<u8>) {
    let text = MessageText {
        timestamp: message.timestamp.map(show_time),
        expiry: message.expiry,
        endpoint_id: show_id(message.endpoint_id),
        endpoint_name: message.endpoint_name.clone(),
        sequence_number: message.sequence,
        topic_name: message.topic.clone(),
        topic_type: message.topic_type.clone(),
        message_type: message.message_type,
        payload: message.payload.as_ref().map(|payload| STANDARD.encode(payload)),
    };
    serde_json::to_writer(out, &text).expect("text");
}

pub(super) fn message(bytes: &[u8]) -> Option<Message> {
    let text: MessageText = first(bytes)?;
    Some(Message {
        timestamp: read_time(text.timestamp)?,
        expiry: text.expiry,
        endpoint_id: read_id(&text.endpoint_id)?,
        endpoint_name: text.endpoint_name,
        sequence: text.sequence_number,
        topic: text.topic_name,
        topic_type: text.topic_type,
        message_type: text.message_type,
        payload: match text.payload {
            None => None,
            Some(payload) => Some(STANDARD.decode(payload).ok()?),
        },
    })
}

fn read_frame(frame: FrameText) -> Option<Frame> {
    Some(Frame {
        resend_period: 0,
        resend_expiry: 0,
        id: read_id(&frame.frame_id)?,
        correlation: read_id(&frame.correlation_id)?,
        count: frame.fragment_count,
        index: frame.fragment_index,
        destination_id: read_id(&frame.destination_endpoint_id)?,
        destination_name: frame.destination_endpoint_name,
        needs_ack: frame.needs_ack,
        is_ack: frame.is_ack,
        payload: STANDARD.decode(frame.payload.unwrap_or_default()).ok()?,
    })
}

/// The value at the start; what follows it is ignored.
fn first<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    serde_json::Deserializer::from_slice(bytes).into_iter().next()?.ok()
}

fn show_id(id: [u8; 20]) -> String {
    EndpointId::from_bytes(id).to_string()
}

fn read_id(text: &str) -> Option<[u8; 20]> {
    text.parse::<EndpointId>().ok().map(|id| *id.as_bytes())
}

/// RFC 3339 with the nanoseconds' trailing zeros left out, as Go shows it.
fn show_time(time: WallTime) -> String {
    if time == WallTime::ZERO_TIME {
        return "0001-01-01T00:00:00Z".to_owned();
    }
    let nanos = time.as_unix_nanos();
    let (days, rest) = (nanos.div_euclid(DAY), nanos.rem_euclid(DAY));
    let (seconds, nanos) = (rest / SECOND, rest % SECOND);
    // Days are counted from a first of March, so that the leap day is the last of its year; an era is 400 years.
    let since = days + MARCH_OF_YEAR_0;
    let (era, day_of_era) = (since.div_euclid(ERA), since.rem_euclid(ERA));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    let fraction = format!(".{nanos:09}");
    let fraction = fraction.trim_end_matches('0').trim_end_matches('.');
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z")
}

/// Outer `None`: unreadable. Inner: nil.
#[expect(clippy::option_option, reason = "what is nil and what is unreadable are two things")]
fn read_time(text: Option<String>) -> Option<Option<WallTime>> {
    let Some(text) = text else { return Some(None) };
    if text == "0001-01-01T00:00:00Z" {
        return Some(Some(WallTime::ZERO_TIME));
    }
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let [year, month, day] = numbers(date, '-')?;
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let [hour, minute, second] = numbers(time, ':')?;
    let nanos: i64 = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    let (year, shifted) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * shifted + 2) / 5 + day - 1;
    let days = era * ERA + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - MARCH_OF_YEAR_0;
    let seconds = (hour * 60 + minute) * 60 + second;
    Some(Some(WallTime::from_unix_nanos(days * DAY + seconds * SECOND + nanos)))
}

fn numbers(text: &str, separator: char) -> Option<[i64; 3]> {
    let numbers: Option<Vec<i64>> = text.split(separator).map(|part| part.parse().ok()).collect();
    numbers?.try_into().ok()
}

const SECOND: i64 = 1_000_000_000;
const DAY: i64 = 86_400 * SECOND;
/// Days of 400 years.
const ERA: i64 = 146_097;
/// Days from 0000-03-01 to the Unix epoch.
const MARCH_OF_YEAR_0: i64 = 719_468;
