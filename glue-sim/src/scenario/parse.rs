//! Scenarios from text: what [`print`](super::print) writes.

use std::error::Error;
use std::fmt::{self, Display, Formatter};
use std::str::{FromStr, SplitWhitespace};
use std::time::Duration;

use super::print::UNITS;
use super::{Fault, Impairment, Scenario, Scope, Step};
use crate::{Bursts, Hostile, NodeId, Shape, Sort, Trick};

/// Why a text is no scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseScenarioError {
    /// The line, or part between semicolons, that is not understood; empty if the text ends too early.
    pub part: String,
    /// What stands at the word that is not understood, or that something is missing.
    pub problem: String,
}

impl Display for ParseScenarioError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.part, self.problem)
    }
}

impl Error for ParseScenarioError {}

/// Reads lines, or parts between semicolons. Empty ones, and those with `#` in front, say nothing.
impl FromStr for Scenario {
    type Err = ParseScenarioError;

    fn from_str(text: &str) -> Result<Self, ParseScenarioError> {
        let parts = text.split(['\n', ';']).map(str::trim).filter(|part| !part.is_empty() && !part.starts_with('#'));
        let mut scenario: Option<Self> = None;
        for part in parts {
            let mut words = Words(part.split_whitespace());
            let read = match &mut scenario {
                None => words.head().map(|head| scenario = Some(head)),
                Some(scenario) => words.part(scenario),
            };
            read.and_then(|()| words.end()).map_err(|problem| ParseScenarioError { part: part.to_owned(), problem })?;
        }
        let missing = || ParseScenarioError { part: String::new(), problem: "no scenario in the text".to_owned() };
        let scenario = scenario.ok_or_else(missing)?;
        scenario.check()?;
        Ok(scenario)
    }
}

impl Scenario {
    /// Nothing names a node that there is not.
    fn check(&self) -> Result<(), ParseScenarioError> {
        let is_there = |node: NodeId| node.index() < self.nodes as usize;
        match self.steps.iter().find(|step| !step.fault.names().all(is_there)) {
            None => Ok(()),
            Some(step) => Err(ParseScenarioError {
                part: step.to_string(),
                problem: format!("a node from 0 to {} expected", i64::from(self.nodes) - 1),
            }),
        }
    }
}

/// The words of a part that were not read yet.
struct Words<'a>(SplitWhitespace<'a>);

type Parsed<T> = Result<T, String>;

impl<'a> Words<'a> {
    fn word(&mut self) -> Parsed<&'a str> {
        self.0.next().ok_or_else(|| "another word expected at the end".to_owned())
    }

    fn end(&mut self) -> Parsed<()> {
        self.0.next().map_or(Ok(()), |word| Err(format!("{word:?} is one word too many")))
    }

    fn expect(&mut self, expected: &str) -> Parsed<()> {
        let word = self.word()?;
        if word == expected { Ok(()) } else { Err(format!("{expected:?} expected, not {word:?}")) }
    }

    fn number<T: FromStr>(&mut self) -> Parsed<T> {
        let word = self.word()?;
        word.parse().map_err(|_| format!("a number expected, not {word:?}"))
    }

    fn share(&mut self) -> Parsed<f64> {
        let share: f64 = self.number()?;
        if (0.0..=1.0).contains(&share) { Ok(share) } else { Err(format!("a share from 0 to 1 expected, not {share}")) }
    }

    fn node(&mut self) -> Parsed<NodeId> {
        self.number().map(NodeId::new)
    }

    fn time(&mut self) -> Parsed<Duration> {
        let word = self.word()?;
        let problem = || format!("a time as 5s, 20ms, 300us or 7ns expected, not {word:?}");
        let digits = word.trim_end_matches(|c: char| !c.is_ascii_digit());
        let number: u64 = digits.parse().map_err(|_| problem())?;
        let unit = UNITS.into_iter().find(|(unit, _)| Some(*unit) == word.get(digits.len()..));
        let (_, per) = unit.ok_or_else(problem)?;
        let nanos = u64::try_from(u128::from(number) * per).map_err(|_| problem())?;
        Ok(Duration::from_nanos(nanos))
    }

    /// Shorter ones would only take long to play.
    fn period(&mut self) -> Parsed<Duration> {
        let period = self.time()?;
        let is_long = period >= Duration::from_millis(1);
        if is_long { Ok(period) } else { Err("a period of 1ms or more expected".to_owned()) }
    }

    fn head(&mut self) -> Parsed<Scenario> {
        self.expect("scenario")?;
        self.expect("nodes")?;
        let nodes = self.number()?;
        self.expect("seed")?;
        let seed = self.number()?;
        self.expect("for")?;
        Ok(Scenario::new(seed, nodes, self.time()?))
    }

    fn part(&mut self, scenario: &mut Scenario) -> Parsed<()> {
        match self.word()? {
            "link" => {
                let word = self.word()?;
                let impairment = self.impairment(word)?;
                scenario.link.push(impairment.ok_or_else(|| format!("links do not do {word:?}"))?);
            }
            "set" => {
                let name = self.word()?.to_owned();
                scenario.settings.insert(name, self.number()?);
            }
            "at" => {
                let at = self.time()?;
                self.expect("for")?;
                let (last, fault) = (self.time()?, self.fault()?);
                scenario.steps.push(Step { at, last, fault });
            }
            word => return Err(format!("\"link\", \"set\" or \"at\" expected, not {word:?}")),
        }
        Ok(())
    }

    fn fault(&mut self) -> Parsed<Fault> {
        let word = self.word()?;
        Ok(match word {
            "buffer" => Fault::Buffer(self.node()?, self.number()?),
            "busy" => Fault::Busy(self.node()?, self.time()?),
            "clock-jump" => Fault::ClockJump(self.node()?, self.time()?),
            "crash" => Fault::Crash(self.node()?),
            "drift" => Fault::Drift(self.node()?, self.number()?),
            "flap" => Fault::Flap(self.period()?, self.shape()?),
            "freeze" => Fault::Freeze(self.node()?),
            "hostile" => Fault::Hostile(self.hostile()?),
            "move" => Fault::Move(self.node()?),
            "no-multicast" => Fault::NoMulticast,
            "no-unicast" => Fault::NoUnicast,
            "partition" => Fault::Partition(self.shape()?),
            "rebind" => Fault::Rebind(self.node()?),
            "storm" => Fault::Storm(self.number()?),
            "wall-jump" => Fault::WallJump(self.node()?, self.number()?),
            _ => {
                let impairment = self.impairment(word)?.ok_or_else(|| format!("no fault is called {word:?}"))?;
                Fault::Link(self.scope()?, impairment)
            }
        })
    }

    /// `None`: it is called otherwise.
    fn impairment(&mut self, word: &str) -> Parsed<Option<Impairment>> {
        Ok(Some(match word {
            "bursts" => {
                let [begin, end, loss_within, loss_between] =
                    [self.share()?, self.share()?, self.share()?, self.share()?];
                Impairment::Bursts(Bursts { begin, end, loss_within, loss_between })
            }
            "corrupt" => Impairment::Corrupt(self.share()?),
            "duplicate" => Impairment::Duplicate(self.share()?),
            "jitter" => Impairment::Jitter(self.time()?),
            "latency" => Impairment::Latency(self.time()?),
            "loss" => Impairment::Loss(self.share()?),
            "lose-control" => Impairment::Sift(Sort::Control, self.share()?),
            "lose-data" => Impairment::Sift(Sort::Data, self.share()?),
            "lose-longer" => Impairment::Sift(Sort::LongerThan(self.number()?), self.share()?),
            "lose-multicast" => Impairment::Sift(Sort::Multicast, self.share()?),
            "lose-shorter" => Impairment::Sift(Sort::ShorterThan(self.number()?), self.share()?),
            "lose-unicast" => Impairment::Sift(Sort::Unicast, self.share()?),
            "mtu" => Impairment::Mtu(self.number()?),
            "rate" => Impairment::Rate(self.number()?, self.time()?),
            "reorder" => Impairment::Reorder(self.share()?, self.time()?),
            _ => return Ok(None),
        }))
    }

    fn scope(&mut self) -> Parsed<Scope> {
        let mut rest = self.0.clone();
        match rest.next() {
            None => Ok(Scope::All),
            Some("to") => {
                self.expect("to")?;
                Ok(Scope::To(self.node()?))
            }
            Some(_) => {
                self.expect("from")?;
                let from = self.node()?;
                if self.0.clone().next().is_none() {
                    return Ok(Scope::From(from));
                }
                self.expect("to")?;
                Ok(Scope::Between(from, self.node()?))
            }
        }
    }

    fn shape(&mut self) -> Parsed<Shape> {
        Ok(match self.word()? {
            "halves" => Shape::Halves,
            "isolated" => Shape::Isolated(self.node()?),
            "non-transitive" => Shape::NonTransitive,
            "one-way" => Shape::OneWay(self.node()?, self.node()?),
            "thirds" => Shape::Thirds,
            word => return Err(format!("no partition is called {word:?}")),
        })
    }

    fn hostile(&mut self) -> Parsed<Hostile> {
        let rate = self.share()?;
        if rate > 0.5 {
            return Err(format!("a rate from 0 to 0.5 expected, not {rate}"));
        }
        let mut hostile = Hostile { rate, tricks: Vec::new(), spoofs: false };
        for word in self.0.by_ref() {
            match Trick::ALL.into_iter().find(|trick| trick.word() == word) {
                Some(trick) => hostile.tricks.push(trick),
                None if word == "spoof" => hostile.spoofs = true,
                None => return Err(format!("no trick is called {word:?}")),
            }
        }
        Ok(hostile)
    }
}
