//! A byte string of byte strings: what one peer sends, one after the other.

use bytes::Bytes;
use glue_net::wire::{Reader, put_bytes};

/// The byte strings of `bytes`, up to the first that is cut off.
pub(crate) fn strings(bytes: &[u8]) -> impl Iterator<Item = Bytes> {
    let mut reader = Reader::new(Bytes::copy_from_slice(bytes));
    std::iter::from_fn(move || reader.bytes().ok())
}

pub(crate) fn joined(strings: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    strings.iter().for_each(|string| put_bytes(&mut out, string));
    out
}
