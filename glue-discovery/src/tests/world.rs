//! Several endpoints on a network without delay or loss, through the real codec.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use glue_net::wire::classic::{Codec, Container};
use glue_net::{EndpointId, Incarnation, Instant, Interface, Rng, Transmit, Via, WallClock, WallTime};

use super::{announcement, interface, socket};
use crate::{Config, Discovery, Event};

/// A datagram on its way.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) by: usize,
    pub(super) to: SocketAddr,
    pub(super) codec: Codec,
    pub(super) container: Container,
}

impl Sent {
    pub(super) fn is_forwarded(&self) -> bool {
        announcement(&self.container).forwarded
    }
}

pub(super) struct Node {
    pub(super) discovery: Discovery,
    /// Nodes of one host reach each other by its loopback.
    host: usize,
    interfaces: Vec<Interface>,
    is_running: bool,
    pub(super) events: Vec<Event>,
}

pub(super) struct World {
    pub(super) now: Instant,
    pub(super) nodes: Vec<Node>,
    pub(super) sent: Vec<Sent>,
    /// Whether multicast works.
    pub(super) multicast: bool,
    /// How much of what arrives is lost.
    pub(super) loss: Option<(Rng, f64)>,
}

impl World {
    pub(super) fn new() -> Self {
        Self { now: Instant::ZERO, nodes: Vec::new(), sent: Vec::new(), multicast: true, loss: None }
    }

    /// Starts a node with a host of its own, at 10.0.0.(its number + 1), 10.0.1.(..) and so on.
    pub(super) fn start(&mut self, targets: &[&str], networks: usize) -> usize {
        let number = self.nodes.len();
        let interfaces = (0..networks)
            .map(|n| interface(u32::try_from(n).unwrap() + 2, &format!("10.0.{n}.{}", number + 1), 24))
            .collect();
        self.start_at(number, targets, interfaces, |_| {})
    }

    pub(super) fn start_many(&mut self, nodes: usize, targets: &[&str], networks: usize) {
        for _ in 0..nodes {
            self.start(targets, networks);
        }
    }

    pub(super) fn start_at(
        &mut self,
        host: usize,
        targets: &[&str],
        interfaces: Vec<Interface>,
        change: impl FnOnce(&mut Config),
    ) -> usize {
        let number = self.nodes.len();
        let mut config = Config::new(EndpointId::from_integer(number as i64 + 100), format!("n{number}"));
        config.incarnation = Incarnation(1);
        config.targets = targets.iter().map(|t| socket(t)).collect();
        config.data_port = 40_000 + u16::try_from(number).unwrap();
        change(&mut config);
        let mut discovery = Discovery::new(config, Rng::new(number as u64), self.now).unwrap();
        discovery.handle_clock(WallClock::new(Instant::ZERO, WallTime::from_unix_nanos(1_795_224_787_000_000_000)));
        discovery.handle_interfaces(self.now, interfaces.clone());
        self.nodes.push(Node { discovery, host, interfaces, is_running: true, events: Vec::new() });
        number
    }

    /// It is gone, without a word.
    pub(super) fn kill(&mut self, node: usize) {
        self.nodes[node].is_running = false;
    }

    pub(super) fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            self.flush();
            let running = self.nodes.iter().filter(|n| n.is_running);
            match running.filter_map(|n| n.discovery.poll_timeout()).min().filter(|at| *at <= end) {
                Some(next) => self.now = self.now.max(next),
                None => break,
            }
            let now = self.now;
            self.nodes.iter_mut().filter(|n| n.is_running).for_each(|n| n.discovery.handle_timeout(now));
        }
        self.now = end;
    }

    /// Everything that is sent arrives, and what it causes to be sent too.
    pub(super) fn flush(&mut self) {
        for round in 0.. {
            assert!(round < 100, "the network does not come to rest");
            let before = self.sent.len();
            for by in 0..self.nodes.len() {
                self.send(by);
            }
            if self.sent.len() == before {
                return;
            }
        }
    }

    fn send(&mut self, by: usize) {
        let now = self.now;
        let mut out = Vec::new();
        while self.nodes[by].is_running
            && let Some(Transmit { to, len, via }) = self.nodes[by].discovery.poll_transmit(now, &mut out)
        {
            let datagram = Bytes::copy_from_slice(&out[out.len() - len..]);
            let (codec, container) = Container::decode(&datagram).unwrap();
            self.sent.push(Sent { by, to, codec, container: container.clone() });
            for (node, from) in self.receivers(by, to, via) {
                if self.loss.as_mut().is_some_and(|(rng, part)| rng.chance(*part)) {
                    continue;
                }
                let node = &mut self.nodes[node];
                node.discovery.handle_announcement(now, from, codec, container.clone());
                node.events.extend(std::iter::from_fn(|| node.discovery.poll_event()));
            }
        }
        let node = &mut self.nodes[by];
        node.events.extend(std::iter::from_fn(|| node.discovery.poll_event()));
    }

    /// Who gets a datagram, and where it comes from in their eyes.
    fn receivers(&self, by: usize, to: SocketAddr, via: Via) -> Vec<(usize, SocketAddr)> {
        let sender = &self.nodes[by];
        let running = || self.nodes.iter().enumerate().filter(|(_, n)| n.is_running);
        if let Via::Multicast { interface } = via {
            let out = sender.interfaces.iter().find(|i| i.index == interface).unwrap();
            let from = SocketAddr::new(out.address, 50_000);
            let hears = |n: &Node| match out.address.is_loopback() {
                true => n.host == sender.host,
                false => n.interfaces.iter().any(|i| i.multicast && i.contains(out.address)),
            };
            return running().filter(|(_, n)| self.multicast && hears(n)).map(|(at, _)| (at, from)).collect();
        }
        let is_at = |n: &Node| n.interfaces.iter().any(|i| i.discovery == Some(to));
        let is_reachable = |n: &Node| if to.ip().is_loopback() { n.host == sender.host } else { true };
        let from = sender.source_towards(to.ip());
        running().filter(|(_, n)| is_at(n) && is_reachable(n)).map(|(at, _)| (at, from)).collect()
    }

    pub(super) fn names(&self, node: usize) -> Vec<String> {
        let mut names: Vec<_> = self.nodes[node].discovery.peers().map(|(_, info)| info.name.clone()).collect();
        names.sort();
        names
    }

    /// Whether every running node knows every other, with nothing more.
    pub(super) fn is_complete(&self) -> bool {
        let running: Vec<usize> = (0..self.nodes.len()).filter(|n| self.nodes[*n].is_running).collect();
        running.iter().all(|node| {
            let mut others: Vec<_> = running.iter().filter(|n| *n != node).map(|n| format!("n{n}")).collect();
            others.sort();
            self.names(*node) == others
        })
    }
}

impl Node {
    fn source_towards(&self, to: IpAddr) -> SocketAddr {
        let near = self.interfaces.iter().find(|i| i.contains(to));
        near.or_else(|| self.interfaces.first()).and_then(|i| i.discovery).unwrap()
    }
}
