//! Every target over its corpus, and over changes of it: `GLUE_FUZZ_CASES` says how many (default 300 of an exchange, 3,000 of the
//! others).

use std::panic::{self, AssertUnwindSafe};

use glue_fuzz::{TARGETS, Target};

fn cases(target: &Target) -> u64 {
    let default = if target.name.ends_with("exchange") { 300 } else { 3_000 };
    std::env::var("GLUE_FUZZ_CASES").map_or(default, |text| text.parse().expect("GLUE_FUZZ_CASES is a number"))
}

#[test]
fn no_bytes_do_harm() {
    for target in TARGETS {
        let corpus = target.corpus();
        assert!(!corpus.is_empty(), "{}", target.name);
        corpus.iter().for_each(|bytes| (target.run)(bytes));
        for seed in 0..cases(target) {
            let case = Target::case(&corpus, seed);
            let result = panic::catch_unwind(AssertUnwindSafe(|| (target.run)(&case)));
            assert!(result.is_ok(), "{} fails: cargo run -p glue-fuzz -- {} 1 {seed}", target.name, target.name);
        }
    }
}

#[test]
fn cases_are_the_same_again_and_differ() {
    let corpus = TARGETS[1].corpus();
    assert_eq!(Target::case(&corpus, 5), Target::case(&corpus, 5));
    let different: std::collections::BTreeSet<_> = (0..100).map(|seed| Target::case(&corpus, seed)).collect();
    assert!(different.len() > 90, "{}", different.len());
}
