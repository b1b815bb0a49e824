//! What is sent without being asked.

use bytes::Bytes;

use super::world::World;
use super::*;
use crate::ConfigError;

fn vias(sent: &[Outgoing]) -> Vec<(String, Via, Codec)> {
    sent.iter().map(|o| (o.to.to_string(), o.via, o.codec)).collect()
}

#[test]
fn the_first_announcement_is_sent_at_once_and_says_where_we_are() {
    let mut one = One::silent(config());
    assert_eq!(one.discovery.poll_timeout(), Some(one.now));
    one.discovery.handle_timeout(one.now);
    let sent = one.sent();
    let [Outgoing { to, via: Via::Multicast { interface: 2 }, codec: Codec::Json, container, .. }] = sent.as_slice()
    else {
        panic!("{sent:?}");
    };
    assert_eq!((*to, container.sent_to), (socket(GROUP), Some(socket(GROUP))));
    assert_eq!(container.sent_timestamp, WallTime::from_unix_nanos(1_795_224_787_000_000_000));
    assert_eq!(container.last_sent_timestamp, WallTime::ZERO_TIME);
    assert_eq!((container.received_from, container.received_by), (None, None));
    assert_eq!(container.sent_by, Some(socket("10.0.0.1:27320")));
    let expected = Announcement {
        sent_rate: ms(1_000),
        listen_port: 40_000,
        listen_addr: Some(socket("10.0.0.1:40000")),
        discovery_listen_addr: Some(socket("10.0.0.1:27320")),
        discovery_target_addr: Some(socket(GROUP)),
        forwarded: false,
        native: Some(life(10)),
    };
    assert_eq!(*announcement(container), expected);
}

#[test]
fn a_datagram_is_appended_and_reads_back() {
    for messagepack in [false, true] {
        let mut one = One::new(config());
        if messagepack {
            one.hear_from(socket("10.0.0.2:1"), Codec::MessagePack, &classic(2, "two", "10.0.0.2:5"));
            let _ = one.sent();
        }
        one.wait(ms(1_100));
        let mut out = b"before".to_vec();
        let mut datagrams = Vec::new();
        while let Some(transmit) = one.discovery.poll_transmit(one.now, &mut out) {
            assert_eq!(transmit.via, Via::Multicast { interface: 2 });
            let datagram = Bytes::copy_from_slice(&out[out.len() - transmit.len..]);
            datagrams.push(Container::decode(&datagram).unwrap());
        }
        assert!(out.starts_with(b"before") && datagrams.len() == if messagepack { 2 } else { 1 });
        for (_, container) in datagrams {
            assert_eq!(container.source_endpoint_name, "one");
            assert_eq!(announcement(&container).native, Some(life(10)));
            assert_eq!(announcement(&container).listen_addr, Some(socket("10.0.0.1:40000")));
        }
    }
}

#[test]
fn announcements_keep_to_the_interval_with_a_little_jitter() {
    let mut one = One::new(config());
    let mut last = one.now;
    let mut gaps = Vec::new();
    for _ in 0..1_000 {
        let next = one.discovery.poll_timeout().unwrap();
        gaps.push(next.since(last));
        last = next;
        one.wait(next.since(one.now));
        assert_eq!(one.sent().len(), 1);
    }
    assert!(gaps.iter().all(|gap| (ms(950)..=ms(1_050)).contains(gap)));
    assert!(gaps.iter().min() < Some(&ms(955)) && gaps.iter().max() > Some(&ms(1_045)), "{gaps:?}");
}

/// The time to the next announcement, and what it then says is the time to the one after it.
fn next(one: &mut One) -> (Duration, Duration) {
    let start = one.now;
    loop {
        let wait = one.discovery.poll_timeout().unwrap().since(one.now);
        one.wait(wait);
        let to_group = one.sent().into_iter().find(|o| matches!(o.via, Via::Multicast { .. }));
        if let Some(sent) = to_group {
            return (one.now.since(start), announcement(&sent.container).sent_rate);
        }
    }
}

#[test]
fn a_large_group_is_announced_to_less_often_as_announced() {
    let mut one = One::new(Config { timeout_multiplier: 1_000.0, ..config() });
    let hear = |one: &mut One, peers: std::ops::Range<i64>| {
        for peer in peers {
            let heard = native(peer + 2, &format!("peer-{peer}"), &format!("10.0.{}.{}:5", peer / 250, peer % 250 + 2));
            one.hear_from(socket("10.0.0.2:27320"), Codec::Json, &heard);
        }
        let _ = one.sent();
    };
    hear(&mut one, 0..23);
    assert_eq!(next(&mut one).1, ms(1_000), "24 endpoints, we among them");
    // Whoever heard that waits no longer for the next than it said.
    hear(&mut one, 23..47);
    let (wait, rate) = next(&mut one);
    assert!(wait <= ms(1_050), "{wait:?}");
    assert_eq!(rate, ms(2_000), "48 endpoints");
    let (wait, rate) = next(&mut one);
    assert!((ms(1_900)..=ms(2_100)).contains(&wait), "{wait:?}");
    assert_eq!(rate, ms(2_000));
    hear(&mut one, 47..200);
    let _ = next(&mut one);
    assert_eq!(next(&mut one).1, ms(4_000), "and no longer");
    // A newcomer is told the same.
    one.hear(&native(500, "late", "10.0.9.9:5"));
    let sent = one.unicasts();
    assert_eq!(sent.iter().map(|o| announcement(&o.container).sent_rate).collect::<Vec<_>>(), [ms(4_000)]);
}

#[test]
fn a_late_timeout_announces_once() {
    let mut one = One::new(config());
    one.now = one.now + ms(60_000);
    one.discovery.handle_timeout(one.now);
    one.discovery.handle_timeout(one.now);
    assert_eq!(one.sent().len(), 1);
}

#[test]
fn each_interface_and_target_gets_its_own() {
    let mut config = config();
    config.targets = vec![socket(GROUP), socket("10.0.1.9:27320"), socket("127.0.0.1:27320"), socket("8.8.8.8:1")];
    config.targets.push(socket("[ff02::1]:27320"));
    let mut one = One::silent(config);
    let quiet = Interface { multicast: false, ..interface(1, "127.0.0.1", 8) };
    let interfaces =
        vec![quiet, interface(2, "10.0.0.1", 24), interface(3, "10.0.1.1", 24), interface(3, "fe80::1", 64)];
    one.discovery.handle_interfaces(one.now, interfaces);
    one.discovery.handle_timeout(one.now);
    let sent: Vec<_> = one.sent().into_iter().filter(|o| o.codec == Codec::Json).collect();
    let listen: Vec<_> =
        sent.iter().map(|o| (o.via, announcement(&o.container).listen_addr.unwrap().to_string())).collect();
    let expected = [
        (Via::Multicast { interface: 2 }, "10.0.0.1:40000"),
        (Via::Multicast { interface: 3 }, "10.0.1.1:40000"),
        (Via::Discovery, "10.0.1.1:40000"),
        (Via::Discovery, "127.0.0.1:40000"),
        (Via::Discovery, "10.0.0.1:40000"),
        (Via::Multicast { interface: 3 }, "[fe80::1]:40000"),
    ];
    assert_eq!(listen, expected.map(|(via, listen)| (via, listen.to_owned())));
}

#[test]
fn a_bound_address_is_announced_where_it_can_be_reached() {
    let mut config = config();
    config.data_ip = Some("10.0.0.7".parse().unwrap());
    config.targets.push(socket("[ff02::1]:27320"));
    let mut one = One::silent(config);
    one.discovery.handle_interfaces(one.now, vec![interface(2, "10.0.1.1", 24), interface(3, "fe80::1", 64)]);
    one.discovery.handle_timeout(one.now);
    let sent = one.sent();
    assert_eq!(vias(&sent), [(GROUP.to_owned(), Via::Multicast { interface: 2 }, Codec::Json)]);
    assert_eq!(announcement(&sent[0].container).listen_addr, Some(socket("10.0.0.7:40000")));
}

#[test]
fn an_unspecified_address_is_never_announced() {
    let mut one = One::silent(config());
    let unspecified = |index, discovery: &str| Interface {
        discovery: Some(socket(discovery)),
        ..interface(index, if index == 2 { "0.0.0.0" } else { "10.0.0.1" }, 24)
    };
    one.discovery.handle_interfaces(one.now, vec![unspecified(2, "0.0.0.0:1"), unspecified(3, "0.0.0.0:1")]);
    one.discovery.handle_timeout(one.now);
    let sent = one.sent();
    assert_eq!(sent.len(), 1);
    assert_eq!(announcement(&sent[0].container).listen_addr, Some(socket("10.0.0.1:40000")));
    assert_eq!(announcement(&sent[0].container).discovery_listen_addr, None);
}

#[test]
fn a_changed_interface_table_is_announced_at_once() {
    let mut one = One::new(config());
    one.discovery.handle_interfaces(one.now, vec![interface(2, "10.0.0.1", 24)]);
    assert!(one.discovery.poll_timeout() > Some(one.now), "it is the same");
    one.discovery.handle_interfaces(one.now, vec![interface(2, "10.0.0.77", 24)]);
    assert_eq!(one.discovery.poll_timeout(), Some(one.now));
    one.discovery.handle_timeout(one.now);
    assert_eq!(announcement(&one.sent()[0].container).listen_addr, Some(socket("10.0.0.77:40000")));
}

#[test]
fn messagepack_is_announced_while_a_classic_peer_speaks_it() {
    let mut one = One::new(config());
    let codecs = |one: &mut One| {
        one.wait(ms(1_100));
        one.sent().into_iter().filter(|o| o.to == socket(GROUP)).map(|o| o.codec).collect::<Vec<_>>()
    };
    one.hear_from(socket("10.0.0.3:1"), Codec::MessagePack, &native(3, "native", "10.0.0.3:5"));
    one.hear_from(socket("10.0.0.4:1"), Codec::Json, &classic(4, "json", "10.0.0.4:5"));
    assert_eq!(codecs(&mut one), [Codec::Json], "neither of them needs it");
    one.hear_from(socket("10.0.0.2:1"), Codec::MessagePack, &classic(2, "two", "10.0.0.2:5"));
    assert_eq!(codecs(&mut one), [Codec::Json, Codec::MessagePack]);
    one.hear_from(socket("10.0.0.2:1"), Codec::MessagePack, &classic(2, "two", "10.0.0.2:5"));
    assert_eq!(codecs(&mut one), [Codec::Json, Codec::MessagePack]);
    one.wait(ms(1_000));
    let _ = one.sent();
    assert_eq!(codecs(&mut one), [Codec::Json], "it expired");
}

#[test]
fn a_unicast_target_gets_both_codecs_until_a_native_peer_answers() {
    let mut world = World::new();
    world.start(&["10.0.0.2:27320", "10.0.0.250:27320"], 1);
    world.run(ms(500));
    let to =
        |world: &World, to: &str| world.sent.iter().filter(|s| s.to == socket(to)).map(|s| s.codec).collect::<Vec<_>>();
    let both = [Codec::Json, Codec::MessagePack];
    assert_eq!((to(&world, "10.0.0.2:27320"), to(&world, "10.0.0.250:27320")), (both.to_vec(), both.to_vec()));
    world.start(&[], 1);
    world.run(ms(1_000));
    world.sent.clear();
    world.run(ms(1_000));
    assert_eq!(to(&world, "10.0.0.2:27320"), [Codec::Json]);
    assert_eq!(to(&world, "10.0.0.250:27320"), both);
}

#[test]
fn goodbye_goes_to_the_targets_and_to_every_native_peer() {
    let mut one = One::new(config());
    one.hear(&native(2, "two", "10.0.0.2:5")).hear(&classic(3, "three", "10.0.0.3:5"));
    one.discovery.leave(one.now);
    one.discovery.leave(one.now);
    let sent = one.sent();
    let expected = [(GROUP.to_owned(), Via::Multicast { interface: 2 }), ("10.0.0.2:27320".to_owned(), Via::Discovery)];
    assert_eq!(sent.iter().map(|o| (o.to.to_string(), o.via)).collect::<Vec<_>>(), expected);
    for outgoing in &sent {
        let said = announcement(&outgoing.container);
        assert_eq!(said.sent_rate, Duration::from_nanos(1));
        assert_eq!(said.native, Some(Native { goodbye: true, ..life(10) }));
    }
    one.hear(&native(4, "four", "10.0.0.4:5"));
    one.discovery.handle_interfaces(one.now, vec![interface(2, "10.0.0.77", 24)]);
    one.wait(ms(10_000));
    assert_eq!((one.sent(), one.discovery.poll_timeout()), (vec![], None));
    assert_eq!(one.discovery.stats().ignored_leaving, 1);
    assert_eq!(one.names(), [""; 0], "the others expired");
}

#[test]
fn jobs_are_bounded() {
    let mut config = config();
    config.max_jobs = 5;
    let mut one = One::new(config);
    one.wait(ms(20_000));
    assert_eq!(one.discovery.outbox.len(), 5);
    assert!(one.discovery.stats().jobs_dropped >= 14);
    assert_eq!(one.sent().len(), 5);
}

#[test]
fn a_config_out_of_range_is_refused() {
    type Change = fn(&mut Config);
    let bad: [(Change, &str); 10] = [
        (|c| c.name.clear(), "name"),
        (|c| c.name = "x".repeat(1_025), "name"),
        (|c| c.announce_interval = ms(9), "interval"),
        (|c| c.timeout_multiplier = f64::NAN, "multiplier"),
        (|c| c.timeout_multiplier = 0.9, "multiplier"),
        (|c| c.targets = vec![socket("0.0.0.0:1")], "no address to announce"),
        (|c| c.data_port = 0, "data"),
        (|c| c.data_ip = Some("0.0.0.0".parse().unwrap()), "data"),
        (|c| c.max_peers = 0, "max_peers"),
        (|c| c.max_jobs = 0, "max_jobs"),
    ];
    for (change, word) in bad {
        let mut config = config();
        change(&mut config);
        let error: ConfigError = Discovery::new(config, Rng::new(1), Instant::ZERO).unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
    }
}
