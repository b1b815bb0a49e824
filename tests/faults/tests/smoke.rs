//! The program as a whole, for some seconds: real hosts, real faults. Where the process may not make any, the tests say so and
//! pass.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests are tests too")]

use std::process::{Command, Output};
use std::sync::OnceLock;

use glue_faults::lab::Lab;

/// Whether hosts can be made here. Asked once: what passes by then and fails later is a failure, and no reason to skip.
fn can_make_hosts() -> bool {
    static CAN: OnceLock<bool> = OnceLock::new();
    *CAN.get_or_init(try_to_make_hosts)
}

fn try_to_make_hosts() -> bool {
    let made = Lab::new().and_then(|mut lab| {
        lab.host("probe", "to-probe")?;
        lab.lose("probe", 10)?;
        lab.limit_rate("probe", 1_000)
    });
    if let Err(why) = &made {
        println!("SKIPPED, since no hosts can be made here: {why}");
    }
    made.is_ok()
}

fn faults(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_glue-faults")).args(arguments).output().unwrap()
}

fn text(output: &Output) -> String {
    [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat()
}

#[test]
fn a_short_run_finds_nothing_and_its_logs_with_one_line_less_show_a_loss() {
    if !can_make_hosts() {
        return;
    }
    let directory = std::env::temp_dir().join(format!("glue-faults-smoke-{}", std::process::id()));
    let place = directory.display().to_string();
    let output = faults(&["run", "--minutes", "0.1", "--seed", "4", "--verbose", "--logs", &place]);
    println!("{}", text(&output));
    assert!(output.status.success());
    assert!(text(&output).contains("lost 0, silent 0, duplicates 0, out of order 0"));
    assert!(faults(&["check", &place]).status.success());

    // The last message that a subscriber got is taken from its log.
    let logs = std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path());
    let mut texts = logs.map(|path| (std::fs::read_to_string(&path).unwrap(), path));
    let (whole, log) = texts.find(|(text, _)| text.contains(" subscriber ") && text.contains("\nended ")).unwrap();
    let last = whole.lines().rfind(|line| line.starts_with("got ")).unwrap();
    std::fs::write(&log, whole.replacen(&format!("{last}\n"), "", 1)).unwrap();
    let output = faults(&["check", &place]);
    println!("{}", text(&output));
    assert!(!output.status.success());
    assert!(text(&output).contains("lost 1,"));
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn a_short_soak_samples_who_lasts() {
    if !can_make_hosts() {
        return;
    }
    let csv = std::env::temp_dir().join(format!("glue-faults-smoke-{}.csv", std::process::id()));
    // 11 s: what a process holds grows meanwhile, so how it ends says nothing.
    let output = faults(&["soak", "--hours", "0.003", "--processes", "4", "--csv", &csv.display().to_string()]);
    println!("{}", text(&output));
    assert!(text(&output).contains("2 processes lasted, 2 came and went"));
    let samples = std::fs::read_to_string(&csv).unwrap();
    assert!(samples.lines().filter(|line| line.contains(",publisher0,")).count() >= 2, "{samples}");
    std::fs::remove_file(csv).unwrap();
}
