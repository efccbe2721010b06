//! Whose sockets are whose.

use std::collections::HashMap;
use std::net::IpAddr;

use temblor_host::netns::Netns;
use temblor_host::target::Target;

/// The network namespaces to watch, and the names of addresses.
///
/// A namespace has one name: where several services share one, their sockets cannot be told
/// apart this way, and all go under the name that was given first.
#[derive(Debug, Clone, Default)]
pub struct Attribution {
    service_by_netns: HashMap<u32, String>,
    service_by_address: HashMap<IpAddr, String>,
    namespaces: Vec<Netns>,
    unseen: Vec<String>,
}

impl Attribution {
    /// The targets' namespaces and addresses.
    #[must_use]
    pub fn of(targets: &[Target]) -> Self {
        let mut attribution = Self::default();
        let ours = Netns::of_this_thread().ok();
        for target in targets {
            let named_before = attribution.named(&target.netns);
            attribution.watch(&target.service, &target.netns);
            if let Some(other) = named_before {
                attribution.unseen.push(format!(
                    "connections of {} apart from those of {other}: both are in one network \
                     namespace, and all that is in it is shown as {other}'s",
                    target.service
                ));
            } else if Some(&target.netns) == ours.as_ref() {
                attribution.unseen.push(format!(
                    "connections of {} apart from others': it has no network namespace of its \
                     own, and all that is in this one is shown as its",
                    target.service
                ));
            }
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

    /// Names the peer at an address.
    pub fn name(&mut self, address: IpAddr, service: &str) -> &mut Self {
        self.service_by_address.entry(address.to_canonical()).or_insert_with(|| service.to_owned());
        self
    }

    /// What cannot be told apart.
    pub(super) fn unseen(&self) -> &[String] {
        &self.unseen
    }

    fn named(&self, netns: &Netns) -> Option<String> {
        let inode = u32::try_from(netns.inode()).ok()?;
        self.service_by_netns.get(&inode).cloned()
    }

    pub(super) fn service(&self, netns: u32) -> Option<&str> {
        self.service_by_netns.get(&netns).map(String::as_str)
    }

    pub(super) fn peer(&self, address: IpAddr) -> Option<&str> {
        self.service_by_address.get(&address.to_canonical()).map(String::as_str)
    }

    pub(super) fn netns_inodes(&self) -> impl Iterator<Item = u32> {
        self.service_by_netns.keys().copied()
    }

    pub(super) fn namespaces(&self) -> &[Netns] {
        &self.namespaces
    }
}
