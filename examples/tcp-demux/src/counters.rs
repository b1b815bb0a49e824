//! What is counted.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// One number that only goes up. Each thread has a cache line of it, up to [`PARTS`]: all count the same things at the same time.
#[derive(Debug, Default)]
pub(crate) struct Counter([Part; PARTS]);

#[derive(Debug, Default)]
#[repr(align(64))]
struct Part(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: usize) {
        let part = PART.with(|part| *part);
        if let Some(part) = self.0.get(part) {
            part.0.fetch_add(n as u64, Ordering::Relaxed);
        }
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.iter().map(|part| part.0.load(Ordering::Relaxed)).sum()
    }
}

/// More threads than this share them.
const PARTS: usize = 4;

static NEXT_PART: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static PART: usize = NEXT_PART.fetch_add(1, Ordering::Relaxed) % PARTS;
}

macro_rules! counters {
    ($($name:ident: $help:literal,)*) => {
        /// All that is counted, since the start.
        #[derive(Debug, Default)]
        pub(crate) struct Counters { $(#[doc = $help] pub(crate) $name: Counter,)* }

        impl Counters {
            /// Name, help and value of each.
            pub(crate) fn all(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
                [$((stringify!($name), $help, self.$name.get()),)*].into_iter()
            }
        }
    };
}

counters! {
    sockets_accepted: "Sockets that were accepted.",
    sockets_refused: "Sockets that were turned away since there were as many as may be.",
    sockets_refused_by_address: "Sockets that were turned away since there were as many of their address as may be.",
    sockets_slow: "Sockets that were cut since they did not read.",
    sockets_vanished: "Sockets whose client acknowledged nothing any more.",
    sockets_idle: "Sockets that were closed since they were idle.",
    sockets_bad_frame: "Sockets that were closed since a message was too long.",
    proxy_header_bad: "Sockets that were closed for a bad or late PROXY header.",
    tls_failed: "Sockets whose TLS handshake failed or was late.",
    bytes_received: "Bytes read from sockets.",
    bytes_sent: "Bytes written to sockets.",
    messages_received: "Messages read from sockets.",
    messages_forwarded: "Messages and events that upstreams took.",
    messages_redelivered: "Messages that went to another upstream after they were sent to one that failed.",
    messages_uncertain: "Streams that failed with messages that may or may not have been processed, since the upstream confirms none.",
    messages_from_upstream: "Messages from upstreams.",
    messages_delivered: "Messages that were put in line for a socket.",
    messages_unknown_client: "Messages from upstreams to clients that are not there.",
    messages_dropped: "Messages from upstreams that found the queue of a slow socket full.",
    messages_malformed: "Messages from upstreams without a target, or with one that makes no sense.",
    events_dropped: "Events that an upstream did not get since it was full.",
    broadcasts: "Broadcasts, those of other instances among them.",
    joins_refused: "Joins that were refused: too many groups, or a bad name.",
    upstream_failures: "Times that an upstream failed or could not be reached.",
    instance_messages_sent: "Messages sent to other instances.",
    instance_messages_received: "Messages from other instances.",
}
