//! What waits to be written to one socket.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::framing::Around;

/// A queue of bytes with a limit.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    queue: Mutex<Queue>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    /// Long payloads, as they are: clients that get the same share them. And what stands before each.
    chunks: VecDeque<Bytes>,
    /// What comes after the chunks: small messages, copied together. They cost neither an allocation nor a count each.
    tail: Vec<u8>,
    /// Of all of it, and of what was taken and is not written.
    bytes: usize,
    /// When something was written last, or began to wait for that.
    since_ms: u64,
    closing: bool,
}

impl Queue {
    fn is_empty(&self) -> bool {
        self.chunks.is_empty() && self.tail.is_empty()
    }

    /// Takes out what is written next.
    fn pop(&mut self) -> Bytes {
        self.chunks.pop_front().unwrap_or_else(|| mem::take(&mut self.tail).into())
    }
}

/// The queue is full. Nothing was put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl Outbox {
    /// Puts a message in. One that comes to an empty queue fits, however long.
    pub(crate) fn put(&self, around: &Around<'_>, payload: &Bytes, now_ms: u64, limit: usize) -> Result<(), Full> {
        let len = around.before().len() + payload.len() + around.after().len();
        let mut queue = self.lock();
        if queue.closing || len == 0 {
            return Ok(());
        }
        if queue.bytes > 0 && queue.bytes + len > limit {
            return Err(Full);
        }
        if queue.bytes == 0 {
            queue.since_ms = now_ms;
        }
        queue.bytes += len;
        let was_empty = queue.is_empty();
        queue.tail.extend_from_slice(around.before());
        if payload.len() > MOST_COPIED {
            if !queue.tail.is_empty() {
                let before = mem::take(&mut queue.tail).into();
                queue.chunks.push_back(before);
            }
            queue.chunks.push_back(payload.clone());
        } else {
            queue.tail.extend_from_slice(payload);
        }
        queue.tail.extend_from_slice(around.after());
        drop(queue);
        if was_empty {
            // Else whoever writes is at it, and looks again.
            self.changed.notify_one();
        }
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
        if queue.is_empty() {
            return queue.closing.then_some(None);
        }
        let mut taken = queue.pop();
        if taken.len() < most && !queue.is_empty() {
            let mut several = Vec::from(taken);
            while several.len() < most && !queue.is_empty() {
                several.extend_from_slice(&queue.pop());
            }
            taken = several.into();
        }
        if queue.chunks.is_empty() && queue.chunks.capacity() > KEPT_CHUNKS {
            // An idle socket holds little memory for what it once had to write.
            queue.chunks = VecDeque::new();
        }
        Some(Some(taken))
    }

    /// So many bytes of what was taken are written.
    pub(crate) fn written(&self, len: usize, now_ms: u64) {
        let mut queue = self.lock();
        queue.bytes -= len;
        queue.since_ms = now_ms;
    }

    /// Bytes that wait or are being written.
    pub(crate) fn bytes(&self) -> usize {
        self.lock().bytes
    }

    /// Since when nothing was written, if something waits for that.
    pub(crate) fn waits_since(&self) -> Option<u64> {
        let queue = self.lock();
        (queue.bytes > 0).then_some(queue.since_ms)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A longer payload is not copied to what is before it.
const MOST_COPIED: usize = 1_024;

/// What a queue keeps room for while it is empty, 128 bytes: else each message to a client that reads costs an allocation.
const KEPT_CHUNKS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::framing::Framing;

    fn put(outbox: &Outbox, text: &'static str) -> Result<(), Full> {
        let around = Framing::Lines.encode(text.len()).expect("fits");
        outbox.put(&around, &Bytes::from_static(text.as_bytes()), 0, 8)
    }

    async fn drain(outbox: &Outbox, most: usize) -> Vec<u8> {
        let mut out = Vec::new();
        while outbox.bytes() > 0 {
            let taken = outbox.take(most).await.expect("there is more");
            outbox.written(taken.len(), 0);
            out.extend_from_slice(&taken);
        }
        out
    }

    #[tokio::test]
    async fn what_is_put_in_comes_out_in_order_up_to_the_limit() {
        let outbox = Outbox::default();
        assert_eq!(put(&outbox, "longer than the limit"), Ok(()));
        assert_eq!(put(&outbox, "b"), Err(Full));
        // What is being written counts.
        let taken = outbox.take(64).await.expect("there is something");
        assert_eq!(put(&outbox, "b"), Err(Full));
        outbox.written(taken.len(), 0);
        for text in ["c", "d", "e"] {
            assert_eq!(put(&outbox, text), Ok(()));
        }
        assert_eq!(drain(&outbox, 3).await, b"c\nd\ne\n");
    }

    #[tokio::test]
    async fn what_was_put_in_before_it_was_closed_is_taken() {
        let outbox = Outbox::default();
        assert_eq!(put(&outbox, "a"), Ok(()));
        outbox.close();
        assert_eq!(put(&outbox, "b"), Ok(()));
        assert_eq!(drain(&outbox, 64).await, b"a\n");
        assert_eq!(outbox.take(64).await, None);
    }

    #[tokio::test]
    async fn short_and_long_ones_come_out_in_order() {
        let (outbox, framing) = (Outbox::default(), Framing::LengthPrefixed16);
        let mut expected = Vec::new();
        for len in [1, 2_000, 3_000, 0, 5, MOST_COPIED, MOST_COPIED + 1, 7] {
            let payload = Bytes::from(vec![7; len]);
            let around = framing.encode(len).expect("fits");
            outbox.put(&around, &payload, 0, usize::MAX).expect("fits");
            expected.extend_from_slice(&[around.before(), &payload[..]].concat());
        }
        assert_eq!(outbox.bytes(), expected.len());
        assert_eq!(drain(&outbox, 1_500).await, expected);
    }

    #[tokio::test]
    async fn it_tells_since_when_something_waits() {
        let (outbox, framing) = (Outbox::default(), Framing::Raw);
        let put = |now| outbox.put(&framing.encode(1).expect("fits"), &Bytes::from_static(b"a"), now, 8);
        assert_eq!(outbox.waits_since(), None);
        put(3).expect("fits");
        put(5).expect("fits");
        assert_eq!(outbox.waits_since(), Some(3));
        assert_eq!(outbox.take(8).await.expect("there is something"), "aa");
        outbox.written(1, 9);
        assert_eq!(outbox.waits_since(), Some(9));
        outbox.written(1, 10);
        assert_eq!(outbox.waits_since(), None);
    }
}
