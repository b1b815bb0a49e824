//! What the benches and the instruction counts share: engines joined by memory. No sockets, no clock: each run does
//! exactly the same.

#![expect(
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "its users are benches: it panics to end them"
)]

mod lan;

use std::time::Duration;

use glue_net::{Chain, Content, EndpointId, Incarnation, Instant, PeerId};
use glue_topics::{Config, EndpointName, PeerFacts, Topics, Wire};

/// So many topics for a [`Lan::crowded`]. None is [`TOPIC`].
#[must_use]
pub fn topics(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("site/{}/{number}/heat", number % 1_000)).collect()
}

/// So many filters with wildcards for a [`Lan::crowded`]: each of them matches some of [`topics`], the last two [`TOPIC`].
#[must_use]
pub fn filters(count: usize) -> Vec<String> {
    let most = (0..count.saturating_sub(2)).map(|number| match number % 4 {
        0 => format!("site/{number}/+/heat"),
        1 => format!("site/{number}/#"),
        2 => format!("+/{number}/+/heat"),
        _ => format!("site/+/{number}/#"),
    });
    most.chain(["+".to_owned(), format!("{TOPIC}/#")]).collect()
}

pub use lan::{Datagram, Lan, Path};

/// The topic that is published.
pub const TOPIC: &str = "some_topic";
/// Its type.
pub const TYPE: &str = "some_type";
/// How long messages live.
pub const EXPIRY: Duration = Duration::from_secs(60);
/// The subscriber of [`publisher`].
pub const SUBSCRIBER: PeerId = PeerId(1);

/// Topics of a publisher with one native subscriber to each of `topics`, which takes datagrams with room for `room`
/// bytes. Publications that are released are forgotten at once.
#[must_use]
pub fn publisher(topics: &[String], room: usize) -> Topics {
    let mut config = Config::default();
    config.max_idle_publications = 0;
    let facts = |id, name| PeerFacts {
        id: EndpointId::from_integer(id),
        incarnation: LIFE,
        name: EndpointName::new(name),
        wire: Wire::Native,
        permissions: None,
        public_key: None,
    };
    let mut publisher = Topics::new(config, EndpointId::from_integer(1), LIFE, "publisher").expect("good settings");
    let mut subscriber =
        Topics::new(Config::default(), EndpointId::from_integer(2), LIFE, "subscriber").expect("good settings");
    publisher.handle_peer_up(SUBSCRIBER, &facts(2, "subscriber"));
    subscriber.handle_peer_up(PeerId(0), &facts(1, "publisher"));
    for topic in topics {
        subscriber.subscribe(topic, TYPE).expect("a good topic");
    }
    while let Some((_, cargo)) = subscriber.poll_cargo() {
        let (mut head, mut body) = (Vec::new(), Chain::default());
        cargo.encode_head(Instant::ZERO, &mut head);
        cargo.encode_body(0..cargo.body_len(), &mut body);
        publisher.handle_cargo(Instant::ZERO, SUBSCRIBER, head.into(), body.to_vec().into());
    }
    publisher.set_room(SUBSCRIBER, room);
    publisher
}

const LIFE: Incarnation = Incarnation(1);
