//! Which filters match a topic, and which topics a filter matches, found without a look at each.
//!
//! Names that begin alike stand together in a sorted map, so the map is a tree of levels already: whether there is anything
//! below a level is one look. A tree of nodes would take as many looks, but a peer could make it have a node for every other
//! byte of a filter; here a filter costs its name.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use crate::filter::{Filter, WILDCARDS};

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
    /// before, however many filters there are, and never more than the filters have levels. After `most` steps it gives up,
    /// and returns true.
    pub(crate) fn any_pattern<'a>(&'a self, topic: &str, most: usize, mut stop: impl FnMut(&'a V) -> bool) -> bool {
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
        let mut left = most;
        while let Some(Step { kept, at, open }) = steps.pop() {
            let Some(fewer) = left.checked_sub(1) else { return true };
            left = fewer;
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

/// Numbers of topics, found by the names of their levels: for each depth those that have a name there.
#[derive(Debug, Default)]
pub(crate) struct Levels(Vec<BTreeMap<Box<str>, BTreeSet<u32>>>);

impl Levels {
    pub(crate) fn insert(&mut self, topic: &str, number: u32) {
        for (depth, level) in topic.split('/').enumerate() {
            if self.0.len() <= depth {
                self.0.push(BTreeMap::new());
            }
            let Some(names) = self.0.get_mut(depth) else { return };
            if let Some(numbers) = names.get_mut(level) {
                numbers.insert(number);
            } else {
                names.insert(level.into(), BTreeSet::from([number]));
            }
        }
    }

    pub(crate) fn remove(&mut self, topic: &str, number: u32) {
        for (names, level) in self.0.iter_mut().zip(topic.split('/')) {
            let Some(numbers) = names.get_mut(level) else { continue };
            numbers.remove(&number);
            if numbers.is_empty() {
                names.remove(level);
            }
        }
        while self.0.pop_if(|names| names.is_empty()).is_some() {}
    }

    /// The topics that have one of the names in the filter where the filter has it: that which the fewest have. All that
    /// it matches are among them. `None`: the filter has no names.
    pub(crate) fn fewest(&self, filter: &Filter) -> Option<Vec<u32>> {
        let names = filter.split('/').enumerate().filter(|(_, level)| !level.contains(WILDCARDS));
        let ways = names.map(|(depth, level)| self.0.get(depth).and_then(|names| names.get(level)));
        let fewest = ways.min_by_key(|way| way.map_or(0, BTreeSet::len))?;
        Some(fewest.into_iter().flatten().copied().collect())
    }
}

fn level_at(topic: &str, at: usize) -> &str {
    topic.get(at..).and_then(|rest| rest.split('/').next()).unwrap_or_default()
}

fn has_below<V>(map: &BTreeMap<Filter, V>, path: &str) -> bool {
    let mut below = map.range::<str, _>((Bound::Included(path), Bound::Unbounded));
    below.next().is_some_and(|(filter, _)| filter.starts_with(path))
}

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
                let stopped = map.any_pattern(topic, usize::MAX, |text| { found.push(text); false });
                prop_assert!(!stopped);
                found.sort();
                let wanted: Vec<&String> = filters.iter().filter(|filter| is_match(filter, topic)).collect();
                prop_assert_eq!(found, wanted, "{}", topic);
            }
            let numbered: Vec<(u32, &String)> = (0..).zip(&topics).collect();
            let mut levels = Levels::default();
            numbered.iter().for_each(|(number, topic)| levels.insert(topic, *number));
            levels.insert("gone/a", 99);
            levels.remove("gone/a", 99);
            for text in &filters {
                let filter = parse(text);
                let wanted: Vec<&String> = topics.iter().filter(|topic| is_match(text, topic)).collect();
                prop_assert!(topics.iter().all(|topic| filter.matches(topic) == wanted.contains(&topic)));
                // None of those that match is left out, and where the filter has a name at all, few else come along.
                let Some(found) = levels.fewest(&filter) else {
                    prop_assert!(text.split('/').all(|level| level == "+" || level == "#"));
                    continue;
                };
                let has = |topic: &str, (depth, level)| topic.split('/').nth(depth) == Some(level);
                let names = text.split('/').enumerate().filter(|(_, level)| *level != "+" && *level != "#");
                let least = names.map(|name| topics.iter().filter(|topic| has(topic, name)).count()).min();
                prop_assert_eq!(Some(found.len()), least);
                let found: Vec<_> = numbered.iter().filter(|(number, _)| found.contains(number)).collect();
                prop_assert!(wanted.iter().all(|wanted| found.iter().any(|(_, topic)| topic == wanted)), "{}", text);
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
            map.any_pattern(topic, usize::MAX, |text| {
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
