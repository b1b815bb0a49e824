//! Reliable payloads to a peer: packet numbers, acks, loss recovery, congestion and flow control, expiry. Pure.
