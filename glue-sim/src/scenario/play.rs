//! Plays a scenario on a world.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use glue_net::{Instant, Node};

use super::{Fault, Impairment, Scenario, Scope, Step};
use crate::{Link, NodeId, Receive, World};

/// What was done to a node, that its application has to do with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// It crashed.
    Crashed(NodeId),
    /// It moved: tell it of [`World::interfaces`], as its driver would.
    Moved(NodeId),
    /// It was started anew.
    Restarted(NodeId),
    /// Its wall clock was set: tell it of [`World::wall`], as its driver would.
    WallSet(NodeId),
}

/// Plays a [`Scenario`]: brings the world, whenever something begins or ends, into the state that all faults in force make
/// together.
///
/// The scenario's nodes must be there, and be the world's first. Its links replace the world's.
///
/// ```
/// # use glue_sim::{Host, Player, Scenario, World};
/// # fn of<N: glue_net::Node>(world: &mut World<N>, scenario: &Scenario) {
/// let mut player = Player::new(scenario, world);
/// while let Some(at) = player.next_at() {
///     world.run_until(at);
///     for change in player.advance(world) {
///         // Tell the applications.
///     }
/// }
/// world.run_until(player.end());
/// # }
/// ```
#[derive(Debug)]
pub struct Player {
    scenario: Scenario,
    start: Instant,
    /// When something begins or ends.
    times: BTreeSet<Duration>,
    state: Vec<State>,
    moves: u8,
}

/// What is in force at a node.
#[derive(Clone, Copy, Debug, PartialEq)]
struct State {
    home: SocketAddr,
    receive: Receive,
    down: bool,
    frozen: bool,
    away: bool,
    wall_seconds: i64,
    drift_ppm: i32,
    rebound: bool,
    jumped: Duration,
}

impl Player {
    /// Begins to play at the world's present time; what is in force from the beginning is so at the first
    /// [`Player::advance`].
    ///
    /// # Panics
    ///
    /// If the world has not so many nodes.
    #[must_use]
    pub fn new<N: Node>(scenario: &Scenario, world: &World<N>) -> Self {
        let mut times = BTreeSet::from([Duration::ZERO]);
        for step in &scenario.steps {
            times.extend([step.at, step.end()]);
            if let Fault::Flap(period, _) = step.fault {
                let mut at = step.at;
                while at < step.end() && !period.is_zero() {
                    times.insert(at);
                    at += period;
                }
            }
        }
        times.retain(|at| *at <= scenario.span);
        let state = |node| State {
            home: world.address(node),
            receive: world.receive(node),
            down: false,
            frozen: false,
            away: false,
            wall_seconds: 0,
            drift_ppm: 0,
            rebound: false,
            jumped: Duration::ZERO,
        };
        let state = (0..scenario.nodes).map(NodeId::new).map(state).collect();
        Self { scenario: scenario.clone(), start: world.now(), times, state, moves: 0 }
    }

    /// When [`Player::advance`] is next to be called; `None`: all that happens has happened.
    #[must_use]
    pub fn next_at(&self) -> Option<Instant> {
        self.times.first().map(|at| self.start + *at)
    }

    /// When the scenario is over.
    #[must_use]
    pub fn end(&self) -> Instant {
        self.start + self.scenario.span
    }

    /// Does what is due at the world's time; tells what was done to nodes.
    pub fn advance<N: Node>(&mut self, world: &mut World<N>) -> Vec<Change> {
        let now = world.now().since(self.start);
        if self.times.first().is_none_or(|at| *at > now) {
            return Vec::new();
        }
        self.times.retain(|at| *at > now);
        let steps = std::mem::take(&mut self.scenario.steps);
        let on: Vec<&Step> = steps.iter().filter(|step| step.is_on(now)).collect();
        self.set_network(world, &on);
        let mut changes = Vec::new();
        for node in (0..self.scenario.nodes).map(NodeId::new) {
            let wanted = self.wanted(node, now, &steps, &on);
            self.set_node(world, node, wanted, &mut changes);
        }
        self.scenario.steps = steps;
        changes
    }

    fn set_network<N: Node>(&self, world: &mut World<N>, on: &[&Step]) {
        let impairments = || {
            on.iter().filter_map(|step| match &step.fault {
                Fault::Link(scope, impairment) => Some((scope, impairment)),
                _ => None,
            })
        };
        let everywhere = impairments().filter(|(scope, _)| **scope == Scope::All);
        let usual = everywhere.fold(self.scenario.usual_link(), |link, (_, it)| it.on(link));
        let some: Vec<(&Scope, &Impairment)> = impairments().filter(|(scope, _)| **scope != Scope::All).collect();
        let has = |fault: &Fault| on.iter().any(|step| step.fault == *fault);
        world.heal();
        world.set_multicast(!has(&Fault::NoMulticast));
        world.set_unicast(!has(&Fault::NoUnicast));
        world.set_hostile(on.iter().rev().find_map(|step| match &step.fault {
            Fault::Hostile(hostile) => Some(hostile.clone()),
            _ => None,
        }));
        let nodes = || (0..self.scenario.nodes).map(NodeId::new);
        for (sender, receiver) in nodes().flat_map(|sender| nodes().map(move |receiver| (sender, receiver))) {
            if sender == receiver {
                continue;
            }
            if on.iter().any(|step| step.fault.cuts(self.scenario.nodes, sender, receiver)) {
                world.cut(sender, receiver);
            }
            let mine = some.iter().filter(|(scope, _)| scope.has(sender, receiver));
            match mine.fold(None, |link: Option<Link>, (_, it)| Some(it.on(link.unwrap_or_else(|| usual.clone())))) {
                Some(link) => world.set_link(sender, receiver, link),
                None => world.reset_link(sender, receiver),
            }
        }
        world.set_default_link(usual);
    }

    /// What a node is to be like.
    fn wanted(&self, node: NodeId, now: Duration, all: &[Step], on: &[&Step]) -> State {
        let old = self.state(node);
        let (down, frozen, away, rebound, wall_seconds, drift_ppm) = (false, false, false, false, 0, 0);
        let mut state = State { receive: old.receive, down, frozen, away, rebound, wall_seconds, drift_ppm, ..old };
        state.receive = self.receive(node, on);
        for step in on {
            match step.fault {
                Fault::Crash(it) if it == node => state.down = true,
                Fault::Storm(count) if step.fault.touches(self.scenario.nodes, node, node) => state.down |= count > 0,
                Fault::Freeze(it) if it == node => state.frozen = true,
                Fault::Move(it) if it == node => state.away = true,
                Fault::Rebind(it) if it == node => state.rebound = true,
                Fault::WallJump(it, seconds) if it == node => state.wall_seconds += seconds,
                Fault::Drift(it, ppm) if it == node => state.drift_ppm += ppm,
                _ => {}
            }
        }
        // What is done once, at a beginning.
        state.jumped = Duration::ZERO;
        for step in all {
            if let Fault::ClockJump(it, by) = step.fault
                && it == node
                && step.at <= now
            {
                state.jumped += by;
            }
        }
        state
    }

    fn receive(&self, node: NodeId, on: &[&Step]) -> Receive {
        let mut receive = self.homes(node);
        for step in on {
            match step.fault {
                Fault::Buffer(it, bytes) if it == node => receive.buffer_bytes = receive.buffer_bytes.min(bytes),
                Fault::Busy(it, time) if it == node => receive.busy = receive.busy.max(time),
                _ => {}
            }
        }
        receive
    }

    fn set_node<N: Node>(&mut self, world: &mut World<N>, node: NodeId, new: State, changes: &mut Vec<Change>) {
        let old = self.state(node);
        world.set_receive(node, new.receive);
        if new.drift_ppm != old.drift_ppm {
            world.set_drift(node, new.drift_ppm);
        }
        if new.jumped > old.jumped {
            world.jump_clock(node, new.jumped - old.jumped);
        }
        if new.wall_seconds != old.wall_seconds {
            world.set_wall_offset_nanos(node, new.wall_seconds.saturating_mul(1_000_000_000));
            changes.push(Change::WallSet(node));
        }
        if new.away != old.away {
            let data = if new.away { self.elsewhere(old.home) } else { old.home };
            world.move_node(node, data);
            changes.push(Change::Moved(node));
        }
        if new.rebound != old.rebound {
            let is_home = world.address(node) == old.home;
            if new.rebound || is_home {
                world.rebind(node);
            } else if !new.away {
                world.move_node(node, old.home);
            }
        }
        if new.down && !old.down {
            world.crash(node);
            changes.push(Change::Crashed(node));
        } else if old.down && !new.down {
            world.restart(node);
            changes.push(Change::Restarted(node));
        }
        if new.frozen && !new.down {
            world.freeze(node);
        } else if old.frozen && !new.down {
            world.thaw(node);
        }
        if let Some(state) = self.state.get_mut(node.index()) {
            *state = State { receive: state.receive, ..new };
        }
    }

    /// An address of the same network that nobody has: generated ones do not go so high.
    fn elsewhere(&mut self, home: SocketAddr) -> SocketAddr {
        self.moves = self.moves.wrapping_add(1);
        match home.ip() {
            IpAddr::V4(ip) => {
                let [a, b, _, d] = ip.octets();
                SocketAddr::new([a, b, 128 | self.moves, d].into(), home.port())
            }
            IpAddr::V6(_) => SocketAddr::new(home.ip(), home.port().wrapping_add(u16::from(self.moves))),
        }
    }

    /// How it takes datagrams in when nothing happens.
    fn homes(&self, node: NodeId) -> Receive {
        self.state(node).receive
    }

    fn state(&self, node: NodeId) -> State {
        *self.state.get(node.index()).expect("a node of the scenario")
    }
}

impl Fault {
    /// Whether it stands between two nodes, while it is in force.
    fn cuts(&self, count: u32, sender: NodeId, receiver: NodeId) -> bool {
        match self {
            Self::Flap(_, shape) | Self::Partition(shape) => shape.cuts(count as usize, sender, receiver),
            _ => false,
        }
    }
}
