//! Whom no fault touches goes on as if there were none: who is slow, dead, cut off or hostile does not harm the others.

use std::collections::BTreeMap;
use std::time::Duration;

use glue_net::Instant;
use glue_sim::{Fault, Impairment, NodeId, Scenario};

use crate::books::{Books, Reader, Stream};
use crate::scene::{ms, s};

#[derive(Debug)]
pub(super) struct Reach {
    scenario: Scenario,
    looked: Instant,
    /// When a fault last touched a pair.
    touched: BTreeMap<(usize, usize), Instant>,
    patience: Duration,
    pub(super) slowest: Duration,
}

impl Reach {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let patience = patience(scenario);
        Self {
            scenario: scenario.clone(),
            looked: Instant::ZERO,
            touched: BTreeMap::new(),
            patience,
            slowest: Duration::ZERO,
        }
    }

    /// How long a pair has to recover, and a message to arrive.
    pub(super) const fn patience(&self) -> Duration {
        self.patience
    }

    /// Notes whom the faults have touched since the last time.
    pub(super) fn note_faults(&mut self, now: Instant) {
        let (from, to) = (self.looked.since(Instant::ZERO), now.since(Instant::ZERO));
        self.looked = now;
        let faults = self.scenario.steps.iter().filter(|step| step.at <= to && step.end() >= from);
        let faults: Vec<&Fault> = faults.map(|step| &step.fault).filter(|fault| !is_harmless(fault)).collect();
        let node = |index: usize| NodeId::new(u32::try_from(index).expect("small"));
        let count = self.scenario.nodes as usize;
        for (a, b) in (0..count).flat_map(|a| (0..count).map(move |b| (a, b))) {
            if faults.iter().any(|fault| fault.touches(self.scenario.nodes, node(a), node(b))) {
                self.touched.insert((a, b), now);
            }
        }
    }

    /// The last message of a stream that must be there by now.
    pub(super) fn due(&self, now: Instant, books: &Books, stream: &Stream) -> u64 {
        books.count_until(stream, now - self.patience)
    }

    /// A pair that no fault has touched for so long has all that is older, from the number on that was promised first.
    pub(super) fn check(
        &mut self,
        now: Instant,
        pair: (usize, usize),
        books: &Books,
        (key, from): (&(Reader, Stream), u64),
    ) {
        let calm_since = self.touched.get(&pair).copied().unwrap_or(Instant::ZERO);
        if now.since(calm_since) < self.patience {
            return;
        }
        let (last, due) = (books.last(key.0, &key.1), self.due(now, books, &key.1));
        if let Some(at) = books.published_at(&key.1, last + 1) {
            self.slowest = self.slowest.max(now.since(at));
        }
        assert!(
            last >= due || due < from,
            "{pair:?}, whom nothing touched since {calm_since:?}: {last} of {due} of {:?} came",
            key.1
        );
    }
}

/// Clocks that are wrong bear on nobody.
pub(super) const fn is_harmless(fault: &Fault) -> bool {
    matches!(fault, Fault::Drift(..) | Fault::WallJump(..))
}

/// By what is lost all the time: what needs several datagrams in a row, each way, takes long if half of them are lost.
fn patience(scenario: &Scenario) -> Duration {
    let lost = scenario.usual_link().loss;
    let way: Duration =
        scenario.link.iter().filter_map(|it| if let Impairment::Latency(time) = it { Some(*time) } else { None }).sum();
    let base = if lost <= 0.05 {
        s(8)
    } else if lost <= 0.2 {
        s(12)
    } else {
        s(25)
    };
    base + way * 10 + ms(100)
}
