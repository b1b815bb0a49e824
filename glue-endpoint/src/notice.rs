//! What happens, for those who want to know.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use glue_discovery::{ClashKind, DownReason};
use glue_net::EndpointId;
use glue_security::PublicKey;
use glue_topics::{Permission, Policy};

use crate::event::Pace;
use crate::inbox::Inbox;
use crate::private::Refusal;

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
    /// Nothing was published for so long as our publisher promised ([`crate::PublisherOptions::deadline`]).
    OfferedDeadlineMissed {
        /// The topic.
        topic: String,
        /// What was promised.
        period: Duration,
        /// How many periods went by.
        count: u64,
    },
    /// A peer is gone.
    PeerDown {
        /// Its name.
        name: String,
        /// Its id.
        id: EndpointId,
        /// Whether it speaks the native wire.
        native: bool,
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
    /// A datagram was refused, since the network is private, ours or the sender's. Told once a minute for each address, of 64
    /// at most.
    Refused {
        /// Where it came from.
        address: SocketAddr,
        /// Why.
        why: Refusal,
    },
    /// A peer's cache has brought messages that their publisher has not signed: it has altered or invented them, or its memory is
    /// faulty. They are dropped and asked for elsewhere. Told once for each peer and topic.
    Forged {
        /// The id of the peer with the cache.
        id: EndpointId,
        /// The topic.
        topic: String,
    },
    /// A peer did, or asked for, what it may not ([`crate::Trust`]); it has no effect. Told once for each peer, topic and
    /// permission.
    NotPermitted {
        /// Its id.
        id: EndpointId,
        /// The topic, or a group with its filter.
        topic: String,
        /// What it may not do.
        what: Permission,
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
        /// By what it is known in a private network.
        public_key: Option<PublicKey>,
    },
    /// A publisher offers less than a subscription requests, and no messages pass between the two. Told once for each peer,
    /// topic and policy, on both sides.
    QosMismatch {
        /// The other's id; ours, if both are of this endpoint.
        id: EndpointId,
        /// The topic.
        topic: String,
        /// What is offered less of.
        policy: Policy,
    },
    /// Nothing came of a publisher for so long as a subscription requested ([`crate::SubscribeOptions::deadline`]). The next
    /// message starts the time anew.
    RequestedDeadlineMissed {
        /// The publisher's id.
        id: EndpointId,
        /// The topic.
        topic: String,
        /// What was requested.
        period: Duration,
        /// How many periods went by.
        count: u64,
    },
    /// The file of trusted peers has changed, and can not be used. What it said before holds.
    TrustRefused {
        /// Why.
        error: String,
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

/// A stream of [`Notice`]s. Up to 2,048 wait; beyond, the oldest are dropped and counted.
#[derive(Debug)]
pub struct Notices {
    inbox: Arc<Inbox<Waiting>>,
}

impl Notices {
    /// Waits for the next notice. `None` after the endpoint was closed.
    ///
    /// Cancel safe: a dropped call loses nothing.
    pub async fn recv(&mut self) -> Option<Notice> {
        self.inbox.next(Waiting::take).await
    }

    /// The next notice, if there is one.
    pub fn try_recv(&mut self) -> Option<Notice> {
        self.inbox.take(Waiting::take)
    }
}

#[derive(Debug, Default)]
struct Waiting {
    queue: VecDeque<Notice>,
    missed: u64,
}

impl Waiting {
    fn push(&mut self, notice: Notice) {
        if self.queue.len() >= MAX_WAITING {
            self.queue.pop_front();
            self.missed += 1;
        }
        self.queue.push_back(notice);
    }

    fn take(&mut self) -> Option<Notice> {
        match std::mem::take(&mut self.missed) {
            0 => self.queue.pop_front(),
            count => Some(Notice::Missed { count }),
        }
    }
}

/// All streams of notices of one endpoint.
#[derive(Debug)]
pub(crate) struct Watchers(Mutex<Streams>);

#[derive(Debug)]
struct Streams {
    boxes: Vec<Weak<Inbox<Waiting>>>,
    /// Gathers from the start on for the first who asks: a peer may be up, or a clash told, before anybody can.
    first: Option<Arc<Inbox<Waiting>>>,
    /// The peers that are there, as they were told: a later stream begins with them.
    up: BTreeMap<EndpointId, Notice>,
}

impl Default for Watchers {
    fn default() -> Self {
        let first = Arc::new(Inbox::default());
        Self(Mutex::new(Streams { boxes: vec![Arc::downgrade(&first)], first: Some(first), up: BTreeMap::new() }))
    }
}

impl Watchers {
    pub(crate) fn watch(&self) -> Notices {
        let mut streams = self.lock();
        if let Some(inbox) = streams.first.take() {
            return Notices { inbox };
        }
        let inbox = Arc::new(Inbox::<Waiting>::default());
        inbox.put(|waiting| waiting.queue.extend(streams.up.values().cloned()));
        streams.boxes.push(Arc::downgrade(&inbox));
        Notices { inbox }
    }

    pub(crate) fn tell(&self, notice: Option<Notice>) {
        let Some(notice) = notice else { return };
        let mut streams = self.lock();
        streams.note(&notice);
        streams.each(|inbox| _ = inbox.put(|waiting| waiting.push(notice.clone())));
    }

    pub(crate) fn close(&self) {
        self.lock().each(Inbox::close);
    }

    fn lock(&self) -> MutexGuard<'_, Streams> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Streams {
    fn each(&mut self, with: impl Fn(&Inbox<Waiting>)) {
        self.boxes.retain(|watcher| watcher.upgrade().inspect(|watcher| with(watcher)).is_some());
    }

    fn note(&mut self, notice: &Notice) {
        match notice {
            Notice::PeerUp { id, .. } => drop(self.up.insert(*id, notice.clone())),
            Notice::PeerDown { id, .. } => drop(self.up.remove(id)),
            Notice::PeerMoved { id, to, .. } => {
                if let Some(Notice::PeerUp { address, .. }) = self.up.get_mut(id) {
                    *address = *to;
                }
            }
            _ => {}
        }
    }
}

impl Notice {
    /// `None`: nothing that an application need know.
    pub(crate) fn of_discovery(event: glue_discovery::Event) -> Option<Self> {
        use glue_discovery::Event;
        Some(match event {
            Event::PeerUp { info, .. } => Self::PeerUp {
                name: info.name,
                id: info.id,
                native: info.wire.is_native(),
                address: info.data,
                public_key: info.public_key,
            },
            Event::PeerDown { id, name, native, reason, .. } => Self::PeerDown { name, id, native, reason },
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
            Event::Forged { id, topic, .. } => Self::Forged { id, topic: topic.to_string() },
            Event::NotPermitted { id, topic, what, .. } => Self::NotPermitted { id, topic: topic.to_string(), what },
            Event::OfferedDeadlineMissed { topic, period, count } => {
                Self::OfferedDeadlineMissed { topic: topic.to_string(), period, count }
            }
            Event::QosMismatch { id, topic, policy, .. } => Self::QosMismatch { id, topic: topic.to_string(), policy },
            Event::RequestedDeadlineMissed { id, topic, period, count, .. } => {
                Self::RequestedDeadlineMissed { id, topic: topic.to_string(), period, count }
            }
            Event::TypeMismatch { topic, ours, theirs, .. } => {
                Self::TypeMismatch { topic: topic.to_string(), ours: ours.to_string(), theirs: theirs.to_string() }
            }
            _ => return None,
        })
    }
}

/// Notices that wait in one stream: it may begin with one for each of 1,024 peers.
const MAX_WAITING: usize = 2_048;

#[cfg(test)]
mod tests {
    use super::*;

    fn up(id: i64, port: u16) -> Notice {
        let address = SocketAddr::from(([10, 0, 0, 1], port));
        Notice::PeerUp {
            name: id.to_string(),
            id: EndpointId::from_integer(id),
            native: true,
            address,
            public_key: None,
        }
    }

    fn down(id: i64) -> Notice {
        let (name, id, reason) = (id.to_string(), EndpointId::from_integer(id), DownReason::Expired);
        Notice::PeerDown { name, id, native: true, reason }
    }

    fn all(stream: &mut Notices) -> Vec<Notice> {
        std::iter::from_fn(|| stream.try_recv()).collect()
    }

    #[test]
    fn the_first_stream_tells_all_and_later_ones_begin_with_the_peers_that_are_there() {
        let watchers = Watchers::default();
        let (from, to) = (SocketAddr::from(([10, 0, 0, 1], 2)), SocketAddr::from(([10, 0, 0, 1], 5)));
        let moved = Notice::PeerMoved { name: "2".to_owned(), id: EndpointId::from_integer(2), from, to };
        let told = [up(1, 1), up(2, 2), down(1), up(3, 3), moved];
        told.iter().for_each(|notice| watchers.tell(Some(notice.clone())));
        assert_eq!(all(&mut watchers.watch()), told);
        let mut later = watchers.watch();
        watchers.tell(Some(down(3)));
        watchers.tell(Some(up(1, 4)));
        assert_eq!(all(&mut later), [up(2, 5), up(3, 3), down(3), up(1, 4)]);
        assert_eq!(all(&mut watchers.watch()), [up(1, 4), up(2, 5)]);
    }

    #[test]
    fn a_stream_that_nobody_reads_drops_the_oldest_and_says_how_many() {
        let watchers = Watchers::default();
        let mut stream = watchers.watch();
        (0..MAX_WAITING + 2).for_each(|_| watchers.tell(Some(down(1))));
        assert_eq!(stream.try_recv(), Some(Notice::Missed { count: 2 }));
        assert_eq!(all(&mut stream).len(), MAX_WAITING);
    }
}
