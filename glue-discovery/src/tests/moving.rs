//! Where a peer takes data.

use super::world::World;
use super::*;

fn data(one: &One) -> String {
    one.discovery.peer(PeerId(1)).map_or_else(String::new, |p| p.data.to_string())
}

#[test]
fn a_peer_on_our_host_is_reached_by_the_loopback() {
    let mut world = World::new();
    let loopback = |index| interface(index, "127.0.0.1", 8);
    let ports = |mut interfaces: Vec<Interface>, port| {
        interfaces.iter_mut().for_each(|i| i.discovery = Some(SocketAddr::new(i.address, port)));
        interfaces
    };
    let host = || vec![interface(2, "10.0.0.1", 24), loopback(1)];
    world.start_at(0, &[GROUP], ports(host(), 27_320), |_| {});
    world.start_at(0, &[GROUP], ports(host(), 27_321), |_| {});
    world.start_at(1, &[GROUP], ports(vec![interface(2, "10.0.0.9", 24), loopback(1)], 27_320), |_| {});
    world.run(ms(10_000));
    assert!(world.is_complete());
    let to = |node: usize, name: &str| {
        let found = world.nodes[node].discovery.peers().find(|(_, info)| info.name == name);
        found.map(|(_, info)| (info.data.to_string(), info.discovery.unwrap().to_string())).unwrap()
    };
    assert_eq!(to(0, "n1"), ("127.0.0.1:40001".to_owned(), "127.0.0.1:27321".to_owned()));
    assert_eq!(to(1, "n0"), ("127.0.0.1:40000".to_owned(), "127.0.0.1:27320".to_owned()));
    assert_eq!(to(2, "n0"), ("10.0.0.1:40000".to_owned(), "10.0.0.1:27320".to_owned()));
    assert_eq!(to(0, "n2").0, "10.0.0.9:40002");
    let moves = world.nodes[0].events.iter().filter(|e| matches!(e, Event::PeerMoved { .. })).count();
    assert!(moves <= 1, "from the network to the loopback, and there it stays");
}

#[test]
fn a_peer_on_two_networks_keeps_its_address() {
    let mut world = World::new();
    world.start(&[GROUP], 2);
    world.start(&[GROUP], 2);
    world.run(ms(20_000));
    assert!(world.nodes.iter().all(|n| short(&n.events).len() == 1), "up, and no move");
    let announced = world.sent.iter().filter(|s| s.by == 0 && s.to == socket(GROUP)).count();
    assert!((40..=44).contains(&announced) && announced % 2 == 0, "each round out of two interfaces: {announced}");
}

#[test]
fn a_new_address_is_followed_after_an_interval_and_a_half() {
    let mut one = One::new(config());
    one.hear(&native(2, "two", "10.0.0.2:5")).wait(ms(500)).hear(&native(2, "two", "10.0.0.3:5"));
    let _ = one.events();
    one.wait(ms(999));
    assert_eq!(data(&one), "10.0.0.2:5");
    one.wait(ms(1));
    assert_eq!(short(&one.events()), [">1 10.0.0.2:5 10.0.0.3:5"]);
    assert_eq!(one.discovery.peer(PeerId(1)).unwrap().discovery, Some(socket("10.0.0.3:27320")));
}

#[test]
fn a_silent_address_is_left_at_once_if_there_is_another() {
    let mut one = One::new(config());
    one.hear(&native(2, "two", "10.0.0.2:5")).wait(ms(100));
    let _ = one.events();
    one.discovery.handle_silence(one.now, PeerId(1));
    assert_eq!(short(&one.events()), Vec::<String>::new(), "there is none");
    one.hear(&native(2, "two", "10.0.0.3:5"));
    one.discovery.handle_silence(one.now, PeerId(1));
    assert_eq!(short(&one.events()), [">1 10.0.0.2:5 10.0.0.3:5"]);
}

#[test]
fn a_new_port_is_followed_at_once() {
    let mut one = One::new(config());
    one.hear(&native(2, "two", "10.0.0.2:5")).hear(&native(2, "two", "10.0.0.2:6"));
    assert_eq!(short(&one.events()), ["+two 1", ">1 10.0.0.2:5 10.0.0.2:6"]);
}

#[test]
fn a_new_interface_of_ours_may_be_nearer() {
    let mut one = One::new(config());
    one.hear(&native(2, "two", "192.168.1.2:5")).hear(&native(2, "two", "192.168.2.2:5"));
    let _ = one.events();
    one.discovery.handle_interfaces(one.now, vec![interface(2, "10.0.0.1", 24), interface(3, "192.168.2.1", 24)]);
    assert_eq!(short(&one.events()), [">1 192.168.1.2:5 192.168.2.2:5"]);
    assert_eq!(one.discovery.stats().peers_moved, 1);
}

#[test]
fn old_peers_say_a_port_or_no_address() {
    let mut one = One::new(config());
    let nowhere = |a: &mut Announcement| (a.listen_addr, a.discovery_listen_addr) = (None, None);
    let from = socket("10.0.0.2:35887");
    one.hear_from(from, Codec::MessagePack, &with(classic(2, "two", "10.0.0.9:5"), nowhere));
    assert_eq!((one.names(), one.discovery.stats().ignored_unreachable), (vec![], 1));
    one.hear_from(from, Codec::Json, &with(classic(2, "two", "10.0.0.9:5"), nowhere));
    assert_eq!(data(&one), "10.0.0.2:5");
}

#[test]
fn an_unspecified_address_is_the_senders() {
    let mut one = One::new(config());
    one.hear_from(socket("10.0.0.2:35887"), Codec::MessagePack, &classic(2, "two", "0.0.0.0:5"));
    assert_eq!(data(&one), "10.0.0.2:5");
}

#[test]
fn an_ipv4_address_in_ipv6_clothes_is_an_ipv4_address() {
    let mut one = One::new(config());
    one.hear_from(socket("[::ffff:10.0.0.2]:35887"), Codec::Json, &native(2, "two", "[::ffff:10.0.0.2]:5"));
    assert_eq!(data(&one), "10.0.0.2:5");
}

#[test]
fn a_link_local_address_is_on_the_link_it_was_heard_on() {
    let mut one = One::new(config());
    let from = SocketAddr::V6(std::net::SocketAddrV6::new("fe80::2".parse().unwrap(), 35_887, 0, 4));
    one.hear_from(from, Codec::Json, &native(2, "two", "[fe80::2]:5"));
    assert_eq!(one.discovery.peer(PeerId(1)).unwrap().data.to_string(), "[fe80::2%4]:5");
}

#[test]
fn addresses_that_nobody_can_send_to_are_refused() {
    for bad in ["127.0.0.1:5", "239.1.1.1:5", "255.255.255.255:5", "10.0.0.2:0", "10.0.0.1:40000"] {
        let mut one = One::new(config());
        one.hear_from(socket("10.0.0.2:35887"), Codec::Json, &native(2, "two", bad));
        assert_eq!((one.names(), one.discovery.stats().ignored_unreachable), (vec![], 1), "{bad}");
    }
    let mut one = One::new(config());
    let peer = with(native(2, "two", "10.0.0.2:5"), |a| a.discovery_listen_addr = Some(socket(GROUP)));
    one.hear(&peer);
    assert_eq!(one.discovery.peer(PeerId(1)).unwrap().discovery, None, "nobody is answered at a group");
}

#[test]
fn a_peers_addresses_are_bounded() {
    let mut one = One::new(config());
    for host in 2..100 {
        one.hear(&native(2, "two", &format!("10.0.0.{host}:5")));
    }
    assert_eq!((data(&one).as_str(), one.discovery.stats().addresses_dropped), ("10.0.0.2:5", 90));
}

#[test]
fn a_move_to_where_the_peer_can_be_probed_leaves_no_timer_in_the_past() {
    let mut one = One::new(config());
    let mute = with(native(2, "two", "10.0.0.2:5"), |a| a.discovery_listen_addr = None);
    one.hear(&mute).wait(ms(150)).hear(&native(2, "two", "10.0.0.3:5"));
    let _ = one.sent();
    one.wait(ms(1_350));
    assert_eq!(data(&one), "10.0.0.3:5");
    assert_eq!(one.unicasts().len(), 1, "and there it is probed");
}
