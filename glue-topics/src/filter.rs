//! What a subscription asks for: topic filters, as in MQTT 5, section 4.7.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use crate::name::{NameError, TopicName, TypeName, check_text, reads_as_text};

/// A filter of topics. Levels stand between slashes; `+` stands for one level, whatever it is, and `#`, at the end, for
/// any number of levels, none included: `a/#` matches `a`, `a/b` and `a/b/c`.
///
/// A filter that begins with a wildcard matches no topic that begins with `$`.
///
/// ```
/// let filter = glue_topics::Filter::new("site/+/temperature", 1_024)?;
/// assert!(filter.matches("site/oven/temperature") && !filter.matches("site/oven/left/temperature"));
/// # Ok::<(), glue_topics::NameError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Filter(pub(crate) Arc<str>);

impl Filter {
    pub(crate) const ALL: &str = "#";

    /// Checks a filter of at most `limit` bytes. [Shared](Share) filters are refused.
    ///
    /// # Errors
    /// [`NameError`] tells what is wrong, and where.
    pub fn new(text: &str, limit: usize) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        check_text(text, limit)?;
        if text.starts_with(SHARED) {
            return Err(NameError::Shared);
        }
        match text.char_indices().find(|(at, _)| is_misplaced(text, *at)) {
            Some((at, character)) => Err(NameError::Misplaced { at, character }),
            None => Ok(Self(text.into())),
        }
    }

    /// Whether messages of `topic` are wanted.
    #[must_use]
    pub fn matches(&self, topic: &str) -> bool {
        if topic.starts_with('$') && self.begins_open() {
            return false;
        }
        let (mut wanted, mut given) = (self.split('/'), topic.split('/'));
        loop {
            match (wanted.next(), given.next()) {
                (Some("#"), _) | (None, None) => return true,
                (Some("+"), Some(_)) => {}
                (Some(wanted), Some(given)) if wanted == given => {}
                _ => return false,
            }
        }
    }

    /// Whether it matches every topic that `narrower` matches.
    pub(crate) fn covers(&self, narrower: &Self) -> bool {
        if narrower.starts_with('$') && self.begins_open() {
            return false;
        }
        let (mut wider, mut levels) = (self.split('/'), narrower.split('/'));
        loop {
            match (wider.next(), levels.next()) {
                (Some("#"), _) | (None, None) => return true,
                (Some("+"), Some(level)) if level != "#" => {}
                (Some(wanted), Some(level)) if wanted == level => {}
                _ => return false,
            }
        }
    }

    /// The text that it was made of.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self
    }

    /// The topic that it names, if it has no wildcard.
    #[must_use]
    pub fn topic(&self) -> Option<TopicName> {
        (!self.is_open()).then(|| TopicName::of_filter(self))
    }

    /// Whether it has wildcards.
    pub(crate) fn is_open(&self) -> bool {
        self.contains(WILDCARDS)
    }

    /// The type of a subscription to it that was given `type_name`: `#` takes every type, as with the reference.
    pub(crate) fn type_name(&self, type_name: TypeName) -> TypeName {
        if self.as_str() == Self::ALL { TypeName::any() } else { type_name }
    }

    /// Whether it begins with a wildcard.
    pub(crate) fn begins_open(&self) -> bool {
        self.starts_with(WILDCARDS)
    }
}

/// A filter that a group of subscribers shares, so that each message goes to one of them: `$share/<group>/<filter>`, as in
/// MQTT 5, section 4.8.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share<'a> {
    /// The name of the group: at least one character, no control character, none of `/`, `+` and `#`.
    pub group: &'a str,
    /// The filter, as it stands there: [`Share::filter`] checks it.
    pub filter: &'a str,
}

impl<'a> Share<'a> {
    /// Takes a shared filter apart; `None`: it is none.
    ///
    /// # Errors
    /// [`NameError`] for a bad group, or if one of the two parts is missing.
    pub fn split(text: &'a str) -> Result<Option<Self>, NameError> {
        let Some(rest) = text.strip_prefix(SHARED) else { return Ok(None) };
        let (group, filter) = rest.split_once('/').ok_or(NameError::Unshared { at: text.len() })?;
        if group.is_empty() || filter.is_empty() {
            let at = if group.is_empty() { SHARED.len() } else { text.len() };
            return Err(NameError::Unshared { at });
        }
        check_text(group, group.len()).map_err(|error| error.moved(SHARED.len()))?;
        match group.char_indices().find(|(_, c)| WILDCARDS.contains(c)) {
            Some((at, character)) => Err(NameError::Wildcard { at, character }.moved(SHARED.len())),
            None => Ok(Some(Self { group, filter })),
        }
    }

    /// Checks the filter, of at most `limit` bytes.
    ///
    /// # Errors
    /// [`NameError`] tells what is wrong, and where in the whole text.
    pub fn filter(&self, limit: usize) -> Result<Filter, NameError> {
        Filter::new(self.filter, limit).map_err(|error| error.moved(SHARED.len() + self.group.len() + 1))
    }
}

reads_as_text!(Filter);

/// Whether there is a wildcard at byte `at` that does not fill its level, or is `#` and not the last.
fn is_misplaced(text: &str, at: usize) -> bool {
    let (Some(before), Some(rest)) = (text.get(..at), text.get(at..)) else { return false };
    let begins = before.is_empty() || before.ends_with('/');
    match rest.as_bytes() {
        [b'#', after @ ..] => !begins || !after.is_empty(),
        [b'+', after @ ..] => !begins || !matches!(after, [] | [b'/', ..]),
        _ => false,
    }
}

/// What may stand for a level or more.
pub(crate) const WILDCARDS: [char; 2] = ['#', '+'];
/// How shared filters begin.
const SHARED: &str = "$share/";

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(filter: &str, topic: &str) -> bool {
        Filter::new(filter, 64).unwrap().matches(topic)
    }

    #[test]
    fn the_examples_of_the_standard_hold() {
        for topic in ["sport/tennis/player1", "sport/tennis/player1/ranking", "sport/tennis/player1/score/wimbledon"] {
            assert!(matches("sport/tennis/player1/#", topic), "{topic}");
        }
        assert!(matches("sport/#", "sport"));
        assert!(matches("sport/tennis/+", "sport/tennis/player2"));
        assert!(!matches("sport/tennis/+", "sport/tennis/player1/ranking"));
        assert!(!matches("sport/+", "sport"));
        assert!(matches("sport/+", "sport/"));
        assert!(matches("+/+", "/finance") && matches("/+", "/finance") && !matches("+", "/finance"));
        assert!(!matches("#", "$SYS/monitor") && !matches("+/monitor/Clients", "$SYS/monitor/Clients"));
        assert!(matches("$SYS/#", "$SYS/") && matches("$SYS/monitor/+", "$SYS/monitor/Clients"));
    }

    #[test]
    fn levels_match_whole_and_by_case() {
        assert!(matches("a", "a") && !matches("a", "A") && !matches("a", "a/") && !matches("a/", "a"));
        assert!(matches("a/+/c", "a//c") && matches("a/+/#", "a/b") && !matches("a/+/#", "a"));
        assert!(!matches("ab/#", "abc") && matches("#", "a") && matches("#", "/") && matches("+/#", "a/b/c"));
        assert!(matches("é/+", "é/ü"));
        assert!(!matches("+", "$a") && !matches("+/#", "$a/b") && matches("a/+", "a/$b"));
    }

    #[test]
    fn a_filter_covers_what_lies_within_it() {
        let covers = |wider, narrower| Filter::new(wider, 64).unwrap().covers(&Filter::new(narrower, 64).unwrap());
        for (wider, narrower) in
            [("#", "#"), ("#", "+/a"), ("a/#", "a"), ("a/#", "a/+/#"), ("a/+", "a/b"), ("+/#", "+"), ("$a/#", "$a/b")]
        {
            assert!(covers(wider, narrower), "{wider} {narrower}");
        }
        for (wider, narrower) in [
            ("a/+", "a/#"),
            ("a", "+"),
            ("a/b", "a/+"),
            ("#", "$a"),
            ("a/#", "#"),
            ("+", "a/b"),
            ("a/+", "a"),
            ("+", "#"),
        ] {
            assert!(!covers(wider, narrower), "{wider} {narrower}");
        }
    }

    #[test]
    fn a_bad_filter_tells_what_is_wrong_and_where() {
        let error = |text| Filter::new(text, 16).unwrap_err();
        for (text, at, character) in
            [("a#", 1, '#'), ("é/#/b", 3, '#'), ("#a", 0, '#'), ("a/b+", 3, '+'), ("+b/a", 0, '+'), ("a/##", 2, '#')]
        {
            assert_eq!(error(text), NameError::Misplaced { at, character }, "{text}");
        }
        assert_eq!(error(""), NameError::Empty);
        assert_eq!(error("a/\n"), NameError::Control { at: 2, character: '\n' });
        assert_eq!(error("12345678901234567"), NameError::TooLong { len: 17, limit: 16 });
        assert_eq!(error("$share/g/a"), NameError::Shared);
        assert_eq!(
            error("a+/b").to_string(),
            "wildcard '+' at byte 1 is out of place: \"+\" fills a level, and \"#\" the last one"
        );
    }

    #[test]
    fn a_filter_without_wildcards_is_a_topic() {
        assert_eq!(Filter::new("a/b", 8).unwrap().topic().unwrap(), "a/b");
        assert_eq!(Filter::new("a/+", 8).unwrap().topic(), None);
        assert_eq!(Filter::new("#", 8).unwrap().topic(), None);
        assert_eq!(Filter::new("$share", 8).unwrap().topic().unwrap(), "$share");
    }

    #[test]
    fn a_shared_filter_has_a_group_and_a_filter() {
        let share = Share::split("$share/workers/jobs/+").unwrap().unwrap();
        assert_eq!((share.group, share.filter), ("workers", "jobs/+"));
        assert_eq!(share.filter(16).unwrap().as_str(), "jobs/+");
        assert_eq!(Share::split("$share/g//a").unwrap().unwrap().filter, "/a");
        for none in ["jobs/+", "$share", "$shared/g/a", "a/$share/g/b"] {
            assert_eq!(Share::split(none), Ok(None));
        }
    }

    #[test]
    fn a_bad_shared_filter_tells_where() {
        let error = |text| Share::split(text).unwrap_err();
        assert_eq!(error("$share/"), NameError::Unshared { at: 7 });
        assert_eq!(error("$share//a"), NameError::Unshared { at: 7 });
        assert_eq!(error("$share/g"), NameError::Unshared { at: 8 });
        assert_eq!(error("$share/g/"), NameError::Unshared { at: 9 });
        assert_eq!(error("$share/g+/a"), NameError::Wildcard { at: 8, character: '+' });
        assert_eq!(error("$share/#/a"), NameError::Wildcard { at: 7, character: '#' });
        assert_eq!(error("$share/a\t/a"), NameError::Control { at: 8, character: '\t' });
        let share = Share::split("$share/g/a#").unwrap().unwrap();
        assert_eq!(share.filter(16), Err(NameError::Misplaced { at: 10, character: '#' }));
        let nested = Share::split("$share/g/$share/h/a").unwrap().unwrap();
        assert_eq!(nested.filter(16), Err(NameError::Shared));
    }
}
