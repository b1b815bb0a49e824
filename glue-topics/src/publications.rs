//! All publications of this endpoint.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::filter::Filter;
use crate::lookup::Levels;
use crate::message::Source;
use crate::name::{NameError, TopicName, TypeName};
use crate::publication::Publication;

/// A topic that this endpoint publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicationId {
    index: u32,
    /// Tells a slot's publications apart.
    generation: u32,
}

/// Why a publication or a message was refused. Nothing was queued, no sequence number was used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The topic is no good name.
    #[error("bad topic: {0}")]
    BadTopic(#[source] NameError),
    /// The type is no good name.
    #[error("bad type: {0}")]
    BadType(#[source] NameError),
    /// An expiry of zero: the message would be dead before anyone could have it.
    #[error("expiry is zero: the message would reach nobody")]
    NoLifetime,
    /// See [`crate::Config::max_publications`].
    #[error("there are {limit} publications already")]
    TooMany {
        /// How many there may be.
        limit: usize,
    },
    /// See [`crate::Config::max_message_bytes`].
    #[error("message has {len} bytes, more than {limit}")]
    TooLarge {
        /// Bytes of the payload.
        len: usize,
        /// Bytes that it may have.
        limit: usize,
    },
    /// This endpoint uses the topic with another type.
    #[error("topic {topic} has type {expected:?} here, not {given:?}")]
    TypeMismatch {
        /// The topic.
        topic: TopicName,
        /// The type that this endpoint's subscription or other publication gave it.
        expected: TypeName,
        /// The type of the refused publication.
        given: TypeName,
    },
    /// The publication was released.
    #[error("the publication was released")]
    Unknown,
}

/// Publications by number and by topic.
///
/// Those that are no longer in use stay for a while: should the topic be published again, its sequence numbers go on,
/// and peers that follow it need no new start.
#[derive(Debug, Default)]
pub(crate) struct Publications {
    slots: Vec<Slot>,
    free: Vec<u32>,
    by_topic: BTreeMap<TopicName, u32>,
    levels: Levels,
    /// Slots of idle ones, by mark: the longest idle first.
    idle: BTreeMap<u64, u32>,
    idle_mark: u64,
    /// Above it no number was used by a publication that was forgotten.
    floor: u64,
    /// Slots that may have an open bundle.
    listed: Vec<u32>,
}

#[derive(Debug, Default)]
struct Slot {
    generation: u32,
    publication: Option<Publication>,
}

impl Publications {
    /// The publication, if it is in use.
    #[inline]
    pub(crate) fn get_mut(&mut self, id: PublicationId) -> Option<&mut Publication> {
        let slot = self.slots.get_mut(id.index as usize).filter(|slot| slot.generation == id.generation)?;
        slot.publication.as_mut().filter(|publication| publication.users > 0)
    }

    pub(crate) fn get(&self, id: PublicationId) -> Option<&Publication> {
        let slot = self.slots.get(id.index as usize).filter(|slot| slot.generation == id.generation)?;
        slot.publication.as_ref().filter(|publication| publication.users > 0)
    }

    /// How many are in use.
    pub(crate) fn used(&self) -> usize {
        self.by_topic.len() - self.idle.len()
    }

    pub(crate) fn idle(&self) -> usize {
        self.idle.len()
    }

    pub(crate) fn by_topic(&self, topic: &str) -> Option<&Publication> {
        self.slots.get(*self.by_topic.get(topic)? as usize)?.publication.as_ref()
    }

    pub(crate) fn by_topic_mut(&mut self, topic: &str) -> Option<&mut Publication> {
        self.at_mut(self.slot(topic)?)
    }

    /// The topics that a filter matches, of all, in use or idle.
    pub(crate) fn matched(&self, filter: &Filter) -> Vec<TopicName> {
        if let Some(topic) = filter.topic() {
            return vec![topic];
        }
        let topics = self.matched_slots(filter).into_iter().filter_map(|slot| self.topic(slot));
        topics.cloned().collect()
    }

    /// The slots of the topics that a filter matches. Who has a slot need not look for the topic again, which for a
    /// thousand filters among ten thousand topics was a third of the work.
    pub(crate) fn matched_slots(&self, filter: &Filter) -> Vec<u32> {
        if filter.topic().is_some() {
            return self.slot(filter).into_iter().collect();
        }
        let Some(mut slots) = self.levels.fewest(filter) else {
            let all = self.by_topic.iter().filter(|(topic, _)| filter.matches(topic));
            return all.map(|(_, slot)| *slot).collect();
        };
        slots.retain(|slot| self.topic(*slot).is_some_and(|topic| filter.matches(topic)));
        slots
    }

    pub(crate) fn slot(&self, topic: &str) -> Option<u32> {
        self.by_topic.get(topic).copied()
    }

    fn topic(&self, slot: u32) -> Option<&TopicName> {
        let publication = self.slots.get(slot as usize)?.publication.as_ref()?;
        Some(&publication.source.topic_name)
    }

    pub(crate) fn at_mut(&mut self, slot: u32) -> Option<&mut Publication> {
        self.slots.get_mut(slot as usize)?.publication.as_mut()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Publication> {
        self.slots.iter().filter_map(|slot| slot.publication.as_ref())
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Publication> {
        self.slots.iter_mut().filter_map(|slot| slot.publication.as_mut())
    }

    /// One more user of the topic's publication, which is there.
    pub(crate) fn reuse(&mut self, topic: &str) -> Option<PublicationId> {
        let index = *self.by_topic.get(topic)?;
        let slot = self.slots.get_mut(index as usize)?;
        let publication = slot.publication.as_mut()?;
        publication.users += 1;
        if publication.users == 1 {
            self.idle.remove(&publication.idle_mark);
        }
        Some(PublicationId { index, generation: slot.generation })
    }

    /// A new publication with one user, whose numbers begin at `next_sequence`, or where no forgotten one's were.
    /// `None`: more slots than a number can name, which the limits rule out.
    pub(crate) fn insert(&mut self, source: Source, next_sequence: u64) -> Option<PublicationId> {
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                self.slots.push(Slot::default());
                u32::try_from(self.slots.len() - 1).ok()?
            }
        };
        let slot = self.slots.get_mut(index as usize)?;
        self.by_topic.insert(source.topic_name.clone(), index);
        self.levels.insert(&source.topic_name, index);
        let publication = Publication::new(Arc::new(source), next_sequence.max(self.floor + 1));
        slot.publication.insert(publication).users = 1;
        Some(PublicationId { index, generation: slot.generation })
    }

    /// One user less; the last leaves it idle.
    pub(crate) fn release(&mut self, id: PublicationId) {
        let mark = self.idle_mark + 1;
        let Some(publication) = self.get_mut(id) else { return };
        publication.users -= 1;
        if publication.users == 0 {
            publication.idle_mark = mark;
            self.idle_mark = mark;
            self.idle.insert(mark, id.index);
        }
    }

    /// Forgets the one that is idle for longest.
    pub(crate) fn take_longest_idle(&mut self) -> Option<Publication> {
        let (_, index) = self.idle.pop_first()?;
        let publication = self.take(index)?;
        self.floor = self.floor.max(publication.next_sequence - 1);
        Some(publication)
    }

    /// Forgets the topic's publication, if it is idle.
    pub(crate) fn take_idle(&mut self, topic: &str) -> Option<Publication> {
        let mark = self.by_topic(topic).filter(|publication| publication.users == 0)?.idle_mark;
        let index = self.idle.remove(&mark)?;
        self.take(index)
    }

    fn take(&mut self, index: u32) -> Option<Publication> {
        let slot = self.slots.get_mut(index as usize)?;
        let publication = slot.publication.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(index);
        self.by_topic.remove(&publication.source.topic_name);
        self.levels.remove(&publication.source.topic_name, index);
        Some(publication)
    }

    /// Puts a publication in the list of those to be closed.
    pub(crate) fn list(&mut self, id: PublicationId) {
        self.listed.push(id.index);
    }

    /// Those that may have an open bundle.
    pub(crate) fn listed(&self) -> impl Iterator<Item = &Publication> {
        self.listed.iter().filter_map(|index| self.slots.get(*index as usize)?.publication.as_ref())
    }

    /// Calls `close` for each publication that may have an open bundle, and forgets those that have none then.
    pub(crate) fn close_listed(&mut self, mut close: impl FnMut(&mut Publication)) {
        let slots = &mut self.slots;
        self.listed.retain(|index| {
            let slot = slots.get_mut(*index as usize);
            let Some(publication) = slot.and_then(|slot| slot.publication.as_mut()) else { return false };
            close(publication);
            publication.listed = publication.has_open();
            publication.listed
        });
    }
}
