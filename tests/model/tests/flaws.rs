//! Each promise can be broken: a fault is planted, and the checker finds the way that leads to it.

use glue_model::{Bounds, CHECKS, Flaw, Plan};

/// With the flaw this promise is broken, in some way that is found. That it is kept without is what `exhausted.rs` shows.
fn breaks(name: &str, flaw: Flaw, bounds: Bounds, promise: &'static str) {
    let Some(check) = CHECKS.iter().find(|check| check.name == name) else { panic!("there is no check {name}") };
    let report = (check.run)(Plan::new(bounds).with(flaw, promise), 1, &mut |_| {});
    assert!(report.breaks(promise), "{flaw:?}: {report}");
}

const HASTE: Bounds = Bounds { faults: 1, losses: 1, ticks: 12, ..Bounds::NONE };

#[test]
fn who_expires_too_early_is_seen() {
    breaks("discovery", Flaw::Hasty, HASTE, "who was heard in time is not down");
}

#[test]
fn who_expires_too_late_is_seen() {
    let bounds = Bounds { faults: 1, crashes: 1, ticks: 12, ..Bounds::NONE };
    breaks("discovery", Flaw::Patient, bounds, "who is silent for two intervals is down");
}

#[test]
fn an_earlier_life_is_seen() {
    let bounds = Bounds { faults: 1, crashes: 1, starts: 2, ticks: 1, ..Bounds::NONE };
    breaks("discovery", Flaw::Backwards, bounds, "nobody comes back in an earlier life");
}

#[test]
fn a_revived_peer_is_seen() {
    let bounds = Bounds { faults: 2, copies: 1, crashes: 1, ticks: 2, ..Bounds::NONE };
    breaks("discovery", Flaw::Forgetful, bounds, "who said goodbye does not come back in that life");
}

#[test]
fn a_lost_event_is_seen() {
    let bounds = Bounds { faults: 1, crashes: 1, ..Bounds::NONE };
    breaks("discovery", Flaw::Unheard, bounds, "events tell what the list says");
}

#[test]
fn a_peer_that_is_never_found_is_seen() {
    let bounds = Bounds { ticks: 1, ..Bounds::NONE };
    breaks("discovery", Flaw::Deaf, bounds, "all who are there know each other, and nobody else");
}

const ONE_COPY: Bounds = Bounds { faults: 1, copies: 1, messages: 1, ticks: 1, ..Bounds::NONE };

#[test]
fn a_payload_that_comes_twice_is_seen() {
    breaks(
        "transport",
        Flaw::Renumbered,
        ONE_COPY,
        "a payload arrives once at most, as long as its receiver remembers the session",
    );
}

#[test]
fn a_changed_payload_is_seen() {
    let promise = "a payload arrives as it was sent, from whom it says, at whom it was for";
    breaks("transport", Flaw::Changed, Bounds { messages: 1, ..Bounds::NONE }, promise);
}

#[test]
fn a_payload_of_an_ended_life_is_seen() {
    let bounds = Bounds { faults: 2, holds: 1, starts: 1, messages: 1, ..Bounds::NONE };
    breaks("transport", Flaw::Undead, bounds, "nothing of an ended life arrives");
}

#[test]
fn a_payload_that_never_comes_is_seen() {
    let promise = "all payloads arrive, are acknowledged, and further ones pass";
    breaks("transport", Flaw::Hole, Bounds { messages: 1, ..Bounds::NONE }, promise);
}

#[test]
fn a_window_that_is_exceeded_is_seen() {
    let bounds = Bounds { messages: 1, ..Bounds::NONE };
    breaks("window", Flaw::Boastful, bounds, "no more is under way than the receiver's window");
}

const TWO: Bounds = Bounds { messages: 2, ticks: 2, ..Bounds::NONE };

#[test]
fn a_message_that_comes_twice_is_seen() {
    breaks("caches", Flaw::Again, TWO, "a message comes once at most");
}

#[test]
fn a_message_out_of_order_is_seen() {
    breaks("caches", Flaw::Swapped, Bounds { faults: 1, holds: 1, ..TWO }, "messages come in order");
}

#[test]
fn a_hole_is_seen() {
    let bounds = Bounds { faults: 1, holds: 1, messages: 3, ticks: 1, ..Bounds::NONE };
    breaks("caches", Flaw::Swapped, bounds, "what is missing is told as a gap");
}

#[test]
fn a_publisher_that_is_given_up_too_early_is_seen() {
    let bounds = Bounds { faults: 1, holds: 1, messages: 3, ticks: 2, ..Bounds::NONE };
    breaks("caches", Flaw::Slander, bounds, "nothing is missing while its publisher is there");
}

#[test]
fn what_a_cache_does_not_bring_is_seen() {
    let bounds = Bounds { faults: 2, crashes: 1, cuts: 1, messages: 1, ..Bounds::NONE };
    for flaw in [Flaw::Silent, Flaw::Swallowed] {
        let bounds = if flaw == Flaw::Swallowed { TWO } else { bounds };
        breaks("caches", flaw, bounds, "the subscriber has all that anybody reachable has");
    }
    breaks("chain", Flaw::Silent, TWO, "the subscriber has all that anybody reachable has");
}

#[test]
fn a_message_that_two_members_get_is_seen() {
    let bounds = Bounds { messages: 1, ..Bounds::NONE };
    breaks("groups", Flaw::Slander, bounds, "no two members that are there get the same message");
}

#[test]
fn a_member_that_has_too_much_is_seen() {
    let bounds = Bounds { messages: 5, ..Bounds::NONE };
    breaks("groups", Flaw::Greedy, bounds, "a member has no more than its window");
}

#[test]
fn a_member_that_is_preferred_is_seen() {
    let bounds = Bounds { messages: 4, ..Bounds::NONE };
    breaks("groups", Flaw::Favourite, bounds, "a message goes to a member that has the fewest");
    breaks("groups", Flaw::Favourite, bounds, "each message is done by a member, and nothing is left of it");
}

#[test]
fn a_message_that_nobody_published_is_seen() {
    breaks("groups", Flaw::Changed, Bounds { messages: 1, ..Bounds::NONE }, "nothing comes that was not published");
}
