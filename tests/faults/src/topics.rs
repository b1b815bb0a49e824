//! What is published and subscribed to in a run.

use std::time::Duration;

use glue_endpoint::{History, PublisherOptions, SubscribeOptions, Wish};

/// A topic, and what is expected of it.
#[derive(Clone, Copy, Debug)]
pub struct Topic {
    /// Its name.
    pub name: &'static str,
    /// How long its messages live.
    pub expiry: Duration,
    /// The time between two messages of a publisher.
    pub every: Duration,
    /// Its publishers keep what they published, and subscribers ask for it.
    pub history: bool,
    /// A cache keeps it, for when its publisher is gone. The publisher has a history as well: who meets it later than others
    /// would else depend on the cache's being in reach just then, as a hole is waited for 3 s and no longer.
    pub cached: bool,
}

impl Topic {
    /// All of a run. The rates are small: what is tested is what becomes of each message, and five hosts share two cores.
    pub const ALL: [Self; 4] = [
        Self { name: "stored", expiry: HOUR, every: Duration::from_millis(200), history: true, cached: false },
        Self { name: "live", expiry: HOUR, every: Duration::from_millis(100), history: false, cached: false },
        Self { name: "brief", expiry: BRIEF, every: Duration::from_millis(200), history: false, cached: false },
        Self { name: "cached", expiry: HOUR, every: Duration::from_millis(300), history: true, cached: true },
    ];

    /// The topic of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|topic| topic.name == name)
    }

    /// How it is published, if its messages live for `expiry`.
    #[must_use]
    pub fn publisher_options(&self) -> PublisherOptions {
        // Ten minutes of it take about 1 MiB.
        let history = if self.history { History::All { max_bytes: 8 << 20 } } else { History::None };
        PublisherOptions::new().history(history)
    }

    /// How it is subscribed to.
    #[must_use]
    pub fn subscribe_options(&self) -> SubscribeOptions {
        let wish = if self.history { Wish::All } else { Wish::None };
        SubscribeOptions::new().history(wish)
    }
}

/// The type of all topics.
pub const TYPE: &str = "numbered";
/// Longer than a run, even one that somebody stops for a while.
const HOUR: Duration = Duration::from_secs(3_600);
/// Shorter than most faults, so that some expire; longer than a loaded machine's pauses.
const BRIEF: Duration = Duration::from_secs(3);
