//! Echo requests and replies, as bytes.

use std::net::IpAddr;

const V4_REQUEST: u8 = 8;
const V4_REPLY: u8 = 0;
const V6_REQUEST: u8 = 128;
const V6_REPLY: u8 = 129;
/// Type, code, checksum, identifier, number.
const HEADER_BYTES: usize = 8;
/// What ping sends too; a flipped bit has room in it.
const PAYLOAD_BYTES: usize = 56;

/// An echo request. The kernel puts in the checksum of one over IPv6.
pub(super) fn request(to: IpAddr, id: u16, number: u16) -> Vec<u8> {
    let kind = if to.is_ipv4() { V4_REQUEST } else { V6_REQUEST };
    let mut packet = vec![kind, 0, 0, 0];
    packet.extend(id.to_be_bytes());
    packet.extend(number.to_be_bytes());
    packet.extend(b"temblor measures".iter().cycle().take(PAYLOAD_BYTES));
    if to.is_ipv4() {
        let sum = checksum(&packet);
        packet[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    packet
}

/// The identifier and the number of an echo reply that is whole. Over IPv4 a raw socket is given
/// the IP header too, and packets whose checksum nobody has looked at.
pub(super) fn reply(from: IpAddr, received: &[u8]) -> Option<(u16, u16)> {
    let (packet, kind) = if from.is_ipv4() {
        let header_bytes = usize::from(received.first()? & 0xf) * 4;
        let packet = received.get(header_bytes..)?;
        if checksum(packet) != 0 {
            return None;
        }
        (packet, V4_REPLY)
    } else {
        (received, V6_REPLY)
    };
    let header: &[u8; HEADER_BYTES] = packet.first_chunk()?;
    let [_, _, _, _, id_high, id_low, high, low] = *header;
    (header[0] == kind)
        .then(|| (u16::from_be_bytes([id_high, id_low]), u16::from_be_bytes([high, low])))
}

/// The internet checksum; of a packet with its checksum in it, 0 when it is whole.
fn checksum(packet: &[u8]) -> u16 {
    let words = packet.chunks(2).map(|pair| {
        u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or_default()]))
    });
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

    /// What a kernel would answer over IPv4.
    fn answer(mut packet: Vec<u8>) -> Vec<u8> {
        packet[0] = V4_REPLY;
        packet[2..4].fill(0);
        let sum = checksum(&packet);
        packet[2..4].copy_from_slice(&sum.to_be_bytes());
        let mut whole = vec![0x45; 20];
        whole.extend(packet);
        whole
    }

    #[test]
    fn a_reply_is_known_by_its_numbers() {
        assert_eq!(checksum(&request(V4, 7, 9)), 0);
        assert_eq!(reply(V4, &answer(request(V4, 7, 9))), Some((7, 9)));
        let mut six = request(V6, 0x1234, 0xffff);
        assert_eq!(reply(V6, &six), None, "that is the request");
        six[0] = V6_REPLY;
        assert_eq!(reply(V6, &six), Some((0x1234, 0xffff)));
    }

    proptest::proptest! {
        #[test]
        fn a_flipped_bit_is_no_reply(bit in 0_usize..64 * 8) {
            let mut packet = answer(request(V4, 7, 9));
            packet[20 + bit / 8] ^= 1 << (bit % 8);
            proptest::prop_assert_eq!(reply(V4, &packet), None);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(0_u8.., 0..80)) {
            let _ = (reply(V4, &bytes), reply(V6, &bytes));
        }
    }
}
