//! Tokens and wills: who sees which, when.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use glue_net::wire::{put_bytes, put_varint};
use proptest::prelude::*;

use super::{LIFE, SECOND, World, facts, messages, peer, topics};
use crate::{Config, Data, Event, Filter, Item, LastWill, TokenError, TokenEvent, TopicName, Topics, WillError, Wire};

/// What an observer was told, held against what it says: per node and token, up and down take turns.
#[derive(Debug, Default)]
struct View {
    up: BTreeSet<(String, String)>,
    told: usize,
}

impl View {
    fn follow(&mut self, node: &mut Topics) {
        while let Some(event) = node.poll_event() {
            let Event::Token(event) = event else { continue };
            let holder = event.holder();
            let key = (holder.endpoint_name.to_string(), holder.token.to_string());
            let turned = match event {
                TokenEvent::Up(_) => self.up.insert(key),
                TokenEvent::Down(_) => self.up.remove(&key),
            };
            assert!(turned, "twice");
            self.told += 1;
        }
        assert_eq!(self.up, seen(node, "#"));
    }
}

fn seen(node: &Topics, filter: &str) -> BTreeSet<(String, String)> {
    let filter = Filter::new(filter, 64).unwrap();
    node.tokens(&filter).map(|holder| (holder.endpoint_name.to_string(), holder.token.to_string())).collect()
}

fn pairs(pairs: &[(&str, &str)]) -> BTreeSet<(String, String)> {
    pairs.iter().map(|(name, token)| ((*name).to_owned(), (*token).to_owned())).collect()
}

fn will<'a>(topic: &'a str, payload: &'a [u8]) -> LastWill<'a> {
    LastWill { topic, type_name: "text", expiry: SECOND, payload: Data::Slice(payload) }
}

fn set_will(world: &mut World, topic: &str, payload: &[u8]) -> crate::WillId {
    let wall = world.wall();
    world.nodes[0].set_will(wall, will(topic, payload)).unwrap()
}

/// Payloads of the wills that a subscription got.
fn wills(items: &[Item]) -> Vec<Vec<u8>> {
    messages(items).filter(|message| message.is_will()).map(|message| message.payload.to_vec()).collect()
}

#[test]
fn everybody_sees_who_holds_a_token() {
    let mut world = World::new(3);
    let first = world.nodes[0].hold_token("printer").unwrap();
    world.nodes[0].hold_token("printer").unwrap();
    world.nodes[1].hold_token("printer").unwrap();
    world.nodes[1].hold_token("scanner").unwrap();
    world.settle();
    let all = pairs(&[("node-0", "printer"), ("node-1", "printer"), ("node-1", "scanner")]);
    let mut views = [View::default(), View::default(), View::default()];
    for (view, node) in views.iter_mut().zip(&mut world.nodes) {
        view.follow(node);
        assert_eq!((&view.up, view.told), (&all, 3));
    }
    assert_eq!(seen(&world.nodes[2], "scanner"), pairs(&[("node-1", "scanner")]));
    world.nodes[0].release_token(&first);
    world.settle();
    views[2].follow(&mut world.nodes[2]);
    assert_eq!(views[2].told, 3, "it is held once more");
    world.nodes[0].release_token(&first);
    world.nodes[0].release_token(&first);
    world.settle();
    for (view, node) in views.iter_mut().zip(&mut world.nodes) {
        view.follow(node);
        assert_eq!((view.up.len(), view.told), (2, 4));
    }
}

#[test]
fn tokens_of_a_peer_are_up_while_it_is_there() {
    let mut world = World::new(2);
    let mut view = View::default();
    let a = world.nodes[0].hold_token("a").unwrap();
    world.settle();
    view.follow(&mut world.nodes[1]);
    world.nodes[1].handle_peer_lost(world.now, peer(0), false);
    view.follow(&mut world.nodes[1]);
    assert_eq!((view.up.len(), view.told), (0, 2));
    // What it changes meanwhile is seen when it is found again.
    world.nodes[0].release_token(&a);
    world.nodes[0].hold_token("b").unwrap();
    world.settle();
    view.follow(&mut world.nodes[1]);
    assert_eq!(view.told, 2);
    world.nodes[1].handle_peer_found(peer(0));
    view.follow(&mut world.nodes[1]);
    assert_eq!((&view.up, view.told), (&pairs(&[("node-0", "b")]), 3));
    // A new session: what it holds is told anew.
    world.nodes[1].handle_peer_gone(peer(0));
    world.nodes[0].handle_peer_gone(peer(1));
    view.follow(&mut world.nodes[1]);
    assert_eq!(view.up.len(), 0);
    world.nodes[1].handle_peer_up(peer(0), &facts(0, Wire::Native));
    world.nodes[1].hide_peer(peer(0));
    world.nodes[0].handle_peer_up(peer(1), &facts(1, Wire::Native));
    world.settle();
    view.follow(&mut world.nodes[1]);
    assert_eq!(view.up.len(), 0);
    world.nodes[1].handle_peer_found(peer(0));
    view.follow(&mut world.nodes[1]);
    assert_eq!((view.up.len(), view.told), (1, 5));
}

#[test]
fn a_peer_out_of_reach_is_told_what_changed_in_the_end() {
    let mut world = World::new(2);
    let a = world.nodes[0].hold_token("a").unwrap();
    world.settle();
    world.nodes[0].handle_peer_suspended(peer(1));
    let b = world.nodes[0].hold_token("b").unwrap();
    world.nodes[0].release_token(&a);
    world.nodes[0].release_token(&b);
    world.nodes[0].hold_token("c").unwrap();
    world.send();
    assert!(world.flight.is_empty());
    world.nodes[0].handle_peer_resumed(peer(1));
    world.settle();
    assert_eq!(seen(&world.nodes[1], "#"), pairs(&[("node-0", "c")]));
}

#[test]
fn a_will_is_delivered_when_its_publisher_is_lost() {
    let mut world = World::new(3);
    let [exact, all] = ["t", "#"].map(|filter| world.nodes[1].subscribe(filter, "text").unwrap());
    let other = world.nodes[1].subscribe("u", "text").unwrap();
    set_will(&mut world, "t", b"gone");
    world.settle();
    world.publish(0, "t", b"alive");
    world.settle();
    world.now = world.now + SECOND * 5;
    world.nodes[1].handle_peer_lost(world.now, peer(0), false);
    world.nodes[1].handle_peer_lost(world.now, peer(0), true);
    world.hand_out();
    for id in [exact, all] {
        assert_eq!((world.numbers(1, id), wills(world.items(1, id))), (vec![1, 0], vec![b"gone".to_vec()]));
        let will = messages(world.items(1, id)).last().unwrap();
        assert_eq!((&*will.endpoint_name, &*will.topic_type, will.incarnation), ("node-0", "text", LIFE));
        assert_eq!((will.deadline(), will.timestamp + SECOND * 5), (world.now + SECOND, world.wall()));
    }
    assert_eq!(world.items(1, other).len(), 0);
    assert_eq!(world.nodes[1].stats().wills_delivered, 1);
    // It was not dead: its order goes on without a gap, and the next time the will comes again.
    world.nodes[1].handle_peer_found(peer(0));
    world.publish(0, "t", b"again");
    world.settle();
    world.nodes[1].handle_peer_lost(world.now, peer(0), false);
    world.nodes[1].handle_peer_gone(peer(0));
    world.hand_out();
    assert_eq!((world.numbers(1, exact), world.gaps(1, exact)), (vec![1, 0, 2, 0], vec![]));
    // Whoever has no subscription gets nothing.
    world.nodes[2].handle_peer_lost(world.now, peer(0), false);
    assert!(world.nodes[2].poll_delivery().is_none());
}

#[test]
fn what_is_held_comes_before_the_will_of_one_that_will_not_come_back() {
    let mut world = World::new(2);
    let id = world.nodes[1].subscribe("t", "text").unwrap();
    set_will(&mut world, "t", b"gone");
    world.settle();
    world.publish(0, "t", b"1");
    world.settle();
    world.publish(0, "t", b"2");
    world.send();
    world.flight.clear();
    world.publish(0, "t", b"3");
    world.settle();
    assert_eq!(world.numbers(1, id), [1]);
    world.nodes[1].handle_peer_lost(world.now, peer(0), true);
    world.nodes[1].handle_peer_gone(peer(0));
    world.hand_out();
    assert_eq!((world.numbers(1, id), world.gaps(1, id).len()), (vec![1, 3, 0], 1));
}

#[test]
fn a_goodbye_and_a_withdrawal_take_the_will_away() {
    let mut world = World::new(4);
    for node in 1..4 {
        world.nodes[node].subscribe("#", "").unwrap();
    }
    let first = set_will(&mut world, "t", b"first");
    let second = set_will(&mut world, "t", b"second");
    world.nodes[0].withdraw_will(first);
    world.settle();
    world.nodes[1].handle_peer_gone(peer(0));
    world.nodes[2].handle_peer_lost(world.now, peer(0), false);
    world.nodes[0].withdraw_will(second);
    world.settle();
    world.nodes[3].handle_peer_lost(world.now, peer(0), false);
    world.hand_out();
    let got: Vec<_> = world.got.iter().map(|((node, _), items)| (*node, wills(items))).collect();
    assert_eq!(got, [(2, vec![b"second".to_vec()])]);
    // What stays takes room too.
    world.nodes[0].subscribe("other", "").unwrap();
    world.settle();
    let before = world.nodes[3].names_bytes();
    let third = set_will(&mut world, "u", b"third");
    world.settle();
    assert!(world.nodes[3].names_bytes() > before);
    world.nodes[0].withdraw_wills();
    world.nodes[0].withdraw_will(third);
    world.settle();
    assert_eq!(world.nodes[3].names_bytes(), before);
    world.nodes[3].handle_peer_found(peer(0));
    world.nodes[3].handle_peer_lost(world.now, peer(0), false);
    assert!(world.nodes[3].poll_delivery().is_none());
}

#[test]
fn a_large_will_comes_in_parts_and_whole() {
    let mut world = World::new(2);
    let id = world.nodes[1].subscribe("t", "").unwrap();
    let payload: Vec<u8> = (0..60_000u32).map(|at| u8::try_from(at % 251).unwrap()).collect();
    set_will(&mut world, "t", &payload);
    set_will(&mut world, "u", b"small");
    world.send();
    assert!(
        world.flight.len() > 60 && world.flight.iter().all(|(_, _, cargo)| glue_net::Content::body_len(cargo) < 1_000)
    );
    world.settle();
    world.nodes[1].handle_peer_lost(world.now, peer(0), false);
    world.hand_out();
    assert_eq!(wills(world.items(1, id)), [payload]);
}

#[test]
fn own_limits_are_errors() {
    let config = Config { max_tokens: 1, max_wills: 1, max_will_bytes: 20, ..Config::default() };
    let mut node = topics(0, config);
    let token = node.hold_token("a").unwrap();
    assert_eq!(node.hold_token("a").as_ref(), Ok(&token));
    assert_eq!(node.hold_token("b"), Err(TokenError::TooMany { limit: 1 }));
    assert!(matches!(node.hold_token("b/+"), Err(TokenError::BadName(_))));
    let wall = glue_net::WallTime::default();
    let error = node.set_will(wall, will("t", &[0; 16])).unwrap_err();
    assert_eq!(error, WillError::TooLarge { len: 21, limit: 20 });
    node.set_will(wall, will("t", &[0; 15])).unwrap();
    node.set_will(wall, will("t", &[0; 15])).unwrap();
    assert_eq!(node.set_will(wall, will("u", b"")).unwrap_err(), WillError::TooMany { limit: 1 });
    let none = LastWill { expiry: Duration::ZERO, ..will("t", b"") };
    assert_eq!(node.set_will(wall, none).unwrap_err(), WillError::NoLifetime);
    node.publication("v", "text").unwrap();
    let other = LastWill { type_name: "json", ..will("v", b"") };
    assert!(matches!(node.set_will(wall, other), Err(WillError::TypeMismatch { .. })));
}

/// A control cargo of node 0, by hand.
fn control(world: &mut World, number: u64, body: Vec<u8>) {
    let mut head = vec![0];
    put_varint(&mut head, number);
    world.nodes[1].handle_cargo(world.now, peer(0), head.into(), body.into());
}

#[test]
fn a_greedy_peer_is_bounded_and_counted() {
    let config = Config { max_tokens: 10, max_wills: 2, max_will_bytes: 1_000, ..Config::default() };
    let mut world = World::with(2, &config);
    world.nodes[1].subscribe("#", "").unwrap();
    let mut body = Vec::new();
    for token in 0..20 {
        body.push(16);
        put_bytes(&mut body, format!("token-{token:02}").as_bytes());
    }
    control(&mut world, 0, body);
    assert_eq!((seen(&world.nodes[1], "#").len(), world.nodes[1].stats().claims_refused), (10, 10));
    let held = world.nodes[1].names_bytes();
    // Parts without end: nothing beyond the limit is kept, and the will that they belong to is refused.
    for number in 1..100 {
        let mut body = vec![20];
        put_bytes(&mut body, if number < 50 { &[7; 600] } else { &[7; 6] });
        control(&mut world, number, body);
    }
    assert_eq!(world.nodes[1].names_bytes(), held + 600);
    for number in 100..110 {
        let mut body = vec![18];
        put_bytes(&mut body, format!("t/{number}").as_bytes());
        put_bytes(&mut body, b"");
        body.extend([0; 8]);
        put_varint(&mut body, 1_000_000);
        put_bytes(&mut body, &[8; 300]);
        control(&mut world, number, body);
    }
    assert_eq!(world.nodes[1].stats().claims_refused, 10 + 1 + 7);
    world.nodes[1].handle_peer_lost(world.now, peer(0), false);
    world.hand_out();
    assert_eq!(world.got.values().map(|items| wills(items)).collect::<Vec<_>>(), [vec![vec![8; 300]; 2]]);
    world.nodes[1].handle_peer_gone(peer(0));
    assert_eq!((world.nodes[1].names_bytes(), seen(&world.nodes[1], "#").len()), (0, 0));
}

/// One thing that happens to node 0 and its one observer.
#[derive(Clone, Copy, Debug)]
enum Step {
    Hold(u8),
    Release(u8),
    SetWill(u8),
    WithdrawWills,
    Lost,
    Found,
    /// The session is lost at both sides.
    StartOver,
    Settle,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0u8..4).prop_map(Step::Hold),
        (0u8..4).prop_map(Step::Release),
        any::<u8>().prop_map(Step::SetWill),
        Just(Step::WithdrawWills),
        Just(Step::Lost),
        Just(Step::Found),
        Just(Step::StartOver),
        Just(Step::Settle),
    ]
}

proptest! {
    /// Whatever happens in whatever order, the view follows the truth; a will comes exactly when its publisher is lost.
    #[test]
    fn the_view_converges(steps in prop::collection::vec(step(), 0..60), shuffle: bool) {
        let mut world = World::new(2);
        world.fate.shuffle = shuffle;
        let id = world.nodes[1].subscribe("t", "").unwrap();
        world.settle();
        let (mut view, mut there) = (View::default(), true);
        let (mut held, mut will_now) = (BTreeMap::<String, u32>::new(), None);
        for step in steps {
            match step {
                Step::Hold(name) => {
                    world.nodes[0].hold_token(&name.to_string()).unwrap();
                    *held.entry(name.to_string()).or_default() += 1;
                }
                Step::Release(name) => {
                    world.nodes[0].release_token(&TopicName::new(&name.to_string(), 8).unwrap());
                    held.entry(name.to_string()).and_modify(|count| *count = count.saturating_sub(1));
                    held.retain(|_, count| *count > 0);
                }
                Step::SetWill(byte) => {
                    set_will(&mut world, "t", &[byte]);
                    will_now = Some(vec![byte]);
                }
                Step::WithdrawWills => {
                    world.nodes[0].withdraw_wills();
                    will_now = None;
                }
                Step::Lost => {
                    world.settle();
                    world.got.clear();
                    world.nodes[1].handle_peer_lost(world.now, peer(0), false);
                    world.hand_out();
                    let expected: Vec<_> = will_now.clone().into_iter().filter(|_| there).collect();
                    prop_assert_eq!(wills(world.items(1, id)), expected);
                    there = false;
                }
                Step::Found => {
                    world.nodes[1].handle_peer_found(peer(0));
                    there = true;
                }
                Step::StartOver => {
                    for (node, other) in [(0, 1), (1, 0)] {
                        world.nodes[node].handle_peer_gone(peer(other));
                        world.nodes[node].handle_peer_up(peer(other), &facts(other, Wire::Native));
                    }
                    world.flight.clear();
                    if !there {
                        world.nodes[1].hide_peer(peer(0));
                    }
                }
                Step::Settle => world.settle(),
            }
            view.follow(&mut world.nodes[1]);
        }
        world.settle();
        view.follow(&mut world.nodes[1]);
        let truth: Vec<_> = held.keys().filter(|_| there).map(|token| ("node-0".to_owned(), token.clone())).collect();
        prop_assert_eq!(view.up.into_iter().collect::<Vec<_>>(), truth);
    }
}
