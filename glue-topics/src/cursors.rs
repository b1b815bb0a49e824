//! How far subscriptions with a wish for history have come, between the runs of a source.
//!
//! A run may bring again what an earlier one has brought. Within a run all is in order, so where a subscription stands
//! is written down only when a run is over, or its publisher gone: who comes back with the same incarnation goes on
//! there.

use crate::remembered::Remembered;
use crate::subscriptions::SubscriptionId;
use crate::tracks::Life;

/// The next number of each subscription, by source.
#[derive(Debug, Default)]
pub(crate) struct Cursors(Remembered<Box<[(SubscriptionId, u64)]>>);

impl Cursors {
    /// The first number that a subscription did not get yet.
    pub(crate) fn next(&self, life: &Life, id: SubscriptionId) -> u64 {
        let known = self.0.get(life).and_then(|next| next.iter().find(|(of, _)| *of == id));
        known.map_or(0, |(_, next)| *next)
    }

    /// Writes down where subscriptions are, of at most `max` sources. Returns how many were forgotten for it.
    pub(crate) fn set(&mut self, life: Life, next: Box<[(SubscriptionId, u64)]>, max: usize) -> u64 {
        self.0.insert(life, next, max)
    }

    /// Forgets a subscription.
    pub(crate) fn forget(&mut self, id: SubscriptionId) {
        self.0.retain(|_, next| {
            if next.iter().any(|(of, _)| *of == id) {
                *next = next.iter().filter(|(of, _)| *of != id).copied().collect();
            }
            !next.is_empty()
        });
    }
}
