//! A log read back: one life of one process.

use std::collections::BTreeMap;
use std::path::Path;

use crate::error::FaultsError;
use crate::line::{Line, What};

/// What a process logged from its start to its end.
#[derive(Clone, Debug, Default)]
pub struct Life {
    /// The name of this life.
    pub label: String,
    /// What it was.
    pub role: String,
    /// Its endpoint's id.
    pub id: String,
    /// The wall clock before its endpoint started.
    pub wall: u64,
    /// When it was told that all faults are over.
    pub healed: Option<u64>,
    /// When it was told to end. `None`: it was killed, or is there yet.
    pub ended: Option<u64>,
    /// When it logged last.
    pub last: u64,
    /// What it published, by topic.
    pub published: BTreeMap<String, Vec<Published>>,
    /// When it subscribed, by topic.
    pub subscribed: BTreeMap<String, u64>,
    /// What it was told of each publisher and topic, in order.
    pub told: BTreeMap<Origin, Vec<Told>>,
    /// How many payloads came damaged.
    pub damaged: u64,
}

/// Where messages come from, as the library says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    /// The topic.
    pub topic: String,
    /// The publisher's endpoint id.
    pub id: String,
    /// The publisher's incarnation.
    pub incarnation: u64,
}

/// A message that a publisher logged. They are numbered from 1 in the order of the list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// When it was about to.
    pub intent: u64,
    /// When it expires, on the clock of the logs.
    pub expires: u64,
    /// When the call had returned.
    pub sent: Option<u64>,
    /// When a receipt said that a cache has it.
    pub kept: Option<u64>,
}

/// What a subscriber is told of a publisher's messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// When.
    pub at: u64,
    /// The first number.
    pub from: u64,
    /// The last number; the same, of a message.
    pub to: u64,
    /// The message, or why there is none.
    pub item: Item,
}

/// A message or a gap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A message, with the life and the number that its payload says.
    Message(String, u64),
    /// A gap, with its reason.
    Gap(String),
}

impl Life {
    /// Reads all logs of a directory: the files that end in `.log`, by name.
    ///
    /// # Errors
    /// If a file can not be read, or has a line that is none of a log.
    pub fn read_all(directory: &Path) -> Result<Vec<Self>, FaultsError> {
        let problem = || FaultsError::io(directory.display().to_string());
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(directory).map_err(problem())? {
            paths.push(entry.map_err(problem())?.path());
        }
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
        paths.sort();
        let lives = paths.iter().map(|path| {
            let text = std::fs::read_to_string(path).map_err(FaultsError::io(path.display().to_string()))?;
            Self::read(&text).map_err(|(line, text)| FaultsError::Log { path: path.clone(), line, text })
        });
        // A process that was killed before it began has an empty log.
        Ok(lives.collect::<Result<Vec<_>, _>>()?.into_iter().filter(|life| !life.label.is_empty()).collect())
    }

    /// Reads a log. A last line without an end is passed over: its writer was killed.
    ///
    /// # Errors
    /// The first line that is none, with its number.
    pub fn read(text: &str) -> Result<Self, (usize, String)> {
        let mut life = Self::default();
        let whole = text.rfind('\n').map_or("", |end| text.get(..end).unwrap_or(""));
        for (index, line) in whole.lines().enumerate() {
            let parsed = Line::parse(line).ok_or_else(|| (index + 1, line.to_owned()))?;
            life.last = parsed.at;
            life.take(parsed).ok_or_else(|| (index + 1, line.to_owned()))?;
        }
        Ok(life)
    }

    /// `None` if the line does not belong where it is.
    fn take(&mut self, Line { at, what }: Line) -> Option<()> {
        match what {
            What::Started { role, label, id, wall } => {
                (self.role, self.label, self.id, self.wall) = (role, label, id, wall);
            }
            What::Subscribed { topic } => {
                self.subscribed.insert(topic, at);
            }
            What::Intent { topic, number, expiry } => {
                let expires = at.saturating_add(expiry.saturating_mul(1_000_000));
                let messages = self.published.entry(topic).or_default();
                // The same number comes again if there was no room for it.
                messages.truncate(usize::try_from(number).ok()?.checked_sub(1)?);
                let is_next = messages.len() as u64 + 1 == number;
                messages.push(Published { intent: at, expires, ..Published::default() });
                return is_next.then_some(());
            }
            What::Sent { topic, number } => self.message(&topic, number)?.sent = Some(at),
            What::Kept { topic, number } => self.message(&topic, number)?.kept = Some(at),
            What::Got { topic, id, incarnation, sequence, label, number } => {
                let told = Told { at, from: sequence, to: sequence, item: Item::Message(label, number) };
                self.told.entry(Origin { topic, id, incarnation }).or_default().push(told);
            }
            What::Gap { topic, id, incarnation, from, to, reason } => {
                let told = Told { at, from, to, item: Item::Gap(reason) };
                self.told.entry(Origin { topic, id, incarnation }).or_default().push(told);
            }
            What::Bad { .. } => self.damaged += 1,
            What::Healed => self.healed = Some(at),
            What::Ended => self.ended = Some(at),
            What::Note { .. } | What::Halted => {}
        }
        Some(())
    }

    fn message(&mut self, topic: &str, number: u64) -> Option<&mut Published> {
        self.published.get_mut(topic)?.get_mut(usize::try_from(number).ok()?.checked_sub(1)?)
    }
}
