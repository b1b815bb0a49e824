//! Which clashes were reported, so that an announcement each second does not become an event each second.

use std::collections::BTreeMap;

use glue_net::{EndpointId, Instant};

use crate::Config;
use crate::event::ClashKind;

#[derive(Debug, Default)]
pub(crate) struct Clashes {
    reported: BTreeMap<(ClashKind, EndpointId), Instant>,
}

/// What to do with a clash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// Tell it.
    Tell,
    /// It was told lately.
    Told,
    /// Too many others were told lately.
    Full,
}

impl Clashes {
    /// Notes a clash with the endpoint `id`, which was refused.
    pub(crate) fn note(&mut self, now: Instant, kind: ClashKind, id: EndpointId, config: &Config) -> Report {
        if self.reported.get(&(kind, id)).is_some_and(|at| *at + config.clash_interval > now) {
            return Report::Told;
        }
        if self.reported.len() >= config.max_clashes {
            self.reported.retain(|_, at| *at + config.clash_interval > now);
        }
        if self.reported.len() >= config.max_clashes {
            return Report::Full;
        }
        self.reported.insert((kind, id), now);
        Report::Tell
    }
}
