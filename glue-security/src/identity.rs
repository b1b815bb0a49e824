//! Who a member is.

use std::fmt;
use std::str::FromStr;

use curve25519_dalek::edwards::CompressedEdwardsY;
use ring::digest::{SHA512, digest};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use zeroize::{Zeroize, Zeroizing};

use crate::key::KeyError;
use crate::random::Random;
use crate::text;

/// Bytes of a signature.
pub const SIGNATURE_BYTES: usize = 64;

/// A signature (Ed25519, RFC 8032).
pub type Signature = [u8; SIGNATURE_BYTES];

/// What proves who a member is: an Ed25519 key (RFC 8032). It signs messages that others keep, and in handshakes it stands as
/// the X25519 key of the same scalar.
///
/// It is never shown, and its memory is cleared when it is dropped.
#[derive(Clone)]
pub struct Identity {
    seed: Zeroizing<[u8; 32]>,
    public: PublicKey,
}

impl Identity {
    /// The identity of a seed, which must be random and secret.
    #[must_use]
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let mut public = [0; 32];
        if let Ok(pair) = Ed25519KeyPair::from_seed_unchecked(&seed) {
            public.iter_mut().zip(pair.public_key().as_ref()).for_each(|(to, from)| *to = *from);
        }
        Self { seed: Zeroizing::new(seed), public: PublicKey(public) }
    }

    /// A new identity.
    pub fn generate(random: &mut Random) -> Self {
        Self::from_seed(random.bytes())
    }

    /// The seed as text, 44 characters of base64: for the file that it is kept in.
    #[must_use]
    pub fn expose(&self) -> Zeroizing<String> {
        Zeroizing::new(text::write(&self.seed))
    }

    /// By what others know it.
    #[must_use]
    pub const fn public_key(&self) -> PublicKey {
        self.public
    }

    /// Signs `message`. It takes some 20 us.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Signature {
        let pair = Ed25519KeyPair::from_seed_unchecked(&*self.seed);
        let signature = pair.ok().and_then(|pair| pair.sign(message).as_ref().try_into().ok());
        // A seed of 32 bytes is always one.
        signature.unwrap_or([0; SIGNATURE_BYTES])
    }

    /// The secret scalar (RFC 8032, section 5.1.5), by which X25519 (RFC 7748) agrees with the Ed25519 key.
    pub(crate) fn agreement_key(&self) -> Zeroizing<[u8; 32]> {
        let mut scalar = Zeroizing::new([0; 32]);
        let hash = digest(&SHA512, &*self.seed);
        scalar.iter_mut().zip(hash.as_ref()).for_each(|(to, from)| *to = *from);
        scalar
    }
}

impl FromStr for Identity {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let mut seed = text::read(text).ok_or(KeyError)?;
        let identity = Self::from_seed(seed);
        seed.zeroize();
        Ok(identity)
    }
}

impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        self.public == other.public
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({}, ..)", self.public)
    }
}

/// By what a member is known: an Ed25519 public key. Its text is 44 characters of base64; 64 hexadecimal digits are read too.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// The key of these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether `signature` is the member's, of `message`. It takes some 50 us.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &Signature) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0).verify(message, signature).is_ok()
    }

    /// The X25519 key (RFC 7748, section 4.1), if the bytes are a point that has one.
    pub(crate) fn agreement_key(&self) -> Option<[u8; 32]> {
        let point = CompressedEdwardsY(self.0).decompress()?;
        (!point.is_small_order()).then(|| point.to_montgomery().to_bytes())
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text::write(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        text::read(text).map(Self).ok_or(KeyError)
    }
}

#[cfg(test)]
mod tests {
    use curve25519_dalek::MontgomeryPoint;

    use super::*;

    fn identity(seed: u8) -> Identity {
        Identity::from_seed([seed; 32])
    }

    /// RFC 8032, section 7.1, test 2.
    #[test]
    fn signs_as_the_rfc_says() {
        let seed = "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb";
        let public = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c";
        let signature = [
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da",
            "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        ];
        let signature: Vec<u8> = signature.iter().flat_map(|half| text::read(half).unwrap()).collect();
        let identity: Identity = seed.parse().unwrap();
        assert_eq!(identity.public_key(), public.parse().unwrap());
        assert_eq!(identity.sign(&[0x72])[..], signature[..]);
    }

    #[test]
    fn only_the_signer_s_signature_of_the_same_message_holds() {
        let signature = identity(1).sign(b"message");
        assert!(identity(1).public_key().verifies(b"message", &signature));
        assert!(!identity(2).public_key().verifies(b"message", &signature));
        assert!(!identity(1).public_key().verifies(b"massage", &signature));
        let mut altered = signature;
        altered[10] ^= 1;
        assert!(!identity(1).public_key().verifies(b"message", &altered));
    }

    #[test]
    fn two_members_agree_on_a_secret() {
        let agree = |secret: &Identity, public: &Identity| {
            let public = MontgomeryPoint(public.public_key().agreement_key().unwrap());
            public.mul_clamped(*secret.agreement_key())
        };
        assert_eq!(agree(&identity(1), &identity(2)), agree(&identity(2), &identity(1)));
        assert_ne!(agree(&identity(1), &identity(2)), agree(&identity(1), &identity(3)));
    }

    #[test]
    fn bytes_that_are_no_point_agree_on_nothing() {
        assert_eq!(PublicKey::from_bytes([0; 32]).agreement_key(), None);
        assert_eq!(PublicKey::from_bytes([2; 32]).agreement_key(), None);
    }

    #[test]
    fn a_secret_is_not_shown() {
        let shown = format!("{:?} {:#?}", identity(7), identity(7));
        assert!(!shown.contains(identity(7).expose().as_str()));
        assert!(!shown.contains(&[7; 32].map(|byte: u8| byte.to_string()).join(", ")));
    }
}
