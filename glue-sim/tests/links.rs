//! What links do to datagrams.

mod toy;

use glue_net::{Instant, Via};
use glue_sim::{Host, Link, World};
use toy::{Ask, letter, ms, numbers, received, send, us, world};

/// Sends `count` letters of 4 bytes over `link`, one each 10 microseconds; gives the numbers of those that arrived.
fn sent_over(seed: u64, link: Link, count: u32) -> (World<toy::Toy>, Vec<u32>) {
    let (mut world, [alice, bob]) = world(seed);
    world.set_link(alice, bob, link);
    let to = world.address(bob);
    for number in 0..count {
        send(&mut world, alice, to, letter(number));
        world.run_for(us(10));
    }
    world.run_for(ms(10_000));
    let numbers = numbers(&received(&mut world, bob));
    (world, numbers)
}

#[test]
fn a_perfect_link_keeps_all_in_order_and_in_time() {
    let (mut world, [alice, bob]) = world(1);
    world.set_default_link(Link::perfect().latency(ms(3)));
    let (from, to) = (world.address(alice), world.address(bob));
    for number in 0..100 {
        send(&mut world, alice, to, letter(number));
    }
    world.run_for(ms(3));
    let got = received(&mut world, bob);
    assert_eq!(numbers(&got), (0..100).collect::<Vec<_>>());
    assert!(got.iter().all(|(at, by, _)| *at == Instant::ZERO + ms(3) && *by == from));
    assert_eq!((world.stats().sent, world.stats().delivered, world.stats().delivered_bytes), (100, 100, 400));
}

#[test]
fn the_share_of_loss_is_the_one_asked_for() {
    for loss in [0.01, 0.2, 0.5, 0.9] {
        let (world, numbers) = sent_over(2, Link::lossy(loss), 20_000);
        let lost = f64::from(20_000 - u32::try_from(numbers.len()).unwrap()) / 20_000.0;
        // Four standard deviations.
        assert!((lost - loss).abs() < 4.0 * (loss * (1.0 - loss) / 20_000.0).sqrt(), "{lost} lost, {loss} asked for");
        assert_eq!(world.stats().lost, 20_000 - numbers.len() as u64);
        assert_eq!(world.stats().under_way(), 0);
        assert!(numbers.is_sorted());
    }
    assert!(sent_over(2, Link::lossy(1.0), 100).1.is_empty());
}

#[test]
fn loss_in_bursts_keeps_its_share() {
    let (_, numbers) = sent_over(3, Link::lossy(0.2).loss_burst(8.0), 50_000);
    let lost = 50_000 - numbers.len();
    let bursts = numbers.windows(2).filter(|pair| pair[1] - pair[0] > 1).count();
    let (share, length) = (lost as f64 / 50_000.0, lost as f64 / bursts as f64);
    assert!((0.18..0.22).contains(&share), "{share} lost");
    assert!((7.0..9.0).contains(&length), "{length} in a row");
}

#[test]
fn duplicates_arrive_twice() {
    let (world, numbers) = sent_over(4, Link::perfect().duplicate(0.25), 10_000);
    let stats = world.stats();
    assert!((2_300..2_700).contains(&stats.duplicated), "{}", stats.duplicated);
    assert_eq!((stats.sent, stats.copies, stats.delivered), (10_000, 10_000 + stats.duplicated, stats.copies));
    let mut once = numbers.clone();
    once.dedup();
    assert_eq!(once, (0..10_000).collect::<Vec<_>>());
    assert_eq!(numbers.len() as u64, stats.delivered);
}

#[test]
fn jitter_alone_keeps_order() {
    let (mut world, [alice, bob]) = world(5);
    world.set_default_link(Link::perfect().latency(ms(1)).jitter(ms(4)));
    let to = world.address(bob);
    let mut delays = Vec::new();
    for number in 0..500 {
        let sent = world.now();
        send(&mut world, alice, to, letter(number));
        world.run_for(ms(6));
        let got = received(&mut world, bob);
        assert_eq!(numbers(&got), [number]);
        delays.push(got[0].0.since(sent));
    }
    assert!(delays.iter().all(|delay| (ms(1)..=ms(5)).contains(delay)));
    assert!(delays.iter().any(|delay| *delay < us(1_200)) && delays.iter().any(|delay| *delay > us(4_800)));

    let (_, numbers) = sent_over(5, Link::perfect().jitter(ms(4)), 1_000);
    assert_eq!(numbers, (0..1_000).collect::<Vec<_>>());
}

#[test]
fn reordered_datagrams_are_overtaken() {
    let (world, numbers) = sent_over(6, Link::perfect().reorder(0.1, us(100)), 10_000);
    assert!((850..1_150).contains(&world.stats().reordered));
    // 100 microseconds are ten letters, of which one in ten is held back too.
    let overtaken = numbers.windows(2).filter(|pair| pair[1] < pair[0]).count();
    assert!((600..1_150).contains(&overtaken), "{overtaken}");
    let mut sorted = numbers;
    sorted.sort_unstable();
    assert_eq!(sorted, (0..10_000).collect::<Vec<_>>());
}

#[test]
fn corruption_flips_one_bit_or_cuts_the_end() {
    let (mut world, [alice, bob]) = world(7);
    world.set_default_link(Link::perfect().corrupt(0.5));
    let to = world.address(bob);
    for _ in 0..1_000 {
        send(&mut world, alice, to, vec![0; 100]);
    }
    send(&mut world, alice, to, "");
    world.run_for(ms(1));
    let got = received(&mut world, bob);
    let flipped =
        got.iter().filter(|(.., letter)| letter.iter().map(|byte| byte.count_ones()).sum::<u32>() == 1).count();
    let cut = got.iter().filter(|(.., letter)| letter.len() < 100 && letter.iter().all(|byte| *byte == 0)).count() - 1;
    assert!((200..300).contains(&flipped) && (200..300).contains(&cut), "{flipped} {cut}");
    assert_eq!(world.stats().corrupted, (flipped + cut) as u64);
    assert_eq!(got.len(), 1_001);
}

#[test]
fn a_slow_link_delays_what_it_queues_and_drops_what_does_not_fit() {
    let (mut world, [alice, bob]) = world(8);
    // 1 byte per microsecond; ten datagrams of 1,000 bytes fit.
    world.set_default_link(Link::perfect().latency(ms(5)).rate(1_000_000, 10_000));
    let to = world.address(bob);
    for _ in 0..15 {
        send(&mut world, alice, to, vec![0; 1_000]);
    }
    world.run_for(ms(100));
    let arrivals: Vec<_> = received(&mut world, bob).iter().map(|(at, ..)| at.since(Instant::ZERO)).collect();
    assert_eq!(arrivals, (6..16).map(ms).collect::<Vec<_>>());
    assert_eq!(world.stats().queue_full, 5);

    // At a pace that it can carry, nothing waits and nothing is lost.
    for _ in 0..50 {
        send(&mut world, alice, to, vec![0; 1_000]);
        world.run_for(ms(1));
    }
    world.run_for(ms(5));
    assert_eq!(received(&mut world, bob).len(), 50);

    // It takes any datagram while it is idle, though the queue could not hold it.
    send(&mut world, alice, to, vec![0; 20_000]);
    world.run_for(ms(25));
    assert_eq!(received(&mut world, bob).len(), 1);
}

#[test]
fn links_of_one_bottleneck_share_its_queue() {
    let mut world = World::new(8);
    let [alice, bob, carol, dave] = [(); 4].map(|()| world.add_node(Host::default(), toy::toy));
    let link = Link::perfect().rate(1_000_000, 10_000).bottleneck(7);
    world.set_link(alice, carol, link.clone());
    world.set_link(bob, dave, link);
    let (to_carol, to_dave) = (world.address(carol), world.address(dave));
    for _ in 0..8 {
        send(&mut world, alice, to_carol, vec![0; 1_000]);
        send(&mut world, bob, to_dave, vec![0; 1_000]);
    }
    assert_eq!((world.backlog(alice, carol), world.backlog(bob, dave)), (ms(10), ms(10)));
    assert_eq!(world.backlog(alice, dave), ms(0));
    world.run_for(ms(20));
    assert_eq!((received(&mut world, carol).len(), received(&mut world, dave).len()), (5, 5));
    assert_eq!(world.stats().queue_full, 6);
}

#[test]
fn a_datagram_longer_than_the_mtu_is_dropped() {
    let (mut world, [alice, bob]) = world(9);
    world.set_default_link(Link::perfect().mtu(1_200));
    let to = world.address(bob);
    for len in [1_199, 1_200, 1_201, 9_000] {
        send(&mut world, alice, to, vec![0; len]);
    }
    world.run_for(ms(1));
    assert_eq!(received(&mut world, bob).iter().map(|(.., letter)| letter.len()).collect::<Vec<_>>(), [1_199, 1_200]);
    assert_eq!(world.stats().too_big, 2);
}

#[test]
fn a_link_has_one_direction_and_can_be_reset() {
    let (mut world, [alice, bob]) = world(10);
    world.set_link(alice, bob, Link::perfect().latency(ms(50)));
    let (a, b) = (world.address(alice), world.address(bob));
    let delays = |world: &mut World<_>| {
        let sent = world.now();
        send(world, alice, b, "there");
        send(world, bob, a, "back");
        world.run_for(ms(100));
        [bob, alice].map(|node| received(world, node)[0].0.since(sent))
    };
    assert_eq!(delays(&mut world), [ms(50), us(100)]);
    world.reset_link(alice, bob);
    assert_eq!(delays(&mut world), [us(100), us(100)]);
}

#[test]
fn nodes_of_one_machine_are_joined_by_loopback() {
    let mut world = World::new(11);
    let alice = world.add_node(Host::default(), toy::toy);
    let ip = world.address(alice).ip();
    let bob = world.add_node(Host::default().at((ip, 40_001).into()).discovery_port(Some(50_000)), toy::toy);
    world.set_loopback(Link::perfect().latency(us(7)));
    for node in [alice, bob] {
        let to = world.address(node);
        send(&mut world, alice, to, "hello");
    }
    world.run_for(us(7));
    assert_eq!([alice, bob].map(|node| received(&mut world, node).len()), [1, 1]);
}

#[test]
fn what_happens_on_one_path_changes_nothing_on_another() {
    let run = |noise: bool| {
        let (mut world, [alice, bob, carol]) = world(12);
        world.set_default_link(Link::lossy(0.3).jitter(ms(2)).reorder(0.2, ms(1)));
        let (b, c) = (world.address(bob), world.address(carol));
        for number in 0..200 {
            send(&mut world, alice, b, letter(number));
            if noise {
                send(&mut world, alice, c, letter(number));
            }
            world.run_for(us(300));
        }
        world.run_for(ms(10));
        received(&mut world, bob)
    };
    assert_eq!(run(false), run(true));
}

#[test]
#[should_panic(expected = "Link::loss is 1.5; a probability from 0 to 1 expected")]
fn a_probability_out_of_range_is_refused() {
    let (mut world, [_]) = world(13);
    world.set_default_link(Link::lossy(1.5));
}

#[test]
fn an_address_that_nobody_has_is_unreachable() {
    let (mut world, [alice]) = world(14);
    send(&mut world, alice, "10.9.9.9:1".parse().unwrap(), "anyone?");
    assert_eq!((world.stats().copies, world.stats().unreachable), (1, 1));

    // Nor does a node send from a socket that it has not.
    let bob = world.add_node(Host::default().discovery_port(None), toy::toy);
    let to = world.address(alice);
    world.command(bob, Ask::Send(to, letter(1), Via::Discovery));
    world.command(bob, Ask::Send(to, letter(1), Via::Multicast { interface: 2 }));
    world.run_for(ms(1));
    assert_eq!((world.stats().unreachable, world.stats_of(bob).unreachable), (3, 2));
    assert_eq!(received(&mut world, alice), []);
}
