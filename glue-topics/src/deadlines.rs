//! Deadlines: who promised, or was promised, a message at least so often, and when the next is due.
//!
//! A watch is one promise that somebody here cares about. It costs a look-up for each delivery or publish of a topic that
//! has one, and nothing if there is none at all.

use std::collections::BTreeMap;
use std::time::Duration;

use glue_net::{Instant, PeerId};

use crate::name::TopicName;
use crate::output::{Delivery, Event};
use crate::topics::Topics;

/// Whose promise to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Promise {
    /// Ours, as a publisher.
    Given,
    /// A peer's (`None`: our own) to subscriptions here that requested this period.
    Taken(Option<PeerId>, Duration),
}

/// All watches, and when the next is due.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    watches: BTreeMap<(TopicName, Promise), Watch>,
    /// No watch is due before; they move away from it as messages come.
    next: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Watch {
    period: Duration,
    due: Instant,
}

impl Deadlines {
    pub(crate) const fn poll_timeout(&self) -> Option<Instant> {
        self.next
    }

    /// A message is due by `now + period`. False: there are too many watches.
    pub(crate) fn arm(&mut self, now: Instant, topic: &TopicName, promise: Promise, period: Duration) -> bool {
        let watch = Watch { period, due: now + period };
        let key = (topic.clone(), promise);
        if self.watches.len() >= MAX_WATCHES && !self.watches.contains_key(&key) {
            return false;
        }
        self.watches.insert(key, watch);
        self.next = Some(self.next.map_or(watch.due, |next| next.min(watch.due)));
        true
    }

    pub(crate) fn forget_peer(&mut self, peer: PeerId) {
        self.watches.retain(|(_, promise), _| !matches!(promise, Promise::Taken(Some(from), _) if *from == peer));
    }

    /// Those that are due, and how many periods each has missed; they are due again a period later.
    fn take_due(&mut self, now: Instant) -> Vec<(TopicName, Promise, Duration, u64)> {
        let mut due = Vec::new();
        for ((topic, promise), watch) in self.watches.iter_mut().filter(|(_, watch)| watch.due <= now) {
            let period = watch.period.as_nanos().max(1);
            let missed = 1 + u64::try_from(now.since(watch.due).as_nanos() / period).unwrap_or(u64::MAX);
            watch.due = watch.due + watch.period * u32::try_from(missed).unwrap_or(u32::MAX);
            due.push((topic.clone(), *promise, watch.period, missed));
        }
        self.next = self.watches.values().map(|watch| watch.due).min();
        due
    }

    fn remove(&mut self, topic: TopicName, promise: Promise) {
        self.watches.remove(&(topic, promise));
        self.next = self.watches.values().map(|watch| watch.due).min();
    }
}

impl Topics {
    /// Arms the watches of a source that subscriptions here have a deadline for.
    pub(crate) fn arm_taken(&mut self, now: Instant, from: Option<PeerId>, topic: &TopicName) {
        for period in self.subscriptions.periods(topic) {
            let is_armed = self.deadlines.arm(now, topic, Promise::Taken(from, period), period);
            self.stats.deadlines_refused += u64::from(!is_armed);
        }
    }

    /// Messages were delivered: all since there were `before` deliveries.
    pub(crate) fn note_deliveries(&mut self, now: Instant, before: usize) {
        if !self.subscriptions.has_periods() {
            return;
        }
        let source_of =
            |delivery: &Delivery| Some((delivery.batch.from(), delivery.batch.source()?.topic_name.clone()));
        let came: Vec<_> = self.outputs.deliveries.iter().skip(before).filter_map(source_of).collect();
        came.into_iter().for_each(|(from, topic)| self.arm_taken(now, from, &topic));
    }

    /// Tells which deadlines were missed.
    pub(crate) fn handle_deadlines(&mut self, now: Instant) {
        if self.deadlines.poll_timeout().is_none_or(|at| at > now) {
            return;
        }
        for (topic, promise, period, count) in self.deadlines.take_due(now) {
            let event = match promise {
                Promise::Given if self.is_promised(&topic, period) => {
                    Event::OfferedDeadlineMissed { topic, period, count }
                }
                Promise::Taken(from, _) if self.subscriptions.periods(&topic).contains(&period) => {
                    let id = from.and_then(|peer| self.peers.get(&peer)).map_or(self.id, |peer| peer.id);
                    Event::RequestedDeadlineMissed { peer: from, id, topic, period, count }
                }
                // Nobody cares any more.
                _ => {
                    self.deadlines.remove(topic, promise);
                    continue;
                }
            };
            self.stats.deadlines_missed += count;
            self.outputs.tell(event, self.config.max_events, &mut self.stats);
        }
    }

    fn is_promised(&self, topic: &TopicName, period: Duration) -> bool {
        let publication = self.publications.by_topic(topic).filter(|publication| publication.users > 0);
        publication.is_some_and(|publication| publication.offer().deadline == Some(period))
    }
}

/// Each costs about 150 bytes. A peer makes one for each topic that it offers and that we have a deadline for.
const MAX_WATCHES: usize = 65_536;
