//! What waits to be written to one socket.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

/// A queue of bytes with a limit.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    queue: Mutex<Queue>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    chunks: VecDeque<Bytes>,
    bytes: usize,
    closing: bool,
}

/// What is written at once: one chunk as it is, or several copied together.
enum Taken {
    One(Bytes),
    Several(Vec<u8>),
}

impl Taken {
    fn len(&self) -> usize {
        match self {
            Self::One(bytes) => bytes.len(),
            Self::Several(bytes) => bytes.len(),
        }
    }

    fn and(self, chunk: &[u8]) -> Self {
        let mut all = match self {
            Self::One(bytes) => bytes.to_vec(),
            Self::Several(all) => all,
        };
        all.extend_from_slice(chunk);
        Self::Several(all)
    }

    fn into_bytes(self) -> Bytes {
        match self {
            Self::One(bytes) => bytes,
            Self::Several(all) => all.into(),
        }
    }
}

/// The queue is full. Nothing was put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl Outbox {
    /// Puts a message in, which takes `before` and `after` along. One that comes to an empty queue fits, however long.
    pub(crate) fn put(&self, chunks: [Bytes; 3], limit: usize) -> Result<(), Full> {
        let len: usize = chunks.iter().map(Bytes::len).sum();
        let mut queue = self.lock();
        if queue.closing {
            return Ok(());
        }
        if queue.bytes > 0 && queue.bytes + len > limit {
            return Err(Full);
        }
        queue.bytes += len;
        queue.chunks.extend(chunks.into_iter().filter(|chunk| !chunk.is_empty()));
        drop(queue);
        self.changed.notify_one();
        Ok(())
    }

    /// No more is taken in; what is there is still written.
    pub(crate) fn close(&self) {
        self.lock().closing = true;
        self.changed.notify_one();
    }

    /// Waits for something to write, and takes about `most` bytes of it. They count until [`Outbox::written`] says that they
    /// are written. `None`: closed, and all was taken.
    ///
    /// Cancel safe.
    pub(crate) async fn take(&self, most: usize) -> Option<Bytes> {
        loop {
            if let Some(taken) = self.try_take(most) {
                return taken;
            }
            self.changed.notified().await;
        }
    }

    fn try_take(&self, most: usize) -> Option<Option<Bytes>> {
        let mut queue = self.lock();
        let Some(first) = queue.chunks.pop_front() else { return queue.closing.then_some(None) };
        let mut taken = Taken::One(first);
        while taken.len() < most
            && let Some(chunk) = queue.chunks.pop_front()
        {
            taken = taken.and(&chunk);
        }
        if queue.chunks.is_empty() && queue.chunks.capacity() > KEPT_CHUNKS {
            // An idle socket holds little memory for what it once had to write.
            queue.chunks = VecDeque::new();
        }
        Some(Some(taken.into_bytes()))
    }

    /// So many bytes of what was taken are written.
    pub(crate) fn written(&self, len: usize) {
        self.lock().bytes -= len;
    }

    /// Bytes that wait or are being written.
    pub(crate) fn bytes(&self) -> usize {
        self.lock().bytes
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a queue keeps room for while it is empty, 128 bytes: else each message to a client that reads costs an allocation.
const KEPT_CHUNKS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &'static str) -> [Bytes; 3] {
        [Bytes::new(), Bytes::from_static(text.as_bytes()), Bytes::from_static(b"\n")]
    }

    async fn drain(outbox: &Outbox, most: usize) -> Vec<u8> {
        let mut out = Vec::new();
        while outbox.bytes() > 0 {
            let taken = outbox.take(most).await.expect("there is more");
            outbox.written(taken.len());
            out.extend_from_slice(&taken);
        }
        out
    }

    #[tokio::test]
    async fn what_is_put_in_comes_out_in_order_up_to_the_limit() {
        let outbox = Outbox::default();
        assert_eq!(outbox.put(message("longer than the limit"), 8), Ok(()));
        assert_eq!(outbox.put(message("b"), 8), Err(Full));
        // What is being written counts.
        let taken = outbox.take(64).await.expect("there is something");
        assert_eq!(outbox.put(message("b"), 8), Err(Full));
        outbox.written(taken.len());
        for text in ["c", "d", "e"] {
            assert_eq!(outbox.put(message(text), 8), Ok(()));
        }
        assert_eq!(drain(&outbox, 3).await, b"c\nd\ne\n");
    }

    #[tokio::test]
    async fn what_was_put_in_before_it_was_closed_is_taken() {
        let outbox = Outbox::default();
        assert_eq!(outbox.put(message("a"), 8), Ok(()));
        outbox.close();
        assert_eq!(outbox.put(message("b"), 8), Ok(()));
        assert_eq!(drain(&outbox, 64).await, b"a\n");
        assert_eq!(outbox.take(64).await, None);
    }
}
