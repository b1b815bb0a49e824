//! What shows that somebody is where it says.

use std::fmt;

use ring::hmac::{HMAC_SHA256, Key, sign};

use crate::random::Random;

/// Bytes of a cookie.
pub const COOKIE_BYTES: usize = 16;

/// Makes cookies: who sends one back has got it at the address that it was made for, and nothing was kept meanwhile (RFC 6347,
/// section 4.2.1).
pub struct Cookies(Key);

impl Cookies {
    /// Cookies that only this maker knows.
    pub fn new(random: &mut Random) -> Self {
        Self(Key::new(HMAC_SHA256, &random.bytes::<32>()))
    }

    /// The cookie of an address.
    #[must_use]
    pub fn of(&self, address: &[u8]) -> [u8; COOKIE_BYTES] {
        let mut cookie = [0; COOKIE_BYTES];
        cookie.iter_mut().zip(sign(&self.0, address).as_ref()).for_each(|(to, from)| *to = *from);
        cookie
    }
}

impl fmt::Debug for Cookies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cookies(..)")
    }
}
