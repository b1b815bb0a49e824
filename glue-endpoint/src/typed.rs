//! Values in place of bytes: publishers and subscriptions that encode and decode by a [`Codec`].

mod codec;

use std::fmt;
use std::marker::PhantomData;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use glue_topics::{Gap, Item, Message, PublishError, PublisherOptions, SubscribeError, SubscribeOptions};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use self::codec::{Codec, CodecError, Json, MessagePack};
use crate::endpoint::Endpoint;
use crate::publisher::{Publisher, TryPublishError};
use crate::subscription::Subscription;

impl Endpoint {
    /// A handle that publishes values of `T` to one topic, encoded by `C`. The topic's type is [`Codec::TYPE_NAME`].
    ///
    /// ```no_run
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// use glue_endpoint::{Endpoint, Json};
    ///
    /// #[derive(serde::Serialize)]
    /// struct Reading { celsius: f64 }
    ///
    /// let endpoint = Endpoint::from_env().await?;
    /// let readings = endpoint.typed_publisher::<Reading, Json>("kitchen/temperature")?;
    /// readings.publish(Duration::from_secs(1), &Reading { celsius: 21.5 }).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`Endpoint::publisher`].
    pub fn typed_publisher<T, C: Codec>(&self, topic: &str) -> Result<TypedPublisher<T, C>, PublishError> {
        let publisher = self.publisher(topic, C::TYPE_NAME)?;
        Ok(TypedPublisher { publisher, scratch: Mutex::default(), kind: PhantomData })
    }

    /// As [`Endpoint::typed_publisher`], with options, see [`Endpoint::publisher_with`].
    ///
    /// # Errors
    /// As [`Endpoint::publisher`].
    pub fn typed_publisher_with<T, C: Codec>(
        &self,
        topic: &str,
        options: PublisherOptions,
    ) -> Result<TypedPublisher<T, C>, PublishError> {
        let publisher = self.publisher_with(topic, C::TYPE_NAME, options)?;
        Ok(TypedPublisher { publisher, scratch: Mutex::default(), kind: PhantomData })
    }

    /// Subscribes to a topic, or with `#` to all, and decodes what comes by `C` into values of `T`. The topic's type is
    /// [`Codec::TYPE_NAME`]; `#` takes every type.
    ///
    /// # Errors
    /// As [`Endpoint::subscribe`].
    pub async fn typed_subscription<T, C: Codec>(
        &self,
        topic: &str,
    ) -> Result<TypedSubscription<T, C>, SubscribeError> {
        self.typed_subscription_from(topic, SubscribeOptions::default()).await
    }

    /// As [`Endpoint::typed_subscription`], with options, see [`Endpoint::subscribe_from`].
    ///
    /// # Errors
    /// As [`Endpoint::subscribe`].
    pub async fn typed_subscription_from<T, C: Codec>(
        &self,
        topic: &str,
        options: SubscribeOptions,
    ) -> Result<TypedSubscription<T, C>, SubscribeError> {
        let subscription = self.subscribe_from(topic, C::TYPE_NAME, options).await?;
        Ok(TypedSubscription { subscription, kind: PhantomData })
    }
}

/// Publishes values of `T` to one topic. It keeps a buffer, so that a small value is encoded without an allocation.
pub struct TypedPublisher<T, C> {
    publisher: Publisher,
    /// Taken out while a value is published; who finds none makes one.
    scratch: Mutex<Vec<u8>>,
    kind: PhantomData<fn(&T) -> C>,
}

/// Why a value was not published. Nothing was sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TypedPublishError<E> {
    /// It can not be encoded.
    #[error("can not be encoded: {0}")]
    Encode(#[source] CodecError),
    /// As without types: [`PublishError`], or [`TryPublishError`].
    #[error(transparent)]
    Publish(E),
}

impl<T: Serialize, C: Codec> TypedPublisher<T, C> {
    /// Publishes a value to live for `expiry`; see [`Publisher::publish`].
    ///
    /// Cancel safe: a call that is dropped while it waits has sent nothing.
    ///
    /// # Errors
    /// [`TypedPublishError`]; nothing was sent.
    pub async fn publish(&self, expiry: Duration, value: &T) -> Result<(), TypedPublishError<PublishError>> {
        let encoded = self.encode(value).map_err(TypedPublishError::Encode)?;
        let published = self.publisher.publish(expiry, &encoded).await;
        self.put_back(encoded);
        published.map_err(TypedPublishError::Publish)
    }

    /// As [`TypedPublisher::publish`], but never waits.
    ///
    /// # Errors
    /// [`TryPublishError::WouldBlock`] if a subscriber's queue is full; otherwise as [`TypedPublisher::publish`].
    pub fn try_publish(&self, expiry: Duration, value: &T) -> Result<(), TypedPublishError<TryPublishError>> {
        let encoded = self.encode(value).map_err(TypedPublishError::Encode)?;
        let published = self.publisher.try_publish(expiry, &encoded);
        self.put_back(encoded);
        published.map_err(TypedPublishError::Publish)
    }

    /// As [`TypedPublisher::publish`], for threads without an async runtime.
    ///
    /// # Errors
    /// As [`TypedPublisher::publish`].
    pub fn publish_blocking(&self, expiry: Duration, value: &T) -> Result<(), TypedPublishError<PublishError>> {
        let encoded = self.encode(value).map_err(TypedPublishError::Encode)?;
        let published = self.publisher.publish_blocking(expiry, &encoded);
        self.put_back(encoded);
        published.map_err(TypedPublishError::Publish)
    }

    fn encode(&self, value: &T) -> Result<Vec<u8>, CodecError> {
        let mut out = std::mem::take(&mut *self.scratch.lock().unwrap_or_else(PoisonError::into_inner));
        out.clear();
        match C::encode(value, &mut out) {
            Ok(()) => Ok(out),
            Err(error) => {
                self.put_back(out);
                Err(error)
            }
        }
    }

    fn put_back(&self, buffer: Vec<u8>) {
        if buffer.capacity() <= MAX_SCRATCH_BYTES {
            *self.scratch.lock().unwrap_or_else(PoisonError::into_inner) = buffer;
        }
    }
}

impl<T, C> TypedPublisher<T, C> {
    /// The same publisher without types, to wait for subscribers for example.
    #[must_use]
    pub const fn untyped(&self) -> &Publisher {
        &self.publisher
    }
}

/// Values of a topic, in each publisher's order; see [`Subscription`]. Ends when dropped.
pub struct TypedSubscription<T, C> {
    subscription: Subscription,
    kind: PhantomData<fn() -> (T, C)>,
}

/// A value, and the message that it came in: who sent it, when, and its number.
#[derive(Clone, Debug)]
pub struct TypedMessage<T> {
    /// What was published.
    pub value: T,
    /// How it came.
    pub message: Message,
}

/// A message whose payload is no value of the type.
#[derive(Clone, Debug, thiserror::Error)]
#[error("message {} on topic {} can not be decoded: {error}", message.sequence_number, message.topic_name)]
pub struct DecodeFailure {
    /// The message as it came.
    pub message: Message,
    /// What is wrong with its payload, and where.
    #[source]
    pub error: CodecError,
}

/// One thing that a typed subscription gets.
#[derive(Clone, Debug)]
pub enum TypedItem<T> {
    /// Messages that it does not get.
    Gap(Gap),
    /// A value.
    Message(TypedMessage<T>),
    /// A message that is no value.
    Undecodable(DecodeFailure),
}

impl<T: DeserializeOwned, C: Codec> TypedSubscription<T, C> {
    /// Waits for the next message, and decodes it. `None` after the endpoint was closed and all is received. Gaps are passed
    /// over, as [`Subscription::recv`] does; what can not be decoded never is.
    ///
    /// Cancel safe: a dropped call loses nothing.
    pub async fn recv(&mut self) -> Option<Result<TypedMessage<T>, DecodeFailure>> {
        Some(decode::<T, C>(self.subscription.recv().await?))
    }

    /// Waits for the next message or gap. `None` after the endpoint was closed and all is received.
    ///
    /// Cancel safe: a dropped call loses nothing.
    pub async fn recv_item(&mut self) -> Option<TypedItem<T>> {
        Some(match self.subscription.recv_item().await? {
            Item::Gap(gap) => TypedItem::Gap(gap),
            Item::Message(message) => match decode::<T, C>(message) {
                Ok(message) => TypedItem::Message(message),
                Err(failure) => TypedItem::Undecodable(failure),
            },
        })
    }

    /// The next message, if one has arrived.
    pub fn try_recv(&mut self) -> Option<Result<TypedMessage<T>, DecodeFailure>> {
        self.subscription.try_recv().map(decode::<T, C>)
    }

    /// How many messages this subscription was told it does not get; see [`Subscription::missed`].
    #[must_use]
    pub const fn missed(&self) -> u64 {
        self.subscription.missed()
    }
}

fn decode<T: DeserializeOwned, C: Codec>(message: Message) -> Result<TypedMessage<T>, DecodeFailure> {
    match C::decode(&message.payload) {
        Ok(value) => Ok(TypedMessage { value, message }),
        Err(error) => Err(DecodeFailure { message, error }),
    }
}

impl<T, C> fmt::Debug for TypedPublisher<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedPublisher").field("publisher", &self.publisher).finish_non_exhaustive()
    }
}

impl<T, C> fmt::Debug for TypedSubscription<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedSubscription").field("subscription", &self.subscription).finish_non_exhaustive()
    }
}

/// A buffer that grew larger for one value is not kept for the small ones.
const MAX_SCRATCH_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests;
