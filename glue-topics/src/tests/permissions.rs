//! What peers may not do has no effect, and is told once.

use std::sync::Arc;

use super::{Fate, SECOND, World, facts, messages, peer};
use crate::{
    Ask, CallEvent, Data, Event, Filter, History, LastWill, Permission, Permissions, Reach, RequestError, Wire, Wish,
};

fn filters(texts: &[&str]) -> Vec<Filter> {
    texts.iter().map(|text| Filter::new(text, 64).unwrap()).collect()
}

/// Two nodes, of which 0 lets 1 do only this.
fn world(publish: &[&str], subscribe: &[&str], cache: &[&str]) -> World {
    restricted(World::new(2), publish, subscribe, cache)
}

fn restricted(mut world: World, publish: &[&str], subscribe: &[&str], cache: &[&str]) -> World {
    let rules = Permissions { publish: filters(publish), subscribe: filters(subscribe), cache: filters(cache) };
    let facts = crate::PeerFacts { permissions: Some(Arc::new(rules)), ..facts(1, Wire::Native) };
    world.nodes[0].handle_peer_up(peer(1), &facts);
    world
}

/// What node 0 was told that node 1 may not do.
fn denied(world: &mut World) -> Vec<(String, Permission)> {
    let denied = |event| match event {
        Event::NotPermitted { peer: from, id, topic, what } => {
            assert_eq!((from, id), (peer(1), facts(1, Wire::Native).id));
            Some((topic.to_string(), what))
        }
        _ => None,
    };
    world.events(0).into_iter().filter_map(denied).collect()
}

fn told(topic: &str, what: Permission) -> (String, Permission) {
    (topic.to_owned(), what)
}

#[test]
fn what_a_peer_may_not_publish_is_dropped_without_a_gap() {
    let mut world = world(&["a/#"], &[], &[]);
    world.fate = Fate { shuffle: true, duplicate: 0.2, expire: 0.0 };
    let all = world.nodes[0].subscribe("#", "").unwrap();
    world.settle();
    for _ in 0..5 {
        for topic in ["a/x", "b", "$a"] {
            world.publish(1, topic, b"1");
            world.send();
        }
    }
    world.settle();
    world.nodes[0].handle_peer_gone(peer(1));
    world.hand_out();
    let got: Vec<_> = messages(world.items(0, all)).map(|message| message.topic_name.to_string()).collect();
    assert_eq!((got, world.gaps(0, all)), (vec!["a/x".to_owned(); 5], vec![]));
    assert!(world.nodes[0].stats().not_permitted >= 5);
    assert_eq!(denied(&mut world), [told("b", Permission::Publish)], "once; # does not ask for $a");
    assert_eq!(world.nodes[0].received_from(peer(1)), None);
}

#[test]
fn a_topic_that_a_peer_may_not_subscribe_to_does_not_leave() {
    let mut world = world(&[], &["a/+"], &["c"]);
    let (all, named) = (world.nodes[1].subscribe("#", "").unwrap(), world.nodes[1].subscribe("b", "text").unwrap());
    world.settle();
    let publish = |world: &mut World| {
        for topic in ["a/x", "a/x/y", "b", "c"] {
            world.publish(0, topic, b"1");
        }
        world.settle();
    };
    publish(&mut world);
    publish(&mut world);
    let got: Vec<_> = messages(world.items(1, all)).map(|message| message.topic_name.to_string()).collect();
    // Who may cache a topic gets it.
    assert_eq!(got, ["a/x", "c", "a/x", "c"]);
    assert!(world.items(1, named).is_empty());
    assert_eq!(denied(&mut world), [told("b", Permission::Subscribe)], "what it named");
}

#[test]
fn history_obeys_as_well() {
    let mut world = world(&[], &["a"], &[]);
    for topic in ["a", "b"] {
        world.nodes[0].publication_with(topic, "text", History::Last(3)).unwrap();
        (0..3).for_each(|_| _ = world.publish(0, topic, b"1"));
    }
    let now = world.now;
    let ids = ["a", "b"].map(|topic| world.nodes[1].subscribe_from(now, topic, "text", Wish::All).unwrap());
    world.settle();
    assert_eq!(ids.map(|id| world.numbers(1, id).len()), [3, 0]);
}

#[test]
fn a_peer_gets_no_requests_of_topics_that_it_may_not_subscribe_to() {
    let mut world = world(&[], &["sum", "jobs/+"], &[]);
    for topic in ["sum", "product"] {
        world.nodes[1].serve(topic, "text").unwrap();
    }
    for group in ["$share/g/jobs/a", "$share/g/jobs/#", "$share/g/other"] {
        world.nodes[1].subscribe(group, "text").unwrap();
    }
    world.settle();
    assert_eq!(["sum", "product"].map(|topic| world.nodes[0].responders(topic, "text")), [1, 0]);
    for topic in ["jobs/a", "jobs/b", "other"] {
        world.publish(0, topic, b"1");
    }
    world.settle();
    let shares = std::iter::from_fn(|| world.nodes[1].poll_call());
    assert_eq!(shares.filter(|event| matches!(event, CallEvent::Share { .. })).count(), 1);
    let names = ["product", "$share/g/jobs/#", "$share/g/other"];
    assert_eq!(denied(&mut world), names.map(|name| told(name, Permission::Subscribe)));
}

#[test]
fn a_request_counts_as_publishing() {
    let mut world = world(&["sum"], &[], &[]);
    for topic in ["sum", "product"] {
        world.nodes[0].serve(topic, "text").unwrap();
    }
    world.settle();
    let now = world.now;
    let ask = |topic| Ask { topic, type_name: "text", payload: Data::Slice(b"1"), timeout: SECOND, reach: Reach::One };
    world.nodes[1].request(now, &ask("sum")).unwrap();
    let refused = world.nodes[1].request(now, &ask("product")).unwrap_err();
    assert_eq!(refused, RequestError::NoResponders, "it is not told of the service");
    world.settle();
    assert!(
        matches!(world.nodes[0].poll_call(), Some(CallEvent::Request(asked)) if &*asked.source.topic_name == "sum")
    );
    // One that finds the number out: the request is written by hand.
    let (head, body) = request_to(2);
    world.nodes[0].handle_cargo(now, peer(1), head.into(), body.into());
    assert!(world.nodes[0].poll_call().is_none());
    assert_eq!(denied(&mut world), [told("product", Permission::Publish)]);
}

/// A request of node 1 to a service of node 0, as it stands on the wire.
fn request_to(service: u64) -> (Vec<u8>, Vec<u8>) {
    let mut other = World::new(2);
    for topic in ["one", "two"] {
        other.nodes[0].serve(topic, "text").unwrap();
    }
    other.settle();
    let now = other.now;
    let topic = if service == 1 { "one" } else { "two" };
    let ask = Ask { topic, type_name: "text", payload: Data::Slice(b"x"), timeout: SECOND, reach: Reach::One };
    for _ in 0..9 {
        other.nodes[1].request(now, &ask).unwrap();
    }
    other.send();
    let (.., cargo) = other.flight.last().unwrap();
    super::cache::encoded(cargo, now)
}

#[test]
fn a_group_s_messages_count_as_publishing() {
    let mut world = world(&["jobs/a"], &[], &[]);
    world.nodes[0].subscribe("$share/g/jobs/+", "text").unwrap();
    world.settle();
    for topic in ["jobs/a", "jobs/b", "jobs/a"] {
        world.publish(1, topic, b"1");
    }
    world.settle();
    let shares = std::iter::from_fn(|| world.nodes[0].poll_call());
    assert_eq!(shares.filter(|event| matches!(event, CallEvent::Share { .. })).count(), 2);
    assert_eq!(denied(&mut world), [told("jobs/b", Permission::Publish)]);
    assert_eq!(world.nodes[1].stats().shares_done, 1, "it does not come again");
}

#[test]
fn a_will_counts_as_publishing() {
    let mut world = world(&["a"], &[], &[]);
    let (all, wall) = (world.nodes[0].subscribe("#", "").unwrap(), world.wall());
    for topic in ["a", "b"] {
        let will = LastWill { topic, type_name: "text", expiry: SECOND, payload: Data::Slice(&[1; 2_000]) };
        world.nodes[1].set_will(wall, will).unwrap();
    }
    world.settle();
    let now = world.now;
    world.nodes[0].handle_peer_lost(now, peer(1), true);
    world.hand_out();
    let got: Vec<_> = messages(world.items(0, all)).map(|message| message.topic_name.to_string()).collect();
    assert_eq!(got, ["a"]);
    assert_eq!(denied(&mut world), [told("b", Permission::Publish)]);
}

#[test]
fn other_rules_make_a_peer_new() {
    let mut world = world(&[], &["a"], &[]);
    let id = world.nodes[1].subscribe("#", "").unwrap();
    world.settle();
    world.publish(0, "b", b"1");
    world.settle();
    assert!(world.items(1, id).is_empty());
    world = restricted(world, &[], &["b"], &[]);
    // As the session begins anew, the other side does as well.
    world.nodes[1].handle_peer_gone(peer(0));
    world.nodes[1].handle_peer_up(peer(0), &facts(0, Wire::Native));
    world.settle();
    for topic in ["a", "b"] {
        world.publish(0, topic, b"2");
    }
    world.settle();
    let got: Vec<_> = messages(world.items(1, id)).map(|message| message.topic_name.to_string()).collect();
    assert_eq!(got, ["b"]);
}

/// Node 1 caches what node 2 published, and node 0 lets it do so only of some topics.
#[test]
fn only_who_may_cache_a_topic_is_asked_for_it() {
    let mut split = super::cache::Split::new(3);
    split.world = restricted(split.world, &[], &[], &["a"]);
    split.world.nodes[1].cache("#", 1 << 20).unwrap();
    split.run(SECOND);
    for topic in ["a", "b"] {
        split.world.publish_for(2, topic, 60 * SECOND, b"1");
    }
    split.run(SECOND);
    split.die(2);
    let now = split.world.now;
    let ids = ["a", "b"].map(|topic| split.world.nodes[0].subscribe_from(now, topic, "text", Wish::All).unwrap());
    split.run(10 * SECOND);
    assert_eq!(ids.map(|id| split.world.numbers(0, id).len()), [1, 0]);
    assert_eq!(denied(&mut split.world), [told("b", Permission::Cache)]);
}

#[test]
fn a_receipt_counts_those_caches_that_may_have_the_message() {
    let mut world = world(&[], &["#"], &["a"]);
    world.nodes[1].cache("#", 1 << 20).unwrap();
    world.settle();
    let node = &world.nodes[0].peers[&peer(1)];
    assert_eq!(["a", "b"].map(|topic| node.cache_budget_for(topic)), [Some(1 << 20), None]);
}
