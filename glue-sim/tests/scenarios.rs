//! Scenarios, played: each fault is in force from its beginning to its end.

mod toy;

use std::time::Duration;

use bytes::Bytes;
use glue_net::Instant;
use glue_sim::{Change, Host, NodeId, Player, Scenario, World};
use toy::{Toy, at_ms, letter, ms, multicast, numbers, received, send};

struct Play {
    world: World<Toy>,
    player: Player,
    changes: Vec<(Duration, Change)>,
}

/// The scenario of three nodes and 20 s with these steps, begun.
fn play(steps: &str) -> Play {
    let scenario: Scenario = format!("scenario nodes 3 seed 5 for 20s; {steps}").parse().expect("a scenario");
    let mut world = World::new(scenario.seed);
    for _ in 0..scenario.nodes {
        world.add_node(Host::default(), toy::toy);
    }
    let player = Player::new(&scenario, &world);
    Play { world, player, changes: Vec::new() }
}

impl Play {
    /// Runs until so many milliseconds have passed.
    fn until(&mut self, millis: u64) -> &mut Self {
        let end = at_ms(millis);
        while let Some(at) = self.player.next_at().filter(|at| *at <= end) {
            self.world.run_until(at);
            let at = self.world.now().since(Instant::ZERO);
            self.changes.extend(self.player.advance(&mut self.world).into_iter().map(|change| (at, change)));
        }
        self.world.run_until(end);
        self
    }

    /// Whether a letter gets through now, within 30 ms.
    fn reaches(&mut self, from: u32, to: u32) -> bool {
        let (from, to) = (NodeId::new(from), NodeId::new(to));
        let address = self.world.address(to);
        received(&mut self.world, to);
        send(&mut self.world, from, address, letter(1));
        self.world.run_for(ms(30));
        !received(&mut self.world, to).is_empty()
    }

    /// Whether a multicast of node 0 reaches node 1.
    fn is_heard(&mut self) -> bool {
        multicast(&mut self.world, NodeId::new(0), b"m");
        self.world.run_for(ms(30));
        !received(&mut self.world, NodeId::new(1)).is_empty()
    }
}

#[test]
fn partitions_overlap_and_each_ends_for_itself() {
    let mut play = play("at 1s for 4s partition isolated 2; at 3s for 4s partition one-way 0 1");
    let mut seen = Vec::new();
    for millis in [500, 1_500, 3_500, 5_500, 7_500] {
        play.until(millis);
        seen.push([play.reaches(0, 1), play.reaches(1, 0), play.reaches(0, 2), play.reaches(2, 0)]);
    }
    assert_eq!(
        seen,
        [
            [true, true, true, true],
            [true, true, false, false],
            [false, true, false, false],
            [false, true, true, true],
            [true, true, true, true]
        ]
    );
    assert_eq!(play.changes, []);
}

#[test]
fn a_flapping_partition_comes_and_goes() {
    let mut play = play("at 1s for 3500ms flap 1s halves");
    let reaches: Vec<bool> = [500, 1_500, 2_500, 3_500, 4_700].map(|at| play.until(at).reaches(0, 2)).into();
    assert_eq!(reaches, [true, false, true, false, true]);
}

#[test]
fn multicast_and_unicast_die_apart_and_come_back() {
    let mut play = play("at 1s for 1s no-multicast; at 3s for 1s no-unicast");
    let both = [500, 1_500, 2_500, 3_500, 4_500].map(|at| (play.until(at).is_heard(), play.reaches(0, 1)));
    assert_eq!(both, [(true, true), (false, true), (true, true), (true, false), (true, true)]);
}

#[test]
fn processes_crash_freeze_and_storm() {
    let mut play = play("at 1s for 2s crash 0; at 2s for 3s freeze 1; at 6s for 1s storm 2; at 6500ms for 1s freeze 2");
    let mut running = Vec::new();
    for millis in [500, 1_500, 2_500, 3_500, 5_500, 6_600, 7_200, 7_600] {
        play.until(millis);
        running.push([0, 1, 2].map(|node| play.world.is_running(NodeId::new(node))));
    }
    let [all, none] = [[true; 3], [true, false, false]];
    // A node that starts while it is frozen is frozen.
    let expected =
        [all, [false, true, true], [false, false, true], [true, false, true], all, none, [true, true, false], all];
    assert_eq!(running, expected);
    let node = NodeId::new;
    let expected = [
        (ms(1_000), Change::Crashed(node(0))),
        (ms(3_000), Change::Restarted(node(0))),
        (ms(6_000), Change::Crashed(node(1))),
        (ms(6_000), Change::Crashed(node(2))),
        (ms(7_000), Change::Restarted(node(1))),
        (ms(7_000), Change::Restarted(node(2))),
    ];
    assert_eq!(play.changes, expected);
}

#[test]
fn addresses_and_ports_change() {
    let mut play = play("at 1s for 2s move 1; at 5s for 2s rebind 2");
    let home = play.world.address(NodeId::new(1));
    play.until(1_500);
    let away = play.world.address(NodeId::new(1));
    assert!(away.ip() != home.ip() && away.port() == home.port());
    assert!(play.reaches(0, 1));
    play.until(3_500);
    assert_eq!(play.world.address(NodeId::new(1)), home);
    let ports = [4_500, 5_500, 7_500].map(|at| {
        play.until(at);
        play.world.address(NodeId::new(2)).port()
    });
    assert_eq!(ports, [40_000, 40_001, 40_000]);
    let moved = Change::Moved(NodeId::new(1));
    assert_eq!(play.changes, [(ms(1_000), moved), (ms(3_000), moved)]);
}

#[test]
fn clocks_drift_jump_and_are_set() {
    let hour = Duration::from_secs(3_600);
    let mut play = play("at 0s for 20s drift 0 500; at 2s for 2s wall-jump 1 -3600; at 2s for 1s clock-jump 2 3600s");
    play.until(10_000);
    let shown = |play: &Play, node| play.world.local_now(NodeId::new(node)).since(at_ms(10_000));
    assert_eq!([shown(&play, 0), shown(&play, 1), shown(&play, 2)], [ms(5), ms(0), hour]);
    let set = Change::WallSet(NodeId::new(1));
    assert_eq!(play.changes, [(ms(2_000), set), (ms(4_000), set)]);
    let mut play = self::play("at 2s for 2s wall-jump 1 -3600");
    play.until(3_000);
    assert_eq!(play.world.wall(NodeId::new(0)).since(play.world.wall(NodeId::new(1))), hour);
    play.until(5_000);
    assert_eq!(play.world.wall(NodeId::new(0)), play.world.wall(NodeId::new(1)));
}

#[test]
fn links_have_their_scope_and_what_is_usual_stays() {
    let mut play = play(
        "link latency 5ms; at 1s for 1s loss 1 to 2; at 3s for 1s loss 1 from 0; at 5s for 1s loss 1 from 0 to 1; \
        at 7s for 1s mtu 3; at 7500ms for 1s mtu 2000",
    );
    let mut seen = Vec::new();
    for millis in [500, 1_500, 2_500, 3_500, 5_500, 7_200, 8_200] {
        play.until(millis);
        seen.push([play.reaches(0, 1), play.reaches(0, 2), play.reaches(1, 2), play.reaches(1, 0)]);
    }
    let all = [true; 4];
    let expected =
        [all, [true, false, false, true], all, [false, false, true, true], [false, true, true, true], [false; 4], all];
    assert_eq!(seen, expected);
    // 100 microseconds of a perfect link, and 5 ms.
    let to = play.world.address(NodeId::new(1));
    let sent = play.world.now();
    send(&mut play.world, NodeId::new(0), to, letter(1));
    play.world.run_for(ms(10));
    let got = received(&mut play.world, NodeId::new(1));
    assert_eq!(got[0].0.since(sent), ms(5) + Duration::from_micros(100));
}

#[test]
fn buffers_are_small_and_nodes_busy_for_a_while() {
    let mut play = play("at 1s for 1s buffer 1 2000; at 1s for 1s busy 1 1ms");
    let to = play.world.address(NodeId::new(1));
    let burst = |play: &mut Play| {
        for number in 0..20 {
            send(&mut play.world, NodeId::new(0), to, letter(number));
        }
        play.world.run_for(ms(50));
        numbers(&received(&mut play.world, NodeId::new(1))).len()
    };
    assert_eq!(burst(play.until(500)), 20);
    // One is taken at once, two wait at 768 bytes each.
    assert_eq!(burst(play.until(1_500)), 3);
    assert_eq!(burst(play.until(2_500)), 20);
}

#[test]
fn a_stranger_comes_and_goes() {
    let mut play = play("at 1s for 1s hostile 0.5 replay spoof");
    let to = play.world.address(NodeId::new(1));
    let got = [500, 1_500, 2_500].map(|at| {
        play.until(at);
        for _ in 0..50 {
            send(&mut play.world, NodeId::new(0), to, Bytes::from_static(b"honest"));
        }
        play.world.run_for(ms(50));
        received(&mut play.world, NodeId::new(1)).len()
    });
    assert!(got[0] == 50 && (60..90).contains(&got[1]) && got[2] == 50, "{got:?}");
}

#[test]
fn what_is_beyond_the_span_does_not_happen() {
    let mut play = play("at 19s for 10s crash 0; at 25s for 1s crash 1");
    play.until(40_000);
    assert_eq!(play.changes, [(ms(19_000), Change::Crashed(NodeId::new(0)))]);
    assert_eq!(play.player.end(), at_ms(20_000));
}
