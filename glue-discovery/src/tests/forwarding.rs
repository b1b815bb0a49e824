//! What a rendezvous passes on.

use super::world::World;
use super::*;

const RENDEZVOUS: &str = "10.0.0.1:27320";

fn rendezvous() -> Config {
    let mut config = config();
    config.targets.clear();
    config
}

/// An announcement to the rendezvous.
fn visitor(id: i64) -> Container {
    let (name, data) = (format!("p{id}"), format!("10.0.{}.{}:5", id / 200, id % 200 + 2));
    with(native(id, &name, &data), |a| a.discovery_target_addr = Some(socket(RENDEZVOUS)))
}

fn forwards(one: &mut One) -> Vec<Outgoing> {
    one.sent().into_iter().filter(|o| announcement(&o.container).forwarded).collect()
}

#[test]
fn a_star_is_complete_at_once_and_stays_so() {
    let mut world = World::new();
    world.start(&[], 1);
    world.start_many(5, &[RENDEZVOUS], 1);
    world.run(Duration::ZERO);
    assert!(world.is_complete());
    world.run(ms(300));
    world.start(&[RENDEZVOUS], 1);
    world.run(Duration::ZERO);
    assert!(world.is_complete(), "both directions, without waiting");
    world.run(ms(30_000));
    assert!(world.is_complete());
    assert!(world.nodes.iter().all(|n| n.events.len() == 6), "nobody came or went since");
    assert!(world.sent.iter().all(|s| s.by == 0 || !s.is_forwarded()), "only the rendezvous passes on");
}

#[test]
fn a_star_survives_its_rendezvous() {
    let mut world = World::new();
    world.start(&[], 1);
    world.start_many(5, &[RENDEZVOUS], 1);
    world.run(ms(3_000));
    world.kill(0);
    world.run(ms(60_000));
    assert!(world.is_complete());
    assert!(world.nodes.iter().skip(1).all(|n| short(&n.events).len() == 6), "only the rendezvous went down");
    assert!(world.sent.iter().all(|s| s.by == 0 || !s.is_forwarded()));
    world.kill(3);
    world.run(ms(3_000));
    assert!(world.is_complete(), "and who dies then expires");
}

#[test]
fn a_forwarded_announcement_is_as_received() {
    let mut one = One::new(rendezvous());
    one.hear(&visitor(2));
    let _ = one.sent();
    let at = one.now;
    one.wait(ms(10)).hear(&visitor(3));
    let sent = forwards(&mut one);
    assert_eq!(sent.iter().map(|o| o.to.to_string()).collect::<Vec<_>>(), ["10.0.0.4:27320", "10.0.0.5:27320"]);
    let expected = Container {
        received_timestamp: one.discovery.clock.wall(at),
        received_from: Some(socket("10.0.0.4:27320")),
        received_by: Some(socket(RENDEZVOUS)),
        ..with(visitor(2), |a| a.forwarded = true)
    };
    assert_eq!(sent[1].container, expected);
}

#[test]
fn what_was_passed_on_to_us_stays_here() {
    let mut one = One::new(rendezvous());
    let forwarded = with(visitor(2), |a| a.forwarded = true);
    one.hear_from(socket("10.0.0.9:27320"), Codec::Json, &forwarded);
    assert_eq!(one.sent(), []);
    assert_eq!(one.names(), ["p2"]);
    one.hear(&visitor(3));
    assert_eq!(forwards(&mut one), []);
}

#[test]
fn two_that_pass_on_do_not_keep_the_dead_alive() {
    let mut world = World::new();
    let both: [&str; 2] = [RENDEZVOUS, "10.0.0.2:27320"];
    world.start(&[both[1]], 1);
    world.start(&[both[0]], 1);
    world.start(&both, 1);
    world.start(&both, 1);
    world.run(ms(5_000));
    assert!(world.is_complete());
    world.kill(3);
    world.run(ms(6_000));
    assert!(world.is_complete());
}

#[test]
fn those_heard_on_a_group_are_passed_on_too() {
    let mut one = One::new(config());
    one.hear(&native(2, "two", "10.0.0.2:5"));
    let _ = one.sent();
    one.hear(&visitor(3));
    let sent = forwards(&mut one);
    assert_eq!(sent.iter().map(|o| o.container.source_endpoint_name.as_str()).collect::<Vec<_>>(), ["two"]);
    assert_eq!(sent[0].to, socket("10.0.0.5:27320"));
}

#[test]
fn a_port_only_peer_is_passed_on_with_its_address() {
    let mut one = One::new(rendezvous());
    one.hear_from(
        socket("10.0.0.2:9"),
        Codec::Json,
        &with(classic(2, "old", "10.0.0.9:5"), |a| {
            (a.listen_addr, a.discovery_listen_addr, a.discovery_target_addr) = (None, None, None);
        }),
    );
    one.hear(&visitor(3));
    let sent = forwards(&mut one);
    assert_eq!(announcement(&sent[0].container).listen_addr, Some(socket("10.0.0.2:5")));
    assert!(
        announcement(&sent[0].container).discovery_target_addr.is_some(),
        "a nil there could kill a reference peer"
    );
}

#[test]
fn a_peer_on_our_loopback_is_reached_at_our_address() {
    let mut one = One::new(rendezvous());
    one.discovery.handle_interfaces(one.now, vec![interface(1, "127.0.0.1", 8), interface(2, "10.0.0.1", 24)]);
    let near = with(native(2, "near", "127.0.0.1:5"), |a| a.discovery_target_addr = Some(socket("127.0.0.1:27320")));
    let near_too = with(native(4, "near too", "127.0.0.1:6"), |a| {
        a.discovery_target_addr = Some(socket("127.0.0.1:27320"));
        a.discovery_listen_addr = Some(socket("127.0.0.1:27321"));
    });
    one.hear(&near);
    let _ = one.sent();
    one.hear(&visitor(3)).hear(&near_too);
    let listen = |to: &str, sent: &[Outgoing]| {
        let to =
            sent.iter().find(|o| o.to == socket(to) && o.container.source_endpoint_name == "near").unwrap().clone();
        let said = announcement(&to.container).clone();
        (said.listen_addr.unwrap().to_string(), said.discovery_listen_addr.unwrap().to_string())
    };
    let sent = forwards(&mut one);
    assert_eq!(listen("10.0.0.5:27320", &sent), ("10.0.0.1:5".to_owned(), "10.0.0.1:27320".to_owned()));
    assert_eq!(listen("127.0.0.1:27321", &sent), ("127.0.0.1:5".to_owned(), "127.0.0.1:27320".to_owned()));
}

#[test]
fn a_forwarded_loopback_address_is_the_forwarders() {
    let mut one = One::new(config());
    let near = with(native(2, "near", "127.0.0.1:5"), |a| a.forwarded = true);
    one.hear_from(socket("10.0.0.9:27320"), Codec::MessagePack, &near);
    assert_eq!(one.discovery.peer(PeerId(1)).unwrap().data, socket("10.0.0.9:5"));
    let mut one = One::new(config());
    one.hear_from(socket("10.0.0.1:27321"), Codec::MessagePack, &near);
    assert_eq!(one.discovery.peer(PeerId(1)).unwrap().data, socket("127.0.0.1:5"), "the forwarder is here");
}

#[test]
fn a_new_peer_gets_all_and_a_known_one_gets_turns() {
    let mut config = rendezvous();
    config.max_forwards = 10;
    let mut one = One::new(config);
    for id in 2..52 {
        one.hear(&visitor(id));
    }
    let _ = one.sent();
    one.hear(&visitor(52));
    let to_new: Vec<_> = forwards(&mut one).into_iter().filter(|o| o.to == socket("10.0.0.54:27320")).collect();
    assert_eq!(to_new.len(), 50);
    let mut told = std::collections::BTreeSet::new();
    for turn in 1..=5 {
        one.wait(ms(600)).hear(&visitor(52));
        let sent = forwards(&mut one);
        assert_eq!(sent.len(), 10, "turn {turn}");
        let turns = ms(8_000);
        assert!(sent.iter().all(|o| announcement(&o.container).sent_rate == turns), "51 peers, 10 at a time");
        told.extend(sent.into_iter().map(|o| o.container.source_endpoint_name));
        for id in 2..52 {
            one.hear(&visitor(id));
        }
        let _ = one.sent();
    }
    assert_eq!(told.len(), 50);
}

#[test]
fn a_large_star_in_turns_is_stable() {
    let mut world = World::new();
    world.start_at(0, &[], vec![interface(2, "10.0.0.1", 24)], |c| c.max_forwards = 8);
    for _ in 0..8 {
        world.start_many(5, &[RENDEZVOUS], 1);
        world.run(ms(700));
    }
    world.run(ms(2_000));
    assert!(world.is_complete());
    world.sent.clear();
    world.run(ms(30_000));
    assert!(world.is_complete() && world.nodes.iter().all(|n| n.events.len() == 40));
    let forwards = world.sent.iter().filter(|s| s.is_forwarded()).count();
    // The interval of 41 endpoints is 1.71 s: 17.6 rounds.
    assert!((8 * 40 * 17..=8 * 40 * 18).contains(&forwards), "{forwards} in 30 s to 40");
    assert!(world.nodes.iter().skip(1).all(|n| n.discovery.stats().probes_sent == 0), "and nobody ever needed a probe");
}

#[test]
fn a_list_has_a_budget() {
    let mut config = rendezvous();
    config.forward_budget = 7;
    let mut one = One::new(config);
    for id in 2..12 {
        one.hear(&visitor(id));
    }
    let ours = |sent: &[Outgoing]| sent.iter().filter(|o| !announcement(&o.container).forwarded).count();
    let sent = one.sent();
    assert_eq!((ours(&sent), sent.len()), (10, 17), "our own answers come before and do not wait");
    one.wait(ms(1_050));
    let sent = one.sent();
    assert_eq!((sent.len() - ours(&sent), one.discovery.stats().forwards_delayed), (7, 1), "the rest waited");
}

#[test]
fn a_forwarders_slower_rate_does_not_slow_what_we_hear_ourselves() {
    let mut one = One::new(config());
    one.hear(&native(2, "two", "10.0.0.2:5"));
    let slow = with(native(2, "two", "10.0.0.2:5"), |a| (a.forwarded, a.sent_rate) = (true, ms(60_000)));
    one.hear_from(socket("10.0.0.9:1"), Codec::Json, &slow);
    one.wait(ms(2_000));
    assert_eq!(one.names(), [""; 0]);
}

#[test]
fn a_native_peer_learns_which_codec_a_classic_one_speaks() {
    let mut one = One::new(rendezvous());
    let old = |id: i64| with(visitor(id), |a| a.native = None);
    one.hear_from(socket("10.0.0.4:27320"), Codec::MessagePack, &old(2));
    one.hear_from(socket("10.0.0.5:27320"), Codec::Json, &old(3));
    assert_eq!(forwards(&mut one), [], "those two can not talk");
    one.hear_from(socket("10.0.0.6:27320"), Codec::Json, &visitor(4));
    let mut told: Vec<_> = forwards(&mut one)
        .into_iter()
        .map(|o| (o.to.to_string(), o.container.source_endpoint_name.clone(), o.codec))
        .collect();
    told.sort();
    let line = |to: &str, name: &str, codec| (to.to_owned(), name.to_owned(), codec);
    let expected = [
        line("10.0.0.4:27320", "p4", Codec::MessagePack),
        line("10.0.0.5:27320", "p4", Codec::Json),
        line("10.0.0.6:27320", "p2", Codec::MessagePack),
        line("10.0.0.6:27320", "p3", Codec::Json),
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_native_peer_behind_a_reference_rendezvous_is_classic_until_heard_itself() {
    let mut one = One::new(config());
    let stripped = with(visitor(2), |a| (a.native, a.forwarded) = (None, true));
    let from = socket("10.0.0.9:52008");
    one.hear_from(from, Codec::MessagePack, &stripped);
    assert!(one.discovery.find_classic("p2").is_some());
    one.hear(&native(2, "p2", "10.0.0.4:5")).hear_from(from, Codec::MessagePack, &stripped);
    assert_eq!(short(&one.events()), ["+p2 1", "-p2 1 Restarted", "+p2 2"]);
    assert_eq!((one.discovery.find_classic("p2"), one.discovery.stats().ignored_stale), (None, 1));
}
