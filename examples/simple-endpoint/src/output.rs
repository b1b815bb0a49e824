//! What is printed on standard output.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Write};

use serde::{Deserialize, Serialize};

use crate::tally::Counts;

/// One line. In JSON it is an object whose `event` tells which.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Line<'a> {
    /// A message came.
    Message(Message<'a>),
    /// A peer is gone.
    PeerDown(Peer<'a>),
    /// A peer is there.
    PeerUp(Peer<'a>),
    /// A publisher's last line.
    Published {
        /// How many messages.
        count: u64,
        /// Whether each was acknowledged by every subscriber that can be reached, or has expired.
        settled: bool,
    },
    /// A subscriber's last line.
    Summary(Counts),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Message<'a> {
    /// The publisher's name.
    pub(crate) from: Cow<'a, str>,
    pub(crate) topic: Cow<'a, str>,
    #[serde(rename = "type")]
    pub(crate) topic_type: Cow<'a, str>,
    /// Its number, if the payload begins with one.
    pub(crate) seq: Option<u64>,
    /// Bytes of the payload.
    pub(crate) size: usize,
    /// From publishing to printing, in microseconds, if the publisher told the time.
    pub(crate) age_us: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Peer<'a> {
    pub(crate) name: Cow<'a, str>,
    /// A KSUID.
    pub(crate) id: String,
    pub(crate) wire: WireName,
}

/// The wire that a peer speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WireName {
    /// The reference implementation's.
    Classic,
    /// Ours.
    Native,
}

/// For whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// Programs.
    Json,
    /// People.
    Text,
}

impl Output {
    pub(crate) fn print(self, line: &Line<'_>) -> io::Result<()> {
        let mut out = io::stdout().lock();
        match self {
            Self::Json => {
                serde_json::to_writer(&mut out, line)?;
                writeln!(out)
            }
            Self::Text => writeln!(out, "{line}"),
        }
    }
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message(message) => message.fmt(f),
            Self::PeerDown(peer) => write!(f, "peer down: {}", peer.name),
            Self::PeerUp(peer) => write!(f, "peer up: {} ({}, {} wire)", peer.name, peer.id, peer.wire),
            Self::Published { count, settled: true } => write!(f, "published {count}; all acknowledged or expired"),
            Self::Published { count, settled: false } => write!(f, "published {count}; some not acknowledged yet"),
            Self::Summary(Counts { received, lost, duplicates, out_of_order }) => {
                write!(f, "received {received}, lost {lost}, duplicates {duplicates}, out of order {out_of_order}")
            }
        }
    }
}

impl fmt::Display for WireName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Classic => "classic",
            Self::Native => "native",
        })
    }
}

impl fmt::Display for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, topic, topic_type, seq, size, age_us } = self;
        write!(f, "{topic} ({topic_type}) from {from}: ")?;
        if let Some(seq) = seq {
            write!(f, "number {seq}, ")?;
        }
        write!(f, "{size} bytes")?;
        age_us.map_or(Ok(()), |age| write!(f, ", {}.{:03} ms old", age / 1_000, age % 1_000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_round_trip(line: &Line<'_>, json: &str) {
        assert_eq!(serde_json::to_string(line).unwrap(), json);
        assert_eq!(serde_json::from_str::<Line<'_>>(json).unwrap(), *line);
    }

    fn message(seq: Option<u64>, age_us: Option<u64>) -> Line<'static> {
        let (from, topic, topic_type) = ("Endpoint \"1\"".into(), "t".into(), "ty".into());
        Line::Message(Message { from, topic, topic_type, seq, size: 9, age_us })
    }

    #[test]
    fn a_message_is_one_object() {
        let json =
            r#"{"event":"message","from":"Endpoint \"1\"","topic":"t","type":"ty","seq":7,"size":9,"age_us":1234}"#;
        assert_round_trip(&message(Some(7), Some(1_234)), json);
    }

    #[test]
    fn what_is_not_known_of_a_message_is_null() {
        let json =
            r#"{"event":"message","from":"Endpoint \"1\"","topic":"t","type":"ty","seq":null,"size":9,"age_us":null}"#;
        assert_round_trip(&message(None, None), json);
        assert_eq!(message(None, None).to_string(), r#"t (ty) from Endpoint "1": 9 bytes"#);
    }

    #[test]
    fn a_peer_and_a_summary_are_one_object_each() {
        let peer = Peer { name: "n".into(), id: "i".to_owned(), wire: WireName::Native };
        assert_round_trip(&Line::PeerUp(peer.clone()), r#"{"event":"peer_up","name":"n","id":"i","wire":"native"}"#);
        assert_round_trip(&Line::PeerDown(peer), r#"{"event":"peer_down","name":"n","id":"i","wire":"native"}"#);
        let counts = Counts { received: 4, lost: 3, duplicates: 2, out_of_order: 1 };
        let json = r#"{"event":"summary","received":4,"lost":3,"duplicates":2,"out_of_order":1}"#;
        assert_round_trip(&Line::Summary(counts), json);
    }

    #[test]
    fn a_message_reads_well() {
        let expected = r#"t (ty) from Endpoint "1": number 7, 9 bytes, 1.234 ms old"#;
        assert_eq!(message(Some(7), Some(1_234)).to_string(), expected);
    }
}
