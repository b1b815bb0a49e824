//! What publishers and subscribers see.

use std::time::Duration;

use bytes::Bytes;
use glue_net::{Content, Incarnation, Instant, WallTime};

use super::{LIFE, SECOND, World, facts, messages, ms, peer, topics};
use crate::{BRIDGE_TYPE, Config, Event, GapReason, Item, PeerFacts, PublishError, SubscribeError, TypeName, Wire};

#[test]
fn a_message_reaches_a_subscriber_with_all_that_was_published() {
    let mut world = World::new(2);
    let id = world.nodes[1].subscribe("greetings", "text").unwrap();
    world.settle();
    let wall = world.wall();
    assert_eq!(world.publish_for(0, "greetings", ms(50), b"hello"), 1);
    world.settle();
    let message = messages(world.items(1, id)).next().unwrap();
    assert_eq!(message.payload, "hello");
    assert_eq!((message.timestamp, message.expiry, message.sequence_number), (wall, ms(50), 1));
    assert_eq!((&*message.endpoint_name, &*message.topic_name, &*message.topic_type), ("node-0", "greetings", "text"));
    assert_eq!((message.endpoint_id, message.incarnation), (facts(0, Wire::Native).id, LIFE));
    assert_eq!(message.deadline(), world.now + ms(50));
}

#[test]
fn what_took_long_to_be_joined_is_older_than_its_head_says() {
    let mut world = World::new(2);
    let id = world.nodes[1].subscribe("a", "text").unwrap();
    world.settle();
    for waited in [2, 3] {
        world.publish_for(0, "a", 3 * SECOND, b"long");
        world.send();
        let (_, _, cargo) = world.flight.remove(0);
        let (head, body) = super::cache::encoded(&cargo, world.now);
        world.now = world.now + waited * SECOND;
        world.nodes[1].handle_joined(world.now, peer(0), (head.into(), waited * SECOND), body.into());
        world.hand_out();
    }
    assert_eq!(world.numbers(1, id), [1]);
    assert_eq!(world.gaps(1, id)[0].reason, GapReason::Expired);
}

#[test]
fn messages_and_gaps_tell_their_publishers_life() {
    let mut world = World::new(2);
    let own = world.nodes[0].subscribe("a", "text").unwrap();
    let id = world.nodes[1].subscribe("a", "text").unwrap();
    world.settle();
    world.publish(0, "a", b"first");
    world.settle();
    world.nodes[1].handle_peer_gone(peer(0));
    world.nodes[0].handle_peer_gone(peer(1));
    let next = Incarnation(LIFE.0 + 1);
    world.nodes[1].handle_peer_up(peer(0), &PeerFacts { incarnation: next, ..facts(0, Wire::Native) });
    world.nodes[0].handle_peer_up(peer(1), &facts(1, Wire::Native));
    world.settle();
    world.publish(0, "a", b"second");
    world.settle();
    world.fate.expire = 1.0;
    world.publish(0, "a", b"third");
    world.settle();
    let lives = |world: &World, node, id| -> Vec<_> {
        let source = |item: &Item| match item {
            Item::Gap(gap) => gap.source.incarnation,
            Item::Message(message) => message.incarnation,
        };
        world.items(node, id).iter().map(source).collect()
    };
    assert_eq!(lives(&world, 1, id), [LIFE, next, next]);
    assert_eq!(world.gaps(1, id).len(), 1);
    assert_eq!(lives(&world, 0, own), [LIFE; 3]);
}

#[test]
fn messages_of_one_turn_share_a_bundle_and_all_peers_share_it() {
    let mut world = World::new(3);
    for node in [1, 2] {
        world.nodes[node].subscribe("#", "").unwrap();
    }
    world.settle();
    (0..10).for_each(|_| assert!(world.publish(0, "a", b"x") > 0));
    assert!(world.nodes[0].has_open_bundles());
    world.send();
    assert!(!world.nodes[0].has_open_bundles());
    assert_eq!(world.flight.len(), 2);
    assert_eq!(world.nodes[0].stats().bundles_sent, 1);
}

#[test]
fn a_bundle_stays_open_while_its_peers_are_busy() {
    let mut world = World::new(3);
    world.nodes[1].subscribe("a", "text").unwrap();
    world.nodes[2].subscribe("b", "text").unwrap();
    world.settle();
    for topic in ["a", "b", "a"] {
        world.publish(0, topic, b"x");
    }
    assert!(!world.nodes[0].close_bundles_for(|_, _| false));
    assert!(world.nodes[0].poll_cargo().is_none());
    assert!(world.nodes[0].close_bundles_for(|to, _| to == peer(2)));
    assert!(matches!(world.nodes[0].poll_cargo(), Some((to, _)) if to == peer(2)));
    assert!(world.nodes[0].poll_cargo().is_none());
    assert!(world.nodes[0].has_open_bundles());
    world.nodes[0].handle_peer_suspended(peer(1));
    assert!(!world.nodes[0].has_open_bundles());
    assert!(world.nodes[0].close_bundles_for(|to, _| to == peer(1)));
    assert!(!world.nodes[0].close_bundles_for(|_, _| true));
    assert_eq!(world.nodes[0].stats().bundles_sent, 2);
}

#[test]
fn nothing_is_bundled_where_nobody_is_interested() {
    let mut world = World::new(2);
    world.nodes[1].subscribe("b", "text").unwrap();
    world.settle();
    world.publish(0, "a", b"x");
    assert!(!world.nodes[0].has_open_bundles());
    let id = world.nodes[0].publication("b", "text").unwrap();
    assert_eq!(world.nodes[0].interested(id), [peer(1)]);
    let id = world.nodes[0].publication("a", "text").unwrap();
    assert!(world.nodes[0].interested(id).is_empty());
}

#[test]
fn own_subscriptions_get_own_messages_in_one_batch() {
    let mut world = World::new(1);
    let exact = world.nodes[0].subscribe("a", "text").unwrap();
    let all = world.nodes[0].subscribe("#", "").unwrap();
    (0..3).for_each(|_| assert!(world.publish(0, "a", b"x") > 0));
    let mut delivery = world.nodes[0].poll_delivery().unwrap();
    assert_eq!(*delivery.to, [exact, all]);
    assert_eq!(delivery.batch.from(), None);
    assert!(world.nodes[0].poll_delivery().is_none());
    let items: Vec<_> = std::iter::from_fn(|| delivery.batch.next(world.now)).collect();
    assert_eq!(super::contiguous(&items), (1, 3));
}

#[test]
fn a_subscription_begins_where_the_publisher_is() {
    let mut world = World::new(2);
    (0..5).for_each(|_| assert!(world.publish(0, "a", b"x") > 0));
    let id = world.nodes[1].subscribe("a", "text").unwrap();
    world.settle();
    world.publish(0, "a", b"x");
    world.settle();
    assert_eq!(world.numbers(1, id), [6]);
    assert!(world.gaps(1, id).is_empty());
}

#[test]
fn a_large_message_is_a_bundle_of_its_own_and_not_copied() {
    let mut world = World::new(2);
    let id = world.nodes[1].subscribe("a", "text").unwrap();
    world.settle();
    let payload = Bytes::from(vec![7; 100_000]);
    let publication = world.nodes[0].publication("a", "text").unwrap();
    let (now, wall) = (world.now, world.wall());
    world.nodes[0].publish(now, wall, publication, SECOND, "small").unwrap();
    world.nodes[0].publish(now, wall, publication, SECOND, &payload).unwrap();
    world.nodes[0].publish(now, wall, publication, SECOND, "small").unwrap();
    world.send();
    assert_eq!(world.flight.iter().map(|(_, _, cargo)| cargo.body_len() / 100_000).collect::<Vec<_>>(), [0, 1, 0]);
    assert!(!payload.is_unique());
    world.flight.swap(0, 2);
    world.settle();
    assert_eq!(world.numbers(1, id), [1, 2, 3]);
    assert_eq!(messages(world.items(1, id)).nth(1).unwrap().payload, payload);
}

#[test]
fn bundles_stay_within_the_least_room() {
    let mut world = World::new(3);
    for node in [1, 2] {
        world.nodes[node].subscribe("a", "text").unwrap();
        world.nodes[0].set_room(peer(node), 500 * node);
    }
    world.settle();
    (0..50).for_each(|_| assert!(world.publish(0, "a", &[0; 50]) > 0));
    world.nodes[0].set_room(peer(1), 300);
    (0..50).for_each(|_| assert!(world.publish(0, "a", &[0; 50]) > 0));
    world.send();
    let lens: Vec<_> = world.flight.iter().map(|(_, _, cargo)| cargo.body_len()).collect();
    assert!(lens.iter().all(|len| *len <= 500) && lens.iter().any(|len| *len > 300));
    assert!(lens.iter().rev().take(4).all(|len| *len <= 300));
}

#[test]
fn what_expires_on_the_way_is_a_gap() {
    let mut world = World::new(2);
    let id = world.nodes[1].subscribe("a", "text").unwrap();
    world.settle();
    world.publish_for(0, "a", ms(10), b"x");
    world.publish_for(0, "a", ms(10), b"x");
    world.now = world.now + ms(5);
    world.publish_for(0, "a", ms(10), b"x");
    world.send();
    world.now = world.now + ms(5);
    world.settle();
    let gaps = world.gaps(1, id);
    assert_eq!((gaps.len(), gaps[0].from, gaps[0].to, gaps[0].reason), (1, 1, 2, GapReason::Expired));
    assert_eq!(world.numbers(1, id), [3]);
    assert_eq!(messages(world.items(1, id)).next().unwrap().deadline(), world.now + ms(5));
}

#[test]
fn what_waits_for_its_reader_expires_too() {
    let mut world = World::new(2);
    world.nodes[1].subscribe("#", "").unwrap();
    let own = world.nodes[0].subscribe("#", "").unwrap();
    world.settle();
    world.publish_for(0, "a", ms(10), b"x");
    world.publish_for(0, "a", ms(20), b"x");
    world.send();
    let mut batches = Vec::new();
    while world.carry_one() {}
    for node in [0, 1] {
        while let Some(delivery) = world.nodes[node].poll_delivery() {
            batches.push(delivery.batch);
        }
    }
    let now = world.now + ms(15);
    let items: Vec<_> = batches.iter_mut().flat_map(|batch| std::iter::from_fn(|| batch.next(now))).collect();
    assert_eq!(items.len(), 4);
    assert!(matches!(&items[..2], [Item::Gap(gap), Item::Message(_)] if gap.count() == 1));
    assert!(matches!(&items[2..], [Item::Gap(gap), Item::Message(_)] if gap.reason == GapReason::Expired));
    assert!(world.items(0, own).is_empty());
}

#[test]
fn a_publishers_clock_can_not_make_messages_live_longer() {
    let mut world = World::new(2);
    let id = world.nodes[1].subscribe("a", "text").unwrap();
    world.settle();
    let publication = world.nodes[0].publication("a", "text").unwrap();
    let (now, wall) = (world.now, world.wall());
    for wall in [wall, wall + ms(900), wall + SECOND * 3_600, wall] {
        world.nodes[0].publish(now, wall, publication, ms(10), "x").unwrap();
    }
    world.settle();
    assert_eq!(world.numbers(1, id), [1, 2, 3, 4]);
    assert!(messages(world.items(1, id)).all(|message| message.deadline() == world.now + ms(10)));
    assert_eq!(messages(world.items(1, id)).map(|message| message.timestamp).max(), Some(wall + SECOND * 3_600));
}

#[test]
fn an_endless_expiry_stays_endless() {
    let mut world = World::new(2);
    let id = world.nodes[1].subscribe("a", "text").unwrap();
    world.settle();
    world.publish_for(0, "a", Duration::MAX, b"x");
    world.publish_for(0, "a", Duration::from_nanos(1), b"x");
    world.settle();
    let got: Vec<_> = messages(world.items(1, id)).map(|message| (message.expiry, message.deadline())).collect();
    assert_eq!(got[0], (Duration::MAX, Instant::FAR));
    assert_eq!(got[1].0, Duration::from_micros(1));
}

#[test]
fn publish_refuses_without_using_a_number() {
    let config = Config { max_message_bytes: 4, ..Config::default() };
    let mut node = topics(0, config);
    let id = node.publication("a", "").unwrap();
    let mut publish = |expiry, payload: &str| node.publish(Instant::ZERO, WallTime::default(), id, expiry, payload);
    assert_eq!(publish(SECOND, "12345"), Err(PublishError::TooLarge { len: 5, limit: 4 }));
    assert_eq!(publish(Duration::ZERO, "1"), Err(PublishError::NoLifetime));
    assert_eq!(publish(SECOND, "1234"), Ok(1));
    node.release(id);
    assert_eq!(node.publish(Instant::ZERO, WallTime::default(), id, SECOND, "1"), Err(PublishError::Unknown));
    node.release(id);
    assert!(matches!(node.publication("a/#", ""), Err(PublishError::BadTopic(_))));
    assert!(matches!(node.publication("a", "\n"), Err(PublishError::BadType(_))));
}

#[test]
fn one_endpoint_uses_a_topic_with_one_type() {
    let mut node = topics(0, Config::default());
    let text = TypeName::new("text", 64).unwrap();
    let publication = node.publication("a", "text").unwrap();
    assert_eq!(node.publication("a", "text"), Ok(publication));
    assert!(
        matches!(node.publication("a", "json"), Err(PublishError::TypeMismatch { expected, .. }) if expected == text)
    );
    assert!(
        matches!(node.subscribe("a", "json"), Err(SubscribeError::TypeMismatch { expected, .. }) if expected == text)
    );
    for fits in ["text", "", BRIDGE_TYPE] {
        node.subscribe("a", fits).unwrap();
    }
    node.subscribe("#", "json").unwrap();
    node.release(publication);
    assert!(node.publish(Instant::ZERO, WallTime::default(), publication, SECOND, "x").is_ok());
    node.release(publication);
    assert!(matches!(node.publication("a", "json"), Err(PublishError::TypeMismatch { .. })));

    let id = node.subscribe("b", "text").unwrap();
    assert!(node.publication("b", "json").is_err() && node.subscribe("b", "json").is_err());
    node.unsubscribe(id);
    node.unsubscribe(id);
    assert!(node.publication("b", "json").is_ok());
}

#[test]
fn another_type_does_not_pass_and_is_told_once() {
    let mut world = World::new(2);
    let id = world.nodes[1].subscribe("a", "json").unwrap();
    let other = world.nodes[1].subscribe("b", "json").unwrap();
    world.settle();
    for topic in ["a", "b", "a"] {
        world.publish(0, topic, b"x");
        world.settle();
    }
    assert!(world.items(1, id).is_empty() && world.items(1, other).is_empty());
    let events = world.events(0);
    assert_eq!(events.len(), 2);
    assert!(matches!(&events[0], Event::TypeMismatch { topic, ours, theirs, .. }
        if *topic == "a" && *ours == "text" && *theirs == "json"));
    assert_eq!(world.nodes[1].stats().bundles_received, 0);

    let all = world.nodes[1].subscribe("#", "").unwrap();
    world.settle();
    world.publish(0, "a", b"x");
    world.settle();
    assert_eq!(world.numbers(1, all).len(), 1);
    assert!(world.items(1, id).is_empty());
    assert_eq!(world.nodes[1].stats().type_mismatches, 1);
    assert_eq!(world.events(1).len(), 1);
}

#[test]
fn the_bridge_type_fits_all() {
    let mut world = World::new(2);
    let bridge = world.nodes[1].subscribe("a", BRIDGE_TYPE).unwrap();
    let plain = world.nodes[1].subscribe("a", "json").unwrap();
    world.settle();
    world.publish(0, "a", b"x");
    let publication = world.nodes[0].publication("b", BRIDGE_TYPE).unwrap();
    let (now, wall) = (world.now, world.wall());
    let other = world.nodes[1].subscribe("b", "json").unwrap();
    world.settle();
    world.nodes[0].publish(now, wall, publication, SECOND, "x").unwrap();
    world.settle();
    assert_eq!(world.numbers(1, bridge), [1]);
    assert!(world.numbers(1, plain).is_empty());
    assert_eq!(world.numbers(1, other), [1]);
}

#[test]
fn interest_is_told_in_few_cargos_and_only_changes_after_that() {
    let mut world = World::new(1);
    for topic in 0..100 {
        world.nodes[0].subscribe(&format!("room/{topic}"), "text").unwrap();
    }
    let twice = world.nodes[0].subscribe("room/1", "text").unwrap();
    world.nodes[0].handle_peer_up(peer(1), &facts(1, Wire::Native));
    world.send();
    let lens: Vec<_> = world.flight.drain(..).map(|(_, _, cargo)| cargo.body_len()).collect();
    assert_eq!(lens.len(), 2, "{lens:?}");
    assert!(lens.iter().all(|len| *len <= 1_000));
    world.nodes[0].unsubscribe(twice);
    let short = world.nodes[0].subscribe("short", "").unwrap();
    world.nodes[0].unsubscribe(short);
    world.send();
    assert!(world.flight.is_empty());
}

#[test]
fn a_suspended_peer_keeps_its_place_and_holds_up_nobody() {
    let mut world = World::new(2);
    let id = world.nodes[1].subscribe("a", "text").unwrap();
    world.settle();
    let publication = world.nodes[0].publication("a", "text").unwrap();
    world.nodes[0].handle_peer_suspended(peer(1));
    assert!(world.nodes[0].interested(publication).is_empty());
    world.publish(0, "a", b"x");
    world.nodes[0].subscribe("b", "text").unwrap();
    world.send();
    assert_eq!(world.flight.len(), 1, "the bundle, but no control");
    world.nodes[0].handle_peer_resumed(peer(1));
    assert_eq!(world.nodes[0].interested(publication), [peer(1)]);
    world.settle();
    assert_eq!(world.numbers(1, id), [1]);
    assert_eq!(world.nodes[0].stats().bundles_sent, 1);
    world.publish(1, "b", b"x");
    world.settle();
    assert_eq!(world.nodes[0].stats().messages_received, 1);
}

#[test]
fn what_is_held_of_a_peer_that_goes_comes_out_with_gaps() {
    let mut world = World::new(2);
    let id = world.nodes[1].subscribe("a", "text").unwrap();
    world.settle();
    for _ in 0..4 {
        world.publish(0, "a", b"x");
        world.send();
    }
    world.flight.remove(1);
    world.settle();
    assert_eq!(world.numbers(1, id), [1]);
    assert!(world.nodes[1].held_bytes(peer(0)) > 0);
    world.nodes[1].handle_peer_gone(peer(0));
    world.hand_out();
    assert_eq!(world.numbers(1, id), [1, 3, 4]);
    assert_eq!(world.gaps(1, id)[0].reason, GapReason::PublisherGone);
    assert_eq!(super::contiguous(world.items(1, id)), (1, 4));
    assert_eq!(world.nodes[1].held_bytes(peer(0)), 0);
}

#[test]
fn a_peer_that_went_and_came_back_starts_anew() {
    let mut world = World::new(2);
    let id = world.nodes[1].subscribe("a", "text").unwrap();
    world.settle();
    world.publish(0, "a", b"x");
    world.settle();
    world.publish(0, "a", b"lost with the session");
    world.send();
    world.flight.clear();
    for (node, other) in [(0, 1), (1, 0)] {
        world.nodes[node].handle_peer_gone(peer(other));
        world.nodes[node].handle_peer_gone(peer(other));
        world.nodes[node].handle_peer_up(peer(other), &facts(other, Wire::Native));
    }
    world.settle();
    world.publish(0, "a", b"x");
    world.settle();
    assert_eq!(world.numbers(1, id), [1, 3]);
}

#[test]
fn a_change_of_interest_is_told_once() {
    let mut world = World::new(3);
    let (_a, _b) = (world.nodes[0].publication("a", "text").unwrap(), world.nodes[0].publication("b", "text").unwrap());
    world.events(0);
    let all = world.nodes[1].subscribe("#", "").unwrap();
    world.settle();
    assert_eq!(world.events(0), [Event::InterestChanged]);
    let _other = world.nodes[2].subscribe("c", "text").unwrap();
    world.settle();
    assert_eq!(world.events(0), [], "nobody publishes c");
    world.nodes[0].handle_peer_suspended(peer(1));
    assert_eq!(world.events(0), [Event::InterestChanged]);
    world.nodes[0].handle_peer_resumed(peer(1));
    assert_eq!(world.events(0), [Event::InterestChanged]);
    world.nodes[1].unsubscribe(all);
    world.settle();
    assert_eq!(world.events(0), [Event::InterestChanged]);
}
