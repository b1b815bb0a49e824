use glue_net::{EndpointId, Incarnation};
use glue_topics::EndpointName;

use super::*;
use crate::Builder;

async fn endpoint() -> Endpoint {
    let builder = Builder::new().listen_address(([127, 0, 0, 1], 0).into()).discovery_listen_address(None);
    builder.rendezvous().start().await.unwrap()
}

fn names(holders: &[Holder]) -> Vec<&str> {
    holders.iter().map(|holder| &*holder.token).collect()
}

#[tokio::test]
async fn a_token_is_up_while_any_of_its_handles_is_there() {
    let endpoint = endpoint().await;
    let mut events = endpoint.token_events("a").unwrap();
    let (first, second, other) = (endpoint.token("a").unwrap(), endpoint.token("a"), endpoint.token("b").unwrap());
    assert_eq!((first.name(), other.name()), ("a", "b"));
    assert_eq!(names(&endpoint.tokens("#").unwrap()), ["a", "b"]);
    assert!(matches!(events.recv().await, Some(TokenEvent::Up(holder)) if holder.endpoint_id == endpoint.id()));
    drop(first);
    assert_eq!(names(&endpoint.tokens("a").unwrap()), ["a"]);
    drop(second);
    assert!(matches!(events.recv().await, Some(TokenEvent::Down(holder)) if holder.token == "a"));
    let mut later = endpoint.token_events("#").unwrap();
    assert!(matches!(later.recv().await, Some(TokenEvent::Up(holder)) if holder.token == "b"));
    endpoint.close(Duration::ZERO).await;
    assert_eq!((events.recv().await, later.recv().await), (None, None));
    assert!(matches!(endpoint.token("a/#"), Err(TokenError::BadName(_))));
    assert!(matches!(endpoint.tokens(""), Err(TokenError::BadName(_))));
}

#[test]
fn what_is_up_and_down_before_it_is_read_is_not_told() {
    let board = TokenBoard::default();
    let holder = |token| {
        let (endpoint_id, incarnation) = (EndpointId::from_integer(1), Incarnation(1));
        let (endpoint_name, token) = (EndpointName::new("one"), TopicName::new(token, 8).unwrap());
        Holder { endpoint_id, incarnation, endpoint_name, token }
    };
    let (up, down) = (|token| TokenEvent::Up(holder(token)), |token| TokenEvent::Down(holder(token)));
    let watch = |filter| board.watch(Filter::new(filter, 64).unwrap());
    let (mut all, mut only_a) = (watch("#"), watch("a"));
    board.note(&up("a"));
    assert_eq!(all.try_recv(), Some(up("a")));
    [down("a"), up("a"), up("b"), down("b"), up("c")].iter().for_each(|event| board.note(event));
    assert_eq!((all.try_recv(), all.try_recv()), (Some(up("c")), None));
    board.note(&down("a"));
    assert_eq!((all.try_recv(), all.try_recv()), (Some(down("a")), None));
    assert_eq!(only_a.try_recv(), None);
    assert_eq!(watch("#").try_recv(), Some(up("c")));
    assert_eq!(watch("a").try_recv(), None);
}

#[tokio::test]
async fn a_will_is_refused_with_a_reason() {
    let endpoint = endpoint().await;
    let _publisher = endpoint.publisher("t", "ty").unwrap();
    let expiry = Duration::from_secs(1);
    assert!(matches!(endpoint.will("t", "other", expiry, "x"), Err(WillError::TypeMismatch { .. })));
    assert_eq!(endpoint.will("t", "ty", Duration::ZERO, "x").unwrap_err(), WillError::NoLifetime);
    let large = vec![0; 65_536];
    let error = endpoint.will("t", "ty", expiry, &large).unwrap_err();
    assert_eq!(error, WillError::TooLarge { len: 65_539, limit: 65_536 });
    // One for the same topic takes the place of the first.
    let kept: Vec<Will> = (0..64).map(|at| endpoint.will("t", "ty", expiry, &[at]).unwrap()).collect();
    let more: Vec<_> = (0..64).map(|at| endpoint.will(&format!("t/{at}"), "ty", expiry, "x")).collect();
    assert_eq!(more.iter().filter(|will| will.is_ok()).count(), 63);
    assert_eq!(more.last().unwrap().as_ref().unwrap_err(), &WillError::TooMany { limit: 64 });
    drop(kept);
    assert!(endpoint.will("u", "ty", expiry, "x").is_ok());
}
