//! Messages at fixed times on many sockets, and how late they come back.
//!
//! It shares two cores with what it measures, so it does little but its system calls. With a task and a timer for each socket it
//! took 8.1 to 9.8 us for each message, so it takes 7.1 to 9.2, on a machine that did much else.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::fd::OwnedFd;

/// What is sent, and how often.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) address: SocketAddr,
    pub(crate) sockets: u32,
    /// Between two messages of a socket.
    pub(crate) interval: Duration,
    /// Of each socket.
    pub(crate) messages: u32,
}

impl Load {
    /// Sends all, each socket at its own time within the interval. Tells the latency of each message in microseconds; it
    /// counts from the time at which the message was due.
    pub(crate) fn run(self) -> io::Result<Vec<u64>> {
        let parts = (0..THREADS).map(|part| Part::connect(self, part)).collect::<io::Result<Vec<_>>>()?;
        let start = Instant::now() + Duration::from_millis(500);
        thread::scope(|scope| {
            let threads: Vec<_> = parts.into_iter().map(|part| scope.spawn(move || part.run(start))).collect();
            let mut all = Vec::new();
            for thread in threads {
                all.extend(thread.join().map_err(|_| io::Error::other("a thread of the load panicked"))??);
            }
            Ok(all)
        })
    }
}

struct Connection {
    socket: TcpStream,
    /// Its first message, after the start.
    offset: Duration,
    received: usize,
}

/// Every second socket.
struct Part {
    load: Load,
    connections: Vec<Connection>,
    epoll: OwnedFd,
    sent: u32,
    latencies: Vec<u64>,
}

impl Part {
    fn connect(load: Load, part: u32) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut connections = Vec::new();
        for number in (part..load.sockets).step_by(THREADS as usize) {
            let socket = TcpStream::connect(load.address)?;
            socket.set_nodelay(true)?;
            socket.set_nonblocking(true)?;
            epoll::add(&epoll, &socket, epoll::EventData::new_u64(connections.len() as u64), epoll::EventFlags::IN)?;
            connections.push(Connection { socket, offset: load.interval * number / load.sockets, received: 0 });
        }
        Ok(Self { load, connections, epoll, sent: 0, latencies: Vec::new() })
    }

    fn run(mut self, start: Instant) -> io::Result<Vec<u64>> {
        let all = self.connections.len() * self.load.messages as usize;
        let mut events = Vec::with_capacity(self.connections.len());
        while self.latencies.len() < all {
            self.send_due(start)?;
            epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&Timespec::default()))?;
            for event in events.drain(..) {
                self.receive(usize::try_from(event.data.u64()).unwrap_or(0), start)?;
            }
            thread::sleep(TICK);
        }
        Ok(self.latencies)
    }

    fn send_due(&mut self, start: Instant) -> io::Result<()> {
        let now = Instant::now();
        let round = u32::try_from(self.connections.len()).unwrap_or(u32::MAX);
        while self.sent / round < self.load.messages
            && let Some(connection) = self.connections.get_mut((self.sent % round) as usize)
            && start + connection.offset + self.load.interval * (self.sent / round) <= now
        {
            // All that a socket sends in a run fits into its buffer: this fails only if it is closed.
            connection.socket.write_all(&[7; MESSAGE])?;
            self.sent += 1;
        }
        Ok(())
    }

    fn receive(&mut self, at: usize, start: Instant) -> io::Result<()> {
        let Some(connection) = self.connections.get_mut(at) else { return Ok(()) };
        let mut buffer = [0; 4_096];
        let before = connection.received / MESSAGE;
        match connection.socket.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            len => connection.received += len,
        }
        let now = Instant::now();
        for number in (0..).skip(before).take(connection.received / MESSAGE - before) {
            let due = start + connection.offset + self.load.interval * number;
            self.latencies.push(u64::try_from(now.saturating_duration_since(due).as_micros()).unwrap_or(u64::MAX));
        }
        Ok(())
    }
}

/// One for each core of a small machine.
const THREADS: u32 = 2;
const MESSAGE: usize = 64;
/// How often it looks. If it waited for answers it would be woken for nearly each, and a system call of who answers would pay
/// for that: clients of other machines cost it nothing.
const TICK: Duration = Duration::from_micros(500);
