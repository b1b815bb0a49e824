//! What a network key does to datagrams: all that leaves is sealed, and nothing else is taken.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use glue_net::wire::classic::{Body, Container};
use glue_net::wire::native::{ENVELOPE, Member, PRIVATE_DATA};
use glue_net::{Chain, Instant, Mark, NetworkId, Transmit};
use glue_security::{Credentials, Envelope, PublicKey, Random};
use glue_topics::Trust;

use crate::engine::Engine;
use crate::event::Event;

/// What an endpoint of a private network is given.
#[derive(Clone, Debug)]
pub struct Security {
    /// Which network, and which member of it.
    pub credentials: Credentials,
    /// Where keys and nonces come from; no other endpoint may have the same.
    pub random: Random,
}

/// Why a datagram is refused where networks are private.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Refusal {
    /// It is in the clear: its sender has no network key, or speaks the reference's wire only.
    Clear,
    /// It is sealed under another key, or was changed on the way.
    Foreign,
    /// It is sealed, and we have no key: there is a private network here.
    Sealed,
    /// It announces a member that is not trusted ([`crate::Trust`]).
    Untrusted {
        /// By what the member is known.
        public_key: PublicKey,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Clear => "it is in the clear, and this network is private: its sender has no GLUE_NETWORK_KEY",
            Self::Foreign => "it is sealed under another GLUE_NETWORK_KEY, or was changed on the way",
            Self::Sealed => "it is of a private network, and GLUE_NETWORK_KEY is not set here",
            Self::Untrusted { public_key } => {
                return write!(f, "{public_key} is not in the file of GLUE_TRUSTED_PEERS");
            }
        })
    }
}

/// The engine's part of it.
#[derive(Debug)]
pub(crate) struct Private {
    envelope: Envelope,
    /// `None`: all members are trusted.
    pub(crate) trust: Option<Trust>,
}

impl Private {
    pub(crate) fn new(credentials: &Credentials, network: NetworkId, random: Random, trust: Option<Trust>) -> Self {
        Self { envelope: Envelope::new(&credentials.key, network, random), trust }
    }
}

/// Who was refused why, and when that was told.
#[derive(Debug, Default)]
pub(crate) struct Refusals(BTreeMap<(SocketAddr, Refusal), Instant>);

impl Refusals {
    /// Whether the application should hear of it: not if it has just now, nor of ever more addresses.
    fn is_news(&mut self, now: Instant, from: SocketAddr, why: Refusal) -> bool {
        self.0.retain(|_, at| *at + TELL_AGAIN > now);
        if self.0.len() >= MAX_TOLD || self.0.contains_key(&(from, why)) {
            return false;
        }
        self.0.insert((from, why), now);
        true
    }
}

impl Engine {
    /// Seals what is in the clear of the datagram just appended: announcements and hellos, which are for all members.
    pub(crate) fn seal(&mut self, transmit: Transmit, start: Mark, out: &mut Chain) -> Transmit {
        let Some(private) = &mut self.private else { return transmit };
        let (start, buffer) = (start.written(), out.written());
        if buffer.get(start..).is_some_and(|datagram| datagram.starts_with(&PRIVATE_DATA)) {
            return transmit;
        }
        let datagram = buffer.split_off(start);
        private.envelope.seal(&ENVELOPE, &datagram, buffer);
        Transmit { len: buffer.len() - start, ..transmit }
    }

    /// Takes a datagram in a private network.
    pub(crate) fn handle_sealed(&mut self, now: Instant, from: SocketAddr, datagram: Bytes) {
        let Some(private) = &self.private else { return };
        if datagram.starts_with(&PRIVATE_DATA) {
            return self.handle_native(now, from, datagram);
        }
        let Some(sealed) = datagram.strip_prefix(&ENVELOPE) else { return self.refuse_clear(now, from, &datagram) };
        let Some(opened) = private.envelope.open(&ENVELOPE, sealed) else {
            self.stats.foreign += 1;
            return self.refuse(now, from, Refusal::Foreign);
        };
        let opened = Bytes::from(opened);
        match Member::decode(opened.clone()) {
            Ok(Some((member, container))) => self.handle_member(now, from, member, &container),
            Ok(None) => self.handle_native(now, from, opened),
            Err(_) => self.stats.malformed += 1,
        }
    }

    fn handle_member(&mut self, now: Instant, from: SocketAddr, member: Member, container: &Bytes) {
        let public_key = PublicKey::from_bytes(member.key);
        let trust = self.private.as_ref().and_then(|private| private.trust.as_ref());
        if trust.is_some_and(|trust| !trust.admits(&public_key)) {
            // What we said ourselves comes back from a group, and nobody need trust itself.
            if self.config.discovery.public_key != Some(public_key) {
                self.stats.untrusted += 1;
                self.refuse(now, from, Refusal::Untrusted { public_key });
            }
            return;
        }
        match Container::decode(container) {
            Ok((codec, container)) => {
                let source = container.source_endpoint_id;
                self.discovery.handle_member(now, from, codec, (member, container));
                self.note_announced(now, source);
            }
            Err(_) => self.stats.malformed += 1,
        }
    }

    /// It is told of, if it is from an endpoint of this network that is not private.
    fn refuse_clear(&mut self, now: Instant, from: SocketAddr, datagram: &Bytes) {
        self.stats.clear += 1;
        let Ok((_, container)) = Container::decode(datagram) else { return };
        if container.network_id == self.config.discovery.network && matches!(container.body, Body::Announcement(_)) {
            self.refuse(now, from, Refusal::Clear);
        }
    }

    /// Counts what is sealed where we have no key.
    #[cold]
    pub(crate) fn refuse_sealed(&mut self, now: Instant, from: SocketAddr) {
        self.stats.foreign += 1;
        self.refuse(now, from, Refusal::Sealed);
    }

    fn refuse(&mut self, now: Instant, from: SocketAddr, why: Refusal) {
        if self.refusals.is_news(now, from, why) {
            tracing::debug!(%from, ?why, "datagram refused");
            self.events.push_back(Event::Refused { address: from, why });
        }
    }
}

impl Engine {
    /// Says who is trusted with what from now on, in a private network; elsewhere it has no effect. Who is trusted no longer is
    /// dropped at once. With who may do something else than before a new session begins, so that all is looked at again: what
    /// was under way between the two is lost, and told as gaps. Others notice nothing.
    pub fn set_trust(&mut self, now: Instant, trust: Option<Trust>) {
        let Some(private) = &mut self.private else { return };
        let before = std::mem::replace(&mut private.trust, trust.clone());
        self.topics.set_trust(trust.clone());
        for (peer, key) in self.roster.keys() {
            let rule_of = |trust: &Option<Trust>| match trust {
                Some(trust) => trust.rule(&key?).cloned(),
                None => Some(None),
            };
            let rule = rule_of(&trust);
            if rule.is_none() {
                self.discovery.revoke(now, peer);
                self.follow_peers(now);
                // One out of reach is none of discovery's any more.
                self.forget(peer);
            } else if rule != rule_of(&before) {
                self.meet_anew(now, peer);
            }
        }
        self.deliver();
    }
}

/// Addresses that are told of in `TELL_AGAIN`; of more it is only counted that they were refused.
const MAX_TOLD: usize = 64;
const TELL_AGAIN: Duration = Duration::from_secs(60);
