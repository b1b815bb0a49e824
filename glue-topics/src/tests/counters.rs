//! The counters of topics, held against what subscribers got.

use super::{World, messages, ms, peer};
use crate::{Config, GapReason, Gaps, Item, Received, SubscriptionId, TopicName, TopicStats};

fn stats(world: &World, node: usize, topic: &str) -> TopicStats {
    let topic = TopicName::new(topic, 64).unwrap();
    world.nodes[node].topic_stats().get(&topic).copied().unwrap_or_default()
}

/// What a subscription was told is missing of a topic.
fn told(world: &World, node: usize, id: SubscriptionId, topic: &str) -> Gaps {
    let mut sum = Gaps::default();
    for gap in world.gaps(node, id).iter().filter(|gap| *gap.source.topic_name == *topic) {
        sum.add(gap.reason, gap.count());
    }
    sum
}

fn got(world: &World, node: usize, id: SubscriptionId, topic: &str) -> u64 {
    messages(world.items(node, id)).filter(|message| *message.topic_name == *topic).count() as u64
}

#[test]
fn the_counters_are_what_subscribers_saw() {
    for (seed, (duplicate, expire)) in [(0.0, 0.0), (0.3, 0.0), (0.0, 0.4), (0.3, 0.4)].into_iter().enumerate() {
        let mut world = World::new(3);
        world.rng = glue_net::Rng::new(seed as u64 + 1);
        world.fate.shuffle = true;
        let all = world.nodes[1].subscribe("#", "").unwrap();
        let only = world.nodes[2].subscribe("a", "text").unwrap();
        let own = world.nodes[0].subscribe("b", "text").unwrap();
        world.settle();
        (world.fate.duplicate, world.fate.expire) = (duplicate, expire);
        for number in 0..300 {
            world.publish(0, if number % 3 == 0 { "b" } else { "a" }, b"12345");
            if number % 5 == 4 {
                world.send();
            }
        }
        world.settle();
        let (a, b) = (stats(&world, 0, "a"), stats(&world, 0, "b"));
        assert_eq!((a.published, a.published_bytes, a.copies, a.delivered_here), (200, 1_000, 400, 0));
        assert_eq!((b.published, b.published_bytes, b.copies, b.delivered_here), (100, 500, 100, 100));
        assert_eq!(got(&world, 0, own, "b"), 100);
        assert_eq!((a.received, b.received), Default::default());
        let mut by_peer = Received::default();
        for (node, id, topic) in [(1, all, "a"), (1, all, "b"), (2, only, "a")] {
            let Received { messages, delivered, gaps, duplicates, bytes, .. } = stats(&world, node, topic).received;
            assert_eq!((messages, delivered), (got(&world, node, id, topic), messages), "node {node}, {topic}");
            assert_eq!(gaps, told(&world, node, id, topic));
            assert_eq!((gaps.expired > 0, duplicates > 0), (expire > 0.0, duplicate > 0.0));
            assert_eq!(messages + gaps.total(), if topic == "a" { 200 } else { 100 });
            assert!(bytes >= 5 * messages);
            by_peer += if node == 1 { stats(&world, node, topic).received } else { Received::default() };
        }
        assert_eq!(world.nodes[1].received_from(peer(0)), Some(by_peer));
        let totals = world.nodes[1].stats();
        assert_eq!((totals.messages_received, totals.missed), (by_peer.messages, by_peer.gaps.total()));
        assert_eq!((totals.bundles_held, totals.duplicates), (by_peer.held, by_peer.duplicates));
    }
}

#[test]
fn gaps_are_counted_by_their_reason() {
    let config = Config { max_held_bundles_per_peer: 2, ..Config::default() };
    let mut world = World::with(2, &config);
    let id = world.nodes[1].subscribe("a", "text").unwrap();
    world.settle();
    let mut cargo = Vec::new();
    for _ in 0..10 {
        world.publish(0, "a", b"x");
        world.send();
        cargo.push(world.flight.pop().unwrap().2);
    }
    cargo[1].give_up(GapReason::Overflow);
    cargo[2].give_up(GapReason::Other(77));
    (0..3).for_each(|at| world.arrive(0, 1, &cargo[at]));
    // 4 never comes, and only two may wait for it; 8 has not come when the publisher goes.
    [4, 5, 6, 8, 9].into_iter().for_each(|at| world.arrive(0, 1, &cargo[at]));
    world.nodes[1].handle_peer_gone(peer(0));
    world.hand_out();
    let received = stats(&world, 1, "a").received;
    assert_eq!(received.gaps, told(&world, 1, id, "a"));
    assert_eq!(received.gaps, Gaps { overflow: 2, publisher_gone: 1, other: 1, ..Gaps::default() });
    assert_eq!((received.messages, received.delivered, received.held), (6, 6, 5));
    assert!(world.items(1, id).iter().any(|item| matches!(item, Item::Gap(_))));
}

#[test]
fn a_topics_counters_outlive_its_use() {
    let config = Config { max_counted_topics: 1, max_idle_publications: 0, ..Config::default() };
    let mut world = World::with(2, &config);
    for topic in ["a", "b", "a", "c"] {
        let id = world.nodes[1].subscribe(topic, "text").unwrap();
        let kept = world.nodes[0].publication(topic, "text").unwrap();
        world.nodes[0].note_held_back(kept);
        world.settle();
        (0..5).for_each(|_| assert!(world.publish(0, topic, b"x") > 0));
        world.settle();
        world.nodes[0].release(kept);
        world.nodes[1].unsubscribe(id);
        world.now = world.now + ms(1);
        world.settle();
    }
    let sent = |published| TopicStats {
        published,
        published_bytes: published,
        copies: published,
        held_back: 2,
        ..TopicStats::default()
    };
    let topics: Vec<_> = world.nodes[0].topic_stats().into_iter().collect();
    assert_eq!(topics, [(TopicName::new("a", 8).unwrap(), sent(10))]);
    assert_eq!(world.nodes[0].other_topic_stats(), sent(10), "b and c");
    let topics: Vec<_> = world.nodes[1].topic_stats().into_keys().collect();
    assert_eq!(topics, [TopicName::new("a", 8).unwrap()]);
    let (a, others) = (stats(&world, 1, "a").received, world.nodes[1].other_topic_stats().received);
    assert_eq!((a.messages, a.delivered, others.messages, others.delivered), (10, 10, 10, 10));
    assert_eq!(world.nodes[1].received_from(peer(0)).unwrap().messages, 20);
}
