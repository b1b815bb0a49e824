//! Bytes from the network: what was written reads back, and nothing makes it panic.

use std::time::Duration;

use bytes::Bytes;
use glue_net::wire::{put_bytes, put_varint};
use glue_net::{Chain, Content, Instant, Skip, WallTime};
use proptest::prelude::*;

use super::{World, contiguous, messages, ms, peer};
use crate::{Cargo, Config, GapReason, History, Wish};

fn encoded(cargo: &Cargo, now: Instant) -> (Vec<u8>, Vec<u8>) {
    let (mut head, mut body) = (Vec::new(), Chain::default());
    cargo.encode_head(now, &mut head);
    cargo.encode_body(0..cargo.body_len(), &mut body);
    (head, body.to_vec())
}

fn message() -> impl Strategy<Value = (Vec<u8>, Duration, i64, u64)> {
    let bytes = |most| prop::collection::vec(any::<u8>(), 0..most);
    let payload = prop_oneof![bytes(100), bytes(2_000)];
    let expiry = prop_oneof![Just(1_000u64), 1u64..5_000_000].prop_map(Duration::from_micros);
    let clock_step = prop_oneof![0i64..200, -2_000_000_000i64..2_000_000_000];
    (payload, expiry, clock_step, 0u64..300)
}

/// An operation of a peer about what it wants: 1 subscribe, 2 unsubscribe, 4 subscribe from, 5 asked. Some names are bad,
/// some numbers are absurd, some bytes are missing.
fn wish() -> impl Strategy<Value = Vec<u8>> {
    let name = prop::sample::select(&["a", "a/b", "+", "a/#", "#", "", "a#", "a/+/#", "\u{e9}", "text"][..]);
    let number = prop_oneof![0u64..5, Just((1 << 62) - 1), any::<u64>().prop_map(|n| n >> 2)];
    let operation = (prop::sample::select(&[1u8, 2, 4, 4, 5, 5][..]), name.clone(), name, number);
    let bytes = operation.prop_map(|(kind, filter, type_name, number)| {
        let mut out = vec![kind];
        if kind != 5 {
            put_bytes(&mut out, filter.as_bytes());
        }
        if kind == 1 || kind == 4 {
            put_bytes(&mut out, if type_name == "text" { b"text" } else { b"" });
        }
        if kind >= 4 {
            put_varint(&mut out, number);
        }
        out
    });
    (bytes, prop_oneof![9 => Just(0usize), 1 => 1usize..4]).prop_map(|(mut bytes, cut)| {
        bytes.truncate(bytes.len().saturating_sub(cut));
        bytes
    })
}

/// Any operation that there is, and some that there are not: its kind, and fields of whatever kind in whatever order.
fn operation() -> impl Strategy<Value = Vec<u8>> {
    let name = prop::sample::select(&["a", "$share/g/a", "$share/g/#", "$share//", "a/+", "", "text"][..]);
    let name = name.prop_map(|name| {
        let mut out = Vec::new();
        put_bytes(&mut out, name.as_bytes());
        out
    });
    let number = prop_oneof![0u64..300, any::<u64>().prop_map(|n| n >> 2)].prop_map(|number| {
        let mut out = Vec::new();
        put_varint(&mut out, number);
        out
    });
    let kind = prop::sample::select(&[3u8, 6, 7, 8, 8, 9, 10, 11, 12, 16, 17, 18, 19, 20, 21][..]);
    let fields = prop::collection::vec(prop_oneof![name.clone(), number.clone()], 0..4);
    // Services are numbered before their names, which by chance alone hardly ever comes out right.
    let serve = (number, name).prop_map(|(number, name)| [&[8], &number[..], &name, b"\0"].concat());
    prop_oneof![
        2 => (kind, fields).prop_map(|(kind, fields)| [vec![kind], fields.concat()].concat()),
        1 => serve,
        1 => wish(),
    ]
}

proptest! {
    #[test]
    fn any_operations_of_a_peer_do_no_harm(
        cargos in prop::collection::vec((prop::collection::vec(operation(), 0..6), 0u8..3), 0..40),
    ) {
        let mut world = World::new(3);
        let honest = world.nodes[2].subscribe("a", "text").unwrap();
        world.settle();
        let mut published = 0;
        for (number, (operations, publish)) in cargos.into_iter().enumerate() {
            let mut head = vec![0];
            put_varint(&mut head, number as u64);
            world.nodes[0].handle_cargo(world.now, peer(1), head.into(), operations.concat().into());
            for _ in 0..publish {
                world.publish(0, "a", b"x");
                published += 1;
            }
            world.nodes[0].handle_timeout(world.now);
            while let Some((to, cargo)) = world.nodes[0].poll_cargo() {
                if to == peer(2) {
                    world.arrive(0, 2, &cargo);
                }
            }
            let _ = world.events(0);
        }
        world.nodes[0].handle_peer_gone(peer(1));
        world.settle();
        let items = world.items(2, honest);
        prop_assert_eq!((messages(items).count(), items.len()), (published, published));
    }

    /// Whatever a peer says that it wants, it gets no more than there is, and others get what they would anyway.
    #[test]
    fn any_wishes_of_a_peer_do_no_harm(
        cargos in prop::collection::vec((prop::collection::vec(wish(), 0..6), 0u8..3), 0..40),
        max_interest in 1usize..6,
    ) {
        let config = Config { max_interest_per_peer: max_interest, ..Config::default() };
        let mut world = World::with(3, &config);
        let honest = world.nodes[2].subscribe_from(world.now, "a", "text", Wish::All).unwrap();
        world.settle();
        for topic in ["a", "a/b", "a/b/c"] {
            let history = History::Last(3);
            let id = world.nodes[0].publication_with(topic, "text", history).unwrap();
            world.nodes[0].release(id);
        }
        let (mut sent, mut published) = (0, 0);
        for (number, (operations, publish)) in cargos.into_iter().enumerate() {
            let mut head = vec![0];
            put_varint(&mut head, number as u64);
            world.nodes[0].handle_cargo(world.now, peer(1), head.into(), operations.concat().into());
            for topic in ["a", "a/b", "a/b/c"].into_iter().take(usize::from(publish)) {
                world.publish(0, topic, b"x");
                published += usize::from(topic == "a");
            }
            while let Some((to, cargo)) = world.nodes[0].poll_cargo() {
                sent += usize::from(to == peer(1));
                if to == peer(2) {
                    world.arrive(0, 2, &cargo);
                }
            }
        }
        // A run brings 3 old messages of each of 3 topics at most, and each operation begins one run of each.
        prop_assert!(sent <= 40 * (6 * 9 * 2 + 3), "{} cargos", sent);
        world.nodes[0].handle_peer_gone(peer(1));
        world.settle();
        let items = world.items(2, honest);
        prop_assert_eq!((messages(items).count(), items.len()), (published, published));
    }

    #[test]
    fn what_is_published_reads_back(messages_in in prop::collection::vec(message(), 1..60), room in 1usize..3_000) {
        let mut world = World::new(2);
        let id = world.nodes[1].subscribe("a/b", "text").unwrap();
        world.nodes[0].set_room(peer(1), room);
        world.settle();
        let publication = world.nodes[0].publication("a/b", "text").unwrap();
        let (mut wall, mut expected) = (world.wall(), Vec::new());
        for (payload, expiry, clock_step, nanos) in messages_in {
            wall = WallTime::from_unix_nanos(wall.as_unix_nanos() + clock_step);
            world.now = world.now + Duration::from_nanos(nanos);
            world.nodes[0].publish(world.now, wall, publication, expiry, &*payload).unwrap();
            expected.push((wall, expiry, world.now + expiry, payload));
        }
        world.send();
        let payloads = expected.len();
        prop_assert!(world.flight.iter().all(|(_, _, cargo)| cargo.body_len() <= room || world.flight.len() <= payloads));
        let deadlines: Vec<_> = world.flight.iter().map(|(_, _, cargo)| cargo.deadline()).collect();
        prop_assert_eq!(deadlines.last().copied().flatten(), expected.last().map(|(_, _, deadline, _)| *deadline));
        world.settle();
        let items = world.items(1, id).to_vec();
        prop_assert_eq!(contiguous(&items), (1, payloads as u64));
        for message in messages(&items) {
            let index = usize::try_from(message.sequence_number).unwrap() - 1;
            let (wall, expiry, _, payload) = &expected[index];
            prop_assert_eq!((message.timestamp, message.expiry), (*wall, *expiry));
            prop_assert_eq!(&message.payload[..], &payload[..]);
            prop_assert!(message.deadline() <= world.now + *expiry);
        }
    }

    #[test]
    fn any_cargo_is_taken_without_panic(
        cargo in prop::collection::vec(
            (prop_oneof![any::<Vec<u8>>(), (0u8..8, any::<Vec<u8>>()).prop_map(|(kind, mut head)| {
                head.insert(0, kind);
                head
            })], any::<Vec<u8>>()),
            0..30,
        ),
    ) {
        let mut world = World::new(2);
        world.nodes[1].subscribe("#", "").unwrap();
        for (head, body) in cargo {
            world.nodes[1].handle_cargo(world.now, peer(0), head.into(), body.into());
        }
        world.hand_out();
        world.nodes[1].handle_peer_gone(peer(0));
        world.hand_out();
    }

    #[test]
    fn spoilt_cargo_is_taken_without_panic(
        spoils in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 1..60),
        max_held in 1usize..5,
    ) {
        let config = Config { max_held_bundles_per_peer: max_held, max_streams_per_peer: 2, ..Config::default() };
        let mut world = World::with(2, &config);
        world.nodes[1].subscribe("#", "").unwrap();
        world.settle();
        for topic in ["a", "b", "a", "c", "a", "a"] {
            world.publish(0, topic, b"some payload");
            world.send();
        }
        world.flight[3].2.skip(Skip::Expired);
        let now = world.now;
        let sane: Vec<_> = world.flight.drain(..).map(|(_, _, cargo)| encoded(&cargo, now)).collect();
        for (which, place, byte) in spoils {
            let (mut head, mut body) = which.get(&sane).clone();
            let at = place.index(head.len() + body.len());
            if let Some(old) = head.get_mut(at) {
                *old = byte;
            } else {
                let at = at - head.len();
                body[at] = byte;
            }
            world.nodes[1].handle_cargo(now, peer(0), head.into(), body.into());
            world.hand_out();
        }
        world.nodes[1].handle_peer_gone(peer(0));
        world.hand_out();
        prop_assert_eq!(world.nodes[1].held_bytes(peer(0)), 0);
    }
}

#[test]
fn a_bundle_whose_messages_can_not_be_read_is_a_gap() {
    for (change, reason) in [(1, GapReason::Malformed), (-20, GapReason::Overflow)] {
        let mut world = World::new(2);
        let id = world.nodes[1].subscribe("a", "text").unwrap();
        world.settle();
        for count in 1..=3 {
            (0..count).for_each(|_| assert!(world.publish(0, "a", b"some payload") > 0));
            world.send();
        }
        let cargo: Vec<_> = world.flight.drain(..).map(|(_, _, cargo)| encoded(&cargo, world.now)).collect();
        for (index, (head, mut body)) in cargo.into_iter().enumerate() {
            if index == 1 {
                body.resize(body.len().checked_add_signed(change).unwrap(), 1);
            }
            world.nodes[1].handle_cargo(world.now, peer(0), head.into(), body.into());
        }
        world.settle();
        let gaps: Vec<_> = world.gaps(1, id).iter().map(|gap| (gap.from, gap.to, gap.reason)).collect();
        assert_eq!(gaps, [(2, 3, reason)]);
        assert_eq!(contiguous(world.items(1, id)), (1, 6));
        let stats = world.nodes[1].stats();
        assert_eq!((stats.malformed, stats.bundles_cut), (u64::from(change > 0), u64::from(change < 0)));
    }
}

#[test]
fn what_can_not_be_read_is_counted_and_dropped() {
    let mut world = World::new(2);
    let text = Bytes::from_static;
    let cases: [(&[u8], &[u8]); 8] = [
        (b"", b""),
        (b"\x09", b""),
        (b"\x01\x00\x01\x00", b""),
        (b"\x01\x01\x00\x00\x00", b"\x01a\x00\x01\0\0\0\0\0\0\0\0\x01"),
        (b"\x01\x01\x00\x01\x00", b"\x02\xff\xff\x00\x01\0\0\0\0\0\0\0\0\x01\x00\x00"),
        (b"\x02\x00\x01\x05\x04\x01a", b""),
        (b"\x02\x00\x01\x04\x05\x01+", b""),
        (b"\x00\x00", b"\x07"),
    ];
    for (count, (head, body)) in cases.into_iter().enumerate() {
        world.nodes[1].handle_cargo(world.now, peer(0), Bytes::copy_from_slice(head), text(b"").clone());
        world.nodes[1].handle_cargo(world.now, peer(0), Bytes::copy_from_slice(head), Bytes::copy_from_slice(body));
        let stats = world.nodes[1].stats();
        assert!(stats.malformed + stats.duplicates > count as u64, "{head:?}");
    }
    world.nodes[1].handle_cargo(world.now, peer(7), text(b"\x00\x00"), text(b""));
    assert_eq!(world.nodes[1].stats().unknown_peer, 1);
}

#[test]
fn a_peers_age_and_expiry_saturate() {
    let mut world = World::new(2);
    let id = world.nodes[1].subscribe("a", "").unwrap();
    let head = |age: [u8; 8]| [&b"\x01\x01\x00\x01"[..], &age].concat();
    let body = |expiry: [u8; 8], first: u8| {
        [&b"\x01a\x00"[..], &[first], &[0xff; 8], &expiry, b"\x01\xff\xff\xff\xff\xff\xff\xff\xffx"].concat()
    };
    let old = (head([0xff; 8]), body((0xc000_0000_0000_2710u64).to_be_bytes(), 1));
    let endless = (head([0xc0, 0, 0, 0, 0, 0, 0, 9]), body([0xff; 8], 2));
    for (head, body) in [old, endless] {
        world.nodes[1].handle_cargo(world.now, peer(0), head.into(), body.into());
    }
    world.now = world.now + ms(20);
    world.settle();
    assert_eq!(world.numbers(1, id), [2]);
    assert_eq!(world.gaps(1, id).len(), 1);
}
