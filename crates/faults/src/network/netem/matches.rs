//! Which packets are meant, in the words of the flower filter. Pure: a shape in, bytes out.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::netlink::Attributes;
use crate::network::{Prefix, Shape};
use crate::tc::Filter;

const ETH_P_IP: u16 = 0x0800;
const ETH_P_IPV6: u16 = 0x86dd;
const ICMPV6: u8 = 58;
/// Router and neighbour solicitations and advertisements.
const NEIGHBOUR_DISCOVERY: [u8; 4] = [133, 134, 135, 136];

const TCA_FLOWER_CLASSID: u16 = 1;
const TCA_FLOWER_ACT: u16 = 3;
const TCA_FLOWER_KEY_ETH_TYPE: u16 = 8;
const TCA_FLOWER_KEY_IP_PROTO: u16 = 9;
const TCA_FLOWER_KEY_IPV4_SRC: u16 = 10;
const TCA_FLOWER_KEY_IPV4_DST: u16 = 12;
const TCA_FLOWER_KEY_IPV6_SRC: u16 = 14;
const TCA_FLOWER_KEY_IPV6_DST: u16 = 16;
const TCA_FLOWER_KEY_TCP_SRC: u16 = 18;
const TCA_FLOWER_KEY_TCP_DST: u16 = 19;
const TCA_FLOWER_KEY_UDP_SRC: u16 = 20;
const TCA_FLOWER_KEY_UDP_DST: u16 = 21;
const TCA_FLOWER_FLAGS: u16 = 22;
const TCA_FLOWER_KEY_ICMPV6_TYPE: u16 = 55;
const TCA_CLS_FLAGS_SKIP_HW: u32 = 1;
const TCA_ACT_KIND: u16 = 1;
const TCA_ACT_OPTIONS: u16 = 2;
const TCA_MIRRED_PARMS: u16 = 2;
const TC_ACT_STOLEN: i32 = 4;
const TCA_EGRESS_REDIR: i32 = 1;

/// How many filters an interface gets at most: each costs a packet that it does not match.
pub(super) const FILTERS_MAX: usize = 2048;
/// In which order filters are asked. One preference has filters for one protocol only.
pub(super) const PREFERENCES: (u16, u16) = (32_301, 32_303);

/// Which end of a packet is the peer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Out,
    In,
}

/// What becomes of a packet that is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// It goes into this class of the queue that the filter is at.
    Class(u32),
    /// It is given to this interface.
    Redirect(u32),
}

/// One filter: whose place it has, and its options.
pub(super) type Match = (Filter, Vec<u8>);

/// How many filters [`matches`] gives.
pub(super) fn count(shape: &Shape) -> usize {
    families(shape).into_iter().map(|(_, peers)| peers.len()).sum::<usize>()
        * (2 * shape.ports.iter().collect::<BTreeSet<_>>().len()).max(1)
        + NEIGHBOUR_DISCOVERY.len()
}

/// The filters for a shape, in the order in which they are asked.
pub(super) fn matches(shape: &Shape, way: Way, then: Then) -> Vec<Match> {
    let ports: BTreeSet<u16> = shape.ports.iter().copied().collect();
    let mut found = Vec::new();
    for (protocol, peers) in families(shape) {
        let filter = |preference| Filter { preference, protocol, kind: "flower".into() };
        let place = if protocol == ETH_P_IP { PREFERENCES.0 + 1 } else { PREFERENCES.1 };
        if protocol == ETH_P_IPV6 && ports.is_empty() {
            // Found first, and given to nobody: it passes as it would without us.
            for kind in NEIGHBOUR_DISCOVERY {
                let spared = Attributes::default()
                    .with(TCA_FLOWER_KEY_ETH_TYPE, &protocol.to_be_bytes())
                    .with(TCA_FLOWER_KEY_IP_PROTO, &[ICMPV6])
                    .with(TCA_FLOWER_KEY_ICMPV6_TYPE, &[kind]);
                let class = match then {
                    // The first class of the same queue, which does nothing.
                    Then::Class(class) => Some(class & 0xffff_0000 | 1),
                    Then::Redirect(_) => None,
                };
                found.push((filter(PREFERENCES.0), finished(spared, class, None)));
            }
        }
        for peer in peers {
            let mut key =
                Attributes::default().with(TCA_FLOWER_KEY_ETH_TYPE, &protocol.to_be_bytes());
            if let Some(peer) = peer {
                key = with_address(key, peer, way);
            }
            let keys = if ports.is_empty() { vec![key] } else { with_ports(&key, &ports, way) };
            for key in keys {
                let options = match then {
                    Then::Class(class) => finished(key, Some(class), None),
                    Then::Redirect(link) => finished(key, None, Some(link)),
                };
                found.push((filter(place), options));
            }
        }
    }
    found
}

/// The peers of each family that is meant; a peer that is none stands for the whole family.
fn families(shape: &Shape) -> Vec<(u16, BTreeSet<Option<Prefix>>)> {
    let peers = |is_v4: bool| -> BTreeSet<Option<Prefix>> {
        if shape.to.is_empty() {
            return BTreeSet::from([None]);
        }
        shape
            .to
            .iter()
            .map(|peer| peer.address)
            .filter(|address| address.address().is_ipv4() == is_v4)
            .map(|address| (address.len_bits() > 0).then_some(address))
            .collect()
    };
    [(ETH_P_IP, peers(true)), (ETH_P_IPV6, peers(false))]
        .into_iter()
        .filter(|(_, peers)| !peers.is_empty())
        .collect()
}

fn with_address(key: Attributes, peer: Prefix, way: Way) -> Attributes {
    let bits = peer.len_bits();
    match (peer.address(), way) {
        (IpAddr::V4(v4), _) => {
            let kind = match way {
                Way::Out => TCA_FLOWER_KEY_IPV4_DST,
                Way::In => TCA_FLOWER_KEY_IPV4_SRC,
            };
            let mask = u32::MAX << (32 - u32::from(bits));
            key.with(kind, &v4.octets()).with(kind + 1, &mask.to_be_bytes())
        }
        (IpAddr::V6(v6), _) => {
            let kind = match way {
                Way::Out => TCA_FLOWER_KEY_IPV6_DST,
                Way::In => TCA_FLOWER_KEY_IPV6_SRC,
            };
            let mask = u128::MAX << (128 - u32::from(bits));
            key.with(kind, &v6.octets()).with(kind + 1, &mask.to_be_bytes())
        }
    }
}

fn with_ports(key: &Attributes, ports: &BTreeSet<u16>, way: Way) -> Vec<Attributes> {
    let (tcp, udp) = match way {
        Way::Out => (TCA_FLOWER_KEY_TCP_DST, TCA_FLOWER_KEY_UDP_DST),
        Way::In => (TCA_FLOWER_KEY_TCP_SRC, TCA_FLOWER_KEY_UDP_SRC),
    };
    ports
        .iter()
        .flat_map(|port| {
            [(libc::IPPROTO_TCP, tcp), (libc::IPPROTO_UDP, udp)].map(|(protocol, kind)| {
                key.clone()
                    .with(TCA_FLOWER_KEY_IP_PROTO, &[protocol as u8])
                    .with(kind, &port.to_be_bytes())
            })
        })
        .collect()
}

fn finished(key: Attributes, class: Option<u32>, redirect: Option<u32>) -> Vec<u8> {
    // Queues are in software; a card that filtered would not know of them.
    let mut options = key.with(TCA_FLOWER_FLAGS, &TCA_CLS_FLAGS_SKIP_HW.to_ne_bytes());
    if let Some(class) = class {
        options = options.with(TCA_FLOWER_CLASSID, &class.to_ne_bytes());
    }
    if let Some(link) = redirect {
        let mut parameters = Vec::new();
        // index, capabilities, action, reference and bind counts, where, and to which interface.
        for word in [0, 0, TC_ACT_STOLEN, 0, 0, TCA_EGRESS_REDIR] {
            parameters.extend(word.to_ne_bytes());
        }
        parameters.extend(link.to_ne_bytes());
        let action = Attributes::default().with_text(TCA_ACT_KIND, "mirred").with_nested(
            TCA_ACT_OPTIONS,
            &Attributes::default().with(TCA_MIRRED_PARMS, &parameters),
        );
        // Actions are numbered in the order in which they are made.
        options =
            options.with_nested(TCA_FLOWER_ACT, &Attributes::default().with_nested(1, &action));
    }
    options.bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use temblor_host::netns::Netns;
    use temblor_host::target::Target;

    use super::*;
    use crate::netlink::attribute;
    use crate::network::{Direction, Dose, Peer};

    fn shape(to: &[&str], ports: &[u16]) -> Shape {
        Shape {
            from: Target::of_namespace("api", Netns::of_this_thread().unwrap(), Vec::new()),
            to: to
                .iter()
                .map(|a| Peer { name: String::new(), address: a.parse().unwrap() })
                .collect(),
            ports: ports.into(),
            direction: Direction::Out,
            dose: Dose::Loss { share: 0.5 },
            seed: None,
        }
    }

    const CLASS: Then = Then::Class(0x7001_0002);

    #[test]
    fn a_peer_with_ports_is_one_filter_a_protocol_and_port() {
        let shape = shape(&["10.0.0.0/24", "10.0.0.0/24"], &[5432, 5432]);
        let found = matches(&shape, Way::Out, CLASS);
        assert_eq!(found.len(), 2, "TCP and UDP");
        assert!(found.len() <= count(&shape));
        for ((filter, options), (protocol, kind)) in
            found.iter().zip([(6, TCA_FLOWER_KEY_TCP_DST), (17, TCA_FLOWER_KEY_UDP_DST)])
        {
            assert_eq!((filter.protocol, filter.preference), (ETH_P_IP, PREFERENCES.0 + 1));
            for (kind, expected) in [
                (TCA_FLOWER_KEY_ETH_TYPE, &[8, 0][..]),
                (TCA_FLOWER_KEY_IPV4_DST, &[10, 0, 0, 0]),
                (TCA_FLOWER_KEY_IPV4_DST + 1, &[255, 255, 255, 0]),
                (TCA_FLOWER_KEY_IP_PROTO, &[protocol]),
                (kind, &[0x15, 0x38]),
                (TCA_FLOWER_CLASSID, &0x7001_0002_u32.to_ne_bytes()),
            ] {
                assert_eq!(attribute(options, kind), Some(expected), "attribute {kind}");
            }
        }
    }

    #[test]
    fn everybody_is_both_families_but_for_neighbour_discovery() {
        let found = matches(&shape(&[], &[]), Way::Out, CLASS);
        let classes: Vec<_> = found
            .iter()
            .map(|(filter, options)| {
                let class = attribute(options, TCA_FLOWER_CLASSID).unwrap();
                (filter.protocol, u32::from_ne_bytes(class.try_into().unwrap()) & 0xffff)
            })
            .collect();
        assert_eq!(classes[0], (ETH_P_IP, 2));
        assert_eq!(classes[1..5], [(ETH_P_IPV6, 1); 4]);
        assert_eq!(classes[5], (ETH_P_IPV6, 2));
        assert!(found[1].0.preference < found[5].0.preference, "it is found first");
        assert!(found.len() <= count(&shape(&[], &[])));
    }

    #[test]
    fn what_comes_in_is_known_by_its_source_and_redirected() {
        let found = matches(&shape(&["fd00::2", "0.0.0.0/0"], &[]), Way::In, Then::Redirect(9));
        let (_, v4) = &found[0];
        assert_eq!(attribute(v4, TCA_FLOWER_KEY_IPV4_SRC), None, "a whole family has no address");
        let (filter, v6) = found.last().unwrap();
        assert_eq!(filter.protocol, ETH_P_IPV6);
        assert_eq!(attribute(v6, TCA_FLOWER_KEY_IPV6_SRC).unwrap()[0], 0xfd);
        assert_eq!(attribute(v6, TCA_FLOWER_KEY_IPV6_SRC + 1), Some(&[255; 16][..]));
        assert_eq!(attribute(v6, TCA_FLOWER_CLASSID), None);
        let actions = attribute(v6, TCA_FLOWER_ACT).unwrap();
        let options = attribute(attribute(actions, 1).unwrap(), TCA_ACT_OPTIONS).unwrap();
        let parameters = attribute(options, TCA_MIRRED_PARMS).unwrap();
        assert_eq!(parameters[8], TC_ACT_STOLEN as u8);
        assert_eq!(parameters[24..], 9_u32.to_ne_bytes());
        // Neighbour discovery stays where it is.
        assert_eq!(attribute(&found[1].1, TCA_FLOWER_ACT), None);
    }

    #[test]
    fn preferences_hold_one_protocol_each() {
        let mut seen = std::collections::BTreeMap::new();
        for (filter, _) in matches(&shape(&[], &[]), Way::Out, CLASS) {
            assert!((PREFERENCES.0..=PREFERENCES.1).contains(&filter.preference));
            let before = seen.insert(filter.preference, filter.protocol);
            assert!(before.is_none_or(|protocol| protocol == filter.protocol));
        }
    }
}
