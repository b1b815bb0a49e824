//! The sender's duty: take what the node wants to send, and send it.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;

use super::Driven;
use super::outlets::Outlets;
use super::shared::Core;
use super::socket::{DataSocket, MAX_BATCH_BYTES, MAX_BATCH_DATAGRAMS};
use super::stats::Counters;
use crate::{Chain, Instant, Mark, Via};

/// The sockets that datagrams leave by, and those that are about to.
#[derive(Debug)]
pub(super) struct Sender {
    sockets: Option<(Arc<DataSocket>, Outlets)>,
    chain: Chain,
    batches: Vec<Batch>,
}

/// Datagrams that one system call sends.
#[derive(Clone, Debug)]
struct Batch {
    to: SocketAddr,
    via: Via,
    range: Range<Mark>,
    len: usize,
    /// Length of each datagram; the last may be shorter.
    segment: usize,
    datagrams: usize,
    /// Nothing can be added.
    full: bool,
}

impl Sender {
    pub(super) fn new(data: Arc<DataSocket>, outlets: Outlets) -> Self {
        Self { sockets: Some((data, outlets)), chain: Chain::default(), batches: Vec::new() }
    }

    /// Lets go of the sockets. Nothing is sent any more.
    pub(super) fn close(&mut self) {
        self.sockets = None;
    }

    pub(super) fn outlets(&mut self) -> Option<&mut Outlets> {
        self.sockets.as_mut().map(|(_, outlets)| outlets)
    }

    /// Takes a round's datagrams; true if the node may have more.
    pub(super) fn fill<N: Driven>(&mut self, now: Instant, core: &mut Core<N>) -> bool {
        let Some((data, _)) = &self.sockets else { return false };
        let most = if data.has_segmentation() { MAX_BATCH_DATAGRAMS } else { 1 };
        for _ in 0..ROUND_DATAGRAMS {
            let start = self.chain.end();
            let Some(transmit) = core.node.poll_transmit(now, &mut self.chain) else { return false };
            let datagram = Batch {
                to: transmit.to,
                via: transmit.via,
                range: start..self.chain.end(),
                len: transmit.len,
                segment: transmit.len,
                datagrams: 1,
                full: most == 1,
            };
            match self.batches.last_mut() {
                Some(batch) if batch.takes(&datagram) => batch.add(&datagram, most),
                _ => self.batches.push(datagram),
            }
            // Not in the middle of a batch, where that does no harm.
            let at_boundary = self.batches.last().is_none_or(|batch| batch.full);
            if self.chain.len() >= ROUND_BYTES && (at_boundary || self.chain.len() >= ROUND_BYTES + MAX_BATCH_BYTES) {
                return true;
            }
        }
        true
    }

    /// Sends what was taken.
    pub(super) fn send(&mut self, counters: &Counters) {
        if let Some((data, outlets)) = &self.sockets {
            for batch in &self.batches {
                let sent = match batch.via {
                    Via::Data => {
                        send_data(data, batch, &self.chain, counters);
                        continue;
                    }
                    Via::Discovery => outlets.unicast(batch.to, &self.chain.copy_of(batch.range.clone())),
                    Via::Multicast { interface } => {
                        outlets.multicast(batch.to, interface, &self.chain.copy_of(batch.range.clone()))
                    }
                };
                counters.count_sent(1, batch.len, &sent);
            }
        }
        self.batches.clear();
        self.chain.clear();
    }
}

impl Batch {
    fn takes(&self, next: &Self) -> bool {
        !self.full
            && self.via == Via::Data
            && (self.to, self.via) == (next.to, next.via)
            && next.segment <= self.segment
            && next.segment > 0
            && self.len + next.len <= MAX_BATCH_BYTES
    }

    fn add(&mut self, next: &Self, most: usize) {
        self.range.end = next.range.end;
        self.len += next.len;
        self.datagrams += 1;
        let last = next.segment < self.segment || self.len + self.segment > MAX_BATCH_BYTES;
        self.full = last || self.datagrams >= most;
    }
}

/// Sends a batch, one by one if it is refused as a whole (no offload, or a datagram beyond the interface's MTU).
fn send_data(data: &DataSocket, batch: &Batch, chain: &Chain, counters: &Counters) {
    let pieces: Vec<IoSlice<'_>> = chain.pieces(batch.range.clone()).map(IoSlice::new).collect();
    let sent = data.send(batch.to, &pieces, batch.segment);
    if sent.is_ok() || batch.datagrams == 1 || is_full(&sent) {
        return counters.count_sent(batch.datagrams, batch.len, &sent);
    }
    for datagram in chain.copy_of(batch.range.clone()).chunks(batch.segment) {
        counters.count_sent(1, datagram.len(), &data.send(batch.to, &[IoSlice::new(datagram)], batch.segment));
    }
}

fn is_full(sent: &io::Result<()>) -> bool {
    sent.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

/// A round ends at the first full batch from here on: two batches, so that the node is locked 20 microseconds at most, and
/// the second batch is made while the receiver takes the first.
const ROUND_BYTES: usize = 100_000;
/// Small datagrams to many peers end a round by their number: each takes a system call of a microsecond.
const ROUND_DATAGRAMS: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(len: usize) -> Mark {
        let mut chain = Chain::default();
        chain.put(&vec![0; len]);
        chain.end()
    }

    fn datagram(start: usize, len: usize, port: u16) -> Batch {
        let to = SocketAddr::from(([127, 0, 0, 1], port));
        Batch { to, via: Via::Data, range: at(start)..at(start + len), len, segment: len, datagrams: 1, full: false }
    }

    #[test]
    fn a_batch_takes_equal_datagrams_and_one_shorter() {
        let mut batch = datagram(0, 1_000, 1);
        assert!(!batch.takes(&datagram(1_000, 1_000, 2)), "another peer");
        assert!(!batch.takes(&datagram(1_000, 1_001, 1)), "longer");
        assert!(batch.takes(&datagram(1_000, 1_000, 1)));
        batch.add(&datagram(1_000, 1_000, 1), 64);
        batch.add(&datagram(2_000, 10, 1), 64);
        assert!(!batch.takes(&datagram(2_010, 10, 1)), "after a shorter one");
        assert_eq!((batch.range, batch.len, batch.datagrams), (at(0)..at(2_010), 2_010, 3));
    }

    #[test]
    fn a_batch_is_bounded() {
        let mut batch = datagram(0, 1_472, 1);
        let mut at = 1_472;
        while !batch.full {
            assert!(batch.takes(&datagram(at, 1_472, 1)));
            batch.add(&datagram(at, 1_472, 1), 64);
            at += 1_472;
        }
        assert_eq!(batch.datagrams, 44);

        let mut small = datagram(0, 10, 1);
        (1..64).for_each(|n| small.add(&datagram(n * 10, 10, 1), 64));
        assert!(small.full);
    }
}
