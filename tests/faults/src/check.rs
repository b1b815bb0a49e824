//! The external checker: from what publishers and subscribers logged alone, says what is not as promised.
//!
//! A *life* is one process from its start to its end: one log. A life *lasts* if it was told that all faults are over and
//! was not killed before the end of the run. All logs have the times of one clock.
//!
//! For each subscriber's life S, publisher's life L and topic, whether they last or not:
//!
//! 1. *Order*: what S is told of L, messages and gaps, goes up by one from the first to the last, without holes. A number
//!    that comes again is a duplicate, if its message was delivered, and disorder otherwise. A number that is passed over is
//!    lost in silence.
//! 2. *Truth*: a payload comes whole, from the life and with the number that it was published by, and L has logged that it
//!    was about to publish it.
//! 3. *Gaps*: a gap says `Expired`, of messages whose time was over when it was told, or `PublisherGone`, when L had logged
//!    its last line. No other reason is true here: all topics are reliable, and far below every limit.
//!
//! A message that L logged as sent is *owed* to S, which must have been delivered it or told that it expired, if S lasts and
//!
//! 4. L lasts, and S was told of an earlier message or a gap of L; or the publisher keeps the topic's history, for which S
//!    asks; or it was published when L and S had been told 10 s before that all faults are over.
//! 5. Or, whether L lasts or not: L logged that a cache has it, and the only cache of the run lasts.

use std::collections::BTreeMap;
use std::fmt;

use crate::clock::SECOND;
use crate::life::{Item, Life, Origin, Published, Told};
use crate::topics::Topic;

/// What is not as promised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What kind of thing.
    pub kind: Kind,
    /// Who was told, or should have been.
    pub subscriber: String,
    /// Of whom.
    pub publisher: String,
    /// The topic.
    pub topic: String,
    /// The first number.
    pub from: u64,
    /// The last number.
    pub to: u64,
    /// When it was told; 0 if it was not.
    pub at: u64,
}

/// Kinds of findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Owed, and neither delivered nor expired.
    Lost,
    /// Passed over without a gap.
    Silent,
    /// Delivered again.
    Duplicate,
    /// Told after a later one.
    Disorder,
    /// Said to be expired, or its publisher to be gone, when that was not so; or a reason that is none here.
    FalseGap,
    /// Not what was published.
    Invented,
    /// A payload that did not come whole.
    Damaged,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, subscriber, publisher, topic, from, to, at } = self;
        write!(f, "{kind:?}: {topic} {from} to {to} of {publisher} at {subscriber}, time {at}")
    }
}

/// What was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Lives.
    pub lives: u64,
    /// Of these lasted to the end.
    pub lasting: u64,
    /// Messages that were published.
    pub published: u64,
    /// Deliveries.
    pub delivered: u64,
    /// Pairs of a message and a subscriber to whom it was owed.
    pub owed: u64,
    /// Of these were told to be expired, truly.
    pub expired: u64,
    /// Of these were told to be expired though all faults were over for 10 s: of what a loaded machine holds up.
    pub expired_in_calm: u64,
    /// Messages told as gaps since their publisher was killed.
    pub gone: u64,
    /// Messages that were delivered a second or more after they expired, by the clock of the logs: the time on the way is
    /// not counted by the library, and it includes that in the buffers of a stopped process.
    pub late: u64,
}

/// What the checker says.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// What is not as promised.
    pub findings: Vec<Finding>,
    /// What was looked at.
    pub figures: Figures,
}

impl Verdict {
    /// Whether nothing is missing.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.findings.iter().all(|finding| finding.kind != Kind::Lost)
    }

    /// How many messages are concerned by findings of a kind.
    #[must_use]
    pub fn count(&self, kind: Kind) -> u64 {
        self.findings.iter().filter(|finding| finding.kind == kind).map(|found| found.to - found.from + 1).sum()
    }
}

/// Checks the logs of a run. `is_running`: it has not ended yet, and who was told that all faults are over lasts so far.
#[must_use]
pub fn check(lives: &[Life], is_running: bool) -> Verdict {
    let mut checker = Checker { lives, is_running, verdict: Verdict::default() };
    checker.check_all();
    checker.verdict
}

struct Checker<'a> {
    lives: &'a [Life],
    is_running: bool,
    verdict: Verdict,
}

/// A subscriber, a publisher, and a topic.
#[derive(Clone, Copy)]
struct Pair<'a> {
    subscriber: &'a Life,
    publisher: &'a Life,
    topic: &'a str,
    published: &'a [Published],
}

/// What a subscriber was told of each number.
type Account = BTreeMap<u64, Fate>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Delivered,
    Expired,
    /// A gap for another reason.
    Missing,
}

impl<'a> Checker<'a> {
    fn check_all(&mut self) {
        let lives = self.lives;
        for life in lives {
            let figures = &mut self.verdict.figures;
            figures.lives += 1;
            figures.lasting += u64::from(self.is_running && life.healed.is_some() || life.ended.is_some());
            figures.published += life.published.values().flatten().filter(|one| one.sent.is_some()).count() as u64;
            self.check_origins(life);
            for topic in life.subscribed.keys() {
                for publisher in lives.iter().filter(|publisher| publisher.published.contains_key(topic)) {
                    self.check_pair(life, publisher, topic);
                }
            }
        }
    }

    /// That nothing comes from nowhere.
    fn check_origins(&mut self, life: &'a Life) {
        if life.damaged > 0 {
            let nobody = Life::default();
            let pair = Pair { subscriber: life, publisher: &nobody, topic: "", published: &[] };
            self.find(Kind::Damaged, pair, (1, life.damaged), life.last);
        }
        for (origin, told) in &life.told {
            let publisher = self.publisher(origin);
            let is_known = publisher.is_some_and(|publisher| publisher.published.contains_key(&origin.topic));
            if let (false, Some(first), Some(last)) = (is_known, told.first(), told.last()) {
                let unknown = Life { label: format!("{} {}", origin.id, origin.incarnation), ..Life::default() };
                let pair = Pair { subscriber: life, publisher: &unknown, topic: &origin.topic, published: &[] };
                self.find(Kind::Invented, pair, (first.from, last.to.max(first.from)), first.at);
            }
        }
    }

    /// Whose life an origin is: of those with its id the last that had begun when its incarnation was taken.
    fn publisher(&self, origin: &Origin) -> Option<&'a Life> {
        let of_id = self.lives.iter().filter(|life| life.id == origin.id && life.wall <= origin.incarnation);
        of_id.max_by_key(|life| life.wall)
    }

    fn check_pair(&mut self, subscriber: &'a Life, publisher: &'a Life, topic: &'a str) {
        let Some(published) = publisher.published.get(topic) else { return };
        let pair = Pair { subscriber, publisher, topic, published };
        let mut account = Account::new();
        let mut first = None;
        for (origin, told) in &subscriber.told {
            let is_ours =
                origin.topic == topic && self.publisher(origin).is_some_and(|life| life.label == publisher.label);
            if is_ours {
                first = told.first().map(|told| told.from);
                self.check_order(pair, told, &mut account);
            }
        }
        if self.lasts(subscriber) {
            self.check_owed(pair, first, &account);
        }
    }

    fn check_order(&mut self, pair: Pair<'a>, told: &[Told], account: &mut Account) {
        let mut next = None;
        for told in told {
            let expected = next.unwrap_or(told.from);
            if told.from < expected {
                let again = account.get(&told.from) == Some(&Fate::Delivered) && matches!(told.item, Item::Message(..));
                let kind = if again { Kind::Duplicate } else { Kind::Disorder };
                self.find(kind, pair, (told.from, told.to), told.at);
            } else if told.from > expected {
                self.find(Kind::Silent, pair, (expected, told.from - 1), told.at);
            }
            next = Some(expected.max(told.to.saturating_add(1)));
            match &told.item {
                Item::Message(label, number) => self.check_message(pair, told, (label.as_str(), *number), account),
                Item::Gap(reason) => self.check_gap(pair, told, reason, account),
            }
        }
    }

    fn check_message(&mut self, pair: Pair<'a>, told: &Told, payload: (&str, u64), account: &mut Account) {
        self.verdict.figures.delivered += 1;
        account.insert(told.from, Fate::Delivered);
        match pair.message(told.from) {
            Some(message) if payload == (pair.publisher.label.as_str(), told.from) => {
                self.verdict.figures.late += u64::from(told.at > message.expires.saturating_add(SECOND));
            }
            _ => self.find(Kind::Invented, pair, (told.from, told.to), told.at),
        }
    }

    fn check_gap(&mut self, pair: Pair<'a>, told: &Told, reason: &str, account: &mut Account) {
        let (from, to) = (told.from, told.to);
        if from == 0 || to < from || to > pair.published.len() as u64 {
            self.find(Kind::FalseGap, pair, (from, to.max(from)), told.at);
            return;
        }
        for number in from..=to {
            let expires = pair.message(number).map_or(0, |message| message.expires);
            let (fate, is_true) = match reason {
                "Expired" => (Fate::Expired, told.at.saturating_add(EARLY) >= expires),
                "PublisherGone" => (Fate::Missing, pair.publisher.last < told.at),
                _ => (Fate::Missing, false),
            };
            self.verdict.figures.gone += u64::from(reason == "PublisherGone");
            account.entry(number).or_insert(fate);
            if !is_true {
                self.find(Kind::FalseGap, pair, (number, number), told.at);
            }
        }
    }

    fn check_owed(&mut self, pair: Pair<'a>, first: Option<u64>, account: &Account) {
        for (number, message) in (1..).zip(pair.published) {
            if message.sent.is_none() || !self.is_owed(pair, first, number, message) {
                continue;
            }
            let fate = account.get(&number);
            let figures = &mut self.verdict.figures;
            figures.owed += 1;
            figures.expired += u64::from(fate == Some(&Fate::Expired));
            figures.expired_in_calm += u64::from(fate == Some(&Fate::Expired) && message.intent >= pair.calm());
            if !matches!(fate, Some(Fate::Delivered | Fate::Expired)) {
                self.find(Kind::Lost, pair, (number, number), 0);
            }
        }
    }

    fn is_owed(&self, pair: Pair<'a>, first: Option<u64>, number: u64, message: &Published) -> bool {
        let follows = first.is_some_and(|first| number > first);
        let has_history = Topic::named(pair.topic).is_some_and(|topic| topic.history);
        let by_publisher = self.lasts(pair.publisher) && (follows || has_history || message.intent >= pair.calm());
        by_publisher || message.kept.is_some() && self.cache_lasts()
    }

    fn cache_lasts(&self) -> bool {
        let mut caches = self.lives.iter().filter(|life| life.role == "cache");
        caches.next().is_some_and(|cache| self.lasts(cache)) && caches.next().is_none()
    }

    fn lasts(&self, life: &Life) -> bool {
        life.healed.is_some() && (self.is_running || life.ended.is_some())
    }

    /// Notes a finding; one that continues the last is joined to it.
    fn find(&mut self, kind: Kind, pair: Pair<'_>, (from, to): (u64, u64), at: u64) {
        let (subscriber, publisher) = (pair.subscriber.label.clone(), pair.publisher.label.clone());
        let found = Finding { kind, subscriber, publisher, topic: pair.topic.to_owned(), from, to, at };
        if let Some(last) = self.verdict.findings.last_mut()
            && last.to + 1 == from
            && *last == (Finding { from: last.from, to: last.to, ..found.clone() })
        {
            last.to = to;
            return;
        }
        self.verdict.findings.push(found);
    }
}

impl<'a> Pair<'a> {
    fn message(&self, number: u64) -> Option<&'a Published> {
        self.published.get(usize::try_from(number).ok()?.checked_sub(1)?)
    }

    /// From when on no fault excuses anything between the two.
    fn calm(&self) -> u64 {
        let healed = self.subscriber.healed.zip(self.publisher.healed);
        healed.map_or(u64::MAX, |(subscriber, publisher)| subscriber.max(publisher) + CALM)
    }
}

/// Nothing is said to be expired sooner. Messages of a bundle have one header, so their ages are rounded by a millisecond.
const EARLY: u64 = SECOND / 20;
/// Endpoints that were apart find each other within an interval of announcements, which is 1 s; with a loaded machine in mind.
const CALM: u64 = 10 * SECOND;

#[cfg(test)]
mod tests;
