//! What one endpoint tells another about topics. A control cargo's body is a list of operations:
//!
//! - 1 subscribe: filter, type (byte strings). Replaces the type of a filter that is subscribed already.
//! - 2 unsubscribe: filter (byte string).
//! - 3 end: topic (byte string), sequence number (varint): of this run of the topic, which the receiver's interest
//!   began, all that is below the number was sent, and nothing above will be. A later run begins with a start.
//! - 4 subscribe with history: filter, type (byte strings), wish (varint: the last so many messages, the largest: all).
//!   As 1, but runs of what the filter matches begin, or begin anew, at the next 5.
//! - 5 asked: the sender's newest subscription (varint). All that it wants of history was said by now.
//! - 16 to 20: claims, see `presence.rs` and `will.rs`.

use bytes::Bytes;
use glue_net::wire::{DecodeError, Reader, put_bytes, put_varint};

use crate::presence::ClaimOperation;

/// An operation as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Claim(ClaimOperation),
    End { topic: Bytes, next: u64 },
    Asked { newest: u64 },
    Subscribe { filter: Bytes, type_name: Bytes },
    SubscribeFrom { filter: Bytes, type_name: Bytes, wish: u64 },
    Unsubscribe { filter: Bytes },
}

/// The operations of a body, up to the first that can not be read.
#[derive(Debug)]
pub(crate) struct Operations(Option<Reader>);

impl Operations {
    pub(crate) const fn new(body: Bytes) -> Self {
        Self(Some(Reader::new(body)))
    }
}

impl Iterator for Operations {
    type Item = Result<Operation, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let reader = self.0.as_mut().filter(|reader| !reader.is_empty())?;
        let operation = read(reader);
        if operation.is_err() {
            self.0 = None;
        }
        Some(operation)
    }
}

fn read(reader: &mut Reader) -> Result<Operation, DecodeError> {
    match reader.u8()? {
        SUBSCRIBE => Ok(Operation::Subscribe { filter: reader.bytes()?, type_name: reader.bytes()? }),
        UNSUBSCRIBE => Ok(Operation::Unsubscribe { filter: reader.bytes()? }),
        SUBSCRIBE_FROM => {
            Ok(Operation::SubscribeFrom { filter: reader.bytes()?, type_name: reader.bytes()?, wish: reader.varint()? })
        }
        ASKED => Ok(Operation::Asked { newest: reader.varint()? }),
        END => Ok(Operation::End { topic: reader.bytes()?, next: reader.varint()? }),
        kind => ClaimOperation::read(kind, reader).map(Operation::Claim),
    }
}

pub(crate) fn put_subscribe(filter: &str, type_name: &str, out: &mut Vec<u8>) {
    out.push(SUBSCRIBE);
    put_bytes(out, filter.as_bytes());
    put_bytes(out, type_name.as_bytes());
}

pub(crate) fn put_subscribe_from(filter: &str, type_name: &str, wish: u64, out: &mut Vec<u8>) {
    out.push(SUBSCRIBE_FROM);
    put_bytes(out, filter.as_bytes());
    put_bytes(out, type_name.as_bytes());
    put_varint(out, wish);
}

pub(crate) fn put_asked(newest: u64, out: &mut Vec<u8>) {
    out.push(ASKED);
    put_varint(out, newest);
}

pub(crate) fn put_unsubscribe(filter: &str, out: &mut Vec<u8>) {
    out.push(UNSUBSCRIBE);
    put_bytes(out, filter.as_bytes());
}

pub(crate) fn put_end(topic: &str, next: u64, out: &mut Vec<u8>) {
    out.push(END);
    put_bytes(out, topic.as_bytes());
    put_varint(out, next);
}

const SUBSCRIBE: u8 = 1;
const UNSUBSCRIBE: u8 = 2;
const END: u8 = 3;
const SUBSCRIBE_FROM: u8 = 4;
const ASKED: u8 = 5;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn operations_read_back() {
        let mut body = Vec::new();
        put_subscribe("a", "json", &mut body);
        put_unsubscribe("#", &mut body);
        put_end("a", 300, &mut body);
        put_subscribe_from("a", "json", 7, &mut body);
        put_asked(400, &mut body);
        let read = Operations::new(body.into()).collect::<Result<Vec<_>, _>>().unwrap();
        let text = Bytes::from_static;
        let subscribe = Operation::Subscribe { filter: text(b"a"), type_name: text(b"json") };
        let end = Operation::End { topic: text(b"a"), next: 300 };
        let from = Operation::SubscribeFrom { filter: text(b"a"), type_name: text(b"json"), wish: 7 };
        let asked = Operation::Asked { newest: 400 };
        assert_eq!(read, [subscribe, Operation::Unsubscribe { filter: text(b"#") }, end, from, asked]);
    }

    #[test]
    fn reading_stops_at_the_first_that_is_malformed() {
        let mut body = Vec::new();
        put_unsubscribe("a", &mut body);
        body.extend([9, 2, 1, b'b']);
        let read: Vec<_> = Operations::new(body.into()).collect();
        assert_eq!(read.len(), 2);
        assert!(read[0].is_ok() && read[1].is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_read_without_panic(body: Vec<u8>) {
            let len = body.len();
            prop_assert!(Operations::new(body.into()).count() <= len);
        }
    }
}
