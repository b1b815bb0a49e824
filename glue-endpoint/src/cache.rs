//! Caches: keeping what others publish, for those who can not have it from them.

use std::sync::Arc;

use glue_topics::{CacheError, CacheId};

use crate::config::Config;
use crate::endpoint::Endpoint;
use crate::engine::Engine;
use crate::settings::Settings;
use crate::shared::Shared;

/// Keeps what others publish. Ends when dropped, and what it kept is gone.
#[derive(Debug)]
#[must_use = "the cache ends when its handle is dropped"]
pub struct Cache {
    shared: Arc<Shared>,
    id: CacheId,
}

impl Drop for Cache {
    fn drop(&mut self) {
        self.shared.call(|engine, _| engine.uncache(self.id));
    }
}

impl Endpoint {
    /// Keeps what is published on the topics that `pattern` matches (see [`glue_topics::Filter`]), up to `budget` bytes of
    /// memory, until it expires. Who missed a message gets it from here, if its publisher is gone, out of reach, or keeps
    /// nothing: who was cut off from it, and who subscribes later and asks for history ([`Endpoint::subscribe_from`]). Each
    /// message comes once, in its publisher's order, with its publisher's id and number.
    ///
    /// A subscription that did not ask for history gets what it was following when it lost the publisher, and what is published
    /// after it was made.
    ///
    /// Beyond the budget the oldest messages go. All budgets together may be 40 MiB, less or more with another memory budget.
    /// What this endpoint publishes itself is not cached, nor what classic peers publish. `GLUE_CACHE` makes caches that
    /// last as long as the endpoint.
    ///
    /// A subscription that asked for history waits for what caches say that they have before its first message of a
    /// publisher: for those that are known when it subscribes, and a second at most.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let endpoint = glue_endpoint::Endpoint::from_env().await?;
    /// let cache = endpoint.cache("site/#", 8 << 20)?;
    /// println!("{} bytes are held", endpoint.stats().caches.held_bytes);
    /// # drop(cache);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`CacheError`] for a bad pattern, or a budget that is more than is left.
    pub fn cache(&self, pattern: &str, budget: usize) -> Result<Cache, CacheError> {
        let shared = Arc::clone(&self.shared);
        let id = shared.call(|engine, _| engine.cache(pattern, budget))?;
        Ok(Cache { shared, id })
    }
}

impl Engine {
    /// As [`Endpoint::cache`].
    ///
    /// # Errors
    /// [`CacheError`]; nothing was changed.
    pub fn cache(&mut self, pattern: &str, budget: usize) -> Result<CacheId, CacheError> {
        self.topics.cache(pattern, budget)
    }

    /// Ends a cache.
    pub fn uncache(&mut self, id: CacheId) {
        self.topics.uncache(id);
    }

    /// Makes the caches that the settings ask for. Those without a budget get even parts of what the others leave.
    pub(crate) fn open_caches(&mut self, settings: &Settings) -> Result<(), CacheError> {
        let given: usize = settings.caches.iter().filter_map(|(_, budget)| *budget).sum();
        let others = settings.caches.iter().filter(|(_, budget)| budget.is_none()).count();
        let part = self.config.topics.max_cache_bytes.saturating_sub(given) / others.max(1);
        for (pattern, budget) in &settings.caches {
            self.cache(pattern, budget.unwrap_or(part))?;
        }
        Ok(())
    }
}

impl Config {
    /// What caches may hold: a quarter of what arrives.
    pub(crate) const fn cache_bytes(&self) -> usize {
        self.incoming_bytes() / 4
    }
}
