//! How large bodies pass.

use std::ops::RangeInclusive;

use serde::Deserialize;

use crate::compress::Packing;
use crate::relay::{Relay, RelayConfig, RelayError};
use crate::stream::{CHUNK, MOST_CHUNK};

/// How bodies pass over glue. Both sides choose for what they send.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Transfer {
    /// Packs pieces by zstd where that makes them smaller. Default: no. It costs some 2 ms of processor time a MiB.
    pub compress: Compress,
    /// The largest piece of a body in one message, in bytes. Default 64 KiB; within
    /// [`Transfer::CHUNK_BYTES`], and what is not is brought there.
    pub chunk_bytes: usize,
    /// Bodies that are larger than its threshold go by way of a store. Default: none do.
    pub relay: Option<RelayConfig>,
}

/// What bodies are packed with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Compress {
    /// As they are.
    #[default]
    None,
    /// By zstd, piece by piece.
    Zstd,
}

impl Default for Transfer {
    fn default() -> Self {
        Self { compress: Compress::None, chunk_bytes: CHUNK, relay: None }
    }
}

impl Transfer {
    /// What a piece may have: 1 KiB to 128 KiB.
    pub const CHUNK_BYTES: RangeInclusive<usize> = 1 << 10..=MOST_CHUNK;

    pub(crate) fn packing(&self) -> Packing {
        Packing {
            chunk: self.chunk_bytes.clamp(*Self::CHUNK_BYTES.start(), *Self::CHUNK_BYTES.end()),
            zstd: self.compress == Compress::Zstd,
        }
    }
}

impl Transfer {
    pub(crate) fn relay(&self) -> Result<Option<Relay>, RelayError> {
        self.relay.as_ref().map(Relay::open).transpose()
    }
}
