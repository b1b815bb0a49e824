//! Memory of queues that a burst has left.
//!
//! A queue keeps the room that it once needed. Of a peer that is out of reach, or only idle, that is many times what is in it: of
//! each subscriber that had died a cache held 110 kB for ten minutes, for a dozen payloads. So queues are halved at each sweep,
//! as long as a quarter would do: who goes on in bursts grows by half again at most, ten times a second.

use std::collections::VecDeque;

/// Whether [`give_back`] would do something.
pub(crate) fn is_spare<T>(queue: &VecDeque<T>) -> bool {
    queue.capacity() > KEPT && queue.len() <= queue.capacity() / 4
}

/// Halves the room of a queue that uses a quarter of it or less.
pub(crate) fn give_back<T>(queue: &mut VecDeque<T>) {
    if is_spare(queue) {
        queue.shrink_to(queue.capacity() / 2);
    }
}

/// Room for so many is not worth the trouble.
const KEPT: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_burst_left_is_given_back_by_halves() {
        let mut queue: VecDeque<u32> = (0..1_000).collect();
        let full = queue.capacity();
        give_back(&mut queue);
        assert_eq!(queue.capacity(), full, "it is full");
        queue.truncate(20);
        give_back(&mut queue);
        assert!(queue.capacity() <= full / 2 && queue.capacity() >= full / 4);
        while is_spare(&queue) {
            give_back(&mut queue);
        }
        assert!(queue.iter().copied().eq(0..20) && queue.capacity() <= 4 * 20, "{}", queue.capacity());
    }
}
