//! Where requests and answers wait for the application.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use dashmap::DashMap;
use glue_topics::{CallEvent, CallId, Reply, RequestError, RequestId, ServiceId};
use tokio::sync::Notify;

use crate::calls::lent;
use crate::inbox::Inbox;
use crate::responder::Request;
use crate::shared::{Credit, Shared};

/// The requests of one endpoint, both ways.
#[derive(Debug, Default)]
pub(crate) struct Switchboard {
    /// Of requests of ours that wait.
    answers: DashMap<CallId, Arc<Queue<Answer>>>,
    /// Of our services.
    services: DashMap<ServiceId, Arc<Counter>>,
    /// Requests of others that are not answered.
    open: DashMap<RequestId, Arc<Flag>>,
}

/// An answer, and the credit for it, which goes back when it is taken.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) result: Result<Reply, RequestError>,
    pub(crate) last: bool,
    pub(crate) _credit: Option<Credit>,
}

/// What the application does with a request.
pub(crate) type OnRequest = Box<dyn FnMut(Request) + Send>;

/// Where the requests of one service go.
pub(crate) enum Counter {
    /// Calls come one at a time, so nobody waits for this lock.
    Callback(Mutex<OnRequest>),
    Queue(Queue<Request>),
}

impl Switchboard {
    pub(crate) fn expect_answers(&self, id: CallId, queue: Arc<Queue<Answer>>) {
        self.answers.insert(id, queue);
    }

    pub(crate) fn forget_answers(&self, id: CallId) {
        self.answers.remove(&id);
    }

    pub(crate) fn open(&self, id: ServiceId, counter: Arc<Counter>) {
        self.services.insert(id, counter);
    }

    pub(crate) fn shut(&self, id: ServiceId) {
        self.services.remove(&id);
    }

    pub(crate) fn forget_request(&self, id: RequestId) {
        self.open.remove(&id);
    }

    /// How many requests wait, of ours and of others.
    #[cfg(test)]
    pub(crate) fn len(&self) -> (usize, usize) {
        (self.answers.len(), self.open.len())
    }

    /// The endpoint was closed.
    pub(crate) fn close(&self) {
        self.answers.iter().for_each(|queue| queue.close());
        self.services.iter().for_each(|counter| {
            if let Counter::Queue(queue) = &**counter {
                queue.close();
            }
        });
        self.open.iter().for_each(|flag| flag.raise());
    }

    pub(crate) fn handle(&self, event: CallEvent, shared: Option<&Weak<Shared>>) {
        let Some(shared) = shared else { return };
        let (from, bytes) = lent(&event);
        let credit = from.map(|peer| Credit::new(shared.clone(), peer, bytes));
        match event {
            CallEvent::Answer { call, result, last } => {
                let queue = self.answers.get(&call).map(|entry| Arc::clone(&entry));
                if last {
                    self.answers.remove(&call);
                }
                if let Some(queue) = queue {
                    queue.put(Answer { result, last, _credit: credit });
                }
            }
            CallEvent::Cancelled(id) => {
                if let Some((_, flag)) = self.open.remove(&id) {
                    flag.raise();
                }
            }
            CallEvent::Request(asked) => {
                let flag = Arc::new(Flag::default());
                self.open.insert(asked.id, Arc::clone(&flag));
                // The guard is dropped before the function of the application runs.
                let counter = self.services.get(&asked.service).map(|entry| Arc::clone(&entry));
                let request = Request::new(shared.clone(), asked, flag, credit);
                // If the service has ended, dropping the request returns it.
                if let Some(counter) = counter {
                    counter.put(request);
                }
            }
            _ => {}
        }
    }
}

impl Counter {
    fn put(&self, mut request: Request) {
        match self {
            Self::Queue(queue) => queue.put(request),
            Self::Callback(on_request) => {
                request.take();
                (on_request.lock().unwrap_or_else(PoisonError::into_inner))(request);
            }
        }
    }
}

impl fmt::Debug for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counter").finish_non_exhaustive()
    }
}

/// Things that wait for one reader.
#[derive(Debug)]
pub(crate) struct Queue<T>(Inbox<VecDeque<T>>);

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self(Inbox::default())
    }
}

impl<T> Queue<T> {
    /// Puts a thing in; drops it if the queue is closed.
    pub(crate) fn put(&self, thing: T) {
        // Not under the lock: dropping a request calls the endpoint.
        let mut thing = Some(thing);
        self.0.put(|things| things.extend(thing.take()));
    }

    pub(crate) fn try_take(&self) -> Option<T> {
        self.0.take(VecDeque::pop_front)
    }

    /// Waits for the next thing; `None`: the queue is closed and empty. Cancel safe.
    pub(crate) async fn take(&self) -> Option<T> {
        self.0.next(VecDeque::pop_front).await
    }

    pub(crate) fn close(&self) {
        self.0.close();
    }

    /// Closes it, and takes out what is left.
    pub(crate) fn empty(&self) -> VecDeque<T> {
        self.close();
        self.0.take(std::mem::take)
    }
}

/// Whether a request was cancelled.
#[derive(Debug, Default)]
pub(crate) struct Flag {
    raised: AtomicBool,
    changed: Notify,
}

impl Flag {
    pub(crate) fn is_raised(&self) -> bool {
        self.raised.load(Ordering::Acquire)
    }

    pub(crate) async fn wait(&self) {
        loop {
            // Made before the look, so that a change between the look and the wait is not missed.
            let changed = self.changed.notified();
            if self.is_raised() {
                return;
            }
            changed.await;
        }
    }

    fn raise(&self) {
        self.raised.store(true, Ordering::Release);
        self.changed.notify_waiters();
    }
}
