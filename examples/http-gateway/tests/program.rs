//! The program as scripts see it: exit status and streams. None of these opens a socket.

use std::process::{Command, Output};

fn run(args: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_http-gateway"));
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
    for word in
        ["Examples:", "http-gateway hello worker-1", "FuyuuRouter-IDs", "GLUE_NETWORK_ID", "HTTP_GATEWAY_LISTEN"]
    {
        assert!(help.contains(word), "{word} is missing in:\n{help}");
    }
    for command in ["router", "agent", "hello"] {
        assert_eq!(run(&[command, "--help"], &[]).status.code(), Some(0));
    }
}

#[test]
fn what_is_not_known_is_status_2_and_named() {
    let file = std::env::temp_dir().join(format!("http-gateway-{}.toml", std::process::id()));
    std::fs::write(&file, "[networking]\nformatt = \"json\"\n").unwrap();
    let path = file.to_str().unwrap();
    let agent = ["agent", "--id", "a", "--proxy-host"];
    type Case<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], &'a str);
    let cases: [Case<'_>; 7] = [
        (&["router", "--config", path], &[], "formatt"),
        (&["router", "--config", "/no/such/file"], &[], "/no/such/file"),
        (&["router", "--listne", "x"], &[], "--listne"),
        (&["router"], &[("HTTP_GATEWAY_LISTNE", "x")], "HTTP_GATEWAY_LISTNE"),
        (&["router"], &[("GLUE_NETWORK_ID", "blue")], "GLUE_NETWORK_ID"),
        (&[&agent[..], &["127.0.0.1:3000"]].concat(), &[], "127.0.0.1:3000"),
        (&["hello", "two words"], &[("GLUE_LISTEN_INTERFACE", "lo")], "two words"),
    ];
    for (args, variables, name) in cases {
        let output = run(args, variables);
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {errors}");
        assert!(errors.contains(name), "{name} is missing in: {errors}");
        assert_eq!(text(&output.stdout), "");
    }
    std::fs::remove_file(file).unwrap();
}
