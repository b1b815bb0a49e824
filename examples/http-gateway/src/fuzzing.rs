//! The decoders of a link, for `glue-fuzz`: what router and worker take from each other, whoever they are.

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Version};

use crate::announcement::Announcement;
use crate::compress::{packed, unpacked};
use crate::stream::MOST_CHUNK;
use crate::wire::{Flags, Frame, Reason, RequestHead, ResponseHead, put_trailers, read_trailers};

/// A frame, and what stands in it. Returns whether both can be read.
///
/// # Panics
/// If what was read is not written as it was.
#[must_use]
pub fn frame(bytes: &[u8]) -> bool {
    let Ok(frame) = Frame::decode(Bytes::copy_from_slice(bytes)) else { return false };
    assert_eq!(Frame::decode(frame.encode()).as_ref(), Ok(&frame));
    match frame {
        Frame::Head { head, flags, body, .. } => head_is_read(&head) && piece(body, flags),
        Frame::Data { flags, body, .. } => piece(body, flags),
        Frame::Trailers { block, .. } => trailers(block),
        Frame::Announce(json) => announcement(&json),
        Frame::Hello | Frame::Fin | Frame::Reset { .. } | Frame::Stop { .. } | Frame::Credit { .. } => true,
    }
}

/// The frames that honest ones send.
///
/// # Panics
/// Never: what it parses is good.
#[must_use]
pub fn frames() -> Vec<Vec<u8>> {
    let mut headers = HeaderMap::new();
    headers.append("host", "example.com".parse().expect("a good value"));
    headers.append("x-twice", "one".parse().expect("a good value"));
    headers.append("x-twice", "two".parse().expect("a good value"));
    let request = RequestHead {
        method: Method::POST,
        target: "/a%2Fb/?q=%20&q=2".parse().expect("a good target"),
        version: Version::HTTP_2,
        upgrade: true,
        patience_ms: 60_000,
        headers: headers.clone(),
    };
    let response = ResponseHead { status: StatusCode::NOT_FOUND, headers: headers.clone() };
    let (small, packed) = packed(vec![b'a'; 5_000].into(), true, true);
    let body = Bytes::from_static(b"body");
    let frames = [
        Frame::Hello,
        Frame::Announce(Announcement::new("worker").to_json().into()),
        Frame::Fin,
        Frame::Head { stream: 1, flags: Flags::END, head: request.encode(), body: body.clone() },
        Frame::Head { stream: 1 << 40, flags: Flags::default(), head: response.encode(), body: Bytes::new() },
        Frame::Data { stream: 300, flags: Flags::default(), body },
        Frame::Data { stream: 300, flags: packed, body: small },
        Frame::Trailers { stream: 0, block: put_trailers(&headers) },
        Frame::Reset { stream: u64::MAX, reason: Reason::Refused },
        Frame::Stop { stream: 5 },
        Frame::Credit { stream: 5, bytes: u32::MAX },
    ];
    frames.iter().map(|frame| frame.encode().to_vec()).collect()
}

/// Whether it is a request's head or a response's. A target without a path is written as `/`, so that what is written first may
/// differ from what was read, but never what is written then.
fn head_is_read(head: &Bytes) -> bool {
    let request = RequestHead::decode(head.clone());
    if let Ok(request) = &request {
        let again = request.encode();
        let read = RequestHead::decode(again.clone()).expect("what we write we read");
        assert_eq!((&read.method, &read.headers), (&request.method, &request.headers));
        assert_eq!(read.encode(), again);
    }
    let response = ResponseHead::decode(head.clone());
    if let Ok(response) = &response {
        let read = ResponseHead::decode(response.encode()).expect("what we write we read");
        assert_eq!((read.status, &read.headers), (response.status, &response.headers));
    }
    request.is_ok() || response.is_ok()
}

fn piece(body: Bytes, flags: Flags) -> bool {
    let len = body.len();
    let unpacked = unpacked(body, flags);
    if let Some(unpacked) = &unpacked {
        assert!(unpacked.len() <= MOST_CHUNK.max(len), "{} bytes of {len}", unpacked.len());
    }
    unpacked.is_some()
}

fn trailers(block: Bytes) -> bool {
    let trailers = read_trailers(block);
    if let Ok(trailers) = &trailers {
        assert_eq!(read_trailers(put_trailers(trailers)).as_ref(), Ok(trailers));
    }
    trailers.is_ok()
}

fn announcement(json: &[u8]) -> bool {
    let announcement = Announcement::from_json(json);
    if let Some(announcement) = &announcement {
        assert_eq!(Announcement::from_json(&announcement.to_json()).as_ref(), Some(announcement));
    }
    announcement.is_some()
}
