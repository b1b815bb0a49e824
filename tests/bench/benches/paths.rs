//! The hot paths. `cargo bench -p glue-bench`; a part of a name selects benches: `cargo bench -p glue-bench -- publish`.
//! Where a peer has to answer between two rounds, a sample is one round.

use std::cell::RefCell;
use std::time::Duration;

use bytes::Bytes;
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use glue_bench::{EXPIRY, Lan, Path, TOPIC, TYPE, publisher};
use glue_fragment::{Fragment, Joined, Joiner};
use glue_net::wire::classic::{Announcement, Body, Codec, Container, Native};
use glue_net::{Chain, EndpointId, Incarnation, Instant, NetworkId, Payload, PeerId, WallTime};
use glue_security::{Credentials, Epoch, Identity, NetworkKey, Random, Role, Tunnel};

fn main() {
    divan::main();
}

/// A message is laid into the bundle of a host's datagrams; full bundles are taken out.
#[divan::bench(args = [64, 1_024, 8_192])]
fn publish(bencher: Bencher<'_, '_>, size: usize) {
    let mut topics = publisher(&[TOPIC.to_owned()], 65_000);
    let id = topics.publication(TOPIC, TYPE).expect("a good topic");
    let (payload, mut nanos) = (vec![7; size], 0u64);
    bencher.counter(BytesCount::new(size)).counter(ItemsCount::new(1u64)).bench_local(|| {
        nanos += 100;
        let wall = WallTime::from_unix_nanos(i64::try_from(nanos).unwrap_or(0));
        let published = topics.publish(Instant::from_nanos(nanos), wall, id, EXPIRY, black_box(&payload[..]));
        while topics.poll_cargo().is_some() {}
        published
    });
}

/// A publication is made among `count` that a peer is interested in: its interest is looked up.
#[divan::bench(args = [10, 1_000, 50_000])]
fn interest(bencher: Bencher<'_, '_>, count: usize) {
    let names: Vec<String> = (0..count).map(|number| format!("some/topic/{number}")).collect();
    let (mut topics, mut names) = (publisher(&names, 1_000), names.iter().cycle());
    bencher.counter(ItemsCount::new(1u64)).bench_local(|| {
        let name = names.next().map_or("", String::as_str);
        let id = topics.publication(black_box(name), TYPE).expect("a good topic");
        let interested = topics.interested(id).len();
        topics.release(id);
        assert_eq!(interested, 1);
    });
}

/// The messages of a full datagram of a network, so many of this size, are published, and it is written.
#[divan::bench(args = [(64, 15), (1_024, 1)], sample_size = 1, sample_count = 1_000)]
fn fill_a_datagram(bencher: Bencher<'_, '_>, (size, count): (usize, usize)) {
    let lan = RefCell::new(Lan::new(1, Path::Network));
    let payload = vec![7; size];
    bencher
        .counter(BytesCount::new(count * size))
        .counter(ItemsCount::new(count))
        .with_inputs(|| lan.borrow_mut().wait(Duration::from_millis(5)))
        .bench_local_values(|_| {
            let mut lan = lan.borrow_mut();
            (0..count).for_each(|_| lan.publish(black_box(&payload)));
            assert_eq!(lan.transmit(), 1);
        });
}

/// A full datagram arrives, and its messages are read.
#[divan::bench(args = [(64, 15), (1_024, 1)], sample_size = 1, sample_count = 1_000)]
fn handle_a_datagram(bencher: Bencher<'_, '_>, (size, count): (usize, usize)) {
    let lan = RefCell::new(Lan::new(1, Path::Network));
    let payload = vec![7; size];
    bencher
        .counter(BytesCount::new(count * size))
        .counter(ItemsCount::new(count))
        .with_inputs(|| {
            let mut lan = lan.borrow_mut();
            lan.wait(Duration::from_millis(5));
            (0..count).for_each(|_| lan.publish(&payload));
            lan.take(true)
        })
        .bench_local_values(|datagrams| {
            let mut lan = lan.borrow_mut();
            let messages: u64 = datagrams.iter().map(|datagram| lan.deliver(datagram)).sum();
            assert_eq!(messages, count as u64);
        });
}

/// A publisher takes the ack of so many datagrams.
#[divan::bench(args = [1, 256], sample_size = 1, sample_count = 1_000)]
fn handle_an_ack(bencher: Bencher<'_, '_>, datagrams: usize) {
    let lan = RefCell::new(Lan::new(1, Path::Loopback));
    bencher
        .counter(ItemsCount::new(datagrams))
        .with_inputs(|| {
            let mut lan = lan.borrow_mut();
            lan.wait(Duration::from_millis(20));
            let mut sent = Vec::new();
            while sent.len() < datagrams {
                lan.publish(&[7; 64]); // 256 of them fit in the first credit
                lan.now = lan.now + Duration::from_micros(100);
                sent.extend(lan.take(true));
            }
            assert_eq!(sent.iter().map(|datagram| lan.deliver(datagram)).sum::<u64>(), sent.len() as u64);
            lan.now = lan.now + Duration::from_millis(2);
            lan.take(false)
        })
        .bench_local_values(|acks| {
            let mut lan = lan.borrow_mut();
            assert_eq!(acks.iter().map(|ack| lan.deliver(ack)).sum::<u64>(), 0);
        });
}

/// 1 KiB goes to so many peers: published, and a datagram written for each.
#[divan::bench(args = [1, 4, 100], sample_size = 1, sample_count = 1_000)]
fn fan_out(bencher: Bencher<'_, '_>, peers: usize) {
    let lan = RefCell::new(Lan::new(peers, Path::Network));
    bencher
        .counter(BytesCount::new(peers * 1_024))
        .counter(ItemsCount::new(peers))
        .with_inputs(|| lan.borrow_mut().wait(Duration::from_millis(5)))
        .bench_local_values(|_| {
            let mut lan = lan.borrow_mut();
            lan.publish(black_box(&[7; 1_024]));
            assert_eq!(lan.transmit(), peers);
        });
}

/// 1 MiB is cut into the datagrams of a network, written, and joined again.
#[divan::bench]
fn cut_and_join_a_mebibyte(bencher: Bencher<'_, '_>) {
    let mut topics = publisher(&[TOPIC.to_owned()], 1_000);
    let id = topics.publication(TOPIC, TYPE).expect("a good topic");
    let payload = Bytes::from(vec![7; 1 << 20]);
    topics.publish(Instant::ZERO, WallTime::default(), id, EXPIRY, &payload).expect("a good message");
    let (_, cargo) = topics.poll_cargo().expect("a bundle");
    let (mut joiner, mut number) = (Joiner::new(glue_fragment::Config::default()), 0);
    bencher.counter(BytesCount::new(payload.len())).bench_local(|| {
        number += 1;
        let mut rest = Fragment::new(number, cargo.clone());
        let mut joined = None;
        while joined.is_none() {
            let part = rest.cut(1_150).unwrap_or_else(|| rest.clone());
            let mut datagram = Chain::with_capacity(1_200);
            part.encode(Instant::ZERO, &mut datagram);
            joined = joiner.handle_payload(Instant::ZERO, PeerId(0), datagram.to_vec().into());
        }
        assert!(matches!(joined, Some(Joined::Whole { body, .. }) if body.len() > payload.len()));
    });
}

/// An announcement is read.
#[divan::bench(args = [Codec::Json, Codec::MessagePack])]
fn decode_an_announcement(bencher: Bencher<'_, '_>, codec: Codec) {
    let announcement = Announcement {
        sent_rate: Duration::from_secs(1),
        listen_port: 40_000,
        listen_addr: Some(([10, 0, 0, 1], 40_000).into()),
        discovery_listen_addr: Some(([10, 0, 0, 1], 27_320).into()),
        discovery_target_addr: Some(([239, 192, 137, 1], 27_320).into()),
        forwarded: false,
        native: Some(Native { version: 1, incarnation: Incarnation(1), capabilities: 0, goodbye: false }),
    };
    let container = Container {
        sent_timestamp: WallTime::from_unix_nanos(1_800_000_000_000_000_000),
        last_sent_timestamp: WallTime::ZERO_TIME,
        sent_by: Some(([10, 0, 0, 1], 27_320).into()),
        sent_to: Some(([239, 192, 137, 1], 27_320).into()),
        received_timestamp: WallTime::ZERO_TIME,
        received_from: None,
        received_by: None,
        network_id: NetworkId(1),
        source_endpoint_id: EndpointId::from_integer(1),
        source_endpoint_name: "some_endpoint".to_owned(),
        body: Body::Announcement(announcement),
    };
    let mut datagram = Vec::new();
    container.encode(codec, &mut datagram);
    let datagram = Bytes::from(datagram);
    bencher.counter(BytesCount::new(datagram.len())).counter(ItemsCount::new(1u64)).bench_local(|| {
        let decoded = Container::decode(black_box(&datagram));
        assert!(decoded.is_ok());
        decoded
    });
}

/// Two members of a private network shake hands: what both sides do, from no state at all to the first opened datagram.
#[divan::bench(sample_size = 1, sample_count = 1_000)]
fn shake_hands(bencher: Bencher<'_, '_>) {
    let member =
        |number| Credentials { key: NetworkKey::from_bytes([7; 32]), identity: Identity::from_seed([number; 32]) };
    let (one, two, mut random) = (member(1), member(2), Random::new([9; 32]));
    bencher.counter(ItemsCount::new(1u64)).bench_local(|| {
        let new = |role, us: &Credentials, peer: &Credentials| {
            Tunnel::new(role, us, &peer.identity.public_key(), b"prologue".to_vec()).expect("a good key")
        };
        let (mut initiator, mut responder) = (new(Role::Initiator, &one, &two), new(Role::Responder, &two, &one));
        let (now, epoch) = (Instant::ZERO, Epoch(1));
        let first = initiator.begin(epoch, b"hello", &mut random).expect("a message");
        let second = responder.answer(now, epoch, &first, (b"hello", b"hi"), &mut random).expect("a message");
        assert!(initiator.finish(now, epoch, &second, b"hi"));
        let tag = initiator.seal(0).expect("keys").in_place(b"header", &mut []);
        responder.open(now, (epoch, 0), (b"header", &tag), &mut [])
    });
}
