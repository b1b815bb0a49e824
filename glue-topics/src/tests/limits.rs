//! Everything is bounded, and what is given up is told.

use glue_net::{Content, EndpointId, Skip};

use super::{LIFE, World, contiguous, messages, peer};
use crate::{Config, Event, GapReason, PublishError, SubscribeError, Topics};

#[test]
fn what_may_not_wait_any_longer_comes_out_with_a_gap() {
    let config = Config { max_held_bundles_per_peer: 3, ..Config::default() };
    let mut world = World::with(2, &config);
    let id = world.nodes[1].subscribe("a", "text").unwrap();
    world.settle();
    for _ in 0..7 {
        world.publish(0, "a", b"x");
        world.send();
    }
    let late = world.flight.remove(1);
    world.settle();
    assert_eq!(world.numbers(1, id), [1, 3, 4, 5, 6, 7]);
    assert_eq!(contiguous(world.items(1, id)), (1, 7));
    assert_eq!(world.gaps(1, id)[0].reason, GapReason::Overflow);
    world.flight.push(late);
    world.settle();
    assert_eq!(world.items(1, id).len(), 7);
    let stats = world.nodes[1].stats();
    assert_eq!((stats.held_overflows, stats.duplicates, stats.missed), (1, 1, 1));
}

#[test]
fn a_stream_that_was_made_to_begin_tells_what_comes_too_late() {
    let config = Config { max_held_bytes_per_peer: 0, ..Config::default() };
    let mut world = World::with(2, &config);
    let id = world.nodes[1].subscribe("a", "text").unwrap();
    world.settle();
    for _ in 0..5 {
        world.publish(0, "a", b"x");
        world.send();
    }
    world.flight.reverse();
    world.settle();
    let mut seen: Vec<_> = world.items(1, id).iter().map(super::span).collect();
    seen.sort_unstable();
    assert_eq!(seen, [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5)]);
    assert_eq!(world.numbers(1, id).len() as u64 + world.nodes[1].stats().missed, 5);
}

#[test]
fn one_bundle_may_wait_however_large() {
    let config = Config { max_held_bytes_per_peer: 0, ..Config::default() };
    let mut world = World::with(2, &config);
    let id = world.nodes[1].subscribe("a", "text").unwrap();
    world.settle();
    world.publish(0, "a", b"x");
    world.publish(0, "a", &[0; 100_000]);
    world.send();
    world.flight.reverse();
    world.settle();
    assert_eq!(world.numbers(1, id), [1, 2]);
}

#[test]
fn topics_beyond_the_limit_are_told_missing() {
    let config = Config { max_streams_per_peer: 2, ..Config::default() };
    let mut world = World::with(2, &config);
    let id = world.nodes[1].subscribe("#", "").unwrap();
    world.settle();
    for topic in ["a", "b", "c", "a"] {
        world.publish(0, topic, b"x");
        world.send();
    }
    world.flight.last_mut().unwrap().2.skip(Skip::Expired);
    world.publish(0, "d", b"x");
    world.send();
    world.flight.last_mut().unwrap().2.skip(Skip::Expired);
    world.settle();
    let topics: Vec<_> = world.gaps(1, id).iter().map(|gap| gap.source.topic_name.to_string()).collect();
    assert_eq!(topics, ["c", "a", "d"]);
    assert_eq!(messages(world.items(1, id)).count(), 2);
    assert_eq!(world.nodes[1].stats().streams_refused, 2);
}

#[test]
fn interest_beyond_the_limit_is_refused_and_told_once() {
    let config = Config { max_interest_per_peer: 2, ..Config::default() };
    let mut world = World::with(2, &config);
    for topic in ["a", "b", "c", "d"] {
        world.nodes[1].subscribe(topic, "").unwrap();
    }
    world.settle();
    assert_eq!(world.events(0), [Event::InterestRefused { peer: peer(1), limit: 2 }]);
    assert_eq!(world.nodes[0].stats().interest_refused, 2);
}

#[test]
fn names_take_no_more_than_is_left_for_others() {
    let mut world = World::with(3, &Config { max_names_bytes: 4_000, ..Config::default() });
    for topic in 0..20 {
        world.nodes[1].subscribe(&format!("{topic:050}"), "").unwrap();
        world.publish(1, &format!("{topic:050}"), b"x");
    }
    world.settle();
    let after_one = world.nodes[0].names_bytes();
    assert_eq!((after_one, world.nodes[0].stats().interest_refused), (2_000, 10));
    // Another one finds room, and it is free again when they are gone.
    let own = world.nodes[2].subscribe("t", "").unwrap();
    world.settle();
    world.publish(0, "t", b"x");
    world.settle();
    assert_eq!(world.numbers(2, own), [1]);
    let topics: Vec<_> = (0..20).map(|topic| format!("{topic:050}")).collect();
    let all = world.nodes[0].subscribe("#", "").unwrap();
    world.settle();
    for topic in &topics {
        world.publish(1, topic, b"y");
    }
    world.settle();
    assert!(world.nodes[0].names_bytes() <= 4_000 && world.nodes[0].stats().streams_refused > 10);
    assert_eq!(world.items(0, all).len(), 20, "as messages or as gaps");
    (1..3).for_each(|node| world.nodes[0].handle_peer_gone(peer(node)));
    assert_eq!(world.nodes[0].names_bytes(), 0);
}

#[test]
fn subscriptions_and_publications_are_limited() {
    let config = Config { max_subscriptions: 1, max_publications: 1, max_idle_publications: 0, ..Config::default() };
    let mut node = Topics::new(config, EndpointId::from_integer(0), LIFE, "node").unwrap();
    let id = node.subscribe("a", "").unwrap();
    assert_eq!(node.subscribe("b", ""), Err(SubscribeError::TooMany { limit: 1 }));
    node.unsubscribe(id);
    assert!(node.subscribe("b", "").is_ok());
    let a = node.publication("a", "").unwrap();
    assert_eq!(node.publication("b", ""), Err(PublishError::TooMany { limit: 1 }));
    node.release(a);
    let b = node.publication("b", "").unwrap();
    assert_ne!(a, b);
    assert_eq!(node.publication("a", ""), Err(PublishError::TooMany { limit: 1 }));
}

#[test]
fn events_are_limited() {
    let config = Config { max_events: 2, ..Config::default() };
    let mut world = World::with(2, &config);
    for topic in ["a", "b", "c"] {
        world.nodes[1].subscribe(topic, "json").unwrap();
        world.publish(0, topic, b"x");
    }
    world.settle();
    assert_eq!(world.events(0).len(), 2);
    assert_eq!(world.nodes[0].stats().events_dropped, 1);
}

#[test]
fn many_topics_leave_no_more_than_the_limit_behind() {
    let config = Config { max_idle_publications: 5, ..Config::default() };
    let mut world = World::with(1, &config);
    for topic in 0..1_000 {
        world.publish(0, &format!("t/{topic}"), b"x");
        world.publish(0, "same", b"x");
    }
    assert_eq!(world.nodes[0].publications.iter().count(), 5);
}
