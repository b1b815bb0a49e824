//! Reliable payloads: one endpoint sends to two others, and one of them to it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use glue_net::{Chain, EndpointId, Incarnation, Instant, NetworkId, PeerId, Rng, WallClock};
use glue_transport::{Config, Event, Local, Remote, Transport};

use crate::line::{Line, Parcel};
use crate::replay::{Verdict, World, put};
use crate::{Bounds, Choice, Flaw, Plan};

/// Three real [`Transport`] machines: 0 speaks with 1 and 2. With `FLOOD` it sends at once more than fits the receiver's
/// window. Who is there they learn from each other by notices, in place of discovery.
#[derive(Debug)]
pub struct Senders<const FLOOD: bool> {
    now: Instant,
    plan: Plan,
    nodes: Vec<Node>,
    line: Line<Item>,
    letters: Vec<Letter>,
    verdict: Verdict,
}

#[derive(Clone, Debug)]
enum Item {
    Datagram(Bytes),
    /// The sender has begun another life.
    Born(u64),
}

#[derive(Debug)]
struct Node {
    transport: Transport<Bytes>,
    life: u64,
    /// Under which numbers it knows the others, and in which lives.
    peers: BTreeMap<u8, (PeerId, u64)>,
    met: u32,
}

/// A payload, and what became of it.
#[derive(Debug)]
struct Letter {
    from: u8,
    to: u8,
    life: u64,
    arrived: u32,
    /// Its session was lost, so it need not arrive.
    excused: bool,
}

impl<const FLOOD: bool> World for Senders<FLOOD> {
    const PROMISES: &'static [&'static str] = &[
        "a payload arrives once at most, as long as its receiver remembers the session",
        "a payload arrives as it was sent, from whom it says, at whom it was for",
        "nothing of an ended life arrives",
        "no more is under way than the receiver's window",
    ];
    const SIGHTS: &'static [&'static str] = if FLOOD {
        &["a window is full"]
    } else {
        &["a payload is sent again", "a duplicate is dropped", "a session is lost"]
    };
    const RECOVERY: &'static str = "all payloads arrive, are acknowledged, and further ones pass";

    fn begin(plan: &Plan) -> Self {
        let mut world = Self {
            now: Instant::ZERO + Duration::from_secs(1),
            plan: *plan,
            nodes: (0..COUNT).map(|node| Self::node(plan, node, 1)).collect(),
            line: Line::new(plan.bounds),
            letters: Vec::new(),
            verdict: Verdict::default(),
        };
        for (a, b) in PAIRS {
            world.meet(a, b, 1);
            world.meet(b, a, 1);
        }
        (0..COUNT).for_each(|node| world.flush(node));
        world
    }

    fn choices(&self, out: &mut Vec<Choice>) {
        self.line.choices(out);
        let left = self.line.left;
        let is_quiet = self.line.is_quiet();
        if is_quiet && left.ticks > 0 {
            out.push(Choice::Tick);
        }
        if is_quiet && left.messages > 0 {
            out.extend([Choice::Publish(0), Choice::Publish(1)]);
        }
        if left.starts > 0 && left.faults > 0 {
            out.push(Choice::Start(0));
        }
        if left.crashes > 0 && left.faults > 0 {
            out.push(Choice::Forget(1, 0));
        }
    }

    fn choose(&mut self, choice: Choice) {
        match choice {
            Choice::Tick => {
                self.line.left.ticks -= 1;
                self.tick();
            }
            Choice::Publish(by) => {
                self.line.left.messages -= 1;
                self.publish(by);
            }
            Choice::Start(node) => {
                self.line.left.spend(|left| &mut left.starts);
                self.restart(node);
            }
            Choice::Forget(node, other) => {
                self.line.left.spend(|left| &mut left.crashes);
                self.forget(node, other);
            }
            choice => {
                if let Some(parcel) = self.line.choose(choice) {
                    self.arrive(&parcel);
                }
            }
        }
        self.look();
    }

    fn describe(&self, out: &mut String) {
        put(out, &(self.now, &self.nodes, &self.line, &self.letters));
    }

    fn verdict(&self) -> Verdict {
        self.verdict
    }

    fn recovers(mut self) -> bool {
        self.line.release_all();
        self.line.left = Bounds::default();
        self.run(RECOVERY);
        (0..2).for_each(|by| self.publish(by));
        self.run(RECOVERY);
        let all_there = self.letters.iter().all(|letter| letter.arrived > 0 || letter.excused);
        all_there && self.nodes.iter().all(|node| node.transport.is_settled())
    }
}

impl<const FLOOD: bool> Senders<FLOOD> {
    fn node(plan: &Plan, number: u8, life: u64) -> Node {
        let mut config = Config::default();
        // No search for longer datagrams: it would be most of what happens.
        config.max_datagram_bytes = config.base_datagram_bytes;
        if FLOOD && !(number == 1 && plan.has(Flaw::Boastful)) {
            config.socket_window_bytes = WINDOW;
        }
        let transport = Transport::new(config, local(number, life), Rng::new(u64::from(number) + 8 * life));
        Node { transport, life, peers: BTreeMap::new(), met: 0 }
    }

    /// A node learns of another one in one of its lives; the life before is over.
    fn meet(&mut self, number: u8, other: u8, life: u64) {
        let (now, keeps_old) = (self.now, self.plan.has(Flaw::Undead));
        let Some(node) = self.nodes.get_mut(usize::from(number)) else { return };
        node.met += 1;
        let peer = PeerId(node.met);
        let before = node.peers.insert(other, (peer, life));
        if let Some((before, _)) = before.filter(|_| !keeps_old) {
            node.transport.disconnect(before);
        }
        node.transport.connect(now, peer, &remote(other, life));
    }

    fn restart(&mut self, number: u8) {
        let Some(life) = self.nodes.get(usize::from(number)).map(|node| node.life + 1) else { return };
        let node = Self::node(&self.plan, number, life);
        if let Some(slot) = self.nodes.get_mut(usize::from(number)) {
            *slot = node;
        }
        self.excuse(|letter| letter.from == number || letter.to == number);
        for (_, other) in PAIRS.into_iter().filter(|(from, _)| *from == number) {
            let Some(there) = self.nodes.get(usize::from(other)).map(|node| node.life) else { continue };
            self.meet(number, other, there);
            self.line.tell(number, other, Item::Born(life));
        }
        self.flush(number);
    }

    fn forget(&mut self, number: u8, other: u8) {
        let Some(life) = self.nodes.get(usize::from(other)).map(|node| node.life) else { return };
        self.excuse(|letter| [(number, other), (other, number)].contains(&(letter.from, letter.to)));
        // It does not remember what has come, and nobody else knows it: what it had not acknowledged may come again.
        let came = self.letters.iter_mut().filter(|letter| (letter.from, letter.to) == (other, number));
        came.for_each(|letter| letter.arrived = 0);
        self.meet(number, other, life);
        self.flush(number);
    }

    fn excuse(&mut self, which: impl Fn(&Letter) -> bool) {
        self.letters.iter_mut().filter(|letter| which(letter)).for_each(|letter| letter.excused = true);
    }

    fn publish(&mut self, by: u8) {
        let copies = if FLOOD { BURST } else { 1 };
        for (from, to) in PAIRS.into_iter().flat_map(|(a, b)| [(a, b), (b, a)]).filter(|(from, _)| *from == by) {
            for _ in 0..copies {
                self.send(from, to);
            }
        }
        self.flush(by);
    }

    fn send(&mut self, from: u8, to: u8) {
        let (now, number) = (self.now, self.letters.len());
        let Some(node) = self.nodes.get_mut(usize::from(from)) else { return };
        let Some((peer, _)) = node.peers.get(&to).copied() else { return };
        let is_taken = node.transport.send(now, peer, payload(number, node.life, FLOOD));
        self.letters.push(Letter { from, to, life: node.life, arrived: 0, excused: !is_taken });
    }

    /// Puts all that a node has to send on the line, and notes what it tells.
    fn flush(&mut self, by: u8) {
        let now = self.now;
        let Some(node) = self.nodes.get_mut(usize::from(by)) else { return };
        let mut out = Chain::default();
        let mut lost = Vec::new();
        while let Some(transmit) = node.transport.poll_transmit(now, &mut out) {
            let datagram = Item::Datagram(out.to_vec().into());
            out.clear();
            if let Some(to) = (0..COUNT).find(|to| address(*to) == transmit.to) {
                self.line.send(by, to, datagram);
            }
        }
        while let Some(event) = node.transport.poll_event() {
            if let Event::Lost(peer) = event {
                lost.extend(node.peers.iter().find(|(_, (known, _))| *known == peer).map(|(other, _)| *other));
            }
        }
        for (_, (peer, _)) in node.peers.iter().filter(|_| !FLOOD) {
            let stats = node.transport.peer_stats(*peer).unwrap_or_default();
            self.verdict.see(0, stats.payloads_resent > 0);
            self.verdict.see(1, stats.duplicate_payloads + stats.duplicate_packets > 0);
            self.verdict.see(2, !lost.is_empty());
        }
        for other in lost {
            self.excuse(|letter| (letter.from, letter.to) == (by, other));
        }
    }

    fn arrive(&mut self, parcel: &Parcel<Item>) {
        match &parcel.item {
            Item::Born(life) => self.meet(parcel.to, parcel.from, *life),
            Item::Datagram(datagram) => self.receive(parcel, datagram.clone()),
        }
        self.flush(parcel.to);
    }

    fn receive(&mut self, parcel: &Parcel<Item>, datagram: Bytes) {
        let now = self.now;
        let is_long = datagram.len() > HEADERS;
        if is_long && parcel.to == 1 && self.plan.has(Flaw::Hole) {
            return;
        }
        let datagram = if is_long && self.plan.has(Flaw::Changed) { changed(&datagram) } else { datagram };
        let Some(node) = self.nodes.get_mut(usize::from(parcel.to)) else { return };
        node.transport.handle_native(now, address(parcel.from), datagram);
        let mut came = Vec::new();
        while let Some((peer, payload)) = node.transport.poll_payload() {
            let from =
                node.peers.iter().find(|(_, (known, _))| *known == peer).map(|(other, (_, life))| (*other, *life));
            came.push((from, payload));
        }
        if self.plan.has(Flaw::Renumbered) && self.line.has_held() {
            // As if what came was not known for what had come.
            came.extend_from_within(..);
        }
        for (from, payload) in came {
            self.note(parcel.to, from, &payload);
        }
    }

    fn note(&mut self, to: u8, from: Option<(u8, u64)>, bytes: &Bytes) {
        self.verdict.expect(LIVES, from.is_some());
        let Some((from, life)) = from else { return };
        let number = bytes.first().copied().map_or(usize::MAX, usize::from);
        let is_as_sent = *bytes == payload(number, life, FLOOD);
        let letter = self.letters.get_mut(number).filter(|letter| (letter.from, letter.to) == (from, to));
        self.verdict.expect(TRUE, is_as_sent && letter.is_some());
        let Some(letter) = letter else { return };
        letter.arrived += 1;
        self.verdict.expect(LIVES, letter.life == life);
        self.verdict.expect(ONCE, letter.arrived == 1);
    }

    /// What is under way to one node fits its window, but for two datagrams that may be sent whatever it says.
    fn look(&mut self) {
        if !FLOOD {
            return;
        }
        let long = self.line.queue().filter(|parcel| parcel.to == 1);
        let long = long.filter(|parcel| matches!(&parcel.item, Item::Datagram(bytes) if bytes.len() > HEADERS)).count();
        let weight = WEIGHT.saturating_mul(u64::try_from(long.saturating_sub(PROBES)).unwrap_or(u64::MAX));
        self.verdict.expect(FITS, weight <= WINDOW);
        self.verdict.see(0, weight + (1 + PROBES as u64) * WEIGHT > WINDOW);
    }

    fn tick(&mut self) {
        let next = self.nodes.iter().filter_map(|node| node.transport.poll_timeout()).min();
        let Some(next) = next else { return };
        self.now = self.now.max(next);
        for number in 0..COUNT {
            if let Some(node) = self.nodes.get_mut(usize::from(number)) {
                node.transport.handle_timeout(self.now);
            }
            self.flush(number);
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            while let Some(parcel) = self.line.choose(Choice::Deliver) {
                self.arrive(&parcel);
            }
            let next = self.nodes.iter().filter_map(|node| node.transport.poll_timeout()).min();
            match next.filter(|at| *at <= end) {
                Some(_) => self.tick(),
                None => self.now = end,
            }
        }
    }
}

/// What a payload's bytes are: its number, and then the life that it was sent in.
fn payload(number: usize, life: u64, is_long: bool) -> Bytes {
    let len = if is_long { LONG } else { SHORT };
    let number = u8::try_from(number).unwrap_or(u8::MAX);
    let life = u8::try_from(life).unwrap_or(u8::MAX);
    std::iter::once(number).chain(std::iter::repeat_n(life, len - 1)).collect::<Vec<_>>().into()
}

fn changed(datagram: &Bytes) -> Bytes {
    let mut bytes = datagram.to_vec();
    if let Some(last) = bytes.last_mut() {
        *last ^= 1;
    }
    bytes.into()
}

fn address(node: u8) -> SocketAddr {
    ([10, 0, 0, node + 1], 4_000).into()
}

fn local(node: u8, life: u64) -> Local {
    Local {
        network: NetworkId(1),
        id: EndpointId::from_integer(i64::from(node)),
        name: format!("node-{node}"),
        incarnation: Incarnation(life),
        clock: WallClock::default(),
    }
}

fn remote(node: u8, life: u64) -> Remote {
    let Local { id, name, incarnation, .. } = local(node, life);
    Remote { id, name, incarnation, address: address(node), classic: None, key: None }
}

const COUNT: u8 = 3;

/// Who speaks with whom.
const PAIRS: [(u8, u8); 2] = [(0, 1), (0, 2)];

/// Longer than all that a datagram may have without a payload.
const HEADERS: usize = 150;
const SHORT: usize = 200;
const LONG: usize = 1_100;

/// The least that a receiver may say: seven datagrams of one long payload each.
const WINDOW: u64 = 16 << 10;
/// What Linux charges for such a datagram (PROTOCOL.md, section 3).
const WEIGHT: u64 = 256 + 2_048;
const BURST: usize = 10;
/// Datagrams that are sent whatever the windows say.
const PROBES: usize = 2;

/// Hellos are repeated after a second at most, probes after half of one; both may have been lost before.
const RECOVERY: Duration = Duration::from_secs(4);

const ONCE: usize = 0;
const TRUE: usize = 1;
const LIVES: usize = 2;
const FITS: usize = 3;
