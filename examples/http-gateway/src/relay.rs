//! Large bodies by way of an object store that router and worker share, as fuyuu-router's `storage_relay`.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

#[cfg(feature = "storage-relay")]
mod store;
#[cfg(not(feature = "storage-relay"))]
#[path = "relay/no_store.rs"]
mod store;

pub(crate) use self::store::{Object, Relay};

/// Which bodies pass by way of which store.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RelayConfig {
    /// Bodies that are known to be larger go by way of the store. In bytes; default 128,000.
    pub threshold_bytes: u64,
    /// Says which store: YAML with `type: FILESYSTEM` or `type: S3`, and `config:` with its keys.
    pub objstore_file: PathBuf,
    /// Objects are deleted when they have been read. Default: no.
    pub deletion: bool,
}

impl RelayConfig {
    /// For the store that this file describes.
    pub fn new(objstore_file: impl Into<PathBuf>) -> Self {
        Self { threshold_bytes: 128_000, objstore_file: objstore_file.into(), deletion: false }
    }
}

/// Why there is no store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {reason}", path = path.display())]
pub struct RelayError {
    pub(crate) path: PathBuf,
    pub(crate) reason: String,
}

/// What was to be put into the store is not there, or what should be is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the object store failed")]
pub(crate) struct StoreFailure;

/// An object that is wanted until this is dropped.
#[derive(Debug)]
pub(crate) struct Kept {
    relay: Relay,
    pub(crate) name: String,
}

impl Kept {
    pub(crate) const fn new(relay: Relay, name: String) -> Self {
        Self { relay, name }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.relay.release(std::mem::take(&mut self.name));
    }
}

/// `<agent>/<something unique>/<kind>`, as fuyuu-router has it. The id of the request would not do: clients choose it.
pub(crate) fn object_name(agent: &str, instance: &str, kind: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!("{agent}/{instance}-{}/{kind}", COUNT.fetch_add(1, Ordering::Relaxed))
}
