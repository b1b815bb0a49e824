//! Many scenarios; the smallest of those that fail.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::env;
use std::panic::{self, AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Once;

use super::{Scenario, shrink};
use crate::Seeds;
use crate::check::{Failure, first_failure, repeat, verb};

/// Runs a scenario for each seed, on all cores, as [`check`](crate::check()) does. `make` makes it of a seed, `run` panics if
/// something is not as it must be. Both must do the same whenever they are given the same.
///
/// When one fails it is made [smaller](shrink()), as long as it panics at the same place in the code. Then this prints the
/// smallest, a line that repeats it, and a line that repeats the seed. `GLUE_SCENARIO` set to what was printed runs that alone.
///
/// # Panics
///
/// If `run` does, or if `GLUE_SCENARIO` is set and is no scenario.
pub fn check_scenarios(
    name: &str,
    seeds: Seeds,
    make: impl Fn(u64) -> Scenario + Sync,
    run: impl Fn(&Scenario) + Sync,
) {
    if let Ok(text) = env::var("GLUE_SCENARIO") {
        let scenario: Scenario = text.parse().unwrap_or_else(|error| panic!("GLUE_SCENARIO is no scenario: {error}"));
        return run(&scenario);
    }
    if let Some(Found { text, panic }) = find(name, seeds, make, run) {
        eprintln!("{text}");
        resume_unwind(panic);
    }
}

/// A failure, and what is to be said of it.
pub(super) struct Found {
    pub(super) text: String,
    panic: Box<dyn Any + Send>,
}

pub(super) fn find(
    name: &str,
    seeds: Seeds,
    make: impl Fn(u64) -> Scenario + Sync,
    run: impl Fn(&Scenario) + Sync,
) -> Option<Found> {
    let Failure { seed, panic, .. } = first_failure(name, seeds, |seed| run(&make(seed)))?;
    let package = env::var("CARGO_PKG_NAME").ok();
    eprintln!("seed {seed} fails; looking for a smaller scenario, in {TRIES} runs at most");
    let scenario = make(seed);
    let found = match place_of(|| run(&scenario)) {
        None => "it does not fail again: the run depends on something else than the seed".to_owned(),
        Some(place) => {
            let small = shrink(&scenario, TRIES, |candidate| place_of(|| run(candidate)).as_ref() == Some(&place));
            report(&small, &place, package.as_deref(), name)
        }
    };
    Some(Found { text: format!("{found}\n{}", repeat(seed, package.as_deref(), name)), panic })
}

fn report(small: &Scenario, place: &str, package: Option<&str>, name: &str) -> String {
    let package = package.map_or_else(String::new, |package| format!(" -p {package}"));
    let line = small.line();
    format!(
        "{place}\nthe smallest scenario that fails there:\n\n{small}\nGLUE_SCENARIO='{line}' cargo {}{package} {name}",
        verb(name)
    )
}

/// Where in the code `run` panics, if it does; nothing is printed.
pub(super) fn place_of(run: impl FnOnce()) -> Option<String> {
    watch_panics();
    QUIET.set(true);
    let outcome = catch_unwind(AssertUnwindSafe(run));
    QUIET.set(false);
    let place = PLACE.take();
    outcome.is_err().then(|| place.unwrap_or_else(|| "somewhere".to_owned()))
}

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Has the place of each panic noted, by the thread that is [quiet](place_of); all else goes where it went before.
fn watch_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if QUIET.get() {
                let place = info.location().map(|at| format!("{}:{}", at.file(), at.line()));
                PLACE.with_borrow_mut(|kept| *kept = place);
            } else {
                before(info);
            }
        }));
    });
}

/// Runs to find a smaller scenario in: a minute or so, for scenarios of two minutes of virtual time.
const TRIES: u32 = 300;
