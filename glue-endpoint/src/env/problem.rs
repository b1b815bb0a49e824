//! What is wrong with an environment, told so that it can be put right.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::num::{ParseFloatError, ParseIntError};

use glue_net::ParseEndpointIdError;
use glue_security::KeyError;

use super::address::AddressError;
use super::variables::{self, Variable};

/// Environment variables with malformed values. Shown with one line for each: the variable, its value, what is expected
/// (in its [`Debug`] form too, since that is what `main` prints).
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
pub struct EnvError {
    problems: Vec<Problem>,
}

impl EnvError {
    /// The names of the malformed variables, at least one, in the order of
    /// [`Settings::VARIABLES`](crate::Settings::VARIABLES).
    pub fn variables(&self) -> impl Iterator<Item = &'static str> {
        self.problems.iter().map(|problem| problem.variable.name)
    }
}

impl fmt::Display for EnvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.problems.iter().enumerate() {
            let separator = if i == 0 { "" } else { "\n" };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for EnvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A `GLUE_*` variable that is not read by anything, and so most likely a slip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownVariable {
    name: String,
}

impl UnknownVariable {
    pub(super) fn new(name: String) -> Self {
        Self { name }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The variable that was probably meant: the one whose name differs least, if by no more than a quarter of it. With
    /// a third, as compilers allow for their names, one long last word would pass for another.
    #[must_use]
    pub fn suggestion(&self) -> Option<&'static str> {
        let own_part = |name: &str| name.trim_start_matches(variables::PREFIX).to_ascii_uppercase();
        let given = own_part(&self.name);
        let distances = variables::ALL.iter().map(|v| (distance(&given, &own_part(v.name)), v.name));
        let (nearest, name) = distances.min_by_key(|(distance, _)| *distance)?;
        (nearest <= own_part(name).len() / 4).then_some(name)
    }
}

impl fmt::Display for UnknownVariable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not known; ", self.name.escape_debug())?;
        match self.suggestion() {
            Some(name) => write!(f, "did you mean {name}?"),
            None => f.write_str("README.md lists the variables"),
        }
    }
}

/// Collects what is wrong.
#[derive(Default)]
pub(super) struct Problems(Vec<Problem>);

impl Problems {
    pub(super) fn add(&mut self, variable: &'static Variable, value: OsString, reason: Reason) {
        self.0.push(Problem { variable, value, reason });
    }

    /// Sets `field` to what the text means, if there is one.
    pub(super) fn set<T>(
        &mut self,
        field: &mut T,
        variable: &'static Variable,
        text: Option<String>,
        parse: impl FnOnce(&str) -> Result<T, Reason>,
    ) {
        let Some(text) = text else { return };
        match parse(&text) {
            Ok(value) => *field = value,
            Err(reason) => self.add(variable, text.into(), reason),
        }
    }

    pub(super) fn into_result<T>(mut self, value: T) -> Result<T, EnvError> {
        if self.0.is_empty() {
            return Ok(value);
        }
        self.0.sort_by_key(|problem| variables::ALL.iter().position(|v| v == problem.variable));
        Err(EnvError { problems: self.0 })
    }
}

/// Why a value does not fit, if more is to be said than what is expected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Reason(Option<String>);

impl From<AddressError> for Reason {
    fn from(error: AddressError) -> Self {
        Self(Some(error.to_string()))
    }
}

impl From<ParseEndpointIdError> for Reason {
    fn from(_: ParseEndpointIdError) -> Self {
        Self(None)
    }
}

/// Nothing is told of what is nearly a secret.
impl From<KeyError> for Reason {
    fn from(_: KeyError) -> Self {
        Self(None)
    }
}

impl From<ParseFloatError> for Reason {
    fn from(_: ParseFloatError) -> Self {
        Self(None)
    }
}

impl From<ParseIntError> for Reason {
    fn from(_: ParseIntError) -> Self {
        Self(None)
    }
}

/// A malformed value.
#[derive(Clone, PartialEq, Eq)]
struct Problem {
    variable: &'static Variable,
    value: OsString,
    reason: Reason,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self.variable == variables::NETWORK_KEY {
            true => write!(f, "{} is no key", self.variable.name)?,
            false => write!(f, "{} is {}", self.variable.name, Shown(&self.value))?,
        }
        write!(f, ": expected {}", self.variable.expected)?;
        match &self.reason.0 {
            Some(reason) => write!(f, " ({reason})"),
            None if self.value.to_str().is_none() => f.write_str(" (it is not UTF-8)"),
            None => Ok(()),
        }
    }
}

/// A value in quotes, on one line of bounded length.
pub(super) struct Shown<'a>(pub(super) &'a OsStr);

impl Shown<'_> {
    /// Two KSUIDs or addresses with room to spare.
    const MAX_CHARS: usize = 80;
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string_lossy();
        match text.char_indices().nth(Self::MAX_CHARS) {
            None => write!(f, "{:?}", self.0),
            Some(_) => {
                let start: String = text.chars().take(Self::MAX_CHARS).collect();
                write!(f, "{start:?}.. ({} bytes)", self.0.len())
            }
        }
    }
}

/// How many characters must be added, removed or replaced to make one text of the other (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    // One row of the table, without its first column.
    let mut row: Vec<usize> = (1..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let (mut diagonal, mut left) = (i, i + 1);
        for (cell, to) in row.iter_mut().zip(&b) {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = *cell;
            left = replaced.min(left + 1).min(*cell + 1);
            *cell = left;
        }
    }
    row.last().copied().unwrap_or_else(|| a.chars().count())
}
