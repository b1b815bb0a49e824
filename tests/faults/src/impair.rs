//! A switch that does to datagrams what bad networks do: pure, from a seed.
//!
//! It learns addresses as any switch does, so hosts keep theirs and multicast reaches all. Each pair of ports has an
//! [`Impairment`] for each direction. ARP and the rest pass unharmed, unless the pair is cut.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use glue_net::Rng;

use crate::frame::Udp;

/// What becomes of datagrams in one direction between two ports. Chances are from 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Impairment {
    /// The chance that a datagram is lost.
    pub loss: f64,
    /// The chance that it comes twice.
    pub duplicate: f64,
    /// The chance that one bit of its payload is flipped.
    pub corrupt: f64,
    /// The chance that its end is cut off.
    pub truncate: f64,
    /// The chance that it is held back, so that later ones overtake it.
    pub reorder: f64,
    /// Nanoseconds that each is under way.
    pub delay: u64,
    /// Nanoseconds more at most, at random: datagrams overtake each other.
    pub jitter: u64,
    /// Whether what is damaged gets a right checksum, so that it reaches the application and not only its kernel.
    pub mend: bool,
}

/// What a switch has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Frames that came in.
    pub received: u64,
    /// Frames that went out.
    pub sent: u64,
    /// Datagrams that were lost by chance.
    pub lost: u64,
    /// Frames that a cut stopped.
    pub cut: u64,
    /// Datagrams that were sent twice.
    pub duplicated: u64,
    /// Datagrams with a flipped bit.
    pub corrupted: u64,
    /// Datagrams without their end.
    pub truncated: u64,
    /// Datagrams that were held back.
    pub reordered: u64,
    /// Frames for which there was no room.
    pub overflowed: u64,
}

/// The switch.
#[derive(Debug)]
pub struct Switch {
    links: Vec<Vec<Link>>,
    table: BTreeMap<[u8; 6], usize>,
    queue: BinaryHeap<Reverse<Waiting>>,
    serial: u64,
    rng: Rng,
    counts: Counts,
}

#[derive(Clone, Copy, Debug, Default)]
struct Link {
    impairment: Impairment,
    is_cut: bool,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Waiting {
    due: u64,
    serial: u64,
    port: usize,
    frame: Vec<u8>,
}

impl Switch {
    /// A switch with so many ports and perfect links.
    #[must_use]
    pub fn new(ports: usize, seed: u64) -> Self {
        Self {
            links: vec![vec![Link::default(); ports]; ports],
            table: BTreeMap::new(),
            queue: BinaryHeap::new(),
            serial: 0,
            rng: Rng::new(seed),
            counts: Counts::default(),
        }
    }

    /// How many ports there are.
    #[must_use]
    pub const fn ports(&self) -> usize {
        self.links.len()
    }

    /// What it has done.
    #[must_use]
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// Sets what becomes of datagrams from one port to another.
    pub fn impair(&mut self, from: usize, to: usize, impairment: Impairment) {
        if let Some(link) = self.link(from, to) {
            link.impairment = impairment;
        }
    }

    /// Lets nothing pass from one port to another, or everything again.
    pub fn cut(&mut self, from: usize, to: usize, is_cut: bool) {
        if let Some(link) = self.link(from, to) {
            link.is_cut = is_cut;
        }
    }

    fn link(&mut self, from: usize, to: usize) -> Option<&mut Link> {
        self.links.get_mut(from)?.get_mut(to)
    }

    /// Takes in a frame that came from a port at `now`.
    pub fn handle_frame(&mut self, now: u64, from: usize, frame: &[u8]) {
        self.counts.received += 1;
        let (Some(target), Some(sender)) = (address(frame, 0), address(frame, 6)) else { return };
        self.table.insert(sender, from);
        if self.table.len() > MAX_ADDRESSES {
            self.table.clear();
        }
        let is_group = target.first().is_some_and(|byte| byte & 1 == 1);
        let known = self.table.get(&target).copied().filter(|_| !is_group);
        for to in 0..self.ports() {
            if to != from && known.is_none_or(|port| port == to) {
                self.pass(now, from, to, frame.to_vec());
            }
        }
    }

    /// The next frame that is due at `now`, and its port.
    #[must_use]
    pub fn poll_frame(&mut self, now: u64) -> Option<(usize, Vec<u8>)> {
        self.queue.peek().filter(|Reverse(first)| first.due <= now)?;
        let Reverse(Waiting { port, frame, .. }) = self.queue.pop()?;
        self.counts.sent += 1;
        Some((port, frame))
    }

    /// When the next frame is due.
    #[must_use]
    pub fn poll_due(&self) -> Option<u64> {
        self.queue.peek().map(|Reverse(first)| first.due)
    }

    fn pass(&mut self, now: u64, from: usize, to: usize, mut frame: Vec<u8>) {
        let Some(&mut Link { impairment, is_cut }) = self.link(from, to) else { return };
        if is_cut {
            self.counts.cut += 1;
            return;
        }
        let Some(udp) = Udp::find(&frame) else {
            self.queue(now, to, frame);
            return;
        };
        if self.rng.chance(impairment.loss) {
            self.counts.lost += 1;
            return;
        }
        udp.finish(&mut frame);
        let copies = if self.rng.chance(impairment.duplicate) { 2 } else { 1 };
        self.counts.duplicated += copies - 1;
        for _ in 0..copies {
            let damaged = self.damage(udp, impairment, frame.clone());
            let due = now + self.time_under_way(impairment);
            self.queue(due, to, damaged);
        }
    }

    fn damage(&mut self, udp: Udp, impairment: Impairment, mut frame: Vec<u8>) -> Vec<u8> {
        let mut udp = udp;
        let (corrupt, truncate) = (self.rng.chance(impairment.corrupt), self.rng.chance(impairment.truncate));
        if udp.payload_len() == 0 || !(corrupt || truncate) {
            return frame;
        }
        if corrupt {
            udp.flip(&mut frame, &mut self.rng);
            self.counts.corrupted += 1;
        }
        if truncate {
            udp = udp.cut(&mut frame, &mut self.rng);
            self.counts.truncated += 1;
        }
        if impairment.mend {
            udp.finish(&mut frame);
        }
        frame
    }

    fn time_under_way(&mut self, impairment: Impairment) -> u64 {
        let mut time = impairment.delay + self.rng.below(impairment.jitter + 1);
        if self.rng.chance(impairment.reorder) {
            self.counts.reordered += 1;
            time += HELD_BACK + self.rng.below(HELD_BACK);
        }
        time
    }

    fn queue(&mut self, due: u64, port: usize, frame: Vec<u8>) {
        if self.queue.len() >= MAX_WAITING {
            self.counts.overflowed += 1;
            return;
        }
        self.serial += 1;
        self.queue.push(Reverse(Waiting { due, serial: self.serial, port, frame }));
    }
}

fn address(frame: &[u8], at: usize) -> Option<[u8; 6]> {
    frame.get(at..at + 6)?.try_into().ok()
}

/// A datagram that is held back comes after those of the next 5 to 10 ms: many, where a burst takes less than one.
const HELD_BACK: u64 = 5_000_000;
/// 64 MiB of full frames; more means that who sends does not look at what is lost.
const MAX_WAITING: usize = 44_000;
/// A laboratory has a handful.
const MAX_ADDRESSES: usize = 1_024;

#[cfg(test)]
mod tests;
