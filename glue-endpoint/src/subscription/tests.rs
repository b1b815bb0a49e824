use std::time::Duration;

use glue_net::{EndpointId, Incarnation, Instant, WallTime};
use glue_topics::{Delivery, Gap, Topics};

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
    let (mut topics, mailbox) = (topics(), Mailbox::queue());
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
    let (mut topics, mailbox) = (topics(), Mailbox::queue());
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
    let (mut topics, idle, busy) = (topics(), Mailbox::queue(), Mailbox::queue());
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
