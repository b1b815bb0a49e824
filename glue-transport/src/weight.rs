//! What a datagram weighs in the receiver's socket buffer.

/// The memory that Linux charges to a socket buffer for a datagram of `bytes`: up to 16 KiB in a power-of-two slab with
/// 320 bytes of bookkeeping behind the data and about 64 before it, plus 256 for the header; larger ones in pages.
/// Measured on loopback: 768 for 64 bytes, 2,304 for 1,200, 16,640 for 8 KiB, 66,816 for 64 KiB.
pub(crate) const fn weight(bytes: usize) -> u64 {
    if bytes <= MOST_IN_A_SLAB { 256 + (bytes as u64 + 384).next_power_of_two() } else { bytes as u64 + 1_280 }
}

const MOST_IN_A_SLAB: usize = (16 << 10) - 384;

#[cfg(test)]
mod tests {
    #[test]
    fn is_what_was_measured() {
        assert_eq!([64, 1_200, 8_192, 65_507].map(super::weight), [768, 2_304, 16_640, 66_787]);
    }
}
