//! Workers that could serve a request alike, and the choice among them.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::Deserialize;

use super::member::{Member, Taken};

/// How to choose among workers that could serve a request alike. All heed weights, and pass over who has no
/// capacity left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Strategy {
    /// Who has the fewest requests to answer, for its weight. Of more than 64 the best of 8 at random.
    LeastOutstanding,
    /// Anyone.
    Random,
    /// In turn.
    #[default]
    RoundRobin,
}

/// Workers that could serve a request alike.
#[derive(Debug, Default)]
pub(crate) struct Group {
    members: Vec<Arc<Member>>,
    /// Places of members, each as often as its weight says.
    schedule: Vec<u32>,
    /// Of each member a hash of its name, and a place of its in the schedule.
    marks: Vec<(u64, usize)>,
    turn: AtomicUsize,
}

/// What came of choosing.
#[derive(Debug)]
pub(crate) enum Choice {
    /// Here is one.
    Taken(Taken),
    /// There are workers, but none has capacity left.
    Busy,
    /// There is none.
    Nobody,
}

impl Group {
    pub(crate) fn new(members: Vec<Arc<Member>>) -> Self {
        let schedule = schedule(&members);
        let mut marks: Vec<_> = members.iter().map(|member| (hash(&member.instance), 0)).collect();
        for (place, at) in schedule.iter().enumerate() {
            if let Some((_, first)) = marks.get_mut(*at as usize) {
                *first = place;
            }
        }
        Self { members, schedule, marks, turn: AtomicUsize::new(0) }
    }

    pub(crate) fn members(&self) -> &[Arc<Member>] {
        &self.members
    }

    pub(crate) fn choose(&self, strategy: Strategy, method: &str, key: Option<&str>) -> Choice {
        let first = match (key, strategy) {
            (Some(key), _) => self.by_key(key),
            (None, Strategy::RoundRobin) => self.turn.fetch_add(1, Ordering::Relaxed),
            (None, Strategy::Random) => random(),
            (None, Strategy::LeastOutstanding) => self.least_busy(),
        };
        self.take_from(first, method)
    }

    /// From this place of the schedule on, the first that can take a request.
    fn take_from(&self, first: usize, method: &str) -> Choice {
        let mut is_served = false;
        let len = self.schedule.len();
        for at in (0..len).map(|step| (first % len + step) % len) {
            let Some(member) = self.member(at) else { continue };
            if !member.announcement.is_available() || !member.serves(method) {
                continue;
            }
            is_served = true;
            if let Some(taken) = member.take() {
                return Choice::Taken(taken);
            }
        }
        if is_served { Choice::Busy } else { Choice::Nobody }
    }

    fn member(&self, at: usize) -> Option<&Arc<Member>> {
        self.members.get(*self.schedule.get(at)? as usize)
    }

    fn least_busy(&self) -> usize {
        let len = self.schedule.len().max(1);
        let start = self.turn.fetch_add(1, Ordering::Relaxed);
        let load = |at: &usize| {
            let member = self.member(*at);
            member.map_or(u64::MAX, |member| {
                // In parts of a request, so that it can be divided by a weight.
                u64::from(member.load.outstanding()) * 1_000 / u64::from(member.announcement.weight)
            })
        };
        if len <= SCANNED {
            // It begins where its turn is, so that idle workers take turns.
            (0..len).map(|step| (start + step) % len).min_by_key(load).unwrap_or(0)
        } else {
            (0..SAMPLED).map(|_| random() % len).min_by_key(load).unwrap_or(0)
        }
    }

    /// The same for the same key, and for most keys also after workers have come or gone (rendezvous hashing). Weights do
    /// not count.
    fn by_key(&self, key: &str) -> usize {
        let key = hash(key);
        let mut best = (0, 0);
        for (mark, place) in &self.marks {
            // Both are hashes: of their product's upper bits each depends on all of theirs.
            let score = (mark ^ key).wrapping_mul(ODD);
            if score > best.0 {
                best = (score, *place);
            }
        }
        best.1
    }
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// Each member as often as its weight, spread evenly: that of the largest share still owed comes next.
fn schedule(members: &[Arc<Member>]) -> Vec<u32> {
    let weights: Vec<u64> = members.iter().map(|member| member.announcement.weight.into()).collect();
    let places = 0..u32::try_from(weights.len()).unwrap_or(u32::MAX);
    if weights.windows(2).all(|pair| pair.first() == pair.last()) {
        return places.collect();
    }
    // Its n-th turn of `weight` falls at (2n + 1) / (2 weight) of the round.
    let mut turns: Vec<(u64, u32)> = places
        .zip(&weights)
        .flat_map(|(at, weight)| (0..*weight).map(move |turn| ((2 * turn + 1) * ROUND / (2 * weight), at)))
        .collect();
    turns.sort_unstable();
    turns.into_iter().map(|(_, at)| at).collect()
}

/// Not for secrets: the standard library seeds each hasher state anew.
fn random() -> usize {
    use std::hash::BuildHasher;
    usize::try_from(std::collections::hash_map::RandomState::new().hash_one(0) >> 33).unwrap_or(0)
}

/// The golden ratio's digits, as usual.
const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
/// Up to so many all are looked at: 64 loads of memory cost about 0.2 microseconds.
const SCANNED: usize = 64;
/// Of more, so many are drawn: the best of 8 is nearly always one of the least busy eighth.
const SAMPLED: usize = 8;
/// Divisible by all weights there are, nearly: what is cut off does not change an order that matters.
const ROUND: u64 = 1 << 40;
