//! Requests and answers between whole endpoints: each request ends once, with a reply or a true error, and leaves
//! nothing behind.

use std::time::Duration;

use glue_endpoint::RequestError;
use glue_sim::{Link, check};
use glue_stack::office::Office;
use glue_stack::scene::{kept, ms, rough, s};
use glue_topics::Reach;

fn reach(at: u64) -> Reach {
    match at % 3 {
        0 => Reach::One,
        1 => Reach::First,
        _ => Reach::All,
    }
}

#[test]
fn every_request_is_answered_once() {
    check("every_request_is_answered_once", kept(32), |seed| {
        let mut office = Office::new(seed, 2, 3);
        office.world.set_default_link(rough(seed));
        office.meet(s(120));
        let mut sent = 0;
        for round in 0..60 {
            let most = if round % 10 == 0 { 100_000 } else { 300 };
            sent += usize::from(office.ask(round % 2, reach(round as u64 / 2), s(60), most));
            office.run(ms(10));
        }
        office.assert_nothing_is_left(s(90));
        assert_eq!(office.ended.len(), sent);
        // Where half of all datagrams are lost, peers come and go.
        let by_peers = |error: &RequestError| matches!(error, RequestError::Responder(_) | RequestError::Dropped);
        let well = office.ended.iter().filter(|end| end.as_ref().err().is_none_or(by_peers)).count();
        assert!(well == sent || seed % 4 == 3, "{:?}", office.ended);
        assert!(well >= 30, "{:?}", office.ended);
    });
}

#[test]
fn each_request_ends_once_among_crashes_partitions_and_cancels() {
    check("each_request_ends_once_among_crashes_partitions_and_cancels", kept(32), |seed| {
        let mut office = Office::new(seed, 2, 3);
        office.slowness = ms(200);
        office.world.set_default_link(rough(seed));
        office.meet(s(120));
        let mut sent = 0;
        for round in 0..150_u64 {
            let caller = usize::try_from(round % 2).expect("small");
            sent += usize::from(office.ask(caller, reach(seed + round / 2), ms(200 + 40 * (round % 100)), 3_000));
            match (round + seed) % 29 {
                3 => office.restart(2 + caller),
                7 => office.world.isolate(office.nodes[4]),
                13 | 20 => office.cancel(caller),
                17 => office.world.heal(),
                22 => office.restart(caller),
                _ => {}
            }
            office.run(ms(if round % 30 == 29 { 3_000 } else { 20 }));
        }
        office.world.heal();
        office.assert_nothing_is_left(s(700));
        assert!(sent > 60 && office.ended.len() > sent / 3, "{sent} {}", office.ended.len());
    });
}

#[test]
fn a_responder_that_dies_at_any_step_ends_the_request_truly() {
    let mut gone = 0;
    let mut replied = 0;
    for step in 0..60 {
        let mut office = Office::new(step, 1, 2);
        office.slowness = ms(20);
        office.world.set_default_link(Link::default().latency(ms(2)));
        office.meet(s(10));
        assert!(office.ask(0, Reach::One, s(20), 20_000));
        assert!(office.ask(0, Reach::One, s(20), 20_000));
        office.run(Duration::from_micros(step * 500));
        if step % 2 == 0 {
            office.crash(1);
        } else {
            office.restart(1);
        }
        office.assert_nothing_is_left(s(700));
        // One of the two asked it, the other did not.
        assert_eq!(office.ended.len(), 2);
        let lost = office.ended.iter().filter(|end| matches!(end, Err(RequestError::Gone))).count();
        assert!(lost <= 1, "step {step}: {:?}", office.ended);
        gone += lost;
        replied += office.ended.iter().filter(|end| end.is_ok()).count();
    }
    assert!(gone > 15 && replied > 50, "{gone} gone, {replied} replied");
}

#[test]
fn a_flood_of_requests_is_refused_and_not_lost() {
    let mut office = Office::new(1, 1, 1);
    office.slowness = ms(1);
    office.meet(s(10));
    let mut sent = 0;
    for _ in 0..100 {
        while office.ask(0, Reach::One, s(60), 400_000) {
            sent += 1;
        }
        office.run(ms(20));
    }
    office.assert_nothing_is_left(s(60));
    assert_eq!(office.ended.len(), sent);
    assert!(
        sent > 100 && office.ended.iter().all(|end| !matches!(end, Err(RequestError::Timeout | RequestError::Gone)))
    );
}
