//! Fills the datagrams for one native peer.

use glue_net::wire::native::{self, Hello, Token};
use glue_net::{Chain, Instant, Mark, Payload};

use crate::config::Config;
use crate::flight::Packet;
use crate::frame;
use crate::native::{ACK_ALONE_BYTES, ACK_BESIDE_DATA_BYTES, HEADERS_BYTES, Native};
use crate::private::Membership;
use crate::transport::Local;
use crate::weight::weight;

/// A datagram being filled.
struct Draft {
    mark: Mark,
    start: usize,
    /// Bytes that stand before the first frame.
    header: usize,
    end: usize,
    first_fresh: u64,
    resent: Vec<u64>,
    eliciting: bool,
    credit: bool,
    mtu_probe: bool,
}

impl<P: Payload> Native<P> {
    /// Appends the next datagram; false if there is none.
    pub(crate) fn poll_transmit(
        &mut self,
        now: Instant,
        (local, us): (&Local, Option<&mut Membership>),
        config: &Config,
        out: &mut Chain,
    ) -> bool {
        self.review_keys(now);
        // What begins a handshake is repeated until it is answered.
        let waits = self.private.as_ref().is_some_and(|private| private.is_initiator());
        if self.session.take_hello(now, waits) {
            self.put_hello(local, config, us, out.written());
            return true;
        }
        self.polled_at = now;
        let Some(token) = self.session.remote() else { return false };
        let ack_due = self.inbox.ack_at().is_some_and(|at| at <= now);
        // These arrive where a long datagram may not, so they go with no payload.
        let goes_alone = self.ping_due || (ack_due && self.mtu.is_suspect());
        let sendable = self.is_sendable(now) && !goes_alone;
        if !sendable && !ack_due && !self.ping_due && !self.inbox.credit_is_due() {
            return self.put_mtu_probe(now, config, (token, us), out);
        }
        if sendable {
            self.outbox.begin_datagram();
        }
        let mut draft = self.draft(self.most_bytes(), token, out);
        let header_end = out.len();
        // As if the header was as long as it gets: what fills this datagram fits another one when it is sent again.
        draft.end -= native::MAX_DATA_HEADER_BYTES.saturating_sub(native::data_header_len(self.flight.next()));
        // A part that filled its datagram is sent again in one of its own, or it would have to be cut anew.
        if !(sendable && self.outbox.resend_exceeds(self.room())) {
            self.put_control(now, config, sendable, &mut draft, out.written());
        }
        if sendable {
            self.put_payloads(now, &mut draft, out);
        }
        if self.ping_due {
            frame::put_ping(out.written());
            draft.eliciting = true;
            // A probe is two datagrams.
            self.ping_due = self.probes_due > 1 && !self.outbox.has_resends();
            if self.ping_due && draft.credit {
                self.inbox.renew_credit();
            }
        }
        if out.len() == header_end {
            out.truncate(draft.mark); // what waits needs more credit than is left
            return false;
        }
        self.finish(now, config, (draft, us), out);
        true
    }

    /// Begins a datagram of `bytes`, what sealing adds not counted.
    fn draft(&self, bytes: usize, token: Token, out: &mut Chain) -> Draft {
        let (mark, start, number) = (out.end(), out.len(), self.flight.next());
        let epoch = self.private.as_ref().map(|private| private.epoch());
        match epoch {
            Some(epoch) => native::put_private_header(epoch, token, number, out.written()),
            None => native::put_data_header(token, number, out.written()),
        }
        Draft {
            mark,
            start,
            header: out.len() - start,
            end: start + bytes + if epoch.is_some() { native::EPOCH_BYTES } else { 0 },
            first_fresh: self.outbox.next_number(),
            resent: Vec::new(),
            eliciting: false,
            credit: false,
            mtu_probe: false,
        }
    }

    /// Tries a longer datagram, when there is nothing else to send now. It leaves whatever the windows say, or those
    /// that fill them would be in its way for ever.
    fn put_mtu_probe(
        &mut self,
        now: Instant,
        config: &Config,
        (token, us): (Token, Option<&mut Membership>),
        out: &mut Chain,
    ) -> bool {
        // A path that does not answer tells nothing of its length.
        if self.probes > 0 {
            return false;
        }
        let Some(bytes) = self.mtu.poll_probe(now) else { return false };
        let mut draft = self.draft(bytes - self.seal_bytes(), token, out);
        frame::put_ping(out.written());
        frame::put_padding(draft.end.saturating_sub(out.len()), out.written());
        (draft.eliciting, draft.mtu_probe) = (true, true);
        self.stats.mtu_probes += 1;
        self.finish(now, config, (draft, us), out);
        true
    }

    pub(crate) fn hello(&self, local: &Local, config: &Config) -> Hello {
        Hello {
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
        }
    }

    fn put_hello(&mut self, local: &Local, config: &Config, us: Option<&mut Membership>, out: &mut Vec<u8>) {
        let (hello, start) = (self.hello(local, config), out.len());
        match (&mut self.private, us) {
            (Some(private), Some(us)) => private.put_hello(&hello, us, out),
            _ => hello.encode(out),
        }
        self.stats.packets_sent += 1;
        self.stats.bytes_sent += (out.len() - start) as u64;
    }

    fn put_control(&mut self, now: Instant, config: &Config, sendable: bool, draft: &mut Draft, out: &mut Vec<u8>) {
        // A ping repeats the ack: the one before may have gone with a datagram that was too long for the path.
        if self.inbox.has_unacked() || self.ping_due {
            // Beside data an ack is kept so short that a full bundle fits behind it.
            let room = if sendable { ACK_BESIDE_DATA_BYTES } else { ACK_ALONE_BYTES };
            self.inbox.put_ack(now, room, out);
        }
        if self.inbox.credit_is_due() {
            frame::put_credit(self.inbox.take_credit(), config.socket_window_bytes, out);
            (draft.credit, draft.eliciting) = (true, true);
        }
    }

    fn put_payloads(&mut self, now: Instant, draft: &mut Draft, out: &mut Chain) {
        let (whole, most) = (self.room(), self.most_bytes() - HEADERS_BYTES);
        loop {
            let room = draft.end.saturating_sub(out.len() + frame::MAX_PAYLOAD_HEADER_BYTES);
            let Some(number) = self.next_payload(now, room, whole, most) else { break };
            let fresh = number >= draft.first_fresh;
            let Some(payload) = self.outbox.get(number) else { break };
            let (at, len) = (out.len(), payload.encoded_len());
            frame::put_payload(number, len, out, |out| payload.encode(now, out));
            let bytes = payload_bytes(out.len() - at, len, number);
            self.credit_used = self.credit_used + bytes - self.outbox.charge(number, bytes);
            if !fresh {
                draft.resent.push(number);
                self.stats.payloads_resent += 1;
            }
            draft.eliciting = true;
        }
        if draft.eliciting && out.len() < draft.end && self.is_ack_wanted(out.len() - draft.start) {
            frame::put_ack_now(out.written());
            (self.unasked_bytes, self.unasked_weight) = (0, 0);
        }
    }

    /// Whether the datagram of `len` bytes being filled asks for an ack at once. Each ack wakes a thread here, which may
    /// take the core from a publisher, so what is under way asks some times in a window. (One ack for each datagram took
    /// a third of the throughput at 8 KiB.) The end of a burst asks, so that what follows it can leave at once, if an ack can
    /// be back before that is so anyway; a lone datagram does not: most likely the answer carries the ack. A probe asks.
    fn is_ack_wanted(&mut self, len: usize) -> bool {
        self.unasked_bytes += len as u64;
        self.unasked_weight += weight(len);
        if self.probes > 0 {
            return true;
        }
        self.unasked_bytes >= self.congestion.ack_bytes() || self.unasked_weight >= self.remote.window / ASKS_PER_WINDOW
    }

    /// The next payload for a datagram with `room` left, of which one takes `whole` in any case, and `most` when it
    /// carries nothing else.
    fn next_payload(&mut self, now: Instant, room: usize, whole: usize, most: usize) -> Option<u64> {
        if let Some(number) = self.outbox.next_resend(now, room, most) {
            return Some(number);
        }
        if self.outbox.has_resend_next() || !self.outbox.has_numbers() {
            return None;
        }
        if let Some(number) = self.outbox.next_urgent(room.min(self.control_left())) {
            return Some(number);
        }
        self.outbox.next_queued(now, room.min(self.credit_left()), whole)
    }

    fn finish(
        &mut self,
        now: Instant,
        config: &Config,
        (draft, us): (Draft, Option<&mut Membership>),
        out: &mut Chain,
    ) {
        if let (Some(private), Some(us)) = (&mut self.private, us) {
            private.seal(self.flight.next(), draft.mark, draft.header, us, out);
        }
        let bytes = out.len() - draft.start;
        let fresh = draft.first_fresh..self.outbox.next_number();
        let charge = if draft.eliciting { bytes } else { 0 };
        let stamp = self.congestion.handle_sent(now, charge as u64, self.flight.bytes());
        let mut packet = Packet::new(charge, fresh, draft.resent, stamp);
        (packet.credit, packet.mtu_probe) = (draft.credit, draft.mtu_probe);
        if self.probes > 0 && self.probes_due > 1 && !self.ping_due && !self.outbox.has_resends() {
            // The second datagram of a probe carries the same: with half of them lost it doubles the chance.
            packet.resent.iter().for_each(|number| _ = self.outbox.lose(*number));
        }
        if packet.numbers().next().is_some() {
            self.mtu.handle_use();
        }
        self.flight.push(packet);
        self.stats.packets_sent += 1;
        self.stats.bytes_sent += bytes as u64;
        if draft.eliciting {
            self.probes_due = self.probes_due.saturating_sub(1);
            self.last_eliciting = now;
            self.arm_probe(config);
        }
    }
}

/// Bytes that the receiver counts for a payload whose frame took `frame` bytes.
fn payload_bytes(frame: usize, encoded_len: usize, number: u64) -> u64 {
    let width = if encoded_len < 0x4000 { 2 } else { 4 };
    (frame - 1 - glue_net::wire::varint_len(number) - width) as u64
}

/// Acks that are asked for while a window is sent.
const ASKS_PER_WINDOW: u64 = 4;
