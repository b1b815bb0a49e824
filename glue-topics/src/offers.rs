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
    /// How much it may have, as far as is known from what it returned: one more with each that it does.
    window: usize,
    /// It has returned one, and done none since.
    is_full: bool,
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
        self.by_name.entry(Arc::clone(name)).or_default().insert(place, Offer::new(type_name));
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

    /// Whether it takes one more, if each may have `most`.
    pub(crate) fn has_room(&self, place: Place, most: usize) -> bool {
        let offer = self.names.get(&place).and_then(|name| self.by_name.get(name)?.get(&place));
        offer.is_some_and(|offer| !offer.is_full && offer.load < offer.window.min(most))
    }

    /// It has returned one, which counts as its own yet.
    pub(crate) fn note_returned(&mut self, place: Place) {
        if let Some(offer) = self.get_mut(place) {
            (offer.is_full, offer.window) = (true, offer.load.saturating_sub(1).max(1));
        }
    }

    /// It has done one.
    pub(crate) fn note_done(&mut self, place: Place) {
        if let Some(offer) = self.get_mut(place) {
            (offer.is_full, offer.window) = (false, offer.window.saturating_add(1));
        }
    }

    /// Those that were full may have room again.
    pub(crate) fn forget_full(&mut self) {
        self.by_name.values_mut().flat_map(BTreeMap::values_mut).for_each(|offer| offer.is_full = false);
    }

    fn get_mut(&mut self, place: Place) -> Option<&mut Offer> {
        self.by_name.get_mut(self.names.get(&place)?)?.get_mut(&place)
    }
}

impl Offer {
    const fn new(type_name: TypeName) -> Self {
        Self { type_name, load: 0, window: usize::MAX, is_full: false }
    }
}

/// What an offer takes beside its names.
pub(crate) const OFFER_BYTES: usize = 300;
