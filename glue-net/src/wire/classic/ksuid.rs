//! The text of a KSUID: 20 bytes as one big-endian number in base 62, 27 digits of 0-9, A-Z, a-z.
//!
//! The crate that ids come from reads a text above 2^160 as something else in silence, and works on heap-allocated
//! big numbers; a JSON frame has four of these, so this is our own.

use std::fmt;
use std::str::FromStr;

use super::Ksuid;
use crate::wire::DecodeError;

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const TEXT_LEN: usize = 27;

impl fmt::Display for Ksuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut number, mut text) = (self.0, [0; TEXT_LEN]);
        for place in text.iter_mut().rev() {
            *place = DIGITS.get(usize::from(divide(&mut number))).copied().unwrap_or(b'0');
        }
        f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Ksuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Accepts the 27 characters of a KSUID, and nothing else.
impl FromStr for Ksuid {
    type Err = DecodeError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut number = [0; 20];
        let read = text.len() == TEXT_LEN && text.bytes().all(|c| digit(c).is_some_and(|d| multiply(&mut number, d)));
        if read { Ok(Self(number)) } else { Err(DecodeError::Malformed("KSUID")) }
    }
}

/// Divides the number by 62 and gives the remainder.
fn divide(number: &mut [u8; 20]) -> u8 {
    let mut rest = 0;
    for byte in number {
        let value = u16::from(rest) << 8 | u16::from(*byte);
        let ([_, quotient], [_, remainder]) = ((value / 62).to_be_bytes(), (value % 62).to_be_bytes());
        (*byte, rest) = (quotient, remainder);
    }
    rest
}

/// Multiplies the number by 62 and adds `digit`; false if it no longer fits.
fn multiply(number: &mut [u8; 20], digit: u8) -> bool {
    let mut carry = digit;
    for byte in number.iter_mut().rev() {
        [carry, *byte] = (u16::from(*byte) * 62 + u16::from(carry)).to_be_bytes();
    }
    carry == 0
}

const fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'A'..=b'Z' => Some(character - b'A' + 10),
        b'a'..=b'z' => Some(character - b'a' + 36),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_known_texts() {
        let of = |text: &str| text.parse::<Ksuid>();
        assert_eq!(of("000000000000000000000000000"), Ok(Ksuid([0; 20])));
        assert_eq!(of("aWgEPTl1tmebfsQzFP4bxwgy80V"), Ok(Ksuid([0xff; 20])), "the largest");
        assert_eq!(of("3MObaaaaaaaaaaaaaaaaaaaaaaa").unwrap().0[..4], [0x17, 0x8e, 0xa6, 0x31]);
    }

    #[test]
    fn other_texts_are_refused() {
        let long = "0".repeat(28);
        for bad in [
            "",
            "0",
            "aWgEPTl1tmebfsQzFP4bxwgy80W",
            "zzzzzzzzzzzzzzzzzzzzzzzzzzz",
            "00000000000000000000000000-",
            &long,
        ] {
            assert_eq!(bad.parse::<Ksuid>(), Err(DecodeError::Malformed("KSUID")), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn text_reads_back(bytes: [u8; 20]) {
            prop_assert_eq!(Ksuid(bytes).to_string().parse(), Ok(Ksuid(bytes)));
        }
    }
}
