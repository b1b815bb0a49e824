//! How many sockets there are, in all and of each address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// See the module. Sockets that have not said hello yet are among them.
#[derive(Debug, Default)]
pub(crate) struct Places {
    taken: AtomicUsize,
    /// No more than sockets.
    of_address: Mutex<HashMap<IpAddr, usize>>,
}

/// The place of a socket, which is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    address: Option<IpAddr>,
}

impl Places {
    /// Takes a place, if one of `limit` is free.
    pub(crate) fn take(self: &Arc<Self>, limit: usize) -> Option<Place> {
        let place = Place { places: Arc::clone(self), address: None };
        let before = self.taken.fetch_add(1, Ordering::Relaxed);
        (before < limit).then_some(place)
    }

    fn of_address(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.of_address.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Says whose place it is, once. False if that address has `limit` already; zero is no limit.
    pub(crate) fn claim(&mut self, address: IpAddr, limit: usize) -> bool {
        let address = origin(address);
        let mut of_address = self.places.of_address();
        let count = of_address.entry(address).or_default();
        if limit > 0 && *count >= limit {
            return false;
        }
        *count += 1;
        self.address = Some(address);
        true
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.taken.fetch_sub(1, Ordering::Relaxed);
        let Some(address) = self.address else { return };
        let mut of_address = self.places.of_address();
        if let Some(count) = of_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                of_address.remove(&address);
            }
        }
    }
}

/// Who an address belongs to: with IPv6 each host has a whole /64 to choose from.
fn origin(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & PREFIX).into(),
        address => address,
    }
}

const PREFIX: u128 = !0 << 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_place_is_free_again_when_it_is_dropped() {
        let places = Arc::new(Places::default());
        let first = places.take(1).expect("it is free");
        assert!(places.take(1).is_none());
        drop(first);
        assert!(places.take(1).is_some());
    }

    #[test]
    fn an_address_has_its_own_limit_and_ipv6_counts_by_network() {
        let places = Arc::new(Places::default());
        let claim = |text| {
            let mut place = places.take(9)?;
            place.claim(address(text), 1).then_some(place)
        };
        let held = [claim("192.0.2.1"), claim("192.0.2.2"), claim("2001:db8::1"), claim("2001:db8:0:1::1")];
        assert!(held.iter().all(Option::is_some));
        for taken in ["192.0.2.1", "::ffff:192.0.2.2", "2001:db8::2"] {
            assert!(claim(taken).is_none(), "{taken}");
        }
        drop(held);
        assert!(claim("192.0.2.1").is_some());
        assert!(places.of_address().is_empty());
        assert_eq!(places.taken.load(Ordering::Relaxed), 0);
    }
}
