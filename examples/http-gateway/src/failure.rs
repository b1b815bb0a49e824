//! Why the program ends.

use std::process::ExitCode;

use glue_endpoint::{EnvError, StartError};
use http_gateway::{LaunchError, RouterError, TlsError, WorkerError};

/// Why the program ends, other than by being told to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// A flag, variable or file is not as it must be: exit status 2.
    #[error("{0}")]
    Configuration(String),
    #[error("the endpoint did not start: {0}")]
    Endpoint(#[from] StartError),
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("nobody was told of the launch: {0}")]
    Launch(#[from] LaunchError),
    #[error("can not listen at {address}: {error}")]
    Listen { address: std::net::SocketAddr, error: std::io::Error },
    #[error("the router did not start: {0}")]
    Router(#[from] RouterError),
    #[error("{0}")]
    Tls(#[from] TlsError),
    #[error("not everything was finished before the end")]
    Unfinished,
    #[error("the worker did not start: {0}")]
    Worker(#[from] WorkerError),
}

impl From<EnvError> for Failure {
    fn from(error: EnvError) -> Self {
        Self::Configuration(error.to_string())
    }
}

impl Failure {
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Configuration(_) | Self::Tls(_) | Self::Worker(WorkerError::Announcement(_)) => ExitCode::from(2),
            _ => ExitCode::FAILURE,
        }
    }
}
