//! What waits to be sent: small jobs, each of which becomes one datagram or many when they are polled.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use glue_net::wire::classic::Codec;
use glue_net::wire::native::Member;
use glue_net::{PeerId, Via};

use crate::Config;
use crate::local::Source;
use crate::stats::Stats;

/// Others' announcements to pass on: many datagrams, one at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Copies {
    /// The others, to this peer. How many, and which are next, stands at the peer.
    List(PeerId),
    /// A newcomer, to all who take us as a target.
    Spread(Spread),
}

/// Our own announcement.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Own {
    pub(crate) purpose: Purpose,
    pub(crate) to: SocketAddr,
    pub(crate) source: Source,
    /// What it says that it was sent to; `None` makes it an answer or a probe between native endpoints.
    pub(crate) target: Option<SocketAddr>,
    /// How often the receiver can expect to hear it.
    pub(crate) rate: Duration,
    pub(crate) codec: Codec,
}

/// Why we announce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Announce,
    Answer,
    Goodbye,
    Probe,
}

/// The newcomer `about`, to all after `last`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    pub(crate) about: PeerId,
    pub(crate) last: PeerId,
}

/// One datagram, not encoded yet.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Outgoing {
    pub(crate) to: SocketAddr,
    pub(crate) via: Via,
    pub(crate) codec: Codec,
    /// In a private network: of whom it is.
    pub(crate) member: Option<Member>,
    pub(crate) container: glue_net::wire::classic::Container,
}

/// The jobs, and what may still be sent in this announce interval.
#[derive(Debug)]
pub(crate) struct Outbox {
    own: VecDeque<Own>,
    copies: VecDeque<Copies>,
    max_jobs: usize,
    budget: Budget,
}

#[derive(Clone, Copy, Debug)]
struct Budget {
    greetings: usize,
    answers: usize,
    forwards: usize,
}

impl Outbox {
    pub(crate) fn new(config: &Config) -> Self {
        Self { own: VecDeque::new(), copies: VecDeque::new(), max_jobs: config.max_jobs, budget: Budget::new(config) }
    }

    pub(crate) fn push(&mut self, own: Own, stats: &mut Stats) {
        if self.len() < self.max_jobs {
            self.own.push_back(own);
        } else {
            stats.jobs_dropped += 1;
        }
    }

    /// False if it was dropped.
    pub(crate) fn push_copies(&mut self, copies: Copies, stats: &mut Stats) -> bool {
        let has_room = self.len() < self.max_jobs;
        if has_room {
            self.copies.push_back(copies);
        } else {
            stats.jobs_dropped += 1;
        }
        has_room
    }

    pub(crate) fn pop(&mut self) -> Option<Own> {
        self.own.pop_front()
    }

    /// The copies to make next, while the budget lasts. They wait for the next interval then.
    pub(crate) fn pop_copies(&mut self) -> Option<Copies> {
        if self.budget.forwards == 0 {
            return None;
        }
        self.copies.pop_front()
    }

    /// Takes a copy out of the budget, and puts the rest of them back, behind those for others.
    pub(crate) fn put_back(&mut self, copies: Copies) {
        self.budget.forwards = self.budget.forwards.saturating_sub(1);
        self.copies.push_back(copies);
    }

    pub(crate) fn clear(&mut self) {
        self.own.clear();
        self.copies.clear();
    }

    /// A new announce interval begins.
    pub(crate) fn refill(&mut self, config: &Config, stats: &mut Stats) {
        if self.budget.forwards == 0 && !self.copies.is_empty() {
            stats.forwards_delayed += 1;
        }
        self.budget = Budget::new(config);
    }

    /// Takes one answer out of the budget; false if none is left.
    pub(crate) const fn take_answer(&mut self, is_greeting: bool) -> bool {
        let Budget { greetings, answers, .. } = self.budget;
        if answers == 0 || (is_greeting && greetings == 0) {
            return false;
        }
        self.budget.answers -= 1;
        if is_greeting {
            self.budget.greetings -= 1;
        }
        true
    }

    pub(crate) fn len(&self) -> usize {
        self.own.len() + self.copies.len()
    }
}

impl Budget {
    const fn new(config: &Config) -> Self {
        Self { greetings: config.max_greetings, answers: config.max_answers, forwards: config.forward_budget }
    }
}
