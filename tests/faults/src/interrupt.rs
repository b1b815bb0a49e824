//! Ctrl-C and the like end a run in order: what it made is removed, and what was seen until then is reported.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::FaultsError;

static WANTED: AtomicBool = AtomicBool::new(false);

/// From now on SIGINT and SIGTERM are noted.
///
/// # Errors
/// If the system does not let us.
pub fn watch() -> Result<(), FaultsError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(FaultsError::io("a runtime for signals"))?;
    let (ready, is_ready) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        runtime.block_on(async {
            use tokio::signal::unix::{SignalKind, signal};
            let signals = signal(SignalKind::interrupt()).and_then(|one| Ok((one, signal(SignalKind::terminate())?)));
            let (mut interrupt, mut terminate) = match signals {
                Ok(signals) => signals,
                Err(error) => return ready.send(Err(error)).unwrap_or_default(),
            };
            let _ = ready.send(Ok(()));
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            WANTED.store(true, Ordering::Relaxed);
        });
    });
    is_ready.recv().unwrap_or(Ok(())).map_err(FaultsError::io("watching for signals"))
}

/// Whether somebody wants us to end.
#[must_use]
pub fn is_wanted() -> bool {
    WANTED.load(Ordering::Relaxed)
}

/// An error when somebody wants us to end.
///
/// # Errors
/// [`FaultsError::Interrupted`].
pub fn check() -> Result<(), FaultsError> {
    if is_wanted() { Err(FaultsError::Interrupted) } else { Ok(()) }
}
