//! Fuzz targets: functions that take any bytes and panic if glue does what it must not.
//!
//! A target's body is an ordinary function. `cargo test -p glue-fuzz` runs each over its beginnings, over what once failed
//! (`corpus/TARGET/`), and over [mutations](mutate()) of both; `cargo run --release -p glue-fuzz -- TARGET CASES` as often as one
//! wants. A failure prints the seed of its case, and what it was; put the bytes into `corpus/TARGET/`, where they stay.

#![expect(clippy::missing_panics_doc, clippy::indexing_slicing, reason = "its users are tests: it panics to fail them")]

mod decoders;
mod exchange;
mod mutate;
mod states;

use std::path::Path;

use glue_net::Rng;
pub use mutate::mutate;

/// Something to be fuzzed.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// What it is called.
    pub name: &'static str,
    /// Takes any bytes.
    pub run: fn(&[u8]),
    /// What honest peers and people say, to begin from.
    pub beginnings: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "reader", run: decoders::reader, beginnings: decoders::reader_beginnings },
    Target { name: "native", run: decoders::native, beginnings: decoders::native_beginnings },
    Target { name: "proof", run: decoders::proof, beginnings: decoders::proof_beginnings },
    Target { name: "member", run: decoders::member, beginnings: decoders::member_beginnings },
    Target { name: "container", run: decoders::container, beginnings: decoders::container_beginnings },
    Target { name: "message", run: decoders::message, beginnings: decoders::message_beginnings },
    Target { name: "filter", run: decoders::filter, beginnings: decoders::filter_beginnings },
    Target { name: "trust", run: decoders::trust, beginnings: decoders::trust_beginnings },
    Target { name: "settings", run: decoders::settings, beginnings: decoders::settings_beginnings },
    Target { name: "network_key", run: decoders::network_key, beginnings: decoders::network_key_beginnings },
    Target { name: "joiner", run: states::joiner, beginnings: states::joiner_beginnings },
    Target { name: "topics", run: states::topics, beginnings: states::topics_beginnings },
    Target { name: "discovery", run: states::discovery, beginnings: states::discovery_beginnings },
    Target { name: "exchange", run: exchange::clear, beginnings: exchange::beginnings },
    Target { name: "private_exchange", run: exchange::private, beginnings: exchange::beginnings },
];

impl Target {
    /// Its beginnings, and what once failed.
    #[must_use]
    pub fn corpus(&self) -> Vec<Vec<u8>> {
        let mut all = (self.beginnings)();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(self.name);
        let mut files: Vec<_> =
            std::fs::read_dir(folder).into_iter().flatten().flatten().map(|file| file.path()).collect();
        files.sort();
        all.extend(files.iter().map(|file| std::fs::read(file).expect("a readable file")));
        all
    }

    /// The bytes of a case: the same for the same seed, as long as the corpus is the same.
    #[must_use]
    pub fn case(corpus: &[Vec<u8>], seed: u64) -> Vec<u8> {
        mutate(corpus, &mut Rng::new(seed))
    }
}
