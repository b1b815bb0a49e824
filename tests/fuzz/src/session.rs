//! Sessions of transport: what a peer may say in one.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use glue_net::wire::classic::{Body, Codec, Container, Message};
use glue_net::wire::native::{Datagram, Token, put_data_header};
use glue_net::{Chain, EndpointId, Incarnation, Instant, NetworkId, PeerId, Rng, WallClock, WallTime};
use glue_topics::{EndpointName, PeerFacts, Topics, Wire};
use glue_transport::{Config, Local, Remote, Transport};

use crate::decoders;
use crate::strings::{joined, strings};

const PEER: PeerId = PeerId(1);

/// The frames of data datagrams, each after a byte that says how many milliseconds pass before it.
pub(crate) fn transport(bytes: &[u8]) -> bool {
    let mut pair = Pair::new();
    let (mut packet, mut received, mut taken) = (1_000, 0, false);
    for string in strings(bytes) {
        let Some((millis, frames)) = string.split_first() else { continue };
        pair.now = pair.now + Duration::from_millis((*millis).into());
        let mut datagram = Vec::new();
        put_data_header(pair.token, packet, &mut datagram);
        packet += 1;
        datagram.extend_from_slice(frames);
        received += frames.len();
        pair.ends[1].handle_native(pair.now, address(0), datagram.into());
        taken |= pair.take(&mut received);
        pair.ends[1].handle_timeout(pair.now);
        let _ = pair.poll(1);
    }
    taken
}

pub(crate) fn transport_beginnings() -> Vec<Vec<u8>> {
    let mut pair = Pair::new();
    let mut all = Vec::new();
    for round in 0..6_usize {
        for size in [10, 700] {
            pair.ends[round % 2].send(pair.now, PEER, vec![7; size].into());
        }
        for from in [0, 1] {
            for datagram in pair.poll(from) {
                if let (0, Ok(Datagram::Data { frames, .. })) = (from, Datagram::decode(datagram.clone())) {
                    all.push([&[5][..], &frames].concat());
                }
                // One is lost, so that acks have gaps.
                if round != 3 {
                    pair.ends[1 - from].handle_native(pair.now, address(from), datagram);
                }
            }
        }
        pair.now = pair.now + Duration::from_millis(5);
        pair.ends.iter_mut().for_each(|end| end.handle_timeout(pair.now));
    }
    assert!(all.len() > 3, "{}", all.len());
    vec![joined(&all), joined(&all[..2])]
}

/// Two ends that have met. The first is what the bytes speak for.
struct Pair {
    ends: [Transport<Bytes>; 2],
    now: Instant,
    /// Under which the second is spoken to.
    token: Token,
}

impl Pair {
    fn new() -> Self {
        let mut rng = Rng::new(1);
        let mut ends = [0, 1].map(|end| Transport::new(Config::default(), local(end), rng.fork()));
        ends[0].connect(Instant::ZERO, PEER, &remote(1, None));
        ends[1].connect(Instant::ZERO, PEER, &remote(0, None));
        ends[0].send(Instant::ZERO, PEER, Bytes::from_static(b"hello"));
        let mut pair = Self { ends, now: Instant::ZERO, token: Token(0) };
        for _ in 0..8 {
            for from in [0, 1] {
                for datagram in pair.poll(from) {
                    if let (0, Ok(Datagram::Data { token, .. })) = (from, Datagram::decode(datagram.clone())) {
                        pair.token = token;
                    }
                    pair.ends[1 - from].handle_native(pair.now, address(from), datagram);
                }
            }
        }
        assert_ne!(pair.token, Token(0), "they have met");
        while pair.ends[1].poll_payload().is_some() {}
        // Something under way, for acks to tell of.
        for size in [1, 900, 3] {
            pair.ends[1].send(pair.now, PEER, vec![1; size].into());
        }
        pair
    }

    fn poll(&mut self, end: usize) -> Vec<Bytes> {
        let (mut all, mut out) = (Vec::new(), Chain::default());
        while let Some(transmit) = self.ends[end].poll_transmit(self.now, &mut out) {
            assert_eq!(out.len(), transmit.len);
            all.push(out.to_vec().into());
            out.clear();
            assert!(all.len() < 1_000, "it never stops sending");
        }
        all
    }

    /// Takes what has arrived: no more than was sent.
    fn take(&mut self, received: &mut usize) -> bool {
        let mut taken = false;
        while let Some((_, payload)) = self.ends[1].poll_payload() {
            *received = received.checked_sub(payload.len()).expect("no byte arrives that was not sent");
            taken = true;
        }
        taken
    }
}

/// What a classic peer sends: containers. Acked, joined, decoded, put in order.
pub(crate) fn classic(bytes: &[u8]) -> bool {
    let (mut now, mut taken) = (Instant::ZERO, false);
    let mut transport = Transport::<Bytes>::new(Config::default(), local(1), Rng::new(1));
    transport.connect(now, PEER, &remote(0, Some(Codec::MessagePack)));
    transport.send(now, PEER, Bytes::from_static(b"something to be acked"));
    let mut joiner = glue_fragment::Joiner::new(glue_fragment::Config::default());
    joiner.set_budget(1 << 20);
    let mut topics = classic_topics();
    let mut out = Chain::default();
    for datagram in strings(bytes) {
        if let Ok((codec, Container { body: Body::Frame(frame), .. })) = Container::decode(&datagram)
            && let Some(frame) = transport.handle_classic(now, PEER, frame)
            && let Some(message) = joiner.handle_frame(now, PEER, &frame)
            && let Ok(message) = Message::decode(codec, &message)
        {
            topics.handle_classic(now, PEER, message);
        }
        while let Some(mut delivery) = topics.poll_delivery() {
            while delivery.batch.next(now).is_some() {
                taken = true;
            }
        }
        assert!(joiner.stats().held_bytes <= 1 << 20, "{:?}", joiner.stats());
        let mut sent = 0;
        while transport.poll_transmit(now, &mut out).is_some() {
            out.clear();
            sent += 1;
            assert!(sent < 1_000, "it never stops sending");
        }
        now = now + Duration::from_millis(300);
        transport.handle_timeout(now);
        joiner.handle_timeout(now);
        topics.handle_timeout(now);
    }
    joiner.handle_peer_gone(PEER);
    assert_eq!(joiner.stats().held_bytes, 0);
    taken
}

fn classic_topics() -> Topics {
    let us = EndpointId::from_integer(9);
    let mut topics = Topics::new(glue_topics::Config::default(), us, Incarnation(1), "us").expect("good");
    let facts = PeerFacts {
        id: EndpointId::from_integer(1),
        incarnation: Incarnation(0),
        name: EndpointName::new("endpoint"),
        wire: Wire::Classic(Codec::MessagePack),
        permissions: None,
        public_key: None,
    };
    topics.handle_peer_up(PEER, &facts);
    topics.subscribe("#", "").expect("good");
    topics
}

/// Messages, whole and cut, in both codecs.
pub(crate) fn classic_beginnings() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for (kind, bytes) in (0..).zip(decoders::message_beginnings()) {
        for pieces in [1, 3] {
            let message = &bytes[1..];
            let parts: Vec<_> = message.chunks(message.len().div_ceil(pieces)).collect();
            let frames: Vec<_> = (0..).zip(&parts).map(|(index, part)| frame(kind, (index, pieces), part)).collect();
            all.push(joined(&frames));
        }
    }
    all
}

/// A container of a fragment, in the codec of the `kind`th message.
fn frame(kind: u8, (index, count): (u32, usize), part: &[u8]) -> Vec<u8> {
    let containers = decoders::container_beginnings();
    let (codec, mut container) = containers
        .into_iter()
        .filter_map(|bytes| Container::decode(&bytes.into()).ok())
        .find(|(codec, container)| (*codec == Codec::Json) == (kind == 0) && matches!(container.body, Body::Frame(_)))
        .expect("a frame in each codec");
    if let Body::Frame(frame) = &mut container.body {
        frame.frame_id.0[19] = u8::try_from(index).expect("few");
        frame.fragment_count = u32::try_from(count).expect("few");
        frame.fragment_index = index;
        frame.payload = Bytes::copy_from_slice(part);
    }
    let mut out = Vec::new();
    container.encode(codec, &mut out);
    out
}

fn address(end: usize) -> SocketAddr {
    [([10, 0, 0, 1], 40_000), ([10, 0, 0, 2], 40_000)][end].into()
}

fn local(end: u8) -> Local {
    Local {
        network: NetworkId(1),
        id: EndpointId::from_integer(end.into()),
        name: format!("end-{end}"),
        incarnation: Incarnation(1),
        clock: WallClock::new(Instant::ZERO, WallTime::from_unix_nanos(1_700_000_000_000_000_000)),
    }
}

fn remote(end: u8, classic: Option<Codec>) -> Remote {
    let Local { id, name, incarnation, .. } = local(end);
    Remote { id, name, incarnation, address: address(end.into()), classic, key: None }
}
