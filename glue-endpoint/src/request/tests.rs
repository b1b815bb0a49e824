use std::time::Duration;

use glue_topics::{AnswerError, RequestError};

use crate::{Builder, Endpoint};

const SECOND: Duration = Duration::from_secs(1);

async fn endpoint() -> Endpoint {
    let loopback = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let builder = Builder::new().network_id(7_303).listen_address(loopback).rendezvous().discovery_listen_address(None);
    builder.start().await.unwrap()
}

fn is_empty(endpoint: &Endpoint) -> bool {
    endpoint.shared.calls().len() == (0, 0) && endpoint.shared.call(|engine, _| engine.open_calls()) == (0, 0)
}

#[tokio::test]
async fn one_endpoint_asks_and_answers() {
    let endpoint = endpoint().await;
    assert_eq!(endpoint.request("a", "", "1", SECOND).await.unwrap_err(), RequestError::NoResponders);
    let mut responder = endpoint.respond("a", "text").await.unwrap();
    assert!(endpoint.wait_for_responders("a", "", 1).await);
    let (reply, ()) = tokio::join!(endpoint.request("a", "text", "1", SECOND), async {
        let request = responder.recv().await.unwrap();
        assert!(!request.is_cancelled() && request.time_left() <= SECOND && request.source().topic_name == *"a");
        request.reply("2").unwrap();
    });
    assert_eq!(reply.unwrap().payload, "2");
    assert!(is_empty(&endpoint));
}

#[tokio::test]
async fn a_request_that_is_dropped_is_cancelled_and_its_responder_learns_so() {
    let endpoint = endpoint().await;
    let mut responder = endpoint.respond("a", "").await.unwrap();
    let replies = endpoint.request_all("a", "", "1", SECOND).unwrap();
    let request = responder.recv().await.unwrap();
    drop(replies);
    request.cancelled().await;
    assert!(request.is_cancelled());
    assert_eq!(request.reply("2"), Err(AnswerError::Cancelled));
    assert!(is_empty(&endpoint));
}

#[tokio::test]
async fn dropped_requests_and_responders_are_told() {
    let endpoint = endpoint().await;
    let mut responder = endpoint.respond("a", "").await.unwrap();
    let mut replies = endpoint.request_all("a", "", "1", SECOND).unwrap();
    drop(responder.recv().await.unwrap());
    assert_eq!(replies.next().await.unwrap().unwrap_err(), RequestError::Dropped);
    assert!(replies.next().await.is_none());
    // It waits in the responder, and no application has seen it.
    let mut replies = endpoint.request_all("a", "", "1", SECOND).unwrap();
    drop(responder);
    assert_eq!(replies.next().await.unwrap().unwrap_err(), RequestError::NoResponders);
    assert!(is_empty(&endpoint));
}

#[tokio::test]
async fn a_function_answers_at_once_and_a_slow_one_is_not_waited_for() {
    let endpoint = endpoint().await;
    let mut kept = Vec::new();
    let _service = endpoint
        .respond_with("a", "", move |request| {
            if &request.payload()[..] == b"keep" { kept.push(request) } else { request.fail("no").unwrap() }
        })
        .await
        .unwrap();
    let error = endpoint.request("a", "", "1", SECOND).await.unwrap_err();
    assert_eq!(error, RequestError::Responder("no".to_owned()));
    let error = endpoint.request_first("a", "", "keep", Duration::from_millis(20)).await.unwrap_err();
    assert_eq!(error, RequestError::Timeout);
    assert!(is_empty(&endpoint));
}

#[tokio::test]
async fn a_closed_endpoint_answers_nothing() {
    let endpoint = endpoint().await;
    let mut responder = endpoint.respond("a", "").await.unwrap();
    let mut replies = endpoint.request_all("a", "", "1", SECOND).unwrap();
    endpoint.close(Duration::ZERO).await;
    assert_eq!(replies.next().await.unwrap().unwrap_err(), RequestError::Closed);
    assert!(endpoint.request("a", "", "1", SECOND).await.is_err());
    // What had come is still there; nobody waits for it.
    assert!(responder.try_recv().is_none() && responder.recv().await.is_none());
}

#[tokio::test]
async fn a_message_of_a_group_is_done_when_the_next_is_asked_for() {
    let endpoint = endpoint().await;
    let mut first = endpoint.subscribe("$share/g/a/+", "").await.unwrap();
    let publish = async |n: usize| endpoint.publish("a/b", "", SECOND * 60, &n.to_string()).await.unwrap();
    let done = || endpoint.stats().topics.shares_done;
    for n in 0..3 {
        publish(n).await;
    }
    assert_eq!((first.recv().await.unwrap().payload, done()), ("0".into(), 0));
    assert_eq!((first.recv().await.unwrap().payload, done()), ("1".into(), 1));
    // It is dropped with one done, and one not seen: that goes to the next.
    drop(first);
    assert_eq!(done(), 2);
    let mut second = endpoint.subscribe("$share/g/a/+", "").await.unwrap();
    assert_eq!(second.recv().await.unwrap().payload, "2");
    assert!(second.try_recv().is_none());
    assert!(done() == 3 && is_empty(&endpoint));
    let (sender, receiver) = std::sync::mpsc::channel();
    drop(second);
    let _third =
        endpoint.subscribe_with("$share/g/a/+", "", move |message| sender.send(message).unwrap()).await.unwrap();
    publish(3).await;
    assert_eq!(receiver.recv().unwrap().payload, "3");
    // Whichever thread called the function may be about to say so.
    while done() < 4 {
        tokio::task::yield_now().await;
    }
}
