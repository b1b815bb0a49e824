//! What publishers and subscribers log: a line for each thing, words with a space between, the time second.

use std::fmt;

/// A line of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When, see [`crate::clock::now`].
    pub at: u64,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The process begins: its role, the name of this life, its endpoint's id, and the wall clock before the endpoint started.
    Started {
        /// `publisher` or `subscriber`.
        role: String,
        /// Names this life; no other has it.
        label: String,
        /// The endpoint's id.
        id: String,
        /// Nanoseconds of the wall clock.
        wall: u64,
    },
    /// It has subscribed.
    Subscribed {
        /// The topic.
        topic: String,
    },
    /// It is about to publish.
    Intent {
        /// The topic.
        topic: String,
        /// The number, from 1.
        number: u64,
        /// How long the message lives, in milliseconds.
        expiry: u64,
    },
    /// The call to publish has returned and the message is taken.
    Sent {
        /// The topic.
        topic: String,
        /// The number.
        number: u64,
    },
    /// A cache has the message, as its receipt says.
    Kept {
        /// The topic.
        topic: String,
        /// The number.
        number: u64,
    },
    /// A message came.
    Got {
        /// The topic.
        topic: String,
        /// The publisher's endpoint id.
        id: String,
        /// The publisher's incarnation.
        incarnation: u64,
        /// The number that the library gives.
        sequence: u64,
        /// The life that published it, as the payload says.
        label: String,
        /// The number, as the payload says.
        number: u64,
    },
    /// A typed notice of messages that do not come.
    Gap {
        /// The topic.
        topic: String,
        /// The publisher's endpoint id.
        id: String,
        /// The publisher's incarnation.
        incarnation: u64,
        /// The first.
        from: u64,
        /// The last.
        to: u64,
        /// Why: the name of the variant of `GapReason`.
        reason: String,
    },
    /// A message came with a payload that nobody published.
    Bad {
        /// The topic.
        topic: String,
        /// The number that the library gives.
        sequence: u64,
    },
    /// A peer came or went, or something else was noticed; for people.
    Note {
        /// The rest of the line.
        text: String,
    },
    /// The process was told that all faults are over.
    Healed,
    /// The publisher was told to publish no more.
    Halted,
    /// The process was told to end. A log without this is that of a process that was killed.
    Ended,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.at;
        match &self.what {
            What::Started { role, label, id, wall } => write!(f, "started {at} {role} {label} {id} {wall}"),
            What::Subscribed { topic } => write!(f, "subscribed {at} {topic}"),
            What::Intent { topic, number, expiry } => write!(f, "intent {at} {topic} {number} {expiry}"),
            What::Sent { topic, number } => write!(f, "sent {at} {topic} {number}"),
            What::Kept { topic, number } => write!(f, "kept {at} {topic} {number}"),
            What::Got { topic, id, incarnation, sequence, label, number } => {
                write!(f, "got {at} {topic} {id} {incarnation} {sequence} {label} {number}")
            }
            What::Gap { topic, id, incarnation, from, to, reason } => {
                write!(f, "gap {at} {topic} {id} {incarnation} {from} {to} {reason}")
            }
            What::Bad { topic, sequence } => write!(f, "bad {at} {topic} {sequence}"),
            What::Note { text } => write!(f, "note {at} {text}"),
            What::Healed => write!(f, "healed {at}"),
            What::Halted => write!(f, "halted {at}"),
            What::Ended => write!(f, "ended {at}"),
        }
    }
}

impl Line {
    /// Reads a line; `None` if it is none of ours.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let kind = words.next()?;
        let at = words.next()?.parse().ok()?;
        if kind == "note" {
            let text = words.collect::<Vec<_>>().join(" ");
            return Some(Self { at, what: What::Note { text } });
        }
        let what = parse_rest(kind, &mut Words(&mut words))?;
        words.next().is_none().then_some(Self { at, what })
    }
}

/// The words that are left of a line.
struct Words<'a, 'b>(&'a mut std::str::Split<'b, char>);

impl Words<'_, '_> {
    fn text(&mut self) -> Option<String> {
        self.0.next().filter(|word| !word.is_empty()).map(str::to_owned)
    }

    fn number(&mut self) -> Option<u64> {
        self.0.next()?.parse().ok()
    }
}

fn parse_rest(kind: &str, words: &mut Words<'_, '_>) -> Option<What> {
    Some(match kind {
        "started" => {
            What::Started { role: words.text()?, label: words.text()?, id: words.text()?, wall: words.number()? }
        }
        "subscribed" => What::Subscribed { topic: words.text()? },
        "intent" => What::Intent { topic: words.text()?, number: words.number()?, expiry: words.number()? },
        "sent" => What::Sent { topic: words.text()?, number: words.number()? },
        "kept" => What::Kept { topic: words.text()?, number: words.number()? },
        "got" => What::Got {
            topic: words.text()?,
            id: words.text()?,
            incarnation: words.number()?,
            sequence: words.number()?,
            label: words.text()?,
            number: words.number()?,
        },
        "gap" => What::Gap {
            topic: words.text()?,
            id: words.text()?,
            incarnation: words.number()?,
            from: words.number()?,
            to: words.number()?,
            reason: words.text()?,
        },
        "bad" => What::Bad { topic: words.text()?, sequence: words.number()? },
        "healed" => What::Healed,
        "halted" => What::Halted,
        "ended" => What::Ended,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_reads_back() {
        let text = |text: &str| text.to_owned();
        let whats = [
            What::Started { role: text("publisher"), label: text("h1-pub-1"), id: text("abc"), wall: 7 },
            What::Subscribed { topic: text("all") },
            What::Intent { topic: text("all"), number: 1, expiry: 2_000 },
            What::Sent { topic: text("all"), number: 1 },
            What::Kept { topic: text("all"), number: 1 },
            What::Got { topic: text("all"), id: text("abc"), incarnation: 8, sequence: 1, label: text("l"), number: 1 },
            What::Gap { topic: text("all"), id: text("abc"), incarnation: 8, from: 1, to: 2, reason: text("Expired") },
            What::Bad { topic: text("all"), sequence: 3 },
            What::Note { text: text("peer up h1") },
            What::Healed,
            What::Halted,
            What::Ended,
        ];
        for what in whats {
            let line = Line { at: 42, what };
            assert_eq!(Line::parse(&line.to_string()), Some(line));
        }
    }

    #[test]
    fn other_lines_are_refused() {
        for bad in
            ["", "got", "got x all", "sent 1 all", "sent 1 all 2 3", "seen 1", "gap 1 all abc 8 1 2", "sent 1 all -2"]
        {
            assert_eq!(Line::parse(bad), None, "{bad}");
        }
    }
}
