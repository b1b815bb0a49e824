//! How much may be under way, and how fast: one file, one algorithm.
//!
//! It is CUBIC (RFC 9438), paced, with a model of the path beside it: the shortest round trip, and the rate at which
//! packets are settled. The model decides what CUBIC can not know.
//!
//! - **Is a loss congestion?** Only if round trips show a queue, since a drop-tail queue overflows when it is full. On
//!   radio links loss alone means nothing (as in Veno: Fu and Liew, "TCP Veno", IEEE JSAC 2003).
//! - **How far to give way?** By CUBIC's factor, but not below what fills the path without a queue (as in Westwood:
//!   Casetti et al., "TCP Westwood", MobiCom 2001).
//! - **Whose is the queue?** When one stands, the window shrinks for two rounds to what the path holds. If the queue is
//!   gone then, it was ours and stays away; else others fill it, and the window comes back, or they would take all (the
//!   question that Copa asks: Arun and Balakrishnan, NSDI 2018).
//!
//! So a flow that is alone keeps the queue short, and one beside TCP is TCP.

use std::num::NonZeroU64;
use std::time::Duration;

use glue_net::Instant;

/// The congestion controller of one path.
#[derive(Clone, Debug)]
pub(crate) struct Congestion {
    mode: Mode,
    datagram: u64,
    /// Bytes acknowledged in all.
    delivered: u64,
    window: u64,
    cubic: Cubic,
    round: Round,
    path: Path,
    /// Rounds in a row with a queue, and after how many of them to ask whose it is.
    standing: u32,
    patience: u32,
    /// Bytes per second when it had the path for itself, and how many reductions may pass until it has a third of them
    /// beside others.
    alone: (u64, u32),
    /// Losses of packets that were sent before belong to a reduction that was made.
    reduced_at: Instant,
    /// The most bytes that arrived in a round of startup, and for how many rounds it has not grown.
    best: (u64, u32),
    /// What the last reduction can be undone to, and how many of its losses are still believed.
    undo: Option<(u64, Cubic, u32)>,
    /// Bytes per second, once a round trip is known.
    pace: Option<NonZeroU64>,
    next_at: Instant,
    /// Bytes sent that the pace does not show yet.
    unpaced: u64,
    /// Bytes that may leave at once, as at the beginning, since nothing was under way (RFC 9002, section 7.7).
    free: u64,
    acked_at: Instant,
    /// What was sent before says nothing of the path as it is now.
    valid_from: Instant,
}

/// What a packet remembers of the moment it was sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stamp {
    pub(crate) sent_at: Instant,
    delivered: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// No network lies between: the receiver's socket buffer is the only limit.
    Local,
    /// The window doubles each round, until a queue shows.
    Startup,
    /// It grows by a quarter each round, for some rounds or until a loss: the queue may be of others, whose sharers start
    /// as high (RFC 9406).
    Doubt { rounds: u32 },
    /// CUBIC.
    Steady,
    /// It had the path alone and kept the queue short, so others that fill it have more than a fair share: catches up.
    Chase,
    /// The window is small for some rounds, to see whose queue it is; it was `window` before.
    Asking { window: u64, rounds: u32 },
}

/// CUBIC's state between two reductions.
#[derive(Clone, Copy, Debug, Default)]
struct Cubic {
    /// The window before the reduction, in bytes.
    peak: u64,
    /// How long after it the window is there again, in milliseconds.
    k: i64,
    /// Time since then in which the window was used.
    age: Duration,
    /// What Reno's window would be, in 1/1024 of bytes: one ack adds less than a byte.
    reno: u64,
}

/// One round: from a packet's sending to its ack.
#[derive(Clone, Copy, Debug)]
struct Round {
    /// It is over when what is sent after this many bytes were delivered is acknowledged.
    end: u64,
    /// `None`: the window was not in use before it.
    since: Option<Instant>,
    /// Bytes acknowledged or lost in it, and bytes lost.
    settled: u64,
    lost: u64,
    /// Whether the window was used up.
    is_full: bool,
    min_rtt: Duration,
}

/// What is known of the path.
#[derive(Clone, Copy, Debug)]
struct Path {
    min_rtt: Duration,
    min_at: Instant,
    /// The shortest since half of its life is over.
    next_min: Duration,
    smoothed: Duration,
    /// The shortest of late: falls at once, and rises by an eighth with each sample. So jitter alone does not raise it.
    low: Duration,
    /// The longest that `low` was of late.
    peak: Duration,
    /// Bytes per second that the path took in the last two full rounds.
    rates: [u64; 2],
    /// Share of bytes that is usually lost, of [`WHOLE`].
    loss: u64,
}

#[cfg(test)]
impl Stamp {
    pub(crate) const fn at(now: Instant) -> Self {
        Self { sent_at: now, delivered: 0 }
    }
}

impl Congestion {
    pub(crate) const fn new(datagram_bytes: u64, is_local: bool) -> Self {
        Self {
            mode: if is_local { Mode::Local } else { Mode::Startup },
            datagram: datagram_bytes,
            delivered: 0,
            window: INITIAL_PACKETS * datagram_bytes,
            cubic: Cubic { peak: 0, k: 0, age: Duration::ZERO, reno: 0 },
            round: Round::new(0, None),
            path: Path::UNKNOWN,
            standing: 0,
            patience: LEAST_PATIENCE,
            alone: (0, 0),
            reduced_at: Instant::ZERO,
            best: (0, 0),
            undo: None,
            pace: None,
            next_at: Instant::ZERO,
            unpaced: 0,
            free: 0,
            acked_at: Instant::ZERO,
            valid_from: Instant::ZERO,
        }
    }

    /// Persistent congestion: the path was silent for so long that it may be another one. It begins anew, with the least
    /// window (RFC 9002, section 7.6).
    pub(crate) fn restart(&mut self, now: Instant) {
        self.move_to(now, self.datagram, self.mode == Mode::Local);
        self.window = self.least();
    }

    /// The packets go another way from now on.
    pub(crate) fn move_to(&mut self, now: Instant, datagram_bytes: u64, is_local: bool) {
        *self = Self { valid_from: now, ..Self::new(datagram_bytes, is_local) };
    }

    /// Datagrams have another length from now on.
    pub(crate) const fn set_datagram_bytes(&mut self, bytes: u64) {
        self.datagram = bytes;
    }

    /// After how many bytes the sender asks for an ack. An ack costs about what a datagram costs, and lets go a burst that is
    /// as long as what it covers.
    pub(crate) fn ack_bytes(&self) -> u64 {
        if self.mode == Mode::Local { u64::MAX } else { (self.window / 16).min(8 * self.datagram) }
    }

    /// Bytes that may be under way.
    pub(crate) const fn window(&self) -> u64 {
        if matches!(self.mode, Mode::Local) { u64::MAX } else { self.window }
    }

    /// When the next packet may be sent; long past if at once.
    pub(crate) const fn next_at(&self) -> Instant {
        self.next_at
    }

    /// A packet leaves; `under_way` is what was before it.
    pub(crate) fn handle_sent(&mut self, now: Instant, bytes: u64, under_way: u64) -> Stamp {
        if let Some(pace) = self.pace {
            if under_way == 0 {
                // A round in which nothing was under way for a while tells no rate.
                self.round = Round::new(self.delivered, None);
                self.free = INITIAL_PACKETS * self.datagram;
                self.best = (0, 0);
            }
            self.unpaced += bytes.saturating_sub(self.free);
            self.free = self.free.saturating_sub(bytes);
            if self.unpaced + self.datagram / 2 >= QUANTUM_PACKETS * self.datagram {
                // What was not used while there was nothing to send is forgone, but for one burst.
                let time = Duration::from_nanos(std::mem::take(&mut self.unpaced) * NANOS / pace);
                self.next_at = self.next_at.max(now - BURST) + time;
            }
        }
        Stamp { sent_at: now, delivered: self.delivered }
    }

    /// Packets of `bytes` arrived, of which `newest` was sent last; its round trip was `rtt`. `under_way` is what is left.
    pub(crate) fn handle_acks(&mut self, now: Instant, bytes: u64, newest: &Stamp, rtt: Duration, under_way: u64) {
        self.delivered += bytes;
        if self.mode == Mode::Local || bytes == 0 || newest.sent_at <= self.valid_from {
            return;
        }
        self.path.note_rtt(now, rtt);
        self.round.min_rtt = self.round.min_rtt.min(rtt);
        self.round.settled += bytes;
        // A window that is not used says nothing of the path (RFC 9002, section 7.8); half of one does while it doubles.
        let used = under_way + bytes + 2 * self.datagram;
        let is_full = used >= self.window / 8 * 7;
        let may_grow = is_full || (self.mode == Mode::Startup && used * 2 >= self.window);
        self.round.is_full |= is_full;
        if newest.delivered >= self.round.end {
            self.end_round(now);
        }
        if may_grow {
            self.grow(bytes, now.since(self.acked_at).min(self.path.smoothed));
        }
        self.acked_at = now;
        self.set_pace();
    }

    /// Packets of `bytes` were lost, the last of which was sent at `sent_at`.
    pub(crate) fn handle_loss(&mut self, now: Instant, bytes: u64, count: u32, sent_at: Instant) {
        if self.mode == Mode::Local || sent_at <= self.valid_from {
            return;
        }
        self.round.settled += bytes;
        self.round.lost += bytes;
        if sent_at <= self.reduced_at {
            if let Some((.., believed)) = &mut self.undo {
                *believed += count;
            }
        } else if self.path.is_full_queue() && (!self.is_starting() || self.is_sudden(&self.round)) {
            self.reduce(now, count);
        }
    }

    /// A packet that counted as lost, and was sent at `sent_at`, has arrived. When that is true of all that made a
    /// reduction, it is undone (RFC 9438, section 4.9).
    pub(crate) fn handle_spurious_loss(&mut self, sent_at: Instant) {
        if sent_at > self.reduced_at {
            return;
        }
        let Some((window, cubic, believed)) = &mut self.undo else { return };
        *believed = believed.saturating_sub(1);
        if *believed == 0 {
            (self.window, self.cubic) = (self.window.max(*window), *cubic);
            (self.mode, self.undo) = (Mode::Steady, None);
        }
    }

    const fn least(&self) -> u64 {
        MIN_PACKETS * self.datagram
    }

    /// What the path holds when it is full and no queue stands; `None`: it never was full.
    fn pipe(&self) -> Option<u64> {
        let rate = self.path.rate();
        (rate > 0).then(|| bytes_in(rate, self.path.min_rtt).max(self.least()))
    }

    /// Whether it does not know yet how much the path holds, and makes queues of its own in each round.
    const fn is_starting(&self) -> bool {
        matches!(self.mode, Mode::Startup | Mode::Doubt { .. })
    }

    /// Whether far more was lost than usual: that is an overflow, even of a queue too short to be seen.
    fn is_sudden(&self, round: &Round) -> bool {
        round.lost >= SUDDEN_PACKETS * self.datagram
            && round.share() > self.path.loss.saturating_mul(2).saturating_add(WHOLE / 8)
    }

    fn end_round(&mut self, now: Instant) {
        let round = std::mem::replace(&mut self.round, Round::new(self.delivered, Some(now)));
        let Some(since) = round.since else { return };
        self.path.note_round(now.since(since), &round);
        if since > self.reduced_at {
            self.note_share(now, &round);
        }
        let is_queue = round.is_full && self.path.is_queue(round.min_rtt);
        self.standing = if is_queue { self.standing + 1 } else { 0 };
        let has_stopped = self.mode == Mode::Startup && round.is_full && self.has_stopped_growing(&round);
        match self.mode {
            Mode::Steady if self.standing >= self.patience => self.ask(),
            Mode::Startup if has_stopped => {
                self.window = self.pipe().map_or(self.window, |pipe| self.window.min(2 * pipe));
                (self.mode, self.cubic) = (Mode::Steady, Cubic::at(self.window));
            }
            Mode::Doubt { rounds: DOUBT_ROUNDS } => {
                self.cubic = Cubic::at(self.window);
                self.ask();
            }
            Mode::Doubt { rounds } if round.is_full => self.mode = Mode::Doubt { rounds: rounds + 1 },
            Mode::Chase if self.path.rate() > self.alone.0 / 3 => {
                self.mode = Mode::Steady;
                if self.window > self.cubic.peak {
                    self.cubic = Cubic::at(self.window);
                }
            }
            // In the first round the queue drains.
            Mode::Asking { window, rounds: 0 } => self.mode = Mode::Asking { window, rounds: 1 },
            Mode::Asking { window, .. } => self.answer(window, round.min_rtt),
            _ => {}
        }
    }

    /// Whether no more arrives than three rounds ago, though the window has grown.
    fn has_stopped_growing(&mut self, round: &Round) -> bool {
        let arrived = round.settled - round.lost;
        self.best = if arrived > self.best.0 / 4 * 5 { (arrived, 0) } else { (self.best.0, self.best.1 + 1) };
        self.best.1 >= 3
    }

    /// Gives way to an overflow that only its losses show.
    fn note_share(&mut self, now: Instant, round: &Round) {
        if self.is_sudden(round) {
            // What did not come of ourselves is usual soon.
            self.path.loss += (round.share() - self.path.loss) / 8;
            if self.is_starting() {
                self.window = self.pipe().map_or(self.window, |pipe| pipe.min(self.window));
            }
            self.reduce(now, 0);
        }
    }

    /// Whose is the queue?
    fn ask(&mut self) {
        self.mode = Mode::Asking { window: self.window, rounds: 0 };
        self.window = self.pipe().map_or(self.window, |pipe| pipe.min(self.window));
    }

    fn answer(&mut self, window: u64, rtt: Duration) {
        let is_ours = rtt <= self.path.min_rtt + (self.path.min_rtt / 16).max(NOISE / 4);
        (self.mode, self.standing) = (Mode::Steady, 0);
        if is_ours {
            self.patience = LEAST_PATIENCE;
            self.alone = (self.path.rate(), MOST_CHASES);
            self.cubic = Cubic::below(window, self.window, self.datagram);
        } else {
            self.patience = (self.patience * 2).min(MOST_PATIENCE);
            self.window = window;
            if self.alone.1 > 0 {
                self.mode = Mode::Chase;
            }
        }
    }

    /// `bytes` of a full window arrived, `time` after the last.
    fn grow(&mut self, bytes: u64, time: Duration) {
        match self.mode {
            Mode::Startup if self.path.is_queue(self.path.low) => self.mode = Mode::Doubt { rounds: 0 },
            Mode::Startup => self.window += bytes,
            Mode::Doubt { .. } => self.window += bytes / 4,
            Mode::Chase => self.window += bytes / 8,
            Mode::Steady => {
                self.cubic.age += time;
                let target = self.cubic.target(self.path.smoothed, self.datagram).min(self.window / 2 * 3);
                self.window += target.saturating_sub(self.window) * bytes / self.window;
                self.window = self.window.max(self.cubic.reno(bytes, self.window, self.datagram));
            }
            Mode::Asking { .. } | Mode::Local => {}
        }
    }

    fn reduce(&mut self, now: Instant, losses: u32) {
        let before = if let Mode::Asking { window, .. } = self.mode { window } else { self.window };
        self.undo = (losses > 0).then_some((before, self.cubic, losses));
        let least = (before / 20 * 17).min(self.pipe().unwrap_or(0));
        let after = (before / 10 * 7).max(least).max(self.least());
        // Who has less than before leaves room to others (RFC 9438, section 4.7).
        let peak = if before < self.cubic.peak { before / 20 * 17 } else { before };
        self.cubic = Cubic::below(peak, after, self.datagram);
        self.reduced_at = now;
        self.alone.1 = self.alone.1.saturating_sub(u32::from(self.mode == Mode::Chase));
        match &mut self.mode {
            Mode::Asking { window, .. } => *window = after,
            Mode::Chase if self.alone.1 > 0 => self.window = after,
            _ => (self.window, self.mode) = (after, Mode::Steady),
        }
    }

    fn set_pace(&mut self) {
        let gain = if matches!(self.mode, Mode::Startup) { 8 } else { 5 };
        let rtt = u64::try_from(self.path.smoothed.as_nanos()).unwrap_or(u64::MAX).max(1);
        self.pace = NonZeroU64::new(self.window.saturating_mul(NANOS) / rtt * gain / 4);
    }
}

impl Cubic {
    /// Starts at `window`, without a memory of more.
    const fn at(window: u64) -> Self {
        Self { peak: window, k: 0, age: Duration::ZERO, reno: window * 1024 }
    }

    /// Starts at `window`, on the way back to `peak`.
    fn below(peak: u64, window: u64, datagram: u64) -> Self {
        // K is the cube root of the packets to go over C, in seconds; C is 0.4.
        let k = cube_root(peak.saturating_sub(window).saturating_mul(2_500_000_000) / datagram);
        Self { k, peak: peak.max(window), ..Self::at(window) }
    }

    /// What the window should be a round trip from now (RFC 9438, section 4.2).
    fn target(&self, rtt: Duration, datagram: u64) -> u64 {
        let millis = i64::try_from((self.age + rtt).as_millis()).unwrap_or(i64::MAX);
        // Within these bounds nothing overflows.
        let away = millis.saturating_sub(self.k).clamp(-200_000, 200_000);
        let gained = away.pow(3) / 10_000 * (4 * datagram.min(1 << 16)).cast_signed() / 1_000_000;
        self.peak.saturating_add_signed(gained)
    }

    /// What Reno would have (RFC 9438, section 4.3).
    fn reno(&mut self, bytes: u64, window: u64, datagram: u64) -> u64 {
        let added = 1024 * bytes * datagram / window;
        self.reno += if self.reno / 1024 < self.peak { added * 9 / 17 } else { added };
        self.reno / 1024
    }
}

impl Round {
    const fn new(end: u64, since: Option<Instant>) -> Self {
        Self { end, since, settled: 0, lost: 0, is_full: false, min_rtt: Duration::MAX }
    }

    /// What was lost, of [`WHOLE`].
    fn share(&self) -> u64 {
        self.lost * WHOLE / self.settled.max(1)
    }
}

impl Path {
    const UNKNOWN: Self = Self {
        min_rtt: Duration::MAX,
        min_at: Instant::ZERO,
        next_min: Duration::MAX,
        smoothed: Duration::ZERO,
        low: Duration::MAX,
        peak: Duration::ZERO,
        rates: [0; 2],
        loss: UNKNOWN,
    };

    fn note_rtt(&mut self, now: Instant, rtt: Duration) {
        self.low = if rtt > self.low { self.low + (rtt - self.low) / 8 } else { rtt };
        self.peak = self.peak.max(self.low);
        self.smoothed = if self.smoothed.is_zero() { rtt } else { self.smoothed * 7 / 8 + rtt / 8 };
        if rtt <= self.min_rtt {
            (self.min_rtt, self.min_at, self.next_min) = (rtt, now, Duration::MAX);
        } else if now.since(self.min_at) > MIN_RTT_LIFE / 2 {
            self.next_min = self.next_min.min(rtt);
            if now.since(self.min_at) > MIN_RTT_LIFE {
                (self.min_rtt, self.min_at, self.next_min) = (self.next_min, now, Duration::MAX);
            }
        }
    }

    fn note_round(&mut self, time: Duration, round: &Round) {
        let share = round.share();
        // What is usual rises slowly, or an overflow that grows slowly would become usual.
        self.loss = match self.loss {
            UNKNOWN => share,
            loss if share < loss => loss - (loss - share) / 4,
            loss => loss + (share - loss) / 256,
        };
        if round.is_full {
            // What is usually lost takes its part of the path.
            let took = (round.settled - round.lost) * WHOLE / (WHOLE - self.loss.min(WHOLE / 2));
            let rate = u128::from(took) * u128::from(NANOS) / time.as_nanos().max(1);
            self.rates = [self.rates[1], u64::try_from(rate).unwrap_or(u64::MAX)];
        }
    }

    /// Bytes per second that the path takes.
    fn rate(&self) -> u64 {
        let [old, new] = self.rates;
        old.max(new)
    }

    /// Whether as much waits in a queue as did when most did. A full queue does not become longer; jitter does, at times.
    fn is_full_queue(&mut self) -> bool {
        if !self.is_queue(self.low) {
            return false;
        }
        let is_full = self.low >= self.min_rtt + self.peak.saturating_sub(self.min_rtt) * 7 / 8;
        if !is_full {
            self.peak -= self.peak.saturating_sub(self.low) / 128;
        }
        is_full
    }

    /// Whether a round trip is so long that packets wait in a queue.
    fn is_queue(&self, rtt: Duration) -> bool {
        rtt > self.min_rtt.saturating_add((self.min_rtt / 8).max(NOISE))
    }
}

fn bytes_in(rate: u64, time: Duration) -> u64 {
    u64::try_from(u128::from(rate) * time.as_nanos() / u128::from(NANOS)).unwrap_or(u64::MAX)
}

fn cube_root(of: u64) -> i64 {
    let mut root = 0u64;
    for bit in (0..21).rev() {
        let next = root | 1 << bit;
        if next * next * next <= of {
            root = next;
        }
    }
    root.cast_signed()
}

/// Reductions that it may take to catch up.
const MOST_CHASES: u32 = 4;
/// Rounds of doubt.
const DOUBT_ROUNDS: u32 = 5;
/// One, in shares of loss.
const WHOLE: u64 = 1 << 16;
/// No share is known.
const UNKNOWN: u64 = u64::MAX;
const NANOS: u64 = 1_000_000_000;
/// Packets that may be under way before anything is known of the path.
const INITIAL_PACKETS: u64 = 32;
/// Packets that may always be under way, so that a loss is noticed by what follows it.
const MIN_PACKETS: u64 = 4;
/// For how long a shortest round trip counts. Beside TCP in a deep queue a minute passes between two reductions, and a
/// minimum that rose with the queue would hide it. One that is too low only makes losses count.
const MIN_RTT_LIFE: Duration = Duration::from_secs(60);
/// Rounds with a queue until its owner is looked for: fewer while it turns out to be ours, since that costs nothing.
const LEAST_PATIENCE: u32 = 16;
const MOST_PATIENCE: u32 = 128;
/// Round trips vary by this without any queue.
const NOISE: Duration = Duration::from_micros(500);
/// Losses in one round that may show a queue too short to be seen.
const SUDDEN_PACKETS: u64 = 8;
/// Packets that leave together, as with TCP. Lone ones find room in a full queue where pairs do not, and its flow would
/// have twice what TCP has on slow links.
const QUANTUM_PACKETS: u64 = 4;
/// What is sent at once after a pause, whatever the pace, in time: timers are late by this. Were it 500 us, acks for 8
/// packets would let go 8 at once at 1 Gbit/s, and the flow would have a third of what TCP has; at 100 us 0.7 of it.
const BURST: Duration = Duration::from_micros(50);

#[cfg(test)]
mod tests;
