//! Who reaches whom.

mod toy;

use std::cell::RefCell;
use std::rc::Rc;

use glue_net::Via;
use glue_sim::{Action, DISCOVERY_GROUP, DISCOVERY_PORT, Fate, Host, INTERFACE, Link, NodeId, World};
use toy::{Ask, Toy, at_ms, letter, ms, multicast, received, send, us, world};

/// Every node sends to every node, itself included; gives the pairs whose letter arrived.
fn reach(world: &mut World<Toy>) -> Vec<(usize, usize)> {
    let nodes: Vec<NodeId> = world.nodes().collect();
    for sender in &nodes {
        for receiver in &nodes {
            let to = world.address(*receiver);
            send(world, *sender, to, "x");
        }
    }
    world.run_for(ms(50));
    let mut pairs = Vec::new();
    for receiver in &nodes {
        for (_, from, _) in received(world, *receiver) {
            let sender = nodes.iter().position(|node| world.address(*node) == from);
            pairs.push((sender.unwrap_or(usize::MAX), receiver.index()));
        }
    }
    pairs.sort_unstable();
    pairs
}

/// All pairs but these.
fn all_but(count: usize, missing: impl Fn(usize, usize) -> bool) -> Vec<(usize, usize)> {
    let pairs = (0..count).flat_map(|sender| (0..count).map(move |receiver| (sender, receiver)));
    pairs.filter(|(sender, receiver)| !missing(*sender, *receiver)).collect()
}

#[test]
fn a_partition_cuts_the_groups_from_each_other() {
    let (mut world, [a, b, c, d, _e]) = world(1);
    world.partition(&[vec![a, b], vec![c]]);
    let group = |node| [0, 0, 1, 2, 2][node];
    assert_eq!(reach(&mut world), all_but(5, |x, y| group(x) != group(y)));
    world.isolate(d);
    assert_eq!(reach(&mut world), all_but(5, |x, y| group(x) != group(y) || (x != y && (x == 3 || y == 3))));
    world.heal();
    assert_eq!(reach(&mut world), all_but(5, |_, _| false));
    assert_eq!(world.stats().cut, 16 + 18);
}

#[test]
fn a_cut_has_one_direction() {
    let (mut world, [a, b, _c]) = world(2);
    world.cut(a, b);
    assert_eq!(reach(&mut world), all_but(3, |x, y| (x, y) == (0, 1)));
}

#[test]
fn what_is_under_way_when_a_partition_begins_arrives() {
    let (mut world, [a, b]) = world(3);
    world.set_default_link(Link::perfect().latency(ms(10)));
    let to = world.address(b);
    send(&mut world, a, to, "before");
    world.after(ms(5), Action::Isolate(a)).after(ms(20), Action::Heal);
    world.after(ms(15), Action::Command(a, Ask::Send(to, letter(1), Via::Data)));
    world.run_for(ms(50));
    assert_eq!(received(&mut world, b).len(), 1);
    assert_eq!(world.stats().cut, 1);
}

#[test]
fn multicast_reaches_the_segment_and_the_sender() {
    let (mut world, [a, b, c]) = world(4);
    let deaf = world.add_node(Host::default().deaf(), toy::toy);
    let far = world.add_node(Host::default().segment(1), toy::toy);
    world.set_link(a, c, Link::lossy(1.0));
    multicast(&mut world, a, b"hello");
    world.run_for(ms(1));
    let heard = [a, b, c, deaf, far].map(|node| received(&mut world, node).len());
    assert_eq!(heard, [1, 1, 0, 0, 0]);
    let stats = world.stats();
    assert_eq!((stats.sent, stats.copies, stats.delivered, stats.lost), (1, 3, 2, 1));
    // Unicast leaves the segment.
    let to = world.address(far);
    send(&mut world, a, to, "hello");
    world.run_for(ms(1));
    assert_eq!(received(&mut world, far).len(), 1);
}

#[test]
fn each_receiver_loses_multicast_on_its_own() {
    let (mut world, [a, b, c]) = world(5);
    world.set_default_link(Link::lossy(0.5));
    let mut heard = [[0; 2]; 2];
    for _ in 0..1_000 {
        multicast(&mut world, a, b"hello");
        world.run_for(ms(1));
        let [b, c] = [b, c].map(|node| received(&mut world, node).len());
        heard[b][c] += 1;
    }
    assert!(heard.iter().flatten().all(|count| (200..300).contains(count)), "{heard:?}");
}

#[test]
fn multicast_and_unicast_fail_apart() {
    let (mut world, [a, b]) = world(6);
    let try_both = |world: &mut World<Toy>| {
        multicast(world, a, b"m");
        let to = world.address(b);
        send(world, a, to, "u");
        world.run_for(ms(1));
        let own = received(world, a).len();
        (own, received(world, b).into_iter().map(|(.., letter)| letter[0]).collect::<Vec<_>>())
    };
    world.set_multicast(false);
    assert_eq!(try_both(&mut world), (1, vec![b'u']));
    world.heal();
    world.set_unicast(false);
    assert_eq!(try_both(&mut world), (1, vec![b'm']));
    world.heal();
    assert_eq!(try_both(&mut world), (1, vec![b'm', b'u']));
}

#[test]
fn the_receiver_sees_the_address_of_the_socket_that_sent() {
    let (mut world, [a, b]) = world(7);
    let discovery = world.discovery_address(b).unwrap();
    let ip = world.address(a).ip();
    let ways =
        [(Via::Data, 40_000), (Via::Discovery, DISCOVERY_PORT), (Via::Multicast { interface: INTERFACE }, 27_320)];
    for (via, port) in ways {
        for to in [discovery, DISCOVERY_GROUP] {
            world.command(a, Ask::Send(to, letter(1), via));
            world.run_for(ms(1));
            let got = received(&mut world, b);
            assert_eq!(got.iter().map(|(_, from, _)| *from).collect::<Vec<_>>(), [(ip, port).into()]);
        }
    }
}

#[test]
fn a_node_that_moved_is_found_at_its_new_address_only() {
    let (mut world, [a, b]) = world(8);
    world.set_default_link(Link::perfect().latency(ms(10)));
    let old = world.address(b);
    send(&mut world, a, old, "under way");
    world.move_node(b, (old.ip(), 41_000).into());
    world.run_for(ms(20));
    assert_eq!((received(&mut world, b).len(), world.stats().unreachable), (0, 1));
    // As behind a NAT, only the port is another one.
    assert_eq!(world.discovery_address(b).unwrap().to_string(), "10.0.0.2:27320");

    world.move_node(b, "192.168.7.7:41000".parse().unwrap());
    assert_eq!(world.discovery_address(b).unwrap().to_string(), "192.168.7.7:27320");
    assert_eq!(world.interfaces(b)[0].discovery, world.discovery_address(b));
    for to in [old, world.address(b), world.discovery_address(b).unwrap()] {
        send(&mut world, a, to, "hello");
    }
    world.run_for(ms(20));
    assert_eq!((received(&mut world, b).len(), world.stats().unreachable), (2, 2));
    // The old address is free.
    world.add_node(Host::default().at(old), toy::toy);
}

#[test]
#[should_panic(expected = "10.0.0.1:40000 of node 1 belongs to another node")]
fn an_address_has_one_owner() {
    let (mut world, [a]) = world(9);
    let taken = world.address(a);
    world.add_node(Host::default().at(taken), toy::toy);
}

#[test]
fn the_interface_table_shows_the_host() {
    let (mut world, [a, b]) = world(10);
    let deaf = world.add_node(Host::default().deaf().discovery_port(None), toy::toy);
    let shown = world.interfaces(a);
    assert_eq!((shown.len(), shown[0].index, shown[0].multicast), (1, INTERFACE, true));
    assert_eq!(shown[0].discovery, world.discovery_address(a));
    assert!(shown[0].contains(world.address(b).ip()));
    assert_eq!(world.node(a).unwrap().context.interfaces, shown);
    assert_eq!((world.interfaces(deaf)[0].discovery, world.interfaces(deaf)[0].multicast), (None, false));
}

#[test]
fn the_trace_shows_every_fate() {
    let (mut world, [a, b, c]) = world(11);
    let lines = Rc::new(RefCell::new(Vec::new()));
    let sink = Rc::clone(&lines);
    world.trace(move |record| sink.borrow_mut().push((record.fate, record.to_string())));
    world.cut(a, c);
    world.set_link(b, a, Link::lossy(1.0));
    for (sender, receiver) in [(a, b), (a, c), (b, a)] {
        let to = world.address(receiver);
        send(&mut world, sender, to, "four");
    }
    world.at(at_ms(1), Action::Crash(c));
    world.run_for(ms(1));
    let to = world.address(c);
    send(&mut world, b, to, "four");
    world.run_for(us(100));
    let (fates, lines): (Vec<_>, Vec<_>) = lines.take().into_iter().unzip();
    assert_eq!(fates, [Fate::Cut, Fate::Lost, Fate::Delivered, Fate::Down]);
    assert_eq!(lines[2], "0.000100s node 0 -> 10.0.0.2:40000: 4 bytes, Delivered");
}
