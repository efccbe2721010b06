//! One bit of a packet, flipped.

/// Which IP it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    V4,
    V6,
}

/// Which IP a packet is, by its first bits.
pub(super) fn version(packet: &[u8]) -> Option<Version> {
    match packet.first()? >> 4 {
        4 => Some(Version::V4),
        6 => Some(Version::V6),
        _ => None,
    }
}

/// How long the IP header is, without what IPv6 puts between it and the rest.
fn header_bytes(packet: &[u8]) -> Option<usize> {
    match version(packet)? {
        Version::V4 => Some(usize::from(packet[0] & 0xf) * 4),
        Version::V6 => Some(40),
    }
}

/// How long a packet says it is. None: it is not IP, or says that it is longer than it is.
pub(super) fn own_bytes(packet: &[u8]) -> Option<usize> {
    let word = |at: usize| Some(u16::from_be_bytes([*packet.get(at)?, *packet.get(at + 1)?]));
    let length = match version(packet)? {
        Version::V4 => usize::from(word(2)?),
        Version::V6 => usize::from(word(4)?) + 40,
    };
    (length <= packet.len()).then_some(length)
}

/// The packet with one bit flipped past its IP header: where a number leads, counted round the
/// end. None: there is nothing past the header.
pub(super) fn flip(packet: &[u8], bit: u32) -> Option<Vec<u8>> {
    let header = header_bytes(packet)?;
    let bits = u32::try_from(packet.len().checked_sub(header)?).ok()?.checked_mul(8)?;
    let bit = bit.checked_rem(bits)?;
    let mut changed = packet.to_vec();
    changed[header + bit as usize / 8] ^= 1 << (bit % 8);
    Some(changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn one_bit_past_the_header_differs(bit: u32, v4: bool, options in 0_usize..=10, rest in 1_usize..100) {
            let header = if v4 { 20 + options * 4 } else { 40 };
            let mut packet = vec![0xa5; header + rest];
            packet[0] = if v4 { 0x40 | (header / 4) as u8 } else { 0x60 };
            let changed = flip(&packet, bit).unwrap();
            proptest::prop_assert_eq!(&changed[..header], &packet[..header]);
            let differ: u32 = changed.iter().zip(&packet).map(|(a, b)| (a ^ b).count_ones()).sum();
            proptest::prop_assert_eq!(differ, 1);
        }

        #[test]
        fn no_packet_makes_it_panic(packet in proptest::collection::vec(0_u8.., 0..60), bit: u32) {
            let _ = (flip(&packet, bit), own_bytes(&packet));
        }
    }

    #[test]
    fn a_packet_knows_its_length() {
        let mut four = vec![0; 100];
        four[0] = 0x45;
        four[3] = 60;
        assert_eq!(own_bytes(&four), Some(60));
        four[3] = 101;
        assert_eq!(own_bytes(&four), None);
        let mut six = vec![0; 100];
        six[0] = 0x60;
        six[5] = 20;
        assert_eq!(own_bytes(&six), Some(60));
        assert_eq!(own_bytes(&[0x45]), None);
    }

    #[test]
    fn a_packet_that_is_all_header_stays() {
        let mut packet = vec![0; 20];
        packet[0] = 0x45;
        assert_eq!(flip(&packet, 7), None);
        assert_eq!(flip(&[], 7), None);
    }
}
