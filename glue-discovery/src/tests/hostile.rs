//! Whatever is announced, nothing panics, and every table and queue keeps to its limit.

use std::net::{IpAddr, Ipv6Addr, SocketAddrV6};

use proptest::prelude::*;

use super::*;

fn any_ip() -> impl Strategy<Value = IpAddr> {
    const NAMES: [&str; 8] =
        ["0.0.0.0", "127.0.0.1", "10.0.0.1", "10.0.0.2", "10.0.1.2", "239.192.137.1", "255.255.255.255", "::1"];
    let v6 = any::<u128>().prop_map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits)));
    let mapped = Just("::ffff:10.0.0.2".parse().unwrap());
    prop_oneof![
        proptest::sample::select(&NAMES[..]).prop_map(|n| n.parse().unwrap()),
        any::<[u8; 4]>().prop_map(IpAddr::from),
        v6,
        mapped
    ]
}

fn any_address() -> impl Strategy<Value = SocketAddr> {
    let port = prop_oneof![Just(0), Just(5), Just(27_320), any::<u16>()];
    let link =
        any::<u32>().prop_map(|scope| SocketAddr::V6(SocketAddrV6::new("fe80::2".parse().unwrap(), 5, 0, scope)));
    prop_oneof![4 => (any_ip(), port).prop_map(|(ip, port)| SocketAddr::new(ip, port)), 1 => link]
}

fn any_native() -> impl Strategy<Value = Option<Native>> {
    let incarnation = prop_oneof![0..3_u64, any::<u64>()].prop_map(Incarnation);
    let native = (0..3_u8, incarnation, any::<u64>(), prop::bool::weighted(0.1));
    prop::option::weighted(
        0.8,
        native.prop_map(|(version, incarnation, capabilities, goodbye)| Native {
            version,
            incarnation,
            capabilities,
            goodbye,
        }),
    )
}

fn any_announcement() -> impl Strategy<Value = Announcement> {
    let rate = prop_oneof![Just(0), Just(1_000_000_000), any::<u64>()].prop_map(Duration::from_nanos);
    let address = || prop::option::weighted(0.8, any_address());
    (rate, any::<u16>(), address(), address(), address(), any::<bool>(), any_native()).prop_map(
        |(sent_rate, listen_port, listen_addr, discovery_listen_addr, discovery_target_addr, forwarded, native)| {
            Announcement {
                sent_rate,
                listen_port,
                listen_addr,
                discovery_listen_addr,
                discovery_target_addr,
                forwarded,
                native,
            }
        },
    )
}

fn any_container() -> impl Strategy<Value = Container> {
    let who = (0..12_i64, 0..12_u8, prop::bool::weighted(0.05));
    (any_announcement(), who, prop::option::of(any_address()), any::<i64>()).prop_map(
        |(announcement, (id, name, is_elsewhere), received_from, sent)| Container {
            sent_timestamp: WallTime::from_unix_nanos(sent),
            received_from,
            network_id: NetworkId(if is_elsewhere { 2 } else { 1 }),
            source_endpoint_name: if name == 0 { "one".to_owned() } else { format!("p{name}") },
            body: Body::Announcement(announcement),
            ..classic(id, "", "10.0.0.2:5")
        },
    )
}

#[derive(Clone, Debug)]
enum Step {
    Hear(SocketAddr, Codec, Box<Container>),
    Wait(u64),
    Alive(u32),
    Interfaces(bool),
    Poll,
    Leave,
}

fn any_step() -> impl Strategy<Value = Step> {
    let codec = proptest::sample::select(&[Codec::Json, Codec::MessagePack][..]);
    prop_oneof![
        30 => (any_address(), codec, any_container()).prop_map(|(f, c, container)| Step::Hear(f, c, Box::new(container))),
        5 => (0..3_000_u64).prop_map(Step::Wait),
        1 => (0..20_u32).prop_map(Step::Alive),
        1 => any::<bool>().prop_map(Step::Interfaces),
        5 => Just(Step::Poll),
    ]
}

fn small() -> Config {
    let mut config = config();
    config.targets.push(socket("10.0.0.2:27320"));
    (config.max_peers, config.max_remembered, config.max_addresses, config.max_clashes) = (4, 4, 3, 3);
    (config.max_jobs, config.max_events, config.forward_budget) = (16, 8, 50);
    config
}

/// Takes one step; tells the datagrams that were sent.
fn step(one: &mut One, step: &Step) -> Vec<Outgoing> {
    match step {
        Step::Hear(from, codec, container) => drop(one.hear_from(*from, *codec, container)),
        Step::Wait(millis) => drop(one.wait(ms(*millis))),
        Step::Alive(peer) => one.discovery.handle_alive(one.now, PeerId(*peer)),
        Step::Interfaces(more) => {
            let mut table = vec![interface(2, "10.0.0.1", 24), interface(1, "127.0.0.1", 8)];
            table.truncate(if *more { 2 } else { 1 });
            one.discovery.handle_interfaces(one.now, table);
        }
        Step::Poll => {
            let _ = one.events();
            return one.sent();
        }
        Step::Leave => one.discovery.leave(one.now),
    }
    Vec::new()
}

fn check(one: &One) {
    let config = &one.discovery.config;
    assert!(one.discovery.peers().count() <= config.max_peers);
    assert!(one.discovery.outbox.len() <= config.max_jobs);
    for (peer, info) in one.discovery.peers() {
        assert_eq!(one.discovery.find(info.id, info.incarnation), Some(peer));
        assert!(info.data.port() != 0 && !info.data.ip().is_unspecified() && !info.data.ip().is_multicast());
        assert!(Config::INTERVALS.contains(&info.announce_interval));
        assert!(info.id != config.id && info.name != config.name);
    }
}

proptest! {
    #[test]
    fn nothing_announced_does_harm(steps in prop::collection::vec(any_step(), 1..200), leave in 0..400_usize) {
        let mut one = One::new(small());
        for (at, taken) in steps.iter().enumerate() {
            if at == leave {
                step(&mut one, &Step::Leave);
            }
            for outgoing in step(&mut one, taken) {
                prop_assert!(!outgoing.to.ip().is_unspecified() && outgoing.to.port() != 0);
                let said = announcement(&outgoing.container);
                prop_assert!(said.listen_addr.is_some_and(|a| !a.ip().is_unspecified()));
                prop_assert!(!outgoing.to.ip().is_multicast() || outgoing.to == socket(GROUP));
            }
            check(&one);
        }
        let events = one.events().len();
        prop_assert!(events <= 8 + 2 + 4 + 4, "{events} events waited");
    }

    /// Up and down alternate for each number, and tell exactly who is there.
    #[test]
    fn events_agree_with_the_table(steps in prop::collection::vec(any_step(), 1..100)) {
        let mut one = One::new(small());
        let mut there = std::collections::BTreeMap::new();
        for taken in &steps {
            if !matches!(taken, Step::Poll) {
                let _ = step(&mut one, taken);
            }
            let _ = one.sent();
            for event in one.events() {
                match event {
                    Event::PeerUp { peer, info } => prop_assert!(there.insert(peer, info.data).is_none()),
                    Event::PeerDown { peer, .. } => prop_assert!(there.remove(&peer).is_some()),
                    Event::PeerMoved { peer, from, to, .. } => prop_assert_eq!(there.insert(peer, to), Some(from)),
                    Event::Clash { .. } => {}
                }
            }
            let table: Vec<_> = one.discovery.peers().map(|(peer, info)| (peer, info.data)).collect();
            prop_assert_eq!(there.iter().map(|(p, d)| (*p, *d)).collect::<Vec<_>>(), table);
        }
    }
}
