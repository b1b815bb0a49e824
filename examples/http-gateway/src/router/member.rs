//! A worker, as a router knows it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use tokio::sync::Notify;

use crate::announcement::Announcement;
use crate::link::Link;
use crate::wire::Frame;

/// A worker that has announced itself. A new announcement makes a new one of it, with the same load.
#[derive(Debug)]
pub(crate) struct Member {
    /// Unlike the id, no other worker has it.
    pub(crate) instance: String,
    /// The name of its endpoint.
    pub(crate) endpoint_name: String,
    pub(crate) announcement: Announcement,
    pub(crate) load: Arc<Load>,
}

/// What a worker has to do.
#[derive(Debug)]
pub(crate) struct Load {
    /// `None` in simulations, which choose and do not send.
    pub(crate) link: Option<Arc<Link>>,
    pub(crate) outstanding: AtomicU32,
    pub(crate) served: AtomicU64,
    pub(crate) failed: AtomicU64,
    is_draining: AtomicBool,
    /// Of all workers: told when a request ends.
    pub(crate) released: Arc<Notify>,
}

impl Load {
    pub(crate) fn new(link: Option<Arc<Link>>, released: Arc<Notify>) -> Self {
        let (outstanding, served, failed) = (AtomicU32::new(0), AtomicU64::new(0), AtomicU64::new(0));
        Self { link, outstanding, served, failed, is_draining: AtomicBool::new(false), released }
    }

    pub(crate) fn outstanding(&self) -> u32 {
        self.outstanding.load(Ordering::Acquire)
    }

    fn is_gone(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.is_closed())
    }

    /// It gets no more requests. Once it has answered those that it has, it is told that this was all.
    pub(crate) fn drain(&self) {
        self.is_draining.store(true, Ordering::SeqCst);
        self.finish();
    }

    fn finish(&self) {
        // Who takes a place does so before it looks at the mark, so one of both sees the other.
        if self.outstanding.load(Ordering::SeqCst) == 0
            && let Some(link) = &self.link
        {
            link.post(&Frame::Fin);
        }
    }
}

impl Member {
    pub(crate) fn serves(&self, method: &str) -> bool {
        let methods = &self.announcement.methods;
        methods.is_empty() || methods.iter().any(|served| served.eq_ignore_ascii_case(method))
    }

    /// Takes one of its places, if it has one and is there.
    pub(crate) fn take(self: &Arc<Self>) -> Option<Taken> {
        if !self.announcement.is_available() || self.load.is_gone() {
            return None;
        }
        let before = self.load.outstanding.fetch_add(1, Ordering::SeqCst);
        let taken = Taken(Arc::clone(self));
        let capacity = self.announcement.capacity;
        let has_room = capacity == 0 || before < capacity;
        (has_room && !self.load.is_draining.load(Ordering::SeqCst)).then_some(taken)
    }
}

/// A place at a worker, until this is dropped.
#[derive(Debug)]
pub(crate) struct Taken(pub(crate) Arc<Member>);

impl Drop for Taken {
    fn drop(&mut self) {
        let load = &self.0.load;
        load.outstanding.fetch_sub(1, Ordering::SeqCst);
        if load.is_draining.load(Ordering::SeqCst) {
            load.finish();
        }
        // Nobody waits where no worker has a limit.
        if self.0.announcement.capacity > 0 {
            load.released.notify_waiters();
        }
    }
}
