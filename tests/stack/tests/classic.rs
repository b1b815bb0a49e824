//! Engines and the reference: they find each other, and messages pass both ways with the semantics of each.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests are tests too")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use glue_discovery::{DownReason, Event as Change};
use glue_endpoint::{Event, Report};
use glue_net::{Instant, Node as _, WallTime};
use glue_sim::{DISCOVERY_GROUP, Fate, Host, Link, NodeId};
use glue_stack::mixed::{GROUP, Mixed, Received, Seen, on_network};
use glue_stack::reference::{Codec, Container, Frame, Message, Setup};
use glue_stack::scene::{ms, s};

/// `len` bytes that are not all the same.
fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|i| u8::try_from(i * 7 % 251).unwrap()).collect()
}

/// An engine and a reference peer that know each other.
fn pair(seed: u64, codec: Codec) -> (Mixed, NodeId, NodeId) {
    let mut net = Mixed::new(seed);
    let ours = net.engine("ours", GROUP);
    let theirs = net.plain("theirs", codec);
    net.run(s(2));
    assert_eq!(net.known(theirs), ["ours"], "{codec:?}");
    (net, ours, theirs)
}

fn report(net: &mut Mixed, node: NodeId) -> Report {
    net.world.call(node, |party, _| party.engine().report()).unwrap()
}

fn counts(net: &mut Mixed, node: NodeId) -> glue_stack::reference::Counts {
    net.world.call(node, |party, _| party.classic().counts()).unwrap()
}

/// How often each frame was sent.
fn copies(frames: &[(Frame, Seen)]) -> BTreeMap<[u8; 20], usize> {
    frames.iter().fold(BTreeMap::new(), |mut copies, (frame, _)| {
        *copies.entry(frame.id).or_default() += 1;
        copies
    })
}

/// The numbers of messages, in the order of delivery, told apart by their first byte.
fn order(received: &[Received], from: &str) -> Vec<u8> {
    received.iter().filter(|message| message.from == from).map(|message| message.payload[0]).collect()
}

#[test]
fn the_reference_gets_what_we_publish_as_we_published_it() {
    for codec in Codec::ALL {
        let (mut net, ours, theirs) = pair(1, codec);
        net.publish(ours, "some_topic", "some_type", ms(700), b"Hello, world.");
        net.publish(ours, "some_topic", "some_type", s(3), &bytes(20_000));
        net.publish(ours, "other_topic", "other_type", s(3), b"");
        net.run(s(1));
        let id =
            net.world.call(ours, |party, _| party.engine().report()).map(|_| glue_net::EndpointId::from_integer(1));
        let got = net.received(theirs);
        let wanted = [
            ("some_topic", "some_type", 1, ms(700), b"Hello, world.".to_vec()),
            ("some_topic", "some_type", 2, s(3), bytes(20_000)),
            ("other_topic", "other_type", 1, s(3), Vec::new()),
        ];
        assert_eq!(got.len(), wanted.len(), "{codec:?}");
        for (message, (topic, topic_type, sequence, expiry, payload)) in got.iter().zip(wanted) {
            assert_eq!((message.topic.as_str(), message.topic_type.as_str()), (topic, topic_type), "{codec:?}");
            assert_eq!((message.sequence, message.expiry), (sequence, expiry), "{codec:?}");
            assert_eq!((message.from.as_str(), Some(message.id)), ("ours", id), "{codec:?}");
            assert!(message.payload == payload, "{codec:?}: payload {sequence} of {topic} was changed");
        }
    }
}

/// Every field of what we send, as the captured program would fill it.
#[test]
fn our_frames_are_the_references_frames() {
    for codec in Codec::ALL {
        let (mut net, ours, theirs) = pair(2, codec);
        let their_id = *net.world.call(theirs, |party, _| party.classic().id()).unwrap().as_bytes();
        let from = net.world.wall(ours);
        net.publish(ours, "t", "ty", s(1), &bytes(20_000));
        net.publish(theirs, "t", "ty", s(1), b"back");
        net.run(s(1));
        let until = net.world.wall(ours);
        let (data, acks) = (net.frames(ours, false), net.frames(ours, true));
        let count = if codec == Codec::MessagePack { 3 } else { data.len() };
        assert_eq!((data.len(), acks.len()), (count, 1), "{codec:?}");
        for (index, (frame, seen)) in (0..).zip(&data) {
            assert_eq!((frame.index, usize::try_from(frame.count)), (index, Ok(count)), "{codec:?}");
            assert!(frame.needs_ack && !frame.is_ack);
            assert_eq!(frame.correlation, data[0].0.correlation);
            assert_eq!(seen.to, net.world.address(theirs));
            let is_last = index + 1 == frame.count;
            assert!(is_last || codec == Codec::Json || frame.payload.len() == 8_192, "{}", frame.payload.len());
        }
        for (frame, seen) in data.iter().chain(&acks) {
            let (read, container) = seen.read.clone().unwrap();
            assert_eq!(read, codec);
            assert_eq!((frame.destination_id, frame.destination_name.as_str()), (their_id, "theirs"));
            assert_eq!((container.network, container.source_name.as_str()), (1, "ours"));
            let sent = [container.sent.unwrap(), container.last_sent.unwrap()];
            assert!(sent.iter().all(|at| (from..=until).contains(at)), "{codec:?}: {sent:?}");
        }
        let theirs_sent = net.frames(theirs, false);
        let ack = &acks[0].0;
        assert_eq!((ack.id, ack.correlation), (theirs_sent[0].0.id, theirs_sent[0].0.correlation));
        assert_eq!((ack.count, ack.index, ack.needs_ack, ack.payload.len()), (1, 0, false, 0));
    }
}

#[test]
fn we_get_what_the_reference_publishes_once_and_in_order() {
    for codec in Codec::ALL {
        let (mut net, ours, theirs) = pair(3, codec);
        // With a second peer their numbers grow by two for each frame.
        net.engine("another", GROUP);
        net.run(s(2));
        net.world.set_default_link(Link::perfect().latency(ms(1)).duplicate(0.5).reorder(0.3, ms(5)));
        for number in 0..20u8 {
            let payload = [vec![number], bytes(if number % 5 == 4 { 20_000 } else { 100 })].concat();
            net.publish(theirs, "t", "ty", s(5), &payload);
            net.run(ms(30));
            let got = net.received(ours).last().unwrap();
            assert!(got.payload == payload, "{codec:?}: {number} was changed or is missing");
            assert_eq!((got.topic.as_str(), got.topic_type.as_str(), got.expiry), ("t", "ty", s(5)));
        }
        net.run(s(3));
        assert_eq!(order(net.received(ours), "theirs"), (0..20).collect::<Vec<_>>(), "{codec:?}");
    }
}

#[test]
fn our_acks_stop_its_resends() {
    for codec in Codec::ALL {
        let (mut net, ours, theirs) = pair(4, codec);
        // 300 ms before it looks what to send again.
        let wait = Duration::from_nanos(1_000_000_000 - net.world.now().as_nanos() % 1_000_000_000);
        net.run(wait + ms(700));
        net.publish(theirs, "t", "ty", s(5), b"single");
        net.publish(theirs, "t", "ty", s(5), &bytes(20_000));
        net.run(s(4));
        let sent = net.frames(theirs, false);
        assert_eq!(sent.len(), if codec == Codec::MessagePack { 4 } else { 2 }, "{codec:?}");
        assert_eq!(net.frames(ours, true).len(), sent.len(), "{codec:?}: one ack a frame");
        let counts = counts(&mut net, theirs);
        assert_eq!((counts.acks, counts.resent, counts.given_up), (sent.len() as u64, 0, 0), "{codec:?}");
    }
}

/// The proof that the test above could fail.
#[test]
fn without_our_acks_it_sends_again_and_we_deliver_once() {
    for codec in Codec::ALL {
        let (mut net, ours, theirs) = pair(5, codec);
        let wait = Duration::from_nanos(1_000_000_000 - net.world.now().as_nanos() % 1_000_000_000);
        net.run(wait + ms(700));
        net.world.cut(ours, theirs);
        net.publish(theirs, "t", "ty", s(5), b"single");
        net.run(s(3));
        assert_eq!(net.frames(theirs, false).len(), 2, "{codec:?}");
        assert_eq!(net.frames(ours, true).len(), 2, "{codec:?}: each copy is acknowledged");
        assert_eq!(net.received(ours).len(), 1, "{codec:?}");
    }
}

#[test]
fn its_acks_stop_our_resends() {
    for codec in Codec::ALL {
        let (mut net, ours, theirs) = pair(6, codec);
        for number in 0..20 {
            net.publish(ours, "t", "ty", s(10), &bytes(1 + number * 1_500));
            net.run(ms(20));
        }
        net.run(s(5));
        let sent = net.frames(ours, false);
        assert!(sent.len() >= 20, "{codec:?}: {}", sent.len());
        assert!(copies(&sent).values().all(|times| *times == 1), "{codec:?}: something was sent twice");
        assert_eq!(net.frames(theirs, true).len(), sent.len(), "{codec:?}");
        let settled = net.world.call(ours, |party, _| party.engine().is_settled());
        assert_eq!(settled, Some(true), "{codec:?}");
    }
}

#[test]
fn at_a_fifth_lost_it_gets_everything_and_nothing_after_its_time() {
    for (seed, codec) in (0..6).flat_map(|seed| Codec::ALL.map(|codec| (seed, codec))) {
        let (mut net, ours, theirs) = pair(seed, codec);
        net.world.set_default_link(Link::lossy(0.2).latency(ms(1)).jitter(ms(1)));
        let expiry = s(3);
        let mut published = Vec::new();
        for number in 0..50u8 {
            published.push(net.world.now());
            let payload = [vec![number], bytes(if number % 10 == 9 { 20_000 } else { 200 })].concat();
            net.publish(ours, "t", "ty", expiry, &payload);
            net.run(ms(40));
        }
        net.run(s(10));
        let mut seen = BTreeSet::new();
        for message in net.received(theirs) {
            let number = message.payload[0];
            seen.insert(number);
            let latest = published[usize::from(number)] + expiry + ms(2);
            assert!(message.at <= latest, "{codec:?} {seed}: {number} came at {:?}, after {latest:?}", message.at);
        }
        assert_eq!(seen.len(), 50, "{codec:?} {seed}: got {seen:?}");
        assert!(copies(&net.frames(ours, false)).values().any(|times| *times > 1), "nothing was lost");
    }
}

#[test]
fn what_expires_while_it_is_cut_off_is_not_sent_afterwards() {
    for codec in Codec::ALL {
        let (mut net, ours, theirs) = pair(7, codec);
        net.world.isolate(theirs);
        net.publish(ours, "t", "ty", ms(400), b"short");
        net.publish(ours, "t", "ty", s(30), b"long");
        net.run(ms(900));
        net.world.heal();
        let healed = net.world.now();
        net.run(s(5));
        let got: Vec<_> = net.received(theirs).iter().map(|message| message.payload.clone()).collect();
        assert!(got.contains(&b"long".to_vec()) && !got.contains(&b"short".to_vec()), "{codec:?}: {got:?}");
        let late = net.frames(ours, false).into_iter().filter(|(_, seen)| seen.at > healed);
        assert!(late.count() >= 1);
        assert!(net.received(theirs).iter().all(|message| message.payload == b"long"));
    }
}

#[test]
fn natives_and_both_revisions_share_a_network() {
    let mut net = Mixed::new(8);
    let (a, b) = (net.engine("a", GROUP), net.engine("b", GROUP));
    let (pack, json) = (net.plain("pack", Codec::MessagePack), net.plain("json", Codec::Json));
    net.run(s(3));
    let names = [(a, "a"), (b, "b"), (pack, "pack"), (json, "json")];
    for number in 0..30u8 {
        for (node, name) in names {
            let payload = [vec![number], bytes(if number % 10 == 9 { 20_000 } else { 50 })].concat();
            net.publish(node, &format!("of_{name}"), "ty", s(5), &payload);
        }
        net.run(ms(50));
    }
    net.run(s(3));
    let all: Vec<u8> = (0..30).collect();
    for (node, name) in [(a, "a"), (b, "b")] {
        for (_, from) in names {
            assert_eq!(order(net.received(node), from), all, "{name} from {from}");
        }
    }
    // The two revisions do not understand each other, and own messages are delivered on a way of their own.
    for classic in [pack, json] {
        for from in ["a", "b"] {
            assert_eq!(order(net.received(classic), from), all, "{classic} from {from}");
        }
    }
    for classic in [pack, json] {
        assert_eq!(net.known(classic), ["a", "b"]);
        assert_eq!(counts(&mut net, classic).unknown_source, 0);
    }
}

/// Between two hosts where no multicast passes: a reference peer that announces itself to `target`.
fn far(net: &mut Mixed, name: &str, target: SocketAddr) -> NodeId {
    net.classic(Host::default().deaf(), Setup::new(name, Codec::MessagePack).target(target))
}

#[test]
fn a_rendezvous_introduces_reference_peers() {
    let mut net = Mixed::new(9);
    let rendezvous = net.engine_with(Host::default().deaf(), "rendezvous", &[], |_| {});
    let address = net.world.discovery_address(rendezvous).unwrap();
    let (subscriber, publisher) = (far(&mut net, "sub-b", address), far(&mut net, "pub-a", address));
    net.run(s(3));
    assert_eq!(net.known(publisher), ["rendezvous", "sub-b"]);
    assert_eq!(net.known(subscriber), ["pub-a", "rendezvous"]);

    let forwarded: Vec<(Seen, Container)> = net
        .log()
        .into_iter()
        .filter(|seen| seen.sender == rendezvous && seen.receiver == Some(publisher))
        .filter_map(|seen| Some((seen.clone(), seen.read?.1)))
        .filter(|(_, container)| container.announcement.as_ref().is_some_and(|a| a.forwarded))
        .collect();
    assert!(!forwarded.is_empty());
    for (seen, container) in forwarded {
        let announcement = container.announcement.unwrap();
        assert_eq!(container.source_name, "sub-b");
        assert_eq!(seen.to, net.world.discovery_address(publisher).unwrap());
        assert_eq!(container.received_from, net.world.discovery_address(subscriber).unwrap().to_string());
        assert_ne!(container.received, Some(WallTime::ZERO_TIME), "as captured: filled in");
        assert!(!container.received_by.is_empty(), "as captured: filled in");
        assert_eq!(announcement.listen, Some(net.world.address(subscriber)));
        assert_eq!(announcement.discovery_listen, net.world.discovery_address(subscriber));
        assert_eq!(announcement.discovery_target, Some(address));
        assert_eq!((announcement.sent_rate, announcement.listen_port), (1_000_000_000, 40_000));
    }

    net.publish(publisher, "t", "ty", s(1), b"directly");
    net.run(s(2));
    assert_eq!(net.received(subscriber).len(), 1);
    assert_eq!(net.received(rendezvous).len(), 1);
    let counts = counts(&mut net, publisher);
    assert_eq!((counts.acks, counts.resent, counts.given_up), (2, 0, 0), "the subscriber's ack, and ours");
}

#[test]
fn a_reference_peer_introduces_engines() {
    let mut net = Mixed::new(10);
    let middle = net.plain("middle", Codec::MessagePack);
    let address = net.world.discovery_address(middle).unwrap();
    let a = net.engine_with(Host::default().segment(1), "a", &[address], |_| {});
    let b = net.engine_with(Host::default().segment(2), "b", &[address], |_| {});
    net.run(s(4));
    net.publish(a, "t", "ty", s(1), b"through");
    net.run(s(2));
    assert_eq!(net.received(b).len(), 1, "introduced by the reference");
    // As the captured one, it tells nobody of itself, so nobody sends to it.
    assert_eq!(net.received(middle).len(), 0);
    assert_eq!(net.known(middle), ["a", "b"]);
}

/// What the reference passes on has lost our fields: to those who know better it must mean nothing.
#[test]
fn what_a_reference_peer_passes_on_does_not_disturb_engines() {
    let mut net = Mixed::new(21);
    let middle = net.plain("middle", Codec::MessagePack);
    let targets = [DISCOVERY_GROUP, net.world.discovery_address(middle).unwrap()];
    let (a, b) = (net.engine("a", &targets), net.engine("b", &targets));
    for number in 0..100u8 {
        net.run(ms(100));
        net.publish(a, "t", "ty", s(5), &[number]);
    }
    net.run(s(1));
    let forwarded = |seen: &Seen| {
        let announcement = seen.read.as_ref().and_then(|(_, container)| container.announcement.clone());
        seen.sender == middle && announcement.is_some_and(|announcement| announcement.forwarded)
    };
    assert!(net.log().iter().filter(|seen| forwarded(seen)).count() >= 20);
    assert_eq!(order(net.received(b), "a"), (0..100).collect::<Vec<_>>());
    let downs = net.notices.iter().filter(|(_, event)| matches!(event, Event::Discovery(Change::PeerDown { .. })));
    assert_eq!(downs.count(), 0, "{:?}", net.notices);
    assert!(net.frames(a, false).iter().all(|(_, seen)| seen.receiver == Some(middle)), "natives speak natively");
}

#[test]
fn our_announcements_say_all_that_the_reference_needs() {
    for codec in Codec::ALL {
        let (mut net, ours, _) = pair(11, codec);
        net.run(s(10));
        let (data, discovery) = (net.world.address(ours), net.world.discovery_address(ours));
        let announced: Vec<_> = net
            .log()
            .into_iter()
            .filter(|seen| seen.sender == ours && seen.receiver != Some(ours) && seen.to == DISCOVERY_GROUP)
            .filter_map(|seen| seen.read.map(|(read, container)| (seen.at, read, container)))
            .filter(|(_, read, _)| *read == codec)
            .collect();
        assert!((10..=14).contains(&announced.len()), "{codec:?}: {} in 12 s", announced.len());
        for (at, _, container) in announced {
            let announcement = container.announcement.unwrap();
            assert_eq!((announcement.sent_rate, announcement.listen_port), (1_000_000_000, data.port()));
            assert!(!announcement.forwarded);
            assert_eq!((container.network, container.source_name.as_str()), (1, "ours"));
            let since_start = container.sent.unwrap().since(WallTime::from_unix_nanos(1_767_225_600_000_000_000));
            assert!(at.since(Instant::ZERO).abs_diff(since_start) < ms(1), "{since_start:?} at {at:?}");
            assert_eq!(container.last_sent, Some(WallTime::ZERO_TIME));
            if codec == Codec::MessagePack {
                assert_eq!(announcement.listen, Some(data));
                assert_eq!(announcement.discovery_listen, discovery);
                assert_eq!(announcement.discovery_target, Some(DISCOVERY_GROUP));
                assert_eq!(container.sent_to, DISCOVERY_GROUP.to_string());
            }
        }
    }
}

#[test]
fn a_goodbye_makes_the_reference_drop_us_at_its_next_look() {
    for codec in Codec::ALL {
        let (mut net, ours, theirs) = pair(12, codec);
        net.world.call(ours, |party, now| party.engine().leave(now));
        net.run(ms(1_100));
        assert!(net.known(theirs).is_empty(), "{codec:?}: {:?}", net.known(theirs));
    }
}

/// The proof that the test above could fail.
#[test]
fn without_a_goodbye_the_reference_keeps_us_for_two_seconds() {
    let (mut net, ours, theirs) = pair(12, Codec::MessagePack);
    net.world.crash(ours);
    net.run(ms(1_100));
    assert_eq!(net.known(theirs), ["ours"]);
    net.run(s(2));
    assert!(net.known(theirs).is_empty());
}

#[test]
fn a_silent_reference_peer_expires() {
    let (mut net, ours, theirs) = pair(13, Codec::MessagePack);
    net.world.crash(theirs);
    net.run(s(3));
    let down = net.notices.iter().any(|(node, event)| {
        let expired = |change: &Change| matches!(change, Change::PeerDown { reason: DownReason::Expired, .. });
        *node == ours && matches!(event, Event::Discovery(change) if expired(change))
    });
    assert!(down);
}

#[test]
fn of_other_types_only_the_bridges_pass() {
    const BRIDGE: &str = "__mqtt_to_glue_bridge__";
    for codec in Codec::ALL {
        let mut net = Mixed::new(14);
        let ours = net.engine("ours", GROUP);
        let theirs = net.classic(Host::default(), Setup::new("theirs", codec).topic("theirs_in", "right"));
        net.world.call(ours, |party, _| party.engine().subscribe("ours_in", "right").unwrap());
        net.run(s(2));
        for topic_type in ["wrong", "right", BRIDGE] {
            net.publish(ours, "theirs_in", topic_type, s(1), topic_type.as_bytes());
            net.publish(theirs, "ours_in", topic_type, s(1), topic_type.as_bytes());
            net.run(ms(100));
        }
        net.run(s(1));
        let got: Vec<_> = net.received(theirs).iter().map(|message| message.topic_type.as_str()).collect();
        assert_eq!(got, ["right", BRIDGE], "{codec:?}");
        assert_eq!(counts(&mut net, theirs).mismatched, 1);
        // Each message counts once for every subscription that gets it: `#` gets all three here.
        let got: Vec<_> = net.received(ours).iter().filter(|m| m.topic == "ours_in").collect();
        assert_eq!(got.iter().filter(|m| m.topic_type == "wrong").count(), 1, "{codec:?}: by # alone");
        assert!(report(&mut net, ours).topics.type_mismatches >= 1, "{codec:?}");
    }
}

#[test]
fn another_network_is_ignored_and_counted() {
    for codec in Codec::ALL {
        let mut net = Mixed::new(15);
        let ours = net.engine_with(Host::default(), "ours", GROUP, on_network(2));
        let theirs = net.plain("theirs", codec);
        net.run(s(5));
        assert!(net.known(theirs).is_empty());
        assert!(counts(&mut net, theirs).foreign >= if codec == Codec::Json { 4 } else { 0 }, "{codec:?}");
        let report = report(&mut net, ours);
        assert!((5..=6).contains(&report.discovery.ignored_network), "{codec:?}: {report:?}");
        assert_eq!(report.discovery.peers_up, 0);

        // A frame for us by name, but of the other network.
        let frame = frame_for(&net, ours, 1, codec);
        let before = self::report(&mut net, ours).endpoint;
        net.world.call(ours, |party, now| party.handle_datagram(now, "10.0.0.9:1".parse().unwrap(), frame));
        let after = self::report(&mut net, ours).endpoint;
        assert_eq!((after.wrong_network, after.stray_frames), (before.wrong_network + 1, before.stray_frames));
        net.run(s(1));
        assert!(net.received(ours).is_empty());
        assert!(net.frames(ours, true).is_empty());
    }
}

#[test]
fn a_frame_of_one_who_has_not_announced_itself_is_ignored_and_counted() {
    for codec in Codec::ALL {
        let mut net = Mixed::new(16);
        let ours = net.engine("ours", GROUP);
        net.run(s(1));
        let frame = frame_for(&net, ours, 1, codec);
        net.world.call(ours, |party, now| party.handle_datagram(now, "10.0.0.9:1".parse().unwrap(), frame));
        net.run(s(1));
        assert_eq!(report(&mut net, ours).endpoint.stray_frames, 1);
        assert!(net.received(ours).is_empty() && net.frames(ours, true).is_empty());
    }
}

/// A message for `ours`, as somebody called `stranger` would send it.
fn frame_for(net: &Mixed, ours: NodeId, network: i64, codec: Codec) -> bytes::Bytes {
    let wall = Some(net.world.wall(ours));
    let message = Message {
        timestamp: wall,
        expiry: 1_000_000_000,
        endpoint_id: [7; 20],
        endpoint_name: "stranger".to_owned(),
        sequence: 1,
        topic: "t".to_owned(),
        topic_type: "ty".to_owned(),
        message_type: 1,
        payload: Some(b"strange".to_vec()),
    };
    let frame = Frame {
        resend_period: 100_000_000,
        resend_expiry: 500_000_000,
        id: [8; 20],
        correlation: [9; 20],
        count: 1,
        index: 0,
        destination_id: *glue_net::EndpointId::from_integer(1).as_bytes(),
        destination_name: "ours".to_owned(),
        needs_ack: true,
        is_ack: false,
        payload: message.write(codec),
    };
    let container = Container {
        sent: wall,
        last_sent: wall,
        received: Some(WallTime::ZERO_TIME),
        sent_by: String::new(),
        sent_to: String::new(),
        received_from: String::new(),
        received_by: String::new(),
        network,
        source_id: [7; 20],
        source_name: "stranger".to_owned(),
        announcement: None,
        frame: Some(frame),
    };
    container.write(codec).into()
}

/// What the checks of the reference peer are worth: it dies of what the program dies of.
mod deadly {
    use super::*;

    fn feed(change: impl FnOnce(&mut Container)) {
        let mut net = Mixed::new(17);
        let ours = net.engine("ours", GROUP);
        let theirs = net.plain("theirs", Codec::MessagePack);
        let datagram = frame_for(&net, ours, 1, Codec::MessagePack);
        let (_, mut container) = Container::read(&datagram).unwrap();
        change(&mut container);
        let datagram = container.write(Codec::MessagePack).into();
        net.world.call(theirs, |party, now| party.handle_datagram(now, "10.0.0.9:1".parse().unwrap(), datagram));
    }

    #[test]
    fn an_ordinary_frame_does_no_harm() {
        feed(|_| {});
    }

    #[test]
    #[should_panic(expected = "nil timestamp")]
    fn of_a_nil_timestamp() {
        feed(|container| container.received = None);
    }

    #[test]
    #[should_panic(expected = "without a body")]
    fn of_no_body() {
        feed(|container| container.frame = None);
    }

    #[test]
    #[should_panic(expected = "announcement at its data port")]
    fn of_an_announcement_at_the_data_port() {
        let mut net = Mixed::new(18);
        let theirs = net.plain("theirs", Codec::MessagePack);
        let target = net.world.address(theirs);
        net.engine("ours", &[target]);
        net.run(s(2));
    }

    #[test]
    #[should_panic(expected = "native datagram")]
    fn of_a_native_datagram() {
        let mut net = Mixed::new(19);
        let theirs = net.plain("theirs", Codec::MessagePack);
        let native = bytes::Bytes::from_static(&[0xc1, 1, 2, 3]);
        net.world.call(theirs, |party, now| party.handle_datagram(now, "10.0.0.9:1".parse().unwrap(), native));
    }

    #[test]
    fn and_a_lost_datagram_is_told_from_a_delivered_one() {
        let (mut net, ours, theirs) = pair(20, Codec::MessagePack);
        net.world.cut(ours, theirs);
        net.publish(ours, "t", "ty", ms(100), b"lost");
        net.run(ms(50));
        assert!(net.frames(ours, false).iter().all(|(_, seen)| seen.fate == Fate::Cut));
        assert!(net.received(theirs).is_empty());
    }
}
