//! What is refused before anything is changed.

use std::net::IpAddr;

use temblor_host::netns::Netns;
use temblor_host::target::Target;

use super::{MAX_PEERS, MAX_PORTS, Partition, Peer};
use crate::Refusal;

pub(super) fn check(partition: &Partition) -> Result<(), Refusal> {
    if partition.to.is_empty() {
        return Err(Refusal::NoPeers { service: partition.from.service.clone() });
    }
    check_ends(&partition.from, &partition.to, &partition.ports)
}

/// What holds for every fault between a target and its peers.
pub(in crate::network) fn check_ends(
    from: &Target,
    to: &[Peer],
    ports: &[u16],
) -> Result<(), Refusal> {
    for (what, given, max) in [("peers", to.len(), MAX_PEERS), ("ports", ports.len(), MAX_PORTS)] {
        if given > max {
            return Err(Refusal::TooMany { what, given, max });
        }
    }
    if ports.contains(&0) {
        return Err(Refusal::PortZero);
    }
    to.iter().try_for_each(|peer| check_peer(from, peer))?;
    if is_shared(&from.netns) {
        return Err(Refusal::SharedNamespace { service: from.service.clone() });
    }
    Ok(())
}

fn check_peer(from: &Target, peer: &Peer) -> Result<(), Refusal> {
    let service = || from.service.clone();
    let peer = peer.address;
    let address = peer.address();
    // A whole family (0.0.0.0/0) begins with an address that is no host's; it is meant.
    if peer.len_bits() == 0 {
        return Ok(());
    }
    if let IpAddr::V6(v6) = address {
        if let Some(v4) = v6.to_ipv4_mapped() {
            return Err(Refusal::Mapped { peer, v4 });
        }
        if v6.is_unicast_link_local() {
            return Err(Refusal::LinkLocal { peer });
        }
    }
    if address.is_loopback() {
        return Err(Refusal::Loopback { service: service(), peer });
    }
    let what = match address {
        _ if address.is_multicast() => Some("multicast"),
        IpAddr::V4(v4) if v4.is_broadcast() => Some("broadcast"),
        _ if peer.is_single() && address.is_unspecified() => Some("no address"),
        _ => None,
    };
    if let Some(what) = what {
        return Err(Refusal::NotAPeer { peer, what });
    }
    if peer.is_single() && from.addresses.contains(&address) {
        return Err(Refusal::Itself { service: service(), peer });
    }
    Ok(())
}

/// Whether a namespace is one that everybody is in: this process's, or the first process's. One
/// that may not be looked at cannot be the same as the target's, which was opened.
pub(in crate::network) fn is_shared(netns: &Netns) -> bool {
    [Netns::of_this_thread(), Netns::of_pid(1)].into_iter().flatten().any(|other| other == *netns)
}

#[cfg(test)]
mod tests {
    use temblor_host::target::Target;

    use super::*;
    use crate::network::{Action, Direction};

    /// A namespace that is nobody's: only its inode is ever looked at here.
    fn elsewhere() -> Netns {
        Netns::open(std::fs::File::open("/proc/self/exe").unwrap()).unwrap()
    }

    fn partition(netns: Netns, to: &[&str], ports: &[u16]) -> Partition {
        Partition {
            from: Target::of_namespace(
                "api",
                netns,
                vec!["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()],
            ),
            to: to
                .iter()
                .map(|a| Peer { name: (*a).into(), address: a.parse().unwrap() })
                .collect(),
            ports: ports.into(),
            direction: Direction::Both,
            action: Action::Drop,
        }
    }

    #[test]
    fn what_can_be_cut_is_accepted() {
        for to in ["10.0.0.2", "10.0.0.0/24", "0.0.0.0/0", "fd00::2", "fd00::/8", "::/0"] {
            check(&partition(elsewhere(), &[to], &[])).unwrap();
        }
        check(&partition(elsewhere(), &["10.0.0.2", "fd00::2"], &[1, 65535])).unwrap();
    }

    #[test]
    fn what_cannot_be_cut_is_refused_with_the_reason() {
        for (to, ports, says) in [
            (&[][..], &[][..], "names no peer"),
            (&["10.0.0.2"], &[5432, 0], "port 0 is not a port"),
            (&["10.0.0.2"], &[1; MAX_PORTS + 1], "1025 ports are more than the 1024"),
            (&["10.0.0.2"; MAX_PEERS + 1], &[], "1025 peers are more than the 1024"),
            (&["10.0.0.2", "10.0.0.1"], &[], "never leave api"),
            (&["fd00::1"], &[], "never leave api"),
            (&["127.0.0.1"], &[], "127.0.0.1 is loopback"),
            (&["127.0.0.0/8"], &[], "127.0.0.0/8 is loopback"),
            (&["::1"], &[], "::1 is loopback"),
            (&["::ffff:10.0.0.2"], &[], "on the wire it is 10.0.0.2"),
            (&["fe80::2"], &[], "link-local"),
            (&["224.0.0.1"], &[], "multicast"),
            (&["ff02::/16"], &[], "multicast"),
            (&["255.255.255.255"], &[], "broadcast"),
            (&["0.0.0.0"], &[], "no address"),
            (&["::"], &[], "no address"),
        ] {
            let said = check(&partition(elsewhere(), to, ports)).unwrap_err().to_string();
            assert!(said.contains(says), "{said}");
        }
    }

    #[test]
    fn the_namespace_everybody_shares_is_refused() {
        let shared = Netns::of_this_thread().unwrap();
        let refusal = check(&partition(shared, &["10.0.0.2"], &[])).unwrap_err();
        assert!(matches!(refusal, Refusal::SharedNamespace { .. }), "{refusal}");
    }
}
