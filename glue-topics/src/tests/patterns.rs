//! Filters with wildcards, between whole endpoints.

use glue_net::{Content, Instant};

use super::{SECOND, World, facts, peer, topics};
use crate::{Config, Event, NameError, ServeError, SubscribeError, Wire};

#[test]
fn what_a_filter_matches_arrives_and_nothing_else() {
    let mut world = World::new(2);
    let id = world.nodes[1].subscribe("site/+/heat", "text").unwrap();
    world.settle();
    for topic in ["site/1/heat", "site/2/heat", "site/2/light", "site/heat", "site/1/heat/left"] {
        world.publish(0, topic, b"x");
    }
    world.settle();
    let got: Vec<_> = super::messages(world.items(1, id)).map(|message| message.topic_name.to_string()).collect();
    assert_eq!(got, ["site/1/heat", "site/2/heat"]);
    assert_eq!(world.nodes[1].stats().messages_received, 2, "nothing else was sent");
    assert_eq!(world.nodes[0].stats().bundles_sent, 2);
}

#[test]
fn where_filters_overlap_each_subscription_gets_a_message_once_and_the_wire_carries_it_once() {
    let mut world = World::new(2);
    let ids = ["a/b", "a/+", "a/#", "+/b", "#"].map(|filter| world.nodes[1].subscribe(filter, "text").unwrap());
    let own = ["a/b", "+/+"].map(|filter| world.nodes[0].subscribe(filter, "text").unwrap());
    world.settle();
    world.publish(0, "a/b", b"x");
    world.settle();
    for id in ids {
        assert_eq!(world.numbers(1, id), [1]);
    }
    assert!(own.iter().all(|id| world.numbers(0, *id) == [1]));
    assert_eq!(world.nodes[1].stats().messages_received, 1);
    // While one filter is left that matches, the topic goes on without a new run.
    for (done, id) in ids.into_iter().enumerate() {
        world.nodes[1].unsubscribe(id);
        world.settle();
        world.publish(0, "a/b", b"x");
        world.settle();
        assert_eq!(world.nodes[1].stats().messages_received, 1 + (done as u64 + 1).min(4));
    }
}

#[test]
fn a_filter_that_goes_is_told_to_nobody_who_was_never_told_of_it() {
    let mut world = World::new(2);
    let id = world.nodes[1].subscribe("a/+", "text").unwrap();
    world.nodes[1].unsubscribe(id);
    assert!(world.nodes[1].poll_cargo().is_none());
    let first = world.nodes[1].subscribe("a/+", "text").unwrap();
    world.settle();
    let _second = world.nodes[1].subscribe("a/+", "text").unwrap();
    world.nodes[1].unsubscribe(first);
    assert!(world.nodes[1].poll_cargo().is_none(), "it stays as it is");
}

#[test]
fn with_wildcards_what_has_another_type_is_passed_over_in_silence() {
    let mut world = World::new(2);
    let json = world.nodes[1].subscribe("a/+", "json").unwrap();
    let any = world.nodes[1].subscribe("a/#", "").unwrap();
    let all = world.nodes[1].subscribe("#", "json").unwrap();
    world.settle();
    world.publish(0, "a/b", b"x");
    world.settle();
    assert_eq!((world.numbers(1, json), world.numbers(1, any), world.numbers(1, all)), (vec![], vec![1], vec![1]));
    world.nodes[1].unsubscribe(any);
    world.nodes[1].unsubscribe(all);
    world.settle();
    world.publish(0, "a/b", b"x");
    world.settle();
    assert_eq!(world.nodes[1].stats().messages_received, 1, "not sent");
    assert!(world.events(0).iter().chain(&world.events(1)).all(|event| !matches!(event, Event::TypeMismatch { .. })));
    // A filter without wildcards names the topic, so its type is a mistake.
    world.nodes[1].subscribe("a/b", "json").unwrap();
    world.settle();
    assert!(world.events(0).iter().any(|event| matches!(event, Event::TypeMismatch { .. })));
    // At home wildcards are no declaration of a type either.
    world.nodes[0].subscribe("a/+", "json").unwrap();
    assert!(world.nodes[0].publication("a/c", "text").is_ok());
    assert!(matches!(world.nodes[0].subscribe("a/c", "json"), Err(SubscribeError::TypeMismatch { .. })));
}

#[test]
fn a_filter_changes_its_type() {
    let mut world = World::new(2);
    let json = world.nodes[1].subscribe("a/+", "json").unwrap();
    world.settle();
    world.publish(0, "a/b", b"x");
    let text = world.nodes[1].subscribe("a/+", "text").unwrap();
    world.settle();
    world.publish(0, "a/b", b"x");
    world.settle();
    world.nodes[1].unsubscribe(text);
    world.settle();
    world.publish(0, "a/b", b"x");
    world.settle();
    assert_eq!((world.numbers(1, json), world.numbers(1, text)), (vec![], vec![2]));
    assert_eq!(world.nodes[1].stats().messages_received, 1);
}

#[test]
fn hidden_topics_are_for_those_who_name_them() {
    let mut world = World::new(2);
    let open = ["#", "+/a", "+/#"].map(|filter| world.nodes[1].subscribe(filter, "").unwrap());
    let named = ["$in/a", "$in/+", "$in/#"].map(|filter| world.nodes[1].subscribe(filter, "").unwrap());
    let own = world.nodes[0].subscribe("#", "").unwrap();
    world.settle();
    world.publish(0, "$in/a", b"x");
    world.settle();
    assert!(open.iter().all(|id| world.numbers(1, *id).is_empty()) && world.numbers(0, own).is_empty());
    assert!(named.iter().all(|id| world.numbers(1, *id) == [1]));
}

#[test]
fn a_bad_or_a_shared_filter_is_an_error_that_says_so() {
    let mut node = topics(0, Config::default());
    let misplaced = NameError::Misplaced { at: 2, character: '#' };
    assert_eq!(node.subscribe("a/#/b", ""), Err(SubscribeError::BadTopic(misplaced)));
    let unshared = node.subscribe("$share/workers", "").unwrap_err();
    assert_eq!(unshared, SubscribeError::BadTopic(NameError::Unshared { at: 14 }));
    let error = node.serve("$share/workers/jobs", "").unwrap_err();
    assert_eq!(error, ServeError::BadTopic(NameError::Shared));
    assert_eq!(
        error.to_string(),
        "bad topic: it begins with \"$share/\": filters that a group shares are not subscribed this way"
    );
    assert!(node.publication("a/+", "").is_err());
}

#[test]
fn filters_with_wildcards_count_for_the_limits_of_interest() {
    let config = Config { max_interest_per_peer: 2, max_names_bytes: 800, ..Config::default() };
    let mut world = World::with(2, &config);
    world.nodes[1].subscribe("a/+", "").unwrap();
    world.settle();
    let held = world.nodes[0].names_bytes();
    assert!(held > 150);
    world.nodes[1].subscribe("b/+", "").unwrap();
    world.nodes[1].subscribe("c/+", "").unwrap();
    world.settle();
    assert_eq!(world.nodes[0].stats().interest_refused, 1);
    assert_eq!(world.nodes[0].names_bytes(), 2 * held);
    world.nodes[0].handle_peer_gone(peer(1));
    assert_eq!(world.nodes[0].names_bytes(), 0);
}

#[test]
fn filters_that_take_too_long_to_look_through_get_what_they_may_match() {
    let (shallow, deep) = ("a/a/a/a", "a/a/a/a/a/a/a/a");
    let mut world = World::new(2);
    for bits in 0..128 {
        let levels = (0..7).map(|level| if bits >> level & 1 == 1 { "+/" } else { "a/" });
        world.nodes[1].subscribe(&format!("{}+/x", levels.collect::<String>()), "").unwrap();
    }
    world.settle();
    let to = |world: &mut World, topic| {
        let id = world.nodes[0].publication(topic, "").unwrap();
        world.nodes[0].interested(id).len()
    };
    assert_eq!((to(&mut world, shallow), to(&mut world, deep)), (0, 1));
    let own = world.nodes[1].publication(deep, "").unwrap();
    let (now, wall) = (world.now, world.wall());
    world.nodes[1].publish(now, wall, own, SECOND, "x").unwrap();
    assert!(world.nodes[1].poll_delivery().is_none(), "own subscriptions are looked through");
}

/// The body of what node 1 tells of itself to one that joins.
fn told(world: &mut World) -> Vec<usize> {
    let node = &mut world.nodes[1];
    std::iter::from_fn(|| node.poll_cargo()).map(|(_, cargo)| cargo.head_len() + cargo.body_len()).collect()
}

#[test]
fn a_peer_that_joins_is_told_of_all_filters_and_then_of_changes_only() {
    let mut world = World::new(2);
    for number in 0..1_000 {
        world.nodes[1].subscribe(&format!("site/{number}/+/temperature"), "json").unwrap();
    }
    let told_at_first: usize = told(&mut world).iter().sum();
    assert!((20_000..50_000).contains(&told_at_first), "{told_at_first} bytes");
    assert!(told(&mut world).is_empty());
    let id = world.nodes[1].subscribe("another/#", "json").unwrap();
    let [one] = told(&mut world)[..] else { panic!("one change") };
    assert!(one < 40, "{one} bytes");
    world.nodes[1].unsubscribe(id);
    let [one] = told(&mut world)[..] else { panic!("one change") };
    assert!(one < 40, "{one} bytes");
    world.nodes[1].handle_peer_up(peer(7), &facts(7, Wire::Native));
    assert_eq!(told(&mut world).iter().sum::<usize>(), told_at_first);
}

/// Run alone, in release mode: `cargo test --release -p glue-topics -- --ignored --nocapture cost_of`.
#[test]
#[ignore = "a measurement"]
fn cost_of_filters_that_come_and_go() {
    for publications in [0, 10_000] {
        let mut world = World::new(2);
        for number in 0..publications {
            world.nodes[0].publication(&format!("site/{}/{number}/heat", number % 1_000), "json").unwrap();
        }
        let (now, mut told) = (Instant::ZERO + SECOND, Vec::new());
        let filters: Vec<_> = (0..1_000).map(|number| format!("site/{number}/+/heat")).collect();
        let ids = time(publications, "told by the subscriber", || {
            let ids: Vec<_> = filters.iter().map(|filter| world.nodes[1].subscribe(filter, "json").unwrap()).collect();
            told.extend(encoded(&mut world, now));
            ids
        });
        time(publications, "taken by the publisher", || take(&mut world, &told));
        let wide = (0..100).map(|number| format!("+/+/{number}/heat"));
        let wide: Vec<_> = wide.map(|filter| world.nodes[1].subscribe(&filter, "json").unwrap()).collect();
        told = encoded(&mut world, now);
        time(publications, "100 that begin with wildcards taken", || take(&mut world, &told));
        wide.into_iter().chain(ids).for_each(|id| world.nodes[1].unsubscribe(id));
        told = encoded(&mut world, now);
        time(publications, "all of them taken back", || take(&mut world, &told));
        world.nodes[1].subscribe("#", "json").unwrap();
        told = encoded(&mut world, now);
        time(publications, "# taken", || take(&mut world, &told));
    }
}

fn encoded(world: &mut World, now: Instant) -> Vec<(bytes::Bytes, bytes::Bytes)> {
    let node = &mut world.nodes[1];
    let cargo = std::iter::from_fn(|| node.poll_cargo());
    cargo
        .map(|(_, cargo)| {
            let (mut head, mut body) = (Vec::new(), glue_net::Chain::default());
            cargo.encode_head(now, &mut head);
            cargo.encode_body(0..cargo.body_len(), &mut body);
            (head.into(), body.to_vec().into())
        })
        .collect()
}

fn take(world: &mut World, told: &[(bytes::Bytes, bytes::Bytes)]) {
    for (head, body) in told {
        world.nodes[0].handle_cargo(Instant::ZERO + SECOND, peer(1), head.clone(), body.clone());
    }
}

fn time<T>(publications: usize, what: &str, work: impl FnOnce() -> T) -> T {
    #[expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "a measurement needs the real clock")]
    let start = std::time::Instant::now();
    let result = work();
    println!("{publications:>6} publications: {what:<36} {:>7} us", start.elapsed().as_micros());
    result
}
