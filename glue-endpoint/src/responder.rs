//! Answers requests.

use std::fmt;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use bytes::Bytes;
use glue_net::driver::Clock;
use glue_topics::{Answer, AnswerError, Asked, Data, ServeError, ServiceId, Source};

use crate::endpoint::Endpoint;
use crate::shared::{Credit, Shared};
use crate::switchboard::{Counter, Flag, OnRequest, Queue};

impl Endpoint {
    /// Serves a topic, given by its exact name: requests to it ([`Endpoint::request`]) wait in the [`Responder`]. An empty
    /// type takes requests of every type. Responders of a topic, on this endpoint or others, share its requests.
    ///
    /// # Errors
    /// [`ServeError`] for a bad name, or more than 65,536 services.
    #[expect(clippy::unused_async, reason = "serving may come to wait for peers, and the API must not change then")]
    pub async fn respond(&self, topic: &str, type_name: &str) -> Result<Responder, ServeError> {
        let counter = Arc::new(Counter::Queue(Queue::default()));
        Ok(Responder(Service::open(&self.shared, topic, type_name, counter)?))
    }

    /// Serves a topic with a function that is called for each request, on the thread that received it. While it runs,
    /// nothing else is delivered to this endpoint: for longer work, hand the [`Request`] to a task or thread, which
    /// may answer it whenever it likes.
    ///
    /// The service ends when the returned handle is dropped.
    ///
    /// # Errors
    /// As [`Endpoint::respond`].
    #[expect(clippy::unused_async, reason = "serving may come to wait for peers, and the API must not change then")]
    pub async fn respond_with(
        &self,
        topic: &str,
        type_name: &str,
        on_request: impl FnMut(Request) + Send + 'static,
    ) -> Result<CallbackResponder, ServeError> {
        let on_request: OnRequest = Box::new(on_request);
        let counter = Arc::new(Counter::Callback(Mutex::new(on_request)));
        Service::open(&self.shared, topic, type_name, counter).map(CallbackResponder)
    }
}

/// Requests to a topic, in the order in which they came. Ends when dropped: requests that still wait in it go to other
/// responders; those that were received may still be answered.
#[derive(Debug)]
pub struct Responder(Service);

impl Responder {
    /// Waits for the next request. `None` after the endpoint was closed.
    ///
    /// Cancel safe: a dropped call loses nothing.
    pub async fn recv(&mut self) -> Option<Request> {
        let Counter::Queue(queue) = &*self.0.counter else { return None };
        loop {
            let mut request = queue.take().await?;
            if request.take() {
                return Some(request);
            }
        }
    }

    /// The next request, if one has arrived.
    pub fn try_recv(&mut self) -> Option<Request> {
        let Counter::Queue(queue) = &*self.0.counter else { return None };
        loop {
            let mut request = queue.try_take()?;
            if request.take() {
                return Some(request);
            }
        }
    }
}

/// A function that is called for each request to a topic. Ends when dropped; a call that runs is finished.
#[derive(Debug)]
#[must_use = "the service ends when its handle is dropped"]
pub struct CallbackResponder(#[expect(dead_code, reason = "ends the service when it is dropped")] Service);

#[derive(Debug)]
struct Service {
    shared: Arc<Shared>,
    id: ServiceId,
    counter: Arc<Counter>,
}

impl Service {
    fn open(shared: &Arc<Shared>, topic: &str, type_name: &str, counter: Arc<Counter>) -> Result<Self, ServeError> {
        // The counter is there before the lock is let go of, so that no request finds none.
        let id = shared.call(|engine, _| {
            let id = engine.respond(topic, type_name)?;
            shared.calls().open(id, Arc::clone(&counter));
            Ok(id)
        })?;
        Ok(Self { shared: Arc::clone(shared), id, counter })
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.shared.call(|engine, _| engine.unserve(self.id));
        self.shared.calls().shut(self.id);
        if let Counter::Queue(queue) = &*self.counter {
            // Each is returned as it is dropped, which must not happen under the queue's lock.
            drop(queue.empty());
        }
    }
}

/// A request that waits for its answer: [`Request::reply`] or [`Request::fail`]. Dropped without either, it is an error to
/// who asked ([`RequestError::Dropped`](crate::RequestError::Dropped)).
///
/// It may be answered on any thread, after any time. It does not keep the endpoint running.
pub struct Request {
    shared: Weak<Shared>,
    asked: Asked,
    flag: Arc<Flag>,
    /// For its bytes, until the application has it.
    credit: Option<Credit>,
    /// The application has it.
    taken: bool,
    answered: bool,
}

impl Request {
    pub(crate) const fn new(shared: Weak<Shared>, asked: Asked, flag: Arc<Flag>, credit: Option<Credit>) -> Self {
        Self { shared, asked, flag, credit, taken: false, answered: false }
    }

    /// What is asked.
    #[must_use]
    pub const fn payload(&self) -> &Bytes {
        &self.asked.payload
    }

    /// Who asks, and the topic with the type that it is served with.
    #[must_use]
    pub const fn source(&self) -> &Arc<Source> {
        &self.asked.source
    }

    /// How long the answer is still waited for.
    #[must_use]
    pub fn time_left(&self) -> Duration {
        self.asked.deadline.since(Clock::now())
    }

    /// Whether nobody waits for the answer any more: who asked gave up, ran out of time, or is gone.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.flag.is_raised() || self.time_left().is_zero()
    }

    /// Waits until who asked gave up, ran out of time, or is gone, or this endpoint is closed.
    ///
    /// Cancel safe: it changes nothing.
    pub async fn cancelled(&self) {
        self.flag.wait().await;
    }

    /// Replies. The reply lives as long as it is waited for.
    ///
    /// # Errors
    /// [`AnswerError`] if nobody waits for it any more, it is longer than a message may be (64 MiB), or no memory is
    /// left; in the latter two cases who asked is told that the responder failed.
    pub fn reply<'a>(mut self, payload: impl Into<Data<'a>>) -> Result<(), AnswerError> {
        self.answer(Answer::Reply(payload.into()))
    }

    /// Tells who asked why there is no reply: at most 1 KiB of `reason` arrive.
    ///
    /// # Errors
    /// [`AnswerError::Cancelled`] if nobody waits for it any more.
    pub fn fail(mut self, reason: &str) -> Result<(), AnswerError> {
        self.answer(Answer::Failed(reason))
    }

    /// The application has it now; false: it is too late for that.
    pub(crate) fn take(&mut self) -> bool {
        self.credit = None;
        self.taken = true;
        !self.is_cancelled()
    }

    fn answer(&mut self, answer: Answer<'_>) -> Result<(), AnswerError> {
        self.answered = true;
        let Some(shared) = self.shared.upgrade() else { return Err(AnswerError::Cancelled) };
        shared.calls().forget_request(self.asked.id);
        shared.call(|engine, now| engine.answer(now, self.asked.id, answer))
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        if !self.answered {
            // Whether anybody still waits for it makes no difference here.
            let _ = self.answer(if self.taken { Answer::Dropped } else { Answer::Returned });
        }
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").field("asked", &self.asked).field("taken", &self.taken).finish_non_exhaustive()
    }
}
