//! Who may join a private network, and what each member may do there: a file of public keys.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::str::FromStr;
use std::sync::Arc;

use glue_security::PublicKey;

use crate::filter::Filter;
use crate::name::NameError;
use crate::permissions::{Permissions, Rules};

/// Which members of a private network an endpoint takes in, and what they may do. It is read from text, one line for each:
///
/// ```text
/// # Blank lines, and what follows a # at the beginning of a word, mean nothing.
/// <public key> [name] [publish=FILTER,..] [subscribe=FILTER,..] [cache=FILTER,..]
/// *                   [publish=FILTER,..] [subscribe=FILTER,..] [cache=FILTER,..]
/// ```
///
/// A line without permissions allows everything; one with any of them allows what it lists and nothing else, so
/// `publish=` alone makes a member that may only be there. The line of `*` is for all members of the network that have no
/// line of their own; without it, they are not taken in. A filter is that of subscriptions (`+`, `#`), without blanks and
/// commas; one that begins with a wildcard does not match topics that begin with `$`.
///
/// ```
/// use glue_topics::Trust;
///
/// let trust: Trust = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo= oven publish=site/oven/# subscribe=site/orders".parse()?;
/// let oven = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a".parse()?;
/// assert!(trust.admits(&oven));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust {
    members: BTreeMap<PublicKey, Rules>,
    /// For all others.
    others: Option<Rules>,
}

/// What is wrong with a line of the text of [`Trust`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrustProblem {
    /// The line does not begin with a public key.
    #[error("{0:?} is no public key: expected 32 bytes as base64 (44 characters) or hexadecimal (64 digits), or *")]
    Key(String),
    /// The key had a line before.
    #[error("this key has line {first} already")]
    Again {
        /// That line, from 1.
        first: usize,
    },
    /// A word is neither a name nor a permission.
    #[error(
        "{0:?} is no permission: expected publish=, subscribe= or cache=, each once, with filters separated by commas"
    )]
    Word(String),
    /// A permission has a bad filter.
    #[error("{filter:?} is no filter of topics: {error}")]
    Filter {
        /// As it stands there.
        filter: String,
        /// What is wrong.
        error: NameError,
    },
}

/// Why a text is no [`Trust`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseTrustError {
    /// A line is wrong.
    #[error("line {line}: {problem}")]
    Line {
        /// Which, from 1.
        line: usize,
        /// What is wrong.
        problem: TrustProblem,
    },
    /// There is no line. Nobody could join; but most likely the file is just being written.
    #[error("it names nobody: expected a line with a public key, or *")]
    Empty,
}

impl Trust {
    /// Whether a member is taken in.
    #[must_use]
    pub fn admits(&self, key: &PublicKey) -> bool {
        self.rule(key).is_some()
    }

    /// What is allowed to a member, `None` for everything; `None`: it is not taken in.
    #[must_use]
    pub fn rule(&self, key: &PublicKey) -> Option<&Option<Arc<Permissions>>> {
        self.members.get(key).or(self.others.as_ref())
    }
}

impl FromStr for Trust {
    type Err = ParseTrustError;

    fn from_str(text: &str) -> Result<Self, ParseTrustError> {
        let (mut trust, mut lines) = (Self { members: BTreeMap::new(), others: None }, BTreeMap::new());
        for (line, text) in (1..).zip(text.lines()) {
            let words = text.split_whitespace().take_while(|word| !word.starts_with('#'));
            trust
                .add(line, &words.collect::<Vec<_>>(), &mut lines)
                .map_err(|problem| ParseTrustError::Line { line, problem })?;
        }
        if lines.is_empty() { Err(ParseTrustError::Empty) } else { Ok(trust) }
    }
}

impl Trust {
    /// `lines`: where each key stands.
    fn add(
        &mut self,
        line: usize,
        words: &[&str],
        lines: &mut BTreeMap<Option<PublicKey>, usize>,
    ) -> Result<(), TrustProblem> {
        let Some((who, rest)) = words.split_first() else { return Ok(()) };
        let key = match *who {
            "*" => None,
            text => Some(text.parse().map_err(|_| TrustProblem::Key(shown(text)))?),
        };
        match lines.entry(key) {
            Entry::Occupied(before) => return Err(TrustProblem::Again { first: *before.get() }),
            Entry::Vacant(place) => _ = place.insert(line),
        }
        // The name is for those who read the file.
        let rest = rest.split_first().filter(|(word, _)| !word.contains('=')).map_or(rest, |(_, rest)| rest);
        let rule = rule(rest)?;
        match key {
            Some(key) => _ = self.members.insert(key, rule),
            None => self.others = Some(rule),
        }
        Ok(())
    }
}

fn rule(words: &[&str]) -> Result<Rules, TrustProblem> {
    let mut found: [Option<Vec<Filter>>; 3] = [None, None, None];
    for word in words {
        let (name, filters) = word.split_once('=').unwrap_or((word, ""));
        let place = KINDS.iter().position(|kind| *kind == name).and_then(|at| found.get_mut(at));
        let Some(place) = place.filter(|place| place.is_none() && word.contains('=')) else {
            return Err(TrustProblem::Word(shown(word)));
        };
        let filters = filters.split(',').filter(|filter| !filter.is_empty());
        *place = Some(filters.map(filter).collect::<Result<_, _>>()?);
    }
    if words.is_empty() {
        return Ok(None);
    }
    let [publish, subscribe, cache] = found.map(Option::unwrap_or_default);
    Ok(Some(Arc::new(Permissions { publish, subscribe, cache })))
}

fn filter(text: &str) -> Result<Filter, TrustProblem> {
    Filter::new(text, MAX_FILTER_BYTES).map_err(|error| TrustProblem::Filter { filter: shown(text), error })
}

/// As much of a word as a line of a log should have.
fn shown(text: &str) -> String {
    text.chars().take(MAX_SHOWN_CHARS).collect()
}

const KINDS: [&str; 3] = ["publish", "subscribe", "cache"];
/// As long as a topic may be.
const MAX_FILTER_BYTES: usize = 1_024;
const MAX_SHOWN_CHARS: usize = 80;

#[cfg(test)]
mod tests {
    use glue_security::Identity;

    use super::*;

    fn key(seed: u8) -> PublicKey {
        Identity::from_seed([seed; 32]).public_key()
    }

    fn parsed(text: &str) -> Trust {
        text.parse().unwrap()
    }

    fn problem(text: &str) -> String {
        text.parse::<Trust>().unwrap_err().to_string()
    }

    fn filters(texts: &[&str]) -> Vec<Filter> {
        texts.iter().map(|text| Filter::new(text, 64).unwrap()).collect()
    }

    #[test]
    fn a_line_without_permissions_allows_everything_and_one_with_any_what_it_lists() {
        let (one, two, three) = (key(1), key(2), key(3));
        let hex: String = two.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        let trust = parsed(&format!(
            "# who is who\n\n  {one} oven # the large one\r\n{hex} publish=a/#,b cache=#\n{three} watcher publish="
        ));
        assert_eq!(trust.rule(&one), Some(&None));
        let some = Permissions { publish: filters(&["a/#", "b"]), subscribe: vec![], cache: filters(&["#"]) };
        assert_eq!(trust.rule(&two), Some(&Some(Arc::new(some))));
        assert_eq!(trust.rule(&three), Some(&Some(Arc::default())));
        assert_eq!(trust.rule(&key(4)), None);
    }

    #[test]
    fn the_readme_s_file_is_one() {
        let (_, rest) = include_str!("../../README.md").split_once("```text\n# public key").unwrap();
        let trust = parsed(rest.split_once("```").unwrap().0.split_once('\n').unwrap().1);
        assert!(trust.rule(&key(1)).unwrap().is_some() && trust.rule(&key(3)).unwrap().is_some());
        assert_eq!((trust.rule(&key(2)), trust.admits(&key(4))), (Some(&None), true));
    }

    #[test]
    fn a_star_is_for_all_who_have_no_line() {
        let trust = parsed(&format!("* subscribe=public/#\n{} admin", key(1)));
        assert_eq!(trust.rule(&key(1)), Some(&None));
        let rule = trust.rule(&key(2)).cloned().flatten().unwrap();
        assert_eq!((rule.subscribe.clone(), rule.publish.len()), (filters(&["public/#"]), 0));
        assert!(parsed("*").admits(&key(2)));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line_and_what_is_expected() {
        let one = key(1);
        let expected = "is no public key: expected 32 bytes as base64 (44 characters) or hexadecimal (64 digits), or *";
        assert_eq!(problem("*\noven publish=#"), format!("line 2: \"oven\" {expected}"));
        assert_eq!(problem(&format!("{one}\n#\n{one} oven")), "line 3: this key has line 1 already");
        let expected =
            "is no permission: expected publish=, subscribe= or cache=, each once, with filters separated by commas";
        for word in ["write=a", "two", "publish", "publish=a"] {
            let text = format!("{one} oven publish=b {word}");
            assert_eq!(problem(&text), format!("line 1: {word:?} {expected}"));
        }
        let bad = problem(&format!("{one} subscribe=a,b#"));
        assert!(
            bad.starts_with("line 1: \"b#\" is no filter of topics: wildcard '#' at byte 1 is out of place"),
            "{bad}"
        );
        assert!(problem(&format!("{one} subscribe=$share/g/a")).starts_with("line 1: \"$share/g/a\" is no filter"));
        assert_eq!(problem("# nobody\n"), "it names nobody: expected a line with a public key, or *");
        assert!(problem(&"x".repeat(1_000)).len() < 300);
    }
}
