//! Requests and answers.

use std::collections::BTreeMap;

use super::{Fate, SECOND, World, facts, ms, peer};
use crate::{
    Answer, AnswerError, Ask, Asked, CallEvent, CallId, Config, Data, Reach, Reply, RequestError, ServiceId, Wire,
};

fn ask(reach: Reach, payload: &[u8]) -> Ask<'_> {
    Ask { topic: "sum", type_name: "text", payload: Data::Slice(payload), timeout: SECOND, reach }
}

fn request(world: &mut World, node: usize, reach: Reach) -> CallId {
    let now = world.now;
    world.nodes[node].request(now, &ask(reach, b"1+1")).unwrap()
}

fn serve(world: &mut World, node: usize) -> ServiceId {
    let id = world.nodes[node].serve("sum", "text").unwrap();
    world.settle();
    id
}

fn events(world: &mut World, node: usize) -> Vec<CallEvent> {
    std::iter::from_fn(|| world.nodes[node].poll_call()).collect()
}

fn asked(world: &mut World, node: usize) -> Vec<Asked> {
    let asked = |event| if let CallEvent::Request(asked) = event { Some(asked) } else { None };
    events(world, node).into_iter().filter_map(asked).collect()
}

fn cancelled(world: &mut World, node: usize) -> usize {
    events(world, node).iter().filter(|event| matches!(event, CallEvent::Cancelled(_))).count()
}

fn answers(world: &mut World, node: usize) -> Vec<(CallId, Result<Reply, RequestError>, bool)> {
    let answer = |event| match event {
        CallEvent::Answer { call, result, last } => Some((call, result, last)),
        _ => None,
    };
    events(world, node).into_iter().filter_map(answer).collect()
}

/// The only answer.
fn outcome(world: &mut World, node: usize) -> Result<Reply, RequestError> {
    let mut all = answers(world, node);
    assert_eq!((all.len(), all[0].2), (1, true));
    all.remove(0).1
}

fn assert_empty(world: &World) {
    for node in &world.nodes {
        assert_eq!(node.open_calls(), (0, 0));
        assert_eq!(node.bundle_bytes(), 0);
        assert_eq!(node.own_bytes().bytes(), 0);
    }
}

#[test]
fn a_request_gets_its_reply_from_a_peer_or_from_here() {
    for server in [0, 1] {
        let mut world = World::new(2);
        serve(&mut world, server);
        let call = request(&mut world, 0, Reach::One);
        world.settle();
        let got = asked(&mut world, server);
        assert_eq!((&*got[0].payload, &*got[0].source.topic_name), (&b"1+1"[..], "sum"));
        assert_eq!(got[0].source.endpoint_id, facts(0, Wire::Native).id);
        assert_eq!(got[0].deadline, world.now + SECOND);
        world.nodes[server].answer(got[0].id, Answer::Reply(Data::Slice(b"2"))).unwrap();
        world.settle();
        let all = answers(&mut world, 0);
        let (id, result, last) = &all[0];
        let reply = result.as_ref().unwrap();
        assert_eq!((*id, &*reply.payload, *last, all.len()), (call, &b"2"[..], true, 1));
        assert_eq!(reply.endpoint_id, facts(server, Wire::Native).id);
        assert_eq!(reply.from(), (server == 1).then(|| peer(1)));
        drop(all);
        assert_empty(&world);
        let again = world.nodes[server].answer(got[0].id, Answer::Dropped);
        assert_eq!(again, Err(AnswerError::Cancelled));
    }
}

#[test]
fn a_bad_request_is_refused_at_once() {
    let mut world = World::with(2, &Config { max_message_bytes: 100, ..Config::default() });
    let now = world.now;
    let mut error = |node: usize, ask: &Ask<'_>| world.nodes[node].request(now, ask).unwrap_err();
    assert_eq!(error(0, &ask(Reach::One, b"")), RequestError::NoResponders);
    assert!(matches!(error(0, &Ask { topic: "a/#", ..ask(Reach::One, b"") }), RequestError::BadTopic(_)));
    assert!(matches!(error(0, &Ask { type_name: "\0", ..ask(Reach::One, b"") }), RequestError::BadType(_)));
    assert_eq!(error(0, &ask(Reach::One, &[0; 101])), RequestError::TooLarge);
    serve(&mut world, 1);
    let mismatch = world.nodes[0].request(now, &Ask { type_name: "json", ..ask(Reach::One, b"") }).unwrap_err();
    assert_eq!(mismatch.to_string(), "topic sum is served with type \"text\", not \"json\"");
    assert_empty(&world);
}

#[test]
fn failures_and_dropped_requests_are_told() {
    let mut world = World::new(2);
    serve(&mut world, 1);
    let long = "ä".repeat(1_000);
    let told = |text: &str| RequestError::Responder(text.to_owned());
    let cases = [
        (Answer::Dropped, RequestError::Dropped),
        (Answer::Failed("no"), told("no")),
        (Answer::Failed(&long), told(&long[..1_024])),
    ];
    for (answer, error) in cases {
        request(&mut world, 0, Reach::One);
        world.settle();
        let id = asked(&mut world, 1)[0].id;
        world.nodes[1].answer(id, answer).unwrap();
        world.settle();
        assert_eq!(outcome(&mut world, 0).unwrap_err(), error);
    }
    assert_empty(&world);
}

#[test]
fn a_request_goes_to_the_one_with_fewest() {
    let mut world = World::new(4);
    for node in 1..4 {
        serve(&mut world, node);
    }
    for _ in 0..9 {
        request(&mut world, 0, Reach::One);
    }
    world.settle();
    for node in 1..4 {
        assert_eq!(asked(&mut world, node).len(), 3);
    }
}

#[test]
fn who_does_not_serve_any_more_returns_a_request_and_another_gets_it() {
    let mut world = World::new(3);
    let services = [1, 2].map(|node| serve(&mut world, node));
    request(&mut world, 0, Reach::One);
    world.send();
    // Each of the two ends before the request comes, or after it came but was not seen.
    let first = world.flight.iter().find(|(from, _, _)| *from == 0).unwrap().1;
    world.nodes[first].unserve(services[first - 1]);
    world.settle();
    let second = 3 - first;
    assert_eq!((asked(&mut world, first).len(), world.nodes[first].stats().requests_returned), (0, 1));
    let got = asked(&mut world, second);
    assert_eq!(got.len(), 1);
    world.nodes[second].unserve(services[second - 1]);
    world.nodes[second].answer(got[0].id, Answer::Returned).unwrap();
    world.settle();
    assert_eq!(outcome(&mut world, 0).unwrap_err(), RequestError::NoResponders);
    assert_empty(&world);
}

#[test]
fn a_dead_responder_and_a_dead_caller_leave_nothing_behind() {
    let mut world = World::new(2);
    serve(&mut world, 1);
    request(&mut world, 0, Reach::One);
    world.settle();
    assert_eq!(asked(&mut world, 1).len(), 1);
    world.nodes[0].handle_peer_gone(peer(1));
    assert_eq!(outcome(&mut world, 0).unwrap_err(), RequestError::Gone);
    assert_eq!(world.nodes[0].responders("sum", "text"), 0);
    world.nodes[1].handle_peer_gone(peer(0));
    assert_eq!(cancelled(&mut world, 1), 1);
    assert_empty(&world);
}

#[test]
fn a_peer_out_of_reach_for_long_is_given_up_and_may_come_back() {
    let mut world = World::new(2);
    serve(&mut world, 1);
    let now = world.now;
    let long = Ask { timeout: 60 * SECOND, ..ask(Reach::One, b"") };
    world.nodes[0].request(now, &long).unwrap();
    world.settle();
    assert_eq!(asked(&mut world, 1).len(), 1);
    world.nodes[0].handle_peer_suspended(peer(1));
    world.nodes[0].handle_silence(now, peer(1));
    assert_eq!(world.nodes[0].request(now, &long).unwrap_err(), RequestError::NoResponders);
    assert_eq!(world.nodes[0].poll_timeout(), Some(now + 2 * SECOND));
    world.nodes[0].handle_timeout(now + ms(1_999));
    assert!(events(&mut world, 0).is_empty());
    world.nodes[0].handle_timeout(now + 2 * SECOND);
    assert_eq!(outcome(&mut world, 0).unwrap_err(), RequestError::Gone);
    world.nodes[0].handle_peer_resumed(peer(1));
    world.settle();
    assert_eq!((cancelled(&mut world, 1), world.nodes[0].responders("sum", "text")), (1, 1));
    assert_empty(&world);
}

#[test]
fn time_runs_out_once_and_the_responder_learns_so() {
    let mut world = World::new(2);
    serve(&mut world, 1);
    request(&mut world, 0, Reach::One);
    world.settle();
    let id = asked(&mut world, 1)[0].id;
    let due = world.now + SECOND;
    assert_eq!(world.nodes[0].poll_timeout(), Some(due));
    world.nodes[0].handle_timeout(due);
    assert_eq!(outcome(&mut world, 0).unwrap_err(), RequestError::Timeout);
    // The answer crosses the news.
    world.nodes[1].answer(id, Answer::Reply(Data::Slice(b"2"))).unwrap();
    world.settle();
    assert!(events(&mut world, 0).is_empty());
    assert_eq!(world.nodes[0].stats().stale_answers, 1);
    assert_empty(&world);
}

#[test]
fn of_all_responders_the_first_reply_counts_or_each_does() {
    let mut world = World::new(4);
    for node in 0..4 {
        serve(&mut world, node);
    }
    request(&mut world, 0, Reach::First);
    world.settle();
    let ids: Vec<_> = (0..4).map(|node| asked(&mut world, node)[0].id).collect();
    world.nodes[1].answer(ids[1], Answer::Failed("no")).unwrap();
    world.nodes[2].answer(ids[2], Answer::Reply(Data::Slice(b"2"))).unwrap();
    world.settle();
    assert_eq!(&*outcome_of_first(&mut world).payload, b"2");
    assert_eq!(cancelled(&mut world, 3), 1);
    assert_empty(&world);

    request(&mut world, 0, Reach::All);
    world.settle();
    let ids: Vec<_> = (0..4).map(|node| asked(&mut world, node)[0].id).collect();
    for (node, id) in ids.iter().enumerate().take(3) {
        world.nodes[node].answer(*id, Answer::Reply(Data::Slice(b"2"))).unwrap();
    }
    world.settle();
    world.nodes[0].handle_timeout(world.now + SECOND);
    world.settle();
    let all = answers(&mut world, 0);
    assert_eq!(all.iter().filter(|(_, result, last)| result.is_ok() && !last).count(), 3);
    assert!(matches!(all[3], (_, Err(RequestError::Timeout), true)));
    assert_eq!((all.len(), cancelled(&mut world, 3)), (4, 1));
    drop(all);
    assert_empty(&world);
}

/// The caller serves too: it sees that its own request is cancelled.
fn outcome_of_first(world: &mut World) -> Reply {
    let mut events = events(world, 0);
    assert!(matches!(events[0], CallEvent::Cancelled(_)));
    match events.remove(1) {
        CallEvent::Answer { result, last: true, .. } => result.unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_waits_is_bounded_at_both_sides() {
    let config = Config {
        max_calls: 10,
        max_call_bytes: 1_000,
        max_requests_waiting: 4,
        max_message_bytes: 5_000,
        ..Config::default()
    };
    let mut world = World::with(2, &config);
    serve(&mut world, 1);
    let now = world.now;
    world.nodes[0].request(now, &ask(Reach::One, &[0; 4_000])).unwrap();
    assert_eq!(world.nodes[0].request(now, &ask(Reach::One, &[0; 1])).unwrap_err(), RequestError::Full);
    world.settle();
    let first = asked(&mut world, 1)[0].id;
    world.nodes[1].answer(first, Answer::Reply(Data::Slice(b""))).unwrap();
    world.settle();
    assert!(outcome(&mut world, 0).is_ok());

    let sent = (0..12).filter(|_| world.nodes[0].request(now, &ask(Reach::One, b"")).is_ok()).count();
    assert_eq!((sent, world.nodes[0].stats().requests_refused), (10, 3));
    world.settle();
    // A peer has no more than what is left for others.
    assert_eq!((asked(&mut world, 1).len(), world.nodes[1].open_calls()), (2, (0, 2)));
    let busy =
        answers(&mut world, 0).into_iter().filter(|(_, result, _)| *result.as_ref().unwrap_err() == RequestError::Busy);
    assert_eq!(busy.count(), 8);
}

#[test]
fn services_of_a_peer_are_bounded() {
    let mut world = World::with(2, &Config { max_interest_per_peer: 3, ..Config::default() });
    let ids: Vec<_> = (0..5).map(|n| world.nodes[1].serve(&format!("topic-{n}"), "").unwrap()).collect();
    world.settle();
    let known = |world: &World| (0..5).filter(|n| world.nodes[0].responders(&format!("topic-{n}"), "") == 1).count();
    assert_eq!((known(&world), world.nodes[0].stats().offers_refused), (3, 2));
    assert!(world.nodes[0].names_bytes() > 900);
    ids.into_iter().for_each(|id| world.nodes[1].unserve(id));
    world.settle();
    assert_eq!((known(&world), world.nodes[0].names_bytes()), (0, 0));
}

#[test]
fn a_request_that_is_given_up_before_it_leaves_is_not_sent() {
    let mut world = World::new(2);
    serve(&mut world, 1);
    let call = request(&mut world, 0, Reach::One);
    world.send();
    world.nodes[0].cancel(call);
    let (_, _, cargo) = &world.flight[0];
    assert_eq!(glue_net::Content::deadline(cargo), Some(glue_net::Instant::ZERO));
    world.settle();
    assert!(events(&mut world, 0).is_empty());
}

/// Random acts of two callers and three servers, over a channel that keeps no order and drops bodies.
#[test]
fn each_request_ends_once_whatever_happens() {
    for seed in 0..300 {
        let mut run = Run::new(seed);
        for _ in 0..200 {
            run.act();
        }
        run.finish();
    }
}

struct Run {
    world: World,
    services: BTreeMap<usize, ServiceId>,
    waiting: Vec<(usize, Asked)>,
    open: BTreeMap<(usize, CallId), usize>,
    ended: usize,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut world = World::new(5);
        world.rng = glue_net::Rng::new(seed);
        world.fate = Fate { shuffle: true, duplicate: 0.0, expire: 0.05 };
        Self { world, services: BTreeMap::new(), waiting: Vec::new(), open: BTreeMap::new(), ended: 0 }
    }

    fn pick(&mut self, bound: usize) -> usize {
        usize::try_from(self.world.rng.below(bound as u64)).unwrap()
    }

    fn act(&mut self) {
        let (caller, server) = (self.pick(2), 2 + self.pick(3));
        match self.pick(12) {
            0 => drop(self.services.insert(server, self.world.nodes[server].serve("sum", "text").unwrap())),
            1 => {
                let service = self.services.remove(&server);
                service.into_iter().for_each(|id| self.world.nodes[server].unserve(id));
            }
            2 => {
                let first = self.open.keys().next().copied();
                if let Some((node, call)) = first {
                    self.world.nodes[node].cancel(call);
                    self.open.remove(&(node, call));
                    self.ended += 1;
                }
            }
            3 if self.pick(8) == 0 => self.restart(caller, server),
            4 => {
                self.world.now = self.world.now + ms(100);
                let now = self.world.now;
                self.world.nodes.iter_mut().for_each(|node| node.handle_timeout(now));
            }
            5 | 6 => self.answer(),
            7 | 8 => self.ask(caller),
            _ => {
                self.world.send();
                let _ = self.world.carry_one();
            }
        }
        self.look();
    }

    fn ask(&mut self, caller: usize) {
        let reach = [Reach::One, Reach::First, Reach::All][self.pick(3)];
        let now = self.world.now;
        if let Ok(call) = self.world.nodes[caller].request(now, &ask(reach, b"1+1")) {
            assert_eq!(self.open.insert((caller, call), 0), None);
        }
    }

    fn answer(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let at = self.pick(self.waiting.len());
        let (server, asked) = self.waiting.remove(at);
        let answer =
            [Answer::Dropped, Answer::Failed("no"), Answer::Reply(Data::Slice(b"2")), Answer::Returned][self.pick(4)];
        // Nobody may wait for it any more.
        let _ = self.world.nodes[server].answer(asked.id, answer);
    }

    /// The session of two nodes is lost, with all that was under way.
    fn restart(&mut self, a: usize, b: usize) {
        self.world.flight.retain(|(from, to, _)| (*from, *to) != (a, b) && (*from, *to) != (b, a));
        for (node, other) in [(a, b), (b, a)] {
            self.world.nodes[node].handle_peer_gone(peer(other));
            self.world.nodes[node].handle_peer_up(peer(other), &facts(other, Wire::Native));
        }
    }

    fn look(&mut self) {
        for node in 0..5 {
            while let Some(event) = self.world.nodes[node].poll_call() {
                match event {
                    CallEvent::Request(asked) => self.waiting.push((node, asked)),
                    CallEvent::Cancelled(id) => self.waiting.retain(|(at, asked)| (*at, asked.id) != (node, id)),
                    CallEvent::Answer { call, last, .. } => {
                        *self.open.get_mut(&(node, call)).expect("it has not ended") += 1;
                        if last {
                            self.open.remove(&(node, call));
                            self.ended += 1;
                        }
                    }
                    CallEvent::Share { .. } => panic!("no groups here"),
                }
            }
        }
    }

    fn finish(mut self) {
        self.world.now = self.world.now + 2 * SECOND;
        let now = self.world.now;
        self.world.nodes.iter_mut().for_each(|node| node.handle_timeout(now));
        self.look();
        assert_eq!(self.open.len(), 0, "each has ended");
        // What came too late waits until it is answered.
        while !self.waiting.is_empty() || !self.world.flight.is_empty() {
            self.world.settle();
            self.look();
            self.answer();
        }
        self.world.settle();
        assert_empty(&self.world);
        assert!(self.ended > 5);
    }
}
