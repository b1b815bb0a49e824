//! Decoders for `glue-fuzz`: what upstreams, other instances and proxies in front of us send.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use prost::Message;
use uuid::Uuid;

use crate::proxy::{self, LONGEST_BODY, SIGNATURE};
use crate::wire::proto::OutputStreamRequest;
use crate::wire::{Action, Audience, Order};

/// What an upstream or another instance wants done. Returns whether it is an order.
///
/// # Panics
/// If what was read is not written as it was.
#[must_use]
pub fn order(bytes: &[u8]) -> bool {
    let Ok(request) = OutputStreamRequest::decode(bytes) else { return false };
    assert_eq!(OutputStreamRequest::decode(&request.encode_to_vec()[..]).as_ref(), Ok(&request));
    let Ok(order) = Order::try_from(request) else { return false };
    assert_eq!(Order::try_from(OutputStreamRequest::from(order.clone())), Ok(order));
    true
}

/// Honest ones.
#[must_use]
pub fn orders() -> Vec<Vec<u8>> {
    let payload = Bytes::from_static(b"payload");
    let orders = [
        (Audience::Client(Uuid::from_u128(7)), Some(Action::Close)),
        (Audience::Group("group".to_owned()), Some(Action::Join("other".to_owned()))),
        (Audience::All, Some(Action::Leave("other".to_owned()))),
        (Audience::NotActive, None),
    ];
    let orders = orders.map(|(audience, action)| Order { audience, payload: payload.clone(), action });
    orders.map(|order| OutputStreamRequest::from(order).encode_to_vec()).into()
}

/// The PROXY header at the beginning of a stream. Returns whether it is one.
///
/// # Panics
/// If more is read than the longest header has, or it waits for what is there.
#[must_use]
pub fn proxy_header(stream: &[u8]) -> bool {
    let mut rest = stream;
    let read = {
        let reading = pin!(proxy::read(&mut rest));
        match reading.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(read) => read,
            Poll::Pending => panic!("all that will come is there"),
        }
    };
    assert!(stream.len() - rest.len() <= SIGNATURE.len() + 4 + LONGEST_BODY, "a header has no more");
    read.is_ok()
}

/// Honest ones.
#[must_use]
pub fn proxy_headers() -> Vec<Vec<u8>> {
    vec![
        b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 7999\r\nhello".to_vec(),
        b"PROXY TCP6 2001:db8::1 2001:db8::2 4711 7999\r\n".to_vec(),
        b"PROXY UNKNOWN\r\n".to_vec(),
        [SIGNATURE, &[0x21, 0x11, 0, 12, 192, 0, 2, 1, 192, 0, 2, 2, 18, 103, 31, 63], b"hello"].concat(),
        [SIGNATURE, &[0x21, 0x21, 0, 40], &[1; 36], &[4, 0, 1, 0]].concat(),
        [SIGNATURE, &[0x20, 0x00, 0, 0]].concat(),
    ]
}
