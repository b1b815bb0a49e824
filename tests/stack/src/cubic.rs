//! A TCP flow with CUBIC (RFC 9438), as far as a bottleneck sees it.
//!
//! Slow start, the cubic window with its Reno-friendly region, fast convergence, one reduction per round of losses with
//! selective acks, a retransmission timeout. It has data without end, so what it sends after a loss is just its next
//! packet, and every packet that arrives counts. It does not pace: acks clock it, one for every other packet, as in Linux
//! without `fq`. Its acks must not be lost.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use glue_net::{Instant, Transmit, Via};

/// Bytes of a data packet: an Ethernet frame's worth.
pub const PACKET_BYTES: usize = 1_472;

/// The sender.
#[derive(Debug)]
pub struct Sender {
    to: SocketAddr,
    start: Instant,
    next: u64,
    /// What is under way, and when it was sent.
    flight: BTreeMap<u64, Instant>,
    highest_acked: u64,
    /// Losses of packets before this one belong to a reduction that was made.
    recovery: u64,
    /// In packets, as all windows here.
    window: f64,
    threshold: f64,
    most: f64,
    reno: f64,
    epoch: Option<(Instant, f64)>,
    rtt: Option<Duration>,
    heard_at: Instant,
    /// Packets that counted as lost.
    pub lost: u64,
    /// Times that the window was reduced.
    pub reductions: u64,
}

impl Sender {
    /// Sends to `to` from `start` on.
    #[must_use]
    pub const fn new(to: SocketAddr, start: Instant) -> Self {
        Self {
            to,
            start,
            next: 1,
            flight: BTreeMap::new(),
            highest_acked: 0,
            recovery: 0,
            window: 10.0,
            threshold: f64::INFINITY,
            most: 0.0,
            reno: 0.0,
            epoch: None,
            rtt: None,
            heard_at: start,
            lost: 0,
            reductions: 0,
        }
    }

    /// The smoothed round trip.
    #[must_use]
    pub fn rtt(&self) -> Duration {
        self.rtt.unwrap_or_default()
    }

    /// Takes an ack: the numbers of the packets that arrived since the last one.
    pub(crate) fn handle_datagram(&mut self, now: Instant, datagram: &Bytes) {
        self.heard_at = now;
        for number in datagram.chunks_exact(8) {
            let number = u64::from_be_bytes(number.try_into().expect("eight bytes"));
            let Some(sent_at) = self.flight.remove(&number) else { continue };
            if number > self.highest_acked {
                self.highest_acked = number;
                let rtt = now.since(sent_at);
                self.rtt = Some(self.rtt.map_or(rtt, |old| old * 7 / 8 + rtt / 8));
            }
            if number >= self.recovery {
                self.grow(now);
            }
        }
        while let Some((number, _)) = self.flight.first_key_value().filter(|(n, _)| **n + 3 <= self.highest_acked) {
            let number = *number;
            self.lose(number);
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.timeout_at().is_some_and(|at| at <= now) {
            self.flight.clear();
            self.reduce();
            (self.window, self.recovery, self.heard_at) = (1.0, self.next, now);
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        if self.next == 1 { Some(self.start) } else { self.timeout_at() }
    }

    pub(crate) fn poll_transmit(&mut self, now: Instant, out: &mut Vec<u8>) -> Option<Transmit> {
        if now < self.start || self.flight.len() as f64 >= self.window.floor() {
            return None;
        }
        if self.flight.is_empty() {
            self.heard_at = now;
        }
        out.extend_from_slice(&self.next.to_be_bytes());
        out.resize(out.len() + PACKET_BYTES - 8, 0);
        self.flight.insert(self.next, now);
        self.next += 1;
        Some(Transmit { to: self.to, len: PACKET_BYTES, via: Via::Data })
    }

    fn timeout_at(&self) -> Option<Instant> {
        let wait = self.rtt.map_or(Duration::from_secs(1), |rtt| (rtt * 2).max(LEAST_TIMEOUT));
        (!self.flight.is_empty()).then_some(self.heard_at + wait)
    }

    /// One packet arrived outside of a recovery.
    fn grow(&mut self, now: Instant) {
        if self.window < self.threshold {
            self.window += 1.0;
            return;
        }
        let (start, k) = *self.epoch.get_or_insert_with(|| {
            self.reno = self.window;
            self.most = self.most.max(self.window);
            (now, ((self.most - self.window) / C).cbrt())
        });
        let after = (now.since(start) + self.rtt.unwrap_or_default()).as_secs_f64() - k;
        let target = (C * after.powi(3) + self.most).clamp(self.window, 1.5 * self.window);
        // The factor makes a Reno flow of the same loss rate; above the last maximum it is Reno itself.
        let alpha = if self.reno < self.most { 3.0 * (1.0 - BETA) / (1.0 + BETA) } else { 1.0 };
        self.reno += alpha / self.window;
        self.window += (target - self.window) / self.window;
        self.window = self.window.max(self.reno);
    }

    fn lose(&mut self, number: u64) {
        self.flight.remove(&number);
        self.lost += 1;
        if number >= self.recovery {
            self.reduce();
            self.recovery = self.next;
        }
    }

    fn reduce(&mut self) {
        self.reductions += 1;
        self.most = if self.window < self.most { self.window * (1.0 + BETA) / 2.0 } else { self.window };
        self.threshold = (self.window * BETA).max(2.0);
        (self.window, self.epoch) = (self.threshold, None);
    }
}

/// The receiver: acknowledges every other packet, and what is out of order at once.
#[derive(Debug, Default)]
pub struct Receiver {
    from: Option<SocketAddr>,
    expected: u64,
    unacked: Vec<u64>,
    ack_at: Option<Instant>,
    /// Bytes that arrived.
    pub bytes: u64,
}

impl Receiver {
    pub(crate) fn handle_datagram(&mut self, now: Instant, from: SocketAddr, datagram: &Bytes) {
        let Some(number) = datagram.first_chunk() else { return };
        let number = u64::from_be_bytes(*number);
        self.from = Some(from);
        self.bytes += datagram.len() as u64;
        self.unacked.push(number);
        let at = if self.unacked.len() >= 2 || number != self.expected { now } else { now + DELAYED_ACK };
        self.ack_at = Some(self.ack_at.map_or(at, |due| due.min(at)));
        self.expected = number + 1;
    }

    pub(crate) const fn poll_timeout(&self) -> Option<Instant> {
        self.ack_at
    }

    pub(crate) fn poll_transmit(&mut self, now: Instant, out: &mut Vec<u8>) -> Option<Transmit> {
        let to = self.from?;
        self.ack_at.take_if(|at| *at <= now)?;
        let len = self.unacked.len() * 8;
        self.unacked.drain(..).for_each(|number| out.extend_from_slice(&number.to_be_bytes()));
        Some(Transmit { to, len, via: Via::Data })
    }
}

/// What a reduction leaves of the window.
const BETA: f64 = 0.7;
/// How fast the cubic window grows.
const C: f64 = 0.4;
/// As Linux has it.
const LEAST_TIMEOUT: Duration = Duration::from_millis(200);
const DELAYED_ACK: Duration = Duration::from_millis(40);
