//! What is checked, how far, and with which fault planted.

use crate::caches::Caches;
use crate::discovery::Announcers;
use crate::groups::Groups;
use crate::replay::{Progress, Report, check};
use crate::transport::Senders;

/// How much may happen. What is not bounded here can not happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Bounds {
    /// Faults in all: each loss, copy, hold, crash, departure, cut and loss of a session is one.
    pub faults: u8,
    /// Things under way that are lost.
    pub losses: u8,
    /// Things under way that come twice.
    pub copies: u8,
    /// Things under way that stay away, and come at any later time.
    pub holds: u8,
    /// For how long they do, in tenths of a second. 0 is without end.
    pub lateness: u8,
    /// Nodes that crash, leave or lose a session.
    pub crashes: u8,
    /// Nodes that start.
    pub starts: u8,
    /// Pairs that lose each other.
    pub cuts: u8,
    /// Messages of the applications.
    pub messages: u8,
    /// Times that the clock goes on to the next timer.
    pub ticks: u8,
}

impl Bounds {
    /// Nothing may happen.
    pub const NONE: Self = Self {
        faults: 0,
        losses: 0,
        copies: 0,
        holds: 0,
        lateness: 0,
        crashes: 0,
        starts: 0,
        cuts: 0,
        messages: 0,
        ticks: 0,
    };

    /// Takes one from a bound, and one from all faults.
    pub(crate) fn spend(&mut self, what: impl Fn(&mut Self) -> &mut u8) {
        let left = what(self);
        *left = left.saturating_sub(1);
        self.faults = self.faults.saturating_sub(1);
    }

    /// Sets a bound by its name; false if there is none of this name.
    pub fn set(&mut self, name: &str, value: u8) -> bool {
        let field = match name {
            "faults" => &mut self.faults,
            "losses" => &mut self.losses,
            "copies" => &mut self.copies,
            "holds" => &mut self.holds,
            "lateness" => &mut self.lateness,
            "crashes" => &mut self.crashes,
            "starts" => &mut self.starts,
            "cuts" => &mut self.cuts,
            "messages" => &mut self.messages,
            "ticks" => &mut self.ticks,
            _ => return false,
        };
        *field = value;
        true
    }
}

/// A fault planted to see a promise broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Flaw {
    /// Discovery: node 0 takes a peer for gone after one interval, not two.
    Hasty,
    /// Discovery: node 0 takes a peer for gone after four intervals only.
    Patient,
    /// Discovery: node 0 remembers nobody who has left.
    Forgetful,
    /// Discovery: node 2 counts its lives backwards.
    Backwards,
    /// Discovery: what node 0 is told of peers that are gone is dropped.
    Unheard,
    /// Discovery: node 0 never hears node 1 again once the faults have ended.
    Deaf,
    /// Transport: a copy of a datagram comes with other numbers, so that it is not known for a copy.
    Renumbered,
    /// Transport: nothing that is as long as a payload ever arrives at node 1.
    Hole,
    /// Transport: a receiver that hears of a new life does not end the session with the one before.
    Undead,
    /// Transport: node 1 says that its socket buffer is larger than it is.
    Boastful,
    /// Transport and groups: bytes are changed on their way.
    Changed,
    /// Topics: what was carried comes again.
    Again,
    /// Topics: the second thing that was carried to node 2 is lost.
    Swallowed,
    /// Topics: what subscriptions get is handed on in the wrong order.
    Swapped,
    /// Caches: nothing that caches tell arrives.
    Silent,
    /// Groups: a publisher takes a member for gone that is there.
    Slander,
    /// Groups: a member is handed more than its window.
    Greedy,
    /// Groups: all goes to one member.
    Favourite,
}

/// A check, with its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Plan {
    /// How much may happen.
    pub bounds: Bounds,
    /// What is planted.
    pub flaw: Option<Flaw>,
    /// The promise that is to be seen broken: the check ends with that.
    pub until: Option<&'static str>,
}

impl Plan {
    /// Without a planted fault.
    #[must_use]
    pub const fn new(bounds: Bounds) -> Self {
        Self { bounds, flaw: None, until: None }
    }

    /// With one, until this promise is broken.
    #[must_use]
    pub const fn with(self, flaw: Flaw, promise: &'static str) -> Self {
        Self { flaw: Some(flaw), until: Some(promise), ..self }
    }

    pub(crate) fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }
}

/// A check by name, with the bounds that tests go through.
#[derive(Clone, Copy)]
pub struct Check {
    /// Its name.
    pub name: &'static str,
    /// What happens in it.
    pub about: &'static str,
    /// How far tests go.
    pub bounds: Bounds,
    /// Goes through all states, on so many threads.
    pub run: fn(Plan, usize, &mut dyn FnMut(Progress)) -> Report,
}

impl std::fmt::Debug for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Check").field("name", &self.name).field("bounds", &self.bounds).finish_non_exhaustive()
    }
}

/// All checks. In `chain` and `late` nothing stays away for longer than the shortest wait of PROTOCOL.md, section 6.
pub const CHECKS: &[Check] = &[
    Check {
        name: "discovery",
        about: "three endpoints announce themselves, come late, crash, leave and start again",
        bounds: Bounds { faults: 1, losses: 1, copies: 1, holds: 1, crashes: 1, starts: 1, ticks: 12, ..Bounds::NONE },
        run: |plan, threads, tell| check::<Announcers>(plan, threads, tell),
    },
    Check {
        name: "transport",
        about: "one endpoint sends to two; datagrams are lost, doubled and late, it starts again, sessions are lost",
        bounds: Bounds {
            faults: 1,
            losses: 1,
            copies: 1,
            holds: 1,
            crashes: 1,
            starts: 1,
            messages: 2,
            ticks: 4,
            ..Bounds::NONE
        },
        run: |plan, threads, tell| check::<Senders<false>>(plan, threads, tell),
    },
    Check {
        name: "window",
        about: "one endpoint sends more at once than the receiver's window takes",
        bounds: Bounds { faults: 1, losses: 1, copies: 1, holds: 1, messages: 1, ticks: 3, ..Bounds::NONE },
        run: |plan, threads, tell| check::<Senders<true>>(plan, threads, tell),
    },
    Check {
        name: "caches",
        about: "a publisher, a cache and a subscriber that lose each other; the publisher dies",
        bounds: Bounds { faults: 2, holds: 1, crashes: 1, cuts: 1, messages: 2, ticks: 3, ..Bounds::NONE },
        run: |plan, threads, tell| check::<Caches<false>>(plan, threads, tell),
    },
    Check {
        name: "chain",
        about: "a publisher, two caches and a subscriber, each of which reaches its neighbours only",
        bounds: Bounds { faults: 1, holds: 1, lateness: 9, crashes: 1, cuts: 1, messages: 3, ticks: 4, ..Bounds::NONE },
        run: |plan, threads, tell| check::<Caches<true>>(plan, threads, tell),
    },
    Check {
        name: "late",
        about: "as caches, and the subscriber joins at any time",
        bounds: Bounds {
            faults: 3,
            holds: 1,
            lateness: 9,
            crashes: 1,
            starts: 1,
            cuts: 1,
            messages: 2,
            ticks: 3,
            ..Bounds::NONE
        },
        run: |plan, threads, tell| check::<Caches<false>>(plan, threads, tell),
    },
    Check {
        name: "groups",
        about: "a publisher and two members of a queue group, which crash, leave and are out of reach",
        bounds: Bounds { faults: 2, holds: 1, crashes: 1, cuts: 1, messages: 3, ticks: 2, ..Bounds::NONE },
        run: |plan, threads, tell| check::<Groups>(plan, threads, tell),
    },
];
