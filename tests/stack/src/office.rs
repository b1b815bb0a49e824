//! Endpoints that ask and answer each other on a simulated network, and books of what became of each request.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use glue_endpoint::{Engine, Event, RequestError};
use glue_net::{EndpointId, Instant, Rng};
use glue_sim::{Context, Host, NodeId, World};
use glue_topics::{Answer, Ask, Asked, CallEvent, CallId, Data, Reach, Reply};

use crate::assert_within;
use crate::scene;

/// What the engines told, until the books have it.
type Told = Rc<RefCell<Vec<(NodeId, Event)>>>;

/// Endpoints of which the first few ask, and the others answer after a while.
pub struct Office {
    /// The network.
    pub world: World<Engine>,
    /// Those who ask come first.
    pub nodes: Vec<NodeId>,
    /// How each request ended that was to have one answer.
    pub ended: Vec<Result<(), RequestError>>,
    /// How long an answer takes, at most.
    pub slowness: Duration,
    callers: usize,
    told: Told,
    rng: Rng,
    open: BTreeMap<(NodeId, CallId), Open>,
    /// Requests that applications have, when they answer, and in which life.
    desks: Vec<(NodeId, Instant, Asked)>,
    /// Requests to one that some application has seen.
    seen: BTreeSet<u64>,
    asked: u64,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    number: u64,
    reach: Reach,
    deadline: Instant,
}

impl std::fmt::Debug for Office {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Office").field("nodes", &self.nodes).field("ended", &self.ended).finish_non_exhaustive()
    }
}

impl Office {
    /// So many who ask, and so many who answer.
    #[must_use]
    pub fn new(seed: u64, callers: usize, responders: usize) -> Self {
        let mut world = World::new(seed);
        let told = Told::default();
        let heard = Rc::clone(&told);
        world.observe(move |node, _, event: &Event| heard.borrow_mut().push((node, event.clone())));
        world.keep_events(false);
        let nodes = (0..callers + responders)
            .map(|index| world.add_node(Host::default(), move |context| engine(index, index >= callers, &context)))
            .collect();
        let (ended, slowness, rng) = (Vec::new(), Duration::from_millis(30), Rng::new(seed ^ 0xca11));
        let (open, desks, seen) = (BTreeMap::new(), Vec::new(), BTreeSet::new());
        Self { world, nodes, ended, slowness, callers, told, rng, open, desks, seen, asked: 0 }
    }

    /// Runs until every caller knows every responder.
    pub fn meet(&mut self, limit: Duration) {
        let end = self.world.now() + limit;
        let responders = self.nodes.len() - self.callers;
        while (0..self.callers).any(|caller| self.responders(caller) < responders) {
            assert!(self.world.now() < end, "not all have met within {limit:?}");
            self.run(Duration::from_millis(20));
        }
    }

    /// The responders that a caller can reach.
    pub fn responders(&mut self, caller: usize) -> usize {
        self.world.call(self.nodes[caller], |engine, _| engine.responders(TOPIC, TYPE)).unwrap_or_default()
    }

    /// Sends a request of up to `most` bytes; `false`: it was refused.
    pub fn ask(&mut self, caller: usize, reach: Reach, timeout: Duration, most: u64) -> bool {
        self.asked += 1;
        let (number, node) = (self.asked, self.nodes[caller]);
        let payload = payload(number, self.rng.below(most));
        let ask = Ask { topic: TOPIC, type_name: TYPE, payload: Data::Slice(&payload), timeout, reach };
        match self.world.call(node, |engine, now| engine.request(now, &ask)) {
            Some(Ok(call)) => {
                let deadline = self.world.now() + timeout;
                assert!(self.open.insert((node, call), Open { number, reach, deadline }).is_none());
                true
            }
            Some(Err(error)) => {
                assert!(matches!(error, RequestError::NoResponders | RequestError::Full), "{error}");
                false
            }
            None => false,
        }
    }

    /// Gives up the oldest request of a caller.
    pub fn cancel(&mut self, caller: usize) {
        let node = self.nodes[caller];
        let oldest = self.open.keys().find(|(at, _)| *at == node).copied();
        if let Some((_, call)) = oldest {
            self.open.remove(&(node, call));
            self.world.call(node, |engine, _| engine.cancel(call));
        }
    }

    /// Crashes an endpoint, and starts it anew.
    pub fn restart(&mut self, index: usize) {
        self.keep_books();
        self.forget(index);
        self.world.restart(self.nodes[index]);
    }

    /// Crashes an endpoint.
    pub fn crash(&mut self, index: usize) {
        self.keep_books();
        self.forget(index);
        self.world.crash(self.nodes[index]);
    }

    fn forget(&mut self, index: usize) {
        let node = self.nodes[index];
        self.open.retain(|(at, _), _| *at != node);
        self.desks.retain(|(at, _, _)| *at != node);
    }

    /// Lets time pass; whoever has a request answers it when it is time.
    pub fn run(&mut self, time: Duration) {
        let end = self.world.now() + time;
        while self.world.now() < end {
            self.world.run_until((self.world.now() + Duration::from_millis(5)).min(end));
            self.keep_books();
            self.answer();
        }
    }

    /// Runs until every request has ended and nothing is left anywhere, in `limit`. What was sent to a crashed endpoint is
    /// left until that is forgotten, after 10 min.
    pub fn assert_nothing_is_left(&mut self, limit: Duration) {
        let end = self.world.now() + limit;
        while self.leftovers() > 0 {
            assert!(self.world.now() < end, "{} open, {} at work", self.open.len(), self.desks.len());
            let busy = !self.open.is_empty() || !self.desks.is_empty();
            self.run(Duration::from_millis(if busy { 50 } else { 2_000 }));
        }
        for node in &self.nodes {
            let Some(engine) = self.world.node(*node) else { continue };
            let memory = engine.memory();
            // Not what the joiner holds: a piece that comes after its message was given up stays there, within its bounds.
            assert_eq!((engine.open_calls(), memory.lent), ((0, 0), 0), "{node:?}");
        }
    }

    fn leftovers(&self) -> usize {
        let held = |node: &NodeId| {
            let left = |engine: &Engine| engine.memory().bundles + engine.open_calls().0 + engine.open_calls().1;
            self.world.node(*node).map_or(0, left)
        };
        self.open.len() + self.desks.len() + self.nodes.iter().map(held).sum::<usize>()
    }

    fn answer(&mut self) {
        let now = self.world.now();
        let (due, later) = std::mem::take(&mut self.desks).into_iter().partition(|(_, at, _)| *at <= now);
        self.desks = later;
        let due: Vec<(NodeId, Instant, Asked)> = due;
        for (node, _, asked) in due {
            let number = u64::from_be_bytes(*asked.payload.first_chunk().expect("a number"));
            let reply = payload(!number, self.rng.below(2 * asked.payload.len() as u64));
            let answer = match self.rng.below(10) {
                0 => Answer::Failed("no"),
                1 => Answer::Dropped,
                _ => Answer::Reply(Data::Slice(&reply)),
            };
            // Who asked may have gone.
            let _ = self.world.call(node, |engine, now| engine.answer(now, asked.id, answer));
        }
    }

    fn keep_books(&mut self) {
        for node in &self.nodes {
            assert_within(&self.world.node(*node).map(Engine::memory).unwrap_or_default());
        }
        let told = std::mem::take(&mut *self.told.borrow_mut());
        for (node, event) in told {
            match event {
                Event::Call(CallEvent::Answer { call, result, last }) => self.end(node, call, result, last),
                Event::Call(CallEvent::Cancelled(id)) => self.desks.retain(|(at, _, had)| (*at, had.id) != (node, id)),
                Event::Call(CallEvent::Request(asked)) => self.take(node, asked),
                _ => {}
            }
        }
    }

    fn take(&mut self, node: NodeId, asked: Asked) {
        let number = u64::from_be_bytes(*asked.payload.first_chunk().expect("a number"));
        assert!(*asked.payload == payload(number, asked.payload.len() as u64 - 8)[..], "{number} was changed");
        if self.open.values().any(|open| open.number == number && open.reach == Reach::One) {
            assert!(self.seen.insert(number), "{number} was seen twice");
        }
        if let Some(peer) = asked.from() {
            self.world.call(node, |engine, _| engine.handle_taken(peer, asked.bytes()));
        }
        let slowness = u64::try_from(self.slowness.as_micros()).expect("short");
        let at = self.world.now() + Duration::from_micros(self.rng.below(slowness));
        self.desks.push((node, at, asked));
    }

    fn end(&mut self, node: NodeId, call: CallId, result: Result<Reply, RequestError>, last: bool) {
        if let Ok(reply) = &result
            && let Some(peer) = reply.from()
        {
            self.world.call(node, |engine, _| engine.handle_taken(peer, reply.bytes()));
        }
        // The application has cancelled it while the answer was on its way to it.
        let Some(open) = self.open.get(&(node, call)).copied() else { return };
        match &result {
            Ok(reply) => {
                let len = reply.payload.len() as u64 - 8;
                assert!(*reply.payload == payload(!open.number, len)[..], "another request's reply");
            }
            Err(RequestError::Timeout) => assert!(self.world.now() >= open.deadline, "too early"),
            Err(RequestError::Responder(why)) => assert_eq!(why, "no"),
            Err(RequestError::Dropped | RequestError::Gone | RequestError::NoResponders) => {}
            Err(error) => panic!("{error}"),
        }
        assert!(self.world.now() < open.deadline + Duration::from_millis(100), "too late");
        if open.reach == Reach::All && !last {
            return;
        }
        assert!(last);
        self.open.remove(&(node, call));
        self.ended.push(result.map(drop));
    }
}

/// A number, and bytes that follow from it.
fn payload(number: u64, more: u64) -> Vec<u8> {
    let mut bytes = number.to_be_bytes().to_vec();
    let mut rest = vec![0; usize::try_from(more).expect("small")];
    Rng::new(number).fill(&mut rest);
    bytes.extend(rest);
    bytes
}

fn engine(index: usize, responds: bool, context: &Context) -> Engine {
    let id = EndpointId::from_integer(i64::try_from(index).expect("small") + 1);
    let mut engine = scene::engine(id, context, |mut config| {
        config.transport.socket_window_bytes = 100_000;
        config
    });
    if responds {
        engine.respond(TOPIC, TYPE).expect("a good topic");
    }
    engine
}

const TOPIC: &str = "sum";
const TYPE: &str = "bytes";
