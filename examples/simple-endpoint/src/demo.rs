//! The demonstration: a publisher and three subscribers, each a process of its own, find each other and talk.

mod child;
mod score;

use std::fmt::Display;
use std::io::{self, Write};
use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, interval, sleep_until};

use self::child::{Child, Network, Told};
use self::score::Score;
use crate::failure::Failure;
use crate::output::Line;
use crate::stop::Stop;

pub(crate) async fn run() -> Result<(), Failure> {
    let mut stop = Stop::after(None)?;
    tokio::select! {
        result = demonstrate() => result,
        // The children end with us.
        _ = stop.requested() => Err(Failure::Runtime("interrupted".to_owned())),
    }
}

async fn demonstrate() -> Result<(), Failure> {
    say("Three subscribers start, each a process of its own, and look for each other by multicast.")?;
    let mut stage = match Stage::gather(Network::multicast(), FALL_BACK_AFTER).await? {
        Some(stage) => stage,
        None => gather_by_unicast().await?,
    };
    say(format_args!("\nA publisher starts. It will send {COUNT} messages of {SIZE} bytes, {RATE} a second."))?;
    let options = format!(
        "--json --send-messages --count {COUNT} --rate {RATE} --size {SIZE} --expiry-ms {EXPIRY_MS} --wait-for 3"
    );
    stage.spawn(PUBLISHER, &options)?;
    // If time runs out here, the table shows what is missing.
    stage.watch(PUBLISHING + PATIENCE, true, Stage::is_all_received).await?;
    stage.dismiss().await?;
    stage.judge()
}

/// A sandbox may have no multicast. The rendezvous is on a port of its own, so that no other endpoint has it.
async fn gather_by_unicast() -> Result<Stage, Failure> {
    let rendezvous = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    say(format_args!(
        "\nNone is found after {FALL_BACK_AFTER:?}: multicast does not work here. They start again, now by unicast:\n\
         the first is the rendezvous at {rendezvous}, and the others announce themselves to it."
    ))?;
    let stage = Stage::gather(Network::unicast(rendezvous), PATIENCE).await?;
    stage.ok_or_else(|| Failure::Runtime(format!("no subscriber found another, {CHECK}")))
}

/// Who plays, and what is known of them.
struct Stage {
    network: Network,
    children: Vec<Child>,
    scores: [Score; PUBLISHER],
    /// The publisher has said its last line.
    is_published: bool,
    teller: mpsc::Sender<Told>,
    told: mpsc::Receiver<Told>,
}

impl Stage {
    /// Starts the subscribers, and waits until they have found each other. `None` if none finds any in `patience`.
    async fn gather(network: Network, patience: Duration) -> Result<Option<Self>, Failure> {
        let (teller, told) = mpsc::channel(MAX_TOLD);
        let scores = std::array::from_fn(|_| Score::default());
        let mut stage = Self { network, children: Vec::new(), scores, is_published: false, teller, told };
        for who in 0..PUBLISHER {
            stage.spawn(who, "--json")?;
        }
        if !stage.watch(patience, false, |stage| stage.scores.iter().any(|score| score.found > 0)).await? {
            return Ok(None);
        }
        let others = PUBLISHER - 1;
        if !stage.watch(PATIENCE, false, |stage| stage.scores.iter().all(|score| score.found == others)).await? {
            return Err(Failure::Runtime(format!("not all subscribers found each other, {CHECK}")));
        }
        Ok(Some(stage))
    }

    fn spawn(&mut self, who: usize, options: &str) -> Result<(), Failure> {
        self.children.push(Child::spawn(who, name(who), options, &self.network, &self.teller)?);
        Ok(())
    }

    /// Takes what the children tell until `is_done`, for `patience` at most. Returns whether it is done.
    async fn watch(
        &mut self,
        patience: Duration,
        show_counts: bool,
        is_done: impl Fn(&Self) -> bool,
    ) -> Result<bool, Failure> {
        let deadline = Instant::now() + patience;
        let mut second = interval(Duration::from_secs(1));
        second.tick().await;
        while !is_done(self) {
            tokio::select! {
                Some(told) = self.told.recv() => self.take(told)?,
                _ = second.tick(), if show_counts => self.show_counts()?,
                () = sleep_until(deadline) => return Ok(false),
            }
        }
        Ok(true)
    }

    fn take(&mut self, Told { who, line }: Told) -> Result<(), Failure> {
        let (name, score) = (name(who), self.scores.get_mut(who));
        let Some(line) = line else {
            let has_ended_well = score.map_or(self.is_published, |score| score.summary.is_some());
            return has_ended_well.then_some(()).ok_or_else(|| Failure::Runtime(format!("{name} ended early")));
        };
        match line {
            Line::Message(message) => score.into_iter().for_each(|score| score.add(message.age_us)),
            Line::PeerDown(peer) => say(format_args!("  {name} lost sight of {}", peer.name))?,
            Line::PeerUp(peer) => {
                say(format_args!("  {name} found {}", peer.name))?;
                score.into_iter().for_each(|score| score.found += 1);
            }
            Line::Published { settled, .. } => {
                self.is_published = true;
                say(format_args!(
                    "  {name}: {}",
                    if settled { "all is acknowledged" } else { "not all is acknowledged" }
                ))?;
            }
            Line::Summary(counts) => score.into_iter().for_each(|score| score.summary = Some(counts)),
        }
        Ok(())
    }

    fn is_all_received(&self) -> bool {
        self.is_published && self.scores.iter().all(|score| score.received() >= COUNT)
    }

    fn show_counts(&self) -> io::Result<()> {
        let count = |(who, score): (usize, &Score)| format!("{} has {:>4}", name(who), score.received());
        say(format_args!("  {}", self.scores.iter().enumerate().map(count).collect::<Vec<_>>().join(", ")))
    }

    /// Has the subscribers end, and waits for their summaries.
    async fn dismiss(&mut self) -> Result<(), Failure> {
        self.children.iter().for_each(Child::terminate);
        if self.watch(PATIENCE, false, |stage| stage.scores.iter().all(|score| score.summary.is_some())).await? {
            return Ok(());
        }
        Err(Failure::Runtime("a subscriber did not end when it was told to".to_owned()))
    }

    fn judge(&self) -> Result<(), Failure> {
        say(format_args!("\n{}", Score::HEADING))?;
        for (who, score) in self.scores.iter().enumerate() {
            say(score.row(name(who)))?;
        }
        score::judge(&self.scores).map_err(Failure::Runtime)?;
        Ok(say("\nEvery subscriber received the same messages, each once and in order.")?)
    }
}

/// Prints a line for people.
fn say(line: impl Display) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{line}")
}

const fn name(who: usize) -> &'static str {
    match who {
        0 => "subscriber-1",
        1 => "subscriber-2",
        2 => "subscriber-3",
        _ => "publisher",
    }
}

/// The number of the publisher; the subscribers have those below.
const PUBLISHER: usize = 3;

/// Five seconds of messages, small and seldom enough for a busy machine.
const COUNT: u64 = 1_000;
const RATE: u64 = 200;
const PUBLISHING: Duration = Duration::from_secs(COUNT / RATE);
const SIZE: usize = 1_024;
/// As long as all of it takes: a machine that stumbles makes messages late, but loses none.
const EXPIRY_MS: u64 = 5_000;

/// Endpoints announce themselves at their start and every second.
const FALL_BACK_AFTER: Duration = Duration::from_secs(3);

/// For what should take a moment.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the children have told and we have not yet heard; beyond it they wait.
const MAX_TOLD: usize = 256;

const CHECK: &str = "neither by multicast nor by unicast: check that the loopback interface is up (`ip link show lo`), \
                     that no firewall drops UDP on it, and that GLUE_LISTEN_INTERFACE, if set, names an interface that \
                     is up";
