//! The endpoint's identity: kept in a file, or made for one run.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use glue_security::{Credentials, Identity, NetworkKey, Random};
use zeroize::Zeroizing;

use crate::private::Security;
use crate::settings::Settings;

/// Why the identity can not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The file can not be read or made.
    #[error("the identity file {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What the file says is no identity.
    #[error("the identity file {} holds no identity: 44 characters of base64; remove it to have one made", .0.display())]
    Malformed(PathBuf),
    /// Others may read the file.
    #[error("the identity file {} may be read by others: chmod 600 it, or remove it to have another one made", .0.display())]
    Exposed(PathBuf),
    /// The system gives no randomness.
    #[error("no randomness from the system: {0}")]
    Random(getrandom::Error),
}

/// A new network key, from the system's randomness.
///
/// ```
/// let key = glue_endpoint::new_network_key()?;
/// assert_eq!(key.expose().len(), 44);
/// # Ok::<(), glue_endpoint::IdentityError>(())
/// ```
///
/// # Errors
/// [`IdentityError::Random`].
pub fn new_network_key() -> Result<NetworkKey, IdentityError> {
    Ok(NetworkKey::generate(&mut random()?))
}

fn random() -> Result<Random, IdentityError> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *seed).map_err(IdentityError::Random)?;
    Ok(Random::new(*seed))
}

/// What `settings` say of it; `None` without a network key.
pub(crate) fn security(settings: &Settings) -> Result<Option<Security>, IdentityError> {
    let Some(key) = settings.network_key.clone() else {
        tracing::warn!(
            "no GLUE_NETWORK_KEY: what is published is sent in the clear, and anyone on the network may join"
        );
        return Ok(None);
    };
    let mut random = random()?;
    let identity = match &settings.identity_file {
        Some(path) => open(path, &mut random)?,
        None => Identity::generate(&mut random),
    };
    Ok(Some(Security { credentials: Credentials { key, identity }, random }))
}

/// Reads the file, or makes it with a new identity in it.
fn open(path: &Path, random: &mut Random) -> Result<Identity, IdentityError> {
    let failed = |source| IdentityError::File { path: path.to_owned(), source };
    match File::open(path) {
        Ok(file) => read(path, file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let identity = Identity::generate(random);
            write(path, &identity).map_err(failed)?;
            tracing::info!(path = %path.display(), public_key = %identity.public_key(), "identity made");
            Ok(identity)
        }
        Err(error) => Err(failed(error)),
    }
}

fn read(path: &Path, file: File) -> Result<Identity, IdentityError> {
    let failed = |source| IdentityError::File { path: path.to_owned(), source };
    if is_exposed(&file).map_err(failed)? {
        return Err(IdentityError::Exposed(path.to_owned()));
    }
    let mut text = Zeroizing::new(String::new());
    // A longer file is no identity; how much longer, nobody needs to know.
    file.take(MAX_FILE_BYTES).read_to_string(&mut text).map_err(failed)?;
    text.trim().parse().map_err(|_| IdentityError::Malformed(path.to_owned()))
}

/// Of two endpoints that make the file at a time only one does.
fn write(path: &Path, identity: &Identity) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    writeln!(file, "{}", identity.expose().as_str())?;
    file.sync_all()
}

#[cfg(unix)]
fn is_exposed(file: &File) -> io::Result<bool> {
    Ok(std::os::unix::fs::MetadataExt::mode(&file.metadata()?) & 0o077 != 0)
}

#[cfg(not(unix))]
fn is_exposed(_file: &File) -> io::Result<bool> {
    Ok(false)
}

const MAX_FILE_BYTES: u64 = 1 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn random() -> Random {
        Random::new([1; 32])
    }

    fn directory(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("glue-identity-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a directory");
        path
    }

    #[test]
    fn it_is_made_once_and_is_for_its_owner_only() {
        let directory = directory("made");
        let path = directory.join("identity");
        let made = open(&path, &mut random()).expect("made");
        assert!(!is_exposed(&File::open(&path).expect("there")).expect("known"));
        let mut other = random();
        let _: [u8; 32] = other.bytes();
        assert_eq!(open(&path, &mut other).expect("read"), made);
        std::fs::remove_dir_all(directory).expect("gone");
    }

    #[test]
    fn what_is_wrong_with_a_file_is_told() {
        let directory = directory("wrong");
        let path = directory.join("identity");
        write(&path, &Identity::generate(&mut random())).expect("made");
        std::fs::write(&path, "no identity").expect("written");
        assert!(matches!(open(&path, &mut random()), Err(IdentityError::Malformed(_))));
        #[cfg(unix)]
        {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o640);
            std::fs::set_permissions(&path, mode).expect("changed");
            assert!(matches!(open(&path, &mut random()), Err(IdentityError::Exposed(_))));
        }
        let nowhere = open(&directory.join("none/identity"), &mut random()).expect_err("no directory");
        assert!(nowhere.to_string().starts_with("the identity file "), "{nowhere}");
        std::fs::remove_dir_all(directory).expect("gone");
    }
}
