//! What makes a network private: keys, identities, sealed datagrams, and the ciphers of sessions. Pure: time, datagrams
//! and randomness are arguments.
//!
//! One [`NetworkKey`] makes the members of a network. An [`Envelope`] seals datagrams that all members may read:
//! announcements and hellos. A [`Tunnel`] is between two of them: Noise (revision 34) handshakes, `KKpsk0` with the network
//! key as pre-shared key and the members' [`Identity`]s as static keys, and AEGIS-128X4 for what follows.
//!
//! No algorithm is ours: Noise is `snow`'s; AEGIS is `aegis`'s (libaegis); AES-GCM, SHA-2, HKDF and Ed25519 are `ring`'s; X25519 is `curve25519-dalek`'s;
//! ChaCha20 as a generator is `rand_chacha`'s.

mod cookie;
mod envelope;
mod handshake;
mod identity;
mod key;
mod random;
mod replay;
mod text;
mod tunnel;

pub use cookie::{COOKIE_BYTES, Cookies};
pub use envelope::{ENVELOPE_BYTES, Envelope};
pub use identity::{Identity, PublicKey, SIGNATURE_BYTES, Signature};
pub use key::{KeyError, NetworkKey};
pub use random::Random;
pub use replay::Window;
pub use tunnel::{Epoch, Refused, Role, Sealing, Step, TAG_BYTES, Tunnel};

/// What an endpoint of a private network holds.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Which network.
    pub key: NetworkKey,
    /// Which member of it.
    pub identity: Identity,
}
