//! One request and its answer on a link: what waits to be read, and how much either side may still send.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use tokio::sync::{Notify, Semaphore};

use crate::wire::{Flags, Reason};

/// What arrived on a stream.
#[derive(Clone, Debug)]
pub(crate) enum Part {
    /// The response's head. Its body follows as data.
    Head(Bytes),
    /// A piece of the body.
    Data(Bytes, Flags),
    Trailers(HeaderMap),
    /// Nothing follows.
    End,
    Reset(Reason),
}

/// Both directions of a stream. The link's dispatcher puts in what arrives, one task reads it.
#[derive(Debug)]
pub(crate) struct Stream {
    state: Mutex<State>,
    /// Bytes of body that we may still send. Closed: no more at all.
    window: Semaphore,
    /// Told when the window closes.
    closed: Notify,
}

#[derive(Debug)]
struct State {
    parts: VecDeque<Part>,
    waker: Option<Waker>,
    /// Bytes of body that the other may still send.
    granted: usize,
    /// Nothing more comes in.
    ended: bool,
    /// Nobody reads what comes in.
    deaf: bool,
}

/// The other sent more than it may, or after its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Overrun;

impl Stream {
    pub(crate) fn new() -> Self {
        let state = State { parts: VecDeque::new(), waker: None, granted: WINDOW, ended: false, deaf: false };
        Self { state: Mutex::new(state), window: Semaphore::new(WINDOW), closed: Notify::new() }
    }

    // ---- what comes in ----

    pub(crate) fn put_head(&self, head: Bytes) {
        self.lock().put(Part::Head(head));
    }

    pub(crate) fn put_data(&self, body: Bytes, flags: Flags) -> Result<(), Overrun> {
        let mut state = self.lock();
        if state.ended || body.len() > state.granted {
            return Err(Overrun);
        }
        state.granted -= body.len();
        if !body.is_empty() {
            state.put(Part::Data(body, flags));
        }
        if flags.end {
            state.end();
        }
        Ok(())
    }

    pub(crate) fn put_trailers(&self, trailers: HeaderMap) -> Result<(), Overrun> {
        let mut state = self.lock();
        if state.ended {
            return Err(Overrun);
        }
        state.put(Part::Trailers(trailers));
        state.end();
        Ok(())
    }

    /// Ends both directions. What came before is still read.
    pub(crate) fn reset(&self, reason: Reason) {
        self.stop();
        let mut state = self.lock();
        if !state.ended {
            state.ended = true;
            state.put(Part::Reset(reason));
        }
    }

    #[expect(clippy::needless_pass_by_ref_mut, reason = "every poll function takes its context so")]
    pub(crate) fn poll_part(&self, cx: &mut Context<'_>) -> Poll<Part> {
        let mut state = self.lock();
        if let Some(part) = state.parts.pop_front() {
            return Poll::Ready(part);
        }
        if state.ended {
            return Poll::Ready(Part::End);
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Cancel safe.
    pub(crate) async fn part(&self) -> Part {
        std::future::poll_fn(|cx| self.poll_part(cx)).await
    }

    /// Whether all that will come has been read.
    pub(crate) fn is_read(&self) -> bool {
        let state = self.lock();
        state.ended && (state.parts.is_empty() || matches!(state.parts.front(), Some(Part::End)))
    }

    /// The other may send so much more.
    pub(crate) fn grant(&self, bytes: usize) {
        self.lock().granted += bytes;
    }

    /// Nobody will read any more. Returns whether more was to come.
    pub(crate) fn deafen(&self) -> bool {
        let mut state = self.lock();
        state.deaf = true;
        state.parts.clear();
        !state.ended
    }

    // ---- what goes out ----

    /// Takes what it may of the window at once.
    pub(crate) fn try_spend(&self, bytes: usize) -> bool {
        u32::try_from(bytes).is_ok_and(|bytes| self.window.try_acquire_many(bytes).map(|taken| taken.forget()).is_ok())
    }

    /// Waits until so many bytes may be sent, and takes them; false: nothing may be sent any more. Cancel safe.
    pub(crate) async fn spend(&self, bytes: usize) -> bool {
        let Ok(bytes) = u32::try_from(bytes) else { return false };
        self.window.acquire_many(bytes).await.map(|taken| taken.forget()).is_ok()
    }

    /// The other grants more. What exceeds all sense is ignored: it may only harm who says so.
    pub(crate) fn earn(&self, bytes: u32) {
        let bytes = bytes as usize;
        if bytes <= WINDOW && self.window.available_permits() + bytes <= WINDOW {
            self.window.add_permits(bytes);
        }
    }

    /// The other reads no more.
    pub(crate) fn stop(&self) {
        self.window.close();
        self.closed.notify_waiters();
    }

    /// Ends when nothing more may be sent. Cancel safe.
    pub(crate) async fn unwanted(&self) {
        loop {
            // Made before the look, so that a change between the look and the wait is not missed.
            let closed = self.closed.notified();
            if self.window.is_closed() {
                return;
            }
            closed.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn put(&mut self, part: Part) {
        if !self.deaf {
            self.parts.push_back(part);
        }
        self.wake();
    }

    fn end(&mut self) {
        self.ended = true;
        self.wake();
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// Bytes of a body that may be on the way in each direction of a stream. Twice this bounds what a stream holds at one
/// process.
pub(crate) const WINDOW: usize = 512 << 10;

/// The piece of a body in one frame, unless it is told otherwise. What is larger costs latency, and gains nothing.
pub(crate) const CHUNK: usize = 64 << 10;

/// The largest piece there may be: with it a window is still four.
pub(crate) const MOST_CHUNK: usize = WINDOW / 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_sends_more_than_it_may_is_caught() {
        let stream = Stream::new();
        let most = Bytes::from(vec![0; WINDOW]);
        assert_eq!(stream.put_data(most, Flags::default()), Ok(()));
        assert_eq!(stream.put_data(Bytes::from_static(b"x"), Flags::default()), Err(Overrun));
        stream.grant(1);
        assert_eq!(stream.put_data(Bytes::from_static(b"x"), Flags::END), Ok(()));
        stream.grant(WINDOW);
        assert_eq!(stream.put_data(Bytes::from_static(b"x"), Flags::END), Err(Overrun), "after the end");
    }

    #[test]
    fn credit_never_exceeds_the_window() {
        let stream = Stream::new();
        stream.earn(u32::MAX);
        stream.earn(1);
        assert!(stream.try_spend(WINDOW));
        assert!(!stream.try_spend(1));
        stream.earn(1);
        assert!(stream.try_spend(1));
    }

    #[tokio::test]
    async fn what_came_before_a_reset_is_read_before_it() {
        let stream = Stream::new();
        stream.put_data(Bytes::from_static(b"x"), Flags::default()).unwrap();
        stream.reset(Reason::Failed);
        assert!(matches!(stream.part().await, Part::Data(..)));
        assert!(matches!(stream.part().await, Part::Reset(Reason::Failed)));
        assert!(matches!(stream.part().await, Part::End));
        assert!(!stream.spend(1).await);
    }
}
