//! Fuzz targets: functions that take any bytes and panic if glue does what it must not.
//!
//! A target's body is an ordinary function. `cargo test -p glue-fuzz` runs each over its beginnings, over its corpus
//! (`corpus/TARGET/`: what reaches most of the code, and what once failed), and over [mutations](mutate()) of both;
//! `cargo run --release -p glue-fuzz -- TARGET CASES` as often as one wants, and `deep.sh` under libFuzzer, which sees what code
//! is reached. A failure prints how to repeat it; put its bytes into `corpus/TARGET/`, where they stay.

#![expect(clippy::missing_panics_doc, clippy::indexing_slicing, reason = "its users are tests: it panics to fail them")]

mod cargos;
mod decoders;
mod examples;
mod exchange;
mod insider;
mod mutate;
mod sealed;
mod session;
mod states;
mod strings;
mod texts;

use std::path::{Path, PathBuf};

use glue_net::Rng;
pub use mutate::mutate;

/// Something to be fuzzed.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// What it is called.
    pub name: &'static str,
    /// How much it does for each input.
    pub kind: Kind,
    /// Takes any bytes. Returns whether they came through: what is decoded was taken, or something was delivered, joined or met.
    pub run: fn(&[u8]) -> bool,
    /// What honest peers and people say, to begin from.
    pub beginnings: fn() -> Vec<Vec<u8>>,
}

/// How much a target does for each input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Reads it: about a microsecond.
    Decoder,
    /// Keeps state over parts of it: some ten microseconds.
    State,
    /// Cryptography, or two endpoints for seconds of their time: a millisecond.
    Exchange,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    decoder("reader", decoders::reader, decoders::reader_beginnings),
    decoder("native", decoders::native, decoders::native_beginnings),
    decoder("proof", decoders::proof, decoders::proof_beginnings),
    decoder("member", decoders::member, decoders::member_beginnings),
    decoder("container", decoders::container, decoders::container_beginnings),
    decoder("message", decoders::message, decoders::message_beginnings),
    decoder("endpoint_id", texts::endpoint_id, texts::endpoint_id_beginnings),
    decoder("filter", texts::filter, texts::filter_beginnings),
    decoder("trust", texts::trust, texts::trust_beginnings),
    decoder("settings", texts::settings, texts::settings_beginnings),
    decoder("network_key", texts::network_key, texts::network_key_beginnings),
    decoder("envelope", sealed::envelope, sealed::envelope_beginnings),
    decoder("tunnel", sealed::tunnel, sealed::tunnel_beginnings),
    decoder("gateway_frame", examples::gateway_frame, examples::gateway_frame_beginnings),
    decoder("demux_order", examples::demux_order, examples::demux_order_beginnings),
    decoder("demux_proxy", examples::demux_proxy, examples::demux_proxy_beginnings),
    decoder("demux_framing", examples::demux_framing, examples::demux_framing_beginnings),
    decoder("demux_file", examples::demux_file, examples::demux_file_beginnings),
    state("replay", sealed::replay, sealed::replay_beginnings),
    state("transport", session::transport, session::transport_beginnings),
    state("classic", session::classic, session::classic_beginnings),
    state("joiner", states::joiner, states::joiner_beginnings),
    state("topics", states::topics, states::topics_beginnings),
    state("discovery", states::discovery, states::discovery_beginnings),
    exchange("handshake", sealed::handshake, sealed::handshake_beginnings),
    exchange("insider", insider::insider, insider::beginnings),
    exchange("exchange", exchange::clear, exchange::beginnings),
    exchange("private_exchange", exchange::private, exchange::beginnings),
];

const fn decoder(name: &'static str, run: fn(&[u8]) -> bool, beginnings: fn() -> Vec<Vec<u8>>) -> Target {
    Target { name, kind: Kind::Decoder, run, beginnings }
}

const fn state(name: &'static str, run: fn(&[u8]) -> bool, beginnings: fn() -> Vec<Vec<u8>>) -> Target {
    Target { name, kind: Kind::State, run, beginnings }
}

const fn exchange(name: &'static str, run: fn(&[u8]) -> bool, beginnings: fn() -> Vec<Vec<u8>>) -> Target {
    Target { name, kind: Kind::Exchange, run, beginnings }
}

impl Target {
    /// The one of this name.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        TARGETS.iter().find(|target| target.name == name)
    }

    /// The files of its corpus, in order.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(self.name);
        let mut files: Vec<_> =
            std::fs::read_dir(folder).into_iter().flatten().flatten().map(|file| file.path()).collect();
        files.sort();
        files
    }

    /// Its beginnings, and its files.
    #[must_use]
    pub fn corpus(&self) -> Vec<Vec<u8>> {
        let mut all = (self.beginnings)();
        all.extend(self.files().iter().map(|file| std::fs::read(file).expect("a readable file")));
        all
    }

    /// The bytes of a case: the same for the same seed, as long as the corpus is the same.
    #[must_use]
    pub fn case(corpus: &[Vec<u8>], seed: u64) -> Vec<u8> {
        mutate(corpus, &mut Rng::new(seed))
    }
}
