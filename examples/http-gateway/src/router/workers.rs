//! Workers come and go.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use glue_endpoint::{Endpoint, Item, TokenEvent, TokenEvents};
use tokio::sync::Notify;

use super::member::{Load, Member};
use super::registry::Registry;
use crate::announcement::Announcement;
use crate::link::{Departure, Link, names};
use crate::wire::Frame;

/// The links to all workers that hold a token, whether they have announced themselves or not.
#[derive(Debug)]
pub(super) struct Workers {
    departure: Arc<Departure>,
    /// Our own.
    name: String,
    links: Mutex<HashMap<String, Arc<Known>>>,
    registry: Arc<Registry>,
    /// Told when a worker comes, or has capacity again.
    changed: Arc<Notify>,
}

#[derive(Debug)]
struct Known {
    link: Arc<Link>,
    endpoint_name: String,
}

impl Workers {
    pub(super) fn new(endpoint: Endpoint, name: String, registry: Arc<Registry>, changed: Arc<Notify>) -> Self {
        let departure = Departure::new(endpoint);
        Self { departure, name, links: Mutex::default(), registry, changed }
    }

    /// Follows who holds a worker's token.
    pub(super) async fn watch(self: Arc<Self>, mut events: TokenEvents) {
        while let Some(event) = events.recv().await {
            match event {
                TokenEvent::Up(holder) => self.meet(names::last(&holder.token), &holder.endpoint_name),
                TokenEvent::Down(holder) => self.lose(names::last(&holder.token)),
            }
        }
    }

    fn meet(self: &Arc<Self>, worker: &str, endpoint_name: &str) {
        let Ok(link) = Link::new(&self.departure, &names::down(worker, &self.name)) else { return };
        let known = Arc::new(Known { link: Arc::clone(&link), endpoint_name: endpoint_name.to_owned() });
        if let Some(before) = self.links().insert(worker.to_owned(), known) {
            before.link.close();
        }
        tokio::spawn(async move {
            // It ends at the latest when the worker's token goes, as the link is closed then.
            if link.connected().await {
                let _ = link.send(&Frame::Hello).await;
            }
        });
    }

    fn lose(&self, worker: &str) {
        self.registry.remove(worker);
        let known = self.links().remove(worker);
        if let Some(known) = known {
            known.link.close();
        }
        self.changed.notify_waiters();
    }

    /// On the thread that received: it does no more than look where things belong.
    pub(super) fn take(&self, item: Item) {
        let message = match item {
            Item::Message(message) => message,
            Item::Gap(gap) => {
                let known = self.known(names::last(&gap.source.topic_name));
                known.iter().for_each(|known| known.link.break_all());
                return;
            }
        };
        let worker = names::last(&message.topic_name);
        let Some(known) = self.known(worker) else { return };
        match Frame::decode(message.payload.clone()) {
            Ok(Frame::Announce(json)) => self.announced(worker, &known, &json),
            Ok(Frame::Head { stream, flags, head, body }) => known.link.dispatch_head(stream, flags, head, body),
            Ok(frame) => known.link.dispatch(frame),
            Err(malformed) => tracing::debug!("{malformed} from {worker}"),
        }
    }

    fn announced(&self, worker: &str, known: &Known, json: &Bytes) {
        let Some(announcement) = Announcement::from_json(json) else {
            tracing::warn!("{} announced what is not sound", known.endpoint_name);
            return;
        };
        let is_draining = announcement.draining;
        let before = self.registry.get(worker);
        let load = match &before {
            Some(before) => Arc::clone(&before.load),
            None => Arc::new(Load::new(Some(Arc::clone(&known.link)), Arc::clone(&self.changed))),
        };
        if is_draining {
            load.drain();
        }
        let endpoint_name = known.endpoint_name.clone();
        self.registry.put(Arc::new(Member { instance: worker.to_owned(), endpoint_name, announcement, load }));
        // The token may have gone meanwhile, and with it the entry that this has just made again.
        if known.link.is_closed() {
            self.registry.remove(worker);
        }
        self.changed.notify_waiters();
    }

    fn known(&self, worker: &str) -> Option<Arc<Known>> {
        self.links().get(worker).cloned()
    }

    fn links(&self) -> MutexGuard<'_, HashMap<String, Arc<Known>>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
