//! What happens, for those who want to know.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use glue_discovery::{ClashKind, DownReason};
use glue_net::EndpointId;
use tokio::sync::Notify;

use crate::event::Pace;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// Another endpoint claims an id or a name that is ours, or a living peer's. It is refused.
    Clash {
        /// What they both claim.
        kind: ClashKind,
        /// The refused endpoint's name.
        name: String,
        /// The refused endpoint's id.
        id: EndpointId,
        /// Where its announcement came from.
        address: SocketAddr,
    },
    /// A peer asks for more topics than it may (65,536).
    InterestRefused {
        /// How many it may ask for.
        limit: usize,
    },
    /// Nobody read the notices for so long that this many were dropped.
    Missed {
        /// How many.
        count: u64,
    },
    /// A peer is gone.
    PeerDown {
        /// Its name.
        name: String,
        /// Its id.
        id: EndpointId,
        /// Why.
        reason: DownReason,
    },
    /// A peer took so little, or nothing, that publishers no longer wait for it ([`crate::Pace`]). It misses messages, and
    /// sees them as gaps.
    PeerIsolated {
        /// Its name.
        name: String,
        /// Its id.
        id: EndpointId,
    },
    /// An isolated peer still took nothing: what was queued for it is dropped, and becomes gaps as well.
    PeerDisconnected {
        /// Its name.
        name: String,
        /// Its id.
        id: EndpointId,
    },
    /// An isolated peer takes again, and gets what is published from now on.
    PeerRecovered {
        /// Its name.
        name: String,
        /// Its id.
        id: EndpointId,
        /// How many messages were not queued for it meanwhile.
        missed: u64,
    },
    /// A peer takes data elsewhere.
    PeerMoved {
        /// Its name.
        name: String,
        /// Its id.
        id: EndpointId,
        /// Where it took data before.
        from: SocketAddr,
        /// Where it takes data now.
        to: SocketAddr,
    },
    /// A peer is there.
    PeerUp {
        /// Its name.
        name: String,
        /// Its id.
        id: EndpointId,
        /// Whether it speaks the native wire; a classic peer gets every message, and promises less.
        native: bool,
        /// Where it takes data.
        address: SocketAddr,
    },
    /// A peer uses a topic with another type than we do: no messages pass between us there.
    TypeMismatch {
        /// The topic.
        topic: String,
        /// The type here.
        ours: String,
        /// The type there.
        theirs: String,
    },
}

/// A stream of [`Notice`]s. Up to 1,024 wait; beyond, the oldest are dropped and counted.
#[derive(Debug)]
pub struct Notices {
    inbox: Arc<NoticeBox>,
}

impl Notices {
    /// Waits for the next notice. `None` after the endpoint was closed.
    ///
    /// Cancel safe: a dropped call loses nothing.
    pub async fn recv(&mut self) -> Option<Notice> {
        loop {
            // A notice that comes between the look and the wait leaves a permit behind.
            if let Some(notice) = self.try_recv() {
                return Some(notice);
            }
            if self.inbox.lock().closed {
                return None;
            }
            self.inbox.arrived.notified().await;
        }
    }

    /// The next notice, if there is one.
    pub fn try_recv(&mut self) -> Option<Notice> {
        let mut state = self.inbox.lock();
        match std::mem::take(&mut state.missed) {
            0 => state.queue.pop_front(),
            count => Some(Notice::Missed { count }),
        }
    }
}

#[derive(Debug, Default)]
struct NoticeBox {
    state: Mutex<State>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Notice>,
    missed: u64,
    closed: bool,
}

impl NoticeBox {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All streams of notices of one endpoint.
#[derive(Debug)]
pub(crate) struct Watchers {
    boxes: Mutex<Vec<Weak<NoticeBox>>>,
    /// Gathers from the start on for the first who asks: a peer may be up, or a clash told, before anybody can.
    first: Mutex<Option<Arc<NoticeBox>>>,
}

impl Default for Watchers {
    fn default() -> Self {
        let first = Arc::new(NoticeBox::default());
        Self { boxes: Mutex::new(vec![Arc::downgrade(&first)]), first: Mutex::new(Some(first)) }
    }
}

impl Watchers {
    pub(crate) fn watch(&self) -> Notices {
        if let Some(inbox) = self.first.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Notices { inbox };
        }
        let inbox = Arc::new(NoticeBox::default());
        self.lock().push(Arc::downgrade(&inbox));
        Notices { inbox }
    }

    pub(crate) fn tell(&self, notice: Option<Notice>) {
        let Some(notice) = notice else { return };
        self.each(|state| {
            if state.queue.len() >= MAX_WAITING {
                state.queue.pop_front();
                state.missed += 1;
            }
            state.queue.push_back(notice.clone());
        });
    }

    pub(crate) fn close(&self) {
        self.each(|state| state.closed = true);
    }

    fn each(&self, change: impl Fn(&mut State)) {
        self.lock().retain(|watcher| {
            let Some(watcher) = watcher.upgrade() else { return false };
            change(&mut watcher.lock());
            watcher.arrived.notify_one();
            true
        });
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<NoticeBox>>> {
        self.boxes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Notice {
    /// `None`: nothing that an application need know.
    pub(crate) fn of_discovery(event: glue_discovery::Event) -> Option<Self> {
        use glue_discovery::{Event, Wire};
        Some(match event {
            Event::PeerUp { info, .. } => {
                let native = matches!(info.wire, Wire::Native { .. });
                Self::PeerUp { name: info.name, id: info.id, native, address: info.data }
            }
            Event::PeerDown { id, name, reason, .. } => Self::PeerDown { name, id, reason },
            Event::PeerMoved { id, name, from, to, .. } => Self::PeerMoved { name, id, from, to },
            Event::Clash { kind, name, id, address } => Self::Clash { kind, name, id, address },
            _ => return None,
        })
    }

    pub(crate) fn of_pace(name: String, id: EndpointId, pace: Pace) -> Self {
        match pace {
            Pace::Isolated => Self::PeerIsolated { name, id },
            Pace::Disconnected => Self::PeerDisconnected { name, id },
            Pace::Recovered { missed } => Self::PeerRecovered { name, id, missed },
        }
    }

    /// `None`: nothing that an application need know.
    pub(crate) fn of_topics(event: glue_topics::Event) -> Option<Self> {
        use glue_topics::Event;
        Some(match event {
            Event::InterestRefused { limit, .. } => Self::InterestRefused { limit },
            Event::TypeMismatch { topic, ours, theirs, .. } => {
                Self::TypeMismatch { topic: topic.to_string(), ours: ours.to_string(), theirs: theirs.to_string() }
            }
            _ => return None,
        })
    }
}

/// Notices that wait in one stream.
const MAX_WAITING: usize = 1_024;
