//! Fills the datagrams for one native peer.

use glue_net::wire::native::{self, Hello};
use glue_net::{Chain, Instant, Mark, Payload};

use crate::config::Config;
use crate::flight::Packet;
use crate::frame;
use crate::native::{ACK_ALONE_BYTES, ACK_BESIDE_DATA_BYTES, HEADERS_BYTES, Native};
use crate::transport::Local;
use crate::weight::weight;

/// A datagram being filled.
struct Draft {
    mark: Mark,
    start: usize,
    end: usize,
    first_fresh: u64,
    resent: Vec<u64>,
    eliciting: bool,
    credit: bool,
}

impl<P: Payload> Native<P> {
    /// Appends the next datagram; false if there is none.
    pub(crate) fn poll_transmit(&mut self, now: Instant, local: &Local, config: &Config, out: &mut Chain) -> bool {
        if self.session.take_hello(now) {
            self.put_hello(local, config, out.written());
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
            mark: out.end(),
            start: out.len(),
            end: out.len() + self.most_bytes(),
            first_fresh: self.outbox.next_number(),
            resent: Vec::new(),
            eliciting: false,
            credit: false,
        };
        native::put_data_header(token, number, out.written());
        let header_end = out.len();
        // A part that filled its datagram is sent again in one of its own, or it would have to be cut anew.
        if !(sendable && self.outbox.resend_exceeds(self.room())) {
            self.put_control(now, config, sendable, &mut draft, out.written());
        }
        if sendable {
            self.put_payloads(now, &mut draft, out);
        }
        if out.len() == header_end {
            out.truncate(draft.mark); // what waits needs more credit than is left
            return false;
        }
        self.finish(now, config, draft, out.len());
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

    fn put_payloads(&mut self, now: Instant, draft: &mut Draft, out: &mut Chain) {
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
        if draft.eliciting && out.len() < draft.end && self.is_ack_wanted(out.len() - draft.start) {
            frame::put_ack_now(out.written());
            (self.unasked_bytes, self.unasked_weight) = (0, 0);
        }
    }

    /// Whether the datagram of `len` bytes being filled asks for an ack at once. Each ack wakes a thread here, which may
    /// take the core from a publisher, so what is under way asks four times in a window. (One ack for each datagram took
    /// a third of the throughput at 8 KiB.) The end of a burst asks, so that what follows it can leave at once; a lone
    /// datagram does not: most likely the answer carries the ack.
    fn is_ack_wanted(&mut self, len: usize) -> bool {
        self.unasked_bytes += len as u64;
        self.unasked_weight += weight(len);
        // Fuller than half: the bundle in it was closed because the next message did not fit.
        if self.outbox.is_drained() && len < self.most_bytes() / 2 {
            return self.flight.is_eliciting();
        }
        self.unasked_bytes >= self.congestion.window() / ASKS_PER_WINDOW
            || self.unasked_weight >= self.remote.window / ASKS_PER_WINDOW
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

    fn finish(&mut self, now: Instant, config: &Config, draft: Draft, end: usize) {
        let bytes = end - draft.start;
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
}

/// Bytes that the receiver counts for a payload whose frame took `frame` bytes.
fn payload_bytes(frame: usize, encoded_len: usize, number: u64) -> u64 {
    let width = if encoded_len < 0x4000 { 2 } else { 4 };
    (frame - 1 - glue_net::wire::varint_len(number) - width) as u64
}

/// Acks that are asked for while a window is sent.
const ASKS_PER_WINDOW: u64 = 4;
