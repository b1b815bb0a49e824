//! Offers and requests that match, or do not.

use std::time::Duration;

use glue_net::{Content, Priority, Skip};
use proptest::prelude::*;

use super::{Fate, World, messages, ms, peer};
use crate::qos::{Offer, Request};
use crate::{
    Event, GapReason, History, Item, Policy, PublicationId, PublisherOptions, SubscribeOptions, SubscriptionId, Wish,
};

impl World {
    fn offer(&mut self, node: usize, options: PublisherOptions) -> PublicationId {
        self.nodes[node].publication_with("a", "text", options).unwrap()
    }

    fn request(&mut self, node: usize, options: SubscribeOptions) -> SubscriptionId {
        let now = self.now;
        self.nodes[node].subscribe_from(now, "a", "text", options).unwrap()
    }

    fn say(&mut self, id: PublicationId, count: usize) {
        for _ in 0..count {
            let (now, wall) = (self.now, self.wall());
            self.nodes[0].publish(now, wall, id, Duration::from_secs(9), b"x").unwrap();
            self.send();
        }
    }

    fn told(&mut self, node: usize) -> Vec<Event> {
        let all = std::iter::from_fn(|| self.nodes[node].poll_event());
        all.filter(|event| *event != Event::InterestChanged).collect()
    }

    fn count(&self, node: usize, id: SubscriptionId) -> usize {
        self.got.get(&(node, id)).map_or(0, |items| messages(items).count())
    }
}

#[test]
fn who_requests_more_than_is_offered_gets_nothing_and_both_are_told_once() {
    for (options, requested, policy) in [
        (PublisherOptions::new().best_effort(), SubscribeOptions::new().reliable(), Policy::Reliability),
        (PublisherOptions::new(), SubscribeOptions::new().deadline(ms(5)), Policy::Deadline),
        (PublisherOptions::new().deadline(ms(6)), SubscribeOptions::new().deadline(ms(5)), Policy::Deadline),
    ] {
        let mut world = World::new(2);
        let id = world.request(1, requested);
        let publication = world.offer(0, options);
        world.settle();
        for _ in 0..3 {
            world.say(publication, 2);
            world.settle();
        }
        assert_eq!((world.count(1, id), world.nodes[0].interested(publication)), (0, &[][..]));
        let is_told = |events: Vec<Event>| {
            assert_eq!(events.len(), 1, "{events:?}");
            matches!(&events[0], Event::QosMismatch { policy: told, .. } if *told == policy)
        };
        assert!(is_told(world.told(0)) && is_told(world.told(1)));
    }
}

#[test]
fn one_of_two_subscriptions_is_met_whatever_overtakes_what() {
    for seed in 0..60 {
        let mut world = World::new(2);
        world.rng = glue_net::Rng::new(seed);
        world.fate = Fate { shuffle: true, ..Fate::default() };
        let strict = world.request(1, SubscribeOptions::new().reliable());
        let any = world.request(1, SubscribeOptions::new());
        let publication = world.offer(0, PublisherOptions::new().best_effort());
        world.settle();
        world.say(publication, 5);
        world.settle();
        assert_eq!((world.count(1, strict), world.count(1, any)), (0, 5));
        // Now it offers what both request; nothing is lost on the way from the one to the other.
        world.say(publication, 5);
        world.offer(0, PublisherOptions::new());
        world.say(publication, 5);
        world.settle();
        assert_eq!((world.count(1, strict), world.count(1, any)), (5, 15));
        world.offer(0, PublisherOptions::new().best_effort());
        world.say(publication, 5);
        world.settle();
        assert_eq!((world.count(1, strict), world.count(1, any)), (5, 20));
        assert_eq!(world.nodes[1].stats().duplicates, 0);
    }
}

#[test]
fn history_comes_with_what_is_offered() {
    let mut world = World::new(2);
    let publication = world.offer(0, PublisherOptions::from(History::Last(3)).best_effort());
    world.say(publication, 5);
    let any = world.request(1, SubscribeOptions::from(Wish::All).best_effort());
    let strict = world.request(1, SubscribeOptions::from(Wish::All).reliable());
    world.settle();
    assert_eq!((world.count(1, any), world.count(1, strict)), (3, 0));
}

#[test]
fn only_what_is_best_effort_at_both_ends_or_at_its_publisher_is_sent_so() {
    let cases = [
        (PublisherOptions::new(), vec![SubscribeOptions::new()], false),
        (PublisherOptions::new(), vec![SubscribeOptions::new().best_effort()], true),
        (PublisherOptions::new(), vec![SubscribeOptions::new().best_effort(), SubscribeOptions::new()], false),
        (PublisherOptions::new().best_effort(), vec![SubscribeOptions::new()], true),
    ];
    for (options, requests, best_effort) in cases {
        let mut world = World::new(2);
        let publication = world.offer(0, options.priority(Priority::High));
        requests.into_iter().for_each(|requested| _ = world.request(1, requested));
        world.settle();
        world.say(publication, 1);
        let (_, _, cargo) = &mut world.flight[0];
        assert_eq!((cargo.is_best_effort(), cargo.priority()), (best_effort, Priority::High));
        cargo.skip(Skip::Lost);
        assert_eq!((cargo.is_best_effort(), cargo.priority()), (false, Priority::High));
        world.settle();
        let gaps =
            world.got.values().flatten().filter(|item| matches!(item, Item::Gap(gap) if gap.reason == GapReason::Lost));
        assert_eq!(gaps.count(), world.got.len());
    }
}

#[test]
fn nothing_best_effort_is_queued_for_a_congested_peer_and_what_it_missed_is_one_gap() {
    let mut world = World::new(2);
    let publication = world.offer(0, PublisherOptions::new().best_effort());
    let id = world.request(1, SubscribeOptions::new());
    world.settle();
    assert_eq!(
        (world.nodes[0].interested(publication), world.nodes[0].awaited(publication)),
        (&[peer(1)][..], &[][..])
    );
    world.say(publication, 2);
    world.nodes[0].set_congested(peer(1), true);
    world.say(publication, 5);
    world.settle();
    assert_eq!(world.count(1, id), 2);
    world.nodes[0].set_congested(peer(1), false);
    let (now, wall) = (world.now, world.wall());
    world.nodes[0].publish_unsent(now, wall, publication, ms(50), b"x").unwrap();
    world.say(publication, 1);
    world.settle();
    let gaps: u64 =
        world.got[&(1, id)].iter().map(|item| if let Item::Gap(gap) = item { gap.count() } else { 0 }).sum();
    assert_eq!((world.count(1, id), gaps), (3, 6));
}

#[test]
fn a_message_lives_no_longer_than_its_publications_lifespan() {
    let mut world = World::new(2);
    let publication = world.offer(0, PublisherOptions::new().lifespan(ms(7)));
    let id = world.request(1, SubscribeOptions::new());
    world.settle();
    world.say(publication, 1);
    world.settle();
    let expiry: Vec<_> = messages(&world.got[&(1, id)]).map(|message| message.expiry).collect();
    assert_eq!(expiry, [ms(7)]);
}

#[test]
fn missed_deadlines_are_told_on_both_sides_until_a_message_comes() {
    let mut world = World::new(2);
    let publication = world.offer(0, PublisherOptions::new().deadline(ms(10)));
    world.request(1, SubscribeOptions::new().deadline(ms(20)));
    world.settle();
    let mut missed = [0, 0];
    for step in 0..200u64 {
        // Messages in time, then none for 100 ms, then in time again.
        if step % 5 == 0 && !(50..=150).contains(&step) {
            world.say(publication, 1);
            world.settle();
        }
        world.pass(ms(1));
        for event in world.told(0) {
            let Event::OfferedDeadlineMissed { period, count, .. } = event else { panic!("{event:?}") };
            assert!(period == ms(10) && (50..=155).contains(&step));
            missed[0] += count;
        }
        for event in world.told(1) {
            let Event::RequestedDeadlineMissed { period, count, .. } = event else { panic!("{event:?}") };
            assert!(period == ms(20) && (50..=155).contains(&step));
            missed[1] += count;
        }
    }
    // 110 ms went by from the last message before to the first after, which came as the eleventh period ended.
    assert_eq!(missed, [11, 5]);
    // Nobody is told of what nobody promises or wants any more.
    world.nodes[0].release(publication);
    world.now = world.now + ms(100);
    let now = world.now;
    world.nodes[0].handle_timeout(now);
    assert_eq!((world.told(0), world.nodes[0].poll_timeout()), (vec![], None));
}

#[test]
fn own_subscriptions_have_the_same_rights() {
    let mut world = World::new(1);
    let publication = world.offer(0, PublisherOptions::new().best_effort().deadline(ms(10)));
    let strict = world.request(0, SubscribeOptions::new().reliable());
    let any = world.request(0, SubscribeOptions::new().deadline(ms(10)));
    world.say(publication, 3);
    world.settle();
    assert_eq!((world.count(0, strict), world.count(0, any)), (0, 3));
    assert!(matches!(world.told(0)[..], [Event::QosMismatch { peer: None, policy: Policy::Reliability, .. }]));
    world.now = world.now + ms(10);
    let now = world.now;
    world.nodes[0].handle_timeout(now);
    let events = world.told(0);
    assert!(
        matches!(events[..], [Event::OfferedDeadlineMissed { .. }, Event::RequestedDeadlineMissed { peer: None, .. }]),
        "{events:?}"
    );
}

proptest! {
    #[test]
    fn any_offers_and_requests_are_taken_without_panic(
        operations in prop::collection::vec((any::<bool>(), "[ab#+/]{0,3}", any::<Vec<u8>>(), 0u64..3), 0..40),
        sane in any::<bool>(),
    ) {
        let mut world = World::new(2);
        let publication = world.offer(0, PublisherOptions::new().best_effort());
        world.request(0, SubscribeOptions::new().reliable().deadline(ms(3)));
        world.settle();
        let mut body = Vec::new();
        for (is_offer, name, options, wish) in operations {
            // As `control.rs` writes them, but for the options.
            body.push(if is_offer { 7 } else { 6 });
            glue_net::wire::put_bytes(&mut body, name.as_bytes());
            if !is_offer {
                glue_net::wire::put_bytes(&mut body, b"");
                glue_net::wire::put_varint(&mut body, wish);
            }
            let mut good = Vec::new();
            if is_offer { Offer::default().put(&mut good) } else { Request::default().put(&mut good) }
            glue_net::wire::put_bytes(&mut body, if sane { &good } else { &options });
        }
        let (now, number) = (world.now, 1);
        world.nodes[0].handle_cargo(now, peer(1), vec![0, number].into(), body.into());
        world.say(publication, 3);
        world.now = world.now + ms(100);
        let now = world.now;
        world.nodes[0].handle_timeout(now);
        world.nodes[0].handle_peer_gone(peer(1));
        world.send();
        prop_assert_eq!(world.nodes[0].held_bytes(peer(1)), 0);
        prop_assert_eq!(world.nodes[0].names_bytes(), 0);
    }
}

#[test]
fn a_peer_that_comes_and_goes_is_told_an_offer_once() {
    let mut world = World::new(2);
    let publication = world.offer(0, PublisherOptions::new().best_effort());
    let strict = world.request(1, SubscribeOptions::new().reliable());
    world.settle();
    let mut told = 0;
    for _ in 0..20 {
        let id = world.request(1, SubscribeOptions::new());
        world.send();
        while world.carry_one() {
            world.send();
            told += world.flight.iter().filter(|(from, ..)| *from == 0).count();
        }
        world.nodes[1].unsubscribe(id);
        world.settle();
    }
    assert!(told <= 2, "{told}");
    let id = world.request(1, SubscribeOptions::new());
    world.settle();
    world.say(publication, 3);
    world.settle();
    assert_eq!((world.count(1, id), world.count(1, strict)), (3, 0));
}
