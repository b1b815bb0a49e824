//! Which of several lanes gets what. Pure.

use serde::{Deserialize, Serialize};

/// How messages are shared among upstreams. Each stream of an upstream counts, so one with more streams gets more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Distribution {
    /// Each message goes to the stream with the fewest messages that wait or are not settled.
    LeastOutstanding,
    /// Each message goes to the next stream, so consecutive ones of a socket go to different upstreams.
    RoundRobin,
    /// All messages of a socket go to one stream, in order, until that fails; a new socket goes to the stream with the
    /// fewest sockets. The default.
    #[default]
    Sticky,
}

/// What counts in a choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// It can take a message now.
    pub(crate) has_room: bool,
    /// Messages that wait or are not settled.
    pub(crate) outstanding: usize,
    /// Sockets that stick to it.
    pub(crate) sockets: usize,
}

impl Distribution {
    /// Chooses among candidates; `turn` is the number of the choice. `None` if there are none, or for single messages if
    /// none has room.
    pub(crate) fn choose(self, turn: usize, candidates: &[Candidate]) -> Option<usize> {
        let start = turn % candidates.len().max(1);
        let in_turn = (start..candidates.len()).chain(0..start);
        let mut able = in_turn.filter_map(|at| candidates.get(at).map(|candidate| (at, candidate)));
        let chosen = match self {
            Self::RoundRobin => able.find(|(_, candidate)| candidate.has_room),
            Self::LeastOutstanding => {
                able.filter(|(_, candidate)| candidate.has_room).min_by_key(|(_, candidate)| candidate.outstanding)
            }
            Self::Sticky => able.min_by_key(|(_, candidate)| candidate.sockets),
        };
        chosen.map(|(at, _)| at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(of: &[(bool, usize, usize)]) -> Vec<Candidate> {
        of.iter().map(|&(has_room, outstanding, sockets)| Candidate { has_room, outstanding, sockets }).collect()
    }

    fn choices(distribution: Distribution, candidates: &[Candidate]) -> Vec<Option<usize>> {
        (0..4).map(|turn| distribution.choose(turn, candidates)).collect()
    }

    #[test]
    fn round_robin_takes_turns_and_passes_over_the_full() {
        let all = candidates(&[(true, 9, 9), (true, 0, 0), (true, 5, 5)]);
        assert_eq!(choices(Distribution::RoundRobin, &all), [Some(0), Some(1), Some(2), Some(0)]);
        let one_full = candidates(&[(true, 0, 0), (false, 0, 0), (true, 0, 0)]);
        assert_eq!(choices(Distribution::RoundRobin, &one_full), [Some(0), Some(2), Some(2), Some(0)]);
    }

    #[test]
    fn least_outstanding_takes_equal_ones_in_turn() {
        let all = candidates(&[(true, 3, 0), (true, 1, 0), (true, 1, 0), (false, 0, 0)]);
        assert_eq!(choices(Distribution::LeastOutstanding, &all), [Some(1), Some(1), Some(2), Some(1)]);
    }

    #[test]
    fn a_socket_sticks_where_the_fewest_do_even_if_that_is_full() {
        let all = candidates(&[(true, 0, 3), (false, 9, 1), (true, 0, 2)]);
        assert_eq!(choices(Distribution::Sticky, &all), [Some(1); 4]);
    }

    #[test]
    fn there_may_be_nothing_to_choose() {
        let full = candidates(&[(false, 0, 0); 2]);
        for distribution in [Distribution::LeastOutstanding, Distribution::RoundRobin, Distribution::Sticky] {
            assert_eq!(distribution.choose(7, &[]), None);
            assert_eq!(distribution.choose(7, &full).is_some(), distribution == Distribution::Sticky);
        }
    }
}
