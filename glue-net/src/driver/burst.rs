//! What one receive returned.

use std::net::SocketAddr;

use bytes::Bytes;

/// Datagrams of one sender, as one receive returned them.
#[derive(Clone, Debug)]
pub(super) struct Burst {
    pub(super) from: SocketAddr,
    bytes: Bytes,
    stride: usize,
}

impl Burst {
    pub(super) const fn new(from: SocketAddr, bytes: Bytes, stride: usize) -> Self {
        Self { from, bytes, stride }
    }

    /// How long what is left of it is.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes.len()
    }
}

impl Iterator for Burst {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let len = self.stride.min(self.bytes.len());
        (len > 0).then(|| self.bytes.split_to(len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_comes_apart_at_its_stride() {
        let from = SocketAddr::from(([127, 0, 0, 1], 1));
        let burst = Burst::new(from, Bytes::from_static(b"aabbc"), 2);
        assert_eq!(burst.collect::<Vec<_>>(), ["aa", "bb", "c"]);
        assert_eq!(Burst::new(from, Bytes::new(), 1).count(), 0);
    }
}
