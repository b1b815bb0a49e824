//! One classic peer: a frame a datagram, an ack a frame, the same frame sent again until its ack comes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use glue_net::wire::classic::{Body, Codec, Container, FRAGMENT_BYTES, Frame, Ksuid};
use glue_net::{Chain, EndpointId, Instant, Payload, Rng, WallTime};

use crate::config::Config;
use crate::outbox::{Outbox, SWEEP_INTERVAL};
use crate::rtt::Rtt;
use crate::stats::PeerStats;
use crate::transport::Local;

/// A classic peer. The last 8 bytes of a frame id that we make are the payload's number.
#[derive(Debug)]
pub(crate) struct Classic<P> {
    pub(crate) outbox: Outbox<P>,
    pub(crate) stats: PeerStats,
    codec: Codec,
    id: EndpointId,
    name: String,
    /// What our ids share: 4 bytes of time and 8 random ones.
    prefix: [u8; 12],
    flight: BTreeMap<u64, Sent>,
    due: BTreeSet<(Instant, u64)>,
    acks: VecDeque<(Ksuid, Ksuid)>,
    seen: Recent,
    rtt: Rtt,
    sweep_at: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    at: Instant,
    due: Instant,
    times: u32,
}

impl<P: Payload> Classic<P> {
    pub(crate) fn new(
        config: &Config,
        codec: Codec,
        id: EndpointId,
        name: String,
        wall: WallTime,
        rng: &mut Rng,
    ) -> Self {
        let fresh = EndpointId::random(wall, rng);
        let mut prefix = [0; 12];
        prefix.iter_mut().zip(fresh.as_bytes()).for_each(|(to, from)| *to = *from);
        Self {
            outbox: Outbox::default(),
            stats: PeerStats::default(),
            codec,
            id,
            name,
            prefix,
            flight: BTreeMap::new(),
            due: BTreeSet::new(),
            acks: VecDeque::new(),
            seen: Recent::default(),
            rtt: Rtt::new(config.initial_rtt),
            sweep_at: None,
        }
    }

    pub(crate) fn send(&mut self, now: Instant, config: &Config, payload: P) {
        if self.outbox.bytes() + payload.encoded_len() > config.max_queue_bytes {
            self.stats.dropped_full += 1;
            return;
        }
        self.outbox.push(payload);
        self.sweep_at.get_or_insert(now + SWEEP_INTERVAL);
    }

    /// See [`Outbox::shed`]. There is no classic notice of what was skipped, so that nothing is left.
    pub(crate) fn shed(&mut self) -> u64 {
        let count = self.outbox.shed();
        self.stats.dropped_full += count;
        count
    }

    /// Takes a frame. Returns it if it is data that did not come before.
    pub(crate) fn handle_frame(&mut self, now: Instant, frame: Frame) -> Option<Frame> {
        self.stats.packets_received += 1;
        self.stats.bytes_received += frame.payload.len() as u64;
        if frame.is_ack {
            self.handle_ack(now, frame.frame_id);
            return None;
        }
        if frame.needs_ack && self.acks.len() < MAX_ACKS {
            self.acks.push_back((frame.frame_id, frame.correlation_id));
        }
        if !self.seen.insert(frame.frame_id) {
            self.stats.duplicate_payloads += 1;
            return None;
        }
        Some(frame)
    }

    fn handle_ack(&mut self, now: Instant, id: Ksuid) {
        let Some((prefix, number)) = id.0.split_first_chunk::<12>() else { return };
        let number = <[u8; 8]>::try_from(number).map(u64::from_be_bytes);
        let Ok(number) = number else { return };
        if *prefix != self.prefix {
            self.stats.malformed_frames += 1;
            return;
        }
        let Some(sent) = self.flight.remove(&number) else { return };
        self.due.remove(&(sent.due, number));
        // Karn: the ack of a frame sent twice does not say which of them it answers.
        if sent.times == 1 {
            self.rtt.sample(now.since(sent.at), Duration::ZERO);
        }
        self.outbox.acknowledge(number);
    }

    pub(crate) const fn sweep_at(&self) -> Option<Instant> {
        self.sweep_at
    }

    pub(crate) fn timeout(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at).into_iter().chain(self.sweep_at).min()
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        while let Some((at, number)) = self.due.first().copied().filter(|(at, _)| *at <= now) {
            self.due.remove(&(at, number));
            self.stats.packets_lost += 1;
            self.outbox.lose(number);
        }
        if self.sweep_at.is_some_and(|at| at <= now) {
            self.outbox.sweep(now);
            self.sweep_at = self.outbox.needs_sweep().then_some(now + SWEEP_INTERVAL);
        }
    }

    /// Frames may wait for an ack no longer than this before the next is sent.
    pub(crate) fn poll_transmit(&mut self, now: Instant, local: &Local, config: &Config, chain: &mut Chain) -> bool {
        let out = chain.written();
        if let Some((frame_id, correlation_id)) = self.acks.pop_front() {
            let ack = Frame { frame_id, correlation_id, fragment_count: 1, is_ack: true, ..Frame::default() };
            self.put(now, local, ack, out);
            return true;
        }
        while let Some(number) = self.next_number(now, config) {
            let mut frame = Frame { fragment_count: 1, needs_ack: true, ..Frame::default() };
            let filled = self.outbox.get(number).is_some_and(|payload| payload.fill_frame(&mut frame));
            if !filled {
                // Expired, or nothing that a classic peer understands.
                self.forget(number);
                continue;
            }
            let Ksuid(counter) = frame.correlation_id;
            frame.correlation_id = self.ksuid(<[u8; 8]>::try_from(counter.split_at(12).1).unwrap_or_default());
            frame.frame_id = self.ksuid(number.to_be_bytes());
            frame.resend_period = self.rtt.probe_timeout(Duration::ZERO);
            frame.resend_expiry = RESEND_EXPIRY;
            self.note_sent(now, config, number);
            self.put(now, local, frame, out);
            return true;
        }
        false
    }

    fn next_number(&mut self, now: Instant, config: &Config) -> Option<u64> {
        if let Some(number) = self.outbox.next_resend(now, usize::MAX, usize::MAX) {
            return Some(number);
        }
        if self.flight.len() >= config.classic_window_frames || !self.outbox.has_numbers() {
            return None;
        }
        self.outbox.next_urgent(usize::MAX).or_else(|| self.outbox.next_queued(now, FRAGMENT_BYTES, FRAGMENT_BYTES))
    }

    fn note_sent(&mut self, now: Instant, config: &Config, number: u64) {
        let times = self.flight.get(&number).map_or(0, |sent| sent.times) + 1;
        let wait = self.rtt.probe_timeout(config.max_ack_delay) * 2u32.saturating_pow(times - 1);
        let due = now + wait.min(config.max_probe_interval);
        if times > 1 {
            self.stats.payloads_resent += 1;
        }
        self.flight.insert(number, Sent { at: now, due, times });
        self.due.insert((due, number));
    }

    fn forget(&mut self, number: u64) {
        if let Some(sent) = self.flight.remove(&number) {
            self.due.remove(&(sent.due, number));
        }
        self.outbox.acknowledge(number);
    }

    fn put(&mut self, now: Instant, local: &Local, frame: Frame, out: &mut Vec<u8>) {
        let wall = local.clock.wall(now);
        let container = Container {
            sent_timestamp: wall,
            last_sent_timestamp: wall,
            sent_by: None,
            sent_to: None,
            received_timestamp: WallTime::ZERO_TIME,
            received_from: None,
            received_by: None,
            network_id: local.network,
            source_endpoint_id: local.id,
            source_endpoint_name: local.name.clone(),
            body: Body::Frame(Frame {
                destination_endpoint_id: self.id,
                destination_endpoint_name: self.name.clone(),
                ..frame
            }),
        };
        let start = out.len();
        container.encode(self.codec, out);
        self.stats.packets_sent += 1;
        self.stats.bytes_sent += (out.len() - start) as u64;
    }

    fn ksuid(&self, counter: [u8; 8]) -> Ksuid {
        let mut id = [0; 20];
        id.iter_mut().zip(self.prefix.into_iter().chain(counter)).for_each(|(to, from)| *to = from);
        Ksuid(id)
    }

    pub(crate) fn stats(&self) -> PeerStats {
        PeerStats {
            expired: self.outbox.expired(),
            queue_bytes: self.outbox.bytes(),
            rtt: self.rtt.smoothed(),
            min_rtt: self.rtt.min(),
            datagram_bytes: FRAGMENT_BYTES,
            ..self.stats
        }
    }
}

/// The frame ids that came last.
#[derive(Debug, Default)]
struct Recent {
    set: BTreeSet<Ksuid>,
    order: VecDeque<Ksuid>,
}

impl Recent {
    /// Adds an id; false if it was there.
    fn insert(&mut self, id: Ksuid) -> bool {
        if !self.set.insert(id) {
            return false;
        }
        self.order.push_back(id);
        if self.order.len() > MAX_RECENT {
            self.order.pop_front().inspect(|old| {
                self.set.remove(old);
            });
        }
        true
    }
}

/// Acks that wait to be sent to one peer; more are not worth sending, the peer sends the frame again.
const MAX_ACKS: usize = 4_096;
/// Frame ids remembered. The reference sends a frame again for half a second; 8,192 frames are more than it sends in
/// that time.
const MAX_RECENT: usize = 8_192;
/// As the reference says; ours are sent again until they expire.
const RESEND_EXPIRY: Duration = Duration::from_millis(500);
