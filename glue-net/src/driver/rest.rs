//! Lets the announcements of a large group gather, when they say nothing new.
//!
//! Each announcement of each endpoint wakes all others, 25 times a second in a group of 100, and finds the caches cold each time: taken
//! together they cost a quarter less of what an idle endpoint uses. Adapters moderate their interrupts for the same reason. As long as
//! somebody comes or goes, and in a small group always, announcements are taken at once. Before a timer is looked at they are taken too,
//! so none finds a peer silent that is not.

use std::time::Duration;

use crate::Instant;

/// Decides until when not to look at the discovery sockets.
#[derive(Clone, Debug, Default)]
pub(super) struct Rest {
    /// What was heard since this second began, and when that was.
    heard: usize,
    begun: Instant,
    /// The second before brought many announcements, and nothing new came since.
    settled: bool,
    until: Instant,
}

impl Rest {
    /// Until when to rest, if one does.
    pub(super) fn until(&self, now: Instant) -> Option<Instant> {
        Some(self.until).filter(|until| *until > now)
    }

    /// `count` announcements were taken, and they said something `new`, or not.
    pub(super) fn handle_heard(&mut self, now: Instant, count: usize, new: bool) {
        self.heard += count;
        if now.since(self.begun) >= SECOND {
            // A second that took long, because nothing came, had few.
            self.settled = self.heard >= MANY && now.since(self.begun) < SECOND * 2;
            (self.heard, self.begun) = (0, now);
        }
        if new {
            *self = Self { begun: now, ..Self::default() };
        }
        // In a flood the socket would be full before the rest is over, of what is for nobody.
        if self.settled && count < TURN_ANNOUNCEMENTS {
            self.until = now + REST;
        }
    }
}

const SECOND: Duration = Duration::from_secs(1);
/// So many a second, copies over several interfaces included, are worth gathering: three for each rest.
const MANY: usize = 20;
/// Announcements taken from a socket in one turn, before timers are looked at again. As many are a flood; a group of 400 has as many in a
/// rest, heard over two interfaces, and rests after the next few then.
pub(super) const TURN_ANNOUNCEMENTS: usize = 32;
/// A newcomer to a large group is found so much later, at most.
const REST: Duration = Duration::from_millis(150);

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes one announcement each `every` milliseconds for three seconds, and tells in how many cases it rests after that.
    fn rests(rest: &mut Rest, every: usize, new: impl Fn(u64) -> bool) -> usize {
        let times = (0..3_000_u64).step_by(every);
        let rested = times.filter(|millis| {
            let now = Instant::from_nanos((10_000 + millis) * 1_000_000);
            rest.handle_heard(now, 1, new(*millis));
            rest.until(now).is_some()
        });
        rested.count()
    }

    #[test]
    fn many_that_say_nothing_new_are_gathered() {
        let mut rest = Rest::default();
        assert_eq!(rests(&mut rest, 20, |_| false), 100, "of 150, those after the first second");
        let now = Instant::from_nanos(12_980_000_000);
        assert_eq!(rest.until(now), Some(now + REST));
        assert_eq!(rest.until(now + REST), None);
    }

    #[test]
    fn a_flood_is_not_waited_for() {
        let mut rest = Rest::default();
        rests(&mut rest, 20, |_| false);
        let now = Instant::from_nanos(12_990_000_000);
        rest.handle_heard(now, TURN_ANNOUNCEMENTS, false);
        assert_eq!(rest.until(now), Some(now + REST - Duration::from_millis(10)), "of the one before");
    }

    #[test]
    fn few_are_taken_at_once() {
        assert_eq!(rests(&mut Rest::default(), 60, |_| false), 0);
        assert_eq!(rests(&mut Rest::default(), 1_500, |_| false), 0);
    }

    #[test]
    fn as_long_as_somebody_comes_or_goes_all_are_taken_at_once() {
        assert_eq!(rests(&mut Rest::default(), 20, |millis| millis % 500 == 0), 0);
        let mut rest = Rest::default();
        assert_eq!(
            rests(&mut rest, 20, |millis| millis == 1_500),
            50,
            "half a second until the news, and one after it"
        );
    }
}
