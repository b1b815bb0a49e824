//! What one peer is interested in.

use crate::filter::Filter;
use crate::lookup::FilterMap;
use crate::name::{TopicName, TypeName};
use crate::names::Names;
use crate::permissions::{Rules, may_get};
use crate::qos::{Offer, Policy, Reliability, Request};

/// The filters of a peer, and what each wants.
#[derive(Debug)]
pub(crate) struct Interest {
    rules: Rules,
    filters: FilterMap<Want>,
    /// Those that request something.
    requests: usize,
}

/// What a filter of a peer wants.
#[derive(Clone, Debug)]
pub(crate) struct Want {
    pub(crate) type_name: TypeName,
    pub(crate) request: Request,
}

/// Whether a peer wants a publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// It may not get the topic, which it named.
    Denied,
    /// Not the type that it wants: it named this topic.
    Mismatch(TypeName),
    No,
    /// Less is offered than all of its filters request.
    Unmet(Policy),
    /// Nothing that is lost need be sent again.
    BestEffort,
    Yes,
}

impl Interest {
    pub(crate) fn new(rules: Rules) -> Self {
        Self { rules, filters: FilterMap::default(), requests: 0 }
    }

    /// Adds a filter, or changes its type; false if there are `limit` already, or no room for its name.
    pub(crate) fn add(&mut self, filter: &Filter, want: Want, limit: usize, names: &mut Names) -> bool {
        let old = self.filters.get(filter).map(|old| cost(filter, old));
        names.give_back(old.unwrap_or(0));
        if (old.is_none() && self.filters.len() >= limit) || !names.take(cost(filter, &want)) {
            // What was there before fits again.
            old.map(|bytes| names.take(bytes));
            return false;
        }
        self.requests += usize::from(!want.request.is_default());
        let old = self.filters.insert(filter.clone(), want);
        self.note_gone(old.as_ref());
        true
    }

    /// False: it was not there.
    pub(crate) fn remove(&mut self, filter: &Filter, names: &mut Names) -> bool {
        let old = self.filters.remove(filter);
        self.note_gone(old.as_ref());
        names.give_back(old.as_ref().map_or(0, |old| cost(filter, old)));
        old.is_some()
    }

    /// A filter with wildcards takes those types that fit; that others do not is no mismatch. A peer whose filters take too
    /// long to look through gets the topic.
    pub(crate) fn wants(&self, topic: &TopicName, type_name: &TypeName, offer: &Offer) -> Wanted {
        let exact = self.filters.exact(topic);
        if !may_get(&self.rules, topic) {
            return exact.map_or(Wanted::No, |_| Wanted::Denied);
        }
        let takes = |want: &Want| want.type_name.takes(type_name);
        if self.has_requests() {
            if let Some(wanted) = self.judge(topic, takes, offer) {
                return wanted;
            }
        } else if exact.is_some_and(takes) || self.filters.any_pattern(topic, MOST_STEPS, takes) {
            return Wanted::Yes;
        }
        exact.map_or(Wanted::No, |want| Wanted::Mismatch(want.type_name.clone()))
    }

    /// Whether a filter that takes a topic's type may not be enough to get it.
    pub(crate) const fn is_conditional(&self) -> bool {
        self.requests > 0 || self.rules.is_some()
    }

    /// Whether any filter requests something.
    pub(crate) const fn has_requests(&self) -> bool {
        self.requests > 0
    }

    /// `None`: no filter takes it. Of several the one that asks for most decides.
    fn judge(&self, topic: &TopicName, takes: impl Fn(&Want) -> bool, offer: &Offer) -> Option<Wanted> {
        let (mut unmet, mut best) = (None, None);
        let mut look = |want: &Want| {
            if takes(want) {
                match want.request.unmet(offer) {
                    Some(policy) => unmet = Some(policy),
                    None => best = best.max(Some(want.request.reliability != Some(Reliability::BestEffort))),
                }
            }
            // One that is served to the full decides.
            best == Some(true)
        };
        let is_full = self.filters.exact(topic).is_some_and(&mut look);
        if is_full || self.filters.any_pattern(topic, MOST_STEPS, look) {
            return Some(Wanted::Yes);
        }
        best.map(|_| Wanted::BestEffort).or_else(|| unmet.map(Wanted::Unmet))
    }

    fn note_gone(&mut self, old: Option<&Want>) {
        self.requests -= usize::from(old.is_some_and(|old| !old.request.is_default()));
    }
}

fn cost(filter: &Filter, want: &Want) -> usize {
    INTEREST_BYTES + filter.len() + want.type_name.len()
}

/// Topics of up to five levels never need more, and longer ones only if filters begin in all ways that there are. Without
/// it 128 such filters, and `#` that is taken back, held up a publisher of 10,000 topics of eight levels for 2.1 s.
const MOST_STEPS: usize = 64;
/// What an entry takes beside its names.
const INTEREST_BYTES: usize = 150;
