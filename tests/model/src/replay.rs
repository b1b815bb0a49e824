//! From real machines to states: a state is what led to it.

use std::any::type_name;
use std::fmt::{self, Write};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::marker::PhantomData;
use std::time::{Duration, Instant};

use stateright::{Checker, HasDiscoveries, Model, Property};

use crate::{Choice, Plan};

/// Some nodes, what is under way between them, and what the checker notes of them.
pub trait World: Sized + 'static {
    /// What holds in each state, at most [`MOST`]. A bit of [`Verdict::broken`] each.
    const PROMISES: &'static [&'static str];
    /// What is seen in some state, at most [`MOST`]. A bit of [`Verdict::seen`] each.
    const SIGHTS: &'static [&'static str];
    /// What is so a while after the faults have ended, whatever was before.
    const RECOVERY: &'static str;

    /// The beginning.
    fn begin(plan: &Plan) -> Self;
    /// What may happen next, always in the same order.
    fn choices(&self, out: &mut Vec<Choice>);
    /// Lets it happen.
    fn choose(&mut self, choice: Choice);
    /// Writes down all that what happens later depends on.
    fn describe(&self, out: &mut String);
    /// What was noted until now.
    fn verdict(&self) -> Verdict;
    /// Runs on without faults, and says whether [`World::RECOVERY`] came.
    fn recovers(self) -> bool;
}

/// What was noted on the way to a state, a bit for each promise and each sight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Verdict {
    /// Promises that were broken.
    pub broken: u32,
    /// Sights that were seen.
    pub seen: u32,
}

impl Verdict {
    /// Notes whether a promise was kept.
    pub fn expect(&mut self, promise: usize, kept: bool) {
        self.broken |= u32::from(!kept) << promise;
    }

    /// Notes a sight.
    pub fn see(&mut self, sight: usize, seen: bool) {
        self.seen |= u32::from(seen) << sight;
    }
}

/// A state.
#[derive(Clone, Debug)]
pub struct Moment {
    path: Vec<Choice>,
    next: Vec<Choice>,
    print: u64,
    verdict: Verdict,
}

/// What was seen on the way does not tell states apart: it changes nothing.
impl Hash for Moment {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.print, self.verdict.broken).hash(state);
    }
}

impl PartialEq for Moment {
    fn eq(&self, other: &Self) -> bool {
        (self.print, self.verdict.broken) == (other.print, other.verdict.broken)
    }
}

/// A world as stateright wants it.
#[derive(Debug)]
pub struct Replay<W> {
    plan: Plan,
    world: PhantomData<fn() -> W>,
}

impl<W: World> Replay<W> {
    /// All that may happen within a plan.
    #[must_use]
    pub const fn new(plan: Plan) -> Self {
        Self { plan, world: PhantomData }
    }

    fn world(&self, path: &[Choice]) -> W {
        let mut world = W::begin(&self.plan);
        path.iter().for_each(|choice| world.choose(*choice));
        world
    }

    fn moment(&self, path: Vec<Choice>) -> Moment {
        let world = self.world(&path);
        let (mut next, mut text) = (Vec::new(), String::with_capacity(TEXT_BYTES));
        world.choices(&mut next);
        world.describe(&mut text);
        Moment { path, next, print: print(&text), verdict: world.verdict() }
    }

    fn keeps<const N: u32>(&self, moment: &Moment) -> bool {
        moment.verdict.broken & (1 << N) == 0
    }

    fn sees<const N: u32>(&self, moment: &Moment) -> bool {
        moment.verdict.seen & (1 << N) != 0
    }

    fn recovers(&self, moment: &Moment) -> bool {
        self.world(&moment.path).recovers()
    }
}

impl<W: World> Model for Replay<W> {
    type State = Moment;
    type Action = Choice;

    fn init_states(&self) -> Vec<Moment> {
        vec![self.moment(Vec::new())]
    }

    fn actions(&self, moment: &Moment, actions: &mut Vec<Choice>) {
        actions.extend_from_slice(&moment.next);
    }

    fn next_state(&self, last: &Moment, choice: Choice) -> Option<Moment> {
        let path = last.path.iter().copied().chain([choice]).collect();
        Some(self.moment(path))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let keeps: [fn(&Self, &Moment) -> bool; MOST] = [
            Self::keeps::<0>,
            Self::keeps::<1>,
            Self::keeps::<2>,
            Self::keeps::<3>,
            Self::keeps::<4>,
            Self::keeps::<5>,
            Self::keeps::<6>,
            Self::keeps::<7>,
        ];
        let sees: [fn(&Self, &Moment) -> bool; MOST] = [
            Self::sees::<0>,
            Self::sees::<1>,
            Self::sees::<2>,
            Self::sees::<3>,
            Self::sees::<4>,
            Self::sees::<5>,
            Self::sees::<6>,
            Self::sees::<7>,
        ];
        let promises = W::PROMISES.iter().zip(keeps).map(|(name, keeps)| Property::always(name, keeps));
        let sights = W::SIGHTS.iter().zip(sees).map(|(name, sees)| Property::sometimes(name, sees));
        promises.chain([Property::always(W::RECOVERY, Self::recovers)]).chain(sights).collect()
    }
}

/// How far a check has come.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Different states.
    pub states: usize,
    /// Choices that were tried.
    pub choices: usize,
    /// Choices on the longest way.
    pub depth: usize,
    /// How long it has taken.
    pub elapsed: Duration,
}

/// A promise that was not kept, and the way there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The promise.
    pub promise: &'static str,
    /// What happened.
    pub path: Vec<Choice>,
}

/// What a check has found.
#[derive(Clone, Debug)]
pub struct Report {
    /// How far it went.
    pub progress: Progress,
    /// Promises that were broken, in the order of their names.
    pub broken: Vec<Broken>,
    /// What should have been seen and was not.
    pub unseen: Vec<&'static str>,
}

impl Report {
    /// Whether all was kept and seen.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.broken.is_empty() && self.unseen.is_empty()
    }

    /// Whether this promise was broken.
    #[must_use]
    pub fn breaks(&self, promise: &str) -> bool {
        self.broken.iter().any(|broken| broken.promise == promise)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Progress { states, choices, depth, elapsed } = self.progress;
        let seconds = elapsed.as_secs_f64();
        write!(f, "{states} states, {choices} choices, {depth} deep, {seconds:.1} s, none left")?;
        for broken in &self.broken {
            write!(f, "\nbroken: {}\n  by: {:?}", broken.promise, broken.path)?;
        }
        self.unseen.iter().try_for_each(|sight| write!(f, "\nnever seen: {sight}"))
    }
}

/// Goes through all states of a plan. `tell` hears every few seconds how far it has come.
///
/// # Panics
/// If a machine panics, with what it says.
pub fn check<W: World>(plan: Plan, threads: usize, mut tell: impl FnMut(Progress)) -> Report {
    assert!(W::PROMISES.len() <= MOST && W::SIGHTS.len() <= MOST, "{} has too many promises", type_name::<W>());
    let begin = Instant::now();
    let end = plan.until.map_or(HasDiscoveries::All, |promise| HasDiscoveries::AnyOf([promise].into()));
    let mut checker = Replay::<W>::new(plan).checker().threads(threads).finish_when(end).spawn_bfs();
    let handles = checker.handles();
    let progress = || Progress {
        states: checker.unique_state_count(),
        choices: checker.state_count(),
        depth: checker.max_depth(),
        elapsed: begin.elapsed(),
    };
    let mut told = begin;
    while handles.iter().any(|handle| !handle.is_finished()) {
        std::thread::park_timeout(LOOK);
        if told.elapsed() > TELL {
            told = Instant::now();
            tell(progress());
        }
    }
    for handle in handles {
        assert!(handle.join().is_ok(), "a machine panicked in {}", type_name::<W>());
    }
    let found = checker.discoveries();
    let promises = W::PROMISES.iter().copied().chain([W::RECOVERY]);
    let broken = promises.filter_map(|promise| {
        let path = found.get(promise)?.last_state().path.clone();
        Some(Broken { promise, path })
    });
    let unseen = W::SIGHTS.iter().copied().filter(|sight| !found.contains_key(sight));
    Report { broken: broken.collect(), unseen: unseen.collect(), progress: progress() }
}

/// The hash of a description, without what only counts.
fn print(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    let mut rest = text;
    while let Some(at) = rest.find(COUNTERS) {
        let (before, counters) = rest.split_at(at);
        before.hash(&mut hasher);
        rest = counters.get(end_of_braces(counters)..).unwrap_or_default();
    }
    rest.hash(&mut hasher);
    hasher.finish()
}

/// Where the first group of braces ends.
fn end_of_braces(text: &str) -> usize {
    let mut depth = 0_u32;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' if depth <= 1 => return at + 1,
            b'}' => depth -= 1,
            _ => {}
        }
    }
    text.len()
}

/// Writes down a part of a world.
pub(crate) fn put(out: &mut String, part: &impl fmt::Debug) {
    let _ = write!(out, "{part:?};");
}

/// Promises and sights of a world, each.
pub const MOST: usize = 8;

/// How the counters of all machines begin.
const COUNTERS: &str = "Stats {";

/// What three nodes take in writing, about.
const TEXT_BYTES: usize = 16 << 10;

const LOOK: Duration = Duration::from_millis(2);
const TELL: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_tell_no_states_apart_and_all_else_does() {
        let [a, b, c] = [
            "x: 1, s: Stats { n: 1, m: M { o: 2 } }, y: 2",
            "x: 1, s: Stats { n: 7 }, y: 2",
            "x: 1, s: Stats { n: 1 }, y: 3",
        ];
        assert_eq!(print(a), print(b));
        assert_ne!(print(a), print(c));
    }
}
