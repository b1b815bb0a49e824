//! Interest that comes and goes while messages are under way.

use proptest::prelude::*;

use super::{Fate, World, contiguous, peer, span};
use crate::Config;
use crate::qos::Request;

#[test]
fn what_comes_before_the_start_waits_for_it() {
    let mut world = World::new(2);
    let id = world.nodes[1].subscribe("a", "text").unwrap();
    world.settle();
    for _ in 0..3 {
        world.publish(0, "a", b"x");
        world.send();
    }
    world.flight.reverse();
    assert!(world.carry_one() && world.carry_one());
    world.hand_out();
    assert!(world.items(1, id).is_empty());
    world.settle();
    assert_eq!(world.numbers(1, id), [1, 2, 3]);
}

#[test]
fn who_comes_or_goes_while_a_bundle_is_open_gets_its_own_part() {
    let mut world = World::new(3);
    let early = world.nodes[1].subscribe("a", "text").unwrap();
    world.settle();
    world.publish(0, "a", b"x");
    let late = world.nodes[2].subscribe("a", "text").unwrap();
    deliver_control(&mut world, 2);
    world.publish(0, "a", b"x");
    world.nodes[1].unsubscribe(early);
    let next = world.nodes[1].subscribe("b", "text").unwrap();
    let all = world.nodes[1].subscribe("#", "").unwrap();
    world.nodes[1].unsubscribe(all);
    deliver_control(&mut world, 1);
    world.publish(0, "a", b"x");
    world.settle();
    assert_eq!(world.numbers(2, late), [2, 3]);
    assert!(world.items(1, next).is_empty());
    assert_eq!(world.nodes[1].stats().messages_received, 2);
}

/// Carries what one node has to tell to node 0, and nothing else.
fn deliver_control(world: &mut World, from: usize) {
    while let Some((to, cargo)) = world.nodes[from].poll_cargo() {
        if to == peer(0) {
            world.arrive(from, 0, &cargo);
        }
    }
}

#[test]
fn a_new_run_waits_for_the_rest_of_the_old_one() {
    let mut world = World::new(2);
    let id = world.nodes[1].subscribe("a", "text").unwrap();
    world.settle();
    for _ in 0..2 {
        world.publish(0, "a", b"old");
        world.send();
    }
    let old = std::mem::take(&mut world.flight);
    world.nodes[1].unsubscribe(id);
    world.send();
    while world.carry_one() {}
    world.publish(0, "a", b"for nobody");
    let id = world.nodes[1].subscribe("a", "text").unwrap();
    world.send();
    while world.carry_one() {}
    world.publish(0, "a", b"new");
    world.settle();
    assert!(world.items(1, id).is_empty());
    world.flight = old;
    world.settle();
    assert_eq!(world.numbers(1, id), [1, 2, 4]);
}

#[test]
fn a_start_that_overtakes_the_end_waits_for_it() {
    let mut world = World::new(2);
    let id = world.nodes[1].subscribe("a", "text").unwrap();
    world.settle();
    world.publish(0, "a", b"old");
    world.settle();
    world.nodes[1].unsubscribe(id);
    let id = world.nodes[1].subscribe("b", "text").unwrap();
    world.nodes[1].unsubscribe(id);
    world.send();
    while world.carry_one() {}
    let id = world.nodes[1].subscribe("a", "text").unwrap();
    world.send();
    let (end, subscribe): (Vec<_>, Vec<_>) = world.flight.drain(..).partition(|(from, ..)| *from == 0);
    world.flight = subscribe;
    while world.carry_one() {}
    world.publish(0, "a", b"new");
    world.publish(0, "a", b"new");
    world.settle();
    assert!(world.items(1, id).is_empty());
    world.flight = end;
    world.settle();
    assert_eq!(world.numbers(1, id), [2, 3]);
    assert_eq!(world.nodes[1].stats().duplicates, 0);
}

#[test]
fn subscriptions_that_take_turns_miss_nothing() {
    let mut world = World::new(2);
    let exact = world.nodes[1].subscribe("a", "text").unwrap();
    world.settle();
    world.publish(0, "a", b"x");
    world.settle();
    let all = world.nodes[1].subscribe("#", "").unwrap();
    world.nodes[1].unsubscribe(exact);
    world.publish(0, "a", b"x");
    world.settle();
    world.publish(0, "a", b"x");
    world.settle();
    assert_eq!(world.numbers(1, exact), [1]);
    assert_eq!(world.numbers(1, all), [2, 3]);
    assert!(world.got.values().all(|items| items.iter().all(|item| matches!(item, crate::Item::Message(_)))));
}

#[test]
fn a_run_that_the_peer_never_ended_is_over_when_it_starts_anew() {
    let mut world = World::new(2);
    let id = world.nodes[1].subscribe("a", "text").unwrap();
    world.settle();
    world.publish(0, "a", b"x");
    world.settle();
    // As if the publisher had forgotten us, and we not it.
    world.nodes[0].handle_peer_gone(peer(1));
    world.publish(0, "a", b"x");
    world.nodes[0].handle_peer_up(peer(1), &super::facts(1, crate::Wire::Native));
    world.nodes[1].subscribe("#", "").unwrap();
    world.send();
    let filter = crate::Filter::new("#", 1).unwrap();
    let state = world.nodes[0].peers.get_mut(&peer(1)).unwrap();
    state.interest.add(
        &filter,
        crate::interest::Want { type_name: crate::name::TypeName::any(), request: Request::default() },
        1,
        &mut state.names,
    );
    world.nodes[0].reconsider(peer(1), "a", None);
    world.publish(0, "a", b"x");
    world.settle();
    assert_eq!(world.numbers(1, id), [1, 3]);
}

#[test]
fn topics_that_are_used_once_leave_nothing_behind() {
    let config = Config { max_idle_publications: 10, ..Config::default() };
    let mut world = World::with(2, &config);
    world.fate.shuffle = true;
    let id = world.nodes[1].subscribe("#", "").unwrap();
    world.settle();
    for topic in 0..500 {
        assert!(world.publish(0, &format!("reply/{topic}"), b"x") >= 1);
        if topic % 7 == 0 {
            world.settle();
        }
    }
    world.settle();
    assert_eq!(world.numbers(1, id).len(), 500);
    let incoming = &world.nodes[1].peers[&peer(0)].incoming;
    assert_eq!(incoming.stream_count(), 10);
}

#[test]
fn a_topic_goes_on_where_it_stopped() {
    let config = Config { max_idle_publications: 1, ..Config::default() };
    let mut world = World::with(2, &config);
    let id = world.nodes[1].subscribe("a", "text").unwrap();
    world.settle();
    assert_eq!(world.publish(0, "a", b"x"), 1);
    assert_eq!(world.publish(0, "a", b"x"), 2);
    assert_eq!(world.publish(0, "b", b"x"), 1);
    assert_eq!(world.publish(0, "a", b"x"), 3, "above what any forgotten topic used");
    world.settle();
    assert_eq!(world.numbers(1, id), [1, 2, 3]);
    let json = world.nodes[0].publication("a", "json").unwrap();
    let (now, wall) = (world.now, world.wall());
    assert_eq!(world.nodes[0].publish(now, wall, json, super::SECOND, "x"), Ok(4));
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Carry(u8),
    Publish(u8),
    Send,
    Subscribe(u8),
    Unsubscribe(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u8..3).prop_map(Step::Publish),
        2 => Just(Step::Send),
        2 => (1u8..4).prop_map(Step::Carry),
        1 => (0u8..7).prop_map(Step::Subscribe),
        1 => any::<u8>().prop_map(Step::Unsubscribe),
    ]
}

const FILTERS: [&str; 7] = ["t/0", "t/1", "t/2", "#", "t/+", "+/1", "t/#"];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn interest_that_comes_and_goes_loses_and_repeats_nothing(
        steps in prop::collection::vec(step(), 1..300),
        seed: u64,
        expire in prop_oneof![Just(0.0), 0.0..0.3],
        max_idle in 0usize..4,
    ) {
        let config = Config { max_idle_publications: max_idle, ..Config::default() };
        let mut world = World::with(2, &config);
        world.rng = glue_net::Rng::new(seed);
        world.fate = Fate { shuffle: true, duplicate: 0.0, expire };
        let (mut live, mut sent) = (Vec::new(), 0u64);
        for step in steps {
            match step {
                Step::Carry(count) => (0..count).for_each(|_| { world.carry_one(); }),
                Step::Publish(topic) => {
                    let topic = format!("t/{topic}");
                    let to = world.nodes[0].publication(&topic, "text").unwrap();
                    sent += world.nodes[0].interested(to).len() as u64;
                    world.nodes[0].release(to);
                    world.publish(0, &topic, b"x");
                }
                Step::Send => world.send(),
                Step::Subscribe(filter) => {
                    live.push(world.nodes[1].subscribe(FILTERS[usize::from(filter)], "text").unwrap());
                }
                Step::Unsubscribe(which) if !live.is_empty() => {
                    let id = live.swap_remove(usize::from(which) % live.len());
                    world.nodes[1].unsubscribe(id);
                }
                Step::Unsubscribe(_) => {}
            }
            world.hand_out();
        }
        live.into_iter().for_each(|id| world.nodes[1].unsubscribe(id));
        world.settle();
        let stats = world.nodes[1].stats();
        prop_assert_eq!(stats.messages_received + stats.missed, sent);
        prop_assert_eq!((stats.duplicates, stats.malformed), (0, 0));
        prop_assert_eq!(world.nodes[1].peers[&peer(0)].incoming.stream_count(), 0);
        for items in world.got.values() {
            let mut last = std::collections::BTreeMap::new();
            for item in items {
                let source = match item {
                    crate::Item::Gap(gap) => &gap.source,
                    crate::Item::Message(message) => message.source(),
                };
                let (from, to) = span(item);
                let before = last.insert(source.topic_name.clone(), to);
                prop_assert!(before.is_none_or(|before| before < from));
            }
        }
    }
}

#[test]
fn contiguous_is_what_a_lasting_subscription_sees() {
    let mut world = World::new(2);
    world.fate.shuffle = true;
    let lasting = world.nodes[1].subscribe("a", "text").unwrap();
    world.settle();
    for round in 0..50 {
        let passing = world.nodes[1].subscribe(if round % 2 == 0 { "#" } else { "a" }, "text").unwrap();
        world.publish(0, "a", b"x");
        world.send();
        world.carry_one();
        world.nodes[1].unsubscribe(passing);
        world.publish(0, "a", b"x");
    }
    world.settle();
    assert_eq!(contiguous(world.items(1, lasting)), (1, 100));
}
