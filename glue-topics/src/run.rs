//! What the head of a cargo says of the run that it belongs to.
//!
//! A peer that never asked for history gets runs whose numbers ascend, so only their first cargo says something. Once it
//! has asked, a run may begin below what an earlier one has brought: then every cargo names its run, by the barrier.

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
    /// The first of such a run. Boxed, since every cargo of every peer has room for a mark: 4 % of a fan-out.
    StartOf(Box<(u64, Splice)>),
}

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
    /// The barrier, if it is the first of its run.
    pub(crate) fn start(&self) -> Option<u64> {
        match self {
            Self::Start(barrier) => Some(*barrier),
            Self::StartOf(start) => Some(start.0),
            Self::Plain | Self::Of(_) => None,
        }
    }

    /// The barrier, if it names its run.
    pub(crate) fn name(&self) -> Option<u64> {
        match self {
            Self::Of(barrier) => Some(*barrier),
            Self::StartOf(start) => Some(start.0),
            Self::Plain | Self::Start(_) => None,
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
            Self::StartOf(start) => {
                let (barrier, Splice { begin, live, asked }) = **start;
                out.push(FLAG_NAMED | FLAG_START);
                [barrier, begin, live, asked.0].into_iter().for_each(|number| put_varint(out, number));
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Plain => 1,
            Self::Start(barrier) | Self::Of(barrier) => 1 + varint_len(*barrier),
            Self::StartOf(start) => {
                let (barrier, Splice { begin, live, asked }) = **start;
                1 + varint_len(barrier) + varint_len(begin) + varint_len(live) + varint_len(asked.0)
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
        if flags & FLAG_START == 0 {
            return Ok(Self::Of(barrier));
        }
        let (begin, live, asked) = (reader.varint()?, reader.varint()?, SubscriptionId(reader.varint()?));
        if begin > live {
            return Err(DecodeError::Malformed("a run's begin"));
        }
        Ok(Self::StartOf(Box::new((barrier, Splice { begin, live, asked }))))
    }
}

const FLAG_START: u8 = 1;
const FLAG_NAMED: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_read_back() {
        let splice = Splice { begin: 3, live: 400, asked: SubscriptionId(70) };
        for mark in [Mark::Plain, Mark::Start(9), Mark::Of(300), Mark::StartOf(Box::new((1, splice)))] {
            let mut out = Vec::new();
            mark.put(&mut out);
            assert_eq!(out.len(), mark.len());
            assert_eq!(Mark::read(&mut Reader::new(out.into())), Ok(mark));
        }
        let lie = Mark::StartOf(Box::new((1, Splice { begin: 5, live: 4, ..splice })));
        let mut out = Vec::new();
        lie.put(&mut out);
        assert!(Mark::read(&mut Reader::new(out.into())).is_err());
    }
}
