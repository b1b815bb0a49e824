//! A node that does what it is told, and tells all that happens to it.

#![expect(dead_code, reason = "each test binary uses a part")]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use glue_net::{Chain, Instant, Node, Transmit, Via};
use glue_sim::{Context, DISCOVERY_GROUP, Host, INTERFACE, NodeId, World};

pub(crate) struct Toy {
    pub(crate) context: Context,
    letters: VecDeque<(SocketAddr, Bytes, Via)>,
    wake_at: Option<Instant>,
    told: VecDeque<Told>,
    fault: Option<Fault>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Ask {
    Send(SocketAddr, Bytes, Via),
    /// By its own clock.
    WakeAt(Instant),
    Misbehave(Fault),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    SendWithoutEnd,
    TellWithoutEnd,
    Overstate,
    TimerStorm,
    SlowTimerStorm,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Told {
    Asked,
    Got(SocketAddr, Bytes),
    /// What its clock showed.
    Woke(Instant),
}

impl Node for Toy {
    type Command = Ask;
    type Event = Told;

    fn handle_command(&mut self, _: Instant, ask: Ask) {
        self.told.push_back(Told::Asked);
        match ask {
            Ask::Send(to, letter, via) => self.letters.push_back((to, letter, via)),
            Ask::WakeAt(at) => self.wake_at = Some(at),
            Ask::Misbehave(fault) => self.fault = Some(fault),
        }
    }

    fn handle_datagram(&mut self, _: Instant, from: SocketAddr, datagram: Bytes) {
        self.told.push_back(Told::Got(from, datagram));
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.fault == Some(Fault::SlowTimerStorm) {
            self.wake_at = Some(now + Duration::from_nanos(1));
        } else if self.fault != Some(Fault::TimerStorm) && self.wake_at.take_if(|at| *at <= now).is_some() {
            self.told.push_back(Told::Woke(now));
        }
    }

    fn poll_transmit(&mut self, _: Instant, out: &mut Chain) -> Option<Transmit> {
        if self.fault == Some(Fault::SendWithoutEnd) {
            return Some(Transmit { to: self.context.data, len: 0, via: Via::Data });
        }
        let (to, letter, via) = self.letters.pop_front()?;
        out.put(&letter);
        let len = letter.len() + usize::from(self.fault == Some(Fault::Overstate));
        Some(Transmit { to, len, via })
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.wake_at
    }

    fn poll_event(&mut self) -> Option<Told> {
        if self.fault == Some(Fault::TellWithoutEnd) {
            return Some(Told::Asked);
        }
        self.told.pop_front()
    }
}

impl Toy {
    /// A call of its application that is no command.
    pub(crate) fn post(&mut self, _: Instant, to: SocketAddr) {
        self.letters.push_back((to, letter(0), Via::Data));
    }
}

pub(crate) fn toy(context: Context) -> Toy {
    Toy { context, letters: VecDeque::new(), wake_at: None, told: VecDeque::new(), fault: None }
}

/// A world of default hosts.
pub(crate) fn world<const COUNT: usize>(seed: u64) -> (World<Toy>, [NodeId; COUNT]) {
    let mut world = World::new(seed);
    let nodes = [(); COUNT].map(|()| world.add_node(Host::default(), toy));
    (world, nodes)
}

pub(crate) fn send(world: &mut World<Toy>, sender: NodeId, to: SocketAddr, letter: impl Into<Bytes>) {
    world.command(sender, Ask::Send(to, letter.into(), Via::Data));
}

pub(crate) fn multicast(world: &mut World<Toy>, sender: NodeId, letter: &'static [u8]) {
    let via = Via::Multicast { interface: INTERFACE };
    world.command(sender, Ask::Send(DISCOVERY_GROUP, Bytes::from_static(letter), via));
}

/// What a node received since it was last asked: when, from whom, what.
pub(crate) fn received(world: &mut World<Toy>, node: NodeId) -> Vec<(Instant, SocketAddr, Bytes)> {
    let got = |(at, told)| match told {
        Told::Got(from, letter) => Some((at, from, letter)),
        Told::Asked | Told::Woke(_) => None,
    };
    world.take_events(node).into_iter().filter_map(got).collect()
}

/// A letter that carries its number.
pub(crate) fn letter(number: u32) -> Bytes {
    Bytes::copy_from_slice(&number.to_be_bytes())
}

/// The numbers of letters.
pub(crate) fn numbers(received: &[(Instant, SocketAddr, Bytes)]) -> Vec<u32> {
    received.iter().filter_map(|(.., letter)| Some(u32::from_be_bytes(*letter.first_chunk()?))).collect()
}

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) const fn us(micros: u64) -> Duration {
    Duration::from_micros(micros)
}

/// Milliseconds since the start of the world.
pub(crate) const fn at_ms(millis: u64) -> Instant {
    Instant::from_nanos(millis * 1_000_000)
}
