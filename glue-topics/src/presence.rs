//! Tokens: names that an endpoint holds for all to see, until it lets go of them or is gone.
//!
//! Tokens and wills (`will.rs`) are *claims*. Each endpoint tells its own to every native peer, as it tells its
//! subscriptions; so each observer knows the claims of its peers, and decides alone what becomes of them when one is lost:
//!
//! - A peer is *there* from the time it is up until it is [lost](Topics::handle_peer_lost), or gone. Its tokens are up while
//!   it is there, and it tells them.
//! - A peer that is lost keeps its claims, hidden. If it is [found](Topics::handle_peer_found) again in the same life its
//!   tokens are up again, and it need not tell them anew: control is in order, so what it changed meanwhile follows.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use glue_net::wire::{DecodeError, Reader, put_bytes};
use glue_net::{EndpointId, Incarnation, PeerId};

use crate::filter::Filter;
use crate::name::{EndpointName, NameError, TopicName};
use crate::names::Names;
use crate::output::Outputs;
use crate::peer::Peer;
use crate::topics::Topics;
use crate::will::{OwnWill, PeerWills, WillOperation};

/// An endpoint, in one of its lives, that holds a token.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Holder {
    /// The endpoint.
    pub endpoint_id: EndpointId,
    /// Which of its lives: a later one is larger.
    pub incarnation: Incarnation,
    /// Its name.
    pub endpoint_name: EndpointName,
    /// The token.
    pub token: TopicName,
}

/// A change of who holds which token. For each holder up and down take turns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenEvent {
    /// Held from now on.
    Up(Holder),
    /// Let go of, or its holder is gone or was not heard for a while.
    Down(Holder),
}

/// Why a token was refused. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// It is no good name: the rules are those of topics.
    #[error("bad token: {0}")]
    BadName(#[source] NameError),
    /// See [`crate::Config::max_tokens`].
    #[error("there are {limit} tokens already")]
    TooMany {
        /// How many there may be.
        limit: usize,
    },
}

/// Changes that wait to be told. Those that cancel out before they are told are never told, so what waits is bounded by
/// what there is, and by what was told.
#[derive(Debug, Default)]
pub struct TokenChanges(BTreeMap<Holder, TokenEvent>);

impl TokenEvent {
    /// Whose token.
    #[must_use]
    pub const fn holder(&self) -> &Holder {
        match self {
            Self::Up(holder) | Self::Down(holder) => holder,
        }
    }
}

impl TokenChanges {
    /// Notes a change. For each holder up and down must take turns.
    pub fn note(&mut self, event: TokenEvent) {
        if self.0.remove(event.holder()).is_none() {
            self.0.insert(event.holder().clone(), event);
        }
    }

    /// Takes out a change.
    #[must_use]
    pub fn take(&mut self) -> Option<TokenEvent> {
        self.0.pop_first().map(|(_, event)| event)
    }
}

/// The claims of this endpoint, and the tokens that are up anywhere.
#[derive(Debug, Default)]
pub(crate) struct Presence {
    /// How often each of our tokens is held.
    own: BTreeMap<TopicName, usize>,
    pub(crate) wills: BTreeMap<TopicName, OwnWill>,
    pub(crate) last_will: u64,
    up: BTreeSet<Holder>,
    pub(crate) changes: TokenChanges,
}

impl Presence {
    fn set(&mut self, holder: Holder, up: bool) {
        let event = if up { TokenEvent::Up(holder.clone()) } else { TokenEvent::Down(holder.clone()) };
        if if up { self.up.insert(holder) } else { self.up.remove(&holder) } {
            self.changes.note(event);
        }
    }

    fn claims(&self) -> impl Iterator<Item = Claim> {
        let tokens = self.own.keys().cloned().map(Claim::Token);
        tokens.chain(self.wills.keys().cloned().map(Claim::Will))
    }
}

/// What an endpoint says of itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Claim {
    Token(TopicName),
    /// What to publish on this topic when it dies.
    Will(TopicName),
}

/// The claims of a peer, and those of ours that it is to be told.
#[derive(Debug)]
pub(crate) struct PeerPresence {
    pub(crate) is_there: bool,
    tokens: BTreeSet<TopicName>,
    pub(crate) wills: PeerWills,
    /// Claims of ours, and whether it knows them.
    untold: BTreeMap<Claim, bool>,
}

impl Default for PeerPresence {
    fn default() -> Self {
        Self { is_there: true, tokens: BTreeSet::new(), wills: PeerWills::default(), untold: BTreeMap::new() }
    }
}

impl PeerPresence {
    /// Notes that a claim has changed, see [`Peer::declare`].
    fn declare(&mut self, claim: &Claim, before: bool, after: bool) {
        let known = self.untold.get(claim).copied().unwrap_or(before);
        if known || after {
            self.untold.insert(claim.clone(), known);
        } else {
            self.untold.remove(claim);
        }
    }

    /// False: there are `limit` already, or there is no room for its name.
    fn add_token(&mut self, token: TopicName, limit: usize, names: &mut Names) -> bool {
        if self.tokens.contains(&token) {
            return true;
        }
        let fits = self.tokens.len() < limit && names.take(TOKEN_BYTES + token.len());
        if fits {
            self.tokens.insert(token);
        }
        fits
    }
}

impl Peer {
    /// Puts the claims that the peer is to be told into control cargos.
    pub(crate) fn flush_claims(&mut self, id: PeerId, ours: &Presence, body: &mut Vec<u8>, outputs: &mut Outputs) {
        for claim in std::mem::take(&mut self.presence.untold).into_keys() {
            match claim {
                Claim::Token(token) => {
                    self.reserve(id, token.len(), body, outputs);
                    body.push(if ours.own.contains_key(&token) { TOKEN_UP } else { TOKEN_DOWN });
                    put_bytes(body, token.as_bytes());
                }
                Claim::Will(topic) => match ours.wills.get(&topic) {
                    Some(will) => will.put(&topic, |len, body| self.reserve(id, len, body, outputs), body),
                    None => {
                        self.reserve(id, topic.len(), body, outputs);
                        WillOperation::put_withdrawn(&topic, body);
                    }
                },
            }
        }
    }

    fn holder(&self, token: TopicName) -> Holder {
        let (endpoint_id, incarnation, endpoint_name) = (self.id, self.incarnation, self.name.clone());
        Holder { endpoint_id, incarnation, endpoint_name, token }
    }
}

impl Topics {
    /// Holds a token: every native peer sees it until it is let go of as often as it was held.
    ///
    /// # Errors
    /// [`TokenError`] for a bad name, or too many tokens.
    pub fn hold_token(&mut self, name: &str) -> Result<TopicName, TokenError> {
        let token = TopicName::new(name, self.config.max_topic_bytes).map_err(TokenError::BadName)?;
        let limit = self.config.max_tokens;
        if let Some(count) = self.presence.own.get_mut(&token) {
            *count += 1;
        } else if self.presence.own.len() >= limit {
            return Err(TokenError::TooMany { limit });
        } else {
            self.presence.own.insert(token.clone(), 1);
            self.presence.set(self.own_holder(token.clone()), true);
            self.declare_claim(&Claim::Token(token.clone()), false, true);
        }
        Ok(token)
    }

    /// Lets go of a token once. Does nothing if it is not held.
    pub fn release_token(&mut self, token: &TopicName) {
        let Some(count) = self.presence.own.get_mut(token) else { return };
        *count -= 1;
        if *count == 0 {
            self.presence.own.remove(token);
            self.presence.set(self.own_holder(token.clone()), false);
            self.declare_claim(&Claim::Token(token.clone()), true, false);
        }
    }

    /// Who holds which of these tokens: this endpoint, and the peers that are there.
    pub fn tokens<'a>(&'a self, filter: &'a Filter) -> impl Iterator<Item = &'a Holder> {
        self.presence.up.iter().filter(|holder| filter.matches(&holder.token))
    }

    /// A peer that was [lost](Topics::handle_peer_lost) is there again, in the same life: its tokens are up again, its wills
    /// are kept for the next time.
    pub fn handle_peer_found(&mut self, id: PeerId) {
        self.set_there(id, true);
    }

    /// A peer is [up](Topics::handle_peer_up), but not there yet: its tokens are not shown until it is found.
    pub fn hide_peer(&mut self, id: PeerId) {
        self.set_there(id, false);
    }

    /// Hides or shows the tokens of a peer; true if it was otherwise before.
    pub(crate) fn set_there(&mut self, id: PeerId, there: bool) -> bool {
        let Some(peer) = self.peers.get_mut(&id).filter(|peer| peer.presence.is_there != there) else { return false };
        peer.presence.is_there = there;
        self.tracks.touch_all();
        for token in &peer.presence.tokens {
            self.presence.set(peer.holder(token.clone()), there);
        }
        true
    }

    /// Notes what a peer that is new is to be told.
    pub(crate) fn declare_claims_to(&self, peer: &mut Peer) {
        self.presence.claims().for_each(|claim| peer.presence.declare(&claim, false, true));
    }

    /// Tells native peers that a claim has changed.
    pub(crate) fn declare_claim(&mut self, claim: &Claim, before: bool, after: bool) {
        for (id, peer) in self.peers.iter_mut().filter(|(_, peer)| peer.is_native()) {
            peer.presence.declare(claim, before, after);
            self.owing.insert(*id);
        }
    }

    /// `None`: malformed, without effect.
    pub(crate) fn apply_claim(&mut self, from: PeerId, operation: ClaimOperation) -> Option<()> {
        let (token, up) = match operation {
            ClaimOperation::TokenDown { token } => (token, false),
            ClaimOperation::TokenUp { token } => (token, true),
            ClaimOperation::Will(operation) => return self.apply_will(from, operation),
        };
        let token = TopicName::new(std::str::from_utf8(&token).ok()?, self.config.max_topic_bytes).ok()?;
        let peer = self.peers.get_mut(&from)?;
        if !up {
            if peer.presence.tokens.remove(&token) {
                peer.names.give_back(TOKEN_BYTES + token.len());
            }
        } else if !peer.presence.add_token(token.clone(), self.config.max_tokens, &mut peer.names) {
            self.stats.claims_refused += 1;
            return Some(());
        }
        if peer.presence.is_there {
            self.presence.set(peer.holder(token), up);
        }
        Some(())
    }

    fn own_holder(&self, token: TopicName) -> Holder {
        let (endpoint_id, incarnation, endpoint_name) = (self.id, self.incarnation, self.name.clone());
        Holder { endpoint_id, incarnation, endpoint_name, token }
    }
}

/// A control operation about claims, as it arrived: 16 token up and 17 token down (byte string), and those of wills.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ClaimOperation {
    TokenDown { token: Bytes },
    TokenUp { token: Bytes },
    Will(WillOperation),
}

impl ClaimOperation {
    /// Reads what follows the operation's number.
    pub(crate) fn read(kind: u8, reader: &mut Reader) -> Result<Self, DecodeError> {
        match kind {
            TOKEN_UP => Ok(Self::TokenUp { token: reader.bytes()? }),
            TOKEN_DOWN => Ok(Self::TokenDown { token: reader.bytes()? }),
            _ => WillOperation::read(kind, reader).map(Self::Will),
        }
    }
}

const TOKEN_UP: u8 = 16;
const TOKEN_DOWN: u8 = 17;
/// What a token of a peer takes beside its name: it stands in two sets.
const TOKEN_BYTES: usize = 150;
