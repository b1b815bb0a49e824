//! The driver on real sockets of the loopback interface. Free ports, no sleeps; all waits have a deadline.
#![cfg(feature = "driver")]
#![expect(clippy::unwrap_used, reason = "the helpers of a test fail as it does")]

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use bytes::Bytes;
use glue_net::driver::{BindError, Clock, Driven, Driver, Local, SocketConfig};
use glue_net::{Chain, Instant, Interface, Node, Transmit, Via, WallClock};

/// Sends what it is told, answers what begins with `?`, and tells all that happens to it.
#[derive(Debug, Default)]
struct Echo {
    out: VecDeque<(SocketAddr, Via, Bytes)>,
    events: VecDeque<Event>,
    timeout: Option<Instant>,
}

#[derive(Debug, PartialEq, Eq)]
enum Event {
    Received(SocketAddr, Bytes),
    TimedOut(Instant),
    Told(u64),
}

#[derive(Debug)]
enum Command {
    Send(SocketAddr, Via, Bytes),
    TimeOut(Instant),
    Tell(u64),
}

impl Node for Echo {
    type Command = Command;
    type Event = Event;

    fn handle_command(&mut self, _: Instant, command: Command) {
        match command {
            Command::Send(to, via, bytes) => self.out.push_back((to, via, bytes)),
            Command::TimeOut(at) => self.timeout = Some(at),
            Command::Tell(number) => self.events.push_back(Event::Told(number)),
        }
    }

    fn handle_datagram(&mut self, _: Instant, from: SocketAddr, datagram: Bytes) {
        if datagram.starts_with(b"?") {
            self.out.push_back((from, Via::Data, datagram.slice(1..)));
        }
        self.events.push_back(Event::Received(from, datagram));
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.timeout.take_if(|at| *at <= now).is_some() {
            self.events.push_back(Event::TimedOut(now));
        }
    }

    fn poll_transmit(&mut self, _: Instant, out: &mut Chain) -> Option<Transmit> {
        let (to, via, bytes) = self.out.pop_front()?;
        out.put(&bytes);
        Some(Transmit { to, len: bytes.len(), via })
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.timeout
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }
}

impl Driven for Echo {
    fn handle_interfaces(&mut self, _: Instant, _: &[Interface]) {}
    fn handle_clock(&mut self, _: Instant, _: WallClock) {}
    fn is_paced(&self) -> bool {
        false
    }
    fn junk(&self) -> u64 {
        0
    }
}

/// A driver with what it was told at the start, and its events.
struct Endpoint {
    driver: Driver<Echo>,
    local: Local,
    events: Receiver<Event>,
}

impl Endpoint {
    fn start(config: &SocketConfig) -> Result<Self, BindError> {
        let (sender, events) = channel();
        Self::start_with(config, events, move |new| new.drain(..).for_each(|event| _ = sender.send(event)))
    }

    fn start_with(
        config: &SocketConfig,
        events: Receiver<Event>,
        sink: impl FnMut(&mut Vec<Event>) + Send + 'static,
    ) -> Result<Self, BindError> {
        let mut found = None;
        let make = |local: &Local| {
            found = Some(local.clone());
            Echo::default()
        };
        let driver = Driver::start(config, make, sink)?;
        Ok(Self { driver, local: found.unwrap(), events })
    }

    fn command(&self, command: Command) {
        self.driver.call(|node, now| node.handle_command(now, command));
    }

    fn send(&self, to: SocketAddr, bytes: &'static [u8]) {
        self.command(Command::Send(to, Via::Data, Bytes::from_static(bytes)));
    }

    fn next(&self) -> Event {
        self.events.recv_timeout(DEADLINE).expect("no event in time")
    }

    fn next_datagram(&self) -> Bytes {
        match self.next() {
            Event::Received(_, bytes) => bytes,
            other => panic!("{other:?}"),
        }
    }

    fn loopback(&self) -> &Interface {
        self.local.interfaces.iter().find(|interface| interface.address == Ipv4Addr::LOCALHOST).unwrap()
    }
}

const DEADLINE: Duration = Duration::from_secs(10);

/// Data on loopback, no discovery.
fn data_only() -> SocketConfig {
    let mut config = SocketConfig::default();
    config.listen = (Ipv4Addr::LOCALHOST, 0).into();
    config.discovery_listen = None;
    config
}

/// Discovery by a group on loopback, on a port that is free at the moment.
fn with_group() -> (SocketConfig, SocketAddr) {
    let free = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap().local_addr().unwrap().port();
    let group = SocketAddr::from(([239, 255, 91, 7], free));
    let mut config = data_only();
    config.interface = Some("lo".to_owned());
    config.discovery_listen = Some(group);
    (config, group)
}

/// The service thread looks at its node each interval, and would send what it finds: here it finds nothing in time.
#[test]
fn what_is_gathered_leaves_together_when_it_is_flushed() {
    let mut config = data_only();
    config.interface_check = Duration::from_secs(3_600);
    let (a, b) = (Endpoint::start(&config).unwrap(), Endpoint::start(&data_only()).unwrap());
    // The service thread has had its first turn.
    a.send(b.local.data, b"first");
    assert_eq!(b.next_datagram(), "first");
    let before = a.driver.stats();
    for _ in 0..100 {
        let command = Command::Send(b.local.data, Via::Data, Bytes::from_static(b"12345"));
        a.driver.gather(|node, now| node.handle_command(now, command));
    }
    assert_eq!(a.driver.stats(), before, "nobody was asked to send");
    a.driver.flush();
    assert!((0..100).all(|_| b.next_datagram() == "12345"));
    let after = a.driver.stats();
    assert_eq!((after.datagrams_sent - before.datagrams_sent, after.sends - before.sends), (100, 2));
}

#[test]
fn datagrams_go_both_ways() {
    let (a, b) = (Endpoint::start(&data_only()).unwrap(), Endpoint::start(&data_only()).unwrap());
    a.send(b.local.data, b"?hello");
    assert_eq!(b.next(), Event::Received(a.local.data, Bytes::from_static(b"?hello")));
    assert_eq!(a.next(), Event::Received(b.local.data, Bytes::from_static(b"hello")));
}

#[test]
fn ipv6_and_ipv4_meet_on_one_socket() {
    if UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        return;
    }
    let mut config = data_only();
    config.listen = (Ipv6Addr::UNSPECIFIED, 0).into();
    let (both, v4) = (Endpoint::start(&config).unwrap(), Endpoint::start(&data_only()).unwrap());
    let port = both.local.data.port();
    v4.send((Ipv4Addr::LOCALHOST, port).into(), b"?4");
    assert_eq!(both.next(), Event::Received(v4.local.data, Bytes::from_static(b"?4")));
    assert_eq!(v4.next(), Event::Received((Ipv4Addr::LOCALHOST, port).into(), Bytes::from_static(b"4")));
    both.send((Ipv6Addr::LOCALHOST, port).into(), b"6");
    assert_eq!(both.next(), Event::Received((Ipv6Addr::LOCALHOST, port).into(), Bytes::from_static(b"6")));
}

#[test]
fn ten_thousand_datagrams_travel_in_batches() {
    const BATCH: usize = 100;
    let (a, b) = (Endpoint::start(&data_only()).unwrap(), Endpoint::start(&data_only()).unwrap());
    for round in 0..100 {
        let content = |n: usize| Bytes::from(format!("{:1200}", round * BATCH + n));
        a.driver.call(|node, now| {
            (0..BATCH).for_each(|n| node.handle_command(now, Command::Send(b.local.data, Via::Data, content(n))));
        });
        // What a default receive buffer holds.
        (0..BATCH).for_each(|n| assert_eq!(b.next_datagram(), content(n)));
    }
    let stats = a.driver.stats();
    assert_eq!((stats.datagrams_sent, stats.bytes_sent), (10_000, 12_000_000));
    assert!(stats.sends <= 1_000, "{stats:?}");
    assert_eq!(b.driver.stats().datagrams_received, 10_000);
}

#[test]
fn a_refused_datagram_is_counted_and_does_no_harm() {
    let (a, b) = (Endpoint::start(&data_only()).unwrap(), Endpoint::start(&data_only()).unwrap());
    let too_long = Bytes::from(vec![0; 65_508]);
    a.command(Command::Send(b.local.data, Via::Data, too_long));
    a.send(([127, 0, 0, 1], 0).into(), b"no port");
    a.send(b.local.data, b"after");
    assert_eq!(b.next_datagram(), "after");
    let stats = a.driver.stats();
    assert_eq!((stats.send_too_big, stats.send_refused, stats.datagrams_sent), (1, 1, 1), "{stats:?}");
}

#[test]
fn timers_fire_also_when_moved_forward() {
    let a = Endpoint::start(&data_only()).unwrap();
    a.command(Command::TimeOut(Clock::now() + Duration::from_secs(3_600)));
    let at = Clock::now() + Duration::from_millis(2);
    a.command(Command::TimeOut(at));
    let Event::TimedOut(now) = a.next() else { panic!("no timeout") };
    assert!(now >= at);
}

#[test]
fn each_member_hears_each_announcement() {
    let (config, group) = with_group();
    let all = [Endpoint::start(&config).unwrap(), Endpoint::start(&config).unwrap()];
    for sender in &all {
        assert!(sender.loopback().multicast, "{:?}", sender.local);
        let via = Via::Multicast { interface: sender.loopback().index };
        sender.command(Command::Send(group, via, Bytes::from_static(b"here")));
        for hearer in &all {
            let Event::Received(from, bytes) = hearer.next() else { panic!("no datagram") };
            assert_eq!((from.ip(), bytes), (IpAddr::from(Ipv4Addr::LOCALHOST), Bytes::from_static(b"here")));
        }
    }
}

#[test]
fn the_first_endpoint_has_the_discovery_port_and_the_second_another() {
    let (config, group) = with_group();
    let (first, second) = (Endpoint::start(&config).unwrap(), Endpoint::start(&config).unwrap());
    let (at_first, at_second) = (first.loopback().discovery.unwrap(), second.loopback().discovery.unwrap());
    assert_eq!(at_first, SocketAddr::from((Ipv4Addr::LOCALHOST, group.port())));
    assert_ne!(at_second.port(), group.port());

    // The reference implementation starts beside us, and takes nothing from us.
    let reference = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
    reference.set_reuse_address(true).unwrap();
    reference.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, group.port())).into()).unwrap();

    first.command(Command::Send(at_second, Via::Discovery, Bytes::from_static(b"to the second")));
    assert_eq!(second.next(), Event::Received(at_first, Bytes::from_static(b"to the second")));
    second.command(Command::Send(at_first, Via::Discovery, Bytes::from_static(b"to the first")));
    assert_eq!(first.next(), Event::Received(at_second, Bytes::from_static(b"to the first")));
}

#[test]
fn a_configured_discovery_address_gives_way_if_taken() {
    let taken = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut config = data_only();
    config.discovery_listen = Some(taken.local_addr().unwrap());
    let a = Endpoint::start(&config).unwrap();
    let bound = a.loopback().discovery.unwrap();
    assert_ne!(bound, taken.local_addr().unwrap());
    taken.send_to(b"announcement", bound).unwrap();
    assert_eq!(a.next_datagram(), "announcement");
}

#[test]
fn events_stay_in_order_whoever_delivers() {
    const EACH: u64 = 5_000;
    let a = Endpoint::start(&data_only()).unwrap();
    let number = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let (number, driver) = (&number, &a.driver);
        for _ in 0..4 {
            scope.spawn(move || {
                for _ in 0..EACH {
                    driver.call(|node, now| {
                        let next = number.fetch_add(1, Ordering::Relaxed);
                        node.handle_command(now, Command::Tell(next));
                    });
                }
            });
        }
    });
    (0..4 * EACH).for_each(|number| assert_eq!(a.next(), Event::Told(number)));
}

/// An endpoint whose sink waits for a word at each event.
fn slow() -> (Endpoint, Sender<()>) {
    let ((sender, events), (go, wait)) = (channel(), channel());
    let sink = move |new: &mut Vec<Event>| {
        for event in new.drain(..) {
            let _ = sender.send(event);
            let _ = wait.recv_timeout(DEADLINE);
        }
    };
    (Endpoint::start_with(&data_only(), events, sink).unwrap(), go)
}

#[test]
fn a_slow_application_holds_up_neither_receiving_nor_callers() {
    let ((slow, go), peer) = (slow(), Endpoint::start(&data_only()).unwrap());
    peer.send(slow.local.data, b"stuck");
    assert_eq!(slow.next_datagram(), "stuck");
    // Its receive thread is in the sink now. Answers still come, and calls return.
    for _ in 0..3 {
        peer.send(slow.local.data, b"?answer");
        assert_eq!(peer.next_datagram(), "answer");
        slow.command(Command::Tell(7));
    }
    assert!(slow.driver.stats().takeovers > 0);
    drop(go);
    for _ in 0..3 {
        assert_eq!(slow.next_datagram(), "?answer");
        assert_eq!(slow.next(), Event::Told(7));
    }
}

#[test]
fn an_application_that_panics_is_survived() {
    let (sender, events) = channel();
    let sink = move |new: &mut Vec<Event>| {
        for event in new.drain(..) {
            assert_ne!(event, Event::Told(1), "as it should");
            let _ = sender.send(event);
        }
    };
    let a = Endpoint::start_with(&data_only(), events, sink).unwrap();
    a.command(Command::Tell(1));
    a.command(Command::Tell(2));
    assert_eq!(a.next(), Event::Told(2));
    assert_eq!(a.driver.stats().sink_panics, 1);
}

#[test]
fn close_sends_the_last_words_and_frees_the_sockets() {
    let (config, _) = with_group();
    let (a, b) = (Endpoint::start(&config).unwrap(), Endpoint::start(&data_only()).unwrap());
    let again = a.driver.clone();
    a.send(b.local.data, b"goodbye");
    let start = Clock::now();
    a.driver.close();
    assert!(Clock::now().since(start) < Duration::from_millis(90), "the threads did not end in time");
    assert_eq!(b.next_datagram(), "goodbye");
    UdpSocket::bind(a.local.data).unwrap();
    UdpSocket::bind(a.loopback().discovery.unwrap()).unwrap();
    again.close();
    again.call(|node, now| node.handle_command(now, Command::Tell(1)));
    assert_eq!(a.next(), Event::Told(1));
}

#[test]
fn the_last_handle_ends_the_threads() {
    let a = Endpoint::start(&data_only()).unwrap();
    drop(a.driver);
    // The sink, which has the sender, is gone with the threads.
    assert!(a.events.recv_timeout(DEADLINE).is_err());
    UdpSocket::bind(a.local.data).unwrap();
}

#[test]
fn errors_name_what_is_wrong() {
    let mut config = data_only();
    config.interface = Some("nowhere0".to_owned());
    let error = Endpoint::start(&config).err().unwrap();
    assert!(matches!(&error, BindError::UnknownInterface { known, .. } if known.contains("lo (127.0.0.1)")));
    assert!(error.to_string().contains("`nowhere0`"), "{error}");

    let foreign = SocketAddr::from(([192, 0, 2, 77], 1));
    let mut config = data_only();
    config.listen = foreign;
    let error = Endpoint::start(&config).err().unwrap();
    assert!(matches!(error, BindError::Data { address, .. } if address == foreign), "{error}");

    let mut config = data_only();
    config.discovery_listen = Some(foreign);
    let error = Endpoint::start(&config).err().unwrap();
    assert!(matches!(error, BindError::Discovery { address, .. } if address == foreign), "{error}");
    assert!(error.to_string().contains("192.0.2.77:1"), "{error}");

    let mut config = data_only();
    config.interface_check = Duration::ZERO;
    assert!(matches!(Endpoint::start(&config).err().unwrap(), BindError::InterfaceCheck { .. }));
}
