//! Publishing, and learning who has it.

use std::sync::{Arc, Weak};
use std::time::Duration;

use glue_net::Instant;
use glue_topics::{Data, PublicationId, PublishError};

use crate::engine::Engine;
use crate::publisher::{Publisher, TryPublishError};
use crate::shared::Shared;

/// What is known of a message that was published. It goes on to learn as long as the message is under way, and never says
/// more than is true.
#[derive(Clone, Debug)]
pub struct Receipt {
    inner: glue_topics::Receipt,
    shared: Weak<Shared>,
}

impl Receipt {
    pub(crate) fn new(inner: glue_topics::Receipt, shared: &Arc<Shared>) -> Self {
        Self { inner, shared: Arc::downgrade(shared) }
    }

    /// The message's sequence number in its topic.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.inner.sequence()
    }

    /// How many native peers had subscribed when it was published, whether they could be reached or not. Peers that speak
    /// the classic protocol get every message and do not say what they want; this endpoint's own subscriptions get theirs
    /// at once. Neither is counted.
    #[must_use]
    pub fn interested(&self) -> u32 {
        self.inner.interested()
    }

    /// How many of them have acknowledged all of the message: it is in the memory of so many endpoints. Whether their
    /// applications have taken it is not known; a request with its reply tells that.
    #[must_use]
    pub fn received(&self) -> u32 {
        self.inner.received()
    }

    /// How many of those that have it cache the topic ([`Endpoint::cache`](crate::Endpoint::cache)): they give it to who missed
    /// it, though this endpoint be gone, until it expires or has to make room for later messages. A cache whose whole budget
    /// is too small for the message is not counted.
    #[must_use]
    pub fn cached(&self) -> u32 {
        self.inner.cached()
    }

    /// Whether nothing more will be learned: each peer has it, or will never have it, since it expired, the peer's queue was
    /// dropped, or the peer has gone.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.inner.is_settled()
    }

    /// Waits until the receipt is settled, and returns how many peers have the message. With an expiry that takes no longer
    /// than the expiry and a second, on a path that works a round trip and 2 ms; if the endpoint is closed meanwhile it
    /// returns what is known then.
    ///
    /// Cancel safe: it changes nothing.
    pub async fn settled(&self) -> u32 {
        if let Some(shared) = self.shared.upgrade() {
            shared.wait_until(shared.receipts(), || self.is_settled()).await;
        }
        self.received()
    }
}

impl Publisher {
    /// As [`Publisher::publish`], and tells who gets the message. It leaves in a bundle of its own, so this costs more than
    /// a publish: about a datagram for each subscriber.
    ///
    /// Cancel safe: a call that is dropped while it waits for room has sent nothing.
    ///
    /// # Errors
    /// As [`Publisher::publish`].
    pub async fn publish_confirmed<'a>(
        &self,
        expiry: Duration,
        payload: impl Into<Data<'a>>,
    ) -> Result<Receipt, PublishError> {
        let payload = payload.into();
        let receipt = self.shared().when_writable(|| self.try_publish_confirmed(expiry, payload)).await?;
        // As with `publish`: from a closed endpoint it reaches nobody, and so the receipt says.
        Ok(receipt.unwrap_or_else(|| Receipt::new(glue_topics::Receipt::default(), self.shared())))
    }

    /// As [`Publisher::publish_confirmed`], but never waits.
    ///
    /// # Errors
    /// As [`Publisher::try_publish`].
    pub fn try_publish_confirmed<'a>(
        &self,
        expiry: Duration,
        payload: impl Into<Data<'a>>,
    ) -> Result<Receipt, TryPublishError> {
        let (payload, id) = (payload.into(), self.id());
        let receipt = self.shared().call(|engine, now| engine.publish_confirmed(now, id, expiry, payload))?;
        receipt.map(|inner| Receipt::new(inner, self.shared())).ok_or(TryPublishError::WouldBlock)
    }
}

impl Engine {
    /// As [`Engine::publish`], and tells who gets it. [`glue_topics::Event::ReceiptChanged`] says when more is known.
    ///
    /// # Errors
    /// As [`Engine::publish`].
    pub fn publish_confirmed<'a>(
        &mut self,
        now: Instant,
        id: PublicationId,
        expiry: Duration,
        payload: impl Into<Data<'a>>,
    ) -> Result<Option<glue_topics::Receipt>, PublishError> {
        let payload = payload.into();
        if !self.has_room(now, id, payload.len()) {
            return Ok(None);
        }
        let receipt = self.topics.publish_confirmed(now, self.clock.wall(now), id, expiry, payload)?;
        self.queue_cargo(now);
        Ok(Some(receipt))
    }
}
