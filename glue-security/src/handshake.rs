//! The Noise handshake between two members who know each other's public keys.

use std::fmt;

use snow::params::{CipherChoice, DHChoice, HashChoice, NoiseParams};
use snow::resolvers::{CryptoResolver, DefaultResolver};
use snow::types::{Cipher, Dh, Hash};
use snow::{Builder, HandshakeState};
use zeroize::Zeroizing;

use crate::random::Random;
use crate::{Credentials, PublicKey};

/// Both sides' keys for what follows a handshake.
pub(crate) struct Split {
    pub(crate) initiator: Zeroizing<[u8; 32]>,
    pub(crate) responder: Zeroizing<[u8; 32]>,
}

/// The static parts of the handshakes with one member.
#[derive(Clone)]
pub(crate) struct Parties {
    secret: Zeroizing<[u8; 32]>,
    remote: [u8; 32],
    network_key: Zeroizing<[u8; 32]>,
    prologue: Vec<u8>,
}

impl Parties {
    /// `prologue` is what both sides must agree on already. `None`: the peer's key is none.
    pub(crate) fn new(us: &Credentials, peer: &PublicKey, prologue: Vec<u8>) -> Option<Self> {
        let remote = peer.agreement_key()?;
        let network_key = Zeroizing::new(*us.key.as_bytes());
        Some(Self { secret: us.identity.agreement_key(), remote, network_key, prologue })
    }

    fn builder(&self, random: &mut Random) -> Option<Builder<'_>> {
        let params: NoiseParams = PATTERN.parse().ok()?;
        let builder = Builder::with_resolver(params, Box::new(Resolver(random.fork())));
        let builder = builder.prologue(&self.prologue).ok()?.psk(0, &self.network_key).ok()?;
        builder.local_private_key(&*self.secret).ok()?.remote_public_key(&self.remote).ok()
    }
}

/// A handshake that we have begun.
pub(crate) struct Initiation(Box<HandshakeState>);

impl Initiation {
    /// Begins; returns the first message, which carries `payload`.
    pub(crate) fn begin(parties: &Parties, payload: &[u8], random: &mut Random) -> Option<(Self, Vec<u8>)> {
        let mut state = parties.builder(random)?.build_initiator().ok()?;
        let message = write(&mut state, payload)?;
        Some((Self(Box::new(state)), message))
    }

    /// Takes the second message. A wrong one changes nothing.
    pub(crate) fn finish(&mut self, message: &[u8]) -> Option<(Vec<u8>, Split)> {
        let payload = read(&mut self.0, message)?;
        Some((payload, split(&mut self.0)))
    }
}

/// Takes a first message. `answer` sees what it carries, and says what the second message is to carry.
pub(crate) fn respond(
    parties: &Parties,
    message: &[u8],
    random: &mut Random,
    answer: impl FnOnce(&[u8]) -> Option<Vec<u8>>,
) -> Option<(Vec<u8>, Split)> {
    let mut state = parties.builder(random)?.build_responder().ok()?;
    let payload = read(&mut state, message)?;
    let message = write(&mut state, &answer(&payload)?)?;
    Some((message, split(&mut state)))
}

fn write(state: &mut HandshakeState, payload: &[u8]) -> Option<Vec<u8>> {
    let mut message = vec![0; payload.len() + OVERHEAD_BYTES];
    let len = state.write_message(payload, &mut message).ok()?;
    message.truncate(len);
    Some(message)
}

fn read(state: &mut HandshakeState, message: &[u8]) -> Option<Vec<u8>> {
    let mut payload = vec![0; message.len()];
    let len = state.read_message(message, &mut payload).ok()?;
    payload.truncate(len);
    Some(payload)
}

fn split(state: &mut HandshakeState) -> Split {
    let (initiator, responder) = state.dangerously_get_raw_split();
    Split { initiator: Zeroizing::new(initiator), responder: Zeroizing::new(responder) }
}

/// Noise's primitives, with our randomness.
struct Resolver(Random);

impl CryptoResolver for Resolver {
    fn resolve_rng(&self) -> Option<Box<dyn snow::types::Random>> {
        Some(Box::new(self.0.clone()))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        DefaultResolver.resolve_dh(choice)
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        DefaultResolver.resolve_hash(choice)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        DefaultResolver.resolve_cipher(choice)
    }
}

impl snow::types::Random for Random {
    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), snow::Error> {
        self.fill(bytes);
        Ok(())
    }
}

impl fmt::Debug for Parties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Parties(..)")
    }
}

impl fmt::Debug for Initiation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Initiation(..)")
    }
}

/// Both know each other's static key beforehand, from discovery; so a handshake takes one round trip, and no key travels.
const PATTERN: &str = "Noise_KKpsk0_25519_ChaChaPoly_BLAKE2s";
/// An ephemeral key and a tag.
const OVERHEAD_BYTES: usize = 32 + 16;
