//! What topics say to each other: all kinds of cargo.

use std::time::Duration;

use glue_net::{Chain, Content, EndpointId, Incarnation, Instant, PeerId, WallTime};
use glue_topics::{
    Answer, Ask, CallEvent, Cargo, EndpointName, History, LastWill, PeerFacts, PublisherOptions, Reach, Topics, Wire,
    Wish,
};

pub(crate) const PEER: PeerId = PeerId(1);
/// By which the speaker knew who is gone.
const AUTHOR: PeerId = PeerId(3);
const MINUTE: Duration = Duration::from_secs(60);

/// The end of the exchange to which cargo is sent: it asks for all that there is.
pub(crate) fn listener() -> Topics {
    let mut topics = met(2);
    topics.subscribe("#", "").expect("good");
    topics.subscribe_from(Instant::ZERO, "a/b", "", Wish::All).expect("good");
    topics.subscribe("$share/group/c", "").expect("good");
    topics.cache("a/#", 1 << 20).expect("good");
    topics.serve("s", "").expect("good");
    topics.hold_token("token").expect("good");
    let will = LastWill { topic: "w", type_name: "text", expiry: MINUTE, payload: (&b"gone"[..]).into() };
    topics.set_will(WALL, will).expect("good");
    let id = topics.publication_with("a/d", "text", History::All { max_bytes: 1 << 20 }).expect("good");
    topics.publish(Instant::ZERO, WALL, id, MINUTE, &b"old"[..]).expect("good");
    topics
}

/// The other end, which says all that one can say. It has cached what somebody published who is gone.
fn speaker() -> Topics {
    let mut topics = unmet(1);
    topics.subscribe("a/#", "").expect("good");
    topics.subscribe_from(Instant::ZERO, "a/d", "text", Wish::All).expect("good");
    topics.subscribe("$share/group/c", "").expect("good");
    topics.serve("q", "").expect("good");
    topics.cache("a/#", 1 << 20).expect("good");
    let mut author = unmet(3);
    author.handle_peer_up(AUTHOR, &facts(1));
    topics.handle_peer_up(AUTHOR, &facts(3));
    let id = author.publication("a/b", "text").expect("good");
    let mut ends = [author, topics];
    for round in 0..4_u8 {
        ends[0].publish(Instant::ZERO, WALL, id, MINUTE, &[round; 20][..]).expect("good");
        carry(&mut ends, AUTHOR, Instant::ZERO, |_, _| {});
    }
    let [_, mut topics] = ends;
    topics.handle_peer_gone(AUTHOR);
    topics.handle_peer_up(PEER, &facts(2));
    topics.hold_token("other").expect("good");
    let will = LastWill { topic: "w", type_name: "text", expiry: MINUTE, payload: (&b"will"[..]).into() };
    topics.set_will(WALL, will).expect("good");
    for (topic, history) in [("a/b", History::Last(4)), ("a/c", History::None)] {
        let id = topics.publication_with(topic, "text", history).expect("good");
        topics.publish(Instant::ZERO, WALL, id, MINUTE, &[7; 10][..]).expect("good");
    }
    topics
}

/// One that has met the other.
fn met(id: i64) -> Topics {
    let mut topics = unmet(id);
    topics.handle_peer_up(PEER, &facts(3 - id));
    topics
}

fn unmet(id: i64) -> Topics {
    Topics::new(glue_topics::Config::default(), EndpointId::from_integer(id), Incarnation(1), "us").expect("good")
}

fn facts(id: i64) -> PeerFacts {
    PeerFacts {
        id: EndpointId::from_integer(id),
        incarnation: Incarnation(1),
        name: EndpointName::new("endpoint"),
        wire: Wire::Native,
        permissions: None,
        public_key: None,
    }
}

/// What the speaker says while both go on.
pub(crate) fn cargos() -> Vec<Cargo> {
    let (mut ends, mut said, mut now) = ([speaker(), listener()], Vec::new(), Instant::ZERO);
    for round in 0..8 {
        act(&mut ends[0], round, now);
        carry(&mut ends, PEER, now, |from, cargo| said.extend((from == 0).then_some(cargo)));
        now = now + Duration::from_millis(300);
        ends.iter_mut().for_each(|end| end.handle_timeout(now));
    }
    assert!(said.len() >= 8, "it says all that there is: {}", said.len());
    said
}

/// Brings what both have to say to the other, once.
fn carry(ends: &mut [Topics; 2], peer: PeerId, now: Instant, mut note: impl FnMut(usize, Cargo)) {
    for from in [0, 1] {
        ends[from].close_bundles_for(|_, _| true);
        while let Some((_, cargo)) = ends[from].poll_cargo() {
            let [head, body] = written(&cargo, now);
            ends[1 - from].handle_cargo(now, peer, head.into(), body.into());
            note(from, cargo);
        }
        settle(&mut ends[from], now);
    }
}

fn act(topics: &mut Topics, round: usize, now: Instant) {
    let publish = |topics: &mut Topics, topic: &str, size: usize| {
        let id = topics.publication(topic, "text").expect("good");
        topics.publish(now, WALL, id, MINUTE, &vec![7; size][..]).expect("good");
        topics.release(id);
    };
    match round {
        1 => {
            let ask =
                Ask { topic: "s", type_name: "", payload: (&b"?"[..]).into(), timeout: MINUTE, reach: Reach::One };
            topics.request(now, &ask).expect("somebody serves");
        }
        2 => publish(topics, "c", 100),
        3 => publish(topics, "a/b", 3_000),
        4 => {
            let options = PublisherOptions::retained();
            let id = topics.publication_with("a/e", "text", options).expect("good");
            topics.publish(now, WALL, id, MINUTE, &b"kept"[..]).expect("good");
        }
        5 => topics.withdraw_wills(),
        6 => {
            let id = topics.subscribe("a/x", "").expect("good");
            topics.unsubscribe(id);
        }
        _ => publish(topics, "a/b", 10),
    }
}

/// Takes what came, and answers what was asked.
pub(crate) fn settle(topics: &mut Topics, now: Instant) -> bool {
    let mut taken = false;
    while let Some(mut delivery) = topics.poll_delivery() {
        assert!(!delivery.to.is_empty());
        while delivery.batch.next(now).is_some() {
            taken = true;
        }
    }
    while let Some(call) = topics.poll_call() {
        taken = true;
        match call {
            CallEvent::Request(asked) => _ = topics.answer(asked.id, Answer::Reply((&b"!"[..]).into())),
            CallEvent::Share { id, .. } => _ = topics.done(id),
            _ => {}
        }
    }
    while topics.poll_event().is_some() {}
    while topics.poll_released().is_some() {}
    taken
}

/// The head and the body.
pub(crate) fn written(cargo: &Cargo, now: Instant) -> [Vec<u8>; 2] {
    let (mut head, mut body) = (Vec::new(), Chain::default());
    cargo.encode_head(now, &mut head);
    cargo.encode_body(0..cargo.body_len(), &mut body);
    [head, body.to_vec()]
}

pub(crate) const WALL: WallTime = WallTime::from_unix_nanos(1_700_000_000_000_000_000);
