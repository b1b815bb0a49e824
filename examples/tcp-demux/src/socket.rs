//! One socket of a client: what is known of it, and the task that serves it.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::ops::Deref;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, ready};
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::Notify;
use tokio::time::timeout;
use uuid::Uuid;

use crate::dispatch::Turn;
use crate::distribution::Distribution;
use crate::framing::Framing;
use crate::hub::Hub;
use crate::lane::What;
use crate::outbox::{Full, Outbox};

/// Why a socket is no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reason {
    BadFrame,
    ClosedByClient,
    ClosedByManagement,
    ClosedByUpstream,
    Error,
    Idle,
    Shutdown,
    SlowReader,
    Vanished,
    WriteTimeout,
}

impl Reason {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::BadFrame => "bad_frame",
            Self::ClosedByClient => "closed_by_client",
            Self::ClosedByManagement => "closed_by_management",
            Self::ClosedByUpstream => "closed_by_upstream",
            Self::Error => "error",
            Self::Idle => "idle",
            Self::Shutdown => "shutdown",
            Self::SlowReader => "slow_reader",
            Self::Vanished => "vanished",
            Self::WriteTimeout => "write_timeout",
        }
    }
}

/// What everybody may know of a socket, and do to it.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) id: Uuid,
    pub(crate) peer: SocketAddr,
    pub(crate) since: SystemTime,
    pub(crate) framing: Arc<Framing>,
    pub(crate) outbox: OwnLine<Outbox>,
    /// Who puts a message of the socket on a lane holds this meanwhile.
    pub(crate) turn: tokio::sync::Mutex<Turn>,
    /// When something was sent or received last, in milliseconds of [`Hub::now_ms`].
    pub(crate) active_ms: AtomicU64,
    pub(crate) received: AtomicU64,
    pub(crate) delivered: AtomicU64,
    /// The client sends no more.
    pub(crate) is_half_closed: AtomicBool,
    reason: Mutex<Option<Reason>>,
    has_ended: AtomicBool,
    ended: Notify,
}

/// What other threads write to than those that write to what is beside it.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct OwnLine<T>(T);

impl<T> Deref for OwnLine<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl Socket {
    pub(crate) fn new(id: Uuid, peer: SocketAddr, framing: Arc<Framing>, now_ms: u64) -> Arc<Self> {
        Arc::new(Self {
            id,
            peer,
            since: SystemTime::now(),
            framing,
            outbox: OwnLine::default(),
            turn: tokio::sync::Mutex::default(),
            active_ms: AtomicU64::new(now_ms),
            received: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            is_half_closed: AtomicBool::new(false),
            reason: Mutex::default(),
            has_ended: AtomicBool::new(false),
            ended: Notify::new(),
        })
    }

    /// Puts a message in line to be written.
    pub(crate) fn send(&self, payload: &Bytes, now_ms: u64, limit: usize) -> Result<(), Full> {
        let Ok(around) = self.framing.encode(payload.len()) else {
            // A length that the framing can not tell would end the client's understanding of the stream.
            return Err(Full);
        };
        self.outbox.put(&around, payload, now_ms, limit)?;
        self.delivered.fetch_add(1, Ordering::Relaxed);
        self.note_activity(now_ms);
        Ok(())
    }

    fn note_activity(&self, now_ms: u64) {
        // Who sends and who is sent to are on two threads, and mostly in the same millisecond.
        if self.active_ms.load(Ordering::Relaxed) != now_ms {
            self.active_ms.store(now_ms, Ordering::Relaxed);
        }
    }

    /// Closes it when all that waits is written.
    pub(crate) fn close(&self, reason: Reason) {
        self.note(reason);
        self.outbox.close();
    }

    /// Ends it at once. Returns whether it was not ended before.
    pub(crate) fn cut(&self, reason: Reason) -> bool {
        self.note(reason);
        let is_first = !self.has_ended.swap(true, Ordering::AcqRel);
        self.ended.notify_waiters();
        is_first
    }

    /// Why it ends, if it does.
    pub(crate) fn reason(&self) -> Option<Reason> {
        *self.reason.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first reason counts.
    fn note(&self, reason: Reason) {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(reason);
    }

    async fn ended(&self) {
        let mut ended = pin!(self.ended.notified());
        ended.as_mut().enable();
        if !self.has_ended.load(Ordering::Acquire) {
            ended.await;
        }
    }
}

/// Serves a socket until it ends.
pub(crate) async fn serve(hub: &Hub, socket: &Arc<Socket>, reader: impl AsyncRead, writer: impl AsyncWrite) {
    tokio::join!(
        async {
            read(hub, socket, reader).await;
            // What was written to it before its sender was done may still be answered.
            socket.is_half_closed.store(true, Ordering::Relaxed);
        },
        async {
            write(hub, socket, writer).await;
            socket.cut(Reason::Error);
        }
    );
}

/// Reads messages and forwards them. Not reading while a message is not forwarded is what makes the client wait.
async fn read(hub: &Hub, socket: &Arc<Socket>, reader: impl AsyncRead) {
    let mut read = BytesMut::new();
    let (mut reader, mut ended) = (pin!(reader), pin!(socket.ended()));
    let mut settings = hub.settings_view();
    let mut searched = 0;
    loop {
        loop {
            let settings = settings.now();
            let (limit, distribution) = (settings.max_message_bytes, settings.distribution);
            match socket.framing.decode(&mut read, &mut searched, limit) {
                Ok(Some(message)) => forward(hub, distribution, socket, message).await,
                Ok(None) => break,
                Err(_) => {
                    hub.counters.sockets_bad_frame.add(1);
                    socket.cut(Reason::BadFrame);
                    return;
                }
            }
        }
        if read.is_empty() {
            // An idle socket holds no memory for what it once sent.
            read = BytesMut::new();
        }
        tokio::select! {
            biased;
            () = &mut ended => return,
            result = read_some(reader.as_mut(), &mut read) => match result {
                Ok(0) => break,
                Ok(len) => {
                    hub.counters.bytes_received.add(len);
                    socket.note_activity(hub.now_ms());
                }
                Err(error) => return hub.end(socket, &error),
            },
        }
    }
    if let Some(rest) = socket.framing.finish(read) {
        forward(hub, settings.now().distribution, socket, rest).await;
    }
}

async fn forward(hub: &Hub, distribution: Distribution, socket: &Arc<Socket>, message: Bytes) {
    hub.counters.messages_received.add(1);
    socket.received.fetch_add(1, Ordering::Relaxed);
    hub.dispatch.forward(distribution, socket, What::Data(message)).await;
}

/// Reads by a buffer that all sockets of a thread share: ten thousand idle ones then need none of their own.
async fn read_some(mut reader: Pin<&mut impl AsyncRead>, into: &mut BytesMut) -> io::Result<usize> {
    poll_fn(|context| {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch.as_mut());
            ready!(reader.as_mut().poll_read(context, &mut buffer))?;
            into.extend_from_slice(buffer.filled());
            Poll::Ready(Ok(buffer.filled().len()))
        })
    })
    .await
}

async fn write(hub: &Hub, socket: &Socket, writer: impl AsyncWrite) {
    let (mut writer, mut ended) = (pin!(writer), pin!(socket.ended()));
    loop {
        let taken = tokio::select! {
            biased;
            () = &mut ended => return,
            taken = socket.outbox.take(WRITE_BYTES) => taken,
        };
        let Some(taken) = taken else { break };
        let mut rest = &taken[..];
        while !rest.is_empty() {
            let result = tokio::select! {
                biased;
                () = &mut ended => return,
                result = writer.write(rest) => result,
            };
            let len = match result {
                Ok(len) => len,
                Err(error) => return hub.end(socket, &error),
            };
            hub.counters.bytes_sent.add(len);
            socket.outbox.written(len, hub.now_ms());
            rest = rest.get(len..).unwrap_or_default();
        }
    }
    // With TLS it says goodbye, which a client that does not read could hold up.
    let _ = timeout(GOODBYE_TIMEOUT, writer.shutdown()).await;
}

/// What is read at once, and so the longest message of the raw framing.
const READ_BYTES: usize = 64 << 10;

/// What is written at once. More only copies more for a slow client.
const WRITE_BYTES: usize = 64 << 10;

const GOODBYE_TIMEOUT: Duration = Duration::from_secs(1);

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into_boxed_slice());
}
