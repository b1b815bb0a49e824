//! Up, down, restarted, returned; the table's limits.

use super::world::World;
use super::*;
use crate::Wire;

#[test]
fn a_peer_is_learned_once() {
    let mut one = One::new(config());
    one.hear(&native(2, "two", "10.0.0.2:50000")).hear(&native(2, "two", "10.0.0.2:50000"));
    assert_eq!(short(&one.events()), ["+two 1"]);
    let peer = one.discovery.find(EndpointId::from_integer(2), Incarnation(20)).unwrap();
    let info = one.discovery.peer(peer).unwrap();
    assert_eq!(info.wire, Wire::Native { version: 1, capabilities: 0 });
    assert_eq!((info.data, info.discovery), (socket("10.0.0.2:50000"), Some(socket("10.0.0.2:27320"))));
    assert_eq!(one.discovery.find(EndpointId::from_integer(2), Incarnation(21)), None);
    assert_eq!(one.discovery.find_classic("two"), None);
}

#[test]
fn a_classic_peer_is_found_by_name() {
    let mut one = One::new(config());
    one.hear_from(socket("10.0.0.2:27320"), Codec::MessagePack, &classic(2, "two", "10.0.0.2:50000"));
    let peer = one.discovery.find_classic("two").unwrap();
    assert_eq!(one.discovery.peer(peer).unwrap().wire, Wire::Classic(Codec::MessagePack));
    assert_eq!(one.discovery.peer(peer).unwrap().incarnation, Incarnation(0));
}

#[test]
fn what_is_not_for_us_is_counted() {
    let mut one = One::new(config());
    let frame = Container { body: Body::Frame(Default::default()), ..native(2, "two", "10.0.0.2:5") };
    one.hear_from(socket("10.0.0.2:27320"), Codec::Json, &frame);
    one.hear(&Container { network_id: NetworkId(2), ..native(2, "two", "10.0.0.2:5") });
    one.hear(&native(1, "one", "10.0.0.1:40000")).hear(&native(2, "", "10.0.0.2:5"));
    one.hear(&native(2, &"x".repeat(1_025), "10.0.0.2:5"));
    one.hear(&with(native(2, "two", "10.0.0.2:5"), |a| a.native = Some(Native { version: 0, ..life(20) })));
    let stats = one.discovery.stats();
    assert_eq!((stats.ignored_frame, stats.ignored_network, stats.ignored_malformed), (1, 1, 3));
    assert_eq!((stats.announcements_heard, one.events().len()), (6, 1), "the one event is the clash of our id");
}

#[test]
fn our_own_announcements_are_passed_over() {
    let mut one = One::new(config());
    let own = with(native(1, "one", "10.0.0.1:40000"), |a| a.native = Some(life(10)));
    // A reference rendezvous passes it on without our keys; before a restart it was an earlier life.
    let stripped = with(own.clone(), |a| (a.native, a.forwarded) = (None, true));
    let past = with(own.clone(), |a| (a.native, a.forwarded) = (Some(life(9)), true));
    one.hear(&own);
    one.hear_from(socket("10.0.0.3:27320"), Codec::Json, &stripped);
    one.hear_from(socket("10.0.0.3:27320"), Codec::Json, &past);
    assert_eq!(one.events(), []);
    let stats = one.discovery.stats();
    assert_eq!((stats.ignored_own, stats.ignored_stale), (2, 1));
}

#[test]
fn a_silent_peer_expires_and_returns_with_its_number() {
    let mut one = One::new(config());
    one.hear(&native(2, "two", "10.0.0.2:5")).hear(&native(3, "three", "10.0.0.3:5"));
    let _ = one.events();
    one.wait(ms(1_999));
    assert_eq!(one.events(), []);
    one.hear(&native(3, "three", "10.0.0.3:5")).wait(ms(1));
    assert_eq!(short(&one.events()), ["-two 1 Expired"]);
    assert_eq!(one.names(), ["three"]);
    one.hear(&native(2, "two", "10.0.0.2:6")).hear(&native(4, "four", "10.0.0.4:5"));
    assert_eq!(short(&one.events()), ["+two 1", "+four 3"]);
}

#[test]
fn a_peers_own_interval_decides_when_it_expires_within_bounds() {
    let mut one = One::new(config());
    one.hear(&with(native(2, "slow", "10.0.0.2:5"), |a| a.sent_rate = ms(10_000)));
    one.hear(&with(native(3, "zero", "10.0.0.3:5"), |a| a.sent_rate = Duration::ZERO));
    one.hear(&with(native(4, "never", "10.0.0.4:5"), |a| a.sent_rate = Duration::MAX));
    one.wait(ms(19));
    assert_eq!(downs(&one.events()), []);
    one.wait(ms(1));
    assert_eq!(downs(&one.events()), [(PeerId(2), DownReason::Expired)]);
    one.wait(ms(19_980));
    assert_eq!(downs(&one.events()), [(PeerId(1), DownReason::Expired)]);
    one.wait(Duration::from_secs(7_200));
    assert_eq!(downs(&one.events()), [(PeerId(3), DownReason::Expired)]);
}

#[test]
fn session_traffic_keeps_a_peer_alive() {
    let mut one = One::new(config());
    one.hear(&native(2, "two", "10.0.0.2:5"));
    for _ in 0..20 {
        one.wait(ms(1_000));
        one.discovery.handle_alive(one.now, PeerId(1));
    }
    assert_eq!(one.names(), ["two"]);
    one.wait(ms(2_000));
    assert_eq!(one.names(), [""; 0]);
    one.discovery.handle_alive(one.now, PeerId(1));
}

#[test]
fn a_restarted_peer_is_another_and_its_past_is_stale() {
    let mut one = One::new(config());
    let before = native(2, "two", "10.0.0.2:5");
    let after = with(native(2, "new name", "10.0.0.2:6"), |a| a.native = Some(life(21)));
    one.hear(&before).hear(&after).hear(&before);
    assert_eq!(short(&one.events()), ["+two 1", "-two 1 Restarted", "+new name 2"]);
    assert_eq!(one.discovery.stats().ignored_stale, 1);
    assert_eq!(one.names(), ["new name"]);
}

#[test]
fn a_host_whose_clock_went_back_is_heard_again_after_the_timeout() {
    let mut one = One::new(config());
    let back = with(native(2, "two", "10.0.0.2:6"), |a| a.native = Some(life(3)));
    one.hear(&native(2, "two", "10.0.0.2:5")).hear(&back).wait(ms(2_000)).hear(&back);
    assert_eq!(short(&one.events()), ["+two 1", "-two 1 Expired", "+two 2"]);
}

#[test]
fn goodbye_ends_a_life_at_once_and_late_copies_do_not_revive_it() {
    let mut one = One::new(config());
    let peer = native(2, "two", "10.0.0.2:5");
    let goodbye = Native { goodbye: true, ..life(20) };
    let another = with(peer.clone(), |a| a.native = Some(Native { incarnation: Incarnation(19), ..goodbye }));
    let goodbye =
        Container { sent_timestamp: WallTime::from_unix_nanos(2), ..with(peer.clone(), |a| a.native = Some(goodbye)) };
    one.hear(&goodbye).hear(&peer).hear(&another);
    assert_eq!(short(&one.events()), ["+two 1"], "nobody left yet");
    one.hear(&goodbye).hear(&goodbye).hear(&peer);
    assert_eq!(short(&one.events()), ["-two 1 Goodbye"]);
    assert_eq!(one.discovery.stats().ignored_stale, 4);
    // It was somebody else who said goodbye in its name: it goes on, as a new peer.
    one.hear(&Container { sent_timestamp: WallTime::from_unix_nanos(3), ..peer });
    assert_eq!(short(&one.events()), ["+two 2"]);
}

#[test]
fn those_who_leave_are_gone_everywhere_at_once() {
    let mut world = World::new();
    let rendezvous = world.start(&[], 1);
    let nodes: Vec<usize> = (0..3).map(|_| world.start(&["10.0.0.1:27320"], 1)).collect();
    world.run(ms(3_000));
    assert!(world.is_complete());
    let now = world.now;
    world.nodes[nodes[0]].discovery.leave(now);
    world.flush();
    for other in [rendezvous, nodes[1], nodes[2]] {
        assert!(!world.names(other).contains(&"n1".to_owned()), "{other}");
        assert_eq!(short(world.nodes[other].events.last_chunk::<1>().unwrap()).len(), 1);
        assert!(matches!(world.nodes[other].events.last(), Some(Event::PeerDown { reason: DownReason::Goodbye, .. })));
    }
    world.sent.clear();
    world.run(ms(10_000));
    assert!(world.sent.iter().all(|s| s.by != nodes[0]), "who left is silent");
    assert!(world.names(rendezvous).len() == 2 && world.names(nodes[0]).is_empty());
}

#[test]
fn a_full_table_refuses_newcomers_only() {
    let mut config = config();
    config.max_peers = 2;
    let mut one = One::new(config);
    for id in 2..10 {
        one.hear(&native(id, &format!("p{id}"), "10.0.0.2:5"));
    }
    assert_eq!((one.names(), one.discovery.stats().ignored_full), (vec!["p2", "p3"], 6));
    one.hear(&with(native(3, "p3", "10.0.0.2:5"), |a| a.native = Some(life(21))));
    assert_eq!(short(&one.events()), ["+p2 1", "+p3 2", "-p3 2 Restarted", "+p3 3"]);
}

#[test]
fn events_are_bounded() {
    let mut config = config();
    config.max_events = 3;
    let mut one = One::new(config);
    for id in 2..10 {
        one.hear(&native(id, &format!("p{id}"), "10.0.0.2:5"));
    }
    assert_eq!((one.names().len(), one.discovery.stats().ignored_events), (3, 5));
    assert_eq!(one.events().len(), 3);
    one.hear(&native(9, "p9", "10.0.0.2:5"));
    assert_eq!(short(&one.events()), ["+p9 4"]);
}

#[test]
fn twenty_nodes_on_a_group_find_each_other_without_waiting() {
    let mut world = World::new();
    world.start_many(20, &[GROUP], 1);
    world.run(Duration::ZERO);
    assert!(world.is_complete());
    let newcomer = world.start(&[GROUP], 1);
    world.run(Duration::ZERO);
    assert!(world.is_complete());
    assert_eq!(world.names(newcomer).len(), 20);
    world.run(ms(30_000));
    let is_up = |e: &Event| matches!(e, Event::PeerUp { .. });
    assert!(world.is_complete() && world.nodes.iter().all(|n| n.events.iter().all(is_up)), "nobody came or went since");
}

#[test]
fn the_same_seed_gives_the_same_datagrams() {
    let run = || {
        let mut world = World::new();
        world.start_many(5, &[GROUP, "10.0.0.1:27320"], 2);
        world.run(ms(5_000));
        world.sent.iter().map(|s| format!("{s:?}")).collect::<Vec<_>>()
    };
    assert_eq!(run(), run());
}
