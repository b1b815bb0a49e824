//! What is in a message: its number, a semicolon, and random bytes.

use std::hash::{BuildHasher, RandomState};

/// A payload whose number is changed from message to message.
#[derive(Debug)]
pub(crate) struct Payload(Vec<u8>);

impl Payload {
    pub(crate) fn new(size: usize) -> Self {
        // The standard library has no other source of randomness; for filling bytes it is good enough.
        let random = RandomState::new();
        let words = (0..size.div_ceil(8)).map(|n| random.hash_one(n).to_le_bytes());
        let mut bytes: Vec<u8> = words.flatten().collect();
        bytes.truncate(size);
        Self(bytes)
    }

    /// The payload with this number. Of the size that was asked for, unless that is too short for the number.
    pub(crate) fn numbered(&mut self, number: u64) -> &[u8] {
        let text = format!("{number};");
        if self.0.len() < text.len() {
            self.0.resize(text.len(), 0);
        }
        let (start, _) = self.0.split_at_mut(text.len());
        start.copy_from_slice(text.as_bytes());
        &self.0
    }
}

/// The number of a message, if it has one.
pub(crate) fn number(payload: &[u8]) -> Option<u64> {
    // No number has more than 20 digits.
    let end = payload.iter().take(21).position(|byte| *byte == b';')?;
    let (digits, _) = payload.split_at(end);
    let is_number = digits.iter().all(u8::is_ascii_digit);
    is_number.then(|| str::from_utf8(digits).ok()?.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_back() {
        let mut payload = Payload::new(64);
        for n in [0, 9, 10, 12_345, u64::MAX] {
            assert_eq!(payload.numbered(n).len(), 64);
            assert_eq!(number(payload.numbered(n)), Some(n));
        }
    }

    #[test]
    fn a_short_payload_grows_to_its_number() {
        let mut payload = Payload::new(0);
        assert_eq!(payload.numbered(7), b"7;");
        assert_eq!(payload.numbered(12), b"12;");
    }

    #[test]
    fn other_payloads_have_no_number() {
        for payload in ["", ";", "7", "x7;", "+7;", " 7;", "-7;", "99999999999999999999;", "Hello, world."] {
            assert_eq!(number(payload.as_bytes()), None, "{payload}");
        }
        assert_eq!(number(&[0xff, b';']), None);
    }
}
