use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use glue_net::{EndpointId, Incarnation, PeerId};
use glue_topics::{EndpointName, PeerFacts, Wire};

use super::*;
use crate::Endpoint;
use crate::engine::Engine;

const EXPIRY: Duration = Duration::from_secs(60);
const PEER: PeerId = PeerId(7);
/// A publish that counted as not done when it was came twice about once in 1,500.
const MESSAGES: u64 = 30_000;

/// A publisher with one subscriber, which exists in the engine alone.
async fn publisher() -> (Endpoint, Publisher) {
    let builder = Endpoint::builder().listen_address(([127, 0, 0, 1], 0).into()).discovery_listen_address(None);
    let endpoint = builder.rendezvous().start().await.unwrap();
    let publisher = endpoint.publisher("t", "ty").unwrap();
    publisher.shared.call(|engine, now| {
        let (id, name) = (EndpointId::from_integer(7), EndpointName::new("seven"));
        let facts = PeerFacts {
            id,
            incarnation: Incarnation(1),
            name,
            wire: Wire::Native,
            permissions: None,
            public_key: None,
        };
        engine.topics.handle_peer_up(PEER, &facts);
        // Its first control cargo: it subscribes to everything.
        let (head, body) = (Bytes::from_static(&[0, 0]), Bytes::from_static(&[1, 1, b'#', 0]));
        engine.topics.handle_cargo(now, PEER, head, body);
    });
    assert_eq!(publisher.subscribers(), 1);
    (endpoint, publisher)
}

fn fill(engine: &mut Engine) {
    engine.watch.congested.insert(PEER);
}

fn make_room(engine: &mut Engine) {
    // It is not known to the engine otherwise, so that there is nothing to wait for.
    engine.review(glue_net::Instant::ZERO, PEER);
    assert!(engine.watch.congested.is_empty());
}

/// Room may come at any time. That it comes just between a try and the wait for room needs many attempts.
#[tokio::test]
async fn each_message_is_sent_once_whenever_room_comes() {
    let (endpoint, publisher) = publisher().await;
    let (is_over, shared) = (Arc::new(AtomicBool::new(false)), Arc::clone(&publisher.shared));
    let toggler = std::thread::spawn({
        let is_over = Arc::clone(&is_over);
        move || {
            while !is_over.load(Ordering::Relaxed) {
                shared.call(|engine, _| make_room(engine));
            }
        }
    });
    for _ in 0..MESSAGES {
        publisher.shared.call(|engine, _| fill(engine));
        publisher.publish(EXPIRY, "x").await.unwrap();
    }
    is_over.store(true, Ordering::Relaxed);
    toggler.join().unwrap();
    let stats = endpoint.stats();
    assert_eq!(stats.topics.published, MESSAGES);
    assert!(stats.endpoint.publishes_held_back > MESSAGES / 10, "room was never missing: {stats:?}");
}

#[tokio::test]
async fn a_publish_that_waits_ends_with_the_endpoint() {
    let (endpoint, publisher) = publisher().await;
    publisher.shared.call(|engine, _| fill(engine));
    assert_eq!(publisher.try_publish(EXPIRY, "x"), Err(TryPublishError::WouldBlock));
    let publishing = tokio::spawn(async move { publisher.publish(EXPIRY, "x").await });
    while endpoint.stats().endpoint.publishes_held_back < 3 {
        tokio::task::yield_now().await;
    }
    assert!(!publishing.is_finished());
    endpoint.close(Duration::ZERO).await;
    let ended = tokio::time::timeout(Duration::from_secs(10), publishing).await;
    ended.expect("it does not wait for ever").unwrap().unwrap();
    assert_eq!(endpoint.stats().topics.published, 0);
}
