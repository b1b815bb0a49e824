//! Parts that keep state, and what one peer may send them: a byte string of byte strings.

use std::time::Duration;

use bytes::Bytes;
use glue_discovery::Discovery;
use glue_fragment::{Config, Fragment, Joined, Joiner};
use glue_net::wire::classic::Container;
use glue_net::wire::{Reader, put_bytes};
use glue_net::{Chain, Content, EndpointId, Incarnation, Instant, Payload, PeerId, Rng, WallTime};
use glue_topics::{Cargo, EndpointName, PeerFacts, Topics, Wire, Wish};

use crate::decoders;

const PEER: PeerId = PeerId(1);

/// The byte strings of `bytes`, up to the first that is cut off.
fn strings(bytes: &[u8]) -> impl Iterator<Item = Bytes> {
    let mut reader = Reader::new(Bytes::copy_from_slice(bytes));
    std::iter::from_fn(move || reader.bytes().ok())
}

fn joined(strings: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    strings.iter().for_each(|string| put_bytes(&mut out, string));
    out
}

/// Payloads.
pub(crate) fn joiner(bytes: &[u8]) {
    let mut joiner = Joiner::new(Config::default());
    joiner.set_budget(1 << 20);
    for payload in strings(bytes) {
        let len = payload.len();
        if let Some(Joined::Whole { head, .. }) = joiner.handle_payload(PEER, payload) {
            assert!(head.len() <= len.max(2_048), "a head is in one payload");
        }
        assert!(joiner.held_bytes() <= 1 << 20, "{}", joiner.held_bytes());
    }
    joiner.handle_peer_gone(PEER);
    assert_eq!(joiner.held_bytes(), 0);
}

pub(crate) fn joiner_beginnings() -> Vec<Vec<u8>> {
    vec![joined(&payloads(1_000)), joined(&payloads(100))]
}

/// What an endpoint sends that subscribes and publishes, in payloads of about so many bytes.
fn payloads(room: usize) -> Vec<Vec<u8>> {
    let (now, mut all) = (Instant::ZERO, Vec::new());
    for (number, cargo) in (1..).zip(cargos()) {
        let mut rest = Fragment::new(number, cargo);
        loop {
            let (front, mut out) = (rest.cut(room), Chain::default());
            front.as_ref().unwrap_or(&rest).encode(now, &mut out);
            all.push(out.to_vec());
            if front.is_none() {
                break;
            }
        }
    }
    all
}

fn topics_with_peer(id: i64) -> Topics {
    let name = EndpointName::new("endpoint");
    let mut topics =
        Topics::new(glue_topics::Config::default(), EndpointId::from_integer(id), Incarnation(1), "us").expect("good");
    let facts = PeerFacts {
        id: EndpointId::from_integer(3 - id),
        incarnation: Incarnation(1),
        name,
        wire: Wire::Native,
        permissions: None,
        public_key: None,
    };
    topics.handle_peer_up(PEER, &facts);
    topics
}

fn cargos() -> Vec<Cargo> {
    let (now, wall) = (Instant::ZERO, WallTime::from_unix_nanos(1_700_000_000_000_000_000));
    let (mut ours, mut theirs) = (topics_with_peer(1), topics_with_peer(2));
    theirs.subscribe("a/#", "").expect("good");
    ours.subscribe_from(now, "b", "text", Wish::All).expect("good");
    let mut all = Vec::new();
    while let Some((_, cargo)) = theirs.poll_cargo() {
        let [head, body] = written(&cargo);
        ours.handle_cargo(now, PEER, head.into(), body.into());
    }
    let id = ours.publication("a/b", "text").expect("good");
    for size in [0, 10, 3_000] {
        ours.publish(now, wall, id, Duration::from_secs(60), &vec![7; size][..]).expect("good");
    }
    ours.close_bundles_for(|_, _| true);
    while let Some((_, cargo)) = ours.poll_cargo() {
        all.push(cargo);
    }
    assert!(all.len() >= 2, "it says what it subscribes to, and publishes");
    all
}

fn written(cargo: &Cargo) -> [Vec<u8>; 2] {
    let (mut head, mut body) = (Vec::new(), Chain::default());
    cargo.encode_head(Instant::ZERO, &mut head);
    cargo.encode_body(0..cargo.body_len(), &mut body);
    [head, body.to_vec()]
}

/// Heads and bodies in turn.
pub(crate) fn topics(bytes: &[u8]) {
    let mut topics = topics_with_peer(2);
    topics.subscribe("#", "").expect("good");
    topics.subscribe_from(Instant::ZERO, "a/b", "", Wish::All).expect("good");
    let mut now = Instant::ZERO;
    let mut strings = strings(bytes);
    while let (Some(head), Some(body)) = (strings.next(), strings.next()) {
        topics.handle_cargo(now, PEER, head, body);
        while let Some(mut delivery) = topics.poll_delivery() {
            assert!(!delivery.to.is_empty());
            while delivery.batch.next(now).is_some() {}
        }
        while topics.poll_event().is_some() {}
        while topics.poll_cargo().is_some() {}
        now = now + Duration::from_millis(300);
        topics.handle_timeout(now);
    }
    topics.handle_peer_gone(PEER);
}

pub(crate) fn topics_beginnings() -> Vec<Vec<u8>> {
    vec![joined(&cargos().iter().flat_map(written).collect::<Vec<_>>())]
}

/// Containers.
pub(crate) fn discovery(bytes: &[u8]) {
    let mut config = glue_discovery::Config::new(EndpointId::from_integer(9), "us");
    config.data_port = 40_000;
    let mut discovery = Discovery::new(config, Rng::new(1), Instant::ZERO).expect("good settings");
    let (mut now, mut out) = (Instant::ZERO, Vec::new());
    for datagram in strings(bytes) {
        if let Ok((codec, container)) = Container::decode(&datagram) {
            discovery.handle_announcement(now, ([10, 0, 0, 2], 27_320).into(), codec, container);
        }
        while discovery.poll_event().is_some() {}
        while discovery.poll_transmit(now, &mut out).is_some() {}
        assert!(out.len() <= 64 << 10, "one datagram is not answered by many: {}", out.len());
        out.clear();
        now = now + Duration::from_millis(700);
        discovery.handle_timeout(now);
    }
}

pub(crate) fn discovery_beginnings() -> Vec<Vec<u8>> {
    let containers = decoders::container_beginnings();
    vec![joined(&containers), joined(&[containers[0].clone(), containers[0].clone(), containers[1].clone()])]
}
