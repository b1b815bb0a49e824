//! Endpoints on real sockets, each test on a network of its own, so that tests can run side by side.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use glue_endpoint::{Builder, Endpoint, Message, Notice, Notices, PeerReport, Subscription};
use tokio::time::{interval, timeout};

/// What a network of endpoints on one host has in common.
#[derive(Clone, Copy, Debug)]
pub struct Site {
    network: i64,
    port: u16,
}

impl Site {
    /// A network that nobody else is on.
    ///
    /// # Panics
    /// If there is no free port.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "no two are the same")]
    pub fn new() -> Self {
        static COUNT: AtomicI64 = AtomicI64::new(0);
        let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.subsec_nanos());
        let network =
            i64::from(time) << 32 | i64::from(std::process::id()) << 8 | COUNT.fetch_add(1, Ordering::Relaxed);
        Self { network, port: free_port() }
    }

    /// A group with a port of its own.
    #[must_use]
    pub const fn group(self) -> SocketAddr {
        SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(239, 192, 137, 1)), self.port)
    }

    /// Where the rendezvous is, if there is one.
    #[must_use]
    pub const fn rendezvous(self) -> SocketAddr {
        SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), self.port)
    }

    /// An endpoint that finds others by multicast on the loopback interface.
    pub fn multicast(self, name: &str) -> Builder {
        let builder = Endpoint::builder().network_id(self.network).endpoint_name(name).listen_interface("lo");
        builder.discovery_listen_address(self.group()).discovery_target(self.group())
    }

    /// An endpoint that announces itself nowhere, and is found at [`Site::rendezvous`].
    pub fn answering(self, name: &str) -> Builder {
        let builder = Endpoint::builder().network_id(self.network).endpoint_name(name).listen_interface("lo");
        builder.discovery_listen_address(self.rendezvous()).rendezvous()
    }

    /// An endpoint that announces itself to the rendezvous alone.
    pub fn unicast(self, name: &str) -> Builder {
        let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let builder = Endpoint::builder().network_id(self.network).endpoint_name(name).listen_interface("lo");
        builder.discovery_listen_address(anywhere).discovery_target(self.rendezvous())
    }

    /// The network's number.
    #[must_use]
    pub const fn network(self) -> i64 {
        self.network
    }
}

/// A UDP port that nobody has now, and that the system gives to nobody by itself.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn free_port() -> u16 {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = std::process::id().wrapping_mul(61).wrapping_add(COUNT.fetch_add(1, Ordering::Relaxed));
        // Linux gives out 32,768 and more.
        let port = 20_000 + u16::try_from(number % 12_000).expect("small");
        // Not tried by binding it: a process that another test starts just then would hold the socket for a moment.
        let used = std::fs::read_to_string("/proc/net/udp").expect("Linux");
        if !used.contains(&format!(":{port:04X} ")) {
            return port;
        }
    }
}

/// An endpoint, and what it tells from its start on.
#[derive(Debug)]
pub struct Live {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// What it tells.
    pub notices: Notices,
}

impl Live {
    /// Starts an endpoint.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn start(builder: Builder) -> Self {
        let endpoint = builder.start().await.expect("an endpoint");
        let notices = endpoint.events();
        Self { endpoint, notices }
    }

    /// Waits until a peer of this name is there.
    ///
    /// # Panics
    /// If that takes longer than [`DEADLINE`].
    pub async fn up(&mut self, name: &str) {
        // Of two that came, the first wait may have passed over the other.
        let is_there = |peer: &PeerReport| peer.info.name == name;
        if !self.endpoint.peers().iter().any(is_there) {
            self.notice(|notice| matches!(notice, Notice::PeerUp { name: other, .. } if other == name)).await;
        }
    }

    /// Waits for a notice, and passes over others.
    ///
    /// # Panics
    /// If it takes longer than [`DEADLINE`].
    pub async fn notice(&mut self, is_it: impl Fn(&Notice) -> bool) -> Notice {
        let mut others = Vec::new();
        loop {
            let Ok(notice) = timeout(DEADLINE, self.notices.recv()).await else {
                panic!("{} waits in vain, told {others:?}", self.endpoint.name());
            };
            match notice.expect("the endpoint is open") {
                notice if is_it(&notice) => return notice,
                notice => others.push(notice),
            }
        }
    }
}

/// Publishes until the subscription gets something: only then it is known that what is published now arrives.
///
/// # Panics
/// If that takes longer than [`DEADLINE`].
pub async fn connect(publisher: &Endpoint, topic: &str, topic_type: &str, subscription: &mut Subscription) {
    let mut ticks = interval(Duration::from_millis(2));
    let connected = timeout(DEADLINE, async {
        loop {
            tokio::select! {
                message = subscription.recv() => return message,
                _ = ticks.tick() => publisher.publish(topic, topic_type, DEADLINE, MARKER).await.expect("a good message"),
            }
        }
    });
    let Ok(Some(_)) = connected.await else {
        panic!("{} does not reach the subscriber of {topic}: {:?}", publisher.name(), publisher.peers());
    };
}

/// The next message that is none of [`connect`]'s.
///
/// # Panics
/// If it takes longer than [`DEADLINE`].
pub async fn next(subscription: &mut Subscription) -> Message {
    loop {
        let message = timeout(DEADLINE, subscription.recv()).await.expect("no message in time").expect("it is open");
        if *message.payload != *MARKER {
            return message;
        }
    }
}

/// How long anything may take on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(10);

const MARKER: &[u8] = b"\0are you there?";
