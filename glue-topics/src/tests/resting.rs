//! What is kept of publishers that are gone, and that it is enough when they, or what they left in caches, are back.

use glue_net::{EndpointId, Incarnation};
use glue_security::PublicKey;

use super::cache::Split;
use super::{SECOND, World, contiguous, facts, ms, peer};
use crate::{Config, History, PeerFacts, SubscriptionId, Topics, Wire, Wish};

const ALL: History = History::All { max_bytes: 1 << 20 };

fn facts_of(id: i64, incarnation: u64) -> PeerFacts {
    PeerFacts { id: EndpointId::from_integer(id), incarnation: Incarnation(incarnation), ..facts(0, Wire::Native) }
}

/// Node 0 becomes another process, which publishes three messages to each topic, and dies.
fn live_and_die(world: &mut World, config: &Config, facts: &PeerFacts) {
    world.nodes[0] = Topics::new(config.clone(), facts.id, facts.incarnation, &facts.name).unwrap();
    world.nodes[0].handle_peer_up(peer(1), &super::facts(1, Wire::Native));
    world.nodes[1].handle_peer_up(peer(0), facts);
    world.settle();
    for topic in ["a", "b"] {
        world.nodes[0].publication_with(topic, "text", ALL).unwrap();
        (0..3).for_each(|_| _ = world.publish(0, topic, b"x"));
    }
    world.settle();
    forget(world, 1, 0);
}

/// A node forgets another, which no longer reaches it.
fn forget(world: &mut World, node: usize, other: usize) {
    world.nodes[node].handle_peer_gone(peer(other));
    follow(world, node);
}

fn follow(world: &mut World, node: usize) {
    let now = world.now;
    world.nodes[node].handle_timeout(now);
    world.settle();
}

/// A reader and the places for its publishers, of which it forgets all.
fn after_lives(lives: u64, config: &Config, is_same_endpoint: bool) -> (World, [SubscriptionId; 2]) {
    let mut world = World::with(2, config);
    world.nodes[1].handle_peer_gone(peer(0));
    let now = world.now;
    let wishing = world.nodes[1].subscribe_from(now, "#", "text", Wish::All).unwrap();
    let plain = world.nodes[1].subscribe("a", "text").unwrap();
    for life in 1..=lives {
        let id = if is_same_endpoint { 9 } else { 1_000 + i64::try_from(life).unwrap() };
        live_and_die(&mut world, config, &facts_of(id, life));
    }
    (world, [wishing, plain])
}

#[test]
fn a_thousand_dead_lives_of_a_publisher_take_little() {
    // No more room than for all of them.
    let config = Config { max_cursors: 2_000, ..Config::default() };
    for is_same_endpoint in [false, true] {
        let (world, [wishing, plain]) = after_lives(1_000, &config, is_same_endpoint);
        assert_eq!((world.numbers(1, wishing).len(), world.numbers(1, plain).len()), (6_000, 3_000));
        let tracks = &world.nodes[1].tracks;
        assert_eq!((tracks.awake(), tracks.resting.len()), (0, 2_000));
        assert!(tracks.resting.row_bytes() < 2_000 * 160, "{} bytes in all", tracks.resting.row_bytes());
    }
}

#[test]
fn beyond_the_limit_the_oldest_lives_are_forgotten_and_counted() {
    let config = Config { max_cursors: 100, ..Config::default() };
    let (world, _) = after_lives(500, &config, false);
    assert_eq!((world.nodes[1].tracks.awake(), world.nodes[1].tracks.resting.len()), (0, 100));
    assert!(world.nodes[1].tracks.resting.row_bytes() < 100 * 200);
    // Both what they got of history, and where they are.
    assert_eq!(world.nodes[1].stats().cursors_forgotten, 2 * 900);
}

#[test]
fn a_life_that_is_back_after_it_was_forgotten_goes_on_with_a_gap_and_nothing_twice() {
    for history in [History::None, ALL] {
        let mut world = World::new(2);
        let now = world.now;
        let wishing = world.nodes[1].subscribe_from(now, "a", "text", Wish::All).unwrap();
        let plain = world.nodes[1].subscribe("a", "text").unwrap();
        world.nodes[0].publication_with("a", "text", history).unwrap();
        world.settle();
        (0..3).for_each(|_| _ = world.publish_for(0, "a", 60 * SECOND, b"x"));
        world.settle();
        forget(&mut world, 1, 0);
        forget(&mut world, 0, 1);
        assert_eq!((world.nodes[1].tracks.awake(), world.nodes[1].tracks.resting.len()), (0, 1));
        (0..2).for_each(|_| _ = world.publish_for(0, "a", 60 * SECOND, b"nobody is there"));
        for (node, other) in [(0, 1), (1, 0)] {
            world.nodes[node].handle_peer_up(peer(other), &facts(other, Wire::Native));
        }
        world.settle();
        world.publish_for(0, "a", 60 * SECOND, b"x");
        world.settle();
        follow(&mut world, 1);
        for id in [wishing, plain] {
            assert_eq!(contiguous(world.items(1, id)), (1, 6), "{history:?}");
            let missed: Vec<_> = world.gaps(1, id).iter().map(|gap| (gap.from, gap.to)).collect();
            assert_eq!(missed, if history == ALL { vec![] } else { vec![(4, 5)] }, "{history:?}");
        }
    }
}

/// Node 0 publishes, 1 subscribes, 2 caches.
#[test]
fn a_cache_that_is_back_with_a_dead_life_brings_what_is_missing_and_nothing_twice() {
    let mut split = Split::new(3);
    split.world.nodes[2].cache("#", 1 << 20).unwrap();
    let now = split.world.now;
    let wishing = split.world.nodes[1].subscribe_from(now, "a", "text", Wish::All).unwrap();
    let plain = split.world.nodes[1].subscribe("a", "text").unwrap();
    split.run(ms(200));
    split.publish(3);
    split.run(ms(200));
    for away in [2, 0] {
        split.cut(1, away);
        split.world.nodes[1].handle_peer_gone(peer(away));
        split.world.nodes[away].handle_peer_gone(peer(1));
    }
    split.run(5 * SECOND);
    assert_eq!((split.world.nodes[1].tracks.awake(), split.world.nodes[1].tracks.resting.len()), (0, 1));
    split.publish(2);
    split.die(0);
    for round in 0..2 {
        split.restore(1, 2);
        split.run(5 * SECOND);
        for id in [wishing, plain] {
            assert_eq!(split.world.numbers(1, id), [1, 2, 3, 4, 5], "round {round}");
            assert!(split.world.gaps(1, id).is_empty());
        }
        split.cut(1, 2);
        split.world.nodes[1].handle_peer_gone(peer(2));
        split.world.nodes[2].handle_peer_gone(peer(1));
        split.run(5 * SECOND);
        assert_eq!((split.world.nodes[1].tracks.awake(), split.world.nodes[1].tracks.resting.len()), (0, 1));
    }
}

#[test]
fn a_subscription_that_ends_is_forgotten_of_all_lives() {
    let (mut world, [wishing, plain]) = after_lives(10, &Config::default(), false);
    world.nodes[1].unsubscribe(wishing);
    assert_eq!(world.nodes[1].tracks.resting.len(), 10, "one topic is followed by nobody");
    world.nodes[1].unsubscribe(plain);
    assert_eq!(world.nodes[1].tracks.resting.len(), 0);
}

#[test]
fn where_subscriptions_were_in_what_another_key_published_is_forgotten() {
    let mut world = World::new(2);
    world.nodes[1].handle_peer_gone(peer(0));
    world.nodes[1].subscribe("a", "text").unwrap();
    let of_key = |byte| PeerFacts { public_key: Some(PublicKey::from_bytes([byte; 32])), ..facts_of(9, 1) };
    live_and_die(&mut world, &Config::default(), &of_key(1));
    assert_eq!(world.nodes[1].tracks.resting.len(), 1);
    world.nodes[1].handle_peer_up(peer(0), &of_key(1));
    assert_eq!(world.nodes[1].tracks.resting.len(), 1);
    world.nodes[1].handle_peer_gone(peer(0));
    world.nodes[1].handle_peer_up(peer(0), &of_key(2));
    assert_eq!(world.nodes[1].tracks.resting.len(), 0);
}

/// The publisher forgets the topic, in whose place others come, and goes on with it above their numbers: alone or with the
/// reader, which it meets again after it.
#[test]
fn a_track_at_rest_knows_where_a_run_has_ended() {
    for is_met_again in [false, true] {
        let config = Config { max_idle_publications: 1, ..Config::default() };
        let mut world = World::with(2, &config);
        let id = world.nodes[1].subscribe("a", "text").unwrap();
        let meet_again = |world: &mut World| {
            for (node, other) in [(0, 1), (1, 0)] {
                world.nodes[node].handle_peer_up(peer(other), &facts(other, Wire::Native));
            }
            world.settle();
        };
        let lose = |world: &mut World| {
            forget(world, 1, 0);
            forget(world, 0, 1);
        };
        world.settle();
        world.publish(0, "a", b"x");
        world.settle();
        lose(&mut world);
        meet_again(&mut world);
        world.publish(0, "a", b"x");
        for topic in ["b", "c"] {
            (0..5).for_each(|_| _ = world.publish(0, topic, b"x"));
        }
        world.settle();
        assert_eq!((world.nodes[1].tracks.awake(), world.nodes[1].tracks.resting.len()), (0, 1), "its stream is over");
        if is_met_again {
            lose(&mut world);
            assert_eq!(world.publish(0, "a", b"nobody is there"), 6);
            world.settle();
            meet_again(&mut world);
        }
        let last = world.publish(0, "a", b"x");
        world.settle();
        follow(&mut world, 1);
        assert_eq!(world.numbers(1, id), [1, 2, last]);
        let gaps: Vec<_> = world.gaps(1, id).iter().map(|gap| (gap.from, gap.to)).collect();
        assert_eq!(gaps, if is_met_again { vec![(3, 6)] } else { vec![] });
    }
}
