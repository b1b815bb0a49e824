//! What a link does to datagrams.

use std::num::NonZeroU64;
use std::time::Duration;

/// The properties of one direction between two nodes.
///
/// A datagram meets them in this order: `mtu`, `rate` and its queue, `loss`, `bursts`, `sieves`, `duplicate`; then each copy for
/// itself `corrupt`, `jitter`, `reorder`. All bytes are those of the datagram alone, without IP and UDP headers.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Link {
    /// Time under way. Default 100 microseconds.
    pub latency: Duration,
    /// Further time under way, uniform from zero to this; order stays. Default zero.
    pub jitter: Duration,
    /// Share of datagrams that are lost, 0.0 to 1.0. Default 0.
    pub loss: f64,
    /// Mean number of datagrams lost in a row (the two states of Gilbert's model); below 1: each is lost
    /// independently. Default 0.
    pub loss_burst: f64,
    /// Loss in bursts beside `loss`, by a model of four numbers. Default `None`.
    pub bursts: Option<Bursts>,
    /// Loss of datagrams of some sort alone, beside the others. Default empty.
    pub sieves: Vec<Sieve>,
    /// Probability that a datagram arrives twice. Default 0.
    pub duplicate: f64,
    /// Probability that a copy is held back by `reorder_delay`, so that later ones overtake it. Default 0.
    pub reorder: f64,
    /// How long such a copy is held back. Default zero.
    pub reorder_delay: Duration,
    /// Probability that a copy arrives altered: one bit flipped or the end cut off, each as likely. Default 0.
    pub corrupt: f64,
    /// Bytes per second; `None` without limit. Default `None`.
    pub rate: Option<NonZeroU64>,
    /// Bytes that may wait for a link with a `rate`; a datagram that does not fit is dropped. Default 65,536.
    pub queue_bytes: usize,
    /// Links with the same number share one queue: a bottleneck. They must have the same `rate` and `queue_bytes`.
    /// Default `None`: a queue of its own.
    pub bottleneck: Option<u32>,
    /// Longest datagram that passes; a longer one is dropped, and nobody is told: a black hole to those who believe in more.
    /// Default 65,507, the limit of UDP over IPv4.
    pub mtu: usize,
}

impl Link {
    /// Loses nothing, keeps order, takes 100 microseconds.
    #[must_use]
    pub const fn perfect() -> Self {
        Self {
            latency: Duration::from_micros(100),
            jitter: Duration::ZERO,
            loss: 0.0,
            loss_burst: 0.0,
            bursts: None,
            sieves: Vec::new(),
            duplicate: 0.0,
            reorder: 0.0,
            reorder_delay: Duration::ZERO,
            corrupt: 0.0,
            rate: None,
            queue_bytes: 65_536,
            bottleneck: None,
            mtu: 65_507,
        }
    }

    /// Loses the share `loss` of all datagrams, each independently.
    #[must_use]
    pub const fn lossy(loss: f64) -> Self {
        Self::perfect().loss(loss)
    }

    /// Sets the time under way.
    #[must_use]
    pub const fn latency(mut self, latency: Duration) -> Self {
        self.latency = latency;
        self
    }

    /// Sets how much the time under way varies.
    #[must_use]
    pub const fn jitter(mut self, jitter: Duration) -> Self {
        self.jitter = jitter;
        self
    }

    /// Sets the share of datagrams that are lost.
    #[must_use]
    pub const fn loss(mut self, loss: f64) -> Self {
        self.loss = loss;
        self
    }

    /// Sets how many are lost in a row, on average; the share stays.
    #[must_use]
    pub const fn loss_burst(mut self, datagrams: f64) -> Self {
        self.loss_burst = datagrams;
        self
    }

    /// Sets that loss comes in bursts as well.
    #[must_use]
    pub const fn bursts(mut self, bursts: Bursts) -> Self {
        self.bursts = Some(bursts);
        self
    }

    /// Loses the share `loss` of one sort of datagrams, beside what else is lost.
    #[must_use]
    pub fn sift(mut self, sort: Sort, loss: f64) -> Self {
        self.sieves.push(Sieve { sort, loss });
        self
    }

    /// Sets how likely a datagram arrives twice.
    #[must_use]
    pub const fn duplicate(mut self, probability: f64) -> Self {
        self.duplicate = probability;
        self
    }

    /// Sets how likely a copy is held back, and how long.
    #[must_use]
    pub const fn reorder(mut self, probability: f64, delay: Duration) -> Self {
        self.reorder = probability;
        self.reorder_delay = delay;
        self
    }

    /// Sets how likely a copy arrives altered.
    #[must_use]
    pub const fn corrupt(mut self, probability: f64) -> Self {
        self.corrupt = probability;
        self
    }

    /// Sets the bytes per second (0: without limit) and how many bytes may wait.
    #[must_use]
    pub const fn rate(mut self, bytes_per_second: u64, queue_bytes: usize) -> Self {
        self.rate = NonZeroU64::new(bytes_per_second);
        self.queue_bytes = queue_bytes;
        self
    }

    /// A link of this many bytes per second with a queue that takes so long to empty: bufferbloat, if that is long.
    #[must_use]
    pub fn bloated(self, bytes_per_second: u64, delay: Duration) -> Self {
        let bytes = u128::from(bytes_per_second) * delay.as_millis() / 1_000;
        self.rate(bytes_per_second, usize::try_from(bytes).unwrap_or(usize::MAX))
    }

    /// Shares the queue of all links with this number.
    #[must_use]
    pub const fn bottleneck(mut self, number: u32) -> Self {
        self.bottleneck = Some(number);
        self
    }

    /// Sets the longest datagram that passes.
    #[must_use]
    pub const fn mtu(mut self, bytes: usize) -> Self {
        self.mtu = bytes;
        self
    }

    /// Panics if a probability is none.
    pub(crate) fn checked(self) -> Self {
        let probabilities =
            [("loss", self.loss), ("duplicate", self.duplicate), ("reorder", self.reorder), ("corrupt", self.corrupt)];
        let bursts = self.bursts.iter().flat_map(|it| [it.begin, it.end, it.loss_within, it.loss_between]);
        let bursts = bursts.map(|p| ("bursts", p));
        let sieves = self.sieves.iter().map(|sieve| ("sieves", sieve.loss));
        for (name, p) in probabilities.into_iter().chain(bursts).chain(sieves) {
            assert!((0.0..=1.0).contains(&p), "Link::{name} is {p}; a probability from 0 to 1 expected");
        }
        self
    }
}

impl Default for Link {
    fn default() -> Self {
        Self::perfect()
    }
}

/// Loss in bursts: a link that is in one of two states, and changes between them with each datagram.
///
/// This is the model of E. N. Gilbert, "Capacity of a burst-noise channel", Bell System Technical Journal 39 (1960), with the
/// loss between bursts that E. O. Elliott added in "Estimates of error rates for codes on burst-noise channels", same journal 42
/// (1963). Their letters are given with each number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bursts {
    /// Probability that a burst begins with a datagram (P).
    pub begin: f64,
    /// Probability that a burst is over with a datagram (p): the mean burst is of `1 / end` datagrams.
    pub end: f64,
    /// Share of datagrams that are lost within a burst (1 - h).
    pub loss_within: f64,
    /// Share of datagrams that are lost between bursts (1 - k).
    pub loss_between: f64,
}

impl Bursts {
    /// The share of all datagrams that is lost in the long run. A link that never changes its state is between bursts.
    #[must_use]
    pub fn loss(&self) -> f64 {
        let Self { begin, end, loss_within, loss_between } = *self;
        let within = if begin > 0.0 { begin / (begin + end) } else { 0.0 };
        within * loss_within + (1.0 - within) * loss_between
    }
}

/// Datagrams of one sort, and how many of them are lost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sieve {
    /// Which datagrams it concerns.
    pub sort: Sort,
    /// The share of them that is lost, 0.0 to 1.0.
    pub loss: f64,
}

/// Sorts of datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sort {
    /// What keeps nodes in touch: see [`World::set_classifier`](crate::World::set_classifier).
    Control,
    /// What carries the applications' data: all that is not control.
    Data,
    /// Of more bytes than this.
    LongerThan(usize),
    /// Sent to a group.
    Multicast,
    /// Of fewer bytes than this.
    ShorterThan(usize),
    /// Sent to a node.
    Unicast,
}

/// What of a datagram matters to a link.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parcel {
    pub(crate) len: usize,
    pub(crate) multicast: bool,
    pub(crate) control: bool,
}

impl Sort {
    pub(crate) const fn has(self, parcel: Parcel) -> bool {
        match self {
            Self::Control => parcel.control,
            Self::Data => !parcel.control,
            Self::LongerThan(len) => parcel.len > len,
            Self::Multicast => parcel.multicast,
            Self::ShorterThan(len) => parcel.len < len,
            Self::Unicast => !parcel.multicast,
        }
    }
}
