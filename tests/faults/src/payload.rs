//! Payloads that say who published them and as what number, and show whether they came whole.

/// What a payload says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbered<'a> {
    /// The life that published it.
    pub label: &'a str,
    /// Its number.
    pub number: u64,
}

impl<'a> Numbered<'a> {
    /// The payload, with so many bytes behind that follow from label and number.
    #[must_use]
    pub fn to_bytes(self, filler: usize) -> Vec<u8> {
        let mut bytes = format!("{} {} {filler} ", self.label, self.number).into_bytes();
        let mut state = hash(&bytes);
        bytes.extend((0..filler).map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state.to_be_bytes()[0]
        }));
        let sum = hash(&bytes);
        bytes.extend(sum.to_be_bytes());
        bytes
    }

    /// Reads a payload; `None` if a bit of it is not as it was published.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (bytes, sum) = bytes.split_last_chunk()?;
        if hash(bytes) != u64::from_be_bytes(*sum) {
            return None;
        }
        let mut words = bytes.splitn(4, |byte| *byte == b' ').map(|word| std::str::from_utf8(word).ok());
        let (label, number, filler) =
            (words.next()??, words.next()??.parse().ok()?, words.next()??.parse::<usize>().ok()?);
        let head = label.len() + number_len(number) + number_len(filler as u64) + 3;
        (bytes.len() == head + filler).then_some(Self { label, number })
    }
}

fn number_len(number: u64) -> usize {
    number.to_string().len()
}

/// FNV-1a: each bit counts, which is all that is asked of it.
fn hash(bytes: &[u8]) -> u64 {
    let step = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bit_that_is_flipped_and_any_byte_that_is_missing_shows() {
        let numbered = Numbered { label: "h1-pub-2", number: 17 };
        for filler in [0, 1, 100] {
            let bytes = numbered.to_bytes(filler);
            assert_eq!(Numbered::parse(&bytes), Some(numbered));
            for bit in 0..bytes.len() * 8 {
                let mut changed = bytes.clone();
                changed[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(Numbered::parse(&changed), None, "bit {bit}");
            }
            for length in 0..bytes.len() {
                assert_eq!(Numbered::parse(&bytes[..length]), None, "{length} bytes");
            }
        }
    }
}
