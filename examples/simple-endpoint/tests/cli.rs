//! The program as scripts see it: exit status and streams. None of these opens a socket.

use std::process::{Command, Output};

fn run(args: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_simple-endpoint"));
    command.args(args).envs(variables.iter().copied()).output().expect("the program runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("the output is text")
}

#[test]
fn help_teaches() {
    let output = run(&["--help"], &[]);
    assert_eq!(output.status.code(), Some(0));
    let help = text(&output.stdout);
    for word in ["Examples:", "GLUE_DISCOVERY_TARGET_ADDRESS", "239.192.137.1:27320", "GLUE_LOG", "demo"] {
        assert!(help.contains(word), "{word} is missing in:\n{help}");
    }
}

#[test]
fn malformed_variables_are_one_line_and_status_2() {
    let variables = [("GLUE_NETWORK_ID", "blue"), ("GLUE_LISTEN_ADDRESS", "239.0.0.1:5")];
    for args in [&[][..], &["--send-messages"], &["--json"]] {
        let output = run(args, &variables);
        assert_eq!(output.status.code(), Some(2));
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(out, "");
        assert_eq!(err.lines().count(), 1, "{err}");
        for word in ["GLUE_NETWORK_ID", "blue", "GLUE_LISTEN_ADDRESS", "239.0.0.1"] {
            assert!(err.contains(word), "{word} is missing in: {err}");
        }
    }
}

#[test]
fn a_malformed_log_filter_is_status_2() {
    let output = run(&[], &[("GLUE_LOG", "info,=nonsense=")]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("GLUE_LOG"));
}

#[test]
fn a_bad_option_is_status_2() {
    for args in [&["--rate", "0"][..], &["--count", "0"], &["--no-such-option"], &["no-such-command"]] {
        let output = run(args, &[]);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert_eq!(text(&output.stdout), "");
    }
}
