//! Where a peer's packets come from, and when that says that it has moved.

use std::net::SocketAddr;
use std::time::Duration;

use glue_net::Instant;

/// The sources of a session's packets.
///
/// One packet from elsewhere proves little while nothing is authenticated: a copy or an altered one may carry the token
/// too. So it takes several, and silence where the peer is taken to be.
#[derive(Debug, Default)]
pub(crate) struct Path {
    /// When a packet came from the peer's address last.
    confirmed_at: Instant,
    /// Another address, and how many packets came from there since.
    stray: Option<(SocketAddr, u32)>,
    /// Where it was sent to before it was tried elsewhere.
    left: Option<SocketAddr>,
}

impl Path {
    /// It is silent at `here`. Where it is to be tried: where it says that it is, and in turn with that where it was before.
    pub(crate) fn elsewhere(&mut self, here: SocketAddr, announced: SocketAddr) -> Option<SocketAddr> {
        let to = if here == announced { self.left? } else { announced };
        self.left = Some(here);
        Some(to)
    }

    /// A packet came. Whether the peer is to be taken to be at `from` now. `is_silent`: it leaves probes unanswered.
    pub(crate) fn handle_packet(&mut self, now: Instant, is_known: bool, from: SocketAddr, is_silent: bool) -> bool {
        if is_known {
            (self.confirmed_at, self.stray, self.left) = (now, None, None);
            return false;
        }
        let before = self.stray.filter(|(stray, _)| *stray == from).map_or(0, |(_, count)| count);
        self.stray = Some((from, before + 1));
        let moved = is_silent || (before + 1 >= STRAYS && self.confirmed_at + QUIET <= now);
        if moved {
            (self.confirmed_at, self.stray, self.left) = (now, None, None);
        }
        moved
    }
}

/// Packets from elsewhere that make a move.
const STRAYS: u32 = 3;
/// For so long nothing must have come from where the peer was.
const QUIET: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }

    fn host(last: u8) -> SocketAddr {
        ([10, 0, 0, last], 4_000).into()
    }

    #[test]
    fn a_peer_that_keeps_speaking_from_elsewhere_has_moved() {
        let mut path = Path::default();
        assert!(!path.handle_packet(at(1_000), true, host(1), false));
        assert!((0..10).all(|n| !path.handle_packet(at(1_100 + n), false, host(2), false)), "it was just here");
        assert!(path.handle_packet(at(1_500), false, host(2), false));
        let moves = [5_000, 5_001, 5_002].map(|ms| path.handle_packet(at(ms), false, host(3), false));
        assert_eq!(moves, [false, false, true], "three make a move");
    }

    #[test]
    fn single_strays_and_strays_among_others_move_nobody() {
        let mut path = Path::default();
        for n in 0..100 {
            assert!(!path.handle_packet(at(10_000 * n), false, host(2), false));
            assert!(!path.handle_packet(at(10_000 * n + 1), false, host(3), false));
            assert!(!path.handle_packet(at(10_000 * n + 2), false, host(2), false));
            assert!(!path.handle_packet(at(10_000 * n + 3), true, host(1), false));
        }
    }

    #[test]
    fn a_silent_peer_is_tried_where_it_was_and_where_it_says() {
        let mut path = Path::default();
        assert_eq!(path.elsewhere(host(1), host(1)), None);
        assert_eq!(path.elsewhere(host(2), host(1)), Some(host(1)));
        assert_eq!(path.elsewhere(host(1), host(1)), Some(host(2)));
        assert_eq!(path.elsewhere(host(2), host(1)), Some(host(1)));
        assert!(!path.handle_packet(at(0), true, host(1), false));
        assert_eq!(path.elsewhere(host(1), host(1)), None, "it was there");
    }

    #[test]
    fn a_silent_peer_is_believed_at_once() {
        assert!(Path::default().handle_packet(at(0), false, host(2), true));
    }
}
