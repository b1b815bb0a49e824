//! Runs a [`Node`] on real sockets.
//!
//! | thread | does |
//! |---|---|
//! | any of the application | [`Driver::call`]: enters the node, sends what it wants sent, delivers its events |
//! | `glue-receive` | waits in the kernel for data, hands it to the node, sends (acks), delivers |
//! | `glue-service` | announcements, timers, changes of the interfaces; receives while the receive thread is held up |
//!
//! One mutex is around the node, held for nanoseconds to microseconds. Sending and delivering each are a duty that one
//! thread at a time does for all: who finds another at it leaves, and that one looks again before it stops. So no thread
//! waits for another's system call or callback, events stay in order, and a slow callback holds up neither acks nor timers.
//!
//! Linux only: it needs segmentation offload and per-call blocking. Both are in one file (`socket.rs`).

mod burst;
mod clock;
mod config;
mod discovery;
mod duty;
mod gather;
mod heap;
mod interfaces;
mod linger;
mod moderation;
mod outlets;
mod receive;
mod rest;
mod send;
mod service;
mod shared;
mod socket;
mod stats;
mod waker;
mod watch;

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self, ThreadId};
use std::time::Duration;

pub use clock::Clock;
pub use config::{BindError, Local, SocketConfig};
pub use stats::DriverStats;

use crate::{Instant, Interface, Node, WallClock};
use discovery::Discovery;
use duty::{Outcome, lock};
use outlets::Outlets;
use send::Sender;
use service::Service;
use shared::{Core, Deliverer, Shared};
use socket::DataSocket;
use waker::Waker;

/// A node that lives on a real host.
pub trait Driven: Node<Event: Send> + Send + 'static {
    /// Takes note that the host's addresses are now these.
    fn handle_interfaces(&mut self, now: Instant, interfaces: &[Interface]);

    /// Takes note of the wall clock, at each interface check: the system's may have been set.
    fn handle_clock(&mut self, now: Instant, clock: WallClock);

    /// Whether something waits for nothing but its time to leave. Otherwise the timers may be late by up to a millisecond
    /// while other threads call and do what is due.
    fn is_paced(&self) -> bool;

    /// Datagrams so far that no peer sent. While nearly all that comes is such, the receive thread rests for 100 microseconds
    /// between them.
    fn junk(&self) -> u64;
}

/// A handle to a running node. Clones are handles to the same one; with the last of them the threads end.
///
/// ```no_run
/// # use glue_net::driver::{Driven, Driver, SocketConfig};
/// # fn example<N: Driven<Command = &'static str, Event = String>>(new_node: fn(std::net::SocketAddr) -> N)
/// # -> Result<(), Box<dyn std::error::Error>> {
/// let driver = Driver::start(
///     &SocketConfig::default(),
///     |local| new_node(local.data),
///     |events: &mut Vec<String>| events.drain(..).for_each(|event| println!("{event}")),
/// )?;
/// driver.call(|node, now| node.handle_command(now, "hello"));
/// # Ok(())
/// # }
/// ```
pub struct Driver<N: Driven>(Arc<Handle<N>>);

struct Handle<N: Driven> {
    shared: Arc<Shared<N>>,
    threads: [ThreadId; 2],
    /// Disconnected once both threads have ended.
    ended: Mutex<mpsc::Receiver<Infallible>>,
}

impl<N: Driven> Driver<N> {
    /// Binds the sockets, makes the node from what was found, and starts the threads.
    ///
    /// `sink` gets the events, on whichever thread has them, one call at a time and in order. It may take its time and
    /// call back into the driver; meanwhile events gather in the node. A strong handle in it would keep the driver alive.
    ///
    /// # Errors
    /// [`BindError`] says which address, interface or resource is not to be had.
    pub fn start(
        config: &SocketConfig,
        make: impl FnOnce(&Local) -> N,
        sink: impl FnMut(&mut Vec<N::Event>) + Send + 'static,
    ) -> Result<Self, BindError> {
        Self::try_start(config, |local| Ok(make(local)), sink)
    }

    /// As [`Driver::start`], for a node that may refuse what was found.
    ///
    /// # Errors
    /// As [`Driver::start`], or what `make` says.
    pub fn try_start<E: From<BindError>>(
        config: &SocketConfig,
        make: impl FnOnce(&Local) -> Result<N, E>,
        sink: impl FnMut(&mut Vec<N::Event>) + Send + 'static,
    ) -> Result<Self, E> {
        if config.interface_check < SocketConfig::SHORTEST_CHECK {
            return Err(BindError::InterfaceCheck { interval: config.interface_check }.into());
        }
        let data = DataSocket::bind(config.listen, config.receive_buffer)
            .map_err(|source| BindError::Data { address: config.listen, source })?;
        let data = Arc::new(data);
        let (discovery, interfaces) = Discovery::bind(config)?;
        let waker = Waker::new().map_err(BindError::Thread)?;
        let node = make(&Local {
            data: data.local(),
            interfaces: interfaces.clone(),
            default_address: interfaces::default_address(),
            receive_buffer: data.receive_buffer(),
            clock: Clock::wall_clock(),
        })?;
        heap::keep_freed_memory();
        let core = Core::new(node, config.gather);
        let sender = Sender::new(Arc::clone(&data), Outlets::new(interfaces.clone(), discovery.unicast()));
        let shared = Arc::new(Shared::new(core, sender, &data, waker, config.linger, Box::new(sink)));
        let service = Service::new(Arc::clone(&shared), data, discovery, interfaces, config.interface_check);
        Ok(Self::start_threads(shared, service).map_err(BindError::Thread)?)
    }

    fn start_threads(shared: Arc<Shared<N>>, service: Service<N>) -> io::Result<Self> {
        let (alive, ended) = mpsc::channel::<Infallible>();
        let (service_alive, receiver) = (alive.clone(), Arc::clone(&shared));
        let service = thread::Builder::new().name("glue-service".to_owned()).spawn(move || {
            let _alive = service_alive;
            service.run();
        })?;
        let receive = thread::Builder::new().name("glue-receive".to_owned()).spawn(move || {
            let _alive = alive;
            receive::run(&receiver);
        });
        let receive = receive.inspect_err(|_| _ = shared.close())?;
        let threads = [service.thread().id(), receive.thread().id()];
        Ok(Self(Arc::new(Handle { shared, threads, ended: Mutex::new(ended) })))
    }

    /// Enters the node: runs `f` alone with it, sends what it then wants to send, and hands its events to the sink.
    ///
    /// All of that happens on this thread, but for what another one is already at. Threads that call in quick succession
    /// send once every [`SocketConfig::gather`], for all calls since.
    pub fn call<R>(&self, f: impl FnOnce(&mut N, Instant) -> R) -> R {
        self.0.shared.spoke.store(true, Ordering::Relaxed);
        self.note(f)
    }

    /// As [`Driver::call`], for what is no part of an exchange: nothing is expected to come back at once (see
    /// [`SocketConfig::linger`]).
    pub fn note<R>(&self, f: impl FnOnce(&mut N, Instant) -> R) -> R {
        let shared = &self.0.shared;
        let mut core = shared.lock();
        let now = core.time_of_call();
        let result = f(&mut core.node, now);
        let send = core.gather.handle_call(now);
        let wake = !send && core.gather.has_just_begun(now) && core.arm(now);
        let events = core.take_events();
        drop(core);
        if send {
            shared.flush();
            let mut core = shared.lock();
            let now = core.now();
            core.gather.handle_return(now);
        }
        if wake {
            shared.waker.wake();
        }
        if events && shared.deliver(Deliverer::Caller) == Outcome::Unfinished {
            shared.leave_delivery();
        }
        result
    }

    /// As [`Driver::call`], but sends nothing: the caller owes a [`Driver::flush`], which then sends for all calls since. Until
    /// then it may leave with what other calls, arrivals or timers send.
    ///
    /// For who knows that more calls follow and when they end, where [`SocketConfig::gather`] could only guess.
    pub fn gather<R>(&self, f: impl FnOnce(&mut N, Instant) -> R) -> R {
        let shared = &self.0.shared;
        shared.spoke.store(true, Ordering::Relaxed);
        let mut core = shared.lock();
        let now = core.now();
        let result = f(&mut core.node, now);
        let events = core.take_events();
        drop(core);
        if events && shared.deliver(Deliverer::Caller) == Outcome::Unfinished {
            shared.leave_delivery();
        }
        result
    }

    /// Sends now what calls have gathered.
    pub fn flush(&self) {
        self.0.shared.flush();
    }

    /// What the driver has counted so far.
    #[must_use]
    pub fn stats(&self) -> DriverStats {
        self.0.shared.counters.read()
    }

    /// Sends what the node still wants to send, closes the sockets and ends the threads. Calls after that enter the node, but
    /// nothing of it leaves any more.
    ///
    /// Returns when both threads have ended, or after 100 ms: one that is with the application ends when it comes back.
    pub fn close(&self) {
        self.0.close();
    }
}

impl<N: Driven> Clone for Driver<N> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<N: Driven> fmt::Debug for Driver<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Driver").field(&self.0.shared).finish()
    }
}

impl<N: Driven> Handle<N> {
    fn close(&self) {
        let first = self.shared.close();
        // In the sink of the receive thread one would wait for oneself.
        if first && !self.threads.contains(&thread::current().id()) {
            let _ = lock(&self.ended).recv_timeout(CLOSE_WAIT);
        }
    }
}

impl<N: Driven> Drop for Handle<N> {
    fn drop(&mut self) {
        self.close();
    }
}

/// The local address from which a datagram to `target` would leave; `None` without a route. Sends nothing.
#[must_use]
pub fn source_address(target: IpAddr) -> Option<IpAddr> {
    interfaces::source_address(target)
}

/// Ending takes 50 microseconds unless the receive thread is with the application.
const CLOSE_WAIT: Duration = Duration::from_millis(100);
