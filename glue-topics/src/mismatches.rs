//! Offers that are less than what was requested, on either side, and what peers may not do: told once.

use std::collections::BTreeSet;
use std::sync::Arc;

use glue_net::PeerId;

use crate::name::TopicName;
use crate::permissions::Permission;
use crate::qos::Policy;

/// What was told. `None`: between a publication and a subscription of this endpoint.
#[derive(Debug, Default)]
pub(crate) struct Mismatches(BTreeSet<(Option<PeerId>, Cause, Arc<str>)>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Cause {
    Denied(Permission),
    Forged,
    Unmet(Side, Policy),
}

/// Whose is what is less than what the other requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Side {
    Ours,
    Theirs,
}

impl Mismatches {
    /// Whether it is to be told: for the first time, and few others were (peers name the topics).
    pub(crate) fn note(&mut self, peer: Option<PeerId>, side: Side, topic: &TopicName, policy: Policy) -> bool {
        self.add(peer, Cause::Unmet(side, policy), &topic.shared())
    }

    /// As [`Mismatches::note`], of something that a peer may not do.
    pub(crate) fn note_denied(&mut self, peer: PeerId, what: Permission, topic: &Arc<str>) -> bool {
        self.add(Some(peer), Cause::Denied(what), topic)
    }

    /// As [`Mismatches::note`], of a peer that brought of a topic what nobody had signed.
    pub(crate) fn note_forged(&mut self, peer: PeerId, topic: &Arc<str>) -> bool {
        self.add(Some(peer), Cause::Forged, topic)
    }

    fn add(&mut self, peer: Option<PeerId>, cause: Cause, topic: &Arc<str>) -> bool {
        self.0.len() < MAX_TOLD && self.0.insert((peer, cause, Arc::clone(topic)))
    }

    pub(crate) fn forget_peer(&mut self, peer: PeerId) {
        self.0.retain(|(of, ..)| *of != Some(peer));
    }
}

/// Each costs about 100 bytes and its topic's name.
const MAX_TOLD: usize = 4_096;
