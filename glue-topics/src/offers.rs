//! Who serves what: the peers, and this endpoint.

use std::collections::BTreeMap;

use glue_net::PeerId;

use crate::name::{TopicName, TypeName};

/// A service of a peer, or of this endpoint (`None`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) peer: Option<PeerId>,
    pub(crate) service: u64,
}

/// What is offered there.
#[derive(Debug)]
pub(crate) struct Offer {
    pub(crate) type_name: TypeName,
    /// How much of ours it has and has not done.
    pub(crate) load: usize,
}

/// All offers, found by topic and by place.
#[derive(Debug, Default)]
pub(crate) struct Offers {
    by_topic: BTreeMap<TopicName, BTreeMap<Place, Offer>>,
    topics: BTreeMap<Place, TopicName>,
}

impl Offers {
    pub(crate) fn add(&mut self, place: Place, topic: &TopicName, type_name: TypeName) {
        self.remove(place);
        self.topics.insert(place, topic.clone());
        self.by_topic.entry(topic.clone()).or_default().insert(place, Offer { type_name, load: 0 });
    }

    /// Returns what it was.
    pub(crate) fn remove(&mut self, place: Place) -> Option<(TopicName, TypeName)> {
        let topic = self.topics.remove(&place)?;
        let places = self.by_topic.get_mut(&topic)?;
        let offer = places.remove(&place)?;
        if places.is_empty() {
            self.by_topic.remove(&topic);
        }
        Some((topic, offer.type_name))
    }

    /// What a peer offers, by its numbers.
    pub(crate) fn of_peer(&self, peer: PeerId) -> Vec<Place> {
        let at = |service| Place { peer: Some(peer), service };
        self.topics.range(at(0)..=at(u64::MAX)).map(|(place, _)| *place).collect()
    }

    /// Who offers a topic.
    pub(crate) fn of(&self, topic: &str) -> impl Iterator<Item = (Place, &Offer)> {
        self.by_topic.get(topic).into_iter().flatten().map(|(place, offer)| (*place, offer))
    }

    /// Names of all topics and groups that are offered.
    pub(crate) fn names(&self) -> impl Iterator<Item = &TopicName> {
        self.by_topic.keys()
    }

    pub(crate) fn load(&mut self, place: Place) {
        if let Some(offer) = self.get_mut(place) {
            offer.load += 1;
        }
    }

    pub(crate) fn unload(&mut self, place: Place) {
        if let Some(offer) = self.get_mut(place) {
            offer.load = offer.load.saturating_sub(1);
        }
    }

    fn get_mut(&mut self, place: Place) -> Option<&mut Offer> {
        self.by_topic.get_mut(self.topics.get(&place)?)?.get_mut(&place)
    }
}

/// What an offer takes beside its names.
pub(crate) const OFFER_BYTES: usize = 300;
