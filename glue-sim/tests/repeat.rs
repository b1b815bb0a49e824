//! The same seed gives the same run, and a small protocol keeps its promise at every seed.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{BufMut, Bytes};
use glue_net::{Chain, Instant, Node, Transmit, Via};
use glue_sim::{Action, Host, Link, NodeId, World, check, seeds};
use proptest::prelude::*;

/// Stop and wait: sends a number until it is acknowledged, then the next one; tells each number it receives once.
#[derive(Default)]
struct StopAndWait {
    unsent: VecDeque<(SocketAddr, u32)>,
    resend_at: Option<Instant>,
    acks: VecDeque<(SocketAddr, u32)>,
    expected: u32,
    told: VecDeque<u32>,
}

const DATA: u8 = 0;
const ACK: u8 = 1;
const RESEND: Duration = Duration::from_millis(40);

impl Node for StopAndWait {
    type Command = (SocketAddr, u32);
    type Event = u32;

    fn handle_command(&mut self, now: Instant, command: Self::Command) {
        self.unsent.push_back(command);
        self.resend_at.get_or_insert(now);
    }

    fn handle_datagram(&mut self, now: Instant, from: SocketAddr, datagram: Bytes) {
        let Some((kind, number)) = datagram.split_first() else { return };
        let Some(number) = number.try_into().ok().map(u32::from_be_bytes) else { return };
        if *kind == DATA {
            if number == self.expected {
                self.expected += 1;
                self.told.push_back(number);
            }
            if number < self.expected {
                self.acks.push_back((from, number));
            }
        } else if self.unsent.front().is_some_and(|(_, sent)| *sent == number) {
            self.unsent.pop_front();
            self.resend_at = (!self.unsent.is_empty()).then_some(now);
        }
    }

    fn handle_timeout(&mut self, _: Instant) {}

    fn poll_transmit(&mut self, now: Instant, out: &mut Chain) -> Option<Transmit> {
        let (kind, (to, number)) = if let Some(ack) = self.acks.pop_front() {
            (ACK, ack)
        } else {
            self.resend_at.take_if(|at| *at <= now)?;
            let first = *self.unsent.front()?;
            self.resend_at = Some(now + RESEND);
            (DATA, first)
        };
        out.written().put_u8(kind);
        out.written().put_u32(number);
        Some(Transmit { to, len: 5, via: Via::Data })
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.resend_at
    }

    fn poll_event(&mut self) -> Option<u32> {
        self.told.pop_front()
    }
}

const COUNT: u32 = 40;

fn rough() -> Link {
    let ms = Duration::from_millis;
    Link::lossy(0.4).latency(ms(2)).jitter(ms(3)).duplicate(0.2).reorder(0.2, ms(5)).rate(20_000, 2_000)
}

fn start(seed: u64) -> (World<StopAndWait>, [NodeId; 2]) {
    let mut world = World::new(seed);
    let nodes = [0, 300]
        .map(|drift| world.add_node(Host::default().clock(Duration::from_secs(7), drift), |_| StopAndWait::default()));
    let [alice, bob] = nodes;
    world.set_default_link(rough());
    let to = world.address(bob);
    for number in 0..COUNT {
        world.command(alice, (to, number));
    }
    (world, nodes)
}

/// The trace hash and all that was told.
fn run(seed: u64, script: &[(Duration, Action<(SocketAddr, u32)>)]) -> (u64, Vec<(Instant, u32)>) {
    let (mut world, [_, bob]) = start(seed);
    for (at, action) in script {
        world.after(*at, action.clone());
    }
    let done = |world: &World<_>| world.events(bob).len() == COUNT as usize;
    assert!(world.run_until_true(Duration::from_secs(600), done), "not done: {world:?}");
    (world.trace_hash(), world.take_events(bob))
}

#[test]
fn stop_and_wait_delivers_all_in_order_at_every_seed() {
    check("stop_and_wait_delivers_all_in_order_at_every_seed", seeds(50), |seed| {
        let (_, told) = run(seed, &[]);
        assert!(told.iter().map(|(_, number)| *number).eq(0..COUNT));
    });
}

#[test]
fn the_same_seed_gives_the_same_run_and_another_another() {
    let [first, again, other] = [3, 3, 4].map(|seed| run(seed, &[]));
    assert_eq!(first, again);
    assert_ne!(first.0, other.0);
    assert_ne!(first.1, other.1);
}

#[test]
fn steps_of_any_size_give_the_same_run() {
    let [at_once, by_steps, by_pieces] = [0, 1, 2].map(|way| {
        let (mut world, [_, bob]) = start(5);
        let end = Instant::ZERO + Duration::from_secs(10);
        match way {
            0 => world.run_until(end),
            1 => while world.now() < end && world.step() {},
            _ => {
                while world.now() < end {
                    world.run_for(Duration::from_micros(777));
                }
            }
        }
        (world.trace_hash(), world.take_events(bob))
    });
    assert_eq!(at_once, by_steps);
    assert_eq!(at_once, by_pieces);
}

/// A change here is a change of every seed that was ever written down.
#[test]
fn recorded_runs_repeat_on_every_machine() {
    assert_eq!([1, 2].map(|seed| format!("{:016x}", run(seed, &[]).0)), ["3086562d46815c2a", "f061417faf78a53b"]);
}

fn actions() -> impl Strategy<Value = Action<(SocketAddr, u32)>> {
    let node = (0..2_u32).prop_map(NodeId::new);
    prop_oneof![
        node.clone().prop_map(Action::Isolate),
        node.clone().prop_map(Action::Freeze),
        node.clone().prop_map(Action::Thaw),
        (node.clone(), node.clone()).prop_map(|(sender, receiver)| Action::Cut(sender, receiver)),
        (node, -300_000..300_000_i32).prop_map(|(node, ppm)| Action::SetDrift(node, ppm)),
        Just(Action::SetUnicast(false)),
        Just(Action::SetDefaultLink(Link::lossy(0.7))),
        Just(Action::Heal),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_script_repeats_and_is_survived(
        seed: u64,
        script in prop::collection::vec((0..2_000_u64, actions()), 0..12),
    ) {
        let mut script: Vec<_> = script.into_iter().map(|(at, action)| (Duration::from_millis(at), action)).collect();
        let end = Duration::from_secs(3);
        script.push((end, Action::Heal));
        script.extend([0, 1].map(|node| (end, Action::Thaw(NodeId::new(node)))));
        let (hash, told) = run(seed, &script);
        prop_assert!(told.iter().map(|(_, number)| *number).eq(0..COUNT));
        prop_assert_eq!(run(seed, &script), (hash, told));
    }
}
