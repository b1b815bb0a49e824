//! Why the program ends without having done what it was asked for.

use std::io;
use std::process::ExitCode;

use tcp_demux::StartError;
use tcp_demux::file::FileError;

#[derive(Debug)]
pub(crate) enum Failure {
    /// It was told something impossible: another try will fail as well.
    Configuration(String),
    /// It did not work out.
    Runtime(String),
}

impl Failure {
    /// What to tell, in one line.
    pub(crate) fn line(&self) -> String {
        match self {
            Self::Configuration(text) | Self::Runtime(text) => text.lines().collect::<Vec<_>>().join("; "),
        }
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Configuration(_) => ExitCode::from(2),
            Self::Runtime(_) => ExitCode::from(1),
        }
    }
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        Self::Configuration(error.to_string())
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Bind { .. } => Self::Runtime(error.to_string()),
            _ => Self::Configuration(error.to_string()),
        }
    }
}

impl From<glue_endpoint::StartError> for Failure {
    fn from(error: glue_endpoint::StartError) -> Self {
        match error {
            glue_endpoint::StartError::Bind(_) => Self::Runtime(error.to_string()),
            _ => Self::Configuration(error.to_string()),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Runtime(error.to_string())
    }
}
