//! What one peer is interested in.

use std::collections::BTreeMap;

use crate::name::{Filter, TopicName, TypeName};
use crate::names::Names;

/// The filters of a peer.
#[derive(Debug, Default)]
pub(crate) struct Interest {
    exact: BTreeMap<TopicName, TypeName>,
    all: bool,
}

/// Whether a peer wants a publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Not the type that it wants.
    Mismatch(TypeName),
    No,
    Yes,
}

impl Interest {
    /// Adds a filter, or changes its type; false if there are `limit` already, or no room for its name.
    pub(crate) fn add(&mut self, filter: &Filter, type_name: TypeName, limit: usize, names: &mut Names) -> bool {
        match filter {
            Filter::All => self.all = true,
            Filter::Exact(topic) => {
                let old = self.exact.get(topic).map(|old| cost(topic, old));
                names.give_back(old.unwrap_or(0));
                if (old.is_none() && self.exact.len() >= limit) || !names.take(cost(topic, &type_name)) {
                    // What was there before fits again.
                    old.map(|bytes| names.take(bytes));
                    return false;
                }
                self.exact.insert(topic.clone(), type_name);
            }
        }
        true
    }

    pub(crate) fn remove(&mut self, filter: &Filter, names: &mut Names) {
        match filter {
            Filter::All => self.all = false,
            Filter::Exact(topic) => {
                let old = self.exact.remove(topic);
                names.give_back(old.map_or(0, |old| cost(topic, &old)));
            }
        }
    }

    pub(crate) fn wants(&self, topic: &TopicName, type_name: &TypeName) -> Wanted {
        match self.exact.get(topic) {
            _ if self.all => Wanted::Yes,
            None => Wanted::No,
            Some(wanted) if wanted.takes(type_name) => Wanted::Yes,
            Some(wanted) => Wanted::Mismatch(wanted.clone()),
        }
    }
}

fn cost(topic: &TopicName, type_name: &TypeName) -> usize {
    INTEREST_BYTES + topic.len() + type_name.len()
}

/// What an entry takes beside its names.
const INTEREST_BYTES: usize = 150;
