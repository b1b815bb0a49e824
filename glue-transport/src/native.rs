//! One native peer: a session, what goes out and what comes in.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use glue_net::wire::native::{self, Hello};
use glue_net::wire::{DecodeError, Reader};
use glue_net::{EndpointId, Incarnation, Instant, Payload, Rng};

use crate::config::Config;
use crate::congestion::Congestion;
use crate::dedup::Mark;
use crate::flight::{Flight, Packet};
use crate::frame::{self, AckRanges, Frame};
use crate::inbox::Inbox;
use crate::outbox::{MIN_PART_BYTES, Outbox, SWEEP_INTERVAL};
use crate::path::Path;
use crate::rtt::Rtt;
use crate::session::{Greeting, Session};
use crate::stats::PeerStats;
use crate::transport::Local;
use crate::weight::weight;

/// A native peer.
#[derive(Debug)]
pub(crate) struct Native<P> {
    identity: (EndpointId, Incarnation),
    pub(crate) session: Session,
    pub(crate) outbox: Outbox<P>,
    pub(crate) inbox: Inbox,
    pub(crate) stats: PeerStats,
    pub(crate) path: Path,
    flight: Flight,
    rtt: Rtt,
    congestion: Congestion,
    datagram_bytes: usize,
    /// What the peer takes.
    remote: Remote,
    /// Bytes of payload sent for the first time, in all.
    credit_used: u64,
    loss_at: Option<Instant>,
    probe_at: Option<Instant>,
    sweep_at: Option<Instant>,
    last_eliciting: Instant,
    /// When a datagram was asked for last.
    polled_at: Instant,
    /// Probes since the last ack.
    probes: u32,
    /// Packets that may leave whatever the window says.
    probes_due: u8,
    ping_due: bool,
}

/// The limits that the peer announced.
#[derive(Clone, Copy, Debug, Default)]
struct Remote {
    credit: u64,
    window: u64,
    max_datagram: usize,
}

/// A datagram being filled.
struct Draft {
    start: usize,
    end: usize,
    first_fresh: u64,
    resent: Vec<u64>,
    eliciting: bool,
    credit: bool,
}

impl<P: Payload> Native<P> {
    pub(crate) fn new(
        now: Instant,
        config: &Config,
        identity: (EndpointId, Incarnation),
        address: SocketAddr,
        rng: &mut Rng,
    ) -> Self {
        let datagram_bytes = path_datagram_bytes(config, address);
        Self {
            identity,
            session: Session::new(now, rng),
            outbox: Outbox::default(),
            inbox: Inbox::new(config.receive_window_bytes),
            stats: PeerStats::default(),
            path: Path::default(),
            flight: Flight::default(),
            rtt: Rtt::new(config.initial_rtt),
            congestion: Congestion::new(datagram_bytes as u64, address.ip().is_loopback()),
            datagram_bytes,
            remote: Remote::default(),
            credit_used: 0,
            loss_at: None,
            probe_at: None,
            sweep_at: None,
            last_eliciting: now,
            polled_at: now,
            probes: 0,
            probes_due: 0,
            ping_due: false,
        }
    }

    pub(crate) fn set_address(&mut self, now: Instant, config: &Config, address: SocketAddr) {
        self.datagram_bytes = path_datagram_bytes(config, address);
        self.congestion.move_to(now, self.datagram_bytes as u64, address.ip().is_loopback());
    }

    /// Bytes of payload that one datagram takes in any case.
    pub(crate) fn room(&self) -> usize {
        self.most_bytes().saturating_sub(RESERVED_BYTES)
    }

    /// Whether a payload handed over now would leave at once. While packets are under way, a payload that does not fill
    /// a datagram is better kept for company, for a short time.
    pub(crate) fn is_hungry(&self, now: Instant) -> bool {
        let is_free = !self.flight.is_eliciting() || self.last_eliciting + HOLD <= now;
        is_free && self.session.remote().is_some() && self.outbox.is_drained() && self.window_is_open()
    }

    /// The path was silent and may be back: probes at once.
    pub(crate) fn resume(&mut self, now: Instant) {
        self.session.remind(now);
        self.probes = 0;
        if self.flight.is_eliciting() {
            self.probe_at = Some(now);
        }
    }

    /// Whether nobody has answered for some probes, so that a new address of the peer is believed.
    pub(crate) const fn is_silent(&self) -> bool {
        self.probes >= 2
    }

    /// Until when nothing needs to be done for a peer that is out of reach.
    pub(crate) const fn sweep_at(&self) -> Option<Instant> {
        self.sweep_at
    }

    pub(crate) fn timeout(&self) -> Option<Instant> {
        // Without the peer's token nothing but a hello can be sent.
        let ack_at = self.session.remote().and_then(|_| self.inbox.ack_at());
        // A pace that holds back nothing needs no timer.
        let pace_at = Some(self.congestion.next_at()).filter(|_| !self.outbox.is_drained() && self.window_is_open());
        let pace_at = pace_at.filter(|at| *at > self.polled_at);
        let timers = [self.session.hello_at(), ack_at, self.loss_at, self.probe_at, self.sweep_at, pace_at];
        timers.into_iter().flatten().min()
    }

    pub(crate) fn send(&mut self, now: Instant, config: &Config, mut payload: P) {
        if self.outbox.bytes() + payload.encoded_len() > config.max_queue_bytes && !payload.is_urgent() {
            payload.expire();
            self.stats.dropped_full += 1;
        }
        self.outbox.push(payload);
        self.sweep_at.get_or_insert(now + SWEEP_INTERVAL);
    }

    pub(crate) fn handle_hello(&mut self, now: Instant, hello: &Hello) -> Greeting {
        let greeting = self.session.handle_hello(now, hello);
        if let Greeting::Opened { rtt } = greeting {
            self.remote.credit = hello.credit;
            self.remote.window = hello.window;
            self.remote.max_datagram = usize::try_from(hello.max_datagram).unwrap_or(usize::MAX);
            if let Some(rtt) = rtt {
                self.rtt.sample(rtt, Duration::ZERO);
            }
        }
        greeting
    }

    /// Takes the frames of a packet; hands each new payload to `deliver`.
    pub(crate) fn handle_packet(
        &mut self,
        now: Instant,
        config: &Config,
        number: u64,
        frames: Bytes,
        deliver: impl FnMut(Bytes),
    ) {
        self.session.handle_use();
        if !self.inbox.handle_packet(now, number) {
            self.stats.duplicate_packets += 1;
            return;
        }
        self.stats.packets_received += 1;
        self.stats.bytes_received += frames.len() as u64;
        if self.handle_frames(now, config, Reader::new(frames), deliver).is_err() {
            self.stats.malformed_frames += 1;
        }
    }

    fn handle_frames(
        &mut self,
        now: Instant,
        config: &Config,
        mut reader: Reader,
        mut deliver: impl FnMut(Bytes),
    ) -> Result<(), DecodeError> {
        let mut eliciting = false;
        let mut ack_now = false;
        while let Some(frame) = Frame::decode(&mut reader)? {
            eliciting |= !matches!(frame, Frame::Ack { .. });
            match frame {
                Frame::Ack { delay, ranges } => self.handle_ack(now, config, delay.min(config.max_ack_delay), &ranges),
                Frame::AckNow => ack_now = true,
                Frame::Credit { limit, window } => self.handle_credit(limit, window),
                Frame::Payload { number, body } => self.handle_payload(number, body, &mut deliver),
                Frame::Ping => {}
            }
        }
        if eliciting {
            self.inbox.want_ack(now, config.max_ack_delay);
        }
        if ack_now {
            self.inbox.want_ack_now(now);
        }
        Ok(())
    }

    fn handle_payload(&mut self, number: u64, body: Bytes, deliver: &mut impl FnMut(Bytes)) {
        match self.inbox.handle_payload(number, body.len()) {
            Mark::New => deliver(body),
            Mark::Duplicate => self.stats.duplicate_payloads += 1,
            Mark::TooFar => self.stats.over_credit += 1,
        }
    }

    fn handle_credit(&mut self, limit: u64, window: u64) {
        // Credits may come out of order; the highest holds. The window is a state: the latest that came holds.
        self.remote.credit = self.remote.credit.max(limit);
        self.remote.window = window;
    }

    fn handle_ack(&mut self, now: Instant, config: &Config, delay: Duration, ranges: &AckRanges) {
        let Some(highest) = ranges.first().map(|range| *range.end()) else { return };
        if !self.flight.was_sent(highest) {
            self.stats.malformed_frames += 1;
            return;
        }
        if self.probes >= PERSISTENT_PROBES {
            self.congestion.restart(now);
        }
        let newest = self.flight.get(highest).map(|packet| packet.stamp);
        if let Some(stamp) = newest {
            self.rtt.sample(now.since(stamp.sent_at), delay);
        }
        let (outbox, mut bytes) = (&mut self.outbox, 0);
        for range in ranges {
            self.flight.acknowledge(range, |_, packet| {
                packet.numbers().for_each(|number| outbox.acknowledge(number));
                bytes += packet.bytes as u64;
            });
        }
        if let Some(stamp) = newest {
            self.congestion.handle_acks(now, bytes, &stamp, self.rtt.latest(), self.flight.bytes());
        }
        self.probes = 0;
        self.detect_losses(now);
        self.arm_probe(config);
    }

    fn detect_losses(&mut self, now: Instant) {
        let before = self.stats.packets_lost;
        let (outbox, stats, inbox) = (&mut self.outbox, &mut self.stats, &mut self.inbox);
        self.loss_at = self.flight.take_lost(now, self.rtt.loss_delay(), |packet| {
            stats.packets_lost += 1;
            packet.numbers().for_each(|number| {
                outbox.lose(number);
            });
            if packet.credit {
                inbox.renew_credit();
            }
        });
        if self.stats.packets_lost > before {
            self.congestion.handle_loss(self.rtt.latest(), self.flight.bytes());
        }
    }

    fn arm_probe(&mut self, config: &Config) {
        let wait = self.rtt.probe_timeout(config.max_ack_delay) * 2u32.saturating_pow(self.probes);
        let at = self.last_eliciting + wait.min(config.max_probe_interval);
        self.probe_at = self.flight.is_eliciting().then_some(at);
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant, config: &Config) {
        if self.loss_at.is_some_and(|at| at <= now) {
            self.detect_losses(now);
        }
        if self.probe_at.is_some_and(|at| at <= now) {
            self.probe(now, config);
        }
        if self.sweep_at.is_some_and(|at| at <= now) {
            self.stats.expired += self.outbox.sweep(now);
            self.sweep_at = self.outbox.has_queued().then_some(now + SWEEP_INTERVAL);
        }
    }

    /// Sends what waits longest for its ack again, without declaring it lost (RFC 9002, section 6.2.4).
    fn probe(&mut self, now: Instant, config: &Config) {
        self.probes = self.probes.saturating_add(1);
        self.probes_due = PROBE_PACKETS;
        if self.is_silent() {
            self.session.remind(now);
        }
        let outbox = &mut self.outbox;
        let carried = self.flight.oldest().map(|packet| {
            packet.numbers().for_each(|number| {
                outbox.lose(number);
            });
            packet.credit
        });
        if carried == Some(true) {
            self.inbox.renew_credit();
        }
        self.ping_due = !self.outbox.has_resends();
        self.last_eliciting = now;
        self.arm_probe(config);
    }

    /// Whether another datagram may be under way.
    fn window_is_open(&self) -> bool {
        let (bytes, heavy) = (self.flight.bytes(), self.flight.weight());
        let next = self.most_bytes();
        bytes == 0 || (bytes + next as u64 <= self.congestion.window() && heavy + weight(next) <= self.remote.window)
    }

    /// Whether a payload can leave now.
    fn is_sendable(&self, now: Instant) -> bool {
        let has = self.outbox.has_resends()
            || self.outbox.has_urgent()
            || (self.outbox.has_queued() && self.credit_left() >= MIN_PART_BYTES);
        let may = self.window_is_open() && self.congestion.next_at() <= now;
        has && self.outbox.has_numbers() && (self.probes_due > 0 || may)
    }

    fn credit_left(&self) -> usize {
        usize::try_from(self.remote.credit.saturating_sub(self.credit_used)).unwrap_or(usize::MAX)
    }

    fn most_bytes(&self) -> usize {
        // A peer that claims to take less than everybody must is not believed.
        self.datagram_bytes.min(self.remote.max_datagram.max(MIN_DATAGRAM_BYTES))
    }

    /// Appends the next datagram; false if there is none.
    pub(crate) fn poll_transmit(&mut self, now: Instant, local: &Local, config: &Config, out: &mut Vec<u8>) -> bool {
        if self.session.take_hello(now) {
            self.put_hello(local, config, out);
            return true;
        }
        self.polled_at = now;
        let Some(token) = self.session.remote() else { return false };
        let sendable = self.is_sendable(now);
        let ack_due = self.inbox.ack_at().is_some_and(|at| at <= now);
        if !sendable && !ack_due && !self.ping_due && !self.inbox.credit_is_due() {
            return false;
        }
        let number = self.flight.next();
        let mut draft = Draft {
            start: out.len(),
            end: out.len() + self.most_bytes(),
            first_fresh: self.outbox.next_number(),
            resent: Vec::new(),
            eliciting: false,
            credit: false,
        };
        native::put_data_header(token, number, out);
        let header_end = out.len();
        // A part that filled its datagram is sent again in one of its own, or it would have to be cut anew.
        if !(sendable && self.outbox.resend_exceeds(self.room())) {
            self.put_control(now, config, sendable, &mut draft, out);
        }
        if sendable {
            self.put_payloads(now, &mut draft, out);
        }
        if out.len() == header_end {
            out.truncate(draft.start); // what waits needs more credit than is left
            return false;
        }
        self.finish(now, config, draft, out);
        true
    }

    fn put_hello(&mut self, local: &Local, config: &Config, out: &mut Vec<u8>) {
        let hello = Hello {
            network: local.network,
            source: local.id,
            source_incarnation: local.incarnation,
            destination: self.identity.0,
            destination_incarnation: self.identity.1,
            token: self.session.token(),
            echo: self.session.remote(),
            credit: self.inbox.limit(),
            window: config.socket_window_bytes,
            max_datagram: config.loopback_datagram_bytes as u64,
        };
        let start = out.len();
        hello.encode(out);
        self.stats.packets_sent += 1;
        self.stats.bytes_sent += (out.len() - start) as u64;
    }

    fn put_control(&mut self, now: Instant, config: &Config, sendable: bool, draft: &mut Draft, out: &mut Vec<u8>) {
        if self.inbox.has_unacked() {
            // Beside data an ack is kept so short that a full bundle fits behind it.
            let room = if sendable { ACK_BESIDE_DATA_BYTES } else { ACK_ALONE_BYTES };
            self.inbox.put_ack(now, room, out);
        }
        if self.inbox.credit_is_due() {
            frame::put_credit(self.inbox.take_credit(), config.socket_window_bytes, out);
            (draft.credit, draft.eliciting) = (true, true);
        }
        if std::mem::take(&mut self.ping_due) {
            frame::put_ping(out);
            draft.eliciting = true;
        }
    }

    fn put_payloads(&mut self, now: Instant, draft: &mut Draft, out: &mut Vec<u8>) {
        let (whole, most) = (self.room(), self.most_bytes() - HEADERS_BYTES);
        loop {
            let room = draft.end.saturating_sub(out.len() + frame::MAX_PAYLOAD_HEADER_BYTES);
            let Some(number) = self.next_payload(now, room, whole, most) else { break };
            let fresh = number >= draft.first_fresh;
            let Some(payload) = self.outbox.get(number) else { break };
            let at = out.len();
            frame::put_payload(number, payload.encoded_len(), out, |out| payload.encode(now, out));
            if fresh {
                self.credit_used += payload_bytes(out.len() - at, payload.encoded_len(), number);
            } else {
                draft.resent.push(number);
                self.stats.payloads_resent += 1;
            }
            draft.eliciting = true;
        }
        // What stays behind waits for an ack: the receiver must not hold it back.
        if draft.eliciting && !self.outbox.is_drained() && out.len() < draft.end {
            frame::put_ack_now(out);
        }
    }

    /// The next payload for a datagram with `room` left, of which one takes `whole` in any case, and `most` when it
    /// carries nothing else.
    fn next_payload(&mut self, now: Instant, room: usize, whole: usize, most: usize) -> Option<u64> {
        if let Some(number) = self.outbox.next_resend(now, room, most) {
            return Some(number);
        }
        if self.outbox.has_resends() || !self.outbox.has_numbers() {
            return None;
        }
        if let Some(number) = self.outbox.next_urgent(room) {
            return Some(number);
        }
        self.outbox.next_queued(now, room.min(self.credit_left()), whole)
    }

    fn finish(&mut self, now: Instant, config: &Config, draft: Draft, out: &[u8]) {
        let bytes = out.len() - draft.start;
        let fresh = draft.first_fresh..self.outbox.next_number();
        let charge = if draft.eliciting { bytes } else { 0 };
        let stamp = self.congestion.handle_sent(now, charge as u64, self.flight.bytes(), self.outbox.is_drained());
        let mut packet = Packet::new(charge, fresh, draft.resent, stamp);
        packet.credit = draft.credit;
        self.flight.push(packet);
        self.stats.packets_sent += 1;
        self.stats.bytes_sent += bytes as u64;
        if draft.eliciting {
            self.probes_due = self.probes_due.saturating_sub(1);
            self.last_eliciting = now;
            self.arm_probe(config);
        }
    }

    pub(crate) fn stats(&self) -> PeerStats {
        PeerStats {
            queue_bytes: self.outbox.bytes(),
            in_flight: self.flight.weight(),
            congestion_window: self.congestion.window(),
            rtt: self.rtt.smoothed(),
            min_rtt: self.rtt.min(),
            datagram_bytes: self.datagram_bytes,
            ..self.stats
        }
    }
}

/// Bytes that the receiver counts for a payload whose frame took `frame` bytes.
fn payload_bytes(frame: usize, encoded_len: usize, number: u64) -> u64 {
    let width = if encoded_len < 0x4000 { 2 } else { 4 };
    (frame - 1 - glue_net::wire::varint_len(number) - width) as u64
}

fn path_datagram_bytes(config: &Config, address: SocketAddr) -> usize {
    if address.ip().is_loopback() { config.loopback_datagram_bytes } else { config.base_datagram_bytes }
}

/// Headers of a datagram with one payload.
const HEADERS_BYTES: usize = native::MAX_DATA_HEADER_BYTES + frame::MAX_PAYLOAD_HEADER_BYTES;
/// Kept free of bundles in every datagram: header, a short ack, credit, the payload frame's header, ack-now.
const RESERVED_BYTES: usize = native::MAX_DATA_HEADER_BYTES
    + ACK_BESIDE_DATA_BYTES
    + frame::MAX_CREDIT_BYTES
    + frame::MAX_PAYLOAD_HEADER_BYTES
    + 2;
/// An ack of a few ranges.
const ACK_BESIDE_DATA_BYTES: usize = 48;
/// An ack of all ranges that are kept.
const ACK_ALONE_BYTES: usize = 600;
/// Every path carries datagrams of this length (the IPv6 minimum of 1,280 less headers).
const MIN_DATAGRAM_BYTES: usize = 1_200;
/// Datagrams that a probe may send (RFC 9002, section 6.2.4).
const PROBE_PACKETS: u8 = 2;
/// For so long after a datagram the next one waits to be filled, unless all that was sent is acknowledged.
pub(crate) const HOLD: Duration = Duration::from_micros(100);
/// Probes without an answer after which the path counts as another one.
const PERSISTENT_PROBES: u32 = 3;
