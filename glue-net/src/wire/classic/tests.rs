//! What is accepted, what is refused, and what is written, key by key. The datagrams that the reference sends are in
//! `tests/vectors.rs`.

use proptest::collection::vec;
use proptest::prelude::*;

use super::pack::Pack;
use super::unpack::Unpack;
use super::*;

/// Encoded values by their bytes, so that a test shows what is on the wire.
fn text(text: &str) -> Vec<u8> {
    let mut out = vec![0xdb];
    out.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
    out.extend(text.as_bytes());
    out
}

fn map(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = vec![0xde];
    out.extend(u16::try_from(entries.len()).unwrap().to_be_bytes());
    for (key, value) in entries {
        out.extend(text(key));
        out.extend_from_slice(value);
    }
    out
}

const ONE: &[u8] = &[1];
const NIL: &[u8] = &[0xc0];

fn frame_datagram(container: (&str, &[u8]), frame: (&str, &[u8])) -> Vec<u8> {
    map(&[container, ("Frame", &map(&[("FragmentCount", ONE), frame]))])
}

fn decode(datagram: impl Into<Bytes>) -> Result<Container, DecodeError> {
    Container::decode(&datagram.into()).map(|(_, container)| container)
}

/// A container with one more key.
fn container_with(key: &str, value: &[u8]) -> Result<Container, DecodeError> {
    decode(frame_datagram((key, value), ("", NIL)))
}

/// A frame of one fragment with one more key.
fn frame_with(key: &str, value: &[u8]) -> Result<Frame, DecodeError> {
    decode(frame_datagram(("", NIL), (key, value))).map(|container| match container.body {
        Body::Frame(frame) => frame,
        Body::Announcement(_) => panic!("an announcement"),
    })
}

fn announcement(datagram: impl Into<Bytes>) -> Result<Announcement, DecodeError> {
    decode(datagram).map(|container| match container.body {
        Body::Announcement(announcement) => announcement,
        Body::Frame(_) => panic!("a frame"),
    })
}

fn announcement_with(entries: &[(&str, &[u8])]) -> Result<Announcement, DecodeError> {
    announcement(map(&[("Announcement", &map(entries))]))
}

fn json_frame(keys: &str) -> Result<Container, DecodeError> {
    decode(format!(r#"{{"frame":{{"fragment_count":1{keys}}}}}"#))
}

fn json_announcement(keys: &str) -> Result<Announcement, DecodeError> {
    announcement(format!(r#"{{"announcement":{{{keys}}}}}"#))
}

fn encoded(container: &Container, codec: Codec) -> Bytes {
    let mut out = Vec::new();
    container.encode(codec, &mut out);
    out.into()
}

fn one_fragment() -> Frame {
    Frame { fragment_count: 1, ..Frame::default() }
}

const fn malformed<T>(what: &'static str) -> Result<T, DecodeError> {
    Err(DecodeError::Malformed(what))
}

#[test]
fn missing_keys_and_nil_are_zero() {
    let blank = Container { body: Body::Frame(one_fragment()), ..Container::blank() };
    assert_eq!(container_with("", NIL), Ok(blank.clone()));
    assert_eq!(json_frame(""), Ok(blank.clone()));
    for key in
        ["SentTimestamp", "SentBy", "SentByAddr", "NetworkID", "SourceEndpointID", "SourceEndpointName", "Announcement"]
    {
        assert_eq!(container_with(key, NIL), Ok(blank.clone()), "{key}");
    }
    for key in ["ResendPeriod", "FrameID", "FragmentIndex", "DestinationEndpointName", "NeedsAck", "Payload"] {
        assert_eq!(frame_with(key, NIL), Ok(one_fragment()), "{key}");
    }
    for key in ["resend_period", "frame_id", "fragment_index", "destination_endpoint_name", "needs_ack", "payload"] {
        assert_eq!(json_frame(&format!(r#","{key}":null"#)), Ok(blank.clone()), "{key}");
    }
    assert_eq!(announcement_with(&[]), Ok(Announcement::blank()));
    assert_eq!(json_announcement(""), Ok(Announcement::blank()));
    assert_eq!(Message::decode(Codec::MessagePack, &vec![0x80].into()), Ok(Message::blank()));
    assert_eq!(Message::decode(Codec::Json, &"{}".into()), Ok(Message::blank()));
}

#[test]
fn what_is_no_container_is_refused() {
    assert_eq!(decode(Bytes::new()), Err(DecodeError::Truncated));
    for first in [b"\xc1\x01".as_slice(), b"[", b" {}", b"\x90", b"\xc0", b"\x01"] {
        assert_eq!(decode(Bytes::from_static(first)), malformed("container"), "{first:x?}");
    }
    assert_eq!(Message::decode(Codec::MessagePack, &vec![0xc0].into()), malformed("message"));
    assert_eq!(Message::decode(Codec::Json, &"[1]x".into()), malformed("JSON message"));
}

#[test]
fn exactly_one_body_is_taken() {
    let (one, none) = (map(&[("FragmentCount", ONE)]), map(&[]));
    assert_eq!(decode(vec![0x80]), malformed("container: neither announcement nor frame"));
    assert_eq!(decode("{}"), malformed("container: neither announcement nor frame"));
    let both = "container: both announcement and frame";
    assert_eq!(decode(map(&[("Announcement", &none), ("Frame", &one)])), malformed(both));
    assert_eq!(decode(r#"{"announcement":{},"frame":{"fragment_count":1}}"#), malformed(both));
}

#[test]
fn a_fragment_is_one_of_its_message() {
    for (count, index) in [(0, 0), (1, 1), (3, 0xff)] {
        let frame = map(&[("FragmentCount", &[0xcc, count]), ("FragmentIndex", &[0xcc, index])]);
        assert_eq!(decode(map(&[("Frame", &frame)])), malformed("fragment index"));
        let json = format!(r#"{{"frame":{{"fragment_count":{count},"fragment_index":{index}}}}}"#);
        assert_eq!(decode(json), malformed("fragment index"));
    }
    let last = [0xce, 0xff, 0xff, 0xff, 0xff];
    assert_eq!(frame_with("FragmentCount", &last).map(|frame| frame.fragment_count), Ok(u32::MAX));
    for above in [[0xd3, 0, 0, 0, 1, 0, 0, 0, 0], [0xd3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]] {
        assert_eq!(frame_with("FragmentCount", &above), malformed("FragmentCount"));
    }
}

#[test]
fn names_are_bounded() {
    let (long, longer) = ("é".repeat(MAX_NAME_BYTES / 2), "n".repeat(MAX_NAME_BYTES + 1));
    assert_eq!(container_with("SourceEndpointName", &text(&long)).map(|it| it.source_endpoint_name), Ok(long.clone()));
    assert_eq!(container_with("SourceEndpointName", &text(&longer)), malformed("SourceEndpointName"));
    assert_eq!(frame_with("DestinationEndpointName", &text(&longer)), malformed("DestinationEndpointName"));
    assert_eq!(
        json_frame(&format!(r#"}},"source_endpoint_name":"{longer}","x":{{"#)),
        malformed("source_endpoint_name")
    );
    assert_eq!(
        json_frame(&format!(r#","destination_endpoint_name":"{longer}""#)),
        malformed("destination_endpoint_name")
    );
    for (key, json_key) in [("EndpointName", "endpoint_name"), ("TopicName", "topic_name"), ("TopicType", "topic_type")]
    {
        let of = |name: &str| Message::decode(Codec::MessagePack, &map(&[(key, &text(name))]).into());
        assert!(of(&long).is_ok(), "{key}");
        assert_eq!(of(&longer), malformed(key));
        let json = format!(r#"{{"{json_key}":"{longer}"}}"#);
        assert_eq!(Message::decode(Codec::Json, &json.into()), malformed(json_key));
    }
}

#[test]
fn names_are_utf_8() {
    assert_eq!(container_with("SourceEndpointName", b"\xa2\xc3\x28"), malformed("SourceEndpointName"));
    assert_eq!(decode(b"{\"source_endpoint_name\":\"\xc3\x28\"}".to_vec()), malformed("JSON container"));
}

#[test]
fn integers_of_every_width_are_read() {
    for (bytes, value) in [
        (b"\x7f".as_slice(), 127),
        (b"\xff", -1),
        (b"\xe0", -32),
        (b"\xcc\xff", 0xff),
        (b"\xcd\xff\xff", 0xffff),
        (b"\xce\xff\xff\xff\xff", 0xffff_ffff),
        (b"\xcf\x7f\xff\xff\xff\xff\xff\xff\xff", i64::MAX),
        (b"\xd0\x80", -128),
        (b"\xd1\x80\x00", -0x8000),
        (b"\xd2\x80\x00\x00\x00", -0x8000_0000),
        (b"\xd3\x80\x00\x00\x00\x00\x00\x00\x00", i64::MIN),
    ] {
        assert_eq!(container_with("NetworkID", bytes).map(|it| it.network_id), Ok(NetworkId(value)), "{bytes:x?}");
    }
}

#[test]
fn other_values_are_no_integers() {
    let floats = [b"\xca\x3f\x80\x00\x00".as_slice(), b"\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00"];
    let others = [b"\xa1\x31".as_slice(), b"\xc4\x01\x31", b"\xc2", b"\xc3", b"\x90", b"\x80", b"\xd4\x01\x01"];
    let too_large = b"\xcf\x80\x00\x00\x00\x00\x00\x00\x00".as_slice();
    for bytes in floats.into_iter().chain(others).chain([too_large]) {
        assert_eq!(container_with("NetworkID", bytes), malformed("NetworkID"), "{bytes:x?}");
    }
    for json in ["1.0", "1e3", "\"1\"", "true", "[]", "9223372036854775808"] {
        assert_eq!(decode(format!(r#"{{"network_id":{json}}}"#)), malformed("JSON container"), "{json}");
    }
}

#[test]
fn other_values_are_no_booleans_times_or_bytes() {
    assert_eq!(frame_with("IsAck", ONE), malformed("IsAck"));
    assert_eq!(frame_with("Payload", ONE), malformed("Payload"));
    assert_eq!(frame_with("FrameID", b"\xc4\x01\x00"), malformed("FrameID"));
    assert_eq!(container_with("SentTimestamp", ONE), malformed("SentTimestamp"));
    assert_eq!(container_with("SentTimestamp", b"\xd6\x01\x00\x00\x00\x00"), malformed("SentTimestamp"));
    assert_eq!(container_with("SentTimestamp", b"\xd5\xff\x00\x00"), malformed("SentTimestamp"));
    assert_eq!(announcement_with(&[("ListenAddr", ONE)]), malformed("address"));
    for json in [r#""is_ack":1"#, r#""payload":"a""#, r#""payload":"====""#, r#""frame_id":"x""#, r#""frame_id":1"#] {
        assert_eq!(json_frame(&format!(",{json}")), malformed("JSON container"), "{json}");
    }
}

#[test]
fn keys_are_text_in_any_form() {
    for key in [b"\xaaResendRate".as_slice(), b"\xd9\x0aResendRate", b"\xda\x00\x0aResendRate", b"\xc4\x0aResendRate"] {
        let with = |value: &[u8]| [b"\x82\xa5Frame\x81\xadFragmentCount\x01", key, value].concat();
        assert!(decode(with(ONE)).is_ok(), "{key:x?}");
    }
    let network = b"\xc4\x09NetworkID\x07";
    let known = [b"\x82".as_slice(), network, b"\xa5Frame\x81\xc5\x00\x0dFragmentCount\x01"].concat();
    assert_eq!(decode(known).map(|it| it.network_id), Ok(NetworkId(7)));
    for key in [b"\x01".as_slice(), b"\xcc\x01", b"\xd3\x00\x00\x00\x00\x00\x00\x00\x01", NIL, b"\xc2", b"\x90"] {
        let with = [b"\x82\xa5Frame\x81\xadFragmentCount\x01", key, ONE].concat();
        assert_eq!(decode(with), malformed("key"), "{key:x?}");
    }
}

#[test]
fn unknown_keys_are_passed_over_whatever_they_hold() {
    let nested =
        [b"\x93\x81\xa1k\x93\xc0\xc2\xc3\xdf\x00\x00\x00\x01\x05\xdd\x00\x00\x00\x01\xff".as_slice(), &text("x")];
    let values = [
        b"\xca\x00\x00\x00\x00".as_slice(),
        b"\xcb\x00\x00\x00\x00\x00\x00\x00\x00",
        b"\xc5\x00\x01x",
        b"\xc6\x00\x00\x00\x01x",
        b"\xc7\x01\x05x",
        b"\xc8\x00\x01\x05x",
        b"\xc9\x00\x00\x00\x01\x05x",
        b"\xd4\x05x",
        b"\xd8\x050123456789abcdef",
        b"\xdc\x00\x01\x90",
        &nested.concat(),
    ];
    for value in values {
        assert_eq!(container_with("Unknown", value), container_with("", NIL), "{value:x?}");
        assert_eq!(frame_with("Unknown", value), Ok(one_fragment()), "{value:x?}");
        assert_eq!(announcement_with(&[("Unknown", value)]), Ok(Announcement::blank()), "{value:x?}");
        assert_eq!(announcement_with(&[("ListenAddr", &map(&[("Unknown", value)]))]), Ok(Announcement::blank()));
        assert_eq!(Message::decode(Codec::MessagePack, &map(&[("Unknown", value)]).into()), Ok(Message::blank()));
    }
    let json = r#","Unknown":{"a":[1,{"b":null}],"c":1.5}"#;
    assert_eq!(json_frame(json), json_frame(""));
    assert_eq!(container_with("Unknown", b"\xc1"), malformed("marker"));
}

#[test]
fn depth_does_not_exhaust_the_stack() {
    let deep = [[0x91].repeat(1_000_000).as_slice(), NIL].concat();
    assert_eq!(container_with("Unknown", &deep), container_with("", NIL));
    assert_eq!(decode(map(&[("Unknown", &[0x91].repeat(1_000_000))])), Err(DecodeError::Truncated));
    let json = format!(r#","unknown":{}{}"#, "[".repeat(1_000_000), "]".repeat(1_000_000));
    assert_eq!(json_frame(&json), json_frame(""));
}

#[test]
fn lengths_beyond_the_end_are_refused() {
    for value in [
        b"\xdf\xff\xff\xff\xff".as_slice(),
        b"\xdd\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\xc9\xff\xff\xff\xff\x05",
    ] {
        assert_eq!(decode(map(&[("Unknown", value)])), Err(DecodeError::Truncated), "{value:x?}");
    }
    assert_eq!(decode(vec![0xdf, 0xff, 0xff, 0xff, 0xff]), Err(DecodeError::Truncated));
    assert_eq!(decode(map(&[("Frame", &map(&[("Payload", b"\xc6\xff\xff\xff\xff")]))])), Err(DecodeError::Truncated));
}

#[test]
fn timestamps_are_read_in_every_form() {
    let sent = |value: &[u8]| container_with("SentTimestamp", value).map(|it| it.sent_timestamp.as_unix_nanos());
    assert_eq!(sent(b"\xd6\xff\x00\x00\x00\x02"), Ok(2_000_000_000));
    assert_eq!(sent(b"\xc7\x04\xff\x00\x00\x00\x02"), Ok(2_000_000_000));
    assert_eq!(sent(b"\xd7\xff\x00\x00\x00\x0c\x00\x00\x00\x02"), Ok(2_000_000_003));
    assert_eq!(sent(b"\xd7\xff\x00\x00\x00\x01\x00\x00\x00\x02"), Ok((1_i64 << 32) * 1_000_000_000 + 2_000_000_000));
    assert_eq!(sent(b"\xc7\x0c\xff\x00\x00\x00\x05\xff\xff\xff\xff\xff\xff\xff\xff"), Ok(-999_999_995));
    assert_eq!(sent(b"\xc7\x0c\xff\x00\x00\x00\x00\xff\xff\xff\xf1\x88\x6e\x09\x00"), Ok(i64::MIN), "year 1");
    assert_eq!(sent(b"\xc7\x0c\xff\x00\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\xff"), Ok(i64::MAX), "far");
}

#[test]
fn timestamps_are_written_in_the_shortest_form() {
    for (nanos, expected) in [
        (2_000_000_000, b"\xa0\xd6\xff\x00\x00\x00\x02".as_slice()),
        (2_000_000_003, b"\xa0\xd7\xff\x00\x00\x00\x0c\x00\x00\x00\x02"),
        ((1 << 32) * 1_000_000_000, b"\xa0\xd7\xff\x00\x00\x00\x01\x00\x00\x00\x00"),
        (-1, b"\xa0\xc7\x0c\xff\x3b\x9a\xc9\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
        (i64::MIN, b"\xa0\xc7\x0c\xff\x00\x00\x00\x00\xff\xff\xff\xf1\x88\x6e\x09\x00"),
    ] {
        let mut out = Vec::new();
        Pack(&mut out).time("", WallTime::from_unix_nanos(nanos));
        assert_eq!(out, expected, "{nanos}");
    }
}

#[test]
fn integers_are_written_in_the_shortest_form() {
    for (value, len) in [(0, 1), (127, 1), (128, 2), (255, 2), (256, 3), (0xffff, 3), (0x1_0000, 5), (0xffff_ffff, 5)]
        .into_iter()
        .chain([(1 << 32, 9), (i64::MAX, 9), (-1, 1), (-32, 1), (-33, 2), (-128, 2), (-129, 3), (-0x8000, 3)])
        .chain([(-0x8001, 5), (-0x8000_0000, 5), (-0x8000_0001, 9), (i64::MIN, 9)])
    {
        let mut out = Vec::new();
        Pack(&mut out).int("", value);
        let out = Bytes::from(out).slice(1..);
        assert_eq!(out.len(), len, "{value}");
        assert_eq!(Unpack::new(&out).int("value"), Ok(value));
    }
}

#[test]
fn a_negative_duration_is_none() {
    assert_eq!(frame_with("ResendPeriod", b"\xff").map(|frame| frame.resend_period), Ok(Duration::ZERO));
    assert_eq!(json_announcement(r#""sent_rate":-1"#).map(|it| it.sent_rate), Ok(Duration::ZERO));
}

#[test]
fn ksuids_are_bytes_or_text() {
    let id: Ksuid = "3MObvIajJaQaloIoefenO9jraXE".parse().unwrap();
    let bytes = [b"\xc4\x14".as_slice(), &id.0].concat();
    for value in [bytes, text(&id.to_string())] {
        assert_eq!(frame_with("FrameID", &value).map(|frame| frame.frame_id), Ok(id));
    }
}

#[test]
fn payloads_are_bytes_or_text_or_nil() {
    for value in [b"\xc4\x02hi".as_slice(), b"\xa2hi"] {
        assert_eq!(frame_with("Payload", value).map(|frame| frame.payload), Ok("hi".into()));
        let message = Message::decode(Codec::MessagePack, &map(&[("Payload", value)]).into());
        assert_eq!(message.map(|it| it.payload), Ok(Some("hi".into())));
    }
    let nil_and_empty =
        ["{\"payload\":null}", "{\"payload\":\"\"}"].map(|json| Message::decode(Codec::Json, &json.into()));
    assert_eq!(nil_and_empty.map(|message| message.unwrap().payload), [None, Some(Bytes::new())]);
}

#[test]
fn addresses_are_read_as_parts_or_text() {
    let parts = |ip: &[u8]| map(&[("IP", ip), ("Port", b"\xcd\x6a\xb8"), ("Zone", b"\xa0")]);
    let listen = |ip| announcement_with(&[("ListenAddr", &parts(ip))]).map(|it| it.listen_addr);
    let known = Some("10.77.0.2:27320".parse().unwrap());
    assert_eq!(listen(b"\xc4\x0910.77.0.2"), Ok(known));
    assert_eq!(listen(b"\xa910.77.0.2"), Ok(known));
    assert_eq!(listen(b"\xc4\x00"), Ok(None), "the sender's own host, in its own words");
    assert_eq!(listen(b"\xc4\x04\x0a\x4d\x00\x02"), Ok(None), "text only");
    let no_port = map(&[("IP", b"\xa910.77.0.2"), ("Port", b"\xd2\x00\x01\x00\x00")]);
    assert_eq!(announcement_with(&[("ListenAddr", &no_port)]).map(|it| it.listen_addr), Ok(None));

    // The parts win, whichever comes first; a text alone will do.
    let (address, addr) =
        (("DiscoveryListenAddress", &*text("1.1.1.1:1")), ("DiscoveryListenAddr", &*parts(b"\xa910.77.0.2")));
    for (entries, expected) in
        [([address, addr], known), ([addr, address], known), ([address, ("", NIL)], "1.1.1.1:1".parse().ok())]
    {
        assert_eq!(announcement_with(&entries).map(|it| it.discovery_listen_addr), Ok(expected));
    }
    assert_eq!(container_with("SentBy", &text("localhost:1")).map(|it| it.sent_by), Ok(None));
    assert_eq!(container_with("SentBy", b"\xc4\x01\xff").map(|it| it.sent_by), Ok(None));
}

#[test]
fn json_is_read_in_every_dialect() {
    let id = EndpointId::from_bytes("3MObaaaaaaaaaaaaaaaaaaaaaaa".parse::<Ksuid>().unwrap().0);
    for prefix in ["", "source_"] {
        let json = format!(r#"}},"{prefix}endpoint_id":"{id}","{prefix}endpoint_name":"n","x":{{"#);
        let container = json_frame(&json).unwrap();
        assert_eq!((container.source_endpoint_id, container.source_endpoint_name.as_str()), (id, "n"));
    }
    let sent_by = |keys: &str| json_frame(&format!(r#"}},{keys},"x":{{"#)).map(|it| it.sent_by);
    assert_eq!(sent_by(r#""sent_address":"1.1.1.1:1""#), Ok("1.1.1.1:1".parse().ok()));
    assert_eq!(sent_by(r#""sent_address":"1.1.1.1:1","sent_by":"2.2.2.2:2""#), Ok("2.2.2.2:2".parse().ok()));
    assert_eq!(sent_by(r#""sent_address":"1.1.1.1:1","sent_by":"""#), Ok("1.1.1.1:1".parse().ok()));
    for (listen_addr, forwarded) in [("ListenAddr", "Forwarded"), ("listen_addr", "forwarded")] {
        let json = format!(r#""{listen_addr}":{{"IP":"1.1.1.1","Port":1,"Zone":""}},"{forwarded}":true"#);
        let announcement = json_announcement(&json).unwrap();
        assert_eq!((announcement.listen_addr, announcement.forwarded), ("1.1.1.1:1".parse().ok(), true));
    }
    assert_eq!(decode("{ \n\"frame\" : { \"fragment_count\" : 1 } }"), json_frame(""));
    assert_eq!(json_frame(r#","fragment_count":1"#), malformed("JSON container"), "a key twice");
}

#[test]
fn our_keys_are_read_if_the_version_is_there() {
    let keys: [(&str, &[u8]); 4] = [
        ("GlueGoodbye", b"\xc3"),
        ("GlueCapabilities", b"\x02"),
        ("GlueIncarnation", b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff"),
        ("GlueVersion", ONE),
    ];
    let native = Native { version: 1, incarnation: Incarnation(u64::MAX), capabilities: 2, goodbye: true };
    assert_eq!(announcement_with(&keys).map(|it| it.native), Ok(Some(native)));
    assert_eq!(announcement_with(&keys[..3]).map(|it| it.native), Ok(None));
    let version_only = Native { version: 1, incarnation: Incarnation(0), capabilities: 0, goodbye: false };
    assert_eq!(announcement_with(&keys[3..]).map(|it| it.native), Ok(Some(version_only)));
    assert_eq!(announcement_with(&[("GlueVersion", b"\xcd\x01\x00")]), malformed("GlueVersion"));
    let json = r#""glue_goodbye":true,"glue_capabilities":2,"glue_incarnation":18446744073709551615"#;
    assert_eq!(json_announcement(&format!("{json},\"glue_version\":1")).map(|it| it.native), Ok(Some(native)));
    assert_eq!(json_announcement(json).map(|it| it.native), Ok(None));
}

#[test]
fn our_json_has_the_keys_of_every_dialect() {
    let mut container = Container {
        sent_by: "10.77.0.2:4000".parse().ok(),
        source_endpoint_name: "a \"name\"".to_owned(),
        body: Body::Announcement(Announcement {
            sent_rate: Duration::from_secs(1),
            listen_port: 4000,
            listen_addr: "[fe80::1%3]:4000".parse().ok(),
            native: Some(Native { version: 1, incarnation: Incarnation(7), capabilities: 0, goodbye: false }),
            ..Announcement::blank()
        }),
        ..Container::blank()
    };
    let head = concat!(
        r#"{"sent_timestamp":"0001-01-01T00:00:00Z","last_sent_timestamp":"0001-01-01T00:00:00Z","#,
        r#""sent_address":"10.77.0.2:4000","sent_by":"10.77.0.2:4000","sent_to":"","network_id":0,"#,
        r#""source_endpoint_id":"000000000000000000000000000","source_endpoint_name":"a \"name\"","#
    );
    let announcement = concat!(
        r#""announcement":{"sent_rate":1000000000,"listen_port":4000,"#,
        r#""ListenAddr":{"IP":"fe80::1","Port":4000,"Zone":"3"},"discovery_listen_address":"","#,
        r#""discovery_target_address":"","Forwarded":false,"#,
        r#""glue_version":1,"glue_incarnation":7,"glue_capabilities":0,"glue_goodbye":false},"frame":null}"#
    );
    assert_eq!(encoded(&container, Codec::Json), format!("{head}{announcement}"));
    container.body = Body::Frame(Frame { payload: "hi".into(), ..one_fragment() });
    let frame = concat!(
        r#""announcement":null,"frame":{"frame_id":"000000000000000000000000000","#,
        r#""correlation_id":"000000000000000000000000000","fragment_count":1,"fragment_index":0,"#,
        r#""destination_endpoint_id":"000000000000000000000000000","destination_endpoint_name":"","#,
        r#""needs_ack":false,"is_ack":false,"payload":"aGk="}}"#
    );
    assert_eq!(encoded(&container, Codec::Json), format!("{head}{frame}"));
}

prop_compose! {
    fn any_address()(port: u16, v4: Option<[u8; 4]>, v6: [u8; 16], scope: u32) -> SocketAddr {
        use std::net::{Ipv6Addr, SocketAddrV6};
        // IPv4 mapped into IPv6 comes back as IPv4, and a flow label does not come back.
        let v6 = Ipv6Addr::from(v6).to_canonical();
        match (v4, v6) {
            (None, std::net::IpAddr::V6(v6)) => SocketAddrV6::new(v6, port, 0, scope).into(),
            _ => (v4.unwrap_or_default(), port).into(),
        }
    }
}

fn any_time() -> impl Strategy<Value = WallTime> {
    prop_oneof![any::<i64>(), Just(i64::MIN), 0..i64::MAX].prop_map(WallTime::from_unix_nanos)
}

fn any_duration() -> impl Strategy<Value = Duration> {
    prop_oneof![Just(0), 0..=i64::MAX].prop_map(duration)
}

fn any_id() -> impl Strategy<Value = EndpointId> {
    any::<[u8; 20]>().prop_map(EndpointId::from_bytes)
}

fn any_bytes() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..400).prop_map(Bytes::from)
}

prop_compose! {
    fn any_native()(version: u8, incarnation: u64, capabilities: u64, goodbye: bool) -> Native {
        Native { version, incarnation: Incarnation(incarnation), capabilities, goodbye }
    }
}

prop_compose! {
    fn any_announcement()(
        sent_rate in any_duration(), listen_port: u16, forwarded: bool,
        addresses in [(); 3].map(|()| prop::option::of(any_address())), native in prop::option::of(any_native()),
    ) -> Announcement {
        let [listen_addr, discovery_listen_addr, discovery_target_addr] = addresses;
        Announcement {
            sent_rate, listen_port, listen_addr, discovery_listen_addr, discovery_target_addr, forwarded, native,
        }
    }
}

prop_compose! {
    fn any_frame()(
        (resend_period, resend_expiry) in (any_duration(), any_duration()), frame_id: [u8; 20],
        correlation_id: [u8; 20], fragment_count in 1_u32.., index: u32, destination_endpoint_id in any_id(),
        destination_endpoint_name in ".{0,40}", needs_ack: bool, is_ack: bool, payload in any_bytes(),
    ) -> Frame {
        Frame {
            resend_period, resend_expiry, frame_id: Ksuid(frame_id), correlation_id: Ksuid(correlation_id),
            fragment_count, fragment_index: index % fragment_count, destination_endpoint_id, destination_endpoint_name,
            needs_ack, is_ack, payload,
        }
    }
}

prop_compose! {
    fn any_container()(
        times in [(); 3].map(|()| any_time()), addresses in [(); 4].map(|()| prop::option::of(any_address())),
        network_id: i64, source_endpoint_id in any_id(), source_endpoint_name in ".{0,40}",
        body in prop_oneof![any_announcement().prop_map(Body::Announcement), any_frame().prop_map(Body::Frame)],
    ) -> Container {
        let [sent_timestamp, last_sent_timestamp, received_timestamp] = times;
        let [sent_by, sent_to, received_from, received_by] = addresses;
        Container {
            sent_timestamp, last_sent_timestamp, sent_by, sent_to, received_timestamp, received_from, received_by,
            network_id: NetworkId(network_id), source_endpoint_id, source_endpoint_name, body,
        }
    }
}

prop_compose! {
    fn any_message()(
        timestamp in any_time(), expiry in any_duration(), endpoint_id in any_id(), endpoint_name in ".{0,40}",
        sequence_number: i64, topic_name in ".{0,40}", topic_type in ".{0,300}", message_type: i64,
        payload in prop::option::of(any_bytes()),
    ) -> Message {
        Message {
            timestamp, expiry, endpoint_id, endpoint_name, sequence_number, topic_name, topic_type, message_type,
            payload,
        }
    }
}

proptest! {
    #[test]
    fn containers_read_back(container in any_container()) {
        for codec in [Codec::Json, Codec::MessagePack] {
            prop_assert_eq!(Container::decode(&encoded(&container, codec)), Ok((codec, container.clone())));
        }
    }

    #[test]
    fn messages_read_back(message in any_message()) {
        for codec in [Codec::Json, Codec::MessagePack] {
            let mut out = Vec::new();
            message.encode(codec, &mut out);
            prop_assert_eq!(Message::decode(codec, &out.into()), Ok(message.clone()));
        }
    }

    #[test]
    fn encoding_appends(container in any_container(), before in any_bytes()) {
        for codec in [Codec::Json, Codec::MessagePack] {
            let mut out = before.to_vec();
            container.encode(codec, &mut out);
            prop_assert_eq!(out, [before.as_ref(), &encoded(&container, codec)].concat());
        }
    }

    /// Every container that we send: the reference's process ends on a nil timestamp and on a missing body.
    #[test]
    fn what_ends_the_reference_is_never_written(container in any_container()) {
        let bytes = encoded(&container, Codec::MessagePack);
        let mut from = Unpack::new(&bytes);
        let (mut times, mut bodies) = (0, 0);
        for _ in 0..from.map("container").unwrap().unwrap() {
            let key = from.key().unwrap();
            let mut rest = from.clone();
            from.skip().unwrap();
            if key.ends_with(b"Timestamp") {
                times += usize::from(rest.map("a map").is_err());
            } else if matches!(key, b"Announcement" | b"Frame") {
                bodies += usize::from(rest.map("a body").unwrap().is_some());
            }
        }
        prop_assert_eq!((times, bodies), (3, 1));
    }
}
