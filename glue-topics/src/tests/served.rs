//! Peers that are not served for a while, and what is counted of what waits.

use super::*;
use crate::GapReason;

/// The payloads' first bytes, and gaps as their ranges.
fn outline(items: &[Item]) -> Vec<String> {
    let text = |item: &Item| match item {
        Item::Message(message) => format!("{}", message.sequence_number),
        Item::Gap(gap) => format!("{}..{} {:?}", gap.from, gap.to, gap.reason),
    };
    items.iter().map(text).collect()
}

#[test]
fn what_a_peer_missed_is_one_gap_and_others_get_all() {
    let mut world = World::new(3);
    let (at_1, at_2) = (world.nodes[1].subscribe("t", "text").unwrap(), world.nodes[2].subscribe("t", "text").unwrap());
    world.settle();
    world.publish(0, "t", b"a");
    // A message that is still laid into a bundle goes out.
    world.nodes[0].set_served(peer(1), false);
    for _ in 0..10 {
        world.publish(0, "t", b"b");
        world.settle();
    }
    assert_eq!(outline(world.items(1, at_1)), ["1"]);
    assert_eq!(world.numbers(2, at_2), (1..=11).collect::<Vec<_>>());
    assert_eq!((world.nodes[0].stats().skipped, world.nodes[0].bundle_bytes()), (10, 0));
    world.nodes[0].set_served(peer(1), true);
    world.publish(0, "t", b"c");
    world.settle();
    assert_eq!(outline(world.items(1, at_1)), ["1", "2..11 Overflow", "12"]);
    assert_eq!(world.gaps(2, at_2), []);
}

#[test]
fn what_was_laid_for_a_peer_that_is_gone_is_missed_by_the_others_too() {
    let mut world = World::new(3);
    let at_1 = world.nodes[1].subscribe("t", "text").unwrap();
    world.nodes[2].subscribe("t", "text").unwrap();
    world.settle();
    world.nodes[0].set_served(peer(1), false);
    world.publish(0, "t", b"a");
    world.publish(0, "t", b"b");
    world.nodes[0].handle_peer_gone(peer(2));
    world.publish(0, "t", b"c");
    assert_eq!((world.nodes[0].stats().skipped, world.nodes[0].bundle_bytes()), (3, 0));
    world.nodes[0].set_served(peer(1), true);
    world.publish(0, "t", b"d");
    world.settle();
    assert_eq!(outline(world.items(1, at_1)), ["1..3 Overflow", "4"]);
}

#[test]
fn a_topic_may_begin_and_end_with_what_was_missed() {
    for shuffle in [false, true] {
        let mut world = World::new(2);
        world.fate.shuffle = shuffle;
        let first = world.nodes[1].subscribe("t", "text").unwrap();
        world.settle();
        let publication = world.nodes[0].publication("t", "text").unwrap();
        world.nodes[0].set_served(peer(1), false);
        world.publish(0, "t", b"a");
        world.publish(0, "t", b"b");
        // The interest ends, and another begins.
        world.nodes[1].unsubscribe(first);
        world.settle();
        let second = world.nodes[1].subscribe("t", "text").unwrap();
        world.settle();
        world.publish(0, "t", b"c");
        world.nodes[0].set_served(peer(1), true);
        world.publish(0, "t", b"d");
        world.settle();
        assert_eq!(outline(world.items(1, second)), ["3..3 Overflow", "4"], "{shuffle}");
        world.nodes[0].release(publication);
    }
}

#[test]
fn a_bundle_counts_once_and_until_nobody_has_it() {
    let mut world = World::new(4);
    for node in 1..4 {
        world.nodes[node].subscribe("t", "text").unwrap();
    }
    world.settle();
    let payload = vec![7; 100_000];
    world.publish(0, "t", &payload);
    world.send();
    assert_eq!(world.flight.len(), 3);
    let held = world.nodes[0].bundle_bytes();
    assert!((100_000..101_000).contains(&held), "{held}");
    world.flight[0].2.give_up(GapReason::Overflow);
    world.flight.truncate(2);
    assert_eq!(world.nodes[0].bundle_bytes(), held);
    world.flight[1].2.give_up(GapReason::Expired);
    assert_eq!(world.nodes[0].bundle_bytes(), 0);
}

#[test]
fn what_waits_is_released_with_a_gap_and_counted() {
    let mut world = World::new(2);
    let subscription = world.nodes[1].subscribe("t", "text").unwrap();
    world.settle();
    for _ in 0..5 {
        world.publish(0, "t", b"a");
        world.send();
    }
    let cargo: Vec<_> = world.flight.drain(..).map(|(_, _, cargo)| cargo).collect();
    for at in [0, 2, 3] {
        world.arrive(0, 1, &cargo[at]);
    }
    assert!(world.nodes[1].waiting_bytes() > 400);
    assert_eq!(world.nodes[1].waiting_bytes(), world.nodes[1].held_bytes(peer(0)));
    world.nodes[1].release_waiting(peer(0));
    assert_eq!(world.nodes[1].waiting_bytes(), 0);
    world.arrive(0, 1, &cargo[1]);
    world.arrive(0, 1, &cargo[4]);
    world.hand_out();
    assert_eq!(outline(world.items(1, subscription)), ["1", "2..2 Overflow", "3", "4", "5"]);
}

#[test]
fn own_messages_that_nobody_takes_are_one_gap() {
    let mut world = World::with(1, &Config { max_own_bytes: 5_000, ..Config::default() });
    let subscription = world.nodes[0].subscribe("t", "text").unwrap();
    for _ in 0..20 {
        world.publish(0, "t", &[7; 1_000]);
        assert!(world.nodes[0].own_bytes().bytes() < 6_500);
    }
    world.hand_out();
    assert_eq!(outline(world.items(0, subscription)), ["1", "2", "3", "4", "5..20 Overflow"]);
    assert_eq!(world.nodes[0].own_bytes().bytes(), 0);
    world.publish(0, "t", b"a");
    world.hand_out();
    assert_eq!(world.numbers(0, subscription).last(), Some(&21));
}
