//! The management API.

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use common::{Client, Server, Setup, any_port, echo, http, until};
use tcp_demux::{Config, Demux, Framing, Management};

async fn call(demux: &Demux, request: &str, body: &str) -> (u16, String) {
    let json = "content-type: application/json\r\n";
    http(demux.management().expect("it is managed"), request, json, body).await
}

/// The value of a key that holds text, the first there is.
fn value(answer: &str, key: &str) -> String {
    let after = answer.split_once(&format!("\"{key}\":\"")).unwrap_or_else(|| panic!("no {key} in {answer}")).1;
    after.split('"').next().unwrap_or_default().to_owned()
}

fn add(address: SocketAddr) -> String {
    format!(r#"{{"host":"{}","port":{},"alive_timeout":30,"ready_timeout":5}}"#, address.ip(), address.port())
}

#[tokio::test]
async fn upstreams_are_added_drained_resumed_and_removed() {
    let (first, second) = (Server::start(echo()).await, Server::start(echo()).await);
    let demux = Setup::new(Framing::Lines).start().await;
    let (status, answer) = call(&demux, "GET /ready", "").await;
    assert_eq!(status, 503, "{answer}");
    let (status, answer) = call(&demux, "POST /upstream/add", &add(first.address)).await;
    assert_eq!(status, 200, "{answer}");
    let first_id = value(&answer, "uuid");
    let (status, answer) = call(&demux, "POST /upstream/add", &add(first.address)).await;
    assert_eq!(status, 409, "{answer}");
    assert!(answer.contains("application/problem+json") && answer.contains("\"status\":409"), "{answer}");

    let mut client = Client::connect(&demux).await;
    client.say("one").await;
    assert_eq!(client.hear().await, "one");
    assert_eq!(call(&demux, "GET /ready", "").await.0, 200);
    let (_, answer) = call(&demux, "GET /downstream", "").await;
    assert_eq!(value(&answer, "upstream"), first_id);

    let (_, answer) = call(&demux, "POST /upstream/add", &add(second.address)).await;
    let second_id = value(&answer, "uuid");
    until("both are ready", async || demux.ready_upstreams() == 2).await;
    assert_eq!(call(&demux, &format!("POST /upstream/{first_id}/drain"), "").await.0, 200);
    client.say("two").await;
    assert_eq!(client.hear().await, "two");
    let (_, answer) = call(&demux, "GET /downstream", "").await;
    assert_eq!(value(&answer, "upstream"), second_id);

    assert_eq!(call(&demux, &format!("POST /upstream/{first_id}/resume"), "").await.0, 200);
    until("both are ready", async || demux.ready_upstreams() == 2).await;
    assert_eq!(call(&demux, &format!("DELETE /upstream/{second_id}"), "").await.0, 204);
    client.say("three").await;
    assert_eq!(client.hear().await, "three");
    until("it is gone", async || call(&demux, &format!("GET /upstream/{second_id}"), "").await.0 == 404).await;
}

#[tokio::test]
async fn sockets_are_listed_sent_to_and_closed() {
    let server = Server::start(echo()).await;
    let demux = Setup::new(Framing::Lines).upstream(&server).start().await;
    let mut client = Client::connect(&demux).await;
    client.say("here").await;
    assert_eq!(client.hear().await, "here");
    let (_, answer) = call(&demux, "GET /downstream?limit=10", "").await;
    assert!(answer.contains("\"total\":1"), "{answer}");
    let id = value(&answer, "uuid");
    let (status, answer) = call(&demux, &format!("GET /downstream/{id}"), "").await;
    assert_eq!((status, value(&answer, "uuid")), (200, id.clone()));
    assert_eq!(call(&demux, &format!("POST /downstream/{id}/send"), "from the operator").await.0, 204);
    assert_eq!(client.hear().await, "from the operator");
    assert_eq!(call(&demux, "POST /downstream/send?to=all", "to all").await.0, 202);
    assert_eq!(client.hear().await, "to all");
    assert_eq!(call(&demux, "POST /downstream/send?to=some", "").await.0, 400);
    assert_eq!(call(&demux, &format!("DELETE /downstream/{id}"), "").await.0, 204);
    assert_eq!(client.rest().await, b"");
    until("it is gone", async || call(&demux, &format!("GET /downstream/{id}"), "").await.0 == 404).await;
}

#[tokio::test]
async fn settings_change_while_it_runs() {
    let demux = Setup::new(Framing::Lines).start().await;
    let (status, answer) = call(&demux, "PATCH /settings", r#"{"distribution":"round_robin","max_sockets":1}"#).await;
    assert_eq!(status, 200, "{answer}");
    assert!(answer.contains("round_robin") && answer.contains("\"max_sockets\":1"), "{answer}");
    let _first = Client::connect(&demux).await;
    until("it is there", async || demux.clients() == 1).await;
    assert_eq!(Client::connect(&demux).await.rest().await, b"");
    for (body, key) in [
        (r#"{"max_socket":1}"#, "max_socket"),
        (r#"{"max_sockets":0}"#, "max_sockets"),
        (r#"{"log_level":"info"}"#, "log_level"),
        (r#"{"distribution":"random"}"#, "random"),
    ] {
        let (status, answer) = call(&demux, "PATCH /settings", body).await;
        assert_eq!(status, 422, "{answer}");
        assert!(answer.contains(key), "{answer}");
    }
}

#[tokio::test]
async fn what_makes_no_sense_is_a_problem() {
    let demux = Setup::new(Framing::Raw).start().await;
    let bad_body = r#"{"host":"not a host","port":1,"alive_timeout":1,"ready_timeout":1}"#;
    for (request, body, expected) in [
        ("GET /nowhere", "", 404),
        ("DELETE /metrics", "", 405),
        ("POST /upstream/add", "{", 400),
        ("POST /upstream/add", "{}", 422),
        ("POST /upstream/add", bad_body, 422),
        ("GET /upstream/7", "", 400),
        ("GET /downstream/00000000-0000-4000-8000-000000000000", "", 404),
        ("GET /downstream?page=1", "", 400),
    ] {
        let (status, answer) = call(&demux, request, body).await;
        assert_eq!(status, expected, "{request}: {answer}");
        assert!(answer.contains("application/problem+json"), "{request}: {answer}");
    }
}

#[tokio::test]
async fn a_token_is_needed_where_there_is_one_and_beyond_loopback() {
    let mut setup = Setup::new(Framing::Raw);
    let mut management = Management::new(any_port());
    management.token = Some("secret".to_owned());
    setup.0.management = Some(management);
    let demux = setup.start().await;
    let address = demux.management().expect("it is managed");
    for (headers, expected) in [
        ("", 401),
        ("authorization: Bearer wrong!\r\n", 401),
        ("authorization: Basic secret\r\n", 401),
        ("authorization: Bearer secret\r\n", 200),
    ] {
        assert_eq!(http(address, "GET /upstream", headers, "").await.0, expected, "{headers}");
    }
    assert_eq!(http(address, "GET /health", "", "").await.0, 200);

    let mut open = Config::default();
    open.management = Some(Management::new(SocketAddr::from(([0, 0, 0, 0], 0))));
    assert!(Demux::start(open).await.is_err_and(|error| error.to_string().contains("needs a token")));
}

#[tokio::test]
async fn an_upstream_that_is_slow_to_be_ready_gets_nothing_before_and_one_that_is_not_there_is_tried_again() {
    let mut behaviour = echo();
    behaviour.ready_sleep = Duration::from_millis(300);
    let slow = Server::start(behaviour).await;
    let demux = Setup::new(Framing::Lines).upstream(&slow).start().await;
    let mut client = Client::connect(&demux).await;
    client.say("early").await;
    assert_eq!(demux.ready_upstreams(), 0);
    assert_eq!(client.hear().await, "early");

    let address = slow.address;
    drop(slow);
    until("it is away", async || demux.ready_upstreams() == 0).await;
    client.say("meanwhile").await;
    let _again = Server::start_at(address, echo()).await;
    assert_eq!(client.hear().await, "meanwhile");
}
