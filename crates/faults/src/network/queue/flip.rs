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
            let _ = flip(&packet, bit);
        }
    }

    #[test]
    fn a_packet_that_is_all_header_stays() {
        let mut packet = vec![0; 20];
        packet[0] = 0x45;
        assert_eq!(flip(&packet, 7), None);
        assert_eq!(flip(&[], 7), None);
    }
}
