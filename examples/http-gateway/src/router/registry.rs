//! Who is there, indexed for choosing.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::group::{Choice, Group, Strategy};
use super::member::Member;

/// All workers that have announced themselves.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    members: Mutex<BTreeMap<String, Arc<Member>>>,
    /// Made anew at each change, which is rare beside requests: so choosing waits for nobody.
    index: RwLock<Arc<Index>>,
}

/// What a request asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    /// Text of the field `FuyuuRouter-IDs`.
    pub(crate) ids: Option<&'a str>,
    pub(crate) host: &'a str,
    pub(crate) path: &'a str,
    pub(crate) method: &'a str,
    /// Requests with the same key go to the same worker.
    pub(crate) key: Option<&'a str>,
    /// The id of the worker that had the client's last request.
    pub(crate) worker: Option<&'a str>,
}

#[derive(Debug, Default)]
struct Index {
    by_id: HashMap<String, Vec<Arc<Member>>>,
    exact: HashMap<String, Paths>,
    /// What follows the asterisk, longest first.
    wild: Vec<(String, Paths)>,
    any: Paths,
    /// Groups for lists of ids that were asked for.
    lists: Mutex<HashMap<String, Arc<Group>>>,
}

/// Groups by path prefix, longest first.
#[derive(Debug, Default)]
struct Paths(Vec<(String, Group)>);

impl Registry {
    pub(crate) fn put(&self, member: Arc<Member>) {
        let mut members = self.members();
        if members.len() < MOST_WORKERS || members.contains_key(&member.instance) {
            members.insert(member.instance.clone(), member);
            self.rebuild(&members);
        }
    }

    pub(crate) fn remove(&self, instance: &str) -> Option<Arc<Member>> {
        let mut members = self.members();
        let removed = members.remove(instance);
        if removed.is_some() {
            self.rebuild(&members);
        }
        removed
    }

    pub(crate) fn get(&self, instance: &str) -> Option<Arc<Member>> {
        self.members().get(instance).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Member>> {
        self.members().values().cloned().collect()
    }

    pub(crate) fn choose(&self, wanted: &Wanted<'_>, strategy: Strategy) -> Choice {
        let index = Arc::clone(&self.index.read().unwrap_or_else(PoisonError::into_inner));
        if let Some(ids) = wanted.ids {
            return index.list(ids).choose(strategy, wanted.method, wanted.key);
        }
        let mut is_busy = false;
        for group in index.groups(wanted.host, wanted.path) {
            let same = wanted.worker.and_then(|id| group.members().iter().find(|member| member.announcement.id == id));
            if let Some(taken) = same.filter(|member| member.serves(wanted.method)).and_then(Member::take) {
                return Choice::Taken(taken);
            }
            match group.choose(strategy, wanted.method, wanted.key) {
                Choice::Taken(taken) => return Choice::Taken(taken),
                // What is less specific is for other requests: this one waits.
                Choice::Busy => {
                    is_busy = true;
                    break;
                }
                Choice::Nobody => {}
            }
        }
        if is_busy { Choice::Busy } else { Choice::Nobody }
    }

    fn rebuild(&self, members: &BTreeMap<String, Arc<Member>>) {
        let index = Arc::new(Index::new(members.values()));
        *self.index.write().unwrap_or_else(PoisonError::into_inner) = index;
    }

    fn members(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Arc<Member>>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Rules = BTreeMap<String, BTreeMap<String, Vec<Arc<Member>>>>;

impl Index {
    fn new<'a>(members: impl Iterator<Item = &'a Arc<Member>>) -> Self {
        let mut by_id: HashMap<String, Vec<Arc<Member>>> = HashMap::new();
        let mut rules = Rules::new();
        for member in members {
            let told = &member.announcement;
            by_id.entry(told.id.clone()).or_default().push(Arc::clone(member));
            for host in or_any(&told.hosts, "*") {
                let paths = rules.entry(host.to_ascii_lowercase()).or_default();
                for prefix in or_any(&told.path_prefixes, "/") {
                    paths.entry(prefix.to_owned()).or_default().push(Arc::clone(member));
                }
            }
        }
        let mut index = Self { by_id, ..Self::default() };
        for (host, paths) in rules {
            index.add(&host, Paths::new(paths));
        }
        index.wild.sort_by_key(|(suffix, _)| std::cmp::Reverse(suffix.len()));
        index
    }

    fn add(&mut self, host: &str, paths: Paths) {
        match host.strip_prefix('*') {
            Some("") => self.any = paths,
            Some(suffix) => self.wild.push((suffix.to_owned(), paths)),
            None => drop(self.exact.insert(host.to_owned(), paths)),
        }
    }

    /// Groups that serve this, the most specific first.
    fn groups<'a>(&'a self, host: &'a str, path: &'a str) -> impl Iterator<Item = &'a Group> {
        // Hosts are compared without their port, in lower case; most tables have none.
        let name = if self.exact.is_empty() && self.wild.is_empty() { String::new() } else { bare(host) };
        let exact = self.exact.get(&name);
        let wild = self.wild.iter().filter(move |(suffix, _)| name.ends_with(suffix.as_str())).map(|(_, paths)| paths);
        let tables = exact.into_iter().chain(wild).chain([&self.any]);
        tables.flat_map(move |paths| {
            paths.0.iter().filter(move |(prefix, _)| covers(prefix, path)).map(|(_, group)| group)
        })
    }

    fn list(&self, ids: &str) -> Arc<Group> {
        let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(group) = lists.get(ids) {
            return Arc::clone(group);
        }
        let mut wanted: Vec<&str> = ids.split(',').map(str::trim).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let members = wanted.into_iter().filter_map(|id| self.by_id.get(id)).flatten().cloned().collect();
        let group = Arc::new(Group::new(members));
        if lists.len() < MOST_LISTS {
            lists.insert(ids.to_owned(), Arc::clone(&group));
        }
        group
    }
}

impl Paths {
    fn new(paths: BTreeMap<String, Vec<Arc<Member>>>) -> Self {
        let mut paths: Vec<_> = paths.into_iter().map(|(prefix, members)| (prefix, Group::new(members))).collect();
        paths.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        Self(paths)
    }
}

fn or_any<'a>(rules: &'a [String], any: &'a str) -> impl Iterator<Item = &'a str> {
    let none = rules.is_empty().then_some(any);
    rules.iter().map(String::as_str).chain(none)
}

fn bare(host: &str) -> String {
    let without_port = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    without_port.map_or(host, |(name, _)| name).to_ascii_lowercase()
}

/// `/a` covers `/a` and `/a/b`, not `/ab`.
fn covers(prefix: &str, path: &str) -> bool {
    let bare = prefix.strip_suffix('/').unwrap_or(prefix);
    path.strip_prefix(bare).is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || bare.is_empty())
}

/// Workers that a router knows. Each costs about 2 KiB.
const MOST_WORKERS: usize = 65_536;
/// Lists of ids whose groups are kept until workers come or go.
const MOST_LISTS: usize = 1_024;

#[cfg(test)]
mod tests;
