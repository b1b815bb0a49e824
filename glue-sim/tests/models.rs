//! Loss of every sort, translators of addresses, strangers, clocks that jump.

mod toy;

use std::net::SocketAddr;
use std::time::Duration;

use glue_net::{Instant, Via};
use glue_sim::{Bursts, Host, Hostile, Link, Nat, NodeId, Shape, Sort, Trick, World};
use toy::{Ask, Told, Toy, letter, ms, multicast, numbers, received, send, us, world};

/// Sends `count` letters of 4 bytes over `link`; gives the numbers of those that arrived.
fn arrived(seed: u64, link: Link, count: u32) -> Vec<u32> {
    let (mut world, [alice, bob]) = world(seed);
    world.set_link(alice, bob, link);
    let to = world.address(bob);
    for number in 0..count {
        send(&mut world, alice, to, letter(number));
    }
    world.run_for(ms(10));
    numbers(&received(&mut world, bob))
}

#[test]
fn bursts_have_the_shares_and_lengths_that_the_four_numbers_say() {
    // Four bursts of loss in a thousand datagrams, of 20 each, in which three of four are lost; one in a hundred else.
    let bursts = Bursts { begin: 0.004, end: 0.05, loss_within: 0.75, loss_between: 0.01 };
    let expected = bursts.loss();
    assert!((0.0648..0.0649).contains(&expected), "{expected}");
    let numbers = arrived(1, Link::perfect().bursts(bursts), 400_000);
    let loss = 1.0 - numbers.len() as f64 / 400_000.0;
    assert!((loss - expected).abs() < 0.005, "{loss} lost, {expected} expected");

    // With h = k = 0 every loss is a burst: lengths are geometric with the mean 1 / p.
    let all = Bursts { begin: 0.01, end: 0.1, loss_within: 1.0, loss_between: 0.0 };
    let numbers = arrived(2, Link::perfect().bursts(all), 200_000);
    let gaps: Vec<u32> = numbers.windows(2).map(|pair| pair[1] - pair[0] - 1).filter(|gap| *gap > 0).collect();
    let mean = f64::from(gaps.iter().sum::<u32>()) / gaps.len() as f64;
    assert!((9.3..10.7).contains(&mean), "{mean} in a row");
    let single = gaps.iter().filter(|gap| **gap == 1).count() as f64 / gaps.len() as f64;
    assert!((0.08..0.12).contains(&single), "{single} of one datagram");
    assert_eq!(arrived(3, Link::perfect().bursts(Bursts { begin: 0.0, ..all }), 1_000).len(), 1_000);
}

#[test]
fn loss_by_size_takes_one_side_of_a_length() {
    for (sort, left) in [(Sort::LongerThan(500), [1, 500]), (Sort::ShorterThan(501), [501, 1_200])] {
        let (mut world, [alice, bob]) = world(4);
        world.set_default_link(Link::perfect().sift(sort, 1.0));
        let to = world.address(bob);
        for len in [1, 500, 501, 1_200] {
            send(&mut world, alice, to, vec![0; len]);
        }
        world.run_for(ms(1));
        let lengths: Vec<usize> = received(&mut world, bob).iter().map(|(.., letter)| letter.len()).collect();
        assert_eq!(lengths, left);
        assert_eq!(world.stats().lost, 2);
    }
    // A share of them, and nothing of the others.
    let link = || Link::perfect().sift(Sort::ShorterThan(5), 0.3);
    let share = arrived(5, link(), 20_000).len() as f64 / 20_000.0;
    assert!((0.68..0.72).contains(&share), "{share}");
}

/// What of an announcement, a short and a long datagram arrives.
fn of_each(link: Link) -> (usize, Vec<usize>) {
    let (mut world, [alice, bob]) = world(6);
    world.set_default_link(link);
    let to = world.address(bob);
    multicast(&mut world, alice, b"announcement, longer than what is taken for control by its length");
    world.run_for(ms(1));
    let heard = received(&mut world, bob).len();
    let from_discovery = vec![0; 300];
    world.command(alice, Ask::Send(to, from_discovery.into(), Via::Discovery));
    for len in [40, 200] {
        send(&mut world, alice, to, vec![0; len]);
    }
    world.run_for(ms(1));
    (heard, received(&mut world, bob).iter().map(|(.., letter)| letter.len()).collect())
}

#[test]
fn control_data_multicast_and_unicast_are_lost_apart() {
    assert_eq!(of_each(Link::perfect()), (1, vec![300, 40, 200]));
    assert_eq!(of_each(Link::perfect().sift(Sort::Control, 1.0)), (0, vec![200]));
    assert_eq!(of_each(Link::perfect().sift(Sort::Data, 1.0)), (1, vec![300, 40]));
    assert_eq!(of_each(Link::perfect().sift(Sort::Multicast, 1.0)), (0, vec![300, 40, 200]));
    assert_eq!(of_each(Link::perfect().sift(Sort::Unicast, 1.0)), (1, vec![]));
    let both = Link::perfect().sift(Sort::Control, 1.0).sift(Sort::Data, 1.0);
    assert_eq!(of_each(both), (0, vec![]));
}

#[test]
fn a_classifier_of_one_s_own_says_what_control_is() {
    let (mut world, [alice, bob]) = world(7);
    world.set_classifier(|_, datagram| datagram.first() == Some(&b'c'));
    world.set_link(alice, bob, Link::perfect().sift(Sort::Control, 1.0));
    let (to_bob, to_alice) = (world.address(bob), world.address(alice));
    for text in ["control", "data"] {
        send(&mut world, alice, to_bob, text);
        // Loss has one direction.
        send(&mut world, bob, to_alice, text);
    }
    world.run_for(ms(1));
    let texts = |got: Vec<(_, _, bytes::Bytes)>| got.into_iter().map(|(.., text)| text).collect::<Vec<_>>();
    assert_eq!(texts(received(&mut world, bob)), ["data"]);
    assert_eq!(texts(received(&mut world, alice)), ["control", "data"]);
}

#[test]
fn a_bloated_queue_delays_by_seconds_and_drops_late() {
    let (mut world, [alice, bob]) = world(8);
    world.set_default_link(Link::perfect().latency(ms(10)).bloated(100_000, ms(2_000)));
    let to = world.address(bob);
    for number in 0..300 {
        send(&mut world, alice, to, [&number_bytes(number)[..], &[0; 996]].concat());
    }
    assert_eq!(world.backlog(alice, bob), ms(2_000));
    world.run_for(ms(3_000));
    let got = received(&mut world, bob);
    // 200 of 1,000 bytes fit: the last of them waits for two seconds.
    assert_eq!((got.len(), world.stats().queue_full), (200, 100));
    assert_eq!(got[199].0.since(Instant::ZERO), ms(2_010));
}

fn number_bytes(number: u32) -> [u8; 4] {
    number.to_be_bytes()
}

#[test]
fn a_black_hole_swallows_what_was_short_enough_before() {
    let (mut world, [alice, bob]) = world(9);
    let to = world.address(bob);
    let lengths = |world: &mut World<Toy>| {
        for len in [1_200, 1_452] {
            send(world, alice, to, vec![0; len]);
        }
        world.run_for(ms(1));
        received(world, bob).iter().map(|(.., letter)| letter.len()).collect::<Vec<_>>()
    };
    assert_eq!(lengths(&mut world), [1_200, 1_452]);
    world.set_link(alice, bob, Link::perfect().mtu(1_280));
    assert_eq!(lengths(&mut world), [1_200]);
    assert_eq!(world.stats().too_big, 1);
}

/// A node behind a translator, one beside it, one in the world.
fn home(nat: Nat) -> (World<Toy>, [NodeId; 3]) {
    let mut world = World::new(10);
    let inside = |world: &mut World<Toy>| world.add_node(Host::default().segment(1).behind(nat), toy::toy);
    let (alice, bob) = (inside(&mut world), inside(&mut world));
    let carol = world.add_node(Host::default(), toy::toy);
    (world, [alice, bob, carol])
}

/// Sends from one node to an address, and gives from where it came to the other, if it did.
fn seen_from(world: &mut World<Toy>, sender: NodeId, to: SocketAddr, receiver: NodeId) -> Option<SocketAddr> {
    send(world, sender, to, "x");
    world.run_for(ms(1));
    received(world, receiver).first().map(|(_, from, _)| *from)
}

#[test]
fn behind_a_translator_one_is_reached_where_one_has_sent_from() {
    let nat = Nat::new([198, 51, 100, 1].into());
    let (mut world, [alice, bob, carol]) = home(nat);
    let [a, b, c] = [alice, bob, carol].map(|node| world.address(node));
    // An inside address leads nowhere from outside, but to those beside it.
    assert_eq!(seen_from(&mut world, carol, a, alice), None);
    assert_eq!(seen_from(&mut world, bob, a, alice), Some(b));
    let outside = seen_from(&mut world, alice, c, carol).expect("outwards all is open");
    assert_eq!(outside.ip(), nat.outside);
    assert_eq!(seen_from(&mut world, carol, outside, alice), Some(c));
    // The same for all destinations, and another for another node.
    assert_eq!(seen_from(&mut world, alice, c, carol), Some(outside));
    let other = seen_from(&mut world, bob, c, carol).expect("outwards all is open");
    assert!(other != outside && other.ip() == nat.outside);
    // Whom it has not sent to does not get in.
    let dave = world.add_node(Host::default(), toy::toy);
    assert_eq!(seen_from(&mut world, dave, outside, alice), None);
    let d = world.address(dave);
    assert_eq!(seen_from(&mut world, alice, d, dave), Some(outside));
    assert_eq!(seen_from(&mut world, dave, outside, alice), Some(d));
}

#[test]
fn a_translator_without_filter_lets_all_in_and_forgets_in_time() {
    let nat = Nat { filters: false, forgets: ms(5_000), ..Nat::new([198, 51, 100, 1].into()) };
    let (mut world, [alice, _, carol]) = home(nat);
    let c = world.address(carol);
    let dave = world.add_node(Host::default(), toy::toy);
    let outside = seen_from(&mut world, alice, c, carol).unwrap();
    assert!(seen_from(&mut world, dave, outside, alice).is_some());
    // What comes in does not keep it alive.
    world.run_for(ms(4_000));
    assert!(seen_from(&mut world, dave, outside, alice).is_some());
    world.run_for(ms(1_500));
    assert_eq!(seen_from(&mut world, dave, outside, alice), None);
    let later = seen_from(&mut world, alice, c, carol).unwrap();
    assert_ne!(later, outside);
}

#[test]
fn a_rebinding_gives_another_port_and_what_is_under_way_finds_nobody() {
    let (mut world, [alice, _, carol]) = home(Nat::new([198, 51, 100, 1].into()));
    let c = world.address(carol);
    let outside = seen_from(&mut world, alice, c, carol).unwrap();
    world.set_default_link(Link::perfect().latency(ms(10)));
    send(&mut world, carol, outside, "x");
    world.run_for(ms(5));
    world.rebind(alice);
    world.run_for(ms(10));
    assert_eq!(received(&mut world, alice), []);
    world.set_default_link(Link::perfect());
    let now = seen_from(&mut world, alice, c, carol).unwrap();
    assert!(now != outside && now.ip() == outside.ip());
    assert_eq!(seen_from(&mut world, carol, outside, alice), None);
    assert_eq!(seen_from(&mut world, carol, now, alice), Some(c));

    // Without a translator it is the node's own port that changes.
    let before = c;
    world.rebind(carol);
    let after = world.address(carol);
    assert_eq!((after.ip(), after.port()), (before.ip(), before.port() + 1));
    assert_eq!(seen_from(&mut world, alice, before, carol), None);
    assert!(seen_from(&mut world, alice, after, carol).is_some());
}

#[test]
fn shapes_cut_what_they_say() {
    let cuts = |shape: Shape, count: u32| {
        let nodes = || (0..count).map(NodeId::new);
        let pairs = nodes().flat_map(|a| nodes().map(move |b| (a, b)));
        pairs
            .filter(|(a, b)| shape.cuts(count as usize, *a, *b))
            .map(|(a, b)| (a.index(), b.index()))
            .collect::<Vec<_>>()
    };
    let node = NodeId::new;
    assert_eq!(cuts(Shape::Halves, 3), [(0, 2), (1, 2), (2, 0), (2, 1)]);
    assert_eq!(cuts(Shape::Halves, 4).len(), 8);
    assert_eq!(cuts(Shape::Thirds, 3), [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)]);
    assert_eq!(cuts(Shape::Thirds, 6).len(), 24);
    assert_eq!(cuts(Shape::Isolated(node(1)), 3), [(0, 1), (1, 0), (1, 2), (2, 1)]);
    assert_eq!(cuts(Shape::OneWay(node(0), node(2)), 3), [(0, 2)]);
    // 0 reaches 1, 1 reaches 2, but 0 does not reach 2.
    assert_eq!(cuts(Shape::NonTransitive, 3), [(0, 2), (2, 0)]);

    let (mut world, [a, b, c]) = world(11);
    world.split(&Shape::NonTransitive);
    let to = world.address(c);
    assert_eq!(seen_from(&mut world, a, to, c), None);
    assert!(seen_from(&mut world, b, to, c).is_some());
    world.heal();
    assert!(seen_from(&mut world, a, to, c).is_some());
}

/// All that a stranger with one trick sent to Bob, while Alice sends 2,000 letters of 100 bytes to him.
fn forged(trick: Trick, spoofs: bool) -> (Vec<(SocketAddr, bytes::Bytes)>, [SocketAddr; 2]) {
    let (mut world, [alice, bob]) = world(12);
    world.set_hostile(Some(Hostile { tricks: vec![trick], spoofs, ..Hostile::new(0.25) }));
    let [from, to] = [alice, bob].map(|node| world.address(node));
    let mut forged = Vec::new();
    for number in 0..2_000_u32 {
        let honest = [&number_bytes(number)[..], &[0; 96]].concat();
        send(&mut world, alice, to, honest.clone());
        world.run_for(us(200));
        let mut got = received(&mut world, bob);
        let own = got.iter().position(|(_, by, letter)| (*by, &letter[..]) == (from, &honest[..]));
        got.remove(own.expect("nothing honest is lost"));
        forged.extend(got.into_iter().map(|(_, by, letter)| (by, letter)));
    }
    world.set_hostile(None);
    let stats = world.stats();
    assert_eq!((stats.sent, stats.under_way()), (2_000 + forged.len() as u64, 0));
    assert!((430..570).contains(&forged.len()), "{} forged", forged.len());
    send(&mut world, alice, to, "x");
    world.run_for(ms(1));
    assert_eq!(received(&mut world, bob).len(), 1);
    (forged, [from, to])
}

#[test]
fn a_stranger_sends_what_looks_like_what_it_heard() {
    let zeros = |letter: &bytes::Bytes| letter.iter().skip(4).filter(|byte| **byte == 0).count();
    let (replayed, [alice, _]) = forged(Trick::Replay, true);
    assert!(replayed.iter().all(|(by, letter)| *by == alice && letter.len() == 100 && zeros(letter) == 96));
    let (altered, _) = forged(Trick::Alter, true);
    assert!(altered.iter().all(|(_, letter)| letter.len() == 100 && zeros(letter) >= 92));
    assert!(altered.iter().filter(|(_, letter)| zeros(letter) < 96).count() > altered.len() * 9 / 10);
    let (noise, _) = forged(Trick::Noise, false);
    assert!(noise.iter().all(|(by, letter)| *by == Hostile::ADDRESS && letter[..2] == [0, 0] && zeros(letter) < 20));
    let (spliced, _) = forged(Trick::Splice, true);
    let lengths: std::collections::BTreeSet<usize> = spliced.iter().map(|(_, letter)| letter.len()).collect();
    assert!(lengths.len() > 50 && lengths.iter().all(|len| *len < 200), "{lengths:?}");
}

#[test]
fn what_is_injected_comes_from_wherever_it_says() {
    let (mut world, [alice, bob]) = world(13);
    let from: SocketAddr = "192.0.2.7:9".parse().unwrap();
    let seen = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let kept = std::rc::Rc::clone(&seen);
    world.trace(move |record| kept.borrow_mut().push(record.to_string()));
    let to = world.address(bob);
    world.inject(from, to, "hello");
    world.inject(from, glue_sim::DISCOVERY_GROUP, "all");
    world.inject(from, "192.0.2.8:9".parse().unwrap(), "nobody");
    world.run_for(ms(1));
    assert_eq!(received(&mut world, bob).iter().map(|(_, by, _)| *by).collect::<Vec<_>>(), [from, from]);
    assert_eq!(received(&mut world, alice).len(), 1);
    assert!(seen.borrow()[0].contains("a stranger -> 192.0.2.8:9: 6 bytes, Unreachable"), "{:?}", seen.borrow());
    assert_eq!((world.stats().copies, world.stats().delivered, world.stats().unreachable), (4, 3, 1));
}

#[test]
#[should_panic(expected = "Hostile::rate is 0.7; 0 to 0.5 expected")]
fn a_stranger_that_answers_itself_is_refused() {
    world::<1>(14).0.set_hostile(Some(Hostile::new(0.7)));
}

#[test]
fn clocks_jump_and_drift_each_for_itself() {
    let hour = Duration::from_secs(3_600);
    let (mut world, [alice, bob]) = world(15);
    world.set_drift(bob, -500);
    world.command(alice, Ask::WakeAt(Instant::ZERO + hour));
    world.run_for(ms(10_000));
    world.jump_clock(alice, hour);
    assert_eq!(world.local_now(alice), Instant::ZERO + hour + ms(10_000));
    // 500 ppm of ten seconds are five milliseconds.
    assert_eq!(world.local_now(bob), Instant::ZERO + ms(10_000) - ms(5));
    world.run_for(ms(1));
    let woken = world.take_events(alice).into_iter().find(|(_, told)| matches!(told, Told::Woke(_)));
    assert_eq!(woken.map(|(at, _)| at), Some(Instant::ZERO + ms(10_000)), "at once: it is late by its clock");

    let truth = world.wall(bob);
    world.set_wall_offset_nanos(alice, 3_600_000_000_000);
    assert_eq!(world.wall(alice).since(truth), hour);
    world.set_wall_offset_nanos(alice, -3_600_000_000_000);
    assert_eq!(truth.since(world.wall(alice)), hour);
}

#[test]
fn a_storm_of_joins_starts_at_one_moment() {
    let mut world = World::new(16);
    let nodes: Vec<NodeId> = (0..50).map(|_| world.add_node_later(Host::default(), toy::toy)).collect();
    assert!(nodes.iter().all(|node| !world.is_running(*node)));
    world.run_for(ms(100));
    for node in &nodes {
        world.restart(*node);
    }
    let contexts: Vec<_> = nodes.iter().map(|node| world.node(*node).unwrap().context.clone()).collect();
    assert!(contexts.iter().all(|context| context.now == Instant::ZERO + ms(100) && context.restarts == 0));
}
