//! A client's connection, as its requests and its socket both see it.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use http::Version;
use tokio::time::{Instant, Sleep};

use crate::headers::Origin;

/// What a connection is at. With HTTP/1 that is one thing at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nothing of a request is here.
    Idle,
    /// A head has begun.
    Head,
    /// The head is here, and not all of the body.
    Body,
    /// All of a request is here, and nothing of its answer.
    Waiting,
    /// The answer has begun.
    Answer,
    /// Several things at a time, or another protocol: nobody watches.
    Other,
}

/// A connection of a client.
#[derive(Debug)]
pub(crate) struct Visit {
    pub(crate) origin: Origin,
    phase: AtomicU8,
    /// Bytes came before the answer had ended: the next request has begun.
    is_ahead: AtomicBool,
    /// The client knows answers that are not final.
    knows_interim: AtomicBool,
    alarm: Mutex<Option<Alarm>>,
}

impl Visit {
    pub(crate) const fn new(origin: Origin) -> Self {
        let (is_ahead, knows_interim) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { origin, phase: AtomicU8::new(0), is_ahead, knows_interim, alarm: Mutex::new(None) }
    }

    pub(crate) fn phase(&self) -> Phase {
        let at = usize::from(self.phase.load(Ordering::Acquire));
        PHASES.get(at).copied().unwrap_or(Phase::Other)
    }

    pub(crate) fn knows_interim(&self) -> bool {
        self.knows_interim.load(Ordering::Acquire)
    }

    /// Bytes have come.
    pub(crate) fn handle_bytes(&self) {
        match self.phase() {
            Phase::Idle => self.set(Phase::Head),
            Phase::Waiting | Phase::Answer => self.is_ahead.store(true, Ordering::Release),
            Phase::Head | Phase::Body | Phase::Other => {}
        }
    }

    /// A head is complete.
    pub(crate) fn handle_head(&self, version: Version, is_whole: bool) {
        self.knows_interim.store(version == Version::HTTP_11, Ordering::Release);
        self.set(match version {
            Version::HTTP_2 => Phase::Other,
            _ if is_whole => Phase::Waiting,
            _ => Phase::Body,
        });
    }

    /// The request's body is complete.
    pub(crate) fn handle_body(&self) {
        if self.phase() == Phase::Body {
            self.set(Phase::Waiting);
        }
    }

    pub(crate) fn handle_answer(&self) {
        self.set(Phase::Answer);
    }

    pub(crate) fn handle_end(&self) {
        let is_ahead = self.is_ahead.swap(false, Ordering::AcqRel);
        self.set(if is_ahead { Phase::Head } else { Phase::Idle });
    }

    /// From now on the connection is not watched.
    pub(crate) fn let_go(&self) {
        self.set(Phase::Other);
    }

    fn set(&self, phase: Phase) {
        if self.phase() != Phase::Other {
            self.phase.store(phase as u8, Ordering::Release);
        }
    }

    /// What `future` gives, or `None` if it gives nothing until `deadline`. Cancel safe if `future` is.
    pub(crate) async fn until<F: Future>(&self, deadline: Instant, mut future: Pin<&mut F>) -> Option<F::Output> {
        let mut alarm = self.alarm().take().unwrap_or_else(|| Alarm::new(deadline));
        let result = std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => alarm.poll_until(cx, deadline).map(|()| None),
        })
        .await;
        *self.alarm() = Some(alarm);
        result
    }

    fn alarm(&self) -> std::sync::MutexGuard<'_, Option<Alarm>> {
        self.alarm.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A timer for deadlines that mostly are not reached, and are followed by later ones. It is moved when it rings, not for
/// each of them: that would take the lock of all timers twice for each request, and write to the driver's event
/// descriptor for most of them.
#[derive(Debug)]
pub(crate) struct Alarm(Pin<Box<Sleep>>);

impl Alarm {
    pub(crate) fn new(deadline: Instant) -> Self {
        Self(Box::pin(tokio::time::sleep_until(deadline)))
    }

    pub(crate) fn poll_until(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        if deadline < self.0.deadline() {
            self.0.as_mut().reset(deadline);
        }
        loop {
            ready!(self.0.as_mut().poll(cx));
            if deadline <= self.0.deadline() {
                return Poll::Ready(());
            }
            self.0.as_mut().reset(deadline);
        }
    }
}

const PHASES: [Phase; 6] = [Phase::Idle, Phase::Head, Phase::Body, Phase::Waiting, Phase::Answer, Phase::Other];

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::time::Duration;

    use super::*;

    fn visit() -> Visit {
        Visit::new(Origin::new(std::net::Ipv4Addr::LOCALHOST.into(), false))
    }

    #[test]
    fn a_connection_goes_from_request_to_request() {
        let visit = visit();
        visit.handle_bytes();
        assert_eq!(visit.phase(), Phase::Head);
        visit.handle_head(Version::HTTP_11, false);
        visit.handle_bytes();
        assert_eq!(visit.phase(), Phase::Body);
        visit.handle_body();
        assert_eq!(visit.phase(), Phase::Waiting);
        visit.handle_answer();
        visit.handle_end();
        assert_eq!(visit.phase(), Phase::Idle);
        // The next one has begun before the last one has ended.
        visit.handle_head(Version::HTTP_11, true);
        visit.handle_bytes();
        visit.handle_answer();
        visit.handle_end();
        assert_eq!(visit.phase(), Phase::Head);
        visit.let_go();
        visit.handle_end();
        assert_eq!(visit.phase(), Phase::Other);
    }

    #[tokio::test]
    async fn an_alarm_rings_at_each_deadline_whatever_the_last_was() {
        let visit = visit();
        for millis in [20, 1, 40, 10] {
            let deadline = Instant::now() + Duration::from_millis(millis);
            assert_eq!(visit.until(deadline, pin!(std::future::pending::<()>())).await, None);
            assert!(Instant::now() >= deadline, "{millis} ms were less");
            // It stays set for what did not happen, and that disturbs nobody.
            let later = deadline + Duration::from_millis(5);
            assert_eq!(visit.until(later, pin!(std::future::ready(1))).await, Some(1));
        }
    }
}
