//! Exactly once, in order, nothing lost silently: over a channel that keeps no order.

use proptest::prelude::*;

use super::{Fate, World, contiguous, messages};

#[derive(Clone, Copy, Debug)]
enum Step {
    Carry(u8),
    Publish { node: bool, topic: u8, len: u16 },
    Send,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (any::<bool>(), 0u8..3, prop_oneof![0u16..100, 0u16..3_000])
            .prop_map(|(node, topic, len)| Step::Publish { node, topic, len }),
        2 => Just(Step::Send),
        1 => (1u8..6).prop_map(Step::Carry),
    ]
}

proptest! {
    #[test]
    fn all_that_is_published_is_delivered_once_in_order_or_told_missing(
        steps in prop::collection::vec(step(), 1..200),
        seed: u64,
        duplicate in 0.0..0.4,
        expire in prop_oneof![Just(0.0), 0.0..0.5],
    ) {
        let mut world = World::new(2);
        let ids = [0, 1].map(|node| {
            let all = world.nodes[node].subscribe("#", "").unwrap();
            (all, ["0", "1", "2"].map(|topic| world.nodes[node].subscribe(topic, "text").unwrap()))
        });
        world.settle();
        world.rng = glue_net::Rng::new(seed);
        world.fate = Fate { shuffle: true, duplicate, expire };
        let mut published = [[0u64; 3]; 2];
        for step in steps {
            match step {
                Step::Carry(count) => (0..count).for_each(|_| { world.carry_one(); }),
                Step::Publish { node, topic, len } => {
                    let payload = vec![topic; len.into()];
                    let count = &mut published[usize::from(node)][usize::from(topic)];
                    *count += 1;
                    prop_assert_eq!(world.publish(node.into(), &topic.to_string(), &payload), *count);
                }
                Step::Send => world.send(),
            }
        }
        world.settle();
        for (publisher, subscriber) in [(0, 1), (1, 0)] {
            let (all, exact) = ids[subscriber];
            let total: u64 = published[publisher].iter().sum();
            let own: u64 = published[subscriber].iter().sum();
            let missed = world.nodes[subscriber].stats().missed;
            prop_assert_eq!(world.numbers(subscriber, all).len() as u64 + missed, total + own);
            for (topic, id) in exact.into_iter().enumerate() {
                let items: Vec<_> = world.items(subscriber, id).to_vec();
                let id = super::facts(publisher, crate::Wire::Native).id;
                let from_peer = |item: &crate::Item| match item {
                    crate::Item::Gap(gap) => gap.source.endpoint_id == id,
                    crate::Item::Message(message) => message.endpoint_id == id,
                };
                let items: Vec<_> = items.into_iter().filter(from_peer).collect();
                match published[publisher][topic] {
                    0 => prop_assert!(items.is_empty()),
                    count => prop_assert_eq!(contiguous(&items), (1, count)),
                }
                prop_assert!(messages(&items).all(|message| message.payload.iter().all(|b| usize::from(*b) == topic)));
            }
            prop_assert_eq!(world.nodes[subscriber].held_bytes(super::peer(publisher)), 0);
        }
    }
}

#[test]
fn a_skip_and_its_bundle_may_both_arrive() {
    use glue_net::{Content, Skip};
    let mut world = World::new(2);
    let id = world.nodes[1].subscribe("a", "text").unwrap();
    world.settle();
    for _ in 0..6 {
        world.publish(0, "a", b"x");
        world.send();
    }
    let cargo: Vec<_> = world.flight.drain(..).map(|(_, _, cargo)| cargo).collect();
    let skip = |range: std::ops::Range<usize>| {
        let mut skip = cargo[range.start].clone();
        skip.skip(Skip::Expired);
        for next in &cargo[range.start + 1..range.end] {
            let mut next = next.clone();
            next.skip(Skip::Expired);
            assert!(skip.merge(&next));
        }
        skip
    };
    // Held before the notice that covers it: not lost. Passed before it: not told missing.
    world.arrive(0, 1, &cargo[3]);
    world.arrive(0, 1, &cargo[0]);
    world.arrive(0, 1, &skip(0..5));
    world.arrive(0, 1, &cargo[1]);
    world.arrive(0, 1, &cargo[5]);
    world.settle();
    assert_eq!(world.numbers(1, id), [1, 4, 6]);
    assert_eq!(contiguous(world.items(1, id)), (1, 6));
    assert_eq!(world.nodes[1].stats().duplicates, 1);
}

#[test]
fn skips_do_not_merge_across_a_start_or_a_hole() {
    use glue_net::{Content, Skip};
    let mut world = World::new(2);
    world.nodes[1].subscribe("#", "").unwrap();
    world.settle();
    for topic in ["a", "a", "a", "b"] {
        world.publish(0, topic, b"x");
        world.send();
    }
    let mut cargo: Vec<_> = world.flight.drain(..).map(|(_, _, cargo)| cargo).collect();
    let mut live = cargo[1].clone();
    cargo.iter_mut().for_each(|cargo| cargo.skip(Skip::Expired));
    let [a1, a2, a3, b1] = &cargo[..] else { panic!("four") };
    assert!(!a1.clone().merge(&live) && !live.merge(a2));
    assert!(!a1.clone().merge(a3) && !a3.clone().merge(b1) && !a2.clone().merge(a1));
    assert!(a1.clone().merge(a2));
}
