//! IP packets that carry DNS: where the message is in them, and what a shorter one changes.

use super::message::{self, Question};

const UDP: u8 = 17;
const TCP: u8 = 6;
const UDP_HEADER_BYTES: usize = 8;

/// What carries a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    Udp,
    Tcp,
}

/// Where things are in a packet.
struct Layout {
    is_v6: bool,
    transport: Transport,
    /// Where the transport's header begins.
    transport_at: usize,
    /// Where the DNS message begins: in TCP past the length that precedes it.
    message_at: usize,
    /// Where the packet ends, by its own word.
    end: usize,
}

impl Layout {
    fn of(packet: &[u8]) -> Option<Self> {
        let (is_v6, protocol, transport_at, end) = match packet.first()? >> 4 {
            4 => v4(packet)?,
            6 => v6(packet)?,
            _ => return None,
        };
        if end > packet.len() {
            return None;
        }
        let (transport, message_at) = match protocol {
            UDP => (Transport::Udp, transport_at + UDP_HEADER_BYTES),
            TCP => {
                let header = usize::from(*packet.get(transport_at + 12)? >> 4) * 4;
                (Transport::Tcp, transport_at + header.max(20) + 2)
            }
            _ => return None,
        };
        (message_at <= end).then_some(Self { is_v6, transport, transport_at, message_at, end })
    }
}

/// Whether it is IPv6, the protocol, where its header begins, where the packet ends.
type Ip = (bool, u8, usize, usize);

fn v4(packet: &[u8]) -> Option<Ip> {
    let header = usize::from(packet[0] & 0x0f) * 4;
    let length = usize::from(word(packet, 2)?);
    let fragment = word(packet, 6)? & 0x3fff;
    (header >= 20 && fragment == 0).then_some((false, *packet.get(9)?, header, length))
}

fn v6(packet: &[u8]) -> Option<Ip> {
    let end = usize::from(word(packet, 4)?) + 40;
    let (mut protocol, mut at) = (*packet.get(6)?, 40);
    // Hop-by-hop, routing and destination options, of which a packet has one each at most.
    for _ in 0..4 {
        if !matches!(protocol, 0 | 43 | 60) {
            break;
        }
        protocol = *packet.get(at)?;
        at += (usize::from(*packet.get(at + 1)?) + 1) * 8;
    }
    Some((true, protocol, at, end))
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// A DNS message that a packet carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) transport: Transport,
    /// The port of the one who asks.
    pub(super) client_port: u16,
    pub(super) question: Question,
}

/// What a packet asks or answers. None: it is no DNS message, or not the whole of one.
pub(super) fn seen(packet: &[u8]) -> Option<Seen> {
    let layout = Layout::of(packet)?;
    let question = Question::parse(packet.get(layout.message_at..layout.end)?)?;
    // Ports stand first in a transport's header: the sender's, then the receiver's.
    let client_at = layout.transport_at + if question.is_response { 2 } else { 0 };
    Some(Seen { transport: layout.transport, client_port: word(packet, client_at)?, question })
}

/// Makes the response in a UDP packet say `code` and nothing else. False: it is none, and stays
/// as it is.
pub(super) fn answer_otherwise(packet: &mut Vec<u8>, code: u16) -> bool {
    let Some(layout) = Layout::of(packet).filter(|layout| layout.transport == Transport::Udp)
    else {
        return false;
    };
    let Some(length) = message::answer_otherwise(&mut packet[layout.message_at..layout.end], code)
    else {
        return false;
    };
    packet.truncate(layout.message_at + length);
    // What was a packet's length before is one after: it has only become less.
    let set = |packet: &mut [u8], at: usize, value: usize| {
        packet[at..at + 2].copy_from_slice(&(value as u16).to_be_bytes());
    };
    let whole = packet.len();
    let udp = layout.transport_at;
    set(packet, udp + 4, whole - udp);
    set(packet, udp + 6, 0);
    let addresses = if layout.is_v6 {
        set(packet, 4, whole - 40);
        8..40
    } else {
        set(packet, 2, whole);
        set(packet, 10, 0);
        let header = sum(&packet[..udp]);
        set(packet, 10, usize::from(!folded(header)));
        12..20
    };
    let pseudo = sum(&packet[addresses]) + u64::from(UDP) + (whole - udp) as u64;
    let checksum = match !folded(pseudo + sum(&packet[udp..])) {
        // Zero would mean that there is none.
        0 => u16::MAX,
        other => other,
    };
    set(packet, udp + 6, usize::from(checksum));
    true
}

/// The sum of all words; an odd last byte is a word's first half.
fn sum(bytes: &[u8]) -> u64 {
    bytes
        .chunks(2)
        .map(|pair| u64::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)])))
        .sum()
}

/// The sum in ones' complement.
fn folded(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::name::Name;
    use super::message::tests::response;
    use super::*;

    fn udp_v4(payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, UDP, 0, 0];
        packet.extend([10, 0, 0, 53, 10, 0, 0, 1]);
        packet.extend([0, 53, 0x9c, 0x40, 0, 0, 0, 0]);
        packet.extend(payload);
        let length = packet.len() as u16;
        packet[2..4].copy_from_slice(&length.to_be_bytes());
        packet[24..26].copy_from_slice(&(length - 20).to_be_bytes());
        packet
    }

    fn udp_v6(payload: &[u8], options: bool) -> Vec<u8> {
        let mut packet = vec![0x60, 0, 0, 0, 0, 0, if options { 60 } else { UDP }, 64];
        packet.extend([0xfd; 32]);
        if options {
            packet.extend([UDP, 0, 1, 4, 0, 0, 0, 0]);
        }
        packet.extend([0, 53, 0x9c, 0x40, 0, 0, 0, 0]);
        packet.extend(payload);
        let length = packet.len() as u16 - 40;
        packet[4..6].copy_from_slice(&length.to_be_bytes());
        packet
    }

    fn name() -> Name {
        Name::written("db.example.com").unwrap()
    }

    /// Checks what a receiver checks.
    fn assert_well_formed(packet: &[u8]) {
        let layout = Layout::of(packet).unwrap();
        assert_eq!(layout.end, packet.len());
        let udp = &packet[layout.transport_at..];
        assert_eq!(word(udp, 4).unwrap() as usize, udp.len());
        let addresses = if layout.is_v6 { &packet[8..40] } else { &packet[12..20] };
        let pseudo = sum(addresses) + u64::from(UDP) + udp.len() as u64;
        assert_eq!(folded(pseudo + sum(udp)), 0xffff);
        if !layout.is_v6 {
            assert_eq!(folded(sum(&packet[..layout.transport_at])), 0xffff);
        }
    }

    #[test]
    fn a_rewritten_packet_is_one_that_a_receiver_takes() {
        let answer = response(&message::query(9, &name()));
        for packet in [udp_v4(&answer), udp_v6(&answer, false), udp_v6(&answer, true)] {
            let seen = seen(&packet).unwrap();
            assert_eq!((seen.transport, &seen.question.name), (Transport::Udp, &name()));
            assert_eq!(seen.client_port, 0x9c40);
            let mut after = packet.clone();
            assert!(answer_otherwise(&mut after, message::REFUSED));
            assert_eq!(after.len(), packet.len() - 16);
            assert_well_formed(&after);
            let layout = Layout::of(&after).unwrap();
            let read = Question::parse(&after[layout.message_at..]).unwrap();
            assert_eq!((read.code, read.name), (message::REFUSED, name()));
        }
    }

    #[test]
    fn a_query_over_tcp_is_read_and_never_rewritten() {
        let query = message::query(9, &name());
        let mut segment = udp_v4(&[]);
        segment.truncate(20);
        segment[9] = TCP;
        segment.extend([0x9c, 0x40, 0, 53, 0, 0, 0, 1, 0, 0, 0, 1, 0x60, 0x18, 1, 0, 0, 0, 0, 0]);
        // Four bytes of options, then the message's length.
        segment.extend([1, 1, 1, 1]);
        segment.extend((query.len() as u16).to_be_bytes());
        segment.extend(&query);
        let length = segment.len() as u16;
        segment[2..4].copy_from_slice(&length.to_be_bytes());
        let found = seen(&segment).unwrap();
        assert_eq!((found.transport, found.question.name), (Transport::Tcp, name()));
        assert_eq!((found.client_port, found.question.is_response), (0x9c40, false));
        assert!(!answer_otherwise(&mut segment.clone(), message::REFUSED));
        // The handshake's segments and parts of messages carry no whole question.
        assert_eq!(seen(&segment[..44]), None);
    }

    #[test]
    fn fragments_and_other_protocols_are_no_messages() {
        let packet = udp_v4(&message::query(9, &name()));
        for (at, value) in [(6, 0x20), (7, 1), (9, 1), (0, 0x44), (0, 0x75), (3, 255)] {
            let mut other = packet.clone();
            other[at] = value;
            assert_eq!(seen(&other), None, "byte {at} is {value}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_grow(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..300),
            version in prop_oneof![Just(0x45_u8), Just(0x60), any::<u8>()],
        ) {
            if let Some(first) = bytes.first_mut() { *first = version; }
            let before = bytes.clone();
            let _ = seen(&bytes);
            if answer_otherwise(&mut bytes, message::NO_SUCH_NAME) {
                prop_assert!(bytes.len() <= before.len());
            } else {
                prop_assert_eq!(bytes, before);
            }
        }

        #[test]
        fn a_damaged_response_is_rewritten_well_or_not_at_all(
            tail in proptest::collection::vec(any::<u8>(), 0..60),
            damage in proptest::collection::vec((0_usize..90, any::<u8>()), 0..3),
            is_v6: bool,
        ) {
            let mut answer = response(&message::query(9, &name()));
            answer.extend(tail);
            let mut packet = if is_v6 { udp_v6(&answer, false) } else { udp_v4(&answer) };
            for (at, value) in damage {
                if let Some(byte) = packet.get_mut(at) { *byte = value; }
            }
            let before = packet.len();
            if answer_otherwise(&mut packet, message::NO_SUCH_NAME) {
                prop_assert!(packet.len() <= before);
                assert_well_formed(&packet);
            }
        }
    }
}
