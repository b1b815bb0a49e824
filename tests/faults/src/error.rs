//! What can go wrong with a run, as opposed to what a run finds.

use std::path::PathBuf;

/// Why a run could not be made, or came to no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FaultsError {
    /// The system refused something.
    #[error("{what}: {error}")]
    Io {
        /// What was tried.
        what: String,
        /// Why not.
        error: std::io::Error,
    },
    /// A command failed.
    #[error("`{line}` failed: {why}")]
    Command {
        /// The command.
        line: String,
        /// What it said.
        why: String,
    },
    /// A log has a line that no process of ours writes.
    #[error("{}, line {line}: not a line of a log: {text:?}", path.display())]
    Log {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// The line.
        text: String,
    },
    /// The endpoint could not start, publish or subscribe.
    #[error("the endpoint: {0}")]
    Endpoint(String),
    /// Something was not understood.
    #[error("{0}")]
    Usage(String),
    /// Somebody wants it to end.
    #[error("interrupted")]
    Interrupted,
    /// A run ended, and something was not as it must be.
    #[error("{0}")]
    Broken(String),
}

impl FaultsError {
    /// Says what was tried when an error of the system came.
    pub fn io<E: Into<std::io::Error>>(what: impl Into<String>) -> impl FnOnce(E) -> Self {
        let what = what.into();
        move |error| Self::Io { what, error: error.into() }
    }
}
