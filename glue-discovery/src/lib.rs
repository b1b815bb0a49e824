//! Who is there: announce, learn, forward, clash, move, expire, goodbye. Pure: datagrams, time and randomness are
//! arguments, and what is to be sent, told or waited for is polled.
//!
//! # Announcing
//! [`Discovery`] sends an announcement to each of [`Config::targets`] in every announce interval: to a multicast group
//! out of each interface, to a unicast address by the interface on its network. Each names the addresses of the
//! interface that it leaves by, so whoever hears it can reach us that way. It is JSON; while a classic peer is heard that
//! speaks MessagePack it is sent in MessagePack too, and so it is to a unicast target that no native peer has answered
//! from, since a reference rendezvous reads nothing else and says nothing by itself. In a large group the interval is
//! longer ([`Config::steady_endpoints`]). An announcement's rate is the time until the next one, so it may change each time.
//!
//! # Learning
//! A peer is an (endpoint id, incarnation), and has a [`glue_net::PeerId`] of its own. A larger incarnation of a known
//! id is a restart, a smaller one is stale. Whoever claims a name or an id that we or a living peer hold is refused, and
//! reported as a [`Event::Clash`], until the holder is gone. A peer goes down when it says goodbye, or when neither an
//! announcement nor its session ([`Discovery::handle_alive`]) was heard for its announce interval times our multiplier.
//! A native peer that is a tenth of an interval late is probed first, which also keeps a pair together after the
//! rendezvous that introduced it is gone.
//!
//! A peer may be heard with several addresses. The nearest is used (loopback, our networks, elsewhere), and kept until a
//! nearer one is heard or it was not confirmed for the peer's timeout.
//!
//! # Answering
//! A newcomer is answered by unicast at once, so nobody waits for the next interval. Who does not hear our announcements (a rendezvous sends none) is answered each time, and the rate in the
//! answer says how often that is; never more than twice in an interval. An answer or a probe between native endpoints
//! names no target, and is not answered by one who has just announced or probed.
//!
//! # Forwarding
//! Who announces to us by unicast as its target is told of every other peer that we hear ourselves: of all when it
//! comes, then in turns of [`Config::max_forwards`]. What was passed on to us is not passed on again.
//!
//! ```
//! use glue_discovery::{Config, Discovery};
//! use glue_net::{EndpointId, Incarnation, Instant, Interface, Rng, Via};
//!
//! let mut config = Config::new(EndpointId::from_integer(7), "lamp");
//! config.incarnation = Incarnation(1);
//! config.targets = vec!["239.192.137.1:27320".parse()?];
//! config.data_port = 40_000;
//! let mut discovery = Discovery::new(config, Rng::new(1), Instant::ZERO)?;
//! discovery.handle_interfaces(
//!     Instant::ZERO,
//!     vec![Interface {
//!         index: 2,
//!         address: "10.0.0.5".parse()?,
//!         prefix: 24,
//!         discovery: Some("10.0.0.5:27320".parse()?),
//!         multicast: true,
//!         mtu: Interface::ETHERNET_MTU,
//!     }],
//! );
//! discovery.handle_timeout(Instant::ZERO);
//! let mut datagram = Vec::new();
//! let transmit = discovery.poll_transmit(Instant::ZERO, &mut datagram).expect("an announcement is due");
//! assert_eq!((transmit.via, transmit.len), (Via::Multicast { interface: 2 }, datagram.len()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod addresses;
mod announce;
mod answer;
mod clashes;
mod config;
mod discovery;
mod event;
mod heard;
mod local;
mod memory;
mod outbox;
mod peers;
mod stats;
#[cfg(test)]
mod tests;

pub use config::{Config, ConfigError};
pub use discovery::Discovery;
pub use event::{ClashKind, DownReason, Event, PeerInfo, Wire};
pub use stats::Stats;
