//! The layout of a bundle: topic and type (byte strings), first sequence number (varint), timestamp of the first message
//! (8 bytes, nanoseconds), expiry (varint, microseconds), then messages until the end: payload length (varint),
//! nanoseconds since the message before (varint, 0 for the first), payload.

use std::sync::OnceLock;
use std::time::Duration;

use glue_net::wire::{put_bytes, put_varint, split_varint, varint_len};
use glue_net::{Chain, FrozenChain, Gauge, Held, Instant, WallTime};
use glue_security::Signature;

use crate::message::Data;
use crate::name::TopicName;
use crate::signing::Signer;

/// A message on its way out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Post<'a> {
    pub(crate) now: Instant,
    pub(crate) wall: WallTime,
    pub(crate) expiry: Duration,
    pub(crate) sequence: u64,
    pub(crate) payload: Data<'a>,
    /// False: peers miss it.
    pub(crate) is_sent: bool,
}

/// A bundle that messages are still laid into.
#[derive(Debug)]
pub(crate) struct OpenBundle {
    content: Chain,
    first: u64,
    last: u64,
    /// When the first message was published.
    published: Instant,
    /// When the last message was.
    last_published: Instant,
    /// Of the last message.
    timestamp: WallTime,
    expiry: Duration,
    held: Held,
}

impl OpenBundle {
    /// A bundle of one message. `names` are topic and type as they stand on the wire, see [`names`]; `capacity` is how
    /// long it is expected to become. `memory` counts what it takes.
    pub(crate) fn new(post: &Post<'_>, names: &[u8], capacity: usize, memory: &Gauge) -> Self {
        let mut content = Chain::with_capacity(capacity.max(header_len(post, names)));
        put_header(post, names, content.written());
        put_message(post, 0, &mut content);
        let held = memory.hold(OVERHEAD_BYTES + content.memory());
        Self {
            content,
            first: post.sequence,
            last: post.sequence,
            published: post.now,
            last_published: post.now,
            timestamp: post.wall,
            expiry: post.expiry,
            held,
        }
    }

    /// Adds the message that follows the last one; false, and nothing is added, if it needs a bundle of its own.
    #[inline]
    pub(crate) fn push(&mut self, post: &Post<'_>, room: usize) -> bool {
        // A clock that was set back, or far forward, gives no delta: a new bundle states its time anew.
        let delta = post.wall.as_unix_nanos().wrapping_sub(self.timestamp.as_unix_nanos());
        let Some(delta) = u64::try_from(delta).ok().filter(|delta| *delta < MAX_DELTA) else { return false };
        if post.expiry != self.expiry || self.content.len() + message_len(post, delta) > room {
            return false;
        }
        put_message(post, delta, &mut self.content);
        self.held.set(OVERHEAD_BYTES + self.content.memory());
        self.last = post.sequence;
        self.timestamp = post.wall;
        self.last_published = post.now;
        true
    }

    /// The first sequence number in it.
    pub(crate) const fn first(&self) -> u64 {
        self.first
    }

    /// The last sequence number in it.
    pub(crate) const fn last(&self) -> u64 {
        self.last
    }

    pub(crate) const fn len(&self) -> usize {
        self.content.len()
    }

    /// Bytes of it that were copied: what the next bundle may need to make room for.
    pub(crate) const fn copied_len(&self) -> usize {
        self.content.end().written()
    }

    pub(crate) fn close(mut self, topic: TopicName) -> Bundle {
        // It may wait long for an ack, and so may many like it.
        self.content.shrink();
        self.held.set(OVERHEAD_BYTES + self.content.memory());
        Bundle {
            topic,
            first: self.first,
            last: self.last,
            published: self.published,
            deadline: self.last_published + self.expiry,
            content: self.content.freeze(),
            held: self.held,
            signature: OnceLock::new(),
        }
    }
}

/// A closed bundle. All peers share it.
#[derive(Debug)]
pub(crate) struct Bundle {
    pub(crate) topic: TopicName,
    pub(crate) first: u64,
    pub(crate) last: u64,
    /// When the first message was published.
    pub(crate) published: Instant,
    /// When the last message expires.
    pub(crate) deadline: Instant,
    pub(crate) content: FrozenChain,
    /// Counts until the last peer has let go of it.
    held: Held,
    /// Once it has gone to a peer that caches it, in a private network.
    signature: OnceLock<Box<Signature>>,
}

impl Bundle {
    /// Signs it, unless it is already.
    pub(crate) fn sign(&self, signer: &Signer) {
        self.signature.get_or_init(|| {
            let mut body = Chain::default();
            self.content.append_to(0..self.content.len(), &mut body);
            Box::new(signer.sign(self.count(), &body.to_vec()))
        });
    }

    pub(crate) fn signature(&self) -> Option<&Signature> {
        self.signature.get().map(|signature| &**signature)
    }

    /// Bytes of memory that it takes.
    pub(crate) const fn bytes(&self) -> usize {
        self.held.bytes()
    }

    /// How many messages.
    pub(crate) const fn count(&self) -> u64 {
        self.last - self.first + 1
    }
}

/// Topic and type as they stand at the start of each bundle.
pub(crate) fn names(topic: &str, type_name: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(topic.len() + type_name.len() + 8);
    put_bytes(&mut out, topic.as_bytes());
    put_bytes(&mut out, type_name.as_bytes());
    out
}

/// A received bundle, up to its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header<'a> {
    pub(crate) topic: &'a [u8],
    pub(crate) type_name: &'a [u8],
    pub(crate) first: u64,
    pub(crate) timestamp: WallTime,
    pub(crate) expiry: Duration,
    pub(crate) messages: &'a [u8],
}

impl<'a> Header<'a> {
    /// `None`: malformed.
    pub(crate) fn read(body: &'a [u8]) -> Option<Self> {
        let (topic, rest) = split_bytes(body)?;
        let (type_name, rest) = split_bytes(rest)?;
        let (first, rest) = split_varint(rest)?;
        let (timestamp, rest) = rest.split_first_chunk()?;
        let (expiry, messages) = split_varint(rest)?;
        let expiry = of_micros(expiry);
        let timestamp = WallTime::from_unix_nanos(i64::from_be_bytes(*timestamp));
        Some(Self { topic, type_name, first, timestamp, expiry, messages })
    }
}

/// What was found of the messages that should be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    All,
    /// The bytes end before the messages do.
    Fewer,
    /// Something else follows the messages.
    More,
}

/// Looks for `count` messages.
pub(crate) fn find(count: u64, mut messages: &[u8]) -> Found {
    for _ in 0..count {
        let Some((_, _, rest)) = split_message(messages) else { return Found::Fewer };
        messages = rest;
    }
    if messages.is_empty() { Found::All } else { Found::More }
}

/// Splits off a message: delta, payload, rest.
#[inline]
pub(crate) fn split_message(bytes: &[u8]) -> Option<(u64, &[u8], &[u8])> {
    let (len, rest) = split_varint(bytes)?;
    let (delta, rest) = split_varint(rest)?;
    let (payload, rest) = rest.split_at_checked(usize::try_from(len).ok()?)?;
    Some((delta, payload, rest))
}

fn split_bytes(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = split_varint(bytes)?;
    rest.split_at_checked(usize::try_from(len).ok()?)
}

fn put_header(post: &Post<'_>, names: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(names);
    put_varint(out, post.sequence);
    out.extend_from_slice(&post.wall.as_unix_nanos().to_be_bytes());
    put_varint(out, micros_up(post.expiry));
}

fn header_len(post: &Post<'_>, names: &[u8]) -> usize {
    names.len() + varint_len(post.sequence) + 8 + varint_len(micros_up(post.expiry))
}

#[inline]
fn put_message(post: &Post<'_>, delta: u64, out: &mut Chain) {
    let payload = post.payload.as_slice();
    put_varint(out.written(), payload.len() as u64);
    put_varint(out.written(), delta);
    match post.payload {
        Data::Shared(bytes) => out.share_from(bytes),
        Data::Slice(slice) => out.put(slice),
    }
}

#[inline]
fn message_len(post: &Post<'_>, delta: u64) -> usize {
    let len = post.payload.as_slice().len();
    varint_len(len as u64) + varint_len(delta) + len
}

/// Rounded up, so that a message never expires early; the largest varint stands for ever.
pub(crate) fn micros_up(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000)).unwrap_or(MAX_VARINT).min(MAX_VARINT)
}

/// An expiry as it stands on the wire.
pub(crate) const fn of_micros(micros: u64) -> Duration {
    if micros == MAX_VARINT { Duration::MAX } else { Duration::from_micros(micros) }
}

/// What a bundle takes beside its bytes: its structure, in memory of its own.
const OVERHEAD_BYTES: usize = size_of::<Bundle>() + 32;
/// A delta below it takes at most 4 bytes. A bundle is open for microseconds; a second means that a clock was set.
const MAX_DELTA: u64 = 1 << 30;
const MAX_VARINT: u64 = (1 << 62) - 1;
