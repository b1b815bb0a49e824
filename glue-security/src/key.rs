//! The key of a network.

use std::fmt;
use std::str::FromStr;

use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::random::Random;
use crate::text;

/// The secret that the members of a private network share: 32 bytes. Its text is base64 or hexadecimal. It is never shown,
/// but by [`NetworkKey::expose`], and its memory is cleared when it is dropped.
///
/// ```
/// use glue_security::NetworkKey;
///
/// let key: NetworkKey = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f".parse()?;
/// assert_eq!(format!("{key:?}"), "NetworkKey(..)");
/// assert_eq!(key.expose(), "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
/// # Ok::<(), glue_security::KeyError>(())
/// ```
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct NetworkKey([u8; 32]);

impl NetworkKey {
    /// The key of these bytes, which must be random.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// A new key.
    pub fn generate(random: &mut Random) -> Self {
        Self(random.bytes())
    }

    /// The key as text, 44 characters of base64: for who is to have it.
    #[must_use]
    pub fn expose(&self) -> String {
        text::write(&self.0)
    }

    pub(crate) const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// In constant time.
impl PartialEq for NetworkKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
    }
}

impl Eq for NetworkKey {}

impl fmt::Debug for NetworkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NetworkKey(..)")
    }
}

impl FromStr for NetworkKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        text::read(text).map(Self).ok_or(KeyError)
    }
}

/// A text is not the key that it should be. It says nothing of the text, which may be nearly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a key of 32 bytes in base64 (44 characters) or hexadecimal (64 digits)")]
pub struct KeyError;
