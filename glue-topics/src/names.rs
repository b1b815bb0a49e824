//! What names of topics take that peers made us remember.

use glue_net::{Gauge, Held};

/// What one peer made us remember, within the limit for all.
#[derive(Debug)]
pub(crate) struct Names {
    all: Gauge,
    held: Held,
    most: usize,
}

impl Names {
    /// `all` is the sum over all peers, which stays below `most`.
    pub(crate) fn new(all: &Gauge, most: usize) -> Self {
        Self { all: all.clone(), held: all.hold(0), most }
    }

    /// Remembers so many bytes more; false, and nothing is done, if they would be more than is left for others.
    pub(crate) fn take(&mut self, bytes: usize) -> bool {
        let fits = self.held.bytes() + bytes <= self.most.saturating_sub(self.all.bytes() + bytes);
        if fits {
            self.held.set(self.held.bytes() + bytes);
        }
        fits
    }

    /// Forgets so many bytes.
    pub(crate) fn give_back(&mut self, bytes: usize) {
        self.held.set(self.held.bytes().saturating_sub(bytes));
    }
}
