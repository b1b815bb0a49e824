//! What is sealed: nobody without the keys makes anything that opens, and the window takes each number once.

use std::collections::BTreeSet;
use std::sync::{LazyLock, Mutex, PoisonError};

use glue_net::wire::{Reader, put_varint};
use glue_net::{Instant, NetworkId};
use glue_security::{Credentials, Envelope, Epoch, Identity, NetworkKey, Random, Role, Tunnel, Window};

/// An envelope, after its first bytes.
pub(crate) fn envelope(bytes: &[u8]) -> bool {
    static KNOWN: LazyLock<(Envelope, Vec<Vec<u8>>)> = LazyLock::new(|| (an_envelope(), envelope_beginnings()));
    let (envelope, known) = &*KNOWN;
    let opened = envelope.open(HEADER, bytes);
    let Some(at) = known.iter().position(|known| known == bytes) else {
        assert_eq!(opened, None, "nobody sealed it");
        return false;
    };
    assert_eq!(opened.as_deref(), Some(TEXTS[at]));
    true
}

pub(crate) fn envelope_beginnings() -> Vec<Vec<u8>> {
    let mut envelope = an_envelope();
    TEXTS
        .map(|text| {
            let mut out = Vec::new();
            envelope.seal(HEADER, text, &mut out);
            out.split_off(HEADER.len())
        })
        .into()
}

fn an_envelope() -> Envelope {
    Envelope::new(&KEY, NetworkId(3), Random::new([9; 32]))
}

/// What the initiator of a session sends: epoch, number and what is sealed.
pub(crate) fn tunnel(bytes: &[u8]) -> bool {
    // One responder for all that does not open, since that changes nothing; and what opens is tried once. A handshake takes half a
    // millisecond.
    static KNOWN: LazyLock<(Mutex<Tunnel>, Vec<Vec<u8>>)> = LazyLock::new(|| {
        let (_, mut responder) = a_tunnel();
        let known = tunnel_beginnings();
        for bytes in &known {
            assert_eq!(open(&mut responder, bytes), Some(true));
            assert_eq!(open(&mut responder, bytes), Some(false), "it came before");
        }
        (a_tunnel().1.into(), known)
    });
    let (responder, known) = &*KNOWN;
    if known.iter().any(|known| known == bytes) {
        return true;
    }
    let opened = open(&mut responder.lock().unwrap_or_else(PoisonError::into_inner), bytes);
    assert_ne!(opened, Some(true), "nobody sealed it");
    false
}

fn open(responder: &mut Tunnel, bytes: &[u8]) -> Option<bool> {
    let mut reader = Reader::new(bytes.to_vec().into());
    let number = (Epoch(reader.u8().ok()?), reader.varint().ok()?);
    let (body, mut out) = (reader.rest(), vec![0; bytes.len()]);
    // As in a datagram: what stands before the body is sealed with it, so that a number has one form.
    let header = &bytes[..bytes.len() - body.len()];
    Some(responder.open(Instant::ZERO, number, (header, &body), &mut out).is_ok())
}

pub(crate) fn tunnel_beginnings() -> Vec<Vec<u8>> {
    let (mut initiator, _) = a_tunnel();
    let seal = |(number, text): (u64, &[u8])| {
        let mut out = vec![EPOCH.0];
        put_varint(&mut out, number);
        let mut text = text.to_vec();
        let tag = initiator.seal(number).expect("it has keys").in_place(&out, &mut text);
        out.extend([&text[..], &tag].concat());
        out
    };
    [0, 1, 70_000].into_iter().zip(TEXTS).map(seal).collect()
}

/// A message of a handshake: which of both, and the message.
pub(crate) fn handshake(bytes: &[u8]) -> bool {
    static KNOWN: LazyLock<Vec<Vec<u8>>> = LazyLock::new(handshake_beginnings);
    let Some((which, message)) = bytes.split_first() else { return false };
    let [mut initiator, mut responder] = ends();
    let random = &mut Random::new([5; 32]);
    let taken = if which.is_multiple_of(2) {
        responder.answer(Instant::ZERO, EPOCH, message, (FIRST, SECOND), random).is_some()
    } else {
        initiator.begin(EPOCH, FIRST, random).is_some() && initiator.finish(Instant::ZERO, EPOCH, message, SECOND)
    };
    assert_eq!(taken, KNOWN.iter().any(|known| known[0] == which % 2 && known[1..] == *message), "who said that?");
    taken
}

pub(crate) fn handshake_beginnings() -> Vec<Vec<u8>> {
    let [mut initiator, mut responder] = ends();
    let random = &mut Random::new([5; 32]);
    let first = initiator.begin(EPOCH, FIRST, random).expect("good keys");
    let second = responder.answer(Instant::ZERO, EPOCH, &first, (FIRST, SECOND), random).expect("it is the first");
    vec![[&[0][..], &first].concat(), [&[1][..], &second].concat()]
}

/// Both ends of a tunnel, with keys. The initiator may send.
fn a_tunnel() -> (Tunnel, Tunnel) {
    let [mut initiator, mut responder] = ends();
    let random = &mut Random::new([5; 32]);
    let first = initiator.begin(EPOCH, FIRST, random).expect("good keys");
    let second = responder.answer(Instant::ZERO, EPOCH, &first, (FIRST, SECOND), random).expect("it is the first");
    assert!(initiator.finish(Instant::ZERO, EPOCH, &second, SECOND));
    (initiator, responder)
}

fn ends() -> [Tunnel; 2] {
    let us = [1, 2].map(|seed| Credentials { key: KEY, identity: Identity::from_seed([seed; 32]) });
    let keys = us.each_ref().map(|it| it.identity.public_key());
    [(Role::Initiator, 0), (Role::Responder, 1)]
        .map(|(role, at)| Tunnel::new(role, &us[at], &keys[1 - at], b"prologue".to_vec()).expect("good keys"))
}

/// Numbers of packets, below 2^62, eight bytes each, of which each is new once: the window may forget, but never takes one twice.
pub(crate) fn replay(bytes: &[u8]) -> bool {
    let (mut window, mut seen, mut highest) = (Window::default(), BTreeSet::new(), None::<u64>);
    let mut reader = Reader::new(bytes.to_vec().into());
    while let Ok(number) = reader.u64() {
        let number =
            if number.is_multiple_of(2) { number >> 2 } else { highest.unwrap_or(0).saturating_sub(number % 8_192) };
        let is_old = highest.is_some_and(|highest| number <= highest && highest - number >= Window::BITS);
        assert_eq!(window.is_new(number), !is_old && !seen.contains(&number), "{number} of {highest:?}");
        window.note(number);
        assert!(!window.is_new(number), "{number} of {highest:?}");
        seen.insert(number);
        highest = highest.max(Some(number));
    }
    seen.len() > 1
}

pub(crate) fn replay_beginnings() -> Vec<Vec<u8>> {
    let numbers = |all: &[u64]| all.iter().flat_map(|number| number.to_be_bytes()).collect();
    vec![numbers(&[0, 2, 4, 3, 1, 8_190, 8_194, 9, 8_191]), numbers(&[u64::MAX - 1, 1, u64::MAX, 100, 8_193])]
}

const KEY: NetworkKey = NetworkKey::from_bytes([7; 32]);
const HEADER: &[u8] = b"header";
const EPOCH: Epoch = Epoch(4);
const FIRST: &[u8] = b"what the first says";
const SECOND: &[u8] = b"what the second says";
const TEXTS: [&[u8]; 3] = [b"", b"a datagram", &[0; 200]];
