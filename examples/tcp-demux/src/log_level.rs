//! What is logged, which may be changed while it runs.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

type Apply = dyn Fn(&str) -> Result<(), String> + Send + Sync;

/// A filter of the log, and how it is changed. The program says how, since it owns the log.
#[derive(Clone)]
pub struct LogLevel {
    now: Arc<Mutex<String>>,
    apply: Arc<Apply>,
}

impl LogLevel {
    /// `apply` takes a filter, such as `info` or `info,h2=debug`.
    pub fn new(now: impl Into<String>, apply: impl Fn(&str) -> Result<(), String> + Send + Sync + 'static) -> Self {
        Self { now: Arc::new(Mutex::new(now.into())), apply: Arc::new(apply) }
    }

    /// Changes it.
    ///
    /// # Errors
    /// What is wrong with the filter; nothing was changed then.
    pub fn set(&self, level: &str) -> Result<(), String> {
        (self.apply)(level)?;
        level.clone_into(&mut self.now.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(())
    }

    /// What it is.
    #[must_use]
    pub fn get(&self) -> String {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LogLevel").field(&self.get()).finish()
    }
}
