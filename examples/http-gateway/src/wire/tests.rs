use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Version};

use super::*;

fn headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.append("x-twice", "one".parse().unwrap());
    headers.append("x-twice", "two".parse().unwrap());
    headers.append("x-bytes", http::HeaderValue::from_bytes(b"caf\xe9").unwrap());
    headers
}

fn frames() -> Vec<Frame> {
    let (head, body) = (Bytes::from_static(b"head"), Bytes::from_static(b"body"));
    let flags = Flags { end: true, zstd: true, relay: true };
    vec![
        Frame::Hello,
        Frame::Announce(body.clone()),
        Frame::Fin,
        Frame::Head { stream: 1 << 40, flags, head, body: body.clone() },
        Frame::Data { stream: 300, flags: Flags::default(), body: body.clone() },
        Frame::Trailers { stream: 0, block: body },
        Frame::Reset { stream: u64::MAX, reason: Reason::Refused },
        Frame::Stop { stream: 5 },
        Frame::Credit { stream: 5, bytes: u32::MAX },
    ]
}

#[test]
fn frames_come_back_as_they_were() {
    for frame in frames() {
        assert_eq!(Frame::decode(frame.encode()), Ok(frame));
    }
}

#[test]
fn heads_come_back_as_they_were() {
    let head = RequestHead {
        method: Method::from_bytes(b"PURGE").unwrap(),
        target: "/a%2Fb/?q=%20&q=2".parse().unwrap(),
        version: Version::HTTP_2,
        upgrade: true,
        patience_ms: 60_000,
        headers: headers(),
    };
    let back = RequestHead::decode(head.encode()).unwrap();
    assert_eq!((back.method, back.target, back.version), (head.method, head.target, head.version));
    assert_eq!((back.upgrade, back.patience_ms, back.headers), (true, 60_000, headers()));
    let head = ResponseHead { status: StatusCode::IM_A_TEAPOT, headers: headers() };
    let back = ResponseHead::decode(head.encode()).unwrap();
    assert_eq!((back.status, back.headers), (head.status, headers()));
    assert_eq!(read_trailers(put_trailers(&headers())), Ok(headers()));
}

#[test]
fn no_bytes_make_it_panic() {
    // A small generator of our own: the bytes differ from case to case, and are the same in each run.
    let mut state = 1_u64;
    let mut random = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[2]
    };
    let mut read = 0;
    for case in 0..20_000 {
        let frame = &frames()[case % 9].encode();
        let mut bytes = frame.to_vec();
        let at = usize::from(random()) % bytes.len();
        bytes[at] = random();
        bytes.truncate(1 + usize::from(random()) % bytes.len());
        let bytes = Bytes::from(bytes);
        read += usize::from(Frame::decode(bytes.clone()).is_ok());
        let _ = RequestHead::decode(bytes.clone());
        let _ = ResponseHead::decode(bytes.clone());
        let _ = read_trailers(bytes);
    }
    assert!(read > 1_000, "only {read} were frames: this tests nothing");
}
