//! Signatures of bundles that others may cache: what comes from a cache is its publisher's, or it is dropped.
//!
//! A publisher signs what goes to a peer that caches the topic, once for each bundle, and nothing else. The signature stays with
//! the bundle as long as caches hand it on, and who takes it from one of them looks at it. What comes from its publisher needs
//! none: the session says whose it is.

use glue_net::{EndpointId, Incarnation, NetworkId, PeerId};
use glue_security::{Identity, PublicKey, Signature};

use crate::message::Source;
use crate::name::TopicName;
use crate::output::Event;
use crate::permissions::Permission;
use crate::topics::Topics;
use crate::tracks::Life;
use crate::trust::Trust;

/// What an endpoint of a private network signs by.
#[derive(Clone, Debug)]
pub(crate) struct Signer {
    identity: Identity,
    network: NetworkId,
    id: EndpointId,
    incarnation: Incarnation,
}

impl Signer {
    pub(crate) const fn public_key(&self) -> PublicKey {
        self.identity.public_key()
    }

    /// Signs a bundle of this endpoint.
    pub(crate) fn sign(&self, count: u64, body: &[u8]) -> Signature {
        self.identity.sign(&signed(self.network, (self.id, self.incarnation), count, body))
    }

    /// Whether the source's publisher has signed a bundle.
    fn verify(&self, source: &Source, count: u64, body: &[u8], signature: &Signature) -> bool {
        let life = (source.endpoint_id, source.incarnation);
        source.public_key.is_some_and(|key| key.verifies(&signed(self.network, life, count, body), signature))
    }
}

impl Topics {
    /// Makes the network private: bundles that others may cache are signed by `identity`, and what comes from caches is taken
    /// only as it was signed by its publisher. To be called before any peer is there.
    pub fn make_private(&mut self, identity: Identity, network: NetworkId) {
        let (id, incarnation) = (self.id, self.incarnation);
        self.outputs.signer = Some(Signer { identity, network, id, incarnation });
    }

    /// Says whose messages are taken from caches, by who is trusted to publish them; `None`: everybody's. For peers themselves their
    /// [facts](crate::PeerFacts) say it.
    pub fn set_trust(&mut self, trust: Option<Trust>) {
        self.trust = trust;
        let trust = &self.trust;
        self.tracks.distrust(|of, key| !is_trusted(trust.as_ref(), key, &of.topic));
    }

    /// Whether what caches tell of a source may be true.
    pub(crate) fn is_acceptable(&self, source: &Source) -> bool {
        let publisher = self.lives.get(&(source.endpoint_id, source.incarnation)).and_then(|id| self.peers.get(id));
        let is_known = publisher.is_none_or(|peer| peer.public_key == source.public_key);
        is_known && is_trusted(self.trust.as_ref(), source.public_key.as_ref(), &source.topic_name)
    }

    /// Whether a bundle that a cache brought is its publisher's. Outside of private networks it is believed.
    pub(crate) fn is_genuine(&self, source: &Source, count: u64, body: &[u8], signature: Option<&Signature>) -> bool {
        let Some(signer) = &self.outputs.signer else { return signature.is_none() };
        signature.is_some_and(|signature| signer.verify(source, count, body, signature))
    }

    /// A cache has brought what the publisher has not signed. It is asked for this source no more.
    pub(crate) fn catch_forger(&mut self, from: PeerId, life: &Life, count: u64) {
        self.caches.stats.forged = self.caches.stats.forged.saturating_add(count);
        if let Some(track) = self.tracks.get_mut(life) {
            track.holders.remove(&from);
            track.want.take_if(|want| want.peer == from);
        }
        self.tracks.dirty.insert(life.clone());
        let Some(id) = self.peers.get(&from).map(|peer| peer.id) else { return };
        if self.mismatches.note_forged(from, &life.topic.shared()) {
            let event = Event::Forged { peer: from, id, topic: life.topic.clone() };
            self.outputs.tell(event, self.config.max_events, &mut self.stats);
        }
    }
}

fn is_trusted(trust: Option<&Trust>, key: Option<&PublicKey>, topic: &TopicName) -> bool {
    let Some(trust) = trust else { return true };
    let rule = key.and_then(|key| trust.rule(key));
    rule.is_some_and(|rule| rule.as_ref().is_none_or(|rule| rule.allow(Permission::Publish, topic)))
}

/// What is signed of a bundle: the network, the publisher, how many messages, and the bundle, which names the topic and its first
/// number.
fn signed(network: NetworkId, (id, incarnation): (EndpointId, Incarnation), count: u64, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(CONTEXT.len() + HEADER_BYTES + body.len());
    out.extend_from_slice(CONTEXT);
    out.extend_from_slice(&network.0.to_be_bytes());
    out.extend_from_slice(id.as_bytes());
    out.extend_from_slice(&incarnation.0.to_be_bytes());
    out.extend_from_slice(&count.to_be_bytes());
    out.extend_from_slice(body);
    out
}

/// Nothing else that an identity signs begins so.
const CONTEXT: &[u8] = b"glue bundle 1";
const HEADER_BYTES: usize = 8 + 20 + 8 + 8;
