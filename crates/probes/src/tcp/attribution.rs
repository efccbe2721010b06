//! Whose sockets are whose.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use temblor_host::netns::Netns;
use temblor_host::target::Target;

use super::skeleton::watched_how;
use crate::roster::NOBODY;

/// The network namespaces to watch, and the names of addresses.
///
/// A namespace has one name: all that is in it is that target's. The namespaces that several
/// targets share, and the one that we are in ourselves, have none: there a socket is its process's.
#[derive(Debug, Clone, Default)]
pub struct Attribution {
    service_by_netns: HashMap<u32, String>,
    service_by_address: HashMap<IpAddr, String>,
    namespaces: Vec<Netns>,
    /// In the order of their numbers.
    targets: Vec<String>,
    shared: HashSet<u32>,
    unseen: Vec<String>,
}

impl Attribution {
    /// The targets' namespaces and addresses.
    #[must_use]
    pub fn of(targets: &[Target]) -> Self {
        let services = targets.iter().map(|target| target.service.clone()).collect();
        let mut attribution = Self { targets: services, ..Self::default() };
        let mut times: HashMap<u64, u32> = HashMap::new();
        for target in targets {
            *times.entry(target.netns.inode()).or_default() += 1;
        }
        let ours = Netns::of_this_thread().map(|netns| netns.inode()).ok();
        for target in targets {
            let inode = target.netns.inode();
            if times.get(&inode).is_some_and(|times| *times > 1) || Some(inode) == ours {
                attribution.share(target);
                continue;
            }
            attribution.watch(&target.service, &target.netns);
            for address in &target.addresses {
                attribution.name(*address, &target.service);
            }
        }
        attribution
    }

    /// Watches the sockets of a namespace as those of `service`.
    pub fn watch(&mut self, service: &str, netns: &Netns) -> &mut Self {
        // The kernel's inode numbers of namespaces are 32 bits wide.
        if let Ok(inode) = u32::try_from(netns.inode())
            && !self.service_by_netns.contains_key(&inode)
        {
            self.service_by_netns.insert(inode, service.to_owned());
            self.namespaces.push(netns.clone());
        }
        self
    }

    /// Watches a target's own sockets in a namespace that others use, too. Its addresses are the
    /// others' as well, and name nobody.
    fn share(&mut self, target: &Target) {
        if let Ok(inode) = u32::try_from(target.netns.inode()) {
            self.shared.insert(inode);
        }
        self.unseen.push(format!(
            "resets of {} that none of its connections sends: it shares its network namespace, \
             and they are nobody's",
            target.service
        ));
    }

    /// Names the peer at an address.
    pub fn name(&mut self, address: IpAddr, service: &str) -> &mut Self {
        self.service_by_address.entry(address.to_canonical()).or_insert_with(|| service.to_owned());
        self
    }

    /// What cannot be told apart.
    pub(super) fn unseen(&self) -> &[String] {
        &self.unseen
    }

    /// Whether a socket's process has to be known.
    #[must_use]
    pub fn shares(&self) -> bool {
        !self.shared.is_empty()
    }

    /// Of a target's number, or of all that is in a namespace.
    pub(super) fn service(&self, netns: u32, target: u32) -> Option<&str> {
        if target == NOBODY {
            return self.service_by_netns.get(&netns).map(String::as_str);
        }
        self.targets.get(usize::try_from(target).ok()?).map(String::as_str)
    }

    pub(super) fn peer(&self, address: IpAddr) -> Option<&str> {
        self.service_by_address.get(&address.to_canonical()).map(String::as_str)
    }

    /// The namespaces' inodes, and how each is watched.
    pub(super) fn watched(&self) -> impl Iterator<Item = (u32, watched_how)> {
        let whole = self.service_by_netns.keys().map(|inode| (*inode, watched_how::WATCHED_WHOLE));
        let shared = self.shared.iter().map(|inode| (*inode, watched_how::WATCHED_BY_SOCKET));
        whole.chain(shared)
    }

    pub(super) fn namespaces(&self) -> &[Netns] {
        &self.namespaces
    }
}
