//! What everything is counted as, in a table that is committed: a change of it is to be seen, and meant. Whether a count is right is for
//! the other tests to say; this sees that it changes.
//!
//! `INSTA_UPDATE=always cargo test -p glue-topics accounts` writes it anew.

#![expect(clippy::cast_possible_truncation, reason = "the numbers are small")]

use std::fmt::Write;

use super::{SECOND, World, ms, peer};
use crate::{Answer, Ask, CallEvent, Config, Data, Gaps, History, Item, Reach, ServiceId, Wish};

/// The fields of a structure that are not 0.
fn counted(value: &impl std::fmt::Debug) -> String {
    let all = format!("{value:?}");
    let inner = all.split_once('{').map_or("", |(_, rest)| rest).trim_end_matches('}');
    inner.split(", ").map(str::trim).filter(|field| !field.ends_with(": 0")).collect::<Vec<_>>().join(", ")
}

fn tell(world: &World, what: &str, out: &mut String) {
    let _ = writeln!(out, "== {what}");
    for (number, node) in world.nodes.iter().enumerate() {
        let (own, due) = (node.own_bytes().bytes(), node.poll_timeout().map(|at| at.since(world.now).as_millis()));
        let (queued, history, names) = (node.bundle_bytes(), node.history_bytes(), node.names_bytes());
        let (waiting, cached, open) = (node.waiting_bytes(), node.cached_bytes(), node.open_calls());
        let _ = writeln!(
            out,
            "{number}: queued {queued}, history {history}, names {names}, own {own}, waiting {waiting}, cached {cached}, calls {open:?}, due {due:?}"
        );
        let _ = writeln!(out, "   {} | {}", counted(&node.stats()), counted(&node.cache_stats()));
        for (topic, stats) in node.topic_stats() {
            let _ = writeln!(out, "   {}: {}", &*topic, counted(&stats));
        }
    }
    for ((node, id), items) in &world.got {
        let (mut gaps, mut messages, mut bytes) = (Gaps::default(), 0, 0);
        for item in items {
            match item {
                Item::Message(message) => (messages, bytes) = (messages + 1, bytes + message.payload.len()),
                Item::Gap(gap) => gaps.add(gap.reason, gap.count()),
            }
        }
        let _ = writeln!(out, "{node} {id:?}: {messages} messages, {bytes} bytes, {}", counted(&gaps));
    }
}

/// All that can wait, waits somewhere: what is published in bad order, expires, is kept, is asked for and shared out.
fn busy(config: &Config) -> (World, ServiceId) {
    let mut world = World::with(4, config);
    world.nodes[3].cache("#", 20_000).unwrap();
    for (topic, history) in [("a", History::Last(5)), ("b/c", History::All { max_bytes: 3_000 })] {
        let id = world.nodes[0].publication_with(topic, "text", history).unwrap();
        world.nodes[0].release(id);
    }
    let service = world.nodes[1].serve("sum", "text").unwrap();
    world.nodes[1].subscribe("#", "").unwrap();
    world.nodes[1].subscribe("$share/workers/a", "text").unwrap();
    world.nodes[2].subscribe("$share/workers/a", "text").unwrap();
    world.nodes[2].subscribe("b/+", "text").unwrap();
    world.nodes[0].subscribe("a", "text").unwrap();
    world.settle();
    (world, service)
}

/// Publishes, and carries a part of what is under way.
fn publish(world: &mut World, count: u64) {
    for number in 0..count {
        let (topic, len) = (["a", "b/c", "b/d"][(number % 3) as usize], world.rng.below(900) as usize);
        let expiry = ms(50 + 100 * world.rng.below(80));
        world.publish_for((number % 5 == 4).into(), topic, expiry, &vec![7; len]);
        if number % 4 == 3 {
            world.send();
            (0..3).for_each(|_| _ = world.carry_one());
            world.pass(ms(7));
        }
    }
}

fn call(world: &mut World, payload: &[u8]) {
    let ask =
        Ask { topic: "sum", type_name: "text", payload: Data::Slice(payload), timeout: SECOND, reach: Reach::One };
    let now = world.now;
    let _ = world.nodes[2].request(now, &ask);
}

/// Takes what was asked and shared; answers or does every other.
fn work(world: &mut World, out: &mut String) {
    for node in 0..world.nodes.len() {
        let (mut shares, mut requests, mut answers) = (Vec::new(), Vec::new(), 0);
        while let Some(event) = world.nodes[node].poll_call() {
            match event {
                CallEvent::Share { id, .. } => shares.push(id),
                CallEvent::Request(asked) => requests.push(asked.id),
                _ => answers += 1,
            }
        }
        let _ =
            writeln!(out, "{node}: {} shares, {} requests, {answers} answers and others", shares.len(), requests.len());
        for id in shares.into_iter().step_by(2) {
            let _ = world.nodes[node].done(id);
        }
        for id in requests.into_iter().step_by(2) {
            let _ = world.nodes[node].answer(id, Answer::Reply(Data::Slice(&[1; 300])));
        }
    }
}

#[test]
fn what_everything_is_counted_as() {
    let mut out = String::new();
    let (mut world, service) = busy(&Config::default());
    tell(&world, "all is quiet", &mut out);
    (world.fate.shuffle, world.fate.duplicate, world.fate.expire) = (true, 0.1, 0.1);
    publish(&mut world, 120);
    (0..5).for_each(|number| call(&mut world, &vec![9; 100 * number]));
    tell(&world, "much is under way", &mut out);
    world.hand_out();
    work(&mut world, &mut out);
    (0..40).for_each(|_| _ = world.carry_one());
    tell(&world, "some has come", &mut out);
    let late = world.nodes[2].subscribe_from(world.now, "#", "", Wish::All).unwrap();
    world.settle();
    work(&mut world, &mut out);
    tell(&world, "all has come, and one joins late", &mut out);
    world.nodes[2].unsubscribe(late);
    world.pass(SECOND);
    world.nodes[1].handle_peer_suspended(peer(0));
    publish(&mut world, 30);
    for node in 1..4 {
        world.nodes[node].handle_peer_gone(peer(0));
    }
    world.flight.retain(|(from, to, _)| *from != 0 && *to != 0);
    world.nodes[1].unserve(service);
    (0..20).for_each(|_| world.pass(ms(500)));
    world.settle();
    work(&mut world, &mut out);
    tell(&world, "its publisher is gone", &mut out);
    insta::assert_snapshot!(out);
}

#[test]
fn what_is_counted_where_there_is_little_room() {
    let config = Config {
        max_held_bundles_per_peer: 4,
        max_message_bytes: 800,
        max_counted_topics: 1,
        max_cursors: 2,
        member_window: 1,
        ..Config::default()
    };
    let mut out = String::new();
    let (mut world, _) = busy(&config);
    (world.fate.shuffle, world.fate.duplicate) = (true, 0.2);
    for number in 0..90_u64 {
        let now = world.now;
        let wall = world.wall();
        let id = world.nodes[0].publication(["a", "b/c", "b/d"][(number % 3) as usize], "text").unwrap();
        let _ = world.nodes[0].publish(now, wall, id, ms(300 + number), &vec![1; (number * 10) as usize]);
        world.nodes[0].release(id);
        world.send();
        (0..2).for_each(|_| _ = world.carry_one());
        if number % 10 == 0 {
            call(&mut world, &vec![2; (number * 10) as usize]);
            world.pass(ms(20));
        }
    }
    tell(&world, "much is under way", &mut out);
    world.settle();
    work(&mut world, &mut out);
    (0..5).for_each(|_| world.pass(ms(500)));
    world.settle();
    tell(&world, "all has come or expired", &mut out);
    insta::assert_snapshot!(out);
}
