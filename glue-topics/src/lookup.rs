//! Sorted maps, looked up as the trees of levels that they are: which filters match a topic, which topics a filter matches.
//!
//! Names that begin alike stand together in a sorted map, so whether there is anything below a level is one look, and so is
//! passing over all of it. A tree of nodes would find the same with as many looks, but a peer could make it have a node for
//! every other byte of a filter; here a filter costs its name.

use std::borrow::Borrow;
use std::collections::{BTreeMap, btree_map};
use std::ops::Bound;

use crate::filter::{Filter, WILDCARDS};
use crate::name::TopicName;

/// Something for each filter.
#[derive(Debug)]
pub(crate) struct FilterMap<V> {
    exact: BTreeMap<Filter, V>,
    /// Those with wildcards.
    patterns: BTreeMap<Filter, V>,
}

impl<V> FilterMap<V> {
    pub(crate) fn get(&self, filter: &Filter) -> Option<&V> {
        self.half(filter).get(filter)
    }

    pub(crate) fn get_mut(&mut self, filter: &Filter) -> Option<&mut V> {
        self.half_mut(filter).get_mut(filter)
    }

    pub(crate) fn insert(&mut self, filter: Filter, value: V) -> Option<V> {
        self.half_mut(&filter).insert(filter, value)
    }

    pub(crate) fn remove(&mut self, filter: &Filter) -> Option<V> {
        self.half_mut(filter).remove(filter)
    }

    pub(crate) fn len(&self) -> usize {
        self.exact.len() + self.patterns.len()
    }

    pub(crate) fn filters(&self) -> impl Iterator<Item = &Filter> {
        self.exact.keys().chain(self.patterns.keys())
    }

    /// What the filter that names just this topic has.
    pub(crate) fn exact(&self, topic: &str) -> Option<&V> {
        self.exact.get(topic)
    }

    /// What `#` has, which some topics match that it does not match.
    pub(crate) fn all(&self) -> Option<&V> {
        self.patterns.get(Filter::ALL)
    }

    /// Calls `stop` with what the filters with wildcards have that match the topic, until it is true; then returns true.
    ///
    /// A step goes to the next level by its name and by `+`, where filters begin so: at most twice the steps of the level
    /// before, however many filters there are, and never more than the filters have levels.
    pub(crate) fn any_pattern<'a>(&'a self, topic: &str, mut stop: impl FnMut(&'a V) -> bool) -> bool {
        let map = &self.patterns;
        if map.is_empty() {
            return false;
        }
        let mut path = String::with_capacity(topic.len() + 2);
        let mut steps = vec![Step { kept: 0, at: 0, open: false }];
        if !topic.starts_with('$') {
            if map.get(Filter::ALL).is_some_and(&mut stop) {
                return true;
            }
            steps.push(Step { kept: 0, at: 0, open: true });
        }
        while let Some(Step { kept, at, open }) = steps.pop() {
            let level = level_at(topic, at);
            path.truncate(kept);
            match open {
                true => path.push('+'),
                // A topic of a classic peer may have a level that only looks like a wildcard.
                false if level.contains(WILDCARDS) => continue,
                false => path.push_str(level),
            }
            let next = at + level.len() + 1;
            let is_last = next > topic.len();
            if is_last && map.get(path.as_str()).is_some_and(&mut stop) {
                return true;
            }
            path.push('/');
            if !has_below(map, &path) {
                continue;
            }
            path.push_str(Filter::ALL);
            if map.get(path.as_str()).is_some_and(&mut stop) {
                return true;
            }
            let kept = path.len() - Filter::ALL.len();
            if !is_last {
                steps.extend([false, true].map(|open| Step { kept, at: next, open }));
            }
        }
        false
    }

    fn half(&self, filter: &Filter) -> &BTreeMap<Filter, V> {
        if filter.is_open() { &self.patterns } else { &self.exact }
    }

    fn half_mut(&mut self, filter: &Filter) -> &mut BTreeMap<Filter, V> {
        if filter.is_open() { &mut self.patterns } else { &mut self.exact }
    }
}

impl<V> Default for FilterMap<V> {
    fn default() -> Self {
        Self { exact: BTreeMap::new(), patterns: BTreeMap::new() }
    }
}

/// A level that is still to be looked at.
#[derive(Clone, Copy, Debug)]
struct Step {
    /// How much of the path leads to it.
    kept: usize,
    /// Where it begins in the topic.
    at: usize,
    /// By `+`, not by its name.
    open: bool,
}

/// The topics of `map` that the filter matches. Passes over what can not match: at a level with a name it looks once or
/// twice, at a `+` once or twice for each name that stands there.
pub(crate) fn matched<V>(map: &BTreeMap<TopicName, V>, filter: &Filter) -> Vec<TopicName> {
    let (mut found, mut start) = (Vec::new(), String::new());
    let mut topics = from(map, "");
    let mut next = topics.next();
    while let Some((topic, _)) = next {
        match place(filter, topic) {
            Place::Match => found.push(topic.clone()),
            Place::Next => {}
            Place::From { kept, then } => {
                start.clear();
                start.push_str(topic.get(..kept).unwrap_or_default());
                then.into_iter().for_each(|part| start.push_str(part));
                next = topics.by_ref().take(NEAR).find(|(topic, _)| ***topic >= *start);
                if next.is_none() {
                    topics = from(map, &start);
                    next = topics.next();
                }
                continue;
            }
            Place::End => break,
        }
        next = topics.next();
    }
    found
}

/// Where a topic stands, seen from a filter.
#[derive(Debug)]
enum Place<'a> {
    /// No later topic matches.
    End,
    /// None matches before what begins with so many bytes of this one, and goes on so.
    From {
        kept: usize,
        then: [&'a str; 2],
    },
    Match,
    Next,
}

fn place<'a>(filter: &'a Filter, topic: &str) -> Place<'a> {
    if topic.starts_with('$') && filter.begins_open() {
        return Place::From { kept: 0, then: ["", AFTER_DOLLAR] };
    }
    let (mut levels, mut at) = (filter.split('/').peekable(), 0);
    while let Some(wanted) = levels.next() {
        let level = level_at(topic, at);
        match wanted {
            Filter::ALL => return Place::Match,
            "+" => {}
            _ if wanted == level => {}
            _ => return beyond(topic, at, wanted),
        }
        let end = at + level.len();
        match (levels.peek(), end == topic.len()) {
            (None | Some(&Filter::ALL), true) => return Place::Match,
            (Some(_), true) => return Place::Next,
            // It goes deeper than the filter, and so does all that follows below.
            (None, false) => return Place::From { kept: end, then: ["", AFTER_SLASH] },
            (Some(_), false) => at = end + 1,
        }
    }
    Place::Match
}

/// The next topic that may have the level `wanted` where `topic` has another one, at byte `at`.
fn beyond<'a>(topic: &str, at: usize, wanted: &'a str) -> Place<'a> {
    let rest = topic.get(at..).unwrap_or_default();
    if rest < wanted {
        return Place::From { kept: at, then: [wanted, ""] };
    }
    // What has the level and more below it comes after names that only begin as it does: `a-b` is before `a/b`.
    if rest.strip_prefix(wanted).is_some_and(|rest| rest < "/") {
        return Place::From { kept: at, then: [wanted, "/"] };
    }
    at.checked_sub(1).map_or(Place::End, |parent| Place::From { kept: parent, then: ["", AFTER_SLASH] })
}

fn level_at(topic: &str, at: usize) -> &str {
    topic.get(at..).and_then(|rest| rest.split('/').next()).unwrap_or_default()
}

fn has_below<V>(map: &BTreeMap<Filter, V>, path: &str) -> bool {
    from(map, path).next().is_some_and(|(filter, _)| filter.starts_with(path))
}

/// The entries of names that are not before `start`.
fn from<'a, K: Borrow<str> + Ord, V>(map: &'a BTreeMap<K, V>, start: &str) -> btree_map::Range<'a, K, V> {
    map.range::<str, _>((Bound::Included(start), Bound::Unbounded))
}

/// So many names are passed over one by one before one is looked up from the root, which costs about as much.
const NEAR: usize = 16;
/// What comes after all that begins with a slash, or with `$`, in the order of bytes.
const AFTER_SLASH: &str = "0";
const AFTER_DOLLAR: &str = "%";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Few names, some of which begin as others do, or with what sorts around the slash.
    const LEVELS: [&str; 8] = ["", "a", "a-", "a0", "b", "$a", "é", "aa"];

    fn names(levels: impl Strategy<Value = &'static str>) -> impl Strategy<Value = String> {
        prop::collection::vec(levels, 1..5).prop_map(|levels| levels.join("/"))
    }

    fn topic() -> impl Strategy<Value = String> {
        names(prop::sample::select(&LEVELS[..])).prop_filter("empty", |topic| !topic.is_empty())
    }

    fn filter() -> impl Strategy<Value = String> {
        let level = prop_oneof![2 => prop::sample::select(&LEVELS[..]), 1 => Just("+")];
        let rest = prop_oneof![3 => Just(""), 1 => Just("/#"), 1 => Just("#")];
        (names(level), rest)
            .prop_map(|(start, rest)| if rest == "#" { rest.to_owned() } else { start + rest })
            .prop_filter("empty", |filter| !filter.is_empty())
    }

    /// Section 4.7 of the standard by recursion, independent of all above.
    fn naive(filter: &[&str], topic: &[&str]) -> bool {
        match (filter, topic) {
            (["#"], _) | ([], []) => true,
            (["+", filter @ ..], [_, topic @ ..]) => naive(filter, topic),
            ([wanted, filter @ ..], [given, topic @ ..]) => wanted == given && naive(filter, topic),
            _ => false,
        }
    }

    fn is_match(filter: &str, topic: &str) -> bool {
        let is_hidden = topic.starts_with('$') && (filter.starts_with('+') || filter.starts_with('#'));
        !is_hidden && naive(&filter.split('/').collect::<Vec<_>>(), &topic.split('/').collect::<Vec<_>>())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn both_ways_find_what_a_naive_matcher_finds(
            filters in prop::collection::btree_set(filter(), 1..30),
            removed in prop::collection::vec(filter(), 0..10),
            topics in prop::collection::btree_set(topic(), 1..30),
        ) {
            let parse = |text: &String| Filter::new(text, 64).unwrap();
            let mut map = FilterMap::default();
            for text in filters.iter().chain(&removed) {
                map.insert(parse(text), text.clone());
            }
            for text in removed.iter().filter(|text| !filters.contains(*text)) {
                map.remove(&parse(text));
            }
            prop_assert_eq!(map.len(), filters.len());
            for topic in &topics {
                let mut found: Vec<&String> = map.exact(topic).into_iter().collect();
                let stopped = map.any_pattern(topic, |text| { found.push(text); false });
                prop_assert!(!stopped);
                found.sort();
                let wanted: Vec<&String> = filters.iter().filter(|filter| is_match(filter, topic)).collect();
                prop_assert_eq!(found, wanted, "{}", topic);
            }
            let by_topic: BTreeMap<TopicName, ()> =
                topics.iter().map(|topic| (TopicName::new(topic, 64).unwrap(), ())).collect();
            for text in &filters {
                let filter = parse(text);
                let wanted: Vec<&String> = topics.iter().filter(|topic| is_match(text, topic)).collect();
                prop_assert!(topics.iter().all(|topic| filter.matches(topic) == wanted.contains(&topic)));
                let found = matched(&by_topic, &filter);
                prop_assert_eq!(found.iter().map(|topic| &**topic).collect::<Vec<_>>(), wanted, "{}", text);
            }
        }
    }

    #[test]
    fn a_level_that_only_looks_like_a_wildcard_is_matched_by_wildcards() {
        let mut map = FilterMap::default();
        for text in ["+", "a/+", "a/#", "#"] {
            map.insert(Filter::new(text, 8).unwrap(), text);
        }
        let found = |topic| {
            let mut found = Vec::new();
            map.any_pattern(topic, |text| {
                found.push(*text);
                false
            });
            found
        };
        assert_eq!(found("+"), ["#", "+"]);
        assert_eq!(found("#"), ["#", "+"]);
        assert_eq!(found("a/#"), ["#", "a/#", "a/+"]);
    }
}
