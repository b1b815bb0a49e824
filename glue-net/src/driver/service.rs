//! The service thread: announcements, timers, changes of the interfaces; and whatever another thread has to leave.
//!
//! It runs no code of the application. It sleeps in `poll` and not in an async runtime, whose timers tick in milliseconds:
//! protocol timers (acks, pacing, loss) fire 10 microseconds after their time here.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::thread::set_current_timer_slack;

use super::burst::Burst;
use super::discovery::Discovery;
use super::duty::try_lock;
use super::rest::{Rest, TURN_ANNOUNCEMENTS};
use super::shared::{Core, PATROL, Shared};
use super::socket::{DataSocket, is_idle};
use super::stats::count;
use super::watch::Watch;
use super::{Clock, Driven};
use crate::{Instant, Interface};

/// What the service thread owns.
#[derive(Debug)]
pub(super) struct Service<N: Driven> {
    shared: Arc<Shared<N>>,
    data: Arc<DataSocket>,
    discovery: Discovery,
    rest: Rest,
    interfaces: Vec<Interface>,
    /// `None` where the kernel does not tell of changes.
    watch: Option<Watch>,
    check: Duration,
    next_check: Instant,
    /// How many checks there were since one looked at the interfaces.
    unseen: u32,
    /// From when until when to sleep, if that is decided.
    armed: Option<(Instant, Instant)>,
    buffer: Vec<u8>,
    bursts: Vec<Burst>,
}

/// What ended a sleep.
#[derive(Clone, Copy, Debug, Default)]
struct Ready {
    woken: bool,
    changed: bool,
    announcements: bool,
    data: bool,
}

impl<N: Driven> Service<N> {
    pub(super) fn new(
        shared: Arc<Shared<N>>,
        data: Arc<DataSocket>,
        discovery: Discovery,
        interfaces: Vec<Interface>,
        check: Duration,
    ) -> Self {
        let watch = Watch::open().inspect_err(|error| {
            tracing::debug!(%error, "the kernel does not tell of changes of the interfaces: they are looked at regularly");
        });
        Self {
            shared,
            data,
            discovery,
            rest: Rest::default(),
            interfaces,
            watch: watch.ok(),
            check,
            next_check: Clock::now() + check,
            unseen: 0,
            armed: None,
            buffer: vec![0; ANNOUNCEMENT_BYTES],
            bursts: Vec::new(),
        }
    }

    pub(super) fn run(mut self) {
        // Otherwise the kernel adds up to 50 microseconds to each sleep.
        let _ = set_current_timer_slack(NonZeroU64::new(1_000));
        while !self.shared.is_closing() {
            let ready = self.sleep();
            if ready.woken {
                self.shared.waker.clear();
            }
            if ready.announcements {
                self.receive_announcements();
            }
            if ready.data {
                self.receive_data();
            }
            if ready.changed || Clock::now() >= self.next_check {
                self.check(ready.changed);
            }
            self.do_due();
        }
    }

    /// Sleeps until something is to be done.
    fn sleep(&mut self) -> Ready {
        let (now, until) = self.armed.take().unwrap_or_else(|| self.arm(&mut self.shared.lock()));
        let held_up = self.shared.is_receiver_held_up(now);
        let rest = self.rest.until(now);
        let until = rest.map_or(until, |rest| rest.min(until));
        let mut fds = vec![PollFd::new(&self.shared.waker, PollFlags::IN)];
        fds.extend(self.watch.iter().map(|watch| PollFd::new(watch, PollFlags::IN)));
        if rest.is_none() {
            fds.extend(self.discovery.sockets().map(|socket| PollFd::new(socket, PollFlags::IN)));
        }
        if held_up {
            fds.push(PollFd::new(&self.data, PollFlags::IN));
        }
        // Interrupted: nothing is ready.
        let is_over = poll(&mut fds, Some(&timespec(until.since(now)))) == Ok(0);
        let mut ready = fds.iter().map(|fd| !fd.revents().is_empty());
        let woken = ready.next().unwrap_or(false);
        let changed = self.watch.is_some() && ready.next().unwrap_or(false);
        let data = held_up && ready.next_back().unwrap_or(false);
        let announcements = ready.any(|ready| ready) || rest.is_some() && is_over;
        Ready { woken, changed, announcements, data }
    }

    /// Decides how long to sleep. What happens later and needs an earlier end, wakes us.
    fn arm(&self, core: &mut Core<N>) -> (Instant, Instant) {
        let now = core.now();
        // While the receive thread goes to the application often, one looks after it regularly: cheaper for both than
        // being woken each time.
        let patrol = (now.since(core.last_delivery) < PATROL_AFTER).then(|| now + PATROL);
        // .. and in a busy exchange so often that hardly any of its timers needs us woken.
        let patrol = if core.is_busy(now) { Some(now + BUSY_PATROL) } else { patrol };
        let ends = [core.poll_timeout(now), patrol];
        let until = ends.into_iter().flatten().fold(self.next_check, Instant::min);
        core.armed = until;
        (now, until)
    }

    /// Does what is due, and sends what came of that and of everything before.
    fn do_due(&mut self) {
        let mut core = self.shared.lock();
        let now = core.now();
        // Awake: no one needs to wake us until we decide anew.
        core.armed = Instant::ZERO;
        let _ = core.handle_timeout(now);
        let stranded = core.gather.is_stranded(now);
        let events = core.take_events();
        if core.gather.is_gathering(now) && !events {
            // A calling thread sends in a moment. It needs the lock all the time, so it is not taken twice.
            self.armed = Some(self.arm(&mut core));
            return;
        }
        drop(core);
        if stranded {
            tracing::trace!("sent what a pausing thread had gathered");
        }
        self.shared.flush_unless_gathering();
        if events {
            self.shared.leave_delivery();
        }
    }

    fn receive_announcements(&mut self) {
        let mut heard = 0;
        for socket in self.discovery.sockets() {
            for _ in 0..TURN_ANNOUNCEMENTS {
                match socket.recv_from(&mut self.buffer) {
                    Ok((len, from)) => {
                        let bytes = Bytes::copy_from_slice(self.buffer.get(..len).unwrap_or_default());
                        self.bursts.push(Burst::new(from, bytes, len));
                        heard += 1;
                    }
                    Err(error) if is_idle(&error) => break,
                    Err(error) => {
                        count(&self.shared.counters.receive_errors, 1);
                        tracing::debug!(%error, "receiving announcements failed");
                        break;
                    }
                }
            }
        }
        // Events are delivered after `do_due`.
        let new = self.shared.hand_up(&mut self.bursts).events;
        self.rest.handle_heard(Clock::now(), heard, new);
    }

    /// Receives in place of the receive thread.
    fn receive_data(&self) {
        // It is back if it has the receiver.
        let Some(mut receiver) = try_lock(&self.shared.receiver) else { return };
        let received = receiver.receive();
        self.shared.hand_up(&mut receiver.bursts);
        drop(receiver);
        self.shared.counters.takeovers.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = received {
            self.shared.note_receive_error(&error);
        }
    }

    /// Looks at the clock, and at the interfaces if they changed or were not looked at for long.
    fn check(&mut self, changed: bool) {
        self.next_check = Clock::now() + self.check;
        self.unseen += 1;
        let changed = match &self.watch {
            Some(watch) if changed => watch.clear().unwrap_or_else(|error| {
                tracing::warn!(%error, "the kernel tells no more of changes of the interfaces: they are looked at regularly");
                self.watch = None;
                true
            }),
            Some(_) => self.unseen >= CHECKS_UNSEEN,
            None => true,
        };
        let followed = changed && self.follow_interfaces();
        let mut core = self.shared.lock();
        let now = core.now();
        core.node.handle_clock(now, Clock::wall_clock());
        if followed {
            core.node.handle_interfaces(now, &self.interfaces);
        }
    }

    /// Looks at the interfaces; true if they are others than before.
    fn follow_interfaces(&mut self) -> bool {
        self.unseen = 0;
        let interfaces = match self.discovery.refresh() {
            Ok(interfaces) if interfaces == self.interfaces => return false,
            Ok(interfaces) => interfaces,
            Err(error) => {
                tracing::warn!(%error, "can not list the network interfaces");
                return false;
            }
        };
        tracing::info!(?interfaces, "network interfaces changed");
        self.interfaces.clone_from(&interfaces);
        if let Some(outlets) = self.shared.sender.lock().outlets() {
            outlets.follow(interfaces, self.discovery.unicast());
        }
        true
    }
}

fn timespec(duration: Duration) -> Timespec {
    let tv_sec = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    Timespec { tv_sec, tv_nsec: duration.subsec_nanos().into() }
}

/// The longest datagram; an announcement has 500 bytes.
const ANNOUNCEMENT_BYTES: usize = 65_536;
/// The delay of an ack, which is the timer that is set most often, and the slack that it has.
const BUSY_PATROL: Duration = Duration::from_millis(3);
/// After a delivery one looks after the receive thread for so long. Waking us takes it 1.5 microseconds, which a message in
/// 50 ms can bear.
const PATROL_AFTER: Duration = Duration::from_millis(50);
/// Where the kernel tells of changes, one looks all the same each so many checks: at what could not be joined or bound then.
const CHECKS_UNSEEN: u32 = 10;
