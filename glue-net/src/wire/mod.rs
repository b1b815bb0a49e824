//! Bytes on the network: checked readers and writers, the [`native`] envelope, the [`classic`] container.

pub mod classic;
pub mod native;
mod read;
mod write;

pub use read::{DecodeError, Reader, split_varint};
pub use write::{put_bytes, put_varint, varint_len};

/// The most that one UDP datagram carries over IPv4: 65,535 less 20 (IP) and 8 (UDP).
pub const MAX_DATAGRAM_BYTES: usize = 65_507;

/// What the first byte of a datagram says of the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The native envelope.
    Native,
    /// The classic container as JSON.
    Json,
    /// The classic container as MessagePack.
    MessagePack,
}

impl Format {
    /// Tells the format by the first byte; `None` for a byte that none begins with. Bytes below 0x80 but `{` are
    /// MessagePack integers or blanks, which no container begins with.
    #[must_use]
    pub const fn detect(first: u8) -> Option<Self> {
        match first {
            native::MAGIC => Some(Self::Native),
            b'{' => Some(Self::Json),
            0x80..=0x8f | 0xde | 0xdf => Some(Self::MessagePack),
            _ => None,
        }
    }
}
