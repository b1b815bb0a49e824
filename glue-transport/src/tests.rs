//! Two transports and a bad line between them.
#![expect(clippy::cast_possible_truncation, reason = "the numbers are small")]

use std::collections::{BTreeMap, BinaryHeap};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use glue_net::wire::classic::Frame;
use glue_net::{Chain, EndpointId, Incarnation, Instant, NetworkId, Payload, PeerId, Priority, Rng, Skip, WallClock};

use super::*;

mod backlog;
mod classic;
mod costs;
mod elsewhere;
mod mtu;
mod private;
mod qos;

/// A payload that can be cut and can expire.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Note {
    id: u32,
    start: u32,
    len: u32,
    deadline: Option<Instant>,
    expired: bool,
    urgent: bool,
    best_effort: bool,
    priority: Priority,
}

const HEAD: usize = 14;

fn note(id: u32, len: u32) -> Note {
    Note {
        id,
        start: 0,
        len,
        deadline: None,
        expired: false,
        urgent: false,
        best_effort: false,
        priority: Priority::Normal,
    }
}

impl Payload for Note {
    fn encoded_len(&self) -> usize {
        HEAD + if self.expired { 0 } else { self.len as usize }
    }
    fn encode(&self, _now: Instant, chain: &mut Chain) {
        let out = chain.written();
        out.extend_from_slice(&self.id.to_be_bytes());
        out.extend_from_slice(&self.start.to_be_bytes());
        out.extend_from_slice(&self.len.to_be_bytes());
        out.extend_from_slice(&[u8::from(self.expired), u8::from(self.urgent)]);
        if !self.expired {
            out.resize(out.len() + self.len as usize, self.id as u8);
        }
    }
    fn cut(&mut self, room: usize) -> Option<Self> {
        if self.expired || self.encoded_len() <= room || room <= HEAD {
            return None;
        }
        let part = (room - HEAD) as u32;
        let front = Self { len: part, ..self.clone() };
        (self.start, self.len) = (self.start + part, self.len - part);
        Some(front)
    }
    fn deadline(&self) -> Option<Instant> {
        self.deadline
    }
    fn skip(&mut self, _why: Skip) {
        self.expired = true;
        self.deadline = None;
    }
    fn is_best_effort(&self) -> bool {
        self.best_effort && !self.expired
    }
    fn is_of_one_with(&self, other: &Self) -> bool {
        self.id == other.id
    }
    fn priority(&self) -> Priority {
        self.priority
    }
    fn merge(&mut self, _next: &Self) -> bool {
        false
    }
    fn is_urgent(&self) -> bool {
        self.urgent
    }
    fn fill_frame(&self, frame: &mut Frame) -> bool {
        let mut out = Chain::default();
        self.encode(Instant::ZERO, &mut out);
        frame.payload = out.to_vec().into();
        !self.expired
    }
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Arrival {
    at: std::cmp::Reverse<(Instant, u64)>,
    to: usize,
    bytes: Vec<u8>,
}

/// Both ends, and the line.
struct Pair {
    ends: [Transport<Note>; 2],
    got: [Vec<(u32, u32, u32, bool)>; 2],
    events: [Vec<Event>; 2],
    now: Instant,
    line: BinaryHeap<Arrival>,
    sent: u64,
    /// All that has arrived, if it is kept.
    tape: Option<Vec<(usize, Vec<u8>)>>,
    /// Datagrams and bytes that each end has written, and that it got.
    written: [(u64, u64); 2],
    arrived: [(u64, u64); 2],
    rng: Rng,
    loss: f64,
    duplicate: f64,
    jitter: Duration,
    cut: bool,
    /// Bytes that leave in a second, 0 without end, and how many wait for that at most; until when the last of each end has left.
    rate: (u64, u64),
    leaves: [Instant; 2],
    /// The longest datagram that leaves, and the longest that arrives.
    interface_bytes: usize,
    path_bytes: usize,
    take: bool,
    held: u64,
    window: u64,
}

const PEER: PeerId = PeerId(7);
const DELAY: Duration = Duration::from_millis(2);

fn address(end: usize) -> SocketAddr {
    ([10, 0, 0, end as u8 + 1], 4_000).into()
}

fn local(end: usize) -> Local {
    Local {
        network: NetworkId(1),
        id: EndpointId::from_integer(end as i64),
        name: format!("end-{end}"),
        incarnation: Incarnation(1),
        clock: WallClock::default(),
    }
}

fn remote(end: usize) -> Remote {
    let other = local(end);
    let (id, key) = (other.id, Some(private::credentials(1, end).identity.public_key()));
    Remote { id, name: other.name, incarnation: other.incarnation, address: address(end), classic: None, key }
}

impl Pair {
    fn new(seed: u64, config: &Config) -> Self {
        Self::with(seed, config, |_, _| {})
    }

    /// `prepare` sees each end before it knows the other.
    fn with(seed: u64, config: &Config, prepare: impl Fn(usize, &mut Transport<Note>)) -> Self {
        let mut rng = Rng::new(seed);
        let mut end = |n| Transport::new(config.clone(), local(n), rng.fork());
        let mut ends = [end(0), end(1)];
        (0..).zip(&mut ends).for_each(|(n, end)| prepare(n, end));
        ends[0].connect(Instant::ZERO, PEER, &remote(1));
        ends[1].connect(Instant::ZERO, PEER, &remote(0));
        Self {
            ends,
            got: Default::default(),
            events: Default::default(),
            now: Instant::ZERO,
            line: BinaryHeap::new(),
            sent: 0,
            tape: None,
            written: Default::default(),
            arrived: Default::default(),
            rng,
            loss: 0.0,
            duplicate: 0.0,
            jitter: Duration::ZERO,
            cut: false,
            rate: (0, 0),
            leaves: [Instant::ZERO; 2],
            interface_bytes: 1_472,
            path_bytes: 1_472,
            take: true,
            held: 0,
            window: config.receive_window_bytes,
        }
    }

    fn flush(&mut self) {
        for end in 0..2 {
            let mut out = Chain::default();
            let before = self.sent;
            while let Some(transmit) = self.ends[end].poll_transmit(self.now, &mut out) {
                assert!(self.sent < before + 10_000, "sends without end");
                assert_eq!(transmit.to, address(1 - end));
                let bytes = out.to_vec();
                assert_eq!(bytes.len(), transmit.len);
                out.clear();
                assert!(bytes.len() <= self.interface_bytes, "{}", bytes.len());
                self.written[end].0 += 1;
                self.written[end].1 += bytes.len() as u64;
                let copies = 1 + u32::from(self.rng.chance(self.duplicate));
                for _ in 0..copies {
                    self.carry(1 - end, bytes.clone());
                }
            }
            while let Some(event) = self.ends[end].poll_event() {
                self.events[end].push(event);
            }
        }
    }

    fn carry(&mut self, to: usize, bytes: Vec<u8>) {
        self.sent += 1;
        if self.cut || bytes.len() > self.path_bytes || self.rng.chance(self.loss) {
            return;
        }
        let Some(leaves) = self.queue(to, bytes.len() as u64) else { return };
        let jitter = Duration::from_nanos(self.rng.below(self.jitter.as_nanos() as u64 + 1));
        let at = std::cmp::Reverse((leaves + DELAY + jitter, self.sent));
        self.line.push(Arrival { at, to, bytes });
    }

    /// When so many bytes have left, if there is room for them.
    fn queue(&mut self, to: usize, bytes: u64) -> Option<Instant> {
        let (rate, room) = self.rate;
        if rate == 0 {
            return Some(self.now);
        }
        let begin = self.leaves[to].max(self.now);
        let waiting = begin.since(self.now).as_nanos() as u64 * rate / 1_000_000_000;
        if waiting + bytes > room {
            return None;
        }
        self.leaves[to] = begin + Duration::from_nanos(bytes * 1_000_000_000 / rate);
        Some(self.leaves[to])
    }

    fn receive(&mut self, end: usize, bytes: Vec<u8>) {
        self.arrived[end].0 += 1;
        self.arrived[end].1 += bytes.len() as u64;
        if let Some(tape) = &mut self.tape {
            tape.push((end, bytes.clone()));
        }
        self.ends[end].handle_native(self.now, address(1 - end), bytes.into());
        while let Some((peer, payload)) = self.ends[end].poll_payload() {
            assert_eq!(peer, PEER);
            let word = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().unwrap());
            self.got[end].push((word(0), word(4), word(8), payload[12] == 1));
            if !self.take {
                self.held += payload.len() as u64;
            }
        }
        self.ends[end].set_held(PEER, self.held, self.window);
    }

    /// Runs until nothing is to be done before `limit`.
    fn run(&mut self, limit: Duration) {
        let limit = self.now + limit;
        self.flush();
        let mut turns = 0;
        loop {
            let before = self.now;
            let timers = self.ends.iter().filter_map(Transport::poll_timeout);
            let arrival = self.line.peek().map(|arrival| arrival.at.0.0);
            let Some(next) = timers.chain(arrival).min().filter(|at| *at <= limit) else { break };
            self.now = self.now.max(next);
            turns = if self.now == before { turns + 1 } else { 0 };
            assert!(turns < 1_000, "time stands still at {:?}", self.now);
            while let Some(arrival) = self.line.peek().filter(|a| a.at.0.0 <= self.now).map(|_| ()) {
                let () = arrival;
                let Arrival { to, bytes, .. } = self.line.pop().unwrap();
                self.receive(to, bytes);
            }
            self.ends.iter_mut().for_each(|end| end.handle_timeout(self.now));
            self.flush();
        }
        self.now = limit;
    }

    /// The ids that arrived whole, each with how often its bytes came.
    fn whole(&self, end: usize) -> BTreeMap<u32, u32> {
        let mut sum = BTreeMap::new();
        for (id, _, len, expired) in &self.got[end] {
            if !expired {
                *sum.entry(*id).or_default() += len;
            }
        }
        sum
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn payloads_arrive_once_at_every_loss() {
    for (seed, loss) in [(1, 0.0), (2, 0.05), (3, 0.2), (4, 0.5), (5, 0.5)] {
        let mut pair = Pair::new(seed, &Config::default());
        (pair.loss, pair.duplicate, pair.jitter) = (loss, 0.05, Duration::from_millis(3));
        for id in 0..500 {
            pair.ends[0].send(pair.now, PEER, note(id, 10 + id * 7));
            pair.ends[1].send(pair.now, PEER, note(id, 300));
        }
        pair.run(SECOND * 60);
        let expected: BTreeMap<u32, u32> = (0..500).map(|id| (id, 10 + id * 7)).collect();
        assert!(pair.whole(1) == expected, "loss {loss}");
        assert_eq!(pair.whole(0).len(), 500);
        assert_eq!(pair.got[0].len(), 500, "no payload came twice");
        assert!(pair.ends.iter().all(Transport::is_settled), "loss {loss}");
    }
}

#[test]
fn a_quiet_pair_stays_quiet() {
    let mut pair = Pair::new(1, &Config::default());
    pair.ends[0].send(pair.now, PEER, note(1, 10));
    pair.run(SECOND);
    let sent = pair.sent;
    pair.run(SECOND * 100);
    assert_eq!(pair.sent, sent);
    assert!(sent <= 8, "hellos, data, a probe of the path, acks: {sent}");
}

#[test]
fn a_lost_payload_does_not_hold_the_others_up() {
    let mut pair = Pair::new(1, &Config::default());
    pair.run(SECOND);
    pair.cut = true;
    pair.ends[0].send(pair.now, PEER, note(1, 10));
    pair.flush();
    pair.cut = false;
    pair.ends[0].send(pair.now, PEER, note(2, 10));
    pair.run(DELAY);
    assert_eq!(pair.whole(1).into_keys().collect::<Vec<_>>(), [2]);
    pair.run(SECOND);
    assert_eq!(pair.whole(1).len(), 2);
}

#[test]
fn what_expires_arrives_as_a_notice() {
    let mut pair = Pair::new(1, &Config::default());
    pair.run(SECOND);
    pair.cut = true;
    for id in 0..100 {
        let deadline = Some(pair.now + Duration::from_millis(if id % 2 == 0 { 50 } else { 60_000 }));
        pair.ends[0].send(pair.now, PEER, Note { deadline, ..note(id, 1_000) });
    }
    pair.run(SECOND);
    pair.cut = false;
    pair.run(SECOND * 5);
    assert_eq!(pair.got[1].len(), 100);
    assert!(pair.got[1].iter().all(|(id, _, _, expired)| *expired == (id % 2 == 0)));
    assert_eq!(pair.ends[0].peer_stats(PEER).unwrap().expired, 50, "each counts once, sent before or not");
}

#[test]
fn a_timer_is_told_before_anything_is_sent() {
    let mut pair = Pair::new(1, &Config::default());
    pair.run(SECOND);
    let deadline = Some(pair.now + Duration::from_millis(50));
    assert_eq!(pair.ends[0].poll_timeout(), None);
    pair.ends[0].send(pair.now, PEER, Note { deadline, ..note(1, 10) });
    assert!(pair.ends[0].poll_timeout().is_some(), "it will have to look for what has expired");
}

#[test]
fn the_counters_tell_what_passed_over_the_line() {
    for (seed, loss, duplicate) in [(1, 0.0, 0.0), (2, 0.2, 0.0), (3, 0.2, 0.1)] {
        let mut pair = Pair::new(seed, &Config::default());
        (pair.loss, pair.duplicate) = (loss, duplicate);
        for id in 0..300 {
            pair.ends[0].send(pair.now, PEER, note(id, 500));
        }
        pair.run(SECOND * 30);
        let stats = [0, 1].map(|end| pair.ends[end].peer_stats(PEER).unwrap());
        for (end, stats) in stats.iter().enumerate() {
            assert_eq!((stats.packets_sent, stats.bytes_sent), pair.written[end]);
            let (packets, bytes) = pair.arrived[end];
            assert_eq!(stats.packets_received + stats.duplicate_packets, packets);
            assert!(stats.bytes_received == bytes || (duplicate > 0.0 && stats.bytes_received < bytes));
        }
        let [sender, receiver] = stats;
        let is_lossy = loss > 0.0;
        assert_eq!((sender.packets_lost > 0, sender.payloads_resent > 0), (is_lossy, is_lossy));
        assert!(receiver.duplicate_payloads <= sender.payloads_resent);
        assert_eq!((sender.expired, sender.dropped_full, sender.queue_bytes, sender.in_flight), (0, 0, 0, 0));
        assert!(sender.rtt >= 2 * DELAY && sender.min_rtt >= 2 * DELAY && sender.congestion_window >= 1_200);
    }
}

#[test]
fn a_receiver_that_takes_nothing_bounds_the_sender_but_not_urgent_payloads() {
    let config = Config { receive_window_bytes: 100_000, ..Config::default() };
    let mut pair = Pair::new(1, &config);
    pair.take = false;
    (0..1_000).for_each(|id| assert!(pair.ends[0].send(pair.now, PEER, note(id, 1_000))));
    pair.run(SECOND * 3);
    assert!((90_000..=100_000).contains(&pair.held), "{}", pair.held);
    pair.ends[0].send(pair.now, PEER, Note { urgent: true, ..note(5_000, 10) });
    pair.run(SECOND);
    assert!(pair.whole(1).contains_key(&5_000));
    (pair.take, pair.held) = (true, 0);
    pair.ends[1].set_held(PEER, 0, 100_000);
    pair.run(SECOND * 10);
    assert_eq!(pair.whole(1).len(), 1_001);
}

#[test]
fn a_partition_is_survived_by_probes() {
    let mut pair = Pair::new(1, &Config::default());
    pair.run(SECOND);
    pair.cut = true;
    (0..50).for_each(|id| assert!(pair.ends[0].send(pair.now, PEER, note(id, 1_000))));
    pair.run(SECOND * 20);
    let sent = pair.sent;
    pair.run(SECOND * 20);
    assert!(pair.sent - sent <= 20 * 2 * 3, "probes are paced: {}", pair.sent - sent);
    pair.cut = false;
    pair.run(SECOND);
    assert_eq!(pair.whole(1).len(), 50);
}

#[test]
fn a_suspended_peer_gets_nothing_until_it_is_resumed() {
    let mut pair = Pair::new(1, &Config::default());
    pair.run(SECOND);
    pair.ends[0].suspend(PEER);
    (0..50).for_each(|id| assert!(pair.ends[0].send(pair.now, PEER, note(id, 1_000))));
    let sent = pair.sent;
    pair.run(SECOND * 5);
    assert_eq!(pair.sent, sent);
    pair.ends[0].resume(pair.now, PEER);
    pair.run(SECOND);
    assert_eq!(pair.whole(1).len(), 50);
}

#[test]
fn a_full_queue_skips_instead_of_growing() {
    let config = Config { max_queue_bytes: 10_000, ..Config::default() };
    let mut pair = Pair::new(1, &config);
    pair.ends[0].suspend(PEER);
    (0..100).for_each(|id| assert!(pair.ends[0].send(pair.now, PEER, note(id, 1_000))));
    assert!(pair.ends[0].queue_bytes(PEER) < 10_000 + 100 * HEAD);
    pair.ends[0].resume(pair.now, PEER);
    pair.run(SECOND);
    assert_eq!(pair.got[1].len(), 100, "each is there, as itself or as a notice");
    assert_eq!(pair.ends[0].peer_stats(PEER).unwrap().dropped_full, 91);
}

#[test]
fn a_peer_that_lost_its_state_is_met_anew() {
    for seed in 0..20 {
        let mut pair = Pair::new(seed, &Config::default());
        pair.loss = if seed % 2 == 0 { 0.0 } else { 0.3 };
        (0..10).for_each(|id| assert!(pair.ends[0].send(pair.now, PEER, note(id, 1_000))));
        pair.run(SECOND * 5);
        pair.ends[1].disconnect(PEER);
        pair.ends[1].connect(pair.now, PEER, &remote(0));
        pair.run(SECOND * 5);
        pair.events[0].retain(|event| *event != Event::Resized(PEER));
        assert_eq!(pair.events[0], [Event::Opened(PEER), Event::Lost(PEER), Event::Opened(PEER)], "seed {seed}");
        (10..20).for_each(|id| assert!(pair.ends[0].send(pair.now, PEER, note(id, 1_000))));
        (10..20).for_each(|id| assert!(pair.ends[1].send(pair.now, PEER, note(id, 1_000))));
        pair.run(SECOND * 5);
        assert_eq!((pair.whole(1).len(), pair.whole(0).len()), (20, 10), "seed {seed}");
    }
}

#[test]
fn strangers_and_junk_are_counted_and_change_nothing() {
    let mut pair = Pair::new(1, &Config::default());
    pair.run(SECOND);
    let mut rng = Rng::new(9);
    for n in 0..20_000u64 {
        let mut junk = vec![0; rng.below(60) as usize + 2];
        rng.fill(&mut junk);
        (junk[0], junk[1]) = (0xc1, (n % 4) as u8);
        pair.ends[1].handle_native(pair.now, address(0), junk.into());
    }
    let stats = pair.ends[1].stats();
    assert_eq!(stats.junk() + stats.stray_hellos, 20_000);
    assert!(pair.ends[1].poll_payload().is_none());
    pair.ends[0].send(pair.now, PEER, note(1, 10));
    pair.run(SECOND);
    assert_eq!(pair.whole(1).len(), 1);
}

#[test]
fn hostile_frames_under_a_known_token_do_no_harm() {
    let mut pair = Pair::new(1, &Config::default());
    pair.run(SECOND);
    // The token is learned from a datagram, as an eavesdropper would.
    pair.ends[0].send(pair.now, PEER, note(1, 10));
    let mut out = Chain::default();
    let transmit = pair.ends[0].poll_transmit(pair.now, &mut out).unwrap();
    let header = out.to_vec()[out.len() - transmit.len..][..10].to_vec();
    let mut rng = Rng::new(9);
    for n in 0..50_000u64 {
        let mut junk = vec![0; rng.below(80) as usize + 1];
        rng.fill(&mut junk);
        junk[0] = (n % 7) as u8;
        let mut datagram = header.clone();
        glue_net::wire::put_varint(&mut datagram, rng.next_u64() >> rng.below(64));
        datagram.extend(junk);
        pair.ends[1].handle_native(pair.now, address(0), datagram.into());
        while pair.ends[1].poll_payload().is_some() {}
        out.clear();
        while pair.ends[1].poll_transmit(pair.now, &mut out).is_some() {}
    }
    assert!(pair.ends[1].queue_bytes(PEER) == 0);
}
