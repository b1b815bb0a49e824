//! Looks for the next datagram for a while before it sleeps, when one is likely to come at once.
//!
//! Waking a thread on another core takes longer than all else that is done for a message: 25 to 40 microseconds on a virtual
//! machine whose cores sleep, of a half round trip of 60. So an endpoint that is in the middle of an exchange, each time
//! sending something and getting something back at once, does not sleep in between. As in [`super::gather`], what happened
//! lately is the guess for what comes; one that fails makes it sleep again until there is new reason.
//!
//! It gives the core away in each look, so whoever else wants it has it.

use std::time::Duration;

/// Decides for how long the receive thread looks before it sleeps.
#[derive(Clone, Debug)]
pub(super) struct Linger {
    most: Duration,
    /// Exchanges in a row that came back at once.
    quick: u32,
    /// Arrivals in a row that brought the application nothing: acks, or what nobody asked for.
    empty: u32,
}

impl Linger {
    pub(super) const fn new(most: Duration) -> Self {
        Self { most, quick: 0, empty: 0 }
    }

    /// For how long to look before sleeping; zero: sleep at once.
    pub(super) const fn patience(&self) -> Duration {
        if self.quick >= QUICK_EXCHANGES { self.most } else { Duration::ZERO }
    }

    /// Something for the application came after a wait of `waited`; `spoke`: it did something since the one before.
    pub(super) fn handle_arrival(&mut self, waited: Duration, spoke: bool) {
        self.empty = 0;
        // Who slept has waited for being woken too.
        self.quick = if spoke && waited <= self.most * 2 { self.quick.saturating_add(1) } else { 0 };
    }

    /// What came was nothing for the application. A flood of such is no exchange.
    pub(super) const fn handle_nothing(&mut self) {
        self.empty += 1;
        if self.empty >= EMPTY_ARRIVALS {
            (self.quick, self.empty) = (0, 0);
        }
    }

    /// Nothing came in time.
    pub(super) const fn handle_silence(&mut self) {
        self.quick = 0;
    }
}

/// So many make a habit. A failed guess takes a core for as long as [`super::SocketConfig::linger`], so it costs less than a
/// sixteenth of that for each exchange.
const QUICK_EXCHANGES: u32 = 16;
/// An exchange has fewer datagrams in a row that bring the application nothing.
const EMPTY_ARRIVALS: u32 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Duration = Duration::from_micros(100);

    fn exchange(linger: &mut Linger, count: u32, waited: u64, spoke: bool) {
        (0..count).for_each(|_| linger.handle_arrival(Duration::from_micros(waited), spoke));
    }

    #[test]
    fn it_looks_after_some_quick_exchanges_and_sleeps_after_a_silence() {
        let mut linger = Linger::new(MOST);
        exchange(&mut linger, QUICK_EXCHANGES - 1, 180, true);
        assert_eq!(linger.patience(), Duration::ZERO);
        exchange(&mut linger, 1, 80, true);
        assert_eq!(linger.patience(), MOST);
        linger.handle_silence();
        assert_eq!(linger.patience(), Duration::ZERO);
    }

    #[test]
    fn a_flood_of_what_is_for_nobody_is_not_looked_for() {
        let mut linger = Linger::new(MOST);
        for _ in 0..QUICK_EXCHANGES {
            (1..EMPTY_ARRIVALS).for_each(|_| linger.handle_nothing());
            exchange(&mut linger, 1, 80, true);
        }
        assert_eq!(linger.patience(), MOST, "acks between the answers do no harm");
        (0..EMPTY_ARRIVALS).for_each(|_| linger.handle_nothing());
        assert_eq!(linger.patience(), Duration::ZERO);
    }

    #[test]
    fn neither_a_stream_nor_a_slow_exchange_is_looked_for() {
        let mut linger = Linger::new(MOST);
        exchange(&mut linger, 1_000, 10, false);
        exchange(&mut linger, 1_000, 201, true);
        assert_eq!(linger.patience(), Duration::ZERO);
        let mut never = Linger::new(Duration::ZERO);
        exchange(&mut never, 1_000, 1, true);
        assert_eq!(never.patience(), Duration::ZERO);
    }
}
