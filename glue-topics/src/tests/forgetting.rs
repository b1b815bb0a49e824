//! What caches forget of publishers that are gone.

use super::cache::Split;
use super::{SECOND, ms};

/// 0 published what has expired since, and what has not; 1 got the former, the others cache.
fn with_expired(nodes: usize) -> Split {
    let mut split = Split::new(nodes);
    split.world.nodes[1].subscribe("a", "text").unwrap();
    for node in 2..nodes {
        // Their rounds are not at the same time.
        wait(&mut split, 4);
        split.world.nodes[node].cache("#", 1 << 20).unwrap();
        split.run(SECOND);
        split.world.publish_for(0, "b", 86_400 * SECOND, b"lasts");
        split.run(SECOND);
    }
    split.publish(3);
    split.run(SECOND);
    split
}

fn wait(split: &mut Split, minutes: usize) {
    for _ in 0..minutes {
        split.world.pass(60 * SECOND);
        split.run(ms(10));
    }
}

fn sources(split: &Split, node: usize) -> usize {
    split.world.nodes[node].caches.numbers().count()
}

#[test]
fn a_cache_and_who_it_told_forget_a_publisher_that_is_gone_when_all_has_expired() {
    let mut split = with_expired(3);
    wait(&mut split, 105);
    assert_eq!((sources(&split, 2), split.world.nodes[1].tracks.awake()), (2, 1), "as long as it is here");
    split.die(0);
    wait(&mut split, 9);
    assert_eq!(split.world.nodes[1].tracks.awake(), 1, "who comes back may ask");
    wait(&mut split, 11);
    assert_eq!((split.world.nodes[1].tracks.awake(), split.world.nodes[1].tracks.resting.len()), (0, 1));
    assert_eq!(sources(&split, 2), 2, "nor is it asked for again");
    wait(&mut split, 10);
    assert_eq!(sources(&split, 2), 1, "the other holds something");
}

#[test]
fn caches_do_not_remind_each_other_of_a_publisher_that_is_gone() {
    let mut split = with_expired(4);
    split.die(0);
    wait(&mut split, 15);
    assert_eq!((sources(&split, 2), sources(&split, 3)), (2, 2));
    for _ in 0..10 {
        wait(&mut split, 30);
        assert_eq!((sources(&split, 2), sources(&split, 3)), (1, 1), "what lasts");
    }
}

#[test]
fn notices_of_a_publisher_that_is_gone_do_not_go_from_cache_to_cache() {
    let mut split = Split::new(5);
    split.world.nodes[2].cache("#", 1 << 20).unwrap();
    split.run(SECOND);
    split.publish(3);
    split.world.publish_for(0, "b", 86_400 * SECOND, b"lasts");
    split.run(SECOND);
    split.die(0);
    wait(&mut split, 5);
    split.world.nodes[3].cache("#", 1 << 20).unwrap();
    wait(&mut split, 1);
    assert_eq!(sources(&split, 3), 2, "the first cache tells of both");
    split.cut(2, 4);
    split.world.nodes[4].cache("#", 1 << 20).unwrap();
    wait(&mut split, 1);
    assert_eq!(sources(&split, 4), 1, "the second of what it holds");
}
