//! Classic peers.

use std::time::Duration;

use bytes::Bytes;
use glue_net::wire::classic::{self, Codec};
use glue_net::{Chain, Content, EndpointId, Skip, WallTime};
use proptest::prelude::*;

use super::{SECOND, World, facts, messages, ms, peer};
use crate::{BRIDGE_TYPE, Config, Wire};

/// A world in which node 0 knows one classic peer.
fn world(config: &Config) -> World {
    let mut world = World::with(1, config);
    world.nodes[0].handle_peer_up(peer(9), &facts(9, Wire::Classic(Codec::MessagePack)));
    world
}

fn message(sequence_number: i64) -> classic::Message {
    classic::Message {
        timestamp: WallTime::from_unix_nanos(sequence_number * 1_000),
        expiry: SECOND,
        endpoint_id: EndpointId::from_integer(9),
        endpoint_name: "go".into(),
        sequence_number,
        topic_name: "a".into(),
        topic_type: "text".into(),
        message_type: 1,
        payload: Some(Bytes::from_static(b"x")),
    }
}

impl World {
    fn take(&mut self, message: classic::Message) {
        self.nodes[0].handle_classic(self.now, peer(9), message);
        self.hand_out();
    }

    fn wait(&mut self, time: Duration) {
        self.now = self.now + time;
        self.nodes[0].handle_timeout(self.now);
        self.hand_out();
    }
}

#[test]
fn a_classic_message_comes_with_all_that_it_says() {
    let mut world = world(&Config::default());
    let id = world.nodes[0].subscribe("a", "text").unwrap();
    world.take(message(5));
    world.take(classic::Message { payload: None, expiry: Duration::ZERO, ..message(6) });
    let [first, second] = &messages(world.items(0, id)).collect::<Vec<_>>()[..] else { panic!("two") };
    assert_eq!((&*first.endpoint_name, first.sequence_number, &*first.payload), ("go", 5, &b"x"[..]));
    assert_eq!(first.deadline(), world.now + SECOND);
    assert_eq!((second.expiry, second.payload.len()), (Duration::MAX, 0), "no expiry is endless");
    let again = messages(world.items(0, id)).all(|message| !message.is_expired(world.now + SECOND / 2));
    assert!(again);
}

#[test]
fn order_is_mended_within_the_hold() {
    let mut world = world(&Config::default());
    let id = world.nodes[0].subscribe("a", "text").unwrap();
    for sequence in [1, 3, 4, 2, 5] {
        world.take(message(sequence));
    }
    assert_eq!(world.numbers(0, id), [1, 2, 3, 4, 5]);
    world.take(message(4));
    assert_eq!(world.nodes[0].stats().classic_late, 1);
    assert_eq!(world.nodes[0].held_bytes(peer(9)), 0);
}

#[test]
fn holes_are_waited_for_and_passed() {
    let mut world = world(&Config::default());
    let id = world.nodes[0].subscribe("a", "text").unwrap();
    world.take(message(1));
    world.take(message(4));
    world.take(message(3));
    assert_eq!(world.nodes[0].poll_timeout(), Some(world.now + ms(20)));
    world.wait(ms(19));
    assert_eq!(world.numbers(0, id), [1]);
    world.wait(ms(1));
    assert_eq!(world.numbers(0, id), [1, 3, 4]);
    world.take(message(2));
    world.wait(SECOND);
    assert_eq!(world.numbers(0, id), [1, 3, 4], "too late: dropped, and no gap");
    assert!(world.gaps(0, id).is_empty());
    assert_eq!(world.nodes[0].poll_timeout(), None);
}

#[test]
fn a_larger_step_is_learned() {
    let mut world = world(&Config::default());
    let id = world.nodes[0].subscribe("a", "text").unwrap();
    let (mut sequence, mut waited) = (1, 0);
    for _ in 0..30 {
        world.take(message(sequence));
        if world.nodes[0].held_bytes(peer(9)) > 0 {
            waited += 1;
            world.wait(ms(20));
        }
        sequence += 3;
    }
    assert_eq!(waited, 1, "the first step is not known");
    for _ in 0..30 {
        sequence += 6;
        world.take(message(sequence));
        if world.nodes[0].held_bytes(peer(9)) > 0 {
            waited += 1;
            world.wait(ms(20));
        }
    }
    assert_eq!(waited, 9, "after as many as are looked back on");
    assert_eq!(world.numbers(0, id).len(), 60);
}

#[test]
fn a_publisher_that_counts_anew_is_heard() {
    let mut world = world(&Config::default());
    let id = world.nodes[0].subscribe("a", "text").unwrap();
    world.take(message(100));
    world.take(message(103));
    world.take(classic::Message { timestamp: WallTime::from_unix_nanos(1 << 40), ..message(1) });
    world.take(message(2));
    assert_eq!(world.numbers(0, id), [100, 103, 1, 2]);
}

#[test]
fn what_no_reference_would_deliver_is_refused() {
    let mut world = world(&Config::default());
    let id = world.nodes[0].subscribe("#", "").unwrap();
    world.take(classic::Message { message_type: 3, ..message(1) });
    world.take(classic::Message { sequence_number: -1, ..message(1) });
    world.take(classic::Message { endpoint_id: EndpointId::from_integer(0), ..message(1) });
    world.take(classic::Message { topic_name: String::new(), ..message(1) });
    world.take(classic::Message { topic_name: "x".repeat(1_025), ..message(1) });
    assert_eq!(world.nodes[0].stats().classic_refused, 5);
    assert!(world.items(0, id).is_empty());
    world.take(classic::Message { message_type: 2, topic_name: "a/+/\n#".into(), ..message(1) });
    assert_eq!(world.numbers(0, id), [1]);
    world.nodes[0].handle_classic(world.now, peer(1), message(1));
    assert_eq!(world.nodes[0].stats().unknown_peer, 1);
}

#[test]
fn everything_of_a_classic_peer_goes_to_a_subscription_to_everything() {
    let mut world = world(&Config::default());
    let all = world.nodes[0].subscribe("#", "json").unwrap();
    let below = world.nodes[0].subscribe("+/#", "").unwrap();
    world.take(classic::Message { topic_name: "$a/b".into(), ..message(1) });
    world.take(classic::Message { topic_name: "a/b".into(), ..message(2) });
    assert_eq!((world.numbers(0, all), world.numbers(0, below)), (vec![1, 2], vec![2]));
    // It gets everything as well: its wire has no subscriptions.
    world.publish(0, "$a", b"x");
    world.nodes[0].close_bundles();
    assert!(world.nodes[0].poll_cargo().is_some_and(|(to, _)| to == peer(9)));
}

#[test]
fn another_type_is_dropped_but_the_bridges() {
    let mut world = world(&Config::default());
    let id = world.nodes[0].subscribe("a", "text").unwrap();
    let of_type = |sequence, topic_type: &str| classic::Message { topic_type: topic_type.into(), ..message(sequence) };
    world.take(of_type(1, "json"));
    world.take(of_type(2, "json"));
    assert_eq!((world.events(0).len(), world.nodes[0].stats().type_mismatches), (1, 2));
    world.take(of_type(3, BRIDGE_TYPE));
    world.take(of_type(4, "text"));
    world.take(of_type(5, "json"));
    world.take(of_type(6, "json"));
    assert_eq!(world.numbers(0, id), [3, 4]);
    assert_eq!((world.events(0).len(), world.nodes[0].stats().type_mismatches), (0, 4));
}

#[test]
fn a_classic_peer_gets_every_message_in_its_codec() {
    let mut world = world(&Config::default());
    world.nodes[0].handle_peer_up(peer(8), &facts(8, Wire::Classic(Codec::Json)));
    world.nodes[0].handle_peer_up(peer(7), &facts(7, Wire::Classic(Codec::Json)));
    assert_eq!(world.publish(0, "a", b"hello"), 1);
    world.send();
    let publication = world.nodes[0].publication("a", "text").unwrap();
    assert_eq!(world.nodes[0].interested(publication), [peer(7), peer(8), peer(9)]);
    assert_eq!(world.flight.len(), 3);
    for (_, to, mut cargo) in std::mem::take(&mut world.flight) {
        assert!(cargo.is_classic() && !cargo.is_urgent() && cargo.head_len() == 0);
        assert_eq!(cargo.deadline(), Some(world.now + SECOND));
        let mut body = Chain::default();
        cargo.encode_body(0..cargo.body_len(), &mut body);
        let codec = if to == 9 { Codec::MessagePack } else { Codec::Json };
        let message = classic::Message::decode(codec, &body.to_vec().into()).unwrap();
        assert_eq!((message.payload.as_deref(), message.sequence_number), (Some(&b"hello"[..]), 1));
        assert_eq!((&*message.topic_name, &*message.topic_type, message.message_type), ("a", "text", 1));
        assert_eq!((message.timestamp, message.expiry), (world.wall(), SECOND));
        cargo.skip(Skip::Expired);
        assert!(cargo.is_classic() && cargo.body_len() == 0);
    }
}

#[test]
fn a_peer_may_turn_out_to_speak_otherwise() {
    let mut world = world(&Config::default());
    let id = world.nodes[0].subscribe("a", "text").unwrap();
    world.take(message(1));
    world.take(message(5));
    world.nodes[0].handle_peer_up(peer(9), &facts(9, Wire::Classic(Codec::Json)));
    assert_eq!(world.numbers(0, id), [1]);
    world.nodes[0].handle_peer_up(peer(9), &facts(9, Wire::Native));
    world.hand_out();
    assert_eq!(world.numbers(0, id), [1, 5]);
    world.publish(0, "a", b"x");
    world.send();
    assert!(world.flight.iter().all(|(_, _, cargo)| cargo.is_urgent()), "told of our interest, not classic any more");
    world.wait(SECOND);
    assert_eq!(world.nodes[0].poll_timeout(), None);
}

#[test]
fn limits_deliver_what_they_can_not_order() {
    let config = Config { max_streams_per_peer: 1, max_held_bundles_per_peer: 2, ..Config::default() };
    let mut world = world(&config);
    let id = world.nodes[0].subscribe("#", "").unwrap();
    world.take(message(1));
    for sequence in [7, 3] {
        world.take(classic::Message { topic_name: "b".into(), ..message(sequence) });
    }
    assert_eq!(world.numbers(0, id), [1, 7, 3]);
    assert_eq!(world.nodes[0].stats().classic_unordered, 2);
    for sequence in [9, 5, 7] {
        world.take(message(sequence));
    }
    assert_eq!(world.numbers(0, id)[3..], [5, 7, 9]);
    assert_eq!((world.nodes[0].stats().held_overflows, world.nodes[0].held_bytes(peer(9))), (1, 0));
}

#[test]
fn topics_that_nobody_wants_cost_nothing() {
    let config = Config { max_streams_per_peer: 1, ..Config::default() };
    let mut world = world(&config);
    let id = world.nodes[0].subscribe("a", "text").unwrap();
    world.take(classic::Message { topic_name: "b".into(), ..message(1) });
    world.take(message(1));
    world.take(message(3));
    world.take(message(2));
    assert_eq!(world.numbers(0, id), [1, 2, 3]);
}

proptest! {
    #[test]
    fn what_is_late_by_less_than_the_hold_is_put_in_order(
        delays in prop::collection::vec(0u64..15, 1..60),
        step in 1i64..4,
    ) {
        let mut world = world(&Config::default());
        let id = world.nodes[0].subscribe("a", "text").unwrap();
        let start = world.now;
        world.take(message(0));
        let mut arrivals: Vec<_> = delays
            .iter()
            .enumerate()
            .map(|(index, delay)| (start + ms(index as u64 + delay), (index as i64 + 1) * step))
            .collect();
        arrivals.sort_unstable();
        for (at, sequence) in arrivals {
            while let Some(due) = world.nodes[0].poll_timeout().filter(|due| *due <= at) {
                world.wait(due.since(world.now));
            }
            world.now = at;
            world.take(message(sequence));
        }
        world.wait(ms(100));
        let numbers = world.numbers(0, id);
        prop_assert!(numbers.is_sorted());
        let stats = world.nodes[0].stats();
        prop_assert_eq!(numbers.len() as u64 + stats.classic_late, delays.len() as u64 + 1);
        prop_assert_eq!(stats.classic_late, 0);
    }
}
