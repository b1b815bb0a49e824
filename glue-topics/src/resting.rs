//! Tracks that nobody needs now, in few bytes.
//!
//! Where subscriptions are in a source is needed again when its publisher comes back in the same life, or a cache tells of it,
//! and nobody can know that neither will happen: who forgot it would take what comes twice, or not tell what is missing. But
//! of a track that lacks nothing, of which no cache tells, and that no stream of a publisher leads to, a few numbers say all. So
//! it rests as those, and goes on from them when the source is heard of again, as if it had been there all the time.

use glue_net::{EndpointId, Incarnation};
use glue_security::PublicKey;

use crate::few::Few;
use crate::name::TypeName;
use crate::subscriptions::SubscriptionId;
use crate::tracks::{Life, Place, Track, Tracks};

/// What there is to know of a track at rest.
#[derive(Debug)]
pub(crate) struct Rest {
    topic_type: TypeName,
    /// Boxed, as most networks have none.
    public_key: Option<Box<PublicKey>>,
    places: Few<SubscriptionId, Place>,
    newest: SubscriptionId,
    live: u64,
    /// Of a publisher that is there.
    ended: Option<u64>,
}

impl Tracks {
    #[cfg(test)]
    pub(crate) fn awake(&self) -> usize {
        self.by_life.len()
    }

    /// Lets a track rest, if it can. To be called when no stream leads to it.
    pub(crate) fn lay_down(&mut self, life: &Life) {
        if self.get_mut(life).is_none_or(|track| !track.is_idle() || !track.waiting.is_empty()) {
            return;
        }
        let Some(track) = self.take(life) else { return };
        // Nobody is anywhere in it.
        if track.places.is_empty() {
            return;
        }
        let beside = self.resting.beside(life).map(|(_, rest)| &rest.topic_type);
        let topic_type = beside.filter(|other| **other == track.source.topic_type).unwrap_or(&track.source.topic_type);
        let rest = Rest {
            topic_type: topic_type.clone(),
            public_key: track.source.public_key.map(Box::new),
            places: track.places,
            newest: track.newest,
            live: track.live,
            ended: track.ended,
        };
        self.forgotten += self.resting.insert(life.clone(), rest, self.max_idle);
    }

    /// The type of the messages of a source whose track rests.
    pub(crate) fn resting_type(&self, life: &Life) -> Option<TypeName> {
        self.resting.get(life).map(|rest| rest.topic_type.clone())
    }

    /// The publisher's key, as it is known of a track.
    pub(crate) fn key_of(&self, life: &Life) -> Option<Option<PublicKey>> {
        let resting = || self.resting.get(life).map(|rest| rest.public_key.as_deref().copied());
        self.get(life).map(|track| track.source.public_key).or_else(resting)
    }

    /// A publisher is gone: no stream leads to its tracks, and what it publishes meanwhile follows the runs that it has ended.
    pub(crate) fn part(&mut self, publisher: (EndpointId, Incarnation)) {
        let lives: Vec<_> = self.lives_of(publisher).cloned().collect();
        for life in lives {
            self.get_mut(&life).into_iter().for_each(|track| track.ended = None);
            self.lay_down(&life);
        }
        self.resting.retain(|life, rest| {
            if (life.id, life.incarnation) == publisher {
                rest.ended = None;
            }
            true
        });
    }
}

impl Rest {
    /// Makes a track of it again.
    pub(crate) fn rouse(self, track: &mut Track) {
        (track.newest, track.live, track.ended) = (self.newest, self.live, self.ended);
        // Nothing is missing below where all are.
        let lowest = self.places.values().map(|place| place.next).min();
        track.known = lowest.map_or(0, |next| next.saturating_sub(1));
        track.places = self.places;
    }

    pub(crate) fn public_key(&self) -> Option<&PublicKey> {
        self.public_key.as_deref()
    }

    /// Forgets a subscription. Returns whether there is another.
    pub(crate) fn leave(&mut self, id: SubscriptionId) -> bool {
        self.places.remove(&id);
        !self.places.is_empty()
    }
}
