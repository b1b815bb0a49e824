//! Datagrams that every member of a network may read, and nobody else.

use std::fmt;

use glue_net::NetworkId;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Prk, Salt};

use crate::key::NetworkKey;
use crate::random::Random;
use crate::tunnel::TAG_BYTES;

/// What an envelope adds to a datagram.
pub const ENVELOPE_BYTES: usize = SALT_BYTES + NONCE_BYTES + TAG_BYTES;

/// Seals and opens datagrams under a network's key.
///
/// Each datagram has a key of its own, from the envelope's key and 12 random bytes (HKDF with SHA-256, RFC 5869), and a random
/// nonce of 12 bytes. Random nonces alone would allow some 2^32 datagrams for a network in all its life: a month of a
/// thousand endpoints.
pub struct Envelope {
    secret: Prk,
    random: Random,
}

impl Envelope {
    /// The envelope of a network.
    #[must_use]
    pub fn new(key: &NetworkKey, network: NetworkId, random: Random) -> Self {
        let salt = Salt::new(HKDF_SHA256, b"glue envelope 1");
        let secret = salt.extract(&[&key.as_bytes()[..], &network.0.to_be_bytes()].concat());
        Self { secret, random }
    }

    /// Appends `datagram`, sealed: salt, nonce, what only members read, tag. `header` goes in the clear before it, and is
    /// sealed against changes.
    pub fn seal(&mut self, header: &[u8], datagram: &[u8], out: &mut Vec<u8>) {
        let (salt, nonce): ([u8; SALT_BYTES], [u8; NONCE_BYTES]) = (self.random.bytes(), self.random.bytes());
        let Some(key) = self.key(&salt) else { return };
        out.extend_from_slice(header);
        out.extend_from_slice(&salt);
        out.extend_from_slice(&nonce);
        let start = out.len();
        out.extend_from_slice(datagram);
        let body = out.get_mut(start..).unwrap_or_default();
        let sealed = key.seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(header), body);
        if let Ok(tag) = sealed {
            out.extend_from_slice(tag.as_ref());
        }
    }

    /// Opens what follows `header`. `None`: it was not sealed under this key, or was changed since.
    #[must_use]
    pub fn open(&self, header: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let (salt, rest) = sealed.split_first_chunk::<SALT_BYTES>()?;
        let (nonce, body) = rest.split_first_chunk::<NONCE_BYTES>()?;
        if body.len() < TAG_BYTES {
            return None;
        }
        let mut body = body.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let len = self.key(salt)?.open_in_place(nonce, Aad::from(header), &mut body).ok()?.len();
        body.truncate(len);
        Some(body)
    }

    fn key(&self, salt: &[u8; SALT_BYTES]) -> Option<LessSafeKey> {
        let info = [&b"datagram"[..], salt];
        let key = self.secret.expand(&info, &AES_256_GCM).ok()?;
        Some(LessSafeKey::new(UnboundKey::from(key)))
    }
}

impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Envelope(..)")
    }
}

const SALT_BYTES: usize = 12;
const NONCE_BYTES: usize = 12;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn envelope(key: u8, network: i64) -> Envelope {
        Envelope::new(&NetworkKey::from_bytes([key; 32]), NetworkId(network), Random::new([key; 32]))
    }

    fn sealed(datagram: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        envelope(1, 1).seal(b"h", datagram, &mut out);
        assert_eq!(out.len(), 1 + datagram.len() + ENVELOPE_BYTES);
        out.split_off(1)
    }

    #[test]
    fn members_read_it_and_nobody_else() {
        let sealed = sealed(b"a datagram");
        assert_eq!(envelope(1, 1).open(b"h", &sealed).as_deref(), Some(&b"a datagram"[..]));
        assert_eq!(envelope(2, 1).open(b"h", &sealed), None);
        assert_eq!(envelope(1, 2).open(b"h", &sealed), None);
        assert_eq!(envelope(1, 1).open(b"x", &sealed), None);
        assert!(!sealed.windows(4).any(|window| window == b"gram"));
    }

    #[test]
    fn no_two_are_alike() {
        let mut envelope = envelope(1, 1);
        let mut seal = || {
            let mut out = Vec::new();
            envelope.seal(b"", b"the same", &mut out);
            out
        };
        assert_ne!(seal(), seal());
    }

    proptest! {
        #[test]
        fn what_was_changed_anywhere_or_is_anything_is_refused(
            at: prop::sample::Index, bit in 0u8..8, cut: prop::sample::Index, junk in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let whole = sealed(b"something of some length");
            let mut changed = whole.clone();
            changed[at.index(whole.len())] ^= 1u8 << bit;
            prop_assert_eq!(envelope(1, 1).open(b"h", &changed), None);
            prop_assert_eq!(envelope(1, 1).open(b"h", &whole[..cut.index(whole.len())]), None);
            prop_assert_eq!(envelope(1, 1).open(b"h", &junk), None);
        }
    }
}
