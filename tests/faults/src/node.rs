//! What publishers and subscribers have in common: their command line, their endpoint, and what they are told.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use glue_endpoint::{Endpoint, Notice, Notices};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines, Stdin};

use crate::clock;
use crate::error::FaultsError;
use crate::journal::Journal;
use crate::line::What;

/// How a publisher or a subscriber is started. `GLUE_*` variables configure its endpoint.
#[derive(clap::Args, Clone, Debug)]
pub struct NodeArguments {
    /// The name of this life of the process, which no other has.
    #[arg(long)]
    pub label: String,
    /// The file to log to, which must not exist; without it nothing is logged.
    #[arg(long)]
    pub log: Option<PathBuf>,
    /// Milliseconds that messages live at most; for a soak, in which nothing may pile up.
    #[arg(long)]
    pub lifespan: Option<u64>,
}

/// A running endpoint with its log.
pub(crate) struct Node {
    pub(crate) endpoint: Endpoint,
    pub(crate) journal: Arc<Journal>,
    pub(crate) notices: Notices,
    orders: Lines<BufReader<Stdin>>,
}

/// What the parent says, a word a line. Its end, or the end of our input, ends the process too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Healed,
    Halt,
    End,
}

impl Node {
    pub(crate) async fn start(role: &str, arguments: &NodeArguments) -> Result<Self, FaultsError> {
        let journal = Arc::new(Journal::begin(arguments.log.as_deref())?);
        let wall = clock::wall();
        let endpoint = Endpoint::from_env().await.map_err(|error| FaultsError::Endpoint(error.to_string()))?;
        let (role, label, id) = (role.to_owned(), arguments.label.clone(), endpoint.id().to_string());
        journal.write(What::Started { role, label, id, wall });
        let notices = endpoint.events();
        Ok(Self { endpoint, journal, notices, orders: BufReader::new(tokio::io::stdin()).lines() })
    }

    /// Waits for an order, and logs what is noticed meanwhile. Cancel safe.
    pub(crate) async fn order(&mut self) -> Order {
        loop {
            tokio::select! {
                line = self.orders.next_line() => match line.ok().flatten().as_deref() {
                    Some("healed") => {
                        self.journal.write(What::Healed);
                        return Order::Healed;
                    }
                    Some("halt") => {
                        self.journal.write(What::Halted);
                        return Order::Halt;
                    }
                    Some("end") => {
                        self.journal.write(What::Ended);
                        return Order::End;
                    }
                    Some(other) => self.journal.note(&format!("not understood: {other}")),
                    None => return Order::End,
                },
                Some(notice) = self.notices.recv() => self.journal.note(&told(&notice)),
            }
        }
    }

    pub(crate) async fn close(self) {
        self.endpoint.close(FAREWELL).await;
    }
}

/// A notice in few words.
fn told(notice: &Notice) -> String {
    match notice {
        Notice::PeerUp { name, address, .. } => format!("peer up {name} at {address}"),
        Notice::PeerDown { name, reason, .. } => format!("peer down {name}: {reason:?}"),
        Notice::PeerMoved { name, from, to, .. } => format!("peer moved {name} from {from} to {to}"),
        other => format!("{other:?}"),
    }
}

/// What has not been acknowledged when a process ends is not waited for any longer than this.
const FAREWELL: Duration = Duration::from_secs(2);
