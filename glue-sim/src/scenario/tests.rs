use std::time::Duration;

use proptest::prelude::*;

use super::run::{find, place_of};
use super::*;
use crate::{Hostile, Trick};

fn recipe(nodes: u32) -> Recipe {
    let mut recipe = Recipe::new(nodes, Duration::from_secs(120)).setting("interval_ms", 50, 500);
    recipe.guarded = true;
    recipe.faults = 40;
    recipe
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_printed_is_read_back(seed: u64, nodes in 2..40_u32) {
        let scenario = Scenario::generate(seed, &recipe(nodes));
        prop_assert_eq!(&scenario.to_string().parse::<Scenario>(), &Ok(scenario.clone()));
        prop_assert_eq!(&scenario.line().parse::<Scenario>(), &Ok(scenario.clone()));
        prop_assert!(!scenario.line().contains('\n'));
        // Each fault ends before the calm, but for what all the time is.
        let faults = scenario.steps.iter().filter(|step| step.last < scenario.span);
        prop_assert!(faults.map(Step::end).all(|end| end <= Duration::from_secs(90)));
        prop_assert!((50..=500).contains(&scenario.setting("interval_ms", 0)));
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "[a-z0-9 ;.#-]{0,80}", cut in 0..2_000_usize) {
        let _ = text.parse::<Scenario>();
        let line = Scenario::generate(1, &recipe(8)).line();
        let _ = line.get(..cut).map(str::parse::<Scenario>);
    }
}

#[test]
fn the_same_seed_makes_the_same_scenario_and_all_faults_come() {
    let of = |seed| Scenario::generate(seed, &recipe(8));
    assert_eq!(of(7), of(7));
    assert_ne!(of(7), of(8));
    let text: String = (0..300).map(|seed| of(seed).to_string()).collect();
    let words = "crash freeze storm move rebind no-multicast no-unicast wall-jump drift buffer busy flap hostile \
        halves isolated non-transitive one-way thirds loss bursts lose-control lose-data lose-longer lose-shorter lose-multicast \
        lose-unicast reorder duplicate corrupt latency jitter rate mtu alter noise replay splice spoof";
    for word in words.split_whitespace() {
        assert!(text.contains(word), "{word} never comes");
    }
    let plain: String =
        (0..300).map(|seed| Scenario::generate(seed, &Recipe::new(8, Duration::from_secs(120))).to_string()).collect();
    assert!(!plain.contains("corrupt") && !plain.contains("hostile"), "only for nodes that are guarded");
}

#[test]
fn what_is_wrong_is_said() {
    let problem = |text: &str| text.parse::<Scenario>().expect_err("no scenario").to_string();
    assert_eq!(problem(""), "\"\": no scenario in the text");
    assert_eq!(problem("at 1s for 1s freeze 0"), "\"at 1s for 1s freeze 0\": \"scenario\" expected, not \"at\"");
    let after_head = |part: &str| problem(&format!("scenario nodes 3 seed 1 for 10s; {part}"));
    assert_eq!(after_head("at 1s for 1s freez 0"), "\"at 1s for 1s freez 0\": no fault is called \"freez\"");
    assert_eq!(
        after_head("at 1 for 1s freeze 0").split(": ").last(),
        Some("a time as 5s, 20ms, 300us or 7ns expected, not \"1\"")
    );
    assert_eq!(after_head("at 1s for 1s freeze 3"), "\"at 1s for 1s freeze 3\": a node from 0 to 2 expected");
    assert_eq!(after_head("link loss 2").split(": ").last(), Some("a share from 0 to 1 expected, not 2"));
    assert_eq!(after_head("link loss 0.2 0.3").split(": ").last(), Some("\"0.3\" is one word too many"));
    assert_eq!(after_head("at 1s for 1s crash").split(": ").last(), Some("another word expected at the end"));
}

#[test]
fn faults_know_whom_they_touch() {
    let node = NodeId::new;
    let touches = |fault: Fault, a, b| fault.touches(6, node(a), node(b));
    assert!(touches(Fault::Partition(Shape::Halves), 0, 5) && !touches(Fault::Partition(Shape::Halves), 0, 2));
    assert!(touches(Fault::Partition(Shape::OneWay(node(1), node(2))), 2, 1), "acks go that way");
    assert!(touches(Fault::Freeze(node(1)), 1, 4) && !touches(Fault::Freeze(node(1)), 0, 4));
    assert!(touches(Fault::Storm(2), 0, 4) && !touches(Fault::Storm(2), 0, 3));
    assert!(touches(Fault::NoUnicast, 0, 1));
    let link = |scope| Fault::Link(scope, Impairment::Loss(0.1));
    assert!(touches(link(Scope::From(node(2))), 2, 3) && !touches(link(Scope::From(node(2))), 1, 3));
    assert!(touches(link(Scope::Between(node(2), node(3))), 3, 2));
    assert!(!touches(link(Scope::Between(node(2), node(3))), 3, 4));
    assert!(touches(link(Scope::All), 0, 1));
    let hostile = Hostile { rate: 0.1, tricks: vec![Trick::Replay], spoofs: true };
    assert!(touches(Fault::Hostile(hostile), 0, 1));
}

#[test]
fn impairments_add_up() {
    let text = "scenario nodes 2 seed 0 for 1s; link loss 0.5; link loss 0.5; link latency 1ms; link latency 2ms; \
        link mtu 1400; link mtu 1200; link rate 1000 2s; link rate 5000 1s; link lose-data 0.1; link lose-longer 9 1";
    let link = text.parse::<Scenario>().unwrap().usual_link();
    assert_eq!((link.loss, link.latency, link.mtu), (0.75, Duration::from_micros(3_100), 1_200));
    assert_eq!((link.rate.map(u64::from), link.queue_bytes, link.sieves.len()), (Some(1_000), 2_000, 2));
}

/// Fails if node 2 crashes while there is loss, or at all when somebody freezes for long before.
fn planted(scenario: &Scenario) -> bool {
    let crashes = |node| move |step: &&Step| step.fault == Fault::Crash(NodeId::new(node));
    let crash = scenario.steps.iter().find(crashes(2));
    let lossy = scenario.link.iter().any(|it| matches!(it, Impairment::Loss(_)));
    scenario.nodes > 2 && crash.is_some_and(|crash| lossy && crash.last >= Duration::from_millis(200))
}

#[test]
fn a_failing_scenario_is_made_as_small_as_it_gets() {
    let mut found = 0;
    for seed in 0..400 {
        let scenario = Scenario::generate(seed, &recipe(8));
        if !planted(&scenario) {
            continue;
        }
        found += 1;
        let mut asked = 0;
        let small = shrink(&scenario, 300, |candidate| {
            asked += 1;
            planted(candidate)
        });
        assert!(planted(&small) && asked <= 300);
        assert_eq!((small.nodes, small.link.len(), small.steps.len(), small.settings.len()), (3, 1, 1, 0), "{small}");
        assert_eq!(small.steps[0].fault, Fault::Crash(NodeId::new(2)));
        assert!(small.steps[0].last < Duration::from_millis(400) && small.span <= scenario.span, "{small}");
    }
    assert!(found > 20, "{found} scenarios fail");
}

#[test]
fn without_tries_nothing_changes() {
    let scenario = Scenario::generate(3, &recipe(8));
    assert_eq!(shrink(&scenario, 0, |_| true), scenario);
    assert_eq!(shrink(&scenario, 100, |_| false), scenario);
}

#[test]
fn the_place_of_a_panic_tells_failures_apart() {
    let fail = |which: u32| {
        place_of(|| {
            assert_ne!(which, 0, "one place");
            assert_ne!(which, 1, "another");
        })
    };
    let [one, again, other, none] = [0, 0, 1, 2].map(fail);
    assert!(one.as_ref().is_some_and(|place| place.contains("tests.rs:")), "{one:?}");
    assert_eq!(one, again);
    assert_ne!(one, other);
    assert_eq!(none, None);
}

#[test]
fn a_failing_seed_is_reported_with_the_smallest_scenario_and_lines_that_repeat_both() {
    let make = |seed| Scenario::generate(seed, &recipe(8));
    let run = |scenario: &Scenario| assert!(!planted(scenario), "a planted fault");
    assert!(find("a_check", crate::seeds(200), make, |_| {}).is_none());
    let found = find("a_check", crate::seeds(200), make, run).expect("one of them fails");
    let first = (0..).find(|seed| planted(&make(*seed))).unwrap();
    assert!(found.text.contains(&format!("GLUE_SEED={first} cargo test -p glue-sim a_check")), "{}", found.text);
    let (_, rest) = found.text.split_once("GLUE_SCENARIO='").expect("a line that repeats it");
    let (line, command) = rest.split_once('\'').unwrap();
    let small: Scenario = line.parse().expect("a scenario");
    assert!(planted(&small) && small.steps.len() == 1 && small.nodes == 3, "{small}");
    assert!(command.starts_with(" cargo test -p glue-sim a_check\n"), "{command}");
}

#[test]
fn a_run_that_depends_on_more_than_the_seed_is_found_out() {
    let runs = std::sync::atomic::AtomicU32::new(0);
    let run = |_: &Scenario| assert!(runs.fetch_add(1, std::sync::atomic::Ordering::Relaxed) > 0);
    let found = find("a_check", crate::seeds(1), |seed| Scenario::new(seed, 1, Duration::ZERO), run);
    assert!(found.is_some_and(|found| found.text.contains("it does not fail again")));
}
