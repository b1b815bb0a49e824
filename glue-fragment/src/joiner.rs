//! Puts pieces together, for all peers.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use glue_net::wire::{DecodeError, Reader};
use glue_net::{Instant, PeerId};

use crate::classic::ClassicJoiner;
use crate::config::Config;
use crate::fragment::{DROPPED, PIECE, WHOLE};
use crate::partial::{Finished, Partial};
use crate::stats::Stats;

/// Puts the pieces of messages together, within a budget.
///
/// Native pieces come once each, but in any order; a message that does not fit the budget is dropped when its last piece
/// came, and reported, so that nothing waits for it.
#[derive(Debug)]
pub struct Joiner {
    config: Config,
    peers: BTreeMap<PeerId, Unfinished>,
    pub(crate) classic: ClassicJoiner,
    held: usize,
    budget: usize,
    stats: Stats,
}

/// What is unfinished of one peer.
#[derive(Debug, Default)]
struct Unfinished {
    partials: BTreeMap<u64, Partial>,
    bytes: usize,
    /// Pieces that came since there is one.
    pieces: u64,
}

/// What a payload completed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Joined {
    /// A message. A notice of a skipped one has an empty body.
    Whole {
        /// The head, as the peer encoded it last.
        head: Bytes,
        /// How long ago that came: the rest of a long message may take its time.
        waited: Duration,
        /// The body.
        body: Bytes,
    },
    /// A message that was too long to be kept: its head and the first bytes of its body.
    Dropped {
        /// The head.
        head: Bytes,
        /// The beginning of the body, at most 4 KiB.
        start: Bytes,
    },
}

/// A payload, read.
enum Part {
    Whole { head: Bytes, body: Bytes },
    Piece { message: u64, offset: usize, total: usize, head: Option<Bytes>, piece: Bytes },
    Dropped { message: u64, head: Bytes },
}

impl Joiner {
    /// Nothing joined yet.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let (budget, stats) = (config.budget_bytes, Stats::default());
        Self { classic: ClassicJoiner::default(), config, peers: BTreeMap::new(), held: 0, budget, stats }
    }

    /// Sets what unfinished messages of all peers may take from now on, in place of [`Config::budget_bytes`]. Beyond it
    /// the largest message of the peer that takes most is given up, until the rest fits.
    pub fn set_budget(&mut self, bytes: usize) {
        self.budget = bytes;
        while self.held > self.budget && self.give_up_most() {}
    }

    /// Bytes of unfinished messages.
    #[must_use]
    pub const fn held_bytes(&self) -> usize {
        self.held + self.classic.held()
    }

    /// Takes a payload that came from a native peer. Returns the message that it completes.
    pub fn handle_payload(&mut self, now: Instant, peer: PeerId, payload: Bytes) -> Option<Joined> {
        match decode(payload) {
            Ok(Part::Whole { head, body }) => Some(Joined::Whole { head, waited: Duration::ZERO, body }),
            Ok(Part::Dropped { message, head }) => {
                self.remove(peer, message);
                Some(Joined::Whole { head, waited: Duration::ZERO, body: Bytes::new() })
            }
            Ok(Part::Piece { message, offset, total, head, piece }) => {
                self.open(peer, message, total)?;
                let head = head.map(|head| (now, head));
                self.insert(now, peer, message, (offset, head, piece))
            }
            Err(_) => {
                self.stats.malformed += 1;
                None
            }
        }
    }

    /// Takes a frame that came from a classic peer. Returns the message encoding that it completes.
    pub fn handle_frame(
        &mut self,
        now: Instant,
        peer: PeerId,
        frame: &glue_net::wire::classic::Frame,
    ) -> Option<Bytes> {
        let room = self.budget.saturating_sub(self.held);
        let limit = room.min(self.config.max_message_bytes);
        self.classic.handle_frame(now, peer, frame, limit, self.config.max_partials_per_peer)
    }

    /// Forgets the unfinished messages of a peer.
    pub fn handle_peer_gone(&mut self, peer: PeerId) {
        let gone = self.peers.remove(&peer).unwrap_or_default();
        self.held -= gone.bytes;
        self.classic.handle_peer_gone(peer);
    }

    /// Gives up classic messages whose fragments stay away.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.classic.handle_timeout(now, self.config.classic_patience);
    }

    /// When [`Joiner::handle_timeout`] wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.classic.oldest().map(|at| at + self.config.classic_patience)
    }

    /// Counters and what is held.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            held_bytes: self.held_bytes(),
            partials: self.peers.values().map(|peer| peer.partials.len()).sum::<usize>() + self.classic.len(),
            classic_expired: self.classic.expired(),
            over_budget: self.stats.over_budget + self.classic.over_budget(),
            ..self.stats
        }
    }

    /// Makes sure that the message has an entry; `None` if it gets none.
    fn open(&mut self, peer: PeerId, message: u64, total: usize) -> Option<()> {
        let unfinished = self.peers.entry(peer).or_default();
        unfinished.pieces += 1;
        let pieces = unfinished.pieces;
        if let Some(partial) = unfinished.partials.get_mut(&message) {
            partial.touched = pieces;
            return Some(());
        }
        if unfinished.partials.len() >= self.config.max_partials_per_peer {
            let oldest = unfinished.partials.iter().min_by_key(|(_, partial)| partial.touched);
            let stale = oldest.filter(|(_, partial)| partial.touched + STALE_PIECES < pieces);
            let stale = stale.map(|(message, _)| *message);
            let Some(partial) = stale.and_then(|stale| unfinished.partials.remove(&stale)) else {
                self.stats.over_partials += 1;
                return None;
            };
            self.held -= partial.bytes();
            unfinished.bytes -= partial.bytes();
        }
        let is_dropped = total > self.config.max_message_bytes;
        self.stats.over_budget += u64::from(is_dropped);
        let mut partial = Partial::new(total, is_dropped);
        partial.touched = pieces;
        self.held += partial.bytes();
        unfinished.bytes += partial.bytes();
        unfinished.partials.insert(message, partial);
        Some(())
    }

    fn insert(
        &mut self,
        now: Instant,
        peer: PeerId,
        message: u64,
        (offset, head, piece): (usize, Option<(Instant, Bytes)>, Bytes),
    ) -> Option<Joined> {
        let unfinished = self.peers.get_mut(&peer)?;
        let partial = unfinished.partials.get_mut(&message)?;
        let before = partial.bytes();
        if !partial.insert(offset, head, piece) {
            self.stats.malformed += 1;
        }
        let after = partial.bytes();
        self.held = self.held - before + after;
        unfinished.bytes = unfinished.bytes - before + after;
        if !partial.is_finished() {
            self.set_budget(self.budget);
            return None;
        }
        let partial = self.remove(peer, message)?;
        let is_dropped = partial.is_dropped;
        let Finished { head: (headed, head), body } = partial.finish()?;
        Some(match is_dropped {
            true => Joined::Dropped { head, start: body },
            false => Joined::Whole { head, waited: now.since(headed), body },
        })
    }

    /// Makes room at the cost of the peer that takes most: its largest message is given up, so that only its pieces are
    /// counted; if all of them are, it loses what was kept of their beginnings. False: there is nothing to give up.
    fn give_up_most(&mut self) -> bool {
        let Some((peer, unfinished)) = self.peers.iter_mut().max_by_key(|(_, unfinished)| unfinished.bytes) else {
            return false;
        };
        let whole = unfinished.partials.values_mut().filter(|partial| !partial.is_dropped);
        let Some(partial) = whole.max_by_key(|partial| partial.bytes()) else {
            let peer = *peer;
            self.stats.over_partials += unfinished.partials.len() as u64;
            self.held -= unfinished.bytes;
            self.peers.remove(&peer);
            return true;
        };
        let before = partial.bytes();
        partial.give_up();
        let freed = before.saturating_sub(partial.bytes());
        self.stats.over_budget += 1;
        self.held -= freed;
        unfinished.bytes -= freed;
        true
    }

    fn remove(&mut self, peer: PeerId, message: u64) -> Option<Partial> {
        let unfinished = self.peers.get_mut(&peer)?;
        let partial = unfinished.partials.remove(&message)?;
        self.held -= partial.bytes();
        unfinished.bytes -= partial.bytes();
        if unfinished.partials.is_empty() {
            self.peers.remove(&peer);
        }
        Some(partial)
    }
}

/// A message that got none of so many pieces never gets one: a sender's unacknowledged payloads span 65,536 numbers, before
/// and after one that is missing. Such a one is left by a payload that was cut to be sent again and had arrived whole.
const STALE_PIECES: u64 = 2 * 65_536;

fn decode(payload: Bytes) -> Result<Part, DecodeError> {
    let mut reader = Reader::new(payload);
    Ok(match reader.u8()? {
        WHOLE => Part::Whole { head: reader.bytes()?, body: reader.rest() },
        DROPPED => Part::Dropped { message: reader.varint()?, head: reader.bytes()? },
        PIECE => {
            let message = reader.varint()?;
            let (offset, total) = (length(&mut reader)?, length(&mut reader)?);
            let head = if offset == 0 { Some(reader.bytes()?) } else { None };
            Part::Piece { message, offset, total, head, piece: reader.rest() }
        }
        _ => return Err(DecodeError::Malformed("payload kind")),
    })
}

fn length(reader: &mut Reader) -> Result<usize, DecodeError> {
    usize::try_from(reader.varint()?).map_err(|_| DecodeError::Malformed("length"))
}
