//! The native envelope: every native datagram begins with [`MAGIC`] and a kind. PROTOCOL.md has the pictures.

use bytes::Bytes;

use super::{DecodeError, Reader, put_varint, varint_len};
use crate::{EndpointId, Incarnation, NetworkId};

/// First byte of every native datagram. Neither JSON nor MessagePack begins with it.
pub const MAGIC: u8 = 0xc1;
/// The protocol version that this crate speaks, and that announcements carry.
pub const VERSION: u8 = 1;
/// Most bytes of a data datagram before its first frame.
pub const MAX_DATA_HEADER_BYTES: usize = 2 + 8 + 8;

const KIND_HELLO: u8 = 1;
const KIND_DATA: u8 = 2;

/// Names one direction of a session: the receiver of the datagrams chose it, at random, and finds its state by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// A datagram of the native envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Datagram {
    /// Opens or confirms a session.
    Hello(Hello),
    /// Carries frames of a session.
    Data {
        /// The receiver's token.
        token: Token,
        /// Counts the datagrams of this direction from 0; never repeats.
        packet: u64,
        /// The frames, still encoded.
        frames: Bytes,
    },
}

impl Datagram {
    /// Reads a datagram.
    ///
    /// # Errors
    /// [`DecodeError`] if it is no native datagram of this version.
    pub fn decode(datagram: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(datagram);
        if reader.u8()? != MAGIC {
            return Err(DecodeError::Malformed("magic byte"));
        }
        match reader.u8()? {
            KIND_HELLO => Hello::decode(reader).map(Self::Hello),
            KIND_DATA => {
                let (token, packet) = (Token(reader.u64()?), reader.varint()?);
                Ok(Self::Data { token, packet, frames: reader.rest() })
            }
            _ => Err(DecodeError::Malformed("datagram kind")),
        }
    }
}

/// Appends the header of a data datagram, at most [`MAX_DATA_HEADER_BYTES`].
pub fn put_data_header(token: Token, packet: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(&[MAGIC, KIND_DATA]);
    out.extend_from_slice(&token.0.to_be_bytes());
    put_varint(out, packet);
}

/// Bytes that [`put_data_header`] takes.
#[must_use]
pub const fn data_header_len(packet: u64) -> usize {
    2 + 8 + varint_len(packet)
}

/// Says who speaks to whom, and by which token the speaker wants to be addressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The network that both are on.
    pub network: NetworkId,
    /// The speaker.
    pub source: EndpointId,
    /// The speaker's life.
    pub source_incarnation: Incarnation,
    /// Who is spoken to.
    pub destination: EndpointId,
    /// The life that is spoken to.
    pub destination_incarnation: Incarnation,
    /// Datagrams to the speaker carry this token.
    pub token: Token,
    /// The token that the speaker will use, if it knows one.
    pub echo: Option<Token>,
    /// Bytes of payload that the speaker takes before it extends the credit.
    pub credit: u64,
    /// Bytes that may be under way to the speaker at once: what its socket buffer holds.
    pub window: u64,
    /// Largest datagram that the speaker takes, in bytes.
    pub max_datagram: u64,
}

impl Hello {
    /// Appends the datagram.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[MAGIC, KIND_HELLO, VERSION]);
        out.extend_from_slice(&self.network.0.to_be_bytes());
        out.extend_from_slice(self.source.as_bytes());
        out.extend_from_slice(&self.source_incarnation.0.to_be_bytes());
        out.extend_from_slice(self.destination.as_bytes());
        out.extend_from_slice(&self.destination_incarnation.0.to_be_bytes());
        out.extend_from_slice(&self.token.0.to_be_bytes());
        out.extend_from_slice(&self.echo.map_or(0, |t| t.0).to_be_bytes());
        put_varint(out, self.credit);
        put_varint(out, self.window);
        put_varint(out, self.max_datagram);
    }

    fn decode(mut reader: Reader) -> Result<Self, DecodeError> {
        if reader.u8()? != VERSION {
            return Err(DecodeError::Malformed("version"));
        }
        Ok(Self {
            network: NetworkId(i64::from_be_bytes(reader.array()?)),
            source: EndpointId::from_bytes(reader.array()?),
            source_incarnation: Incarnation(reader.u64()?),
            destination: EndpointId::from_bytes(reader.array()?),
            destination_incarnation: Incarnation(reader.u64()?),
            token: Token(reader.u64()?),
            echo: Some(reader.u64()?).filter(|t| *t != 0).map(Token),
            credit: reader.varint()?,
            window: reader.varint()?,
            max_datagram: reader.varint()?,
        })
    }
}
