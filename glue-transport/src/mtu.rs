//! Finds the longest datagram that a path carries: datagram packetization layer path MTU discovery (RFC 8899).
//!
//! A longer datagram is tried by a probe that carries nothing, so that nothing is lost with it. Probes leave only after
//! payload, one at a time: an idle path stays idle, and no timer is needed. The search begins with the longest length
//! that the interface allows, which is nearly always the right one, and halves what is left if that fails.
//!
//! A path may come to carry less: a black hole. Then what is longer than the base is lost again and again while the rest
//! arrives; the base is used at once, and the search begins anew.

use std::time::Duration;

use glue_net::Instant;

/// What to search between, in bytes of a datagram without IP and UDP headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Taken to arrive on every path.
    pub(crate) base: usize,
    /// The longest that is of interest, at least the base.
    pub(crate) most: usize,
}

impl Limits {
    /// The same for a peer that takes `most` bytes.
    pub(crate) fn within(self, most: usize) -> Self {
        Self { base: self.base.min(most), most: self.most.min(most) }
    }
}

/// The search on one path.
#[derive(Clone, Debug)]
pub(crate) struct Mtu {
    limits: Limits,
    /// Datagrams of this length arrive.
    confirmed: usize,
    /// Longer ones do not.
    ceiling: usize,
    /// The length that is tried next.
    candidate: usize,
    /// Probes of this length that were lost.
    losses: u32,
    /// When the probe was sent that is under way.
    probe: Option<Instant>,
    /// No probe leaves before.
    search_at: Instant,
    /// Payload left since the last probe.
    in_use: bool,
    /// Lengths above the base that were lost since as long a datagram arrived.
    suspects: Vec<usize>,
    /// When the present flight began, and how many of it were lost.
    flight_at: Instant,
    flight_losses: u32,
    /// The confirmed length has changed.
    resized: bool,
}

impl Mtu {
    /// Nothing is known of the path but that the base arrives.
    pub(crate) const fn new(now: Instant, limits: Limits) -> Self {
        Self {
            limits,
            confirmed: limits.base,
            ceiling: limits.most,
            candidate: limits.most,
            losses: 0,
            probe: None,
            search_at: now,
            in_use: false,
            suspects: Vec::new(),
            flight_at: now,
            flight_losses: FLIGHT_SUSPECTS,
            resized: true,
        }
    }

    /// The longest datagram that is known to arrive.
    pub(crate) const fn datagram_bytes(&self) -> usize {
        self.confirmed
    }

    /// Whether datagrams of this length may stop to arrive while others do not.
    pub(crate) const fn is_above_base(&self, bytes: usize) -> bool {
        bytes > self.limits.base
    }

    /// Whether it is in doubt that long datagrams still arrive.
    pub(crate) const fn is_suspect(&self) -> bool {
        !self.suspects.is_empty()
    }

    /// Whether [`Mtu::datagram_bytes`] has changed since this was asked last.
    pub(crate) fn take_resized(&mut self) -> bool {
        std::mem::take(&mut self.resized)
    }

    /// Payload was sent.
    pub(crate) const fn handle_use(&mut self) {
        self.in_use = true;
    }

    /// The length of a probe to send now.
    #[must_use]
    pub(crate) fn poll_probe(&mut self, now: Instant) -> Option<usize> {
        let wanted = self.confirmed < self.limits.most && self.in_use && self.probe.is_none() && self.search_at <= now;
        wanted.then(|| {
            (self.probe, self.in_use) = (Some(now), false);
            self.candidate
        })
    }

    /// The probe that was sent at `sent_at` arrived.
    pub(crate) fn handle_probe_acked(&mut self, now: Instant, sent_at: Instant) {
        if self.probe.take_if(|at| *at == sent_at).is_some() {
            (self.confirmed, self.resized) = (self.candidate, true);
            self.choose(now);
        }
    }

    /// The probe that was sent at `sent_at` was lost.
    pub(crate) fn handle_probe_lost(&mut self, now: Instant, sent_at: Instant) {
        if self.probe.take_if(|at| *at == sent_at).is_none() {
            return;
        }
        self.losses += 1;
        if self.losses >= MAX_PROBES {
            self.ceiling = self.candidate - 1;
            self.choose(now);
        }
    }

    /// A datagram of `bytes` arrived.
    pub(crate) fn handle_acked(&mut self, bytes: usize) {
        self.suspects.retain(|lost| *lost > bytes);
    }

    /// A datagram of `bytes` that was no probe was lost. True if that makes a black hole: the base is used from now on.
    pub(crate) fn handle_lost(&mut self, now: Instant, bytes: usize, sent_at: Instant) -> bool {
        if !self.is_above_base(bytes) {
            // Short ones are lost too: so one of the long ones may have been lost by chance.
            self.suspects.pop();
            return false;
        }
        if sent_at >= self.flight_at {
            (self.flight_at, self.flight_losses) = (now, 0);
        }
        self.flight_losses += 1;
        if self.flight_losses > FLIGHT_SUSPECTS {
            return false;
        }
        self.suspects.push(bytes);
        if self.suspects.len() < MAX_SUSPECTS {
            return false;
        }
        *self = Self { search_at: now + BLACK_HOLE_PAUSE, in_use: self.in_use, ..Self::new(now, self.limits) };
        true
    }

    /// Chooses the next length to try, or rests if what is left is not worth it.
    fn choose(&mut self, now: Instant) {
        self.losses = 0;
        let left = self.ceiling - self.confirmed;
        self.candidate = if left <= self.confirmed / WORTH {
            (self.ceiling, self.search_at) = (self.limits.most, now + RAISE_INTERVAL);
            self.limits.most
        } else if self.confirmed < ETHERNET_BYTES && ETHERNET_BYTES <= self.ceiling {
            ETHERNET_BYTES
        } else {
            self.confirmed + left.div_ceil(2)
        };
    }
}

/// Probes of one length that are lost before it counts as too long (MAX_PROBES of RFC 8899, section 5.1.2).
const MAX_PROBES: u32 = 3;
/// Datagrams lost since as long a one arrived that make a black hole: as many as three flights tell. At a random loss of
/// a fifth that happens to one of two million.
const MAX_SUSPECTS: usize = 9;
/// Datagrams of one flight that count: those that are sent together may be lost together. So a stream that fills its
/// window takes three flights, each a probe timeout and a round trip: 20 ms on a LAN.
const FLIGHT_SUSPECTS: u32 = 3;
/// After a black hole: where probes arrive and data does not, the two would chase each other.
const BLACK_HOLE_PAUSE: Duration = Duration::from_secs(10);
/// How often a longer datagram is tried again (PMTU_RAISE_TIMER of RFC 8899, section 5.1.1).
const RAISE_INTERVAL: Duration = Duration::from_secs(600);
/// What Ethernet carries over IPv4: the likely length where the interface promises more than the path keeps.
const ETHERNET_BYTES: usize = 1_472;
/// The search ends when less than this part, 3 %, can be gained: finding it costs several lost probes.
const WORTH: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }

    fn mtu(most: usize) -> Mtu {
        Mtu::new(at(0), Limits { base: 1_200, most })
    }

    /// Searches on a path that carries `path` bytes. Returns the lengths that were tried.
    fn search(mtu: &mut Mtu, start: u64, path: usize) -> Vec<usize> {
        let mut tried = Vec::new();
        for ms in start..start + 1_000 {
            mtu.handle_use();
            let Some(bytes) = mtu.poll_probe(at(ms)) else { break };
            tried.push(bytes);
            if bytes <= path { mtu.handle_probe_acked(at(ms), at(ms)) } else { mtu.handle_probe_lost(at(ms), at(ms)) }
        }
        tried
    }

    #[test]
    fn what_the_interface_allows_takes_one_probe() {
        for most in [1_201, 1_472, 8_972, 65_507] {
            let mut mtu = mtu(most);
            assert_eq!(search(&mut mtu, 0, most), [most]);
            assert_eq!(mtu.datagram_bytes(), most);
            assert!(search(&mut mtu, 10_000_000, most).is_empty(), "nothing is left to find");
        }
        assert!(search(&mut mtu(1_200), 0, 1_200).is_empty());
    }

    #[test]
    fn every_path_is_found_within_a_thirty_second() {
        for path in 1_200..9_100 {
            let mut mtu = mtu(8_972);
            let tried = search(&mut mtu, 0, path);
            let (found, best) = (mtu.datagram_bytes(), path.min(8_972));
            assert!(found <= best && best - found <= found / WORTH, "{found} on a path of {path}");
            assert!(tried.len() <= 3 * 9 + 3, "{tried:?}");
        }
        let mut jumbo = mtu(8_972);
        assert_eq!(search(&mut jumbo, 0, 1_472)[..4], [8_972, 8_972, 8_972, 1_472]);
        assert_eq!(jumbo.datagram_bytes(), 1_472);
    }

    #[test]
    fn a_probe_follows_payload_and_is_alone() {
        let mut mtu = mtu(1_472);
        assert_eq!(mtu.poll_probe(at(0)), None, "nothing was sent");
        mtu.handle_use();
        assert_eq!(mtu.poll_probe(at(1)), Some(1_472));
        mtu.handle_use();
        assert_eq!(mtu.poll_probe(at(2)), None, "one is under way");
        mtu.handle_probe_lost(at(3), at(0));
        assert_eq!(mtu.poll_probe(at(3)), None, "that was another one");
        mtu.handle_probe_lost(at(4), at(1));
        assert_eq!(mtu.poll_probe(at(4)), Some(1_472));
    }

    #[test]
    fn a_settled_search_looks_again_later() {
        let mut mtu = mtu(1_472);
        search(&mut mtu, 0, 1_300);
        let found = mtu.datagram_bytes();
        assert!(search(&mut mtu, 500_000, 1_472).is_empty());
        assert_eq!(search(&mut mtu, 601_000, 1_472), [1_472]);
        assert!((1_260..=1_300).contains(&found) && mtu.datagram_bytes() == 1_472, "{found}");
    }

    #[test]
    fn three_lost_flights_are_a_black_hole() {
        let mut mtu = mtu(1_472);
        search(&mut mtu, 0, 1_472);
        assert!(mtu.take_resized() && !mtu.take_resized());
        assert!((0..100).all(|n| !mtu.handle_lost(at(20), 1_472, at(10 + n / 20))), "one flight");
        mtu.handle_acked(1_400);
        assert!((0..100).all(|_| !mtu.handle_lost(at(30), 1_472, at(20))), "another one");
        assert!((0..2).all(|_| !mtu.handle_lost(at(40), 1_472, at(30))));
        assert!(!mtu.handle_lost(at(40), 1_200, at(30)), "the base is not suspected, and takes suspicion away");
        assert!(!mtu.handle_lost(at(40), 1_472, at(30)));
        assert!(mtu.handle_lost(at(50), 1_472, at(45)));
        assert_eq!((mtu.datagram_bytes(), mtu.take_resized()), (1_200, true));
        assert!((0..100).all(|n| !mtu.handle_lost(at(50 + n), 1_472, at(39))), "what was sent before is settled");
        assert!(search(&mut mtu, 60, 1_250).is_empty());
        search(&mut mtu, 10_050, 1_250);
        assert!((1_212..=1_250).contains(&mtu.datagram_bytes()), "{}", mtu.datagram_bytes());
    }

    #[test]
    fn losses_among_arrivals_are_no_black_hole() {
        let mut mtu = mtu(1_472);
        search(&mut mtu, 0, 1_472);
        for n in 0..1_000 {
            let lengths = [1_400, 1_410, 1_420, 1_430, 1_440, 1_450, 1_460];
            let mut lost = (20 * n..).zip(lengths).map(|(ms, bytes)| mtu.handle_lost(at(ms + 1), bytes, at(ms)));
            assert!(lost.all(|is_black_hole| !is_black_hole));
            mtu.handle_acked(1_460);
        }
    }

    #[test]
    fn what_lies_between_two_lengths_is_noticed() {
        let mut mtu = mtu(1_472);
        search(&mut mtu, 0, 1_472);
        let lost = |n| {
            mtu.handle_acked(1_450);
            mtu.handle_lost(at(20 + 2 * n), 1_460, at(19 + 2 * n))
        };
        assert_eq!((0..9u64).map(lost).position(|is_black_hole| is_black_hole), Some(8));
    }
}
