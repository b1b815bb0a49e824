use super::*;
use crate::frame::tests::{frame, is_right};

const MILLISECOND: u64 = 1_000_000;

/// A frame between two hosts by their numbers; host 255 is everybody.
fn between(from: u8, to: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = frame(payload);
    frame[11] = from;
    frame[5] = to;
    if to == 255 {
        frame[0] = 1;
    }
    frame
}

fn drain(switch: &mut Switch, now: u64) -> Vec<(usize, Vec<u8>)> {
    std::iter::from_fn(|| switch.poll_frame(now)).collect()
}

/// Two hosts that the switch has heard of, and what becomes of `count` numbered datagrams from the first to the second.
fn pass(impairment: Impairment, count: u64) -> (Switch, Vec<Vec<u8>>) {
    let mut switch = Switch::new(2, 7);
    switch.impair(0, 1, impairment);
    for number in 0..count {
        switch.handle_frame(number * 10_000, 0, &between(1, 2, &number.to_be_bytes()));
    }
    let frames = drain(&mut switch, u64::MAX).into_iter().map(|(_, frame)| frame).collect();
    (switch, frames)
}

fn numbers(frames: &[Vec<u8>]) -> Vec<u64> {
    frames.iter().filter_map(|frame| Some(u64::from_be_bytes(frame.get(42..50)?.try_into().ok()?))).collect()
}

#[test]
fn a_switch_learns_where_hosts_are_and_floods_what_is_for_all() {
    let mut switch = Switch::new(3, 1);
    let ports = |frames: Vec<(usize, Vec<u8>)>| frames.into_iter().map(|(port, _)| port).collect::<Vec<_>>();
    switch.handle_frame(0, 0, &between(1, 2, b"x"));
    assert_eq!(ports(drain(&mut switch, 0)), [1, 2], "nobody knows where 2 is");
    switch.handle_frame(0, 1, &between(2, 1, b"x"));
    assert_eq!(ports(drain(&mut switch, 0)), [0]);
    switch.handle_frame(0, 0, &between(1, 2, b"x"));
    assert_eq!(ports(drain(&mut switch, 0)), [1]);
    switch.handle_frame(0, 2, &between(3, 255, b"x"));
    assert_eq!(ports(drain(&mut switch, 0)), [0, 1]);
}

#[test]
fn a_perfect_link_passes_all_in_order_with_right_checksums() {
    let (switch, frames) = pass(Impairment::default(), 1_000);
    assert_eq!(numbers(&frames), (0..1_000).collect::<Vec<_>>());
    assert!(frames.iter().all(|frame| is_right(frame)));
    assert_eq!(switch.counts(), Counts { received: 1_000, sent: 1_000, ..Counts::default() });
}

#[test]
fn loss_and_duplicates_are_as_frequent_as_asked() {
    let (switch, frames) = pass(Impairment { loss: 0.3, ..Impairment::default() }, 10_000);
    assert!((6_800..7_200).contains(&frames.len()), "{}", frames.len());
    assert_eq!(switch.counts().lost + frames.len() as u64, 10_000);
    let (switch, frames) = pass(Impairment { duplicate: 0.1, ..Impairment::default() }, 10_000);
    assert!((10_900..11_100).contains(&frames.len()), "{}", frames.len());
    assert_eq!(10_000 + switch.counts().duplicated, frames.len() as u64);
}

#[test]
fn delay_holds_all_back_jitter_and_reordering_mix_them() {
    let mut switch = Switch::new(2, 7);
    switch.impair(0, 1, Impairment { delay: 20 * MILLISECOND, ..Impairment::default() });
    switch.handle_frame(5, 0, &between(1, 2, b"x"));
    assert_eq!(switch.poll_due(), Some(20 * MILLISECOND + 5));
    assert_eq!(switch.poll_frame(20 * MILLISECOND), None);
    assert!(switch.poll_frame(20 * MILLISECOND + 5).is_some());

    let jitter = Impairment { jitter: MILLISECOND, ..Impairment::default() };
    for impairment in [jitter, Impairment { reorder: 0.1, ..Impairment::default() }] {
        let (_, frames) = pass(impairment, 1_000);
        let mut numbers = numbers(&frames);
        assert!(!numbers.is_sorted());
        numbers.sort_unstable();
        assert_eq!(numbers, (0..1_000).collect::<Vec<_>>());
    }
}

#[test]
fn what_is_damaged_reaches_the_socket_if_it_is_mended_and_the_kernel_drops_it_else() {
    for mend in [true, false] {
        let (switch, frames) = pass(Impairment { corrupt: 0.5, mend, ..Impairment::default() }, 1_000);
        let right = frames.iter().filter(|frame| is_right(frame)).count() as u64;
        assert!((400..600).contains(&switch.counts().corrupted));
        assert_eq!(right, if mend { 1_000 } else { 1_000 - switch.counts().corrupted });
        let wrong = numbers(&frames).into_iter().zip(0..).filter(|(got, sent)| got != sent).count() as u64;
        assert_eq!(wrong, switch.counts().corrupted);
    }
    let (switch, frames) = pass(Impairment { truncate: 0.5, mend: true, ..Impairment::default() }, 1_000);
    assert!(frames.iter().all(|frame| is_right(frame)));
    let short = frames.iter().filter(|frame| frame.len() < 50).count() as u64;
    assert_eq!(short, switch.counts().truncated);
    assert!((400..600).contains(&short));
}

#[test]
fn a_cut_stops_everything_one_way() {
    let mut switch = Switch::new(2, 1);
    switch.cut(0, 1, true);
    let mut arp = between(1, 255, b"x");
    arp[13] = 6;
    switch.handle_frame(0, 0, &between(1, 2, b"x"));
    switch.handle_frame(0, 0, &arp);
    assert_eq!(switch.poll_frame(u64::MAX), None);
    switch.handle_frame(0, 1, &between(2, 1, b"x"));
    assert_eq!(switch.poll_frame(u64::MAX).map(|(port, _)| port), Some(0));
    switch.cut(0, 1, false);
    switch.handle_frame(0, 0, &arp);
    assert_eq!(switch.poll_frame(u64::MAX), Some((1, arp)));
    assert_eq!(switch.counts().cut, 2);
}

#[test]
fn the_same_seed_does_the_same() {
    let all = Impairment {
        loss: 0.1,
        duplicate: 0.1,
        corrupt: 0.1,
        truncate: 0.1,
        reorder: 0.1,
        jitter: MILLISECOND,
        ..Impairment::default()
    };
    assert_eq!(pass(all, 1_000).1, pass(all, 1_000).1);
}

#[test]
fn what_waits_is_bounded() {
    let mut switch = Switch::new(2, 1);
    switch.impair(0, 1, Impairment { delay: MILLISECOND, ..Impairment::default() });
    for _ in 0..MAX_WAITING + 3 {
        switch.handle_frame(0, 0, &between(1, 2, b"x"));
    }
    assert_eq!(switch.counts().overflowed, 3);
    assert_eq!(drain(&mut switch, u64::MAX).len(), MAX_WAITING);
}
