use std::collections::BTreeSet;

use tokio::sync::Notify;

use super::super::member::{Load, Taken};
use super::*;
use crate::announcement::Announcement;

fn member(instance: usize, change: impl FnOnce(&mut Announcement)) -> Arc<Member> {
    let mut announcement = Announcement::new(format!("agent{instance:02}"));
    change(&mut announcement);
    let load = Arc::new(Load::new(None, Arc::new(Notify::new())));
    Arc::new(Member { instance: format!("{instance:04}"), endpoint_name: String::new(), announcement, load })
}

fn registry(members: impl IntoIterator<Item = Arc<Member>>) -> Registry {
    let registry = Registry::default();
    members.into_iter().for_each(|member| registry.put(member));
    registry
}

const ANY: Wanted<'static> =
    Wanted { ids: None, host: "a.example:80", path: "/x/y", method: "GET", key: None, worker: None };

/// The id of who is chosen, and its place.
fn take(registry: &Registry, wanted: &Wanted<'_>, strategy: Strategy) -> Option<(String, Taken)> {
    match registry.choose(wanted, strategy) {
        Choice::Taken(taken) => Some((taken.0.announcement.id.clone(), taken)),
        Choice::Busy | Choice::Nobody => None,
    }
}

fn ids(registry: &Registry, wanted: &Wanted<'_>, strategy: Strategy, count: usize) -> Vec<String> {
    (0..count).filter_map(|_| take(registry, wanted, strategy)).map(|(id, _)| id).collect()
}

#[test]
fn workers_take_turns() {
    let registry = registry((1..=3).map(|at| member(at, |_| {})));
    let chosen = ids(&registry, &ANY, Strategy::RoundRobin, 6);
    assert_eq!(chosen, ["agent01", "agent02", "agent03", "agent01", "agent02", "agent03"]);
}

#[test]
fn weights_are_shares_and_spread() {
    let registry = registry([member(1, |it| it.weight = 3), member(2, |_| {})]);
    let chosen = ids(&registry, &ANY, Strategy::RoundRobin, 8);
    assert_eq!(chosen.iter().filter(|id| *id == "agent01").count(), 6);
    assert!(!chosen.windows(4).any(|four| four.iter().all(|id| id == "agent01")), "{chosen:?}");
}

#[test]
fn ids_restrict_and_blanks_do_not_matter() {
    let registry = registry((1..=4).map(|at| member(at, |_| {})));
    let wanted = Wanted { ids: Some(" agent02 ,agent04,agent09"), ..ANY };
    assert_eq!(ids(&registry, &wanted, Strategy::RoundRobin, 3), ["agent02", "agent04", "agent02"]);
    let unknown = Wanted { ids: Some("agent09"), ..ANY };
    assert!(matches!(registry.choose(&unknown, Strategy::Random), Choice::Nobody));
}

#[test]
fn the_most_specific_rule_counts() {
    let registry = registry([
        member(1, |_| {}),
        member(2, |it| it.hosts = vec!["A.example".to_owned()]),
        member(3, |it| it.hosts = vec!["*.example".to_owned()]),
        member(4, |it| it.path_prefixes = vec!["/api".to_owned(), "/v2/".to_owned()]),
        member(5, |it| {
            it.hosts = vec!["a.example".to_owned()];
            it.path_prefixes = vec!["/deep/er".to_owned()];
            it.methods = vec!["POST".to_owned()];
        }),
    ]);
    let chosen = |host, path, method| {
        take(&registry, &Wanted { host, path, method, ..ANY }, Strategy::RoundRobin).map(|(id, _)| id).unwrap()
    };
    assert_eq!(chosen("a.example:8080", "/", "GET"), "agent02");
    assert_eq!(chosen("b.example", "/", "GET"), "agent03");
    assert_eq!(chosen("other", "/", "GET"), "agent01");
    assert_eq!(chosen("other", "/api", "GET"), "agent04");
    assert_eq!(chosen("other", "/v2/x", "GET"), "agent04");
    assert_eq!(chosen("other", "/apis", "GET"), "agent01");
    assert_eq!(chosen("a.example", "/deep/er", "POST"), "agent05");
    assert_eq!(chosen("a.example", "/deep/er", "GET"), "agent02", "the method is not served there");
}

#[test]
fn nobody_gets_more_than_its_capacity() {
    let registry = registry((1..=2).map(|at| member(at, |it| it.capacity = 2)));
    for strategy in [Strategy::RoundRobin, Strategy::Random, Strategy::LeastOutstanding] {
        let taken: Vec<_> = (0..4).map(|_| take(&registry, &ANY, strategy).unwrap()).collect();
        assert!(matches!(registry.choose(&ANY, strategy), Choice::Busy), "{strategy:?}");
        drop(taken);
        assert!(registry.all().iter().all(|member| member.load.outstanding() == 0));
    }
}

#[test]
fn who_has_least_to_do_is_next() {
    let registry = registry((1..=3).map(|at| member(at, |it| it.weight = if at == 3 { 2 } else { 1 })));
    let taken: Vec<_> = (0..8).map(|_| take(&registry, &ANY, Strategy::LeastOutstanding).unwrap()).collect();
    let count = |id| taken.iter().filter(|(chosen, _)| chosen == id).count();
    assert_eq!((count("agent01"), count("agent02"), count("agent03")), (2, 2, 4));
}

#[test]
fn a_key_stays_with_its_worker() {
    let some = registry((1..=8).map(|at| member(at, |_| {})));
    let more = registry((1..=9).map(|at| member(at, |_| {})));
    let mut moved = 0;
    let mut used = BTreeSet::new();
    for key in 0..200 {
        let key = key.to_string();
        let wanted = Wanted { key: Some(&key), ..ANY };
        let [first, again] = [0; 2].map(|_| take(&some, &wanted, Strategy::RoundRobin).unwrap().0);
        assert_eq!(first, again);
        moved += usize::from(take(&more, &wanted, Strategy::RoundRobin).unwrap().0 != first);
        used.insert(first);
    }
    assert_eq!(used.len(), 8);
    assert!((1..60).contains(&moved), "{moved} of 200 moved as one came");
}

#[test]
fn a_client_stays_with_the_worker_that_it_names() {
    let registry = registry((1..=3).map(|at| member(at, |_| {})));
    let wanted = Wanted { worker: Some("agent02"), ..ANY };
    assert_eq!(ids(&registry, &wanted, Strategy::RoundRobin, 2), ["agent02", "agent02"]);
    registry.remove("0002");
    assert_eq!(ids(&registry, &wanted, Strategy::RoundRobin, 2), ["agent01", "agent03"]);
}

#[test]
fn who_drains_gets_nothing() {
    let registry = registry([member(1, |it| it.draining = true)]);
    assert!(matches!(registry.choose(&ANY, Strategy::RoundRobin), Choice::Nobody));
}

/// `cargo test --release -p http-gateway --lib -- --ignored --nocapture a_thousand`: the time is for people, no test.
#[test]
#[ignore = "a measurement"]
fn a_thousand_agents_cost_a_choice_little() {
    let registry = registry((0..1_000).map(|at| {
        member(at, |it| {
            it.weight = 1 + u32::try_from(at % 3).unwrap();
            it.path_prefixes = vec![format!("/site/{}", at % 10), "/".to_owned()];
        })
    }));
    let ids = Wanted { ids: Some("agent17, agent400,agent999"), ..ANY };
    let deep = Wanted { path: "/site/7/x", ..ANY };
    let key = Wanted { key: Some("a session of somebody"), ..ANY };
    for strategy in [Strategy::RoundRobin, Strategy::LeastOutstanding, Strategy::Random] {
        for (what, wanted) in [("any", &ANY), ("ids", &ids), ("path", &deep), ("key", &key)] {
            let before = std::time::Instant::now();
            let chosen = self::ids(&registry, wanted, strategy, 1_000_000);
            let nanos = before.elapsed().as_nanos() / chosen.len() as u128;
            println!("{strategy:?}, {what}: {nanos} ns");
        }
    }
}
