//! How bodies are sent over a link.

use std::pin::Pin;
use std::task::Poll;

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::Body;

use crate::compress::{self, Packing};
use crate::link::{Link, LinkGone};
use crate::stream::Stream;
use crate::wire::{Flags, Frame, put_trailers};

/// What of a body is there at once: it travels with the head.
#[derive(Clone, Debug, Default)]
pub(crate) struct Opening {
    pub(crate) data: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
    /// Nothing follows.
    pub(crate) end: bool,
    /// The data is the name of the object that has the body.
    pub(crate) relay: bool,
}

impl Opening {
    /// The body is in a store.
    pub(crate) fn stored(name: &str) -> Self {
        Self { data: Bytes::copy_from_slice(name.as_bytes()), trailers: None, end: true, relay: true }
    }
}

/// Why a body was not sent to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SendFailure {
    /// The other side wants no more, or is gone: nothing to do.
    Unwanted,
    /// The body failed: the other side must know.
    Body,
}

impl From<LinkGone> for SendFailure {
    fn from(_: LinkGone) -> Self {
        Self::Unwanted
    }
}

/// Looks once at what is there, and waits for nothing.
pub(crate) async fn opening<B>(mut body: Pin<&mut B>) -> Result<Opening, B::Error>
where
    B: Body,
{
    if body.is_end_stream() {
        return Ok(Opening { end: true, ..Opening::default() });
    }
    let first = std::future::poll_fn(|cx| Poll::Ready(body.as_mut().poll_frame(cx))).await;
    Ok(match first {
        Poll::Pending => Opening::default(),
        Poll::Ready(None) => Opening { end: true, ..Opening::default() },
        Poll::Ready(Some(frame)) => match frame?.into_data() {
            Ok(mut data) => {
                let data = data.copy_to_bytes(data.remaining());
                Opening { data, end: body.is_end_stream(), ..Opening::default() }
            }
            Err(other) => Opening { trailers: other.into_trailers().ok(), end: true, ..Opening::default() },
        },
    })
}

/// The sending half of a stream.
#[derive(Debug)]
pub(crate) struct Outgoing<'a> {
    pub(crate) link: &'a Link,
    pub(crate) id: u64,
    pub(crate) stream: &'a Stream,
    pub(crate) packing: Packing,
}

impl Outgoing<'_> {
    /// Sends the head with what is there of the body, in one frame if that is small enough. Returns whether that was all.
    pub(crate) async fn open(&self, head: Bytes, opening: &mut Opening) -> Result<bool, SendFailure> {
        let first = opening.data.split_to(opening.data.len().min(self.packing.chunk));
        let end = opening.end && opening.data.is_empty() && opening.trailers.is_none();
        // The window of a new stream is open: a chunk always fits.
        let (body, mut flags) = compress::packed(first, end, self.packing.zstd && !opening.relay);
        flags.relay = opening.relay;
        self.stream.try_spend(body.len());
        self.link.send(&Frame::Head { stream: self.id, flags, head, body }).await?;
        Ok(end)
    }

    /// Sends the rest: what the opening has left, then the body.
    pub(crate) async fn rest<B>(&self, opening: Opening, body: Pin<&mut B>) -> Result<(), SendFailure>
    where
        B: Body,
    {
        let Opening { data, trailers, end, .. } = opening;
        if end && trailers.is_none() {
            return self.data(data, true).await;
        }
        self.data(data, false).await?;
        if let Some(trailers) = trailers {
            return self.trailers(&trailers).await;
        }
        self.body(body).await
    }

    async fn body<B>(&self, mut body: Pin<&mut B>) -> Result<(), SendFailure>
    where
        B: Body,
    {
        loop {
            let frame = tokio::select! {
                frame = std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)) => frame,
                () = self.stream.unwanted() => return Err(SendFailure::Unwanted),
            };
            let Some(frame) = frame else { return self.end().await };
            match frame.map_err(|_| SendFailure::Body)?.into_data() {
                Ok(mut data) => {
                    let end = body.is_end_stream();
                    self.data(data.copy_to_bytes(data.remaining()), end).await?;
                    if end {
                        return Ok(());
                    }
                }
                Err(other) => {
                    if let Ok(trailers) = other.into_trailers() {
                        return self.trailers(&trailers).await;
                    }
                }
            }
        }
    }

    async fn data(&self, mut data: Bytes, end: bool) -> Result<(), SendFailure> {
        if end && data.is_empty() {
            return self.end().await;
        }
        while !data.is_empty() {
            let piece = data.split_to(data.len().min(self.packing.chunk));
            let (body, flags) = compress::packed(piece, end && data.is_empty(), self.packing.zstd);
            if !self.stream.spend(body.len()).await {
                return Err(SendFailure::Unwanted);
            }
            self.link.send(&Frame::Data { stream: self.id, flags, body }).await?;
        }
        Ok(())
    }

    async fn trailers(&self, trailers: &HeaderMap) -> Result<(), SendFailure> {
        Ok(self.link.send(&Frame::Trailers { stream: self.id, block: put_trailers(trailers) }).await?)
    }

    async fn end(&self) -> Result<(), SendFailure> {
        Ok(self.link.send(&Frame::Data { stream: self.id, flags: Flags::END, body: Bytes::new() }).await?)
    }
}
