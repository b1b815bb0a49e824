//! Messages that a cache brings in place of their publisher. Heads of cargo:
//!
//! - 6 carried: source (varint), flags (byte, bit 0: the last of an answer), how many messages (varint), age of the first
//!   in microseconds (varint). The body is a bundle as its publisher made it.
//! - 7 absent: source (varint), flags (byte), reason (byte), first and last number (varints). No body. Reason 1: they have
//!   expired; 0: the cache does not have them (any more).
//! - 9 signed carried: signature of the publisher (64 bytes), then as 6: in a private network, and 6 elsewhere.
//!
//! An answer covers what was asked for from its first number on, without holes, up to where it ends. It may end early: what
//! is under way at a time is bounded so, and who wants more asks again when it has arrived.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use glue_net::wire::{DecodeError, Reader, put_varint, varint_len};
use glue_net::{Held, Instant, PeerId};
use glue_security::{SIGNATURE_BYTES, Signature};

use crate::batch::{Age, Batch};
use crate::bundle::{self, Found, Header};
use crate::cache::Stored;
use crate::cargo::Cargo;
use crate::message::{Gap, GapReason};
use crate::ranges::Ranges;
use crate::seek::ANSWER;
use crate::topics::Topics;
use crate::tracks::{Holder, Life, Offer};

/// Part of an answer on its way out.
#[derive(Clone, Debug)]
pub(crate) struct Carried {
    source: u64,
    is_last: bool,
    first: u64,
    last: u64,
    what: What,
    /// Counts until it is acknowledged, expired or dropped.
    _carrying: Arc<[Held; 2]>,
}

#[derive(Clone, Debug)]
enum What {
    Absent,
    Bundle(Arc<Stored>),
    Expired,
}

/// Part of an answer as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CarriedHead {
    source: u64,
    is_last: bool,
    content: CarriedContent,
    signature: Option<Box<Signature>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CarriedContent {
    Absent { first: u64, last: u64, expired: bool },
    Bundle { count: u64, age: Duration },
}

impl Carried {
    pub(crate) fn encode_head(&self, now: Instant, out: &mut Vec<u8>) {
        let flags = u8::from(self.is_last);
        match &self.what {
            What::Bundle(stored) => {
                match &stored.signature {
                    Some(signature) => {
                        out.push(SIGNED);
                        out.extend_from_slice(&**signature);
                    }
                    None => out.push(CARRIED),
                }
                put_varint(out, self.source);
                out.push(flags);
                put_varint(out, self.last - self.first + 1);
                put_varint(out, u64::try_from(stored.age(now).as_micros()).unwrap_or(u64::MAX).min(MAX_AGE));
            }
            What::Absent | What::Expired => {
                out.push(ABSENT);
                put_varint(out, self.source);
                out.extend([flags, if matches!(self.what, What::Expired) { EXPIRED } else { 0 }]);
                put_varint(out, self.first);
                put_varint(out, self.last);
            }
        }
    }

    pub(crate) fn head_len(&self) -> usize {
        let is_signed = matches!(&self.what, What::Bundle(stored) if stored.signature.is_some());
        3 + if is_signed { SIGNATURE_BYTES } else { 0 } + varint_len(self.source) + 16
    }

    pub(crate) fn body(&self) -> Bytes {
        if let What::Bundle(stored) = &self.what { stored.body.clone() } else { Bytes::new() }
    }

    pub(crate) fn body_len(&self) -> usize {
        if let What::Bundle(stored) = &self.what { stored.body.len() } else { 0 }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        if let What::Bundle(stored) = &self.what { Some(stored.deadline) } else { None }
    }

    pub(crate) fn skip(&mut self, has_expired: bool) {
        if matches!(self.what, What::Bundle(_)) {
            self.what = if has_expired { What::Expired } else { What::Absent };
        }
    }
}

impl CarriedHead {
    pub(crate) fn grow_older(&mut self, by: Duration) {
        if let CarriedContent::Bundle { age, .. } = &mut self.content {
            *age = age.saturating_add(by);
        }
    }

    pub(crate) fn read(kind: u8, reader: &mut Reader) -> Result<Self, DecodeError> {
        let signature = if kind == SIGNED { Some(Box::new(reader.array()?)) } else { None };
        let (source, is_last) = (reader.varint()?, reader.u8()? & 1 == 1);
        let content = if kind == CARRIED || kind == SIGNED {
            let count = reader.varint()?;
            CarriedContent::Bundle { count, age: Duration::from_micros(reader.varint()?) }
        } else {
            let expired = reader.u8()? == EXPIRED;
            let (first, last) = (reader.varint()?, reader.varint()?);
            if first == 0 || first > last {
                return Err(DecodeError::Malformed("range of what is absent"));
            }
            CarriedContent::Absent { first, last, expired }
        };
        Ok(Self { source, is_last, content, signature })
    }
}

// ---- giving ----

impl Topics {
    /// Says whether there is memory to send what caches here were asked for. What is sent shares its bytes with the cache,
    /// but takes places in queues.
    #[inline]
    pub const fn set_may_serve(&mut self, may_serve: bool) {
        self.may_serve = may_serve;
    }

    /// Sends peers what they asked caches here for, as far as little is under way to them.
    pub(crate) fn serve_orders(&mut self, now: Instant) {
        self.orders_due = (!self.may_serve && !self.ordering.is_empty()).then_some(now + RETRY);
        if !self.may_serve {
            return;
        }
        for id in std::mem::take(&mut self.ordering) {
            self.serve_peer(now, id);
        }
    }

    fn serve_peer(&mut self, now: Instant, id: PeerId) {
        let Self { peers, caches, outputs, .. } = self;
        let Some(peer) = peers.get_mut(&id) else { return };
        while peer.exchange.carrying.bytes() < MAX_CARRYING_BYTES.saturating_sub(caches.carrying.bytes()) / 2 {
            let Some((number, (from, to))) = peer.exchange.orders.pop_first() else { break };
            let (mut at, mut bytes, mut answer) = (from, 0, Vec::new());
            while at <= to && bytes < ANSWER_BYTES && answer.len() < ANSWER_CARGOS {
                let (last, what) = caches.shelf(number).map_or((to, What::Absent), |shelf| look_up(shelf, at, to, now));
                let first = if let What::Bundle(stored) = &what { stored.first } else { at };
                let len = if let What::Bundle(stored) = &what { stored.bytes() } else { 0 };
                if len > 0 {
                    caches.stats.carried += last - first + 1;
                }
                bytes += len;
                let _carrying =
                    Arc::new([&peer.exchange.carrying, &caches.carrying].map(|sum| sum.hold(len + CARGO_BYTES)));
                answer.push(Carried { source: number, is_last: false, first, last, what, _carrying });
                at = last + 1;
            }
            if let Some(last) = answer.last_mut() {
                last.is_last = true;
            }
            outputs.cargo.extend(answer.into_iter().map(|part| (id, Cargo::carried(part))));
        }
        if !peer.exchange.orders.is_empty() {
            self.ordering.insert(id);
            self.orders_due = Some(now + RETRY);
        }
    }
}

/// What is known of a number, and up to which.
fn look_up(shelf: &crate::cache::Shelf, at: u64, to: u64, now: Instant) -> (u64, What) {
    let next = shelf.from(at);
    if let Some(stored) = next.filter(|stored| stored.first <= at) {
        let is_alive = stored.deadline > now;
        return (stored.last, if is_alive { What::Bundle(Arc::clone(stored)) } else { What::Expired });
    }
    let end = next.map_or(to, |stored| to.min(stored.first - 1));
    match shelf.expired.at_or_after(at) {
        Some((first, last)) if first == at => (last.min(end), What::Expired),
        Some((first, _)) => (end.min(first - 1), What::Absent),
        None => (end, What::Absent),
    }
}

// ---- taking ----

impl Topics {
    /// Takes part of an answer.
    pub(crate) fn handle_carried(&mut self, now: Instant, from: PeerId, head: CarriedHead, body: &Bytes) {
        if self.take_carried(now, from, head, body).is_none() {
            self.caches.stats.refused += 1;
        }
    }

    /// `None`: nobody asked for it, or it can not be read.
    fn take_carried(&mut self, now: Instant, from: PeerId, head: CarriedHead, body: &Bytes) -> Option<()> {
        let life = self.peers.get(&from)?.exchange.sources.get(&head.source)?.clone();
        match head.content {
            CarriedContent::Absent { first, last, expired } => {
                self.note_answer(now, from, &life, (first, last, head.is_last))?;
                self.take_absent(from, &life, (first, last), expired);
            }
            CarriedContent::Bundle { count, age } => {
                let header = Header::read(body)?;
                let (first, last) = (header.first, header.first.checked_add(count.checked_sub(1)?)?);
                if first == 0 {
                    return None;
                }
                let source = Arc::clone(&self.tracks.get_mut(&life)?.source);
                let fits =
                    header.topic == source.topic_name.as_bytes() && header.type_name == source.topic_type.as_bytes();
                self.note_answer(now, from, &life, (first, last, head.is_last))?;
                if !fits || bundle::find(count, header.messages) != Found::All {
                    self.take_absent(from, &life, (first, last), false);
                    return None;
                }
                if !self.is_genuine(&source, count, body, head.signature.as_deref()) {
                    self.catch_forger(from, &life, count);
                    return Some(());
                }
                self.caches.stats.pulled += count;
                let age = Age { arrival: now, on_arrival: age };
                let batch = Batch::of_bundle(Some(from), Arc::clone(&source), body, &header, age);
                if self.caches.is_any() {
                    self.caches.put(&source, (first, last), &batch, head.signature);
                }
                let offer = Offer { first, last, batch: Some(batch) };
                self.tracks.bring(&life, offer, &mut self.outputs);
            }
        }
        Some(())
    }

    /// A cache does not have what it was asked for.
    fn take_absent(&mut self, from: PeerId, life: &Life, (first, last): (u64, u64), expired: bool) {
        let Some(track) = self.tracks.get_mut(life) else { return };
        if !expired {
            if let Some(holder) = track.holders.get_mut(&from) {
                holder.ranges.remove(first, last);
            }
            return;
        }
        let source = Arc::clone(&track.source);
        if self.caches.is_any() {
            self.caches.skip(&source, (first, last), false);
        }
        let gap = Gap { source, from: first, to: last, reason: GapReason::Expired };
        let offer = Offer { first, last, batch: Some(Batch::of_gap(Some(from), gap)) };
        self.tracks.bring(life, offer, &mut self.outputs);
    }

    /// Notes how far an answer has come. `None`: there was no such question.
    fn note_answer(&mut self, now: Instant, from: PeerId, life: &Life, part: (u64, u64, bool)) -> Option<()> {
        let (first, last, is_last) = part;
        let mut track = self.tracks.take(life)?;
        let result =
            track.want.as_mut().filter(|want| want.peer == from && first <= want.to && last >= want.from).map(|want| {
                want.got.add(first, last);
                want.due = now + ANSWER;
                if is_last {
                    want.end = Some(last);
                }
                let is_whole = |got: &Ranges, end: u64| {
                    got.at_or_after(want.from).is_some_and(|(at, to)| at == want.from && to >= end)
                };
                want.end.is_some_and(|end| is_whole(&want.got, end))
            });
        if result.is_some() {
            track.holders.get_mut(&from).into_iter().for_each(Holder::believe);
        }
        if result == Some(true) {
            track.want = None;
            self.tracks.dirty.insert(life.clone());
        }
        self.tracks.put_back(life.clone(), track);
        result.map(|_| ())
    }
}

pub(crate) const CARRIED: u8 = 6;
pub(crate) const ABSENT: u8 = 7;
pub(crate) const SIGNED: u8 = 9;
const EXPIRED: u8 = 1;
/// The largest varint.
const MAX_AGE: u64 = (1 << 62) - 1;
/// An answer ends when it has so many bytes: 10 MB/s over a round trip of 100 ms, for each source.
const ANSWER_BYTES: usize = 1 << 20;
/// And so many parts.
const ANSWER_CARGOS: usize = 4_096;
/// Bytes of answers under way in all. One peer has no more of it than half of what others leave.
const MAX_CARRYING_BYTES: usize = 8 << 20;
/// What part of an answer counts beside its bytes, so that there are never more than 4,096 of them in queues.
const CARGO_BYTES: usize = 2_048;
/// How often it is looked whether answers have arrived.
const RETRY: Duration = Duration::from_millis(20);
