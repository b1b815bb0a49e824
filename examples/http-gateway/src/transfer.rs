//! How large bodies pass.

use serde::Deserialize;

use crate::compress::Packing;
use crate::relay::{Relay, RelayConfig, RelayError};
use crate::stream::CHUNK;

/// How bodies pass over glue. Both sides choose for what they send.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Transfer {
    /// Packs pieces by zstd where that makes them smaller. Default: no. It costs some 2 ms of processor time a MiB.
    pub compress: Compress,
    /// The largest piece of a body in one message, in bytes. Default 64 KiB; 1 KiB to 64 KiB.
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
    pub(crate) fn packing(&self) -> Packing {
        Packing { chunk: self.chunk_bytes.clamp(LEAST_CHUNK, CHUNK), zstd: self.compress == Compress::Zstd }
    }
}

impl Transfer {
    pub(crate) fn relay(&self) -> Result<Option<Relay>, RelayError> {
        self.relay.as_ref().map(Relay::open).transpose()
    }
}

const LEAST_CHUNK: usize = 1 << 10;
