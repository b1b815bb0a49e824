//! Opening a session: both sides say by which token they want to be addressed.

use std::time::Duration;

use glue_net::wire::native::{Hello, Token};
use glue_net::{Instant, Rng};

/// The tokens of a session, and when to say hello again.
#[derive(Debug)]
pub(crate) struct Session {
    token: Token,
    remote: Option<Token>,
    hello_at: Option<Instant>,
    said_at: Option<Instant>,
    attempts: u32,
    /// Hellos of ours since anything showed that the peer got one.
    unheard: u32,
    /// Whether anything came under our token: then it stands for state that the peer must share.
    used: bool,
}

/// What a hello did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Greeting {
    /// Nothing new.
    Known,
    /// The peer's token is known now: payloads can be sent. Holds the round trip if the hello answered ours.
    Opened { rtt: Option<Duration> },
    /// The peer has lost its state: the session must start over, with a new token.
    Lost,
}

impl Session {
    pub(crate) fn new(now: Instant, rng: &mut Rng) -> Self {
        // Zero means "none" on the wire.
        let token = Token(rng.next_u64().max(1));
        Self { token, remote: None, hello_at: Some(now), said_at: None, attempts: 0, unheard: 0, used: false }
    }

    pub(crate) const fn token(&self) -> Token {
        self.token
    }

    pub(crate) const fn remote(&self) -> Option<Token> {
        self.remote
    }

    pub(crate) const fn hello_at(&self) -> Option<Instant> {
        self.hello_at
    }

    pub(crate) const fn handle_use(&mut self) {
        (self.used, self.unheard) = (true, 0);
    }

    /// Whether the last hello is so long ago.
    pub(crate) fn said_before(&self, now: Instant, wait: Duration) -> bool {
        self.said_at.is_none_or(|at| at + wait <= now)
    }

    /// Says hello now, whatever was tried before: the peer may have forgotten us.
    pub(crate) const fn remind(&mut self, now: Instant) {
        (self.hello_at, self.attempts) = (Some(now), 0);
    }

    pub(crate) fn handle_hello(&mut self, now: Instant, hello: &Hello) -> Greeting {
        let answers = hello.echo == Some(self.token);
        let known = self.remote == Some(hello.token);
        if answers {
            self.unheard = 0;
        }
        // Data may overtake the peer's first hello, so only a second token says that the first one's state is gone.
        if self.remote.is_some() && !known && self.used {
            return Greeting::Lost;
        }
        self.remote = Some(hello.token);
        self.hello_at = (!answers).then_some(now);
        if known {
            return Greeting::Known;
        }
        let first = self.attempts == 1 && answers;
        Greeting::Opened { rtt: self.said_at.filter(|_| first).map(|at| now.since(at)) }
    }

    /// Whether the peer has got none of the last hellos that were said to it. In a private network a token outlives its session, so
    /// that the echo of it shows nothing.
    pub(crate) fn is_unheard(&self, hello: &Hello, is_private: bool) -> bool {
        self.unheard >= UNHEARD && (is_private || hello.echo != Some(self.token))
    }

    /// A handshake is done: the peer is addressed by `token`. Returns the round trip if it answered our only hello.
    pub(crate) fn open(&mut self, now: Instant, token: Token) -> Option<Duration> {
        (self.remote, self.hello_at, self.unheard) = (Some(token), None, 0);
        self.said_at.filter(|_| self.attempts == 1).map(|at| now.since(at))
    }

    /// The peer has lost its state: the same token, and nothing else.
    pub(crate) const fn anew(&self) -> Self {
        Self { token: self.token, remote: None, hello_at: None, said_at: None, attempts: 0, unheard: 0, used: false }
    }

    /// Whether to say hello now; if so it is noted as said. `waits`: an answer is wanted, though the peer's token is known.
    pub(crate) fn take_hello(&mut self, now: Instant, waits: bool) -> bool {
        if self.hello_at.is_none_or(|at| at > now) {
            return false;
        }
        self.attempts = self.attempts.saturating_add(1);
        self.unheard = self.unheard.saturating_add(1);
        self.said_at = Some(now);
        let wait = (FIRST_RETRY * 2u32.saturating_pow(self.attempts - 1)).min(LAST_RETRY);
        self.hello_at = (waits || self.remote.is_none()).then_some(now + wait);
        true
    }
}

/// So many hellos do not cross one of the peer.
const UNHEARD: u32 = 3;
/// The peer may not have heard of us yet: its announcement to us and ours to it cross.
const FIRST_RETRY: Duration = Duration::from_millis(10);
/// As often as announcements by default.
const LAST_RETRY: Duration = Duration::from_secs(1);

#[cfg(test)]
pub(crate) mod tests {
    use glue_net::{EndpointId, Incarnation, NetworkId};

    use super::*;

    const fn at(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }

    pub(crate) fn hello(token: u64, echo: Option<Token>) -> Hello {
        let (one, other) = (EndpointId::from_integer(1), EndpointId::from_integer(2));
        Hello {
            network: NetworkId(1),
            source: one,
            source_incarnation: Incarnation(1),
            destination: other,
            destination_incarnation: Incarnation(1),
            token: Token(token),
            echo,
            credit: 0,
            window: 0,
            max_datagram: 0,
        }
    }

    /// That has said so many hellos, the last now.
    fn session(hellos: u64) -> (Session, Instant) {
        let mut session = Session::new(at(0), &mut Rng::new(1));
        for n in 0..hellos {
            assert!(session.take_hello(at(n * 10_000), false));
        }
        (session, at(hellos.saturating_sub(1) * 10_000))
    }

    #[test]
    fn only_the_answer_to_an_only_hello_tells_the_round_trip() {
        for (hellos, answers, expected) in [(1, true, Some(5)), (2, true, None), (1, false, None)] {
            let (mut session, now) = session(hellos);
            let echo = answers.then(|| session.token());
            let greeting = session.handle_hello(now + Duration::from_millis(5), &hello(9, echo));
            assert_eq!(greeting, Greeting::Opened { rtt: expected.map(Duration::from_millis) }, "{hellos}");
        }
        for (hellos, expected) in [(1, Some(5)), (2, None)] {
            let (mut session, now) = session(hellos);
            let rtt = session.open(now + Duration::from_millis(5), Token(9));
            assert_eq!((rtt, session.remote()), (expected.map(Duration::from_millis), Some(Token(9))));
        }
    }

    #[test]
    fn three_hellos_that_nothing_answers_are_unheard() {
        let (few, _) = session(2);
        let (many, _) = session(3);
        let echo = Some(many.token());
        assert!(!few.is_unheard(&hello(9, None), false) && many.is_unheard(&hello(9, None), false));
        assert!(!many.is_unheard(&hello(9, echo), false) && many.is_unheard(&hello(9, echo), true));
    }
}
