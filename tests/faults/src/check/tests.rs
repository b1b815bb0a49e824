//! Logs as processes write them, with one thing planted that must be caught, and without.

use super::*;

const MS: u64 = 1_000_000;

/// A publisher that sent five messages of a topic at 1, 2, .. 5 s, each to live 3 s if the topic is `brief`.
fn publisher(topic: &str, ended: bool) -> String {
    let mut text = "started 1 publisher p1 P 1000\n".to_owned();
    let expiry = if topic == "brief" { 3_000 } else { 3_600_000 };
    for number in 1..=5 {
        let at = number * 1_000 * MS;
        text += &format!("intent {at} {topic} {number} {expiry}\nsent {} {topic} {number}\n", at + 1);
        if topic == "cached" {
            text += &format!("kept {} {topic} {number}\n", at + 2);
        }
    }
    if ended {
        text += &format!("healed {0}\nhalted {0}\nended {1}\n", 6_000 * MS, 60_000 * MS);
    }
    text
}

fn got(topic: &str, number: u64) -> String {
    format!("got {} {topic} P 1001 {number} p1 {number}\n", number * 1_000 * MS + 500 * MS)
}

/// A subscriber of role `role` that logged `lines`, and lasted if `ended`.
fn subscriber(role: &str, topic: &str, lines: &str, ended: bool) -> String {
    let end = if ended { format!("healed {}\nended {}\n", 6_000 * MS, 59_000 * MS) } else { String::new() };
    format!("started 1 {role} {role}1 S 1000\nsubscribed 2 {topic}\n{lines}{end}")
}

fn verdict(logs: &[String]) -> Verdict {
    let lives: Vec<Life> = logs.iter().map(|text| Life::read(text).unwrap()).collect();
    check(&lives, false)
}

/// What is found when a subscriber to `topic` logs these lines of a publisher that lasts.
fn found(topic: &str, lines: &[String]) -> Vec<(Kind, u64, u64)> {
    let logs = [publisher(topic, true), subscriber("subscriber", topic, &lines.concat(), true)];
    verdict(&logs).findings.iter().map(|found| (found.kind, found.from, found.to)).collect()
}

fn all(topic: &str) -> Vec<String> {
    (1..=5).map(|number| got(topic, number)).collect()
}

#[test]
fn a_clean_log_is_clean() {
    let logs = [publisher("stored", true), subscriber("subscriber", "stored", &all("stored").concat(), true)];
    let verdict = verdict(&logs);
    assert_eq!(verdict.findings, []);
    let expected = Figures { lives: 2, lasting: 2, published: 5, delivered: 5, owed: 5, ..Figures::default() };
    assert_eq!(verdict.figures, expected);
}

#[test]
fn a_loss_at_any_place_is_caught() {
    for missing in 0..5 {
        for topic in ["stored", "live"] {
            let mut lines = all(topic);
            lines.remove(missing);
            let number = missing as u64 + 1;
            let expected = match (missing, topic) {
                // In between it is also a hole in the order.
                (1..=3, _) => vec![(Kind::Silent, number, number), (Kind::Lost, number, number)],
                // Who asks for no history is owed what follows the first that it was told of.
                (0, "live") => vec![],
                _ => vec![(Kind::Lost, number, number)],
            };
            assert_eq!(found(topic, &lines), expected, "{topic} {number}");
        }
    }
    assert_eq!(found("stored", &[]), [(Kind::Lost, 1, 5)]);
}

#[test]
fn a_duplicate_is_caught() {
    for again in 0..5 {
        let mut lines = all("live");
        let line = lines[again].clone();
        let number = again as u64 + 1;
        lines.insert(again + 1, line.clone());
        assert_eq!(found("live", &lines), [(Kind::Duplicate, number, number)]);
        let mut lines = all("live");
        lines.push(line);
        assert_eq!(found("live", &lines), [(Kind::Duplicate, number, number)]);
    }
}

#[test]
fn disorder_is_caught() {
    for place in 0..4 {
        let mut lines = all("stored");
        lines.swap(place, place + 1);
        let kinds: Vec<Kind> = found("stored", &lines).into_iter().map(|(kind, ..)| kind).collect();
        assert!(kinds.contains(&Kind::Disorder), "{place}: {kinds:?}");
    }
}

#[test]
fn subscribers_that_were_killed_are_owed_nothing_but_order_and_truth() {
    let lines = [got("stored", 2), got("stored", 3)].concat();
    let killed = |lines: &str| verdict(&[publisher("stored", true), subscriber("subscriber", "stored", lines, false)]);
    assert_eq!(killed(&lines).findings, []);
    let kinds = |lines: &str| killed(lines).findings.iter().map(|found| found.kind).collect::<Vec<_>>();
    assert_eq!(kinds(&[got("stored", 2), got("stored", 2)].concat()), [Kind::Duplicate]);
    assert_eq!(kinds(&[got("stored", 2), got("stored", 1)].concat()), [Kind::Disorder]);
    assert_eq!(kinds(&[got("stored", 2), got("stored", 4)].concat()), [Kind::Silent]);
}

/// A gap of `brief` at this time, in milliseconds, among messages that came.
fn gap(at: u64, from: u64, to: u64, reason: &str) -> String {
    format!("gap {} brief P 1001 {from} {to} {reason}\n", at * MS)
}

#[test]
fn a_gap_excuses_what_has_expired_and_nothing_else() {
    let with = |gap: String| {
        let mut lines = all("brief");
        lines.splice(1..3, [gap]);
        found("brief", &lines)
    };
    // Messages 2 and 3 expire at 5 and 6 s.
    assert_eq!(with(gap(6_000, 2, 3, "Expired")), []);
    assert_eq!(with(gap(5_500, 2, 3, "Expired")), [(Kind::FalseGap, 3, 3)]);
    assert_eq!(with(gap(4_000, 2, 3, "Expired")), [(Kind::FalseGap, 2, 3)]);
    for reason in ["PublisherGone", "Overflow", "Lost", "Malformed", "Other(9)"] {
        assert_eq!(with(gap(6_000, 2, 3, reason)), [(Kind::FalseGap, 2, 3), (Kind::Lost, 2, 3)], "{reason}");
    }
    assert_eq!(with(gap(9_000, 2, 2, "Expired")), [(Kind::Silent, 3, 3), (Kind::Lost, 3, 3)]);
    // A gap that takes in what was never published.
    let mut lines = all("brief");
    lines.push(gap(99_000, 6, 7, "Expired"));
    assert_eq!(found("brief", &lines), [(Kind::FalseGap, 6, 7)]);
}

#[test]
fn a_publisher_is_gone_only_when_it_is() {
    let lines = [got("live", 1), "gap 9000000000 live P 1001 2 5 PublisherGone\n".to_owned()].concat();
    let killed = [publisher("live", false), subscriber("subscriber", "live", &lines, true)];
    let verdict = verdict(&killed);
    assert_eq!((verdict.findings, verdict.figures.gone), (vec![], 4));
    assert_eq!(found("live", &[lines]), [(Kind::FalseGap, 2, 5), (Kind::Lost, 2, 5)]);
}

#[test]
fn what_a_cache_has_is_owed_when_its_publisher_is_gone() {
    let with = |cache_lasts: bool, lines: &str| {
        let all = all("cached").concat();
        let cache = subscriber("cache", "cached", &all, cache_lasts);
        let logs = [publisher("cached", false), cache, subscriber("subscriber", "cached", lines, true)];
        verdict(&logs).findings.iter().map(|found| (found.kind, found.from, found.to)).collect::<Vec<_>>()
    };
    assert_eq!(with(true, &all("cached").concat()), []);
    assert_eq!(with(true, ""), [(Kind::Lost, 1, 5)]);
    assert_eq!(with(false, ""), []);
    let beginning = [got("cached", 1), got("cached", 2)].concat();
    assert_eq!(with(true, &beginning), [(Kind::Lost, 3, 5)]);
    // It is no excuse that the publisher is gone.
    let gap = "gap 9000000000 cached P 1001 3 5 PublisherGone\n";
    assert_eq!(with(true, &format!("{beginning}{gap}")), [(Kind::Lost, 3, 5)]);
    assert_eq!(with(false, &format!("{beginning}{gap}")), []);
    assert_eq!(with(true, &[got("cached", 4), got("cached", 5)].concat()), [(Kind::Lost, 1, 3)]);
}

#[test]
fn who_begins_late_is_owed_what_is_published_in_the_calm() {
    let late = "intent 17000000000 live 6 3600000\nsent 17000000001 live 6\nended 60000000000\n";
    let publisher = publisher("live", true).replace("ended 60000000000\n", late);
    let logs = [publisher, subscriber("subscriber", "live", "", true)];
    let verdict = verdict(&logs);
    assert_eq!((verdict.count(Kind::Lost), verdict.findings[0].from), (1, 6));
}

#[test]
fn what_nobody_published_is_caught() {
    let mut lines = all("stored");
    lines.push(got("stored", 6));
    assert_eq!(found("stored", &lines), [(Kind::Invented, 6, 6)]);
    let mut lines = all("stored");
    lines[2] = lines[2].replace("p1 3", "p1 2");
    assert_eq!(found("stored", &lines), [(Kind::Invented, 3, 3)]);
    let mut lines = all("stored");
    lines.push("got 9000000000 stored Q 1001 1 p1 1\n".to_owned());
    assert_eq!(found("stored", &lines), [(Kind::Invented, 1, 1)]);
    let mut lines = all("stored");
    lines.push("bad 9000000000 stored 6\n".to_owned());
    assert_eq!(found("stored", &lines), [(Kind::Damaged, 1, 1)]);
}

#[test]
fn lives_with_one_id_are_told_apart() {
    // The second life began at 2000 of the wall clock, so incarnation 2001 is its own.
    let second = publisher("live", true).replace("p1 P 1000", "p2 P 2000");
    let lines = all("live").concat();
    let second_lines = lines.replace("P 1001", "P 2001").replace("p1", "p2");
    let logs = [publisher("live", false), second, subscriber("subscriber", "live", &(lines + &second_lines), true)];
    let verdict = verdict(&logs);
    assert_eq!((verdict.findings, verdict.figures.delivered), (vec![], 10));
}

#[test]
fn a_log_that_breaks_off_is_read_to_its_last_whole_line() {
    let life = Life::read("started 1 publisher p1 P 1000\nintent 5 live 1 10\nsent 6 li").unwrap();
    assert_eq!(life.published["live"][0].sent, None);
    assert_eq!(Life::read("started 1 publisher p1 P 1000\nsent 6 li\n").unwrap_err().0, 2);
    assert_eq!(Life::read("started 1 publisher p1 P 1000\nintent 5 live 2 10\n").unwrap_err().0, 2);
}

#[test]
fn while_it_runs_who_was_told_of_the_end_of_faults_counts_as_lasting() {
    let running =
        |text: String| text.lines().filter(|line| !line.starts_with("ended")).fold(String::new(), |a, b| a + b + "\n");
    let logs = [publisher("stored", true), subscriber("subscriber", "stored", "", true)].map(running);
    let lives: Vec<Life> = logs.iter().map(|text| Life::read(text).unwrap()).collect();
    assert_eq!(check(&lives, true).count(Kind::Lost), 5);
    assert_eq!(check(&lives, false).count(Kind::Lost), 0);
}
