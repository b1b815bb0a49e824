//! What an announcement is answered with, and how often.

use super::world::World;
use super::*;

fn rate(outgoing: &Outgoing) -> Duration {
    announcement(&outgoing.container).sent_rate
}

fn target(outgoing: &Outgoing) -> Option<SocketAddr> {
    announcement(&outgoing.container).discovery_target_addr
}

#[test]
fn a_newcomer_is_answered_once_in_its_codec() {
    let mut one = One::new(config());
    one.hear_from(socket("10.0.0.2:1"), Codec::MessagePack, &native(2, "two", "10.0.0.2:5"));
    let sent = one.sent();
    assert_eq!(sent.len(), 1);
    assert_eq!((sent[0].to, sent[0].codec, target(&sent[0])), (socket("10.0.0.2:27320"), Codec::MessagePack, None));
    for _ in 0..10 {
        one.wait(ms(600)).hear(&native(2, "two", "10.0.0.2:5"));
        assert_eq!(one.unicasts(), [], "it hears us on the group");
    }
}

#[test]
fn a_classic_newcomer_is_not_asked_for_its_peers() {
    let mut one = One::new(config());
    one.hear_from(socket("10.0.0.2:1"), Codec::MessagePack, &classic(2, "two", "10.0.0.2:5"));
    assert_eq!(one.unicasts().iter().map(target).collect::<Vec<_>>(), [Some(socket(GROUP))]);
}

#[test]
fn a_newcomer_without_unicast_discovery_makes_us_announce_soon() {
    let mut one = One::new(config());
    one.wait(ms(200)).hear(&with(classic(2, "two", "10.0.0.2:5"), |a| a.discovery_listen_addr = None));
    assert_eq!(one.sent(), []);
    one.wait(ms(299));
    assert_eq!(one.sent(), [], "half an interval after the last one");
    one.wait(ms(1));
    assert_eq!(one.sent().len(), 1);
}

#[test]
fn an_answer_is_not_answered() {
    let mut world = World::new();
    world.start(&[GROUP], 1);
    world.run(ms(300));
    world.sent.clear();
    world.start(&[GROUP], 1);
    world.run(ms(300));
    assert!(world.is_complete());
    let to: Vec<_> = world.sent.iter().map(|s| (s.by, s.to)).collect();
    assert_eq!(to, [(1, socket(GROUP)), (0, socket("10.0.0.2:27320"))]);
}

#[test]
fn a_crowd_is_greeted_by_one_announcement() {
    let mut one = One::new(config());
    one.wait(ms(100));
    for id in 2..502 {
        one.hear(&native(id, &format!("p{id}"), &format!("10.0.{}.{}:5", id / 200, id % 200 + 1)));
    }
    let stats = one.discovery.stats();
    assert_eq!((one.sent().len(), stats.answers_dropped), (32, 468));
    one.wait(ms(400));
    assert_eq!(one.sent().into_iter().map(|o| o.to).collect::<Vec<_>>(), [socket(GROUP)]);
}

#[test]
fn a_rendezvous_answers_each_time_but_only_once_in_half_an_interval() {
    let mut config = config();
    config.targets.clear();
    for container in [
        native(2, "two", "10.0.0.2:5"),
        with(native(3, "three", "10.0.0.3:5"), |a| a.discovery_target_addr = Some(socket("10.0.0.1:27320"))),
    ] {
        let mut one = One::new(config.clone());
        let mut answers = 0;
        for _ in 0..50 {
            one.wait(ms(100)).hear(&container);
            answers += one.unicasts().iter().filter(|o| !announcement(&o.container).forwarded).count();
        }
        assert_eq!((answers, one.discovery.stats().answers_limited), (10, 40));
    }
}

#[test]
fn an_answer_says_how_often_it_comes() {
    let mut config = config();
    config.targets.clear();
    let mut one = One::new(config);
    let slow = |container| with(container, |a| a.sent_rate = ms(10_000));
    one.hear(&slow(with(native(2, "two", "10.0.0.2:5"), |a| a.discovery_target_addr = Some(socket("10.0.0.1:1")))));
    assert_eq!(one.unicasts().iter().map(rate).collect::<Vec<_>>(), [ms(10_000)]);
    let mut one = One::new(super::config());
    one.hear(&slow(native(2, "two", "10.0.0.2:5")));
    assert_eq!(one.unicasts().iter().map(rate).collect::<Vec<_>>(), [ms(1_000)], "it hears us on the group");
}

#[test]
fn a_rendezvous_stays_known_to_those_who_hear_it_by_answers_only() {
    for (target, interval) in [(GROUP, 1_000), (GROUP, 5_000), ("10.0.0.1:27320", 1_000), ("10.0.0.1:27320", 5_000)] {
        let mut world = World::new();
        world.start(&[], 1);
        world.start_at(1, &[target], vec![interface(2, "10.0.0.2", 24)], |c| c.announce_interval = ms(interval));
        world.run(ms(60_000));
        assert!(world.is_complete());
        assert!(world.nodes.iter().all(|n| n.events.len() == 1), "{target} {interval}");
    }
}

#[test]
fn two_that_take_each_other_as_target_do_not_answer() {
    let mut world = World::new();
    world.start(&["10.0.0.2:27320"], 1);
    world.start(&["10.0.0.1:27320"], 1);
    world.run(ms(2_500));
    assert!(world.is_complete());
    world.sent.clear();
    world.run(ms(10_000));
    assert!((19..=21).contains(&world.sent.len()), "{}", world.sent.len());
    assert!(world.sent.iter().all(|s| announcement(&s.container).discovery_target_addr.is_some()));
}

#[test]
fn a_silent_native_peer_is_probed_before_it_expires() {
    let mut one = One::new(config());
    one.hear(&native(2, "two", "10.0.0.2:5")).hear(&classic(3, "three", "10.0.0.3:5"));
    let _ = one.sent();
    one.wait(ms(1_099));
    assert_eq!(one.unicasts(), []);
    one.wait(ms(1));
    let probes = one.unicasts();
    assert_eq!(probes.iter().map(|p| (p.to, target(p))).collect::<Vec<_>>(), [(socket("10.0.0.2:27320"), None)]);
    one.wait(ms(125));
    assert_eq!(one.unicasts().len(), 1);
    one.wait(ms(5_000));
    assert_eq!((one.unicasts().len(), one.discovery.stats().probes_sent), (6, 8));
}

#[test]
fn a_probe_is_answered_when_it_comes_from_a_known_peer() {
    let mut one = One::new(config());
    let probe = with(native(2, "two", "10.0.0.2:5"), |a| a.discovery_target_addr = None);
    one.hear(&probe);
    assert_eq!(one.unicasts(), [], "who speaks to us first by an answer has heard us");
    one.wait(ms(10)).hear(&probe);
    assert_eq!(one.unicasts(), [], "and so has who speaks just after our announcement");
    one.wait(ms(200)).hear(&probe);
    assert_eq!(one.unicasts().len(), 1);
    one.wait(ms(60)).hear(&probe);
    assert_eq!(one.unicasts(), [], "it asks more than twice as often as a peer does");
    one.wait(ms(5)).hear(&probe);
    assert_eq!(one.unicasts().len(), 1);
}

#[test]
fn the_answer_to_our_probe_is_not_answered() {
    let mut one = One::new(config());
    let peer = native(2, "two", "10.0.0.2:5");
    one.hear(&peer).wait(ms(1_150));
    let _ = one.sent();
    assert_eq!(one.discovery.stats().probes_sent, 1);
    for _ in 0..3 {
        one.wait(ms(50)).hear(&with(peer.clone(), |a| a.discovery_target_addr = None));
        assert_eq!(one.unicasts(), []);
    }
}

#[test]
fn what_comes_after_two_probes_in_vain_may_be_a_probe_and_is_answered_once() {
    let mut one = One::new(config());
    let peer = native(2, "two", "10.0.0.2:5");
    one.hear(&peer).wait(ms(1_100)).wait(ms(125)).wait(ms(75));
    let _ = one.sent();
    assert_eq!(one.discovery.stats().probes_sent, 2);
    for answers in [1, 0, 0] {
        one.wait(ms(20)).hear(&with(peer.clone(), |a| a.discovery_target_addr = None));
        assert_eq!(one.unicasts().len(), answers);
    }
}

/// Both probe in vain, and the first that gets through is no answer to the other's probes.
#[test]
fn a_pair_stays_together_whose_network_heals_before_either_would_expire() {
    for cut in (400..750).step_by(10) {
        let mut world = World::new();
        world.start_many(6, &[GROUP], 1);
        world.run(ms(2_000 + cut * 7));
        assert!(world.is_complete());
        world.loss = Some((Rng::new(1), 1.0));
        world.run(ms(cut));
        world.loss = None;
        world.run(ms(5_000));
        assert!(world.nodes.iter().all(|n| n.events.len() == 5), "nobody went down, cut for {cut} ms");
    }
}

#[test]
fn idle_peers_stay_when_a_fifth_of_all_is_lost() {
    for seed in 0..5 {
        let mut world = World::new();
        world.start_many(4, &[GROUP], 1);
        world.run(ms(2_000));
        assert!(world.is_complete());
        world.loss = Some((Rng::new(seed), 0.2));
        world.run(ms(60_000));
        assert!(world.nodes.iter().all(|n| n.events.len() == 3), "nobody went down, seed {seed}");
    }
}

#[test]
fn a_pair_stays_together_when_multicast_stops() {
    let mut world = World::new();
    world.start_many(5, &[GROUP], 1);
    world.run(ms(3_000));
    world.multicast = false;
    world.run(ms(60_000));
    assert!(world.is_complete());
    assert!(world.nodes.iter().all(|n| n.events.len() == 4), "nobody went down");
}

#[test]
fn answers_are_bounded_in_all() {
    let mut config = config();
    (config.max_answers, config.targets) = (3, Vec::new());
    let mut one = One::new(config);
    for id in 2..12 {
        let data = format!("10.0.0.{id}:5");
        one.hear(&with(native(id, &format!("p{id}"), &data), |a| a.discovery_target_addr = Some(socket("10.0.0.1:1"))));
    }
    assert_eq!((one.discovery.stats().answers_dropped, one.discovery.stats().answers_sent), (7, 0));
    let own = one.unicasts().into_iter().filter(|o| !announcement(&o.container).forwarded).count();
    assert_eq!(own, 3);
}
