//! What a publication keeps for those who join later.

use std::collections::VecDeque;
use std::sync::Arc;

use glue_net::{Gauge, Held, Instant};

use crate::bundle::Bundle;

/// What a publication keeps of what it published, for subscriptions that join later and ask for it ([`Wish`]). Nothing
/// that has expired is kept, and of all publications of an endpoint together no more than
/// [`crate::Config::max_history_bytes`]: beyond, the oldest messages go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum History {
    /// Nothing.
    #[default]
    None,
    /// The last so many messages.
    Last(u64),
    /// The last message: the topic has a value. An empty message clears it: it goes to who is subscribed, and who joins
    /// later gets nothing.
    Retained,
    /// All messages, up to so many bytes; beyond, the oldest go.
    All {
        /// Bytes of memory, for payloads and what is kept with them.
        max_bytes: usize,
    },
}

/// How much of what was published before it a subscription wants. It gets no more than the publication keeps
/// ([`History`]); to ask for more is no error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Wish {
    /// Nothing.
    #[default]
    None,
    /// The messages that have not expired among the last so many.
    Last(u64),
    /// All.
    All,
}

impl Wish {
    /// As a number of messages.
    pub(crate) const fn count(self) -> u64 {
        match self {
            Self::None => 0,
            Self::Last(count) => count,
            Self::All => u64::MAX,
        }
    }
}

/// Bundles that are kept, in order.
#[derive(Debug)]
pub(crate) struct Store {
    policy: History,
    bundles: VecDeque<Arc<Bundle>>,
    /// No number below it is given out.
    floor: u64,
    /// Counted in the sum of all publications.
    held: Held,
    sum: Gauge,
    max_sum: usize,
}

impl Store {
    pub(crate) fn new(policy: History, floor: u64, sum: &Gauge, max_sum: usize) -> Self {
        Self { policy, bundles: VecDeque::new(), floor, held: sum.hold(0), sum: sum.clone(), max_sum }
    }

    pub(crate) const fn set_policy(&mut self, policy: History) {
        self.policy = policy;
    }

    /// Notes that a message is published, whose bundle may come later.
    pub(crate) fn note(&mut self, sequence: u64, is_empty: bool) {
        let kept = match self.policy {
            History::Retained if is_empty => 0,
            History::Retained => 1,
            History::Last(count) => count,
            History::All { .. } => return,
            History::None => 0,
        };
        self.floor = self.floor.max((sequence + 1).saturating_sub(kept));
    }

    /// Keeps a bundle; returns how many messages had to go for it that the policy would have kept.
    pub(crate) fn push(&mut self, bundle: &Arc<Bundle>) -> u64 {
        if bundle.last >= self.floor {
            self.held.set(self.held.bytes() + bundle.bytes());
            self.bundles.push_back(Arc::clone(bundle));
        }
        self.drop_superseded();
        if self.is_over() {
            self.drop_expired(bundle.published);
        }
        let mut lost = 0;
        while self.is_over()
            && let Some(old) = self.take_first()
        {
            lost += old.count();
        }
        lost
    }

    /// Forgets what has expired at `now`; returns when the next does.
    pub(crate) fn drop_expired(&mut self, now: Instant) -> Option<Instant> {
        self.bundles.retain(|bundle| bundle.deadline > now);
        self.held.set(self.bundles.iter().map(|bundle| bundle.bytes()).sum());
        self.bundles.iter().map(|bundle| bundle.deadline).min()
    }

    /// The first number that is given out of the last `count` before `live`.
    pub(crate) fn begin(&self, count: u64, live: u64) -> u64 {
        let first = self.bundles.front().map_or(live, |bundle| bundle.first);
        first.max(self.floor).max(live.saturating_sub(count)).min(live)
    }

    /// The bundles that hold numbers from `begin` on.
    pub(crate) fn from(&self, begin: u64) -> impl Iterator<Item = &Arc<Bundle>> {
        self.bundles.iter().filter(move |bundle| bundle.last >= begin)
    }

    fn drop_superseded(&mut self) {
        while self.bundles.front().is_some_and(|bundle| bundle.last < self.floor) {
            self.take_first();
        }
    }

    fn take_first(&mut self) -> Option<Arc<Bundle>> {
        let bundle = self.bundles.pop_front()?;
        self.held.set(self.held.bytes() - bundle.bytes());
        Some(bundle)
    }

    fn is_over(&self) -> bool {
        let own = if let History::All { max_bytes } = self.policy { max_bytes } else { usize::MAX };
        self.held.bytes() > own || (self.sum.bytes() > self.max_sum && self.held.bytes() > 0)
    }
}
