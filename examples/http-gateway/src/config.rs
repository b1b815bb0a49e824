//! The configuration file. The keys of the first five tables are those of fuyuu-router.

use std::path::{Path, PathBuf};

use http_gateway::{Compress, RelayConfig, RouterConfig, Transfer};
use serde::Deserialize;

use crate::failure::Failure;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) networking: Networking,
    pub(crate) split: Split,
    pub(crate) storage_relay: StorageRelay,
    pub(crate) telemetry: Telemetry,
    profiling: Profiling,
    pub(crate) router: RouterConfig,
    pub(crate) listen: Listen,
    pub(crate) admin: Admin,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Networking {
    /// Frames have one format here.
    format: Option<Format>,
    compress: Compress,
    large_data_policy: LargeDataPolicy,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    Json,
    Protobuf,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LargeDataPolicy {
    /// Bodies stream over glue in the pieces that suit it.
    #[default]
    None,
    /// .. in pieces of `chunk_bytes`.
    Split,
    /// .. or by way of an object store.
    StorageRelay,
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Split {
    chunk_bytes: usize,
}

impl Default for Split {
    fn default() -> Self {
        Self { chunk_bytes: Transfer::default().chunk_bytes }
    }
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct StorageRelay {
    pub(crate) threshold_bytes: u64,
    pub(crate) objstore_file: PathBuf,
    pub(crate) deletion: bool,
}

impl Default for StorageRelay {
    fn default() -> Self {
        Self { threshold_bytes: 128_000, objstore_file: PathBuf::new(), deletion: false }
    }
}

impl StorageRelay {
    fn config(&self) -> RelayConfig {
        let mut config = RelayConfig::new(&self.objstore_file);
        config.threshold_bytes = self.threshold_bytes;
        config.deletion = self.deletion;
        config
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Telemetry {
    pub(crate) enabled: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Profiling {
    registry: String,
    server_address: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Listen {
    pub(crate) address: Option<std::net::SocketAddr>,
    pub(crate) cert: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Admin {
    pub(crate) address: Option<std::net::SocketAddr>,
    pub(crate) token: Option<String>,
}

impl Config {
    /// Reads the file, if there is one.
    pub(crate) fn read(path: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = path else { return Ok(Self::default()) };
        let explain = |reason: String| Failure::Configuration(format!("{}: {reason}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| explain(error.to_string()))?;
        let config = Self::parse(&text).map_err(explain)?;
        config.check().map_err(explain)?;
        config.warn();
        Ok(config)
    }

    fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())
    }

    fn check(&self) -> Result<(), String> {
        let (chunk, range) = (self.split.chunk_bytes, Transfer::CHUNK_BYTES);
        if !range.contains(&chunk) {
            return Err(format!("split.chunk_bytes = {chunk}: expected {} to {}", range.start(), range.end()));
        }
        Ok(())
    }

    /// What is known and means nothing here.
    fn warn(&self) {
        if let Some(format) = self.networking.format {
            tracing::warn!("networking.format = {format:?} has no effect: frames have one format");
        }
        if !self.profiling.registry.is_empty() || !self.profiling.server_address.is_empty() {
            tracing::warn!("[profiling] has no effect");
        }
    }

    pub(crate) fn transfer(&self) -> Transfer {
        let mut transfer = Transfer::default();
        transfer.compress = self.networking.compress;
        match self.networking.large_data_policy {
            LargeDataPolicy::None => {}
            LargeDataPolicy::Split => transfer.chunk_bytes = self.split.chunk_bytes,
            LargeDataPolicy::StorageRelay => transfer.relay = Some(self.storage_relay.config()),
        }
        transfer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_of_the_original_are_read() {
        let config = Config::parse(
            r#"
            [networking]
            format = "protobuf"
            compress = "zstd"
            large_data_policy = "split"
            [split]
            chunk_bytes = 12800
            [storage_relay]
            threshold_bytes = 5
            objstore_file = "store.yml"
            deletion = true
            [telemetry]
            enabled = true
            [profiling]
            registry = "pyroscope"
            server_address = "http://p"
            "#,
        )
        .unwrap();
        let transfer = config.transfer();
        assert_eq!((transfer.compress, transfer.chunk_bytes), (Compress::Zstd, 12_800));
        assert!(config.telemetry.enabled && config.storage_relay.deletion);
        assert_eq!(Config::parse("").unwrap().transfer(), Transfer::default());
    }

    #[test]
    fn a_value_out_of_range_is_an_error_that_names_it() {
        for (text, is_sound) in [("128000", true), ("1023", false), ("131073", false)] {
            let config = Config::parse(&format!("[split]\nchunk_bytes = {text}")).unwrap();
            assert_eq!(config.check().is_ok(), is_sound, "{text}");
        }
    }

    #[test]
    fn an_unknown_key_is_an_error_that_names_it() {
        for (text, name) in [
            ("[netwroking]", "netwroking"),
            ("[networking]\ncompresss = \"zstd\"", "compresss"),
            ("[router]\ntimeout = 5", "timeout"),
            ("[networking]\ncompress = \"gzip\"", "gzip"),
            ("[networking]\nlarge_data_policy = \"x\"", "`x`"),
        ] {
            let error = Config::parse(text).unwrap_err();
            assert!(error.contains(name), "{error}");
        }
    }
}
