//! History for late joiners: what publishers keep, and what subscriptions ask for.

use std::sync::Arc;

use glue_net::Instant;
use glue_topics::{History, Item, PublicationId, PublishError, SubscribeError, SubscriptionId, Wish};

use crate::endpoint::Endpoint;
use crate::engine::Engine;
use crate::publisher::Publisher;
use crate::subscription::{CallbackSubscription, Subscription};

/// What a publisher does beside publishing. The default is what [`Endpoint::publisher`] does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PublisherOptions {
    /// What is kept for subscriptions that join later and ask for it. Default: nothing.
    pub history: History,
}

impl PublisherOptions {
    /// The default.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Keeps messages for who joins later.
    #[must_use]
    pub const fn history(mut self, history: History) -> Self {
        self.history = history;
        self
    }

    /// The topic has a value: the last message, until it expires, or an empty message clears it.
    #[must_use]
    pub fn retained() -> Self {
        Self::default().history(History::Retained)
    }
}

/// What a subscription gets beside what is published from now on. The default is what [`Endpoint::subscribe`] gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubscribeOptions {
    /// How much of what was published before. Default: nothing.
    pub history: Wish,
}

impl SubscribeOptions {
    /// The default.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks for what was published before.
    #[must_use]
    pub const fn history(mut self, history: Wish) -> Self {
        self.history = history;
        self
    }
}

impl Endpoint {
    /// As [`Endpoint::publisher`], with options: what is kept for subscriptions that join later.
    ///
    /// They hold for the topic at this endpoint, not for the handle: the last that were given count, and what is kept stays
    /// when the handle is dropped, until it expires, is superseded, or the endpoint forgets the topic (4,096 topics without
    /// a publisher are remembered). All topics together keep 24 MiB at most, less with a smaller memory budget; beyond, the
    /// topic that is published drops its oldest messages.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use glue_endpoint::{Endpoint, PublisherOptions, SubscribeOptions, Wish};
    ///
    /// # let endpoint = Endpoint::from_env().await?;
    /// let door = endpoint.publisher_with("door", "text", PublisherOptions::retained())?;
    /// door.publish(Duration::MAX, "open").await?;
    /// let last = SubscribeOptions::new().history(Wish::Last(1));
    /// let mut late = endpoint.subscribe_from("door", "text", last).await?;
    /// assert_eq!(late.recv().await.unwrap().payload, "open");
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`Endpoint::publisher`].
    pub fn publisher_with(
        &self,
        topic: &str,
        type_name: &str,
        options: PublisherOptions,
    ) -> Result<Publisher, PublishError> {
        let shared = Arc::clone(&self.shared);
        let id = shared.call(|engine, _| engine.publication_with(topic, type_name, options.history))?;
        Ok(Publisher::of(shared, id))
    }

    /// As [`Endpoint::subscribe`], with options: history. Of each publisher the subscription first gets, in order, what it
    /// asks for of the messages that the publisher keeps and that have not expired, then what is published from then on;
    /// no message twice, none missing in between. Messages keep their age: they expire as if they had come in time.
    ///
    /// To ask for more than a publisher keeps is no error. Classic publishers keep nothing. What a cache has counts as kept
    /// ([`Endpoint::cache`]), also of publishers that are gone; for it the first message of a publisher waits until the caches
    /// that are known have said what they have, 1 s at most.
    ///
    /// If a publisher was out of reach for so long that it was forgotten, it counts as new when it is back: what it still
    /// keeps comes then, but for what this subscription had before.
    ///
    /// # Errors
    /// As [`Endpoint::subscribe`].
    #[expect(clippy::unused_async, reason = "subscribing may come to wait for peers, and the API must not change then")]
    pub async fn subscribe_from(
        &self,
        topic: &str,
        type_name: &str,
        options: SubscribeOptions,
    ) -> Result<Subscription, SubscribeError> {
        Subscription::new(Arc::clone(&self.shared), topic, type_name, options)
    }

    /// As [`Endpoint::subscribe_items_with`], with options, see [`Endpoint::subscribe_from`].
    ///
    /// # Errors
    /// As [`Endpoint::subscribe`].
    #[expect(clippy::unused_async, reason = "subscribing may come to wait for peers, and the API must not change then")]
    pub async fn subscribe_items_from(
        &self,
        topic: &str,
        type_name: &str,
        options: SubscribeOptions,
        on_item: impl FnMut(Item) + Send + 'static,
    ) -> Result<CallbackSubscription, SubscribeError> {
        CallbackSubscription::new(Arc::clone(&self.shared), topic, type_name, options, Box::new(on_item))
    }
}

impl Engine {
    /// As [`Engine::subscribe`], with history; see [`glue_topics::Topics::subscribe_from`].
    ///
    /// # Errors
    /// [`SubscribeError`]; nothing was changed.
    pub fn subscribe_from(
        &mut self,
        now: Instant,
        topic: &str,
        type_name: &str,
        wish: Wish,
    ) -> Result<SubscriptionId, SubscribeError> {
        self.topics.subscribe_from(now, topic, type_name, wish)
    }

    /// As [`Engine::publication`], and sets what is kept for who joins later; see
    /// [`glue_topics::Topics::publication_with`].
    ///
    /// # Errors
    /// [`PublishError`]; nothing was changed.
    pub fn publication_with(
        &mut self,
        topic: &str,
        type_name: &str,
        history: History,
    ) -> Result<PublicationId, PublishError> {
        self.topics.publication_with(topic, type_name, history)
    }
}
