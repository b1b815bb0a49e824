//! Data of clients to upstreams and back.

mod common;

use std::time::Duration;

use common::{Client, Echo, Server, Setup, counter, echo, endpoint, network, until, within};
use tcp_demux::test_server::Behaviour;
use tcp_demux::{Distribution, Framing, Happening};

#[tokio::test]
async fn a_server_of_the_original_protocol_answers_and_broadcasts() {
    let server = Server::start(Behaviour::default()).await;
    let demux = Setup::new(Framing::Raw).upstream(&server).start().await;
    let (mut one, mut two) = (Client::connect(&demux).await, Client::connect(&demux).await);
    one.say("first").await;
    assert!(one.hear().await.ends_with("this was message 1."));
    two.say("second").await;
    assert_eq!(one.hear().await, "To all: message 2 came.");
    assert_eq!(two.hear().await, "To all: message 2 came.");
}

#[tokio::test]
async fn every_byte_comes_back_in_order_to_its_socket() {
    let server = Server::start(echo()).await;
    let demux = Setup::new(Framing::Lines).upstream(&server).start().await;
    let clients = (0..20).map(|client| {
        let address = demux.listeners()[0];
        tokio::spawn(async move {
            let mut socket = Client::to(address).await;
            for n in 0..200 {
                socket.say(&format!("{client} {n}")).await;
            }
            for n in 0..200 {
                assert_eq!(socket.hear().await, format!("{client} {n}"));
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        within("a client", client).await.expect("a client is well");
    }
}

#[tokio::test]
async fn without_an_upstream_the_client_waits_and_nothing_is_lost() {
    let demux = Setup::new(Framing::Lines).start().await;
    let mut client = Client::connect(&demux).await;
    for n in 0..100 {
        client.say(&format!("{n}")).await;
    }
    let server = Server::start(echo()).await;
    demux.add_upstream(server.upstream()).expect("it is added");
    for n in 0..100 {
        assert_eq!(client.hear().await, format!("{n}"));
    }
}

#[tokio::test]
async fn round_robin_takes_turns_by_message() {
    let network = network(1);
    let demux = Setup::new(Framing::Lines)
        .settings(|settings| settings.distribution = Distribution::RoundRobin)
        .glue(endpoint(network, "demux").await)
        .start()
        .await;
    let echoes = [Echo::start(network, "a").await, Echo::start(network, "b").await];
    until("both upstreams are ready", async || demux.ready_upstreams() == 2).await;
    let mut client = Client::connect(&demux).await;
    for n in 0..10 {
        client.say(&format!("{n}")).await;
        client.hear().await;
    }
    assert_eq!([echoes[0].data().len(), echoes[1].data().len()], [5, 5]);
}

#[tokio::test]
async fn a_glue_upstream_is_found_and_told_of_clients() {
    let network = network(2);
    let demux = Setup::new(Framing::Lines).glue(endpoint(network, "demux").await).start().await;
    let mut client = Client::connect(&demux).await;
    let echo = Echo::start(network, "echo").await;
    client.say("hello").await;
    assert_eq!(client.hear().await, "hello");
    drop(client);
    until("the end is told", async || echo.seen.lock().expect("no panic").len() == 3).await;
    let seen = echo.seen.lock().expect("no panic").clone();
    assert!(
        matches!(&seen[..], [Happening::Connected(_), Happening::Data(_), Happening::Disconnected(why)] if why == "closed_by_client"),
        "{seen:?}"
    );
}

#[tokio::test]
async fn sockets_move_when_an_upstream_goes_and_what_it_had_not_done_goes_along() {
    let network = network(3);
    let demux = Setup::new(Framing::Lines).glue(endpoint(network, "demux").await).start().await;
    // It takes messages, and is never done with them.
    let idler = endpoint(network, "idler").await;
    let mut upstream = tcp_demux::Upstream::join(&idler, "test", false).await.expect("it joins");
    let mut client = Client::connect(&demux).await;
    for n in 0..10 {
        client.say(&format!("{n}")).await;
    }
    within("a message", upstream.recv()).await.expect("it is open");
    let echo = Echo::start(network, "echo").await;
    until("both upstreams are ready", async || demux.ready_upstreams() == 2).await;
    idler.close(Duration::ZERO).await;
    for n in 0..10 {
        assert_eq!(client.hear().await, format!("{n}"));
    }
    assert_eq!(echo.data().len(), 10);
}

#[tokio::test]
async fn upstreams_reach_clients_of_every_instance() {
    let network = network(4);
    let server = Server::start(Behaviour::default()).await;
    let one = Setup::new(Framing::Raw).upstream(&server).glue(endpoint(network, "one").await).start().await;
    let two = Setup::new(Framing::Raw).glue(endpoint(network, "two").await).start().await;
    until("the instances meet", async || one.instances() == 1 && two.instances() == 1).await;
    let (mut near, mut far) = (Client::connect(&one).await, Client::connect(&two).await);
    until("both are known", async || one.clients() == 1 && two.clients() == 1).await;
    near.say("first").await;
    assert!(near.hear().await.ends_with("this was message 1."));
    near.say("second").await;
    assert_eq!(near.hear().await, "To all: message 2 came.");
    assert_eq!(far.hear().await, "To all: message 2 came.");
}

#[tokio::test]
async fn a_client_that_goes_while_its_upstream_is_away_holds_up_no_other() {
    let network = network(5);
    let demux = Setup::new(Framing::Lines)
        .settings(|settings| settings.half_closed_timeout = Duration::ZERO)
        .glue(endpoint(network, "demux").await)
        .start()
        .await;
    let idler = endpoint(network, "idler").await;
    let mut upstream = tcp_demux::Upstream::join(&idler, "test", true).await.expect("it joins");
    let (mut leaver, mut stayer) = (Client::connect(&demux).await, Client::connect(&demux).await);
    leaver.say("farewell").await;
    stayer.say("hello").await;
    // It asks for no second one, so it is done with none.
    within("a message", upstream.recv()).await.expect("it is open");
    until("both are accepted", async || counter(&demux, "messages_received_total").await == 2).await;
    idler.close(Duration::ZERO).await;
    until("the upstream is away", async || demux.ready_upstreams() == 0).await;
    drop(leaver);
    until("the client is gone", async || demux.clients() == 1).await;
    let echo = Echo::start(network, "echo").await;
    assert_eq!(stayer.hear().await, "hello");
    until("what the leaver said is processed as well", async || echo.data().len() == 2).await;
}
