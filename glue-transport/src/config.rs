//! Settings of the transport.

use std::time::Duration;

/// Limits and times of the transport. The defaults suit a LAN and one host, and survive a WAN.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Bytes of payload that a peer may have sent beyond what our application took. Default 8 MiB, at least 64 KiB.
    /// It bounds the memory that one peer can fill here.
    pub receive_window_bytes: u64,
    /// The credit that a peer has before anything came from it, in bytes. Default 8 MiB, at least 75 KiB: what
    /// is left when it is renewed must take the largest datagram, or a peer that sends such ones waits for ever.
    pub initial_credit_bytes: u64,
    /// Bytes that may be under way to us at once: what the socket's receive buffer holds. Default 106,496 (half of
    /// Linux's default buffer, since the kernel charges its own overhead to it); at least 16 KiB. It is shared by the
    /// peers that send.
    pub socket_window_bytes: u64,
    /// Bytes queued for one peer, beyond which further payloads are skipped: the receiver sees a gap. Default 80 MiB.
    /// An endpoint holds its publishers back at 8 MiB, so that even a message of 64 MiB finds room then.
    pub max_queue_bytes: usize,
    /// Largest datagram on a path that is not known to carry more, in bytes. Default 1,200 (RFC 9000, section 14).
    pub base_datagram_bytes: usize,
    /// Largest datagram that is tried on a network, in bytes; `base_datagram_bytes` to 65,507. Default 8,972: a jumbo
    /// frame of 9,000 less headers. The interface and the peer bound it too. Equal to the base nothing is tried. A
    /// larger one saves work for each byte, and takes more with it when it is lost.
    pub max_datagram_bytes: usize,
    /// Largest datagram on the loopback interface, in bytes. Default 65,507.
    pub loopback_datagram_bytes: usize,
    /// Longest wait before a lone packet is acknowledged. Default 2 ms. Longer saves datagrams, and delays what the
    /// sender learns.
    pub max_ack_delay: Duration,
    /// The round trip that is assumed before one was measured. Default 20 ms. A lost first packet costs three of it.
    pub initial_rtt: Duration,
    /// Longest time between two probes of a silent peer. Default 500 ms. It bounds how late a healed path is noticed.
    pub max_probe_interval: Duration,
    /// Frames under way to one classic peer. Default 16; each is up to 8.7 KiB. The reference's receive buffer holds
    /// about 24 of them.
    pub classic_window_frames: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            receive_window_bytes: 8 << 20,
            initial_credit_bytes: 8 << 20,
            socket_window_bytes: 106_496,
            max_queue_bytes: 80 << 20,
            base_datagram_bytes: 1_200,
            max_datagram_bytes: 8_972,
            loopback_datagram_bytes: glue_net::wire::MAX_DATAGRAM_BYTES,
            max_ack_delay: Duration::from_millis(2),
            initial_rtt: Duration::from_millis(20),
            max_probe_interval: Duration::from_millis(500),
            classic_window_frames: 16,
        }
    }
}
