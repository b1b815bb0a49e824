//! What a fragment says of itself is what its content says.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use glue_net::Priority;

use super::*;

/// A content that answers each question in its own way, and notes what it was told.
#[derive(Clone, Debug)]
struct Marked {
    body: Bytes,
    acknowledged: Rc<Cell<usize>>,
    merges: bool,
}

const DUE: Instant = Instant::from_nanos(7);

impl Content for Marked {
    fn encode_head(&self, _now: Instant, out: &mut Vec<u8>) {
        out.push(1);
    }
    fn head_len(&self) -> usize {
        1
    }
    fn body_len(&self) -> usize {
        self.body.len()
    }
    fn encode_body(&self, range: Range<usize>, out: &mut Chain) {
        out.put(self.body.get(range).unwrap_or_default());
    }
    fn deadline(&self) -> Option<Instant> {
        Some(DUE)
    }
    fn skip(&mut self, _why: Skip) {
        self.body = Bytes::new();
    }
    fn is_best_effort(&self) -> bool {
        true
    }
    fn priority(&self) -> Priority {
        Priority::High
    }
    fn merge(&mut self, _next: &Self) -> bool {
        self.merges
    }
    fn group(&self) -> usize {
        9
    }
    fn acknowledge(&self, body_bytes: usize) {
        self.acknowledged.set(self.acknowledged.get() + body_bytes);
    }
    fn is_urgent(&self) -> bool {
        true
    }
    fn is_classic(&self) -> bool {
        false
    }
}

fn marked(len: usize) -> Marked {
    Marked { body: vec![5; len].into(), acknowledged: Rc::default(), merges: true }
}

#[test]
fn a_fragment_is_as_its_content() {
    let fragment = Fragment::new(1, marked(10));
    assert_eq!((fragment.deadline(), fragment.priority(), fragment.group()), (Some(DUE), Priority::High, 9));
    assert!(fragment.is_best_effort() && fragment.is_urgent());
    let plain = Fragment::new(1, text(10, 1));
    assert_eq!((plain.deadline(), plain.priority(), plain.group()), (None, Priority::Normal, 0));
    assert!(!plain.is_best_effort() && !plain.is_urgent());
}

#[test]
fn each_byte_is_acknowledged_with_its_piece() {
    let content = marked(1_000);
    let mut rest = Fragment::new(1, content.clone());
    let front = rest.cut(400).unwrap();
    front.acknowledge();
    let first = content.acknowledged.get();
    assert!((300..400).contains(&first), "{first}");
    rest.acknowledge();
    assert_eq!(content.acknowledged.get(), 1_000);
}

#[test]
fn pieces_of_one_message_belong_together_and_others_do_not() {
    let mut rest = Fragment::new(1, marked(1_000));
    let front = rest.cut(400).unwrap();
    assert!(front.is_of_one_with(&rest) && !front.is_of_one_with(&Fragment::new(2, marked(10))));
}

#[test]
fn only_notices_of_whole_messages_merge() {
    let notice = |message| {
        let mut notice = Fragment::new(message, marked(10));
        notice.skip(Skip::Expired);
        notice
    };
    let piece = || {
        let mut rest = Fragment::new(3, marked(1_000));
        let mut front = rest.cut(400).unwrap();
        front.skip(Skip::Expired);
        front
    };
    assert!(notice(1).merge(&notice(2)));
    assert!(!notice(1).merge(&Fragment::new(2, marked(10))));
    assert!(!Fragment::new(1, marked(10)).merge(&notice(2)));
    assert!(!notice(1).merge(&piece()) && !piece().merge(&notice(1)));
    let mut stubborn = Fragment::new(1, Marked { merges: false, ..marked(10) });
    stubborn.skip(Skip::Expired);
    assert!(!stubborn.merge(&notice(2)));
}

#[test]
fn what_fits_is_not_cut_and_what_has_no_room_neither() {
    let mut fragment = Fragment::new(1, text(100, 3));
    let len = fragment.encoded_len();
    assert!(fragment.cut(len).is_none());
    // Room for what stands before the body, and for nothing of the body.
    assert!(fragment.cut(len - 100).is_none() && fragment.cut(0).is_none());
    assert_eq!(encode(&fragment).len(), len, "it is whole still");
    let front = fragment.cut(len - 1).unwrap();
    assert_eq!(front.encoded_len(), len - 1);
}

#[test]
fn a_classic_frame_has_its_place_and_its_message() {
    let classic = |len| Fragment::new(0x0102, Text { classic: true, ..text(len, 5) });
    let mut rest = classic(8_193);
    assert_eq!(rest.encoded_len(), 8_193);
    let front = rest.cut(1).unwrap();
    let mut frames = [Frame::default(), Frame::default()];
    assert!(front.fill_frame(&mut frames[0]) && rest.fill_frame(&mut frames[1]));
    let places = frames.each_ref().map(|frame| (frame.fragment_index, frame.fragment_count, frame.payload.len()));
    assert_eq!(places, [(0, 2, 8_192), (1, 2, 1)]);
    assert_eq!(frames[0].correlation_id.0[..18], [0; 18]);
    assert_eq!(frames[0].correlation_id.0[18..], [1, 2]);
    // Exactly one frame's worth is one frame.
    assert!(classic(8_192).cut(1).is_none());
    // What has no classic form has no frame.
    let mut skipped = classic(100);
    skipped.skip(Skip::Expired);
    assert!(!skipped.fill_frame(&mut frames[0]) && !Fragment::new(1, text(10, 1)).fill_frame(&mut frames[0]));
}

#[test]
fn a_frame_that_stays_away_is_waited_for_from_the_last_that_came() {
    let config = Config::default();
    let (patience, second) = (config.classic_patience, Duration::from_secs(1));
    let mut rest = Fragment::new(9, Text { classic: true, ..text(20_178, 5) });
    let fronts = [rest.cut(1).unwrap(), rest.cut(1).unwrap(), rest];
    let frames = fronts.map(|fragment| {
        let mut frame = Frame::default();
        assert!(fragment.fill_frame(&mut frame));
        frame
    });
    let mut joiner = Joiner::new(config);
    assert_eq!(joiner.poll_timeout(), None);
    assert_eq!(joiner.handle_frame(Instant::ZERO, PEER, &frames[0]), None);
    assert_eq!(joiner.handle_frame(Instant::ZERO + second, PEER, &frames[1]), None);
    // One that came before is no sign of life.
    assert_eq!(joiner.handle_frame(Instant::ZERO + 2 * second, PEER, &frames[1]), None);
    let due = Instant::ZERO + second + patience;
    assert_eq!(joiner.poll_timeout(), Some(due));
    joiner.handle_timeout(due - Duration::from_nanos(1));
    assert_eq!((joiner.stats().partials, joiner.stats().classic_expired), (1, 0));
    joiner.handle_timeout(due);
    assert_eq!((joiner.stats().partials, joiner.stats().classic_expired, joiner.held_bytes()), (0, 1, 0));
}
