//! A client whose host is gone, without a word: a network namespace whose cable is cut.
//!
//! Where the process may not make any, the test says so and passes.

mod common;

use std::process::Stdio;
use std::time::Duration;

use common::{Client, Server, Setup, counter, until, within};
use glue_stack::netns::Lab;
use tcp_demux::Framing;
use tcp_demux::test_server::Behaviour;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

/// The command line that runs programs on the client's host.
const CLIENTS_HOST: &str = "TEST_CLIENTS_HOST";

#[test]
fn a_client_that_vanished_is_given_up_and_others_are_unharmed() {
    let mut lab = match Lab::new() {
        Ok(lab) => lab,
        Err(why) => return println!("netns test skipped: {why}"),
    };
    lab.host("here");
    lab.host("there");
    lab.cable(("here", "eth0"), ("there", "eth0"));
    lab.ip("here", "addr add 10.99.9.1/24 dev eth0");
    lab.ip("there", "addr add 10.99.9.2/24 dev eth0");
    let [program, arguments @ ..] = lab.on("here");
    let this = std::env::current_exe().expect("this program");
    let status = std::process::Command::new(program)
        .args(arguments)
        .arg(format!("{CLIENTS_HOST}={}", lab.on("there").join(" ")))
        .arg(this)
        .args(["--exact", "on_a_host_of_its_own", "--ignored", "--nocapture"])
        .status();
    assert!(status.expect("it runs").success());
}

#[tokio::test]
#[ignore = "the other one runs it, on a host of its own"]
async fn on_a_host_of_its_own() {
    let there = std::env::var(CLIENTS_HOST).expect("the other test says");
    let server = Server::start(Behaviour::default()).await;
    let mut setup = Setup::new(Framing::Raw).upstream(&server);
    let address = "10.99.9.1:0".parse().expect("an address");
    setup.0.listeners.iter_mut().for_each(|listen| listen.address = address);
    let demux = setup.settings(|settings| settings.write_timeout = Duration::from_secs(1)).start().await;
    let port = demux.listeners()[0].port();
    let mut far = on(&there, &["bash", "-c", &format!("exec 3<>/dev/tcp/10.99.9.1/{port}; exec cat <&3")])
        .stdout(Stdio::piped())
        .spawn()
        .expect("a client");
    until("the far client is there", async || demux.clients() == 1).await;
    let mut near = Client::connect(&demux).await;
    // The second message goes to all.
    for _ in 0..2 {
        near.say("hello").await;
        near.hear().await;
    }
    let mut heard = BufReader::new(far.stdout.take().expect("its output")).lines();
    let line = within("a broadcast", heard.next_line()).await.expect("it reads");
    assert_eq!(line.as_deref(), Some("To all: message 2 came."));

    let cut = on(&there, &["ip", "link", "set", "eth0", "down"]).status().await;
    assert!(cut.expect("it runs").success());
    // What is sent to it makes it look active, and the system takes it: only that nobody acknowledges it tells.
    until("it is given up", async || {
        near.say("on and on").await;
        assert_ne!(near.hear().await, "");
        demux.clients() == 1
    })
    .await;
    assert_eq!(counter(&demux, "sockets_vanished_total").await, 1);
    near.say("still here").await;
    assert_ne!(near.hear().await, "");
}

fn on(host: &str, command: &[&str]) -> Command {
    let mut all = host.split(' ').chain(command.iter().copied());
    let mut it = Command::new(all.next().expect("a program"));
    it.args(all).kill_on_drop(true);
    it
}
