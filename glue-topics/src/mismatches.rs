//! Offers that are less than what was requested, on either side: told once.

use std::collections::BTreeSet;

use glue_net::PeerId;

use crate::name::TopicName;
use crate::qos::Policy;

/// What was told. `None`: between a publication and a subscription of this endpoint.
#[derive(Debug, Default)]
pub(crate) struct Mismatches(BTreeSet<(Option<PeerId>, Side, TopicName, Policy)>);

/// Whose is what is less than what the other requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Side {
    Ours,
    Theirs,
}

impl Mismatches {
    /// Whether it is to be told: for the first time, and few others were (peers name the topics).
    pub(crate) fn note(&mut self, peer: Option<PeerId>, side: Side, topic: &TopicName, policy: Policy) -> bool {
        self.0.len() < MAX_TOLD && self.0.insert((peer, side, topic.clone(), policy))
    }

    pub(crate) fn forget_peer(&mut self, peer: PeerId) {
        self.0.retain(|(of, ..)| *of != Some(peer));
    }
}

/// Each costs about 100 bytes and its topic's name.
const MAX_TOLD: usize = 4_096;
