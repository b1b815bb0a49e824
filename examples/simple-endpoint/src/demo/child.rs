//! A process of the demonstration.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{ChildStdout, Command};
use tokio::sync::mpsc;

use crate::output::Line;

/// Killed when dropped.
#[derive(Debug)]
pub(super) struct Child(tokio::process::Child);

/// What a child tells.
#[derive(Debug)]
pub(super) struct Told {
    /// The number of the child.
    pub(super) who: usize,
    /// `None` after the last line.
    pub(super) line: Option<Line<'static>>,
}

/// How the children find each other, and nobody else.
#[derive(Clone, Copy, Debug)]
pub(super) struct Network {
    id: i64,
    rendezvous: Option<SocketAddr>,
}

impl Network {
    pub(super) fn multicast() -> Self {
        Self { id: RandomState::new().hash_one("network").cast_signed(), rendezvous: None }
    }

    /// The child number 0 is the rendezvous at this address.
    pub(super) fn unicast(rendezvous: SocketAddr) -> Self {
        Self { rendezvous: Some(rendezvous), ..Self::multicast() }
    }

    fn apply(&self, who: usize, command: &mut Command) {
        command.env("GLUE_NETWORK_ID", self.id.to_string());
        let Some(rendezvous) = self.rendezvous else { return };
        let (target, listen) = match who {
            0 => ("0".to_owned(), rendezvous.to_string()),
            _ => (rendezvous.to_string(), "127.0.0.1:0".to_owned()),
        };
        command.env("GLUE_DISCOVERY_TARGET_ADDRESS", target).env("GLUE_DISCOVERY_LISTEN_ADDRESS", listen);
    }
}

impl Child {
    /// Starts ourselves once more, with other options, as an endpoint of this name. What it prints goes to `teller`.
    pub(super) fn spawn(
        who: usize,
        name: &str,
        options: &str,
        network: &Network,
        teller: &mpsc::Sender<Told>,
    ) -> io::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(options.split(' ')).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        // Two endpoints can not share these.
        command.env_remove("GLUE_ENDPOINT_ID").env_remove("GLUE_LISTEN_ADDRESS").env("GLUE_ENDPOINT_NAME", name);
        if std::env::var_os("GLUE_LOG").is_none() {
            command.env("GLUE_LOG", "warn");
        }
        network.apply(who, &mut command);
        let mut process = command.spawn()?;
        if let Some(stdout) = process.stdout.take() {
            tokio::spawn(listen(who, stdout, teller.clone()));
        }
        Ok(Self(process))
    }

    /// Asks it to end.
    pub(super) fn terminate(&self) {
        let id = self.0.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        // One that has ended by itself needs no signal.
        let _ = id.map(|id| kill_process(id, Signal::TERM));
    }
}

async fn listen(who: usize, stdout: ChildStdout, teller: mpsc::Sender<Told>) {
    let mut lines = BufReader::new(stdout).lines();
    while let Ok(Some(text)) = lines.next_line().await {
        let Ok(line) = serde_json::from_str(&text) else {
            tracing::warn!(who, text, "this is no line of ours");
            continue;
        };
        if teller.send(Told { who, line: Some(line) }).await.is_err() {
            return;
        }
    }
    // If nobody listens any more, nobody need know.
    let _ = teller.send(Told { who, line: None }).await;
}
