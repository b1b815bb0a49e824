//! Fills the datagrams for one native peer.

use glue_net::wire::native::{self, Hello};
use glue_net::{Instant, Payload};

use crate::config::Config;
use crate::flight::Packet;
use crate::frame;
use crate::native::{ACK_ALONE_BYTES, ACK_BESIDE_DATA_BYTES, HEADERS_BYTES, Native};
use crate::transport::Local;
use crate::weight::weight;

/// A datagram being filled.
struct Draft {
    start: usize,
    end: usize,
    first_fresh: u64,
    resent: Vec<u64>,
    eliciting: bool,
    credit: bool,
    asks: bool,
}

impl<P: Payload> Native<P> {
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
            asks: false,
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
        if self.ping_due {
            frame::put_ping(out);
            draft.eliciting = true;
            // A probe is as many datagrams, so that half of them may be lost.
            self.ping_due = self.probes_due > 1;
            if self.ping_due && draft.credit {
                self.inbox.renew_credit();
            }
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
        if draft.eliciting && out.len() < draft.end && self.needs_ack(out.len() - draft.start) {
            frame::put_ack_now(out);
            draft.asks = true;
        }
    }

    /// Whether the receiver must not hold back its ack of a datagram of `len` bytes: something waits for it.
    fn needs_ack(&self, len: usize) -> bool {
        if self.outbox.is_drained() {
            return self.probes > 0;
        }
        let (bytes, heavy) = self.flight.unasked();
        let (bytes, heavy) = (bytes + len as u64, heavy + weight(len));
        bytes >= self.congestion.window() / ACK_SHARE
            || heavy >= self.remote.window / ACK_SHARE
            || (!self.flight.is_asked() && !self.window_is_open_after(len))
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
        let stamp = self.congestion.handle_sent(now, charge as u64, self.flight.bytes());
        let mut packet = Packet::new(charge, fresh, draft.resent, stamp);
        (packet.credit, packet.asks) = (draft.credit, draft.asks);
        if self.probes > 0 && self.probes_due > 1 && !self.outbox.has_resends() {
            // The second datagram of a probe carries the same: with half of them lost it doubles the chance.
            packet.resent.iter().for_each(|number| _ = self.outbox.lose(*number));
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

/// Acks are asked for this often in each window.
const ACK_SHARE: u64 = 16;

/// Bytes that the receiver counts for a payload whose frame took `frame` bytes.
fn payload_bytes(frame: usize, encoded_len: usize, number: u64) -> u64 {
    let width = if encoded_len < 0x4000 { 2 } else { 4 };
    (frame - 1 - glue_net::wire::varint_len(number) - width) as u64
}
