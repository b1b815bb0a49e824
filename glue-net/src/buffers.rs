//! Memory that datagrams arrive in, and are opened into.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use crate::wire::MAX_DATAGRAM_BYTES;

/// Buffers for datagrams, one after the other. What fills much of one is handed out where it is, and the buffer comes back when
/// all of that is gone. Small ones are copied, so that they do not hold a buffer much larger than themselves.
#[derive(Debug)]
pub struct Buffers {
    current: BytesMut,
    lent: VecDeque<Bytes>,
}

impl Default for Buffers {
    fn default() -> Self {
        Self::new()
    }
}

impl Buffers {
    /// One buffer for now; more are made as long as those before are in use.
    #[must_use]
    pub fn new() -> Self {
        Self { current: new_buffer(), lent: VecDeque::new() }
    }

    /// Where to write next: room for the longest burst, with anything in it.
    pub fn space(&mut self) -> &mut [u8] {
        &mut self.current
    }

    /// The first `len` bytes of [`Buffers::space`], for good.
    pub fn take(&mut self, len: usize) -> Bytes {
        let Some(received) = self.current.get(..len) else { return Bytes::new() };
        if len < LARGE_BYTES {
            return Bytes::copy_from_slice(received);
        }
        let next = self.reclaim().unwrap_or_else(new_buffer);
        let whole = std::mem::replace(&mut self.current, next).freeze();
        let received = whole.slice(..len);
        if self.lent.len() == MAX_LENT {
            self.lent.pop_front();
        }
        self.lent.push_back(whole);
        received
    }

    /// A buffer that no datagram is left in: the one lent last, which caches still hold, or one of the oldest.
    fn reclaim(&mut self) -> Option<BytesMut> {
        for from_back in [true, false, false] {
            let lent = if from_back { self.lent.pop_back() } else { self.lent.pop_front() };
            match lent?.try_into_mut() {
                Ok(buffer) => return Some(buffer),
                Err(lent) => self.lent.push_back(lent),
            }
        }
        None
    }
}

/// A buffer that begins on a page, as most of what the kernel copies into it does. See [`crate::copy_to`] for what happens
/// to a copy whose target stands a little after its source, modulo a page: 64 KiB took 24 in place of 2.7 microseconds.
fn new_buffer() -> BytesMut {
    let mut whole = BytesMut::zeroed(BUFFER_BYTES + PAGE_BYTES);
    let before = whole.as_ptr().align_offset(PAGE_BYTES).min(PAGE_BYTES);
    let mut buffer = whole.split_off(before);
    buffer.truncate(BUFFER_BYTES);
    buffer
}

const PAGE_BYTES: usize = 4_096;
/// The longest burst: the kernel joins datagrams up to the longest IP packet.
const BUFFER_BYTES: usize = MAX_DATAGRAM_BYTES.next_power_of_two();
/// Shorter bursts are copied (8 KiB takes 0.2 microseconds). So a burst holds at most 8 times its own bytes.
const LARGE_BYTES: usize = BUFFER_BYTES / 8;
/// Buffers waited for. What the application keeps beyond that is freed by its last holder; making a new one in its place
/// takes 2 microseconds.
const MAX_LENT: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn receive(buffers: &mut Buffers, len: usize, fill: u8) -> Bytes {
        buffers.space()[..len].fill(fill);
        buffers.take(len)
    }

    #[test]
    fn buffers_begin_on_a_page_and_stay_there() {
        let mut buffers = Buffers::new();
        for n in 0..40 {
            assert!((buffers.space().as_ptr() as usize).is_multiple_of(PAGE_BYTES));
            assert_eq!(buffers.space().len(), BUFFER_BYTES);
            receive(&mut buffers, 60_000, n);
        }
    }

    #[test]
    fn small_bursts_do_not_hold_the_buffer() {
        let mut buffers = Buffers::new();
        let address = buffers.space().as_ptr();
        let kept: Vec<_> = (0..100).map(|n| receive(&mut buffers, 1_200, n)).collect();
        assert_eq!(buffers.space().as_ptr(), address);
        assert!(kept.iter().zip(0..).all(|(bytes, n)| bytes.iter().all(|byte| *byte == n)));
    }

    #[test]
    fn large_bursts_are_not_copied_and_their_buffers_come_back() {
        let mut buffers = Buffers::new();
        let mut seen = std::collections::BTreeSet::new();
        for n in 0..100 {
            let address = buffers.space().as_ptr();
            let burst = receive(&mut buffers, 60_000, n);
            assert_eq!(burst.as_ptr(), address);
            seen.insert(address as usize);
        }
        assert_eq!(seen.len(), 2, "the buffer in hand and the one that was just returned");
    }

    #[test]
    fn what_is_kept_stays_as_it_came() {
        let mut buffers = Buffers::new();
        let kept: Vec<_> = (0..100).map(|n| receive(&mut buffers, 60_000, n)).collect();
        assert!(kept.iter().zip(0..).all(|(bytes, n)| bytes.iter().all(|byte| *byte == n)));
        assert!(buffers.lent.len() <= MAX_LENT);
    }
}
