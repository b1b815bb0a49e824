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
use crate::flight::Flight;
use crate::frame::{self, Frame};
use crate::inbox::Inbox;
use crate::outbox::{MIN_PART_BYTES, Outbox, SWEEP_INTERVAL};
use crate::path::Path;
use crate::rtt::Rtt;
use crate::session::{Greeting, Session};
use crate::stats::PeerStats;
use crate::weight::weight;

/// A native peer.
#[derive(Debug)]
pub(crate) struct Native<P> {
    pub(crate) identity: (EndpointId, Incarnation),
    pub(crate) session: Session,
    pub(crate) outbox: Outbox<P>,
    pub(crate) inbox: Inbox,
    pub(crate) stats: PeerStats,
    pub(crate) path: Path,
    pub(crate) flight: Flight,
    pub(crate) rtt: Rtt,
    pub(crate) congestion: Congestion,
    pub(crate) datagram_bytes: usize,
    /// What the peer takes.
    pub(crate) remote: Remote,
    /// Bytes of payload sent for the first time, in all.
    pub(crate) credit_used: u64,
    pub(crate) loss_at: Option<Instant>,
    pub(crate) probe_at: Option<Instant>,
    pub(crate) sweep_at: Option<Instant>,
    pub(crate) last_eliciting: Instant,
    /// When a datagram was asked for last.
    pub(crate) polled_at: Instant,
    /// Probes since the last ack.
    pub(crate) probes: u32,
    /// Packets that may leave whatever the window says.
    pub(crate) probes_due: u8,
    pub(crate) ping_due: bool,
}

/// The limits that the peer announced.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Remote {
    pub(crate) credit: u64,
    pub(crate) window: u64,
    pub(crate) max_datagram: usize,
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

    /// Whether another datagram may be under way.
    pub(crate) fn window_is_open(&self) -> bool {
        self.flight.bytes() == 0 || self.has_room(self.flight.bytes(), self.flight.weight())
    }

    /// The same, once a datagram of `len` bytes is under way too.
    pub(crate) fn window_is_open_after(&self, len: usize) -> bool {
        self.has_room(self.flight.bytes() + len as u64, self.flight.weight() + weight(len))
    }

    fn has_room(&self, bytes: u64, heavy: u64) -> bool {
        let next = self.most_bytes();
        bytes + next as u64 <= self.congestion.window() && heavy + weight(next) <= self.remote.window
    }

    /// Whether a payload can leave now.
    pub(crate) fn is_sendable(&self, now: Instant) -> bool {
        let has = self.outbox.has_resends()
            || self.outbox.has_urgent()
            || (self.outbox.has_queued() && self.credit_left() >= MIN_PART_BYTES);
        let may = self.window_is_open() && self.congestion.next_at() <= now;
        has && self.outbox.has_numbers() && (self.probes_due > 0 || may)
    }

    pub(crate) fn credit_left(&self) -> usize {
        usize::try_from(self.remote.credit.saturating_sub(self.credit_used)).unwrap_or(usize::MAX)
    }

    pub(crate) fn most_bytes(&self) -> usize {
        // A peer that claims to take less than everybody must is not believed.
        self.datagram_bytes.min(self.remote.max_datagram.max(MIN_DATAGRAM_BYTES))
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

fn path_datagram_bytes(config: &Config, address: SocketAddr) -> usize {
    if address.ip().is_loopback() { config.loopback_datagram_bytes } else { config.base_datagram_bytes }
}

/// Headers of a datagram with one payload.
pub(crate) const HEADERS_BYTES: usize = native::MAX_DATA_HEADER_BYTES + frame::MAX_PAYLOAD_HEADER_BYTES;
/// Kept free of bundles in every datagram: header, a short ack, credit, the payload frame's header, ack-now.
const RESERVED_BYTES: usize = native::MAX_DATA_HEADER_BYTES
    + ACK_BESIDE_DATA_BYTES
    + frame::MAX_CREDIT_BYTES
    + frame::MAX_PAYLOAD_HEADER_BYTES
    + 2;
/// An ack of a few ranges.
pub(crate) const ACK_BESIDE_DATA_BYTES: usize = 48;
/// An ack of all ranges that are kept.
pub(crate) const ACK_ALONE_BYTES: usize = 600;
/// Every path carries datagrams of this length (the IPv6 minimum of 1,280 less headers).
const MIN_DATAGRAM_BYTES: usize = 1_200;
/// For so long after a datagram the next one waits to be filled, unless all that was sent is acknowledged.
pub(crate) const HOLD: Duration = Duration::from_micros(100);
