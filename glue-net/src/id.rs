//! Identifiers, each a type of its own.

use std::fmt;
use std::str::FromStr;

use svix_ksuid::{Ksuid, KsuidLike};

use crate::{Rng, WallTime};

/// Keeps separate networks apart on shared addresses (`GLUE_NETWORK_ID`). Default 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetworkId(pub i64);

impl Default for NetworkId {
    fn default() -> Self {
        Self(1)
    }
}

impl fmt::Display for NetworkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An endpoint's identity: a KSUID (20 bytes: big-endian seconds since 2014-05-13, then 16 random bytes), shown as 27
/// base-62 characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct EndpointId([u8; Self::LEN]);

impl EndpointId {
    /// Bytes of an id on the wire.
    pub const LEN: usize = 20;
    const TEXT_LEN: usize = 27;
    /// Seconds from the Unix epoch to the KSUID epoch.
    const EPOCH_SECONDS: i64 = 1_400_000_000;

    /// The id with these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// The bytes as they stand on the wire.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// A new id: the time of `wall` and 16 bytes of `rng`.
    #[must_use]
    pub fn random(wall: WallTime, rng: &mut Rng) -> Self {
        let seconds = (wall.as_unix_nanos() / 1_000_000_000).saturating_sub(Self::EPOCH_SECONDS);
        let mut bytes = [0; Self::LEN];
        let (time, random) = bytes.split_at_mut(4);
        time.copy_from_slice(&u32::try_from(seconds).unwrap_or(0).to_be_bytes());
        rng.fill(random);
        Self(bytes)
    }

    /// The fixed id that stands for a plain number: 12 zero bytes, then the number, big-endian.
    #[must_use]
    pub fn from_integer(number: i64) -> Self {
        let mut bytes = [0; Self::LEN];
        bytes.iter_mut().skip(12).zip(number.to_be_bytes()).for_each(|(to, from)| *to = from);
        Self(bytes)
    }
}

impl fmt::Display for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&Ksuid::from_bytes(self.0).to_base62())
    }
}

impl fmt::Debug for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a text is no endpoint id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an endpoint id is a KSUID (27 characters of 0-9, A-Z, a-z) or an integer")]
pub struct ParseEndpointIdError;

/// Accepts KSUID text, or a decimal integer (see [`EndpointId::from_integer`]).
impl FromStr for EndpointId {
    type Err = ParseEndpointIdError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() != Self::TEXT_LEN {
            return text.parse().map(Self::from_integer).map_err(|_| ParseEndpointIdError);
        }
        let ksuid = Ksuid::from_base62(text).map_err(|_| ParseEndpointIdError)?;
        // Text above 2^160 is decoded to something else, without an error: only what reads back is an id.
        let bytes = ksuid.bytes().as_slice().try_into().map_err(|_| ParseEndpointIdError)?;
        if ksuid.to_base62() == text { Ok(Self(bytes)) } else { Err(ParseEndpointIdError) }
    }
}

/// Tells a restarted endpoint from its former life: larger means later. The driver takes it from the wall clock at
/// start (nanoseconds), so it needs no storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Incarnation(pub u64);

/// A peer, as numbered by this endpoint: one for each (endpoint id, incarnation) it has met, never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub u32);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_a_ksuid_reads_back() {
        let id: EndpointId = "3MObaaaaaaaaaaaaaaaaaaaaaaa".parse().unwrap();
        assert_eq!(id.to_string(), "3MObaaaaaaaaaaaaaaaaaaaaaaa");
        assert_eq!(&id.as_bytes()[..4], &[0x17, 0x8e, 0xa6, 0x31]);
    }

    #[test]
    fn integers_map_to_fixed_ids() {
        let id: EndpointId = "7".parse().unwrap();
        assert_eq!(id, EndpointId::from_integer(7));
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn other_text_is_refused() {
        for bad in ["", "x", "3MObaaaaaaaaaaaaaaaaaaaaaa", "3MObaaaaaaaaaaaaaaaaaaaaaa!", "zzzzzzzzzzzzzzzzzzzzzzzzzzz"]
        {
            assert_eq!(bad.parse::<EndpointId>(), Err(ParseEndpointIdError), "{bad}");
        }
    }

    #[test]
    fn random_ids_differ_and_carry_the_time() {
        let (mut rng, wall) = (Rng::new(1), WallTime::from_unix_nanos(1_795_224_787_000_000_000));
        let (a, b) = (EndpointId::random(wall, &mut rng), EndpointId::random(wall, &mut rng));
        assert_ne!(a, b);
        assert_eq!(a.as_bytes()[..4], b.as_bytes()[..4]);
    }
}
