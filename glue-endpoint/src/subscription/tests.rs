use std::time::Duration;

use glue_net::{EndpointId, Incarnation, Instant, WallTime};
use glue_topics::{Delivery, Gap, Room, Topics};

use super::*;

/// Own messages, each in a batch of its own, of these topics in turn.
fn own(topics: &mut Topics, names: &[&str], count: usize, size: usize) -> Vec<Batch> {
    let mut batches = Vec::new();
    for (_, name) in (0..count).zip(names.iter().cycle()) {
        let id = topics.publication(name, "ty").unwrap();
        let (now, wall) = (Instant::ZERO, WallTime::ZERO_TIME);
        topics.publish(now, wall, id, Duration::from_secs(60), &vec![7; size][..]).unwrap();
        topics.release(id);
        while let Some(Delivery { batch, .. }) = topics.poll_delivery() {
            batches.push(batch);
        }
    }
    batches
}

fn topics() -> Topics {
    let mut topics =
        Topics::new(glue_topics::Config::default(), EndpointId::from_integer(1), Incarnation(1), "us").unwrap();
    topics.subscribe("#", "").unwrap();
    topics
}

fn items(mailbox: &Mailbox) -> Vec<Item> {
    let mut items = Vec::new();
    while let Some(mut parcel) = mailbox.take() {
        items.extend(std::iter::from_fn(|| parcel.batch.next(Instant::ZERO)));
    }
    items
}

#[test]
fn own_messages_that_nobody_takes_become_one_gap_for_each_topic() {
    let (mut topics, mailbox) = (topics(), Mailbox::queue(Overflow::Block));
    for _ in 0..50 {
        for batch in own(&mut topics, &["a", "b"], 8, 100_000) {
            assert!(mailbox.put(batch, None, None));
        }
    }
    let waiting = mailbox.lock().parcels.len();
    assert!(waiting < 90, "8 MiB and two gaps: {waiting}");
    let items = items(&mailbox);
    let gaps: Vec<&Gap> = items.iter().filter_map(|i| if let Item::Gap(gap) = i { Some(gap) } else { None }).collect();
    let [first, second] = gaps[..] else { panic!("{gaps:?}") };
    for gap in [first, second] {
        assert_eq!((gap.from, gap.reason), (1, GapReason::Overflow));
    }
    let messages = (items.len() - 2) as u64;
    assert_eq!(first.count() + second.count() + messages, 400);
    assert_eq!((mailbox.lock().own_bytes, topics.own_bytes().bytes()), (0, 0));
}

#[test]
fn the_newest_own_message_stays_however_large() {
    let (mut topics, mailbox) = (topics(), Mailbox::queue(Overflow::Block));
    for (size, count) in [(5 << 20, 3), (10 << 20, 2)] {
        for _ in 0..count {
            let batch = own(&mut topics, &["a"], 1, size).remove(0);
            mailbox.put(batch, None, None);
        }
        let items = items(&mailbox);
        match &items[..] {
            [Item::Gap(gap), Item::Message(message)] => {
                assert_eq!((gap.from, gap.to, message.sequence_number), (1, 2, 3));
            }
            [Item::Message(message), Item::Gap(gap)] => assert_eq!((message.sequence_number, gap.from), (4, 5)),
            items => panic!("{items:?}"),
        }
    }
}

#[test]
fn subscriptions_share_the_room_for_own_messages() {
    let (mut topics, idle, busy) = (topics(), Mailbox::queue(Overflow::Block), Mailbox::queue(Overflow::Block));
    let room = OwnRoom::new(topics.own_bytes().clone(), 3 << 20);
    for batch in own(&mut topics, &["a"], 1, 100_000) {
        idle.put(batch, None, Some(&room));
    }
    for _ in 0..200 {
        for batch in own(&mut topics, &["b"], 1, 100_000) {
            idle.put(batch, None, Some(&room));
        }
        for batch in own(&mut topics, &["c"], 1, 100_000) {
            busy.put(batch, None, Some(&room));
        }
        assert!(topics.own_bytes().bytes() <= 3 << 20);
        let got = items(&busy);
        assert!(matches!(&got[..], [Item::Message(_)]), "who takes what comes loses nothing: {got:?}");
    }
    assert!(topics.own_bytes().bytes() > 1 << 20);
}

/// Sequence numbers of messages, and gaps, of a topic.
fn of(items: &[Item], topic: &str) -> Vec<(u64, u64, Option<GapReason>)> {
    let seen = items.iter().map(|item| match item {
        Item::Message(message) => (&message.topic_name, (message.sequence_number, message.sequence_number, None)),
        Item::Gap(gap) => (&gap.source.topic_name, (gap.from, gap.to, Some(gap.reason))),
    });
    seen.filter(|(name, _)| ***name == *topic).map(|(_, seen)| seen).collect()
}

#[test]
fn the_oldest_or_the_newest_go_as_one_gap_and_all_are_accounted_for() {
    let lost = Some(GapReason::Overflow);
    let mut topics = topics();
    let oldest = Mailbox::queue(Overflow::DropOldest(Room::messages(3)));
    let newest = Mailbox::queue(Overflow::DropNewest(Room::messages(3)));
    for batch in own(&mut topics, &["a"], 10, 10) {
        assert!(!oldest.put(batch.clone(), None, None) && !newest.put(batch, None, None), "no credit is held");
    }
    let seen = of(&items(&oldest), "a");
    assert_eq!(seen, [(1, 7, lost), (8, 8, None), (9, 9, None), (10, 10, None)]);
    let seen = of(&items(&newest), "a");
    assert_eq!(seen, [(1, 1, None), (2, 2, None), (3, 3, None), (4, 10, lost)]);
}

#[test]
fn a_batch_is_cut_where_the_limit_is_and_one_of_two_topics_has_one_gap() {
    let mut topics = topics();
    let oldest = Mailbox::queue(Overflow::DropOldest(Room::messages(5)));
    let newest = Mailbox::queue(Overflow::DropNewest(Room::messages(5)));
    let (id, wall) = (topics.publication("a", "ty").unwrap(), WallTime::ZERO_TIME);
    for _ in 0..8 {
        topics.publish(Instant::ZERO, wall, id, Duration::from_secs(60), b"x").unwrap();
    }
    let Some(Delivery { batch, .. }) = topics.poll_delivery() else { panic!("one batch of eight") };
    assert_eq!(batch.messages_left(), 8);
    let others = own(&mut topics, &["b", "a"], 6, 1);
    for batch in [vec![batch], others].concat() {
        oldest.put(batch.clone(), None, None);
        newest.put(batch, None, None);
    }
    let (seen, lost) = (items(&oldest), Some(GapReason::Overflow));
    assert_eq!(of(&seen, "a"), [(1, 8, lost), (9, 9, None), (10, 10, None), (11, 11, None)]);
    assert_eq!(of(&seen, "b"), [(1, 1, lost), (2, 2, None), (3, 3, None)]);
    let seen = items(&newest);
    assert_eq!(of(&seen, "a").last(), Some(&(6, 11, lost)));
    assert_eq!(of(&seen, "b"), [(1, 3, lost)]);
}

#[test]
fn bytes_are_bounded_too_and_the_newest_batch_stays() {
    let mut topics = topics();
    let mailbox = Mailbox::queue(Overflow::DropOldest(Room::bytes(4_000)));
    for batch in own(&mut topics, &["a"], 20, 1_000) {
        mailbox.put(batch, None, None);
    }
    let seen = of(&items(&mailbox), "a");
    assert_eq!(seen.first(), Some(&(1, 17, Some(GapReason::Overflow))));
    assert_eq!(seen.len(), 4);
    own(&mut topics, &["a"], 1, 10_000).into_iter().for_each(|batch| _ = mailbox.put(batch, None, None));
    assert_eq!(of(&items(&mailbox), "a"), [(21, 21, None)]);
}
