//! What all sockets, upstreams and instances share.

use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;
use tokio::sync::{Notify, watch};
use uuid::Uuid;

use crate::counters::Counters;
use crate::directory::Directory;
use crate::dispatch::Dispatch;
use crate::distribution::Distribution;
use crate::glue::Glue;
use crate::lane::{Lane, What};
use crate::places::{Place, Places};
use crate::settings::{Settings, SlowReader};
use crate::socket::{Reason, Socket};
use crate::time;
use crate::topics::tag_of;
use crate::upstreams::Upstreams;
use crate::wire::proto::OutputStreamRequest;
use crate::wire::{Action, Audience, Order};

/// See the module.
#[derive(Debug)]
pub(crate) struct Hub {
    /// Names this instance in the ids of its sockets.
    pub(crate) tag: u64,
    pub(crate) dispatch: Dispatch,
    pub(crate) upstreams: Upstreams,
    pub(crate) counters: Arc<Counters>,
    directory: RwLock<Directory>,
    settings: watch::Sender<Arc<Settings>>,
    start_ms: u64,
    places: Arc<Places>,
    glue: OnceLock<Arc<Glue>>,
    /// A socket has gone.
    gone: Notify,
}

/// Settings as they are now.
#[derive(Debug)]
pub(crate) struct SettingsView {
    changes: watch::Receiver<Arc<Settings>>,
    now: Arc<Settings>,
}

impl SettingsView {
    pub(crate) fn now(&mut self) -> &Settings {
        if self.changes.has_changed().unwrap_or(false) {
            self.now = Arc::clone(&self.changes.borrow_and_update());
        }
        &self.now
    }
}

impl Hub {
    pub(crate) fn new(settings: Settings) -> Arc<Self> {
        let counters = Arc::new(Counters::default());
        Arc::new(Self {
            tag: tag_of(Uuid::new_v8(*Uuid::new_v4().as_bytes())),
            dispatch: Dispatch::new(Arc::clone(&counters)),
            upstreams: Upstreams::default(),
            counters,
            directory: RwLock::default(),
            settings: watch::Sender::new(Arc::new(settings)),
            start_ms: time::monotonic_ms(),
            places: Arc::default(),
            glue: OnceLock::new(),
            gone: Notify::new(),
        })
    }

    pub(crate) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.borrow())
    }

    /// The same for who asks again and again: what did not change costs next to nothing.
    pub(crate) fn settings_view(&self) -> SettingsView {
        SettingsView { changes: self.settings.subscribe(), now: self.settings() }
    }

    pub(crate) fn change_settings(&self, change: impl FnOnce(&mut Settings)) {
        self.settings.send_modify(|settings| change(Arc::make_mut(settings)));
    }

    /// An id for a socket: a UUID of version 8, of which the first half names this instance and the second is random.
    pub(crate) fn new_id(&self) -> Uuid {
        let random = Uuid::new_v4().as_u64_pair().1;
        Uuid::new_v8(((u128::from(self.tag) << 64) | u128::from(random)).to_be_bytes())
    }

    /// Milliseconds since the start.
    pub(crate) fn now_ms(&self) -> u64 {
        time::monotonic_ms().saturating_sub(self.start_ms)
    }

    pub(crate) fn directory(&self) -> RwLockReadGuard<'_, Directory> {
        self.directory.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn directory_mut(&self) -> RwLockWriteGuard<'_, Directory> {
        self.directory.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one of the places for sockets, if one is free.
    pub(crate) fn take_place(&self) -> Option<Place> {
        let place = self.places.take(self.settings().max_sockets);
        self.counters.sockets_refused.add(place.is_none().into());
        place
    }

    /// Whether one more socket of an address may be there, in that place.
    pub(crate) fn admits(&self, place: &mut Place, address: IpAddr) -> bool {
        let is_admitted = place.claim(address, self.settings().max_sockets_per_address);
        self.counters.sockets_refused_by_address.add((!is_admitted).into());
        is_admitted
    }

    /// A socket is there from now on.
    pub(crate) async fn connect(&self, socket: &Arc<Socket>) {
        self.directory_mut().insert(Arc::clone(socket));
        match self.settings().distribution {
            Distribution::Sticky => self.dispatch.settle(socket).await,
            _ => self.dispatch.announce(socket, &What::Connected),
        }
    }

    /// A socket is gone.
    pub(crate) async fn disconnect(&self, socket: &Arc<Socket>) {
        self.directory_mut().remove(socket.id);
        self.gone.notify_waiters();
        let what = What::Disconnected(socket.reason().unwrap_or(Reason::Error));
        self.dispatch.disconnected(self.settings().distribution, socket, what).await;
    }

    /// Waits until there is no socket.
    pub(crate) async fn is_empty(&self) {
        loop {
            let mut gone = pin!(self.gone.notified());
            gone.as_mut().enable();
            if self.directory().len() == 0 {
                return;
            }
            gone.await;
        }
    }

    /// Takes what an upstream says on a lane, and settles what it settles. Returns what is to be done.
    pub(crate) fn note(&self, lane: &Lane, request: OutputStreamRequest) -> Option<Order> {
        if request.acknowledged > 0 {
            lane.acknowledge(request.acknowledged);
            self.dispatch.has_room();
            request.target.as_ref()?;
        }
        self.counters.messages_from_upstream.add(1);
        let Ok(order) = Order::try_from(request) else {
            self.counters.messages_malformed.add(1);
            return None;
        };
        if let Audience::Client(client) = order.audience
            && lane.replied_to(client)
        {
            self.dispatch.has_room();
        }
        Some(order)
    }

    /// Does what an upstream says, for the clients of all instances. Waits while another instance is slow.
    pub(crate) async fn obey(&self, settings: &Settings, order: Order) {
        let Some(glue) = self.glue.get() else { return self.carry_out(settings, &order) };
        match order.audience {
            Audience::Client(client) if tag_of(client) == self.tag => self.carry_out(settings, &order),
            Audience::Client(client) => {
                if glue.send(tag_of(client), order).await {
                    self.counters.instance_messages_sent.add(1);
                } else {
                    self.counters.messages_unknown_client.add(1);
                }
            }
            _ => {
                self.carry_out(settings, &order);
                self.counters.instance_messages_sent.add(glue.send_to_all(order).await.into());
            }
        }
    }

    /// Takes what another instance sends.
    pub(crate) fn take_from_instance(&self, request: OutputStreamRequest) {
        self.counters.instance_messages_received.add(1);
        match Order::try_from(request) {
            Ok(order) => self.carry_out(&self.settings(), &order),
            Err(_) => self.counters.messages_malformed.add(1),
        }
    }

    /// Belongs to a network from now on.
    pub(crate) fn join(&self, glue: Glue) -> Arc<Glue> {
        Arc::clone(self.glue.get_or_init(|| Arc::new(glue)))
    }

    pub(crate) fn glue(&self) -> Option<&Arc<Glue>> {
        self.glue.get()
    }

    /// Does it for the sockets of this instance.
    pub(crate) fn carry_out(&self, settings: &Settings, order: &Order) {
        let directory = self.directory();
        let sockets: Vec<Arc<Socket>> = match &order.audience {
            Audience::Client(client) => {
                let Some(socket) = directory.get(*client) else {
                    return self.counters.messages_unknown_client.add(1);
                };
                let socket = Arc::clone(socket);
                drop(directory);
                return self.carry_out_for(settings, &socket, order);
            }
            Audience::Group(group) => directory.members(group).cloned().collect(),
            Audience::All => directory.all().cloned().collect(),
            Audience::Active => directory.all().filter(|socket| self.is_active(socket)).cloned().collect(),
            Audience::NotActive => directory.all().filter(|socket| !self.is_active(socket)).cloned().collect(),
        };
        drop(directory);
        self.counters.broadcasts.add(1);
        sockets.iter().for_each(|socket| self.carry_out_for(settings, socket, order));
    }

    fn carry_out_for(&self, settings: &Settings, socket: &Socket, order: &Order) {
        if !order.payload.is_empty() {
            self.send(settings, socket, &order.payload);
        }
        match &order.action {
            Some(Action::Close) => socket.close(Reason::ClosedByUpstream),
            Some(Action::Join(group)) => {
                let refused = self.directory_mut().join(socket.id, group).is_err();
                self.counters.joins_refused.add(refused.into());
            }
            Some(Action::Leave(group)) => self.directory_mut().leave(socket.id, group),
            None => {}
        }
    }

    fn send(&self, settings: &Settings, socket: &Socket, payload: &Bytes) {
        if socket.send(payload, self.now_ms(), settings.max_queue_bytes).is_ok() {
            return self.counters.messages_delivered.add(1);
        }
        self.counters.messages_dropped.add(1);
        if settings.slow_reader == SlowReader::Close {
            self.counters.sockets_slow.add(socket.cut(Reason::SlowReader).into());
        }
    }

    /// Whether something was sent or received lately.
    pub(crate) fn is_active(&self, socket: &Socket) -> bool {
        let quiet = self.now_ms().saturating_sub(socket.active_ms.load(Ordering::Relaxed));
        u128::from(quiet) <= self.settings().active.as_millis()
    }

    /// Ends a socket on which something failed. That a client which was done is gone is no error.
    pub(crate) fn end(&self, socket: &Socket, error: &io::Error) {
        // What the system says of a client that acknowledges nothing depends on what the network said meanwhile.
        let has_vanished = matches!(
            error.kind(),
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable | io::ErrorKind::TimedOut
        );
        let is_first = socket.cut(match socket.is_half_closed.load(Ordering::Relaxed) {
            _ if has_vanished => Reason::Vanished,
            true => Reason::ClosedByClient,
            false => Reason::Error,
        });
        self.counters.sockets_vanished.add((has_vanished && is_first).into());
    }

    /// Takes a lane out, and brings what is left on it elsewhere, which may take as long as there is no other lane.
    pub(crate) async fn retire(self: &Arc<Self>, lane: &Arc<Lane>) {
        self.dispatch.close(lane);
        self.dispatch.hand_over(self.settings().distribution, lane).await;
    }

    /// A lane is there to be used.
    pub(crate) async fn open(&self, lane: &Arc<Lane>) {
        self.dispatch.open(Arc::clone(lane));
        if lane.config.wants_events && self.settings().distribution == Distribution::Sticky {
            let sockets: Vec<_> = self.directory().all().cloned().collect();
            for socket in sockets {
                self.dispatch.settle(&socket).await;
            }
        }
    }

    /// Ends sockets whose time is over.
    pub(crate) fn sweep(&self) {
        let (settings, now) = (self.settings(), self.now_ms());
        let since = |at: u64| u128::from(now.saturating_sub(at));
        for socket in self.directory().all() {
            let (quiet, waits) =
                (since(socket.active_ms.load(Ordering::Relaxed)), socket.outbox.waits_since().map(since));
            if !settings.write_timeout.is_zero()
                && waits.is_some_and(|waits| waits >= settings.write_timeout.as_millis())
            {
                self.counters.sockets_slow.add(socket.cut(Reason::WriteTimeout).into());
            } else if waits.is_none()
                && socket.is_half_closed.load(Ordering::Relaxed)
                && quiet >= settings.half_closed_timeout.as_millis()
            {
                socket.close(Reason::ClosedByClient);
            } else if !settings.idle_timeout.is_zero() && quiet >= settings.idle_timeout.as_millis() {
                self.counters.sockets_idle.add(socket.cut(Reason::Idle).into());
            }
        }
    }
}
