//! Sends at once when calls are rare, and for many calls together when they come in quick succession.
//!
//! A system call per message of 64 bytes bounds one thread at about 0.6 million messages a second, and each acknowledgement
//! wakes the receive thread besides. A thread that calls in a loop does not tell that it will call again, so this is a
//! guess, made as branch predictors make it: after a streak of calls in quick succession more are taken to follow, and a
//! guess that fails often (the service thread has to send what was gathered) makes the streak that is asked for longer.

use std::time::Duration;

use crate::Instant;

/// Decides for each call whether what it wants sent leaves now.
#[derive(Clone, Debug)]
pub(super) struct Gather {
    window: Duration,
    /// When the last call returned.
    returned: Instant,
    streak: u32,
    streak_asked: u32,
    /// When the flood began. A pause takes as long from it as it lasts.
    began: Instant,
    /// When the first call gathered, unless it was decided since to send.
    since: Option<Instant>,
    /// When the streak asked for was last changed or confirmed.
    judged: Instant,
}

impl Gather {
    pub(super) const fn new(window: Duration) -> Self {
        Self {
            window,
            returned: Instant::ZERO,
            streak: 0,
            streak_asked: SHORTEST_STREAK,
            began: Instant::ZERO,
            since: None,
            judged: Instant::ZERO,
        }
    }

    /// Whether the call made at `now` is to send.
    pub(super) fn handle_call(&mut self, now: Instant) -> bool {
        let pause = now.since(self.returned);
        self.returned = now;
        if pause <= QUICK {
            self.streak = self.streak.saturating_add(1);
        } else {
            // Not to nothing: in a flood, now and then the thread gives way to another.
            let is_short = pause < self.window.saturating_mul(PATIENCE_WINDOWS);
            self.streak = if is_short { self.streak.min(self.streak_asked * 2) / 4 * 3 } else { 0 };
            self.began = now.min(self.began + pause * 2);
        }
        if now.since(self.judged) >= GOOD_WHILE {
            self.judged = now;
            self.streak_asked = (self.streak_asked / 2).max(SHORTEST_STREAK);
        }
        if self.streak < self.streak_asked || self.window.is_zero() {
            return true;
        }
        let since = *self.since.get_or_insert(now);
        if now.since(since) < self.window {
            return false;
        }
        self.since = None;
        true
    }

    /// A call that sent returns at `now`.
    pub(super) const fn handle_return(&mut self, now: Instant) {
        self.returned = now;
    }

    /// Whether a calling thread is about to send, so that another need not.
    pub(super) fn is_gathering(&self, now: Instant) -> bool {
        self.since.is_some_and(|since| now.since(since) < self.window)
    }

    /// Whether the call made at `now` is the first since all was sent.
    pub(super) fn has_just_begun(&self, now: Instant) -> bool {
        self.since == Some(now)
    }

    /// Whether something was gathered and not yet sent.
    pub(super) const fn is_open(&self) -> bool {
        self.since.is_some()
    }

    /// All that the node wants to send is being sent.
    pub(super) const fn handle_flush(&mut self) {
        self.since = None;
    }

    /// Whether something was left behind by a thread that paused; it is to be sent now.
    pub(super) fn is_stranded(&mut self, now: Instant) -> bool {
        let stranded = self.since.is_some_and(|since| now >= since + self.patience());
        if stranded {
            self.since = None;
            self.streak = 0;
            self.began = self.returned - self.earned() / 4;
            if now.since(self.judged) < BAD_WHILE {
                self.streak_asked = (self.streak_asked * 2).min(LONGEST_STREAK);
            }
            self.judged = now;
        }
        stranded
    }

    /// During a flood: when the service thread must look again. Until then calling threads do what is due.
    #[must_use]
    pub(super) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let patience = self.patience();
        let gathering = self.streak >= self.streak_asked && now.since(self.returned) < patience;
        self.since.or_else(|| gathering.then_some(now)).map(|since| since + patience)
    }

    /// How long the service thread leaves to a calling thread what that gathers. A flood that has lasted is trusted longer.
    fn patience(&self) -> Duration {
        let (least, most) = (PATIENCE_WINDOWS, MOST_PATIENCE_WINDOWS);
        (self.earned() / TRUST).clamp(self.window.saturating_mul(least), self.window.saturating_mul(most))
    }

    /// For how long it has been a flood.
    const fn earned(&self) -> Duration {
        self.returned.since(self.began)
    }
}

/// A call that begins no later than this after the last one returned follows it: little else was done in between but to
/// make a message. (For one that gathered, what it did counts as well: copying 8 KiB takes a microsecond.) An answer from
/// another process takes at least 8 microseconds.
const QUICK: Duration = Duration::from_micros(3);
/// So many quick calls are taken for the beginning of a flood. A burst of up to this many leaves call by call.
const SHORTEST_STREAK: u32 = 16;
/// The doubling ends here: a thread that pauses after each 1,024 calls loses 150 microseconds in 2,000.
const LONGEST_STREAK: u32 = 1_024;
/// Failed guesses further apart than this are no pattern: a busy machine takes the core away from a flooding thread as often.
/// Each costs 150 microseconds, so they may take 7 % of the time.
const BAD_WHILE: Duration = Duration::from_millis(2);
/// The streak asked for is halved after so long without a failed guess. Where that is wrong it costs two more failed guesses,
/// 300 microseconds in this time.
const GOOD_WHILE: Duration = Duration::from_millis(10);
/// The service thread looks after so many windows, 150 microseconds by default.
const PATIENCE_WINDOWS: u32 = 3;
/// In a long flood after so many, 1 ms by default: each look costs up to 28 microseconds of a core, mostly for its timer.
const MOST_PATIENCE_WINDOWS: u32 = 20;
/// The part of its time by which the end of a flood may be late.
const TRUST: u32 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_micros(50);

    fn us(micros: u64) -> Instant {
        Instant::from_nanos(1_000_000_000 + micros * 1_000)
    }

    /// Calls each microsecond from `from` on; returns those that sent.
    fn calls(gather: &mut Gather, from: u64, count: u64) -> Vec<u64> {
        let mut sent = Vec::new();
        for at in from..from + count {
            if gather.handle_call(us(at)) {
                sent.push(at);
            }
        }
        sent
    }

    #[test]
    fn calls_with_pauses_send_each() {
        let mut gather = Gather::new(WINDOW);
        assert!((0..1_000).all(|n| gather.handle_call(us(n * 5))));
        assert_eq!(gather.poll_timeout(us(5_000)), None);
    }

    #[test]
    fn a_flood_sends_once_a_window() {
        let mut gather = Gather::new(WINDOW);
        let sent = calls(&mut gather, 0, 1_000);
        assert_eq!(sent[..16], (0..16).collect::<Vec<_>>());
        assert!(sent[17..].windows(2).all(|pair| pair[1] - pair[0] == 51), "{sent:?}");
    }

    #[test]
    fn a_zero_window_never_gathers() {
        let mut gather = Gather::new(Duration::ZERO);
        assert_eq!(calls(&mut gather, 0, 1_000).len(), 1_000);
    }

    #[test]
    fn what_a_pausing_thread_leaves_is_found() {
        let mut gather = Gather::new(WINDOW);
        assert_eq!(calls(&mut gather, 0, 20).len(), 16);
        assert_eq!(gather.poll_timeout(us(20)), Some(us(16 + 150)));
        assert!(!gather.is_stranded(us(165)));
        assert!(gather.is_stranded(us(166)));
        assert_eq!(gather.poll_timeout(us(166)), None);
    }

    #[test]
    fn a_flood_that_lasts_is_looked_at_less_often() {
        let mut gather = Gather::new(WINDOW);
        calls(&mut gather, 1_000_000, 800);
        assert_eq!(gather.patience(), 3 * WINDOW, "as when it began");
        calls(&mut gather, 1_000_800, 20_000);
        assert_eq!(gather.patience(), Duration::from_millis(1));
        // What it leaves behind is found, and it is trusted less.
        let since = gather.since.unwrap_or_else(|| us(1_020_799));
        assert!(!gather.is_stranded(since + Duration::from_micros(999)));
        assert!(gather.is_stranded(since + Duration::from_millis(1)));
        assert_eq!(gather.patience(), Duration::from_nanos(20_799_000 / 4 / 8));
        // A pause costs as much of the trust as it lasts.
        calls(&mut gather, 1_027_000, 100);
        assert_eq!(gather.patience(), 3 * WINDOW);
    }

    /// Bursts of `len` calls, with a pause after each that ends when all of it has left; those that were held up.
    fn held_up(gather: &mut Gather, from: u64, len: u64, bursts: u64) -> u64 {
        (0..bursts)
            .map(|n| {
                calls(gather, from + n * 1_000, len);
                u64::from(gather.is_stranded(us(from + n * 1_000 + len + 150)))
            })
            .sum()
    }

    #[test]
    fn bursts_are_seldom_held_up() {
        for len in [20, 64, 200, 500] {
            let held_up = held_up(&mut Gather::new(WINDOW), 0, len, 1_000);
            assert!(held_up <= 150, "{held_up} of 1000 bursts of {len}");
        }
    }

    #[test]
    fn rare_pauses_are_forgiven_and_trust_returns() {
        let mut gather = Gather::new(WINDOW);
        for n in 0..10 {
            calls(&mut gather, n * 10_000, 3_000);
            gather.is_stranded(us(n * 10_000 + 9_000));
        }
        assert_eq!(gather.streak_asked, SHORTEST_STREAK);
        held_up(&mut gather, 200_000, 190, 100);
        assert!(gather.streak_asked > SHORTEST_STREAK);
        calls(&mut gather, 400_000, 50_000);
        assert_eq!(gather.streak_asked, SHORTEST_STREAK);
    }
}
