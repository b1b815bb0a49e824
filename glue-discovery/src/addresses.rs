//! The addresses that a peer was heard with, and which of them is used.

use std::cmp::Reverse;
use std::net::SocketAddr;
use std::time::Duration;

use glue_net::Instant;

use crate::local::Local;

/// Addresses as one announcement named them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    pub(crate) data: SocketAddr,
    pub(crate) discovery: Option<SocketAddr>,
    pub(crate) heard: Instant,
}

/// A peer with several interfaces, or on our own host, is heard with several addresses. One is used, and kept while it
/// is confirmed: a session measures its path, and a change costs it that.
#[derive(Debug)]
pub(crate) struct Addresses {
    chosen: Candidate,
    others: Vec<Candidate>,
}

impl Addresses {
    pub(crate) const fn new(first: Candidate) -> Self {
        Self { chosen: first, others: Vec::new() }
    }

    pub(crate) const fn chosen(&self) -> &Candidate {
        &self.chosen
    }

    /// Takes the addresses of an announcement; `direct` if the peer sent it itself. Returns how many addresses were
    /// dropped to keep at most `max`.
    pub(crate) fn hear(&mut self, new: Candidate, direct: bool, max: usize) -> usize {
        // One data socket has one port: at the same IP a new port takes the old one's place. A copy that somebody
        // passed on may be older than what we know, so it must not.
        let replaced_by = |old: &Candidate| {
            old.data == new.data || (direct && old.data.ip() == new.data.ip() && old.heard <= new.heard)
        };
        if replaced_by(&self.chosen) {
            self.chosen = Candidate { discovery: new.discovery.or(self.chosen.discovery), ..new };
            return 0;
        }
        if let Some(old) = self.others.iter_mut().find(|old| replaced_by(old)) {
            *old = Candidate { discovery: new.discovery.or(old.discovery), ..new };
            return 0;
        }
        self.others.push(new);
        self.drop_oldest(max)
    }

    /// Moves to a nearer address, or away from one that was not confirmed for `timeout`.
    pub(crate) fn choose(&mut self, now: Instant, timeout: Duration, local: &Local) {
        self.others.retain(|c| c.heard + timeout > now);
        let distance = |c: &Candidate| local.distance(c.data.ip());
        let Some(best) = self.others.iter_mut().min_by_key(|c| (distance(c), Reverse(c.heard), c.data)) else {
            return;
        };
        let is_confirmed = self.chosen.heard + timeout > now;
        if !is_confirmed || distance(best) < distance(&self.chosen) {
            std::mem::swap(best, &mut self.chosen);
        }
    }

    /// Nobody answers at the chosen address: any other one is better.
    pub(crate) const fn doubt(&mut self) {
        self.chosen.heard = Instant::ZERO;
    }

    /// When [`Addresses::choose`] may move without anything being heard.
    pub(crate) fn review_at(&self, timeout: Duration) -> Option<Instant> {
        (!self.others.is_empty()).then(|| self.chosen.heard + timeout)
    }

    fn drop_oldest(&mut self, max: usize) -> usize {
        if self.others.len() < max {
            return 0;
        }
        let oldest = self.others.iter().enumerate().min_by_key(|(_, c)| c.heard).map(|(at, _)| at);
        oldest.map(|at| self.others.swap_remove(at)).into_iter().count()
    }
}

#[cfg(test)]
mod tests {
    use glue_net::Interface;

    use super::*;
    use crate::Config;

    const TIMEOUT: Duration = Duration::from_secs(2);

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    fn candidate(data: &str, seconds: u64) -> Candidate {
        Candidate { data: data.parse().unwrap(), discovery: None, heard: at(seconds) }
    }

    /// On 10.0.0.0/24 and 10.0.1.0/24.
    fn local() -> Local {
        let mut local = Local::new(&Config::default());
        let interface = |index, address: &str| Interface {
            index,
            address: address.parse().unwrap(),
            prefix: 24,
            discovery: None,
            multicast: true,
            mtu: Interface::ETHERNET_MTU,
        };
        local.replace(vec![interface(1, "10.0.0.1"), interface(2, "10.0.1.1")]);
        local
    }

    fn chosen(addresses: &Addresses) -> String {
        addresses.chosen().data.to_string()
    }

    #[test]
    fn of_two_equally_near_addresses_the_confirmed_one_is_kept() {
        let mut addresses = Addresses::new(candidate("10.0.0.9:5", 0));
        for second in 0..10 {
            addresses.hear(candidate("10.0.1.9:5", second), true, 8);
            addresses.choose(at(second), TIMEOUT, &local());
            addresses.hear(candidate("10.0.0.9:5", second), true, 8);
            addresses.choose(at(second), TIMEOUT, &local());
            assert_eq!(chosen(&addresses), "10.0.0.9:5");
        }
    }

    #[test]
    fn a_nearer_address_is_taken_at_once() {
        let mut addresses = Addresses::new(candidate("192.168.7.9:5", 0));
        for nearer in ["10.0.0.9:5", "127.0.0.1:5"] {
            addresses.hear(candidate(nearer, 0), true, 8);
            addresses.choose(at(0), TIMEOUT, &local());
            assert_eq!(chosen(&addresses), nearer);
        }
    }

    #[test]
    fn an_unconfirmed_address_is_left_after_the_timeout() {
        let mut addresses = Addresses::new(candidate("127.0.0.1:5", 0));
        addresses.hear(candidate("10.0.0.9:5", 1), true, 8);
        addresses.choose(at(1), TIMEOUT, &local());
        assert_eq!(chosen(&addresses), "127.0.0.1:5");
        assert_eq!(addresses.review_at(TIMEOUT), Some(at(2)));
        addresses.choose(at(2), TIMEOUT, &local());
        assert_eq!(chosen(&addresses), "10.0.0.9:5");
    }

    #[test]
    fn a_review_that_comes_late_leaves_nothing_to_review() {
        let mut addresses = Addresses::new(candidate("127.0.0.1:5", 0));
        addresses.hear(candidate("10.0.0.9:5", 1), true, 8);
        addresses.choose(at(9), TIMEOUT, &local());
        assert_eq!(addresses.review_at(TIMEOUT), None);
    }

    #[test]
    fn a_new_port_is_followed_at_once_unless_somebody_passed_it_on() {
        let mut addresses = Addresses::new(candidate("10.0.0.9:5", 0));
        addresses.hear(candidate("10.0.0.9:6", 1), false, 8);
        addresses.choose(at(1), TIMEOUT, &local());
        assert_eq!(chosen(&addresses), "10.0.0.9:5");
        addresses.hear(candidate("10.0.0.9:7", 1), true, 8);
        addresses.choose(at(1), TIMEOUT, &local());
        assert_eq!(chosen(&addresses), "10.0.0.9:7");
    }

    #[test]
    fn addresses_are_bounded_and_the_chosen_one_stays() {
        let mut addresses = Addresses::new(candidate("10.0.0.9:5", 0));
        let dropped: usize =
            (0..100).map(|n| addresses.hear(candidate(&format!("10.0.0.{}:5", n + 10), 1), true, 8)).sum();
        assert_eq!((dropped, addresses.others.len()), (93, 7));
        assert_eq!(chosen(&addresses), "10.0.0.9:5");
    }
}
