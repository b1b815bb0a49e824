//! How much may be under way, and how fast: one file, one algorithm.
//!
//! It models the path, along the lines of BBR (Cardwell et al., "BBR: Congestion-Based Congestion Control", ACM Queue
//! 2016; delivery rate as in draft-cheng-iccrg-delivery-rate-estimation): the highest delivery rate of the last ten
//! rounds and the shortest round trip of the last ten seconds tell how much the path holds. Loss alone does not slow it
//! down, since on radio links it means nothing. Loss while the round trip is long means a queue overflows, and that
//! does: so it yields to flows that share the queue.

use std::collections::VecDeque;
use std::time::Duration;

use glue_net::Instant;

/// The congestion controller of one path.
#[derive(Clone, Debug)]
pub(crate) struct Congestion {
    mode: Mode,
    datagram: u64,
    /// Bytes acknowledged in all, and when the last of them were.
    delivered: u64,
    delivered_at: Instant,
    /// When the packet was sent that was acknowledged last, or the first one after a pause.
    first_sent_at: Instant,
    /// The round is over when what was sent at its start is acknowledged.
    round_end: u64,
    round: u64,
    /// Highest delivery rates, in bytes per second, by round; falling.
    rates: VecDeque<(u64, u64)>,
    min_rtt: Option<(Duration, Instant)>,
    /// The best rate of startup, and for how many rounds it has not grown.
    best: (u64, u32),
    /// Bytes beyond which the path's queue overflowed.
    ceiling: Option<u64>,
    /// Whether the ceiling was lowered in this round.
    yielded: bool,
    cycle_at: Instant,
    next_at: Instant,
    /// What was sent before says nothing of the path as it is now.
    valid_from: Instant,
}

/// What a packet remembers of the moment it was sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stamp {
    pub(crate) sent_at: Instant,
    delivered: u64,
    delivered_at: Instant,
    first_sent_at: Instant,
    /// There was nothing more to send, so that a low rate says nothing of the path.
    idle: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// No network lies between: the receiver's socket buffer is the only limit.
    Local,
    /// The rate doubles each round until it no longer grows.
    Startup,
    /// Lets the queue that startup made run empty.
    Drain,
    /// Keeps the rate, and tries a little more now and then.
    Cruise { phase: u8 },
    /// Empties the queue to see the shortest round trip.
    ProbeRtt { until: Instant },
}

#[cfg(test)]
impl Stamp {
    pub(crate) const fn at(now: Instant) -> Self {
        Self { sent_at: now, delivered: 0, delivered_at: now, first_sent_at: now, idle: true }
    }
}

impl Congestion {
    pub(crate) const fn new(datagram_bytes: u64, is_local: bool) -> Self {
        Self {
            mode: if is_local { Mode::Local } else { Mode::Startup },
            datagram: datagram_bytes,
            delivered: 0,
            delivered_at: Instant::ZERO,
            first_sent_at: Instant::ZERO,
            round_end: 0,
            round: 0,
            rates: VecDeque::new(),
            min_rtt: None,
            best: (0, 0),
            ceiling: None,
            yielded: false,
            cycle_at: Instant::ZERO,
            next_at: Instant::ZERO,
            valid_from: Instant::ZERO,
        }
    }

    /// Forgets the path: it was silent for so long that it may be another one (RFC 9002, section 7.6).
    pub(crate) fn restart(&mut self, now: Instant) {
        self.move_to(now, self.datagram, self.mode == Mode::Local);
    }

    /// The packets go another way from now on.
    pub(crate) fn move_to(&mut self, now: Instant, datagram_bytes: u64, is_local: bool) {
        *self = Self { valid_from: now, ..Self::new(datagram_bytes, is_local) };
    }

    /// Datagrams have another length from now on.
    pub(crate) const fn set_datagram_bytes(&mut self, bytes: u64) {
        self.datagram = bytes;
    }

    /// Bytes that may be under way.
    pub(crate) fn window(&self) -> u64 {
        let least = MIN_PACKETS * self.datagram;
        let Some((rate, held)) = self.rate().zip(self.held()) else {
            return match self.mode {
                Mode::Local => u64::MAX,
                _ => INITIAL_PACKETS * self.datagram,
            };
        };
        let wanted = match self.mode {
            Mode::Local => return u64::MAX,
            Mode::ProbeRtt { .. } => held / 2,
            Mode::Startup => held.saturating_mul(3) + INITIAL_PACKETS * self.datagram,
            Mode::Drain | Mode::Cruise { .. } => held.saturating_mul(2) + bytes_in(rate, SLACK),
        };
        wanted.min(self.ceiling.unwrap_or(u64::MAX)).max(least)
    }

    /// When the next packet may be sent; long past if at once.
    pub(crate) const fn next_at(&self) -> Instant {
        self.next_at
    }

    /// A packet leaves. `under_way` is what was before it; `idle` that there is nothing more to send.
    pub(crate) fn handle_sent(&mut self, now: Instant, bytes: u64, under_way: u64, idle: bool) -> Stamp {
        if under_way == 0 {
            (self.first_sent_at, self.delivered_at) = (now, now);
        }
        if let Some(rate) = self.pacing_rate() {
            // What was not used while there was nothing to send is forgone, but for one burst.
            let gap = Duration::from_nanos(bytes.saturating_mul(1_000_000_000) / rate.max(1));
            self.next_at = self.next_at.max(now - BURST) + gap;
        }
        Stamp {
            sent_at: now,
            delivered: self.delivered,
            delivered_at: self.delivered_at,
            first_sent_at: self.first_sent_at,
            idle,
        }
    }

    /// Packets of `bytes` arrived, of which `newest` was sent last; its round trip was `rtt`.
    pub(crate) fn handle_acks(&mut self, now: Instant, bytes: u64, newest: &Stamp, rtt: Duration, under_way: u64) {
        self.delivered += bytes;
        self.delivered_at = now;
        self.first_sent_at = newest.sent_at;
        if self.mode == Mode::Local || bytes == 0 || newest.sent_at <= self.valid_from {
            return;
        }
        let new_round = newest.delivered >= self.round_end;
        if new_round {
            self.round += 1;
            self.round_end = self.delivered;
            self.yielded = false;
        }
        self.note_rate(now, newest);
        self.note_rtt(now, rtt);
        self.change_mode(now, new_round, under_way);
    }

    /// Packets were lost. The path is taken to be congested if the round trip shows a queue.
    pub(crate) fn handle_loss(&mut self, latest_rtt: Duration, under_way: u64) {
        let Some((min_rtt, _)) = self.min_rtt else { return };
        let is_queueing = latest_rtt > min_rtt * 5 / 4 + QUEUE_NOISE;
        if self.mode == Mode::Local || !is_queueing || self.yielded {
            return;
        }
        self.yielded = true;
        let before = under_way.max(self.held().unwrap_or(0));
        self.ceiling = Some((before * 7 / 10).max(MIN_PACKETS * self.datagram));
        if self.mode == Mode::Startup {
            self.mode = Mode::Drain;
        }
    }

    /// The best estimate of the path's rate, in bytes per second.
    fn rate(&self) -> Option<u64> {
        self.rates.front().map(|(_, rate)| *rate)
    }

    /// What the path holds when it is full and no queue stands.
    fn held(&self) -> Option<u64> {
        let (rate, (min_rtt, _)) = self.rate().zip(self.min_rtt)?;
        Some(bytes_in(rate, min_rtt))
    }

    fn pacing_rate(&self) -> Option<u64> {
        let (rate, (min_rtt, _)) = self.rate().zip(self.min_rtt)?;
        // The window's minimum must fit in a round trip.
        let least = per_second(MIN_PACKETS * self.datagram, min_rtt.max(SLACK));
        let wanted = match self.mode {
            Mode::Local => return None,
            Mode::Startup => rate * 289 / 100,
            Mode::Drain => rate * 35 / 100,
            Mode::Cruise { phase: 0 } => rate * 5 / 4,
            Mode::Cruise { phase: 1 } => rate * 3 / 4,
            Mode::Cruise { .. } | Mode::ProbeRtt { .. } => rate,
        };
        Some(wanted.max(least))
    }

    fn note_rate(&mut self, now: Instant, newest: &Stamp) {
        let sending = newest.sent_at.since(newest.first_sent_at);
        let arriving = now.since(newest.delivered_at);
        let rate = per_second(self.delivered.saturating_sub(newest.delivered), sending.max(arriving));
        if newest.idle && self.rate().is_some_and(|best| rate < best) {
            return;
        }
        while self.rates.back().is_some_and(|(_, old)| *old <= rate) {
            self.rates.pop_back();
        }
        self.rates.push_back((self.round, rate));
        while self.rates.len() > 1 && self.rates.front().is_some_and(|(round, _)| round + RATE_ROUNDS < self.round) {
            self.rates.pop_front();
        }
    }

    fn note_rtt(&mut self, now: Instant, rtt: Duration) {
        match self.min_rtt {
            Some((min, at)) if rtt > min && at + MIN_RTT_LIFE > now => {}
            Some((min, _)) if rtt > min && !matches!(self.mode, Mode::ProbeRtt { .. } | Mode::Startup) => {
                // The shortest round trip is old: look again with an empty queue.
                self.mode = Mode::ProbeRtt { until: now + PROBE_RTT_TIME };
                self.min_rtt = Some((min, now));
            }
            _ => self.min_rtt = Some((rtt, now)),
        }
    }

    fn change_mode(&mut self, now: Instant, new_round: bool, under_way: u64) {
        let held = self.held().unwrap_or(0);
        let is_full = new_round && self.mode == Mode::Startup && self.is_full();
        match self.mode {
            Mode::Startup if is_full => self.mode = Mode::Drain,
            Mode::Drain if under_way <= held => self.start_cruise(now, 2),
            Mode::ProbeRtt { until } if now >= until => self.start_cruise(now, 0),
            Mode::Cruise { phase }
                if now.since(self.cycle_at) > self.min_rtt.map_or(SLACK, |(rtt, _)| rtt.max(SLACK)) =>
            {
                self.start_cruise(now, (phase + 1) % 8);
                // What was given up to others is tried again, a little each round of the cycle.
                self.ceiling = self.ceiling.map(|ceiling| ceiling + (ceiling / 32).max(self.datagram));
                self.ceiling = self.ceiling.filter(|ceiling| *ceiling < held * 3);
            }
            _ => {}
        }
    }

    const fn start_cruise(&mut self, now: Instant, phase: u8) {
        (self.mode, self.cycle_at) = (Mode::Cruise { phase }, now);
    }

    /// Whether the rate has not grown by a quarter for three rounds.
    fn is_full(&mut self) -> bool {
        let rate = self.rate().unwrap_or(0);
        if rate >= self.best.0.saturating_mul(5) / 4 {
            self.best = (rate, 0);
        } else {
            self.best.1 += 1;
        }
        self.best.1 >= 3
    }
}

fn bytes_in(rate: u64, time: Duration) -> u64 {
    u64::try_from(u128::from(rate) * time.as_nanos() / 1_000_000_000).unwrap_or(u64::MAX)
}

fn per_second(bytes: u64, time: Duration) -> u64 {
    u64::try_from(u128::from(bytes) * 1_000_000_000 / time.as_nanos().max(1)).unwrap_or(u64::MAX)
}

/// Packets that may be under way before anything is known of the path.
const INITIAL_PACKETS: u64 = 32;
/// Packets that may always be under way, so that a loss is noticed by what follows it.
const MIN_PACKETS: u64 = 4;
/// Rounds for which a delivery rate counts.
const RATE_ROUNDS: u64 = 10;
/// For how long a shortest round trip counts.
const MIN_RTT_LIFE: Duration = Duration::from_secs(10);
/// For how long the queue is kept empty to see the shortest round trip.
const PROBE_RTT_TIME: Duration = Duration::from_millis(20);
/// What threads and batched acks add to a round trip on a LAN: a window without it would starve between two acks.
const SLACK: Duration = Duration::from_micros(500);
/// Round trips vary by this without any queue.
const QUEUE_NOISE: Duration = Duration::from_micros(500);
/// Sent at once, whatever the rate: timers are not finer than this.
const BURST: Duration = Duration::from_millis(2);
