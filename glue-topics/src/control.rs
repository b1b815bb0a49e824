//! What one endpoint tells another about topics. A control cargo's body is a list of operations:
//!
//! - 1 subscribe: filter, type (byte strings). Replaces the type of a filter that is subscribed already.
//! - 2 unsubscribe: filter (byte string).
//! - 3 end: topic (byte string), sequence number (varint): of this run of the topic, which the receiver's interest
//!   began, all that is below the number was sent, and nothing above will be. A later run begins with a start.
//! - 4 subscribe with history: filter, type (byte strings), wish (varint: the last so many messages, the largest: all).
//!   As 1, but runs of what the filter matches begin, or begin anew, at the next 5.
//! - 5 asked: the sender's newest subscription (varint). All that it wants of history was said by now.
//! - 6 subscribe as: filter, type (byte strings), wish (varint, 0: none), what is requested (byte string, see `qos.rs`). As
//!   1, or 4 if there is a wish.
//! - 7 offer: topic (byte string), what is offered (byte string, see `qos.rs`; empty: nothing after all). It holds for the run
//!   that begins next, and counts as an end: so that run begins after it was read.
//! - 8 serve: service (varint), topic, type (byte strings). It takes requests to the topic, or is a member of a group.
//! - 9 unserve: service (varint).
//! - 10 cancel: leg (varint). Nobody waits for the answer to this request of ours.
//! - 11 done: leg (varint). This share of a group's messages was processed.
//! - 12 return: leg (varint), reason (byte). This request did not reach an application here, and will not.
//! - 16 to 20: claims, see `presence.rs` and `will.rs`.
//! - 32 to 37: of caches, see `catalogue.rs`.

use bytes::Bytes;
use glue_net::wire::{DecodeError, Reader, put_bytes, put_varint};

use crate::catalogue::{self, CatalogueOperation};
use crate::presence::ClaimOperation;
use crate::qos::{Offer, Request};

/// An operation as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Cancel { leg: u64 },
    Catalogue(CatalogueOperation),
    Done { leg: u64 },
    Claim(ClaimOperation),
    End { topic: Bytes, next: u64 },
    Asked { newest: u64 },
    Offer { topic: Bytes, offer: Option<Offer> },
    Return { leg: u64, reason: u8 },
    Serve { service: u64, topic: Bytes, type_name: Bytes },
    Subscribe { filter: Bytes, type_name: Bytes },
    SubscribeAs { filter: Bytes, type_name: Bytes, wish: u64, request: Request },
    SubscribeFrom { filter: Bytes, type_name: Bytes, wish: u64 },
    Unserve { service: u64 },
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
        SUBSCRIBE_AS => {
            let (filter, type_name, wish) = (reader.bytes()?, reader.bytes()?, reader.varint()?);
            Ok(Operation::SubscribeAs { filter, type_name, wish, request: Request::read(reader.bytes()?)? })
        }
        OFFER => {
            let (topic, options) = (reader.bytes()?, reader.bytes()?);
            let offer = if options.is_empty() { None } else { Some(Offer::read(options)?) };
            Ok(Operation::Offer { topic, offer })
        }
        ASKED => Ok(Operation::Asked { newest: reader.varint()? }),
        END => Ok(Operation::End { topic: reader.bytes()?, next: reader.varint()? }),
        SERVE => {
            let (service, topic) = (reader.varint()?, reader.bytes()?);
            Ok(Operation::Serve { service, topic, type_name: reader.bytes()? })
        }
        UNSERVE => Ok(Operation::Unserve { service: reader.varint()? }),
        CANCEL => Ok(Operation::Cancel { leg: reader.varint()? }),
        DONE => Ok(Operation::Done { leg: reader.varint()? }),
        RETURN => Ok(Operation::Return { leg: reader.varint()?, reason: reader.u8()? }),
        kind if catalogue::is_catalogue(kind) => CatalogueOperation::read(kind, reader).map(Operation::Catalogue),
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

pub(crate) fn put_subscribe_as(filter: &str, type_name: &str, wish: u64, request: &Request, out: &mut Vec<u8>) {
    out.push(SUBSCRIBE_AS);
    put_bytes(out, filter.as_bytes());
    put_bytes(out, type_name.as_bytes());
    put_varint(out, wish);
    put_options(|out| request.put(out), out);
}

pub(crate) fn put_offer(topic: &str, offer: Option<&Offer>, out: &mut Vec<u8>) {
    out.push(OFFER);
    put_bytes(out, topic.as_bytes());
    put_options(|out| offer.iter().for_each(|offer| offer.put(out)), out);
}

/// As a byte string, so that a reader passes over what it does not know.
fn put_options(put: impl FnOnce(&mut Vec<u8>), out: &mut Vec<u8>) {
    let mut options = Vec::new();
    put(&mut options);
    put_bytes(out, &options);
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

pub(crate) fn put_serve(service: u64, topic: &str, type_name: &str, out: &mut Vec<u8>) {
    out.push(SERVE);
    put_varint(out, service);
    put_bytes(out, topic.as_bytes());
    put_bytes(out, type_name.as_bytes());
}

pub(crate) fn put_unserve(service: u64, out: &mut Vec<u8>) {
    out.push(UNSERVE);
    put_varint(out, service);
}

pub(crate) fn put_cancel(leg: u64, out: &mut Vec<u8>) {
    out.push(CANCEL);
    put_varint(out, leg);
}

pub(crate) fn put_done(leg: u64, out: &mut Vec<u8>) {
    out.push(DONE);
    put_varint(out, leg);
}

pub(crate) fn put_return(leg: u64, reason: u8, out: &mut Vec<u8>) {
    out.push(RETURN);
    put_varint(out, leg);
    out.push(reason);
}

const SUBSCRIBE: u8 = 1;
const UNSUBSCRIBE: u8 = 2;
const END: u8 = 3;
const SUBSCRIBE_FROM: u8 = 4;
const ASKED: u8 = 5;
const SUBSCRIBE_AS: u8 = 6;
const OFFER: u8 = 7;
const SERVE: u8 = 8;
const UNSERVE: u8 = 9;
const CANCEL: u8 = 10;
const DONE: u8 = 11;
const RETURN: u8 = 12;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::qos::Reliability;

    #[test]
    fn operations_read_back() {
        let mut body = Vec::new();
        put_subscribe("a", "json", &mut body);
        put_unsubscribe("#", &mut body);
        put_end("a", 300, &mut body);
        put_subscribe_from("a", "json", 7, &mut body);
        put_asked(400, &mut body);
        put_serve(5, "a", "json", &mut body);
        put_unserve(5, &mut body);
        put_cancel(6, &mut body);
        put_done(7, &mut body);
        put_return(8, 2, &mut body);
        let request = Request { reliability: Some(Reliability::BestEffort), deadline: Some(Duration::from_millis(3)) };
        put_subscribe_as("a", "json", 7, &request, &mut body);
        put_offer("a", Some(&Offer::default()), &mut body);
        put_offer("a", None, &mut body);
        let read = Operations::new(body.into()).collect::<Result<Vec<_>, _>>().unwrap();
        let text = Bytes::from_static;
        let subscribe = Operation::Subscribe { filter: text(b"a"), type_name: text(b"json") };
        let end = Operation::End { topic: text(b"a"), next: 300 };
        let from = Operation::SubscribeFrom { filter: text(b"a"), type_name: text(b"json"), wish: 7 };
        let asked = Operation::Asked { newest: 400 };
        let serve = Operation::Serve { service: 5, topic: text(b"a"), type_name: text(b"json") };
        let (unserve, cancel) = (Operation::Unserve { service: 5 }, Operation::Cancel { leg: 6 });
        let (done, back) = (Operation::Done { leg: 7 }, Operation::Return { leg: 8, reason: 2 });
        let unsubscribe = Operation::Unsubscribe { filter: text(b"#") };
        let subscribe_as = Operation::SubscribeAs { filter: text(b"a"), type_name: text(b"json"), wish: 7, request };
        let offer = Operation::Offer { topic: text(b"a"), offer: Some(Offer::default()) };
        let withdrawn = Operation::Offer { topic: text(b"a"), offer: None };
        let rest = [cancel, done, back, subscribe_as, offer, withdrawn];
        assert_eq!(read, [vec![subscribe, unsubscribe, end, from, asked, serve, unserve], rest.into()].concat());
    }

    #[test]
    fn reading_stops_at_the_first_that_is_malformed() {
        let mut body = Vec::new();
        put_unsubscribe("a", &mut body);
        body.extend([200, 2, 1, b'b']);
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
