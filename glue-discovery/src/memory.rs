//! Who was here before.

use std::collections::BTreeMap;

use glue_net::{EndpointId, Incarnation, PeerId, WallTime};

impl Past {
    /// Whether an announcement was made before that: by the count of a member's, else by the clock of who left.
    pub(crate) const fn is_after(self, is_member: bool, sent: WallTime, sent_as: u64) -> bool {
        match self {
            Self::Expired { count, .. } => is_member && sent_as <= count,
            Self::Left { count, .. } if is_member => sent_as <= count,
            Self::Left { at, .. } => sent.as_unix_nanos() <= at.as_unix_nanos(),
        }
    }
}

/// A life of an endpoint.
pub(crate) type Life = (EndpointId, Incarnation);

/// How a former peer's life here ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Past {
    /// It fell silent. Should it return, it is the same peer.
    Expired { number: PeerId, count: u64 },
    /// It said goodbye, at this time of its own clock. Earlier announcements that are still on their way do not revive
    /// it.
    Left { at: WallTime, count: u64 },
}

/// The last lives that ended, a bounded number of them.
#[derive(Debug)]
pub(crate) struct Memory {
    lives: BTreeMap<Life, (u64, Past)>,
    /// By when they were remembered.
    order: BTreeMap<u64, Life>,
    next: u64,
    max: usize,
}

impl Memory {
    pub(crate) const fn new(max: usize) -> Self {
        Self { lives: BTreeMap::new(), order: BTreeMap::new(), next: 0, max }
    }

    /// Remembers a life; returns how many were forgotten for it.
    pub(crate) fn remember(&mut self, life: Life, past: Past) -> u64 {
        self.recall(life);
        self.lives.insert(life, (self.next, past));
        self.order.insert(self.next, life);
        self.next += 1;
        if self.lives.len() <= self.max {
            return 0;
        }
        let oldest = self.order.pop_first();
        oldest.and_then(|(_, life)| self.lives.remove(&life)).map_or(0, |_| 1)
    }

    pub(crate) fn past(&self, life: Life) -> Option<Past> {
        self.lives.get(&life).map(|(_, past)| *past)
    }

    /// Takes a life out of memory.
    pub(crate) fn recall(&mut self, life: Life) -> Option<Past> {
        let (order, past) = self.lives.remove(&life)?;
        self.order.remove(&order);
        Some(past)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEFT: Past = Past::Left { at: WallTime::from_unix_nanos(7), count: 0 };

    const fn expired(number: u32) -> Past {
        Past::Expired { number: PeerId(number), count: 0 }
    }

    fn life(n: i64) -> Life {
        (EndpointId::from_integer(n), Incarnation(1))
    }

    #[test]
    fn the_oldest_life_is_forgotten_first() {
        let mut memory = Memory::new(2);
        assert_eq!(memory.remember(life(1), expired(1)), 0);
        assert_eq!(memory.remember(life(2), expired(2)), 0);
        assert_eq!(memory.remember(life(1), LEFT), 0);
        assert_eq!(memory.remember(life(3), expired(3)), 1);
        assert_eq!(memory.past(life(2)), None);
        assert_eq!(memory.recall(life(1)), Some(LEFT));
        assert_eq!(memory.recall(life(1)), None);
    }

    #[test]
    fn without_room_nothing_is_remembered() {
        let mut memory = Memory::new(0);
        assert_eq!(memory.remember(life(1), LEFT), 1);
        assert_eq!((memory.lives.len(), memory.order.len()), (0, 0));
    }
}
