//! All promises at once, under scenarios of everything that can happen to a network.

use std::panic::{AssertUnwindSafe, catch_unwind};

use glue_sim::{Fault, Scenario, check_scenarios, seeds, shrink};
use glue_stack::proof::{self, Flaw};
use glue_stack::scene::kept;

#[test]
fn no_scenario_breaks_a_promise() {
    check_scenarios("no_scenario_breaks_a_promise", kept(16), proof::scenario, |scenario| {
        let outcome = proof::run(scenario);
        assert!(scenario.nodes < 8 || outcome.delivered > 1_000, "{outcome:?}");
    });
}

#[test]
fn the_same_scenario_gives_the_same_run() {
    let outcomes: Vec<_> = [0, 1, 0, 1].map(|seed| proof::run(&proof::scenario(seed))).into();
    assert_eq!(outcomes[..2], outcomes[2..]);
    assert_ne!(outcomes[0].hash, outcomes[1].hash);
}

/// A cache brought the second message while the publisher's beginning, with the first, was still lost.
#[test]
fn a_subscription_begins_where_its_publisher_says() {
    let text =
        "scenario nodes 8 seed 301 for 27s; link latency 20ms; link jitter 10ms; link loss 0.5; link reorder 0.1 5ms;
        set caches 1; set interval_ms 955; set private 1";
    assert!(proof::run(&text.parse().expect("a scenario")).delivered > 0);
}

/// One that was started again met caches in a partition, and not the publisher of what they had a part of.
#[test]
fn who_has_not_met_a_publisher_takes_it_for_gone() {
    let text =
        "scenario nodes 7 seed 9121 for 72900ms; link latency 1ms; link loss 0.5; set caches 1; set interval_ms 971;
        set private 1; at 16150ms for 4125ms freeze 6; at 40460ms for 2950ms loss 0.5 from 4 to 5;
        at 43210ms for 8820ms latency 300ms; at 48360ms for 7440ms freeze 6; at 62550ms for 2730ms storm 4;
        at 66430ms for 2795ms partition halves";
    assert!(proof::run(&text.parse().expect("a scenario")).missed > 0);
}

/// Behind each of two the mapping of ports changed, and changed back while they knew each other by the other ports alone.
#[test]
fn two_that_lose_each_others_ports_at_once_find_each_other() {
    let text = "scenario nodes 6 seed 1221 for 32805ms; link latency 50ms; link jitter 25ms; set interval_ms 1084;
        at 11490ms for 8790ms rebind 1; at 12350ms for 8850ms rebind 5";
    assert!(proof::run(&text.parse().expect("a scenario")).delivered > 0);
}

/// One that ran again while its port was another one announced that port for ever.
#[test]
fn who_speaks_from_elsewhere_than_it_says_is_answered_there() {
    let texts = [
        "scenario nodes 2 seed 1556 for 54s; at 33450ms for 5330ms storm 1; at 34270ms for 6790ms partition halves;
        at 36300ms for 3960ms rebind 1",
        "scenario nodes 2 seed 4720 for 90s; at 65190ms for 9490ms rebind 1; at 67500ms for 5100ms storm 4;
        at 72400ms for 1475ms no-unicast; at 74670ms for 3085ms freeze 1",
    ];
    for (text, private) in texts.into_iter().flat_map(|text| [(text, 0), (text, 1)]) {
        let text = format!("{text}; set private {private}");
        assert!(proof::run(&text.parse().expect("a scenario")).delivered > 0, "{text}");
    }
}

/// A cache told of what it had of a publisher before the first of that had come to it.
#[test]
fn what_a_cache_gets_late_of_before_its_first_is_for_a_subscription_too() {
    let text = "scenario nodes 8 seed 3797 for 108s; link latency 100us; link jitter 50us; link loss 0.5;
        set caches 1; set interval_ms 495; set private 1; at 0s for 108s drift 0 117;
        at 0s for 108s drift 1 58; at 0s for 108s drift 2 274; at 0s for 108s drift 4 -11;
        at 0s for 108s drift 5 36; at 0s for 108s drift 6 266; at 0s for 108s drift 7 -274;
        at 25810ms for 2740ms busy 6 1ms; at 39890ms for 5720ms move 3; at 43790ms for 9210ms storm 2;
        at 46070ms for 7400ms freeze 7; at 58130ms for 1210ms no-unicast; at 65780ms for 4360ms crash 5;
        at 71850ms for 4385ms flap 2450ms halves";
    assert!(proof::run(&text.parse().expect("a scenario")).delivered > 0);
}

/// A cache brought the seventh message while its publisher, which had begun with the first, was not yet back within reach.
#[test]
fn who_was_told_of_is_waited_for_though_it_is_out_of_reach() {
    let text = "scenario nodes 8 seed 4852 for 13500ms; set caches 1; at 70ms for 5130ms partition thirds;
        at 910ms for 350ms storm 2";
    assert!(proof::run(&text.parse().expect("a scenario")).delivered > 0);
}

/// A cache had brought the first message, and lacked the second; the publisher's beginning was still lost.
#[test]
fn a_publisher_that_has_not_begun_yet_is_waited_for() {
    let text = "scenario nodes 7 seed 5516 for 7593ms; link latency 50ms; link loss 0.5; set caches 1;
        set interval_ms 387; at 0s for 7593ms drift 3 -364";
    assert!(proof::run(&text.parse().expect("a scenario")).delivered > 0);
}

/// After a partition one tried the other where that said that it was, and a new handshake came from where it really was.
#[test]
fn who_was_tried_in_vain_where_it_says_is_heard_where_it_is() {
    let text = "scenario nodes 8 seed 8353 for 97200ms; link latency 20ms; link loss 0.2; link duplicate 0.05;
        set interval_ms 615; set private 1; at 0s for 48600ms drift 2 -259;
        at 220ms for 8090ms corrupt 0.1 to 4; at 28360ms for 1350ms move 0; at 28890ms for 7800ms rebind 0;
        at 29220ms for 3240ms crash 6; at 30710ms for 450ms buffer 7 8192; at 56320ms for 7110ms busy 1 1ms;
        at 72820ms for 5980ms flap 2100ms non-transitive";
    assert!(proof::run(&text.parse().expect("a scenario")).delivered > 0);
}

/// The end of a long message came three seconds after its head, and the age that the head told was taken for that of the whole.
#[test]
fn a_long_message_expires_while_its_end_is_awaited() {
    let text = "scenario nodes 8 seed 1336 for 45s; link latency 50ms; link jitter 25ms; link loss 0.5; set caches 1;
        set expiry_ms 2426; set interval_ms 765; at 0s for 45s drift 1 92; at 0s for 22500ms drift 2 138;
        at 0s for 45s drift 3 472; at 39040ms for 2980ms partition one-way 6 1";
    assert!(proof::run(&text.parse().expect("a scenario")).delivered > 0);
}

/// A quiet network, in which somebody is frozen and somebody dies.
fn quiet() -> Scenario {
    let text = "scenario nodes 4 seed 9 for 60s; link loss 0.01; set interval_ms 200; set expiry_ms 20000;
        at 10s for 2s freeze 2; at 15s for 5s crash 3; at 21s for 2s partition halves";
    text.parse().expect("a scenario")
}

/// What is said when a promise is broken; `None`: none is.
fn broken(scenario: &Scenario, flaw: Option<Flaw>) -> Option<String> {
    let panic = catch_unwind(AssertUnwindSafe(|| proof::run_with(scenario, flaw))).err()?;
    let text = panic.downcast_ref::<String>().cloned();
    Some(text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default())
}

#[test]
fn each_checker_sees_what_it_is_there_for() {
    assert_eq!(broken(&quiet(), None), None);
    let sees = |flaw, what: &str| {
        let said = broken(&quiet(), Some(flaw)).unwrap_or_else(|| panic!("nobody sees {flaw:?}"));
        assert!(said.contains(what), "{flaw:?}: {said}");
    };
    sees(Flaw::Lose, "in order, once, and no silent gap");
    sees(Flaw::Repeat, "in order, once, and no silent gap");
    sees(Flaw::Swap, "in order, once, and no silent gap");
    sees(Flaw::Alter, "was changed");
    sees(Flaw::Late, "came after it expired");
    sees(Flaw::Deny, "not expired yet");
    sees(Flaw::Overflow, "neither expired nor of the dead");
    sees(Flaw::Silence, "whom nothing touched since");
    sees(Flaw::TokenTwice, "twice");
    sees(Flaw::TokenStays, "twice");
    sees(Flaw::Will, "is not dead, or its will comes again");
    sees(Flaw::SeeTwice, "was seen twice");
    sees(Flaw::AnswerTwice, "and was not open");
    sees(Flaw::NoAnswer, "a request without end");
}

#[test]
fn a_planted_fault_is_shrunk_to_what_brings_it_about() {
    let fails = |scenario: &Scenario| broken(scenario, Some(Flaw::LoseAfterFreeze)).is_some();
    let seed = (0..).find(|seed| {
        let scenario = proof::scenario(*seed);
        scenario.steps.len() > 14 && scenario.steps.iter().any(|step| matches!(step.fault, Fault::Freeze(_)))
    });
    let scenario = proof::scenario(seed.expect("one of them"));
    assert!(fails(&scenario));
    let small = shrink(&scenario, 100, fails);
    assert!(fails(&small));
    assert_eq!((small.steps.len(), small.nodes, small.link.len()), (1, 2, 0), "{small}");
    assert!(matches!(small.steps[0].fault, Fault::Freeze(_)), "{small}");
}

/// Figures: how long scenarios take, and what they see. `cargo test --release -p glue-stack --test proof -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn what_a_scenario_costs() {
    for seed in seeds(8).of("what_a_scenario_costs") {
        let (scenario, start) = (proof::scenario(seed), std::time::Instant::now());
        let outcome = proof::run(&scenario);
        let took = start.elapsed();
        let rate = outcome.datagrams as f64 / took.as_secs_f64();
        println!("{seed}: {took:?}, {rate:.0} datagrams/s, link {:?}\n{outcome:?}", scenario.usual_link().loss);
    }
}
