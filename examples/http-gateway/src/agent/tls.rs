//! TLS to the servers behind an agent.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::pem::{self, PemError};

/// The authorities by which servers behind an agent are known. Servers must have a certificate of one of them that is for the host
/// of their target; there is no way around it.
#[derive(Clone)]
pub struct Roots {
    http1: TlsConnector,
    http2: TlsConnector,
}

/// Why authorities can not be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RootsError {
    /// A file can not be read, or has no certificate in it.
    #[error(transparent)]
    File(#[from] PemError),
    /// The system has none.
    #[error("the system has no certificates of authorities ({0}): install ca-certificates, or name a file")]
    System(String),
    /// They can not be used for TLS.
    #[error("certificates of authorities: {0}")]
    Unfit(#[from] rustls::Error),
}

impl Roots {
    /// Those that the system trusts; `SSL_CERT_FILE` and `SSL_CERT_DIR` name others. They are read once.
    ///
    /// # Errors
    /// [`RootsError::System`] if there are none.
    pub fn of_system() -> Result<Self, RootsError> {
        static SYSTEM: LazyLock<Result<Roots, RootsError>> = LazyLock::new(|| {
            let found = rustls_native_certs::load_native_certs();
            let reason = || found.errors.first().map_or_else(|| "none were found".to_owned(), ToString::to_string);
            Roots::new(found.certs.iter().cloned()).ok_or_else(|| RootsError::System(reason()))?
        });
        SYSTEM.clone()
    }

    /// Those of a PEM file, and no others.
    ///
    /// # Errors
    /// [`RootsError::File`] if it can not be read or has none in it.
    pub fn of_file(path: &Path) -> Result<Self, RootsError> {
        let none = || PemError::new(path, "no certificate in it can be used");
        Self::new(pem::certificates(path)?).ok_or_else(none)?
    }

    /// `None`: there are none.
    fn new(certificates: impl IntoIterator<Item = CertificateDer<'static>>) -> Option<Result<Self, RootsError>> {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(certificates);
        if store.is_empty() {
            return None;
        }
        let store = Arc::new(store);
        let connector = |protocol: &[u8]| {
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
            let mut config = builder.with_root_certificates(Arc::clone(&store)).with_no_client_auth();
            config.alpn_protocols = vec![protocol.to_vec()];
            Ok(TlsConnector::from(Arc::new(config)))
        };
        let both = connector(b"http/1.1").and_then(|http1| Ok(Self { http1, http2: connector(b"h2")? }));
        Some(both)
    }

    pub(super) async fn connect<S>(&self, host: &str, http2: bool, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let connector = if http2 { &self.http2 } else { &self.http1 };
        let stream = connector.connect(name, stream).await?;
        if http2 && stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            return Err(io::Error::other("the server does not speak HTTP/2"));
        }
        Ok(stream)
    }
}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Roots").finish_non_exhaustive()
    }
}
