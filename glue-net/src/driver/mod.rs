//! Real sockets (being built).
