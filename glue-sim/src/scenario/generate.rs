//! Scenarios from a seed.

use std::time::Duration;

use glue_net::Rng;

use super::{Fault, Impairment, Scenario, Scope, Step};
use crate::{Bursts, Hostile, NodeId, Shape, Sort, Trick};

/// What [`Scenario::generate`] may put into a scenario.
///
/// A field that is not set has the value of [`Recipe::new`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Recipe {
    /// Nodes.
    pub nodes: u32,
    /// How long it is.
    pub span: Duration,
    /// How long nothing happens at the end, so that what was broken may heal. Default a quarter of the span.
    pub calm: Duration,
    /// Faults, at most; at least one. Default 12.
    pub faults: u32,
    /// How long a fault lasts at most. Default 10 s.
    pub longest: Duration,
    /// The share of datagrams that links lose all the time, at most. Default 0.5.
    pub loss: f64,
    /// Whether nodes know altered datagrams and strangers' for what they are: then there are such. Default false.
    pub guarded: bool,
    /// Numbers of the application: name, least, most.
    pub settings: Vec<(String, u64, u64)>,
}

impl Recipe {
    /// Everything, for so many nodes and so long.
    #[must_use]
    pub fn new(nodes: u32, span: Duration) -> Self {
        let longest = Duration::from_secs(10);
        Self { nodes, span, calm: span / 4, faults: 12, longest, loss: 0.5, guarded: false, settings: Vec::new() }
    }

    /// Adds a number of the application, from `least` to `most`.
    #[must_use]
    pub fn setting(mut self, name: &str, least: u64, most: u64) -> Self {
        self.settings.push((name.to_owned(), least, most));
        self
    }
}

impl Scenario {
    /// A scenario as `recipe` wants it; all of it follows from `seed`.
    ///
    /// Clocks of all nodes drift by up to 500 ppm all the time, and some walls' are an hour off.
    #[must_use]
    pub fn generate(seed: u64, recipe: &Recipe) -> Self {
        let mut source = Source { rng: Rng::new(seed ^ STREAM), recipe };
        let mut scenario = Self::new(seed, recipe.nodes, recipe.span);
        scenario.link = source.usual();
        for (name, least, most) in &recipe.settings {
            let number = least + source.rng.below(most.saturating_sub(*least) + 1);
            scenario.settings.insert(name.clone(), number);
        }
        for node in (0..recipe.nodes).map(NodeId::new) {
            let ppm = i32::try_from(source.rng.below(1_001)).unwrap_or_default() - 500;
            scenario.steps.push(Step { at: Duration::ZERO, last: recipe.span, fault: Fault::Drift(node, ppm) });
            if source.rng.chance(0.2) {
                let fault = Fault::WallJump(node, source.hour());
                scenario.steps.push(Step { at: Duration::ZERO, last: recipe.span, fault });
            }
        }
        for _ in 0..=source.rng.below(u64::from(recipe.faults)) {
            scenario.steps.push(source.step());
        }
        scenario.steps.sort_by_key(|step| step.at);
        scenario
    }
}

struct Source<'a> {
    rng: Rng,
    recipe: &'a Recipe,
}

impl Source<'_> {
    /// What the links do all the time.
    fn usual(&mut self) -> Vec<Impairment> {
        let latency = self.pick(&[100, 1_000, 5_000, 20_000, 50_000]);
        let mut link = vec![Impairment::Latency(Duration::from_micros(latency))];
        if self.rng.chance(0.5) {
            link.push(Impairment::Jitter(Duration::from_micros(latency / 2)));
        }
        let loss: f64 = self.pick(&[0.0_f64, 0.01, 0.05, 0.2, 0.5]).min(self.recipe.loss);
        if loss > 0.0 {
            link.push(Impairment::Loss(loss));
        }
        if self.rng.chance(0.3) {
            link.push(Impairment::Duplicate(0.05));
        }
        if self.rng.chance(0.3) {
            link.push(Impairment::Reorder(0.1, Duration::from_millis(5)));
        }
        link
    }

    fn step(&mut self) -> Step {
        let Recipe { span, calm, longest, .. } = *self.recipe;
        let last = self.time(Duration::from_millis(100), longest);
        let latest = span.saturating_sub(calm).saturating_sub(last);
        Step { at: self.time(Duration::ZERO, latest), last, fault: self.fault() }
    }

    fn fault(&mut self) -> Fault {
        let node = self.node();
        let kinds = if self.recipe.guarded { 17 } else { 15 };
        match self.rng.below(kinds) {
            0 | 1 => Fault::Partition(self.shape()),
            2 => Fault::Flap(self.time(Duration::from_millis(50), Duration::from_secs(3)), self.shape()),
            3 => Fault::Crash(node),
            4 => Fault::Freeze(node),
            5 => Fault::Storm(1 + self.below(self.recipe.nodes / 2)),
            6 => Fault::Move(node),
            7 => Fault::Rebind(node),
            8 => self.pick(&[Fault::NoMulticast, Fault::NoUnicast]),
            9 => Fault::WallJump(node, self.hour()),
            10 => Fault::Buffer(node, self.pick(&[8_192, 65_536])),
            11 => Fault::Busy(node, Duration::from_micros(self.pick(&[10, 100, 1_000]))),
            12..15 => Fault::Link(self.scope(), self.impairment()),
            15 => Fault::Link(self.scope(), Impairment::Corrupt(self.pick(&[0.01, 0.1]))),
            _ => Fault::Hostile(self.hostile()),
        }
    }

    fn impairment(&mut self) -> Impairment {
        let (half, all) = (self.pick(&[0.1, 0.3, 0.5]), self.pick(&[0.5, 0.9, 1.0]));
        let bytes = self.pick(&[300, 600, 1_000]);
        match self.rng.below(15) {
            0 | 1 => Impairment::Loss(half),
            2 | 3 => {
                let (begin, end) = (self.pick(&[0.005, 0.02]), self.pick(&[0.05, 0.2]));
                Impairment::Bursts(Bursts { begin, end, loss_within: all, loss_between: 0.01 })
            }
            4 => Impairment::Sift(Sort::Control, half),
            5 => Impairment::Sift(Sort::Data, half),
            6 => Impairment::Sift(Sort::LongerThan(bytes), all),
            7 => Impairment::Sift(Sort::ShorterThan(bytes), half),
            8 => Impairment::Sift(self.pick(&[Sort::Multicast, Sort::Unicast]), all),
            9 => Impairment::Reorder(half, Duration::from_millis(20)),
            10 => Impairment::Duplicate(half),
            11 => Impairment::Latency(Duration::from_millis(self.pick(&[10, 100, 300]))),
            12 => Impairment::Jitter(Duration::from_millis(self.pick(&[5, 50]))),
            13 => Impairment::Rate(self.pick(&[20_000, 100_000]), Duration::from_millis(self.pick(&[20, 1_500]))),
            _ => Impairment::Mtu(self.pick(&[1_200, 1_280, 1_400])),
        }
    }

    fn shape(&mut self) -> Shape {
        let (a, b) = (self.node(), self.node());
        let away = if a == b { Shape::Isolated(a) } else { Shape::OneWay(a, b) };
        self.pick(&[Shape::Halves, Shape::Thirds, Shape::Isolated(a), away, Shape::NonTransitive])
    }

    fn scope(&mut self) -> Scope {
        let (a, b) = (self.node(), self.node());
        self.pick(&[Scope::All, Scope::From(a), Scope::To(a), Scope::Between(a, b)])
    }

    fn hostile(&mut self) -> Hostile {
        let rate = self.pick(&[0.01, 0.1, 0.4]);
        let tricks = if self.rng.chance(0.5) { Trick::ALL.to_vec() } else { vec![self.pick(&Trick::ALL)] };
        Hostile { rate, tricks, spoofs: self.rng.chance(0.7) }
    }

    /// An hour, this way or that.
    fn hour(&mut self) -> i64 {
        self.pick(&[3_600, -3_600])
    }

    fn node(&mut self) -> NodeId {
        NodeId::new(self.below(self.recipe.nodes))
    }

    fn below(&mut self, bound: u32) -> u32 {
        u32::try_from(self.rng.below(u64::from(bound))).unwrap_or_default()
    }

    fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        let at = usize::try_from(self.rng.below(of.len() as u64)).unwrap_or_default();
        of.get(at).cloned().expect("one of some")
    }

    /// In steps of ten milliseconds, which are easier to read.
    fn time(&mut self, least: Duration, most: Duration) -> Duration {
        let range = u64::try_from(most.saturating_sub(least).as_millis() / 10).unwrap_or_default();
        least + Duration::from_millis(self.rng.below(range + 1) * 10)
    }
}

/// Sets the scenario's randomness apart from that of the world with the same seed.
const STREAM: u64 = 0x5be0_cd19_137e_2179;
