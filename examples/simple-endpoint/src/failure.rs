//! Why the program ends without having done what it was asked for.

use std::io;
use std::process::ExitCode;

use glue_endpoint::{BindError, PublishError, StartError, SubscribeError};

#[derive(Debug)]
pub(crate) enum Failure {
    /// It was told something impossible: another try will fail as well.
    Configuration(String),
    /// Who read our output has gone, as `head` does when it has enough.
    ReaderGone,
    /// It did not work out.
    Runtime(String),
}

impl Failure {
    /// What to tell, in one line.
    pub(crate) fn line(&self) -> Option<String> {
        match self {
            Self::Configuration(text) | Self::Runtime(text) => Some(text.lines().collect::<Vec<_>>().join("; ")),
            Self::ReaderGone => None,
        }
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Configuration(_) => ExitCode::from(2),
            Self::Runtime(_) => ExitCode::from(1),
            Self::ReaderGone => ExitCode::SUCCESS,
        }
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Bind(BindError::Interfaces(_) | BindError::Thread(_)) => Self::Runtime(error.to_string()),
            _ => Self::Configuration(error.to_string()),
        }
    }
}

impl From<PublishError> for Failure {
    fn from(error: PublishError) -> Self {
        Self::Configuration(format!("can not publish: {error}"))
    }
}

impl From<SubscribeError> for Failure {
    fn from(error: SubscribeError) -> Self {
        Self::Configuration(format!("can not subscribe: {error}"))
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::ReaderGone,
            _ => Self::Runtime(error.to_string()),
        }
    }
}
