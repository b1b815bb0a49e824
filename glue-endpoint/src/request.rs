//! Asks responders.

use std::sync::Arc;
use std::time::Duration;

use glue_topics::{Ask, CallId, Data, Reach, Reply, RequestError};

use crate::endpoint::Endpoint;
use crate::shared::Shared;
use crate::switchboard::{Answer, Queue};

impl Endpoint {
    /// Asks one responder of a topic, and waits for its reply, for `timeout` at most. It is the responder that has the
    /// fewest requests of this endpoint; of several such, any. One on this endpoint counts as any other.
    ///
    /// A request is processed at most once: it goes to another responder only if the first returned it unseen. Each call
    /// ends once, with a reply or an error.
    ///
    /// Responders are known a moment after their endpoint was found: see [`Endpoint::wait_for_responders`].
    ///
    /// Cancel safe: a call that is dropped cancels the request, and the responder learns so.
    ///
    /// # Errors
    /// [`RequestError`]; it says whether the request may have been processed.
    pub async fn request<'a>(
        &self,
        topic: &str,
        type_name: &str,
        payload: impl Into<Data<'a>>,
        timeout: Duration,
    ) -> Result<Reply, RequestError> {
        let payload = payload.into();
        let mut replies = self.ask(&Ask { topic, type_name, payload, timeout, reach: Reach::One })?;
        replies.next().await.unwrap_or(Err(RequestError::Closed))
    }

    /// As [`Endpoint::request`], but asks all responders that can be reached. The first reply counts, and the others are
    /// cancelled. If none replies, the error is that of the last.
    ///
    /// # Errors
    /// [`RequestError`], as with [`Endpoint::request`].
    pub async fn request_first<'a>(
        &self,
        topic: &str,
        type_name: &str,
        payload: impl Into<Data<'a>>,
        timeout: Duration,
    ) -> Result<Reply, RequestError> {
        let payload = payload.into();
        let mut replies = self.ask(&Ask { topic, type_name, payload, timeout, reach: Reach::First })?;
        replies.next().await.unwrap_or(Err(RequestError::Closed))
    }

    /// Asks all responders of a topic that can be reached. Their answers come from [`Replies::next`], one of each; after
    /// `timeout`, [`RequestError::Timeout`] stands for all that are missing. Who begins to serve later is not asked.
    ///
    /// Dropping the [`Replies`] cancels what is open.
    ///
    /// # Errors
    /// [`RequestError`] if nothing was sent.
    pub fn request_all<'a>(
        &self,
        topic: &str,
        type_name: &str,
        payload: impl Into<Data<'a>>,
        timeout: Duration,
    ) -> Result<Replies, RequestError> {
        self.ask(&Ask { topic, type_name, payload: payload.into(), timeout, reach: Reach::All })
    }

    /// How many responders of a topic can be reached, this endpoint's own among them.
    #[must_use]
    pub fn responders(&self, topic: &str, type_name: &str) -> usize {
        self.shared.call(|engine, _| engine.responders(topic, type_name))
    }

    /// Waits until at least `count` responders of a topic can be reached. Returns false if the endpoint was closed
    /// meanwhile.
    ///
    /// Cancel safe: it changes nothing.
    pub async fn wait_for_responders(&self, topic: &str, type_name: &str, count: usize) -> bool {
        self.shared.wait_until(self.shared.interest(), || self.responders(topic, type_name) >= count).await
    }

    /// How many members of a group can be reached, this endpoint's own among them: subscriptions to `shared_filter`, which
    /// is `$share/<group>/<filter>`.
    #[must_use]
    pub fn members(&self, shared_filter: &str) -> usize {
        self.shared.call(|engine, _| engine.members(shared_filter))
    }

    /// Waits until at least `count` members of a group can be reached. Returns false if the endpoint was closed meanwhile.
    ///
    /// Cancel safe: it changes nothing.
    pub async fn wait_for_members(&self, shared_filter: &str, count: usize) -> bool {
        self.shared.wait_until(self.shared.interest(), || self.members(shared_filter) >= count).await
    }

    fn ask(&self, ask: &Ask<'_>) -> Result<Replies, RequestError> {
        let answers = Arc::new(Queue::default());
        let shared = Arc::clone(&self.shared);
        // The queue is there before the lock is let go of, so that no answer finds none.
        let id = shared.call(|engine, now| {
            let id = engine.request(now, ask)?;
            shared.calls().expect_answers(id, Arc::clone(&answers));
            Ok(id)
        })?;
        let replies = Replies { shared, id, answers, over: false };
        // Looked at only now: who closes the endpoint closes the queues that are there after that.
        if replies.shared.is_stopped() { Err(RequestError::Closed) } else { Ok(replies) }
    }
}

/// The answers to a request. Dropped before the last, it cancels what is open.
#[derive(Debug)]
#[must_use = "the request is cancelled when this is dropped"]
pub struct Replies {
    shared: Arc<Shared>,
    id: CallId,
    answers: Arc<Queue<Answer>>,
    over: bool,
}

impl Replies {
    /// Waits for the next answer. `None` after the last.
    ///
    /// Cancel safe: a dropped call loses nothing.
    pub async fn next(&mut self) -> Option<Result<Reply, RequestError>> {
        if self.over {
            return None;
        }
        let answer = self.answers.take().await;
        self.over = answer.as_ref().is_none_or(|answer| answer.last);
        Some(answer.map_or(Err(RequestError::Closed), |answer| answer.result))
    }

    /// Waits for all answers.
    ///
    /// Not cancel safe: a call that is dropped cancels the request.
    pub async fn collect(mut self) -> Vec<Result<Reply, RequestError>> {
        let mut all = Vec::new();
        while let Some(answer) = self.next().await {
            all.push(answer);
        }
        all
    }
}

impl Drop for Replies {
    fn drop(&mut self) {
        if !self.over {
            self.shared.calls().forget_answers(self.id);
            self.shared.call(|engine, _| engine.cancel(self.id));
        }
    }
}

#[cfg(test)]
mod tests;
