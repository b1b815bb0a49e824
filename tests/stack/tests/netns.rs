//! Endpoints on hosts of their own, with cables and switches between them: network namespaces.
//!
//! Where the process may not make any, the tests say so and pass.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests are tests too")]

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use glue_endpoint::{Endpoint, Item};
use glue_stack::child::{self, Child};
use glue_stack::netns::Lab;

/// A lab, unless there can be none.
fn lab() -> Option<Lab> {
    match Lab::new() {
        Ok(lab) => Some(lab),
        Err(why) => {
            println!("netns tests skipped: {why}");
            None
        }
    }
}

/// An endpoint on a host, by the same name.
fn start(lab: &Lab, host: &str, variables: &[(&str, &str)]) -> Child {
    let prefix = lab.on(host);
    let prefix: Vec<&str> = prefix.iter().map(String::as_str).collect();
    let named = [("GLUE_ENDPOINT_NAME", host)];
    let variables: Vec<_> = named.iter().chain(variables).map(|(name, value)| (*name, (*value).to_owned())).collect();
    Child::start("host", &prefix, &variables)
}

/// Waits until what each of them publishes reaches each other one.
fn meet(hosts: &mut [(&str, Child)]) {
    let names: Vec<String> = hosts.iter().map(|(name, _)| (*name).to_owned()).collect();
    for (host, child) in hosts {
        let mut missing: Vec<&String> = names.iter().filter(|name| name != host).collect();
        while !missing.is_empty() {
            let heard = child.await_line("heard", DEADLINE);
            missing.retain(|name| **name != heard);
        }
    }
}

#[test]
fn multicast_finds_the_other_end_of_a_cable() {
    let Some(mut lab) = lab() else { return };
    lab.host("a");
    lab.host("b");
    lab.cable(("a", "eth0"), ("b", "eth0"));
    lab.ip("a", "addr add 10.99.0.1/24 dev eth0");
    lab.ip("b", "addr add 10.99.0.2/24 dev eth0");
    let mut hosts = [("a", start(&lab, "a", &[])), ("b", start(&lab, "b", &[]))];
    meet(&mut hosts);
    let [(_, a), (_, b)] = &mut hosts;
    a.say("publish 1000");
    assert_eq!(b.await_line("all", DEADLINE), "a 1000");
    b.say("publish 1000");
    assert_eq!(a.await_line("all", DEADLINE), "b 1000");
}

#[test]
fn without_multicast_a_rendezvous_introduces_hosts() {
    let Some(mut lab) = lab() else { return };
    lab.host("switch");
    lab.ip("switch", "link add br0 type bridge mcast_snooping 0");
    lab.ip("switch", "link set br0 up");
    for number in 1..=3 {
        let (host, port) = (format!("h{number}"), format!("port{number}"));
        lab.host(&host);
        lab.cable(("switch", &port), (&host, "eth0"));
        lab.ip("switch", &format!("link set {port} master br0"));
        lab.ip("switch", &format!("link set {port} type bridge_slave mcast_flood off"));
        lab.ip(&host, &format!("addr add 10.99.1.{number}/24 dev eth0"));
    }
    assert!(!passes_multicast(&lab), "multicast passes: this proves nothing");
    let target = [("GLUE_DISCOVERY_TARGET_ADDRESS", "10.99.1.1:27320")];
    let mut hosts = [
        ("h1", start(&lab, "h1", &[("GLUE_DISCOVERY_TARGET_ADDRESS", "0")])),
        ("h2", start(&lab, "h2", &target)),
        ("h3", start(&lab, "h3", &target)),
    ];
    meet(&mut hosts);
    hosts.iter_mut().for_each(|(_, child)| child.say("publish 1000"));
    for (host, child) in &mut hosts {
        let mut got = [child.await_line("all", DEADLINE), child.await_line("all", DEADLINE)];
        got.sort();
        let wanted: Vec<_> =
            ["h1", "h2", "h3"].iter().filter(|name| *name != host).map(|name| format!("{name} 1000")).collect();
        assert_eq!(got, wanted[..]);
    }
}

#[test]
fn a_new_address_is_followed_and_nothing_is_lost() {
    let Some(mut lab) = lab() else { return };
    lab.host("a");
    lab.host("b");
    lab.cable(("a", "eth0"), ("b", "eth0"));
    // Both networks are there all the time at a, so that only b's address changes.
    for address in ["10.99.2.1/24", "10.99.3.1/24"] {
        lab.ip("a", &format!("addr add {address} dev eth0"));
    }
    lab.ip("b", "addr add 10.99.2.2/24 dev eth0");
    let mut hosts = [("a", start(&lab, "a", &[])), ("b", start(&lab, "b", &[]))];
    meet(&mut hosts);
    let [(_, a), (_, b)] = &mut hosts;
    a.say("stream");
    b.say("stream");
    let before = number(&mut *a, "b");
    assert!(number(&mut *a, "b") > before && number(&mut *b, "a") > 0);

    lab.ip("b", "addr del 10.99.2.2/24 dev eth0");
    lab.ip("b", "addr add 10.99.3.2/24 dev eth0");
    let changed = Instant::now();
    // What was under way at the change may come first; then twenty more, in each direction.
    for (child, from) in [(a, "b"), (b, "a")] {
        let goal = number(child, from) + 20;
        while number(child, from) < goal {}
        println!("messages of {from} go on {:?} after the change", changed.elapsed());
        assert!(changed.elapsed() < FOLLOWED, "{:?}", changed.elapsed());
    }
}

#[test]
fn datagrams_are_as_long_as_the_cable_allows() {
    let Some(mut lab) = lab() else { return };
    for (mtu, datagram_bytes) in [(1_500, 1_472), (9_000, 8_972), (1_400, 1_372)] {
        let (a, b) = (format!("a{mtu}"), format!("b{mtu}"));
        lab.host(&a);
        lab.host(&b);
        lab.cable((&a, "eth0"), (&b, "eth0"));
        for (host, address) in [(&a, "10.99.5.1/24"), (&b, "10.99.5.2/24")] {
            lab.ip(host, &format!("link set eth0 mtu {mtu}"));
            lab.ip(host, &format!("addr add {address} dev eth0"));
        }
        let mut hosts = [(&*a, start(&lab, &a, &[])), (&*b, start(&lab, &b, &[]))];
        meet(&mut hosts);
        let [(_, at_a), (_, at_b)] = &mut hosts;
        at_a.say("publish 1000");
        assert_eq!(at_b.await_line("all", DEADLINE), format!("{a} 1000"));
        at_a.say(&format!("path {b}"));
        assert_eq!(at_a.await_line("path", DEADLINE), format!("{datagram_bytes} 0"));
    }
}

#[test]
fn a_cable_that_becomes_shorter_loses_nothing() {
    let Some(mut lab) = lab() else { return };
    for host in ["a", "b", "router"] {
        lab.host(host);
    }
    // In the middle, where the endpoints do not see it.
    lab.ip("router", "link add br0 type bridge mcast_snooping 0");
    lab.ip("router", "link set br0 up");
    for (host, address) in [("a", "10.99.6.1/24"), ("b", "10.99.6.2/24")] {
        let port = format!("to_{host}");
        lab.cable(("router", &port), (host, "eth0"));
        lab.ip("router", &format!("link set {port} master br0"));
        lab.ip(host, &format!("addr add {address} dev eth0"));
        // What leaves in one call would pass the bridge unsegmented, whatever its MTU.
        lab.ip(host, "link set eth0 gso_max_segs 1");
    }
    let mut hosts = [("a", start(&lab, "a", &[])), ("b", start(&lab, "b", &[]))];
    meet(&mut hosts);
    let [(_, a), (_, b)] = &mut hosts;
    a.say("stream 4000");
    while number(b, "a") < 50 {}
    a.say("path b");
    assert_eq!(a.await_line("path", DEADLINE), "1472 0");
    lab.ip("router", "link set to_b mtu 1300");
    let changed = Instant::now();
    // The child tells if one is missing.
    let goal = number(b, "a") + 50;
    while number(b, "a") < goal {}
    println!("fifty messages {:?} after the change", changed.elapsed());
    a.say("path b");
    assert_eq!(a.await_line("path", DEADLINE), "1200 1");
}

#[test]
fn an_interface_that_appears_later_is_used() {
    let Some(mut lab) = lab() else { return };
    lab.host("a");
    lab.host("b");
    let mut hosts = [("a", start(&lab, "a", &[])), ("b", start(&lab, "b", &[]))];
    for (_, child) in &mut hosts {
        child.await_line("started", DEADLINE);
    }
    lab.cable(("a", "eth0"), ("b", "eth0"));
    lab.ip("a", "addr add 10.99.4.1/24 dev eth0");
    lab.ip("b", "addr add 10.99.4.2/24 dev eth0");
    let appeared = Instant::now();
    meet(&mut hosts);
    println!("they meet {:?} after the interface appeared", appeared.elapsed());
    assert!(appeared.elapsed() < FOLLOWED, "{:?}", appeared.elapsed());
    let [(_, a), (_, b)] = &mut hosts;
    a.say("publish 100");
    assert_eq!(b.await_line("all", DEADLINE), "a 100");
}

#[test]
fn two_halves_that_publish_for_ten_seconds_apart_have_everything_soon_after() {
    let Some(mut lab) = lab() else { return };
    for switch in ["left", "right"] {
        lab.host(switch);
        lab.ip(switch, "link add br0 type bridge mcast_snooping 0");
        lab.ip(switch, "link set br0 up");
    }
    lab.cable(("left", "trunk"), ("right", "trunk"));
    lab.ip("left", "link set trunk master br0");
    lab.ip("right", "link set trunk master br0");
    let names = ["a", "b", "c", "d"];
    for (host, switch, number) in [("a", "left", 1), ("b", "left", 2), ("c", "right", 3), ("d", "right", 4)] {
        let port = format!("to_{host}");
        lab.host(host);
        lab.cable((switch, &port), (host, "eth0"));
        lab.ip(switch, &format!("link set {port} master br0"));
        lab.ip(host, &format!("addr add 10.99.7.{number}/24 dev eth0"));
    }
    let mut hosts = names.map(|name| (name, start(&lab, name, &[])));
    meet(&mut hosts);
    hosts.iter_mut().for_each(|(_, child)| child.say("stream"));

    let ([(_, a), (_, b), (_, c), (_, d)], cut) = (&mut hosts, Instant::now());
    lab.ip("left", "link set trunk down");
    while cut.elapsed() < APART {
        number(a, "b");
        number(d, "c");
    }
    let across = published(c) - number_so_far(a, "c");
    assert!(across > 1_000, "no partition: a misses {across} messages of c");
    let goals = [published(a), published(b), published(c), published(d)];
    lab.ip("left", "link set trunk up");
    let healed = Instant::now();
    for (host, child) in &mut hosts {
        for (from, goal) in names.iter().zip(goals).filter(|(from, _)| *from != host) {
            while number(child, from) < goal {}
        }
    }
    println!("everything is everywhere {:?} after the partition of {APART:?}", healed.elapsed());
    assert!(healed.elapsed() < HEALED, "{:?}", healed.elapsed());
}

/// How many messages the child has published.
fn published(child: &mut Child) -> u64 {
    child.say("published");
    child.await_line("published", DEADLINE).parse().unwrap()
}

/// The number of the last message of `from` that the child got.
fn number_so_far(child: &mut Child, from: &str) -> u64 {
    child.say(&format!("last {from}"));
    child.await_line("last", DEADLINE).parse().unwrap()
}

/// The number of the next message of `from` that the child gets.
fn number(child: &mut Child, from: &str) -> u64 {
    child.say(&format!("next {from}"));
    child.await_line("next", DEADLINE).parse().unwrap()
}

/// Whether a datagram to the discovery group passes from the first host to the second.
fn passes_multicast(lab: &Lab) -> bool {
    let run = |host: &str, role: &str, own: &str| {
        let prefix = lab.on(host);
        let prefix: Vec<&str> = prefix.iter().map(String::as_str).collect();
        Child::start(role, &prefix, &[("OWN_ADDRESS", own.to_owned())])
    };
    let mut listener = run("h2", "listen", "10.99.1.2");
    listener.await_line("listening", DEADLINE);
    run("h1", "shout", "10.99.1.1").await_line("shouted", DEADLINE);
    listener.await_line("heard", DEADLINE) == "true"
}

/// What this binary does when [`Child::start`] has started it.
#[tokio::test]
#[ignore = "a part of the others"]
async fn child() {
    match child::role().as_deref() {
        Some("host") => host().await,
        Some("listen") => listen(),
        Some("shout") => shout(),
        _ => {}
    }
}

fn own_address() -> Ipv4Addr {
    std::env::var("OWN_ADDRESS").unwrap().parse().unwrap()
}

fn listen() {
    let socket = UdpSocket::bind(("0.0.0.0", 27_321)).unwrap();
    socket.join_multicast_v4(&GROUP, &own_address()).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    child::tell("listening");
    child::tell(&format!("heard {}", socket.recv(&mut [0; 10]).is_ok()));
}

fn shout() {
    let socket = UdpSocket::bind((own_address(), 0)).unwrap();
    let sent = (0..10).filter(|_| socket.send_to(b"hello", (GROUP, 27_321)).is_ok()).count();
    child::tell(&format!("shouted {sent}"));
}

/// What an endpoint on a host is up to.
enum Mode {
    /// Publishes something now and then, so that others see that it reaches them.
    Greeting,
    Silent,
    /// Numbers so many, in messages of this size.
    Streaming(u64, usize),
}

/// Publishes as the parent says, and tells of what others publish.
async fn host() {
    let endpoint = Endpoint::from_env().await.unwrap();
    child::tell("started");
    let mut subscription = endpoint.subscribe("t", "ty").await.unwrap();
    let publisher = endpoint.publisher("t", "ty").unwrap();
    let (say, mut commands) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            let _ = say.send(line);
        }
    });
    let (mut mode, mut reader) = (Mode::Greeting, Reader { own: endpoint.name().to_owned(), ..Reader::default() });
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    loop {
        tokio::select! {
            command = commands.recv() => {
                let Some(command) = command else { break };
                match command.split_once(' ') {
                    Some(("publish", count)) => {
                        mode = Mode::Silent;
                        for number in 1..=count.parse::<u64>().unwrap() {
                            publisher.publish(EXPIRY, format!("{number} {count}").as_str()).await.unwrap();
                        }
                    }
                    Some(("next", from)) => reader.asked = Some(from.to_owned()),
                    Some(("last", from)) => child::tell(&format!("last {}", reader.last.get(from).copied().unwrap_or(0))),
                    Some(("path", name)) => {
                        let stats = endpoint.peers().into_iter().find(|peer| peer.info.name == name).unwrap().stats;
                        child::tell(&format!("path {} {}", stats.datagram_bytes, stats.black_holes));
                    }
                    None if command == "published" => {
                        let count = if let Mode::Streaming(number, _) = mode { number } else { 0 };
                        child::tell(&format!("published {count}"));
                    }
                    Some((_, size)) => mode = Mode::Streaming(0, size.parse().unwrap()),
                    None => mode = Mode::Streaming(0, 0),
                }
            }
            _ = ticks.tick() => match &mut mode {
                Mode::Greeting => publisher.publish(EXPIRY, "hello").await.unwrap(),
                Mode::Silent => {}
                Mode::Streaming(number, size) => {
                    *number += 1;
                    publisher.publish(EXPIRY, format!("{number} {:0>size$}", 0).as_str()).await.unwrap();
                }
            },
            item = subscription.recv_item() => reader.take(&item.unwrap()),
        }
    }
    endpoint.close(Duration::from_secs(1)).await;
}

/// What came of each publisher.
#[derive(Default)]
struct Reader {
    own: String,
    last: BTreeMap<String, u64>,
    asked: Option<String>,
}

impl Reader {
    fn take(&mut self, item: &Item) {
        let message = match item {
            Item::Message(message) => message,
            Item::Gap(gap) => return child::tell(&format!("broken: {gap:?}")),
        };
        let from = message.endpoint_name.to_string();
        if from == self.own {
            return;
        }
        let is_first = !self.last.contains_key(&from);
        let last = self.last.entry(from.clone()).or_default();
        if is_first {
            child::tell(&format!("heard {from}"));
        }
        let text = String::from_utf8_lossy(&message.payload).into_owned();
        let Some((number, of)) = text.split_once(' ') else { return };
        let number: u64 = number.parse().unwrap();
        if number != *last + 1 {
            child::tell(&format!("broken: {number} of {from} comes after {last}"));
        }
        *last = number;
        if number.to_string() == of {
            child::tell(&format!("all {from} {of}"));
        }
        if self.asked.take_if(|asked| *asked == from).is_some() {
            child::tell(&format!("next {number}"));
        }
    }
}

const GROUP: Ipv4Addr = Ipv4Addr::new(239, 192, 137, 1);
const EXPIRY: Duration = Duration::from_secs(60);
const DEADLINE: Duration = Duration::from_secs(20);
/// Changes of interfaces are followed within 3 s; the rest is for a busy machine.
const FOLLOWED: Duration = Duration::from_secs(3);
/// How long two halves are apart.
const APART: Duration = Duration::from_secs(10);
/// A second until one of a pair is heard by the other, and what was kept is sent.
const HEALED: Duration = Duration::from_secs(2);
