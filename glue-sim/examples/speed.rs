//! How fast the world turns, on one core, with nodes that do next to nothing: `cargo run --release -p glue-sim --example speed`.
//!
//! What is counted are datagrams that arrive. `tests/stack/tests/proof.rs` measures the same with real engines.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use glue_net::{Chain, Instant, Node, Transmit, Via};
use glue_sim::{Bursts, DISCOVERY_GROUP, Host, INTERFACE, Link, Sort, World};

/// Sends back what it receives; what came by multicast it only takes.
#[derive(Default)]
struct Echo {
    out: VecDeque<(SocketAddr, Bytes)>,
}

impl Node for Echo {
    type Command = (SocketAddr, Bytes);
    type Event = ();

    fn handle_command(&mut self, _: Instant, letter: Self::Command) {
        self.out.push_back(letter);
    }

    fn handle_datagram(&mut self, _: Instant, from: SocketAddr, datagram: Bytes) {
        if from.port() != DISCOVERY_GROUP.port() {
            self.out.push_back((from, datagram));
        }
    }

    fn handle_timeout(&mut self, _: Instant) {}

    fn poll_transmit(&mut self, _: Instant, out: &mut Chain) -> Option<Transmit> {
        let (to, letter) = self.out.pop_front()?;
        out.put(&letter);
        let via = if to.ip().is_multicast() { Via::Multicast { interface: INTERFACE } } else { Via::Data };
        Some(Transmit { to, len: letter.len(), via })
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    fn poll_event(&mut self) -> Option<()> {
        None
    }
}

fn main() {
    let rough = Link::perfect().jitter(Duration::from_micros(50)).reorder(0.05, Duration::from_micros(80));
    let limited = rough.clone().rate(1_000_000_000, 10_000_000);
    let bursts = Bursts { begin: 0.0, end: 0.1, loss_within: 1.0, loss_between: 0.0 };
    let all = limited.clone().bursts(bursts).sift(Sort::Control, 0.0).duplicate(0.01);
    measure("2 nodes, 64 B, perfect", 2, 64, &Link::perfect(), false);
    measure("2 nodes, 1200 B, perfect", 2, 1_200, &Link::perfect(), false);
    measure("20 nodes, 64 B, rough", 20, 64, &rough, false);
    measure("20 nodes, 1200 B, rough, limited", 20, 1_200, &limited, false);
    measure("20 nodes, 1200 B, rough, limited, bursts, sieves", 20, 1_200, &all, false);
    measure("200 nodes, 1200 B, rough, limited", 200, 1_200, &limited, false);
    measure("50 nodes, 200 B, rough, multicast", 50, 200, &rough, true);
}

#[expect(clippy::disallowed_types, clippy::disallowed_methods, clippy::print_stdout, reason = "measures the machine")]
fn measure(name: &str, nodes: usize, len: usize, link: &Link, multicast: bool) {
    let mut world = World::<Echo>::new(1);
    let ids: Vec<_> = (0..nodes).map(|_| world.add_node(Host::default(), |_| Echo::default())).collect();
    world.set_default_link(link.clone());
    let letter = Bytes::from(vec![7; len]);
    let start = std::time::Instant::now();
    if multicast {
        for _ in 0..1_000 {
            for id in &ids {
                world.command(*id, (DISCOVERY_GROUP, letter.clone()));
            }
            world.run_for(Duration::from_millis(1));
            if world.stats().delivered > 2_000_000 {
                break;
            }
        }
    } else {
        // Each node has ten letters going back and forth with its neighbour.
        for (id, neighbour) in ids.iter().zip(ids.iter().cycle().skip(1)) {
            let to = world.address(*neighbour);
            for _ in 0..10 {
                world.command(*id, (to, letter.clone()));
            }
        }
        while world.stats().delivered < 2_000_000 {
            world.step();
        }
    }
    let rate = world.stats().delivered as f64 / start.elapsed().as_secs_f64();
    println!("{name}: {:.2} M datagrams/s", rate / 1e6);
}
