//! What may happen to bytes on their way.

use glue_net::Rng;

/// One of the corpus, changed in one to eight ways.
#[must_use]
pub fn mutate(corpus: &[Vec<u8>], rng: &mut Rng) -> Vec<u8> {
    let mut bytes = pick(corpus, rng).map(<[u8]>::to_vec).unwrap_or_default();
    for _ in 0..=rng.below(8) {
        change(&mut bytes, corpus, rng);
    }
    bytes.truncate(MAX_BYTES);
    bytes
}

fn change(bytes: &mut Vec<u8>, corpus: &[Vec<u8>], rng: &mut Rng) {
    let at = index(rng, bytes.len());
    let end = at + index(rng, bytes.len() - at).min(64);
    match rng.below(9) {
        0 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << (at % 8)),
        1 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = byte.wrapping_add(1)),
        2 => {
            let value = EXTREMES[index(rng, EXTREMES.len() - 1)];
            bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = value);
        }
        3 => bytes.truncate(at),
        4 => _ = bytes.drain(at..end),
        5 => {
            let copy = bytes[at..end].to_vec();
            bytes.splice(at..at, copy);
        }
        6 => {
            let random: Vec<u8> = (0..=rng.below(16)).map(|_| rng.next_u64().to_be_bytes()[0]).collect();
            bytes.splice(at..at, random);
        }
        7 => {
            // The largest of each length of a varint, and an eight byte number.
            let number = [&[0x3f][..], &[0x7f, 0xff], &[0xbf, 0xff, 0xff, 0xff], &[0xff; 8], &[0; 8]][index(rng, 4)];
            bytes.splice(at..end, number.iter().copied());
        }
        _ => {
            let other = pick(corpus, rng).unwrap_or_default();
            let from = index(rng, other.len());
            bytes.splice(at..end, other[from..].iter().copied());
        }
    }
}

fn pick<'a>(corpus: &'a [Vec<u8>], rng: &mut Rng) -> Option<&'a [u8]> {
    corpus.get(index(rng, corpus.len().saturating_sub(1))).map(Vec::as_slice)
}

/// From 0 to `most`.
fn index(rng: &mut Rng, most: usize) -> usize {
    usize::try_from(rng.below(most as u64 + 1)).unwrap_or(0)
}

const EXTREMES: [u8; 8] = [0, 1, 0x3f, 0x40, 0x7f, 0x80, 0xc0, 0xff];
/// A little more than a datagram on most paths.
const MAX_BYTES: usize = 4 << 10;
