//! What follows an upgrade: bytes both ways, of a protocol that we do not know.

use std::pin::{Pin, pin};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::body::{BodyError, Incoming, Owner};
use crate::outgoing::{Opening, Outgoing};
use crate::stream::CHUNK;

/// Copies both ways until both have ended, or one fails.
pub(crate) async fn run(upgraded: Upgraded, incoming: Incoming, out: &Outgoing<'_>) -> Result<(), BodyError> {
    let (read, mut write) = tokio::io::split(TokioIo::new(upgraded));
    let up = async {
        let mut body = pin!(ReadBody(read));
        out.rest(Opening::default(), body.as_mut()).await.map_err(|_| BodyError::Failed)
    };
    let down = async {
        let mut incoming = pin!(incoming);
        while let Some(frame) = std::future::poll_fn(|cx| incoming.as_mut().poll_frame(cx)).await {
            if let Ok(data) = frame?.into_data() {
                write.write_all(&data).await.map_err(|_| BodyError::Gone)?;
                write.flush().await.map_err(|_| BodyError::Gone)?;
            }
        }
        // The other direction may go on after this one has ended.
        let _ = write.shutdown().await;
        Ok(())
    };
    tokio::try_join!(up, down).map(|_| ())
}

/// A tunnel's body leaves the stream to who runs the tunnel.
pub(crate) struct Kept;

impl Owner for Kept {
    fn release(&mut self, _whole: bool) {}
}

struct ReadBody<R>(R);

impl<R> Body for ReadBody<R>
where
    R: tokio::io::AsyncRead + Unpin,
{
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        let mut buffer = BytesMut::with_capacity(CHUNK);
        let read = std::task::ready!(pin!(self.0.read_buf(&mut buffer)).poll(cx));
        std::task::Poll::Ready(match read {
            Ok(0) => None,
            Ok(_) => Some(Ok(Frame::data(buffer.freeze()))),
            Err(error) => Some(Err(error)),
        })
    }
}
