//! Joins the fragments of classic messages, which come by index, perhaps never all.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use glue_net::wire::classic::{Frame, Ksuid};
use glue_net::{Instant, PeerId};

/// Unfinished classic messages of all peers.
#[derive(Debug, Default)]
pub(crate) struct ClassicJoiner {
    partials: BTreeMap<(PeerId, Ksuid), Partial>,
    held: usize,
    expired: u64,
    over_budget: u64,
}

#[derive(Debug)]
struct Partial {
    last: Instant,
    count: u32,
    parts: BTreeMap<u32, Bytes>,
    bytes: usize,
}

impl ClassicJoiner {
    pub(crate) fn handle_frame(
        &mut self,
        now: Instant,
        peer: PeerId,
        frame: &Frame,
        limit: usize,
        max_partials: usize,
    ) -> Option<Bytes> {
        if frame.fragment_count == 1 {
            return Some(frame.payload.clone());
        }
        let key = (peer, frame.correlation_id);
        let cost = frame.payload.len() + PART_OVERHEAD;
        let known = self.partials.get(&key).map_or(0, |partial| partial.bytes);
        let is_new = !self.partials.contains_key(&key);
        if known + cost > limit || self.held + cost > limit || (is_new && self.of_peer(peer) >= max_partials) {
            self.over_budget += 1;
            self.remove(key);
            return None;
        }
        let (count, parts) = (frame.fragment_count, BTreeMap::new());
        let partial = self.partials.entry(key).or_insert(Partial { last: now, count, parts, bytes: 0 });
        if frame.fragment_index >= partial.count || partial.parts.contains_key(&frame.fragment_index) {
            return None;
        }
        partial.parts.insert(frame.fragment_index, frame.payload.clone());
        partial.last = now;
        partial.bytes += cost;
        self.held += cost;
        if partial.parts.len() < partial.count as usize {
            return None;
        }
        self.remove(key).map(|partial| partial.parts.into_values().flatten().collect())
    }

    pub(crate) fn handle_peer_gone(&mut self, peer: PeerId) {
        self.retain(|key, _| key.0 != peer);
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant, patience: Duration) {
        let before = self.partials.len();
        self.retain(|_, partial| partial.last + patience > now);
        self.expired += (before - self.partials.len()) as u64;
    }

    /// When the message that waits longest got its last fragment.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.partials.values().map(|partial| partial.last).min()
    }

    pub(crate) const fn held(&self) -> usize {
        self.held
    }

    pub(crate) fn len(&self) -> usize {
        self.partials.len()
    }

    pub(crate) const fn expired(&self) -> u64 {
        self.expired
    }

    pub(crate) const fn over_budget(&self) -> u64 {
        self.over_budget
    }

    fn of_peer(&self, peer: PeerId) -> usize {
        self.partials.range((peer, Ksuid([0; 20]))..=(peer, Ksuid([0xff; 20]))).count()
    }

    fn retain(&mut self, keep: impl Fn(&(PeerId, Ksuid), &Partial) -> bool) {
        let held = &mut self.held;
        self.partials.retain(|key, partial| {
            let keep = keep(key, partial);
            *held -= if keep { 0 } else { partial.bytes };
            keep
        });
    }

    fn remove(&mut self, key: (PeerId, Ksuid)) -> Option<Partial> {
        let partial = self.partials.remove(&key)?;
        self.held -= partial.bytes;
        Some(partial)
    }
}

/// What a fragment costs beside its bytes.
const PART_OVERHEAD: usize = 64;
