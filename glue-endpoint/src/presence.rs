//! Tokens and wills of the endpoint: what the engine does with them, and the handles that applications hold.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use glue_discovery::DownReason;
use glue_net::Instant;
use glue_topics::{Data, Filter, Holder, LastWill, TokenChanges, TokenError, TokenEvent, TopicName, WillError, WillId};

use crate::endpoint::Endpoint;
use crate::engine::Engine;
use crate::inbox::Inbox;
use crate::shared::Shared;

impl Engine {
    /// Holds a token; see [`glue_topics::Topics::hold_token`].
    ///
    /// # Errors
    /// [`TokenError`]; nothing was changed.
    pub fn hold_token(&mut self, name: &str) -> Result<TopicName, TokenError> {
        self.topics.hold_token(name)
    }

    /// Lets go of a token once.
    pub fn release_token(&mut self, token: &TopicName) {
        self.topics.release_token(token);
    }

    /// Who holds which of these tokens.
    pub fn tokens<'a>(&'a self, filter: &'a Filter) -> impl Iterator<Item = &'a Holder> {
        self.topics.tokens(filter)
    }

    /// Makes a will; see [`glue_topics::Topics::set_will`].
    ///
    /// # Errors
    /// [`WillError`]; nothing was changed.
    pub fn set_will(&mut self, now: Instant, will: LastWill<'_>) -> Result<WillId, WillError> {
        self.topics.set_will(self.clock.wall(now), will)
    }

    /// Takes a will back.
    pub fn withdraw_will(&mut self, id: WillId) {
        self.topics.withdraw_will(id);
    }

    /// Takes all wills back, as this endpoint is about to leave. A goodbye may be lost, so peers are told in good time.
    pub fn withdraw_wills(&mut self, now: Instant) {
        self.topics.withdraw_wills();
        // At once, so that what waits for an ack is seen to wait.
        self.queue_cargo(now);
    }

    /// What discovery says decides who is there: not every late datagram brings a peer back that is down.
    pub(crate) fn follow_presence(&mut self, now: Instant, event: &glue_discovery::Event) {
        match event {
            glue_discovery::Event::PeerUp { peer, .. } => self.topics.handle_peer_found(*peer),
            // What a peer has left behind that is trusted no longer is not taken.
            glue_discovery::Event::PeerDown { reason: DownReason::Goodbye | DownReason::Revoked, .. } => {}
            glue_discovery::Event::PeerDown { peer, reason, .. } => {
                self.topics.handle_peer_lost(now, *peer, *reason == DownReason::Restarted);
            }
            _ => {}
        }
    }
}

impl Endpoint {
    /// Holds a token: a name that every endpoint sees with ours until it is dropped, we leave, or we are not heard of any
    /// more. Names are as those of topics; any number of endpoints may hold the same, and one may hold it several times.
    ///
    /// # Errors
    /// [`TokenError`] for a bad name, or more than 4,096 tokens.
    pub fn token(&self, name: &str) -> Result<Token, TokenError> {
        let token = self.shared.call(|engine, _| engine.hold_token(name))?;
        Ok(Token { shared: Arc::clone(&self.shared), token })
    }

    /// Who holds tokens that the filter matches, as far as is known here: ourselves too. Filters are as those of subscriptions.
    ///
    /// # Errors
    /// [`TokenError`] for a bad name.
    pub fn tokens(&self, filter: &str) -> Result<Vec<Holder>, TokenError> {
        let filter = filter_of(filter)?;
        Ok(self.shared.call(|engine, _| engine.tokens(&filter).cloned().collect()))
    }

    /// Who takes and lets go of tokens that the filter matches. The stream begins with those who hold one. Filters are as those
    /// of subscriptions.
    ///
    /// # Errors
    /// [`TokenError`] for a bad name.
    pub fn token_events(&self, filter: &str) -> Result<TokenEvents, TokenError> {
        Ok(self.shared.token_board().watch(filter_of(filter)?))
    }

    /// Makes a will: a message that every endpoint delivers to its own subscriptions when it finds that we are gone without a
    /// goodbye. It lives for `expiry` from then on. A will takes the place of an older one for the same topic.
    ///
    /// An endpoint finds so when nothing was heard of us for our announce interval times its multiplier (2 s by default), or when
    /// we run again; it tells [`Notice::PeerDown`](crate::Notice::PeerDown) then. Whom a broken network keeps apart from us can
    /// not tell the difference: it gets the will, and gets it again should we be lost again later.
    ///
    /// The message's number is 0 ([`Message::is_will`](crate::Message::is_will)) and its timestamp the time of this call.
    ///
    /// # Errors
    /// [`WillError`] for a bad name, another type than this endpoint publishes the topic with, an expiry of zero, more than 64
    /// wills or more than 64 KiB of them.
    pub fn will<'a>(
        &self,
        topic: &'a str,
        type_name: &'a str,
        expiry: Duration,
        payload: impl Into<Data<'a>>,
    ) -> Result<Will, WillError> {
        let will = LastWill { topic, type_name, expiry, payload: payload.into() };
        let id = self.shared.call(|engine, now| engine.set_will(now, will))?;
        Ok(Will { shared: Arc::clone(&self.shared), id })
    }
}

fn filter_of(text: &str) -> Result<Filter, TokenError> {
    Filter::new(text, MAX_FILTER_BYTES).map_err(TokenError::BadName)
}

/// A token that is held until this is dropped.
#[derive(Debug)]
#[must_use = "the token is let go of when its handle is dropped"]
pub struct Token {
    shared: Arc<Shared>,
    token: TopicName,
}

impl Token {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.token
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        self.shared.call(|engine, _| engine.release_token(&self.token));
    }
}

/// A will that stands until this is dropped, or another one takes its place.
#[derive(Debug)]
#[must_use = "the will is taken back when its handle is dropped"]
pub struct Will {
    shared: Arc<Shared>,
    id: WillId,
}

impl Drop for Will {
    fn drop(&mut self) {
        self.shared.call(|engine, _| engine.withdraw_will(self.id));
    }
}

/// A stream of [`TokenEvent`]s, in which up and down take turns for each holder and token. What was up and down again before
/// it was read is not told, so however late one reads, no more waits than there are tokens, and none is lost.
#[derive(Debug)]
pub struct TokenEvents {
    inbox: Arc<TokenBox>,
}

impl TokenEvents {
    /// Waits for the next event. `None` after the endpoint was closed.
    ///
    /// Cancel safe: a dropped call loses nothing.
    pub async fn recv(&mut self) -> Option<TokenEvent> {
        self.inbox.changes.next(TokenChanges::take).await
    }

    /// The next event, if there is one.
    pub fn try_recv(&mut self) -> Option<TokenEvent> {
        self.inbox.changes.take(TokenChanges::take)
    }
}

#[derive(Debug)]
struct TokenBox {
    filter: Filter,
    changes: Inbox<TokenChanges>,
}

impl TokenBox {
    fn note(&self, event: &TokenEvent) {
        if self.filter.matches(&event.holder().token) {
            self.changes.put(|changes| changes.note(event.clone()));
        }
    }
}

/// All streams of token events of one endpoint.
#[derive(Debug, Default)]
pub(crate) struct TokenBoard(Mutex<Board>);

#[derive(Debug, Default)]
struct Board {
    /// The tokens that are up, as they were told: a new stream begins with them.
    up: BTreeSet<Holder>,
    boxes: Vec<Weak<TokenBox>>,
    closed: bool,
}

impl TokenBoard {
    fn watch(&self, filter: Filter) -> TokenEvents {
        let mut board = self.lock();
        let inbox = Arc::new(TokenBox { filter, changes: Inbox::default() });
        board.up.iter().for_each(|holder| inbox.note(&TokenEvent::Up(holder.clone())));
        if board.closed {
            inbox.changes.close();
        }
        board.boxes.push(Arc::downgrade(&inbox));
        TokenEvents { inbox }
    }

    pub(crate) fn note(&self, event: &TokenEvent) {
        let mut board = self.lock();
        match event {
            TokenEvent::Up(holder) => board.up.insert(holder.clone()),
            TokenEvent::Down(holder) => board.up.remove(holder),
        };
        board.each(|watcher| watcher.note(event));
    }

    pub(crate) fn close(&self) {
        let mut board = self.lock();
        board.closed = true;
        board.each(|watcher| watcher.changes.close());
    }

    fn lock(&self) -> MutexGuard<'_, Board> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Board {
    fn each(&mut self, with: impl Fn(&TokenBox)) {
        self.boxes.retain(|watcher| watcher.upgrade().inspect(|watcher| with(watcher)).is_some());
    }
}

/// As long as any token.
const MAX_FILTER_BYTES: usize = 1_024;

#[cfg(test)]
mod tests;
