//! What is refused before a connection is opened, and where the server is reached.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use rustix::process::{Resource, getrlimit};
use temblor_host::netns::Netns;

use super::{Connections, MAX_CONNECTIONS, Speak};
use crate::resource::Refused;
use crate::resource::listed::{self, Row, sockets_of};
use crate::{Error, Result};

/// Descriptors that this process keeps for everything else it does.
const RESERVE: u64 = 256;

/// Everything that can be known without a connection; gives where to connect to.
pub(super) fn check(fault: &Connections) -> Result<SocketAddr> {
    let service = || fault.target.service.clone();
    if fault.port == 0 {
        return Err(Refused::PortZero { service: service() }.into());
    }
    match fault.hold {
        Some(0) => return Err(Refused::NothingHeld { service: service() }.into()),
        Some(given) if given > MAX_CONNECTIONS => {
            return Err(Refused::TooManyConnections { given, max: MAX_CONNECTIONS }.into());
        }
        Some(given) => {
            let left = descriptors_left()?;
            if given > left {
                return Err(Refused::NoDescriptors { given, left }.into());
            }
        }
        None => {}
    }
    if let Speak::Postgres { user, database } = &fault.speak {
        for (what, given) in [("user", user), ("database", database)] {
            if given.is_empty() || given.contains('\0') {
                return Err(Refused::BadName { what, given: given.clone() }.into());
            }
        }
    }
    let rows = listed::at_port(&fault.target.netns, fault.port).map_err(|error| {
        Error::system(format!("list the connections of {}", fault.target.service), error)
    })?;
    let listening: Vec<Row> = rows.into_iter().filter(Row::is_listening).collect();
    let address = reachable(fault, &listening)?;
    if is_somebody_elses(&listening, &fault.target.processes_now()) {
        return Err(Refused::SomebodyElses { service: service(), port: fault.port }.into());
    }
    Ok(SocketAddr::new(address, fault.port))
}

fn reachable(fault: &Connections, listening: &[Row]) -> Result<IpAddr> {
    let mut candidates = fault.target.addresses.clone();
    if super::netns(fault)? == fault.target.netns {
        candidates.extend([IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()]);
    }
    let found = candidates.into_iter().find(|candidate| {
        listening.iter().any(|row| match row.local {
            // What listens on every IPv6 address hears IPv4 too, as nearly all servers have it.
            IpAddr::V6(any) if any.is_unspecified() => true,
            IpAddr::V4(any) if any.is_unspecified() => candidate.is_ipv4(),
            one => one == *candidate,
        })
    });
    found.ok_or_else(|| {
        Refused::NotListening {
            service: fault.target.service.clone(),
            port: fault.port,
            from: fault.from.as_ref().map_or("this process".into(), |from| from.service.clone()),
        }
        .into()
    })
}

/// Whether all that listens belongs to processes that are not the target's: known only where the
/// target's processes are known and may be looked into.
fn is_somebody_elses(listening: &[Row], pids: &[u32]) -> bool {
    let mut is_known = false;
    for pid in pids {
        if let Ok(sockets) = sockets_of(*pid) {
            is_known = true;
            if listening.iter().any(|row| sockets.contains(&row.inode)) {
                return false;
            }
        }
    }
    is_known
}

/// How many descriptors this process can still open, when its soft limit is raised to the hard.
pub(super) fn descriptors_left() -> Result<u32> {
    let open = fs::read_dir("/proc/self/fd")
        .map_err(|error| Error::system("count this process's descriptors", error))?
        .count() as u64;
    let hard = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    Ok(u32::try_from(hard.saturating_sub(open + RESERVE)).unwrap_or(u32::MAX))
}

/// The namespace that connections are opened from.
pub(super) fn netns_of(fault: &Connections) -> io::Result<Netns> {
    fault.from.as_ref().map_or_else(Netns::of_this_thread, |from| Ok(from.netns.clone()))
}
