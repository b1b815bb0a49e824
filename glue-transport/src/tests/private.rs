//! Two members of a private network.

use glue_net::wire::native::{Token, put_data_header};
use glue_security::{Credentials, Identity, NetworkKey, Random};

use super::*;

/// What an end holds, of the network with this key.
pub(super) fn credentials(key: u8, end: usize) -> Credentials {
    let identity = Identity::from_seed([end as u8 + 1; 32]);
    Credentials { key: NetworkKey::from_bytes([key; 32]), identity }
}

fn pair(seed: u64) -> Pair {
    Pair::with(seed, &Config::default(), |end, transport| join(transport, seed, 1, end))
}

/// What happened to the session of an end.
fn events(pair: &Pair, end: usize) -> Vec<Event> {
    pair.events[end].iter().copied().filter(|event| *event != Event::Resized(PEER)).collect()
}

fn join(transport: &mut Transport<Note>, seed: u64, key: u8, end: usize) {
    transport.make_private(credentials(key, end), Random::new([seed as u8 ^ (end as u8) << 7; 32]));
}

#[test]
fn payloads_arrive_once_at_every_loss() {
    for (seed, loss) in [(1, 0.0), (2, 0.05), (3, 0.2), (4, 0.5), (5, 0.5)] {
        let mut pair = pair(seed);
        (pair.loss, pair.duplicate, pair.jitter) = (loss, 0.05, Duration::from_millis(3));
        for id in 0..500 {
            pair.ends[0].send(pair.now, PEER, note(id, 10 + id * 7));
            pair.ends[1].send(pair.now, PEER, note(id, 300));
        }
        pair.run(SECOND * 60);
        let expected: BTreeMap<u32, u32> = (0..500).map(|id| (id, 10 + id * 7)).collect();
        assert!(pair.whole(1) == expected, "loss {loss}");
        assert_eq!((pair.whole(0).len(), pair.got[0].len()), (500, 500), "no payload came twice");
        assert!(pair.ends.iter().all(Transport::is_settled), "loss {loss}");
        assert_eq!([0, 1].map(|end| pair.ends[end].stats().forged), [0, 0], "what comes twice is forged by nobody");
        assert_eq!([0, 1].map(|end| events(&pair, end)), [[Event::Opened(PEER)], [Event::Opened(PEER)]]);
    }
}

/// The keys of a session, as the first byte after the kind names them.
fn epochs(tape: &[(usize, Vec<u8>)], to: usize) -> Vec<u8> {
    let mut all: Vec<u8> = tape.iter().filter(|(end, bytes)| *end == to && bytes[1] == 3).map(|(_, b)| b[2]).collect();
    all.dedup();
    all
}

#[test]
fn keys_are_renewed_under_traffic_and_loss_and_nothing_is_lost() {
    for (seed, sender) in [(1, 0), (2, 1), (3, 0)] {
        let mut pair = pair(seed);
        (pair.loss, pair.jitter, pair.tape) = (0.1, Duration::from_millis(3), Some(Vec::new()));
        for id in 0..4_000 {
            pair.ends[sender].send(pair.now, PEER, note(id, 100));
            pair.run(Duration::from_millis(100));
        }
        pair.run(SECOND * 5);
        assert_eq!((pair.whole(1 - sender).len(), pair.got[1 - sender].len()), (4_000, 4_000));
        let tape = pair.tape.take().unwrap();
        let mut kinds = epochs(&tape, 1 - sender);
        kinds.sort_unstable();
        kinds.dedup();
        assert_eq!(kinds.len(), 4, "one for each 120 s of 400: {kinds:?}");
        assert_eq!(events(&pair, sender), [Event::Opened(PEER)]);
    }
}

#[test]
fn what_comes_in_the_clear_is_not_taken() {
    let mut pair = pair(1);
    pair.tape = Some(Vec::new());
    pair.ends[0].send(pair.now, PEER, note(1, 10));
    pair.run(SECOND);
    let tape = pair.tape.take().unwrap();
    let (_, sealed) = tape.iter().find(|(end, bytes)| *end == 1 && bytes[1] == 3).unwrap();
    let token = Token(u64::from_be_bytes(sealed[3..11].try_into().unwrap()));
    let mut clear = Vec::new();
    put_data_header(token, 1_000, &mut clear);
    frame::put_ping(&mut clear);
    assert_eq!(pair.ends[1].sender(&clear.clone().into()), Some(PEER), "the token is the peer's");
    assert_eq!(pair.ends[1].handle_native(pair.now, address(0), clear.into()), None);
    assert_eq!(pair.ends[1].stats().unknown_token, 1);
}

#[test]
fn an_idle_pair_renews_nothing() {
    let mut pair = pair(1);
    pair.ends[0].send(pair.now, PEER, note(1, 10));
    pair.run(SECOND);
    let sent = pair.sent;
    pair.run(SECOND * 1_000);
    assert_eq!(pair.sent, sent);
    pair.ends[1].send(pair.now, PEER, note(2, 10));
    pair.run(SECOND * 5);
    assert_eq!((pair.whole(0).len(), pair.whole(1).len()), (1, 1));
    assert!(pair.ends.iter().all(Transport::is_settled));
}

/// Whoever it is that forgets, the one who begins handshakes or the other.
#[test]
fn a_peer_that_lost_its_state_is_met_anew() {
    for (seed, forgetful) in [(1, 0), (2, 1), (3, 0), (4, 1)] {
        let mut pair = pair(seed);
        pair.loss = if seed > 2 { 0.2 } else { 0.0 };
        let loyal = 1 - forgetful;
        for end in 0..2 {
            pair.ends[end].send(pair.now, PEER, note(1, 100));
        }
        pair.run(SECOND * 5);
        pair.ends[forgetful].disconnect(PEER);
        pair.ends[forgetful].connect(pair.now, PEER, &remote(loyal));
        pair.got = Default::default();
        pair.run(SECOND * 5);
        assert_eq!(events(&pair, loyal), [Event::Opened(PEER), Event::Lost(PEER), Event::Opened(PEER)], "{seed}");
        for end in 0..2 {
            pair.ends[end].send(pair.now, PEER, note(2, 3_000));
        }
        pair.run(SECOND * 5);
        for end in 0..2 {
            assert_eq!(pair.whole(end), BTreeMap::from([(2, 3_000)]), "{seed}");
        }
    }
}

#[test]
fn another_network_key_or_identity_opens_nothing() {
    for (key, identity) in [(2, 1), (1, 3)] {
        let mut pair = Pair::with(1, &Config::default(), |end, transport| {
            let (key, identity) = if end == 1 { (key, identity) } else { (1, end) };
            transport.make_private(credentials(key, identity), Random::new([end as u8; 32]));
        });
        pair.ends[0].send(pair.now, PEER, note(1, 100));
        pair.ends[1].send(pair.now, PEER, note(1, 100));
        pair.run(SECOND * 10);
        assert_eq!([0, 1].map(|end| events(&pair, end)), [vec![], vec![]]);
        assert_eq!(pair.got.concat(), []);
        assert!(pair.ends[1].stats().forged > 0);
    }
}

/// A million datagrams that came once already come again, in any order: none is taken, answered or taken for a move.
#[test]
fn what_was_recorded_is_worth_nothing() {
    let mut pair = pair(1);
    pair.tape = Some(Vec::new());
    for id in 0..2_000 {
        pair.ends[0].send(pair.now, PEER, note(id, 900));
        pair.ends[1].send(pair.now, PEER, note(id, 100));
        pair.run(Duration::from_millis(1));
    }
    pair.run(SECOND * 5);
    let (mut tape, got, sent) = (pair.tape.take().unwrap(), pair.got.clone(), pair.sent);
    assert!(tape.len() > 4_000);
    let mut rng = Rng::new(1);
    for _ in 0..1_000_000 / tape.len() + 1 {
        for at in 0..tape.len() {
            tape.swap(at, rng.below(at as u64 + 1) as usize);
            let (end, bytes) = &tape[at];
            let taken = pair.ends[*end].handle_native(pair.now, ([6, 6, 6, 6], 666).into(), bytes.clone().into());
            assert_eq!(taken, None);
        }
    }
    pair.run(SECOND * 5);
    assert_eq!((pair.got.clone(), pair.sent), (got, sent));
    assert!(pair.ends.iter().map(|end| end.stats().replayed).sum::<u64>() >= 1_000_000);
    pair.ends[0].send(pair.now, PEER, note(9_999, 10));
    pair.run(SECOND);
    assert!(pair.whole(1).contains_key(&9_999));
}

#[test]
fn one_changed_bit_makes_a_datagram_nobody_s() {
    let mut pair = pair(1);
    pair.run(SECOND);
    pair.cut = true;
    pair.ends[0].send(pair.now, PEER, note(1, 500));
    let mut out = Chain::default();
    let transmit = pair.ends[0].poll_transmit(pair.now, &mut out).unwrap();
    let datagram = out.to_vec();
    assert_eq!(transmit.len, datagram.len());
    for at in 0..datagram.len() * 8 {
        let mut changed = datagram.clone();
        changed[at / 8] ^= 1 << (at % 8);
        assert_eq!(pair.ends[1].handle_native(pair.now, address(0), changed.into()), None, "bit {at}");
    }
    assert!(pair.ends[1].poll_payload().is_none());
    assert_eq!(pair.ends[1].handle_native(pair.now, address(0), datagram.into()), Some(PEER));
    assert!(pair.ends[1].poll_payload().is_some());
}

/// Of 100 members that begin at once and go no further, the last 36 must show first where they are.
#[test]
fn a_crowd_of_half_open_handshakes_is_asked_for_cookies() {
    let mut one = Transport::<Note>::new(
        Config::default(),
        Local { id: EndpointId::from_integer(1_000), ..local(0) },
        Rng::new(1),
    );
    join(&mut one, 1, 1, 0);
    let key = Some(credentials(1, 0).identity.public_key());
    let host = Remote { id: EndpointId::from_integer(1_000), key, ..remote(0) };
    let (mut now, mut members) = (Instant::ZERO, Vec::new());
    for n in 0..100 {
        let (id, end) = (EndpointId::from_integer(n), n as usize + 1);
        let mut member = Transport::<Note>::new(Config::default(), Local { id, ..local(0) }, Rng::new(n as u64));
        join(&mut member, 1, 1, end);
        member.connect(now, PEER, &host);
        let from: SocketAddr = ([10, 0, 1, n as u8], 4_000).into();
        let key = Some(credentials(1, end).identity.public_key());
        one.connect(now, PeerId(n as u32), &Remote { id, key, address: from, ..remote(0) });
        members.push((member, from));
    }
    let tell = |now, one: &mut Transport<Note>, members: &mut Vec<(Transport<Note>, SocketAddr)>, mark: u8| {
        for (member, from) in &mut *members {
            let mut out = Chain::default();
            while member.poll_transmit(now, &mut out).is_some() {
                // What follows a handshake is withheld.
                let datagram = std::mem::take(&mut out).to_vec();
                if datagram[1] == mark {
                    one.handle_native(now, *from, datagram.into());
                }
            }
        }
        let mut out = Chain::default();
        while let Some(transmit) = one.poll_transmit(now, &mut out) {
            let datagram = std::mem::take(&mut out).to_vec();
            let (member, _) = members.iter_mut().find(|(_, from)| *from == transmit.to).unwrap();
            member.handle_native(now, address(0), datagram.into());
        }
    };
    for _ in 0..2 {
        now = now + Duration::from_millis(1);
        tell(now, &mut one, &mut members, 1);
    }
    assert_eq!(one.stats().cookies_sent, 36);
    for _ in 0..3 {
        now = now + Duration::from_millis(1);
        tell(now, &mut one, &mut members, 1);
    }
    now = now + SECOND;
    members.iter_mut().for_each(|(member, _)| member.handle_timeout(now));
    tell(now, &mut one, &mut members, 3);
    assert_eq!(one.stats().cookies_sent, 36);
    let opened = std::iter::from_fn(|| one.poll_event()).filter(|event| matches!(event, Event::Opened(_))).count();
    assert_eq!(opened, 100, "who shows where it is gets in");
}
