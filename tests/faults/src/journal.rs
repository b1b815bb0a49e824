//! The log of a process: each line is in the file when the call returns.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::clock;
use crate::error::FaultsError;
use crate::line::{Line, What};

/// Writes lines. One system call each and no buffer of ours: what was written stays when the process is killed.
#[derive(Debug)]
pub struct Journal(Option<Mutex<File>>);

impl Journal {
    /// Begins a log; without a path everything is dropped, for a process that runs for hours.
    ///
    /// # Errors
    /// If the file can not be made, or is there already.
    pub fn begin(path: Option<&Path>) -> Result<Self, FaultsError> {
        let Some(path) = path else { return Ok(Self(None)) };
        let file = OpenOptions::new().append(true).create_new(true).open(path);
        Ok(Self(Some(Mutex::new(file.map_err(FaultsError::io(path.display().to_string()))?))))
    }

    /// Writes a line with the time now.
    ///
    /// # Panics
    /// If it can not be written: without its log a run proves nothing.
    pub fn write(&self, what: What) {
        let Some(file) = &self.0 else { return };
        // The time is taken under the lock, so that times of a log never go back.
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        let line = format!("{}\n", Line { at: clock::now(), what });
        file.write_all(line.as_bytes()).expect("room for the log");
    }

    /// Writes something for people.
    pub fn note(&self, text: &str) {
        self.write(What::Note { text: text.replace('\n', " ") });
    }
}
