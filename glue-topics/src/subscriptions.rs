//! The subscriptions of this endpoint.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use crate::filter::Filter;
use crate::lookup::FilterMap;
use crate::message::Source;
use crate::name::{NameError, TopicName, TypeName};
use crate::qos::{Offer, Policy, Request};

/// A subscription of this endpoint; never used again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriptionId(pub u64);

/// Why a subscription was refused. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// The topic is no good filter, see [`Filter::new`].
    #[error("bad topic: {0}")]
    BadTopic(#[source] NameError),
    /// The type is no good name.
    #[error("bad type: {0}")]
    BadType(#[source] NameError),
    /// See [`crate::Config::max_subscriptions`].
    #[error("there are {limit} subscriptions already")]
    TooMany {
        /// How many there may be.
        limit: usize,
    },
    /// This endpoint uses the topic with another type.
    #[error("topic {topic} has type {expected:?} here, not {given:?}")]
    TypeMismatch {
        /// The topic.
        topic: TopicName,
        /// The type that this endpoint's publication or other subscription gave it.
        expected: TypeName,
        /// The type of the refused subscription.
        given: TypeName,
    },
}

/// All subscriptions, found by topic.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    filters: BTreeMap<SubscriptionId, Filter>,
    by_filter: FilterMap<Vec<(SubscriptionId, TypeName)>>,
    /// Those that want history, and how many messages of it.
    wishes: BTreeMap<SubscriptionId, u64>,
    /// Those that request something.
    requests: BTreeMap<SubscriptionId, Request>,
    /// Those that are caches: they want all, and are no subscriptions of the application.
    caches: BTreeSet<SubscriptionId>,
    last: u64,
    version: u64,
}

/// What others are told of a filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Declared {
    pub(crate) type_name: TypeName,
    pub(crate) request: Request,
}

/// Who gets the messages of a topic.
#[derive(Clone, Debug, Default)]
pub(crate) struct Matching {
    pub(crate) ids: Arc<[SubscriptionId]>,
    /// The type of a subscription to just this topic that does not take messages of this type.
    pub(crate) mismatch: Option<TypeName>,
}

impl Subscriptions {
    pub(crate) fn add(&mut self, filter: Filter, type_name: TypeName, request: Request) -> SubscriptionId {
        self.last += 1;
        self.version += 1;
        let id = SubscriptionId(self.last);
        if !request.is_default() {
            self.requests.insert(id, request);
        }
        let entry = (id, filter.type_name(type_name));
        match self.by_filter.get_mut(&filter) {
            Some(list) => list.push(entry),
            None => drop(self.by_filter.insert(filter.clone(), vec![entry])),
        }
        self.filters.insert(id, filter);
        id
    }

    /// An id for a subscription that is a member of a group, and not kept here.
    pub(crate) const fn next_id(&mut self) -> SubscriptionId {
        self.last += 1;
        SubscriptionId(self.last)
    }

    pub(crate) fn remove(&mut self, id: SubscriptionId) {
        let Some(filter) = self.filters.remove(&id) else { return };
        self.version += 1;
        self.wishes.remove(&id);
        self.requests.remove(&id);
        self.caches.remove(&id);
        let Some(list) = self.by_filter.get_mut(&filter) else { return };
        list.retain(|(other, _)| *other != id);
        if list.is_empty() {
            self.by_filter.remove(&filter);
        }
    }

    pub(crate) fn filter(&self, id: SubscriptionId) -> Option<&Filter> {
        self.filters.get(&id)
    }

    pub(crate) fn len(&self) -> usize {
        self.filters.len()
    }

    /// Changes whenever a [`Matching`] may.
    pub(crate) const fn version(&self) -> u64 {
        self.version
    }

    /// What others are told of a filter: its type, or that any will do if subscriptions differ; and what all of them request.
    /// `None`: not wanted.
    pub(crate) fn declared(&self, filter: &Filter) -> Option<Declared> {
        let list = self.by_filter.get(filter)?;
        let (_, first) = list.first()?;
        let type_name = if list.iter().all(|(_, other)| other == first) { first.clone() } else { TypeName::any() };
        let request = list.iter().map(|(id, _)| self.request_of(*id)).reduce(Request::or).unwrap_or_default();
        Some(Declared { type_name, request })
    }

    fn request_of(&self, id: SubscriptionId) -> Request {
        self.requests.get(&id).copied().unwrap_or_default()
    }

    /// Those of `ids` whose requests an offer meets; and what of the others' it does not.
    pub(crate) fn meeting(&self, ids: Arc<[SubscriptionId]>, offer: &Offer) -> (Arc<[SubscriptionId]>, Option<Policy>) {
        if self.requests.is_empty() {
            return (ids, None);
        }
        let Some(policy) = ids.iter().find_map(|id| self.request_of(*id).unmet(offer)) else { return (ids, None) };
        (ids.iter().filter(|id| self.request_of(**id).unmet(offer).is_none()).copied().collect(), Some(policy))
    }

    /// Whether any subscription has a deadline.
    pub(crate) fn has_periods(&self) -> bool {
        self.requests.values().any(|request| request.deadline.is_some())
    }

    /// The deadlines that subscriptions to a topic have.
    pub(crate) fn periods(&self, topic: &str) -> BTreeSet<Duration> {
        if self.requests.is_empty() {
            return BTreeSet::new();
        }
        self.matching(topic, None).ids.iter().filter_map(|id| self.request_of(*id).deadline).collect()
    }

    /// Notes that a subscription wants so much history.
    pub(crate) fn set_wish(&mut self, id: SubscriptionId, wish: u64) {
        if wish > 0 {
            self.wishes.insert(id, wish);
        }
    }

    /// A subscription is a cache.
    pub(crate) fn set_cache(&mut self, id: SubscriptionId) {
        self.set_wish(id, u64::MAX);
        self.caches.insert(id);
    }

    /// How much history a subscription wants.
    pub(crate) fn wish_of(&self, id: SubscriptionId) -> u64 {
        self.wishes.get(&id).copied().unwrap_or(0)
    }

    /// The most history that subscriptions after `told` want, by filter.
    pub(crate) fn wishes_after(&self, told: SubscriptionId) -> BTreeMap<&Filter, u64> {
        let mut most = BTreeMap::new();
        for (id, wish) in self.wishes.range((Bound::Excluded(told), Bound::Unbounded)) {
            if let Some(filter) = self.filters.get(id) {
                let entry = most.entry(filter).or_insert(*wish);
                *entry = (*wish).max(*entry);
            }
        }
        most
    }

    /// Those of `ids` that get what a run brings that began when the wishes up to `asked` were known. The others wait for
    /// the run that brings their history.
    pub(crate) fn taking_part(&self, ids: Arc<[SubscriptionId]>, asked: SubscriptionId) -> Arc<[SubscriptionId]> {
        let waits = |id: &SubscriptionId| *id > asked && self.wish_of(*id) > 0;
        if self.wishes.is_empty() || !ids.iter().any(waits) {
            return ids;
        }
        ids.iter().filter(|id| !waits(id)).copied().collect()
    }

    /// The newest of all that ever were.
    pub(crate) const fn newest(&self) -> SubscriptionId {
        SubscriptionId(self.last)
    }

    /// Every filter, once.
    pub(crate) fn declared_filters(&self) -> impl Iterator<Item = &Filter> {
        self.by_filter.filters()
    }

    /// The type that a subscription gave to the topic.
    pub(crate) fn fixed_type(&self, topic: &str) -> Option<&TypeName> {
        self.by_filter.exact(topic)?.iter().map(|(_, type_name)| type_name).find(|type_name| !type_name.is_open())
    }

    /// Who gets messages of `topic` and `type_name`; `None`: a type that is not known.
    pub(crate) fn matching(&self, topic: &str, type_name: Option<&TypeName>) -> Matching {
        let takes = |wanted: &TypeName| type_name.is_none_or(|given| wanted.takes(given));
        let exact = self.by_filter.exact(topic).map_or(&[][..], Vec::as_slice);
        let mut ids = Vec::new();
        let mut add = |list: &[(SubscriptionId, TypeName)]| {
            ids.extend(list.iter().filter(|(_, wanted)| takes(wanted)).map(|(id, _)| *id));
        };
        add(exact);
        self.by_filter.any_pattern(topic, usize::MAX, |list| {
            add(list);
            false
        });
        if !self.caches.is_empty() {
            ids.retain(|id| !self.caches.contains(id));
        }
        let mismatch = exact.iter().find(|(_, wanted)| !takes(wanted)).map(|(_, wanted)| wanted.clone());
        Matching { ids: ids.into(), mismatch }
    }

    /// As [`Subscriptions::matching`], for a source. To a classic publisher `$` is a character like any other, and `#`
    /// everything.
    pub(crate) fn matching_source(&self, source: &Source) -> Matching {
        let mut matching = self.matching(&source.topic_name, Some(&source.topic_type));
        if source.is_classic() && source.topic_name.starts_with('$') {
            let all = self.by_filter.all().into_iter().flatten().map(|(id, _)| *id);
            let all = all.filter(|id| !self.caches.contains(id));
            matching.ids = matching.ids.iter().copied().chain(all).collect();
        }
        matching
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn type_name(text: &str) -> TypeName {
        TypeName::new(text, 64).unwrap()
    }

    fn filter(text: &str) -> Filter {
        Filter::new(text, 64).unwrap()
    }

    #[test]
    fn a_message_goes_to_the_topics_subscriptions_and_to_those_of_everything() {
        let mut subscriptions = Subscriptions::default();
        let exact = subscriptions.add(filter("a"), type_name("json"), Request::default());
        let all = subscriptions.add(filter("#"), TypeName::any(), Request::default());
        let _other = subscriptions.add(filter("b"), type_name("json"), Request::default());
        assert_eq!(*subscriptions.matching("a", Some(&type_name("json"))).ids, [exact, all]);
        let mismatch = subscriptions.matching("a", Some(&type_name("text")));
        assert_eq!((&*mismatch.ids, mismatch.mismatch), (&[all][..], Some(type_name("json"))));
    }

    #[test]
    fn a_filter_with_wildcards_takes_the_types_that_fit() {
        let mut subscriptions = Subscriptions::default();
        let json = subscriptions.add(filter("a/+"), type_name("json"), Request::default());
        let any = subscriptions.add(filter("+/b"), TypeName::any(), Request::default());
        let all = subscriptions.add(filter("#"), type_name("json"), Request::default());
        let matching = |given| subscriptions.matching("a/b", Some(&type_name(given)));
        let of_json: BTreeSet<_> = matching("json").ids.iter().copied().collect();
        assert_eq!(of_json, [json, any, all].into());
        let of_text: BTreeSet<_> = matching("text").ids.iter().copied().collect();
        assert_eq!((of_text, matching("text").mismatch), ([any, all].into(), None));
        assert_eq!(*subscriptions.matching("$a/b", Some(&type_name("json"))).ids, []);
    }

    #[test]
    fn a_filter_is_declared_until_its_last_subscription_is_gone() {
        let mut subscriptions = Subscriptions::default();
        let first = subscriptions.add(filter("a"), type_name("json"), Request::default());
        let second = subscriptions.add(filter("a"), TypeName::any(), Request::default());
        assert_eq!(subscriptions.declared(&filter("a")).unwrap().type_name, TypeName::any());
        subscriptions.remove(second);
        assert_eq!(subscriptions.declared(&filter("a")).unwrap().type_name, type_name("json"));
        subscriptions.remove(first);
        subscriptions.remove(first);
        assert_eq!(subscriptions.declared(&filter("a")), None);
    }
}
