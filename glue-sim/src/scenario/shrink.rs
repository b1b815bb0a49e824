//! The smallest scenario that still fails.

use std::time::Duration;

use super::{Scenario, Step};
use crate::NodeId;

/// Makes a failing scenario smaller for as long as it fails: fewer steps, fewer nodes, better links, less time. Asks `fails` at
/// most `tries` times, and gives the smallest that failed.
///
/// It goes by ever smaller parts, as delta debugging does (A. Zeller, R. Hildebrandt, "Simplifying and isolating
/// failure-inducing input", 2002), and begins again when something was gained.
pub fn shrink(scenario: &Scenario, tries: u32, fails: impl FnMut(&Scenario) -> bool) -> Scenario {
    let mut search = Search { best: scenario.clone(), tries, fails };
    loop {
        let gained = search.fewer_steps()
            | search.fewer_nodes()
            | search.better_links()
            | search.less_time()
            | search.shorter_steps()
            | search.fewer_settings();
        if !gained || search.tries == 0 {
            return search.best;
        }
    }
}

struct Search<F> {
    best: Scenario,
    tries: u32,
    fails: F,
}

impl<F: FnMut(&Scenario) -> bool> Search<F> {
    /// Keeps a candidate if it fails. What is no smaller is not tried.
    fn keep(&mut self, candidate: Scenario) -> bool {
        if self.tries == 0 || candidate == self.best {
            return false;
        }
        self.tries -= 1;
        let failed = (self.fails)(&candidate);
        if failed {
            self.best = candidate;
        }
        failed
    }

    fn fewer_steps(&mut self) -> bool {
        let mut gained = false;
        let mut part = self.best.steps.len();
        while part > 0 {
            let mut from = 0;
            while from < self.best.steps.len() {
                let mut candidate = self.best.clone();
                candidate.steps.drain(from..(from + part).min(self.best.steps.len()));
                if self.keep(candidate) {
                    gained = true;
                } else {
                    from += part;
                }
            }
            part /= 2;
        }
        gained
    }

    /// From the last one on: those with the low numbers may have a role.
    fn fewer_nodes(&mut self) -> bool {
        let mut gained = false;
        for node in (0..self.best.nodes).rev() {
            if self.best.nodes > 1 {
                let candidate = without(&self.best, node);
                gained |= self.keep(candidate);
            }
        }
        gained
    }

    fn better_links(&mut self) -> bool {
        let mut gained = false;
        for at in (0..self.best.link.len()).rev() {
            let mut candidate = self.best.clone();
            candidate.link.remove(at);
            gained |= self.keep(candidate);
        }
        gained
    }

    fn less_time(&mut self) -> bool {
        let mut gained = false;
        for (numerator, denominator) in [(1, 4), (1, 2), (3, 4), (9, 10)] {
            let span = rounded(self.best.span * numerator / denominator);
            let mut candidate = self.best.clone();
            candidate.span = span;
            candidate.steps.retain(|step| step.at < span);
            for step in &mut candidate.steps {
                step.last = step.last.min(span - step.at);
            }
            gained |= !span.is_zero() && self.keep(candidate);
        }
        gained
    }

    fn shorter_steps(&mut self) -> bool {
        let mut gained = false;
        for at in 0..self.best.steps.len() {
            let mut candidate = self.best.clone();
            let Some(step) = candidate.steps.get_mut(at) else { continue };
            step.last = rounded(step.last / 2);
            gained |= !step.last.is_zero() && self.keep(candidate);
        }
        gained
    }

    fn fewer_settings(&mut self) -> bool {
        let mut gained = false;
        for name in self.best.settings.keys().cloned().collect::<Vec<_>>() {
            let mut candidate = self.best.clone();
            candidate.settings.remove(&name);
            gained |= self.keep(candidate);
        }
        gained
    }
}

/// Without a node, and what names it; those after it have the number before theirs.
fn without(scenario: &Scenario, gone: u32) -> Scenario {
    let name = |node: NodeId| {
        let index = u32::try_from(node.index()).ok()?;
        (index != gone).then(|| NodeId::new(if index > gone { index - 1 } else { index }))
    };
    let renamed = |step: &Step| Some(Step { fault: step.fault.renamed(name)?, ..*step });
    Scenario {
        nodes: scenario.nodes - 1,
        steps: scenario.steps.iter().filter_map(renamed).collect(),
        ..scenario.clone()
    }
}

/// Whole milliseconds are easier to read.
fn rounded(time: Duration) -> Duration {
    Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}
