//! One direction between two nodes: what its link has in hand.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use glue_net::{Instant, Rng};

use crate::link::Parcel;
use crate::trace::{digest, mix};
use crate::{Fate, Link, NodeId};

/// All directions that were used: the sender's row, the receiver's column. Both grow when they are needed.
#[derive(Debug)]
pub(crate) struct Paths {
    rows: Vec<Vec<Path>>,
    /// When the last datagram in each shared queue has left.
    bottlenecks: BTreeMap<u32, Instant>,
    seed: u64,
}

impl Paths {
    pub(crate) const fn new(seed: u64) -> Self {
        Self { rows: Vec::new(), bottlenecks: BTreeMap::new(), seed }
    }

    /// Sends a datagram over a path. Two copies if it is duplicated.
    pub(crate) fn take(
        &mut self,
        now: Instant,
        ends: (NodeId, NodeId),
        parcel: Parcel,
        usual: &Link,
    ) -> Result<(Copy, Option<Copy>), Fate> {
        self.shared(ends, usual, |path, link, shared| path.pass(now, parcel, link, shared))
    }

    /// How long a datagram that is sent now waits before it is on its way.
    pub(crate) fn backlog(&mut self, now: Instant, ends: (NodeId, NodeId), usual: &Link) -> Duration {
        self.shared(ends, usual, |path, _, shared| shared.map_or(path.idle_at, |at| *at).since(now))
    }

    fn shared<R>(
        &mut self,
        (sender, receiver): (NodeId, NodeId),
        usual: &Link,
        run: impl FnOnce(&mut Traffic, &Link, Option<&mut Instant>) -> R,
    ) -> R {
        let Path { link, traffic, .. } = path(&mut self.rows, self.seed, sender, receiver);
        let link = link.as_deref().unwrap_or(usual);
        let shared = link.bottleneck.map(|number| self.bottlenecks.entry(number).or_insert(Instant::ZERO));
        run(traffic, link, shared)
    }

    pub(crate) fn get(&mut self, sender: NodeId, receiver: NodeId) -> &mut Path {
        path(&mut self.rows, self.seed, sender, receiver)
    }

    /// Lifts all cuts.
    pub(crate) fn heal(&mut self) {
        self.rows.iter_mut().flatten().for_each(|path| path.cut = false);
    }
}

#[expect(clippy::indexing_slicing, reason = "rows and columns are made before they are used")]
fn path(rows: &mut Vec<Vec<Path>>, seed: u64, sender: NodeId, receiver: NodeId) -> &mut Path {
    let (row, column) = (sender.index(), receiver.index());
    if rows.len() <= row {
        rows.resize_with(row + 1, Vec::new);
    }
    let paths = &mut rows[row];
    while paths.len() <= column {
        paths.push(Path::new(seed, sender.as_u64() << 32 | paths.len() as u64));
    }
    &mut paths[column]
}

/// One direction.
#[derive(Debug)]
pub(crate) struct Path {
    /// Instead of the world's link.
    pub(crate) link: Option<Box<Link>>,
    /// Nothing passes.
    pub(crate) cut: bool,
    traffic: Traffic,
}

/// What was sent this way before bears on what is sent now. The randomness is the path's own: what happens on one
/// changes nothing on another.
#[derive(Debug)]
struct Traffic {
    rng: Rng,
    /// In a burst of loss.
    losing: bool,
    /// In a burst of [`Link::bursts`].
    within: bool,
    /// When the last datagram in the queue has left.
    idle_at: Instant,
    /// When the last datagram arrives that was not held back.
    last_arrival: Instant,
}

/// How one copy arrives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Copy {
    pub(crate) at: Instant,
    pub(crate) late: bool,
    pub(crate) corrupted: bool,
}

impl Path {
    const fn new(seed: u64, name: u64) -> Self {
        let rng = Rng::new(mix(seed ^ PATH_STREAM, PATH_STREAM ^ name));
        let traffic =
            Traffic { rng, losing: false, within: false, idle_at: Instant::ZERO, last_arrival: Instant::ZERO };
        Self { link: None, cut: false, traffic }
    }

    /// Alters a datagram: one bit flipped, or the end cut off. An empty one stays.
    pub(crate) fn corrupt(&mut self, datagram: &Bytes) -> (Bytes, u64) {
        let len = datagram.len() as u64;
        let rng = &mut self.traffic.rng;
        let at = usize::try_from(rng.below(len)).unwrap_or(usize::MAX);
        let altered = if rng.chance(0.5) {
            datagram.slice(..at)
        } else {
            let mut altered = datagram.to_vec();
            if let Some(byte) = altered.get_mut(at) {
                *byte ^= 1 << rng.below(8);
            }
            altered.into()
        };
        let digest = digest(&altered);
        (altered, digest)
    }
}

impl Traffic {
    fn pass(
        &mut self,
        now: Instant,
        parcel: Parcel,
        link: &Link,
        shared: Option<&mut Instant>,
    ) -> Result<(Copy, Option<Copy>), Fate> {
        if parcel.len > link.mtu {
            return Err(Fate::TooBig);
        }
        let sent = enqueue(now, parcel.len, link, shared.unwrap_or(&mut self.idle_at))?;
        // Each of them takes note of each datagram.
        if self.loses(link) | self.loses_in_burst(link) | self.sifts(link, parcel) {
            return Err(Fate::Lost);
        }
        let first = self.travel(sent, link);
        let second = self.happens(link.duplicate).then(|| self.travel(sent, link));
        Ok((first, second))
    }

    /// Gilbert's two states: in the bad one all is lost. The rates of change keep the share of loss for any burst.
    fn loses(&mut self, link: &Link) -> bool {
        if link.loss_burst < 1.0 || link.loss >= 1.0 {
            return self.happens(link.loss);
        }
        self.losing = if self.losing {
            !self.happens(1.0 / link.loss_burst)
        } else {
            self.happens(link.loss / (link.loss_burst * (1.0 - link.loss)))
        };
        self.losing
    }

    /// The state changes first, then this datagram meets it.
    fn loses_in_burst(&mut self, link: &Link) -> bool {
        let Some(bursts) = link.bursts else { return false };
        let change = if self.within { bursts.end } else { bursts.begin };
        self.within ^= self.happens(change);
        self.happens(if self.within { bursts.loss_within } else { bursts.loss_between })
    }

    fn sifts(&mut self, link: &Link, parcel: Parcel) -> bool {
        let mut lost = false;
        for sieve in link.sieves.iter().filter(|sieve| sieve.sort.has(parcel)) {
            lost |= self.happens(sieve.loss);
        }
        lost
    }

    fn travel(&mut self, sent: Instant, link: &Link) -> Copy {
        let corrupted = self.happens(link.corrupt);
        let jitter = match u64::try_from(link.jitter.as_nanos()) {
            Ok(0) | Err(_) => Duration::ZERO,
            Ok(nanos) => Duration::from_nanos(self.rng.below(nanos + 1)),
        };
        // It can not overtake, or jitter alone would reorder.
        let at = (sent + link.latency + jitter).max(self.last_arrival);
        let late = self.happens(link.reorder);
        if late {
            return Copy { at: at + link.reorder_delay, late, corrupted };
        }
        self.last_arrival = at;
        Copy { at, late, corrupted }
    }

    /// Draws only where there is a choice, so that a perfect link costs nothing.
    fn happens(&mut self, p: f64) -> bool {
        p > 0.0 && self.rng.chance(p)
    }
}

/// Waits for the link, which carries one datagram after another. `idle_at` is when it has carried all of its queue.
fn enqueue(now: Instant, len: usize, link: &Link, idle_at: &mut Instant) -> Result<Instant, Fate> {
    let Some(rate) = link.rate else { return Ok(now) };
    let time = |bytes: usize| Duration::from_nanos((bytes as u64).saturating_mul(1_000_000_000) / rate);
    let waiting = idle_at.since(now);
    // An idle link takes any datagram: its first one does not wait.
    if !waiting.is_zero() && waiting + time(len) > time(link.queue_bytes) {
        return Err(Fate::QueueFull);
    }
    *idle_at = (*idle_at).max(now) + time(len);
    Ok(*idle_at)
}

/// Sets the paths' randomness apart from the nodes'.
const PATH_STREAM: u64 = 0x510e_527f_ade6_82d1;
