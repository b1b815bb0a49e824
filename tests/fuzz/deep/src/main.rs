//! Any target of `glue-fuzz` under libFuzzer: `GLUE_FUZZ_TARGET` names it (`list` lists them), the arguments are libFuzzer's. Its
//! beginnings are written to the directory `GLUE_FUZZ_BEGINNINGS`, so that they can be among these.

#![no_main]

use std::path::Path;
use std::process::exit;
use std::sync::OnceLock;

use glue_fuzz::{TARGETS, Target};

static TARGET: OnceLock<&Target> = OnceLock::new();

libfuzzer_sys::fuzz_target!(
    init: {
        let name = std::env::var("GLUE_FUZZ_TARGET").unwrap_or_default();
        let Some(target) = TARGETS.iter().find(|target| target.name == name) else {
            TARGETS.iter().for_each(|target| println!("{}", target.name));
            exit(i32::from(name != "list"));
        };
        if let Some(folder) = std::env::var_os("GLUE_FUZZ_BEGINNINGS") {
            write_beginnings(target, Path::new(&folder));
        }
        TARGET.set(target).expect("set once");
    },
    |bytes: &[u8]| {
        if let Some(target) = TARGET.get() {
            (target.run)(bytes);
        }
    }
);

fn write_beginnings(target: &Target, folder: &Path) {
    for (number, bytes) in (target.beginnings)().into_iter().enumerate() {
        std::fs::write(folder.join(number.to_string()), bytes).expect("a directory that can be written");
    }
}
