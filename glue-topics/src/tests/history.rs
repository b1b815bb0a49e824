//! History for who joins late: exactly what is kept, then what is live, with nothing in between lost or twice.

use std::collections::BTreeMap;

use glue_net::{Content, Incarnation, Instant, Rng};

use super::{Fate, LIFE, SECOND, World, contiguous, facts, messages, ms, peer, span};
use crate::{Config, GapReason, History, Item, PeerFacts, SubscriptionId, Wire, Wish};

impl World {
    fn keep(&mut self, node: usize, topic: &str, history: History) {
        let id = self.nodes[node].publication_with(topic, "text", history).unwrap();
        self.nodes[node].release(id);
    }

    fn join(&mut self, node: usize, topic: &str, wish: Wish) -> SubscriptionId {
        let type_name = if topic == "#" { "" } else { "text" };
        self.nodes[node].subscribe_from(self.now, topic, type_name, wish).unwrap()
    }
}

const ALL: History = History::All { max_bytes: 1 << 20 };

#[test]
fn a_late_joiner_gets_what_is_kept_and_then_what_is_live() {
    let mut world = World::new(2);
    world.keep(0, "a", ALL);
    for _ in 0..40 {
        world.publish(0, "a", b"before");
    }
    let all = world.join(1, "a", Wish::All);
    world.settle();
    for _ in 0..3 {
        world.publish(0, "a", b"after");
    }
    world.settle();
    assert_eq!(world.numbers(1, all), (1..=43).collect::<Vec<_>>());
}

#[test]
fn each_gets_what_it_wished_for() {
    let mut world = World::new(2);
    world.keep(0, "a", History::Last(10));
    for _ in 0..40 {
        world.publish(0, "a", b"before");
    }
    let (all, some) = (world.join(1, "a", Wish::All), world.join(1, "a", Wish::Last(3)));
    let (none, everything) = (world.join(1, "a", Wish::None), world.join(1, "#", Wish::Last(5)));
    world.settle();
    world.publish(0, "a", b"after");
    world.settle();
    assert_eq!(world.numbers(1, all), (31..=41).collect::<Vec<_>>());
    assert_eq!(world.numbers(1, some), [38, 39, 40, 41]);
    assert_eq!(world.numbers(1, none), [41]);
    assert_eq!(world.numbers(1, everything), [36, 37, 38, 39, 40, 41]);
}

#[test]
fn a_second_subscription_gets_history_and_the_first_nothing_twice() {
    let mut world = World::new(2);
    world.keep(0, "a", ALL);
    let (none, first) = (world.join(1, "a", Wish::None), world.join(1, "#", Wish::All));
    world.settle();
    for _ in 0..5 {
        world.publish(0, "a", b"x");
        world.send();
    }
    let second = world.join(1, "a", Wish::All);
    world.publish(0, "a", b"x");
    world.settle();
    world.publish(0, "a", b"x");
    world.settle();
    for id in [none, first, second] {
        assert_eq!(world.numbers(1, id), (1..=7).collect::<Vec<_>>());
    }
}

#[test]
fn a_retained_value_is_the_last_one_until_it_is_cleared() {
    let mut world = World::new(3);
    world.keep(0, "a", History::Retained);
    world.publish(0, "a", b"old");
    world.publish(0, "a", b"new");
    let present = world.join(1, "a", Wish::Last(1));
    world.settle();
    assert_eq!(world.numbers(1, present), [2]);
    world.publish(0, "a", b"");
    let late = world.join(2, "a", Wish::All);
    let own = world.join(0, "a", Wish::All);
    world.settle();
    assert_eq!(world.numbers(1, present), [2, 3]);
    assert!(world.items(2, late).is_empty() && world.items(0, own).is_empty());
    world.publish(0, "a", b"again");
    world.settle();
    for (node, id) in [(0, own), (2, late)] {
        assert_eq!(world.numbers(node, id), [4]);
    }
}

#[test]
fn asking_for_more_than_is_kept_is_no_error() {
    let mut world = World::new(2);
    world.publish(0, "a", b"x");
    let id = world.join(1, "a", Wish::All);
    world.settle();
    assert!(world.items(1, id).is_empty());
    world.publish(0, "a", b"x");
    world.settle();
    assert_eq!(world.numbers(1, id), [2]);
}

#[test]
fn what_has_expired_is_not_kept_and_leaves_a_gap_between() {
    let mut world = World::new(2);
    world.keep(0, "a", ALL);
    for expiry in [ms(100), 9 * SECOND, ms(100), 9 * SECOND] {
        world.publish_for(0, "a", expiry, b"x");
    }
    assert!(world.nodes[0].history_bytes() > 0);
    world.now = world.now + SECOND;
    let (now, due) = (world.now, world.nodes[0].poll_timeout().unwrap());
    assert!(due <= now);
    world.nodes[0].handle_timeout(now);
    let own = world.join(0, "a", Wish::All);
    let id = world.join(1, "a", Wish::All);
    world.settle();
    for (node, id) in [(0, own), (1, id)] {
        assert_eq!(world.numbers(node, id), [2, 4]);
        assert_eq!(contiguous(world.items(node, id)), (2, 4));
        assert_eq!(world.gaps(node, id)[0].reason, GapReason::Expired);
    }
    world.now = world.now + 9 * SECOND;
    let now = world.now;
    world.nodes[0].handle_timeout(now);
    assert_eq!((world.nodes[0].history_bytes(), world.nodes[0].poll_timeout()), (0, None));
}

#[test]
fn messages_keep_their_age() {
    let mut world = World::new(2);
    world.keep(0, "a", ALL);
    world.publish_for(0, "a", SECOND, b"x");
    world.now = world.now + ms(600);
    let id = world.join(1, "a", Wish::All);
    let published = world.now - ms(600);
    world.settle();
    let Item::Message(message) = &world.items(1, id)[0] else { panic!("a gap") };
    assert_eq!(message.deadline(), published + SECOND);
}

#[test]
fn limits_drop_the_oldest_and_are_counted() {
    let config = Config { max_history_bytes: 20_000, ..Config::default() };
    let mut world = World::with(2, &config);
    world.keep(0, "a", History::All { max_bytes: 5_000 });
    world.keep(0, "b", ALL);
    for _ in 0..50 {
        world.publish(0, "a", &[1; 500]);
        world.publish(0, "b", &[1; 500]);
        assert!(world.nodes[0].history_bytes() <= 20_000);
    }
    assert!(world.nodes[0].stats().history_dropped > 40);
    let (a, b) = (world.join(1, "a", Wish::All), world.join(1, "b", Wish::All));
    world.settle();
    for (id, most) in [(a, 10), (b, 40)] {
        let numbers = world.numbers(1, id);
        assert_eq!(numbers.last(), Some(&50));
        assert!((most / 2..=most).contains(&numbers.len()), "{numbers:?}");
    }
    world.keep(0, "a", History::None);
    world.keep(0, "b", History::None);
    assert_eq!(world.nodes[0].history_bytes(), 0);
}

#[test]
fn who_comes_back_goes_on_where_it_was() {
    let mut world = World::new(2);
    world.keep(0, "a", ALL);
    world.publish(0, "a", b"x");
    let id = world.join(1, "a", Wish::All);
    world.settle();
    world.nodes[0].handle_peer_gone(peer(1));
    world.nodes[1].handle_peer_gone(peer(0));
    world.publish(0, "a", b"x");
    world.nodes[0].handle_peer_up(peer(1), &facts(1, Wire::Native));
    world.nodes[1].handle_peer_up(peer(0), &facts(0, Wire::Native));
    world.settle();
    world.publish(0, "a", b"x");
    world.settle();
    assert_eq!(world.numbers(1, id), [1, 2, 3]);
}

#[test]
fn two_lives_of_a_publisher_are_two_sources() {
    let mut world = World::new(3);
    // The third node is the next life of the first, of which there may still be something under way.
    let next = PeerFacts { incarnation: Incarnation(LIFE.0 + 1), ..facts(0, Wire::Native) };
    world.nodes[1].handle_peer_gone(peer(2));
    world.nodes[1].handle_peer_up(peer(2), &next);
    world.keep(0, "a", ALL);
    world.keep(2, "a", ALL);
    let id = world.join(1, "a", Wish::All);
    world.settle();
    for node in [0, 0, 0, 2, 2] {
        world.publish(node, "a", b"x");
    }
    world.settle();
    // Both runs end before what follows either comes.
    let _ = world.join(1, "a", Wish::All);
    world.send();
    while world.flight.iter().any(|(from, ..)| *from == 1) {
        world.carry_one();
    }
    world.send();
    world.flight.sort_by_key(|(.., cargo)| cargo.deadline().is_some());
    world.settle();
    let of = |life: Incarnation| {
        let messages = messages(world.items(1, id)).filter(move |message| message.source().incarnation == life);
        messages.map(|message| message.sequence_number).collect::<Vec<_>>()
    };
    assert_eq!((of(LIFE), of(next.incarnation)), (vec![1, 2, 3], vec![1, 2]));
}

#[test]
fn a_peer_that_takes_nothing_is_told_what_it_misses_of_history() {
    let mut world = World::new(2);
    world.keep(0, "a", ALL);
    world.publish(0, "a", b"x");
    world.nodes[0].set_served(peer(1), false);
    let id = world.join(1, "a", Wish::All);
    world.settle();
    assert!(world.items(1, id).is_empty());
    world.publish(0, "a", b"x");
    assert_eq!(world.nodes[0].set_served(peer(1), true), 2);
    world.publish(0, "a", b"x");
    world.settle();
    assert_eq!((world.gaps(1, id)[0].count(), world.numbers(1, id)), (2, vec![3]));
}

#[test]
fn cargo_says_how_its_run_begins_until_some_has_arrived() {
    let mut world = World::new(2);
    let _ = world.join(1, "a", Wish::All);
    world.settle();
    let mut publish = |arrived: usize| {
        world.publish(0, "a", b"x");
        world.send();
        let (.., cargo) = world.flight.pop().unwrap();
        cargo.acknowledge(cargo.body_len().min(arrived));
        let mut head = Vec::new();
        cargo.encode_head(world.now, &mut head);
        head.len()
    };
    let (first, second, third) = (publish(0), publish(1), publish(usize::MAX));
    assert_eq!((first, second), (third, third));
    // All of it, of which begin, live and asked are one byte each.
    assert_eq!((publish(0), publish(0)), (third - 3, third - 3));
}

/// Two subscriptions have three messages when a third ends their run; of the next run `lost` pieces never come, and then the
/// publisher is gone. Returns what each got.
fn lose_the_first_of_a_run(lost: usize) -> [Vec<(u64, u64)>; 3] {
    let mut world = World::new(2);
    world.keep(0, "a", ALL);
    let there = [Wish::None, Wish::All].map(|wish| world.join(1, "a", wish));
    world.settle();
    for _ in 0..3 {
        world.publish(0, "a", b"x");
        world.settle();
    }
    let late = world.join(1, "a", Wish::All);
    world.send();
    while world.carry_one() {}
    for _ in 0..3 {
        world.publish(0, "a", b"x");
        world.send();
    }
    // The end of the run before comes in any case.
    world.flight.sort_by_key(|(.., cargo)| cargo.deadline().is_some());
    let first = world.flight.iter().position(|(.., cargo)| cargo.deadline().is_some()).unwrap();
    world.flight.drain(first..first + lost);
    while world.carry_one() {}
    world.nodes[1].handle_peer_gone(peer(0));
    world.hand_out();
    [there[0], there[1], late].map(|id| world.items(1, id).iter().map(span).collect())
}

#[test]
fn who_was_there_goes_on_though_the_first_of_a_run_is_lost_with_the_publisher() {
    let one_by_one =
        |numbers: std::ops::RangeInclusive<u64>| numbers.map(|number| (number, number)).collect::<Vec<_>>();
    // Messages 1 to 3 come anew, for the late one.
    let all = one_by_one(1..=6);
    assert_eq!(lose_the_first_of_a_run(0), [(); 3].map(|()| all.clone()));
    assert_eq!(lose_the_first_of_a_run(1), [all.clone(), all.clone(), all.clone()]);
    assert_eq!(lose_the_first_of_a_run(3), [all.clone(), all, [vec![(1, 3)], one_by_one(4..=6)].concat()]);
    let later = [one_by_one(1..=4), one_by_one(5..=6)].concat();
    assert_eq!(lose_the_first_of_a_run(4), [later.clone(), later, [vec![(1, 4)], one_by_one(5..=6)].concat()]);
}

/// A subscription, and what it may expect.
struct Joined {
    node: usize,
    id: SubscriptionId,
    wish: Wish,
    live: bool,
}

/// One run of random joins and leaves. Returns how many joined.
fn late_join(seed: u64) -> usize {
    let mut rng = Rng::new(seed);
    let mut world = World::new(3);
    world.rng = Rng::new(seed ^ 1);
    world.fate = Fate { shuffle: true, duplicate: 0.0, expire: 0.0 };
    let policies = [ALL, History::Last(7), History::Last(30), History::Retained];
    let policy = policies[usize::try_from(rng.below(4)).unwrap()];
    world.keep(0, "a", policy);
    let mut published: Vec<(Instant, Instant, bool)> = Vec::new();
    let mut joined: Vec<Joined> = Vec::new();
    let mut bounds: BTreeMap<(usize, SubscriptionId), (u64, Instant)> = BTreeMap::new();
    for _ in 0..300 {
        match rng.below(10) {
            0..4 => {
                let expiry = if rng.chance(0.3) { ms(1 + rng.below(200)) } else { 1_000 * SECOND };
                let is_empty = rng.chance(0.1);
                published.push((world.now, world.now + expiry, is_empty));
                world.publish_for(0, "a", expiry, if is_empty { b"" } else { b"message" });
            }
            4 => {
                let wish =
                    [Wish::None, Wish::All, Wish::Last(1), Wish::Last(5)][usize::try_from(rng.below(4)).unwrap()];
                let node = usize::try_from(rng.below(3)).unwrap();
                let id = world.join(node, if rng.chance(0.3) { "#" } else { "a" }, wish);
                bounds.insert((node, id), (published.len() as u64, world.now));
                joined.push(Joined { node, id, wish, live: true });
            }
            5 if !joined.is_empty() => {
                let at = usize::try_from(rng.below(joined.len() as u64)).unwrap();
                joined[at].live = false;
                world.nodes[joined[at].node].unsubscribe(joined[at].id);
            }
            6 => world.send(),
            7 => world.now = world.now + ms(rng.below(100)),
            _ => {
                world.send();
                for _ in 0..rng.below(8) {
                    world.carry_one();
                }
                world.hand_out();
            }
        }
    }
    world.settle();
    let start = published.len() as u64;
    published.push((world.now, world.now + SECOND, false));
    world.publish(0, "a", b"last");
    world.settle();
    for sub in &joined {
        let (before, at) = bounds[&(sub.node, sub.id)];
        check(&world, sub, policy, &published, (before, at, start));
    }
    joined.len()
}

/// What a subscription must have got at least, if it was there until the end.
fn check(
    world: &World,
    sub: &Joined,
    policy: History,
    published: &[(Instant, Instant, bool)],
    (before, at, last): (u64, Instant, u64),
) {
    let items = world.items(sub.node, sub.id);
    if items.is_empty() {
        assert!(
            !sub.live,
            "{:?} of node {} with {:?}, {policy:?}, joined at {before}, got nothing",
            sub.id, sub.node, sub.wish
        );
        return;
    }
    let spans: Vec<_> = items.iter().map(span).collect();
    // Without a wish it may first get the rest of a run that an earlier subscription has ended.
    let follows = |pair: &[(u64, u64)]| {
        if sub.wish == Wish::None { pair[0].1 < pair[1].0 } else { pair[0].1 + 1 == pair[1].0 }
    };
    let is_order = spans.windows(2).all(follows);
    assert!(
        is_order,
        "{:?} of node {} with {:?}, {policy:?}, joined at {before}: {spans:?}",
        sub.id, sub.node, sub.wish
    );
    let (first, to) = (spans[0].0, spans[spans.len() - 1].1);
    for gap in world.gaps(sub.node, sub.id) {
        assert_eq!(gap.reason, GapReason::Expired);
        let expired = |number: u64| published[usize::try_from(number - 1).unwrap()].1 <= world.now;
        assert!((gap.from..=gap.to).all(expired), "{gap:?}");
    }
    let is_own = sub.node == 0;
    if !sub.live {
        return;
    }
    assert_eq!(to, last + 1);
    // It joins between `before` at the earliest and the last message at the latest; what it gets begins no later than
    // policy and wish allow for one that joined at some moment in between, and what is there never ends early.
    let begins = |joins: u64| {
        let published = &published[..usize::try_from(joins).unwrap()];
        let cleared = published.iter().rposition(|(.., is_empty)| *is_empty).map_or(0, |at| at as u64 + 1);
        let kept = match policy {
            History::Last(count) => joins.saturating_sub(count),
            History::Retained => cleared.max(joins.saturating_sub(1)),
            _ => 0,
        };
        let skip = kept.max(joins.saturating_sub(sub.wish.count()));
        let unexpired = published.iter().enumerate().skip(usize::try_from(skip).unwrap());
        let mut unexpired = unexpired.filter(|(_, (_, deadline, _))| *deadline > world.now);
        unexpired.next().map_or(joins + 1, |(index, _)| index as u64 + 1)
    };
    let joins: Vec<u64> = if is_own { vec![before] } else { (before..=last).collect() };
    assert!(joins.iter().any(|joins| first <= begins(*joins)), "{first}, {before}..{last} {policy:?} {:?}", sub.wish);
    let least = joins.iter().map(|joins| joins.saturating_sub(sub.wish.count())).min().unwrap_or(0);
    // Without a wish it joins what is on the way to others of its endpoint.
    let joins_others = sub.wish == Wish::None && !is_own;
    assert!(first > least || joins_others, "{first} is more than was wished for");
    assert!(items.iter().all(|item| span(item).1 <= last + 1) && at <= world.now);
}

#[test]
fn whoever_joins_at_any_moment_misses_nothing_and_gets_nothing_twice() {
    let joins: usize = (0..500).inspect(|seed| println!("seed {seed}")).map(late_join).sum();
    assert!(joins > 10_000, "{joins}");
}

#[test]
fn what_is_remembered_of_sources_has_a_limit_and_a_counter() {
    for (max_cursors, forgotten) in [(2, 0), (1, 1)] {
        let config = Config { max_cursors, ..Config::default() };
        let mut world = World::with(2, &config);
        for topic in ["a", "b"] {
            world.keep(0, topic, ALL);
            world.publish(0, topic, b"x");
        }
        let id = world.join(1, "#", Wish::All);
        world.settle();
        let state = facts(0, Wire::Native);
        world.nodes[1].handle_peer_gone(peer(0));
        world.nodes[1].handle_peer_up(peer(0), &state);
        world.nodes[0].handle_peer_gone(peer(1));
        world.nodes[0].handle_peer_up(peer(1), &facts(1, Wire::Native));
        world.settle();
        assert_eq!(world.nodes[1].stats().cursors_forgotten, forgotten);
        assert_eq!(messages(world.items(1, id)).count() as u64, 2 + forgotten, "what was forgotten came again");
    }
}
