//! A stranger in the network, who hears all, and sends what looks valid.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use bytes::Bytes;
use glue_net::Rng;

use crate::queue::Flight;
use crate::trace::mix;

/// What a hostile stranger does. It hears every datagram, as on a radio, and answers some with one of its own, made of the last
/// 64 that it heard and sent to whoever got one of these.
#[derive(Clone, Debug, PartialEq)]
pub struct Hostile {
    /// Probability that a datagram of a node provokes one of the stranger's, 0.0 to 0.5.
    pub rate: f64,
    /// What it does, each as likely; nothing, if empty.
    pub tricks: Vec<Trick>,
    /// Whether its datagrams seem to come from the node that sent what they are made of. Else they come from
    /// [`Hostile::ADDRESS`].
    pub spoofs: bool,
}

impl Hostile {
    /// Where a stranger that does not spoof sends from.
    pub const ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 66)), 6_666);

    /// Does all of its tricks, from addresses of others.
    #[must_use]
    pub fn new(rate: f64) -> Self {
        Self { rate, tricks: Trick::ALL.to_vec(), spoofs: true }
    }

    pub(crate) fn checked(self) -> Self {
        assert!((0.0..=0.5).contains(&self.rate), "Hostile::rate is {}; 0 to 0.5 expected", self.rate);
        self
    }
}

/// How a hostile datagram is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trick {
    /// Up to four bytes of an honest one are others.
    Alter,
    /// Random bytes behind the first two of an honest one.
    Noise,
    /// An honest one, again.
    Replay,
    /// The front of one and the back of another.
    Splice,
}

impl Trick {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Alter, Self::Noise, Self::Replay, Self::Splice];
}

/// The stranger, and what it has heard.
#[derive(Debug)]
pub(crate) struct Stranger {
    rng: Rng,
    heard: VecDeque<Heard>,
    pub(crate) conduct: Option<Hostile>,
}

#[derive(Clone, Debug)]
struct Heard {
    from: SocketAddr,
    to: SocketAddr,
    datagram: Bytes,
}

/// What it sends.
#[derive(Debug)]
pub(crate) struct Forgery {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) datagram: Bytes,
}

impl Stranger {
    pub(crate) const fn new(seed: u64) -> Self {
        Self { rng: Rng::new(mix(seed ^ STREAM, STREAM)), heard: VecDeque::new(), conduct: None }
    }

    /// Hears a datagram, and may answer.
    pub(crate) fn hear(&mut self, flight: &Flight) -> Option<Forgery> {
        let conduct = self.conduct.as_ref()?;
        let heard = Heard { from: flight.from, to: flight.to, datagram: flight.payload.clone() };
        self.heard.push_back(heard);
        if self.heard.len() > MEMORY {
            self.heard.pop_front();
        }
        if conduct.tricks.is_empty() || !self.rng.chance(conduct.rate) {
            return None;
        }
        let trick = conduct.tricks.get(index(&mut self.rng, conduct.tricks.len())).copied()?;
        let spoofs = conduct.spoofs;
        let model = self.any()?;
        let datagram = self.make(trick, &model.datagram)?;
        Some(Forgery { from: if spoofs { model.from } else { Hostile::ADDRESS }, to: model.to, datagram })
    }

    fn make(&mut self, trick: Trick, model: &Bytes) -> Option<Bytes> {
        Some(match trick {
            Trick::Alter => {
                let mut altered = model.to_vec();
                for _ in 0..=self.rng.below(3) {
                    let at = index(&mut self.rng, altered.len());
                    if let Some(byte) = altered.get_mut(at) {
                        *byte ^= 1 + self.rng.below(255).to_le_bytes()[0];
                    }
                }
                altered.into()
            }
            Trick::Noise => {
                let mut noise = model.to_vec();
                if let Some(rest) = noise.get_mut(2..) {
                    self.rng.fill(rest);
                }
                noise.into()
            }
            Trick::Replay => model.clone(),
            Trick::Splice => {
                let other = self.any()?.datagram;
                let front = model.slice(..index(&mut self.rng, model.len()));
                let back = other.slice(index(&mut self.rng, other.len())..);
                [front, back].concat().into()
            }
        })
    }

    fn any(&mut self) -> Option<Heard> {
        let at = index(&mut self.rng, self.heard.len());
        self.heard.get(at).cloned()
    }
}

fn index(rng: &mut Rng, count: usize) -> usize {
    usize::try_from(rng.below(count as u64)).unwrap_or(usize::MAX)
}

/// Datagrams that it remembers: enough to replay what is seconds old.
const MEMORY: usize = 64;

/// Sets its randomness apart from the paths' and the nodes'.
const STREAM: u64 = 0x1f83_d9ab_fb41_bd6b;
