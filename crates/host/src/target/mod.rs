//! What is acted on or watched.

pub mod find;
mod own_group;
pub mod pick;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::cgroup::Group;
use crate::netns::Netns;

pub use own_group::Others;

/// A set of processes with their network namespace, cgroup and addresses.
#[derive(Debug, Clone)]
pub struct Target {
    /// The service, container or process name: unique among the targets of a run.
    pub service: String,
    /// Its processes, the main one first. They may be replaced by a restart during a run; the
    /// namespace stays, except a container's ([`find::again`]).
    pub pids: Vec<u32>,
    /// Its network namespace.
    pub netns: Netns,
    /// The addresses at which others reach it.
    pub addresses: Vec<IpAddr>,
    /// The cgroup of its main process, one directory a hierarchy; it stays when the process is
    /// replaced.
    pub group: Group,
    /// How it was found, and so who keeps it running.
    pub origin: Origin,
}

/// How a target was found, and so who keeps it running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A service of the lab: its supervisor starts it again.
    Lab,
    /// Processes: nobody is known to start them again.
    Processes,
    /// Whatever is in a cgroup.
    Cgroup,
    /// A systemd unit, by its full name.
    Unit(String),
    /// A container.
    Container {
        /// The engine's socket.
        socket: std::path::PathBuf,
        /// The engine's id of it.
        id: String,
    },
}

impl Target {
    /// A target that is known by its network namespace only.
    #[must_use]
    pub fn of_namespace(service: &str, netns: Netns, addresses: Vec<IpAddr>) -> Self {
        Self {
            service: service.to_owned(),
            pids: Vec::new(),
            netns,
            addresses,
            group: Group::default(),
            origin: Origin::Processes,
        }
    }

    /// The processes that it has now: those in its cgroup and in groups below that where it is its
    /// own, else those of its first ones that still run. The main one is not told apart.
    #[must_use]
    pub fn processes_now(&self) -> Vec<u32> {
        match self.origin {
            Origin::Processes => self
                .pids
                .iter()
                .copied()
                .filter(|pid| crate::process::name(*pid).is_some())
                .collect(),
            _ => self.group.processes_below(),
        }
    }
}

/// The addresses of the calling thread's network namespace at which others may reach it: neither
/// loopback nor link-local. Call it inside [`Netns::run`].
///
/// # Errors
/// The kernel cannot be asked.
pub fn addresses_here() -> io::Result<Vec<IpAddr>> {
    let mut list = std::ptr::null_mut();
    // SAFETY: getifaddrs stores a list that it owns, or fails and stores nothing.
    if unsafe { libc::getifaddrs(&raw mut list) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut found = Vec::new();
    let mut entry: *const libc::ifaddrs = list;
    while !entry.is_null() {
        // SAFETY: every entry of the list stays valid until freeifaddrs.
        let (address, next) = unsafe { (address_of((*entry).ifa_addr), (*entry).ifa_next) };
        found.extend(address.filter(|a| is_reachable(*a) && !found.contains(a)));
        entry = next;
    }
    // SAFETY: the list came from getifaddrs and nothing points into it any more.
    unsafe { libc::freeifaddrs(list) };
    Ok(found)
}

/// # Safety
/// `address` is null or points to a socket address as long as its family says.
unsafe fn address_of(address: *const libc::sockaddr) -> Option<IpAddr> {
    if address.is_null() {
        return None;
    }
    // SAFETY: the caller vouches for the length that goes with the family.
    unsafe {
        match i32::from((*address).sa_family) {
            libc::AF_INET => {
                let v4 = address.cast::<libc::sockaddr_in>().read_unaligned();
                Some(Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr)).into())
            }
            libc::AF_INET6 => {
                let v6 = address.cast::<libc::sockaddr_in6>().read_unaligned();
                Some(Ipv6Addr::from(v6.sin6_addr.s6_addr).into())
            }
            _ => None,
        }
    }
}

fn is_reachable(address: IpAddr) -> bool {
    !address.is_loopback()
        && match address {
            IpAddr::V4(v4) => !v4.is_link_local(),
            IpAddr::V6(v6) => !v6.is_unicast_link_local(),
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_not_among_the_addresses() {
        let addresses = addresses_here().unwrap();
        assert!(addresses.iter().all(|a| is_reachable(*a)), "{addresses:?}");
        assert!(!is_reachable(Ipv4Addr::LOCALHOST.into()));
        assert!(!is_reachable("fe80::1".parse().unwrap()));
        assert!(is_reachable("fd00::1".parse().unwrap()));
    }
}
