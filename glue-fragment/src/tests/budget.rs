//! What unfinished messages may take.

use super::*;

const OTHER: PeerId = PeerId(2);

/// A frame of a classic message of several.
fn frame(message: u8, index: u32, count: u32, len: usize) -> Frame {
    let mut frame = Frame { fragment_index: index, fragment_count: count, ..Frame::default() };
    frame.correlation_id.0[0] = message;
    frame.payload = vec![message; len].into();
    frame
}

fn joiner(config: Config) -> (Joiner, Instant) {
    (Joiner::new(config), Instant::ZERO)
}

/// 64 is what an entry costs beside its bytes.
const ENTRY: usize = 64;

#[test]
fn a_classic_message_may_fill_the_budget_and_no_more() {
    let (mut joiner, now) = joiner(Config { budget_bytes: 2 * (100 + ENTRY), ..Config::default() });
    assert_eq!(joiner.handle_frame(now, PEER, &frame(1, 0, 3, 100)), None);
    assert_eq!(joiner.handle_frame(now, PEER, &frame(1, 1, 3, 100)), None);
    assert_eq!((joiner.held_bytes(), joiner.stats().over_budget), (2 * (100 + ENTRY), 0));
    // One byte more, and the message that brought it is given up.
    assert_eq!(joiner.handle_frame(now, PEER, &frame(1, 2, 3, 1)), None);
    assert_eq!((joiner.held_bytes(), joiner.stats().over_budget, joiner.stats().partials), (0, 1, 0));
}

#[test]
fn a_classic_message_does_not_take_what_others_have() {
    let (mut joiner, now) = joiner(Config { budget_bytes: 3 * (100 + ENTRY), ..Config::default() });
    for index in 0..2 {
        assert_eq!(joiner.handle_frame(now, PEER, &frame(1, index, 3, 100)), None);
    }
    assert_eq!(joiner.handle_frame(now, OTHER, &frame(2, 0, 3, 101)), None);
    assert_eq!((joiner.held_bytes(), joiner.stats().over_budget), (2 * (100 + ENTRY), 1));
    assert_eq!(joiner.handle_frame(now, OTHER, &frame(2, 0, 3, 100)), None);
    assert_eq!((joiner.held_bytes(), joiner.stats().over_budget), (3 * (100 + ENTRY), 1));
    // Native ones count as well.
    let piece = &pieces(1, text(5_000, 1), 1_000..1_001, &mut Rng::new(1))[0];
    assert_eq!(joiner.handle_payload(NOW, PEER, encode(piece)), None);
    assert_eq!(joiner.handle_frame(now, OTHER, &frame(3, 0, 2, 1)), None);
    assert_eq!(joiner.stats().over_budget, 3, "the native one, which did not fit, and the classic one");
}

#[test]
fn a_classic_message_is_no_longer_than_a_message_may_be() {
    let (mut joiner, now) = joiner(Config { max_message_bytes: 200 + 2 * ENTRY, ..Config::default() });
    assert_eq!(joiner.handle_frame(now, PEER, &frame(1, 0, 3, 100)), None);
    assert_eq!(joiner.handle_frame(now, PEER, &frame(1, 1, 3, 101)), None);
    assert_eq!((joiner.stats().over_budget, joiner.stats().partials), (1, 0));
}

#[test]
fn one_peer_has_so_many_unfinished_classic_messages() {
    let (mut joiner, now) = joiner(Config { max_partials_per_peer: 2, ..Config::default() });
    for message in 1..=3 {
        assert_eq!(joiner.handle_frame(now, PEER, &frame(message, 0, 2, 10)), None);
    }
    assert_eq!((joiner.stats().partials, joiner.stats().over_budget), (2, 1));
    assert_eq!(joiner.handle_frame(now, OTHER, &frame(1, 0, 2, 10)), None);
    assert_eq!((joiner.stats().partials, joiner.stats().over_budget), (3, 1));
    // Those that are there go on.
    assert_eq!(joiner.handle_frame(now, PEER, &frame(2, 1, 2, 10)), Some(vec![2; 20].into()));
}

#[test]
fn a_fragment_beyond_its_message_is_ignored() {
    let (mut joiner, now) = joiner(Config::default());
    assert_eq!(joiner.handle_frame(now, PEER, &frame(1, 0, 2, 10)), None);
    let held = joiner.held_bytes();
    for index in [2, 3] {
        assert_eq!(joiner.handle_frame(now, PEER, &frame(1, index, 2, 10)), None);
    }
    assert_eq!(joiner.held_bytes(), held);
    assert!(joiner.handle_frame(now, PEER, &frame(1, 1, 2, 10)).is_some());
    assert_eq!(joiner.held_bytes(), 0);
}

#[test]
fn a_peer_that_is_gone_leaves_nothing_and_takes_nothing_of_others() {
    let (mut joiner, now) = joiner(Config::default());
    let piece = encode(&pieces(1, text(5_000, 1), 1_000..1_001, &mut Rng::new(1))[0]);
    for (peer, classic) in [(PEER, 10), (OTHER, 11)] {
        assert_eq!(joiner.handle_payload(NOW, peer, piece.clone()), None);
        assert_eq!(joiner.handle_frame(now, peer, &frame(1, 0, 2, classic)), None);
    }
    let both = joiner.held_bytes();
    joiner.handle_peer_gone(PEER);
    assert_eq!(
        (joiner.held_bytes(), joiner.stats().partials),
        (both.div_ceil(2), 2),
        "the longer one of the other stays"
    );
    joiner.handle_peer_gone(OTHER);
    assert_eq!((joiner.held_bytes(), joiner.stats().partials), (0, 0));
}

/// A piece of message `message`, with a head where it is the first.
fn piece_of(message: u64, offset: u64, total: u64, len: usize) -> Bytes {
    let mut payload = vec![1];
    for number in [message, offset, total] {
        glue_net::wire::put_varint(&mut payload, number);
    }
    if offset == 0 {
        payload.extend_from_slice(&[1, 9]);
    }
    payload.resize(payload.len() + len, 0);
    Bytes::from(payload)
}

/// What a message costs beside its bytes.
const MESSAGE: usize = 256;

#[test]
fn what_came_ahead_counts_until_it_is_joined() {
    let (mut joiner, _) = joiner(Config::default());
    for (n, offset) in [(1, 1_000), (2, 2_000)] {
        assert_eq!(joiner.handle_payload(NOW, PEER, piece_of(7, offset, 200_000, 1_000)), None);
        assert_eq!(joiner.held_bytes(), MESSAGE + n * (1_000 + ENTRY));
    }
    // The same again takes the place of the first.
    assert_eq!(joiner.handle_payload(NOW, PEER, piece_of(7, 2_000, 200_000, 1_000)), None);
    assert_eq!(joiner.held_bytes(), MESSAGE + 2 * (1_000 + ENTRY));
    // From the front on it lies in one buffer, made for 64 KiB or for twice what came.
    assert_eq!(joiner.handle_payload(NOW, PEER, piece_of(7, 0, 200_000, 1_000)), None);
    assert_eq!(joiner.held_bytes(), MESSAGE + (64 << 10));
    assert_eq!(joiner.handle_payload(NOW, PEER, piece_of(7, 3_000, 200_000, 70_000)), None);
    assert_eq!(joiner.held_bytes(), MESSAGE + 2 * 73_000);
}

#[test]
fn a_message_that_gets_nothing_any_more_makes_room() {
    let (mut joiner, _) = joiner(Config { max_partials_per_peer: 1, ..Config::default() });
    assert_eq!(joiner.handle_payload(NOW, PEER, piece_of(1, 10, 100, 10)), None);
    let held = joiner.held_bytes();
    for refused in 0..131_072 {
        assert_eq!(joiner.stats().over_partials, refused);
        assert_eq!(joiner.handle_payload(NOW, PEER, piece_of(2, 10, 100, 20)), None);
        assert_eq!(joiner.held_bytes(), held, "after {refused}");
    }
    assert_eq!(joiner.handle_payload(NOW, PEER, piece_of(2, 10, 100, 20)), None);
    assert_eq!((joiner.held_bytes(), joiner.stats().partials), (held + 10, 1));
    joiner.handle_peer_gone(PEER);
    assert_eq!(joiner.held_bytes(), 0);
}

#[test]
fn what_can_not_be_read_or_does_not_fit_is_counted() {
    let (mut joiner, _) = joiner(Config::default());
    let piece = |offset, total, len| piece_of(7, offset, total, len);
    assert_eq!(joiner.handle_payload(NOW, PEER, Bytes::from_static(&[3])), None);
    assert_eq!(joiner.handle_payload(NOW, PEER, Bytes::new()), None);
    assert_eq!(joiner.stats().malformed, 2);
    // Beyond its message, and empty.
    assert_eq!(joiner.handle_payload(NOW, PEER, piece(5, 10, 6)), None);
    assert_eq!(joiner.handle_payload(NOW, PEER, piece(5, 10, 0)), None);
    assert_eq!(joiner.stats().malformed, 4);
    // To its end.
    assert_eq!(joiner.handle_payload(NOW, PEER, piece(5, 10, 5)), None);
    assert!(
        matches!(joiner.handle_payload(NOW, PEER, piece(0, 10, 5)), Some(Joined::Whole { body, .. }) if body.len() == 10)
    );
    assert_eq!((joiner.stats().malformed, joiner.held_bytes()), (4, 0));
}

#[test]
fn the_largest_message_of_who_has_most_goes_first() {
    let (mut joiner, _) = joiner(Config::default());
    let first = |message, len: usize| {
        let all = pieces(message, text(len + 3_000, 1), len as u64..len as u64 + 1, &mut Rng::new(1));
        encode(&all[0])
    };
    assert_eq!(joiner.handle_payload(NOW, PEER, first(1, 70_000)), None);
    assert_eq!(joiner.handle_payload(NOW, PEER, first(2, 90_000)), None);
    assert_eq!(joiner.handle_payload(NOW, OTHER, first(1, 100_000)), None);
    let before = joiner.held_bytes();
    joiner.set_budget(before);
    assert_eq!(joiner.stats().over_budget, 0, "what fits stays");
    joiner.set_budget(before - 1);
    let freed = before - joiner.held_bytes();
    // Not 100,000 of the other, nor 70,000 of the first message.
    assert!((84_000..95_000).contains(&freed), "{freed}");
    assert_eq!((joiner.stats().over_budget, joiner.stats().partials), (1, 3));
}
