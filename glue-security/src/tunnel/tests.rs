use std::time::Duration;

use super::*;
use crate::{Identity, NetworkKey};

const NOW: Instant = Instant::from_nanos(1_000_000_000);

struct Pair {
    one: Tunnel,
    two: Tunnel,
    random: Random,
}

fn credentials(key: u8, identity: u8) -> Credentials {
    Credentials { key: NetworkKey::from_bytes([key; 32]), identity: Identity::from_seed([identity; 32]) }
}

/// The initiator's network key and identity, and the responder's; each takes the other to be 1 or 2.
fn tunnels(one: (u8, u8), two: (u8, u8)) -> Pair {
    let public = |identity: u8| Identity::from_seed([identity; 32]).public_key();
    let new =
        |role, (key, identity), peer| Tunnel::new(role, &credentials(key, identity), &public(peer), b"us".to_vec());
    Pair {
        one: new(Role::Initiator, one, 2).unwrap(),
        two: new(Role::Responder, two, 1).unwrap(),
        random: Random::new([9; 32]),
    }
}

impl Pair {
    fn shake(&mut self, now: Instant, epoch: u8) -> bool {
        let epoch = Epoch(epoch);
        let first = self.one.begin(epoch, b"first", &mut self.random).unwrap();
        let second = self.two.answer(now, epoch, &first, (b"first", b"second"), &mut self.random);
        second.is_some_and(|second| self.one.finish(now, epoch, &second, b"second"))
    }
}

fn sealed(tunnel: &mut Tunnel, number: u64, body: &[u8]) -> Vec<u8> {
    let mut buffer = body.to_vec();
    let tag = tunnel.seal(number).unwrap().in_place(b"head", &mut buffer);
    buffer.extend(tag);
    buffer
}

fn open(tunnel: &mut Tunnel, epoch: u8, number: u64, body: &[u8]) -> Result<(Vec<u8>, Step), Refused> {
    open_at(tunnel, NOW, (epoch, number), b"head", body)
}

fn open_at(
    tunnel: &mut Tunnel,
    now: Instant,
    (epoch, number): (u8, u64),
    head: &[u8],
    body: &[u8],
) -> Result<(Vec<u8>, Step), Refused> {
    let mut out = vec![0xaa; body.len()];
    let (len, step) = tunnel.open(now, (Epoch(epoch), number), (head, body), &mut out)?;
    out.truncate(len);
    Ok((out, step))
}

#[test]
fn members_talk_both_ways() {
    let mut pair = tunnels((1, 1), (1, 2));
    assert!(pair.shake(NOW, 1));
    assert_eq!((pair.one.epoch(), pair.two.epoch()), (Some(Epoch(1)), None), "it may be an old first message");
    let there = sealed(&mut pair.one, 7, b"hello");
    assert_eq!(there.len(), 5 + TAG_BYTES);
    assert_eq!(open(&mut pair.two, 1, 7, &there), Ok((b"hello".to_vec(), Step::NewKeys)));
    let back = sealed(&mut pair.two, 7, b"");
    assert_eq!(open(&mut pair.one, 1, 7, &back), Ok((Vec::new(), Step::Usual)));
}

#[test]
fn who_has_another_key_or_is_another_gets_no_session() {
    for (one, two) in [((1, 1), (2, 2)), ((2, 1), (1, 2)), ((1, 3), (1, 2)), ((1, 1), (1, 3))] {
        assert!(!tunnels(one, two).shake(NOW, 1), "{one:?} {two:?}");
    }
}

#[test]
fn what_was_changed_or_came_before_is_refused() {
    let mut pair = tunnels((1, 1), (1, 2));
    assert!(pair.shake(NOW, 1));
    let datagram = sealed(&mut pair.one, 7, b"hello");
    for at in 0..datagram.len() {
        let mut changed = datagram.clone();
        changed[at] ^= 0x10;
        assert_eq!(open(&mut pair.two, 1, 7, &changed), Err(Refused::Forged));
    }
    assert_eq!(open(&mut pair.two, 1, 8, &datagram), Err(Refused::Forged));
    assert_eq!(open(&mut pair.two, 2, 7, &datagram), Err(Refused::Forged));
    assert_eq!(open_at(&mut pair.two, NOW, (1, 7), b"hoad", &datagram), Err(Refused::Forged));
    assert_eq!(pair.two.epoch(), None);
    assert!(open(&mut pair.two, 1, 7, &datagram).is_ok());
    assert_eq!(open(&mut pair.two, 1, 7, &datagram), Err(Refused::Replayed));
}

#[test]
fn a_changed_or_foreign_second_message_does_not_end_a_handshake() {
    let mut pair = tunnels((1, 1), (1, 2));
    let first = pair.one.begin(Epoch(1), b"first", &mut pair.random).unwrap();
    assert!(pair.two.answer(NOW, Epoch(1), &first, (b"other", b""), &mut pair.random).is_none());
    let second = pair.two.answer(NOW, Epoch(1), &first, (b"first", b"second"), &mut pair.random).unwrap();
    let mut changed = second.clone();
    changed[40] ^= 1;
    assert!(!pair.one.finish(NOW, Epoch(1), &changed, b"second"));
    assert!(!pair.one.finish(NOW, Epoch(2), &second, b"second"));
    assert!(pair.one.finish(NOW, Epoch(1), &second, b"second"));
}

#[test]
fn keys_are_renewed_while_datagrams_overtake_each_other() {
    let mut pair = tunnels((1, 1), (1, 2));
    assert!(pair.shake(NOW, 1));
    let first = sealed(&mut pair.one, 0, b"0");
    assert!(open(&mut pair.two, 1, 0, &first).is_ok());
    let late = sealed(&mut pair.one, 1, b"1");
    assert!(!pair.one.is_worn(NOW + Duration::from_secs(119)));
    assert!(pair.one.is_worn(NOW + Duration::from_secs(120)));

    assert!(pair.shake(NOW, 2));
    let answer = sealed(&mut pair.two, 0, b"under the old keys still");
    assert_eq!(open(&mut pair.one, 1, 0, &answer).unwrap().1, Step::Usual);
    let new = sealed(&mut pair.one, 2, b"2");
    assert_eq!(open(&mut pair.two, 2, 2, &new).unwrap().1, Step::NewKeys);
    assert_eq!(open(&mut pair.two, 1, 1, &late).unwrap().0, b"1");
    assert_eq!(open(&mut pair.two, 1, 1, &late), Err(Refused::Replayed));
    assert_eq!(open(&mut pair.two, 1, 0, &first), Err(Refused::Replayed));
    let mut later = |number| open_at(&mut pair.two, NOW + KEPT_AFTER, (1, number), b"head", &late);
    assert_eq!(later(1), Err(Refused::Forged), "the keys are gone");
}

#[test]
fn a_body_is_sealed_alike_in_place_and_in_pieces() {
    for len in [0, 1, 127, 128, 8_192, COPIED_BYTES - 1, COPIED_BYTES, 65_000] {
        let mut pair = tunnels((1, 1), (1, 2));
        assert!(pair.shake(NOW, 1));
        let body: Vec<u8> = (0..=u8::MAX).cycle().take(len).collect();
        let whole = sealed(&mut pair.one, 7, &body);
        let mut out = vec![0xaa; len + TAG_BYTES];
        let pieces = body.chunks(len / 3 + 1);
        let aside = pair.one.seal(7).unwrap().aside(b"head", pieces.clone(), &mut out);
        assert_eq!((aside, &out), (Some(len + TAG_BYTES), &whole));
        out.pop();
        assert_eq!(pair.one.seal(7).unwrap().aside(b"head", pieces, &mut out), None);

        let mut changed = whole.clone();
        changed[len / 2] ^= 1;
        assert_eq!(open(&mut pair.two, 1, 7, &changed), Err(Refused::Forged), "{len} bytes");
        assert_eq!(open(&mut pair.two, 1, 7, &whole), Ok((body, Step::NewKeys)));
    }
}

#[test]
fn an_old_first_message_changes_nothing_that_is_in_use() {
    let mut pair = tunnels((1, 1), (1, 2));
    let old = pair.one.begin(Epoch(1), b"first", &mut pair.random).unwrap();
    assert!(pair.shake(NOW, 2));
    let datagram = sealed(&mut pair.one, 0, b"0");
    assert!(open(&mut pair.two, 2, 0, &datagram).is_ok());
    assert!(pair.two.answer(NOW, Epoch(1), &old, (b"first", b"second"), &mut pair.random).is_some());
    let datagram = sealed(&mut pair.one, 1, b"1");
    assert!(open(&mut pair.two, 2, 1, &datagram).is_ok());
    assert_eq!(pair.two.epoch(), Some(Epoch(2)));
}
