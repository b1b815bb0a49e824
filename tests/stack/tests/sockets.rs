//! Endpoints on real sockets of this host.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use glue_endpoint::{
    ClashKind, DownReason, Endpoint, EndpointId, GapReason, Item, NetworkKey, Notice, PublishError, Settings,
    SubscribeError,
};
use glue_net::Rng;
use glue_stack::child::{self, Child};
use glue_stack::live::{DEADLINE, Live, Site, connect, free_port, next};
use tokio::time::timeout;

const EXPIRY: Duration = Duration::from_secs(10);

#[tokio::test]
async fn two_endpoints_meet_by_multicast_and_exchange() {
    let site = Site::new();
    let (mut a, mut b) = (Live::start(site.multicast("a")).await, Live::start(site.multicast("b")).await);
    a.up("b").await;
    b.up("a").await;
    let mut at_a = a.endpoint.subscribe("to_a", "text").await.unwrap();
    let mut at_b = b.endpoint.subscribe("to_b", "text").await.unwrap();
    connect(&a.endpoint, "to_b", "text", &mut at_b).await;
    connect(&b.endpoint, "to_a", "text", &mut at_a).await;
    for number in 0..1_000 {
        a.endpoint.publish("to_b", "text", EXPIRY, format!("{number}").as_str()).await.unwrap();
        b.endpoint.publish("to_a", "text", EXPIRY, format!("{number}").as_str()).await.unwrap();
    }
    for (subscription, from) in [(&mut at_a, "b"), (&mut at_b, "a")] {
        let mut last = None;
        for number in 0..1_000 {
            let message = next(subscription).await;
            assert_eq!(message.payload, format!("{number}"));
            assert_eq!((&*message.endpoint_name, &*message.topic_type, message.expiry), (from, "text", EXPIRY));
            assert!(last.is_none_or(|last| last + 1 == message.sequence_number));
            last = Some(message.sequence_number);
        }
        assert_eq!(subscription.missed(), 0);
    }
    let stats = a.endpoint.peers().first().unwrap().stats;
    assert_eq!((stats.datagram_bytes, stats.mtu_probes), (65_507, 0), "nothing is tried on loopback");
    assert!(a.endpoint.close(DEADLINE).await && b.endpoint.close(DEADLINE).await, "all is acknowledged");
}

#[tokio::test]
async fn a_rendezvous_introduces_endpoints() {
    let site = Site::new();
    let middle = Live::start(site.answering("middle")).await;
    let (mut a, mut b) = (Live::start(site.unicast("a")).await, Live::start(site.unicast("b")).await);
    for name in ["middle", "b"] {
        a.up(name).await;
    }
    b.up("a").await;
    let mut at_middle = middle.endpoint.subscribe("t", "ty").await.unwrap();
    let mut at_b = b.endpoint.subscribe("t", "ty").await.unwrap();
    connect(&a.endpoint, "t", "ty", &mut at_b).await;
    connect(&a.endpoint, "t", "ty", &mut at_middle).await;
    // The rendezvous is gone: those that it has introduced go on.
    drop((at_middle, middle));
    a.endpoint.publish("t", "ty", EXPIRY, "alone").await.unwrap();
    assert_eq!(next(&mut at_b).await.payload, "alone");
}

#[tokio::test]
async fn ten_dead_targets_cost_no_time() {
    let site = Site::new();
    let _middle = Live::start(site.answering("middle")).await;
    let anywhere: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let mut builder = Endpoint::builder().network_id(site.network()).endpoint_name("a").listen_interface("lo");
    for _ in 0..10 {
        builder = builder.discovery_target(([127, 0, 0, 1], free_port()).into());
    }
    let builder = builder.discovery_target(site.rendezvous()).discovery_listen_address(anywhere);
    let start = Instant::now();
    Live::start(builder).await.up("middle").await;
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
}

#[tokio::test]
async fn every_matching_subscription_gets_every_message() {
    let site = Site::new();
    let (a, b) = (Live::start(site.multicast("a")).await, Live::start(site.multicast("b")).await);
    let mut exact = [b.endpoint.subscribe("t", "ty").await.unwrap(), b.endpoint.subscribe("t", "ty").await.unwrap()];
    let mut all = b.endpoint.subscribe("#", "").await.unwrap();
    let mut own = a.endpoint.subscribe("t", "ty").await.unwrap();
    let (send, mut called) = tokio::sync::mpsc::unbounded_channel();
    let on_message = move |message: glue_endpoint::Message| send.send(message).unwrap();
    let callback = b.endpoint.subscribe_with("t", "ty", on_message).await.unwrap();
    connect(&a.endpoint, "t", "ty", &mut all).await;
    for payload in ["one", "two"] {
        a.endpoint.publish("t", "ty", EXPIRY, payload).await.unwrap();
        let [first, second] = &mut exact;
        for subscription in [first, second, &mut all, &mut own] {
            assert_eq!(next(subscription).await.payload, payload);
        }
        let by_callback = async { while called.recv().await.unwrap().payload != payload {} };
        timeout(DEADLINE, by_callback).await.expect("the function is called");
    }
    // What nobody but `#` has asked for.
    a.endpoint.publish("other", "another", EXPIRY, "three").await.unwrap();
    assert_eq!(next(&mut all).await.topic_name, *"other");

    drop(callback);
    let [first, second] = exact;
    drop(first);
    a.endpoint.publish("t", "ty", EXPIRY, "four").await.unwrap();
    let mut second = second;
    assert_eq!(next(&mut second).await.payload, "four");
    assert_eq!(next(&mut all).await.payload, "four");
    let after = async { while called.recv().await.is_some_and(|message| message.payload != "four") {} };
    timeout(DEADLINE, after).await.expect("the function is dropped with its subscription");
}

#[tokio::test]
async fn what_can_not_be_published_is_an_error_and_nothing_is_sent() {
    let site = Site::new();
    let (a, b) = (Live::start(site.multicast("a")).await, Live::start(site.multicast("b")).await);
    let mut all = b.endpoint.subscribe("#", "").await.unwrap();
    connect(&a.endpoint, "t", "ty", &mut all).await;
    let _own = a.endpoint.subscribe("mine", "right").await.unwrap();
    let publisher = a.endpoint.publisher("t", "ty").unwrap();
    let before = a.endpoint.stats().topics.published;

    let error = a.endpoint.publish("mine", "wrong", EXPIRY, "x").await.unwrap_err();
    assert!(matches!(error, PublishError::TypeMismatch { .. }), "{error}");
    assert_eq!(error.to_string(), "topic mine has type \"right\" here, not \"wrong\"");
    let error = a.endpoint.publish("t", "another", EXPIRY, "x").await.unwrap_err();
    assert!(matches!(error, PublishError::TypeMismatch { .. }), "{error}");
    let large = Bytes::from(vec![0; 65 << 20]);
    let error = publisher.publish(EXPIRY, &large).await.unwrap_err();
    assert_eq!(error, PublishError::TooLarge { len: 65 << 20, limit: 64 << 20 });
    let error = publisher.publish(Duration::ZERO, "x").await.unwrap_err();
    assert_eq!(error, PublishError::NoLifetime);
    let error = a.endpoint.publish("", "ty", EXPIRY, "x").await.unwrap_err();
    assert!(matches!(error, PublishError::BadTopic(_)), "{error}");
    let error = a.endpoint.subscribe("mine", "wrong").await.map(|_| ()).unwrap_err();
    assert!(matches!(error, SubscribeError::TypeMismatch { .. }), "{error}");
    assert_eq!(a.endpoint.stats().topics.published, before);

    publisher.publish(EXPIRY, "good").await.unwrap();
    let message = next(&mut all).await;
    assert_eq!((&message.payload[..], message.sequence_number), (&b"good"[..], before + 1));
}

#[tokio::test]
async fn a_topic_of_another_type_is_told_and_nothing_passes() {
    let site = Site::new();
    let (mut a, b) = (Live::start(site.multicast("a")).await, Live::start(site.multicast("b")).await);
    let mut wrong = b.endpoint.subscribe("t", "theirs").await.unwrap();
    let mut all = b.endpoint.subscribe("#", "").await.unwrap();
    connect(&a.endpoint, "t", "ours", &mut all).await;
    a.endpoint.publish("t", "ours", EXPIRY, "x").await.unwrap();
    assert_eq!(next(&mut all).await.payload, "x");
    assert!(wrong.try_recv().is_none());
    // Who has also asked for everything does get it; this one has not.
    let c = Live::start(site.multicast("c")).await;
    let publisher = a.endpoint.publisher("t2", "ours").unwrap();
    let _asks = c.endpoint.subscribe("t2", "theirs").await.unwrap();
    let told = a.notice(|notice| matches!(notice, Notice::TypeMismatch { topic, .. } if topic == "t2")).await;
    let (topic, ours, theirs) = ("t2".to_owned(), "ours".to_owned(), "theirs".to_owned());
    assert_eq!(told, Notice::TypeMismatch { topic, ours, theirs });
    drop(publisher);
}

#[tokio::test]
async fn close_is_seen_as_a_goodbye_within_a_second() {
    let site = Site::new();
    let (mut a, b) = (Live::start(site.multicast("a")).await, Live::start(site.multicast("b")).await);
    a.up("b").await;
    let (id, mut subscription) = (b.endpoint.id(), b.endpoint.subscribe("t", "ty").await.unwrap());
    let start = Instant::now();
    assert!(b.endpoint.close(DEADLINE).await);
    let told = a.notice(|notice| matches!(notice, Notice::PeerDown { .. })).await;
    assert_eq!(told, Notice::PeerDown { name: "b".to_owned(), id, native: true, reason: DownReason::Goodbye });
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert!(a.endpoint.peers().is_empty());
    assert!(timeout(DEADLINE, subscription.recv()).await.unwrap().is_none(), "its subscriptions end");
}

#[tokio::test]
async fn a_dropped_endpoint_says_goodbye_too() {
    let site = Site::new();
    let (mut a, b) = (Live::start(site.multicast("a")).await, Live::start(site.multicast("b")).await);
    a.up("b").await;
    drop(b);
    a.notice(|notice| matches!(notice, Notice::PeerDown { reason: DownReason::Goodbye, .. })).await;
}

#[tokio::test]
async fn what_happened_before_anybody_asked_is_told() {
    let site = Site::new();
    let (a, mut b) = (site.multicast("a").start().await.unwrap(), Live::start(site.multicast("b")).await);
    b.up("a").await;
    let mut late = a.events();
    let first = timeout(DEADLINE, late.recv()).await.unwrap();
    assert!(matches!(&first, Some(Notice::PeerUp { name, .. }) if name == "b"), "{first:?}");
    let second = a.events().try_recv();
    assert_eq!(second, first, "a later stream begins with the peers that are there");
}

#[tokio::test]
async fn a_publisher_waits_for_its_subscribers() {
    let site = Site::new();
    let (a, b, c) = (site.multicast("a"), site.multicast("b"), site.multicast("c"));
    let (a, b, c) = (Live::start(a).await, Live::start(b).await, Live::start(c).await);
    let publisher = a.endpoint.publisher("t", "ty").unwrap();
    assert!(publisher.wait_for_subscribers(0).await);
    let mut first = b.endpoint.subscribe("t", "ty").await.unwrap();
    let mut second = c.endpoint.subscribe("t", "ty").await.unwrap();
    assert!(timeout(DEADLINE, publisher.wait_for_subscribers(2)).await.unwrap());
    assert_eq!(publisher.subscribers(), 2);
    publisher.publish(EXPIRY, &"for both".to_owned()).await.unwrap();
    for subscription in [&mut first, &mut second] {
        assert_eq!(next(subscription).await.payload, "for both");
    }
    // A wait that is given up changes nothing, and the end of the endpoint ends one.
    assert!(timeout(Duration::ZERO, publisher.wait_for_subscribers(3)).await.is_err());
    let (there, _) = tokio::join!(publisher.wait_for_subscribers(3), a.endpoint.close(DEADLINE));
    assert!(!there);
}

#[tokio::test]
async fn a_function_sees_gaps_in_their_place() {
    let site = Site::new();
    let a = Live::start(site.multicast("a")).await;
    let (send, mut called) = tokio::sync::mpsc::unbounded_channel();
    let on_item = move |item: Item| send.send(item).unwrap();
    let callback = a.endpoint.subscribe_items_with("t", "ty", on_item).await.unwrap();
    let publisher = a.endpoint.publisher("t", "ty").unwrap();
    for (expiry, payload) in [(EXPIRY, "one"), (Duration::from_nanos(1), "two"), (EXPIRY, "three")] {
        publisher.publish(expiry, &payload.as_bytes().to_vec()).await.unwrap();
    }
    for expected in ["one", "gap", "three"] {
        match timeout(DEADLINE, called.recv()).await.unwrap().unwrap() {
            Item::Message(message) => assert_eq!(message.payload, expected),
            Item::Gap(gap) => assert_eq!((expected, gap.from, gap.to, gap.reason), ("gap", 2, 2, GapReason::Expired)),
        }
    }
    assert_eq!(callback.missed(), 1);
}

#[tokio::test]
async fn a_name_clash_is_told_on_both_sides() {
    let site = Site::new();
    let mut first = Live::start(site.multicast("same")).await;
    let mut second = Live::start(site.multicast("same")).await;
    let ids = [first.endpoint.id(), second.endpoint.id()];
    for (live, other) in [(&mut first, ids[1]), (&mut second, ids[0])] {
        let told = live.notice(|notice| matches!(notice, Notice::Clash { .. })).await;
        let Notice::Clash { kind, name, id, .. } = told else { unreachable!() };
        assert_eq!((kind, name.as_str(), id), (ClashKind::Name, "same", other));
        assert!(live.endpoint.peers().is_empty());
    }
}

#[tokio::test]
async fn a_killed_endpoint_that_starts_again_is_seen_as_down_and_up() {
    let site = Site::new();
    let id = EndpointId::from_integer(77);
    let mut a = Live::start(site.multicast("a")).await;
    let mut subscription = a.endpoint.subscribe("t", "ty").await.unwrap();
    let variables = [
        ("GLUE_NETWORK_ID", site.network().to_string()),
        ("GLUE_DISCOVERY_LISTEN_ADDRESS", site.group().to_string()),
        ("GLUE_DISCOVERY_TARGET_ADDRESS", site.group().to_string()),
        ("GLUE_LISTEN_INTERFACE", "lo".to_owned()),
        ("GLUE_ENDPOINT_NAME", "phoenix".to_owned()),
        ("GLUE_ENDPOINT_ID", "77".to_owned()),
    ];
    let mut child = Child::start("endpoint", &[], &variables);
    a.up("phoenix").await;
    child.kill();
    let again = Live::start(site.multicast("phoenix").endpoint_id(id)).await;
    let down = a.notice(|notice| matches!(notice, Notice::PeerDown { .. })).await;
    assert_eq!(down, Notice::PeerDown { name: "phoenix".to_owned(), id, native: true, reason: DownReason::Restarted });
    a.notice(|notice| matches!(notice, Notice::PeerUp { id: other, .. } if *other == id)).await;
    connect(&again.endpoint, "t", "ty", &mut subscription).await;
}

#[tokio::test]
async fn what_hinders_the_start_is_named() {
    let site = Site::new();
    let address: SocketAddr = "198.51.100.7:9".parse().unwrap();
    let starts = [
        (site.multicast("a").listen_address(address), "198.51.100.7:9"),
        (site.multicast("a").discovery_listen_address(address), "198.51.100.7:9"),
        (site.multicast("a").listen_interface("nosuch0"), "nosuch0"),
        (site.multicast("a").endpoint_name(""), "name"),
        (site.multicast("a").discovery_interval(Duration::from_millis(1)), "1ms"),
        (site.multicast("a").discovery_timeout_multiplier(0.5), "0.5"),
        (site.multicast("a").discovery_target("0.0.0.0:7".parse().unwrap()), "0.0.0.0:7"),
    ];
    for (builder, name) in starts {
        let error = builder.start().await.map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(name), "{error:?} does not name {name}");
    }
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let error = site.multicast("a").listen_address(address).start().await.map(|_| ()).unwrap_err().to_string();
    assert!(error.contains(&address.to_string()), "{error}");
}

#[test]
fn a_malformed_variable_is_named_with_its_value() {
    let mut child = Child::start("endpoint", &[], &[("GLUE_DISCOVERY_RATE_MILLISECONDS", "fast".to_owned())]);
    let error = child.line(DEADLINE).expect("an error");
    for part in ["GLUE_DISCOVERY_RATE_MILLISECONDS", "fast", "an integer from 10 to 3600000"] {
        assert!(error.contains(part), "{error:?} does not name {part}");
    }
    let (settings, unknown) = Settings::from_vars([("GLUE_NETWORK_IDD", "7")]);
    assert_eq!(settings.unwrap(), Settings::default());
    assert_eq!(unknown[0].suggestion(), Some("GLUE_NETWORK_ID"));
}

#[tokio::test]
async fn sixty_four_mebibytes_arrive_intact() {
    let site = Site::new();
    let (a, b) = (Live::start(site.multicast("a")).await, Live::start(site.multicast("b")).await);
    let mut subscription = b.endpoint.subscribe("t", "ty").await.unwrap();
    connect(&a.endpoint, "t", "ty", &mut subscription).await;
    let mut large = vec![0; 64 << 20];
    Rng::new(64).fill(&mut large);
    let large = Bytes::from(large);
    let start = Instant::now();
    a.endpoint.publish("t", "ty", Duration::from_secs(60), &large).await.unwrap();
    let arrived = timeout(Duration::from_secs(20), async {
        loop {
            let message = subscription.recv().await.expect("it is open");
            if message.payload.len() == large.len() {
                return message;
            }
        }
    });
    let message = arrived.await.unwrap_or_else(|_| panic!("not within 20 s: {:#?}", a.endpoint.peers()));
    println!("64 MiB took {:?}", start.elapsed());
    assert!(message.payload == large, "{} bytes, or other ones", message.payload.len());
}

#[test]
fn a_dropped_endpoint_leaves_no_thread() {
    let mut child = Child::start("threads", &[], &[]);
    assert_eq!(child.line(DEADLINE).as_deref(), Some("2 0"), "threads of an endpoint, and after its end");
}

/// What this binary does when [`Child::start`] has started it.
#[tokio::test]
#[ignore = "a part of the others"]
async fn child() {
    match child::role().as_deref() {
        Some("endpoint") => match Endpoint::from_env().await {
            Ok(endpoint) => {
                child::wait_for_parent();
                drop(endpoint);
            }
            Err(error) => child::tell(&error.to_string().replace('\n', " ")),
        },
        Some("threads") => threads().await,
        _ => {}
    }
}

async fn threads() {
    let a = Live::start(Site::new().multicast("a")).await;
    let used = threads_become(2).await;
    drop(a);
    // `close` returns when they have ended, but the kernel lists a thread a moment longer.
    child::tell(&format!("{used} {}", threads_become(0).await));
}

/// Waits until there are so many; returns how many there are at the end.
async fn threads_become(count: usize) -> usize {
    let end = Instant::now() + DEADLINE;
    while count_threads() != count && Instant::now() < end {
        tokio::task::yield_now().await;
    }
    count_threads()
}

/// Threads of endpoints in this process.
fn count_threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|name| name.starts_with("glue-")).count()
}

/// The file is written in place, by another file that takes its place, and wrongly.
#[tokio::test]
async fn a_revoked_peer_stops_within_a_second_of_the_file_s_change() {
    let site = Site::new();
    let private = |name: &str| site.multicast(name).network_key(NetworkKey::from_bytes([7; 32]));
    let (b, c) = (Live::start(private("b")).await, Live::start(private("c")).await);
    let line = |peer: &Live| format!("{} {}\n", peer.endpoint.public_key().unwrap(), peer.endpoint.name());
    let path = std::env::temp_dir().join(format!("glue-trusted-{}", site.network()));
    std::fs::write(&path, line(&b) + &line(&c)).unwrap();
    let mut a = Live::start(private("a").trusted_peers(&path)).await;
    let mut all = a.endpoint.subscribe("t", "ty").await.unwrap();
    for peer in [&b, &c] {
        let publisher = peer.endpoint.publisher("t", "ty").unwrap();
        timeout(DEADLINE, publisher.wait_for_subscribers(1)).await.expect("it is met");
    }
    b.endpoint.publish("t", "ty", EXPIRY, "before").await.unwrap();
    assert_eq!(next(&mut all).await.payload, "before");

    let start = Instant::now();
    std::fs::write(&path, line(&c)).unwrap();
    a.notice(|notice| matches!(notice, Notice::PeerDown { name, reason: DownReason::Revoked, .. } if name == "b"))
        .await;
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    b.endpoint.publish("t", "ty", EXPIRY, "after").await.unwrap();
    c.endpoint.publish("t", "ty", EXPIRY, "still").await.unwrap();
    assert_eq!(next(&mut all).await.payload, "still");

    std::fs::write(&path, "nonsense").unwrap();
    let refused = a.notice(|notice| matches!(notice, Notice::TrustRefused { .. })).await;
    let Notice::TrustRefused { error } = refused else { panic!("{refused:?}") };
    assert!(error.contains("line 1: \"nonsense\" is no public key"), "{error}");
    let other = path.with_extension("new");
    std::fs::write(&other, format!("{}* subscribe=t", line(&c))).unwrap();
    std::fs::rename(&other, &path).unwrap();
    a.up("b").await;
    let told = {
        let told = a.notice(|notice| matches!(notice, Notice::NotPermitted { topic, .. } if topic == "t"));
        tokio::pin!(told);
        // What it says before it has noticed that a new session began is lost.
        let mut ticks = tokio::time::interval(Duration::from_millis(10));
        loop {
            tokio::select! {
                told = &mut told => break told,
                _ = ticks.tick() => b.endpoint.publish("t", "ty", EXPIRY, "not permitted").await.unwrap(),
            }
        }
    };
    assert!(matches!(told, Notice::NotPermitted { id, .. } if id == b.endpoint.id()));
    c.endpoint.publish("t", "ty", EXPIRY, "at last").await.unwrap();
    assert_eq!(next(&mut all).await.payload, "at last");
    std::fs::remove_file(&path).unwrap();
}
