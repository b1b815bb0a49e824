//! Networks with a key: who has it talks, nobody else hears, is heard, or does harm.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests are tests too")]

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use glue_discovery::{DownReason, Event as Change};
use glue_endpoint::{
    Config, Credentials, Event, Identity, NetworkKey, PublicKey, Random, Refusal, Report, Security, Trust,
};
use glue_net::{Node as _, Rng};
use glue_sim::{Fate, Host, Link, NodeId};
use glue_stack::mixed::{GROUP, Mixed, Seen};
use glue_stack::reference::Codec;
use glue_stack::scene::{ms, s};

const LIVES: Duration = Duration::from_secs(1_000);

/// The private network of this key, as a change for [`Mixed::engine_with`].
fn with_key(key: u8) -> impl Fn(&mut Config) {
    move |config| {
        let [.., id] = *config.discovery.id.as_bytes();
        let identity = Identity::from_seed([id; 32]);
        let credentials = Credentials { key: NetworkKey::from_bytes([key; 32]), identity };
        let mut seed = [id; 32];
        seed[31] = u8::try_from(config.discovery.incarnation.0).unwrap();
        config.security = Some(Security { credentials, random: Random::new(seed) });
    }
}

fn member(net: &mut Mixed, name: &str, key: u8) -> NodeId {
    net.engine_with(Host::default(), name, GROUP, with_key(key))
}

fn public_key(number: u8) -> PublicKey {
    Identity::from_seed([number; 32]).public_key()
}

/// A text of trusted peers: by the number of each, what follows its key.
fn trust(lines: &[(u8, &str)]) -> Trust {
    let line = |(number, rest): &(u8, &str)| format!("{} {rest}\n", public_key(*number));
    lines.iter().map(line).collect::<String>().parse().unwrap()
}

/// A member that trusts these.
fn trusting(net: &mut Mixed, name: &str, lines: &[(u8, &str)]) -> NodeId {
    let (key, trust) = (with_key(1), trust(lines));
    net.engine_with(Host::default(), name, GROUP, move |config| {
        key(config);
        config.trust = Some(trust.clone());
    })
}

fn set_trust(net: &mut Mixed, node: NodeId, lines: &[(u8, &str)]) {
    let trust = trust(lines);
    net.world.call(node, |party, now| party.engine().set_trust(now, Some(trust)));
}

fn report(net: &mut Mixed, node: NodeId) -> Report {
    net.world.call(node, |party, _| party.engine().report()).unwrap()
}

fn peers(net: &mut Mixed, node: NodeId) -> usize {
    net.world.call(node, |party, _| party.engine().peers().count()).unwrap()
}

/// The payloads of others that a node got.
fn got(net: &Mixed, node: NodeId, from: &str) -> Vec<Vec<u8>> {
    net.received(node)
        .iter()
        .filter(|received| received.from == from)
        .map(|received| received.payload.clone())
        .collect()
}

/// Datagrams from `sender` to the data or discovery socket of `receiver` alone.
fn direct(log: &[Seen], sender: NodeId, receiver: NodeId) -> usize {
    log.iter().filter(|seen| seen.sender == sender && seen.receiver == Some(receiver) && !is_group(seen)).count()
}

fn is_group(seen: &Seen) -> bool {
    seen.to.ip().is_multicast()
}

#[test]
fn the_same_key_talks_and_nobody_else_is_heard_or_answered() {
    let mut net = Mixed::new(1);
    let members = [member(&mut net, "one", 1), member(&mut net, "two", 1)];
    let others = [
        member(&mut net, "other-key", 2),
        net.engine("no-key", GROUP),
        net.plain("pack", Codec::MessagePack),
        net.plain("json", Codec::Json),
    ];
    net.run(s(3));
    for (node, name) in members.into_iter().chain(others).zip(["one", "two", "other-key", "no-key", "pack", "json"]) {
        net.publish(node, "t", "ty", LIVES, name.as_bytes());
    }
    net.run(s(5));
    let [one, two] = members;
    assert_eq!((got(&net, one, "two"), got(&net, two, "one")), (vec![b"two".to_vec()], vec![b"one".to_vec()]));
    for node in members {
        assert_eq!((peers(&mut net, node), net.received(node).len()), (1, 2), "its own and the other's");
        let report = report(&mut net, node);
        assert!(report.endpoint.clear > 0 && report.endpoint.foreign > 0, "{report:?}");
        let refused = net.notices.iter().filter(|(at, _)| *at == node);
        let mut refused: Vec<Refusal> = refused.filter_map(|(_, event)| refusal(event)).collect();
        refused.sort_unstable();
        assert_eq!(refused, [Refusal::Clear, Refusal::Clear, Refusal::Clear, Refusal::Foreign], "once for each");
    }
    let told: Vec<Refusal> =
        net.notices.iter().filter(|(at, _)| *at == others[1]).filter_map(|(_, e)| refusal(e)).collect();
    assert_eq!(told, [Refusal::Sealed; 3], "who has no key is told that others have one");
    let log = net.log();
    for other in others {
        let members = members.into_iter().map(|member| direct(&log, member, other)).sum::<usize>();
        assert_eq!(members, 0, "an answer to {other}");
        assert!(got(&net, other, "one").is_empty() && got(&net, other, "two").is_empty());
    }
}

fn refusal(event: &Event) -> Option<Refusal> {
    if let Event::Refused { why, .. } = event { Some(*why) } else { None }
}

#[test]
fn a_capture_shows_no_name_topic_type_or_payload() {
    let mut net = Mixed::new(2);
    let (one, two) = (member(&mut net, "first-member", 1), member(&mut net, "second-member", 1));
    net.run(s(2));
    for size in [10, 3_000, 100_000] {
        net.publish(one, "secret-topic", "secret-type", LIVES, &b"secret-payload ".repeat(size / 10));
        net.run(s(1));
    }
    assert_eq!(got(&net, two, "first-member").len(), 3);
    let log = net.log();
    assert!(log.len() > 100);
    let shown = ["first-member", "second-member", "secret-topic", "secret-type", "secret-payload", "glue_version"];
    for seen in &log {
        assert!(matches!(seen.datagram[..2], [0xc1, 3 | 4]), "{:02x?}", &seen.datagram[..2]);
        for text in shown {
            let is_shown = seen.datagram.windows(text.len()).any(|window| window == text.as_bytes());
            assert!(!is_shown, "{text} is shown");
        }
    }
}

/// All that was sent comes again, and all of it altered in one bit, from where it came and from elsewhere, while the members
/// go on.
#[test]
fn what_is_recorded_or_altered_does_no_harm_and_is_not_answered() {
    let mut net = Mixed::new(3);
    let members = [member(&mut net, "one", 1), member(&mut net, "two", 1)];
    net.run(s(2));
    for number in 0..200u8 {
        net.publish(members[0], "t", "ty", LIVES, &[number; 300]);
        net.publish(members[1], "t", "ty", LIVES, &[number; 30]);
        net.run(ms(5));
    }
    net.run(s(1));
    let tape: Vec<Seen> = net.log().into_iter().filter(|seen| seen.fate == Fate::Delivered).collect();
    let (before, mut rng) = (net.received(members[1]).len(), Rng::new(3));
    for seen in &tape {
        let Some(receiver) = seen.receiver else { continue };
        for from in [net.world.address(seen.sender), SocketAddr::from(([10, 9, 9, 9], 9))] {
            let mut altered = seen.datagram.to_vec();
            let at = usize::try_from(rng.below(altered.len() as u64)).unwrap();
            altered[at] ^= 1 << rng.below(8);
            for datagram in [seen.datagram.clone(), Bytes::from(altered)] {
                net.world.call(receiver, |party, now| party.handle_datagram(now, from, datagram));
            }
        }
    }
    net.publish(members[0], "t", "ty", LIVES, b"last");
    net.run(s(1));
    assert_eq!(net.received(members[1]).len(), before + 1);
    assert_eq!(got(&net, members[1], "one").last().unwrap(), b"last");
    assert!(net.log().iter().all(|seen| seen.to != SocketAddr::from(([10, 9, 9, 9], 9))));
    let reports = members.map(|node| report(&mut net, node));
    assert!(reports.iter().all(|r| r.transport.replayed > 1_000 && r.transport.forged > 0 && r.endpoint.foreign > 0));
    assert!(reports.iter().all(|r| r.endpoint.sessions_lost == 0));
}

/// Whoever recorded what an endpoint said brings it back neither after it has gone nor in an earlier life.
#[test]
fn nobody_is_resurrected() {
    let mut net = Mixed::new(4);
    let members = [member(&mut net, "one", 1), member(&mut net, "two", 1)];
    net.run(s(3));
    net.world.restart(members[1]);
    net.run(s(3));
    assert_eq!(peers(&mut net, members[0]), 1);
    net.world.crash(members[1]);
    net.run(s(30));
    assert_eq!(peers(&mut net, members[0]), 0, "it has expired");
    let said = |seen: &Seen| seen.sender == members[1] && seen.receiver == Some(members[0]);
    let tape: Vec<Seen> = net.log().into_iter().filter(said).collect();
    assert!(tape.len() > 5);
    for seen in tape {
        let from = net.world.address(seen.sender);
        net.world.call(members[0], |party, now| party.handle_datagram(now, from, seen.datagram));
        net.run(ms(10));
        assert_eq!(peers(&mut net, members[0]), 0);
    }
}

/// Ten minutes at 10 % loss, with keys renewed every two, and a restart: all that is published is delivered once, in order.
#[test]
fn keys_are_renewed_under_traffic_and_nothing_is_lost() {
    let mut net = Mixed::new(5);
    net.world.set_default_link(Link::lossy(0.1).latency(ms(1)).jitter(ms(2)));
    let members = [member(&mut net, "one", 1), member(&mut net, "two", 1)];
    net.run(s(3));
    for number in 0..6_000u32 {
        net.publish(members[0], "t", "ty", LIVES, &number.to_be_bytes());
        net.publish(members[1], "t", "ty", LIVES, &number.to_be_bytes());
        net.run(ms(100));
    }
    net.run(s(5));
    let all: Vec<Vec<u8>> = (0..6_000u32).map(|number| number.to_be_bytes().to_vec()).collect();
    assert!(got(&net, members[1], "one") == all && got(&net, members[0], "two") == all);
    let epochs = |node: NodeId| {
        let mut epochs: Vec<u8> = net.log().iter().filter(|seen| seen.sender == node).filter_map(epoch).collect();
        epochs.dedup();
        epochs.len()
    };
    assert!(members.into_iter().all(|node| epochs(node) >= 5));
}

fn epoch(seen: &Seen) -> Option<u8> {
    matches!(seen.datagram[..2], [0xc1, 3]).then(|| seen.datagram[2])
}

#[test]
fn who_is_not_trusted_is_not_taken_in_and_not_answered() {
    let mut net = Mixed::new(6);
    let one = trusting(&mut net, "one", &[(2, "")]);
    let (two, three) = (member(&mut net, "two", 1), member(&mut net, "three", 1));
    for _ in 0..5 {
        net.run(s(2));
        for (node, name) in [(one, "one"), (two, "two"), (three, "three")] {
            net.publish(node, "t", "ty", LIVES, name.as_bytes());
        }
    }
    net.run(s(2));
    assert_eq!([one, two, three].map(|node| peers(&mut net, node)), [1, 2, 2]);
    assert_eq!((got(&net, one, "two").len(), got(&net, one, "three").len()), (5, 0));
    assert_eq!((got(&net, two, "one").len(), got(&net, three, "one").len()), (5, 0));
    assert_eq!((got(&net, two, "three").len(), got(&net, three, "two").len()), (5, 5));
    assert_eq!(direct(&net.log(), one, three), 0);
    let refused: Vec<_> = net.notices.iter().filter_map(|(at, event)| Some((*at, refusal(event)?))).collect();
    assert_eq!(refused, [(one, Refusal::Untrusted { public_key: public_key(3) })], "once");
    assert!(report(&mut net, one).endpoint.untrusted > 5);
}

#[test]
fn a_revoked_peer_stops_at_once_and_no_other_notices() {
    let mut net = Mixed::new(7);
    net.world.set_default_link(Link::lossy(0.1).latency(ms(5)).jitter(ms(5)));
    let one = trusting(&mut net, "one", &[(2, ""), (3, "")]);
    let (two, three) = (member(&mut net, "two", 1), member(&mut net, "three", 1));
    net.run(s(3));
    let mut number = 0u16;
    let mut exchange = |net: &mut Mixed, rounds: usize| {
        for _ in 0..rounds {
            number += 1;
            for node in [one, two, three] {
                net.publish(node, "t", "ty", LIVES, &number.to_be_bytes());
            }
            net.run(ms(10));
        }
    };
    exchange(&mut net, 100);
    set_trust(&mut net, one, &[(2, "")]);
    let before = got(&net, one, "three").len();
    // What is under way already still comes.
    net.run(ms(20));
    let sent = direct(&net.log(), one, three);
    assert!(before > 50 && sent > 50);
    exchange(&mut net, 100);
    net.run(s(5));
    assert_eq!((got(&net, one, "three").len(), direct(&net.log(), one, three)), (before, sent), "nothing more");
    assert_eq!(peers(&mut net, one), 1);
    let down = |(at, event): &&(NodeId, Event)| {
        *at == one && matches!(event, Event::Discovery(Change::PeerDown { reason: DownReason::Revoked, .. }))
    };
    assert_eq!(net.notices.iter().filter(down).count(), 1);
    // It is trusted again.
    set_trust(&mut net, one, &[(2, ""), (3, "")]);
    net.run(s(10));
    exchange(&mut net, 100);
    net.run(s(5));
    let all: Vec<_> = (1..=300u16).map(|number| number.to_be_bytes().to_vec()).collect();
    assert!(got(&net, one, "two") == all && got(&net, two, "one") == all && got(&net, two, "three") == all);
    assert!(got(&net, one, "three").ends_with(&all[200..]) && got(&net, three, "one").ends_with(&all[200..]));
    assert_eq!([one, two].map(|node| report(&mut net, node).endpoint.sessions_lost), [0, 0]);
}

#[test]
fn what_a_peer_may_do_changes_while_it_is_there() {
    let mut net = Mixed::new(8);
    let one = trusting(&mut net, "one", &[(2, ""), (3, "publish=a/# subscribe=x")]);
    let (two, three) = (member(&mut net, "two", 1), member(&mut net, "three", 1));
    net.run(s(3));
    let exchange = |net: &mut Mixed| {
        for node in [two, three] {
            net.publish(node, "a/1", "ty", LIVES, b"a");
            net.publish(node, "b", "ty", LIVES, b"b");
        }
        net.publish(one, "x", "ty", LIVES, b"x");
        net.publish(one, "y", "ty", LIVES, b"y");
        net.run(s(1));
    };
    exchange(&mut net);
    assert_eq!((got(&net, one, "three").concat(), got(&net, three, "one").concat()), (b"a".to_vec(), b"x".to_vec()));
    set_trust(&mut net, one, &[(2, ""), (3, "publish=b subscribe=y")]);
    net.run(s(5));
    exchange(&mut net);
    assert_eq!((got(&net, one, "three").concat(), got(&net, three, "one").concat()), (b"ab".to_vec(), b"xy".to_vec()));
    assert_eq!((got(&net, one, "two").concat(), got(&net, two, "one").concat()), (b"abab".to_vec(), b"xyxy".to_vec()));
    let lost = [two, three].map(|node| report(&mut net, node).endpoint.sessions_lost);
    assert_eq!(lost, [0, 1], "only the other side of what has changed begins anew");
    assert_eq!(report(&mut net, one).topics.not_permitted, 2, "b, then a");
}
