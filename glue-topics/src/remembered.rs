//! What is remembered of sources that may be heard of again, in few bytes, as there are many of them.
//!
//! Publishers come and go, and nobody can know of one that is gone whether it, or a cache, is heard of again. So what is
//! remembered stands in one sorted row: of maps with a source or two in a node it took four times as much. To move 4,096 of
//! them takes microseconds, once for each source that comes to an end.

use std::cmp::Ordering;

use crate::tracks::Life;

/// Something of each source.
#[derive(Debug)]
pub(crate) struct Remembered<T> {
    /// By topic, then publisher.
    all: Vec<Memory<T>>,
    last_age: u64,
}

#[derive(Debug)]
struct Memory<T> {
    life: Life,
    age: u64,
    what: T,
}

impl<T> Default for Remembered<T> {
    fn default() -> Self {
        Self { all: Vec::new(), last_age: 0 }
    }
}

impl<T> Remembered<T> {
    #[cfg(test)]
    pub(crate) const fn len(&self) -> usize {
        self.all.len()
    }

    /// Bytes of the row.
    #[cfg(test)]
    pub(crate) const fn row_bytes(&self) -> usize {
        self.all.capacity() * size_of::<Memory<T>>()
    }

    pub(crate) fn get(&self, life: &Life) -> Option<&T> {
        self.all.get(self.find(life).ok()?).map(|memory| &memory.what)
    }

    /// What is remembered of another source of the topic, and the topic's name.
    pub(crate) fn beside(&self, life: &Life) -> Option<(&Life, &T)> {
        let at = self.find(life).unwrap_or_else(|at| at);
        let before = at.checked_sub(1).and_then(|before| self.all.get(before));
        let beside = [self.all.get(at), before].into_iter().flatten().find(|memory| memory.life.topic == life.topic)?;
        Some((&beside.life, &beside.what))
    }

    /// Remembers it, of at most `max` sources. Returns how many were forgotten for it: the oldest.
    pub(crate) fn insert(&mut self, mut life: Life, what: T, max: usize) -> u64 {
        // The sources of a topic share its name.
        if let Some((other, _)) = self.beside(&life) {
            life.topic = other.topic.clone();
        }
        self.last_age += 1;
        let found = self.find(&life);
        let memory = Memory { life, age: self.last_age, what };
        if let Some(old) = found.ok().and_then(|at| self.all.get_mut(at)) {
            *old = memory;
            return 0;
        }
        if self.all.capacity() == 0 {
            self.all.reserve_exact(max.min(ROOM) + 1);
        } else if self.all.len() == self.all.capacity() {
            self.all.reserve_exact(1 + self.all.len() / GROWTH);
        }
        self.all.insert(found.unwrap_or_else(|at| at), memory);
        let before = self.all.len();
        while self.all.len() > max {
            let oldest = self.all.iter().map(|memory| memory.age).min();
            self.all.retain(|memory| Some(memory.age) != oldest);
        }
        (before - self.all.len()) as u64
    }

    pub(crate) fn remove(&mut self, life: &Life) -> Option<T> {
        let at = self.find(life).ok()?;
        Some(self.all.remove(at).what)
    }

    /// Forgets those of which `keep`, which may change them, says no.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&Life, &mut T) -> bool) {
        self.all.retain_mut(|memory| keep(&memory.life, &mut memory.what));
    }

    fn find(&self, life: &Life) -> Result<usize, usize> {
        self.all.binary_search_by(|memory| order(&memory.life, life))
    }
}

fn order(a: &Life, b: &Life) -> Ordering {
    a.topic.cmp(&b.topic).then_with(|| (a.id, a.incarnation).cmp(&(b.id, b.incarnation)))
}

/// So many have room from the first on, which is address space and no memory until it is used. A row that grew left holes behind it that
/// were too small for it ever after, as many bytes as it had itself.
const ROOM: usize = 4_096;
/// Beyond, an eighth more room at a time: twice as much would be half empty.
const GROWTH: usize = 8;
