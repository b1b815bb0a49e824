//! Caches of private networks: what they alter or invent is caught.

use glue_net::NetworkId;
use glue_security::Identity;

use super::cache::Split;
use super::{SECOND, facts, messages, ms, peer};
use crate::{Event, GapReason, SubscriptionId, Topics, Trust, Wire, Wish};

fn identity(node: usize) -> Identity {
    Identity::from_seed([u8::try_from(node).unwrap() + 1; 32])
}

fn meet(topics: &mut Topics, other: usize, known_as: usize) {
    let public_key = Some(identity(known_as).public_key());
    topics.handle_peer_up(peer(other), &crate::PeerFacts { public_key, ..facts(other, Wire::Native) });
}

/// Members of a private network.
fn members(nodes: usize) -> Split {
    let mut split = Split::new(nodes);
    for (node, topics) in split.world.nodes.iter_mut().enumerate() {
        topics.make_private(identity(node), NetworkId(1));
        (0..nodes).filter(|other| *other != node).for_each(|other| meet(topics, other, other));
    }
    split
}

/// Node 0 publishes and dies; those of `caches` have cached it. Node 1 asks for it then.
fn ask_caches(split: &mut Split, caches: &[usize], between: impl FnOnce(&mut Split)) -> SubscriptionId {
    for cache in caches {
        split.world.nodes[*cache].cache("#", 1 << 20).unwrap();
    }
    split.run(SECOND);
    for number in 0..20u8 {
        split.world.publish_for(0, "a", 600 * SECOND, &[number; 100]);
        if number % 5 == 0 {
            split.run(ms(20));
        }
    }
    split.run(SECOND);
    split.die(0);
    between(split);
    let now = split.world.now;
    let id = split.world.nodes[1].subscribe_from(now, "a", "text", Wish::All).unwrap();
    split.run(20 * SECOND);
    id
}

fn forged(split: &mut Split) -> Vec<(glue_net::PeerId, String)> {
    let forged =
        |event| if let Event::Forged { peer, topic, .. } = event { Some((peer, topic.to_string())) } else { None };
    split.world.events(1).into_iter().filter_map(forged).collect()
}

fn assert_true(split: &Split, id: SubscriptionId) {
    let items = split.world.items(1, id);
    let bytes: Vec<_> = messages(items).map(|message| (message.payload[0], message.public_key)).collect();
    let key = Some(identity(0).public_key());
    assert_eq!(bytes, (0..20).map(|number| (number, key)).collect::<Vec<_>>());
    assert!(messages(items).all(|message| message.payload.iter().all(|byte| *byte == message.payload[0])));
}

#[test]
fn what_a_cache_of_a_member_brings_is_its_publisher_s() {
    let mut split = members(3);
    let id = ask_caches(&mut split, &[2], |_| {});
    assert_true(&split, id);
    assert_eq!((forged(&mut split), split.world.nodes[1].cache_stats().forged), (vec![], 0));
}

#[test]
fn a_cache_that_alters_a_message_is_caught_and_another_one_asked() {
    let mut split = members(4);
    let id = ask_caches(&mut split, &[2, 3], |split| split.world.nodes[2].caches.alter());
    assert_true(&split, id);
    // Which of the two is asked first is nobody's business; so alter the other one as well, in another world.
    let mut other = members(4);
    let other_id = ask_caches(&mut other, &[2, 3], |split| split.world.nodes[3].caches.alter());
    assert_true(&other, other_id);
    let (told, other_told) = (forged(&mut split), forged(&mut other));
    assert!(told.iter().all(|told| *told == (peer(2), "a".to_owned())) && told.len() <= 1);
    assert!(other_told.iter().all(|told| *told == (peer(3), "a".to_owned())) && other_told.len() <= 1);
    assert!(!(told.is_empty() && other_told.is_empty()), "one was caught");
}

#[test]
fn what_only_a_forger_has_is_a_gap() {
    let mut split = members(3);
    let id = ask_caches(&mut split, &[2], |split| split.world.nodes[2].caches.alter());
    assert_eq!(messages(split.world.items(1, id)).count(), 0);
    assert!(split.world.gaps(1, id).iter().all(|gap| gap.reason != GapReason::Expired));
    assert_eq!(forged(&mut split), [(peer(2), "a".to_owned())], "once");
    assert!(split.world.nodes[1].cache_stats().forged > 0);
}

/// A cache that takes from a cache hands the publisher's signature on.
#[test]
fn signatures_go_from_cache_to_cache() {
    let mut split = members(4);
    let id = ask_caches(&mut split, &[2], |split| {
        split.world.nodes[3].cache("#", 1 << 20).unwrap();
        split.run(20 * SECOND);
        split.die(2);
    });
    assert_true(&split, id);
}

/// A cache says that a publisher has another key than it has.
#[test]
fn a_publisher_that_is_known_has_no_other_key() {
    let mut split = members(3);
    split.world.nodes[2].handle_peer_gone(peer(0));
    meet(&mut split.world.nodes[2], 0, 7);
    split.world.nodes[0].handle_peer_gone(peer(2));
    meet(&mut split.world.nodes[0], 2, 2);
    split.world.nodes[0].make_private(identity(7), NetworkId(1));
    split.world.nodes[2].cache("#", 1 << 20).unwrap();
    split.run(SECOND);
    split.cut(0, 1);
    split.publish(5);
    let now = split.world.now;
    let id = split.world.nodes[1].subscribe_from(now, "a", "text", Wish::All).unwrap();
    split.run(10 * SECOND);
    assert!(split.world.items(1, id).is_empty());
    assert!(split.world.nodes[1].cache_stats().refused > 0);
}

/// What is published by who is not trusted to comes from no cache either.
#[test]
fn caches_bring_nothing_of_who_may_not_publish_it() {
    let line = |node: usize, rest: &str| format!("{} {rest}\n", identity(node).public_key());
    for (rest, count) in [("publish=a", 20), ("publish=b", 0)] {
        let mut split = members(3);
        let trust: Trust = (line(0, rest) + &line(2, "")).parse().unwrap();
        split.world.nodes[1].set_trust(Some(trust));
        let id = ask_caches(&mut split, &[2], |_| {});
        assert_eq!(messages(split.world.items(1, id)).count(), count, "{rest}");
    }
}

#[test]
fn only_what_goes_to_a_cache_is_signed() {
    let mut split = members(3);
    split.world.nodes[1].subscribe("a", "text").unwrap();
    split.world.nodes[2].subscribe("a", "text").unwrap();
    split.run(SECOND);
    let kinds = |split: &mut Split| {
        split.world.publish_for(0, "a", SECOND, b"1");
        split.world.send();
        let flight = std::mem::take(&mut split.world.flight);
        let heads = flight.iter().map(|(_, to, cargo)| (*to, super::cache::encoded(cargo, split.world.now).0));
        let heads: Vec<_> = heads.collect();
        split.world.flight = flight;
        split.run(ms(10));
        heads.into_iter().map(|(to, head)| (to, head[0], head.len() > 64)).collect::<Vec<_>>()
    };
    assert_eq!(kinds(&mut split), [(1, 1, false), (2, 1, false)]);
    split.world.nodes[2].cache("#", 1 << 20).unwrap();
    split.run(SECOND);
    assert_eq!(kinds(&mut split), [(1, 1, false), (2, 8, true)]);
}
