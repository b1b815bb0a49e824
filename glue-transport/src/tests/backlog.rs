//! What waits for a peer that takes nothing.

use super::*;

const PATIENCE: Duration = Duration::from_millis(250);

/// A pair of which one end has 500 payloads for the other, which has been out of reach for a second.
fn cut_off() -> Pair {
    let mut pair = Pair::new(1, &Config::default());
    pair.run(SECOND);
    pair.cut = true;
    (0..500).for_each(|id| assert!(pair.ends[0].send(pair.now, PEER, note(id, 1_000))));
    pair.run(SECOND);
    pair
}

#[test]
fn a_queue_that_is_shed_arrives_as_notices() {
    let mut pair = cut_off();
    let before = pair.ends[0].queue_bytes(PEER);
    assert_eq!(pair.ends[0].shed(pair.now, PEER), 500);
    assert!(before > 500_000 && pair.ends[0].queue_bytes(PEER) == 500 * HEAD, "{before}");
    assert_eq!(pair.ends[0].shed(pair.now, PEER), 0, "nothing is left to be shed");
    pair.cut = false;
    pair.run(SECOND * 5);
    assert_eq!(pair.got[1].iter().filter(|(_, _, _, expired)| *expired).count(), 500);
    assert_eq!((pair.ends[0].queue_bytes(PEER), pair.ends[0].overhead_bytes()), (0, 0));
    assert_eq!(pair.ends[0].peer_stats(PEER).unwrap().dropped_full, 500);
}

#[test]
fn a_peer_that_is_forgotten_counts_no_more() {
    let mut pair = cut_off();
    let sums = |pair: &Pair| (pair.ends[0].overhead_bytes(), pair.ends[0].promised_bytes(), pair.ends[0].is_paced());
    assert!(sums(&pair).0 > 0 && sums(&pair).1 > 0);
    pair.ends[0].disconnect(PEER);
    assert_eq!(sums(&pair), (0, 0, false));
}

#[test]
fn a_peer_that_leaves_probes_unanswered_is_silent_and_takes_nothing() {
    let mut pair = Pair::new(1, &Config::default());
    pair.run(SECOND);
    let taken = pair.ends[0].taken_bytes(PEER);
    pair.ends[0].send(pair.now, PEER, note(0, 100));
    pair.run(SECOND);
    assert!(!pair.ends[0].is_silent(PEER) && pair.ends[0].has_taken(PEER, taken), "little, with room for more");
    let taken = pair.ends[0].taken_bytes(PEER);
    pair.cut = true;
    pair.ends[0].send(pair.now, PEER, note(1, 100));
    pair.run(SECOND * 5);
    assert!(pair.ends[0].is_silent(PEER) && !pair.ends[0].has_taken(PEER, taken));
}

#[test]
fn what_waits_for_a_peer_out_of_reach_expires_there() {
    let mut pair = Pair::new(1, &Config::default());
    pair.run(SECOND);
    pair.ends[0].suspend(PEER);
    let deadline = Some(pair.now + SECOND);
    assert!(pair.ends[0].send(pair.now, PEER, Note { deadline, ..note(1, 1_000) }));
    let stats = |pair: &Pair| pair.ends[0].peer_stats(PEER).unwrap();
    assert_eq!((stats(&pair).queue_bytes, stats(&pair).expired), (HEAD + 1_000, 0));
    pair.run(SECOND * 10);
    assert_eq!((stats(&pair).queue_bytes, stats(&pair).expired), (HEAD, 1));
}

#[test]
fn the_memory_of_a_burst_is_given_back() {
    let room = |pair: &mut Pair| pair.ends[0].native(PEER).map(|native| native.outbox.room()).unwrap();
    let mut pair = Pair::new(1, &Config::default());
    pair.run(SECOND);
    (0..1_000).for_each(|id| assert!(pair.ends[0].send(pair.now, PEER, note(id, 1_000))));
    assert!(room(&mut pair) >= 1_000, "{}", room(&mut pair));
    pair.run(SECOND * 3);
    assert!(pair.ends[0].queue_bytes(PEER) == 0 && room(&mut pair) <= 150, "{}", room(&mut pair));
}

#[test]
fn a_peer_stands_still_from_when_it_last_took_something() {
    let mut pair = Pair::new(1, &Config::default());
    pair.run(SECOND * 10);
    assert_eq!(pair.ends[0].stalled_at(PEER, PATIENCE), None, "nothing waits");
    // That it was idle for long says nothing.
    pair.ends[0].send(pair.now, PEER, note(0, 1_000));
    let first = pair.now + PATIENCE;
    assert_eq!(pair.ends[0].stalled_at(PEER, PATIENCE), Some(first));
    (1..200).for_each(|id| assert!(pair.ends[0].send(pair.now, PEER, note(id, 1_000))));
    (200..1_000).for_each(|id| assert!(pair.ends[0].send(pair.now, PEER, note(id, 1_000))));
    pair.run(Duration::from_millis(20));
    pair.cut = true;
    // Acks may still be under way.
    pair.run(Duration::from_millis(20));
    let (taken, start) = (pair.ends[0].taken_bytes(PEER), pair.now);
    pair.run(SECOND);
    assert!(taken > 16 << 10 && pair.ends[0].taken_bytes(PEER) == taken, "{taken}");
    let stalled = pair.ends[0].stalled_at(PEER, PATIENCE);
    assert!(stalled.is_some_and(|at| at > first && at <= start + PATIENCE), "{stalled:?}");
    pair.cut = false;
    pair.run(SECOND * 5);
    assert_eq!(pair.ends[0].stalled_at(PEER, PATIENCE), None, "all is taken");
}

#[test]
fn urgent_payloads_beyond_what_is_tolerated_wait_and_are_not_lost() {
    let config = Config { initial_credit_bytes: 80 << 10, receive_window_bytes: 80 << 10, ..Config::default() };
    let mut pair = Pair::new(1, &config);
    for id in 0..1_000 {
        assert!(pair.ends[0].send(pair.now, PEER, Note { urgent: true, ..note(id, 1_000) }));
    }
    pair.take = false;
    pair.run(SECOND * 2);
    assert!((320 << 10..=336 << 10).contains(&pair.held), "{}", pair.held);
    assert_eq!(pair.ends[1].peer_stats(PEER).unwrap().over_credit, 0);
    (pair.take, pair.held) = (true, 0);
    pair.ends[1].set_held(PEER, 0, 80 << 10);
    pair.run(SECOND * 5);
    assert_eq!((pair.whole(1).len(), pair.ends[1].peer_stats(PEER).unwrap().over_credit), (1_000, 0));
}

#[test]
fn credit_grows_with_what_may_be_held_and_is_counted() {
    let config = Config { initial_credit_bytes: 64 << 10, ..Config::default() };
    let mut pair = Pair::new(1, &config);
    (pair.take, pair.window) = (false, 64 << 10);
    pair.run(SECOND);
    assert_eq!(pair.ends[1].promised_bytes(), 64 << 10);
    (0..1_000).for_each(|id| assert!(pair.ends[0].send(pair.now, PEER, note(id, 1_000))));
    pair.run(SECOND);
    assert!((60 << 10..=64 << 10).contains(&pair.held), "{}", pair.held);
    assert_eq!(pair.ends[1].promised_bytes(), (64 << 10) - pair.ends[1].received_bytes(PEER));
    pair.window = 256 << 10;
    pair.ends[1].set_held(PEER, pair.held, pair.window);
    pair.run(SECOND);
    assert!((250 << 10..=256 << 10).contains(&pair.held), "{}", pair.held);
    // A window that shrinks takes back nothing, and gives nothing before it is free again.
    pair.window = 64 << 10;
    pair.ends[1].set_held(PEER, pair.held - (100 << 10), pair.window);
    pair.run(SECOND);
    assert!(pair.held <= 256 << 10, "{}", pair.held);
    pair.ends[1].disconnect(PEER);
    assert_eq!(pair.ends[1].promised_bytes(), 0);
}
