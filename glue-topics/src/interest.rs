//! What one peer is interested in.

use std::collections::BTreeMap;

use crate::name::{Filter, TopicName, TypeName};

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
    /// Adds a filter, or changes its type; false if there are `limit` already.
    pub(crate) fn add(&mut self, filter: &Filter, type_name: TypeName, limit: usize) -> bool {
        match filter {
            Filter::All => self.all = true,
            Filter::Exact(topic) => {
                if self.exact.len() >= limit && !self.exact.contains_key(topic) {
                    return false;
                }
                self.exact.insert(topic.clone(), type_name);
            }
        }
        true
    }

    pub(crate) fn remove(&mut self, filter: &Filter) {
        match filter {
            Filter::All => self.all = false,
            Filter::Exact(topic) => {
                self.exact.remove(topic);
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
