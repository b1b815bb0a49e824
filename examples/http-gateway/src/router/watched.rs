//! The socket of a client, with what hyper leaves to its owner: an answer to who dawdles with a head, and to who has
//! closed its half of the connection.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};
use tokio_rustls::server::TlsStream;

use super::visit::{Alarm, Phase, Visit};

/// What a client's bytes come by.
pub(super) trait Socket: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Whether the connection is known to be broken.
    fn is_broken(&self) -> bool;
}

impl Socket for TcpStream {
    fn is_broken(&self) -> bool {
        !matches!(self.take_error(), Ok(None))
    }
}

impl Socket for TlsStream<TcpStream> {
    fn is_broken(&self) -> bool {
        self.get_ref().0.is_broken()
    }
}

/// A socket that is watched.
#[derive(Debug)]
pub(super) struct Watched<S> {
    socket: S,
    visit: Arc<Visit>,
    /// How long a head may take, and how long nothing may come between requests.
    patience: Duration,
    /// Since when it is waited for, in the phase that it was in.
    since: (Phase, Instant),
    alarm: Alarm,
    /// How much of the first bytes are those of HTTP/2; `None` if they are others.
    preface: Option<usize>,
    farewell: Option<Farewell>,
}

/// The client has closed its half.
#[derive(Debug)]
struct Farewell {
    /// Until it is looked whether it has closed both.
    look: Pin<Box<Sleep>>,
    pause: Duration,
}

impl<S: Socket> Watched<S> {
    pub(super) fn new(socket: S, visit: Arc<Visit>, patience: Duration) -> Self {
        let now = Instant::now();
        let (alarm, since) = (Alarm::new(now + patience), (Phase::Idle, now));
        Self { socket, visit, patience, since, alarm, preface: Some(0), farewell: None }
    }

    fn handle_bytes(&mut self, bytes: &[u8]) {
        self.visit.handle_bytes();
        let Some(known) = self.preface else { return };
        let rest = PREFACE.get(known..).unwrap_or_default();
        let common = rest.iter().zip(bytes).take_while(|(a, b)| a == b).count();
        let is_whole = common == rest.len();
        if is_whole {
            self.visit.let_go();
        }
        self.preface = (!is_whole && common == bytes.len()).then_some(known + common);
    }

    /// Nothing comes: for too long?
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let phase = self.visit.phase();
        if self.since.0 != phase {
            self.since = (phase, Instant::now());
        }
        if phase == Phase::Other {
            return Poll::Pending;
        }
        loop {
            ready!(self.alarm.poll_until(cx, self.since.1 + self.patience));
            if matches!(phase, Phase::Idle | Phase::Head) {
                break;
            }
            // An answer may end when nobody looks here, and then somebody must look again.
            self.since.1 = Instant::now();
        }
        if phase == Phase::Head {
            // Nothing of ours is under way, so it fits. Who does not even take this gets no more.
            let _ = Pin::new(&mut self.socket).poll_write(cx, LATE);
            let _ = Pin::new(&mut self.socket).poll_flush(cx);
        }
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// The client sends no more. If it waits for an answer it gets one: its half is closed, and perhaps not the other. Which
    /// of both only a packet to it can tell, as a system resets a connection that nobody has any more. So it gets an interim
    /// answer, which every client of HTTP/1.1 passes over.
    fn poll_farewell(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.visit.phase() {
            Phase::Waiting => {}
            // What is written tells whether somebody reads.
            Phase::Answer => return Poll::Pending,
            Phase::Idle | Phase::Head | Phase::Body | Phase::Other => return Poll::Ready(Ok(())),
        }
        if !self.visit.knows_interim() {
            return Poll::Pending;
        }
        let farewell = self.farewell.get_or_insert_with(|| {
            let _ = Pin::new(&mut self.socket).poll_write(cx, INTERIM);
            let _ = Pin::new(&mut self.socket).poll_flush(cx);
            Farewell { look: Box::pin(tokio::time::sleep(FIRST_LOOK)), pause: FIRST_LOOK }
        });
        loop {
            ready!(farewell.look.as_mut().poll(cx));
            if self.socket.is_broken() {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            farewell.pause = (farewell.pause * 2).min(LAST_LOOK);
            farewell.look.as_mut().reset(Instant::now() + farewell.pause);
        }
    }
}

impl<S: Socket> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        match Pin::new(&mut self.socket).poll_read(cx, buf) {
            Poll::Ready(Ok(())) if buf.filled().len() > before => {
                self.handle_bytes(buf.filled().get(before..).unwrap_or_default());
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Ok(())) => self.poll_farewell(cx),
            Poll::Ready(error) => Poll::Ready(error),
            Poll::Pending => self.poll_patience(cx),
        }
    }
}

impl<S: Socket> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

/// How a connection of HTTP/2 begins (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const INTERIM: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

const LATE: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\n\
content-type: application/problem+json\r\ncontent-length: 105\r\n\r\n\
{\"type\":\"about:blank\",\"title\":\"Request Timeout\",\"status\":408,\"detail\":\"the head took too long to arrive\"}";

/// A reset comes within a round trip; later looks are for one that was lost.
const FIRST_LOOK: Duration = Duration::from_millis(20);
const LAST_LOOK: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::LATE;

    #[test]
    fn the_answer_to_a_late_head_has_the_length_that_it_tells() {
        let text = std::str::from_utf8(LATE).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("content-length: {}", body.len())), "{}", body.len());
    }
}
