//! How to test an application on a simulated network: thermometers that publish what they measure, of which each shows what all
//! others do.
//!
//! ```sh
//! cargo run -p glue-sim --example thermometers           # 40 scenarios
//! cargo run -p glue-sim --example thermometers -- --bug  # with a bug: it is found, made small, and told how to repeat
//! ```

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use glue_endpoint::{Command, Config, Engine, Event, Item, Message};
use glue_net::{Chain, EndpointId, Incarnation, Instant, Node, Rng, Transmit, WallClock};
use glue_sim::{
    Change, Context, DISCOVERY_GROUP, Host, NodeId, Player, Recipe, Scenario, World, check_scenarios, seeds,
};

// ---- the application: what it decides, without threads, sockets and clocks ----

/// What a process shows.
#[derive(Debug, Default)]
struct Board {
    /// Of each thermometer: the version of its last measurement, and the measurement.
    shown: BTreeMap<EndpointId, ((u64, u64), i64)>,
    /// A bug: versions of different lives are taken for those of one.
    has_bug: bool,
}

impl Board {
    /// Takes "number tenths", where the number counts the measurements of the sender's present life.
    fn take(&mut self, message: &Message) {
        let text = std::str::from_utf8(&message.payload).unwrap_or_default();
        let Some((number, tenths)) = text.split_once(' ') else { return };
        let (Ok(number), Ok(tenths)) = (number.parse(), tenths.parse()) else { return };
        let life = if self.has_bug { 0 } else { message.incarnation.0 };
        let shown = self.shown.entry(message.endpoint_id).or_default();
        if (life, number) > shown.0 {
            *shown = ((life, number), tenths);
        }
    }
}

// ---- the same as a node: an engine, and the application around it ----

struct Thermometer {
    engine: Engine,
    board: Board,
    rng: Rng,
    now: Instant,
    measure_at: Instant,
    number: u64,
    measured: i64,
}

impl Thermometer {
    fn new(context: Context, has_bug: bool) -> Self {
        let mut discovery = glue_discovery::Config::new(id_of(context.id), format!("thermometer of {}", context.id));
        discovery.incarnation = Incarnation(u64::from(context.restarts) + 1);
        discovery.targets = vec![DISCOVERY_GROUP];
        discovery.data_port = context.data.port();
        let clock = WallClock::new(context.now, context.wall);
        let mut rng = Rng::new(context.seed);
        let mut engine = Engine::new(context.now, Config::new(discovery), clock, &mut rng).expect("good settings");
        engine.handle_interfaces(context.now, context.interfaces);
        engine.subscribe("temperature/+", "text").expect("a good filter");
        let board = Board { has_bug, ..Board::default() };
        Self { engine, board, rng, now: context.now, measure_at: context.now, number: 0, measured: 0 }
    }

    fn measure(&mut self) {
        self.measure_at = self.now + INTERVAL;
        self.number += 1;
        self.measured = 180 + i64::try_from(self.rng.below(70)).unwrap_or_default();
        let text = format!("{} {}", self.number, self.measured);
        let publication = self.engine.publication("temperature/here", "text").expect("a good topic");
        // Good until others are there. If a queue is full, the next one tells more.
        let _ = self.engine.publish(self.now, publication, INTERVAL * 4, text.as_bytes()).expect("a good message");
    }
}

impl Node for Thermometer {
    type Command = Command;
    /// Nothing is told to the test: it looks at the board.
    type Event = ();

    fn handle_command(&mut self, now: Instant, command: Command) {
        self.engine.handle_command(now, command);
    }

    fn handle_datagram(&mut self, now: Instant, from: SocketAddr, datagram: Bytes) {
        self.now = now;
        self.engine.handle_datagram(now, from, datagram);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        if self.measure_at <= now {
            self.measure();
        }
        self.engine.handle_timeout(now);
    }

    fn poll_transmit(&mut self, now: Instant, out: &mut Chain) -> Option<Transmit> {
        self.engine.poll_transmit(now, out)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.engine.poll_timeout().into_iter().chain([self.measure_at]).min()
    }

    /// What the engine tells is for the application.
    fn poll_event(&mut self) -> Option<()> {
        while let Some(event) = self.engine.poll_event() {
            let Event::Delivery(mut delivery) = event else { continue };
            while let Some(item) = delivery.batch.next(self.now) {
                if let Item::Message(message) = item {
                    self.board.take(&message);
                }
            }
            // The peer may send as much again.
            if let Some(peer) = delivery.batch.from() {
                self.engine.handle_taken(peer, delivery.batch.bytes());
            }
        }
        None
    }
}

fn id_of(node: NodeId) -> EndpointId {
    EndpointId::from_integer(i64::try_from(node.index()).unwrap_or_default() + 1)
}

// ---- the test ----

/// Plays a scenario; at its end all have shown for a while what is true.
fn all_show_the_truth(scenario: &Scenario, has_bug: bool) {
    let mut world = World::new(scenario.seed);
    for _ in 0..scenario.nodes {
        world.add_node(Host::default(), move |context| Thermometer::new(context, has_bug));
    }
    let mut player = Player::new(scenario, &world);
    while let Some(at) = player.next_at() {
        world.run_until(at);
        for change in player.advance(&mut world) {
            tell_driver_s_news(&mut world, change);
        }
    }
    world.run_until(player.end());
    for (reader, thermometer) in world.nodes().flat_map(|a| world.nodes().map(move |b| (a, b))) {
        let (board, truth) = (world.node(reader).expect("it runs"), world.node(thermometer).expect("it runs"));
        let shown = board.board.shown.get(&id_of(thermometer));
        let age = shown.map(|((_, number), _)| truth.number.abs_diff(*number));
        // What is under way may be lost, and sent again.
        assert!(age.is_some_and(|age| age <= 10), "{reader} shows {shown:?} of {thermometer}, at {}", truth.number);
    }
}

/// What a real driver sees for itself, at its next look at the interfaces and the clock.
fn tell_driver_s_news(world: &mut World<Thermometer>, change: Change) {
    if let Change::Moved(node) | Change::WallSet(node) = change {
        let (interfaces, wall) = (world.interfaces(node), world.wall(node));
        world.call(node, |node, now| {
            node.engine.handle_clock(WallClock::new(now, wall));
            node.engine.handle_interfaces(now, interfaces);
        });
    }
}

fn main() {
    let has_bug = match std::env::args().nth(1).as_deref() {
        None => false,
        Some("--bug") => true,
        Some(other) => {
            eprintln!("there is no {other}\nusage: thermometers [--bug]\n  --bug  run an application that has one");
            std::process::exit(2);
        }
    };
    let mut recipe = Recipe::new(4, Duration::from_secs(60));
    recipe.loss = 0.2;
    let make = |seed| Scenario::generate(seed, &recipe);
    let name = if has_bug { "--example thermometers -- --bug" } else { "--example thermometers" };
    check_scenarios(name, seeds(40), make, |scenario| all_show_the_truth(scenario, has_bug));
    eprintln!("all showed the truth, in 40 scenarios of a minute and 4 thermometers, as this one:\n\n{}", make(1));
}

/// Between two measurements.
const INTERVAL: Duration = Duration::from_millis(500);
