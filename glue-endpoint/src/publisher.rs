//! Publishing to one topic.

use std::sync::Arc;
use std::time::Duration;

use glue_topics::{Data, PublicationId, PublishError};

#[cfg(doc)]
use crate::Endpoint;
use crate::shared::Shared;

/// Publishes to one topic. Its handles are cheap to make and to drop.
#[derive(Debug)]
pub struct Publisher {
    shared: Arc<Shared>,
    id: PublicationId,
}

/// Why a message was not published at once. Nothing was sent; the payload is still the caller's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TryPublishError {
    /// The message can not be published.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// A subscriber's queue is full (8 MiB), or too much memory is in use: try again later, or await
    /// [`Publisher::publish`]. The message is untouched.
    #[error("a subscriber's queue or the memory is full; try again later")]
    WouldBlock,
}

impl Publisher {
    pub(crate) fn new(shared: Arc<Shared>, topic: &str, type_name: &str) -> Result<Self, PublishError> {
        let id = shared.call(|engine, _| engine.publication(topic, type_name))?;
        Ok(Self { shared, id })
    }

    pub(crate) const fn of(shared: Arc<Shared>, id: PublicationId) -> Self {
        Self { shared, id }
    }

    pub(crate) const fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(crate) const fn id(&self) -> PublicationId {
        self.id
    }

    /// Publishes a message to live for `expiry`. Returns when it is on its way; waits while a subscriber's queue is full, but
    /// not for one that takes nothing ([`crate::Pace`]), nor if it is best effort ([`crate::PublisherOptions`]).
    ///
    /// `payload` is copied, unless it is a large [`bytes::Bytes`], which is shared.
    ///
    /// Cancel safe: a call that is dropped while it waits has sent nothing.
    ///
    /// # Errors
    /// [`PublishError`] for a message over the limit (64 MiB) or an expiry of zero; nothing was sent.
    pub async fn publish<'a>(&self, expiry: Duration, payload: impl Into<Data<'a>>) -> Result<(), PublishError> {
        let payload = payload.into();
        match self.try_publish(expiry, payload) {
            Ok(()) => Ok(()),
            Err(TryPublishError::Publish(error)) => Err(error),
            // What is published by a closed endpoint reaches nobody: that is no error.
            Err(TryPublishError::WouldBlock) => {
                self.shared.when_writable(|| self.try_publish(expiry, payload)).await.map(|_| ())
            }
        }
    }

    /// As [`Publisher::publish`], but never waits.
    ///
    /// # Errors
    /// [`TryPublishError::WouldBlock`] if a subscriber's queue is full; otherwise as [`Publisher::publish`].
    #[inline]
    pub fn try_publish<'a>(&self, expiry: Duration, payload: impl Into<Data<'a>>) -> Result<(), TryPublishError> {
        let payload = payload.into();
        match self.shared.call(|engine, now| engine.publish(now, self.id, expiry, payload))? {
            Some(_) => Ok(()),
            None => Err(TryPublishError::WouldBlock),
        }
    }

    /// As [`Publisher::try_publish`], but does not send: the caller owes an [`Endpoint::flush`], which sends what all
    /// publishers have gathered until then, together. Without it the message may wait until something else is sent.
    ///
    /// For many small messages of many tasks: one datagram and one wake-up at the other end serve all of them.
    ///
    /// # Errors
    /// As [`Publisher::try_publish`].
    pub fn gather<'a>(&self, expiry: Duration, payload: impl Into<Data<'a>>) -> Result<(), TryPublishError> {
        let payload = payload.into();
        match self.shared.gather(|engine, now| engine.publish(now, self.id, expiry, payload))? {
            Some(_) => Ok(()),
            None => Err(TryPublishError::WouldBlock),
        }
    }

    /// As [`Publisher::publish`], for threads without an async runtime: blocks while a subscriber's queue is full.
    ///
    /// # Errors
    /// As [`Publisher::publish`].
    pub fn publish_blocking<'a>(&self, expiry: Duration, payload: impl Into<Data<'a>>) -> Result<(), PublishError> {
        let payload = payload.into();
        match self.try_publish(expiry, payload) {
            Ok(()) => Ok(()),
            Err(TryPublishError::Publish(error)) => Err(error),
            Err(TryPublishError::WouldBlock) => crate::block::on(self.publish(expiry, payload)),
        }
    }

    /// How many peers get what is published now: those that are there, can be reached and have subscribed.
    #[must_use]
    pub fn subscribers(&self) -> usize {
        self.shared.call(|engine, _| engine.subscribers(self.id).len())
    }

    /// Waits until at least `count` peers get what is published, see [`Publisher::subscribers`]. Messages published before
    /// that reach those alone that are there by then. Returns false if the endpoint was closed meanwhile.
    ///
    /// Cancel safe: it changes nothing.
    pub async fn wait_for_subscribers(&self, count: usize) -> bool {
        self.shared.wait_until(self.shared.interest(), || self.subscribers() >= count).await
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.shared.call(|engine, _| engine.release(self.id));
    }
}

#[cfg(test)]
mod tests;
