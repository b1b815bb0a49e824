//! Requests: each ends once and in time, with a reply of its own or a true error, and is seen at most once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use glue_endpoint::{Engine, RequestError};
use glue_net::Instant;
use glue_sim::{NodeId, World};
use glue_topics::{Answer, Ask, Asked, CallEvent, CallId, Data, Reach, Reply};

use super::flaw::Tamper;
use crate::scene::{ms, s};

#[derive(Debug)]
pub(super) struct Calls {
    open: BTreeMap<(NodeId, CallId), Open>,
    /// Requests that an application has seen.
    seen: BTreeSet<u64>,
    asked: u64,
    slack: Duration,
    pub(super) ended: u64,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    number: u64,
    deadline: Instant,
}

impl Calls {
    /// An answer may be late by `slack`, as when the process of who asked stands still.
    pub(super) const fn new(slack: Duration) -> Self {
        Self { open: BTreeMap::new(), seen: BTreeSet::new(), asked: 0, slack, ended: 0 }
    }

    pub(super) fn ask(&mut self, world: &mut World<Engine>, node: NodeId) {
        if !world.is_running(node) {
            return;
        }
        self.asked += 1;
        let number = self.asked;
        let payload = number.to_be_bytes();
        let ask =
            Ask { topic: TOPIC, type_name: TYPE, payload: Data::Slice(&payload), timeout: TIMEOUT, reach: Reach::One };
        match world.call(node, |engine, now| engine.request(now, &ask)) {
            Some(Ok(call)) => {
                let open = Open { number, deadline: world.now() + TIMEOUT };
                assert!(self.open.insert((node, call), open).is_none(), "{call:?} is there twice");
            }
            Some(Err(error)) => assert!(matches!(error, RequestError::NoResponders), "{error}"),
            None => {}
        }
    }

    /// A process has ended, and with it what it had asked.
    pub(super) fn forget(&mut self, node: NodeId) {
        self.open.retain(|(at, _), _| *at != node);
    }

    pub(super) fn follow(&mut self, world: &mut World<Engine>, node: NodeId, event: CallEvent, tamper: &mut Tamper) {
        match event {
            CallEvent::Answer { call, result, last } => {
                if let Ok(reply) = &result
                    && let Some(peer) = reply.from()
                {
                    world.call(node, |engine, _| engine.handle_taken(peer, reply.bytes()));
                }
                for _ in 0..tamper.answers() {
                    self.end(world.now(), (node, call), &result, last);
                }
            }
            CallEvent::Request(asked) => {
                for _ in 0..tamper.requests() {
                    self.take(&asked);
                }
                answer(world, node, &asked);
            }
            _ => {}
        }
    }

    /// None is open that should have ended long ago.
    pub(super) fn check(&self, world: &World<Engine>) {
        let is_late = |open: &Open| open.deadline + self.slack + s(1) < world.now();
        let late = self.open.iter().find(|((node, _), open)| world.is_running(*node) && is_late(open));
        assert!(late.is_none(), "a request without end: {late:?}");
    }

    fn take(&mut self, asked: &Asked) {
        let number = u64::from_be_bytes(asked.payload[..].try_into().expect("a number"));
        assert!(number <= self.asked, "nobody asked {number}");
        assert!(self.seen.insert(number), "request {number} was seen twice");
    }

    fn end(&mut self, now: Instant, key: (NodeId, CallId), result: &Result<Reply, RequestError>, last: bool) {
        let open = self.open.remove(&key).unwrap_or_else(|| panic!("{key:?} ends, and was not open"));
        assert!(last, "{key:?} may have one answer");
        match result {
            Ok(reply) => assert_eq!(reply.payload[..], (!open.number).to_be_bytes(), "another request's reply"),
            // Early by what its clock gains.
            Err(RequestError::Timeout) => assert!(now + ms(10) >= open.deadline, "too early"),
            Err(RequestError::Dropped | RequestError::Gone | RequestError::NoResponders) => {}
            Err(error) => panic!("{error}"),
        }
        assert!(now < open.deadline + self.slack + ms(100), "{key:?} ends too late");
        self.ended += 1;
    }
}

fn answer(world: &mut World<Engine>, node: NodeId, asked: &Asked) {
    let number = u64::from_be_bytes(asked.payload[..].try_into().expect("a number"));
    let reply = (!number).to_be_bytes();
    world.call(node, |engine, now| {
        if let Some(peer) = asked.from() {
            engine.handle_taken(peer, asked.bytes());
        }
        // Who asked may have gone.
        let _ = engine.answer(now, asked.id, Answer::Reply(Data::Slice(&reply)));
    });
}

pub(super) const TOPIC: &str = "sum";
pub(super) const TYPE: &str = "bytes";
const TIMEOUT: Duration = s(5);
