//! Flows over one link: an endpoint that publishes as fast as it may, or at a pace, to one that reads; or TCP.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use glue_endpoint::{Command, Engine, Event, PeerStats};
use glue_net::{Chain, EndpointId, Instant, Node, Transmit};
use glue_sim::{Context, Host, Link, NodeId, Receive, World};
use glue_topics::{Item, PublicationId};

use crate::cubic;
use crate::scene;

/// What a source publishes.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Bytes of a message, at least 16.
    pub size: usize,
    /// Messages in all.
    pub count: u64,
    /// Time between two messages; zero: as fast as they are taken.
    pub interval: Duration,
    /// When the first one is published, or as soon as the endpoints have met.
    pub start: Instant,
}

impl Load {
    /// As much as can be sent, from `start` on.
    #[must_use]
    pub const fn flood(start: Instant) -> Self {
        Self { size: 16 << 10, count: u64::MAX, interval: Duration::ZERO, start }
    }
}

/// A publishing endpoint and what it has to do.
#[derive(Debug)]
pub struct Source {
    /// The endpoint.
    pub engine: Engine,
    publication: PublicationId,
    load: Load,
    /// Messages published.
    pub published: u64,
    /// When the next one is due; `None`: it waits for room, or it is done.
    next_at: Option<Instant>,
    body: Vec<u8>,
}

impl Source {
    fn new(mut engine: Engine, topic: &str, load: Load) -> Self {
        let publication = engine.publication(topic, "bytes").expect("a good topic");
        let body = vec![0; load.size];
        Self { engine, publication, load, published: 0, next_at: Some(load.start), body }
    }

    fn publish(&mut self, now: Instant) {
        if self.published == 0 && self.next_at.is_some_and(|at| at <= now) {
            // Without a subscriber all would be lost, and nothing would end.
            let has_met = !self.engine.subscribers(self.publication).is_empty();
            self.load.start = if has_met { now } else { now + MEETING };
            self.next_at = Some(self.load.start);
        }
        while self.next_at.is_some_and(|at| at <= now) {
            self.body[..8].copy_from_slice(&self.published.to_be_bytes());
            self.body[8..16].copy_from_slice(&now.as_nanos().to_be_bytes());
            let taken = self.engine.publish(now, self.publication, EXPIRY, &self.body[..]).expect("a good message");
            if taken.is_none() {
                self.next_at = None;
                return;
            }
            self.published += 1;
            self.next_at = (self.published < self.load.count)
                .then(|| self.load.start + self.load.interval * u32::try_from(self.published).unwrap_or(0));
        }
    }
}

/// A reading endpoint and what it got.
#[derive(Debug)]
pub struct Sink {
    /// The endpoint.
    pub engine: Engine,
    size: usize,
    /// Messages delivered, in order and without a gap.
    pub delivered: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// How long each was under way from publish to delivery.
    pub latencies: Vec<Duration>,
    /// When the last one came.
    pub last_at: Instant,
}

impl Sink {
    fn new(mut engine: Engine, topic: &str, size: usize) -> Self {
        engine.subscribe(topic, "bytes").expect("a good topic");
        Self { engine, size, delivered: 0, bytes: 0, latencies: Vec::new(), last_at: Instant::ZERO }
    }

    fn read(&mut self, now: Instant, event: Event) {
        let Event::Delivery(mut delivery) = event else { return };
        while let Some(item) = delivery.batch.next(now) {
            let Item::Message(message) = item else { panic!("{item:?}") };
            assert_eq!(message.payload.len(), self.size);
            let word = |at: usize| u64::from_be_bytes(message.payload[at..at + 8].try_into().expect("eight bytes"));
            assert_eq!(word(0), self.delivered, "each once and in order");
            self.latencies.push(now.since(Instant::from_nanos(word(8))));
            self.last_at = now;
            (self.delivered, self.bytes) = (self.delivered + 1, self.bytes + message.payload.len() as u64);
        }
        if let Some(peer) = delivery.batch.from() {
            self.engine.handle_taken(peer, delivery.batch.bytes());
        }
    }
}

/// A node.
#[derive(Debug)]
pub enum Party {
    /// Publishes.
    Source(Box<Source>),
    /// Reads.
    Sink(Box<Sink>),
    /// A TCP sender.
    Tcp(Box<cubic::Sender>),
    /// Its receiver.
    TcpSink(cubic::Receiver),
}

impl Node for Party {
    type Command = Command;
    type Event = ();

    fn handle_command(&mut self, _: Instant, _: Command) {}

    fn handle_datagram(&mut self, now: Instant, from: SocketAddr, datagram: Bytes) {
        match self {
            Self::Source(source) => source.engine.handle_datagram(now, from, datagram),
            Self::Sink(sink) => sink.engine.handle_datagram(now, from, datagram),
            Self::Tcp(sender) => sender.handle_datagram(now, &datagram),
            Self::TcpSink(receiver) => receiver.handle_datagram(now, from, &datagram),
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        match self {
            Self::Source(source) => {
                source.engine.handle_timeout(now);
                source.publish(now);
            }
            Self::Sink(sink) => sink.engine.handle_timeout(now),
            Self::Tcp(sender) => sender.handle_timeout(now),
            Self::TcpSink(_) => {}
        }
    }

    fn poll_transmit(&mut self, now: Instant, out: &mut Chain) -> Option<Transmit> {
        match self {
            Self::Source(source) => {
                while let Some(event) = source.engine.poll_event() {
                    if matches!(event, Event::Writable) {
                        source.next_at = Some(now);
                        source.publish(now);
                    }
                }
                source.engine.poll_transmit(now, out)
            }
            Self::Sink(sink) => {
                while let Some(event) = sink.engine.poll_event() {
                    sink.read(now, event);
                }
                sink.engine.poll_transmit(now, out)
            }
            Self::Tcp(sender) => sender.poll_transmit(now, out.written()),
            Self::TcpSink(receiver) => receiver.poll_transmit(now, out.written()),
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Source(source) => source.engine.poll_timeout().into_iter().chain(source.next_at).min(),
            Self::Sink(sink) => sink.engine.poll_timeout(),
            Self::Tcp(sender) => sender.poll_timeout(),
            Self::TcpSink(receiver) => receiver.poll_timeout(),
        }
    }

    fn poll_event(&mut self) -> Option<()> {
        None
    }
}

/// A flow.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// From a source to a sink.
    Glue(Load),
    /// TCP, from then on, as much as it may.
    Tcp(Instant),
}

/// Flows side by side, each between two nodes of its own.
pub struct Rig {
    /// The network.
    pub world: World<Party>,
    /// Sender and receiver of each flow.
    pub flows: Vec<(NodeId, NodeId)>,
}

impl std::fmt::Debug for Rig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rig").field("flows", &self.flows).finish_non_exhaustive()
    }
}

impl Rig {
    /// The flows `kinds`; data takes the link `there`, acks the link `back`.
    #[must_use]
    pub fn new(seed: u64, kinds: &[Kind], there: &Link, back: &Link, receive: Receive) -> Self {
        let mut world = World::new(seed);
        let mut flows = Vec::new();
        for (index, kind) in (0..).zip(kinds) {
            let host = Host::default().receive(receive);
            let flow = match *kind {
                Kind::Glue(load) => {
                    let topic = format!("flow-{index}");
                    let window = receive.buffer_bytes as u64 / 8 * 7;
                    let sink = topic.clone();
                    let receiver = world.add_node(host.clone(), move |context| {
                        Party::Sink(Box::new(Sink::new(engine_of(sink_id(index), window, &context), &sink, load.size)))
                    });
                    let sender = world.add_node(host, move |context| {
                        Party::Source(Box::new(Source::new(
                            engine_of(source_id(index), window, &context),
                            &topic,
                            load,
                        )))
                    });
                    (sender, receiver)
                }
                Kind::Tcp(start) => {
                    let receiver = world.add_node(host.clone().deaf(), |_| Party::TcpSink(cubic::Receiver::default()));
                    let to = world.address(receiver);
                    let new = move |_| Party::Tcp(Box::new(cubic::Sender::new(to, start)));
                    (world.add_node(host.deaf(), new), receiver)
                }
            };
            world.set_link(flow.0, flow.1, there.clone());
            world.set_link(flow.1, flow.0, back.clone());
            flows.push(flow);
        }
        Self { world, flows }
    }

    /// Bytes that a flow has delivered.
    #[must_use]
    pub fn bytes(&self, flow: usize) -> u64 {
        match self.world.node(self.flows[flow].1) {
            Some(Party::Sink(sink)) => sink.bytes,
            Some(Party::TcpSink(receiver)) => receiver.bytes,
            other => panic!("{other:?}"),
        }
    }

    /// The sink of a flow.
    #[must_use]
    pub fn sink(&self, flow: usize) -> &Sink {
        let node = self.world.node(self.flows[flow].1);
        if let Some(Party::Sink(sink)) = node { sink } else { panic!("{node:?}") }
    }

    /// What the source of a flow has counted.
    #[must_use]
    pub fn stats(&self, flow: usize) -> PeerStats {
        let node = self.world.node(self.flows[flow].0);
        let index = u32::try_from(flow).expect("few flows");
        if let Some(Party::Source(source)) = node {
            stats_with(&source.engine, sink_id(index))
        } else {
            panic!("{node:?}")
        }
    }

    /// What the sink of a flow has counted.
    #[must_use]
    pub fn sink_stats(&self, flow: usize) -> PeerStats {
        let index = u32::try_from(flow).expect("few flows");
        stats_with(&self.sink(flow).engine, source_id(index))
    }

    /// Runs until a flow has delivered `count` messages. Returns whether it did within `limit`.
    pub fn run_until_delivered(&mut self, flow: usize, count: u64, limit: Duration) -> bool {
        let receiver = self.flows[flow].1;
        self.world.run_until_true(
            limit,
            |world| matches!(world.node(receiver), Some(Party::Sink(sink)) if sink.delivered >= count),
        )
    }

    /// Goodput of each flow in bytes per second over `time` from now, and the mean wait for the link of the first.
    pub fn measure(&mut self, time: Duration) -> (Vec<f64>, Duration) {
        let count = |rig: &Self| (0..rig.flows.len()).map(|flow| rig.bytes(flow)).collect::<Vec<_>>();
        let (before, (sender, receiver)) = (count(self), self.flows[0]);
        let samples = 1_000;
        let mut waited = Duration::ZERO;
        for _ in 0..samples {
            self.world.run_for(time / samples);
            waited += self.world.backlog(sender, receiver);
        }
        let rate = |(after, before): (u64, &u64)| (after - before) as f64 / time.as_secs_f64();
        (count(self).into_iter().zip(&before).map(rate).collect(), waited / samples)
    }
}

fn stats_with(engine: &Engine, peer: EndpointId) -> PeerStats {
    let peers = engine.report_peers();
    peers.iter().find(|report| report.info.id == peer).expect("they have met").stats
}

fn source_id(flow: u32) -> EndpointId {
    EndpointId::from_integer(2 * i64::from(flow) + 1)
}

fn sink_id(flow: u32) -> EndpointId {
    EndpointId::from_integer(2 * i64::from(flow) + 2)
}

fn engine_of(id: EndpointId, window: u64, context: &Context) -> Engine {
    scene::engine(id, context, |mut config| {
        config.transport.socket_window_bytes = window;
        // It is the links that are slow here.
        (config.slow_peer_stall, config.slow_peer_wait) = (EXPIRY, EXPIRY);
        config
    })
}

/// How often a source looks whether its sink is there.
const MEETING: Duration = Duration::from_millis(10);
/// Longer than any run.
const EXPIRY: Duration = Duration::from_secs(3_600);
