//! Bodies as they arrive from a link.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame as BodyFrame, SizeHint};

use crate::compress;
use crate::link::Link;
use crate::relay::{Kept, Object, Relay};
use crate::stream::{Part, Stream, WINDOW};
use crate::wire::{Flags, Frame, Reason};

/// Why a body ended before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// The other side gave up.
    #[error("the other side gave up")]
    Cancelled,
    /// What makes the body failed.
    #[error("what makes the body failed")]
    Failed,
    /// The other end of the link is gone.
    #[error("the other end is gone")]
    Gone,
    /// Part of it was lost on the way, or can not be read.
    #[error("part of the body was lost on the way")]
    Lost,
}

/// What happens to a stream when its reader lets go of it.
pub(crate) trait Owner: Send + 'static {
    /// Called once. `whole`: all was read.
    fn release(&mut self, whole: bool);
}

/// A body that arrives over glue. What is read is granted to the sender again, so no more than a window waits here.
pub struct Incoming {
    link: Arc<Link>,
    id: u64,
    stream: Arc<Stream>,
    /// Read and not granted again.
    read: usize,
    length: Option<u64>,
    is_over: bool,
    owner: Option<Box<dyn Owner>>,
    source: Source,
}

/// Where bodies come from that pass by way of an object store.
#[derive(Debug, Default)]
struct Source {
    relay: Option<Relay>,
    /// What is read now.
    object: Option<Object>,
    /// It goes when all is read.
    deletes: bool,
    kept: Option<Kept>,
}

impl Source {
    fn open(&mut self, name: &[u8]) -> Option<()> {
        let (relay, name) = (self.relay.as_ref()?, std::str::from_utf8(name).ok()?);
        self.object = Some(relay.get(name));
        if self.deletes {
            self.kept = Some(Kept::new(relay.clone(), name.to_owned()));
        }
        Some(())
    }
}

impl Incoming {
    pub(crate) fn new(link: Arc<Link>, id: u64, stream: Arc<Stream>, length: Option<u64>) -> Self {
        let source = Source::default();
        Self { link, id, stream, read: 0, length, is_over: false, owner: None, source }
    }

    /// What of it is in a store is read from this one, and then deleted there if the store is so configured.
    pub(crate) fn by_way_of(mut self, relay: Option<&Relay>, deletes: bool) -> Self {
        self.source = Source { relay: relay.cloned(), deletes, ..Source::default() };
        self
    }

    /// A body that has nothing.
    pub(crate) fn empty(link: Arc<Link>) -> Self {
        let stream = Stream::new();
        // A new stream takes everything.
        let _ = stream.put_data(Bytes::new(), Flags::END);
        Self::new(link, 0, Arc::new(stream), Some(0))
    }

    pub(crate) fn owned_by(mut self, owner: impl Owner) -> Self {
        self.owner = Some(Box::new(owner));
        self
    }

    fn took(&mut self, bytes: usize) {
        self.read += bytes;
        if self.read >= WINDOW / 4 {
            self.stream.grant(self.read);
            let bytes = u32::try_from(self.read).unwrap_or(u32::MAX);
            self.link.post(&Frame::Credit { stream: self.id, bytes });
            self.read = 0;
        }
    }

    fn over(&mut self) {
        self.is_over = true;
    }

    /// A piece of the object that is read, if there is one.
    fn poll_object(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<BodyFrame<Bytes>, BodyError>>> {
        let Some(object) = &mut self.source.object else { return Poll::Ready(None) };
        let piece = ready!(object.poll_piece(cx));
        if piece.is_none() {
            self.source.object = None;
        }
        Poll::Ready(piece.map(|piece| piece.map(BodyFrame::data).map_err(|_| BodyError::Lost)))
    }
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<BodyFrame<Bytes>, BodyError>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        if let Some(piece) = ready!(self.poll_object(cx)) {
            return Poll::Ready(Some(piece));
        }
        Poll::Ready(match ready!(self.stream.poll_part(cx)) {
            Part::Data(name, flags) if flags.relay => {
                if self.source.open(&name).is_none() {
                    return Poll::Ready(Some(Err(BodyError::Lost)));
                }
                return self.poll_frame(cx);
            }
            Part::Data(bytes, flags) => {
                self.took(bytes.len());
                Some(compress::unpacked(bytes, flags).map(BodyFrame::data).ok_or(BodyError::Lost))
            }
            Part::Trailers(trailers) => {
                self.over();
                Some(Ok(BodyFrame::trailers(trailers)))
            }
            Part::End => {
                self.over();
                None
            }
            // A second head is nonsense.
            Part::Head(_) => Some(Err(BodyError::Lost)),
            Part::Reset(reason) => {
                self.over();
                Some(Err(reason.into()))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.is_over || (self.source.object.is_none() && self.stream.is_read())
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        let whole = !self.stream.deafen() || self.is_over;
        if let Some(owner) = &mut self.owner {
            owner.release(whole);
        } else if !whole {
            self.link.post(&Frame::Stop { stream: self.id });
        }
    }
}

impl std::fmt::Debug for Incoming {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Incoming").field("id", &self.id).finish_non_exhaustive()
    }
}

impl From<Reason> for BodyError {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::Cancelled => Self::Cancelled,
            Reason::Failed | Reason::Refused => Self::Failed,
            Reason::Gone => Self::Gone,
            Reason::Broken => Self::Lost,
        }
    }
}
