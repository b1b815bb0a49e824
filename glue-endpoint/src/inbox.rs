//! Where things wait for one reader, and the reader for them.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Content that others change and one reader takes from, until it is closed.
#[derive(Debug, Default)]
pub(crate) struct Inbox<S> {
    state: Mutex<State<S>>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct State<S> {
    content: S,
    closed: bool,
}

impl<S> Inbox<S> {
    /// Puts something in, and wakes the reader. `None`, and `put` is not called: it is closed.
    pub(crate) fn put<R>(&self, put: impl FnOnce(&mut S) -> R) -> Option<R> {
        let mut state = self.lock();
        let done = (!state.closed).then(|| put(&mut state.content));
        drop(state);
        self.arrived.notify_one();
        done
    }

    /// Takes something out; what was there when it was closed as well.
    pub(crate) fn take<T>(&self, take: impl FnOnce(&mut S) -> T) -> T {
        take(&mut self.lock().content)
    }

    /// Waits until `take` gives something. `None`: it is closed, and nothing is left. Cancel safe.
    pub(crate) async fn next<T>(&self, take: impl Fn(&mut S) -> Option<T>) -> Option<T> {
        loop {
            // What comes between the look and the wait leaves a permit behind.
            if let Some(next) = self.look(&take) {
                return next;
            }
            self.arrived.notified().await;
        }
    }

    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_one();
    }

    /// What comes next, or that nothing will; `None`: wait.
    fn look<T>(&self, take: impl Fn(&mut S) -> Option<T>) -> Option<Option<T>> {
        let mut state = self.lock();
        let next = take(&mut state.content);
        (next.is_some() || state.closed).then_some(next)
    }

    fn lock(&self) -> MutexGuard<'_, State<S>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
