//! What was published and what came: the promises, checked as they are made.

use std::collections::BTreeMap;
use std::time::Duration;

use glue_net::{EndpointId, Instant};
use glue_topics::{Gap, GapReason, Message, Source};

/// A subscriber, in one of its lives.
pub(crate) type Reader = (usize, u32);
/// A publisher and a topic, in one of the publisher's lives.
pub(crate) type Stream = (EndpointId, u32, String);

/// The books of a run.
#[derive(Debug, Default)]
pub struct Books {
    published: BTreeMap<Stream, Vec<Entry>>,
    read: BTreeMap<(Reader, Stream), Cursor>,
    delivered_to: BTreeMap<Reader, u64>,
    /// How much too early something may be said to have expired: by as much as clocks differ.
    pub tolerance: Duration,
    /// Messages delivered in all.
    pub delivered: u64,
    /// Messages reported missing in all.
    pub missed: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    at: Instant,
    expiry: Duration,
    size: usize,
}

#[derive(Clone, Debug)]
struct Cursor {
    began: Instant,
    first: u64,
    last: u64,
    seen: Seen,
}

/// What a reader saw of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Messages delivered.
    pub delivered: u64,
    /// Messages missing, by reason.
    pub missed: BTreeMap<GapReason, u64>,
}

impl Seen {
    /// Messages missing for this reason.
    #[must_use]
    pub fn missed(&self, reason: GapReason) -> u64 {
        self.missed.get(&reason).copied().unwrap_or_default()
    }

    /// Messages seen or known to be missing.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.delivered + self.missed.values().sum::<u64>()
    }
}

impl Books {
    /// A message was published; its payload must be what `payload` gives for the same arguments.
    pub fn publish(&mut self, stream: Stream, sequence: u64, at: Instant, expiry: Duration, size: usize) {
        let entries = self.published.entry(stream).or_default();
        assert_eq!(sequence, entries.len() as u64 + 1, "sequence numbers have no holes");
        entries.push(Entry { at, expiry, size });
    }

    /// A message was delivered at `at`, on the subscriber's clock, which is the publisher's too. `slack` is how long the
    /// network may have carried it unseen.
    ///
    /// # Panics
    /// If the message was never published, comes twice, out of order, changed, or expired.
    pub fn deliver(&mut self, reader: Reader, at: Instant, slack: Duration, message: &Message) {
        let life = life_of(message);
        assert_eq!(message.payload.first_chunk(), Some(&life.to_be_bytes()), "the life in which it was published");
        let stream = (message.endpoint_id, life, message.topic_name.to_string());
        let sequence = message.sequence_number;
        let index = usize::try_from(sequence - 1).expect("small numbers");
        let entry = *self
            .published
            .get(&stream)
            .and_then(|entries| entries.get(index))
            .unwrap_or_else(|| panic!("{stream:?} {sequence} was never published"));
        assert!(*message.payload == payload(life, sequence, entry.size)[..], "{stream:?} {sequence} was changed");
        assert!(at <= entry.at + entry.expiry + slack, "{stream:?} {sequence} came after it expired");
        self.advance(reader, at, stream, sequence, sequence).delivered += 1;
        *self.delivered_to.entry(reader).or_default() += 1;
        self.delivered += 1;
    }

    /// A gap was reported at `at`.
    ///
    /// # Panics
    /// If it does not follow what came before, or says that messages expired which have not.
    pub fn miss(&mut self, reader: Reader, at: Instant, gap: &Gap) {
        let stream = (gap.source.endpoint_id, life_of(&gap.source), gap.source.topic_name.to_string());
        if gap.reason == GapReason::Expired {
            let entries = self.published.get(&stream).map_or(&[][..], |entries| entries);
            let from = usize::try_from(gap.from - 1).expect("small numbers");
            for entry in entries.iter().take(usize::try_from(gap.to).expect("small numbers")).skip(from) {
                assert!(entry.at + entry.expiry <= at + self.tolerance, "{stream:?} {gap:?}: not expired yet");
            }
        }
        *self.advance(reader, at, stream, gap.from, gap.to).missed.entry(gap.reason).or_default() += gap.count();
        self.missed += gap.count();
    }

    fn advance(&mut self, reader: Reader, at: Instant, stream: Stream, from: u64, to: u64) -> &mut Seen {
        let key = (reader, stream);
        if let Some(cursor) = self.read.get(&key) {
            assert_eq!(from, cursor.last + 1, "{key:?}: in order, once, and no silent gap");
        }
        let cursor =
            self.read.entry(key).or_insert_with(|| Cursor { began: at, first: from, last: to, seen: Seen::default() });
        cursor.last = to;
        &mut cursor.seen
    }

    /// What `reader` saw of `stream`.
    #[must_use]
    pub fn seen(&self, reader: Reader, stream: &Stream) -> Seen {
        self.read.get(&(reader, stream.clone())).map(|cursor| cursor.seen.clone()).unwrap_or_default()
    }

    /// Asserts that `reader` has seen, as messages or as gaps, everything of `stream` from sequence number `from` on.
    ///
    /// # Panics
    /// If not.
    pub fn assert_complete(&self, reader: Reader, stream: &Stream, from: u64) {
        let count = self.published.get(stream).map_or(0, Vec::len) as u64;
        if count < from {
            return;
        }
        let Some(cursor) = self.read.get(&(reader, stream.clone())) else {
            panic!("{reader:?} got nothing of {stream:?}, {count} published, wanted from {from}");
        };
        assert!(
            cursor.first <= from && cursor.last == count,
            "{reader:?} got {cursor:?} of {stream:?}, {count} published, wanted from {from}"
        );
    }

    /// Asserts that `reader` has seen, as messages or as gaps, what of `stream` has the numbers `from` to `last`. It may have
    /// begun later if all before had expired when it did: with a cache it is not told of these.
    ///
    /// # Panics
    /// If not.
    pub fn assert_has(&self, reader: Reader, stream: &Stream, from: u64, last: u64) {
        let cursor = self.read.get(&(reader, stream.clone()));
        let began = |cursor: &Cursor| {
            let until = cursor.began + self.tolerance;
            let entries = self.published.get(stream).into_iter().flatten().zip(1..);
            let mut missed = entries.filter(|(_, number)| (from..cursor.first).contains(number));
            missed.all(|(entry, _)| entry.at + entry.expiry <= until)
        };
        assert!(
            cursor.is_some_and(|cursor| began(cursor) && cursor.last >= last),
            "{reader:?} got {cursor:?} of {stream:?}, wanted {from} to {last}"
        );
    }

    /// The number of the last message of `stream` that `reader` has seen or knows to be missing; 0: none.
    #[must_use]
    pub fn last(&self, reader: Reader, stream: &Stream) -> u64 {
        self.read.get(&(reader, stream.clone())).map_or(0, |cursor| cursor.last)
    }

    /// How many messages of `stream` were published until `at`.
    #[must_use]
    pub fn count_until(&self, stream: &Stream, at: Instant) -> u64 {
        self.published.get(stream).map_or(0, |entries| entries.partition_point(|entry| entry.at <= at)) as u64
    }

    /// When a message was published, if it was.
    #[must_use]
    pub fn published_at(&self, stream: &Stream, sequence: u64) -> Option<Instant> {
        let entries = self.published.get(stream)?;
        entries.get(usize::try_from(sequence.checked_sub(1)?).ok()?).map(|entry| entry.at)
    }

    /// Whether `reader` has seen, as messages or as gaps, everything of `stream`.
    #[must_use]
    pub fn is_complete(&self, reader: Reader, stream: &Stream) -> bool {
        let count = self.count(stream);
        count == 0 || self.read.get(&(reader, stream.clone())).is_some_and(|cursor| cursor.last == count)
    }

    /// How many messages a reader got.
    #[must_use]
    pub fn delivered_to(&self, reader: Reader) -> u64 {
        self.delivered_to.get(&reader).copied().unwrap_or_default()
    }

    /// How many messages were published in a stream.
    #[must_use]
    pub fn count(&self, stream: &Stream) -> u64 {
        self.published.get(stream).map_or(0, Vec::len) as u64
    }
}

/// What a message of this publisher's life and sequence number contains: both numbers, then bytes that follow from them.
#[must_use]
pub(crate) fn payload(life: u32, sequence: u64, size: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(size.max(12));
    bytes.extend_from_slice(&life.to_be_bytes());
    bytes.extend_from_slice(&sequence.to_be_bytes());
    let mut rng = glue_net::Rng::new(sequence);
    let mut rest = vec![0; size.saturating_sub(12)];
    rng.fill(&mut rest);
    bytes.extend(rest);
    bytes
}

/// A member's incarnation is one more than its life.
fn life_of(source: &Source) -> u32 {
    u32::try_from(source.incarnation.0 - 1).expect("small numbers")
}
