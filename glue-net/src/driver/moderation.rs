//! Rests between turns while nearly all that comes is junk.
//!
//! Junk that comes one datagram at a time costs far more than its receiving: the sender's core wakes the receive thread for each,
//! and each is a turn of its own. 100,000 of 64 bytes a second took 0.27 of two cores from a private pair, 0.12 of which was
//! the receive thread of the publisher, to which only acks come else. So that thread rests for a moment after each such turn, as
//! network cards moderate their interrupts, and takes what gathered meanwhile in one.

use std::time::Duration;

/// Decides whether the receive thread rests.
#[derive(Clone, Debug, Default)]
pub(super) struct Moderation {
    /// By how much junk has outweighed the rest lately.
    excess: u64,
}

impl Moderation {
    /// Takes note of a turn's datagrams, which had to be waited for so long. Returns for how long to rest before the next; zero:
    /// not at all.
    pub(super) fn handle_turn(&mut self, waited: Duration, datagrams: u64, junk: u64) -> Duration {
        let useful = datagrams.saturating_sub(junk);
        self.excess = (self.excess + junk).saturating_sub(useful * USEFUL_WEIGHT).min(MOST_EXCESS);
        let rests = self.excess >= ENOUGH && junk > 0 && useful == 0 && waited <= FLOOD;
        if rests { REST } else { Duration::ZERO }
    }
}

/// A datagram of a peer weighs as much as so many of junk: who gets something from a peer more often shall not wait for it.
const USEFUL_WEIGHT: u64 = 4;
/// So much more junk than the rest is a flood.
const ENOUGH: u64 = 16;
/// Eight datagrams of peers in a row end it.
const MOST_EXCESS: u64 = ENOUGH + 8 * USEFUL_WEIGHT;
/// Junk that is waited for longer is too rare to gather.
const FLOOD: Duration = Duration::from_millis(1);
/// What a peer sends in a flood of junk comes later by this much and the kernel's slack (50 microseconds). Longer rests gain
/// little: of 50,000 a second eight gather in it.
const REST: Duration = Duration::from_micros(100);

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_micros(20);

    fn flooded() -> Moderation {
        let mut moderation = Moderation::default();
        for turn in 1..ENOUGH {
            assert_eq!(moderation.handle_turn(SOON, 1, 1), Duration::ZERO, "turn {turn}");
        }
        assert_eq!(moderation.handle_turn(SOON, 1, 1), REST);
        moderation
    }

    #[test]
    fn a_flood_of_junk_is_received_in_heaps() {
        let mut moderation = flooded();
        for _ in 0..100 {
            assert_eq!(moderation.handle_turn(Duration::ZERO, 8, 8), REST);
        }
    }

    #[test]
    fn nothing_waits_behind_what_a_peer_sent() {
        let mut moderation = flooded();
        assert_eq!(moderation.handle_turn(SOON, 9, 8), Duration::ZERO, "in the same turn");
        assert_eq!(moderation.handle_turn(SOON, 1, 1), REST, "one ack is no end of a flood");
        (0..8).for_each(|_| assert_eq!(moderation.handle_turn(SOON, 1, 0), Duration::ZERO));
        assert_eq!(moderation.handle_turn(SOON, 8, 8), Duration::ZERO, "eight are");
    }

    #[test]
    fn a_busy_peer_is_never_made_to_wait() {
        let mut moderation = Moderation::default();
        for _ in 0..1_000 {
            assert_eq!(moderation.handle_turn(SOON, 3, 3), Duration::ZERO);
            assert_eq!(moderation.handle_turn(SOON, 1, 0), Duration::ZERO);
        }
    }

    #[test]
    fn rare_junk_is_received_as_it_comes() {
        let mut moderation = flooded();
        assert_eq!(moderation.handle_turn(Duration::from_millis(2), 1, 1), Duration::ZERO);
    }
}
