//! Planted faults: what an engine tells is told otherwise, once, so that each checker shows that it sees it.

use std::time::Duration;

use bytes::Bytes;
use glue_endpoint::TokenEvent;
use glue_topics::{Gap, GapReason, Item, Message};

/// What is told otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// A message has other bytes.
    Alter,
    /// An answer comes twice.
    AnswerTwice,
    /// A message is said to have expired that has not.
    Deny,
    /// A message comes after it expired.
    Late,
    /// A message is left out.
    Lose,
    /// A message is left out, if a process was ever stopped.
    LoseAfterFreeze,
    /// An answer never comes.
    NoAnswer,
    /// A message is said to be missing for want of room.
    Overflow,
    /// A message comes twice.
    Repeat,
    /// A request is seen twice.
    SeeTwice,
    /// From some message on nothing comes any more.
    Silence,
    /// Two messages come in the other order.
    Swap,
    /// A token goes, and nobody is told.
    TokenStays,
    /// A token is up twice.
    TokenTwice,
    /// The living has a will.
    Will,
}

/// Tells otherwise.
#[derive(Debug)]
pub(super) struct Tamper {
    flaw: Option<Flaw>,
    /// Chances until it is used.
    wait: u32,
    held: Option<Message>,
    wills: Vec<Message>,
    late: bool,
}

impl Tamper {
    pub(super) const fn new(flaw: Option<Flaw>) -> Self {
        Self { flaw, wait: 30, held: None, wills: Vec::new(), late: false }
    }

    /// What reader `index` is told in place of `item`.
    pub(super) fn item(&mut self, index: usize, item: Item, froze: bool) -> Vec<Item> {
        let (Some(flaw), Item::Message(message)) = (self.flaw, &item) else { return vec![item] };
        if index != READER || !message.topic_name.to_string().starts_with("long") || flaw.is_not_of_messages() {
            return vec![item];
        }
        if let Some(held) = self.held.take_if(|held| held.source() == message.source()) {
            self.flaw = None;
            return vec![item, Item::Message(held)];
        }
        if self.held.is_some() || self.waits() {
            return vec![item];
        }
        if flaw == Flaw::LoseAfterFreeze && !froze {
            return vec![item];
        }
        let gap = |reason| {
            let (from, to) = (message.sequence_number, message.sequence_number);
            Item::Gap(Gap { source: message.source().clone(), from, to, reason })
        };
        if !matches!(flaw, Flaw::Silence | Flaw::Swap) {
            self.flaw = None;
        }
        match flaw {
            Flaw::Alter => {
                let mut altered = message.clone();
                let mut bytes = message.payload.to_vec();
                bytes.iter_mut().last().into_iter().for_each(|byte| *byte ^= 1);
                altered.payload = Bytes::from(bytes);
                vec![Item::Message(altered)]
            }
            Flaw::Deny => vec![gap(GapReason::Expired)],
            Flaw::Late => {
                self.late = true;
                vec![item]
            }
            Flaw::Lose | Flaw::LoseAfterFreeze | Flaw::Silence => Vec::new(),
            Flaw::Overflow => vec![gap(GapReason::Overflow)],
            Flaw::Repeat => vec![item.clone(), item],
            Flaw::Swap => {
                self.held = Some(message.clone());
                Vec::new()
            }
            Flaw::Will => {
                let mut will = message.clone();
                will.sequence_number = 0;
                self.wills.push(will);
                vec![item]
            }
            _ => vec![item],
        }
    }

    /// Wills that a reader is told besides.
    pub(super) fn will(&mut self, _: usize) -> Vec<Message> {
        std::mem::take(&mut self.wills)
    }

    /// How much later than it came a message is said to have come.
    pub(super) fn lateness(&mut self, _: usize) -> Duration {
        if std::mem::take(&mut self.late) { Duration::from_secs(3_600) } else { Duration::ZERO }
    }

    pub(super) fn token(&mut self, event: TokenEvent) -> Vec<TokenEvent> {
        match (self.flaw, &event) {
            (Some(Flaw::TokenTwice), TokenEvent::Up(_)) if !self.waits() => {
                self.flaw = None;
                vec![event.clone(), event]
            }
            (Some(Flaw::TokenStays), TokenEvent::Down(_)) => {
                self.flaw = None;
                Vec::new()
            }
            _ => vec![event],
        }
    }

    /// How often an answer is told.
    pub(super) fn answers(&mut self) -> u32 {
        self.count(Flaw::AnswerTwice, Flaw::NoAnswer)
    }

    /// How often a request is seen.
    pub(super) fn requests(&mut self) -> u32 {
        if self.flaw == Some(Flaw::SeeTwice) { self.count(Flaw::SeeTwice, Flaw::NoAnswer) } else { 1 }
    }

    fn count(&mut self, twice: Flaw, never: Flaw) -> u32 {
        let count = match self.flaw {
            Some(flaw) if flaw == twice => 2,
            Some(flaw) if flaw == never => 0,
            _ => return 1,
        };
        self.flaw = None;
        count
    }

    fn waits(&mut self) -> bool {
        self.wait = self.wait.saturating_sub(1);
        self.wait > 0
    }
}

impl Flaw {
    const fn is_not_of_messages(self) -> bool {
        matches!(self, Self::AnswerTwice | Self::NoAnswer | Self::SeeTwice | Self::TokenStays | Self::TokenTwice)
    }
}

/// Whose view is wrong.
const READER: usize = 1;
