//! Publishing and subscribing with options: history, and quality of service.

use std::sync::Arc;

use glue_net::Instant;
use glue_topics::{
    Item, PublicationId, PublishError, PublisherOptions, SubscribeError, SubscribeOptions, SubscriptionId,
};

use crate::endpoint::Endpoint;
use crate::engine::Engine;
use crate::publisher::Publisher;
use crate::subscription::{CallbackSubscription, Subscription};

impl Endpoint {
    /// As [`Endpoint::publisher`], with options: what is kept for subscriptions that join later, and quality of service.
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
        let id = shared.call(|engine, _| engine.publication_with(topic, type_name, options))?;
        Ok(Publisher::of(shared, id))
    }

    /// As [`Endpoint::subscribe`], with options: history, and quality of service. Of each publisher the subscription first gets, in order, what it
    /// asks for of the messages that the publisher keeps and that have not expired, then what is published from then on;
    /// no message twice, none missing in between. Messages keep their age: they expire as if they had come in time.
    ///
    /// To ask for more than a publisher keeps is no error. Classic publishers keep nothing. What a cache has counts as kept
    /// ([`Endpoint::cache`]), also of publishers that are gone; for it the first message of a publisher waits until the caches
    /// that are known have said what they have, 1 s at most.
    ///
    /// From a publisher that offers less than is requested it gets nothing, and [`crate::Notice::QosMismatch`] says so at both.
    /// What a subscription does not request it may still get: one that requests nothing takes whatever is offered. Queue
    /// groups request nothing.
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
    /// As [`Engine::subscribe`], with options; see [`glue_topics::Topics::subscribe_from`].
    ///
    /// # Errors
    /// [`SubscribeError`]; nothing was changed.
    pub fn subscribe_from(
        &mut self,
        now: Instant,
        topic: &str,
        type_name: &str,
        options: impl Into<SubscribeOptions>,
    ) -> Result<SubscriptionId, SubscribeError> {
        self.topics.subscribe_from(now, topic, type_name, options)
    }

    /// As [`Engine::publication`], and sets its options; see
    /// [`glue_topics::Topics::publication_with`].
    ///
    /// # Errors
    /// [`PublishError`]; nothing was changed.
    pub fn publication_with(
        &mut self,
        topic: &str,
        type_name: &str,
        options: impl Into<PublisherOptions>,
    ) -> Result<PublicationId, PublishError> {
        self.topics.publication_with(topic, type_name, options)
    }
}
