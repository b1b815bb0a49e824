//! What the head of a cargo says of the run that it belongs to.
//!
//! A peer that never asked for history gets runs whose numbers ascend, so only their first cargo says something. Once it
//! has asked, a run may begin below what an earlier one has brought: then every cargo names its run, by the barrier. Until the
//! peer is known to have heard of the run each also says how it begins: the first may be lost with its publisher.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use glue_net::wire::{DecodeError, Reader, put_varint, varint_len};

use crate::subscriptions::SubscriptionId;

/// How a head marks the run that its cargo belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mark {
    /// It goes on with a run that is known by its numbers.
    #[default]
    Plain,
    /// The first of a run, and how many ends the peer must have seen before.
    Start(u64),
    /// Of the run with this barrier.
    Of(u64),
    /// The first of such a run. Elsewhere, since every cargo of every peer has room for a mark: 4 % of a fan-out.
    StartOf(Arc<Opening>),
    /// Of such a run, which the peer may not have heard of.
    Within(Arc<Opening>),
}

/// How a named run begins. All its cargo shares it, until one is acknowledged.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) barrier: u64,
    pub(crate) splice: Splice,
    is_heard: AtomicBool,
}

impl Opening {
    pub(crate) fn new(barrier: u64, splice: Splice) -> Arc<Self> {
        Arc::new(Self { barrier, splice, is_heard: AtomicBool::new(false) })
    }
}

impl PartialEq for Opening {
    fn eq(&self, other: &Self) -> bool {
        (self.barrier, self.splice) == (other.barrier, other.splice)
    }
}

impl Eq for Opening {}

/// Where a run joins history to what is published live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Splice {
    /// The first number that a subscription may get: the first bundle may begin below it.
    pub(crate) begin: u64,
    /// The first number that was published after the run began.
    pub(crate) live: u64,
    /// The newest subscription whose wish was known when the run began; 0: none.
    pub(crate) asked: SubscriptionId,
}

impl Mark {
    /// How the next cargo of a named run is marked.
    pub(crate) fn next_of(opening: &Arc<Opening>, is_first: bool) -> Self {
        if is_first {
            Self::StartOf(Arc::clone(opening))
        } else if opening.is_heard.load(Ordering::Relaxed) {
            Self::Of(opening.barrier)
        } else {
            Self::Within(Arc::clone(opening))
        }
    }

    /// What has this mark arrived.
    pub(crate) fn acknowledge(&self) {
        if let Self::StartOf(opening) | Self::Within(opening) = self {
            opening.is_heard.store(true, Ordering::Relaxed);
        }
    }

    /// The barrier, if it is the first of its run.
    pub(crate) fn start(&self) -> Option<u64> {
        match self {
            Self::Start(barrier) => Some(*barrier),
            Self::StartOf(opening) => Some(opening.barrier),
            Self::Plain | Self::Of(_) | Self::Within(_) => None,
        }
    }

    /// The barrier, if it names its run.
    pub(crate) fn name(&self) -> Option<u64> {
        match self {
            Self::Of(barrier) => Some(*barrier),
            Self::StartOf(opening) | Self::Within(opening) => Some(opening.barrier),
            Self::Plain | Self::Start(_) => None,
        }
    }

    /// How its run begins, if it says.
    pub(crate) fn splice(&self) -> Option<Splice> {
        match self {
            Self::StartOf(opening) | Self::Within(opening) => Some(opening.splice),
            Self::Plain | Self::Start(_) | Self::Of(_) => None,
        }
    }

    /// Whether what has this mark may follow what has the mark `before` in one cargo.
    pub(crate) fn follows(&self, before: &Self) -> bool {
        self.start().is_none() && self.name() == before.name()
    }

    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Plain => out.push(0),
            Self::Start(barrier) => {
                out.push(FLAG_START);
                put_varint(out, *barrier);
            }
            Self::Of(barrier) => {
                out.push(FLAG_NAMED);
                put_varint(out, *barrier);
            }
            Self::StartOf(opening) | Self::Within(opening) => {
                let which = if self.start().is_some() { FLAG_START } else { FLAG_WITHIN };
                out.push(FLAG_NAMED | which);
                let Splice { begin, live, asked } = opening.splice;
                [opening.barrier, begin, live, asked.0].into_iter().for_each(|number| put_varint(out, number));
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Plain => 1,
            Self::Start(barrier) | Self::Of(barrier) => 1 + varint_len(*barrier),
            Self::StartOf(opening) | Self::Within(opening) => {
                let Splice { begin, live, asked } = opening.splice;
                1 + varint_len(opening.barrier) + varint_len(begin) + varint_len(live) + varint_len(asked.0)
            }
        }
    }

    pub(crate) fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        let flags = reader.u8()?;
        if flags & (FLAG_START | FLAG_NAMED) == 0 {
            return Ok(Self::Plain);
        }
        let barrier = reader.varint()?;
        if flags & FLAG_NAMED == 0 {
            return Ok(Self::Start(barrier));
        }
        let is_start = flags & FLAG_START != 0;
        if !is_start && flags & FLAG_WITHIN == 0 {
            return Ok(Self::Of(barrier));
        }
        let (begin, live, asked) = (reader.varint()?, reader.varint()?, SubscriptionId(reader.varint()?));
        if begin > live {
            return Err(DecodeError::Malformed("a run's begin"));
        }
        let opening = Opening::new(barrier, Splice { begin, live, asked });
        Ok(if is_start { Self::StartOf(opening) } else { Self::Within(opening) })
    }
}

const FLAG_START: u8 = 1;
const FLAG_NAMED: u8 = 2;
const FLAG_WITHIN: u8 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_read_back() {
        let splice = Splice { begin: 3, live: 400, asked: SubscriptionId(70) };
        let opening = || Opening::new(1, splice);
        for mark in [Mark::Plain, Mark::Start(9), Mark::Of(300), Mark::StartOf(opening()), Mark::Within(opening())] {
            let mut out = Vec::new();
            mark.put(&mut out);
            assert_eq!(out.len(), mark.len());
            assert_eq!(Mark::read(&mut Reader::new(out.into())), Ok(mark));
        }
        let lie = Mark::StartOf(Opening::new(1, Splice { begin: 5, live: 4, ..splice }));
        let mut out = Vec::new();
        lie.put(&mut out);
        assert!(Mark::read(&mut Reader::new(out.into())).is_err());
    }

    #[test]
    fn how_a_run_begins_is_said_until_it_was_heard() {
        let opening = Opening::new(1, Splice::default());
        let first = Mark::next_of(&opening, true);
        let second = Mark::next_of(&opening, false);
        assert_eq!((first.start(), second.start()), (Some(1), None));
        assert_eq!((first.splice(), second.splice()), (Some(Splice::default()), Some(Splice::default())));
        assert_eq!(Mark::next_of(&opening, false), second);
        second.acknowledge();
        assert_eq!(Mark::next_of(&opening, false), Mark::Of(1));
        assert!(Mark::next_of(&opening, false).follows(&second));
    }
}
