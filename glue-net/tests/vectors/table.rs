//! What each captured datagram says. From the tools that captured them, not from our decoder.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use glue_net::wire::classic::{Announcement, Body, Codec, Container, Frame, Ksuid, Message};
use glue_net::{EndpointId, NetworkId, WallTime};

type Endpoint = (&'static str, &'static str);
const SUB_B: Endpoint = ("3MObaaaaaaaaaaaaaaaaaaaaaaa", "sub-b");
const PUB_A: Endpoint = ("3MObbbbbbbbbbbbbbbbbbbbbbbb", "pub-a");
const PY_NOACK: Endpoint = ("3MObddddddddddddddddddddddd", "py-noack");
const PUB_GO: Endpoint = ("3MObeeeeeeeeeeeeeeeeeeeeeee", "pub-go");

/// A captured datagram.
#[derive(Clone)]
pub(crate) struct Vector {
    /// Its file, without the ending.
    pub(crate) name: &'static str,
    pub(crate) codec: Codec,
    /// What it decodes to, but for the frame's payload.
    pub(crate) container: Container,
    pub(crate) payload: Payload,
}

/// What the frame's payload is.
#[derive(Clone)]
pub(crate) enum Payload {
    Empty,
    Message(Message),
    /// A fragment: its length, and how it begins, in hex.
    Piece {
        len: usize,
        start: &'static str,
    },
}

pub(crate) fn vectors() -> Vec<Vector> {
    [messagepack(), json()].concat()
}

#[rustfmt::skip]
fn messagepack() -> Vec<Vector> {
    vec![
        vector("01-announce-multicast-sub", 1_795_224_787_308_903_137, "10.77.0.2:52235", "239.192.137.1:27320", SUB_B)
            .announces(39346),
        vector("02-announce-multicast-pub", 1_795_224_789_709_841_201, "10.77.0.1:58777", "239.192.137.1:27320", PUB_A)
            .announces(58234),
        vector("03-data-single", 1_795_224_789_812_560_752, "10.77.0.1:39320", "10.77.0.2:39346", PUB_A)
            .to(SUB_B, ["3MObvIajJaQaloIoefenO9jraXE", "3MObvJOoAPpjM1rcSgF3WTe9zRA"])
            .carries(1_795_224_789_812_443_451, 1, 1, ("some_topic", "some_type"), Some(b"Hello, world.")),
        vector("04-ack-single", 1_795_224_789_812_775_564, "10.77.0.2:48618", "10.77.0.1:58234", SUB_B)
            .to(PUB_A, ["3MObvIajJaQaloIoefenO9jraXE", "3MObvJOoAPpjM1rcSgF3WTe9zRA"]).acks(),
        vector("05-data-frag-0-of-3", 1_795_224_794_510_395_349, "10.77.0.1:33292", "10.77.0.2:39346", PUB_A)
            .to(SUB_B, ["3MObvpyukGGpuh1lI8Uf6Z76afC", "3MObvuBqxnCVX3daXpjNm2VhOb2"])
            .carries_piece(0, 8192, "89a954696d657374616d70d7ff79a1b9786b00f4daa6457870697279d3000000"),
        vector("06-data-frag-1-of-3", 1_795_224_794_510_490_947, "10.77.0.1:33292", "10.77.0.2:39346", PUB_A)
            .to(SUB_B, ["3MObvv1djSU3GIhWOnjt936vHR6", "3MObvuBqxnCVX3daXpjNm2VhOb2"])
            .carries_piece(1, 8192, "222930373e454c535a61686f767d848b9299a0a7aeb5bcc3cad1d8dfe6edf4fb"),
        vector("07-data-frag-2-of-3", 1_795_224_794_510_519_754, "10.77.0.1:33292", "10.77.0.2:39346", PUB_A)
            .to(SUB_B, ["3MObvthKAuRRJj13RZPVMBnDj0C", "3MObvuBqxnCVX3daXpjNm2VhOb2"])
            .carries_piece(2, 3794, "222930373e454c535a61686f767d848b9299a0a7aeb5bcc3cad1d8dfe6edf4fb"),
        vector("08-ack-of-frag-2", 1_795_224_794_510_716_800, "10.77.0.2:54552", "10.77.0.1:59071", SUB_B)
            .to(PUB_A, ["3MObvthKAuRRJj13RZPVMBnDj0C", "3MObvuBqxnCVX3daXpjNm2VhOb2"]).acks(),
        vector("09-ack-of-frag-0", 1_795_224_794_510_761_005, "10.77.0.2:54552", "10.77.0.1:59071", SUB_B)
            .to(PUB_A, ["3MObvpyukGGpuh1lI8Uf6Z76afC", "3MObvuBqxnCVX3daXpjNm2VhOb2"]).acks(),
        vector("10-ack-of-frag-1", 1_795_224_794_510_790_095, "10.77.0.2:54552", "10.77.0.1:59071", SUB_B)
            .to(PUB_A, ["3MObvv1djSU3GIhWOnjt936vHR6", "3MObvuBqxnCVX3daXpjNm2VhOb2"]).acks(),
        vector("11-announce-unicast-sub", 1_795_224_868_453_121_689, "10.77.0.2:33197", "10.77.0.3:27320", SUB_B)
            .announces(49285),
        vector("12-announce-unicast-pub", 1_795_224_868_854_501_566, "10.77.0.1:59423", "10.77.0.3:27320", PUB_A)
            .announces(60010),
        vector("13-announce-forwarded-to-pub", 1_795_224_868_453_121_689, "10.77.0.2:33197", "10.77.0.3:27320", SUB_B)
            .announces(49285)
            .received(1_795_224_868_453_400_975, "10.77.0.2:33197", "239.192.137.1:27320"),
        vector("14-announce-forwarded-to-sub", 1_795_224_868_854_501_566, "10.77.0.1:59423", "10.77.0.3:27320", PUB_A)
            .announces(60010)
            .received(1_795_224_868_854_724_016, "10.77.0.1:59423", "239.192.137.1:27320"),
        vector("15-data-single-unicast-mode", 1_795_224_870_357_448_994, "10.77.0.1:36017", "10.77.0.2:49285", PUB_A)
            .to(SUB_B, ["3MOc5TYU9eYhtRah29XYa2H9TDL", "3MOc5PNxrhVokTTcCYFoU5elIL7"])
            .carries(1_795_224_870_357_343_521, 1, 1, ("some_topic", "some_type"), Some(b"Hello, world.")),
        vector("16-ack-unicast-mode", 1_795_224_870_357_658_414, "10.77.0.2:48895", "10.77.0.1:60010", SUB_B)
            .to(PUB_A, ["3MOc5TYU9eYhtRah29XYa2H9TDL", "3MOc5PNxrhVokTTcCYFoU5elIL7"]).acks(),
        vector("17-data-nil-user-payload", 1_795_225_617_623_779_061, "10.77.0.2:34552", "10.77.0.1:41000", PUB_GO)
            .to(PY_NOACK, ["3MOdbJdCAa0ISwlW1xtYTqHqTYJ", "3MOdbKXcs1sybl2WetOZzVsiE7D"])
            .carries(1_795_225_617_623_675_175, 1, 1, ("t1", "ty1"), None),
        vector("18-data-empty-user-payload", 1_795_225_617_683_920_423, "10.77.0.2:34552", "10.77.0.1:41000", PUB_GO)
            .to(PY_NOACK, ["3MOdbFommnsWYmyWLoJYRJk1HjM", "3MOdbM6Ku6I4l0FiJ8rZ9iraTdu"])
            .carries(1_795_225_617_683_864_513, 1, 2, ("t1", "ty1"), Some(b"")),
        vector("19-data-expiry-60s", 1_795_225_617_744_264_377, "10.77.0.2:34552", "10.77.0.1:41000", PUB_GO)
            .to(PY_NOACK, ["3MOdbLEpKQDIHjH71Pq07LdFTpW", "3MOdbHd14OwegAnFgIp3Qvrg3Hb"])
            .carries(1_795_225_617_744_207_339, 60, 3, ("t1", "ty1"), Some(b"x")),
        vector("20-data-before-resend", 1_795_225_617_934_895_414, "10.77.0.2:34552", "10.77.0.1:41000", PUB_GO)
            .to(PY_NOACK, ["3MOdbG7WZZ72NFBHcsX1Z1i4ohx", "3MOdbMdZaKOuwUN8n4S6sfYewqV"])
            .carries(1_795_225_617_934_835_994, 1, 5, ("t1", "ty1"), Some(b"resend-me-1")),
        vector("21-data-resend", 1_795_225_617_934_895_414, "10.77.0.2:34552", "10.77.0.1:41000", PUB_GO)
            .to(PY_NOACK, ["3MOdbG7WZZ72NFBHcsX1Z1i4ohx", "3MOdbMdZaKOuwUN8n4S6sfYewqV"])
            .last_sent(1_795_225_618_315_486_023)
            .carries(1_795_225_617_934_835_994, 1, 5, ("t1", "ty1"), Some(b"resend-me-1")),
    ]
}

#[rustfmt::skip]
fn json() -> Vec<Vector> {
    vec![
        vector("30-json-announce", 1_795_225_691_325_409_111, "10.77.0.2:35887", "", SUB_B)
            .announces(40000),
        vector("31-json-data", 1_795_225_693_326_568_470, "10.77.0.1:59658", "", PUB_A)
            .to(SUB_B, ["3MOdkqBWWPaRmZNX5qaHD4PHEzR", "3MOdkp6t88xgGPxIg0BTjaXgtFD"])
            .carries(1_795_225_693_326_443_027, 1, 1, ("some_topic", "some_type"), Some(b"Hello, world.")),
        vector("32-json-ack", 1_795_225_693_327_111_031, "10.77.0.2:41147", "", SUB_B)
            .to(PUB_A, ["3MOdkqBWWPaRmZNX5qaHD4PHEzR", "3MOdkp6t88xgGPxIg0BTjaXgtFD"]).acks(),
        vector("33-json-data-empty", 1_795_225_693_377_666_006, "10.77.0.1:59658", "", PUB_A)
            .to(SUB_B, ["3MOdkt0yrO25wRLgkudt6Vi4mvV", "3MOdktk6COw5TCmmPvRKHqKoe6E"])
            .carries(1_795_225_693_377_545_866, 1, 2, ("some_topic", "some_type"), Some(b"")),
        vector("34-json-data-nil", 1_795_225_693_428_878_720, "10.77.0.1:59658", "", PUB_A)
            .to(SUB_B, ["3MOdkthl7v7UhW1MhhoBz5Brwfn", "3MOdkoSEfQzKcf7bLaEeKi1uLsz"])
            .carries(1_795_225_693_428_793_163, 1, 3, ("some_topic", "some_type"), None),
        vector("35-json-data-20000", 1_795_225_693_530_898_201, "10.77.0.1:59658", "", PUB_A)
            .to(SUB_B, ["3MOdkqSMC12d4EVCvLjdJgvXSat", "3MOdkoEGhxuv39Hp9GpTL15nhEZ"])
            .carries(1_795_225_693_530_719_298, 1, 5, ("some_topic", "some_type"), Some(&[0; 20_000])),
        vector("40-json0-announce", 1_795_225_776_892_671_166, "10.77.0.2:36152", "", SUB_B)
            .announces(40000),
        vector("41-json0-data", 1_795_225_778_895_395_425, "10.77.0.1:34723", "", PUB_A)
            .to(SUB_B, ["3MOdvYYdlAcEYb8QYLHJ31AMFhL", "3MOdvYFChHt7Jgncgkz2elF63Ba"])
            .carries(1_795_225_778_895_098_487, 1, 1, ("some_topic", "some_type"), Some(b"Hello, world."))
            .without_publisher(),
        vector("42-json0-ack", 1_795_225_778_895_781_471, "10.77.0.2:49671", "", SUB_B)
            .to(PUB_A, ["3MOdvYYdlAcEYb8QYLHJ31AMFhL", "3MOdvYFChHt7Jgncgkz2elF63Ba"]).acks(),
    ]
}

/// One that announces, until something else is said. Nanoseconds since 1970; empty: no address.
fn vector(name: &'static str, sent: i64, by: &str, to: &str, source: Endpoint) -> Vector {
    let codec = if name.starts_with(['3', '4']) { Codec::Json } else { Codec::MessagePack };
    let container = Container {
        sent_timestamp: WallTime::from_unix_nanos(sent),
        last_sent_timestamp: WallTime::ZERO_TIME,
        sent_by: address(by),
        sent_to: address(to),
        received_timestamp: WallTime::ZERO_TIME,
        received_from: None,
        received_by: None,
        network_id: NetworkId(1),
        source_endpoint_id: id(source),
        source_endpoint_name: source.1.to_owned(),
        body: Body::Frame(Frame::default()),
    };
    Vector { name, codec, container, payload: Payload::Empty }
}

impl Vector {
    /// In MessagePack all addresses are of the interface that it was sent from; JSON only has the port.
    fn announces(mut self, listen_port: u16) -> Self {
        let here = |port| self.container.sent_by.map(|by| SocketAddr::new(by.ip(), port));
        let (listen, discovery) =
            if self.codec == Codec::Json { (None, None) } else { (here(listen_port), here(27_320)) };
        self.container.body = Body::Announcement(Announcement {
            sent_rate: Duration::from_secs(1),
            listen_port,
            listen_addr: listen,
            discovery_listen_addr: discovery,
            discovery_target_addr: self.container.sent_to,
            forwarded: false,
            native: None,
        });
        self
    }

    /// Forwarded, after it was received.
    fn received(mut self, at: i64, from: &str, by: &str) -> Self {
        self.container.received_timestamp = WallTime::from_unix_nanos(at);
        (self.container.received_from, self.container.received_by) = (address(from), address(by));
        if let Body::Announcement(announcement) = &mut self.container.body {
            announcement.forwarded = true;
        }
        self
    }

    fn to(mut self, destination: Endpoint, [frame_id, correlation_id]: [&str; 2]) -> Self {
        self.container.last_sent_timestamp = self.container.sent_timestamp;
        let is_json = self.codec == Codec::Json;
        self.container.body = Body::Frame(Frame {
            resend_period: Duration::from_millis(if is_json { 0 } else { 100 }),
            resend_expiry: Duration::from_millis(if is_json { 0 } else { 500 }),
            frame_id: ksuid(frame_id),
            correlation_id: ksuid(correlation_id),
            fragment_count: 1,
            fragment_index: 0,
            destination_endpoint_id: id(destination),
            destination_endpoint_name: destination.1.to_owned(),
            needs_ack: true,
            is_ack: false,
            payload: Bytes::new(),
        });
        self
    }

    fn frame(&mut self) -> &mut Frame {
        let Body::Frame(frame) = &mut self.container.body else { panic!("no frame") };
        frame
    }

    fn acks(mut self) -> Self {
        let frame = self.frame();
        (frame.resend_period, frame.resend_expiry) = (Duration::ZERO, Duration::ZERO);
        (frame.needs_ack, frame.is_ack) = (false, true);
        self
    }

    fn last_sent(mut self, at: i64) -> Self {
        self.container.last_sent_timestamp = WallTime::from_unix_nanos(at);
        self
    }

    fn carries(mut self, at: i64, expiry: u64, sequence: i64, topic: (&str, &str), payload: Option<&[u8]>) -> Self {
        self.payload = Payload::Message(Message {
            timestamp: WallTime::from_unix_nanos(at),
            expiry: Duration::from_secs(expiry),
            endpoint_id: self.container.source_endpoint_id,
            endpoint_name: self.container.source_endpoint_name.clone(),
            sequence_number: sequence,
            topic_name: topic.0.to_owned(),
            topic_type: topic.1.to_owned(),
            message_type: 1,
            payload: payload.map(Bytes::copy_from_slice),
        });
        self
    }

    /// The older dialect's publisher did not say who it is.
    fn without_publisher(mut self) -> Self {
        if let Payload::Message(message) = &mut self.payload {
            (message.endpoint_id, message.endpoint_name) = (EndpointId::default(), String::new());
        }
        self
    }

    /// One of three.
    fn carries_piece(mut self, index: u32, len: usize, start: &'static str) -> Self {
        (self.frame().fragment_count, self.frame().fragment_index) = (3, index);
        self.payload = Payload::Piece { len, start };
        self
    }
}

fn address(text: &str) -> Option<SocketAddr> {
    (!text.is_empty()).then(|| text.parse().unwrap())
}

fn ksuid(text: &str) -> Ksuid {
    text.parse().unwrap()
}

fn id((text, _): Endpoint) -> EndpointId {
    EndpointId::from_bytes(ksuid(text).0)
}
