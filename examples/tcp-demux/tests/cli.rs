//! The program as scripts see it: exit status, streams, file and signals.

mod common;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use common::{Client, Server, echo, http, until};

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_tcp-demux"))
}

fn run(args: &[&str]) -> Output {
    program().args(args).output().expect("the program runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("the output is text")
}

/// A file in a directory of this test.
fn file(test: &str, content: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("tcp-demux-{test}-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    let path = directory.join("config.toml");
    std::fs::write(&path, content).expect("it is written");
    path
}

#[test]
fn help_teaches() {
    let output = run(&["--help"]);
    assert_eq!(output.status.code(), Some(0));
    let help = text(&output.stdout);
    for word in ["Examples:", "nc 127.0.0.1 7999", "GLUE_NETWORK_ID", "test-server", "Exit status"] {
        assert!(help.contains(word), "{word} is missing in:\n{help}");
    }
    let help = text(&run(&["serve", "--help"]).stdout);
    for word in ["TCP_DEMUX_LISTEN", "127.0.0.1:7999", "delimiter:TEXT", "least_outstanding"] {
        assert!(help.contains(word), "{word} is missing in:\n{help}");
    }
}

#[test]
fn what_is_wrong_is_one_line_and_status_2() {
    let unknown_key = file("key", "[server]\nhots = \"127.0.0.1\"\n");
    let no_token = file("token", "[management_server]\nhost = \"0.0.0.0\"\nport = 0\n[server]\nport = 0\n");
    for (path, word) in
        [(&unknown_key, "hots"), (&no_token, "token"), (&PathBuf::from("/nowhere.toml"), "/nowhere.toml")]
    {
        let output = run(&["serve", "--no-glue", "--config", &path.display().to_string()]);
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.contains(word) && told.lines().count() == 1, "{told}");
    }
    for args in [&["serve", "--framing", "cubes"][..], &["serve", "--upstream", "http://a:1"], &["no-such-command"]] {
        assert_eq!(run(args).status.code(), Some(2), "{args:?}");
    }
}

struct Running(Child);

impl Running {
    /// Starts it, and reads the addresses that it prints.
    fn start(path: &Path) -> (Self, SocketAddr, SocketAddr) {
        let mut command = program();
        command.args(["serve", "--no-glue", "--config"]).arg(path).env("GLUE_LOG", "warn").stdout(Stdio::piped());
        let mut child = command.spawn().expect("the program runs");
        let out = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut addresses = out.lines().map(|line| {
            let line = line.expect("it is text");
            line.rsplit(' ').next().and_then(|address| address.parse().ok()).expect("an address")
        });
        let (clients, management) = (addresses.next().expect("an address"), addresses.next().expect("an address"));
        (Self(child), clients, management)
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").args([format!("-{name}"), self.0.id().to_string()]).status();
        assert!(status.expect("kill runs").success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn the_file_is_read_again_at_sighup_and_no_socket_is_lost() {
    let server = Server::start(echo()).await;
    let base = "[server]\nport = 0\nframing = \"lines\"\n[management_server]\nport = 0\n";
    let path = file("reload", base);
    let (mut running, clients, management) = Running::start(&path);
    let mut client = Client::to(clients).await;
    client.say("early").await;

    let upstream = format!("[[upstream]]\nhost = \"127.0.0.1\"\nport = {}\n", server.address.port());
    std::fs::write(&path, format!("{base}{upstream}[limits]\nmax_sockets = 77\n")).expect("it is written");
    running.signal("HUP");
    assert_eq!(client.hear().await, "early");
    let settings = async || http(management, "GET /settings", "", "").await.1;
    until("it is reloaded", async || settings().await.contains("\"max_sockets\":77")).await;

    // What is wrong changes nothing.
    std::fs::write(&path, "[limits]\nmax_sockets = 0\n").expect("it is written");
    running.signal("HUP");
    client.say("still there").await;
    assert_eq!(client.hear().await, "still there");
    assert!(settings().await.contains("\"max_sockets\":77"));

    running.signal("TERM");
    assert_eq!(client.rest().await, b"");
    assert_eq!(running.0.wait().expect("it ends").code(), Some(0));
}
