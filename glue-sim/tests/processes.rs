//! Nodes as processes: clocks, timeouts, freezing, crashing, misbehaving.

mod toy;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use glue_net::{Instant, WallTime};
use glue_sim::{Action, Fate, Host, Receive, World};
use toy::{Ask, Fault, Told, Toy, at_ms, letter, ms, numbers, received, send, us, world};

const DAY: Duration = Duration::from_secs(86_400);

fn woken(world: &mut World<Toy>, node: glue_sim::NodeId) -> Vec<(Instant, Instant)> {
    let woke = |(at, told)| match told {
        Told::Woke(local) => Some((at, local)),
        Told::Asked | Told::Got(..) => None,
    };
    world.take_events(node).into_iter().filter_map(woke).collect()
}

#[test]
fn a_timeout_comes_when_the_clock_shows_it() {
    let (mut world, [a]) = world(1);
    world.command(a, Ask::WakeAt(at_ms(30)));
    world.run_for(ms(10));
    // Later, then sooner: the last wish counts.
    world.command(a, Ask::WakeAt(at_ms(80)));
    world.run_for(ms(50));
    assert_eq!(woken(&mut world, a), []);
    world.command(a, Ask::WakeAt(at_ms(70)));
    world.run_for(ms(50));
    assert_eq!(woken(&mut world, a), [(at_ms(70), at_ms(70))]);
    // One that has passed comes at once.
    world.command(a, Ask::WakeAt(at_ms(5)));
    assert!(world.step());
    assert_eq!(woken(&mut world, a), [(at_ms(110), at_ms(110))]);
}

#[test]
fn clocks_start_elsewhere_and_run_at_their_own_rate() {
    let mut world = World::new(2);
    let fast = world.add_node(Host::default().clock(DAY, 100_000), toy::toy);
    let slow = world.add_node(Host::default().clock(Duration::ZERO, -100_000), toy::toy);
    assert_eq!(world.node(fast).unwrap().context.now, Instant::ZERO + DAY);
    world.command(fast, Ask::WakeAt(Instant::ZERO + DAY + ms(1_100)));
    world.command(slow, Ask::WakeAt(at_ms(900)));
    world.run_for(ms(999));
    assert_eq!((woken(&mut world, fast), woken(&mut world, slow)), (vec![], vec![]));
    world.run_for(ms(2));
    assert_eq!(woken(&mut world, fast), [(at_ms(1_000), Instant::ZERO + DAY + ms(1_100))]);
    assert_eq!(woken(&mut world, slow), [(at_ms(1_000), at_ms(900))]);

    // A clock that is mended goes on from what it shows.
    world.set_drift(slow, 0);
    let shown = world.local_now(slow);
    world.run_for(ms(500));
    assert_eq!(world.local_now(slow).since(shown), ms(500));
}

#[test]
fn a_timeout_follows_a_clock_that_changes_its_rate() {
    let (mut world, [a]) = world(3);
    world.command(a, Ask::WakeAt(at_ms(100)));
    world.set_drift(a, 1_000_000);
    world.run_for(ms(49));
    world.set_drift(a, -500_000);
    world.run_for(ms(100));
    assert_eq!(woken(&mut world, a), [(at_ms(53), at_ms(100))]);
}

#[test]
fn wall_clocks_are_wrong_as_asked_for() {
    let mut world = World::new(4);
    let right = world.add_node(Host::default(), toy::toy);
    let early = world.add_node(Host::default().wall_offset_nanos(-5_000_000_000), toy::toy);
    world.run_for(ms(1_500));
    let start = WallTime::from_unix_nanos(1_767_225_600_000_000_000);
    assert_eq!(world.node(right).unwrap().context.wall, start);
    assert_eq!(world.wall(right), start + ms(1_500));
    assert_eq!(world.wall(right).since(world.wall(early)), ms(5_000));
    world.set_wall_offset_nanos(early, 0);
    assert_eq!(world.wall(early), world.wall(right));
}

#[test]
fn a_frozen_node_sees_nothing_until_it_thaws() {
    let (mut world, [a, b]) = world(5);
    world.command(b, Ask::WakeAt(at_ms(20)));
    world.take_events(b);
    world.freeze(b);
    assert!(!world.is_running(b));
    let to = world.address(b);
    for number in 0..10 {
        send(&mut world, a, to, letter(number));
        world.run_for(ms(5));
    }
    assert!(world.command(b, Ask::WakeAt(at_ms(21))));
    assert_eq!(world.call(b, |_, _| ()), None);
    assert_eq!(world.events(b), []);
    world.run_until(at_ms(100));
    world.thaw(b);
    world.run_for(ms(1));
    let events = world.take_events(b);
    assert!(events.iter().all(|(at, _)| *at == at_ms(100)));
    let kinds: Vec<_> = events.iter().map(|(_, told)| std::mem::discriminant(told)).collect();
    let got = std::mem::discriminant(&Told::Got(to, letter(0)));
    assert_eq!(kinds.iter().filter(|kind| **kind == got).count(), 10);
    assert_eq!(events.first().map(|(_, told)| told), Some(&Told::Asked));
    assert!(events.contains(&(at_ms(100), Told::Woke(at_ms(100)))));
}

#[test]
fn the_receive_buffer_of_a_frozen_node_overflows() {
    let mut world = World::new(6);
    let a = world.add_node(Host::default(), toy::toy);
    // 256 + 1,024 bytes each.
    let b = world.add_node(Host::default().receive(Receive { buffer_bytes: 13_500, ..Receive::default() }), toy::toy);
    world.freeze(b);
    let to = world.address(b);
    for _ in 0..25 {
        send(&mut world, a, to, vec![0; 600]);
    }
    world.run_for(ms(1));
    assert_eq!((world.stats().buffer_full, world.stats().under_way()), (15, 10));
    world.thaw(b);
    world.run_for(ms(1));
    assert_eq!(received(&mut world, b).len(), 10);
    assert_eq!(world.stats().under_way(), 0);
}

#[test]
fn a_busy_node_takes_datagrams_one_by_one() {
    let mut world = World::new(7);
    let a = world.add_node(Host::default(), toy::toy);
    let receive = Receive { buffer_bytes: 10 * 768, busy: us(50) };
    let b = world.add_node(Host::default().receive(receive), toy::toy);
    let to = world.address(b);
    for number in 0..20 {
        send(&mut world, a, to, letter(number));
    }
    world.run_for(ms(10));
    let got = received(&mut world, b);
    // One is taken, ten wait, the rest finds the buffer full.
    assert_eq!(numbers(&got), (0..11).collect::<Vec<_>>());
    assert!(got.windows(2).all(|pair| pair[1].0.since(pair[0].0) == us(50)));
    assert_eq!(world.stats().buffer_full, 9);

    world.set_receive(b, Receive::default());
    for number in 0..20 {
        send(&mut world, a, to, letter(number));
    }
    world.run_for(us(100));
    assert_eq!(received(&mut world, b).len(), 20);
}

#[test]
fn a_restarted_node_is_not_as_busy_as_before() {
    let mut world = World::new(14);
    let a = world.add_node(Host::default(), toy::toy);
    let b = world.add_node(Host::default().receive(Receive { busy: ms(500), ..Receive::default() }), toy::toy);
    let to = world.address(b);
    let two = |world: &mut World<Toy>| {
        (0..2).for_each(|number| send(world, a, to, letter(number)));
        world.run_for(ms(1));
    };
    two(&mut world);
    world.restart(b);
    world.set_receive(b, Receive { busy: us(10), ..Receive::default() });
    world.take_events(b);
    two(&mut world);
    assert_eq!(numbers(&received(&mut world, b)), [0, 1]);
    assert_eq!((world.stats().down, world.stats().under_way()), (1, 0));
}

#[test]
fn a_crashed_node_forgets_and_a_restarted_one_begins_anew() {
    let (mut world, [a, b]) = world(8);
    let to = world.address(b);
    world.command(b, Ask::WakeAt(at_ms(10)));
    world.freeze(b);
    send(&mut world, a, to, "in the buffer");
    world.run_for(ms(1));
    world.crash(b);
    assert!(world.node(b).is_none());
    assert!(!world.command(b, Ask::WakeAt(at_ms(1))));
    send(&mut world, a, to, "to nobody");
    world.run_for(ms(20));
    assert_eq!(world.stats().down, 2);
    world.take_events(b);

    world.restart(b);
    let context = &world.node(b).unwrap().context;
    assert_eq!((context.id, context.restarts, context.data, context.now), (b, 1, to, at_ms(21)));
    send(&mut world, a, to, "hello");
    world.run_for(ms(20));
    assert_eq!(received(&mut world, b).len(), 1);
    assert_eq!(woken(&mut world, b), []);
}

#[test]
fn each_start_has_a_seed_of_its_own() {
    let (mut world, [a, b]) = world(9);
    let mut seeds = Vec::new();
    for _ in 0..3 {
        seeds.extend([a, b].map(|node| world.node(node).unwrap().context.seed));
        world.restart(a);
        world.restart_with(b, toy::toy);
    }
    let mut unique = seeds.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), seeds.len());
}

#[test]
fn a_script_runs_in_its_order_beside_the_network() {
    let (mut world, [a, b]) = world(10);
    let to = world.address(b);
    let count = Rc::new(Cell::new(0));
    let seen = Rc::clone(&count);
    world.observe(move |node, at, told| {
        assert_eq!((node, at), (b, at_ms(12)));
        assert!(matches!(told, Told::Got(..)));
        seen.set(seen.get() + 1);
    });
    world.keep_events(false);
    world.after(ms(5), Action::Freeze(b)).after(ms(5), Action::Crash(b)).after(ms(6), Action::Restart(b));
    world.call_at(at_ms(7), move |world| {
        world.freeze(b);
        world.call(a, |_, _| ());
        world.after(ms(5), Action::Thaw(b));
    });
    world.call_at(at_ms(8), move |world| {
        world.call(a, |node, now| node.post(now, to));
    });
    assert!(world.run_until_quiet(ms(100), ms(1_000)));
    assert_eq!(world.now(), at_ms(112));
    assert_eq!((count.get(), world.events(b).len()), (1, 0));
}

#[test]
fn quiet_is_when_no_application_hears_or_says_anything() {
    let (mut world, [a]) = world(11);
    assert!(world.run_until_quiet(ms(50), ms(50)));
    assert_eq!(world.now(), at_ms(50));
    world.command(a, Ask::WakeAt(at_ms(80)));
    assert!(!world.run_until_quiet(ms(50), ms(60)));
    assert_eq!(world.now(), at_ms(110));
    assert!(world.run_until_quiet(ms(50), ms(60)));
    assert_eq!(world.now(), at_ms(160));
    assert!(world.run_until_true(ms(50), |world| world.now() >= at_ms(210)));
    assert!(!world.run_until_true(ms(50), |_| false));
}

fn misbehave(fault: Fault) {
    let (mut world, [_, b]) = world(12);
    world.command(b, Ask::WakeAt(at_ms(3)));
    world.call_at(at_ms(2), move |world| {
        world.command(b, Ask::Misbehave(fault));
        let to = world.address(b);
        send(world, b, to, "x");
    });
    world.run_for(ms(10));
}

#[test]
#[should_panic(expected = "node 1 sends without end at 0.002000s")]
fn a_node_that_sends_without_end_is_found_out() {
    misbehave(Fault::SendWithoutEnd);
}

#[test]
#[should_panic(expected = "node 1 tells without end at 0.002000s")]
fn a_node_that_tells_without_end_is_found_out() {
    misbehave(Fault::TellWithoutEnd);
}

#[test]
#[should_panic(expected = "timer storm: node 1 wants timeouts without end at 0.003000s")]
fn a_node_that_does_not_renew_its_timeout_is_found_out() {
    misbehave(Fault::TimerStorm);
}

#[test]
#[should_panic(expected = "timer storm: node 1 wants timeouts without end at 0.003")]
fn a_node_whose_timeouts_creep_is_found_out() {
    misbehave(Fault::SlowTimerStorm);
}

#[test]
#[should_panic(expected = "node 1 says 2 bytes and appends 1 at 0.002000s")]
fn a_node_that_miscounts_its_datagram_is_found_out() {
    misbehave(Fault::Overstate);
}

#[test]
fn a_fate_is_told_apart_by_sender() {
    let (mut world, [a, b]) = world(13);
    let to = world.address(b);
    world.crash(b);
    send(&mut world, a, to, "x");
    world.run_for(ms(1));
    assert_eq!((world.stats_of(a).down, world.stats_of(b).down, world.stats().down), (1, 0, 1));
    assert_eq!(format!("{:?}", Fate::Down), "Down");
}
