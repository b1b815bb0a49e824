//! Cut by one side, joined by the other.
#![expect(clippy::cast_possible_truncation, reason = "the numbers are small")]

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use glue_net::wire::classic::Frame;
use glue_net::{Chain, Content, Instant, Payload, PeerId, Rng, Skip};
use proptest::prelude::*;

use super::*;

mod budget;
mod payload;

#[derive(Clone, Debug)]
struct Text {
    head: Vec<u8>,
    body: Bytes,
    classic: bool,
}

impl Content for Text {
    fn encode_head(&self, _now: Instant, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.head);
    }
    fn head_len(&self) -> usize {
        self.head.len()
    }
    fn body_len(&self) -> usize {
        self.body.len()
    }
    fn encode_body(&self, range: Range<usize>, out: &mut Chain) {
        out.put(self.body.get(range).unwrap_or_default());
    }
    fn deadline(&self) -> Option<Instant> {
        None
    }
    fn skip(&mut self, _why: Skip) {
        self.body = Bytes::new();
        self.head = b"skipped".to_vec();
    }
    fn merge(&mut self, _next: &Self) -> bool {
        true
    }
    fn is_urgent(&self) -> bool {
        false
    }
    fn is_classic(&self) -> bool {
        self.classic
    }
}

const PEER: PeerId = PeerId(1);
const NOW: Instant = Instant::ZERO;

fn text(len: usize, seed: u64) -> Text {
    let mut body = vec![0; len];
    Rng::new(seed).fill(&mut body);
    Text { head: vec![7; 1 + (seed % 100) as usize], body: body.into(), classic: false }
}

fn encode<C: Content>(fragment: &Fragment<C>) -> Bytes {
    let mut out = Chain::default();
    fragment.encode(Instant::ZERO, &mut out);
    assert_eq!(out.len(), fragment.encoded_len());
    out.to_vec().into()
}

/// All payloads of a message, cut to rooms drawn from `rng`.
fn pieces(message: u64, content: Text, rooms: Range<u64>, rng: &mut Rng) -> Vec<Fragment<Text>> {
    let mut rest = Fragment::new(message, content);
    let mut pieces = Vec::new();
    loop {
        let room = (rooms.start + rng.below(rooms.end - rooms.start)) as usize;
        match rest.cut(room) {
            Some(front) => {
                assert!(front.encoded_len() <= room);
                pieces.push(front);
            }
            None if rest.encoded_len() <= room => break,
            None => {}
        }
    }
    pieces.push(rest);
    pieces
}

proptest! {
    #[test]
    fn cut_and_shuffled_pieces_join(len in 0usize..20_000, seed: u64) {
        let mut rng = Rng::new(seed);
        let content = text(len, seed);
        let mut payloads: Vec<Bytes> = pieces(3, content.clone(), 150..3_000, &mut rng).iter().map(encode).collect();
        for i in (1..payloads.len()).rev() {
            payloads.swap(i, rng.below(i as u64 + 1) as usize);
        }
        let mut joiner = Joiner::new(Config::default());
        let last = payloads.pop().unwrap();
        for payload in payloads {
            prop_assert_eq!(joiner.handle_payload(NOW, PEER, payload), None);
        }
        let joined = joiner.handle_payload(NOW, PEER, last);
        prop_assert_eq!(joined, Some(Joined::Whole { head: content.head.into(), waited: Duration::ZERO, body: content.body }));
        prop_assert_eq!(joiner.stats(), Stats::default());
    }

    #[test]
    fn any_bytes_are_survived_within_the_budget(payloads in proptest::collection::vec(any::<Vec<u8>>(), 0..60)) {
        let config = Config { budget_bytes: 1_000, max_partials_per_peer: 4, ..Config::default() };
        let mut joiner = Joiner::new(config);
        for mut payload in payloads {
            if let Some(kind) = payload.first_mut() {
                *kind %= 4;
            }
            let _ = joiner.handle_payload(NOW, PEER, payload.into());
            prop_assert!(joiner.stats().held_bytes <= 1_000);
            prop_assert!(joiner.stats().partials <= 4);
        }
    }
}

#[test]
fn a_cut_piece_that_is_cut_again_still_joins() {
    let content = text(10_000, 1);
    let mut fragments = pieces(1, content.clone(), 4_000..4_001, &mut Rng::new(1));
    let mut second = fragments.remove(1);
    let half = second.cut(2_000).unwrap();
    let mut joiner = Joiner::new(Config::default());
    // The other half overlaps with the whole piece, as after a path whose datagrams became shorter.
    let original = pieces(1, content.clone(), 4_000..4_001, &mut Rng::new(1)).remove(1);
    fragments.extend([half, original]);
    let joined: Vec<_> = fragments.iter().filter_map(|f| joiner.handle_payload(NOW, PEER, encode(f))).collect();
    assert_eq!(joined, [Joined::Whole { head: content.head.into(), waited: Duration::ZERO, body: content.body }]);
}

#[test]
fn a_message_says_how_long_ago_its_head_came() {
    let fragments = pieces(1, text(10_000, 1), 4_000..4_001, &mut Rng::new(1));
    let mut joiner = Joiner::new(Config::default());
    let [first, rest @ .., last] = &fragments[..] else { panic!("three pieces") };
    let ms = |ms| NOW + Duration::from_millis(ms);
    assert_eq!(joiner.handle_payload(ms(0), PEER, encode(last)), None);
    // The head comes twice, as in a piece that is sent again: the later one is the truth.
    assert_eq!(joiner.handle_payload(ms(10), PEER, encode(first)), None);
    assert_eq!(joiner.handle_payload(ms(200), PEER, encode(first)), None);
    let joined = rest.iter().filter_map(|piece| joiner.handle_payload(ms(1_000), PEER, encode(piece))).next();
    assert!(matches!(joined, Some(Joined::Whole { waited, .. }) if waited == Duration::from_millis(800)), "{joined:?}");
}

#[test]
fn a_notice_of_a_piece_forgets_the_message() {
    let mut fragments = pieces(1, text(10_000, 1), 4_000..4_001, &mut Rng::new(1));
    let mut joiner = Joiner::new(Config::default());
    assert_eq!(joiner.handle_payload(NOW, PEER, encode(&fragments[0])), None);
    assert_eq!(joiner.stats().partials, 1);
    fragments[1].skip(Skip::Expired);
    let joined = joiner.handle_payload(NOW, PEER, encode(&fragments[1]));
    assert_eq!(
        joined,
        Some(Joined::Whole { head: Bytes::from_static(b"skipped"), waited: Duration::ZERO, body: Bytes::new() })
    );
    assert_eq!(joiner.stats(), Stats::default());
}

#[test]
fn messages_of_which_nothing_can_be_missing_make_room() {
    // Rests of messages that came whole.
    let mut joiner = Joiner::new(Config { max_partials_per_peer: 4, ..Config::default() });
    for message in 0..4 {
        let [_, rest] = &pieces(message, text(2_000, 1), 1_500..1_501, &mut Rng::new(1))[..] else { panic!() };
        assert_eq!(joiner.handle_payload(NOW, PEER, encode(rest)), None);
    }
    let mut joins = |message| {
        let fragments = pieces(message, text(2_000, 1), 1_500..1_501, &mut Rng::new(1));
        fragments.iter().filter_map(|fragment| joiner.handle_payload(NOW, PEER, encode(fragment))).count()
    };
    let refused = (4..80_000).take_while(|message| joins(*message) == 0).count();
    assert!((65_500..65_600).contains(&refused), "{refused}");
    assert_eq!((80_000..80_100).filter(|message| joins(*message) == 1).count(), 100);
    assert_eq!(joiner.stats().partials, 3);
}

#[test]
fn what_is_too_long_is_dropped_and_reported_once() {
    for (max, budget) in [(5_000, usize::MAX), (usize::MAX, 5_000)] {
        let config = Config { max_message_bytes: max, budget_bytes: budget, ..Config::default() };
        let mut joiner = Joiner::new(config);
        let content = text(10_000, 1);
        let mut fragments = pieces(1, content.clone(), 1_000..1_001, &mut Rng::new(1));
        fragments.rotate_left(4);
        let joined: Vec<_> = fragments.iter().filter_map(|f| joiner.handle_payload(NOW, PEER, encode(f))).collect();
        let [Joined::Dropped { head, start }] = &joined[..] else { panic!("{joined:?}") };
        assert_eq!(*head, content.head);
        assert!(content.body.starts_with(start) && start.len() > 500, "{}", start.len());
        assert_eq!((joiner.stats().over_budget, joiner.stats().held_bytes), (1, 0));
        let small = text(100, 2);
        assert!(joiner.handle_payload(NOW, PEER, encode(&Fragment::new(2, small))).is_some());
    }
}

#[test]
fn classic_messages_are_cut_at_the_reference_size_and_join() {
    let content = Text { classic: true, ..text(20_178, 5) };
    let mut rest = Fragment::new(9, content.clone());
    let mut frames = Vec::new();
    while let Some(front) = rest.cut(100) {
        frames.push(front);
    }
    frames.push(rest);
    let mut frames: Vec<Frame> = frames
        .iter()
        .map(|fragment| {
            let mut frame = Frame::default();
            assert!(fragment.fill_frame(&mut frame));
            frame
        })
        .collect();
    let lens: Vec<_> = frames.iter().map(|f| (f.fragment_index, f.fragment_count, f.payload.len())).collect();
    assert_eq!(lens, [(0, 3, 8_192), (1, 3, 8_192), (2, 3, 3_794)]);
    frames.swap(0, 2);
    let mut joiner = Joiner::new(Config::default());
    let now = Instant::ZERO;
    assert_eq!(joiner.handle_frame(now, PEER, &frames[0]), None);
    assert_eq!(joiner.handle_frame(now, PEER, &frames[0]), None);
    assert_eq!(joiner.handle_frame(now, PEER, &frames[1]), None);
    assert_eq!(joiner.handle_frame(now, PEER, &frames[2]), Some(content.body));
    // One that stays unfinished goes.
    assert_eq!(joiner.handle_frame(now, PEER, &frames[0]), None);
    let due = joiner.poll_timeout().unwrap();
    joiner.handle_timeout(due);
    assert_eq!((joiner.stats().partials, joiner.stats().held_bytes, joiner.stats().classic_expired), (0, 0, 1));
}

#[test]
fn a_claimed_length_allocates_nothing() {
    let mut joiner = Joiner::new(Config::default());
    for message in 0..1_000u64 {
        let mut payload = vec![1];
        glue_net::wire::put_varint(&mut payload, message);
        glue_net::wire::put_varint(&mut payload, 60 << 20);
        glue_net::wire::put_varint(&mut payload, 64 << 20);
        payload.push(1);
        assert_eq!(joiner.handle_payload(NOW, PEER, payload.into()), None);
    }
    // What the entries take themselves is counted too.
    assert!(joiner.stats().held_bytes < 1_000 * 400);
}

#[test]
fn who_takes_most_makes_room() {
    const OTHER: PeerId = PeerId(2);
    let config = Config { budget_bytes: 100_000, ..Config::default() };
    let mut joiner = Joiner::new(config);
    let honest = pieces(1, text(30_000, 1), 1_000..1_001, &mut Rng::new(1));
    let mut joined = None;
    for (number, piece) in honest.iter().enumerate() {
        joined = joiner.handle_payload(NOW, PEER, encode(piece));
        // Messages of which only the beginning comes, more than fit.
        let first = pieces(number as u64, text(9_000, 2), 8_000..8_001, &mut Rng::new(1)).remove(0);
        assert_eq!(joiner.handle_payload(NOW, OTHER, encode(&first)), None);
        assert!(joiner.held_bytes() <= 100_000, "{}", joiner.held_bytes());
    }
    assert!(matches!(joined, Some(Joined::Whole { .. })));
    assert!(joiner.stats().over_budget > 15, "{:?}", joiner.stats());
    // What remains of dropped messages goes as well, if it must.
    joiner.set_budget(0);
    assert_eq!((joiner.held_bytes(), joiner.stats().partials), (0, 0));
}
