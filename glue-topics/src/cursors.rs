//! How far subscriptions with a wish for history have come, between the runs of a source.
//!
//! A run may bring again what an earlier one has brought. Within a run all is in order, so where a subscription stands
//! is written down only when a run is over, or its publisher gone: who comes back with the same incarnation goes on
//! there.

use std::collections::BTreeMap;

use crate::subscriptions::SubscriptionId;
use crate::tracks::Life;

/// The next number of each subscription, by source.
#[derive(Debug, Default)]
pub(crate) struct Cursors {
    sources: BTreeMap<Life, Cursor>,
    /// By age: the oldest goes first.
    ages: BTreeMap<u64, Life>,
    last_age: u64,
}

#[derive(Debug)]
struct Cursor {
    age: u64,
    next: BTreeMap<SubscriptionId, u64>,
}

impl Cursors {
    /// The first number that a subscription did not get yet.
    pub(crate) fn next(&self, life: &Life, id: SubscriptionId) -> u64 {
        self.sources.get(life).and_then(|known| known.next.get(&id)).copied().unwrap_or(0)
    }

    /// Writes down where subscriptions are, of at most `max` sources. Returns how many were forgotten for it.
    pub(crate) fn set(&mut self, life: Life, next: BTreeMap<SubscriptionId, u64>, max: usize) -> u64 {
        if let Some(old) = self.sources.get(&life) {
            self.ages.remove(&old.age);
        }
        self.last_age += 1;
        let age = self.last_age;
        self.ages.insert(age, life.clone());
        self.sources.insert(life, Cursor { age, next });
        let mut forgotten = 0;
        while self.sources.len() > max
            && let Some((_, oldest)) = self.ages.pop_first()
        {
            self.sources.remove(&oldest);
            forgotten += 1;
        }
        forgotten
    }

    /// Forgets a subscription.
    pub(crate) fn forget(&mut self, id: SubscriptionId) {
        self.sources.retain(|_, cursor| {
            cursor.next.remove(&id);
            !cursor.next.is_empty()
        });
        self.ages.retain(|_, life| self.sources.contains_key(life));
    }
}
