//! Bad input, limits and times: one socket suffers, the others notice nothing.

mod common;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::{Client, Echo, Server, Setup, counter, echo, endpoint, http, network, until, within};
use rcgen::generate_simple_self_signed;
use tcp_demux::{Everyone, Framing, SlowReader, TlsFiles, Upstream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

#[tokio::test]
async fn a_message_that_is_too_long_ends_its_socket_alone() {
    let server = Server::start(echo()).await;
    let demux = Setup::new(Framing::Lines)
        .upstream(&server)
        .settings(|settings| settings.max_message_bytes = 100)
        .start()
        .await;
    let (mut good, mut bad) = (Client::connect(&demux).await, Client::connect(&demux).await);
    bad.say("fits").await;
    assert_eq!(bad.hear().await, "fits");
    bad.say(&"x".repeat(101)).await;
    assert_eq!(bad.rest().await, b"");
    good.say(&"y".repeat(100)).await;
    assert_eq!(good.hear().await, "y".repeat(100));
    assert_eq!(counter(&demux, "sockets_bad_frame_total").await, 1);
}

#[tokio::test]
async fn a_length_that_is_too_large_takes_no_memory_and_ends_its_socket() {
    let server = Server::start(echo()).await;
    let demux = Setup::new(Framing::LengthPrefixed32).upstream(&server).start().await;
    let mut client = Client::connect(&demux).await;
    client.stream().write_all(b"\xff\xff\xff\xffabc").await.expect("it writes");
    assert_eq!(client.rest().await, b"");
    assert_eq!(counter(&demux, "sockets_bad_frame_total").await, 1);
}

#[tokio::test]
async fn there_are_no_more_sockets_than_may_be() {
    let server = Server::start(echo()).await;
    let demux =
        Setup::new(Framing::Lines).upstream(&server).settings(|settings| settings.max_sockets = 1).start().await;
    let mut first = Client::connect(&demux).await;
    first.say("first").await;
    assert_eq!(first.hear().await, "first");
    assert_eq!(Client::connect(&demux).await.rest().await, b"");
    assert_eq!(counter(&demux, "sockets_refused_total").await, 1);
    drop(first);
    until("the place is free", async || demux.clients() == 0).await;
    let mut next = Client::connect(&demux).await;
    next.say("next").await;
    assert_eq!(next.hear().await, "next");
}

#[tokio::test]
async fn who_is_idle_is_closed_and_who_is_done_gets_its_answer() {
    let server = Server::start(echo()).await;
    let demux = Setup::new(Framing::Lines)
        .upstream(&server)
        .settings(|settings| settings.idle_timeout = Duration::from_millis(500))
        .start()
        .await;
    let mut idle = Client::connect(&demux).await;
    let mut done = Client::connect(&demux).await;
    done.say("last words").await;
    done.stream().shutdown().await.expect("it ends its side");
    assert_eq!(done.rest().await, b"last words\n");
    assert_eq!(idle.rest().await, b"");
    assert!(counter(&demux, "sockets_idle_total").await >= 1);
}

/// Floods one client that does not read, and sends to clients that are not there.
async fn flood(network: i64, slow_reader: SlowReader) -> (tcp_demux::Demux, Client, Client) {
    let demux = Setup::new(Framing::Lines)
        .settings(|settings| {
            settings.max_queue_bytes = 64 << 10;
            settings.slow_reader = slow_reader;
        })
        .glue(endpoint(network, "demux").await)
        .start()
        .await;
    let service = endpoint(network, "flooder").await;
    let mut upstream = Upstream::join(&service, "test", false).await.expect("it joins");
    let (mut slow, mut good) = (Client::connect(&demux).await, Client::connect(&demux).await);
    slow.say("slow").await;
    let victim = within("a message", upstream.recv()).await.expect("it is open").client;
    good.say("good").await;
    let client = within("a message", upstream.recv()).await.expect("it is open").client;
    let nobody = "00000000-0000-4000-8000-000000000000".parse().expect("a UUID");
    upstream.send(nobody, "x").await.expect("it is sent");
    let payload = Bytes::from(vec![b'x'; 16 << 10]);
    for _ in 0..1_000 {
        upstream.send(victim, payload.clone()).await.expect("it is sent");
    }
    upstream.send(client, "still here").await.expect("it is sent");
    assert_eq!(good.hear().await, "still here");
    upstream.broadcast(Everyone::Active, "to the active").await.expect("it is sent");
    assert_eq!(good.hear().await, "to the active");
    assert!(counter(&demux, "socket_queue_bytes").await <= 128 << 10);
    (demux, slow, good)
}

#[tokio::test]
async fn a_reader_that_is_flooded_is_cut_and_others_are_unharmed() {
    let (demux, mut slow, _good) = flood(network(31), SlowReader::Close).await;
    slow.rest().await;
    assert_eq!(counter(&demux, "sockets_slow_total").await, 1);
    until("it is gone", async || demux.clients() == 1).await;
}

#[tokio::test]
async fn a_reader_that_is_flooded_may_lose_messages_instead() {
    let (demux, mut slow, _good) = flood(network(32), SlowReader::Drop).await;
    assert!(counter(&demux, "messages_dropped_total").await > 0);
    // What it gets is whole messages.
    for _ in 0..4 {
        assert_eq!(slow.hear().await.len(), 16 << 10);
    }
    assert_eq!(demux.clients(), 2);
}

#[tokio::test]
async fn who_takes_nothing_of_what_waits_is_cut_in_time() {
    let network = network(33);
    let demux = Setup::new(Framing::Raw)
        .settings(|settings| {
            settings.max_queue_bytes = 64 << 20;
            settings.write_timeout = Duration::from_millis(300);
        })
        .glue(endpoint(network, "demux").await)
        .start()
        .await;
    let service = endpoint(network, "service").await;
    let mut upstream = Upstream::join(&service, "test", false).await.expect("it joins");
    let mut slow = Client::connect(&demux).await;
    slow.say("slow").await;
    let victim = within("a message", upstream.recv()).await.expect("it is open").client;
    upstream.send(victim, vec![7; 32 << 20]).await.expect("it is sent");
    until("it is cut", async || demux.clients() == 0).await;
    assert_eq!(counter(&demux, "sockets_slow_total").await, 1);
}

#[tokio::test]
async fn unknown_clients_and_bad_groups_are_counted() {
    let network = network(34);
    let demux = Setup::new(Framing::Lines).glue(endpoint(network, "demux").await).start().await;
    let service = endpoint(network, "service").await;
    let mut upstream = Upstream::join(&service, "test", false).await.expect("it joins");
    let (mut one, mut two) = (Client::connect(&demux).await, Client::connect(&demux).await);
    one.say("one").await;
    let first = within("a message", upstream.recv()).await.expect("it is open").client;
    two.say("two").await;
    let second = within("a message", upstream.recv()).await.expect("it is open").client;

    upstream.join_group(first, &"x".repeat(300)).await.expect("it is sent");
    upstream.join_group(first, "red").await.expect("it is sent");
    upstream.send(first, "joined").await.expect("it is sent");
    assert_eq!(one.hear().await, "joined");
    upstream.send_to_group("red", "to the red").await.expect("it is sent");
    assert_eq!(one.hear().await, "to the red");
    upstream.leave_group(first, "red").await.expect("it is sent");
    upstream.close(first).await.expect("it is sent");
    assert_eq!(one.rest().await, b"");
    upstream.send(first, "too late").await.expect("it is sent");
    upstream.send(second, "in time").await.expect("it is sent");
    assert_eq!(two.hear().await, "in time");
    assert_eq!(counter(&demux, "messages_unknown_client_total").await, 1);
    assert_eq!(counter(&demux, "joins_refused_total").await, 1);
}

#[tokio::test]
async fn broadcasts_reach_the_active_or_the_others() {
    let network = network(35);
    let demux = Setup::new(Framing::Lines)
        .settings(|settings| settings.active = Duration::from_millis(200))
        .glue(endpoint(network, "demux").await)
        .start()
        .await;
    let echo = Echo::start(network, "echo").await;
    let mut quiet = Client::connect(&demux).await;
    quiet.say("a word").await;
    assert_eq!(quiet.hear().await, "a word");
    // Before the other upstream, which answers nothing and could have it otherwise.
    let mut busy = Client::connect(&demux).await;
    busy.say("a word").await;
    assert_eq!(busy.hear().await, "a word");
    let service = endpoint(network, "service").await;
    let upstream = Upstream::join(&service, "test", false).await.expect("it joins");
    let mut heard = String::new();
    within("a broadcast", async {
        // Whoever was broadcast to is active again: the quiet one gets one, and then none for a while.
        while heard != "to the quiet" {
            upstream.broadcast(Everyone::NotActive, "to the quiet").await.expect("it is sent");
            busy.say("on and on").await;
            assert_eq!(busy.hear().await, "on and on");
            tokio::select! {
                line = quiet.hear() => heard = line,
                () = tokio::time::sleep(Duration::from_millis(20)) => {}
            }
        }
    })
    .await;
    drop(echo);
}

async fn through_proxy(demux: &tcp_demux::Demux, header: &[u8]) -> (Client, String) {
    let mut client = Client::connect(demux).await;
    client.stream().write_all(header).await.expect("it writes");
    client.say("hello").await;
    let line = client.hear().await;
    (client, line)
}

#[tokio::test]
async fn a_proxy_header_says_who_the_client_is_and_garbage_ends_the_socket() {
    let server = Server::start(echo()).await;
    let mut setup = Setup::new(Framing::Lines).upstream(&server);
    setup.0.listeners.iter_mut().for_each(|listen| listen.proxy_protocol = true);
    let demux = setup.start().await;
    let v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc6\x33\x64\x07\xc6\x33\x64\x08\x12\x67\x1f\x3f";
    for (header, peer) in
        [(&b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 7999\r\n"[..], "192.0.2.1:4711"), (v2, "198.51.100.7:4711")]
    {
        let (_client, line) = through_proxy(&demux, header).await;
        assert_eq!(line, "hello");
        let (_, answer) = http(demux.management().expect("it is managed"), "GET /downstream", "", "").await;
        assert!(answer.contains(peer), "{answer}");
    }
    let (_, line) = through_proxy(&demux, b"GET / HTTP/1.1\r\n\r\n").await;
    assert_eq!(line, "");
    assert_eq!(counter(&demux, "proxy_header_bad_total").await, 1);
}

#[tokio::test]
async fn tls_carries_the_same_and_garbage_is_counted() {
    let certified = generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let directory = std::env::temp_dir().join(format!("tcp-demux-tls-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    let files = TlsFiles::new(directory.join("cert.pem"), directory.join("key.pem"));
    std::fs::write(&files.cert_path, certified.cert.pem()).expect("it is written");
    std::fs::write(&files.key_path, certified.signing_key.serialize_pem()).expect("it is written");

    let server = Server::start(echo()).await;
    let mut setup = Setup::new(Framing::Lines).upstream(&server);
    setup.0.listeners.iter_mut().for_each(|listen| listen.tls = Some(files.clone()));
    let demux = setup.start().await;
    std::fs::remove_dir_all(&directory).expect("it is removed");

    let mut roots = RootCertStore::empty();
    roots.add(certified.cert.der().clone()).expect("it is well");
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let address = *demux.listeners().first().expect("it listens");
    let plain = TcpStream::connect(address).await.expect("it listens");
    let name = "localhost".try_into().expect("a name");
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, plain).await.expect("a handshake");
    stream.write_all(b"secret\n").await.expect("it writes");
    let mut answer = [0; 7];
    within("an answer", stream.read_exact(&mut answer)).await.expect("it reads");
    assert_eq!(&answer, b"secret\n");

    let mut garbage = Client::connect(&demux).await;
    garbage.say("GET / HTTP/1.1").await;
    garbage.rest().await;
    assert_eq!(counter(&demux, "tls_failed_total").await, 1);
}
