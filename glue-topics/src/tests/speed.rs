//! What a message costs. Run alone, in release mode:
//! `cargo test --release -p glue-topics -- --ignored --nocapture speed`.

use std::hint::black_box;

use glue_net::{Chain, Content, Instant, PeerId, WallTime};

use super::{SECOND, World, peer};
use crate::{Cargo, Delivery, Item};

const MESSAGES: u64 = 4_000_000;

/// Calls `turn`, which handles some messages, until it has handled [`MESSAGES`], and prints the cost of one.
fn measure(what: &str, mut turn: impl FnMut() -> u64) {
    #[expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "a measurement needs the real clock")]
    let start = std::time::Instant::now();
    let mut done = 0;
    while done < MESSAGES {
        done += turn();
    }
    let nanos = start.elapsed().as_nanos() / u128::from(done);
    println!("{what:<60} {nanos:>6} ns a message");
}

fn publisher(room: usize) -> (World, crate::PublicationId) {
    let mut world = World::new(2);
    world.nodes[1].subscribe("some_topic", "some_type").unwrap();
    world.nodes[0].set_room(peer(1), room);
    world.settle();
    let id = world.nodes[0].publication("some_topic", "some_type").unwrap();
    (world, id)
}

fn publish_turn(world: &mut World, id: crate::PublicationId, count: u64, at: &mut u64) -> Vec<(PeerId, Cargo)> {
    let node = &mut world.nodes[0];
    for _ in 0..count {
        *at += 100;
        let wall = WallTime::from_unix_nanos(i64::try_from(*at).unwrap());
        node.publish(Instant::from_nanos(*at), wall, id, SECOND, black_box(&[7u8; 64])).unwrap();
    }
    node.close_bundles();
    std::iter::from_fn(|| node.poll_cargo()).collect()
}

#[test]
#[ignore = "a measurement"]
fn speed_of_publishing() {
    for (count, room) in [(1, 1_200), (17, 1_200), (1_000, 1_200), (1_000, 65_000)] {
        let (mut world, id) = publisher(room);
        let mut at = 0;
        measure(&format!("publish 64 B, {count} a turn, room {room}"), || {
            publish_turn(&mut world, id, count, &mut at);
            count
        });
    }
    let mut world = World::new(1);
    let _own = world.nodes[0].subscribe("some_topic", "some_type").unwrap();
    let id = world.nodes[0].publication("some_topic", "some_type").unwrap();
    let mut at = 0;
    measure("publish 64 B to an own subscription, 100 a turn", || {
        publish_turn(&mut world, id, 100, &mut at);
        let taken = std::iter::from_fn(|| world.nodes[0].poll_delivery());
        taken.map(|mut delivery| drain(&mut delivery, Instant::from_nanos(at))).sum()
    });
}

#[test]
#[ignore = "a measurement"]
fn speed_of_receiving() {
    for (count, room) in [(1, 1_200), (15, 1_200), (890, 65_000)] {
        let (mut world, id) = publisher(room);
        let mut at = 0;
        let bodies = (MESSAGES / count).min(20_000);
        let cargo: Vec<_> = (0..bodies)
            .map(|_| {
                let [(_, cargo)] = &publish_turn(&mut world, id, count, &mut at)[..] else { panic!("one bundle") };
                let (mut head, mut body) = (Vec::new(), Chain::default());
                cargo.encode_head(Instant::from_nanos(at), &mut head);
                cargo.encode_body(0..cargo.body_len(), &mut body);
                (bytes::Bytes::from(head), bytes::Bytes::from(body.to_vec()))
            })
            .collect();
        let now = Instant::from_nanos(at);
        let mut rest = cargo.iter().cycle();
        let mut node = std::mem::replace(&mut world.nodes[1], super::topics(1, crate::Config::default()));
        let mut taken = 0;
        measure(&format!("receive 64 B, {count} a bundle: handle_cargo"), || {
            if taken % bodies == 0 {
                node = fresh_subscriber();
            }
            taken += 1;
            let (head, body) = rest.next().unwrap();
            node.handle_cargo(now, peer(0), head.clone(), body.clone());
            u64::from(black_box(node.poll_delivery()).is_some()) * count
        });
        node = fresh_subscriber();
        let mut deliveries = Vec::new();
        for (head, body) in &cargo {
            node.handle_cargo(now, peer(0), head.clone(), body.clone());
            deliveries.push(node.poll_delivery().unwrap());
        }
        let mut rest = deliveries.iter().cycle();
        measure(&format!("receive 64 B, {count} a bundle: reading the batch"), || {
            drain(&mut rest.next().unwrap().clone(), now)
        });
    }
}

fn fresh_subscriber() -> crate::Topics {
    let mut node = super::topics(1, crate::Config::default());
    node.subscribe("some_topic", "some_type").unwrap();
    node.handle_peer_up(peer(0), &super::facts(0, crate::Wire::Native));
    node
}

fn drain(delivery: &mut Delivery, now: Instant) -> u64 {
    let messages = std::iter::from_fn(|| delivery.batch.next(now));
    messages.map(|item| u64::from(matches!(black_box(item), Item::Message(_)))).sum()
}
