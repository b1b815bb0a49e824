//! What a socket's upstream leaves goes to the next one before anything newer does, whatever dies when. No sockets, no clock:
//! a run follows from its seed.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, yield_now};

use super::*;
use crate::framing::Framing;
use crate::lane::{LaneConfig, MESSAGE_OVERHEAD_BYTES};

const SOCKETS: usize = 6;
const MESSAGES: usize = 30;
const LANES: usize = 3;
/// Far more than any run takes.
const MOST_STEPS: usize = 100_000;

/// An upstream, which acknowledges some of what it took.
struct Upstream {
    lane: Arc<Lane>,
    /// What it took and has not acknowledged: its sequence, who sent it, and which of the sender's it is.
    unsettled: VecDeque<(u64, usize, usize)>,
    /// Which of each sender's comes next.
    next: BTreeMap<usize, usize>,
}

struct Run {
    seed: u64,
    random: u64,
    dispatch: Arc<Dispatch>,
    /// What each may send by now: one that has nothing to send when its lane dies comes later, amid the hand-over.
    sockets: Vec<(Arc<Socket>, Arc<Semaphore>)>,
    upstreams: Vec<Upstream>,
    /// How many of each sender's are acknowledged.
    done: [usize; SOCKETS],
    tasks: JoinSet<()>,
}

impl Run {
    fn new(seed: u64) -> Self {
        let socket = |number: usize| {
            let peer = SocketAddr::from(([192, 0, 2, 1], 4_711));
            let socket = Socket::new(Uuid::from_u128(number as u128), peer, Arc::new(Framing::Raw), 0);
            (socket, Arc::new(Semaphore::new(0)))
        };
        Self {
            seed,
            random: seed,
            dispatch: Arc::new(Dispatch::new(Arc::default())),
            sockets: (0..SOCKETS).map(socket).collect(),
            upstreams: Vec::new(),
            done: [0; SOCKETS],
            tasks: JoinSet::new(),
        }
    }

    /// A number below, by splitmix64.
    fn random(&mut self, below: usize) -> usize {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % below as u64).expect("it is below")
    }

    fn send(&mut self) {
        for (socket, allowed) in self.sockets.clone() {
            let dispatch = Arc::clone(&self.dispatch);
            self.tasks.spawn(async move {
                for number in 0..MESSAGES {
                    allowed.acquire().await.expect("it stays open").forget();
                    let text = Bytes::from(number.to_string());
                    dispatch.forward(Distribution::Sticky, &socket, What::Data(text)).await;
                }
            });
        }
    }

    fn open(&mut self) {
        // A few messages fill it, so that to hand over takes long, and sockets wait; not all lanes are full at once.
        let window = u32::try_from(1 + self.random(12)).expect("it is small") * (MESSAGE_OVERHEAD_BYTES + 2);
        let config = LaneConfig { window, confirm: Confirm::Acknowledged, wants_events: false };
        let lane = Lane::new(Uuid::from_u128(self.random.into()), config);
        self.dispatch.open(Arc::clone(&lane));
        self.upstreams.push(Upstream { lane, unsettled: VecDeque::new(), next: BTreeMap::new() });
    }

    fn kill(&mut self, at: usize) {
        let lane = self.upstreams.swap_remove(at).lane;
        self.dispatch.close(&lane);
        lane.fail();
        let dispatch = Arc::clone(&self.dispatch);
        self.tasks.spawn(async move { dispatch.hand_over(Distribution::Sticky, &lane).await });
    }

    fn read(&mut self, at: usize) {
        let (seed, done) = (self.seed, self.done);
        let upstream = &mut self.upstreams[at];
        let Poll::Ready(Some(sent)) = upstream.lane.poll_next(&Context::from_waker(Waker::noop())) else { return };
        let What::Data(text) = sent.what else { panic!("seed {seed}: an event that nobody wants") };
        let number: usize = str::from_utf8(&text).ok().and_then(|text| text.parse().ok()).expect("a number");
        let client = usize::try_from(sent.client.as_u128()).expect("a number");
        let expected = upstream.next.get(&client).copied().unwrap_or(done[client]);
        assert_eq!(number, expected, "seed {seed}: what socket {client} sent is out of order");
        upstream.next.insert(client, number + 1);
        upstream.unsettled.push_back((sent.sequence, client, number));
    }

    fn acknowledge(&mut self, at: usize) {
        let most = self.upstreams[at].unsettled.len();
        for _ in 0..self.random(most + 1) {
            let upstream = &mut self.upstreams[at];
            let Some((sequence, client, number)) = upstream.unsettled.pop_front() else { return };
            upstream.lane.acknowledge(sequence);
            self.done[client] = number + 1;
        }
    }

    fn step(&mut self) {
        match (self.random(40), self.upstreams.len()) {
            (0, LANES) | (0..4, 0..LANES) => self.open_or_kill(),
            (4..12, _) => {
                let at = self.random(SOCKETS);
                self.sockets[at].1.add_permits(1);
            }
            (_, 0) => {}
            (1..26, lanes) => {
                let at = self.random(lanes);
                self.read(at);
            }
            (_, lanes) => {
                let at = self.random(lanes);
                self.acknowledge(at);
            }
        }
    }

    fn open_or_kill(&mut self) {
        match self.upstreams.len() {
            0 => self.open(),
            1 if self.random(2) == 0 => self.open(),
            lanes => {
                let at = self.random(lanes);
                self.kill(at);
            }
        }
    }

    async fn to_the_end(mut self) {
        self.send();
        for _ in 0..MOST_STEPS {
            if self.done == [MESSAGES; SOCKETS] {
                return;
            }
            self.step();
            for _ in 0..self.random(3) {
                yield_now().await;
            }
        }
        panic!("seed {}: it came to a stop at {:?}", self.seed, self.done);
    }
}

#[tokio::test]
async fn nothing_newer_overtakes_what_a_dead_upstream_left() {
    for seed in 0..SEEDS {
        Run::new(seed).to_the_end().await;
    }
}

const SEEDS: u64 = 300;
