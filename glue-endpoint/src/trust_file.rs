//! The file of trusted peers, followed while the endpoint runs.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, SystemTime};

use glue_topics::{ParseTrustError, Trust};

use crate::config::ConfigError;
use crate::endpoint::StartError;
use crate::notice::Notice;
use crate::settings::Settings;
use crate::shared::Shared;

/// Why the file of trusted peers can not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrustFileError {
    /// It can not be read or followed, or is larger than 1 MiB.
    #[error("the file of trusted peers {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What it says is malformed.
    #[error("the file of trusted peers {}: {source}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        source: ParseTrustError,
    },
}

/// A file, as it was when it was read.
#[derive(Debug)]
pub(crate) struct TrustFile {
    path: PathBuf,
    stamp: Stamp,
}

/// What changes with a file's content, or when another one takes its place. `None`: there is no file.
type Stamp = Option<(SystemTime, u64, u64)>;

/// The trusted peers that `settings` name, and the file to follow; `None` if all are trusted.
pub(crate) fn trusted(settings: &Settings) -> Result<Option<(Trust, TrustFile)>, StartError> {
    let Some(path) = &settings.trusted_peers else { return Ok(None) };
    if settings.network_key.is_none() {
        return Err(ConfigError::TrustWithoutKey.into());
    }
    // Before it is read: what changes meanwhile is read again.
    let file = TrustFile { path: path.clone(), stamp: stamp(path) };
    Ok(Some((read(path)?, file)))
}

impl TrustFile {
    /// Follows the file on a thread of its own, which ends with the endpoint.
    pub(crate) fn follow(mut self, shared: &Arc<Shared>) -> Result<(), TrustFileError> {
        let (path, shared) = (self.path.clone(), Arc::downgrade(shared));
        let run = move || while self.look(&shared) {};
        let thread = thread::Builder::new().name("glue-trust".to_owned()).spawn(run);
        thread.map(drop).map_err(|source| TrustFileError::File { path, source })
    }

    /// Waits, and looks at the file. False: the endpoint is gone.
    fn look(&mut self, shared: &Weak<Shared>) -> bool {
        thread::sleep(LOOK_INTERVAL);
        let seen = stamp(&self.path);
        let mut is_new = seen != self.stamp;
        if is_new {
            // Whoever writes it may not be done.
            thread::sleep(SETTLE);
            is_new = stamp(&self.path) == seen;
        }
        let Some(shared) = shared.upgrade().filter(|shared| !shared.is_stopped()) else { return false };
        if is_new {
            self.take(seen, &shared);
        }
        true
    }

    /// Reads the file, which has changed. What it says wrong changes nothing, and is told once.
    fn take(&mut self, stamp: Stamp, shared: &Shared) {
        let path = self.path.display();
        match read(&self.path) {
            Ok(trust) => {
                tracing::info!(%path, "trusted peers read anew");
                shared.call(|engine, now| engine.set_trust(now, Some(trust)));
            }
            Err(error) => {
                tracing::error!(%error, "trusted peers stay as they were");
                shared.tell(Notice::TrustRefused { error: error.to_string() });
            }
        }
        self.stamp = stamp;
    }
}

fn read(path: &Path) -> Result<Trust, TrustFileError> {
    let failed = |source| TrustFileError::File { path: path.to_owned(), source };
    let mut text = String::new();
    let file = File::open(path).map_err(failed)?;
    if file.metadata().is_ok_and(|metadata| is_open_to_others(&metadata)) {
        let path = path.display();
        tracing::warn!(%path, "others may write this file, and so let anybody in: chmod go-w");
    }
    if file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text).map_err(failed)? as u64 > MAX_FILE_BYTES {
        return Err(failed(io::ErrorKind::FileTooLarge.into()));
    }
    text.parse().map_err(|source| TrustFileError::Malformed { path: path.to_owned(), source })
}

fn stamp(path: &Path) -> Stamp {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len(), number(&metadata)))
}

#[cfg(unix)]
fn number(metadata: &fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}

#[cfg(not(unix))]
fn number(_metadata: &fs::Metadata) -> u64 {
    0
}

#[cfg(unix)]
fn is_open_to_others(metadata: &fs::Metadata) -> bool {
    std::os::unix::fs::MetadataExt::mode(metadata) & 0o022 != 0
}

#[cfg(not(unix))]
fn is_open_to_others(_metadata: &fs::Metadata) -> bool {
    false
}

/// How often the file is looked at: with what follows, a change holds within 0.6 s. A look takes some 2 us.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// So long a file must not change before it is read: who writes it in place empties it first.
const SETTLE: Duration = Duration::from_millis(50);
/// 10,000 lines of 100 bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(name: &str, text: &str) -> Settings {
        let path = std::env::temp_dir().join(format!("glue-trust-{}-{name}", std::process::id()));
        fs::write(&path, text).unwrap();
        let network_key = Some(glue_security::NetworkKey::from_bytes([1; 32]));
        Settings { network_key, trusted_peers: Some(path), ..Settings::default() }
    }

    fn refused(settings: &Settings) -> String {
        let error = trusted(settings).unwrap_err().to_string();
        let path = settings.trusted_peers.as_ref().unwrap();
        let _ = fs::remove_file(path);
        error.replace(&path.display().to_string(), "FILE")
    }

    #[test]
    fn what_is_wrong_with_the_file_is_told() {
        let expected = "the file of trusted peers FILE: line 1: \"oven\" is no public key";
        assert!(refused(&settings("bad", "oven\n")).starts_with(expected));
        let gone = Settings { trusted_peers: Some("nowhere/trusted".into()), ..settings("gone", "*") };
        assert!(refused(&gone).starts_with("the file of trusted peers FILE: "));
        let large = "#".repeat(1 << 21);
        assert!(refused(&settings("large", &large)).contains("FILE: "));
    }

    #[test]
    fn trusted_peers_need_a_network_key() {
        let settings = Settings { network_key: None, ..settings("clear", "*") };
        let expected = "trusted peers (GLUE_TRUSTED_PEERS) need a network key (GLUE_NETWORK_KEY)";
        assert_eq!(refused(&settings), expected);
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_others_may_write_is_seen() {
        let path = std::env::temp_dir().join(format!("glue-trust-mode-{}", std::process::id()));
        fs::write(&path, "").expect("written");
        for (mode, is_open) in [(0o600, false), (0o644, false), (0o620, true), (0o646, true)] {
            fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(mode)).expect("changed");
            assert_eq!(is_open_to_others(&fs::metadata(&path).expect("it is there")), is_open, "{mode:o}");
        }
        fs::remove_file(&path).expect("removed");
    }
}
