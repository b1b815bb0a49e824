//! The receive thread: waits in the kernel for data, and carries it up to the application.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::thread::sched_yield;

use super::burst::Burst;
use super::duty::{Outcome, lock};
use super::linger::Linger;
use super::moderation::Moderation;
use super::shared::{Deliverer, Shared, Turn};
use super::socket::{DataSocket, control_space, is_idle};
use super::stats::count;
use super::{Clock, Driven};
use crate::{Buffers, Instant};

/// The receiving end of the data socket. One thread at a time has it.
#[derive(Debug)]
pub(super) struct Receiver {
    socket: Option<Arc<DataSocket>>,
    buffers: Buffers,
    control: Vec<u8>,
    linger: Linger,
    moderation: Moderation,
    /// How long the last arrival had to be waited for.
    waited: Option<Duration>,
    /// Whether the last turn left datagrams where they were.
    is_behind: bool,
    pub(super) bursts: Vec<Burst>,
}

impl Receiver {
    pub(super) fn new(socket: Arc<DataSocket>, linger: Duration) -> Self {
        let (buffers, linger) = (Buffers::new(), Linger::new(linger));
        Self {
            socket: Some(socket),
            buffers,
            control: control_space(),
            linger,
            moderation: Moderation::default(),
            waited: None,
            is_behind: false,
            bursts: Vec::new(),
        }
    }

    pub(super) fn close(&mut self) {
        self.socket = None;
    }

    /// Waits for datagrams and receives a turn's worth into [`Receiver::bursts`]. `since` is when it begins.
    ///
    /// What has gathered meanwhile is one turn. Only a receive that does not wait tells that there is some: by how long one took, a
    /// slow machine, or a long datagram, looked like a wait, and each datagram had a turn of its own.
    fn wait(&mut self, since: Instant) -> io::Result<()> {
        if !self.receive()? && !self.look(since)? {
            self.receive_one(true)?;
        }
        self.waited = Some(Clock::now().since(since));
        Ok(())
    }

    /// Takes note of what came of a turn. Returns how long to rest before the next. `spoke`: whether the application has
    /// called since it last got something.
    fn note_turn(&mut self, turn: Turn, spoke: &AtomicBool) -> Duration {
        let Turn { datagrams, junk, events } = turn;
        let waited = self.waited.take();
        match waited {
            Some(waited) if events => self.linger.handle_arrival(waited, spoke.swap(false, Ordering::Relaxed)),
            Some(_) => self.linger.handle_nothing(),
            None => {}
        }
        let rest = self.moderation.handle_turn(waited.unwrap_or_default(), datagrams, junk);
        // What is there already has gathered.
        if self.is_behind { Duration::ZERO } else { rest }
    }

    /// Looks for a datagram if one is likely to come at once; false if none came.
    fn look(&mut self, since: Instant) -> io::Result<bool> {
        let patience = self.linger.patience();
        if patience.is_zero() {
            return Ok(false);
        }
        while Clock::now().since(since) < patience {
            match self.receive_one(false) {
                Ok(_) => return Ok(true),
                Err(error) if is_idle(&error) => sched_yield(),
                Err(error) => return Err(error),
            }
        }
        self.linger.handle_silence();
        Ok(false)
    }

    /// Receives a turn's worth of what is there into [`Receiver::bursts`]; false if nothing is, not even a nudge.
    pub(super) fn receive(&mut self) -> io::Result<bool> {
        let mut bytes: usize = self.bursts.iter().map(Burst::bytes).sum();
        // Not by the bursts: nudges are none, and anybody can send them.
        for taken in self.bursts.len()..TURN_BURSTS {
            if bytes >= TURN_BYTES {
                break;
            }
            match self.receive_one(false) {
                Ok(more) => bytes += more,
                Err(error) if is_idle(&error) => {
                    self.is_behind = false;
                    return Ok(taken > 0);
                }
                Err(error) => return Err(error),
            }
        }
        self.is_behind = true;
        Ok(true)
    }

    /// Returns how many bytes came.
    fn receive_one(&mut self, wait: bool) -> io::Result<usize> {
        let Some(socket) = &self.socket else { return Ok(0) };
        let received = socket.receive(self.buffers.space(), &mut self.control, wait)?;
        // Empty datagrams are nudges.
        if let Some(from) = received.from {
            self.bursts.push(Burst::new(from, self.buffers.take(received.len), received.stride));
        }
        Ok(received.len)
    }
}

/// The receive thread.
pub(super) fn run<N: Driven>(shared: &Shared<N>) {
    let (mut unfinished, mut turned) = (false, Instant::ZERO);
    while !shared.is_closing() {
        let mut receiver = lock(&shared.receiver);
        let received = if unfinished { receiver.receive().map(drop) } else { receiver.wait(turned) };
        let turn = shared.hand_up(&mut receiver.bursts);
        let rest = receiver.note_turn(turn, &shared.spoke);
        drop(receiver);
        if let Err(error) = received
            && !is_idle(&error)
        {
            shared.note_receive_error(&error);
        }
        shared.flush_unless_gathering();
        // Also when there was nothing to receive: a thread of the application may have left events to us.
        unfinished = (turn.events || unfinished) && shared.deliver(Deliverer::Receiver) == Outcome::Unfinished;
        if !rest.is_zero() {
            std::thread::sleep(rest);
        }
        turned = Clock::now();
    }
    lock(&shared.receiver).close();
}

impl<N: Driven> Shared<N> {
    pub(super) fn note_receive_error(&self, error: &io::Error) {
        count(&self.counters.receive_errors, 1);
        tracing::debug!(%error, "receive failed");
        // Not seen so far; should one persist it must not take a core.
        std::thread::sleep(ERROR_PAUSE);
    }
}

/// Bytes of one turn, which a node works on for about 30 microseconds under its lock, and receives of one turn. What is opened
/// in a private network stands in other memory than what was received: with 448 KiB they went beyond a cache of 1 MiB, and a key
/// cost 16 % of the messages of 1 KiB, with 128 KiB 9 %.
const TURN_BYTES: usize = 128 << 10;
const TURN_BURSTS: usize = 32;
const ERROR_PAUSE: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    /// A receiver to which `count` datagrams have come.
    fn receiver(count: usize) -> Receiver {
        let data = DataSocket::bind(([127, 0, 0, 1], 0).into(), 1 << 20).expect("a socket");
        let sender = UdpSocket::bind("127.0.0.1:0").expect("another");
        (0..count).for_each(|_| _ = sender.send_to(b"datagram", data.local()).expect("sent"));
        Receiver::new(Arc::new(data), Duration::ZERO)
    }

    fn datagrams(receiver: &mut Receiver) -> u64 {
        receiver.bursts.drain(..).map(|burst| burst.count() as u64).sum()
    }

    #[test]
    fn what_has_gathered_is_one_turn_however_long_it_takes() {
        let mut receiver = receiver(20);
        receiver.wait(Clock::now() - Duration::from_millis(1)).expect("received");
        assert_eq!((datagrams(&mut receiver), receiver.is_behind), (20, false));
    }

    #[test]
    fn a_nudge_ends_a_turn() {
        let mut receiver = receiver(0);
        let data = receiver.socket.clone().expect("a socket");
        data.nudge();
        receiver.wait(Clock::now()).expect("no silence");
        assert!(receiver.bursts.is_empty());
    }

    #[test]
    fn who_is_behind_does_not_rest() {
        let (mut receiver, spoke) = (receiver(TURN_BURSTS * 3 / 2), AtomicBool::new(false));
        let mut rests = Vec::new();
        for _ in 0..2 {
            receiver.wait(Clock::now()).expect("received");
            let datagrams = datagrams(&mut receiver);
            rests.push(!receiver.note_turn(Turn { datagrams, junk: datagrams, events: false }, &spoke).is_zero());
        }
        assert_eq!(rests, [false, true]);
    }
}
