use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::Deserialize;

use super::*;
use crate::Builder;

const EXPIRY: Duration = Duration::from_secs(60);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Reading {
    name: String,
    celsius: f64,
    tags: Vec<String>,
    next: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Dot,
    Circle(i64),
    Labels(BTreeMap<String, Vec<i32>>),
    Nested { reading: Reading, rest: Vec<Self> },
}

fn reading() -> impl Strategy<Value = Reading> {
    let float = any::<f64>().prop_filter("JSON has no other", |float| float.is_finite());
    (any::<String>(), float, any::<Vec<String>>(), any::<Option<u64>>())
        .prop_map(|(name, celsius, tags, next)| Reading { name, celsius, tags, next })
}

fn shape() -> impl Strategy<Value = Shape> {
    let labels = prop::collection::btree_map(any::<String>(), any::<Vec<i32>>(), 0..4).prop_map(Shape::Labels);
    let leaf = prop_oneof![Just(Shape::Dot), any::<i64>().prop_map(Shape::Circle), labels];
    leaf.prop_recursive(3, 12, 4, |inner| {
        (reading(), prop::collection::vec(inner, 0..4)).prop_map(|(reading, rest)| Shape::Nested { reading, rest })
    })
}

fn encoded<C: Codec>(value: &impl Serialize) -> Vec<u8> {
    let mut out = Vec::new();
    C::encode(value, &mut out).unwrap();
    out
}

/// Cut or spoilt bytes are an error somewhere within them, or another value, and never a panic.
fn check_spoilt<C: Codec>(value: &Shape, at: prop::sample::Index, byte: u8) {
    let mut bytes = encoded::<C>(value);
    let cut = at.index(bytes.len());
    if let Err(error) = C::decode::<Shape>(&bytes[..cut]) {
        assert!(error.offset.is_none_or(|offset| offset <= cut), "{error:?}");
    }
    bytes[cut] = byte;
    if let Err(error) = C::decode::<Shape>(&bytes) {
        assert!(error.offset.is_none_or(|offset| offset <= bytes.len()), "{error:?}");
    }
    bytes.push(0xc0);
    assert!(C::decode::<Shape>(&bytes).is_err());
}

proptest! {
    #[test]
    fn what_was_encoded_decodes(value in shape()) {
        prop_assert_eq!(&Json::decode::<Shape>(&encoded::<Json>(&value)).unwrap(), &value);
        prop_assert_eq!(&MessagePack::decode::<Shape>(&encoded::<MessagePack>(&value)).unwrap(), &value);
    }

    #[test]
    fn spoilt_bytes_are_an_error_that_says_where(value in shape(), at: prop::sample::Index, byte: u8) {
        check_spoilt::<Json>(&value, at, byte);
        check_spoilt::<MessagePack>(&value, at, byte);
    }

    #[test]
    fn any_bytes_decode_without_panic(bytes: Vec<u8>) {
        let _ = Json::decode::<Shape>(&bytes);
        let _ = MessagePack::decode::<Shape>(&bytes);
    }
}

#[test]
fn go_reads_and_writes_the_same_json() {
    let value = Reading { name: "café \"7\"".to_owned(), celsius: 21.5, tags: vec!["a".to_owned()], next: None };
    // As Go's json.Marshal writes the same struct.
    let ours = "{\"name\":\"café \\\"7\\\"\",\"celsius\":21.5,\"tags\":[\"a\"],\"next\":null}";
    assert_eq!(encoded::<Json>(&value), ours.as_bytes());
    // It writes whole floats without a fraction, and <, > and & escaped.
    let theirs = br#"{"name":"\u003ca\u0026b\u003e","celsius":20,"tags":["x"],"next":18446744073709551615}"#;
    let name = "<a&b>".to_owned();
    let value = Reading { name, celsius: 20.0, tags: vec!["x".to_owned()], next: Some(u64::MAX) };
    assert_eq!(Json::decode::<Reading>(theirs), Ok(value));
}

#[test]
fn messagepack_names_fields() {
    #[derive(Serialize)]
    struct Point {
        x: i64,
        y: bool,
    }
    assert_eq!(encoded::<MessagePack>(&Point { x: 1, y: true }), b"\x82\xa1x\x01\xa1y\xc3");
}

#[test]
fn an_error_says_where() {
    let error = Json::decode::<Reading>(b"{\n \"name\": 7}").unwrap_err();
    assert_eq!(error.offset, Some(12));
    assert!(error.to_string().starts_with("at byte 12: invalid type: integer `7`"), "{error}");
    let error = MessagePack::decode::<(u8, u8)>(&[0x92, 0x01, 0xa1, b'x']).unwrap_err();
    assert!(matches!(error.offset, Some(3 | 4)), "{error:?}");
    let error = MessagePack::decode::<u8>(&[1, 2]).unwrap_err();
    assert_eq!(error.to_string(), "at byte 1: bytes after the value");
    let deep = [vec![0x91; 100_000], vec![0xc0]].concat();
    assert!(MessagePack::decode::<serde_json::Value>(&deep).is_err());
}

async fn endpoint() -> Endpoint {
    let builder = Builder::new().listen_address(([127, 0, 0, 1], 0).into()).discovery_listen_address(None);
    builder.rendezvous().start().await.unwrap()
}

#[tokio::test]
async fn values_arrive_and_what_is_no_value_does_too() {
    let endpoint = endpoint().await;
    let mut subscription = endpoint.typed_subscription::<(u8, String), MessagePack>("t").await.unwrap();
    let publisher = endpoint.typed_publisher::<(u8, String), MessagePack>("t").unwrap();
    publisher.publish(EXPIRY, &(1, "one".to_owned())).await.unwrap();
    publisher.untyped().publish(EXPIRY, &[0x92, 0x02, 0xc1]).await.unwrap();
    publisher.try_publish(EXPIRY, &(3, "three".to_owned())).unwrap();
    let first = subscription.recv().await.unwrap().unwrap();
    assert_eq!((first.value, first.message.sequence_number), ((1, "one".to_owned()), 1));
    let failure = subscription.recv().await.unwrap().unwrap_err();
    assert_eq!((&failure.message.payload[..], failure.error.offset), (&[0x92, 0x02, 0xc1][..], Some(3)));
    assert!(failure.to_string().starts_with("message 2 on topic t can not be decoded: at byte 3: "), "{failure}");
    assert!(matches!(subscription.recv_item().await, Some(TypedItem::Message(third)) if third.value.0 == 3));
    assert!(endpoint.typed_subscription::<u8, Json>("t").await.is_err());
}

#[tokio::test]
async fn a_value_that_can_not_be_encoded_is_not_published() {
    let endpoint = endpoint().await;
    let publisher = endpoint.typed_publisher::<BTreeMap<Vec<u8>, u8>, Json>("t").unwrap();
    let bad = BTreeMap::from([(vec![1], 1)]);
    assert!(matches!(publisher.publish(EXPIRY, &bad).await, Err(TypedPublishError::Encode(_))));
    assert!(matches!(publisher.try_publish(EXPIRY, &bad), Err(TypedPublishError::Encode(_))));
    assert!(matches!(publisher.publish_blocking(EXPIRY, &bad), Err(TypedPublishError::Encode(_))));
    let none = BTreeMap::new();
    assert_eq!(
        publisher.publish(Duration::ZERO, &none).await,
        Err(TypedPublishError::Publish(PublishError::NoLifetime))
    );
    assert_eq!(endpoint.stats().topics.published, 0);
}

#[tokio::test]
async fn small_values_share_one_buffer_and_a_large_one_is_not_kept() {
    let endpoint = endpoint().await;
    let publisher = endpoint.typed_publisher::<String, Json>("t").unwrap();
    let buffer = || {
        let scratch = publisher.scratch.lock().unwrap();
        (scratch.as_ptr(), scratch.capacity())
    };
    publisher.publish(EXPIRY, &"x".repeat(100)).await.unwrap();
    let first = buffer();
    assert!(first.1 >= 102);
    for len in 0..100 {
        publisher.publish(EXPIRY, &"y".repeat(len)).await.unwrap();
        assert_eq!(buffer(), first);
    }
    publisher.publish(EXPIRY, &"z".repeat(MAX_SCRATCH_BYTES)).await.unwrap();
    assert_eq!(buffer().1, 0);
}
