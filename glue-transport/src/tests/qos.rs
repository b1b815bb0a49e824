//! Best effort and priorities.

use super::*;
use crate::outbox::{Company, Outbox};

/// Transmissions of data, by what arrived: each id at most once; and the notices.
fn split(got: &[(u32, u32, u32, bool)]) -> (Vec<u32>, Vec<u32>) {
    let of = |notice| got.iter().filter(move |got| got.3 == notice).map(|got| got.0).collect();
    (of(false), of(true))
}

#[test]
fn what_is_best_effort_is_sent_once_and_lost_ones_are_told() {
    for seed in 0..12 {
        let mut pair = Pair::new(seed, &Config::default());
        pair.run(Duration::from_millis(50));
        (pair.loss, pair.jitter) = ([0.0, 0.05, 0.2, 0.5][seed as usize % 4], Duration::from_micros(300));
        let before = pair.written[0].1;
        for id in 0..400 {
            pair.ends[0].send(pair.now, PEER, Note { best_effort: true, ..note(id, 900) });
            if id % 10 == 0 {
                pair.run(Duration::from_millis(1));
            }
        }
        pair.run(Duration::from_secs(60));
        let (mut arrived, mut told) = split(&pair.got[1]);
        arrived.sort_unstable();
        let lost = u32::try_from(told.len()).unwrap();
        assert_eq!(u64::from(lost > 0), u64::from(pair.loss > 0.0), "seed {seed}");
        let stats = pair.ends[0].peer_stats(PEER).unwrap();
        assert!(stats.payloads_lost >= u64::from(lost), "{stats:?}");
        told.extend(&arrived);
        told.sort_unstable();
        assert_eq!(told, (0..400).collect::<Vec<_>>(), "seed {seed}: each is there or told, once");
        // No data twice: what was written is the data once, headers, acks and notices.
        let written = pair.written[0].1 - before;
        assert!(written < 400 * 1_000 + (stats.payloads_lost + stats.packets_sent) * 150, "seed {seed}: {written}");
        assert!(pair.ends[0].is_settled());
    }
}

#[test]
fn the_rest_of_a_message_is_not_sent_once_a_piece_is_lost() {
    let mut outbox = Outbox::default();
    outbox.push(Note { best_effort: true, ..note(7, 10_000) });
    outbox.push(Note { best_effort: true, ..note(8, 100) });
    let number = outbox.next_queued(Instant::ZERO, 1_000, 1_000).unwrap();
    assert!(outbox.lose(number));
    assert_eq!(outbox.bytes(), 3 * HEAD + 100);
    assert_eq!(outbox.next_resend(Instant::ZERO, 1_000, 1_000), Some(number));
    let rest = outbox.next_queued(Instant::ZERO, 1_000, 1_000).unwrap();
    assert!(outbox.get(number).unwrap().expired && outbox.get(rest).unwrap().expired);
    let other = outbox.next_queued(Instant::ZERO, 1_000, 1_000).unwrap();
    assert!(!outbox.get(other).unwrap().expired);
    [number, rest, other].into_iter().for_each(|number| outbox.acknowledge(number));
    assert_eq!((outbox.bytes(), outbox.bytes_before(Priority::Low), outbox.is_settled()), (0, 0, true));
}

#[test]
fn the_most_urgent_leaves_first_and_a_sixteenth_is_for_each_of_the_others() {
    let mut outbox = Outbox::default();
    for id in 0..300 {
        let priority = Priority::ALL[2 - id as usize % 3];
        outbox.push(Note { priority, ..note(id, 100) });
    }
    let mut order = Vec::new();
    while outbox.has_queued() {
        outbox.begin_datagram();
        let number = outbox.next_queued(Instant::ZERO, 1_000, 1_000).unwrap();
        order.push(outbox.get(number).unwrap().priority);
        outbox.acknowledge(number);
    }
    let count = |part: &[Priority], of| part.iter().filter(|priority| **priority == of).count();
    let first = &order[..113];
    assert_eq!(Priority::ALL.map(|of| count(first, of)), [99, 7, 7]);
    // When the most urgent are gone, the next have their turn.
    assert_eq!(count(&order[130..200], Priority::High), 0);
    assert!(count(&order[130..200], Priority::Normal) >= 65);
    assert_eq!(outbox.bytes(), 0);
}

#[test]
fn only_what_is_less_urgent_may_wait_beside_what_is_next() {
    use Priority::{High, Low, Normal};
    let (alone, beside) = (Some(Company::None), Some(Company::LessUrgent));
    for (waiting, told) in [(High, [None, None, None]), (Normal, [beside, None, None]), (Low, [beside, beside, None])] {
        let mut outbox = Outbox::default();
        assert_eq!([High, Normal, Low].map(|priority| outbox.is_drained_for(priority)), [alone; 3]);
        outbox.push(Note { priority: waiting, ..note(0, 100) });
        assert_eq!([High, Normal, Low].map(|priority| outbox.is_drained_for(priority)), told, "{waiting:?}");
    }
}

#[test]
fn what_is_urgent_leaves_where_it_just_fits() {
    let mut outbox = Outbox::default();
    outbox.push(Note { urgent: true, ..note(0, 100) });
    assert_eq!(outbox.next_urgent(HEAD + 99), None);
    assert!(outbox.next_urgent(HEAD + 100).is_some() && !outbox.has_urgent());
}

/// A short payload leaves at once if nothing is under way, and else after [`Transport::HOLD`] at the latest.
#[test]
fn a_short_payload_waits_for_company_while_something_is_under_way() {
    let mut pair = Pair::new(5, &Config::default());
    pair.run(SECOND);
    let is_hungry = |pair: &Pair, at| pair.ends[0].is_hungry(at, PEER, Priority::Normal);
    assert!(is_hungry(&pair, pair.now));
    pair.ends[0].send(pair.now, PEER, note(0, 100));
    assert!(!is_hungry(&pair, pair.now + SECOND), "it has company that is as urgent");
    pair.flush();
    let hold = Transport::<Note>::HOLD;
    assert!(!is_hungry(&pair, pair.now) && !is_hungry(&pair, pair.now + hold - Duration::from_nanos(1)));
    assert!(is_hungry(&pair, pair.now + hold));
}

#[test]
fn what_is_urgent_overtakes_a_queue_and_its_resends() {
    let mut pair = Pair::new(3, &Config::default());
    pair.run(Duration::from_millis(50));
    pair.loss = 0.1;
    for id in 0..2_000 {
        pair.ends[0].send(pair.now, PEER, Note { priority: Priority::Low, ..note(id, 1_000) });
    }
    pair.run(Duration::from_millis(10));
    let before = pair.got[1].len();
    assert!(!pair.ends[0].is_hungry(pair.now, PEER, Priority::Low));
    pair.ends[0].send(pair.now, PEER, Note { priority: Priority::High, ..note(9_999, 100) });
    assert!(pair.ends[0].queue_bytes_before(PEER, Priority::High) < 200);
    pair.run(Duration::from_secs(30));
    let at = pair.got[1].iter().position(|got| got.0 == 9_999).unwrap();
    assert!(at - before < 400, "{before} {at}");
    assert_eq!(pair.got[1].len(), 2_001);
}
