//! Ethernet frames with a UDP datagram in them: found, damaged, and given right checksums again.

use glue_net::Rng;

/// Where the UDP datagram of a frame lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Udp {
    /// Where the IPv4 header begins.
    ip: usize,
    /// Where the UDP header begins.
    udp: usize,
    /// Where the datagram ends; padding of the frame may follow.
    end: usize,
}

impl Udp {
    /// Finds a whole IPv4 UDP datagram in a frame: no fragments, no VLAN tags.
    #[must_use]
    pub fn find(frame: &[u8]) -> Option<Self> {
        if word(frame, 12)? != ETHERTYPE_IPV4 || *frame.get(ETHERNET + 9)? != PROTOCOL_UDP {
            return None;
        }
        let first = *frame.get(ETHERNET)?;
        let (version, header) = (first >> 4, usize::from(first & 15) * 4);
        let fragment = word(frame, ETHERNET + 6)? & 0x3fff;
        let udp = ETHERNET + header;
        let end = udp + usize::from(word(frame, udp + 4)?);
        let fits = version == 4 && header >= 20 && fragment == 0 && end >= udp + UDP_HEADER && end <= frame.len();
        fits.then_some(Self { ip: ETHERNET, udp, end })
    }

    /// How many bytes of payload the datagram has.
    #[must_use]
    pub const fn payload_len(&self) -> usize {
        self.end - self.udp - UDP_HEADER
    }

    /// Writes the checksum that the datagram must have. The kernel leaves it unfinished on virtual cables.
    pub fn finish(&self, frame: &mut [u8]) {
        set_word(frame, self.udp + 6, 0);
        let Some(datagram) = frame.get(self.udp..self.end) else { return };
        let Some(addresses) = frame.get(self.ip + 12..self.ip + 20) else { return };
        let length = u16::try_from(datagram.len()).unwrap_or(0);
        let sum = ones_sum(addresses) + u64::from(PROTOCOL_UDP) + u64::from(length) + ones_sum(datagram);
        // Zero would say that there is none.
        let checksum = match !fold(sum) {
            0 => 0xffff,
            sum => sum,
        };
        set_word(frame, self.udp + 6, checksum);
    }

    /// Flips one bit of the payload, and leaves the checksum as it is.
    pub fn flip(&self, frame: &mut [u8], rng: &mut Rng) {
        let bit = rng.below(self.payload_len() as u64 * 8);
        let (byte, bit) = (usize::try_from(bit / 8).unwrap_or(0), bit % 8);
        if let Some(byte) = frame.get_mut(self.udp + UDP_HEADER + byte) {
            *byte ^= 1 << bit;
        }
    }

    /// Cuts the datagram to fewer bytes, with headers that say so, and an IP checksum that is right. The UDP checksum is not.
    #[must_use]
    pub fn cut(self, frame: &mut Vec<u8>, rng: &mut Rng) -> Self {
        let left = usize::try_from(rng.below(self.payload_len() as u64)).unwrap_or(0);
        let end = self.udp + UDP_HEADER + left;
        frame.truncate(end);
        let length = |from: usize| u16::try_from(end - from).unwrap_or(u16::MAX);
        set_word(frame, self.udp + 4, length(self.udp));
        set_word(frame, self.ip + 2, length(self.ip));
        set_word(frame, self.ip + 10, 0);
        let sum = frame.get(self.ip..self.udp).map_or(0, ones_sum);
        set_word(frame, self.ip + 10, !fold(sum));
        Self { end, ..self }
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_be_bytes)
}

fn set_word(bytes: &mut [u8], at: usize, value: u16) {
    if let Some(to) = bytes.get_mut(at..at + 2) {
        to.copy_from_slice(&value.to_be_bytes());
    }
}

fn ones_sum(bytes: &[u8]) -> u64 {
    let of_pair = |pair: &[u8]| match *pair {
        [high, low] => u64::from(u16::from_be_bytes([high, low])),
        [high] => u64::from(high) << 8,
        _ => 0,
    };
    bytes.chunks(2).map(of_pair).sum()
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap_or(0)
}

const ETHERNET: usize = 14;
const UDP_HEADER: usize = 8;
const ETHERTYPE_IPV4: u16 = 0x0800;
const PROTOCOL_UDP: u8 = 17;

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A frame as the kernel makes it, but for an unfinished checksum.
    pub(crate) fn frame(payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0];
        let [ip, udp] = [28, 8].map(|header| u16::try_from(header + payload.len()).unwrap().to_be_bytes());
        frame.extend([0x45, 0, ip[0], ip[1], 0, 1, 0x40, 0, 64, 17, 0, 0, 10, 77, 0, 1, 10, 77, 0, 2]);
        let sum = !fold(ones_sum(&frame[14..34]));
        set_word(&mut frame, 24, sum);
        frame.extend([0x6a, 0xb8, 0x6a, 0xb8, udp[0], udp[1], 0xde, 0xad]);
        frame.extend(payload);
        frame
    }

    /// Whether a receiver's kernel would take it.
    pub(crate) fn is_right(frame: &[u8]) -> bool {
        let Some(udp) = Udp::find(frame) else { return false };
        let datagram = &frame[udp.udp..udp.end];
        let pseudo = ones_sum(&frame[udp.ip + 12..udp.ip + 20]) + 17 + datagram.len() as u64;
        fold(ones_sum(&frame[udp.ip..udp.udp])) == 0xffff && fold(pseudo + ones_sum(datagram)) == 0xffff
    }

    #[test]
    fn a_finished_datagram_is_right_and_a_flipped_bit_makes_it_wrong() {
        for payload in [&b""[..], b"x", b"hello", &[0xff; 1_000]] {
            let mut frame = frame(payload);
            let udp = Udp::find(&frame).unwrap();
            assert_eq!(udp.payload_len(), payload.len());
            assert!(!is_right(&frame));
            udp.finish(&mut frame);
            assert!(is_right(&frame));
            if !payload.is_empty() {
                udp.flip(&mut frame, &mut Rng::new(1));
                assert!(!is_right(&frame));
                let differ = frame[42..].iter().zip(payload).map(|(a, b)| (a ^ b).count_ones()).sum::<u32>();
                assert_eq!(differ, 1);
                udp.finish(&mut frame);
                assert!(is_right(&frame));
            }
        }
    }

    #[test]
    fn a_cut_datagram_is_shorter_and_right_when_finished() {
        let mut frame = frame(b"hello, world");
        let udp = Udp::find(&frame).unwrap().cut(&mut frame, &mut Rng::new(3));
        udp.finish(&mut frame);
        assert!(is_right(&frame));
        assert!(Udp::find(&frame).unwrap().payload_len() < 12);
    }

    #[test]
    fn the_sum_of_a_datagram_from_a_capture() {
        // RFC 1071's example: the words 0001 f203 f4f5 f6f7 have the sum ddf2.
        assert_eq!(fold(ones_sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7])), 0xddf2);
    }

    #[test]
    fn other_frames_are_left_alone() {
        let mut arp = frame(b"x");
        arp[13] = 6;
        let mut fragment = frame(b"x");
        fragment[20] = 0x20;
        let mut tcp = frame(b"x");
        tcp[23] = 6;
        let mut short = frame(b"hello");
        short.truncate(44);
        for other in [arp, fragment, tcp, short, vec![], vec![0; 13]] {
            assert_eq!(Udp::find(&other), None);
        }
    }
}
