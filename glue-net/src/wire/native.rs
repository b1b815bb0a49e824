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
/// What the header of a private data datagram has beside.
pub const EPOCH_BYTES: usize = 1;
/// What an envelope begins with: a datagram that members of a private network read.
pub const ENVELOPE: [u8; 2] = [MAGIC, KIND_ENVELOPE];
/// What a data datagram begins with that only one member of a private network reads.
pub const PRIVATE_DATA: [u8; 2] = [MAGIC, KIND_PRIVATE_DATA];

const KIND_HELLO: u8 = 1;
const KIND_DATA: u8 = 2;
const KIND_PRIVATE_DATA: u8 = 3;
const KIND_ENVELOPE: u8 = 4;
const KIND_ANNOUNCEMENT: u8 = 5;

/// Names one direction of a session: the receiver of the datagrams chose it, at random, and finds its state by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// A datagram of the native envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Datagram {
    /// Opens or confirms a session.
    Hello {
        /// What it says.
        hello: Hello,
        /// What follows: nothing, or a [`Proof`].
        rest: Bytes,
    },
    /// Carries frames of a session.
    Data {
        /// The receiver's token.
        token: Token,
        /// Counts the datagrams of this direction from 0; never repeats.
        packet: u64,
        /// The frames, still encoded.
        frames: Bytes,
    },
    /// As data, of a private session.
    PrivateData {
        /// The receiver's token.
        token: Token,
        /// Which keys it is sealed under.
        epoch: u8,
        /// As that of data.
        packet: u64,
        /// What stands before the body.
        header: Bytes,
        /// The frames, sealed, and the tag.
        body: Bytes,
    },
}

impl Datagram {
    /// Reads a datagram.
    ///
    /// # Errors
    /// [`DecodeError`] if it is no native datagram of this version.
    pub fn decode(datagram: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(datagram.clone());
        if reader.u8()? != MAGIC {
            return Err(DecodeError::Malformed("magic byte"));
        }
        match reader.u8()? {
            KIND_HELLO => {
                let hello = Hello::decode(&mut reader)?;
                Ok(Self::Hello { hello, rest: reader.rest() })
            }
            KIND_DATA => {
                let (token, packet) = (Token(reader.u64()?), reader.varint()?);
                Ok(Self::Data { token, packet, frames: reader.rest() })
            }
            KIND_PRIVATE_DATA => {
                let (epoch, token, packet) = (reader.u8()?, Token(reader.u64()?), reader.varint()?);
                let body = reader.rest();
                let header = datagram.slice(..datagram.len() - body.len());
                Ok(Self::PrivateData { token, epoch, packet, header, body })
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

/// Appends the header of a private data datagram, [`EPOCH_BYTES`] longer than that of data.
pub fn put_private_header(epoch: u8, token: Token, packet: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(&PRIVATE_DATA);
    out.push(epoch);
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

    fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
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

/// What an announcement of a private network has beside: it stands before the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// The announced endpoint's public key.
    pub key: [u8; 32],
    /// Counts its announcements of a life, from 1: of two of them the larger is the later.
    pub count: u64,
}

impl Member {
    /// Appends it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[MAGIC, KIND_ANNOUNCEMENT]);
        out.extend_from_slice(&self.key);
        put_varint(out, self.count);
    }

    /// Reads it, and gives the container that follows. `None`: the datagram is no announcement.
    ///
    /// # Errors
    /// [`DecodeError`] if it is too short.
    pub fn decode(datagram: Bytes) -> Result<Option<(Self, Bytes)>, DecodeError> {
        let mut reader = Reader::new(datagram);
        if [reader.u8()?, reader.u8()?] != [MAGIC, KIND_ANNOUNCEMENT] {
            return Ok(None);
        }
        let member = Self { key: reader.array()?, count: reader.varint()? };
        Ok(Some((member, reader.rest())))
    }
}

/// What a hello of a private network has beside: it shows that the speaker is who it says, and is no old one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proof {
    /// Counts the speaker's hellos of a life, from 1.
    pub count: u64,
    /// Names the keys that the handshake gives.
    pub epoch: u8,
    /// What the receiver gave the speaker, so that it shows that it is where it says; or gives it; or zeros.
    pub cookie: [u8; COOKIE_BYTES],
    /// A message of a handshake; if there is none, the speaker asks for one.
    pub message: Bytes,
}

/// Bytes of a cookie.
pub const COOKIE_BYTES: usize = 16;

impl Proof {
    /// Appends it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.count);
        out.push(self.epoch);
        out.extend_from_slice(&self.cookie);
        out.extend_from_slice(&self.message);
    }

    /// Reads what follows a hello.
    ///
    /// # Errors
    /// [`DecodeError`] if it is too short.
    pub fn decode(rest: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(rest);
        let (count, epoch, cookie) = (reader.varint()?, reader.u8()?, reader.array()?);
        Ok(Self { count, epoch, cookie, message: reader.rest() })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    prop_compose! {
        fn proofs()(count in 0u64..1 << 62, epoch: u8, cookie: [u8; COOKIE_BYTES], message in prop::collection::vec(any::<u8>(), 0..99))
            -> Proof {
            Proof { count, epoch, cookie, message: message.into() }
        }
    }

    proptest! {
        #[test]
        fn what_private_networks_add_reads_as_it_was_written(
            proof in proofs(), key: [u8; 32], count in 0u64..1 << 62, epoch: u8, token: u64, packet in 0u64..1 << 62,
        ) {
            let mut out = Vec::new();
            proof.encode(&mut out);
            prop_assert_eq!(Proof::decode(out.into()), Ok(proof));

            let (member, mut out) = (Member { key, count }, Vec::new());
            member.encode(&mut out);
            out.extend_from_slice(b"{}");
            prop_assert_eq!(Member::decode(out.into()), Ok(Some((member, Bytes::from_static(b"{}")))));

            let (token, mut out) = (Token(token), Vec::new());
            put_private_header(epoch, token, packet, &mut out);
            prop_assert_eq!(out.len(), data_header_len(packet) + EPOCH_BYTES);
            let header = Bytes::from(out.clone());
            out.push(7);
            let body = Bytes::from_static(&[7]);
            prop_assert_eq!(Datagram::decode(out.into()), Ok(Datagram::PrivateData { token, epoch, packet, header, body }));
        }

        #[test]
        fn no_bytes_make_it_panic(datagram in prop::collection::vec(any::<u8>(), 0..200), kind in 0u8..7) {
            for datagram in [[&[MAGIC, kind], &datagram[..]].concat(), datagram] {
                let _ = Datagram::decode(datagram.clone().into());
                let _ = Member::decode(datagram.clone().into());
                let _ = Proof::decode(datagram.into());
            }
        }
    }
}
