//! What we send: our own announcements, and copies of others'.

use std::time::Duration;

use glue_net::wire::classic::{Announcement, Body, Codec, Container, Native};
use glue_net::wire::native::{Member, VERSION};
use glue_net::{Instant, PeerId, WallTime};

use crate::Config;
use crate::discovery::Discovery;
use crate::local::Local;
use crate::outbox::{Copies, Outgoing, Own, Purpose, Spread};
use crate::peers::Peer;

impl Discovery {
    /// Queues an announcement to every target: in JSON, and in MessagePack too where somebody may need it.
    pub(crate) fn announce(&mut self, purpose: Purpose) {
        let rate = self.interval;
        let is_messagepack_heard = self.peers.has_classic_messagepack();
        for &to in &self.config.targets {
            // A reference rendezvous never announces itself, and reads MessagePack only. So a unicast target gets both
            // until it turns out to be one of ours.
            let is_silent = !to.ip().is_multicast() && !self.peers.has_native_at(to);
            let both = is_messagepack_heard || is_silent;
            for source in self.local.sources(to) {
                for codec in codecs(both) {
                    let own = Own { purpose, to, source, target: Some(to), rate, codec };
                    self.outbox.push(own, &mut self.stats);
                }
            }
        }
    }

    /// Queues our announcement to one peer, and notes that it had one.
    pub(crate) fn send_own(&mut self, now: Instant, number: PeerId, own: Own) {
        if let Some(peer) = self.peers.get_mut(number) {
            peer.answered = Some(now);
        }
        self.outbox.push(own, &mut self.stats);
    }

    /// Queues a goodbye to each native peer, besides the one to the targets: not all of them hear those.
    pub(crate) fn say_goodbye(&mut self) {
        self.announce(Purpose::Goodbye);
        for (_, peer) in self.peers.iter().filter(|(_, p)| p.is_native()) {
            let Some(to) = peer.info.discovery else { continue };
            let Some(source) = self.local.source(to.ip()) else { continue };
            let (codec, rate) = (peer.codec, self.interval);
            let own = Own { purpose: Purpose::Goodbye, to, source, target: None, rate, codec };
            self.outbox.push(own, &mut self.stats);
        }
    }

    /// The next datagram, not encoded yet.
    pub(crate) fn next_outgoing(&mut self, now: Instant) -> Option<Outgoing> {
        if let Some(own) = self.outbox.pop() {
            return Some(self.own(now, own));
        }
        while let Some(copies) = self.outbox.pop_copies() {
            let outgoing = match copies {
                Copies::List(to) => self.next_of_list(now, to),
                Copies::Spread(spread) => self.next_of_spread(now, spread),
            };
            if outgoing.is_some() {
                self.stats.forwards_sent += 1;
                return outgoing;
            }
        }
        None
    }

    fn own(&mut self, now: Instant, own: Own) -> Outgoing {
        let counter = match own.purpose {
            Purpose::Announce => &mut self.stats.announcements_sent,
            Purpose::Answer => &mut self.stats.answers_sent,
            Purpose::Goodbye => &mut self.stats.goodbyes_sent,
            Purpose::Probe => &mut self.stats.probes_sent,
        };
        *counter += 1;
        let container = own_container(&self.config, self.clock.wall(now), &own);
        let member = self.config.public_key.map(|key| {
            self.announced += 1;
            Member { key: *key.as_bytes(), count: self.announced }
        });
        Outgoing { to: own.to, via: own.source.via, codec: own.codec, member, container }
    }

    fn next_of_list(&mut self, now: Instant, number: PeerId) -> Option<Outgoing> {
        let next = self.peers.get(number).filter(|to| to.unlisted > 0).and_then(|to| {
            let mut others = self.peers.around(to.cursor).filter(|(about, _)| *about != number);
            others.find_map(|(at, about)| Some((at, forward(now, about, to, &self.local)?)))
        });
        let to = self.peers.get_mut(number)?;
        let Some((cursor, outgoing)) = next else {
            to.unlisted = 0;
            return None;
        };
        to.cursor = cursor;
        to.unlisted -= 1;
        self.outbox.put_back(Copies::List(number));
        Some(outgoing)
    }

    fn next_of_spread(&mut self, now: Instant, spread: Spread) -> Option<Outgoing> {
        let about = self.peers.get(spread.about)?;
        let mut others = self.peers.askers_after(spread.last).filter(|(number, _)| *number != spread.about);
        let (last, outgoing) = others.find_map(|(number, to)| Some((number, forward(now, about, to, &self.local)?)))?;
        self.outbox.put_back(Copies::Spread(Spread { last, ..spread }));
        Some(outgoing)
    }
}

fn codecs(both: bool) -> impl Iterator<Item = Codec> {
    [Codec::Json, Codec::MessagePack].into_iter().take(if both { 2 } else { 1 })
}

fn own_container(config: &Config, sent: WallTime, own: &Own) -> Container {
    let goodbye = own.purpose == Purpose::Goodbye;
    Container {
        sent_timestamp: sent,
        last_sent_timestamp: WallTime::ZERO_TIME,
        sent_by: own.source.discovery.or(Some(own.source.listen)),
        sent_to: Some(own.to),
        received_timestamp: WallTime::ZERO_TIME,
        received_from: None,
        received_by: None,
        network_id: config.network,
        source_endpoint_id: config.id,
        source_endpoint_name: config.name.clone(),
        body: Body::Announcement(Announcement {
            sent_rate: if goodbye { GOODBYE_RATE } else { own.rate },
            listen_port: config.data_port,
            listen_addr: Some(own.source.listen),
            discovery_listen_addr: own.source.discovery,
            discovery_target_addr: own.target,
            forwarded: false,
            native: Some(Native { version: VERSION, incarnation: config.incarnation, capabilities: 0, goodbye }),
        }),
    }
}

/// What `to` is told of `about`; `None` if it is not ours to tell, or `to` does not want it.
fn forward(now: Instant, about: &Peer, to: &Peer, local: &Local) -> Option<Outgoing> {
    let ((member, container), address) = (about.forwardable(now)?, to.takes_forwards(now)?);
    let codec = about.codec_for(to)?;
    let source = local.source(address.ip())?;
    let mut container = container.clone();
    if let Body::Announcement(announcement) = &mut container.body {
        // The receiver hears it as often as it asks us, and only in one of so many turns.
        let rate = about.info.announce_interval.max(to.info.announce_interval);
        announcement.sent_rate = rate.saturating_mul(to.turns).min(*Config::INTERVALS.end());
        // A peer on our loopback is on our host: others reach it where they reach us.
        let us = local.towards(address.ip()).filter(|_| !address.ip().is_loopback()).map(|i| i.address);
        for named in [&mut announcement.listen_addr, &mut announcement.discovery_listen_addr] {
            if let (Some(named), Some(us)) = (named.as_mut().filter(|n| n.ip().is_loopback()), us) {
                named.set_ip(us);
            }
        }
    }
    Some(Outgoing { to: address, via: source.via, codec, member, container })
}

/// In a goodbye: a classic peer, which does not know of goodbyes, expires us at its next check.
const GOODBYE_RATE: Duration = Duration::from_nanos(1);
