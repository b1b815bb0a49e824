//! What an announcement is answered with.

use std::net::SocketAddr;

use glue_net::{Instant, PeerId};

use crate::discovery::Discovery;
use crate::heard::{Heard, Reach};
use crate::outbox::{Copies, Own, Purpose, Spread};
use crate::peers::{PROBES_PER_INTERVAL, Peer};

impl Discovery {
    /// Answers the announcement of a peer that sent it itself.
    pub(crate) fn answer(&mut self, now: Instant, number: PeerId, is_new: bool, heard: &Heard) {
        self.answer_for_us(now, number, is_new, heard);
        if is_new {
            self.spread(number);
        }
        if heard.reach == Reach::Target {
            self.list(now, number, is_new);
        }
    }

    fn answer_for_us(&mut self, now: Instant, number: PeerId, is_new: bool, heard: &Heard) {
        let hears_us = self.hears_us(now, number, heard);
        // Who knows us and hears us needs no answer. Who is new and speaks to us alone has heard us: it answers or
        // probes. So two endpoints never answer each other's answers.
        let is_back = self.is_back(number) && heard.reach == Reach::Direct;
        let needs_none = if is_new { heard.reach == Reach::Direct } else { hears_us && !is_back };
        if needs_none {
            return;
        }
        let Some(to) = heard.discovery else { return self.announce_soon(now) };
        if !is_back && !self.may_answer(now, number, heard.reach) {
            self.stats.answers_limited += 1;
            return;
        }
        let is_greeting = is_new && matches!(heard.reach, Reach::Group(_));
        if !self.outbox.take_answer(is_greeting) {
            self.stats.answers_dropped += 1;
            return self.announce_soon(now);
        }
        let Some(source) = self.local.source(to.ip()) else { return };
        let own = self.interval;
        // Who does not hear our announcements hears us as often as it asks.
        let rate = if hears_us { own } else { own.max(heard.interval) };
        let target = answer_target(heard, to);
        let answer = Own { purpose: Purpose::Answer, to, source, target, rate, codec: heard.codec };
        self.send_own(now, number, answer);
    }

    /// Asks a silent native peer for a sign of life, by telling it ours. It keeps a pair together that only a
    /// rendezvous, now gone, had introduced.
    pub(crate) fn probe(&mut self, now: Instant, number: PeerId) {
        let (has_left, rate) = (self.has_left(), self.interval);
        let Some(peer) = self.peers.get_mut(number) else { return };
        peer.probed = Some(now);
        peer.unanswered += 1;
        if has_left {
            return;
        }
        let codec = peer.codec;
        let Some(to) = peer.info.discovery else { return };
        let Some(source) = self.local.source(to.ip()) else { return };
        self.send_own(now, number, Own { purpose: Purpose::Probe, to, source, target: None, rate, codec });
    }

    /// Whether our announcements to targets reach the sender.
    fn hears_us(&self, now: Instant, number: PeerId, heard: &Heard) -> bool {
        let targets = &self.config.targets;
        let is_target = || targets.iter().any(|t| *t == heard.from || Some(*t) == heard.discovery);
        match heard.reach {
            Reach::Group(Some(group)) => targets.contains(&group),
            Reach::Group(None) => targets.iter().any(|t| t.ip().is_multicast()),
            Reach::Target => is_target(),
            Reach::Direct => is_target() || self.is_answered_by(now, number),
        }
    }

    /// Whether what a peer said to us alone is its answer, and no probe, since we announced or probed it just now.
    fn is_answered_by(&self, now: Instant, number: PeerId) -> bool {
        let interval = self.config.announce_interval;
        let is_probed = self.peers.get(number).and_then(|p| p.probed).is_some_and(|at| at + interval / 2 > now);
        is_probed || self.announced_since(now, interval / PROBES_PER_INTERVAL)
    }

    /// Whether it was probed in vain until now: then what it says is a probe rather than an answer, and it may hear nothing
    /// else of us before we expire there. Each such silence is answered once.
    fn is_back(&mut self, number: PeerId) -> bool {
        let unanswered = self.peers.get_mut(number).map_or(0, |peer| std::mem::take(&mut peer.unanswered));
        unanswered >= PROBES_IN_VAIN
    }

    /// Two answers to a peer in an announce interval, and one to each probe: what answers cost is bounded by what
    /// announcements cost.
    fn may_answer(&self, now: Instant, number: PeerId, reach: Reach) -> bool {
        let Some(peer) = self.peers.get(number) else { return false };
        // Twice as often as probes come: one that is on its way for a moment less than the one before is no reason for silence.
        let per_interval = if reach == Reach::Direct { 2 * PROBES_PER_INTERVAL } else { 2 };
        peer.answered.is_none_or(|at| at + self.config.announce_interval / per_interval <= now)
    }

    /// Tells those who take us as a target of a newcomer at once.
    fn spread(&mut self, about: PeerId) {
        let spread = Spread { about, last: PeerId(0) };
        self.outbox.push_copies(Copies::Spread(spread), &mut self.stats);
    }

    /// Tells one who takes us as a target of the others: of the next few each time, and of all when it is new or when
    /// there are now more turns than it was told, as the others would else expire there before their turn comes.
    fn list(&mut self, now: Instant, number: PeerId, is_new: bool) {
        let turns = self.turns();
        let half = self.config.announce_interval / 2;
        let Some(peer) = self.peers.get_mut(number) else { return };
        if peer.listed.is_some_and(|at| at + half > now) {
            return;
        }
        peer.listed = Some(now);
        let of_all = is_new || turns > peer.turns;
        // Fewer turns are told late, so that a number of peers near the edge does not bring all of them again and again.
        if of_all || turns < peer.turns / 2 {
            peer.turns = turns;
        }
        let Some(to) = self.peers.get(number) else { return };
        let is_told = |about: &Peer| about.forwardable(now).is_some() && about.codec_for(to).is_some();
        let known = self.peers.iter().filter(|(n, about)| *n != number && is_told(about)).count();
        let wanted = if of_all { known } else { known.min(self.config.max_forwards) };
        // What is left of the list before is on its way still.
        let is_under_way = to.unlisted > 0;
        let is_queued = is_under_way || (wanted > 0 && self.outbox.push_copies(Copies::List(number), &mut self.stats));
        if let Some(to) = self.peers.get_mut(number).filter(|_| is_queued) {
            to.unlisted = to.unlisted.max(wanted);
        }
    }

    /// Into how many turns the list of all peers is divided: a power of two, so that it seldom changes.
    fn turns(&self) -> u32 {
        let turns = self.peers.len().div_ceil(self.config.max_forwards).next_power_of_two();
        u32::try_from(turns).unwrap_or(u32::MAX)
    }
}

/// What an answer says that it was sent to. Between native endpoints nothing, which marks it. A classic peer takes a
/// unicast target for the wish to know of everybody, so one heard on a group is answered as if on the group.
fn answer_target(heard: &Heard, to: SocketAddr) -> Option<SocketAddr> {
    match heard.reach {
        _ if heard.is_native() => None,
        Reach::Group(Some(group)) => Some(group),
        Reach::Group(None) | Reach::Target | Reach::Direct => Some(to),
    }
}

/// One probe is often lost, or is answered late. Where two were not answered the way may have been cut.
const PROBES_IN_VAIN: u32 = 2;
