//! What one peer is interested in.

use crate::filter::Filter;
use crate::lookup::FilterMap;
use crate::name::{TopicName, TypeName};
use crate::names::Names;

/// The filters of a peer, and the type that each wants.
#[derive(Debug, Default)]
pub(crate) struct Interest(FilterMap<TypeName>);

/// Whether a peer wants a publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Not the type that it wants: it named this topic.
    Mismatch(TypeName),
    No,
    Yes,
}

impl Interest {
    /// Adds a filter, or changes its type; false if there are `limit` already, or no room for its name.
    pub(crate) fn add(&mut self, filter: &Filter, type_name: TypeName, limit: usize, names: &mut Names) -> bool {
        let old = self.0.get(filter).map(|old| cost(filter, old));
        names.give_back(old.unwrap_or(0));
        if (old.is_none() && self.0.len() >= limit) || !names.take(cost(filter, &type_name)) {
            // What was there before fits again.
            old.map(|bytes| names.take(bytes));
            return false;
        }
        self.0.insert(filter.clone(), type_name);
        true
    }

    /// False: it was not there.
    pub(crate) fn remove(&mut self, filter: &Filter, names: &mut Names) -> bool {
        let old = self.0.remove(filter);
        names.give_back(old.as_ref().map_or(0, |old| cost(filter, old)));
        old.is_some()
    }

    /// A filter with wildcards takes those types that fit; that others do not is no mismatch.
    pub(crate) fn wants(&self, topic: &TopicName, type_name: &TypeName) -> Wanted {
        let exact = self.0.exact(topic);
        let takes = |wanted: &TypeName| wanted.takes(type_name);
        if exact.is_some_and(takes) || self.0.any_pattern(topic, takes) {
            return Wanted::Yes;
        }
        exact.map_or(Wanted::No, |wanted| Wanted::Mismatch(wanted.clone()))
    }
}

fn cost(filter: &Filter, type_name: &TypeName) -> usize {
    INTEREST_BYTES + filter.len() + type_name.len()
}

/// What an entry takes beside its names.
const INTEREST_BYTES: usize = 150;
