//! From a stream to the subscriptions: at once, or by a track if caches tell of the source too.

use std::sync::Arc;

use crate::batch::Batch;
use crate::name::{TopicName, TypeName};
use crate::stream::{Sink, Stream};
use crate::subscriptions::SubscriptionId;
use crate::tracks::{Offer, Place};

impl Stream {
    /// Delivers what is in order.
    pub(crate) fn hand(
        &mut self,
        ids: Arc<[SubscriptionId]>,
        (first, last): (u64, u64),
        batch: Batch,
        sink: &mut Sink<'_>,
    ) {
        if !self.is_tracked && sink.tracks.joining.is_empty() {
            return sink.outputs.deliver(&ids, batch);
        }
        let starts: Vec<_> = ids.iter().map(|id| (*id, first)).collect();
        self.offer(&starts, (first, last), batch, sink);
    }

    /// Delivers what is in order, to each from a number on.
    pub(crate) fn offer(
        &mut self,
        starts: &[(SubscriptionId, u64)],
        (first, last): (u64, u64),
        batch: Batch,
        sink: &mut Sink<'_>,
    ) {
        let joins = |(id, _): &(SubscriptionId, u64)| sink.tracks.joining.contains_key(id);
        if !self.is_tracked && starts.iter().any(joins) {
            self.open_track(sink);
        }
        let life = sink.life(&self.topic);
        let track = sink.tracks.get_mut(&life);
        let ended = track.and_then(|track| {
            track.live = track.live.max(self.run.live());
            track.ended.take_if(|ended| *ended <= first)
        });
        // Under these numbers nothing was published.
        if let Some(ended) = ended.filter(|ended| *ended < first) {
            sink.tracks.bring(&life, Offer { first: ended, last: first - 1, batch: None }, sink.outputs);
        }
        sink.tracks.offer(&life, starts, Offer { first, last, batch: Some(batch) }, sink.outputs);
    }

    /// The publisher has forgotten the topic, and said where its run ends. What it publishes later may have larger numbers.
    pub(crate) fn end_track(&self, next: Option<u64>, sink: &mut Sink<'_>) {
        if self.is_tracked
            && let Some(track) = sink.tracks.get_mut(&sink.life(&self.topic))
        {
            track.ended = next;
        }
    }

    /// A cache tells of the topic.
    pub(crate) const fn set_tracked(&mut self) {
        self.is_tracked = true;
    }

    /// Writes down where subscriptions are: somebody else may bring the rest, or the publisher when it is back.
    pub(crate) fn leave_track(&mut self, sink: &mut Sink<'_>) {
        let places = self.places(sink);
        if places.is_empty() {
            return;
        }
        self.open_track(sink);
        let Some(track) = sink.tracks.get_mut(&sink.life(&self.topic)) else { return };
        for (id, next) in places {
            let has_wish = sink.subscriptions.wish_of(id) > 0;
            // Where it is already, all that this stream brings has gone through the track. Where it joins, that waits there.
            if !track.places.contains_key(&id) && !track.joining.contains_key(&id) {
                track.places.insert(id, Place { next, is_anchored: true, has_wish });
            }
        }
    }

    fn open_track(&mut self, sink: &mut Sink<'_>) {
        let source = self.source.clone();
        let source = source.unwrap_or_else(|| sink.source(self.topic.clone(), TypeName::any()));
        sink.tracks.open(&source, sink.subscriptions.newest());
        self.is_tracked = true;
    }
}

impl Sink<'_> {
    /// Whether a topic of the peer that begins has a track. One that rests is roused.
    pub(crate) fn find_track(&mut self, topic: &TopicName) -> bool {
        let life = self.life(topic);
        if let Some(topic_type) = self.tracks.resting_type(&life) {
            let source = self.source(topic.clone(), topic_type);
            self.tracks.open(&source, self.subscriptions.newest());
        }
        self.tracks.has(&life)
    }
}
