//! TLS at the port, with a certificate that may change while it is served.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustls::ServerConfig;
use tokio_rustls::TlsAcceptor;

use crate::pem::{self, PemError};

/// Where a certificate chain and its key are, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chain, the server's own first.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// Why a certificate can not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file can not be read, or has not what it should.
    #[error(transparent)]
    File(#[from] PemError),
    /// Key and certificate do not fit, or are of a kind that is not served.
    #[error("the certificate and its key: {0}")]
    Unfit(#[from] rustls::Error),
}

/// What connections are accepted with.
#[derive(Debug)]
pub(crate) struct Tls {
    files: TlsFiles,
    config: RwLock<Arc<ServerConfig>>,
}

impl Tls {
    pub(crate) fn new(files: TlsFiles) -> Result<Arc<Self>, TlsError> {
        let config = RwLock::new(read(&files)?);
        Ok(Arc::new(Self { files, config }))
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Reads the files again when they have changed. What can not be used is told and not taken. Runs until dropped.
    pub(crate) async fn watch(&self) {
        let mut seen = self.changed();
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            let now = self.changed();
            if now == seen {
                continue;
            }
            match read(&self.files) {
                Ok(config) => {
                    *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
                    tracing::info!("the certificate was read again");
                    seen = now;
                }
                // One file may be new and the other not yet: another look will tell.
                Err(error) => tracing::warn!("the certificate has changed, the old one is kept: {error}"),
            }
        }
    }

    /// A directory's link may be turned to other files of the same age: so their sizes count too.
    fn changed(&self) -> [Option<(SystemTime, u64)>; 2] {
        [&self.files.cert, &self.files.key].map(|path| {
            let facts = std::fs::metadata(path).ok()?;
            Some((facts.modified().ok()?, facts.len()))
        })
    }
}

fn read(files: &TlsFiles) -> Result<Arc<ServerConfig>, TlsError> {
    let (chain, key) = (pem::certificates(&files.cert)?, pem::key(&files.key)?);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = builder.with_no_client_auth().with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// What a client may take for its part of the handshake.
pub(crate) const HANDSHAKE: Duration = Duration::from_secs(10);

/// How soon a changed certificate is seen. A look costs two calls of the system.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// A handshake that took too long.
pub(crate) fn late() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the handshake took too long")
}
