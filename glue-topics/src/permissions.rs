//! What a peer may do with which topics, as this endpoint sees it.
//!
//! Each endpoint enforces its own rules towards its peers: nothing depends on what a peer says of itself. They are looked at
//! where state is made: a stream, a match of interest, an offer. So messages that pass cost nothing more.

use std::sync::Arc;

use crate::filter::Filter;

/// What a peer that is not trusted with everything may do: only what some filter allows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permissions {
    /// What it may publish. That counts for messages, requests, and wills.
    pub publish: Vec<Filter>,
    /// What it may get as a subscriber, serve requests of, and process as a member of a group, whose filter must lie within
    /// one of these.
    pub subscribe: Vec<Filter>,
    /// What it may get to cache it, and bring from its cache.
    pub cache: Vec<Filter>,
}

/// Something that a peer may not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Permission {
    /// Bring what it caches.
    Cache,
    /// Publish, request, or leave a will.
    Publish,
    /// Subscribe, serve, or be a member of a group.
    Subscribe,
}

/// The rules for one peer; `None`: it may do everything.
pub(crate) type Rules = Option<Arc<Permissions>>;

impl Permissions {
    /// Whether a peer may do it with a topic.
    #[must_use]
    pub fn allow(&self, what: Permission, topic: &str) -> bool {
        self.filters(what).iter().any(|filter| filter.matches(topic))
    }

    /// Whether it may do it with every topic that the filter matches.
    fn cover(&self, what: Permission, filter: &Filter) -> bool {
        self.filters(what).iter().any(|wider| wider.covers(filter))
    }

    /// Whether it may do it with any topic.
    fn allow_any(&self, what: Permission) -> bool {
        !self.filters(what).is_empty()
    }

    fn filters(&self, what: Permission) -> &[Filter] {
        match what {
            Permission::Cache => &self.cache,
            Permission::Publish => &self.publish,
            Permission::Subscribe => &self.subscribe,
        }
    }
}

pub(crate) fn allows(rules: &Rules, what: Permission, topic: &str) -> bool {
    rules.as_ref().is_none_or(|rules| rules.allow(what, topic))
}

pub(crate) fn allows_all(rules: &Rules, what: Permission, filter: &Filter) -> bool {
    rules.as_ref().is_none_or(|rules| rules.cover(what, filter))
}

pub(crate) fn allows_any(rules: &Rules, what: Permission) -> bool {
    rules.as_ref().is_none_or(|rules| rules.allow_any(what))
}

/// Whether it may get a topic: who caches it must.
pub(crate) fn may_get(rules: &Rules, topic: &str) -> bool {
    allows(rules, Permission::Subscribe, topic) || allows(rules, Permission::Cache, topic)
}
