//! Who is there: three endpoints that announce themselves to a group, come late, crash, leave and start again.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use glue_discovery::{Config, Discovery, DownReason, Event};
use glue_net::wire::classic::{Body, Container};
use glue_net::{EndpointId, Incarnation, Instant, Interface, PeerId, Rng, Transmit, Via, WallClock, WallTime};

use crate::line::{Line, Parcel};
use crate::replay::{Verdict, World, put};
use crate::{Choice, Flaw, Plan};

/// Three real [`Discovery`] machines on one network. Two of them know each other; the third has not started.
#[derive(Debug)]
pub struct Announcers {
    now: Instant,
    plan: Plan,
    nodes: [Node; NODES],
    line: Line<Bytes>,
    verdict: Verdict,
}

#[derive(Debug, Default)]
struct Node {
    discovery: Option<Discovery>,
    life: u64,
    /// What it has been told of the others.
    views: BTreeMap<u8, View>,
}

/// What a node knows of another one, as its events say it.
#[derive(Debug, Default)]
struct View {
    up: Option<(PeerId, Incarnation)>,
    heard: Option<Instant>,
    newest: Incarnation,
    /// The life in which it said goodbye.
    left: Option<Incarnation>,
}

impl World for Announcers {
    const PROMISES: &'static [&'static str] = &[
        "who was heard in time is not down",
        "who is silent for two intervals is down",
        "nobody comes back in an earlier life",
        "who said goodbye does not come back in that life",
        "events tell what the list says",
    ];
    const SIGHTS: &'static [&'static str] =
        &["a peer expires", "a peer starts again", "a peer says goodbye", "a silent peer is probed, and stays"];
    const RECOVERY: &'static str = "all who are there know each other, and nobody else";

    fn begin(plan: &Plan) -> Self {
        let mut world = Self {
            now: Instant::ZERO + INTERVAL,
            plan: *plan,
            nodes: Default::default(),
            line: Line::new(plan.bounds),
            verdict: Verdict::default(),
        };
        world.start(0);
        world.start(1);
        world.run_quietly(Duration::from_millis(1_500));
        world
    }

    fn choices(&self, out: &mut Vec<Choice>) {
        self.line.choices(out);
        let left = self.line.left;
        if self.line.is_quiet() && left.ticks > 0 {
            out.push(Choice::Tick);
        }
        for node in 0..COUNT {
            let is_there = self.node(node).is_some_and(|node| node.discovery.is_some());
            if is_there && left.crashes > 0 && left.faults > 0 {
                out.push(Choice::Crash(node));
                if self.line.is_quiet() {
                    out.push(Choice::Leave(node));
                }
            }
            // Lives are told apart by when they began.
            if !is_there && left.starts > 0 && self.line.is_quiet() {
                out.push(Choice::Start(node));
            }
        }
    }

    fn choose(&mut self, choice: Choice) {
        match choice {
            Choice::Tick => {
                self.line.left.ticks -= 1;
                self.tick();
            }
            Choice::Crash(node) => {
                self.line.left.spend(|left| &mut left.crashes);
                self.end(node);
            }
            Choice::Leave(node) => {
                self.line.left.spend(|left| &mut left.crashes);
                self.leave(node);
            }
            Choice::Start(node) => {
                self.line.left.starts -= 1;
                self.start(node);
            }
            choice => {
                if let Some(parcel) = self.line.choose(choice) {
                    self.arrive(&parcel);
                }
            }
        }
        self.look();
    }

    fn describe(&self, out: &mut String) {
        put(out, &(self.now, &self.nodes, &self.line));
    }

    fn verdict(&self) -> Verdict {
        self.verdict
    }

    fn recovers(mut self) -> bool {
        self.line.release_all();
        self.line.left = crate::Bounds::default();
        let end = self.now + RECOVERY;
        let mut goes_on = true;
        while self.now < end && goes_on {
            self.deliver_all(true);
            goes_on = self.tick();
        }
        self.deliver_all(true);
        (0..COUNT).all(|node| self.knows_all(node))
    }
}

impl Announcers {
    fn node(&self, node: u8) -> Option<&Node> {
        self.nodes.get(usize::from(node))
    }

    fn node_mut(&mut self, node: u8) -> Option<&mut Node> {
        self.nodes.get_mut(usize::from(node))
    }

    fn config(&self, node: u8, life: u64) -> Config {
        let mut config = Config::new(EndpointId::from_integer(i64::from(node)), format!("node-{node}"));
        config.incarnation = Incarnation(life);
        config.targets = vec![group()];
        config.data_port = 40_000;
        if node == 0 && self.plan.has(Flaw::Hasty) {
            config.timeout_multiplier = 1.0;
        }
        if node == 0 && self.plan.has(Flaw::Patient) {
            config.timeout_multiplier = 4.0;
        }
        if node == 0 && self.plan.has(Flaw::Forgetful) {
            config.max_remembered = 0;
        }
        config
    }

    fn start(&mut self, number: u8) {
        let now = self.now;
        let Some(life) = self.node(number).map(|node| node.life + 1) else { return };
        let told = if number == 2 && self.plan.has(Flaw::Backwards) { 10 - life } else { 10 + life };
        let config = self.config(number, told);
        let Ok(mut discovery) = Discovery::new(config, Rng::new(u64::from(number) + 8 * life), now) else { return };
        discovery.handle_clock(WallClock::new(Instant::ZERO, WallTime::from_unix_nanos(1_795_224_787_000_000_000)));
        discovery.handle_interfaces(now, vec![interface(number)]);
        discovery.handle_timeout(now);
        if let Some(node) = self.node_mut(number) {
            *node = Node { discovery: Some(discovery), life, views: BTreeMap::new() };
        }
        self.send(number);
    }

    fn end(&mut self, node: u8) {
        if let Some(node) = self.node_mut(node) {
            node.discovery = None;
            node.views.clear();
        }
    }

    fn leave(&mut self, node: u8) {
        let now = self.now;
        if let Some(discovery) = self.node_mut(node).and_then(|node| node.discovery.as_mut()) {
            discovery.leave(now);
        }
        self.send(node);
        self.end(node);
    }

    /// Goes on to the next timer. False: there is none.
    fn tick(&mut self) -> bool {
        let next = self.nodes.iter().filter_map(|node| node.discovery.as_ref()?.poll_timeout());
        let Some(next) = next.filter(|at| *at > self.now).min() else { return false };
        self.now = next;
        for node in 0..COUNT {
            self.fire(node);
        }
        true
    }

    fn fire(&mut self, node: u8) {
        let now = self.now;
        if let Some(discovery) = self.node_mut(node).and_then(|node| node.discovery.as_mut()) {
            discovery.handle_timeout(now);
        }
        self.note_events(node);
        self.send(node);
    }

    /// Puts all that a node has to send on the line.
    fn send(&mut self, by: u8) {
        let (now, mut out) = (self.now, Vec::new());
        let Some(discovery) = self.nodes.get_mut(usize::from(by)).and_then(|node| node.discovery.as_mut()) else {
            return;
        };
        while let Some(Transmit { to, via, .. }) = discovery.poll_transmit(now, &mut out) {
            let datagram = Bytes::from(std::mem::take(&mut out));
            let is_for = |node: u8| matches!(via, Via::Multicast { .. }) || socket(node) == to;
            for to in (0..COUNT).filter(|to| *to != by && is_for(*to)) {
                self.line.send(by, to, datagram.clone());
            }
        }
    }

    fn arrive(&mut self, parcel: &Parcel<Bytes>) {
        let now = self.now;
        let Ok((codec, container)) = Container::decode(&parcel.item) else { return };
        let Body::Announcement(announcement) = &container.body else { return };
        let Some(native) = announcement.native else { return };
        let Some(node) = self.nodes.get_mut(usize::from(parcel.to)) else { return };
        let Some(discovery) = node.discovery.as_mut() else { return };
        let view = node.views.entry(parcel.from).or_default();
        if native.goodbye {
            view.left = view.left.max(Some(native.incarnation));
        } else if view.up.is_some_and(|(_, life)| life == native.incarnation) {
            view.heard = Some(now);
        }
        discovery.handle_announcement(now, socket(parcel.from), codec, container);
        self.note_events(parcel.to);
        self.send(parcel.to);
    }

    fn note_events(&mut self, number: u8) {
        let (now, is_deaf) = (self.now, number == 0 && self.plan.has(Flaw::Unheard));
        let verdict = &mut self.verdict;
        let Some(node) = self.nodes.get_mut(usize::from(number)) else { return };
        let Some(discovery) = node.discovery.as_mut() else { return };
        while let Some(event) = discovery.poll_event() {
            match event {
                Event::PeerUp { peer, info } => {
                    let Some(view) = other(info.id).map(|other| node.views.entry(other).or_default()) else { continue };
                    verdict.expect(LIST, view.up.is_none());
                    verdict.expect(LIVES, info.incarnation >= view.newest);
                    verdict.expect(GOODBYE, view.left.is_none_or(|left| left < info.incarnation));
                    verdict.see(1, view.newest > Incarnation(0) && info.incarnation > view.newest);
                    view.up = Some((peer, info.incarnation));
                    (view.newest, view.heard) = (info.incarnation, Some(now));
                }
                Event::PeerDown { peer, id, reason, .. } if !is_deaf => {
                    let Some(view) = other(id).and_then(|other| node.views.get_mut(&other)) else { continue };
                    verdict.expect(LIST, view.up.is_some_and(|(up, _)| up == peer));
                    let silence = view.heard.map(|heard| now.since(heard));
                    let is_expired = reason == DownReason::Expired;
                    verdict.expect(HEARD, !is_expired || silence.is_none_or(|silence| silence >= 2 * INTERVAL));
                    verdict.see(0, is_expired);
                    verdict.see(2, reason == DownReason::Goodbye);
                    view.up = None;
                }
                _ => {}
            }
        }
    }

    /// What holds whenever nothing is under way.
    fn look(&mut self) {
        if !self.line.is_quiet() {
            return;
        }
        let now = self.now;
        for node in &self.nodes {
            let Some(discovery) = &node.discovery else { continue };
            let listed: BTreeMap<_, _> = discovery
                .peers()
                .filter_map(|(peer, info)| Some((other(info.id)?, (peer, info.incarnation))))
                .collect();
            let told = node.views.iter().filter_map(|(other, view)| Some((*other, view.up?)));
            self.verdict.expect(LIST, told.eq(listed));
            for view in node.views.values().filter(|view| view.up.is_some()) {
                let silence = view.heard.map_or(Duration::ZERO, |heard| now.since(heard));
                self.verdict.expect(SILENT, silence < 2 * INTERVAL);
                self.verdict.see(3, silence == Duration::ZERO && discovery.stats().probes_sent > 0);
            }
        }
    }

    fn deliver_all(&mut self, is_over: bool) {
        while let Some(parcel) = self.line.choose(Choice::Deliver) {
            let is_lost = is_over && (parcel.from, parcel.to) == (1, 0) && self.plan.has(Flaw::Deaf);
            if !is_lost {
                self.arrive(&parcel);
            }
        }
    }

    fn run_quietly(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.deliver_all(false);
            let next = self.nodes.iter().filter_map(|node| node.discovery.as_ref()?.poll_timeout()).min();
            if next.is_none_or(|at| at > end) {
                break;
            }
            self.tick();
        }
    }

    fn knows_all(&self, number: u8) -> bool {
        let Some(discovery) = self.node(number).and_then(|node| node.discovery.as_ref()) else { return true };
        let there = (0..COUNT).filter(|other| *other != number);
        let there = there.filter(|other| self.node(*other).is_some_and(|node| node.discovery.is_some()));
        let mut known: Vec<u8> = discovery.peers().filter_map(|(_, info)| other(info.id)).collect();
        known.sort_unstable();
        known.into_iter().eq(there)
    }
}

fn other(id: EndpointId) -> Option<u8> {
    (0..COUNT).find(|node| EndpointId::from_integer(i64::from(*node)) == id)
}

fn address(node: u8) -> IpAddr {
    [10, 0, 0, node + 1].into()
}

fn socket(node: u8) -> SocketAddr {
    SocketAddr::new(address(node), PORT)
}

fn group() -> SocketAddr {
    SocketAddr::new([239, 192, 137, 1].into(), PORT)
}

fn interface(node: u8) -> Interface {
    let (address, discovery, mtu) = (address(node), Some(socket(node)), Interface::ETHERNET_MTU);
    Interface { index: 2, address, prefix: 24, discovery, multicast: true, mtu }
}

const NODES: usize = 3;
const COUNT: u8 = 3;
const PORT: u16 = 27_320;

/// Discovery's own, by default.
const INTERVAL: Duration = Duration::from_secs(1);

/// Two intervals until those who are gone are forgotten, and two until all have announced themselves again.
const RECOVERY: Duration = Duration::from_millis(4_500);

const HEARD: usize = 0;
const SILENT: usize = 1;
const LIVES: usize = 2;
const GOODBYE: usize = 3;
const LIST: usize = 4;
