//! All states within the bounds of the tests keep all promises. Larger bounds: `cargo run --release -p glue-model`.

use glue_model::{CHECKS, Plan};

/// Goes through a check, and wants as many states as there were when its bounds were chosen, about: fewer would mean that
/// something does not happen any more.
#[expect(clippy::print_stdout, reason = "how many states there were, and how long it took")]
fn exhaust(name: &str, states_at_least: usize) {
    let Some(check) = CHECKS.iter().find(|check| check.name == name) else { panic!("there is no check {name}") };
    let report = (check.run)(Plan::new(check.bounds), 1, &mut |_| {});
    println!("{name}: {report}");
    assert!(report.is_clean(), "{name}: {report}");
    assert!(report.progress.states >= states_at_least, "{name}: {report}");
}

#[test]
fn discovery() {
    exhaust("discovery", 50_000);
}

#[test]
fn transport() {
    exhaust("transport", 30_000);
}

#[test]
fn window() {
    exhaust("window", 30_000);
}

#[test]
fn caches() {
    exhaust("caches", 4_000);
}

#[test]
fn groups() {
    exhaust("groups", 50_000);
}

#[test]
fn chain() {
    exhaust("chain", 4_000);
}

#[test]
fn late() {
    exhaust("late", 80_000);
}
