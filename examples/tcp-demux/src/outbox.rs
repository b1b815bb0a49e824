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

    /// Waits for something to write, and takes about `most` bytes of it. `None`: closed, and all was taken.
    ///
    /// Cancel safe.
    pub(crate) async fn take(&self, most: usize, into: &mut Vec<u8>) -> Option<()> {
        loop {
            if let Some(taken) = self.try_take(most, into) {
                return taken.then_some(());
            }
            self.changed.notified().await;
        }
    }

    fn try_take(&self, most: usize, into: &mut Vec<u8>) -> Option<bool> {
        let mut queue = self.lock();
        if queue.chunks.is_empty() {
            return queue.closing.then_some(false);
        }
        while into.len() < most
            && let Some(chunk) = queue.chunks.pop_front()
        {
            queue.bytes -= chunk.len();
            into.extend_from_slice(&chunk);
        }
        if queue.chunks.is_empty() {
            // An idle socket holds no memory for what it once had to write.
            queue.chunks = VecDeque::new();
        }
        Some(true)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.lock().bytes
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &'static str) -> [Bytes; 3] {
        [Bytes::new(), Bytes::from_static(text.as_bytes()), Bytes::from_static(b"\n")]
    }

    #[tokio::test]
    async fn what_is_put_in_comes_out_in_order_up_to_the_limit() {
        let (outbox, mut out) = (Outbox::default(), Vec::new());
        assert_eq!(outbox.put(message("longer than the limit"), 8), Ok(()));
        assert_eq!(outbox.put(message("b"), 8), Err(Full));
        assert_eq!(outbox.take(1, &mut out).await, Some(()));
        assert_eq!(outbox.put(message("c"), 8), Ok(()));
        assert_eq!(outbox.bytes(), 3);
        while outbox.bytes() > 0 {
            outbox.take(64, &mut out).await;
        }
        assert_eq!(out, b"longer than the limit\nc\n");
    }

    #[tokio::test]
    async fn what_was_put_in_before_it_was_closed_is_taken() {
        let (outbox, mut out) = (Outbox::default(), Vec::new());
        assert_eq!(outbox.put(message("a"), 8), Ok(()));
        outbox.close();
        assert_eq!(outbox.put(message("b"), 8), Ok(()));
        assert_eq!(outbox.take(64, &mut out).await, Some(()));
        assert_eq!(outbox.take(64, &mut out).await, None);
        assert_eq!(out, b"a\n");
    }
}
