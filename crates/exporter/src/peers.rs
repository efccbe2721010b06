//! Who is at the other end of connections, by address: as many as there is room for.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// The addresses that have a name of their own in the figures, the same ones in all of them.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    seen_ns: BTreeMap<IpAddr, u64>,
}

impl Peers {
    /// Whether a peer goes by its own name. Targets and services always do; of addresses only the
    /// first so many.
    pub(crate) fn admit(&mut self, peer: &str, max: usize, now_ns: u64) -> bool {
        let Ok(address) = peer.parse::<IpAddr>() else { return true };
        if self.seen_ns.len() >= max && !self.seen_ns.contains_key(&address) {
            return false;
        }
        self.seen_ns.insert(address, now_ns);
        true
    }

    /// Makes room where nothing was heard of an address since then.
    pub(crate) fn forget_before(&mut self, ns: u64) {
        self.seen_ns.retain(|_, seen_ns| *seen_ns >= ns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_a_bound_and_names_have_none() {
        let mut peers = Peers::default();
        for (peer, now_ns, expected) in [
            ("10.0.0.1", 1, true),
            ("fd00::1", 2, true),
            ("10.0.0.2", 3, false),
            ("postgres", 4, true),
            ("10.0.0.1", 5, true),
        ] {
            assert_eq!(peers.admit(peer, 2, now_ns), expected, "{peer}");
        }
        peers.forget_before(5);
        assert!(peers.admit("10.0.0.2", 2, 6), "fd00::1 was forgotten");
        assert!(!peers.admit("fd00::1", 2, 7));
    }
}
