//! Who serves what: the peers, and this endpoint.

use std::collections::BTreeMap;
use std::sync::Arc;

use glue_net::PeerId;

use crate::name::TypeName;

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

/// All offers, found by place and by name: a topic, or a group with its filter.
#[derive(Debug, Default)]
pub(crate) struct Offers {
    by_name: BTreeMap<Arc<str>, BTreeMap<Place, Offer>>,
    names: BTreeMap<Place, Arc<str>>,
}

impl Offers {
    pub(crate) fn add(&mut self, place: Place, name: &Arc<str>, type_name: TypeName) {
        self.remove(place);
        self.names.insert(place, Arc::clone(name));
        self.by_name.entry(Arc::clone(name)).or_default().insert(place, Offer { type_name, load: 0 });
    }

    /// Returns what it was.
    pub(crate) fn remove(&mut self, place: Place) -> Option<(Arc<str>, TypeName)> {
        let name = self.names.remove(&place)?;
        let places = self.by_name.get_mut(&name)?;
        let offer = places.remove(&place)?;
        if places.is_empty() {
            self.by_name.remove(&name);
        }
        Some((name, offer.type_name))
    }

    /// What a peer offers, by its numbers.
    pub(crate) fn of_peer(&self, peer: PeerId) -> Vec<Place> {
        let at = |service| Place { peer: Some(peer), service };
        self.names.range(at(0)..=at(u64::MAX)).map(|(place, _)| *place).collect()
    }

    /// Who offers it.
    pub(crate) fn of(&self, name: &str) -> impl Iterator<Item = (Place, &Offer)> {
        self.by_name.get(name).into_iter().flatten().map(|(place, offer)| (*place, offer))
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
        self.by_name.get_mut(self.names.get(&place)?)?.get_mut(&place)
    }
}

/// What an offer takes beside its names.
pub(crate) const OFFER_BYTES: usize = 300;
