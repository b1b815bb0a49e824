//! No sockets and no upstream: what a lane keeps, and gives back.

use std::net::SocketAddr;
use std::task::Waker;

use super::*;
use crate::framing::Framing;

fn client() -> Arc<Socket> {
    let peer = SocketAddr::from(([192, 0, 2, 1], 4_711));
    Socket::new(Uuid::new_v4(), peer, Arc::new(Framing::Raw), 0)
}

fn lane(confirm: Confirm) -> Arc<Lane> {
    let window = 4 * (MESSAGE_OVERHEAD_BYTES + 1);
    Lane::new(Uuid::new_v4(), LaneConfig { window, confirm, wants_events: false })
}

fn push(lane: &Lane, client: &Arc<Socket>, text: &'static str) -> Result<(), Refused> {
    lane.try_push(Forward::new(client, What::Data(Bytes::from_static(text.as_bytes()))))
}

fn next(lane: &Lane) -> Sent {
    match lane.poll_next(&Context::from_waker(Waker::noop())) {
        Poll::Ready(Some(sent)) => sent,
        other => panic!("{other:?}"),
    }
}

/// What is left: the text, and whether it is marked as redelivered.
fn leftovers(lane: &Lane) -> Vec<(What, bool)> {
    lane.close();
    lane.leftovers().into_iter().map(|forward| (forward.what, forward.redelivered)).collect()
}

fn left(of: &[(&'static str, bool)]) -> Vec<(What, bool)> {
    of.iter().map(|(text, redelivered)| (What::Data(Bytes::from_static(text.as_bytes())), *redelivered)).collect()
}

#[test]
fn what_is_not_acknowledged_is_left_in_order() {
    let (lane, client) = (lane(Confirm::Acknowledged), client());
    for text in ["a", "b", "c", "d"] {
        push(&lane, &client, text).expect("there is room");
    }
    let (first, second) = (next(&lane), next(&lane));
    assert!(second.sequence > first.sequence);
    next(&lane);
    lane.acknowledge(first.sequence);
    assert_eq!(lane.outstanding(), 3);
    // One of a life before settles nothing.
    lane.acknowledge(0);
    assert_eq!(leftovers(&lane), left(&[("b", true), ("c", true), ("d", false)]));
}

#[test]
fn what_is_sent_is_settled_where_nothing_is_confirmed() {
    let (lane, client) = (lane(Confirm::Sent), client());
    push(&lane, &client, "a").expect("there is room");
    push(&lane, &client, "b").expect("there is room");
    assert_eq!(next(&lane).sequence, 0);
    assert_eq!(leftovers(&lane), left(&[("b", false)]));
}

#[test]
fn a_reply_settles_the_oldest_of_its_client() {
    let (lane, one, two) = (lane(Confirm::Reply), client(), client());
    for (client, text) in [(&one, "a"), (&two, "b"), (&two, "c")] {
        push(&lane, client, text).expect("there is room");
        next(&lane);
    }
    lane.replied_to(two.id);
    lane.replied_to(Uuid::new_v4());
    assert_eq!(leftovers(&lane), left(&[("a", true), ("c", true)]));
}

#[test]
fn a_full_lane_takes_again_when_something_is_settled() {
    let (lane, client) = (lane(Confirm::Acknowledged), client());
    for text in ["a", "b", "c", "d"] {
        push(&lane, &client, text).expect("there is room");
    }
    assert!(matches!(push(&lane, &client, "e"), Err(Refused::Full(_))));
    let sent = next(&lane);
    assert!(matches!(push(&lane, &client, "e"), Err(Refused::Full(_))));
    lane.acknowledge(sent.sequence);
    push(&lane, &client, "e").expect("there is room");
    lane.close();
    assert!(matches!(push(&lane, &client, "f"), Err(Refused::Closed(_))));
}

#[tokio::test]
async fn who_waits_for_room_is_told_when_the_lane_closes() {
    let (lane, client) = (lane(Confirm::Acknowledged), client());
    for text in ["a", "b", "c", "d"] {
        push(&lane, &client, text).expect("there is room");
    }
    let waiting = lane.push(Forward::new(&client, What::Moved));
    let (waited, ()) = tokio::join!(waiting, async { lane.fail() });
    assert!(matches!(waited, Err(Refused::Closed(_))));
    lane.reached(Phase::Failed).await;
}
