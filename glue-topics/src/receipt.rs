//! Who has what was published: counted by what is let go of.
//!
//! Each peer that a message goes to holds a ticket in its queue, which all pieces of the message share. Acknowledged pieces
//! are counted on it, and when the last of them is let go of, for whatever reason, the ticket knows whether all had arrived.
//! So a message that expires, a queue that is dropped and a peer that goes away need no care of their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

/// What is known of a message's way. A clone knows the same; it goes on to learn while the message is under way.
#[derive(Clone, Debug)]
pub struct Receipt(Arc<State>);

#[derive(Debug)]
struct State {
    sequence: u64,
    interested: AtomicU32,
    received: AtomicU32,
    cached: AtomicU32,
    settled: AtomicU32,
    bell: Bell,
}

/// Rings when a peer's fate is known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bell(Arc<AtomicBool>);

/// One peer's share of a receipt.
#[derive(Debug)]
pub(crate) struct Ticket {
    state: Arc<State>,
    bytes: usize,
    acknowledged: AtomicUsize,
    /// Whether the peer caches it.
    is_cached: bool,
}

/// Of a message that was never published: nobody gets it.
impl Default for Receipt {
    fn default() -> Self {
        Self::new(0, &Bell::default())
    }
}

impl Receipt {
    pub(crate) fn new(sequence: u64, bell: &Bell) -> Self {
        let (interested, received, cached, settled) = Default::default();
        Self(Arc::new(State { sequence, interested, received, cached, settled, bell: bell.clone() }))
    }

    /// The message's sequence number.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.0.sequence
    }

    /// How many native peers had subscribed when it was published, reachable or not.
    #[must_use]
    pub fn interested(&self) -> u32 {
        self.0.interested.load(Ordering::Acquire)
    }

    /// How many of them have acknowledged all of it: it is in the memory of so many endpoints. Whether their applications
    /// have taken it is not known.
    #[must_use]
    pub fn received(&self) -> u32 {
        self.0.received.load(Ordering::Acquire)
    }

    /// How many of those that have acknowledged it cache the topic, see [`crate::Topics::cache`]: they give it to who missed
    /// it, until it expires or has to go for later messages.
    #[must_use]
    pub fn cached(&self) -> u32 {
        self.0.cached.load(Ordering::Acquire)
    }

    /// Whether nothing more will be learned: each peer has it, or never will have it from here, since it expired, its queue
    /// was dropped, or the peer has gone.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.0.settled.load(Ordering::Acquire) == self.interested()
    }

    /// Another peer gets a message of `bytes`.
    pub(crate) fn ticket(&self, bytes: usize, is_cached: bool) -> Ticket {
        self.0.interested.fetch_add(1, Ordering::Release);
        Ticket { state: Arc::clone(&self.0), bytes, acknowledged: AtomicUsize::new(0), is_cached }
    }

    /// `count` peers are interested and do not get it.
    pub(crate) fn add_missed(&self, count: u32) {
        self.0.interested.fetch_add(count, Ordering::Release);
        self.0.settled.fetch_add(count, Ordering::Release);
    }
}

impl Bell {
    /// Whether it rang since it was asked last.
    pub(crate) fn take(&self) -> bool {
        self.0.load(Ordering::Acquire) && self.0.swap(false, Ordering::AcqRel)
    }
}

impl Ticket {
    /// `bytes` of the message arrived.
    pub(crate) fn acknowledge(&self, bytes: usize) {
        self.acknowledged.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let has_all = *self.acknowledged.get_mut() >= self.bytes;
        self.state.received.fetch_add(u32::from(has_all), Ordering::Release);
        self.state.cached.fetch_add(u32::from(has_all && self.is_cached), Ordering::Release);
        self.state.settled.fetch_add(1, Ordering::Release);
        self.state.bell.0.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_has_it_when_all_pieces_arrived() {
        let bell = Bell::default();
        let receipt = Receipt::new(7, &bell);
        let [whole, half, none] = [true, false, true].map(|is_cached| Arc::new(receipt.ticket(100, is_cached)));
        receipt.add_missed(1);
        let piece = Arc::clone(&whole);
        piece.acknowledge(60);
        drop(piece);
        whole.acknowledge(40);
        assert_eq!((receipt.received(), bell.take()), (0, false));
        drop(whole);
        assert_eq!((receipt.received(), receipt.is_settled(), bell.take(), bell.take()), (1, false, true, false));
        half.acknowledge(50);
        drop((half, none));
        assert_eq!((receipt.sequence(), receipt.interested(), receipt.received()), (7, 4, 1));
        assert_eq!(receipt.cached(), 1);
        assert!(receipt.is_settled());
    }
}
