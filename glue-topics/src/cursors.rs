//! How far subscriptions with a wish for history have come, between the runs of a source.
//!
//! A run may bring again what an earlier one has brought. Within a run all is in order, so where a subscription stands
//! is written down only when a run is over, or its publisher gone: who comes back with the same incarnation goes on
//! there.

use crate::few::Few;
use crate::remembered::Remembered;
use crate::subscriptions::SubscriptionId;
use crate::tracks::Life;

/// The next number of each subscription, by source.
#[derive(Debug, Default)]
pub(crate) struct Cursors(Remembered<Few<SubscriptionId, u64>>);

impl Cursors {
    /// The first number that a subscription did not get yet.
    pub(crate) fn next(&self, life: &Life, id: SubscriptionId) -> u64 {
        self.0.get(life).and_then(|next| next.get(&id)).copied().unwrap_or(0)
    }

    /// Writes down where subscriptions are, of at most `max` sources. Returns how many were forgotten for it.
    pub(crate) fn set(&mut self, life: Life, next: Few<SubscriptionId, u64>, max: usize) -> u64 {
        self.0.insert(life, next, max)
    }

    /// Forgets a subscription.
    pub(crate) fn forget(&mut self, id: SubscriptionId) {
        self.0.retain(|_, next| {
            next.remove(&id);
            !next.is_empty()
        });
    }
}
