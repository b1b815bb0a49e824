//! One native peer: a session, what goes out and what comes in.

use std::time::Duration;

use bytes::Bytes;
use glue_net::wire::native::{self, Hello};
use glue_net::wire::{DecodeError, Reader};
use glue_net::{EndpointId, Incarnation, Instant, Payload, Priority, Rng, Skip};
use glue_security::TAG_BYTES;

use crate::config::Config;
use crate::congestion::Congestion;
use crate::dedup::Mark;
use crate::flight::Flight;
use crate::frame::{self, Frame};
use crate::inbox::{Inbox, OVERDRAFT};
use crate::mtu::{Limits, Mtu};
use crate::outbox::{Company, MIN_PART_BYTES, Outbox, SWEEP_INTERVAL};
use crate::path::Path;
use crate::private::Private;
use crate::rtt::Rtt;
use crate::session::{Greeting, Session};
use crate::stats::PeerStats;
use crate::weight::weight;

/// A native peer.
#[derive(Debug)]
pub(crate) struct Native<P> {
    pub(crate) identity: (EndpointId, Incarnation),
    pub(crate) session: Session,
    /// In a private network.
    pub(crate) private: Option<Box<Private>>,
    pub(crate) outbox: Outbox<P>,
    pub(crate) inbox: Inbox,
    pub(crate) stats: PeerStats,
    pub(crate) path: Path,
    pub(crate) flight: Flight,
    pub(crate) rtt: Rtt,
    pub(crate) congestion: Congestion,
    /// What may be tried on the path.
    pub(crate) limits: Limits,
    pub(crate) mtu: Mtu,
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
    /// What was sent since an ack was asked for: length and weight.
    pub(crate) unasked_bytes: u64,
    pub(crate) unasked_weight: u64,
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
        (limits, is_local): (Limits, bool),
        rng: &mut Rng,
    ) -> Self {
        Self {
            identity,
            session: Session::new(now, rng),
            private: None,
            outbox: Outbox::default(),
            inbox: Inbox::new(config.initial_credit_bytes, config.receive_window_bytes),
            stats: PeerStats::default(),
            path: Path::default(),
            flight: Flight::default(),
            rtt: Rtt::new(config.initial_rtt),
            congestion: Congestion::new(limits.base as u64, is_local),
            limits,
            mtu: Mtu::new(now, limits.within(MIN_DATAGRAM_BYTES)),
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
            unasked_bytes: 0,
            unasked_weight: 0,
        }
    }

    /// The packets go another way from now on.
    pub(crate) fn move_to(&mut self, now: Instant, (limits, is_local): (Limits, bool)) {
        self.search(now, limits);
        self.congestion.move_to(now, self.mtu.datagram_bytes() as u64, is_local);
    }

    /// Searches for the longest datagram anew.
    pub(crate) fn search(&mut self, now: Instant, limits: Limits) {
        self.limits = limits;
        // A peer that claims to take less than everybody must is not believed.
        self.mtu = Mtu::new(now, limits.within(self.remote.max_datagram.max(MIN_DATAGRAM_BYTES)));
    }

    /// Bytes of payload that one datagram takes in any case.
    pub(crate) const fn room(&self) -> usize {
        self.most_bytes().saturating_sub(RESERVED_BYTES)
    }

    /// Whether a payload handed over now would leave at once. While packets are under way, a payload that does not fill
    /// a datagram is better kept for company, for a short time; but not if it has some that is less urgent.
    pub(crate) fn is_hungry(&self, now: Instant, priority: Priority) -> bool {
        let is_free = match self.outbox.is_drained_for(priority) {
            None => return false,
            Some(Company::LessUrgent) => self.congestion.next_at() <= now,
            Some(Company::None) => !self.flight.is_eliciting() || self.last_eliciting + HOLD <= now,
        };
        is_free && self.session.remote().is_some() && self.window_is_open()
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

    /// Whether the peer may have forgotten us, so that it should be told anew who we are.
    pub(crate) const fn may_be_forgotten(&self) -> bool {
        // A handshake costs more than a hello.
        self.probes >= if self.private.is_some() { 4 } else { 2 }
    }

    /// Until when nothing needs to be done for a peer that is out of reach.
    pub(crate) const fn sweep_at(&self) -> Option<Instant> {
        self.sweep_at
    }

    pub(crate) fn timeout(&self) -> Option<Instant> {
        // Without the peer's token nothing but a hello can be sent.
        let ack_at = self.session.remote().and_then(|_| self.inbox.ack_at());
        let timers = [self.session.hello_at(), ack_at, self.loss_at, self.probe_at, self.sweep_at, self.pace_at()];
        timers.into_iter().flatten().min()
    }

    /// When the pace lets something leave that waits for nothing else. A pace that holds back nothing needs no timer.
    pub(crate) fn pace_at(&self) -> Option<Instant> {
        let at = self.congestion.next_at();
        (at > self.polled_at && !self.outbox.is_drained() && self.window_is_open()).then_some(at)
    }

    pub(crate) fn send(&mut self, now: Instant, config: &Config, mut payload: P) {
        if self.outbox.bytes() + payload.encoded_len() > config.max_queue_bytes && !payload.is_urgent() {
            payload.skip(Skip::Overflow);
            self.stats.dropped_full += 1;
        }
        self.outbox.push(payload);
        self.sweep_at.get_or_insert(now + SWEEP_INTERVAL);
    }

    /// See [`Outbox::shed`].
    pub(crate) fn shed(&mut self) -> u64 {
        let count = self.outbox.shed();
        self.stats.dropped_full += count;
        count
    }

    pub(crate) fn handle_hello(&mut self, now: Instant, hello: &Hello) -> Greeting {
        let greeting = self.session.handle_hello(now, hello);
        if let Greeting::Opened { rtt } = greeting {
            self.open(now, hello, rtt);
        }
        greeting
    }

    /// Payloads can be sent.
    pub(crate) fn open(&mut self, now: Instant, hello: &Hello, rtt: Option<Duration>) {
        self.remote.credit = hello.credit;
        self.remote.window = hello.window;
        self.remote.max_datagram = usize::try_from(hello.max_datagram).unwrap_or(usize::MAX);
        self.search(now, self.limits);
        if let Some(rtt) = rtt {
            self.rtt.sample(rtt, Duration::ZERO);
        }
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
        self.stats.bytes_received += (native::data_header_len(number) + frames.len() + self.seal_bytes()) as u64;
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
        let (bytes, heavy) = (self.flight.bytes(), self.flight.weight());
        let next = self.most_bytes();
        bytes == 0 || (bytes + next as u64 <= self.congestion.window() && heavy + weight(next) <= self.remote.window)
    }

    /// Whether a payload can leave now.
    pub(crate) fn is_sendable(&self, now: Instant) -> bool {
        let has = self.outbox.has_resends()
            || (self.outbox.has_urgent() && self.control_left() >= MIN_DATAGRAM_BYTES)
            || (self.outbox.has_queued() && self.credit_left() >= MIN_PART_BYTES);
        let may = self.window_is_open() && self.congestion.next_at() <= now;
        has && self.outbox.has_numbers() && (self.probes_due > 0 || may)
    }

    pub(crate) fn credit_left(&self) -> usize {
        usize::try_from(self.remote.credit.saturating_sub(self.credit_used)).unwrap_or(usize::MAX)
    }

    /// What control may still take. The receiver drops what is beyond, so it waits like the rest.
    pub(crate) fn control_left(&self) -> usize {
        let limit = self.remote.credit.saturating_add(OVERDRAFT);
        usize::try_from(limit.saturating_sub(self.credit_used)).unwrap_or(usize::MAX)
    }

    pub(crate) const fn most_bytes(&self) -> usize {
        self.mtu.datagram_bytes() - self.seal_bytes()
    }

    /// What a private session takes of a datagram beside.
    pub(crate) const fn seal_bytes(&self) -> usize {
        if self.private.is_some() { native::EPOCH_BYTES + TAG_BYTES } else { 0 }
    }

    pub(crate) fn stats(&self) -> PeerStats {
        PeerStats {
            expired: self.outbox.expired(),
            payloads_lost: self.outbox.lost(),
            queue_bytes: self.outbox.bytes(),
            in_flight: self.flight.weight(),
            congestion_window: self.congestion.window(),
            rtt: self.rtt.smoothed(),
            min_rtt: self.rtt.min(),
            datagram_bytes: self.most_bytes(),
            ..self.stats
        }
    }
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
