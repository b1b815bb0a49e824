//! Every target over its corpus, and over changes of it: `GLUE_FUZZ_CASES` says how many (default 3,000, 300 of an exchange).

use std::collections::BTreeSet;
use std::panic::{self, AssertUnwindSafe};

use glue_fuzz::{Kind, TARGETS, Target};

fn cases(target: &Target) -> u64 {
    let default = if target.kind == Kind::Exchange { 300 } else { 3_000 };
    std::env::var("GLUE_FUZZ_CASES").map_or(default, |text| text.parse().expect("GLUE_FUZZ_CASES is a number"))
}

/// No bytes do harm, and enough come through that what lies behind is tested as well.
fn check(name: &str) {
    let target = Target::find(name).expect("a target");
    let beginnings = (target.beginnings)();
    let mut through = beginnings.iter().filter(|bytes| (target.run)(bytes)).count();
    assert!(2 * through >= beginnings.len(), "{name}: most of what it begins from is refused");
    let files = target.files();
    for file in &files {
        let bytes = std::fs::read(file).expect("a readable file");
        let result = panic::catch_unwind(AssertUnwindSafe(|| (target.run)(&bytes)));
        through += usize::from(result.unwrap_or_else(|_| panic!("{name} fails with {}", file.display())));
    }
    assert!(files.len() >= LEAST_FILES, "{name}: there is no corpus, or only {} files", files.len());
    assert!(through >= LEAST_THROUGH, "{name}: only {through} come through");
    let corpus = target.corpus();
    for seed in 0..cases(target) {
        let case = Target::case(&corpus, seed);
        let result = panic::catch_unwind(AssertUnwindSafe(|| (target.run)(&case)));
        assert!(result.is_ok(), "{name} fails: cargo run -p glue-fuzz -- {name} 1 {seed}");
    }
}

/// A test for each target, so that they run side by side and a failure has its name.
macro_rules! each {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            check(stringify!($name));
        })*

        #[test]
        fn every_target_has_its_test() {
            let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(names, [$(stringify!($name)),*]);
        }
    };
}

each! {
    reader native proof member container message endpoint_id filter trust settings network_key envelope tunnel
    gateway_frame demux_order demux_proxy demux_framing demux_file
    replay transport classic joiner topics discovery
    handshake insider exchange private_exchange
}

#[test]
fn cases_are_the_same_again_and_differ() {
    let corpus = TARGETS[1].corpus();
    assert_eq!(Target::case(&corpus, 5), Target::case(&corpus, 5));
    let different: BTreeSet<_> = (0..100).map(|seed| Target::case(&corpus, seed)).collect();
    assert!(different.len() > 90, "{}", different.len());
}

#[test]
fn the_corpus_is_small() {
    let bytes: u64 = TARGETS.iter().flat_map(Target::files).map(|file| file.metadata().expect("a file").len()).sum();
    assert!(bytes < 1 << 20, "{bytes} bytes");
}

/// Of each corpus: libFuzzer keeps more than that of the smallest decoder.
const LEAST_FILES: usize = 3;
/// Of what it begins from and of the corpus. Of a handshake these are both messages: nobody without the keys makes others.
const LEAST_THROUGH: usize = 2;
