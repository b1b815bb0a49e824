//! One scenario, many seeds.

use std::any::Any;
use std::env;
use std::iter::Enumerate;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// The seeds 0, 1, 2 and so on: `default_count` of them, or as many as `GLUE_SEEDS` says, or those from `a` to `b - 1` if
/// it is `a..b`. `GLUE_SEED` leaves only the one that it names, in decimal or `0x` hexadecimal.
///
/// # Panics
///
/// If one of the two variables is set and is not a number.
#[must_use]
pub fn seeds(default_count: u64) -> Seeds {
    let variable = |name| env::var(name).ok();
    parse(default_count, variable("GLUE_SEED").as_deref(), variable("GLUE_SEEDS").as_deref())
}

/// Which seeds [`check`] runs; made by [`seeds`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seeds {
    only: Option<u64>,
    usual: Range<u64>,
    file: Option<PathBuf>,
}

impl Seeds {
    /// Runs seeds that failed once before all others. The file has lines of a check's name and a seed; empty lines and
    /// those with `#` in front say nothing. `concat!(env!("CARGO_MANIFEST_DIR"), "/seeds.txt")` is a good place.
    #[must_use]
    pub fn kept_in(mut self, file: impl Into<PathBuf>) -> Self {
        self.file = Some(file.into());
        self
    }

    /// The seeds of the check `name`, in order.
    ///
    /// # Panics
    ///
    /// If the file can not be read, or a line of it is malformed.
    pub fn of(&self, name: &str) -> impl Iterator<Item = u64> + Send + use<> {
        let kept = match (&self.file, self.only) {
            (Some(file), None) => read(file, name),
            _ => Vec::new(),
        };
        let usual = if self.only.is_some() { 0..0 } else { self.usual.clone() };
        let rest = usual.filter({
            let kept = kept.clone();
            move |seed| !kept.contains(seed)
        });
        self.only.into_iter().chain(kept).chain(rest)
    }
}

/// Runs `scenario` with each seed, on all cores.
///
/// When it panics, prints the line that repeats it, and panics in the same way. Of several failures it is the one that
/// comes first in the order of the seeds. `name` is the test's, as `cargo test` wants it, or begins with
/// `--example`, as `cargo run` wants it.
///
/// # Panics
///
/// If `scenario` does.
pub fn check(name: &str, seeds: Seeds, scenario: impl Fn(u64) + Sync) {
    if let Some(Failure { seed, panic, .. }) = first_failure(name, seeds, scenario) {
        eprintln!("{}", repeat(seed, env::var("CARGO_PKG_NAME").ok().as_deref(), name));
        resume_unwind(panic);
    }
}

/// Runs `scenario` with each seed, on all cores, and gives the first that fails in the order of the seeds.
pub(crate) fn first_failure(name: &str, seeds: Seeds, scenario: impl Fn(u64) + Sync) -> Option<Failure> {
    let progress = Mutex::new(Progress { seeds: seeds.of(name).enumerate(), failure: None });
    let lock = || progress.lock().unwrap_or_else(PoisonError::into_inner);
    let work = || {
        loop {
            let Some((index, seed)) = lock().take() else { return };
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| scenario(seed))) {
                lock().fail(Failure { index, seed, panic });
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
        work();
    });
    lock().failure.take()
}

/// What the workers share.
struct Progress<S> {
    seeds: Enumerate<S>,
    failure: Option<Failure>,
}

/// A seed that failed.
pub(crate) struct Failure {
    index: usize,
    pub(crate) seed: u64,
    pub(crate) panic: Box<dyn Any + Send>,
}

impl<S: Iterator<Item = u64>> Progress<S> {
    /// After a failure there is nothing more; what comes before it is under way, and finishes.
    fn take(&mut self) -> Option<(usize, u64)> {
        if self.failure.is_some() { None } else { self.seeds.next() }
    }

    fn fail(&mut self, failure: Failure) {
        if self.failure.as_ref().is_none_or(|first| failure.index < first.index) {
            self.failure = Some(failure);
        }
    }
}

/// The line that repeats a seed.
pub(crate) fn repeat(seed: u64, package: Option<&str>, name: &str) -> String {
    let package = package.map_or_else(String::new, |package| format!(" -p {package}"));
    format!("GLUE_SEED={seed} cargo {}{package} {name}", verb(name))
}

/// An example is run, a test is tested.
pub(crate) fn verb(name: &str) -> &'static str {
    if name.starts_with("--example ") { "run" } else { "test" }
}

fn read(file: &Path, name: &str) -> Vec<u64> {
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("seeds in {}: {error}", file.display()));
    kept(&text, name)
        .unwrap_or_else(|line| panic!("{}: line {line}: the name of a check and a seed expected", file.display()))
}

/// The seeds of `name`, or the number of the first malformed line.
fn kept(text: &str, name: &str) -> Result<Vec<u64>, usize> {
    let mut kept = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut words = line.split_whitespace();
        let (Some(of), Some(seed), None) = (words.next(), words.next(), words.next()) else { return Err(number) };
        let seed = number_of(seed).ok_or(number)?;
        if of == name {
            kept.push(seed);
        }
    }
    Ok(kept)
}

fn parse(default_count: u64, only: Option<&str>, usual: Option<&str>) -> Seeds {
    let number = |name: &str, text: &str| {
        number_of(text).unwrap_or_else(|| panic!("{name} is {text:?}; a whole number from 0 to 2^64 - 1 expected"))
    };
    let usual = usual.map_or(0..default_count, |text| match text.split_once("..") {
        Some((first, end)) => number("GLUE_SEEDS", first)..number("GLUE_SEEDS", end),
        None => 0..number("GLUE_SEEDS", text),
    });
    Seeds { only: only.map(|text| number("GLUE_SEED", text)), usual, file: None }
}

fn number_of(text: &str) -> Option<u64> {
    text.strip_prefix("0x").map_or_else(|| text.parse(), |hex| u64::from_str_radix(hex, 16)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(seeds: &Seeds) -> Vec<u64> {
        seeds.of("a_test").collect()
    }

    #[test]
    fn variables_choose_the_seeds() {
        assert_eq!(numbers(&parse(3, None, None)), [0, 1, 2]);
        assert_eq!(numbers(&parse(3, None, Some("5"))), [0, 1, 2, 3, 4]);
        assert_eq!(numbers(&parse(3, None, Some("5..8"))), [5, 6, 7]);
        assert_eq!(numbers(&parse(3, Some("77"), Some("5"))), [77]);
        assert_eq!(numbers(&parse(3, Some("0xff"), None)), [255]);
    }

    #[test]
    #[should_panic(expected = "GLUE_SEED is \"abc\"; a whole number")]
    fn a_malformed_variable_is_named() {
        let _ = parse(3, Some("abc"), None);
    }

    #[test]
    fn kept_seeds_come_first_and_once() {
        let text = "# found by the sweep\na_test 2\n\nother 9\n  a_test\t0x10\n";
        assert_eq!(kept(text, "a_test"), Ok(vec![2, 16]));
        assert_eq!(kept("a_test 1\na_test one", "a_test"), Err(2));
        assert_eq!(kept("a_test 1 2", "a_test"), Err(1));

        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/seeds.txt");
        let seeds = |only| parse(4, only, None).kept_in(&file).of("kept_seeds").collect::<Vec<_>>();
        assert_eq!(seeds(None), [2, 16, 0, 1, 3]);
        assert_eq!(seeds(Some("1")), [1]);
    }

    #[test]
    fn every_seed_runs_once() {
        let ran = Mutex::new(Vec::new());
        check("a_test", parse(100, None, None), |seed| ran.lock().unwrap().push(seed));
        let mut ran = ran.into_inner().unwrap();
        ran.sort_unstable();
        assert_eq!(ran, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn the_first_failing_seed_is_the_one_reported() {
        for _ in 0..20 {
            let failed = catch_unwind(|| {
                check("a_test", parse(100, None, None), |seed| assert!(seed < 30 || seed % 2 == 0, "seed {seed}"));
            });
            let message = failed.expect_err("seed 31 fails");
            assert_eq!(message.downcast_ref::<String>().map(String::as_str), Some("seed 31"));
        }
    }

    #[test]
    fn the_line_to_repeat_a_failure_names_seed_package_and_test() {
        assert_eq!(repeat(31, Some("glue-stack"), "heals"), "GLUE_SEED=31 cargo test -p glue-stack heals");
    }
}
